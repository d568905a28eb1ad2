//! A destination: from its counters, what the hub knows of its clients, and the routes that lead there.

use axum::{extract::Path, response::Response};
use relay_core::{
    delivery::State as DeliveryState,
    hub::{ClientView, DestinationView},
    name::Name,
    time::Now,
};
use relay_dashboard::screen::{ClientLine, DestinationFacts, DestinationPage};

use super::{
    frame::{Drawn, Looking},
    overview::{LISTED_MAX, destination_line},
    route,
};
use crate::{
    admin::{self, problem::AdminError, routes::filter::known},
    depth::count,
    health::Report,
    state::State,
};

pub(super) async fn show(looking: Looking, Path(destination): Path<String>) -> Response {
    let drawn = draw(&looking, &destination).await;
    looking.answer(drawn)
}

async fn draw(looking: &Looking, destination: &str) -> Result<Drawn, AdminError> {
    let destination = admin::name(destination)?;
    known(&looking.state, None, Some(&destination)).await?;
    let report = looking.state.health.report_now().await?;
    let destination = facts(&looking.state, &report, destination);
    Ok(Drawn::page(&DestinationPage { page: looking.page.clone(), destination }, false))
}

fn facts(state: &State, report: &Report, name: Name) -> DestinationFacts {
    let (directory, now) = (state.registry.directory(), state.clock.now());
    let stats = report.stats.destinations.iter().find(|stats| stats.destination == name);
    let seen = report.hub.destinations.iter().find(|seen| seen.destination == name);
    let routes = directory.routes.values().map(|entry| &entry.document).filter(|route| route.destination == name);
    let routes =
        routes.take(LISTED_MAX).map(|route| route::line(route, &directory, state.registry.defaults())).collect();
    let line = destination_line(name, report, &directory, now.wall);
    DestinationFacts {
        paused: line.paused,
        circuit: line.circuit,
        waiting: line.waiting,
        delivered: stats.map_or(0, |stats| count(stats, DeliveryState::Delivered)),
        dead: line.dead,
        oldest: line.oldest,
        next_expiry: stats.and_then(|stats| stats.next_expiry),
        clients: seen.map_or_else(Vec::new, |seen| clients(seen, now)),
        elsewhere: seen.map_or(0, |seen| u64::from(seen.elsewhere)),
        more_clients: seen.map_or(0, |seen| seen.clients.len().saturating_sub(LISTED_MAX) as u64),
        routes,
        name: line.name,
    }
}

fn clients(seen: &DestinationView, now: Now) -> Vec<ClientLine> {
    let line = |client: &ClientView| ClientLine {
        label: client.label.clone(),
        token: client.token.to_string(),
        peer: client.peer.clone(),
        since: client.since,
        held: u64::from(client.held),
        slots: u64::from(client.slots),
        open_since: client.open_since.map(|at| now.wall - now.mono.since(at)),
        circuit_open: client.circuit_open,
        next_try: client.next_try.map(|at| now.wall + at.since(now.mono)),
        error: client.error.clone(),
    };
    seen.clients.iter().take(LISTED_MAX).map(line).collect()
}
