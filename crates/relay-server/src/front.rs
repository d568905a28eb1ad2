//! What stands behind the public listener: sources, the hub, probes, and the client endpoint.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::{Method, Request, Response, body::Incoming};
use relay_core::{
    hub::{Accepting, Answer},
    time::Wall,
};

use crate::{
    admin::{Admin, dto::HealthDto},
    connect::Gate,
    error::{Code, Problem},
    ingress::{Backend, Body, Peer, Source},
};

/// The rest of the server, as the ingress sees it.
pub(crate) struct Front {
    pub(crate) admin: Arc<Admin>,
    pub(crate) gate: Gate,
}

impl Backend for Front {
    fn source(&self, name: &[u8]) -> Option<Arc<Source>> {
        let name = std::str::from_utf8(name).ok()?;
        self.admin.registry.directory().intakes.get(name).cloned()
    }

    async fn accept(&self, request: Accepting) -> Answer {
        self.admin.hub.accept(request).await
    }

    fn refused(&self, source: &str, reason: &'static str) {
        self.admin.metrics.refused(source, reason);
    }

    fn handshake(&self, source: &str) {
        self.admin.metrics.handshake(source);
    }

    fn panicked(&self) {
        self.admin.metrics.panicked();
    }

    fn now(&self) -> Wall {
        self.admin.clock.wall()
    }

    fn system_now(&self) -> Wall {
        self.admin.clock.system()
    }

    fn is_stopping(&self) -> bool {
        self.gate.is_stopping()
    }

    async fn other(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if path == "/connect" {
            let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
            return self.connect(request, peer);
        }
        if !matches!(path, "/livez" | "/readyz" | "/health") {
            return Problem::not_found().respond();
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Problem::new(Code::MethodNotAllowed, "ask with GET").allowing(&["GET", "HEAD"]).respond();
        }
        match path {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.admin.health.is_ready() => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            _ => self.health(self.admin.knows(request.headers())).await,
        }
    }
}

impl Front {
    fn connect(&self, request: Request<Incoming>, peer: Option<SocketAddr>) -> Response<Body> {
        self.gate.connect(request, peer)
    }

    async fn health(&self, with_reasons: bool) -> Response<Body> {
        let Ok(report) = self.admin.health.report().await else {
            return Problem::new(Code::StoreUnavailable, "the store does not answer").respond();
        };
        let health = HealthDto::new(&report, &self.admin.promises, with_reasons);
        let body = serde_json::to_vec(&health).expect("health has string keys and finite numbers only");
        let mut response = Response::new(Full::new(Bytes::from(body)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
