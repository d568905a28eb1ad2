//! The dead letters: the newest of them in groups, with how it stands where they go.

use std::collections::BTreeMap;

use axum::{extract::Query, response::Response};
use relay_core::{
    delivery::{Reason, alike::Alike},
    name::Name,
};
use relay_dashboard::screen::{Circuit, Dead, DeadFilter, DeadGroups, GroupLine};
use relay_store::seam::{DeliveryFilter, Range};
use serde::Deserialize;

use super::{
    events::{given, since},
    frame::{Drawn, Looking},
    overview::circuit_of,
};
use crate::{
    admin::{
        self,
        problem::AdminError,
        routes::groups::{Group, grouped, key},
    },
    health::Report,
};

/// Groups of a page.
const LINES: usize = 40;

/// What stands in the URL.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    destination: Option<String>,
    source: Option<String>,
    reason: Option<String>,
    since: Option<String>,
}

pub(super) async fn show(looking: Looking, Query(asked): Query<Asked>) -> Response {
    let drawn = draw(&looking, asked).await;
    looking.answer(drawn)
}

async fn draw(looking: &Looking, asked: Asked) -> Result<Drawn, AdminError> {
    let (reason, mut fault) = (given(asked.reason), None);
    let known = |word: &str| Reason::ALL.into_iter().find(|reason| reason.as_str() == word);
    let filter = DeadFilter {
        destination: given(asked.destination),
        source: given(asked.source),
        reason: reason.as_deref().and_then(known),
        since: since(asked.since.as_deref()),
    };
    if let Some(word) = reason.filter(|_| filter.reason.is_none()) {
        fault = Some(format!("no reason {word:?}; known: {}", Reason::ALL.map(Reason::as_str).join(", ")));
    }
    let found = if fault.is_none() { groups(looking, &filter).await } else { Ok(DeadGroups::default()) };
    let groups = match found {
        Ok(groups) => groups,
        Err(error @ (AdminError::Unknown(_) | AdminError::Invalid(_) | AdminError::Registry(_))) => {
            fault.get_or_insert(error.to_string());
            DeadGroups::default()
        }
        Err(error) => return Err(error),
    };
    let directory = looking.state.registry.directory();
    let destinations = directory.destination_names().into_iter().collect();
    let sources = directory.sources.keys().cloned().collect();
    let is_faulty = fault.is_some();
    let page = looking.page.clone();
    Ok(Drawn::page(&Dead { page, filter, destinations, sources, groups, fault }, is_faulty))
}

async fn groups(looking: &Looking, filter: &DeadFilter) -> Result<DeadGroups, AdminError> {
    let name = |text: &Option<String>| text.as_deref().map(admin::name).transpose();
    let asked = DeliveryFilter {
        destination: name(&filter.destination)?,
        source: name(&filter.source)?,
        reason: filter.reason,
        range: Range { since: filter.since.from(looking.page.now), until: None },
        ..DeliveryFilter::default()
    };
    let found = grouped(&looking.state, asked).await?;
    let report = looking.state.health.report().await?;
    let (looked_at, is_all) = (found.looked_at, found.is_all);
    let mut circuits = BTreeMap::new();
    let lines: Vec<GroupLine> = found
        .by_count()
        .into_iter()
        .take(LINES)
        .map(|(alike, group)| line(alike, &group, &report, &mut circuits))
        .collect();
    let shown: u64 = lines.iter().map(|line| line.count).sum();
    Ok(DeadGroups { lines, looked_at, others: looked_at - shown, is_all })
}

fn line(alike: Alike, group: &Group, report: &Report, circuits: &mut BTreeMap<Name, Circuit>) -> GroupLine {
    let to = &alike.destination;
    let circuit = *circuits.entry(to.clone()).or_insert_with(|| circuit_of(to, report));
    let Group { count, oldest, newest, example, .. } = *group;
    GroupLine { key: key(&alike), alike, count, oldest, newest, example, circuit }
}
