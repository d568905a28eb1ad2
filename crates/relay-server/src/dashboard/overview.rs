//! The overview: from counters, what the hub knows, and for each source the moment of its newest event.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use axum::response::Response;
use relay_core::{
    alert::Severity, delivery::State as DeliveryState, hub::DestinationView, name::Name, routing::Route,
    storage::StoreError, time::Wall,
};
use relay_dashboard::{
    place::place,
    screen::{Circuit, DestinationLine, Hour, Overview, OverviewLive, Reason, Screen as _, Situation, SourceLine},
    sums::{DeliveriesSum, EventsSum},
    url::{Site, Url},
};
use relay_store::seam::{DestinationStats, SourceStats, Stats};

use super::frame::{Drawn, Looking};
use crate::{
    admin::problem::AdminError,
    alerts,
    depth::{count, open},
    directory::Directory,
    health::{self, Report, age},
    state::State,
    trend::{Flow, Stretch},
};

/// Sources and destinations that are listed, each: what a page shows and a store reads for it does not grow beyond.
pub(super) const LISTED_MAX: usize = 100;

pub(super) async fn show(looking: Looking) -> Response {
    let drawn = draw(&looking).await;
    looking.answer(drawn)
}

async fn draw(looking: &Looking) -> Result<Drawn, AdminError> {
    let now = situation(&looking.state, looking.site()).await?;
    let page = &looking.page;
    if looking.wants_fragment {
        return Ok(Drawn::Fragment(OverviewLive { page, now: &now }.html()));
    }
    Ok(Drawn::page(&Overview { page: page.clone(), now }, false))
}

async fn situation(state: &State, site: &Site) -> Result<Situation, AdminError> {
    let report = state.health.report().await?;
    let directory = state.registry.directory();
    let sources: BTreeSet<Name> =
        directory.sources.keys().chain(report.stats.sources.iter().map(|stats| &stats.source)).cloned().collect();
    let destinations: BTreeSet<Name> = directory
        .destination_names()
        .into_iter()
        .chain(report.stats.destinations.iter().map(|stats| stats.destination.clone()))
        .collect();
    let left_out = [sources.len(), destinations.len()].map(|count| count.saturating_sub(LISTED_MAX) as u64);
    let now = state.clock.wall();
    Ok(Situation {
        reasons: report.reasons.iter().map(|reason| told(reason, &directory, site)).collect(),
        sources: source_lines(state, &directory, &report, sources).await?,
        destinations: destinations
            .into_iter()
            .take(LISTED_MAX)
            .map(|name| destination_line(name, &report, &directory, now))
            .collect(),
        hour: last_hour(state),
        left_out: left_out.iter().sum(),
        recounted: state.recounts.done(),
        events: events_sum(&report.stats),
        deliveries: deliveries_sum(&report.stats),
    })
}

pub(super) async fn source_lines(
    state: &State,
    directory: &Directory,
    report: &Report,
    names: BTreeSet<Name>,
) -> Result<Vec<SourceLine>, StoreError> {
    let stats: BTreeMap<&Name, &SourceStats> =
        report.stats.sources.iter().map(|stats| (&stats.source, stats)).collect();
    let refused = state.metrics.refused_by_source();
    let names: Vec<Name> = names.into_iter().take(LISTED_MAX).collect();
    let shown: Vec<&SourceStats> = names.iter().filter_map(|name| stats.get(name).copied()).collect();
    let newest = state.newest.of(&*state.archive, &shown, state.clock.now().mono).await?;
    let at = state.clock.now().mono;
    let line = |name: Name| {
        let stats = stats.get(&name);
        SourceLine {
            last_at: newest.get(&name).copied(),
            a_minute: state.health.trend().a_minute(&name, at),
            accepted: stats.map_or(0, |stats| stats.accepted),
            duplicates: stats.map_or(0, |stats| stats.duplicates),
            refused: refused.get(name.as_str()).copied().unwrap_or_default(),
            is_deleted: !directory.sources.contains_key(&name),
            stopped: stopped(directory, &name),
            name,
        }
    };
    Ok(names.into_iter().map(line).collect())
}

fn last_hour(state: &State) -> Hour {
    let Stretch { known_since, minutes, .. } = state.health.trend().latest(60, state.clock.now());
    let all = minutes.iter().flatten().copied().fold(Flow::default(), Flow::and);
    let minutes = minutes.iter().map(|flow| flow.map(|flow| flow.accepted)).collect();
    Hour { known_since, minutes, delivered: all.delivered, dead: all.ended, refused: all.refused }
}

fn stopped(directory: &Directory, source: &Name) -> Option<String> {
    let Some(entry) = directory.sources.get(source) else { return Some("deleted".to_owned()) };
    if entry.document.paused {
        return Some("paused".to_owned());
    }
    let intake = directory.intakes.get(source);
    intake.and_then(|intake| intake.broken.clone()).map(|_| "broken".to_owned())
}

pub(super) fn destination_line(name: Name, report: &Report, directory: &Directory, now: Wall) -> DestinationLine {
    let stats = report.stats.destinations.iter().find(|stats| stats.destination == name);
    let seen = report.hub.destinations.iter().find(|seen| seen.destination == name);
    let clients = clients(seen);
    let oldest = age(stats.and_then(|stats| stats.oldest_due), now);
    DestinationLine {
        clients,
        waiting: stats.map_or(0, open),
        // Due in a moment is not due since.
        oldest: oldest.filter(|age| *age >= Duration::from_secs(1)),
        dead: stats.map_or(0, dead),
        circuit: circuit(clients, seen),
        paused: directory.routing.paused.contains(&name),
        name,
    }
}

fn clients(seen: Option<&DestinationView>) -> u64 {
    seen.map_or(0, |seen| seen.clients.len() as u64 + u64::from(seen.elsewhere))
}

/// Whether tries get through to a destination.
pub(super) fn circuit_of(name: &Name, report: &Report) -> Circuit {
    let seen = report.hub.destinations.iter().find(|seen| seen.destination == *name);
    circuit(clients(seen), seen)
}

fn circuit(clients: u64, seen: Option<&DestinationView>) -> Circuit {
    let is_open =
        |seen: &DestinationView| seen.elsewhere_down > 0 || seen.clients.iter().any(|client| client.circuit_open);
    match (clients, seen) {
        (0, _) => Circuit::Idle,
        (_, Some(seen)) if is_open(seen) => Circuit::Open,
        (_, _) => Circuit::Closed,
    }
}

fn dead(stats: &DestinationStats) -> u64 {
    DeliveryState::DEAD_LETTER.iter().map(|state| count(stats, *state)).sum()
}

fn events_sum(stats: &Stats) -> EventsSum {
    stats.sources.iter().fold(EventsSum::default(), |sum, stats| EventsSum {
        accepted: sum.accepted + stats.accepted,
        stored: sum.stored + stats.stored,
        retired: sum.retired + stats.retired,
    })
}

fn deliveries_sum(stats: &Stats) -> DeliveriesSum {
    stats.destinations.iter().fold(DeliveriesSum::default(), |sum, stats| DeliveriesSum {
        created: sum.created + stats.created,
        open: sum.open + open(stats),
        delivered: sum.delivered + count(stats, DeliveryState::Delivered),
        dead: sum.dead + dead(stats),
        cancelled: sum.cancelled + count(stats, DeliveryState::Cancelled),
        retired: sum.retired + stats.retired,
        lost: sum.lost + stats.lost,
    })
}

/// A reason with where one looks.
fn told(reason: &health::Reason, directory: &Directory, site: &Site) -> Reason {
    use health::Reason as R;
    let (kind, subject, severity) = alerts::kind(reason);
    let url = match reason {
        R::NoClient { destination, .. }
        | R::CircuitOpen { destination, .. }
        | R::Stalled { destination, .. }
        | R::HalfTtl { destination, .. }
        | R::Paused { destination, .. } => to(site, directory, destination),
        R::SourceBroken { source, .. } | R::OldSecretBroken { source, .. } => of(site, source),
        _ => place(site, kind, subject),
    };
    Reason { words: reason.to_string(), kind, url, mild: severity < Severity::Critical }
}

/// Why nothing gets to a destination: what is on the way there from a source. Where none leads there, what waits for it.
fn to(site: &Site, directory: &Directory, destination: &Name) -> Url {
    let leads = |routes: &[Route]| routes.iter().any(|route| route.destination == *destination);
    let source = directory.routing.routes.iter().find(|(_, routes)| leads(routes));
    match source {
        Some((source, _)) => site.why(source.as_str()),
        None => site.deliveries().with("destination", destination.as_str()),
    }
}

fn of(site: &Site, source: &Name) -> Url {
    site.why(source.as_str())
}
