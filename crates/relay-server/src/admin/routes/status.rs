//! How the server is: status, health, probes, metrics.

use std::sync::Arc;

use axum::{Json, response::IntoResponse};
use http::header;
use relay_core::{name::Name, throttle::Rate, time::Mono};
use relay_store::seam::{EventFilter, Page};

use crate::{
    admin::{Of, problem::AdminError},
    api::{BackupDto, HealthDto, MissedDto, StatusDto},
    clock::rfc3339,
    hints::hints,
    intake::Intake,
    metrics::{self, Daily, Limited},
    state::State,
};

pub(super) async fn status(Of(state): Of) -> Result<Json<StatusDto>, AdminError> {
    let report = state.health.report_now().await?;
    let now = state.clock.now();
    let mut status = StatusDto::new(&report, &state.promises, &state.registry.directory(), now);
    status.uptime_ms = now.mono.since(Mono::default()).as_millis() as u64;
    status.last_received_at = last_received(&state, None).await?;
    status.health.relay.clone_from(&state.relay);
    status.backup = state.health.backups().map(BackupDto::new);
    status.public_url.clone_from(&state.public_url);
    status.missed = state.refusals.missed().iter().map(MissedDto::new).collect();
    let hints = hints(&state.refusals, &state.registry.directory(), &report.hub.unrouted, now.wall);
    status.hints = hints.iter().map(ToString::to_string).collect();
    if let Some(listening) = state.listening.get() {
        status.public.clone_from(&listening.public);
        status.tls = listening.tls;
        status.host.clone_from(&listening.host);
        status.proxy_protocol = listening.proxy_protocol;
        status.admin.clone_from(&listening.admin);
    }
    Ok(Json(status))
}

/// When the newest event that is kept was received, of a source or of all.
pub(super) async fn last_received(state: &State, source: Option<&Name>) -> Result<Option<String>, AdminError> {
    let filter = EventFilter { source: source.cloned(), ..EventFilter::default() };
    let listing = state.archive.browse_events(filter, Page { cursor: None, limit: 1 }).await?;
    Ok(listing.items.first().map(|row| rfc3339(row.event.received_at)))
}

pub(crate) async fn health(Of(state): Of) -> Result<Json<HealthDto>, AdminError> {
    let report = state.health.report_now().await?;
    Ok(Json(HealthDto::of(&state, &report, true)))
}

pub(crate) async fn metrics(Of(state): Of) -> Result<impl IntoResponse, AdminError> {
    let report = state.health.report().await?;
    let mut page = state.metrics.render(
        &report.stats,
        &report.hub.destinations,
        &state.registry.directory().routing.paused,
        (&limited(&state), &daily(&state)),
        state.clock.wall(),
    );
    page.extend(state.health.backups().map(|shown| metrics::backup_age(shown.age)));
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page))
}

/// How often one may come to the sources that bound it.
fn limited(state: &State) -> Vec<Limited> {
    let directory = state.registry.directory();
    let of = |source: &Arc<Intake>| {
        let bounds = [("source", source.terms.rate), ("address", source.terms.address_rate)];
        let limited = |(per, rate): (_, Option<Rate>)| Some(Limited { source: source.name.clone(), per, rate: rate? });
        bounds.into_iter().filter_map(limited).collect()
    };
    directory.intakes.values().map(of).collect::<Vec<Vec<Limited>>>().into_iter().flatten().collect()
}

/// What the sources took today, of those that bound it.
fn daily(state: &State) -> Vec<Daily> {
    let (directory, now) = (state.registry.directory(), state.clock.wall());
    let of = |source: &Arc<Intake>| {
        let (name, quota) = (source.name.clone(), source.terms.quota);
        let used = |measure| state.quotas.used(&name, measure, now);
        quota
            .bounds()
            .map(|(measure, quota)| Daily { source: name.clone(), measure, quota, used: used(measure) })
            .collect()
    };
    directory.intakes.values().map(of).collect::<Vec<Vec<Daily>>>().concat()
}

pub(crate) async fn live() -> &'static str {
    "ok\n"
}

pub(crate) async fn ready(Of(state): Of) -> impl IntoResponse {
    state.health.probe()
}
