//! Replays of all events that match: the oldest first, page by page, in bounded memory.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Extension, Json, extract::State};
use relay_core::{delivery::Delivery, jobs::Pace, name::Name, routing::Route, time::Wall};
use relay_store::seam::{AuditEntry, EventFilter, EventRow, Page};
use serde::Deserialize;

use super::{cursor::Order, filter::Listing, pace};
use crate::{
    admin::{
        Admin, Shared,
        dto::ReplayedDto,
        name,
        problem::{AdminError, Body},
    },
    asker::Asker,
    clock::rfc3339,
    hub,
    registry::listed,
};

/// Events of one page: each makes one commit.
const PAGE: u64 = 500;
/// In which they come.
const ORDER: Order = Order::EventsFromOldest;

/// Which events, where to, and how fast.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    source: Option<String>,
    since: Option<String>,
    until: Option<String>,
    /// All that match, of which there may be many: asked for where nothing else is said.
    #[serde(default)]
    all: bool,
    /// Left out: every destination that a route of the event's source leads to now.
    destination: Option<String>,
    /// At most so many.
    limit: Option<u64>,
    /// So many events a second.
    rate: Option<f64>,
    /// When the first of them is due.
    start_at: Option<String>,
    /// Where the command before this one ended.
    cursor: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn replay(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    Body(asked): Body<Replay>,
) -> Result<Json<ReplayedDto>, AdminError> {
    let Replay { source, since, until, all, destination, limit, rate, start_at, cursor, dry_run } = asked;
    if !all && source.is_none() && since.is_none() && until.is_none() {
        return Err(AdminError::Invalid("give a source, since or until, or ask for all".into()));
    }
    let listing = Listing { source, since, until, ..Listing::default() };
    let subject = format!("matching {listing:?} to {destination:?}");
    let filter = EventFilter { oldest_first: true, ..listing.events()? };
    let routes = chosen(&admin, filter.source.as_ref(), destination.as_deref())?;
    let cursor = ORDER.read(cursor.as_deref())?;
    let pace = pace::pace(rate, start_at.as_deref(), admin.clock.wall())?;
    let audit = (!dry_run).then(|| admin.audited(&who, "event.replay", subject));
    let mut work = Work { admin: &admin, routes, pace, audit, done: ReplayedDto { dry_run, ..ReplayedDto::default() } };
    let (mut left, mut cursor) = (limit.unwrap_or(u64::MAX), cursor);
    while left > 0 {
        let page = Page { cursor: cursor.clone(), limit: left.min(PAGE) as u32 };
        let listing = admin.archive.browse_events(filter.clone(), page).await?;
        left = left.saturating_sub(listing.items.len() as u64);
        work.page(&listing.items).await?;
        cursor = listing.next;
        if cursor.is_none() {
            break;
        }
        if admin.supervisor.is_stopping() {
            return Err(AdminError::Stopping);
        }
    }
    let Work { mut done, pace, .. } = work;
    done.next = cursor.map(|place| ORDER.write(&place));
    done.next_at = pace.map(|pace| rfc3339(pace.from));
    Ok(Json(done))
}

/// Along which routes events of which source go.
fn chosen(
    admin: &Admin,
    source: Option<&Name>,
    destination: Option<&str>,
) -> Result<BTreeMap<Name, Vec<Route>>, AdminError> {
    let wanted = destination.map(name).transpose()?;
    let routing = admin.registry.directory().routing.clone();
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

/// A replay under way.
struct Work<'a> {
    admin: &'a Admin,
    routes: BTreeMap<Name, Vec<Route>>,
    pace: Option<Pace>,
    /// Written with the first that are made.
    audit: Option<AuditEntry>,
    done: ReplayedDto,
}

impl Work<'_> {
    /// Makes the deliveries of a page, in one commit, and wakes whom they wait for.
    async fn page(&mut self, rows: &[EventRow]) -> Result<(), AdminError> {
        let routed = rows.iter().filter_map(|row| Some((row, self.routes.get(&row.event.source)?)));
        let routed: Vec<(&EventRow, &Vec<Route>)> = routed.collect();
        self.done.matched += routed.len() as u64;
        if self.done.dry_run || routed.is_empty() {
            return Ok(());
        }
        let count = routed.iter().map(|(_, routes)| routes.len()).sum();
        let mut ids = self.admin.hub.mint(count).await.ok_or(AdminError::Stopping)?.into_iter();
        let now = self.admin.clock.wall();
        let mut deliveries = Vec::with_capacity(count);
        for (before, (row, routes)) in routed.iter().enumerate() {
            let due = self.pace.map_or(Wall::MIN, |pace| pace.due(before as u64));
            for (route, id) in routes.iter().zip(&mut ids) {
                let made = Delivery::ready(id, &row.event, route.destination.clone(), true, now, route.ttl);
                // A row has its event without the body.
                deliveries.push(Delivery { body_bytes: row.body_bytes, ..made }.due_from(due));
            }
        }
        if let Some(pace) = &mut self.pace {
            pace.from = pace.due(routed.len() as u64);
        }
        let destinations: BTreeSet<Name> = deliveries.iter().map(|made| made.destination.clone()).collect();
        let stored = self.admin.queue.replay(deliveries, self.audit.clone().into_iter().collect()).await?;
        // Those whose event has gone meanwhile are none.
        let made = stored.iter().filter(|stored| **stored).count();
        self.done.changed += made as u64;
        if made > 0 {
            self.audit = None;
            self.admin.hub.tell(hub::Event::Woken(destinations.into_iter().collect())).await;
        }
        Ok(())
    }
}
