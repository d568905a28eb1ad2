//! What stands beside the door of the public listener: probes, and the client endpoint.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::{Method, Request, Response, body::Incoming};

use crate::{
    api::HealthDto,
    connect::Gate,
    error::{Code, Problem},
    guesses::Entrance,
    ingress::{Body, CONNECT, Elsewhere, Origin, POLL},
    state::{Known, State},
};

/// What answers on the public listener beside the door.
pub(crate) struct Front {
    pub(crate) admin: Arc<State>,
    /// None: clients are taken elsewhere.
    pub(crate) gate: Option<Gate>,
}

/// Clients come to a listener of their own.
const CLIENTS_ELSEWHERE: Problem = Problem::new(
    Code::NotFound,
    "this server takes clients at a listener of their own (CLIENTS_LISTEN), each with a certificate: RELAY_URL is to lead there, and \
     RELAY_CERT_FILE to name it",
);

impl Elsewhere for Front {
    async fn answer(&self, request: Request<Incoming>, origin: Origin) -> Response<Body> {
        let path = request.uri().path();
        if path == CONNECT {
            return match &self.gate {
                Some(gate) => gate.connect(request, origin, None).await,
                None => CLIENTS_ELSEWHERE.respond(),
            };
        }
        if path == POLL {
            return match &self.gate {
                Some(gate) => gate.poll(request, origin, None).await,
                None => CLIENTS_ELSEWHERE.respond(),
            };
        }
        if !matches!(path, "/livez" | "/readyz" | "/health") {
            return Problem::nothing_at(path).respond();
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Problem::new(Code::MethodNotAllowed, "ask with GET").allowing(&["GET", "HEAD"]).respond();
        }
        match path {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let (status, word) = self.admin.health.probe();
                text(status, word)
            }
            _ => match self.admin.looks_at(request.headers(), Entrance::Health, origin).await {
                Ok(known) => self.health(known == Known::Yes).await,
                Err(wait) => Problem::too_many_tokens(wait).respond(),
            },
        }
    }
}

impl Front {
    /// Whoever shows the admin token is told how it is now, and why.
    async fn health(&self, is_operator: bool) -> Response<Body> {
        let health = &self.admin.health;
        let report = if is_operator { health.report_now().await } else { health.report().await };
        let Ok(report) = report else {
            return Problem::new(Code::StoreUnavailable, "the store does not answer").respond();
        };
        let health = HealthDto::of(&self.admin, &report, is_operator);
        let body = serde_json::to_vec(&health).expect("health has string keys and finite numbers only");
        let mut response = Response::new(Full::new(Bytes::from(body)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// A short answer for probes.
pub(crate) fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
