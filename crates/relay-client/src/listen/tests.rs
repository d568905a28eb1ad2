use http_body_util::BodyExt as _;
use relay_core::{client::Notice, delivery::outcome::Class};

use super::*;

fn status() -> Status {
    Status::new(["crm".parse().unwrap()].into_iter())
}

fn office(answer: Answer) -> Office {
    Office { answer, names: Arc::new(Names::new(&["Client.Example.com".to_owned()])), status: Arc::new(status()) }
}

/// All that is said to these bytes.
async fn said(addr: std::net::SocketAddr, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // What is refused early may be reset while it is still written.
    let _refused = stream.write_all(bytes).await;
    let mut said = Vec::new();
    let _reset = stream.read_to_end(&mut said).await;
    String::from_utf8(said).unwrap()
}

async fn get(addr: std::net::SocketAddr, path: &str) -> String {
    said(addr, format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").as_bytes()).await
}

async fn page(path: &str, status: &Status) -> (StatusCode, String) {
    let response = answer(path, status);
    let code = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

/// I24: ready means connected, and nothing else.
#[tokio::test]
async fn readiness_follows_the_session() {
    let status = status();
    assert_eq!(page("/livez", &status).await.0, StatusCode::OK);
    assert_eq!(page("/readyz", &status).await.0, StatusCode::SERVICE_UNAVAILABLE);
    status.noticed(&Notice::Up { server_version: String::new(), destinations: Vec::new() });
    assert_eq!(page("/readyz", &status).await.0, StatusCode::OK);
    status.noticed(&Notice::Down { why: String::new(), pause: Duration::ZERO, failures: 1 });
    assert_eq!(page("/readyz", &status).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn metrics_and_health_count_tries_by_destination_and_class() {
    let status = status();
    let name = "crm".parse().unwrap();
    status.began(&name);
    status.began(&name);
    status.forwarded(&name, Class::Busy);
    let (code, metrics) = page("/metrics", &status).await;
    assert_eq!(code, StatusCode::OK);
    for line in [
        "crm_relay_client_up 0\n",
        "crm_relay_client_polling 0\n",
        "crm_relay_client_reconnects_total 0\n",
        "crm_relay_client_held{destination=\"crm\"} 1\n",
        "crm_relay_client_forwarded_total{destination=\"crm\",class=\"busy\"} 1\n",
        "crm_relay_client_forwarded_total{destination=\"crm\",class=\"delivered\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let health: serde_json::Value = serde_json::from_str(&page("/health", &status).await.1).unwrap();
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["destinations"][0]["busy"], 1);
    assert_eq!(health["destinations"][0]["held"], 1);
}

#[tokio::test]
async fn unknown_paths_and_other_methods_are_refused() {
    let status = status();
    assert_eq!(page("/", &status).await.0, StatusCode::NOT_FOUND);
    let post = Request::post("/livez").header("host", "h").body(()).unwrap();
    assert_eq!(Names::default().may_ask(&post).unwrap_err().0, StatusCode::METHOD_NOT_ALLOWED);
}

/// A bug that strangers can reach ends their connection and is counted; the client goes on.
#[tokio::test]
async fn a_panic_ends_one_connection_and_is_counted() {
    fn panics(path: &str, status: &Status) -> Response<Full<Bytes>> {
        assert_ne!(path, "/bug");
        answer(path, status)
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asks = async {
        assert_eq!(get(addr, "/bug").await, "");
        assert!(get(addr, "/livez").await.starts_with("HTTP/1.1 200"));
        get(addr, "/metrics").await
    };
    let metrics = tokio::select! {
        metrics = asks => metrics,
        never = serve_by(office(panics), listener) => match never {},
    };
    assert!(metrics.contains("crm_relay_client_panics_total 1\n"), "{metrics}");
}

/// S25, S1 to S8: no page of another site reads it, and what two readers may understand differently is refused.
#[tokio::test]
async fn what_a_foreign_page_or_a_loose_writer_asks_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asks = async {
        let ask = async |fields: &str, status: u16| {
            let head = format!("GET /metrics HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
            let answer = said(addr, head.as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{fields:?}: {answer}");
        };
        for host in ["localhost:1", "127.0.0.1:1", "[::1]:1", "relay", "a.localhost", "client.example.com.:9"] {
            ask(&format!("Host: {host}\r\n"), 200).await;
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "client.example.com.evil.example", "", "a,b"] {
            ask(&format!("Host: {host}\r\n"), 421).await;
        }
        for fields in ["", "Host: a\r\nHost: a\r\n", "Host: a\nA: b\r\n", "Host: a\r\nA: b\0\r\n"] {
            ask(fields, 400).await;
        }
        for body in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1",
        ] {
            ask(&format!("Host: a\r\n{body}\r\n"), 400).await;
        }
        ask("Host: a\r\nContent-Length: 0\r\n", 200).await;
        let targeted = async |target: &str, status: u16| {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let answer = said(addr, head.as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        };
        targeted("http://evil.example/metrics", 400).await;
        targeted("http://A/metrics", 200).await;
        targeted(&format!("/metrics?{}", "x".repeat(limits::URI_BYTES_MAX)), 414).await;
        ask("Host: a\r\nOrigin: https://evil.example\r\n", 403).await;
        ask("Host: a\r\nOrigin: http://a\r\nSec-Fetch-Site: cross-site\r\n", 403).await;
        ask("Host: a\r\nOrigin: http://a\r\nSec-Fetch-Site: same-origin\r\n", 200).await;
        ask(&format!("Host: a\r\nA: {}\r\n", "x".repeat(limits::HEAD_BYTES_MAX)), 431).await;
        ask(&format!("Host: a\r\n{}", "A: b\r\n".repeat(limits::HEADERS_MAX)), 431).await;
    };
    tokio::select! { () = asks => {}, never = serve_by(office(answer), listener) => match never {} }
}

/// S9: however many wait with half a head, whoever asks is answered.
#[tokio::test]
async fn the_longest_waiting_gives_way() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asks = async {
        let mut half = Vec::new();
        for _ in 0..2 * CONNECTIONS_MAX {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(b"GET /liv").await.unwrap();
            half.push(stream);
        }
        assert!(get(addr, "/livez").await.starts_with("HTTP/1.1 200"));
        assert_eq!(half[0].read(&mut [0]).await.unwrap_or(0), 0, "the first has given way");
        // The last goes on.
        let last = half.last_mut().unwrap();
        last.write_all(b"ez HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        last.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    tokio::select! { () = asks => {}, never = serve_by(office(answer), listener) => match never {} }
}
