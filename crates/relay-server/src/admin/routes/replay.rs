//! Replays of all events that match, the oldest first: a job of the core like other commands about many.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Extension, Json};
use relay_core::{
    jobs::{Action, Command, Target},
    name::Name,
    routing::Route,
};
use relay_store::seam::EventFilter;

use super::{
    bulk::{fingerprint, through},
    cursor::Order,
    filter::Listing,
    pace,
    preview::{Given, Terms, previewed, terms},
};
use crate::{
    admin::{
        Of, name,
        problem::{AdminError, Body},
    },
    api::{BulkDto, ReplayAsk},
    principal::Principal,
    registry::listed,
    state::State,
};

/// As the audit log has it.
const ACTION: &str = "event.replay";
/// In which they come.
const ORDER: Order = Order::EventsFromOldest;

pub(super) async fn replay(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Body(asked): Body<ReplayAsk>,
) -> Result<Json<BulkDto>, AdminError> {
    let what = what(&asked);
    let fingerprint_of_job = fingerprint(ACTION, &what);
    let ReplayAsk { source, since, until, all, destination, limit, rate, start_at, cursor, dry_run, job, preview } =
        asked;
    if !all && source.is_none() && since.is_none() && until.is_none() {
        return Err(AdminError::Invalid("give a source, since or until, or ask for all".into()));
    }
    let listing = Listing { source, since, until, ..Listing::default() };
    let subject = format!("matching {listing:?} to {destination:?}");
    let filter = EventFilter { oldest_first: true, ..listing.events()? };
    let routes = chosen(&state, filter.source.as_ref(), destination.as_deref())?;
    let previewed_as = fingerprint(ACTION, &(&what, &cursor, leads(&routes)));
    let cursor = ORDER.read(cursor.as_deref())?;
    let pace = pace::pace(rate, start_at.as_deref(), state.clock.wall())?;
    let given = Given { preview: preview.as_deref(), job: job.as_deref(), limit, dry_run, is_open: true };
    let (job, Terms { as_of, last, mark, .. }) = terms(&state, &who, previewed_as, &given).await?;
    let audit = (!dry_run).then(|| state.audited(&who, ACTION, format!("{job}: {subject}")));
    let (action, target) = (Action::Replay { routes, pace }, Target::Events(filter));
    let fingerprint = fingerprint_of_job;
    let command = Command { job, fingerprint, action, target, pick: None, limit, cursor, as_of, last, dry_run, audit };
    let (done, sums) = through(&state, command, mark, ORDER).await?;
    if !dry_run {
        return Ok(Json(done));
    }
    Ok(Json(previewed(&state, &who, previewed_as, (as_of, limit), (job, &sums), done)))
}

/// What is asked for; not how much of it is done at a time, how fast, or by what.
fn what(asked: &ReplayAsk) -> ReplayAsk {
    let ReplayAsk { source, since, until, all, destination, .. } = asked.clone();
    ReplayAsk { all, source, since, until, destination, ..ReplayAsk::default() }
}

/// From where to where these routes lead.
fn leads(routes: &BTreeMap<Name, Vec<Route>>) -> Vec<(&str, &str)> {
    let all = routes.iter().flat_map(|(source, routes)| routes.iter().map(move |route| (source, &route.destination)));
    all.map(|(source, destination)| (source.as_str(), destination.as_str())).collect()
}

/// Along which routes events of which source go.
fn chosen(
    state: &State,
    source: Option<&Name>,
    destination: Option<&str>,
) -> Result<BTreeMap<Name, Vec<Route>>, AdminError> {
    let wanted = destination.map(name).transpose()?;
    let routing = state.registry.directory().routing.clone();
    let of_source = |(name, _): &(&Name, &Vec<Route>)| source.is_none_or(|source| source == *name);
    let is_wanted = |route: &&Route| wanted.as_ref().is_none_or(|wanted| route.destination == *wanted);
    let along = |(name, routes): (&Name, &Vec<Route>)| {
        let routes: Vec<Route> = routes.iter().filter(is_wanted).cloned().collect();
        (!routes.is_empty()).then(|| (name.clone(), routes))
    };
    let found: BTreeMap<Name, Vec<Route>> = routing.routes.iter().filter(of_source).filter_map(along).collect();
    if found.is_empty() {
        let from = source.map_or_else(String::new, |source| format!(" from {:?}", source.as_str()));
        let to = wanted.map_or_else(String::new, |wanted| format!(" to {:?}", wanted.as_str()));
        let known: BTreeSet<&Name> = routing.routes.values().flatten().map(|route| &route.destination).collect();
        return Err(AdminError::Unknown(format!("no route leads{from}{to}; known destinations: {}", listed(known))));
    }
    Ok(found)
}
