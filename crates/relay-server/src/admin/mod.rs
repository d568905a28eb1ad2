//! The admin API: what the command line, scripts and dashboards ask of a running server.
//!
//! One router, served twice: on `ADMIN_LISTEN` behind `ADMIN_TOKEN`, and on `DATA_DIR/admin.sock` for whoever may open
//! that file. `docs/reference/admin-api.md` is its document.

pub(crate) mod code;
mod dto;
mod intake;
pub(crate) mod problem;
mod routes;
mod serve;
mod site;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, Method, StatusCode, header};
use relay_core::name::Name;
use relay_store::seam::{Archive, AuditEntry, Promises, Queue, Upkeep};
use tokio::sync::oneshot;

use self::problem::AdminError;
pub(crate) use self::{serve::serve, site::Sites};
use crate::{
    asker::Asker,
    clock::Clock,
    guesses::{Entrance, Guesses, bearer},
    health::Health,
    hub::Handle,
    ingress::Refusals,
    metrics::Metrics,
    origin::Origin,
    registry::{Registry, secret},
    supervise::{Supervisor, TaskKind},
};

/// What the handlers work with.
pub(crate) struct Admin {
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) upkeep: Arc<dyn Upkeep>,
    /// For replays.
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) hub: Handle,
    pub(crate) registry: Arc<Registry>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    /// What sources refused lately.
    pub(crate) refusals: Arc<Refusals>,
    /// Who shows wrong tokens.
    pub(crate) guesses: Arc<Guesses>,
    pub(crate) clock: Clock,
    pub(crate) supervisor: Supervisor,
    pub(crate) promises: Promises,
    pub(crate) token: [u8; 32],
    /// Under which URL senders reach the public listener, if anybody said so.
    pub(crate) public_url: Option<String>,
    /// Addresses, known once the listeners are bound.
    pub(crate) listening: OnceLock<Listening>,
}

/// Where the server listens.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    pub(crate) public: String,
    pub(crate) admin: Option<String>,
}

/// The handlers' state.
pub(crate) type Shared = State<Arc<Admin>>;

/// For the admin listener: everything but metrics and probes wants the admin token.
pub(crate) fn guarded(admin: Arc<Admin>) -> Router {
    let api = api(&admin).route_layer(middleware::from_fn_with_state(Arc::clone(&admin), require_token));
    whole(api, ("admin", Some("ADMIN_TOKEN")), admin)
}

/// For the admin socket: whoever may open the file may do everything.
pub(crate) fn unguarded(admin: Arc<Admin>) -> Router {
    whole(api(&admin), ("cli", None), admin)
}

/// `entrance`: how the audit log calls who comes in there, and what lets them in.
fn whole(api: Router<Arc<Admin>>, entrance: (&'static str, Option<&'static str>), admin: Arc<Admin>) -> Router {
    let named = middleware::from_fn(move |request, next| named(entrance, request, next));
    let all = api.merge(open()).layer(named).fallback(nothing_here);
    all.method_not_allowed_fallback(wrong_method).with_state(admin)
}

fn api(admin: &Arc<Admin>) -> Router<Arc<Admin>> {
    let api = Router::new().nest("/api/v1", routes::all()).route("/health", get(routes::status::health));
    api.route_layer(middleware::from_fn_with_state(Arc::clone(admin), to_its_end))
        .route_layer(middleware::from_fn(intake::whole))
        // The one bound on a body is that of the intake.
        .layer(DefaultBodyLimit::disable())
}

fn open() -> Router<Arc<Admin>> {
    Router::new()
        .route("/metrics", get(routes::status::metrics))
        .route("/livez", get(routes::status::live))
        .route("/readyz", get(routes::status::ready))
}

/// Handlers find there for whom they work.
async fn named((who, credential): (&'static str, Option<&str>), mut request: Request, next: Next) -> Response {
    let asker = Asker::operator(who, origin_of(&request), credential, request.headers());
    request.extensions_mut().insert(asker);
    next.run(request).await
}

fn origin_of(request: &Request) -> Origin {
    request.extensions().get().copied().unwrap_or(Origin::local())
}

async fn nothing_here() -> AdminError {
    AdminError::Unknown("nothing is here; the API lives below /api/v1".into())
}

async fn wrong_method(method: Method) -> AdminError {
    AdminError::WrongMethod(format!("{method} is not understood here; docs/reference/admin-api.md has what is"))
}

/// A command goes on when its asker goes away: one that is half done, or that the hub was not told of, helps nobody.
async fn to_its_end(State(admin): Shared, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let (answer, answered) = oneshot::channel();
    admin.supervisor.spawn(TaskKind::Command, "command", async move {
        // The asker may have gone away.
        let _ = answer.send(next.run(request).await);
        Ok(())
    });
    answered.await.unwrap_or_else(|_| AdminError::BrokenOff.into_response())
}

async fn require_token(State(admin): Shared, request: Request, next: Next) -> Response {
    let origin = origin_of(&request);
    match admin.looks_at(request.headers(), Entrance::Admin, origin).await {
        Ok(Known::Yes) => next.run(request).await,
        Ok(Known::No | Known::Nothing) => AdminError::Unauthorized.into_response(),
        Err(wait) => AdminError::TooManyTokens(wait).into_response(),
    }
}

/// What a request shows of the admin token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is the right one.
    Yes,
    /// It is another.
    No,
    /// It shows none.
    Nothing,
}

impl Admin {
    /// Whether the request carries the admin token. One that does not is taken note of.
    ///
    /// # Errors
    /// How long to wait, after too many wrong ones.
    pub(crate) async fn looks_at(
        &self,
        headers: &HeaderMap,
        entrance: Entrance,
        origin: Origin,
    ) -> Result<Known, Duration> {
        if !headers.contains_key(header::AUTHORIZATION) {
            // Anybody may ask for the short answer of /health.
            if entrance == Entrance::Admin {
                self.guesses.missing(entrance, origin);
            }
            return Ok(Known::Nothing);
        }
        let token = bearer(headers);
        self.guesses.may_try(entrance, origin, token)?;
        if let Some(token) = token.filter(|token| secret::same(&secret::sha256(token), &self.token)) {
            self.guesses.right(entrance, origin, token);
            return Ok(Known::Yes);
        }
        self.guesses.wrong(entrance, origin, token).await;
        Ok(Known::No)
    }

    /// An audit entry of now.
    pub(crate) fn audited(&self, who: &Asker, action: &str, subject: impl Into<String>) -> AuditEntry {
        who.audited(self.clock.wall(), action, subject)
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

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::post};
    use futures_util::FutureExt as _;
    use relay_store::memory::MemoryStore;
    use tokio::sync::Notify;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_command_goes_on_when_its_asker_goes_away() {
        let admin = crate::offline::tests::admin(Arc::new(MemoryStore::new())).await;
        let (begun, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, end) = (Arc::clone(&begun), Arc::clone(&done));
        let slow = post(move || async move {
            tell.notify_one();
            tokio::task::yield_now().await;
            end.notify_one();
        });
        let router: Router<Arc<Admin>> = Router::new().route("/", slow);
        let layer = middleware::from_fn_with_state(Arc::clone(&admin), to_its_end);
        let router = router.route_layer(layer).with_state(admin);
        let mut asked = Box::pin(router.oneshot(Request::post("/").body(Body::empty()).unwrap()));
        assert!(asked.as_mut().now_or_never().is_none());
        begun.notified().await;
        drop(asked);
        done.notified().await;
    }

    #[tokio::test]
    async fn a_command_that_panics_is_answered() {
        async fn broken() -> StatusCode {
            panic!("a bug")
        }
        let admin = crate::offline::tests::admin(Arc::new(MemoryStore::new())).await;
        let router: Router<Arc<Admin>> = Router::new().route("/", post(broken));
        let layer = middleware::from_fn_with_state(Arc::clone(&admin), to_its_end);
        let router = router.route_layer(layer).with_state(admin);
        let answer = router.oneshot(Request::post("/").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
