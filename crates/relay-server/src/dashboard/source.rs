//! The sources, and one of them: from its document, its counters, and what it refused lately.

use std::collections::BTreeSet;

use axum::{extract::Path, response::Response};
use relay_core::{name::Name, storage::StoreError, time::Wall};
use relay_dashboard::screen::{
    EventName, KeyLine, ListedSource, MissedLine, Parameter, RefusalLine, SourceCounters, SourceFacts, SourcePage,
    Sources,
};
use relay_store::seam::{Archive, EventFilter, Page, SourceStats};

use super::{
    frame::{Drawn, Looking},
    overview::{LISTED_MAX, source_lines},
    route,
};
use crate::{
    admin::{self, problem::AdminError},
    api::{ActivityDto, QuotaDto, SourceDto},
    cure::cure,
    directory::Directory,
    document,
    network_policy::NetworkPolicy,
    refusals::came_from,
    registry::{Registry, RegistryError, listed},
    state::State,
};

/// Names of events that are listed.
const NAMES_MAX: usize = 40;

pub(super) async fn all(looking: Looking) -> Response {
    let drawn = draw_all(&looking).await;
    looking.answer(drawn)
}

async fn draw_all(looking: &Looking) -> Result<Drawn, AdminError> {
    let state = &looking.state;
    let report = state.health.report().await?;
    let directory = state.registry.directory();
    let names: BTreeSet<Name> = directory.sources.keys().cloned().collect();
    let left_out = names.len().saturating_sub(LISTED_MAX) as u64;
    let lines = source_lines(state, &directory, &report, names).await?;
    let sources = lines.into_iter().map(|line| {
        let entry = directory.sources.get(&line.name);
        let routes = directory.routing.routes.get(&line.name).into_iter().flatten();
        ListedSource {
            provider: entry.map(|entry| entry.document.provider.clone()),
            destinations: routes.map(|route| route.destination.clone()).collect(),
            line,
        }
    });
    let missed = state.refusals.missed().into_iter().map(|missed| MissedLine {
        at: missed.at,
        request: format!("{} {}", missed.method, missed.path),
        from: missed.origin.known_ip().map_or_else(String::new, |ip| ip.to_string()),
        status: missed.status,
    });
    let (sources, missed) = (sources.collect(), missed.collect());
    Ok(Drawn::page(&Sources { page: looking.page.clone(), sources, left_out, missed }, false))
}

pub(super) async fn show(looking: Looking, Path(source): Path<String>) -> Response {
    let drawn = draw(&looking, &source).await;
    looking.answer(drawn)
}

async fn draw(looking: &Looking, source: &str) -> Result<Drawn, AdminError> {
    let (state, source) = (&looking.state, admin::name(source)?);
    let directory = state.registry.directory();
    let entry = directory.sources.get(&source).ok_or_else(|| RegistryError::Unknown {
        kind: "source",
        name: source.to_string(),
        known: listed(directory.sources.keys()),
    })?;
    let stats = state.upkeep.stats().await?;
    let stats = stats.sources.iter().find(|stats| stats.source == source);
    let last_at = last_accepted(&*state.archive, &source).await?;
    let names = state.archive.event_names(source.clone()).await?;
    let mut facts = facts(state, &directory, &entry.document, stats);
    facts.counters.last_at = last_at;
    let named = |name: relay_store::seam::NameCount| EventName {
        name: name.name.as_deref().map(str::to_owned),
        events: name.events,
        last_at: name.last,
    };
    facts.names = names.names.into_iter().take(NAMES_MAX).map(named).collect();
    Ok(Drawn::page(&SourcePage { page: looking.page.clone(), source: facts }, false))
}

/// When its newest event that is kept came. What the overview knows of all sources is left to it.
async fn last_accepted(archive: &dyn Archive, source: &Name) -> Result<Option<Wall>, StoreError> {
    let filter = EventFilter { source: Some(source.clone()), ..EventFilter::default() };
    let listing = archive.browse_events(filter, Page { cursor: None, limit: 1 }).await?;
    Ok(listing.items.first().map(|row| row.event.received_at))
}

fn facts(state: &State, directory: &Directory, source: &document::Source, stats: Option<&SourceStats>) -> SourceFacts {
    let (name, now) = (&source.name, state.clock.wall());
    let shown = SourceDto::new(source, &state.registry);
    let refused = state.refusals.of(name.as_str()).into_iter().filter(|refused| refused.at >= source.created_at);
    let routes = directory.routes.values().map(|entry| &entry.document).filter(|route| route.source == *name);
    SourceFacts {
        name: name.clone(),
        provider: source.provider.clone(),
        url: shown.url.unwrap_or_else(|| format!("/webhook/{name}")),
        declared: source.declared.clone(),
        stopped: stopped(source, shown.broken),
        awaits: shown.awaits_secret.then(|| source.adopts_until(now)),
        parameters: shown
            .parameters
            .into_iter()
            .map(|given| Parameter { name: given.name, value: given.value, adopted: given.adopted })
            .collect(),
        bounds: bounds(&source.network).into_iter().chain(source.marks.iter().map(marked)).collect(),
        counters: SourceCounters {
            accepted: stats.map_or(0, |stats| stats.accepted),
            stored: stats.map_or(0, |stats| stats.stored),
            duplicates: stats.map_or(0, |stats| stats.duplicates),
            handshakes: state.metrics.handshakes_of(name.as_str()),
            refused: state
                .metrics
                .refused_of(name.as_str())
                .into_iter()
                .map(|(check, count)| (check.to_owned(), count))
                .collect(),
            last_at: None,
        },
        quotas: quotas(state, source, now),
        names: Vec::new(),
        refusals: refused
            .map(|refused| RefusalLine {
                at: refused.at,
                check: refused.check.to_owned(),
                remedy: cure(refused.check).to_owned(),
                detail: refused.detail,
                from: came_from(&refused.origin),
            })
            .collect(),
        takes_keys: directory.intakes.get(name).is_some_and(|intake| intake.verifier.is_key_source()),
        keys: directory
            .keys
            .values()
            .map(|entry| &entry.document)
            .filter(|key| key.source == *name)
            .take(LISTED_MAX)
            .map(|key| key_line(key, &state.registry))
            .collect(),
        routes: routes.take(LISTED_MAX).map(|route| route::line(route, directory, state.registry.defaults())).collect(),
    }
}

fn stopped(source: &document::Source, broken: Option<String>) -> Option<String> {
    if source.paused {
        return Some("the configuration file no longer declares it: it takes nothing and answers 503".to_owned());
    }
    broken.map(|what| format!("its parameters do not read, it answers 503: {what}"))
}

fn bounds(network: &NetworkPolicy) -> Vec<(&'static str, String)> {
    let list = |texts: &Option<Vec<String>>| texts.as_ref().map(|texts| texts.join(", "));
    let NetworkPolicy { rate, address_rate, allow, deny, daily_events, daily_bytes } = network;
    let given =
        [rate.clone(), address_rate.clone(), list(allow), list(deny), daily_events.clone(), daily_bytes.clone()];
    NetworkPolicy::KEYS.into_iter().zip(given).filter_map(|(key, value)| Some((key, value?))).collect()
}

fn marked(mark: &document::MarkDefinition) -> (&'static str, String) {
    ("mark", format!("{} = {}", mark.name, mark.path))
}

fn quotas(state: &State, source: &document::Source, now: Wall) -> Vec<String> {
    let activity = ActivityDto::new(source, None, &state.metrics, &state.refusals);
    let said = |quota: QuotaDto| format!("{} of {} {}", quota.used, quota.quota, quota.measure);
    activity.with_quotas(source, &state.quotas, now).quotas.into_iter().map(said).collect()
}

/// A key, as far as anybody knows it but who has it.
pub(super) fn key_line(key: &document::Key, registry: &Registry) -> KeyLine {
    KeyLine {
        source: key.source.clone(),
        name: key.name.clone(),
        prefix: key.prefix.clone(),
        created_at: key.created_at,
        used_at: registry.uses().key_used(&key.source, key.name.as_str()).filter(|at| *at >= key.created_at),
        revoked_at: key.revoked_at.map(Wall::from_micros),
    }
}
