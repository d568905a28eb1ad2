//! More peers than there are places, and peers that let everything wait.

use std::{net::IpAddr, time::Duration};

use relay_core::{limits, time::Wall};
use relay_net::serve::Seated;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{Bounds, Budget, Patience, Relay, STUCK, Socket, behind::LARGE_BYTES, request, webhooks::signature};
use crate::{
    clock::Clock,
    ingress::http1::{Guarded, Switch},
};

const JOIN: &str = "GET /connect HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
const ASK: &str = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";

/// The head of a stranger's request with a body of so many bytes, of which nothing shows that it is not signed.
fn forged(whole: usize) -> String {
    let signature = signature("1", Clock::start(Wall::MIN).present().as_millis() / 1_000, "another body");
    format!(
        "POST /webhook/signed HTTP/1.1\r\nHost: a\r\n{signature}Expect: 100-continue\r\nContent-Length: {whole}\r\n\r\n"
    )
}

/// A stranger who has begun a body of so many bytes.
async fn stranger(relay: &Relay, whole: usize) -> Socket {
    let mut stranger = relay.connect().await;
    stranger.send(forged(whole)).await;
    assert!(stranger.head().await.starts_with("HTTP/1.1 100 "));
    stranger
}

/// S9: connections that wait for their next request, or for their first, give way to those that have one; the one that
/// has waited longest first.
#[tokio::test]
async fn idle_and_silent_connections_give_way() {
    const PLACES: usize = 16;
    let relay = Relay::with(|settings| settings.connections = Bounds { reserve: 0, ..Bounds::of(PLACES) }).await;
    let mut idle = Vec::new();
    for _ in 0..PLACES {
        let mut socket = relay.connect().await;
        socket.send(ASK).await;
        assert_eq!(socket.reply().await.status, 200);
        idle.push(socket);
    }
    for _ in 0..3 * PLACES {
        // Silent ones come and stay, and a sender is served all the same.
        idle.push(relay.connect().await);
        assert_eq!(relay.ask(request("POST /webhook", "", "x")).await.status, 202);
    }
    assert!(idle[0].is_closed().await);
    assert!(idle[PLACES - 1].is_closed().await);
}

/// S9: a request head that is there in part only gives way too.
#[tokio::test]
async fn half_a_head_gives_way() {
    let relay = Relay::with(|settings| settings.connections = Bounds::of(1)).await;
    let mut half = relay.connect().await;
    half.send("POST /webhook HTTP/1.1\r\nHost:").await;
    assert_eq!(relay.ask(request("POST /webhook", "", "x")).await.status, 202);
    assert!(half.is_closed().await);
}

/// S9: an answer that nobody takes gives way.
#[tokio::test]
async fn an_answer_that_is_not_taken_gives_way() {
    let relay = Relay::with(|settings| settings.connections = Bounds::of(1)).await;
    let mut greedy = relay.connect().await;
    greedy.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(relay.ask(request("POST /webhook", "", "next")).await.status, 202);
    while greedy.more().await {}
    assert!(greedy.read.len() < LARGE_BYTES);
}

/// S9: what is at work is not cut off for those who come; they wait.
#[tokio::test]
async fn a_request_at_work_is_finished_before_another_gets_its_place() {
    let relay = Relay::with(|settings| settings.connections = Bounds::of(1)).await;
    let mut first = relay.connect().await;
    let whole = request("POST /webhook", "Expect: 100-continue\r\n", "1");
    let (head, body) = whole.split_at(whole.len() - 1);
    first.send(head).await;
    assert!(first.head().await.starts_with("HTTP/1.1 100 "));
    let mut second = relay.connect().await;
    second.send(request("POST /webhook", "", "2")).await;
    first.send(body).await;
    assert_eq!(first.reply().await.status, 202);
    assert_eq!(second.reply().await.status, 202);
    let bodies: Vec<_> = relay.backend.events().iter().map(|event| event.body[0]).collect();
    assert_eq!(bodies, b"12");
}

/// S9, S36: strangers who begin bodies and do not send them, from however many addresses, keep out neither senders nor
/// clients: what is far from whole gives its place.
#[tokio::test]
async fn slow_bodies_on_every_place_give_way() {
    const PLACES: usize = 32;
    let bounds = Bounds { reserve: 4, address: PLACES, ..Bounds::of(PLACES) };
    let relay = Relay::among_strangers(|settings| settings.connections = bounds).await;
    let mut strangers = Vec::new();
    for _ in 0..PLACES - bounds.reserve {
        strangers.push(stranger(&relay, 90_000).await);
    }
    for _ in 0..2 * PLACES {
        let mut stranger = relay.connect().await;
        stranger.send(forged(90_000)).await;
        strangers.push(stranger);
        assert_eq!(relay.ask(request("POST /webhook", "", "x")).await.status, 202);
    }
    let mut client = relay.connect().await;
    client.send(JOIN).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    let gave_way = strangers[0].reply().await;
    assert_eq!(
        (gave_way.status, gave_way.field("connection")),
        (503, Some("close")),
        "those that wait longest go first"
    );
    assert!(gave_way.body.contains("sooner whole than this body"), "{gave_way:?}");
    assert!(strangers[0].is_closed().await, "the rest of its body is not waited for");
}

/// S9, S36: strangers whose bodies are never far from whole at their pace, and never whole, keep nobody out either.
#[tokio::test]
async fn bodies_that_are_whole_in_a_moment_for_ever_give_way() {
    const PLACES: usize = 32;
    const WHOLE: usize = 60_000;
    let bounds = Bounds { reserve: 4, address: PLACES, ..Bounds::of(PLACES) };
    let relay = Relay::among_strangers(|settings| settings.connections = bounds).await;
    let mut sockets = Vec::new();
    for _ in 0..PLACES - bounds.reserve {
        sockets.push(stranger(&relay, WHOLE).await);
    }
    let trickle = |socket| trickle(socket, WHOLE);
    let strangers = futures_util::future::join_all(sockets.into_iter().map(trickle));
    let sender = async {
        for _ in 0..PLACES {
            assert_eq!(relay.ask(request("POST /webhook", "", "x")).await.status, 202);
        }
    };
    tokio::select! { () = sender => {}, _ = strangers => panic!("strangers are to come on all the time") }
}

/// Sends a body in pieces, each a part of what is left.
async fn trickle(mut socket: Socket, mut left: usize) {
    while left > 1 {
        let piece = (left / 10).max(1);
        left -= piece;
        if socket.stream.write_all(&vec![b'x'; piece]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One address, as of all who are behind one proxy.
fn one_address(_: u8) -> IpAddr {
    [192, 0, 2, 7].into()
}

/// A /48, each time another /64.
fn one_network(number: u8) -> IpAddr {
    [0x2001, 0xdb8, 0, number.into(), 0, 0, 0, 1].into()
}

/// S9, S36: strangers who begin bodies and do not send them, on all connections that their address or network may have, do not
/// keep out others who are of it: those behind the same proxy, or the same provider's customers.
#[tokio::test]
async fn slow_bodies_in_a_full_share_give_way() {
    for whence in [one_address, one_network] {
        let bounds = Bounds { address: 8, ..Bounds::of(256) };
        let relay = Relay::among(whence, |settings| settings.connections = bounds).await;
        let mut strangers = Vec::new();
        for _ in 0..16 {
            strangers.push(stranger(&relay, 90_000).await);
        }
        for _ in 0..64 {
            let mut stranger = relay.connect().await;
            stranger.send(forged(90_000)).await;
            strangers.push(stranger);
            assert_eq!(relay.ask(request("POST /webhook", "", "x")).await.status, 202);
        }
        let given_up = strangers[0].reply().await;
        assert_eq!(given_up.status, 503);
        assert_eq!(given_up.field("retry-after"), Some("1"));
    }
}

/// S9, S36: the same where their bodies come in drops.
#[tokio::test]
async fn bodies_in_drops_in_a_full_share_give_way() {
    let bounds = Bounds { address: 16, ..Bounds::of(256) };
    let relay = Relay::among(one_address, |settings| settings.connections = bounds).await;
    let mut strangers = Vec::new();
    for _ in 0..16 {
        strangers.push(trickle(stranger(&relay, 60_000).await, 60_000));
    }
    let sender = async {
        for _ in 0..32 {
            assert_eq!(relay.ask(request("POST /webhook", "", "x")).await.status, 202);
        }
    };
    tokio::select! {
        () = sender => {}
        _ = futures_util::future::join_all(strangers) => panic!("strangers are to come on all the time")
    }
}

/// S9, S36: what its head has proven is not given up for others of its address; who comes hears so.
#[tokio::test]
async fn proven_bodies_keep_their_places_in_a_full_share() {
    let bounds = Bounds { address: 2, ..Bounds::of(16) };
    let relay = Relay::among(one_address, |settings| settings.connections = bounds).await;
    let whole = request("POST /webhook", "Expect: 100-continue\r\n", "1");
    let (head, body) = whole.split_at(whole.len() - 1);
    let mut proven = Vec::new();
    for _ in 0..2 {
        let mut socket = relay.connect().await;
        socket.send(head).await;
        assert!(socket.head().await.starts_with("HTTP/1.1 100 "));
        proven.push(socket);
    }
    let mut third = relay.connect().await;
    third.send(request("POST /webhook", "", "3")).await;
    let refused = third.reply().await;
    assert_eq!((refused.status, refused.code().as_deref()), (503, Some("store_unavailable")));
    assert_eq!((refused.field("retry-after"), refused.field("connection")), (Some("1"), Some("close")));
    assert!(third.is_closed().await);
    for mut socket in proven {
        socket.send(body).await;
        assert_eq!(socket.reply().await.status, 202);
    }
    assert_eq!(relay.ask(request("POST /webhook", "", "4")).await.status, 202);
}

/// S9: what is at work on every place, and is not slow, is waited for a moment; then the answer is honest.
#[tokio::test]
async fn a_request_in_the_reserve_waits_for_a_place() {
    let bounds = Bounds { reserve: 2, address: 8, ..Bounds::of(3) };
    let relay = Relay::among_strangers(|settings| settings.connections = bounds).await;
    let whole = request("POST /webhook", "Expect: 100-continue\r\n", "1");
    let (head, body) = whole.split_at(whole.len() - 1);
    let mut first = relay.connect().await;
    first.send(head).await;
    assert!(first.head().await.starts_with("HTTP/1.1 100 "));
    assert_eq!(relay.ask(request("POST /webhook", "", "2")).await.status, 503, "a key has proven the first");
    let mut second = relay.connect().await;
    second.send(request("POST /webhook", "", "3")).await;
    first.send(body).await;
    assert_eq!(first.reply().await.status, 202);
    drop(first);
    assert_eq!(second.reply().await.status, 202);
}

/// S9, S36: heads that stay unfinished are put aside up to a bound; those that have been there longest end.
#[tokio::test]
async fn unfinished_heads_are_put_aside_up_to_a_bound() {
    let part = format!("POST /webhook HTTP/1.1\r\nHost: a\r\nX-A: {}", "a".repeat(10_000));
    let bound = 5 * part.len() as u64;
    let bounds = Bounds { waiting_bytes: bound, ..Bounds::of(100) };
    let relay = Relay::with(|settings| settings.connections = bounds).await;
    let mut first = relay.connect().await;
    first.send(&part).await;
    let mut others = Vec::new();
    for _ in 0..20 {
        let mut other = relay.connect().await;
        other.send(&part).await;
        others.push(other);
    }
    assert!(first.is_closed().await, "it has been there longest");
    assert_eq!(relay.ask(request("POST /webhook", "", "x")).await.status, 202);
}

/// S36: a head that is not whole takes no memory but what is put aside: the reader's buffer is not touched.
#[tokio::test]
async fn a_head_that_is_not_whole_touches_no_buffer() {
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    let mut guarded = Guarded::new(far, std::sync::Arc::<Switch>::default(), Seated::alone(), Patience::default());
    let head = format!("POST /webhook HTTP/1.1\r\nHost: a\r\nX-A: {}", "a".repeat(20_000));
    near.write_all(head.as_bytes()).await.unwrap();
    let mut buffer = vec![b'?'; 32 * 1024];
    assert!(futures_util::FutureExt::now_or_never(guarded.read(&mut buffer)).is_none());
    assert!(buffer.iter().all(|byte| *byte == b'?'));
    near.write_all(b"\r\n\r\n").await.unwrap();
    let read = timeout(STUCK, guarded.read(&mut buffer)).await.expect("it is whole").unwrap();
    assert_eq!(&buffer[..read], format!("{head}\r\n\r\n").as_bytes());
}

/// S36: a body is read in pieces that make no buffer larger, unless there is memory for large ones.
#[tokio::test]
async fn buffers_grow_as_far_as_there_is_memory_for_them() {
    /// What the reader's buffer takes first.
    const FIRST_BYTES: usize = 8 * 1024;
    for (memory, grows) in [(0, false), (1 << 20, true)] {
        let (mut near, far) = tokio::io::duplex(256 * 1024);
        let seat = Seated::alone_within(Bounds { reading_bytes: memory, ..Bounds::of(1) });
        let mut guarded = Guarded::new(far, std::sync::Arc::<Switch>::default(), seat, Patience::default());
        near.write_all(request("POST /webhook", "", &"x".repeat(100_000)).as_bytes()).await.unwrap();
        let (mut buffer, mut largest, mut read) = ([0; FIRST_BYTES], 0, 0);
        while read < 100_000 {
            let piece = timeout(STUCK, guarded.read(&mut buffer)).await.expect("there is more").unwrap();
            largest = largest.max(piece);
            read += piece;
        }
        assert_eq!(largest == FIRST_BYTES, grows, "{largest} at once");
    }
    let relay = Relay::with(|settings| settings.connections = Bounds { reading_bytes: 0, ..Bounds::of(8) }).await;
    assert_eq!(relay.ask(request("POST /webhook", "", &"x".repeat(90_000))).await.status, 202);
}

/// I2, S9: whoever asks many times before reading gets every answer in the end, in order, and is not answered ahead of
/// what he has taken.
#[tokio::test]
async fn many_requests_at_once_are_answered_as_their_answers_are_taken() {
    const REQUESTS: usize = 5_000;
    const QUIET_TURNS: usize = 10_000;
    let relay = Relay::with(|settings| settings.budget = Budget::new(100_000_000)).await;
    let (mut reader, mut writer) = relay.connect().await.stream.into_split();
    let asked = tokio::spawn(async move {
        for number in 0..REQUESTS {
            writer.write_all(request("POST /webhook", "", &number.to_string()).as_bytes()).await.unwrap();
        }
        writer
    });
    // Nothing is read until no turn of any task brings the hub more: the sockets are full, or all is heard.
    let (mut heard, mut turns) = (0, 0);
    while turns < QUIET_TURNS {
        tokio::task::yield_now().await;
        let now = relay.backend.heard();
        turns = if now == heard { turns + 1 } else { 0 };
        heard = now;
    }
    let answers = async {
        let (mut count, mut piece, mut tail) = (0, vec![0; 65_536], Vec::new());
        while count < REQUESTS {
            let read = reader.read(&mut piece).await.unwrap();
            assert!(read > 0, "closed after {count} answers");
            tail.extend_from_slice(&piece[..read]);
            let end = b"HTTP/1.1 202";
            count += tail.windows(end.len()).filter(|window| window == end).count();
            let kept = tail.len().saturating_sub(end.len() - 1);
            tail.drain(..kept);
        }
    };
    timeout(STUCK, answers).await.expect("every request is answered");
    drop(asked.await.unwrap());
    let bodies = relay.backend.events();
    assert!(bodies.iter().zip(0..).all(|(event, number)| event.body == number.to_string()));
}

/// S9, S36: a client that has just come is not driven out by strangers who come after it.
#[tokio::test]
async fn a_client_is_let_in_while_strangers_come_all_the_time() {
    let bounds = Bounds { reserve: 6, address: 8, ..Bounds::of(8) };
    let relay = Relay::among_strangers(|settings| settings.connections = bounds).await;
    let whole = request("POST /webhook", "Expect: 100-continue\r\n", "1");
    let mut senders = Vec::new();
    for _ in 0..2 {
        let mut sender = relay.connect().await;
        sender.send(&whole[..whole.len() - 1]).await;
        assert!(sender.head().await.starts_with("HTTP/1.1 100 "));
        senders.push(sender);
    }
    let mut client = relay.connect().await;
    let mut strangers = Vec::new();
    for _ in 0..2 {
        // Each is there once the next one is heard.
        strangers.push(relay.connect().await);
        assert_eq!(relay.ask("GET /livez HTTP/1.1\r\n\r\n").await.status, 400);
    }
    client.send(JOIN).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
}

/// S9: an answer that nobody takes holds a connection no longer than one that nobody asks for.
#[tokio::test]
async fn an_answer_that_is_not_taken_is_given_up() {
    let patience = Patience { write: Duration::from_millis(50), ..Patience::default() };
    let (near, far) = tokio::io::duplex(16);
    let mut guarded = Guarded::new(far, std::sync::Arc::<Switch>::default(), Seated::alone(), patience);
    let written = timeout(STUCK, guarded.write_all(&[0; 17])).await.expect("it is given up");
    assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    drop(near);
}

/// S9: an answer that is taken one byte at a time ends, though each byte is taken in time.
#[tokio::test]
async fn an_answer_that_is_taken_in_drops_is_given_up() {
    let patience = Patience { write: Duration::from_millis(100), ..Patience::default() };
    let (mut near, far) = tokio::io::duplex(16);
    let mut guarded = Guarded::new(far, std::sync::Arc::<Switch>::default(), Seated::alone(), patience);
    let answer = vec![0; 64 * limits::ANSWER_BYTES_PER_SECOND_MIN as usize];
    let drops = async {
        let mut one = [0];
        while near.read_exact(&mut one).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let written = async { guarded.write_all(&answer).await };
    let written = timeout(STUCK, async {
        tokio::select! { written = written => written, () = drops => unreachable!("its other end is open") }
    });
    assert_eq!(written.await.expect("it is given up").unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

/// S9, S36: clients are let in while strangers are at work on every other place; half of the places are theirs at most.
#[tokio::test]
async fn sessions_are_let_in_up_to_half() {
    let bounds = Bounds { sessions: 2, ..Bounds::of(8) };
    let relay = Relay::with(|settings| settings.connections = bounds).await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let mut socket = relay.connect().await;
        socket.send(JOIN).await;
        assert!(socket.head().await.starts_with("HTTP/1.1 101 "));
        sessions.push(socket);
    }
    let mut third = relay.connect().await;
    third.send(JOIN).await;
    assert_eq!(third.reply().await.status, 503);
    // Silent strangers do not push out a session, though it says nothing either.
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(relay.connect().await);
        assert_eq!(relay.ask(request("POST /webhook", "", "x")).await.status, 202);
    }
    sessions[0].send("echo").await;
    assert_eq!(sessions[0].exactly(4).await, "echo");
    drop(sessions);
    loop {
        let mut socket = relay.connect().await;
        socket.send(JOIN).await;
        if socket.head().await.starts_with("HTTP/1.1 101 ") {
            break;
        }
    }
}

/// I16, S36: bodies that strangers begin and do not finish keep no sender out, small or large.
#[tokio::test]
async fn unfinished_bodies_of_strangers_give_way() {
    let relay = Relay::start().await;
    let body = "x".repeat(99_000);
    // No head shows that it is not the signature of the body to come.
    let forged = signature("1", Clock::start(Wall::MIN).present().as_millis() / 1_000, "another body");
    let mut strangers = Vec::new();
    let mut held = 0;
    for _ in 0..12 {
        let mut stranger = relay.connect().await;
        stranger
            .send(format!("POST /webhook/signed HTTP/1.1\r\nHost: a\r\n{forged}Content-Length: 100000\r\n\r\n{body}"))
            .await;
        strangers.push(stranger);
        // Each is heard, until one has to give way for the next.
        let heard = async {
            while relay.budget.used() == held && held < 800_000 {
                tokio::task::yield_now().await;
            }
        };
        timeout(STUCK, heard).await.expect("it is heard");
        held = relay.budget.used();
    }
    for size in [2, 90_000, 90_000] {
        assert_eq!(relay.ask(request("POST /webhook", "", &"x".repeat(size))).await.status, 202);
    }
    assert!(relay.budget.used() <= relay.budget.max());
}
