//! What stands behind the public listener: sources, the hub, probes, and the client endpoint.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::{Method, Request, Response, body::Incoming};
use relay_core::{
    hub::{Accepting, Answer},
    name::Name,
    time::{Mono, Wall},
};
use relay_net::origin::Address;
use relay_store::seam::DocumentKind;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    api::HealthDto,
    connect::Gate,
    error::{Code, Problem},
    fetch::Keyring,
    guesses::Entrance,
    ingress::{Backend, Body, CONNECT, Origin, Refusals},
    intake::Intake,
    principal::Principal,
    quotas::{Hold, Quotas},
    registry::{RegistryError, uses::Proof},
    state::{Known, State},
    supervise::TaskKind,
};

/// The rest of the server, as the ingress sees it.
pub(crate) struct Front {
    pub(crate) admin: Arc<State>,
    /// None: clients are taken elsewhere.
    pub(crate) gate: Option<Gate>,
    pub(crate) keyring: Arc<Keyring>,
    /// No webhook is taken any more.
    pub(crate) refusing: CancellationToken,
}

/// Clients come to a listener of their own.
const CLIENTS_ELSEWHERE: Problem = Problem::new(
    Code::NotFound,
    "this server takes clients at a listener of their own (CLIENTS_LISTEN), each with a certificate: RELAY_URL is to lead there, and \
     RELAY_CERT_FILE to name it",
);

impl Backend for Front {
    fn source(&self, name: &[u8]) -> Option<Arc<Intake>> {
        let name = std::str::from_utf8(name).ok()?;
        self.admin.registry.directory().intakes.get(name).cloned()
    }

    async fn accept(&self, request: Box<Accepting>, hold: Option<Box<Hold>>) -> Answer {
        let source = request.source.clone();
        let answer = self.admin.hub.accept(request, hold).await;
        if matches!(answer, Answer::Accepted { .. }) {
            self.admin.metrics.accepted(source.as_str());
        }
        answer
    }

    fn refused(&self, source: &str, reason: &'static str) {
        self.admin.metrics.refused(source, reason);
    }

    fn proved(&self, source: &Name, since: Wall, by: Proof) {
        self.admin.registry.uses().proved(DocumentKind::Source, source, since, by, self.admin.clock.wall());
    }

    fn handshake(&self, source: &str) {
        self.admin.metrics.handshake(source);
    }

    fn refusals(&self) -> &Refusals {
        &self.admin.refusals
    }

    fn quotas(&self) -> &Arc<Quotas> {
        &self.admin.quotas
    }

    fn may_show(&self, source: &Name, origin: Origin, shown: &[&[u8]]) -> Result<(), Duration> {
        self.admin.guesses.may_show(source, origin, shown)
    }

    fn shown_right(&self, source: &Name, origin: Origin, shown: &[&[u8]]) {
        self.admin.guesses.shown_right(source, origin, shown);
    }

    async fn shown_wrong(&self, source: &Name, origin: Origin, shown: &[&[u8]]) {
        self.admin.guesses.shown_wrong(source, origin, shown).await;
    }

    async fn key(&self, source: &Name, asker: Address, url: &str) -> Result<Bytes, String> {
        self.keyring.key(source, asker, url).await.map_err(|why| why.to_string())
    }

    async fn renewed_key(&self, source: &Name, url: &str, known: &Bytes) -> Option<Bytes> {
        self.keyring.renewed(source, url, known).await
    }

    async fn visit(&self, source: &Name, asker: Address, url: &str) -> Result<(), String> {
        self.keyring.visit(source, asker, url).await.map_err(|why| why.to_string())
    }

    /// Goes on to its end when the sender goes away: what is half done helps nobody.
    async fn adopt(&self, source: &Name, origin: Origin, parameter: &'static str, value: String) -> Result<(), String> {
        let (admin, name) = (Arc::clone(&self.admin), source.clone());
        let (answer, answered) = oneshot::channel();
        self.admin.supervisor.spawn(TaskKind::Command, "adopt", async move {
            // The sender may have gone away.
            let _ = answer.send(admin.registry.adopt(&name, parameter, &value, &Principal::sender(origin)).await);
            Ok(())
        });
        let kept = answered.await.map_err(|_| "it was broken off; the platform is to send it again".to_owned())?;
        kept.map_err(|error| match error {
            RegistryError::Declared { at, .. } => format!(
                "the source is declared in {at}, where the platform cannot write: take it out there, reload the server (SIGHUP), and \
                 make it with: crm-relay source create {source} --provider NAME"
            ),
            other => other.to_string(),
        })
    }

    fn own_answer(&self, token: &[u8]) -> Option<String> {
        self.admin.own_requests.answer(token, self.admin.clock.present())
    }

    fn panicked(&self) {
        self.admin.metrics.panicked();
    }

    fn now(&self) -> Wall {
        self.admin.clock.wall()
    }

    fn hub_time(&self) -> Wall {
        self.admin.clock.own().wall
    }

    fn mono(&self) -> Mono {
        self.admin.clock.now().mono
    }

    fn present(&self) -> Wall {
        self.admin.clock.present()
    }

    fn is_stopping(&self) -> bool {
        self.refusing.is_cancelled()
    }

    async fn other(&self, request: Request<Incoming>, origin: Origin) -> Response<Body> {
        let path = request.uri().path();
        if path == CONNECT {
            return match &self.gate {
                Some(gate) => gate.connect(request, origin, None).await,
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
            "/readyz" if self.admin.health.is_ready() => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            _ => match self.admin.looks_at(request.headers(), Entrance::Health, origin).await {
                Ok(known) => self.health(known == Known::Yes).await,
                Err(wait) => Problem::too_many_tokens(wait).respond(),
            },
        }
    }
}

impl Front {
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

/// A short answer for probes.
pub(crate) fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
