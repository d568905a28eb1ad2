//! How the server is: status, health, probes, metrics.

use axum::{Json, extract::State, response::IntoResponse};
use http::{StatusCode, header};
use relay_core::{name::Name, time::Mono};
use relay_store::seam::{EventFilter, Page};

use crate::{
    admin::{
        Admin, Shared,
        dto::{HealthDto, MissedDto, StatusDto},
        problem::AdminError,
    },
    clock::rfc3339,
    hints::hints,
};

pub(super) async fn status(State(admin): Shared) -> Result<Json<StatusDto>, AdminError> {
    let report = admin.health.report().await?;
    let now = admin.clock.now();
    let mut status = StatusDto::new(&report, &admin.promises, &admin.registry.directory(), now);
    status.uptime_ms = now.mono.since(Mono::default()).as_millis() as u64;
    status.last_received_at = last_received(&admin, None).await?;
    status.public_url.clone_from(&admin.public_url);
    status.missed = admin.refusals.missed().iter().map(MissedDto::new).collect();
    let hints = hints(&admin.refusals, &admin.registry.directory(), &report.unrouted, now.wall);
    status.hints = hints.iter().map(ToString::to_string).collect();
    if let Some(listening) = admin.listening.get() {
        status.public.clone_from(&listening.public);
        status.admin.clone_from(&listening.admin);
    }
    Ok(Json(status))
}

/// When the newest event that is kept was received, of a source or of all.
pub(super) async fn last_received(admin: &Admin, source: Option<&Name>) -> Result<Option<String>, AdminError> {
    let filter = EventFilter { source: source.cloned(), ..EventFilter::default() };
    let listing = admin.archive.browse_events(filter, Page { cursor: None, limit: 1 }).await?;
    Ok(listing.items.first().map(|row| rfc3339(row.event.received_at)))
}

pub(crate) async fn health(State(admin): Shared) -> Result<Json<HealthDto>, AdminError> {
    let report = admin.health.report().await?;
    Ok(Json(HealthDto::new(&report, &admin.promises, true)))
}

pub(crate) async fn metrics(State(admin): Shared) -> Result<impl IntoResponse, AdminError> {
    let report = admin.health.report().await?;
    let page = admin.metrics.render(
        &report.stats,
        &report.view,
        &admin.registry.directory().routing.paused,
        admin.clock.wall(),
    );
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page))
}

pub(crate) async fn live() -> &'static str {
    "ok\n"
}

pub(crate) async fn ready(State(admin): Shared) -> impl IntoResponse {
    if admin.health.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}
