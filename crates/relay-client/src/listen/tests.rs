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
