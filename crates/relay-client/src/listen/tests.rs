use http_body_util::BodyExt as _;
use relay_core::{delivery::outcome::Class, session::client::Notice};

use super::*;

fn status() -> Status {
    Status::new(["crm".parse().unwrap()].into_iter())
}

async fn page(path: &str, status: &Status) -> (StatusCode, String) {
    let response = answer(&Method::GET, path, status);
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
    assert_eq!(answer(&Method::POST, "/livez", &status).status(), StatusCode::METHOD_NOT_ALLOWED);
}

/// A peer that asks and asks and reads nothing holds its place for a while, not for good.
#[tokio::test]
async fn an_answer_that_is_not_taken_is_given_up() {
    use tokio::io::AsyncWriteExt as _;
    let (near, _far) = tokio::io::duplex(16);
    let mut stream = Impatient::new(near, Duration::from_millis(20));
    assert_eq!(stream.write_all(&[0; 100]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

/// The same for one that takes a byte now and then.
#[tokio::test]
async fn an_answer_that_is_taken_in_drops_is_given_up() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (near, mut far) = tokio::io::duplex(16);
    let mut stream = Impatient::new(near, Duration::from_millis(50));
    let drops = async {
        loop {
            far.read_u8().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let written = tokio::select! {
        written = async { loop { stream.write_all(&[0; 1_000]).await?; } } => written,
        never = drops => never,
    };
    let written: io::Result<()> = written;
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

/// What was taken whole has nothing to do with the next answer.
#[tokio::test]
async fn an_answer_that_is_taken_whole_leaves_the_next_one_all_its_time() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (near, mut far) = tokio::io::duplex(16);
    let mut stream = Impatient::new(near, Duration::from_mins(1));
    let (written, read) =
        tokio::join!(stream.write_all(&[0; 100]), async { far.read_exact(&mut [0; 100]).await.map(drop) });
    written.and(read).unwrap();
    assert!(stream.waiting.is_some(), "it had to wait");
    stream.flush().await.unwrap();
    assert!(stream.waiting.is_none());
}

/// A bug that strangers can reach ends their connection and is counted; the client goes on.
#[tokio::test]
async fn a_panic_ends_one_connection_and_is_counted() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    fn panics(method: &Method, path: &str, status: &Status) -> Response<Full<Bytes>> {
        assert_ne!(path, "/bug");
        answer(method, path, status)
    }
    async fn get(addr: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
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
        never = serve_by(panics, listener, Arc::new(status())) => match never {},
    };
    assert!(metrics.contains("crm_relay_client_panics_total 1\n"), "{metrics}");
}
