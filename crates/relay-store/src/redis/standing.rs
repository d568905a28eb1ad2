//! How a Redis stands at the moment: what a commit needs there, and why nothing is committed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{
    Options,
    check::{Checked, Finding, Heard},
    client::Broken,
    following::Following,
    reply::Fault,
};
use crate::seam::Durability;

/// How it stands, as it was last heard of.
#[derive(Debug)]
pub(super) struct Standing {
    seen: Mutex<Seen>,
    of_store: Arc<OfStore>,
}

/// What is known of a store, at whichever node it was found out.
#[derive(Debug, Default)]
pub(super) struct OfStore(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// When commits are answered, as of the first look at one that takes anything; never weaker than that.
    durability: Option<Durability>,
    /// What stands there is nothing of ours.
    another: Option<Finding>,
}

impl OfStore {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Seen {
    /// `None`: it was never reached.
    checked: Option<Checked>,
    following: Following,
    /// Why it was not reached when it was last tried.
    unreached: Option<String>,
    /// Why the last commit did not come about, if it did not.
    trouble: Option<String>,
}

/// What a commit needs before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// So many replicas have it.
    pub(super) replicas: u32,
    /// On their disks.
    pub(super) on_disk: bool,
}

impl Standing {
    /// That of a node that was never reached.
    pub(super) fn of(of_store: &Arc<OfStore>) -> Self {
        Self { seen: Mutex::default(), of_store: Arc::clone(of_store) }
    }

    /// Takes note of what it says of itself; gives what that comes to. `steady`: as of when it is known to be the primary.
    pub(super) fn heard(&self, heard: &Heard, options: &Options, steady: Option<Instant>) -> Checked {
        let mut seen = self.seen();
        let following = seen.following.look(&heard.primary(), &heard.replicas(), Instant::now(), steady);
        let before = seen.checked.as_ref();
        let before_all = self.of_store.known().durability;
        let checked = heard.check(options, before_all, following);
        // What is wrong from the start is told by whoever begins.
        if let Some(before) = before {
            tell(&before.findings, &checked.findings);
        }
        if checked.waits.is_none() {
            let mut known = self.of_store.known();
            let before = known.durability;
            known.durability = before.max(Some(checked.durability));
            if let (Some(before), Some(now)) = (before, known.durability)
                && before != now
            {
                let (before, now) = (before.as_str(), now.as_str());
                tracing::info!(
                    event = "redis_durability",
                    before,
                    now,
                    "a webhook counts as stored by another measure"
                );
            }
        }
        seen.checked = Some(checked.clone());
        seen.unreached = None;
        checked
    }

    /// Whether what stands where commits go is another store than it was; of whoever has become the primary nobody knows before.
    pub(super) fn holds_another(&self, another: Option<Finding>) {
        let mut known = self.of_store.known();
        tell(known.another.as_slice(), another.as_slice());
        known.another = another;
    }

    /// What a commit needs.
    ///
    /// # Errors
    /// Nothing is given to it.
    pub(super) fn demand(&self) -> Result<Demand, Fault> {
        let seen = self.seen();
        match &seen.checked {
            Some(_) if self.of_store.known().another.is_some() => Err(Fault::Away),
            Some(checked) if checked.findings.is_empty() && checked.waits.is_none() => {
                let on_disk = checked.durability == Durability::FsyncReplicated;
                Ok(Demand { replicas: checked.replicas, on_disk })
            }
            Some(_) | None => Err(Fault::Away),
        }
    }

    /// Whether it is not known yet how many replicas are waited for, and so whether it is the primary.
    pub(super) fn is_unsettled(&self) -> bool {
        self.seen().checked.as_ref().is_some_and(|checked| checked.waits.is_some() && checked.findings.is_empty())
    }

    /// Whether it was not reached when it was last tried.
    pub(super) fn is_unreached(&self) -> bool {
        self.seen().unreached.is_some()
    }

    /// Whether replicas are waited for.
    pub(super) fn waits_for_replicas(&self) -> bool {
        self.seen().checked.as_ref().is_some_and(|checked| checked.replicas > 0)
    }

    /// What came of a commit.
    pub(super) fn came_of(&self, fault: Option<&Fault>) {
        let mut seen = self.seen();
        let Some(fault) = fault else {
            (seen.trouble, seen.unreached) = (None, None);
            return;
        };
        let what = match fault {
            // Why it is not even asked is known already.
            Fault::Away | Fault::Elsewhere => return,
            Fault::Unknown => "Redis does not answer, or too few replicas confirm".to_owned(),
            Fault::Full => "Redis has no memory left".to_owned(),
            other => format!("{other:?}"),
        };
        seen.trouble.get_or_insert(what);
    }

    /// Why it is not reached.
    pub(super) fn unreached(&self, broken: &Broken) {
        self.seen().unreached = Some(format!("Redis cannot be reached: {broken}"));
    }

    /// When a commit is answered; as it is meant to be, where it was never reached.
    pub(super) fn durability(&self, options: &Options) -> Durability {
        self.of_store.known().durability.or(options.durability).unwrap_or(Durability::Fsync)
    }

    /// Why it commits nothing at the moment; empty: it does.
    pub(super) fn reasons(&self) -> Vec<String> {
        let seen = self.seen();
        let findings: &[Finding] = seen.checked.as_ref().map_or(&[], |checked| &checked.findings);
        if let Some(another) = &self.of_store.known().another {
            return vec![another.to_string()];
        }
        let waits = seen.checked.as_ref().and_then(|checked| checked.waits);
        if let Some(why) = &seen.unreached {
            vec![why.clone()]
        } else if !findings.is_empty() {
            findings.iter().map(ToString::to_string).collect()
        } else if let Some(why) = waits {
            vec![format!("Redis takes nothing for now: {why}")]
        } else {
            seen.trouble.iter().cloned().collect()
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line for each finding that is new, and one when the last is over.
fn tell(before: &[Finding], now: &[Finding]) {
    for finding in now.iter().filter(|finding| !before.contains(finding)) {
        tracing::error!(
            event = "redis_not_durable",
            mend = finding.mend,
            "Redis gets nothing any more: {}",
            finding.what
        );
    }
    if now.is_empty() && !before.is_empty() {
        tracing::info!(event = "redis_durable", "Redis keeps what it is given again");
    }
}
