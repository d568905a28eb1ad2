//! Commands that change many deliveries: what is asked for, made into a job of the core.

use std::collections::BTreeSet;

use relay_core::{
    delivery::{Delivery, alike::Alike},
    id::{DeliveryId, IdError},
    jobs::{Action, Command, End, Job, Meant, Target},
    name::Name,
};
use relay_store::seam::{DeliveryFilter, Trades};
use serde::Serialize;

use super::{
    cursor::Order,
    filter::{Listing, known},
    groups,
    preview::{Given, previewed, terms},
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
    let (dry_run, limit, cursor) = (bulk.dry_run, bulk.limit, bulk.cursor.take());
    let (preview, job) = (bulk.preview.take(), bulk.job.take());
    // Not how much of it is done at a time, and how fast.
    let what = BulkAsk { limit: None, rate: None, start_at: None, dry_run: false, ..bulk.clone() };
    let (fingerprint, previewed_as) = (fingerprint(action_name, &what), fingerprint(action_name, &(&what, &cursor)));
    let is_open = bulk.ids.is_empty();
    let (target, subject) = target(bulk)?;
    let order = match &target {
        Target::Matching(filter) => {
            known(state, filter.source.as_ref(), filter.destination.as_ref()).await?;
            Order::of(&DeliveryFilter { states: action.states().to_vec(), ..filter.clone() })
        }
        Target::Ids(_) if picks.is_some() => {
            return Err(AdminError::Invalid("give either ids, or status, error, groups and limit".into()));
        }
        Target::Ids(_) | Target::Events(_) => Order::Deliveries,
    };
    let cursor = order.read(cursor.as_deref())?;
    let given = Given { preview: preview.as_deref(), job: job.as_deref(), limit, dry_run, is_open };
    let terms = terms(state, who, previewed_as, &given).await?;
    let (job, as_of) = (terms.job, terms.as_of);
    let subject = match &picks {
        Some(picks) => format!("{job}: {subject} {picks:?}"),
        None => format!("{job}: {subject}"),
    };
    let audit = (!dry_run).then(|| state.audited(who, action_name, subject));
    let pick = picks.map(|picks| Meant::new(move |found| picks.hold(found)));
    let command = Command { job, fingerprint, action, target, pick, limit, cursor, as_of, dry_run, audit };
    let done = through(state, command, order).await?;
    Ok(previewed(state, who, previewed_as, (&terms, limit), done))
}

/// Runs a command, whose pages come in this order, until it is through.
pub(super) async fn through(state: &State, command: Command, order: Order) -> Result<BulkDto, AdminError> {
    let (job, dry_run) = (command.job, command.dry_run);
    let store = Trades { queue: &*state.queue, archive: &*state.archive, upkeep: &*state.upkeep };
    let outcome = jobs::run(Job::new(command), store, &state.hub, &state.clock, &state.supervisor).await;
    let changed = outcome.changed;
    match outcome.end {
        End::Done => Ok(BulkDto {
            job: job.to_string(),
            matched: outcome.matched,
            changed,
            dry_run,
            next: outcome.next.map(|place| order.write(&place)),
            next_at: outcome.next_due.map(rfc3339),
            split: outcome.split.into_iter().map(split).collect(),
            ..BulkDto::default()
        }),
        End::Taken => Err(AdminError::Conflict(format!(
            "{job} is the job of another command, and nothing was done; want the command that it is of, or no job"
        ))),
        End::Stopped => Err(AdminError::Interrupted { job, changed }),
        End::Failed(error) => Err(AdminError::Broken { job, changed, error }),
    }
}

fn split((destination, count): (Name, u64)) -> SplitDto {
    SplitDto { destination: destination.to_string(), count }
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
    limit: Option<u64>,
    cursor: Option<String>,
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
        Ok(Some(Self { status: *status, error, groups, limit: *limit, cursor: cursor.clone() }))
    }

    fn hold(&self, delivery: &Delivery) -> bool {
        let last = delivery.last.as_ref();
        self.status.is_none_or(|status| last.and_then(|last| last.status) == Some(status))
            && self.error.as_ref().is_none_or(|words| words.are_of(delivery))
            && (self.groups.is_empty() || self.groups.contains(&groups::key(&Alike::of(delivery))))
    }
}

/// What the command is about, and that in words for the audit log.
fn target(bulk: BulkAsk) -> Result<(Target, String), AdminError> {
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
            let subject = format!("{} named deliveries", ids.len());
            Ok((Target::Ids(ids), subject))
        }
        (true, true) => {
            let subject = format!("matching {filters:?}");
            let filter = filters.deliveries()?;
            Ok((Target::Matching(filter), subject))
        }
    }
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
        let refused = run(&admin, &Principal::CONFIG, "dead.purge", Action::Purge, bulk).await.err().unwrap();
        assert!(refused.to_string().contains("ids at once"), "{refused}");
    }
}
