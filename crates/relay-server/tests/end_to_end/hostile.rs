//! The client endpoint before peers that have a token and no manners.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use relay_core::{
    limits,
    wire::{
        codec,
        message::{GoAway, Hello, HelloDestination, Message},
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    bench::{ADMIN_TOKEN, API_KEY, Bench, RELAY_TOKEN},
    client::{answers, join},
    http,
};

/// Nothing here takes this long.
const STUCK: Duration = Duration::from_secs(60);

/// Asks for the upgrade with more fields; gives the socket and the answer's head.
async fn upgraded(bench: &Bench, fields: &str) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(bench.public).await.unwrap();
    let request = format!(
        "GET /connect HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nRelay-Protocol: 1\r\n{fields}\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    (socket, String::from_utf8(head).unwrap())
}

async fn let_in(bench: &Bench) -> TcpStream {
    let (socket, head) = upgraded(bench, &format!("Authorization: Bearer {RELAY_TOKEN}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    socket
}

/// A frame with a mask of zeros; `first` is its first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium @ 126..=65_535 => {
            frame.push(0xfe);
            frame.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0xff);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// A Hello that serves this many destinations.
fn hello(destinations: usize) -> Vec<u8> {
    let destination = |number| HelloDestination { name: format!("d{number}"), slots: 1, forward_timeout_ms: 1_000 };
    let hello = Hello {
        instance: vec![7; 16].into(),
        version: "0".into(),
        destinations: (0..destinations).map(destination).collect(),
        buffer_bytes: 1,
        ..Hello::default()
    };
    codec::encode(Message::Hello(hello)).to_vec()
}

/// Sends bytes and reads until the server closes.
async fn is_closed_after(mut socket: TcpStream, bytes: &[u8]) -> bool {
    let (mut reader, mut writer) = socket.split();
    let sent = async {
        // The server may close before it has read everything.
        let _ = writer.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    let closed = async {
        let mut piece = [0; 4096];
        while reader.read(&mut piece).await.is_ok_and(|read| read > 0) {}
    };
    timeout(STUCK, async {
        tokio::select! { () = sent => {}, () = closed => {} }
    })
    .await
    .is_ok()
}

/// S11: what is not a small, masked, binary message of the session ends that session, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_ends_its_session_alone() {
    let bench = Bench::start().await;
    let mut client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    let zeros = vec![0; 60_000];
    let mut endless = frame(0x02, &zeros);
    for _ in 0..=limits::MESSAGE_BYTES_MAX / 60_000 {
        endless.extend_from_slice(&frame(0x00, &zeros));
    }
    let mut claimed = vec![0x82, 0xff];
    claimed.extend_from_slice(&(1_u64 << 62).to_be_bytes());
    claimed.extend_from_slice(&[0; 4]);
    for (what, bytes) in [
        ("text", frame(0x81, b"hello")),
        ("a frame without a mask", vec![0x82, 1, 0]),
        ("a compressed frame", frame(0xc2, b"hello")),
        ("an unknown kind of frame", frame(0x83, b"hello")),
        ("a continuation of nothing", frame(0x80, b"hello")),
        ("bytes that are no message", frame(0x82, &[0xff; 100])),
        ("a frame over 1 MiB", frame(0x82, &vec![0; 1024 * 1024 + 1])),
        ("a frame that claims 4 EiB", claimed),
        ("a message over 1 MiB in many frames", endless),
        ("a ping over 125 bytes", frame(0x89, &[0; 126])),
        ("something before its Hello", frame(0x82, &codec::encode(Message::GoAway(GoAway::default())))),
        ("a Hello for too many destinations", frame(0x82, &hello(limits::SESSION_DESTINATIONS_MAX + 1))),
        ("a second Hello", [frame(0x82, &hello(1)), frame(0x82, &hello(1))].concat()),
        ("HTTP", b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
    ] {
        assert!(is_closed_after(let_in(&bench).await, &bytes).await, "{what}: the session goes on");
    }
    bench.post(b"{}").await;
    client.next().await;
    bench.until("delivered", 1).await;
    client.stop().await;
    bench.finish().await;
}

/// S11: no extension is agreed upon, `Origin` changes nothing, and cookies let nobody in.
#[tokio::test]
async fn a_browser_gets_no_further_than_its_token() {
    let bench = Bench::start().await;
    let browser =
        "Origin: https://evil.example\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: x\r\n";
    let (_, head) = upgraded(&bench, &format!("{browser}Cookie: token={RELAY_TOKEN}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    let (_, head) = upgraded(&bench, &format!("{browser}Authorization: Bearer {RELAY_TOKEN}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(!head.contains("sec-websocket-extensions") && !head.contains("sec-websocket-protocol"), "{head}");
    bench.finish().await;
}

/// S11: pings without end, from peers that never read, end with those peers' sockets; others go on meanwhile, also one that
/// pings now and then and takes its answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_holds_up_nobody() {
    let bench = Bench::start().await;
    let mut client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    let mut modest = greeting(&bench, 1).await;
    let pings = frame(0x89, &[0; 125]).repeat(500);
    let mut floods = Vec::new();
    for number in 0..32 {
        let (mut flooding, pings) = (greeting(&bench, 2 + number).await, pings.clone());
        floods.push(tokio::spawn(async move { while flooding.write_all(&pings).await.is_ok() {} }));
    }
    for _ in 0..20 {
        assert_eq!(bench.post(b"{}").await.status, 202);
        client.next().await;
        modest.write_all(&frame(0x89, b"here still")).await.unwrap();
        assert!(hears(&mut modest, b"here still").await);
    }
    for flood in floods {
        timeout(STUCK, flood).await.expect("long before its heartbeats are missed").unwrap();
    }
    modest.write_all(&frame(0x89, b"and still")).await.unwrap();
    assert!(hears(&mut modest, b"and still").await);
    client.stop().await;
    bench.until("delivered", 20).await;
    bench.finish().await;
}

/// S11: what sessions have of messages that never become whole is bounded for all of them together; those that keep most end,
/// and one that says little in drops does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_messages_are_bounded_over_all_sessions() {
    const PART: usize = limits::MESSAGE_BYTES_MAX - 1024;
    // Up to a buffer of each message may have been read with the hello before it.
    const KEPT: usize = PART - limits::SESSION_OWN_BYTES as usize - 16 * 1024;
    let bench = Bench::start().await;
    let mut modest = greeting(&bench, 0).await;
    let drops = frame(0x89, b"here still");
    modest.write_all(&drops[..9]).await.unwrap();
    let (fit, greedy) = (limits::SESSIONS_BYTES_MAX as usize / KEPT, 120);
    let (ended, mut parts) = (Arc::new(AtomicUsize::new(0)), Vec::new());
    let message = Arc::new(frame(0x82, &vec![0; PART + 1]));
    for number in 1..=greedy {
        let (mut socket, message, ended) = (greeting(&bench, number).await, Arc::clone(&message), Arc::clone(&ended));
        parts.push(tokio::spawn(async move {
            if socket.write_all(&message[..PART]).await.is_ok() {
                let mut piece = [0; 4096];
                while socket.read(&mut piece).await.is_ok_and(|read| read > 0) {}
            }
            ended.fetch_add(1, Ordering::Relaxed);
        }));
    }
    bench.until_holds(|| async { ended.load(Ordering::Relaxed) >= greedy as usize - fit }).await;
    modest.write_all(&drops[9..]).await.unwrap();
    assert!(hears(&mut modest, b"here still").await);
    parts.iter().for_each(tokio::task::JoinHandle::abort);
    bench.finish().await;
}

/// A session whose client has said hello, under an instance of this number.
async fn greeting(bench: &Bench, number: u8) -> TcpStream {
    let mut socket = let_in(bench).await;
    let destination = HelloDestination { name: "erp".into(), slots: 1, forward_timeout_ms: 1_000 };
    let hello = Hello {
        instance: [vec![9; 15], vec![number]].concat().into(),
        version: "0".into(),
        destinations: vec![destination],
        buffer_bytes: 1,
        ..Hello::default()
    };
    socket.write_all(&frame(0x82, &codec::encode(Message::Hello(hello)))).await.unwrap();
    socket
}

/// Reads until these words have come.
async fn hears(socket: &mut TcpStream, words: &[u8]) -> bool {
    let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
    let reads = async {
        while !heard.windows(words.len()).any(|window| window == words) {
            match socket.read(&mut piece).await {
                Ok(read) if read > 0 => heard.extend_from_slice(&piece[..read]),
                _ => return false,
            }
        }
        true
    };
    timeout(STUCK, reads).await.unwrap_or_default()
}

/// S1, S3, S4, S6, S7, S8, S25: the admin listener reads as strictly as the public one, and answers no page of another site.
#[tokio::test]
async fn the_admin_listener_is_no_easier_than_the_public_one() {
    let bench = Bench::start().await;
    let authorized = format!("Authorization: Bearer {ADMIN_TOKEN}\r\n");
    let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{fields}\r\n");
    let post = |fields: &str| {
        format!(
            "POST /api/v1/dead/purge HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{authorized}{fields}\r\n2\r\n{{}}\r\n0\r\n\r\n"
        )
    };
    let long = format!("Host: a\r\n{}", format!("X-A: {}\r\n", "a".repeat(4_000)).repeat(10));
    for (request, status) in [
        (post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"), 400),
        (post("Transfer-Encoding: gzip, chunked\r\n"), 501),
        (post("Content-Length: 2\r\nContent-Length: 2\r\n"), 400),
        (get("/livez", "Host: a\r\n").replace("\r\n", "\n"), 400),
        (get("/livez", "Host: a\r\nX: a\r\n b\r\n"), 400),
        (get("/livez", ""), 400),
        (get("/livez", "Host: a\r\nHost: a\r\n"), 400),
        (get("http://evil/livez", "Host: a\r\n"), 400),
        (get("/livez", &long), 431),
        (get(&format!("/livez?{}", "a".repeat(9_000)), "Host: a\r\n"), 414),
        (get("/metrics", "Host: evil.example:8081\r\n"), 421),
        (get("/metrics", "Host: localhost:8081\r\nOrigin: https://evil.example\r\n"), 403),
        (get("/metrics", "Host: localhost:8081\r\nSec-Fetch-Site: cross-site\r\n"), 403),
        (get("/api/v1/status", &format!("Host: localhost\r\n{authorized}Authorization: Bearer x\r\n")), 400),
        (get("/api/v1/status", &format!("Host: localhost\r\n{authorized}Origin: http://localhost\r\n")), 200),
        (get("/livez", "Host: 127.0.0.1:8081\r\n"), 200),
        (get("/livez", "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"), 200),
    ] {
        let reply = http::raw(bench.admin, request.as_bytes()).await;
        assert_eq!(reply.status, status, "{}", &request[..request.len().min(300)]);
        assert!(!reply.head.contains("access-control"), "{}", reply.head);
    }
    // On the socket nobody can be a web page: any name will do.
    let any = "GET /livez HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let mut socket = tokio::net::UnixStream::connect(bench.data_dir.join("admin.sock")).await.unwrap();
    socket.write_all(any.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    bench.finish().await;
}

/// S9: more silent sockets than the admin listener has places hold up neither it nor the socket.
#[tokio::test]
async fn silent_sockets_do_not_hold_up_operators() {
    let bench = Bench::start().await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(bench.admin).await.unwrap());
    }
    let asked = timeout(Duration::from_secs(5), http::tcp(bench.admin, "GET", "/livez", "", b""));
    assert_eq!(asked.await.expect("it is answered long before the silent ones are given up").status, 200);
    drop(silent);
    bench.finish().await;
}

/// S26: what a sender wrote is nothing that a browser would run, whoever opens it.
#[tokio::test]
async fn a_body_is_served_as_nothing_to_be_run() {
    let bench = Bench::start().await;
    let event = bench.post(b"<script>alert(1)</script>").await.json();
    let path = format!("/api/v1/events/{}/body", event["event_id"].as_str().unwrap());
    let reply = bench.command("GET", &path, Value::Null).await;
    assert_eq!(reply.text(), "<script>alert(1)</script>");
    for field in [
        "content-type: application/octet-stream",
        "content-disposition: attachment",
        "x-content-type-options: nosniff",
        "content-security-policy: sandbox; default-src 'none'",
    ] {
        assert!(reply.head.contains(field), "{}", reply.head);
    }
    bench.finish().await;
}

/// I21, S28: what was true of a source when an upload began is looked at again when its body is there.
#[tokio::test]
async fn an_upload_is_judged_by_the_source_as_it_is_at_its_end() {
    let bench = Bench::start().await;
    let made = bench.command("POST", "/api/v1/keys", json!({"source": "default", "name": "late"})).await.json();
    let key = made["key"].as_str().unwrap().to_owned();
    let source = json!({"name": "hub", "provider": "github", "parameters": [["secret", "the-first-secret"]]});
    assert_eq!(bench.command("POST", "/api/v1/sources", source).await.status, 201);
    let gone = json!({"name": "gone", "provider": "bearer", "parameters": [["token", "a-token-of-the-test"]]});
    assert_eq!(bench.command("POST", "/api/v1/sources", gone).await.status, 201);
    let signature = "8267b1658ae17fd734cd114335f40aeb5f0506db87ddec24be04da3744341b1b";
    let with = |path: &str, field: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{field}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
    };
    let good = with("/webhook", &format!("X-API-Key: {API_KEY}"));
    let revoked = with("/webhook", &format!("X-API-Key: {key}"));
    let resigned = with("/webhook/hub", &format!("X-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={signature}"));
    let deleted = with("/webhook/gone", "Authorization: Bearer a-token-of-the-test");
    let mut uploads = Vec::new();
    for head in [&good, &revoked, &resigned, &deleted] {
        uploads.push(begun(&bench, head).await);
    }
    assert_eq!(bench.command("DELETE", "/api/v1/keys/default/late", Value::Null).await.status, 204);
    let other = json!({"parameters": [["secret", "the-second-secret"]]});
    assert_eq!(bench.command("PATCH", "/api/v1/sources/hub", other).await.status, 200);
    assert_eq!(bench.command("DELETE", "/api/v1/sources/gone", Value::Null).await.status, 204);
    let mut told = Vec::new();
    for mut upload in uploads {
        upload.write_all(b"{}").await.unwrap();
        let mut answer = String::new();
        upload.read_to_string(&mut answer).await.unwrap();
        told.push(answer.split(' ').nth(1).unwrap().to_owned());
    }
    assert_eq!(told, ["202", "401", "401", "404"]);
    bench.finish().await;
}

/// Sends a head and reads the interim answer: from then on its body is waited for.
async fn begun(bench: &Bench, head: &str) -> TcpStream {
    let mut socket = TcpStream::connect(bench.public).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut interim = Vec::new();
    while !interim.ends_with(b"\r\n\r\n") {
        interim.push(socket.read_u8().await.unwrap());
    }
    assert!(interim.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&interim));
    socket
}

/// S23, S27: wrong tokens are counted and slowed at every entrance, and a right one passes all the while: behind a reverse proxy
/// on this machine everybody has its address.
#[tokio::test]
async fn guessed_tokens_are_counted_and_slowed() {
    let bench = Bench::start().await;
    let wrong = "Authorization: Bearer crt_guess\r\n";
    let right = format!("Authorization: Bearer {ADMIN_TOKEN}\r\n");
    let status = async |admin: bool, path: &str, field: &str| {
        let addr = if admin { bench.admin } else { bench.public };
        http::tcp(addr, "GET", path, field, b"").await
    };
    let began = std::time::Instant::now();
    for (admin, path, refused) in [(false, "/connect", 401), (true, "/api/v1/status", 401), (false, "/health", 200)] {
        for _ in 0..=limits::WRONG_TOKENS_BURST {
            assert_eq!(status(admin, path, wrong).await.status, refused, "{path}: it was looked at, and is wrong");
        }
    }
    assert!(began.elapsed() >= 3 * limits::WRONG_TOKEN_PAUSE, "S23: the last one of each is held back");
    assert_eq!(status(true, "/api/v1/status", &right).await.status, 200);
    assert_eq!(status(false, "/health", &right).await.json()["reasons"], json!([]));
    drop(let_in(&bench).await);
    assert_eq!(status(false, "/connect", "").await.status, 401);
    let metrics = http::tcp(bench.admin, "GET", "/metrics", "", b"").await.text();
    for line in [
        "crm_relay_tokens_refused_total{entrance=\"connect\",reason=\"wrong\"} 6",
        "crm_relay_tokens_refused_total{entrance=\"connect\",reason=\"missing\"} 1",
        "crm_relay_tokens_refused_total{entrance=\"admin\",reason=\"wrong\"} 6",
        "crm_relay_tokens_refused_total{entrance=\"health\",reason=\"wrong\"} 6",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    bench.finish().await;
}

/// "Why does nothing arrive?": what went to a path or source that there is none of is counted and shown, short and without its
/// query.
#[tokio::test]
async fn what_finds_nothing_is_shown() {
    let bench = Bench::start().await;
    for path in ["/webhook/strpie", "/webhooks/crm?token=secret", "/.env", "/webhook/default/..%2fx"] {
        let told = bench.post_to(path, "", b"{}").await;
        assert!(matches!(told.status, 400 | 404), "{told:?}");
        assert_eq!(told.text().contains("without an s"), path.starts_with("/webhooks"), "{told:?}");
    }
    let status = bench.ask("/api/v1/status").await;
    let missed: Vec<_> =
        status["missed"].as_array().unwrap().iter().map(|one| (&one["path"], &one["status"])).collect();
    let expected = [("/.env", 404), ("/webhooks/crm", 404), ("/webhook/strpie", 404)];
    let expected: Vec<_> = expected.map(|(path, status)| (json!(path), json!(status))).to_vec();
    assert_eq!(missed, expected.iter().map(|(path, status)| (path, status)).collect::<Vec<_>>());
    assert_eq!((&status["missed"][0]["method"], &status["missed"][0]["peer"]), (&json!("POST"), &json!("127.0.0.1")));
    let metrics = http::tcp(bench.admin, "GET", "/metrics", "", b"").await.text();
    assert!(
        metrics.contains("crm_relay_requests_refused_total{source=\"unknown\",reason=\"not_found\"} 2"),
        "{metrics}"
    );
    assert!(metrics.contains("{source=\"unknown\",reason=\"unknown_source\"} 1"), "{metrics}");
    // Dot segments are a fault of a request to a source that is there.
    let refusals = bench.ask("/api/v1/sources/default").await["refusals"].clone();
    assert!(refusals[0]["detail"].as_str().is_some_and(|detail| detail.contains("dot segments")), "{refusals}");
    bench.finish().await;
}
