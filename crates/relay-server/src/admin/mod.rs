//! The admin API: what the command line, scripts and dashboards ask of a running server.
//!
//! One router, served twice: on `ADMIN_LISTEN` behind `ADMIN_TOKEN`, and on `DATA_DIR/admin.sock` for whoever may open
//! that file. `docs/reference/admin-api.md` is its document.

pub(crate) mod code;
mod dto;
mod entry;
mod intake;
mod openapi;
pub(crate) mod problem;
mod routes;
mod serve;
mod site;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequestParts, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{Method, StatusCode, header, request::Parts};
use relay_core::name::Name;
use relay_net::origin::Origin;
use tokio::sync::oneshot;

use self::problem::AdminError;
pub(crate) use self::{
    serve::{Served, serve},
    site::Sites,
};
use crate::{
    guesses,
    principal::{Entrance, Principal},
    state::{Known, State},
    supervise::TaskKind,
};

/// What handlers work with.
pub(crate) struct Of(pub(crate) Arc<State>);

impl FromRequestParts<Arc<State>> for Of {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(_: &mut Parts, state: &Arc<State>) -> Result<Self, Self::Rejection> {
        Ok(Self(Arc::clone(state)))
    }
}

/// For the admin listener: everything but metrics and probes wants the admin token.
pub(crate) fn guarded(state: Arc<State>) -> Router {
    let api = api(&state).route_layer(middleware::from_fn_with_state(Arc::clone(&state), require_token));
    whole(api, Entrance::LISTENER, state)
}

/// For the admin socket, or for commands without a server: whoever may open the file may do what that entrance lets him.
pub(crate) fn unguarded(entrance: Entrance, state: Arc<State>) -> Router {
    whole(api(&state), entrance, state)
}

fn whole(api: Router<Arc<State>>, entrance: Entrance, state: Arc<State>) -> Router {
    let named = middleware::from_fn(move |request, next| named(entrance, request, next));
    let all = api.merge(open()).layer(named).fallback(nothing_here);
    all.method_not_allowed_fallback(wrong_method).with_state(state)
}

fn api(state: &Arc<State>) -> Router<Arc<State>> {
    let api = Router::new().nest("/api/v1", routes::all()).route("/health", get(routes::status::health));
    let api = api.route("/api/openapi.json", get(described));
    api.route_layer(middleware::from_fn_with_state(Arc::clone(state), to_its_end))
        .route_layer(middleware::from_fn(intake::whole))
        // The one bound on a body is that of the intake.
        .layer(DefaultBodyLimit::disable())
}

/// The document of the API, in `OpenAPI`.
pub fn document() -> String {
    openapi::text_of(&openapi::document(&routes::table()))
}

async fn described() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document())
}

fn open() -> Router<Arc<State>> {
    Router::new()
        .route("/metrics", get(routes::status::metrics))
        .route("/livez", get(routes::status::live))
        .route("/readyz", get(routes::status::ready))
}

/// Handlers find there for whom they work.
async fn named(entrance: Entrance, mut request: Request, next: Next) -> Response {
    let principal = Principal::at(&entrance, origin_of(&request), request.headers());
    request.extensions_mut().insert(principal);
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
async fn to_its_end(Of(state): Of, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let (answer, answered) = oneshot::channel();
    state.supervisor.spawn(TaskKind::Command, "command", async move {
        // The asker may have gone away.
        let _ = answer.send(next.run(request).await);
        Ok(())
    });
    answered.await.unwrap_or_else(|_| AdminError::BrokenOff.into_response())
}

async fn require_token(Of(state): Of, request: Request, next: Next) -> Response {
    let origin = origin_of(&request);
    match state.looks_at(request.headers(), guesses::Entrance::Admin, origin).await {
        Ok(Known::Yes) => next.run(request).await,
        Ok(Known::No | Known::Nothing) => AdminError::Unauthorized.into_response(),
        Err(wait) => AdminError::TooManyTokens(wait).into_response(),
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
        let state = crate::offline::tests::admin(Arc::new(MemoryStore::new())).await;
        let (begun, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, end) = (Arc::clone(&begun), Arc::clone(&done));
        let slow = post(move || async move {
            tell.notify_one();
            tokio::task::yield_now().await;
            end.notify_one();
        });
        let router: Router<Arc<State>> = Router::new().route("/", slow);
        let layer = middleware::from_fn_with_state(Arc::clone(&state), to_its_end);
        let router = router.route_layer(layer).with_state(state);
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
        let state = crate::offline::tests::admin(Arc::new(MemoryStore::new())).await;
        let router: Router<Arc<State>> = Router::new().route("/", post(broken));
        let layer = middleware::from_fn_with_state(Arc::clone(&state), to_its_end);
        let router = router.route_layer(layer).with_state(state);
        let answer = router.oneshot(Request::post("/").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
