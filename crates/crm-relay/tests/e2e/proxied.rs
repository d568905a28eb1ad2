//! The server behind proxies: whom everything that shows an address names.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::process::{ADMIN_TOKEN, API_KEY, Server, client, wait_for};

/// Sends these bytes on a socket of their own; gives what is said until the server closes.
async fn say(to: std::net::SocketAddr, bytes: &str) -> String {
    let mut socket = TcpStream::connect(to).await.unwrap();
    socket.write_all(bytes.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    // A socket closed with unread bytes is reset.
    let _ = socket.read_to_end(&mut said).await;
    String::from_utf8(said).unwrap()
}

fn post(path: &str, key: &str, fields: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nContent-Length: 2\r\nConnection: close\r\n{fields}\r\n{{}}"
    )
}

/// S15: refusals, misses, wrong tokens, the audit log and clients are of whom the trusted proxy names, on both listeners.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_shows_an_address_shows_whom_the_proxy_names() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[("TRUSTED_PROXIES", "127.0.0.1")]);
    let by = "X-Forwarded-For: 10.1.2.3, 203.0.113.9\r\n";
    assert!(say(server.public, &post("/webhook", API_KEY, by)).await.starts_with("HTTP/1.1 202 "));
    assert!(say(server.public, &post("/webhook", "wrong", by)).await.starts_with("HTTP/1.1 401 "));
    assert!(say(server.public, &post("/webhook/none", "wrong", by)).await.starts_with("HTTP/1.1 404 "));
    let shown = server.json(&["source", "show", "default"]);
    let refused = &shown["refusals"][0];
    assert_eq!((&refused["peer"], &refused["proxy"]), (&"203.0.113.9".into(), &"127.0.0.1".into()), "{shown}");
    let status = server.json(&["status"]);
    let missed = &status["missed"][0];
    assert_eq!((&missed["peer"], &missed["proxy"]), (&"203.0.113.9".into(), &"127.0.0.1".into()), "{status}");

    let ask = |token: &str| {
        let (head, body) = ("POST /api/v1/keys HTTP/1.1\r\nHost: localhost", r#"{"source":"default","name":"ci"}"#);
        let length = body.len();
        format!(
            "{head}\r\n{by}Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    };
    let refused = say(server.admin, &ask("made-up-and-wrong")).await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    let told = r#"entrance="admin" token="wrong" peer="203.0.113.9""#;
    wait_for("the log to say from where", || server.process.log().contains(told).then_some(()));
    let made = say(server.admin, &ask(ADMIN_TOKEN)).await;
    assert!(made.starts_with("HTTP/1.1 201 "), "{made}");
    let audit: Value = server.json(&["audit-log"]);
    assert!(audit.to_string().contains(r#""peer":"203.0.113.9""#), "{audit}");
}

/// S15, S7: the PROXY protocol on the public listener alone, for webhooks and sessions; names and paths as they are configured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_asks_for_the_proxy_protocol_hears_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("TRUSTED_PROXIES", "127.0.0.0/8"),
        ("PROXY_PROTOCOL", "public"),
        ("ALLOWED_HOSTS", "hooks.test"),
        ("PUBLIC_URL", "https://relay.test/in"),
    ];
    let server = Server::start(dir.path(), &settings);
    let header = "PROXY TCP6 2001:db8::7 ::1 4711 443\r\n";
    for (host, status) in [("hooks.test", 202), ("relay.test:443", 202), ("a", 421)] {
        let asked = post("/in/webhook/default/x", API_KEY, "").replace("Host: a", &format!("Host: {host}"));
        let said = say(server.public, &format!("{header}{asked}")).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {said}");
    }
    let asked = post("/webhook", "wrong", "").replace("Host: a", "Host: hooks.test");
    assert!(say(server.public, &format!("{header}{asked}")).await.starts_with("HTTP/1.1 401 "));
    assert_eq!(server.json(&["source", "show", "default"])["refusals"][0]["peer"], "2001:db8::7");
    assert_eq!(say(server.public, &asked).await, "");
    wait_for("the log to say so", || server.process.log().contains(r#"event="no_proxy_header""#).then_some(()));
    let events = server.json(&["event", "list"]);
    let paths: Vec<&str> =
        events["items"].as_array().unwrap().iter().filter_map(|event| event["path"].as_str()).collect();
    assert!(paths.iter().all(|path| *path == "/webhook/default/x"), "{events}");
    // Whoever dials it without a proxy gets nowhere, and goes on trying.
    let lost = client(dir.path(), "lost", server.public, &[("default", "http://127.0.0.1:9".to_owned())], &[]);
    wait_for("a client to be closed", || lost.log().contains(r#"event="disconnected""#).then_some(()));
}

/// S36: what a source took today is known after a stop and after a kill, and shown as it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_days_quota_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let cli = |server: &Server, args: &[&str]| {
        let output = server.cli(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    cli(&server, &["source", "update", "default", "--daily-events", "5", "--daily-bytes", "1 GiB"]);
    let post = async |server: &Server| say(server.public, &post("/webhook", API_KEY, "")).await[9..12].to_owned();
    for _ in 0..4 {
        assert_eq!(post(&server).await, "202");
    }
    wait_for("the log to warn", || server.process.log().contains(r#"event="quota_near""#).then_some(()));
    let shown = cli(&server, &["source", "show", "default"]);
    assert!(shown.contains("4 of 5 today (80 %)") && shown.contains("1GiB"), "{shown}");
    server.process.signal("TERM");
    server.process.wait();
    server.restart();
    assert_eq!(post(&server).await, "202");
    let file = server.data_dir().join("quotas.json");
    wait_for("it to be written", || std::fs::read_to_string(&file).unwrap().contains("[5,10]").then_some(()));
    server.process.kill();
    server.restart();
    assert_eq!(post(&server).await, "429");
    let metrics = say(server.admin, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    for line in [
        r#"crm_relay_source_quota{source="default",measure="events"} 5"#,
        r#"crm_relay_source_quota_used{source="default",measure="events"} 5"#,
        r#"crm_relay_source_quota_used{source="default",measure="bytes"} 10"#,
        r#"crm_relay_requests_refused_total{source="default",reason="quota_reached"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    wait_for("the log to say so", || server.process.log().contains(r#"event="quota_reached""#).then_some(()));
    cli(&server, &["source", "update", "default", "--daily-events", "none"]);
    assert_eq!(post(&server).await, "202");
}

/// S7, S15: a sample of this machine is heard where the server is asked under names alone, and where it hears proxies alone; and where
/// it does not hear this machine, the command says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_are_heard_by_a_server_behind_a_proxy() {
    let key = format!("key={API_KEY}");
    for (trusted, named, heard) in [
        ("127.0.0.0/8", ("ALLOWED_HOSTS", "hooks.test"), true),
        ("127.0.0.0/8", ("PROXY_PROTOCOL", "public"), true),
        ("192.0.2.1", ("PROXY_PROTOCOL", "public"), false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path(), &[("TRUSTED_PROXIES", trusted), named]);
        for source in [&[][..], &["--source", "default"]] {
            let sent = server.cli(&[&["send", "--set", &key], source].concat());
            let said = format!("{}{}", String::from_utf8_lossy(&sent.stdout), String::from_utf8_lossy(&sent.stderr));
            assert_eq!(sent.status.success(), heard, "{named:?} {source:?}: {said}");
            assert!(heard || said.contains("TRUSTED_PROXIES"), "{said}");
        }
        let stored = server.json(&["event", "list"])["items"].as_array().unwrap().len();
        assert_eq!(stored, if heard { 2 } else { 0 });
    }
}

/// S35, S36: a source is closed and bounded by commands, at once, and shows it; so do the metrics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_says_who_may_come_and_shows_who_came_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[("TRUSTED_PROXIES", "127.0.0.1")]);
    let cli = |args: &[&str]| {
        let output = server.cli(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    cli(&[
        "source",
        "update",
        "default",
        "--allow",
        "203.0.113.0/24,2001:db8::/32",
        "--deny",
        "203.0.113.66",
        "--address-rate",
        "1/h",
    ]);
    let post = async |from: &str| {
        let said = say(server.public, &post("/webhook", API_KEY, &format!("X-Forwarded-For: {from}\r\n"))).await;
        (said[9..12].to_owned(), said)
    };
    for (from, status) in
        [("203.0.113.9", "202"), ("203.0.113.9", "429"), ("203.0.113.66", "403"), ("192.0.2.7", "403")]
    {
        let (answered, said) = post(from).await;
        assert_eq!(answered, status, "{from}: {said}");
    }
    let shown = cli(&["source", "show", "default"]);
    for part in ["1/h", "203.0.113.0/24, 2001:db8::/32", "address_refused 2", "address_rate_limited 1", "192.0.2.7"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let metrics = say(server.admin, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    let counted = r#"crm_relay_requests_refused_total{source="default",reason="address_refused"} 2"#;
    assert!(metrics.contains(counted), "{metrics}");
    let refused = server.cli(&["source", "update", "default", "--allow", ","]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    cli(&["source", "update", "default", "--allow", "none", "--deny", "none", "--address-rate", "none"]);
    assert_eq!(post("192.0.2.7").await.0, "202");
    assert!(!cli(&["source", "show", "default"]).contains("203.0.113.0/24"));
}
