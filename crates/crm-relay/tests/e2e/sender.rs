//! A sender: posts webhooks and writes down what it was told.

use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use crate::process::{API_KEY, PATIENCE};

/// Posts over kept-alive connections.
#[derive(Clone)]
pub(crate) struct Sender {
    client: Client<HttpConnector, Full<Bytes>>,
}

/// The answer to one request.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Told {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The id of an accepted event.
    pub(crate) fn event(&self) -> String {
        assert_eq!(self.status, 202, "{}", String::from_utf8_lossy(&self.body));
        self.json()["event_id"].as_str().unwrap().to_owned()
    }

    /// The `code` of a problem.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Sender {
    pub(crate) fn new() -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Posts a body to the source `default` with its key. `None`: no answer came, so what became of it is not known.
    pub(crate) async fn post(&self, url: &str, body: impl Into<Bytes>) -> Option<Told> {
        self.send(Method::POST, url, &[("x-api-key", API_KEY), ("content-type", "application/json")], body).await
    }

    /// Posts a webhook until it is taken, under an `Idempotency-Key` that makes a repeat the same event; gives its id. For
    /// servers whose clock is hurried: a disk that is busy for a moment is a commit that takes too long there, so 503. Not for ever.
    pub(crate) async fn post_until_taken(&self, url: &str, key: &str, body: &'static str, id: &str) -> String {
        let headers = [("x-api-key", key), ("idempotency-key", id)];
        let since = Instant::now();
        loop {
            let told = self.send(Method::POST, url, &headers, body).await.unwrap();
            if told.status != 503 {
                return told.event();
            }
            assert!(since.elapsed() < PATIENCE, "{id} has been answered 503 for {PATIENCE:?}: {}", told.code());
        }
    }

    /// Sends any request.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Option<Told> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = self.client.request(request).await.ok()?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Told { status: head.status.as_u16(), headers: head.headers, body })
    }
}

/// SHA-256.
pub(crate) fn sha256(body: &[u8]) -> Vec<u8> {
    digest(&SHA256, body).as_ref().to_vec()
}
