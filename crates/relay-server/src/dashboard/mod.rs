//! The dashboard's pages: each reads what is stored and known, says it in a view model, and has that drawn by `relay-dashboard`.
//!
//! **Invariant:** nothing is changed here; whatever a page has done goes through the API. A model holds no byte that its viewer may not
//! see.

mod access;
mod account;
mod alerts;
mod audit;
mod audit_csv;
mod dead;
mod deliveries;
mod destination;
mod event;
mod events;
mod find;
mod frame;
mod overview;
mod route;
mod source;
mod why;
mod wizard;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use http::{HeaderName, HeaderValue, header};
use relay_dashboard::{asset::Asset, page::POLICY, screen::Again};

use self::frame::{Looking, drawn, redirect};
use crate::{
    admin::{FRAGMENT, problem::AdminError, recognize},
    principal::{Permission, Role},
    state::State,
};

/// All pages; none where the dashboard is off.
pub(crate) fn pages(state: &Arc<State>) -> Option<Router<Arc<State>>> {
    state.dashboard.as_ref()?;
    let see = |page| for_those_who(Permission::See, state, page);
    let pages = Router::new()
        .route("/", see(get(overview::show)))
        .route("/events", see(get(events::show)))
        .route("/events/{id}", see(get(event::show)))
        .route("/deliveries", see(get(deliveries::show)))
        .route("/deliveries/{id}", see(get(deliveries::of_event)))
        .route("/dead", see(get(dead::show)))
        .route("/why", see(get(why::all)))
        .route("/why/{source}", see(get(why::show)))
        .route("/sources", see(get(source::all)))
        .route("/sources/new", for_those_who(Permission::Configure, state, get(wizard::show)))
        .route("/sources/{source}", see(get(source::show)))
        .route("/source/{source}", see(get(source::show)))
        .route("/destinations/{destination}", see(get(destination::show)))
        .route("/alerts", see(get(alerts::show)))
        .route("/audit", see(get(audit::show)))
        .route("/audit.csv", see(get(audit_csv::show)))
        .route("/access", for_those_who(Permission::Access, state, get(access::show)))
        .route("/users", for_those_who(Permission::Access, state, get(account::users)))
        .route("/me", see(get(account::me)))
        .route("/login", get(account::login))
        .route_layer(middleware::from_fn_with_state(Arc::clone(state), recognize))
        // Around all of it: what is answered before a page is one to its browser too.
        .layer(middleware::from_fn(guarded))
        .route("/assets/{name}", get(asset));
    Some(pages)
}

fn for_those_who(needs: Permission, state: &Arc<State>, page: MethodRouter<Arc<State>>) -> MethodRouter<Arc<State>> {
    let permitted = move |looking, request, next| permitted(needs, looking, request, next);
    page.route_layer(middleware::from_fn_with_state(Arc::clone(state), permitted))
}

/// Whoever is not known is sent to where one signs in; who may not is told so.
async fn permitted(needs: Permission, looking: Looking, request: Request, next: Next) -> Response {
    if looking.who.role.may(needs) {
        return next.run(request).await;
    }
    if looking.who.role != Role::Stranger {
        return looking.answer(Err(AdminError::Forbidden(looking.who.role, needs)));
    }
    if looking.wants_fragment {
        return AdminError::Unauthorized.into_response();
    }
    let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let url = looking.login(target);
    // A browser that follows a link of another site sends no cookie of ours. It does once a page of ours leads there.
    let from_elsewhere = request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if !from_elsewhere {
        return redirect(&url);
    }
    drawn(&Again { page: looking.page.clone(), url })
}

/// What each page says to the browser that shows it (S11, S26).
async fn guarded(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let fields = answer.headers_mut();
    let same_origin = HeaderValue::from_static("same-origin");
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    fields.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    fields.insert(HeaderName::from_static("cross-origin-opener-policy"), same_origin.clone());
    fields.insert(HeaderName::from_static("cross-origin-resource-policy"), same_origin);
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Under its name there is never another content, so that browsers keep it for good.
async fn asset(Path(name): Path<String>) -> Response {
    let Some(asset) = Asset::named(&name) else {
        return AdminError::Unknown("there is no such file; reload the page".into()).into_response();
    };
    let fields = [
        (header::CONTENT_TYPE, asset.media_type()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (fields, asset.bytes()).into_response()
}
