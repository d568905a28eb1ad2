//! Who is let in, and who is put out again.

use futures_util::{SinkExt as _, StreamExt as _};
use relay_core::{
    delivery::outcome::Class,
    limits,
    wire::{
        codec,
        message::{Hello, HelloDestination, LeaseRef, Message, Report},
    },
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message as Frame};

use crate::{
    bench::{Bench, RELAY_TOKEN},
    client::{answers, drive, join, upgrade},
};

#[tokio::test]
async fn a_wrong_token_and_no_token_are_refused_alike() {
    let bench = Bench::start().await;
    let wrong = upgrade(bench.public, "crt_wrong", Some("1")).await.unwrap_err();
    let none = bench.get("/connect", "Relay-Protocol: 1\r\n").await;
    assert_eq!((wrong.status().as_u16(), none.status), (401, 401));
    assert!(none.text().contains("crm-relay token list"));
    bench.finish().await;
}

#[tokio::test]
async fn another_version_of_the_protocol_is_told_so() {
    let bench = Bench::start().await;
    for version in [None, Some("2"), Some("one")] {
        let refused = upgrade(bench.public, RELAY_TOKEN, version).await.unwrap_err();
        assert_eq!(refused.status(), 426, "{version:?}");
        assert_eq!(refused.headers()["relay-protocol"], "1");
    }
    bench.finish().await;
}

#[tokio::test]
async fn a_request_without_an_upgrade_is_told_what_is_wanted() {
    let bench = Bench::start().await;
    let headers = format!("Authorization: Bearer {RELAY_TOKEN}\r\nRelay-Protocol: 1\r\n");
    assert_eq!(bench.get("/connect", &headers).await.status, 400);
    assert_eq!(bench.post_to("/connect", &headers, b"").await.status, 405);
    bench.finish().await;
}

/// S11: the key of the handshake is 16 bytes in base64, and nothing else (RFC 6455, 4.2.1).
#[tokio::test]
async fn a_handshake_with_another_key_is_refused() {
    let bench = Bench::start().await;
    for (key, status) in [
        ("x", 400),
        ("AAAAAAAAAAAAAAAAAAAA", 400),
        ("AAAAAAAAAAAAAAAAAAAAAAAA", 400),
        ("AAAAAAAAAAAAAAAAAAAAAA", 400),
        ("AAAAAAAAAAAAAAAAAAAAAB==", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", 101),
    ] {
        let headers = format!(
            "Authorization: Bearer {RELAY_TOKEN}\r\nRelay-Protocol: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        );
        assert_eq!(upgrade_status(bench.public, &headers).await, status, "{key}");
    }
    bench.finish().await;
}

/// The status of the answer to `GET /connect`.
async fn upgrade_status(addr: std::net::SocketAddr, headers: &str) -> u16 {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(format!("GET /connect HTTP/1.1\r\nHost: a\r\n{headers}\r\n").as_bytes()).await.unwrap();
    let mut line = [0; 12];
    socket.read_exact(&mut line).await.unwrap();
    std::str::from_utf8(&line[9..]).unwrap().parse().unwrap()
}

/// S11: one token has so many sessions and no more; who is refused hears why, and is let in once another has ended.
#[tokio::test]
async fn a_token_has_so_many_sessions() {
    let mut bench = Bench::start().await;
    let made = bench.command("POST", "/api/v1/tokens", json!({"name": "crm", "destinations": ["default"]})).await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let mut sockets = Vec::new();
    for _ in 0..limits::SESSIONS_PER_TOKEN_MAX {
        sockets.push(upgrade(bench.public, &token, Some("1")).await.unwrap());
    }
    let refused = upgrade(bench.public, &token, Some("1")).await.unwrap_err();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "15");
    let fields = format!(
        "Authorization: Bearer {token}\r\nRelay-Protocol: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    let told = bench.get("/connect", &fields).await;
    assert!(told.text().contains("the token crm has 256 sessions open"), "{}", told.text());

    let other = upgrade(bench.public, RELAY_TOKEN, Some("1")).await;
    assert!(other.is_ok(), "another token has its own");
    let attached = drive(bench.attached(), "default", answers(&[200]));
    sockets.pop();
    bench.until_holds(|| async { upgrade(bench.public, &token, Some("1")).await.is_ok() }).await;
    attached.stop().await;
    bench.finish().await;
}

/// I21: a revoked token lets nobody in, and closes the sockets it let in before.
#[tokio::test]
async fn a_revoked_token_closes_its_sockets() {
    let bench = Bench::start().await;
    let made = bench.command("POST", "/api/v1/tokens", json!({"name": "crm", "destinations": ["default"]})).await;
    assert_eq!(made.status, 201);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let mut client = join(bench.public, &token, "default", answers(&[200])).await;
    bench.post(b"{}").await;
    client.next().await;
    let kept = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;

    assert_eq!(bench.command("DELETE", "/api/v1/tokens/crm", json!(null)).await.status, 204);
    client.ended().await;
    assert_eq!(upgrade(bench.public, &token, Some("1")).await.unwrap_err().status(), 401);
    bench.until_holds(|| async { bench.ask("/api/v1/destinations/default").await["clients"] == 1 }).await;
    kept.stop().await;
    bench.finish().await;
}

/// I21: a token serves the destinations it names and no other.
#[tokio::test]
async fn a_token_of_another_destination_gets_nothing() {
    let bench = Bench::start().await;
    bench.command("POST", "/api/v1/routes", json!({"source": "default", "destination": "erp"})).await;
    let made = bench.command("POST", "/api/v1/tokens", json!({"name": "erp", "destinations": ["erp"]})).await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let mut stranger = join(bench.public, &token, "default", answers(&[200])).await;
    let client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    bench.post(b"{}").await;
    bench.until("delivered", 1).await;
    assert!(stranger.seen.try_recv().is_err());
    stranger.stop().await;
    client.stop().await;
    bench.finish().await;
}

/// The next message of a kind on a session.
async fn heard<T>(socket: &mut WebSocketStream<TcpStream>, kind: impl Fn(Message) -> Option<T>) -> T {
    loop {
        let Some(Ok(Frame::Binary(bytes))) = socket.next().await else { panic!("the session ended") };
        if let Some(said) = codec::decode(bytes).unwrap().and_then(&kind) {
            return said;
        }
    }
}

fn report(lease: LeaseRef, class: Class, status: u32) -> Frame {
    let report = Report { lease: Some(lease), class: class as u32, status, ..Report::default() };
    Frame::Binary(codec::encode(Message::Report(report)))
}

/// I21: a lease is settled by its holder's report alone, whoever else may serve the destination and knows the lease; the holder
/// may come back over another socket, and with the new secret of its token.
#[tokio::test]
async fn only_its_holder_settles_a_lease() {
    let bench = Bench::start().await;
    let made = bench.command("POST", "/api/v1/tokens", json!({"name": "crm", "destinations": ["default"]})).await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let mut client = upgrade(bench.public, &token, Some("1")).await.unwrap();
    client.send(hello(7, "default")).await.unwrap();
    assert_eq!(bench.post(b"{}").await.status, 202);
    let grant = |said| if let Message::Grant(grant) = said { grant.lease } else { None };
    let lease = heard(&mut client, grant).await;

    let mut other = upgrade(bench.public, RELAY_TOKEN, Some("1")).await.unwrap();
    other.send(hello(8, "default")).await.unwrap();
    for (class, status) in [(Class::Refused, 422), (Class::Delivered, 200)] {
        other.send(report(lease.clone(), class, status)).await.unwrap();
        bench.until("leased", 1).await;
    }

    let rotated = bench.command("POST", "/api/v1/tokens/crm/rotate", json!({"keep_old_ms": null})).await;
    let next = rotated.json()["token"].as_str().unwrap().to_owned();
    drop(client);
    let mut client = upgrade(bench.public, &next, Some("1")).await.unwrap();
    let greeting = Hello { held: vec![lease.clone()], ..greeting(7, "default") };
    client.send(Frame::Binary(codec::encode(Message::Hello(greeting)))).await.unwrap();
    let welcome = |said| if let Message::Welcome(welcome) = said { Some(welcome.resumed) } else { None };
    assert_eq!(heard(&mut client, welcome).await, std::slice::from_ref(&lease));
    client.send(report(lease, Class::Delivered, 200)).await.unwrap();
    bench.until("delivered", 1).await;
    // Until then it might have counted.
    heard(&mut other, |said| matches!(said, Message::Settled(_)).then_some(())).await;
    drop((client, other));
    bench.finish().await;
}

/// A client's first message.
pub(crate) fn hello(instance: u128, destination: &str) -> Frame {
    Frame::Binary(codec::encode(Message::Hello(greeting(instance, destination))))
}

fn greeting(instance: u128, destination: &str) -> Hello {
    let served = HelloDestination { name: destination.to_owned(), slots: 8, forward_timeout_ms: 5_000 };
    Hello {
        instance: instance.to_be_bytes().to_vec().into(),
        version: "0".into(),
        destinations: vec![served],
        buffer_bytes: 1 << 26,
        ..Hello::default()
    }
}

/// I8, I19: to a client that reads slowly, what matters does not wait behind megabytes of bodies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_messages_overtake_bodies_that_wait_for_a_slow_client() {
    let bench = Bench::start().await;
    let mut slow = upgrade(bench.public, RELAY_TOKEN, Some("1")).await.unwrap();
    slow.send(hello(7, "default")).await.unwrap();
    let body = vec![0; 8 * 1024 * 1024];
    for _ in 0..2 {
        assert_eq!(bench.post(&body).await.status, 202);
    }
    bench.until("leased", 2).await;
    let other = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    bench.until_holds(|| async { bench.ask("/api/v1/destinations/default").await["clients"] == 2 }).await;
    let mut before = 0;
    loop {
        let Some(Ok(Frame::Binary(bytes))) = slow.next().await else { panic!("the session ended") };
        before += bytes.len();
        if let Ok(Some(Message::Peers(_))) = codec::decode(bytes) {
            break;
        }
    }
    assert!(before < 2 * 1024 * 1024, "{before} bytes of bodies came first");
    drop(slow);
    other.stop().await;
    bench.finish().await;
}

/// S11, S23: a session that is polled is its token's alone, takes its pieces in their order and in bounds, and nothing else.
#[tokio::test]
async fn a_session_that_is_polled_takes_what_belongs_to_it() {
    let bench = Bench::start().await;
    let made =
        bench.command("POST", "/api/v1/tokens", json!({"name": "other", "destinations": ["default"]})).await.json();
    let other = made["token"].as_str().unwrap().to_owned();
    let ask = async |token: &str, fields: &str, body: &[u8]| {
        let fields = format!("Authorization: Bearer {token}\r\nRelay-Protocol: 1\r\n{fields}");
        bench.post_to("/connect/poll", &fields, body).await
    };
    assert_eq!(bench.get("/connect/poll", "").await.status, 405);
    assert_eq!(ask("crt_wrong", "", b"").await.status, 401);
    let begun = ask(RELAY_TOKEN, "", b"").await;
    assert_eq!(begun.status, 200);
    let head = begun.head.to_ascii_lowercase();
    assert!(head.contains("cache-control: no-store") && head.contains("content-length: 0"), "{head}");
    let name = head.split("relay-session: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let session = format!("Relay-Session: {name}\r\n");
    let up = format!("{session}Relay-Up: 0\r\n");
    assert_eq!(ask(&other, &up, b"x").await.status, 400, "another token's");
    assert_eq!(ask(RELAY_TOKEN, "Relay-Session: 00\r\nRelay-Up: 0\r\n", b"x").await.status, 400);
    for way in [
        "",
        "Relay-Up: x\r\n",
        "Relay-Up: -1\r\n",
        "Relay-Up: 0\r\nRelay-Down: 0\r\n",
        "Relay-Up: 0\r\nRelay-Up: 0\r\n",
    ] {
        assert_eq!(ask(RELAY_TOKEN, &format!("{session}{way}"), b"x").await.status, 400, "{way:?}");
    }
    assert_eq!(ask(RELAY_TOKEN, &format!("{session}Relay-Up: 1\r\n"), b"x").await.status, 400, "a gap");
    assert_eq!(ask(RELAY_TOKEN, &format!("{session}Relay-Down: 1\r\n"), b"").await.status, 400, "nobody said that");
    assert_eq!(ask(RELAY_TOKEN, &up, &vec![0; limits::POLL_BYTES_MAX + 1]).await.status, 413);
    // A ping, masked with zeros, in two pieces of which one comes twice: its pong shows that the session took it.
    let ping = [0x89, 0x80 | 2, 0, 0, 0, 0, b'h', b'i'];
    for (at, piece) in [(0, &ping[..5]), (0, &ping[..5]), (3, &ping[3..])] {
        let taken = ask(RELAY_TOKEN, &format!("{session}Relay-Up: {at}\r\n"), piece).await;
        assert_eq!(taken.status, 200);
        let so_far = format!("relay-up: {}\r\n", at + piece.len());
        assert!(taken.head.to_ascii_lowercase().contains(&so_far), "{}", taken.head);
    }
    for _ in 0..2 {
        let said = ask(RELAY_TOKEN, &format!("{session}Relay-Down: 0\r\n"), b"").await;
        assert_eq!((said.status, &said.body[..]), (200, &[0x8a, 2, b'h', b'i'][..]), "as often as it is asked for");
    }
    // What is no WebSocket's ends it.
    assert_eq!(ask(RELAY_TOKEN, &format!("{session}Relay-Up: 8\r\n"), &[0xff; 64]).await.status, 200);
    while ask(RELAY_TOKEN, &format!("{session}Relay-Down: 4\r\n"), b"").await.status == 200 {}
    bench.finish().await;
}
