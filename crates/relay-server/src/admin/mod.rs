//! The admin API: what the command line, scripts and dashboards ask of a running server.
//!
//! One router, served twice: on `ADMIN_LISTEN` behind `ADMIN_TOKEN`, and on `DATA_DIR/admin.sock` for whoever may open
//! that file. `docs/reference/admin-api.md` is its document.

pub(crate) mod dto;
pub(crate) mod problem;
mod routes;

use std::sync::{Arc, OnceLock};

use axum::{
    Extension, Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use relay_core::name::Name;
use relay_store::{
    Store,
    seam::{AuditEntry, Promises},
};

use self::problem::AdminError;
use crate::{
    clock::Clock,
    health::Health,
    hub::Handle,
    metrics::Metrics,
    registry::{Registry, secret},
};

/// What the handlers work with.
pub(crate) struct Admin {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hub: Handle,
    pub(crate) registry: Arc<Registry>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    pub(crate) promises: Promises,
    pub(crate) token: [u8; 32],
    /// Addresses, known once the listeners are bound.
    pub(crate) listening: OnceLock<Listening>,
}

/// Where the server listens.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    pub(crate) public: String,
    pub(crate) admin: Option<String>,
}

/// Who asks: for the audit log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who(pub(crate) &'static str);

/// The handlers' state.
pub(crate) type Shared = State<Arc<Admin>>;

/// For the admin listener: everything but metrics and probes wants the admin token.
pub(crate) fn guarded(admin: Arc<Admin>) -> Router {
    let api = api().route_layer(middleware::from_fn_with_state(admin.clone(), require_token));
    api.merge(open()).layer(Extension(Who("admin"))).fallback(nothing_here).with_state(admin)
}

/// For the admin socket: whoever may open the file may do everything.
pub(crate) fn unguarded(admin: Arc<Admin>) -> Router {
    api().merge(open()).layer(Extension(Who("cli"))).fallback(nothing_here).with_state(admin)
}

fn api() -> Router<Arc<Admin>> {
    Router::new().nest("/api/v1", routes::all()).route("/health", get(routes::status::health))
}

fn open() -> Router<Arc<Admin>> {
    Router::new()
        .route("/metrics", get(routes::status::metrics))
        .route("/livez", get(routes::status::live))
        .route("/readyz", get(routes::status::ready))
}

async fn nothing_here() -> AdminError {
    AdminError::Unknown("nothing is here; the API lives below /api/v1".into())
}

async fn require_token(State(admin): Shared, request: Request, next: Next) -> Response {
    if admin.knows(request.headers()) { next.run(request).await } else { AdminError::Unauthorized.into_response() }
}

impl Admin {
    /// Whether the request carries the admin token.
    pub(crate) fn knows(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
        let Some((scheme, token)) = value.split_at_checked(7) else { return false };
        scheme.eq_ignore_ascii_case(b"bearer ") && secret::same(&secret::sha256(token), &self.token)
    }

    /// An audit entry of now.
    pub(crate) fn audited(&self, who: Who, action: &str, subject: impl Into<String>) -> AuditEntry {
        AuditEntry { at: self.clock.wall(), who: who.0.into(), action: action.into(), subject: subject.into() }
    }
}

/// A name from a path or a body.
///
/// # Errors
/// `Invalid`, saying what a name is.
pub(crate) fn name(text: &str) -> Result<Name, AdminError> {
    text.parse().map_err(|error: relay_core::name::NameError| AdminError::Invalid(error.to_string()))
}

/// An answer without a body.
pub(crate) const DONE: StatusCode = StatusCode::NO_CONTENT;
