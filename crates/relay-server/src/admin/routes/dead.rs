//! Dead letters: list, redrive, purge; and the loop behind every command that changes many deliveries.

use axum::{Extension, Json, extract::State};
use relay_core::{
    delivery::{Delivery, State as DeliveryState},
    id::{IdError, IdMint, JobId},
};
use relay_store::seam::{BulkAction, BulkDone, BulkStep, BulkTarget, DeliveryFilter, Page};
use serde::Deserialize;

use super::{
    cursor::Order,
    filter::{Listing, known},
    pace,
    words::Words,
};
use crate::{
    admin::{
        Admin, Shared,
        dto::{BulkDto, DeliveryDto, List},
        problem::{AdminError, Asked, Body},
    },
    asker::Asker,
    hub::Event,
};

/// Ids that one command may name.
const IDS_MAX: usize = 10_000;

/// Which deliveries, and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bulk {
    /// These; or else all that match the filters, which then must be asked for with `all`.
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    all: bool,
    source: Option<String>,
    destination: Option<String>,
    reason: Option<String>,
    since: Option<String>,
    until: Option<String>,
    /// Of the last try's answer.
    status: Option<u16>,
    /// Of what the last try came to, as screens show it; in any case.
    error: Option<String>,
    /// At most so many, the latest first.
    limit: Option<u64>,
    /// Where the command before this one ended; only with `status`, `error` or `limit`.
    cursor: Option<String>,
    /// So many a second; only where they become ready again.
    rate: Option<f64>,
    /// With `rate`: when the first of them is due.
    start_at: Option<String>,
    #[serde(default)]
    dry_run: bool,
    /// The command's id, to repeat it without doing anything twice.
    job: Option<String>,
}

pub(super) async fn list(
    State(admin): Shared,
    Asked(asked): Asked<Listing>,
) -> Result<Json<List<DeliveryDto>>, AdminError> {
    if asked.state.is_some() {
        return Err(AdminError::Invalid("dead letters are dead or expired; filter by reason instead of state".into()));
    }
    let filter = DeliveryFilter { states: ended(), ..asked.deliveries()? };
    page(&admin, filter, &asked).await
}

/// The page that was asked for of those that match. Where there are none, a source or destination that is not there is named.
pub(super) async fn page(
    admin: &Admin,
    filter: DeliveryFilter,
    asked: &Listing,
) -> Result<Json<List<DeliveryDto>>, AdminError> {
    let order = Order::of(&filter);
    let (source, destination) = (filter.source.clone(), filter.destination.clone());
    let listing = admin.archive.browse_deliveries(filter, asked.page(order)?).await?;
    if listing.items.is_empty() {
        known(admin, source.as_ref(), destination.as_ref()).await?;
    }
    let (items, next) = order.page(&listing, DeliveryDto::new);
    Ok(Json(List { items, next }))
}

pub(super) async fn redrive(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    Body(bulk): Body<Bulk>,
) -> Result<Json<BulkDto>, AdminError> {
    let routing = admin.registry.directory().routing.clone();
    let of_source = |(source, routes): (&relay_core::name::Name, &Vec<relay_core::routing::Route>)| {
        routes.iter().map(|route| (source.clone(), route.destination.clone(), route.ttl)).collect::<Vec<_>>()
    };
    let ttl = routing.routes.iter().flat_map(of_source).collect();
    let pace = pace::pace(bulk.rate, bulk.start_at.as_deref(), admin.clock.wall())?;
    let action = BulkAction::Redrive { ttl, ttl_default: admin.registry.defaults().ttl, pace };
    run(&admin, &who, "dead.redrive", action, bulk).await.map(Json)
}

pub(super) async fn purge(
    State(admin): Shared,
    Extension(who): Extension<Asker>,
    Body(bulk): Body<Bulk>,
) -> Result<Json<BulkDto>, AdminError> {
    run(&admin, &who, "dead.purge", BulkAction::Purge, bulk).await.map(Json)
}

/// Runs a command step by step until it is through, and tells the hub what became of which delivery. If the asker goes
/// away in the middle, the same command under the same job id does the rest.
pub(super) async fn run(
    admin: &Admin,
    who: &Asker,
    action_name: &str,
    action: BulkAction,
    bulk: Bulk,
) -> Result<BulkDto, AdminError> {
    let (mut bulk, mut action) = (bulk, action);
    if bulk.reason.is_some() && matches!(action, BulkAction::Cancel) {
        return Err(AdminError::Invalid(
            "a reason is why a delivery ended, and these are open; want status or error, of their last try".into(),
        ));
    }
    if (bulk.rate.is_some() || bulk.start_at.is_some()) && !matches!(action, BulkAction::Redrive { .. }) {
        return Err(AdminError::Invalid("a rate is for what becomes ready again".into()));
    }
    // Before the first is looked up.
    if bulk.ids.len() > IDS_MAX {
        return Err(AdminError::Invalid(format!("{} ids at once; want at most {IDS_MAX}", bulk.ids.len())));
    }
    let states = match &action {
        BulkAction::Redrive { .. } | BulkAction::Purge => ended(),
        BulkAction::Cancel => DeliveryState::ALL.into_iter().filter(|state| state.is_open()).collect(),
    };
    for id in &mut bulk.ids {
        *id = super::id::delivery_in(admin, id, &states).await?.to_string();
    }
    let picks = Picks::of(&bulk)?;
    let job = job_id(admin, bulk.job.as_deref())?;
    let dry_run = bulk.dry_run;
    let (target, subject) = target(bulk, states)?;
    if let BulkTarget::Matching(filter) = &target {
        known(admin, filter.source.as_ref(), filter.destination.as_ref()).await?;
    }
    let target = match (picks, target) {
        (Some(picks), BulkTarget::Matching(filter)) => {
            let subject = format!("{job}: {subject} {picks:?}");
            let audit = (!dry_run).then(|| admin.audited(who, action_name, subject));
            return picked(admin, picks, filter, Picked { job, action, dry_run, audit }).await;
        }
        (Some(_), BulkTarget::Ids(_)) => {
            return Err(AdminError::Invalid("give either ids, or status, error and limit".into()));
        }
        (None, target) => target,
    };
    let mut audit = (!dry_run).then(|| admin.audited(who, action_name, format!("{job}: {subject}")));
    let mut done = BulkDto { job: job.to_string(), dry_run, ..BulkDto::default() };
    let mut cursor = None;
    loop {
        let (target, now) = (target.clone(), admin.clock.wall());
        let step = BulkStep { job, action: action.clone(), target, cursor, dry_run, now, audit: audit.clone() };
        let result = admin.upkeep.bulk(step).await?;
        done.matched += result.matched;
        done.changed += result.changed;
        pace::advance(&mut action, result.changed);
        if result.changed > 0 {
            audit = None;
        }
        if !dry_run {
            tell(admin, &action, &result).await;
        }
        cursor = result.next;
        if cursor.is_none() {
            done.next_at = pace::next_at(&action);
            return Ok(done);
        }
        if admin.supervisor.is_stopping() {
            return Err(AdminError::Interrupted { job: done.job });
        }
    }
}

/// What the hub hears of a step. Only a redrive makes anything due: the others must not cut short the pause of a circuit.
async fn tell(admin: &Admin, action: &BulkAction, result: &BulkDone) {
    admin.hub.tell(Event::Touched(result.ids.clone())).await;
    if matches!(action, BulkAction::Redrive { .. }) {
        admin.hub.tell(Event::Woken(result.destinations.clone())).await;
    }
}

/// What the store has no index for: it is picked out of what the filters give.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Picks {
    status: Option<u16>,
    error: Option<Words>,
    limit: Option<u64>,
    cursor: Option<String>,
}

/// How a command that picks is done.
struct Picked {
    job: JobId,
    action: BulkAction,
    dry_run: bool,
    audit: Option<relay_store::seam::AuditEntry>,
}

impl Picks {
    fn of(bulk: &Bulk) -> Result<Option<Self>, AdminError> {
        let Bulk { status, error, limit, cursor, .. } = bulk;
        if status.is_none() && error.is_none() && limit.is_none() {
            return match cursor {
                None => Ok(None),
                Some(_) => Err(AdminError::Invalid("a cursor goes with status, error or limit".into())),
            };
        }
        if bulk.job.is_some() {
            let text = "status, error and limit are picked anew each time; repeat the command without a job";
            return Err(AdminError::Invalid(text.into()));
        }
        let error = error.as_deref().map(Words::new);
        if error.as_ref().is_some_and(Words::is_empty) {
            return Err(AdminError::Invalid(
                "error has no words; want some of those that crm-relay dead list or dead summary shows".into(),
            ));
        }
        Ok(Some(Self { status: *status, error, limit: *limit, cursor: cursor.clone() }))
    }

    fn hold(&self, delivery: &Delivery) -> bool {
        let last = delivery.last.as_ref();
        self.status.is_none_or(|status| last.and_then(|last| last.status) == Some(status))
            && self.error.as_ref().is_none_or(|words| words.are_of(delivery))
    }
}

/// Page by page, the latest first. What was changed has left the filter, so the same command again does the rest; a page
/// never holds more than is still wanted, so that the cursor behind it passes over nothing.
async fn picked(admin: &Admin, picks: Picks, filter: DeliveryFilter, how: Picked) -> Result<BulkDto, AdminError> {
    const PAGE: u64 = 500;
    let (mut audit, mut action) = (how.audit, how.action);
    let mut done = BulkDto { job: how.job.to_string(), dry_run: how.dry_run, ..BulkDto::default() };
    let mut left = picks.limit.unwrap_or(u64::MAX);
    let mut job = how.job;
    let order = Order::of(&filter);
    let mut cursor = order.read(picks.cursor.as_deref())?;
    while left > 0 {
        let page = Page { cursor: cursor.clone(), limit: left.min(PAGE) as u32 };
        let listing = admin.archive.browse_deliveries(filter.clone(), page).await?;
        let ids: Vec<_> = listing.items.iter().filter(|found| picks.hold(found)).map(|found| found.id).collect();
        if !ids.is_empty() {
            let target = BulkTarget::Ids(ids);
            let (dry_run, now) = (how.dry_run, admin.clock.wall());
            let step =
                BulkStep { job, action: action.clone(), target, cursor: None, dry_run, now, audit: audit.clone() };
            let result = admin.upkeep.bulk(step).await?;
            done.matched += result.matched;
            done.changed += result.changed;
            pace::advance(&mut action, result.changed);
            left = left.saturating_sub(result.matched);
            if !how.dry_run {
                audit = audit.filter(|_| result.changed == 0);
                tell(admin, &action, &result).await;
            }
            // A step answers for its job: the next page is another one.
            job = job_id(admin, None)?;
        }
        cursor = listing.next;
        if cursor.is_none() {
            break;
        }
        if admin.supervisor.is_stopping() {
            return Err(AdminError::Stopping);
        }
    }
    done.next = cursor.map(|place| order.write(&place));
    done.next_at = pace::next_at(&action);
    Ok(done)
}

fn job_id(admin: &Admin, given: Option<&str>) -> Result<JobId, AdminError> {
    if let Some(text) = given {
        return text.parse().map_err(|error: IdError| AdminError::Invalid(error.to_string()));
    }
    Ok(IdMint::new(0, rand::random()).job(admin.clock.wall()))
}

/// What the command is about, and that in words for the audit log.
fn target(bulk: Bulk, states: Vec<DeliveryState>) -> Result<(BulkTarget, String), AdminError> {
    let filters = Listing {
        source: bulk.source,
        destination: bulk.destination,
        reason: bulk.reason,
        since: bulk.since,
        until: bulk.until,
        ..Listing::default()
    };
    let filtered = filters.source.is_some()
        || filters.destination.is_some()
        || filters.reason.is_some()
        || filters.since.is_some()
        || filters.until.is_some();
    match (bulk.ids.is_empty(), bulk.all || filtered) {
        (true, false) => Err(AdminError::Invalid("name deliveries in ids, give a filter, or ask for all".into())),
        (false, true) => Err(AdminError::Invalid("give either ids or filters".into())),
        (false, false) => {
            let ids: Result<Vec<_>, IdError> = bulk.ids.iter().map(|id| id.parse()).collect();
            let ids = ids.map_err(|error| AdminError::Invalid(error.to_string()))?;
            let subject = format!("{} named deliveries", ids.len());
            Ok((BulkTarget::Ids(ids), subject))
        }
        (true, true) => {
            let subject = format!("matching {filters:?}");
            let filter = DeliveryFilter { states, ..filters.deliveries()? };
            Ok((BulkTarget::Matching(filter), subject))
        }
    }
}

/// The states that dead letters are in.
pub(super) fn ended() -> Vec<DeliveryState> {
    vec![DeliveryState::Dead, DeliveryState::Expired]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use relay_store::memory::MemoryStore;

    use super::*;

    /// A command costs look-ups by the ids that it may have, not by those that it has.
    #[tokio::test]
    async fn too_many_ids_are_refused_before_any_is_looked_up() {
        let admin = crate::offline::tests::admin(Arc::new(MemoryStore::new())).await;
        let ids = vec!["unknown"; IDS_MAX + 1];
        let bulk = serde_json::from_value(serde_json::json!({ "ids": ids })).unwrap();
        let refused = run(&admin, &Asker::CONFIG, "dead.purge", BulkAction::Purge, bulk).await.err().unwrap();
        assert!(refused.to_string().contains("ids at once"), "{refused}");
    }
}
