//! Traffic and surroundings that nobody would wish for, before the real binary.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use bytes::Bytes;
use http::Method;

use crate::{
    finding::signed_in,
    process::{API_KEY, Process, RELAY_TOKEN, Server, client, run, wait_for},
    sender::Sender,
    target::{Reply, Target},
};

/// 800 KB of gzip that inflate to 130 MB: one zero, then half a million times "the last 258 bytes again" (RFC 1951).
fn bomb() -> Bytes {
    const LAST_BLOCK_FIXED_CODES: &str = "110";
    const ZERO: &str = "00110000";
    const REPEAT_258_FROM_1_BACK: &str = "1100010100000";
    const END: &str = "0000000";
    let bits = [LAST_BLOCK_FIXED_CODES, ZERO, &REPEAT_258_FROM_1_BACK.repeat(500_000), END].concat();
    let octet = |bits: &[u8]| bits.iter().rev().fold(0, |octet, bit| octet << 1 | (bit - b'0'));
    let mut body = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff".to_vec();
    body.extend(bits.as_bytes().chunks(8).map(octet));
    body.into()
}

/// S12, I3: a compressed body is carried as it is, with its Content-Encoding; whoever looks through it or has it shown has only so much of it
/// inflated. None of that takes much more of the server's memory than it holds when that begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_body_is_never_inflated() {
    const MORE_KIB: u64 = 8 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(200)).await;
    let server = Server::start(dir.path(), &[("MAX_BODY_BYTES", "1MiB")]);
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    let (sender, bomb) = (Sender::new(), bomb());
    let cookie = signed_in(&server, &sender, "bob", "operator").await;
    let carried = async |body: &Bytes| {
        let headers = [("x-api-key", API_KEY), ("content-encoding", "gzip"), ("content-type", "application/json")];
        let (before, mut grown) = (target.count(), Vec::new());
        let held = forget_peak(&server);
        let event = sender.send(Method::POST, &server.url("/webhook"), &headers, body.clone()).await.unwrap().event();
        wait_for("the webhook to arrive", || (target.count() == before + 1).then_some(()));
        wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
        let arrival = target.arrivals().pop().unwrap();
        assert_eq!((arrival.header("content-encoding"), arrival.header("content-type")), ("gzip", "application/json"));
        assert_eq!(arrival.body, *body);
        assert_eq!(server.cli(&["event", "show", &event, "--body"]).stdout, *body);
        grown.push(peak_kib(&server) - held);
        let held = forget_peak(&server);
        let looked = server.json(&["event", "list", "--contains", "what is in none", "--all"]);
        grown.push(peak_kib(&server) - held);
        let held = forget_peak(&server);
        let page = format!("http://{}/events/{event}", server.admin);
        let page = sender.send(Method::GET, &page, &[("cookie", &cookie)], "").await.unwrap();
        grown.push(peak_kib(&server) - held);
        (grown, looked, String::from_utf8(page.body.to_vec()).unwrap())
    };
    // What begins so, and cannot be read any further, costs what any body of its length does.
    let broken = [&bomb[..10], &[0xff].repeat(bomb.len() - 10)].concat();
    carried(&broken.into()).await;
    let (grown, looked, page) = carried(&bomb).await;
    assert!(
        grown.iter().all(|grown| *grown <= MORE_KIB),
        "{grown:?} KiB more to carry it, to look through it, to show it"
    );
    assert_eq!((&looked["read"], &looked["unread"]), (&2.into(), &2.into()), "{looked}");
    assert!(page.contains("Shown decompressed"), "{page}");
}

/// A proxy for tunnels that keeps what it was asked.
fn proxy() -> (std::net::SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (ask, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let mut server = TcpStream::connect(head.split(' ').nth(1).unwrap()).unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let (mut back_from, mut back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
            std::thread::spawn(move || std::io::copy(&mut client, &mut server));
            if ask.send(head).is_err() {
                return;
            }
        }
    });
    (addr, asked)
}

/// S27: with every line of ours on, nothing that a sender, a target or an operator keeps to himself is in a log or a
/// metric: keys, tokens, logins, headers, cookies, paths, queries, bodies. Every log line is one JSON object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_and_no_payload_is_in_logs_or_metrics() {
    const KEY: &str = "crk_canary-0123456789abcdef01234567";
    const TOKEN: &str = "crt_canary-0123456789abcdef01234567";
    const ADMIN: &str = "cra_canary-0123456789abcdef01234567";
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|arrival| {
        let status = if arrival.header("relay-attempt") == "1" { 500 } else { 200 };
        Reply { headers: vec![("x-answer", "canary-answer".to_owned())], ..Reply::status(status) }
    })
    .await;
    let logging = [("LOG_FORMAT", "json"), ("RUST_LOG", "trace")];
    let secrets = [("API_KEY", KEY), ("RELAY_TOKEN", TOKEN), ("ADMIN_TOKEN", ADMIN), ("RETRY_DELAY", "10ms")];
    let server = Server::start(dir.path(), &[&secrets[..], &logging].concat());
    let (proxy, asked) = proxy();
    let through = format!("http://user:canary-login@{proxy}");
    let more = [("RELAY_TOKEN", TOKEN), ("RELAY_PROXY", &through), ("CLIENT_LISTEN", "127.0.0.1:0")];
    let to = [("default", target.url("/canary-target?canary"))];
    let mut behind = client(dir.path(), "client", server.public, &to, &[&more[..], &logging].concat());

    let sender = Sender::new();
    let headers = [
        ("x-a", "canary-header"),
        ("cookie", "canary-cookie"),
        ("authorization", "Basic canary"),
        ("x-odd", "canary\" }"),
    ];
    let url = server.url("/webhook/default/canary-path?token=canary-query");
    for (key, status) in [(KEY, 202), ("canary-wrong-key-0123456789", 401)] {
        let headers = [&headers[..], &[("x-api-key", key)]].concat();
        let told = sender.send(Method::POST, &url, &headers, "{\"canary\": \"body\"}").await.unwrap();
        assert_eq!(told.status, status);
    }
    let unknown = server.url("/webhook/canary-source?canary");
    assert_eq!(sender.send(Method::POST, &unknown, &headers[..2], "canary").await.unwrap().status, 404);
    let bearer = [("authorization", "Bearer canary-wrong-token-0123456789"), ("relay-protocol", "1")];
    assert_eq!(sender.send(Method::GET, &server.url("/connect"), &bearer, "").await.unwrap().status, 401);
    let admin = format!("http://{}/api/v1/events?canary=1", server.admin);
    assert_eq!(sender.send(Method::GET, &admin, &bearer, "").await.unwrap().status, 401);
    wait_for("the second try to arrive", || (target.count() == 2).then_some(()));
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    assert!(asked.recv().unwrap().contains("Proxy-Authorization"));

    let metrics = sender.send(Method::GET, &format!("http://{}/metrics", server.admin), &[], "").await.unwrap();
    assert!(!String::from_utf8_lossy(&metrics.body).contains("canary"));
    behind.signal("TERM");
    assert!(behind.wait().success(), "{}", behind.log());
    for log in [server.process.log(), behind.log()] {
        // Where it goes is the operator's to see; the query of it, and what came through it, are not.
        let told = log.replace("/canary-target", "");
        let line = told.lines().find(|line| line.contains("canary"));
        assert_eq!(line, None, "a secret is in a log");
        for line in log.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line.is_object()), "{line}");
        }
    }
}

/// S27: a process that does not start for a setting does not print the secret in it.
#[test]
fn no_fault_of_a_setting_prints_its_secret() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for (name, value) in [
        ("LOCAL_WEBHOOK_URL", "http://user:canary@127.0.0.1:1/"),
        ("LOCAL_WEBHOOK_URL", "crm=http://user:canary@h/ x,erp=3001"),
        ("RELAY_URL", "http://user:canary@127.0.0.1:1"),
        ("RELAY_URL", "gopher://user:canary@h"),
        ("RELAY_PROXY", "ftp://user:canary@h"),
        ("REDIS_URL", "redis://user:canary@127.0.0.1:6379/0"),
        ("REDIS_URL", "xredis://:canary@h"),
        ("PUBLIC_URL", "http://user:canary@h"),
        ("API_KEY", "canary"),
        ("RELAY_TOKEN", "canary with a \u{1b}"),
        ("ADMIN_TOKEN", "canary"),
    ] {
        let json = &["config", "check", "--json"][..];
        for command in [&["server"][..], &["client"], &["config", "check"], json, &["config", "print"]] {
            let env =
                [("DATA_DIR", data.to_str().unwrap()), ("ADMIN_LISTEN", "nonsense"), ("CLIENT_LISTEN", "nonsense")];
            let output = run(dir.path(), command, &[&env[..], &[(name, value)]].concat());
            for text in [output.stdout, output.stderr] {
                let text = String::from_utf8_lossy(&text);
                assert!(!text.contains("canary"), "{command:?} with {name}: {text}");
            }
        }
    }
}

/// A server on this machine is reached although the environment names a proxy for everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_of_the_environment_is_not_for_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(200)).await;
    let server = Server::start(dir.path(), &[]);
    let nowhere = "http://127.0.0.1:9";
    let more = [("HTTP_PROXY", nowhere), ("HTTPS_PROXY", nowhere), ("http_proxy", nowhere), ("https_proxy", nowhere)];
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &more);
    Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    wait_for("the webhook to arrive", || (target.count() == 1).then_some(()));
}

/// I16: where few files may be open, strangers' connections wait; the store, the operator and the client do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_descriptors_are_not_used_up_by_strangers() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(200)).await;
    let mut server = Server::start(dir.path(), &[]);
    server.process.signal("TERM");
    server.process.wait();
    server.restart_under(&["sh", "-c", "ulimit -n 100; exec \"$0\" \"$@\""]);
    assert!(server.process.log().contains("few_descriptors"), "{}", server.process.log());
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    let joined = || server.process.log().contains("client_joined").then_some(());
    wait_for("the client to join", joined);
    let strangers: Vec<TcpStream> = (0..150).map(|_| TcpStream::connect(server.public).unwrap()).collect();
    assert_eq!(server.queue_depth(), 0, "the operator is answered");
    drop(strangers);
    Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    wait_for("the webhook to arrive", || (target.count() == 1).then_some(()));
}

/// A stop of a client whose target never answers ends over its grace, with exit code 75, and nothing is lost: I22, I9.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_over_its_grace_says_so_and_its_webhook_is_forwarded_again() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::hang()).await;
    let server = Server::start(dir.path(), &[]);
    let targets = [("default", target.url("/"))];
    let grace = [("FORWARD_TIMEOUT", "5s"), ("SHUTDOWN_GRACE", "6s")];
    let mut first = client(dir.path(), "first", server.public, &targets, &grace);
    let event = Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    wait_for("the forward to begin", || (target.count() == 1).then_some(()));
    // The server is gone as well: the outcome of the forward cannot be reported.
    server.process.signal("STOP");
    first.signal("TERM");
    assert_eq!(first.wait().code(), Some(75), "{}", first.log());
    server.process.signal("CONT");
    target.answer(|_| Reply::status(200));
    let _second = client(dir.path(), "second", server.public, &targets, &[]);
    wait_for("another client to deliver it", || (target.delivered().get(&event) == Some(&1)).then_some(()));
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    server.audit();
}

/// I8, I9: a server that stood still hears first what its clients said meanwhile: a lease that they named has not ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stood_still_takes_no_lease_from_a_client_that_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::hang()).await;
    let server = Server::start(dir.path(), &[("LEASE", "2s")]);
    let targets = [("default", target.url("/"))];
    let client = client(dir.path(), "client", server.public, &targets, &[("FORWARD_TIMEOUT", "25s")]);
    Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    wait_for("the forward to begin", || (target.count() == 1).then_some(()));
    for _ in 0..3 {
        server.process.signal("STOP");
        tokio::time::sleep(std::time::Duration::from_millis(3_500)).await;
        server.process.signal("CONT");
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    }
    assert_eq!(target.count(), 1, "{}{}", server.process.log(), client.log());
    assert!(!server.process.log().contains("lease_lost"), "{}", server.process.log());
}

/// I22: a client that is stopped while its server restarts reports to the new one before it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_while_the_server_restarts_still_reports() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply { delay: std::time::Duration::from_secs(1), ..Reply::status(200) }).await;
    let mut server = Server::start(dir.path(), &[]);
    let targets = [("default", target.url("/"))];
    let mut behind = client(dir.path(), "client", server.public, &targets, &[]);
    let event = Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    wait_for("the forward to begin", || (target.count() == 1).then_some(()));
    behind.signal("TERM");
    server.process.kill();
    server.restart();
    let status = behind.wait();
    assert!(status.success(), "the client ended with {status}: {}", behind.log());
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    assert_eq!(target.delivered().get(&event), Some(&1));
    assert_eq!(target.count(), 1, "it is not forwarded again");
    server.audit();
}

/// The token of one server is of no use at another; the client ends and says so.
#[test]
fn a_refused_token_is_not_printed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[("RELAY_TOKEN", "crt_another-0123456789abcdef0123456")]);
    let log = dir.path().join("client.log");
    let url = format!("http://{}", server.public);
    let env = [("RELAY_URL", url.as_str()), ("RELAY_TOKEN", RELAY_TOKEN), ("LOCAL_WEBHOOK_URL", "9")];
    let mut client = Process::start(&log, &["client"], &env);
    assert_eq!(client.wait().code(), Some(77));
    assert!(!client.log().contains(RELAY_TOKEN));
}

/// S11: clients that begin large messages, ping and read nothing make the server hold so much and no more, however many there are.
#[test]
fn sessions_hold_a_bounded_memory_together() {
    const SESSIONS: u64 = 150;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let before = peak_kib(&server);
    // A ping of 125 bytes, a hundred times, and all but the end of a message of a MiB; each with a mask of zeros.
    let pings = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[0; 125]].concat().repeat(100);
    let part = [&[0x82, 0xff, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xff, 0, 0, 0, 0][..], &vec![7; 0x0f_ff00]].concat();
    let threads: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let (mut socket, pings, part) = (session(&server), pings.clone(), part.clone());
            std::thread::spawn(move || {
                // The server may end any of them.
                let _ = socket.write_all(&pings).and_then(|()| socket.write_all(&part));
                socket
            })
        })
        .collect();
    let held: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    wait_for("the first to give way", || server.process.log().contains("session_heavy").then_some(()));
    let (grown, own, together) = (peak_kib(&server) - before, SESSIONS * 192, 64 * 1024);
    // Beside it are the tasks and sockets of so many connections, and what those that were ended have not given back yet. Not
    // bounded, it would be the part of each.
    let most = own + together + SESSIONS * 192;
    assert!(most < SESSIONS * 1024, "or nothing is tested");
    assert!(grown < most, "grown by {grown} KiB, more than {most}");
    drop(held);
}

/// The most memory that the server held since it began, or since that was forgotten.
fn peak_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.pid())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    peak.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What was held before is not seen any more (`proc_pid_clear_refs(5)`): the peak is what is held now, which it tells.
fn forget_peak(server: &Server) -> u64 {
    std::fs::write(format!("/proc/{}/clear_refs", server.process.pid()), "5").unwrap();
    peak_kib(server)
}

/// A socket that was let in as a client's session.
fn session(server: &Server) -> TcpStream {
    let mut socket = TcpStream::connect(server.public).unwrap();
    let request = format!(
        "GET /connect HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nRelay-Protocol: 1\r\nAuthorization: Bearer {RELAY_TOKEN}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    socket
}
