//! Commands that change many deliveries: what is asked for, made into a job of the core.

use std::{collections::BTreeSet, time::Duration};

use relay_core::{
    delivery::{Delivery, alike::Alike},
    id::{DeliveryId, IdError},
    jobs::{Action, Command, End, Job, JobSums, Meant, Target},
    name::Name,
    storage::Mark,
    time::Wall,
};
use relay_store::seam::{DeliveryFilter, Trades};
use serde::Serialize;

use super::{
    cursor::Order,
    filter::{Listing, known},
    groups,
    preview::{self, Given, Terms, previewed, terms},
    words::Words,
};
use crate::{
    admin::problem::AdminError,
    api::{BulkAsk, BulkDto, SplitDto},
    clock::rfc3339,
    jobs,
    principal::Principal,
    secret,
    state::State,
};

/// Ids that one command may name.
const IDS_MAX: usize = 10_000;

/// Dead letters that are counted of those which a preview leaves for having ended later.
const LATER_MAX: u64 = 1_000;

/// Groups that one command may name.
const GROUPS_MAX: usize = 500;

/// Runs a command until it is through. If the asker goes away in the middle, the same command under the same job id does the
/// rest.
pub(super) async fn run(
    state: &State,
    who: &Principal,
    action_name: &str,
    action: Action,
    bulk: BulkAsk,
) -> Result<BulkDto, AdminError> {
    let mut bulk = bulk;
    if bulk.reason.is_some() && matches!(action, Action::Cancel) {
        return Err(AdminError::Invalid(
            "a reason is why a delivery ended, and these are open; want status or error, of their last try".into(),
        ));
    }
    if !bulk.groups.is_empty() && matches!(action, Action::Cancel) {
        return Err(AdminError::Invalid("groups are of dead letters, and these are open; want status or error".into()));
    }
    if (bulk.rate.is_some() || bulk.start_at.is_some()) && !action.makes_due() {
        return Err(AdminError::Invalid("a rate is for what becomes ready again".into()));
    }
    // Before the first is looked up.
    if bulk.ids.len() > IDS_MAX {
        return Err(AdminError::Invalid(format!("{} ids at once; want at most {IDS_MAX}", bulk.ids.len())));
    }
    for id in &mut bulk.ids {
        *id = super::id::delivery_in(state, id, action.states()).await?.to_string();
    }
    bulk.ids.sort_unstable();
    bulk.ids.dedup();
    let picks = Picks::of(&bulk)?;
    bulk.groups.sort_unstable();
    bulk.groups.dedup();
    let (dry_run, limit, cursor) = (bulk.dry_run, bulk.limit, bulk.cursor.take());
    let (preview, job) = (bulk.preview.take(), bulk.job.take());
    // Not how much of it is done at a time, and how fast.
    let what = BulkAsk { limit: None, rate: None, start_at: None, dry_run: false, ..bulk.clone() };
    let (fingerprint, previewed_as) = (fingerprint(action_name, &what), fingerprint(action_name, &(&what, &cursor)));
    let is_open = bulk.ids.is_empty();
    let words = described(&bulk);
    let target = target(bulk, &action)?;
    let order = match &target {
        Target::Matching(filter) => {
            known(state, filter.source.as_ref(), filter.destination.as_ref()).await?;
            Order::of(&of_states(filter, &action))
        }
        Target::Ids(_) if picks.is_some() => {
            return Err(AdminError::Invalid("give either ids, or status, error, groups and limit".into()));
        }
        Target::Ids(_) | Target::Events(_) => Order::Deliveries,
    };
    let cursor = order.read(cursor.as_deref())?;
    let given = Given { preview: preview.as_deref(), job: job.as_deref(), limit, dry_run, is_open };
    let (job, terms) = terms(state, who, previewed_as, &given).await?;
    let Terms { as_of, last, mut mark, counted } = terms;
    if dry_run && cursor.is_none() && given.job.is_some() {
        // What is left of a job that has begun is where it goes on.
        mark = preview::mark(state, job).await?;
    }
    let subject = match &target {
        Target::Ids(ids) if ids.len() == 1 => ids.iter().map(ToString::to_string).collect(),
        // Once: it is written with the first step.
        target if !dry_run && mark.steps == 0 => {
            let groups = groups_in_words(state, target, picks.as_ref()).await;
            format!("{job}: {}{words}{groups}{}", how_many(counted), up_to(counted.map_or(limit, |(_, limit)| limit)))
        }
        _ => format!("{job}: {words}"),
    };
    let audit = (!dry_run).then(|| state.audited(who, action_name, subject));
    let pick = picks.filter(Picks::is_by_try).map(|picks| Meant::new(move |found| picks.hold(found)));
    let command = Command { job, fingerprint, action, target, pick, limit, cursor, as_of, last, dry_run, audit };
    if !dry_run {
        return Ok(through(state, command, mark, order).await?.0);
    }
    let later = ended_later(state, &command, order).await?;
    let (done, sums) = through(state, command, mark, order).await?;
    let done = BulkDto { later, ..done };
    Ok(previewed(state, who, previewed_as, (as_of, limit), (job, &sums), done))
}

/// How many match that ended later than a dry run counts, by this server's clock: it may have been set back, or be behind that of another server.
async fn ended_later(state: &State, counted: &Command, order: Order) -> Result<u64, AdminError> {
    let (Some(as_of), Target::Matching(filter), Order::Ended) = (counted.as_of, &counted.target, order) else {
        return Ok(0);
    };
    let mut filter = filter.clone();
    let behind = as_of + Duration::from_micros(1);
    filter.range.since = Some(filter.range.since.map_or(behind, |since| since.max(behind)));
    let target = Target::Matching(filter);
    let limit = Some(LATER_MAX);
    let later = Command { target, limit, cursor: None, as_of: None, last: None, ..counted.clone() };
    Ok(through(state, later, Mark::default(), order).await?.0.matched)
}

/// The groups that are picked, by what they failed with.
async fn groups_in_words(state: &State, target: &Target, picks: Option<&Picks>) -> String {
    match (target, picks.map(|picks| &picks.groups).filter(|groups| !groups.is_empty())) {
        (Target::Matching(filter), Some(keys)) => format!(", {}", groups::in_words(state, filter.clone(), keys).await),
        _ => String::new(),
    }
}

fn how_many(counted: Option<(u64, Option<u64>)>) -> String {
    counted.map_or_else(String::new, |(counted, _)| format!("{counted} counted, "))
}

fn up_to(limit: Option<u64>) -> String {
    limit.map_or_else(String::new, |limit| format!(", at most {limit}"))
}

/// Runs a command, whose pages come in this order, from where its job is until it is through.
pub(super) async fn through(
    state: &State,
    command: Command,
    mark: Mark,
    order: Order,
) -> Result<(BulkDto, JobSums), AdminError> {
    let (job, dry_run) = (command.job, command.dry_run);
    let store = Trades { queue: &*state.queue, archive: &*state.archive, upkeep: &*state.upkeep };
    let outcome = jobs::run(Job::new(command).at(mark), store, &state.hub, &state.clock, &state.supervisor).await;
    let changed = outcome.changed;
    let stopped_by = match &outcome.end {
        End::StoppedBy(who) => Some(who.clone()),
        _ => None,
    };
    let done = BulkDto {
        job: job.to_string(),
        matched: outcome.matched,
        changed,
        dry_run,
        next: outcome.next.as_deref().map(|place| order.write(place)),
        next_at: outcome.next_due.map(rfc3339),
        split: outcome.split.iter().map(split).collect(),
        stopped_by,
        ..BulkDto::default()
    };
    match outcome.end {
        End::Done | End::StoppedBy(_) => Ok((done, outcome)),
        End::Taken => Err(AdminError::Conflict(format!(
            "{job} is the job of another command, and nothing was done; want the command that it is of, or no job"
        ))),
        End::Stopped => Err(AdminError::Interrupted { job, changed }),
        End::Failed(error) => Err(AdminError::Broken { job, changed, error }),
    }
}

fn split((destination, count): (&Name, &u64)) -> SplitDto {
    SplitDto { destination: destination.to_string(), count: *count }
}

/// Tells a command from others: what is done, and to what.
pub(super) fn fingerprint(action_name: &str, what: &impl Serialize) -> u64 {
    let text = serde_json::to_string(what).expect("it has string keys, strings and numbers only");
    let digest = secret::sha256(format!("{action_name} {text}").as_bytes());
    u64::from_le_bytes(*digest.first_chunk().expect("a digest is longer"))
}

/// What the store has no index for: it is picked out of what the filters give.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Picks {
    status: Option<u16>,
    error: Option<Words>,
    groups: BTreeSet<String>,
}

impl Picks {
    fn of(bulk: &BulkAsk) -> Result<Option<Self>, AdminError> {
        let BulkAsk { status, error, groups, limit, cursor, .. } = bulk;
        if status.is_none() && error.is_none() && groups.is_empty() && limit.is_none() {
            return match cursor {
                None => Ok(None),
                Some(_) => Err(AdminError::Invalid("a cursor goes with status, error, groups or limit".into())),
            };
        }
        if groups.len() > GROUPS_MAX || !groups.iter().all(|text| groups::is_key(text)) {
            return Err(AdminError::Invalid(format!("want keys of dead/groups in groups, at most {GROUPS_MAX}")));
        }
        let error = error.as_deref().map(Words::new);
        if error.as_ref().is_some_and(Words::is_empty) {
            return Err(AdminError::Invalid(
                "error has no words; want some of those that crm-relay dead list or dead summary shows".into(),
            ));
        }
        let groups = groups.iter().cloned().collect();
        Ok(Some(Self { status: *status, error, groups }))
    }

    /// Whether what the last try came to says which are meant, and not a limit alone.
    fn is_by_try(&self) -> bool {
        self.status.is_some() || self.error.is_some() || !self.groups.is_empty()
    }

    fn hold(&self, delivery: &Delivery) -> bool {
        let last = delivery.last.as_ref();
        self.status.is_none_or(|status| last.and_then(|last| last.status) == Some(status))
            && self.error.as_ref().is_none_or(|words| words.are_of(delivery))
            && (self.groups.is_empty() || self.groups.contains(&groups::key(&Alike::of(delivery))))
    }
}

/// What is asked for, in words for the audit log.
fn described(bulk: &BulkAsk) -> String {
    if !bulk.ids.is_empty() {
        return format!("{} named deliveries", bulk.ids.len());
    }
    let (status, error) =
        (bulk.status.map(|status| status.to_string()), bulk.error.as_ref().map(|error| format!("{error:?}")));
    let given = [
        ("source", &bulk.source),
        ("destination", &bulk.destination),
        ("reason", &bulk.reason),
        ("since", &bulk.since),
        ("until", &bulk.until),
        ("status", &status),
        ("error", &error),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
    let given: Vec<String> = given.collect();
    if given.is_empty() { "all".to_owned() } else { given.join(", ") }
}

/// A filter with the states that an action is for. Dead letters come by when they ended, so that those which end meanwhile are not read.
fn of_states(filter: &DeliveryFilter, action: &Action) -> DeliveryFilter {
    DeliveryFilter { states: action.states().to_vec(), ..filter.clone() }
}

/// What the command is about.
fn target(bulk: BulkAsk, action: &Action) -> Result<Target, AdminError> {
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
            let ids: Result<BTreeSet<DeliveryId>, IdError> = bulk.ids.iter().map(|id| id.parse()).collect();
            let ids = ids.map_err(|error| AdminError::Invalid(error.to_string()))?;
            Ok(Target::Ids(ids))
        }
        (true, true) => {
            let mut filter = filters.deliveries()?;
            if !matches!(action, Action::Cancel) {
                filter.range.until.get_or_insert(Wall::MAX);
            }
            Ok(Target::Matching(filter))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use relay_core::id::IdMint;
    use relay_store::memory::MemoryStore;

    use super::*;
    use crate::jobs::tests::dead;

    /// I12: what ended by a clock that was ahead is not previewed, which is said; by its id it is taken.
    #[tokio::test]
    async fn what_ended_by_a_clock_that_was_ahead_is_told_of_and_taken_by_name() {
        let store = Arc::new(MemoryStore::new());
        let state = crate::offline::tests::admin(Arc::clone(&store) as Arc<dyn relay_store::Store>).await;
        let id = dead(&store, &mut IdMint::new(0, 1), state.clock.wall() + Duration::from_mins(30)).await;
        let purge = async |asked: serde_json::Value| {
            let asked = serde_json::from_value(asked).unwrap();
            run(&state, &Principal::CONFIG, "dead.purge", Action::Purge, asked).await
        };
        let counted = purge(serde_json::json!({"all": true, "dry_run": true})).await.unwrap();
        assert_eq!((counted.matched, counted.later), (0, 1));
        for (dry_run, changed) in [(true, 0), (false, 1)] {
            let done = purge(serde_json::json!({"ids": [id.to_string()], "dry_run": dry_run})).await.unwrap();
            assert_eq!((done.matched, done.changed, done.later), (1, changed, 0), "{done:?}");
        }
    }

    /// What picks by what a try came to is told from what only bounds how many.
    #[test]
    fn a_limit_alone_picks_nothing() {
        let picks = |asked: serde_json::Value| Picks::of(&serde_json::from_value(asked).unwrap()).unwrap().unwrap();
        assert!(!picks(serde_json::json!({"limit": 1})).is_by_try());
        for by_try in [serde_json::json!({"status": 500}), serde_json::json!({"error": "no", "limit": 1})] {
            assert!(picks(by_try).is_by_try());
        }
    }

    /// A command costs look-ups by the ids that it may have, not by those that it has.
    #[tokio::test]
    async fn too_many_ids_are_refused_before_any_is_looked_up() {
        let admin = crate::offline::tests::admin(Arc::new(MemoryStore::new())).await;
        let ids = vec!["unknown"; IDS_MAX + 1];
        let bulk = serde_json::from_value(serde_json::json!({ "ids": ids })).unwrap();
        let refused = run(&admin, &Principal::CONFIG, "dead.purge", Action::Purge, bulk).await.err().unwrap();
        assert!(refused.to_string().contains("ids at once"), "{refused}");
    }
}
