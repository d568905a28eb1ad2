//! Genuine senders whose bodies do not fit into memory together.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::{Budget, KEY, Relay, STUCK, Socket, request, webhooks::signature};
use crate::clock::Clock;
use relay_core::time::Wall;

/// Memory for one body of this size and little beside it.
const BODY: usize = 2_000_000;
const BUDGET: u64 = 2_400_000;
const SENDERS: usize = 12;

async fn crowded() -> Arc<Relay> {
    let relay = Relay::with(|settings| {
        settings.body_bytes_max = BODY as u64;
        settings.budget = Budget::new(BUDGET);
    });
    Arc::new(relay.await)
}

/// How a body is announced.
#[derive(Clone, Copy, Debug)]
enum Sent {
    /// With its length, once it is asked for.
    Expecting,
    /// With its length, at once.
    AtOnce,
    /// In chunks.
    Chunked,
    /// With its length, and a signature that only the whole body shows to be good.
    Signed,
}

/// Sends one body; gives its status, and whether any of it was sent.
async fn send(relay: &Relay, sent: Sent, body: &str) -> (u16, bool) {
    let length = body.len();
    let fields = match sent {
        Sent::Expecting => format!("X-API-Key: {KEY}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n"),
        Sent::AtOnce => format!("X-API-Key: {KEY}\r\nContent-Length: {length}\r\n"),
        Sent::Chunked => format!("X-API-Key: {KEY}\r\nTransfer-Encoding: chunked\r\n"),
        Sent::Signed => {
            let seconds = Clock::start(Wall::MIN).present().as_millis() / 1_000;
            format!("Content-Length: {length}\r\n{}", signature("1", seconds, body))
        }
    };
    let path = if matches!(sent, Sent::Signed) { "/webhook/signed" } else { "/webhook" };
    let mut socket = relay.connect().await;
    socket.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    if matches!(sent, Sent::Expecting) {
        let head = socket.head().await;
        if !head.starts_with("HTTP/1.1 100 ") {
            assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nretry-after: 1\r\n"), "{head}");
            return (503, false);
        }
    }
    if matches!(sent, Sent::Chunked) {
        for piece in body.as_bytes().chunks(50_000) {
            socket.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
        }
        socket.send("0\r\n\r\n").await;
    } else {
        socket.send(body).await;
    }
    let reply = socket.reply().await;
    // What is stored goes out, as the hub has it.
    relay.backend.forget();
    (reply.status, true)
}

/// Every sender sends until one of its bodies is taken; gives how many were refused, of these how many that had been begun.
async fn all_get_in(sent: Sent) -> (usize, usize) {
    let relay = crowded().await;
    let body: Arc<str> = "x".repeat(BODY).into();
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (relay, body) = (Arc::clone(&relay), Arc::clone(&body));
        senders.spawn(async move {
            let (mut refused, mut begun) = (0, 0);
            loop {
                match send(&relay, sent, &body).await {
                    (200 | 202, _) => return (refused, begun),
                    (503, asked) => {
                        refused += 1;
                        begun += usize::from(asked);
                    }
                    other => panic!("{other:?}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    let all = timeout(STUCK, senders.join_all()).await.expect("everybody gets in");
    assert_eq!(relay.budget.used(), 0);
    all.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// I16, S36: of bodies that do not fit together those that are begun become whole, and the others are refused before any of
/// them is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proven_bodies_that_are_asked_for_become_whole() {
    let (_, begun) = all_get_in(Sent::Expecting).await;
    assert_eq!(begun, 0);
}

/// I16: nor do those lock each other out that send at once, or in chunks, or whose bodies prove themselves only when whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_do_not_lock_each_other_out() {
    for sent in [Sent::AtOnce, Sent::Chunked, Sent::Signed] {
        all_get_in(sent).await;
    }
}

/// I16, S36: whoever is proven, is promised all the memory and stalls, is in nobody's way for long.
#[tokio::test]
async fn proven_bodies_that_stall_give_way() {
    let relay = crowded().await;
    let head = format!("POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Length: {BODY}\r\n\r\n");
    for part in [10, BODY / 4 + 9_000, BODY / 2, BODY - 1] {
        let mut stalled = relay.connect().await;
        stalled.send(&head).await;
        stalled.send("x".repeat(part)).await;
        let body = "x".repeat(BODY);
        let comes_in = async { while send(&relay, Sent::AtOnce, &body).await.0 != 202 {} };
        assert!(timeout(STUCK, comes_in).await.is_ok(), "{part}");
    }
}

/// I16, S36: a body as large as there is memory comes in among many small ones, and keeps none of them out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_giant_comes_in_among_many_small_ones() {
    let relay = crowded().await;
    let mut small = JoinSet::new();
    for _ in 0..8 {
        let relay = Arc::clone(&relay);
        small.spawn(async move {
            let body = "x".repeat(10_000);
            loop {
                let (status, _) = send(&relay, Sent::AtOnce, &body).await;
                assert_eq!(status, 202);
            }
        });
    }
    let body = "x".repeat(BODY);
    let giant = async { while send(&relay, Sent::AtOnce, &body).await.0 != 202 {} };
    tokio::select! {
        giant = timeout(STUCK, giant) => giant.expect("it comes in"),
        small = small.join_next() => panic!("{small:?}"),
    }
}

/// I4, I16: what can never come in is too large, and is not sent again for ever.
#[tokio::test]
async fn a_body_that_never_fits_is_too_large() {
    let relay = Relay::with(|settings| {
        settings.body_bytes_max = BODY as u64;
        settings.budget = Budget::new(500_000);
    })
    .await;
    let head = |fields: &str| format!("POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n{fields}\r\n\r\n");
    for fields in ["Content-Length: 500000", "Content-Length: 500000\r\nExpect: 100-continue"] {
        assert_eq!(relay.ask(head(fields)).await.status, 413);
    }
    let mut chunked: Socket = relay.connect().await;
    chunked.send(head("Transfer-Encoding: chunked")).await;
    chunked.send(format!("{:x}\r\n{}", 600_000, "x".repeat(600_000))).await;
    assert_eq!(chunked.reply().await.status, 413);
    for size in [300_000, 480_000, 499_000] {
        assert_eq!(relay.ask(request("POST /webhook", "", &"x".repeat(size))).await.status, 202, "{size}");
        relay.backend.forget();
    }
}
