//! Connections: slow, broken, reused, upgraded, ended.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use relay_core::limits;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{Bounds, KEY, Relay, STUCK, request};

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_connection_serves_one_request_after_another_and_several_at_once() {
    let relay = Relay::start().await;
    let mut socket = relay.connect().await;
    for body in ["1", "2"] {
        socket.send(request("POST /webhook", "", body)).await;
        assert_eq!(socket.reply().await.status, 202);
    }
    let several: String = ["3", "4", "5"].map(|body| request("POST /webhook", "", body)).concat();
    socket.send(several).await;
    for _ in 0..3 {
        assert_eq!(socket.reply().await.status, 202);
    }
    let bodies: Vec<_> = relay.backend.events().iter().map(|event| event.body[0]).collect();
    assert_eq!(bodies, b"12345");
}

/// S1: the answers of the requests before a flawed one come first, and nothing behind it is read.
#[tokio::test]
async fn a_flawed_request_in_a_pipeline_is_answered_in_its_place() {
    let relay = Relay::start().await;
    let mut socket = relay.connect().await;
    let good = request("POST /webhook", "", "good");
    socket.send(format!("{good}POST /webhook HTTP/1.1\nHost: a\n\n{good}")).await;
    assert_eq!(socket.reply().await.status, 202);
    assert_eq!(socket.reply().await.code().as_deref(), Some("malformed"));
    assert!(socket.is_closed().await);
    assert_eq!(relay.backend.events().len(), 1);
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let relay = Relay::start().await;
    let mut socket = relay.connect().await;
    socket.stream.set_nodelay(true).unwrap();
    let chunked = format!(
        "POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    );
    for byte in format!("{}{chunked}", request("POST /webhook", "", "abc")).bytes() {
        socket.send([byte]).await;
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        assert_eq!(socket.reply().await.status, 202);
    }
    assert!(relay.backend.events().iter().all(|event| event.body == "abc"));
}

/// I4: what ends before its declared length is not an event; the sender that still listens is told so.
#[tokio::test]
async fn a_body_that_ends_early_stores_nothing() {
    let relay = Relay::start().await;
    for framing in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut socket = relay.connect().await;
        socket.send(format!("POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n{framing}")).await;
        socket.stream.shutdown().await.unwrap();
        assert_eq!(socket.reply().await.code().as_deref(), Some("malformed"));
        assert!(socket.is_closed().await);
    }
    assert!(relay.backend.events().is_empty());
    assert_eq!(relay.budget.used(), 0);
}

#[tokio::test]
async fn a_sender_that_closes_its_side_gets_its_answer() {
    let relay = Relay::start().await;
    let mut socket = relay.connect().await;
    socket.send(request("POST /webhook", "", "all")).await;
    socket.stream.shutdown().await.unwrap();
    assert_eq!(socket.reply().await.status, 202);
    assert!(socket.is_closed().await);
}

/// S9: neither half a head nor silence holds a connection.
#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() {
    let relay = Relay::with(|settings| {
        settings.patience.head = SHORT;
        settings.patience.idle = SHORT;
    })
    .await;
    let mut half = relay.connect().await;
    half.send("POST /webhook HTTP/1.1\r\nHost:").await;
    assert_eq!(half.reply().await.code().as_deref(), Some("timeout"));
    assert!(half.is_closed().await);

    assert!(relay.connect().await.is_closed().await);

    // Long enough for whoever speaks, however busy this machine is.
    let relay = Relay::with(|settings| {
        settings.patience.head = 20 * SHORT;
        settings.patience.idle = 20 * SHORT;
    })
    .await;
    let mut idle = relay.connect().await;
    idle.send(request("POST /webhook", "", "one")).await;
    assert_eq!(idle.reply().await.status, 202);
    assert!(idle.is_closed().await);

    let mut second = relay.connect().await;
    second.send(format!("{}POST /we", request("POST /webhook", "", "one"))).await;
    assert_eq!(second.reply().await.status, 202);
    assert_eq!(second.reply().await.status, 408);
}

/// S9: a body that stalls is given up.
#[tokio::test]
async fn a_body_that_stalls_is_answered_408() {
    let relay = Relay::with(|settings| settings.patience.body = SHORT).await;
    let mut socket = relay.connect().await;
    socket.send(format!("POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Length: 9\r\n\r\nabc")).await;
    assert_eq!(socket.reply().await.code().as_deref(), Some("timeout"));
    assert!(socket.is_closed().await);
    assert!(relay.backend.events().is_empty());
}

/// S9: a body whose sender has earned hours by the minimum rate and then trickles is given up.
#[tokio::test]
async fn a_body_that_trickles_behind_a_fast_start_is_answered_408() {
    const FAST: usize = 90_000;
    let patience = Duration::from_millis(500);
    let relay = Relay::with(|settings| settings.patience.body = patience).await;
    let mut socket = relay.connect().await;
    let head =
        format!("POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n", FAST + 9_000);
    socket.send(format!("{head}{}", "x".repeat(FAST))).await;
    let trickle = async {
        let (mut reader, mut writer) = socket.stream.into_split();
        let mut answer = [0; 12];
        let answered = reader.read_exact(&mut answer);
        tokio::pin!(answered);
        loop {
            tokio::select! {
                answered = &mut answered => break answered.map(|_| answer).unwrap(),
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    let _ = writer.write_all(b"x").await;
                }
            }
        }
    };
    let answer = timeout(STUCK, trickle).await.expect("the server gives up");
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(relay.backend.events().is_empty());
}

/// S9, I16: slow senders hold the memory of what they sent, not of what they announced, and hold up nobody.
#[tokio::test]
async fn many_slow_senders_hold_little_and_hold_up_nobody() {
    const SENDERS: usize = 300;
    let relay = Relay::with(|settings| settings.connections = Bounds::of(2 * SENDERS + 60)).await;
    let length = limits::SMALL_BODY_BYTES.to_string();
    let head = format!("POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Length: {length}\r\n\r\n");
    let kept = ["POST", "/webhook", "host", "a", "x-api-key", KEY, "content-length", &length];
    let each = kept.iter().map(|part| part.len()).sum::<usize>() + "ten bytes.".len();
    let mut sockets = Vec::new();
    for _ in 0..SENDERS {
        let mut slow = relay.connect().await;
        slow.send(format!("{head}ten bytes.")).await;
        sockets.extend([slow, relay.connect().await]);
    }
    let all = async {
        while relay.budget.used() < (SENDERS * each) as u64 {
            tokio::task::yield_now().await;
        }
    };
    timeout(STUCK, all).await.expect("every sender is heard");
    assert_eq!(relay.budget.used(), (SENDERS * each) as u64);
    assert_eq!(relay.ask(request("POST /webhook", "", "x")).await.status, 202);
    drop(sockets);
    relay.backend.forget();
    let none = async {
        while relay.budget.used() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(STUCK, none).await.expect("what is gone holds nothing");
}

#[tokio::test]
async fn a_sender_that_waits_for_100_continue_gets_it_or_its_refusal() {
    let relay = Relay::start().await;
    let head = |length: u32| {
        format!(
            "POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut socket = relay.connect().await;
    socket.send(head(3)).await;
    assert!(socket.head().await.starts_with("HTTP/1.1 100 "));
    socket.send("abc").await;
    assert_eq!(socket.reply().await.status, 202);

    let mut socket = relay.connect().await;
    socket.send(head(1_000_000)).await;
    assert_eq!(socket.reply().await.code().as_deref(), Some("too_large"));
    let event = &relay.backend.events()[0];
    assert!(event.headers.iter().all(|(name, _)| name != "expect"));
}

#[tokio::test]
async fn an_upgraded_connection_is_passed_through_untouched() {
    let relay = Relay::start().await;
    let mut socket = relay.connect().await;
    socket.send("GET /connect HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
    assert!(socket.head().await.starts_with("HTTP/1.1 101 "));
    let raw = "\0\n\nPOST http://x HTTP/9\n\n";
    socket.send(raw).await;
    assert_eq!(socket.exactly(raw.len()).await, raw);
}

#[tokio::test]
async fn http_goes_on_after_an_upgrade_that_was_not_granted() {
    let relay = Relay::start().await;
    let mut socket = relay.connect().await;
    let asking = request("POST /webhook", "Connection: upgrade\r\nUpgrade: h2c\r\n", "1");
    socket.send(format!("{asking}{asking}{}", request("POST /webhook", "", "2"))).await;
    for _ in 0..3 {
        assert_eq!(socket.reply().await.status, 202);
    }
    socket.send("GET / HTTP/1.1\n\n").await;
    assert_eq!(socket.reply().await.status, 400);
}

/// I22: requests at hand are finished or told that the server stops, others closed, new ones not accepted: whoever uploads,
/// has sent half a head, has never said anything or takes no answer holds nothing up.
#[tokio::test]
async fn a_stop_waits_for_nobody() {
    let relay = Relay::start().await;
    let mut idle = relay.connect().await;
    idle.send(request("POST /webhook", "", "1")).await;
    assert_eq!(idle.reply().await.status, 202);
    let mut silent = relay.connect().await;
    let mut half = relay.connect().await;
    half.send("POST /webhook HTTP/1.1\r\nHost").await;
    let mut deaf = relay.connect().await;
    deaf.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(deaf.head().await.starts_with("HTTP/1.1 200 "));
    let mut begun = relay.connect().await;
    begun
        .send(format!(
            "POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        ))
        .await;
    assert!(begun.head().await.starts_with("HTTP/1.1 100 "));
    relay.stop.cancel();
    assert!(idle.is_closed().await);
    assert!(silent.is_closed().await && half.is_closed().await);
    let reply = begun.reply().await;
    assert_eq!((reply.status, reply.code().as_deref()), (503, Some("shutting_down")), "{reply:?}");
    assert_eq!((reply.field("connection"), reply.field("retry-after")), (Some("close"), Some("5")));
    assert!(begun.is_closed().await);
    assert!(relay.backend.events().len() == 1 && relay.budget.used() < 1_000);
    // Well below the patience for heads, bodies and answers.
    timeout(Duration::from_secs(5), relay.served).await.expect("the listener ends").unwrap();
    assert!(tokio::net::TcpStream::connect(relay.address).await.is_err());
}

#[tokio::test]
async fn a_panic_ends_one_connection_alone() {
    let relay = Relay::start().await;
    let mut socket = relay.connect().await;
    socket.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(socket.is_closed().await);
    assert_eq!(relay.ask(request("POST /webhook", "", "2")).await.status, 202);
    assert_eq!(relay.backend.panics(), 1);
}

/// I1: every sender gets the answer to its own request, however many there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_at_once_get_one_answer_for_each_request() {
    const SENDERS: usize = 50;
    const REQUESTS: usize = 40;
    let relay = Arc::new(Relay::start().await);
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..SENDERS {
        let relay = Arc::clone(&relay);
        senders.spawn(async move {
            let mut socket = relay.connect().await;
            let mut ids = BTreeSet::new();
            for _ in 0..REQUESTS {
                socket.send(request("POST /webhook", "", "x")).await;
                let reply = socket.reply().await;
                assert_eq!(reply.status, 202);
                ids.insert(reply.body);
            }
            ids
        });
    }
    let ids: BTreeSet<_> = senders.join_all().await.into_iter().flatten().collect();
    assert_eq!((ids.len(), relay.backend.events().len()), (SENDERS * REQUESTS, SENDERS * REQUESTS));
    relay.backend.forget();
    assert_eq!(relay.budget.used(), 0);
}
