//! The routes, one noun per file.

mod audit;
mod dead;
mod deliveries;
mod destinations;
mod events;
mod filter;
mod keys;
mod routes;
mod sources;
pub(crate) mod status;
mod store;
mod tokens;

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
        .route("/sources", get(sources::list).post(sources::create))
        .route("/sources/{name}", get(sources::show).patch(sources::update).delete(sources::delete))
        .route("/routes", get(routes::list).post(routes::create))
        .route("/routes/{source}/{destination}", get(routes::show).put(routes::update).delete(routes::delete))
        .route("/destinations", get(destinations::list))
        .route("/destinations/{name}", get(destinations::show))
        .route("/destinations/{name}/pause", post(destinations::pause))
        .route("/destinations/{name}/resume", post(destinations::resume))
        .route("/keys", get(keys::list).post(keys::create))
        .route("/keys/{source}/{name}", get(keys::show).delete(keys::revoke))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{name}", get(tokens::show).patch(tokens::update).delete(tokens::revoke))
        .route("/events", get(events::list))
        .route("/events/{id}", get(events::show))
        .route("/events/{id}/body", get(events::body))
        .route("/events/{id}/replay", post(events::replay))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/cancel", post(deliveries::cancel))
        .route("/deliveries/{id}", get(deliveries::show))
        .route("/dead", get(dead::list))
        .route("/dead/redrive", post(dead::redrive))
        .route("/dead/purge", post(dead::purge))
        .route("/dead/{id}", get(deliveries::show))
        .route("/audit", get(audit::recount))
        .route("/store/backup", post(store::backup))
}
