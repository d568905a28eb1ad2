//! The admin API: what the command line, scripts and dashboards ask of a running server.
//!
//! One router, served twice: on `ADMIN_LISTEN` behind `ADMIN_TOKEN`, and on `DATA_DIR/admin.sock` for whoever may open
//! that file. `docs/reference/admin-api.md` is its document.

pub(crate) mod code;
mod download;
mod dto;
mod entry;
mod intake;
mod openapi;
pub(crate) mod problem;
pub(crate) mod routes;
mod serve;
mod site;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, FromRequestParts, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use relay_core::name::Name;
use relay_net::origin::Origin;
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use self::problem::AdminError;
pub(crate) use self::{
    serve::{Offer, serve},
    site::Sites,
};
use crate::{
    guesses,
    people::{Seen, cookie},
    principal::{Entrance, Permission, Principal, Role},
    state::{Known, State},
    supervise::TaskKind,
};

/// Bytes of a body with which somebody signs in.
const ENTRY_BYTES_MAX: usize = 4 * 1024;

/// What handlers work with.
pub(crate) struct Of(pub(crate) Arc<State>);

/// Asks for the live part of a page alone, and says that an answer is one.
pub(crate) const FRAGMENT: HeaderName = HeaderName::from_static("relay-fragment");

impl FromRequestParts<Arc<State>> for Of {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(_: &mut Parts, state: &Arc<State>) -> Result<Self, Self::Rejection> {
        Ok(Self(Arc::clone(state)))
    }
}

/// What is asked at one entrance, and answered there.
#[derive(Clone, Debug)]
pub(crate) struct Desk(Router);

impl Desk {
    /// One that these routes answer at.
    pub(crate) fn of(routes: Router) -> Self {
        Self(routes)
    }

    /// Answers a request that came from there. It travels with the request, as extractors want it; nothing that is asked in
    /// another way than this has an origin, and it is answered 500.
    pub(crate) async fn answer(&self, origin: Origin, mut request: Request) -> Response {
        request.extensions_mut().insert(origin);
        let Ok(response) = self.0.clone().oneshot(request).await;
        response
    }
}

/// For the admin listener: everything but metrics, probes and the page where one signs in wants the admin token or a session. `pages`
/// are the dashboard's, which answer who is not known by themselves.
pub(crate) fn guarded(state: Arc<State>, pages: Option<Router<Arc<State>>>) -> Desk {
    let api = api(&state).route_layer(middleware::from_fn_with_state(Arc::clone(&state), let_in));
    let all = pages.into_iter().fold(api, Router::merge);
    Desk::of(whole(all, |origin, _| Principal::stranger(origin), state))
}

/// For the admin socket, or for commands without a server: whoever may open the file may do what that entrance lets him.
pub(crate) fn unguarded(entrance: Entrance, state: Arc<State>) -> Desk {
    let whoever = move |origin, request: &Request| Principal::at(&entrance, origin, request.headers());
    Desk::of(whole(api(&state), whoever, state))
}

fn whole(
    api: Router<Arc<State>>,
    whoever: impl Fn(Origin, &Request) -> Principal + Clone + Send + Sync + 'static,
    state: Arc<State>,
) -> Router {
    let named = middleware::from_fn(move |origin, request, next| named(whoever.clone(), origin, request, next));
    let all = api.merge(open()).layer(named).fallback(nothing_here);
    all.method_not_allowed_fallback(wrong_method).with_state(state)
}

fn api(state: &Arc<State>) -> Router<Arc<State>> {
    let api = Router::new().nest("/api/v1", routes::all());
    let api = api.route("/health", routes::permitting(Permission::See, get(routes::status::health)));
    let api = api.route("/api/openapi.json", routes::permitting(Permission::See, get(described)));
    api.route_layer(middleware::from_fn_with_state(Arc::clone(state), to_its_end))
        .route_layer(middleware::from_fn(intake::whole))
        .layer(middleware::from_fn(as_data))
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
async fn named(
    whoever: impl Fn(Origin, &Request) -> Principal,
    Extension(origin): Extension<Origin>,
    mut request: Request,
    next: Next,
) -> Response {
    let principal = whoever(origin, &request);
    request.extensions_mut().insert(principal);
    next.run(request).await
}

/// No answer of the API is a page, or is kept by what stands in between (S26).
async fn as_data(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let fields = answer.headers_mut();
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
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

/// Whoever shows the admin token or a session's cookie is let in, and others to where they sign in.
async fn let_in(Of(state): Of, Extension(origin): Extension<Origin>, mut request: Request, next: Next) -> Response {
    if let Err(error) = known(&state, origin, &mut request).await {
        return error.into_response();
    }
    if !is_stranger(&request) {
        return next.run(request).await;
    }
    if !is_entry(&request) {
        state.guesses.missing(guesses::Entrance::Admin, origin);
        return AdminError::Unauthorized.into_response();
    }
    // Whoever is not known has no memory but for a name and a password.
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_none_or(|length: usize| length > ENTRY_BYTES_MAX) {
        return AdminError::TooLarge.into_response();
    }
    next.run(request).await
}

/// Whoever is known is; pages answer others themselves.
pub(crate) async fn recognize(
    Of(state): Of,
    Extension(origin): Extension<Origin>,
    mut request: Request,
    next: Next,
) -> Response {
    match known(&state, origin, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Says in a request who asks: by the token that it shows; else by the session of its cookie. A cookie alone has nothing done that a
/// page of this site did not ask for (S25): browsers say of each such request where it comes from.
async fn known(state: &State, origin: Origin, request: &mut Request) -> Result<(), AdminError> {
    if request.headers().contains_key(header::AUTHORIZATION) {
        return match state.looks_at(request.headers(), guesses::Entrance::Admin, origin).await {
            Ok(Known::Yes) => {
                let principal = Principal::at(&Entrance::LISTENER, origin, request.headers());
                request.extensions_mut().insert(principal);
                Ok(())
            }
            Ok(Known::No | Known::Nothing) => Err(AdminError::Unauthorized),
            Err(wait) => Err(AdminError::TooManyTokens(wait)),
        };
    }
    let Some(secret) = cookie::read(request.headers()).filter(|_| state.dashboard.is_some()) else { return Ok(()) };
    let people = &state.people;
    let shown = if asks_by_itself(request) { people.open_page(secret).await? } else { people.present(secret).await? };
    let Some(present) = shown else { return Ok(()) };
    // Signing in takes no session into account: whoever does it gets a new one.
    if !request.method().is_safe() && !request.headers().contains_key(header::ORIGIN) && !is_entry(request) {
        return Err(AdminError::Foreign);
    }
    let principal = present.principal(&Seen::of(origin, request.headers()));
    request.extensions_mut().insert(principal);
    request.extensions_mut().insert(present);
    Ok(())
}

/// What a page that stands open asks for: its live part, and the pulse.
fn asks_by_itself(request: &Request) -> bool {
    request.headers().contains_key(FRAGMENT) || request.uri().path() == routes::PULSE
}

fn is_stranger(request: &Request) -> bool {
    request.extensions().get().is_none_or(|who: &Principal| who.role == Role::Stranger)
}

fn is_entry(request: &Request) -> bool {
    let (method, path) = routes::ENTRY;
    *request.method() == method && request.uri().path() == path
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

    use super::*;

    /// S24: a page that nobody looks at keeps no session open.
    #[test]
    fn a_page_asks_by_itself_for_its_live_part_and_the_pulse() {
        let asks = |path: &str, field: &str| {
            let request = Request::get(path).header(field, "live").body(Body::empty()).unwrap();
            asks_by_itself(&request)
        };
        assert!(asks("/events?source=in", "Relay-Fragment") && asks("/api/v1/pulse", "Accept"));
        assert!(!asks("/events", "Accept") && !asks("/api/v1/events", "Accept"));
    }

    /// Whose origin is not known is nobody whom an entrance lets in: neither as one of this machine, nor as a stranger.
    #[tokio::test]
    async fn what_comes_without_an_origin_is_let_in_nowhere() {
        let state = crate::offline::tests::admin(Arc::new(MemoryStore::new())).await;
        let desks = [guarded(Arc::clone(&state), None), unguarded(Entrance::SOCKET, state)];
        let ask = |path: &str| Request::get(path).body(Body::empty()).unwrap();
        for (Desk(routes), known) in desks.into_iter().zip([StatusCode::UNAUTHORIZED, StatusCode::OK]) {
            for path in ["/api/v1/sources", "/api/v1/me", "/health", "/metrics"] {
                let answer = routes.clone().oneshot(ask(path)).await.unwrap();
                assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
            }
            let answer = Desk(routes).answer(Origin::local(), ask("/api/v1/sources")).await;
            assert_eq!(answer.status(), known);
        }
    }

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
