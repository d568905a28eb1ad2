//! What goes wrong for people, and what they are told.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

use crate::{
    clock::clock,
    port::free_port,
    process::{ADMIN_TOKEN, API_KEY, Process, Server, client, run, wait_for},
    sender::Sender,
    target::{Reply, Target},
};

/// Every refusal has its status and its code, and stores nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_is_told_why_and_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[("MAX_BODY_BYTES", "1KiB")]);
    let sender = Sender::new();
    let url = server.url("/webhook");
    let post = |url: String, key: &'static str, body: Vec<u8>| {
        let sender = sender.clone();
        async move { sender.send(http::Method::POST, &url, &[("x-api-key", key)], body).await.unwrap() }
    };
    let refusals = [
        (post(url.clone(), API_KEY, vec![]).await, 400, "malformed"),
        (post(url.clone(), "crk_of_somebody_else", b"x".to_vec()).await, 401, "not_genuine"),
        (post(server.url("/webhook/nowhere"), API_KEY, b"x".to_vec()).await, 404, "unknown_source"),
        (post(url.clone(), API_KEY, vec![b'x'; 1025]).await, 413, "too_large"),
        (post(server.url("/webhook/default/a/../b"), API_KEY, b"x".to_vec()).await, 400, "malformed"),
    ];
    for (told, status, code) in refusals {
        assert_eq!((told.status, told.code().as_str()), (status, code), "{told:?}");
        assert_eq!(told.headers["content-type"], "application/problem+json");
    }
    let head = format!("POST /webhook HTTP/1.1\r\nhost: h\r\nx-api-key: {API_KEY}\r\n");
    let chunked = format!(
        "{head}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
        "100\r\n".to_owned() + &"x".repeat(256) + "\r\n"
    );
    assert!(raw(&server, &chunked).starts_with("HTTP/1.1 202"), "256 bytes by chunks are fine");
    let chunk = format!("200\r\n{}\r\n", "x".repeat(512));
    let too_large = format!("{head}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(3));
    assert!(raw(&server, &too_large).starts_with("HTTP/1.1 413"));
    let short = format!("{head}content-length: 100\r\n\r\nonly this");
    assert!(!raw(&server, &short).contains(" 202 "), "I4: a body shorter than declared");
    assert_eq!(server.json(&["health"])["webhooks_received"], 1);
}

/// Sends bytes, closes the sending half, and reads to the end.
fn raw(server: &Server, bytes: &str) -> String {
    let mut socket = TcpStream::connect(server.public).unwrap();
    socket.write_all(bytes.as_bytes()).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    // A refusal may close the socket while bytes of ours are still on their way.
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_port_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output =
        run(dir.path(), &["server"], &[("SERVER_HOST", "127.0.0.1"), ("SERVER_PORT", &port), ("ADMIN_LISTEN", "off")]);
    assert_eq!(output.status.code(), Some(69));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains(&port) && words.contains("in use"), "{words}");
}

#[test]
fn a_data_dir_in_use_is_named_with_its_user() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let data = server.data_dir();
    let env = [("DATA_DIR", data.to_str().unwrap()), ("SERVER_PORT", "0"), ("ADMIN_LISTEN", "off")];
    let output = run(dir.path(), &["server"], &env);
    assert_eq!(output.status.code(), Some(69));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains(&format!("another crm-relay (pid {}) uses", server.process.pid())), "{words}");
}

#[test]
fn an_unusable_data_dir_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let data = dir.path().join("file").join("data");
    let env = [("DATA_DIR", data.to_str().unwrap()), ("SERVER_PORT", "0"), ("ADMIN_LISTEN", "off")];
    let output = run(dir.path(), &["server"], &env);
    assert!(matches!(output.status.code(), Some(74 | 78)), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(data.to_str().unwrap()), "{output:?}");
}

/// I21: a wrong token ends the client with 77 and the next step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_ends_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let url = format!("http://{}", server.public);
    let env =
        [("RELAY_URL", url.as_str()), ("RELAY_TOKEN", "crt_this_is_not_the_token"), ("LOCAL_WEBHOOK_URL", "3000")];
    let output = run(dir.path(), &["client"], &env);
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("crm-relay token list"), "{words}");
    assert!(!words.contains("crt_this_is_not_the_token"), "{words}");
}

/// A client that starts before its server waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_waits_for_a_server_that_is_not_there_yet() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(200)).await;
    let mut server = Server::start(dir.path(), &[]);
    server.process.kill();
    let mut client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    wait_for("the client to say that it cannot reach it", || client.log().contains("refused").then_some(()));
    assert!(client.is_running());
    server.restart();
    let event = Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    wait_for("the webhook to arrive", || (target.delivered().get(&event) == Some(&1)).then_some(()));
}

/// I11: a target that cannot be reached burns no attempts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_target_burns_no_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let settings = [("RETRY_DELAY", "10ms"), ("MAX_RETRIES", "0"), ("CIRCUIT_PAUSE_MAX", "1s")];
    let server = Server::start(dir.path(), &settings);
    let _client = client(dir.path(), "client", server.public, &[("default", format!("http://{addr}/"))], &[]);
    let event = Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    let delivery = wait_for("a few tries", || {
        let shown = server.json(&["delivery", "list"])["items"][0].clone();
        (shown["tries"].as_u64()? >= 4).then_some(shown)
    });
    assert_eq!((delivery["attempts"].as_u64(), delivery["state"].as_str() == Some("dead")), (Some(0), false));
    let target = Target::start_at(addr, |_| Reply::status(200)).await;
    wait_for("the webhook to arrive", || (target.delivered().get(&event) == Some(&1)).then_some(()));
}

/// A redirect is an answer like any other: not followed, rejected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = Target::start(|_| Reply::status(200)).await;
    let location = elsewhere.url("/stolen");
    let target = Target::start(move |_| Reply {
        status: 307,
        headers: vec![("location", location.clone())],
        ..Reply::default()
    })
    .await;
    let server = Server::start(dir.path(), &[("MAX_RETRIES", "0")]);
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    let dead = wait_for("the delivery to end dead", || {
        server.json(&["dead", "list"])["items"].as_array().unwrap().first().cloned()
    });
    assert_eq!((dead["reason"].as_str(), dead["last"]["status"].as_u64()), (Some("rejected"), Some(307)));
    assert_eq!(elsewhere.count(), 0);
}

/// S18: the local URL stands in the client alone; nothing that the server says changes it. Two destinations, two URLs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_destination_has_its_own_url_in_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let (crm, erp) = (Target::start(|_| Reply::status(200)).await, Target::start(|_| Reply::status(200)).await);
    let server = Server::start(dir.path(), &[]);
    server.json(&["source", "create", "orders", "--destination", "erp"]);
    let key = server.json(&["key", "create", "orders", "shop"])["key"].as_str().unwrap().to_owned();
    let targets = [("default", crm.url("/crm")), ("erp", erp.url("/erp"))];
    let _client: Process = client(dir.path(), "client", server.public, &targets, &[]);
    let sender = Sender::new();
    sender.post(&server.url("/webhook"), "to crm").await.unwrap().event();
    let url = server.url("/webhook/orders/7");
    sender.send(http::Method::POST, &url, &[("x-api-key", &key)], "to erp").await.unwrap().event();
    wait_for("both to arrive", || (crm.count() == 1 && erp.count() == 1).then_some(()));
    assert_eq!(crm.arrivals()[0].path_and_query, "/crm");
    assert_eq!(erp.arrivals()[0].path_and_query, "/erp/7");
}

/// I24: a destination that no client serves is announced after a minute at the latest, and `/health` says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_ready_while_nobody_serves_the_destination() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let sender = Sender::new();
    sender.post(&server.url("/webhook"), "{}").await.unwrap().event();
    for path in ["/livez", "/readyz"] {
        let told = sender.send(http::Method::GET, &server.url(path), &[], "").await.unwrap();
        assert_eq!(told.status, 200, "{path} does not depend on clients or backlog");
    }
    let told = sender.send(http::Method::GET, &server.url("/health"), &[], "").await.unwrap();
    assert_eq!(told.json()["queue_depth"], 1);
}

/// I23: a store of a newer version is refused with 76 and left untouched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_store_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    server.process.signal("TERM");
    assert!(server.process.wait().success());
    let data = server.data_dir();
    let database = std::fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3")))
        .expect("the store is a SQLite file");
    let mut bytes = std::fs::read(&database).unwrap();
    // Bytes 60 to 63 of a SQLite file are its user_version: https://www.sqlite.org/fileformat.html section 1.3.
    bytes[60..64].copy_from_slice(&9999_u32.to_be_bytes());
    std::fs::write(&database, &bytes).unwrap();
    let env = [("DATA_DIR", data.to_str().unwrap()), ("SERVER_PORT", "0"), ("ADMIN_LISTEN", "off")];
    let output = run(dir.path(), &["server"], &env);
    assert_eq!(output.status.code(), Some(76), "{output:?}");
    assert_eq!(std::fs::read(&database).unwrap(), bytes, "untouched");
}

/// I13, I24: a destination that nobody serves is announced after a minute, again when half the TTL has passed, and what
/// expires is named. A minute takes a second here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_waits_is_announced() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[("MESSAGE_TTL", "4m")]);
    server.process.kill();
    server.restart_under(&clock(&["FAKETIME=+0 x60"]));
    Sender::new().post_until_taken(&server.url("/webhook"), API_KEY, "waits", "1").await;
    let logged = |event: &str| {
        let event = format!("event=\"{event}\"");
        wait_for(&event, || server.process.log().contains(&event).then_some(()));
    };
    logged("no_client");
    let health: serde_json::Value = serde_json::from_slice(&server.cli(&["health", "--json"]).stdout).unwrap();
    assert_eq!(health["status"], "degraded", "{health:#}");
    assert!(health["reasons"][0].as_str().unwrap().starts_with("destination default: no client for"), "{health:#}");
    logged("half_ttl");
    logged("delivery_expired");
    let lines = |event: &str| server.process.log().matches(&format!("event=\"{event}\"")).count();
    assert_eq!((lines("no_client"), lines("half_ttl")), (1, 1), "one line per destination");
    server.audit();
}

/// S9: who trickles a body at the admin listener gets 408 after half a minute, who trickles a head is cut off after ten
/// seconds, and others are served meanwhile; a body of more than 2 MB is refused. A minute takes a second here.
#[test]
fn a_command_that_trickles_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    server.process.kill();
    server.restart_under(&clock(&["FAKETIME=+0 x60"]));
    let head = format!("POST /api/v1/tokens HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n");
    let kind = "content-type: application/json\r\n";
    for framing in ["content-length: 1000000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n100000\r\n"] {
        let told = trickle(&server, &format!("{head}{kind}{framing}"));
        assert!(told.starts_with("HTTP/1.1 408") && told.contains("\"code\":\"timeout\""), "{told}");
    }
    let told = trickle(&server, "POST /api/v1/tokens HTTP/1.1\r\nx-y: ");
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 408"), "{told}");
    let told = trickle(&server, "POST /api/v1/tokens HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\n");
    assert!(told.starts_with("HTTP/1.1 401"), "who has no token is not waited for: {told}");
    let mut socket = TcpStream::connect(server.admin).unwrap();
    socket.write_all(format!("{head}{kind}content-length: 3000000\r\n\r\n").as_bytes()).unwrap();
    socket.write_all(&vec![b' '; 2 * 1024 * 1024 + 1]).unwrap();
    let mut told = String::new();
    socket.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 413"), "{told}");
    assert_eq!(server.json(&["token", "list"])["items"].as_array().unwrap().len(), 0);
}

/// Sends a beginning and then a space at a time until the other side has answered and closed, which it must.
fn trickle(server: &Server, beginning: &str) -> String {
    let mut socket = TcpStream::connect(server.admin).unwrap();
    socket.write_all(beginning.as_bytes()).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
    let mut answer = Vec::new();
    wait_for("the admin listener to cut it off", || {
        let mut piece = [0; 4096];
        match socket.read(&mut piece) {
            Ok(0) => Some(()),
            Ok(length) => {
                answer.extend_from_slice(&piece[..length]);
                None
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => socket.write_all(b" ").err().map(drop),
            Err(_) => Some(()),
        }
    });
    String::from_utf8(answer).unwrap()
}

/// I10 under F6: a clock set back or ahead a day while the server is down stalls nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_back_or_ahead_a_day_stalls_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target =
        Target::start(|arrival| Reply::status(if arrival.header("relay-attempt") == "1" { 500 } else { 200 })).await;
    let settings = [("RETRY_DELAY", "100ms"), ("MESSAGE_TTL", "7d")];
    let mut server = Server::start(dir.path(), &settings);
    let targets = [("default", target.url("/"))];
    let _client = client(dir.path(), "client", server.public, &targets, &[]);
    for shift in ["-1d", "+1d"] {
        let sender = Sender::new();
        let before = sender.post(&server.url("/webhook"), "before").await.unwrap().event();
        wait_for("the first try", || target.arrivals().iter().any(|arrival| arrival.event() == before).then_some(()));
        server.process.kill();
        server.restart_under(&clock(&[&format!("FAKETIME={shift}"), "DONT_FAKE_MONOTONIC=1"]));
        let after = Sender::new().post(&server.url("/webhook"), "after").await.unwrap().event();
        wait_for("both to arrive", || {
            let delivered = target.delivered();
            (delivered.contains_key(&before) && delivered.contains_key(&after)).then_some(())
        });
        wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    }
    let log = server.process.log();
    let told = log.lines().find(|line| line.contains("event=\"clock_set_back\"")).unwrap_or_else(|| panic!("{log}"));
    assert!(told.contains("set it and restart") && told.contains("new DATA_DIR"), "it says what to do: {told}");
    server.audit();
}

/// F6, I10, S28, I24: the clock is set while the server runs. What was signed by the right time is refused before and taken from
/// then on, deliveries go on, and the server says once what happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_put_right_while_the_server_runs_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(200)).await;
    let mut server = Server::start(dir.path(), &[("MESSAGE_TTL", "7d")]);
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    server.process.kill();
    // What is stored must not be later than the wrong clock: that is another case.
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    let file = dir.path().join("clock");
    std::fs::write(&file, "-1h").unwrap();
    let by_file = format!("FAKETIME_TIMESTAMP_FILE={}", file.display());
    server.restart_under(&clock(&[&by_file, "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1"]));
    let secret = "secret=whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let made = ["source", "create", "signed", "--provider", "standard-webhooks", "--set", secret];
    assert!(server.cli(&made).status.success());
    let signed = || server.cli(&["send", "--source", "signed"]).status.success();
    assert!(!signed(), "signed an hour ahead of the server's clock");
    for (shift, taken) in [("+0", true), ("-1d", false), ("+0", true)] {
        std::fs::write(&file, shift).unwrap();
        assert_eq!(signed(), taken, "the server's clock stands at {shift}");
    }
    wait_for("both to arrive", || (target.delivered().len() == 2).then_some(()));
    let told = || server.process.log().matches("event=\"clock_moved\"").count();
    wait_for("it to be told", || (told() > 0).then_some(()));
    let health = server.json(&["health"]);
    let reasons = health["reasons"].as_array().unwrap();
    let is_named = |reason: &serde_json::Value| reason.as_str().unwrap().contains("ahead of the time of this process");
    assert!(health["status"] == "degraded" && reasons.iter().any(is_named), "{health:#}");
    assert_eq!(told(), 1);
    server.audit();
}

/// A target with endless headers or an endless body ends its try; the client stays small and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_target_ends_its_try_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let hostile = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = hostile.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, socket) in hostile.incoming().enumerate() {
            let Ok(mut socket) = socket else { return };
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request);
                let (start, line) = match number % 2 {
                    0 => ("HTTP/1.1 200 OK\r\n".to_owned(), "x-more: and more\r\n".repeat(1000)),
                    _ => ("HTTP/1.1 500 No\r\ncontent-length: 10000000000\r\n\r\n".to_owned(), "body".repeat(10_000)),
                };
                let _ = socket.write_all(start.as_bytes());
                while socket.write_all(line.as_bytes()).is_ok() {}
            });
        }
    });
    let server = Server::start(dir.path(), &[("RETRY_DELAY", "10ms"), ("MAX_RETRIES", "1")]);
    let targets = [("default", format!("http://{addr}/"))];
    let mut client = client(dir.path(), "client", server.public, &targets, &[("FORWARD_TIMEOUT", "1s")]);
    Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    let dead = wait_for("the delivery to end dead", || {
        server.json(&["dead", "list"])["items"].as_array().unwrap().first().cloned()
    });
    assert_eq!((dead["reason"].as_str(), dead["last"]["status"].as_u64()), (Some("rejected"), Some(500)));
    assert!(client.is_running());
    let status = std::fs::read_to_string(format!("/proc/{}/status", client.pid())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 200 * 1024, "S20: the client grew to {kib} KiB");
}
