use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_tungstenite::accept_async;

use super::*;
use crate::certificate::authority;

fn config(relay: &str) -> Config {
    Config {
        relay_url: relay.parse().unwrap(),
        token: "crt_test".into(),
        destinations: Vec::new(),
        buffer_bytes: 1,
        proxy: None,
        ca_file: None,
        pins: Vec::new(),
        carrier: crate::Carrier::Auto,
        identity: None,
        listen: None,
        listen_names: Vec::new(),
        shutdown_grace: Duration::ZERO,
        summary_interval: Duration::ZERO,
        label: String::new(),
    }
}

async fn bind() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    (listener, addr)
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Dials a server that answers the upgrade with this.
async fn answered(answer: &str) -> DialFailure {
    let (listener, addr) = bind().await;
    let dialer = Dialer::new(&config(&format!("ws://{addr}"))).unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        // Nobody takes requests in place of it either.
        drop(listener);
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    tokio::join!(dialer.dial(), server).0.unwrap_err()
}

#[test]
fn connect_is_appended_to_the_base_url() {
    let check = |base: &str, want: &str| {
        let base: Uri = base.parse().unwrap();
        let encrypted = matches!(base.scheme_str(), Some("wss" | "https"));
        assert_eq!(connect_url(&base, encrypted).map(|url| url.to_string()).as_deref(), Some(want));
    };
    check("https://relay.example.com", "wss://relay.example.com/connect");
    check("wss://relay.example.com/base/", "wss://relay.example.com/base/connect");
    check("ws://127.0.0.1:8080/connect", "ws://127.0.0.1:8080/connect");
    check("http://[::1]:8080/", "ws://[::1]:8080/connect");
}

#[tokio::test]
async fn a_server_that_wants_the_client_later_is_understood() {
    let later = async |answer: &str| match answered(answer).await {
        DialFailure::Later { after, why } => (after, why),
        other => panic!("{other:?}"),
    };
    let (after, why) = later("HTTP/1.1 503 Busy\r\nretry-after: 9\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(after, Duration::from_secs(9));
    assert!(why.contains("503 Service Unavailable") && why.contains("not as a relay server does"), "{why}");
    assert_eq!(later("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await.0, LATER_UNSAID);
    let (_, why) = later("HTTP/1.1 429 X\r\nrelay-protocol: 1\r\ncontent-length: 0\r\n\r\n").await;
    assert!(why.ends_with("answered 429 Too Many Requests instead of opening a session"), "{why}");
}

/// S27: what the server says about it is told, on one line and not without end.
#[tokio::test]
async fn a_server_that_wants_the_client_later_is_quoted() {
    let problem = |detail: &str| {
        serde_json::json!({"type": "about:blank", "title": "X", "status": 429, "code": "rate_limited", "detail": detail})
            .to_string()
    };
    let framed = |body: &str| format!("content-length: {}\r\n\r\n{body}", body.len());
    let chunked = |body: &str| format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let long = "so ".repeat(3_000);
    for (rest, want) in [
        // Of a server that says the end by closing.
        (format!("\r\n{}", problem("too many wrong tokens")), Some(": too many wrong tokens")),
        (framed(&problem("too many wrong tokens")), Some(": too many wrong tokens")),
        (chunked(&problem("too many wrong tokens")), Some(": too many wrong tokens")),
        (framed(&problem("a\n\u{1b}[31mb\u{202e}")), Some(": a\u{fffd}\u{fffd}[31mb\u{fffd}")),
        (framed(&problem(" ")), None),
        (framed("{\"detail\": 5}"), None),
        (framed("{\"detail\": \"cut"), None),
        (framed("<h1>Busy</h1>"), None),
    ] {
        for (version, status) in [("1.1", "429 X"), ("1.0", "503 X"), ("1.2", "503 X")] {
            let answer = format!("HTTP/{version} {status}\r\nrelay-protocol: 1\r\nretry-after: 9\r\n{rest}");
            let DialFailure::Later { after, why } = answered(&answer).await else { panic!("{answer}") };
            assert_eq!(after, Duration::from_secs(9));
            assert!(why.contains(&status[..3]) && why.ends_with(want.unwrap_or("opening a session")), "{why}");
        }
    }
    let answer = format!("HTTP/1.1 429 X\r\nrelay-protocol: 1\r\n{}", framed(&problem(&long)));
    let DialFailure::Later { why, .. } = answered(&answer).await else { panic!() };
    assert!(why.contains(": so so ") && why.len() < 2_000, "{}", why.len());
    // A server or a proxy that says its head first, and keeps the connection.
    let (listener, addr) = bind().await;
    let dialer = Dialer::new(&config(&format!("ws://{addr}"))).unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        let body = problem("about to stop");
        let parts = [
            format!("HTTP/1.1 503 X\r\nrelay-protocol: 1\r\ncontent-length: {}\r\n\r\n", body.len()),
            body[..20].to_owned(),
            body[20..].to_owned(),
        ];
        for part in parts {
            stream.write_all(part.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream
    };
    let (dialled, _stream) = tokio::join!(dialer.dial(), server);
    let DialFailure::Later { why, .. } = dialled.unwrap_err() else { panic!() };
    assert!(why.ends_with(": about to stop"), "{why}");
}

#[tokio::test]
async fn what_is_no_relay_server_is_said_in_words() {
    let DialFailure::Failed(words) = answered("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await else {
        panic!()
    };
    assert!(words.contains("no crm-relay server at"), "{words}");
    let DialFailure::Failed(words) = answered("SSH-2.0-OpenSSH_9.2\r\n").await else { panic!() };
    assert!(words.contains("did not open a session") && words.contains("https://"), "{words}");
    let (listener, addr) = bind().await;
    drop(listener);
    let DialFailure::Failed(words) = Dialer::new(&config(&format!("ws://{addr}"))).unwrap().dial().await.unwrap_err()
    else {
        panic!()
    };
    assert_eq!(words, format!("connection refused by {addr}; is anything listening there?"));
}

/// A proxy for one tunnel: answers the CONNECT, then carries bytes.
async fn proxied(listener: &TcpListener, answer: &str) -> String {
    let (mut client, _) = listener.accept().await.unwrap();
    let request = head(&mut client).await;
    client.write_all(answer.as_bytes()).await.unwrap();
    if answer.contains(" 200 ") {
        let target = request.split(' ').nth(1).unwrap();
        let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
    request
}

#[tokio::test]
async fn a_proxy_is_passed_with_its_user_and_password() {
    let ((relay, relay_addr), (proxy, proxy_addr)) = (bind().await, bind().await);
    let mut config = config(&format!("ws://{relay_addr}"));
    config.proxy = Some(format!("http://user:p%40ss@{proxy_addr}").parse().unwrap());
    let dialer = Dialer::new(&config).unwrap();
    let server = async {
        let (stream, _) = relay.accept().await.unwrap();
        drop(accept_async(stream).await.unwrap());
    };
    let dialled = async { drop(dialer.dial().await.unwrap()) };
    let (request, (), ()) = tokio::join!(proxied(&proxy, "HTTP/1.2 200 Fine\r\nx: y\r\n\r\n"), server, dialled);
    assert!(request.starts_with(&format!("CONNECT {relay_addr} HTTP/1.1\r\n")), "{request}");
    assert!(request.contains("\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n"), "{request}");
    assert!(!request.contains("crt_test"), "the token is not for the proxy");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_said_in_words() {
    for (answer, want) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".to_owned(), "user and a password"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n".to_owned(), "status 403"),
        (format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(20_000)), "too long"),
    ] {
        let (proxy, proxy_addr) = bind().await;
        let mut config = config("wss://relay.example.com");
        config.proxy = Some(format!("http://{proxy_addr}").parse().unwrap());
        let dialer = Dialer::new(&config).unwrap();
        let refuse = async {
            let (mut client, _) = proxy.accept().await.unwrap();
            let request = head(&mut client).await;
            // A client that has read enough hangs up.
            let _ = client.write_all(answer.as_bytes()).await;
            request
        };
        let (dialled, request) = tokio::join!(dialer.dial(), refuse);
        assert!(request.starts_with("CONNECT relay.example.com:443 HTTP/1.1\r\n"), "{request}");
        let DialFailure::Failed(words) = dialled.unwrap_err() else { panic!() };
        assert!(words.contains(want), "{words}");
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) {
    drop(accept_async(stream).await.unwrap());
}

/// The server's certificate is checked; a company's own authority is trusted once it is named.
#[tokio::test]
async fn a_server_behind_tls_is_trusted_with_its_authority_and_refused_without() {
    let dir = tempfile::tempdir().unwrap();
    let (ca_file, acceptor) = authority(&dir);
    for ca_file in [Some(ca_file), None] {
        let (relay, addr) = bind().await;
        let trusted = ca_file.is_some();
        let mut config = config(&format!("wss://{addr}"));
        config.ca_file = ca_file;
        let dialer = Dialer::new(&config).unwrap();
        let server = async {
            let (stream, _) = relay.accept().await.unwrap();
            let accepted = acceptor.accept(stream).await;
            assert_eq!(accepted.is_ok(), trusted);
            if let Ok(stream) = accepted {
                serve(stream).await;
            }
        };
        match tokio::join!(dialer.dial(), server).0 {
            Ok(_) => assert!(trusted),
            Err(DialFailure::Failed(words)) => assert!(!trusted && words.contains("RELAY_CA_FILE"), "{words}"),
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// S30: another key than the pinned one is not talked to, though its authority is trusted.
#[tokio::test]
async fn a_server_with_another_key_than_the_pinned_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (ca_file, acceptor) = authority(&dir);
    let (relay, addr) = bind().await;
    let mut config = config(&format!("wss://{addr}"));
    config.ca_file = Some(ca_file);
    config.pins = vec!["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".parse().unwrap()];
    let dialer = Dialer::new(&config).unwrap();
    let server = async {
        let (stream, _) = relay.accept().await.unwrap();
        assert!(acceptor.accept(stream).await.is_err());
    };
    match tokio::join!(dialer.dial(), server).0 {
        Err(DialFailure::Failed(words)) => assert!(words.contains("none of RELAY_PIN"), "{words}"),
        other => panic!("{:?}", other.map(drop)),
    }
}

#[test]
fn a_ca_file_that_holds_nothing_usable_is_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config("wss://relay.example.com");
    config.ca_file = Some(dir.path().join("missing.pem"));
    assert!(matches!(Dialer::new(&config), Err(DialerError::Tls(TlsError::CaFile { .. }))));
    let marked = dir.path().join("marked.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    std::fs::write(&marked, format!("\u{feff}{}", pem.replace('\n', "\r\n"))).unwrap();
    config.ca_file = Some(marked);
    assert!(Dialer::new(&config).is_ok(), "an editor's mark of byte order is no fault");
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "nothing\n").unwrap();
    config.ca_file = Some(empty);
    assert!(matches!(Dialer::new(&config), Err(DialerError::Tls(TlsError::Certificates { .. }))));
}

/// The words that nginx and Go's server have for a client that forgot the "s".
#[tokio::test]
async fn a_port_that_speaks_tls_is_named_as_such() {
    for body in [
        "<center>The plain HTTP request was sent to HTTPS port</center>",
        "Client sent an HTTP request to an HTTPS server.\n",
    ] {
        let answer = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let DialFailure::Failed(words) = answered(&answer).await else { panic!() };
        assert!(words.contains("speaks TLS there; use https://"), "{words}");
    }
    // An alert of TLS, the version that Go's server answers in, and no word at all.
    let go = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    for answer in ["\u{15}\u{3}\u{3}\0\u{2}\u{2}F", go, ""] {
        let DialFailure::Failed(words) = answered(answer).await else { panic!() };
        assert!(words.contains("use https://"), "{answer:?}: {words}");
    }
}

/// A port without TLS answers in plain words to who speaks TLS.
#[tokio::test]
async fn a_port_that_speaks_plain_http_is_named_as_such() {
    let (listener, addr) = bind().await;
    let dialer = Dialer::new(&config(&format!("wss://{addr}"))).unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    };
    let DialFailure::Failed(words) = tokio::join!(dialer.dial(), server).0.unwrap_err() else { panic!() };
    assert!(words.contains("plain HTTP") && words.contains("TLS_CERT_FILE there"), "{words}");
}

/// Only an answer that names the protocol is the server's and final.
#[tokio::test]
async fn a_refusal_is_final_only_from_a_relay_server() {
    for (answer, want) in [
        ("401 X\r\nrelay-protocol: 1", DialFailure::TokenRefused),
        ("426 X\r\nRelay-Protocol: 9", DialFailure::VersionRefused),
    ] {
        assert_eq!(answered(&format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n")).await, want);
    }
    for answer in
        ["401 X", "403 X", "426 X", "407 X\r\nproxy-authenticate: Basic", "302 X\r\nlocation: /login", "200 OK"]
    {
        let failure = answered(&format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n")).await;
        let DialFailure::Failed(words) = failure else { panic!("{answer}: {failure:?}") };
        assert!(words.contains("not as a relay server does") && words.contains(&answer[..3]), "{words}");
    }
}

/// A balancer that has no server, or a server that has enough, says nothing of the way; what answers otherwise than a server does cuts.
#[test]
fn only_what_cuts_an_upgrade_has_requests_tried() {
    let ours = HeaderMap::from_iter([(HeaderName::from_static(PROTOCOL), HeaderValue::from_static("1"))]);
    let (none, problem) = (HeaderMap::new(), br#"{"detail":"as many clients are connected as there may be"}"#);
    let table: [(u16, &HeaderMap, &[u8], bool, bool); 10] = [
        (400, &ours, b"", true, false),
        (401, &ours, b"", false, false),
        (503, &ours, b"", false, false),
        (503, &none, problem, false, false),
        (421, &none, problem, false, false),
        (502, &none, b"<html>", false, true),
        (504, &none, b"", false, true),
        (404, &none, b"", false, false),
        (200, &none, b"<html>", true, false),
        (403, &none, b"", true, false),
    ];
    for (status, headers, body, cut, away) in table {
        let status = StatusCode::from_u16(status).unwrap();
        let said = (is_cut(status, headers, body), is_away(status, headers, body));
        assert_eq!(said, (cut, away), "{status} {}", String::from_utf8_lossy(body));
    }
}

/// `WebSockets` that open and say nothing are as good as none: requests go first then, and where nothing comes of them a WebSocket again.
#[tokio::test]
async fn websockets_that_open_in_vain_have_requests_tried() {
    let (listener, addr) = bind().await;
    let dialer = Dialer::new(&config(&format!("ws://{addr}"))).unwrap();
    let socket = async || {
        let (stream, _) = listener.accept().await.unwrap();
        drop(accept_async(stream).await.unwrap());
    };
    for _ in 0..relay_core::limits::WEBSOCKETS_CUT {
        let (dialled, ()) = tokio::join!(dialer.dial(), socket());
        assert!(!dialled.unwrap().is_polled());
        dialer.ended(false);
    }
    let request = async || {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = head(&mut stream).await;
        assert!(asked.starts_with("POST /connect/poll "), "{asked}");
        stream
    };
    let in_vain = async {
        drop(request().await);
        socket().await;
    };
    assert!(!tokio::join!(dialer.dial(), in_vain).0.unwrap().is_polled(), "it does no harm");
    let taken = async {
        let answer = "HTTP/1.1 200 OK\r\nRelay-Protocol: 1\r\nRelay-Session: 00\r\nContent-Length: 0\r\n\r\n";
        let mut stream = request().await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream
    };
    let (dialled, _stream) = tokio::join!(dialer.dial(), taken);
    assert!(dialled.unwrap().is_polled());
    dialer.polled_in_vain();
    let (dialled, ()) = tokio::join!(dialer.dial(), socket());
    assert!(!dialled.unwrap().is_polled(), "all begins as at first");
}

/// A server that was away behind a balancer is there again: its `WebSockets` open, and nobody asks for anything else.
#[tokio::test]
async fn a_server_that_comes_back_is_met_by_a_websocket() {
    let (listener, addr) = bind().await;
    let dialer = Dialer::new(&config(&format!("ws://{addr}"))).unwrap();
    let away = async |requests: usize| {
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().await.unwrap();
            head(&mut stream).await;
            let bad = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(bad.as_bytes()).await.unwrap();
        }
    };
    for tried in 1..=relay_core::limits::WEBSOCKETS_CUT + 1 {
        // From the third on requests are asked about as well.
        let (dialled, ()) =
            tokio::join!(dialer.dial(), away(if tried < relay_core::limits::WEBSOCKETS_CUT { 1 } else { 2 }));
        dialled.unwrap_err();
    }
    let back = async {
        let (stream, _) = listener.accept().await.unwrap();
        drop(accept_async(stream).await.unwrap());
    };
    assert!(!tokio::join!(dialer.dial(), back).0.unwrap().is_polled());
}
