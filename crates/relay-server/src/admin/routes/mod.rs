//! The routes, one noun per file.

mod audit;
mod audit_log;
mod bulk;
mod cursor;
mod dead;
mod delivery;
mod destination;
mod event;
mod filter;
mod id;
mod invite;
mod key;
mod pace;
mod replay;
mod route;
mod sign;
mod source;
pub(crate) mod status;
mod store;
mod summary;
mod token;
mod words;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};

use super::Admin;

/// Everything below `/api/v1`.
pub(super) fn all() -> Router<Arc<Admin>> {
    Router::new()
        .route("/status", get(status::status))
        .route("/health", get(status::health))
        .route("/sources", get(source::list).post(source::create))
        .route("/sources/{name}", get(source::show).patch(source::update).delete(source::delete))
        .route("/sources/{name}/reveal", post(source::reveal))
        .route("/sources/{name}/await-secret", post(source::await_secret))
        .route("/sources/{name}/rotate", post(source::rotate))
        .route("/sources/{name}/rotate/finish", post(source::finish_rotation))
        .route("/sources/{name}/rotate/abort", post(source::abort_rotation))
        .route("/sources/{name}/sign", post(sign::sign))
        .route("/invites", post(invite::create))
        .route("/routes", get(route::list).post(route::create))
        .route("/routes/{source}/{destination}", get(route::show).patch(route::update).delete(route::delete))
        .route("/destinations", get(destination::list))
        .route("/destinations/{name}", get(destination::show))
        .route("/destinations/{name}/pause", post(destination::pause))
        .route("/destinations/{name}/resume", post(destination::resume))
        .route("/keys", get(key::list).post(key::create))
        .route("/keys/{source}/{name}", get(key::show).delete(key::revoke))
        .route("/tokens", get(token::list).post(token::create))
        .route("/tokens/{name}", get(token::show).patch(token::update).delete(token::revoke))
        .route("/tokens/{name}/rotate", post(token::rotate))
        .route("/tokens/{name}/rotate/finish", post(token::finish_rotation))
        .route("/tokens/{name}/rotate/abort", post(token::abort_rotation))
        .route("/events", get(event::list))
        .route("/events/replay", post(replay::replay))
        .route("/events/{id}", get(event::show))
        .route("/events/{id}/body", get(event::body))
        .route("/events/{id}/replay", post(event::replay))
        .route("/deliveries", get(delivery::list))
        .route("/deliveries/cancel", post(delivery::cancel))
        .route("/deliveries/{id}", get(delivery::show))
        .route("/dead", get(dead::list))
        .route("/dead/summary", get(summary::summary))
        .route("/dead/redrive", post(dead::redrive))
        .route("/dead/purge", post(dead::purge))
        .route("/dead/{id}", get(delivery::show_dead))
        .route("/audit", get(audit::recount))
        .route("/audit-log", get(audit_log::list))
        .route("/store/backup", post(store::backup))
}
