//! What an operator wants done, and to which deliveries.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::Action;
use crate::{
    delivery::Delivery,
    id::{DeliveryId, JobId},
    storage::{AuditEntry, DeliveryFilter, EventFilter},
    time::Wall,
};

/// A command.
#[derive(Clone, Debug)]
pub struct Command {
    /// Names it, so that its repetition does nothing twice.
    pub job: JobId,
    /// Tells it from other commands, and is the same in its repetitions: an id is of one command.
    pub fingerprint: u64,
    /// What is done.
    pub action: Action,
    /// To which deliveries.
    pub target: Target,
    /// Only to these among them, picked by what their last try came to.
    pub pick: Option<Meant>,
    /// To so many at most in all, in the order in which they come. A repetition with more goes on.
    pub limit: Option<u64>,
    /// From the first page on that starts there, unless the job has begun.
    pub cursor: Option<String>,
    /// Only what was so then, as a preview counted it: what has come to match since is left, and so is what may have. `None`: what matches.
    pub as_of: Option<Wall>,
    /// To none behind this one, where a preview ended at its limit: what is gone of those it counted has none in its place.
    pub last: Option<Last>,
    /// Only counted.
    pub dry_run: bool,
    /// What goes into the audit log with the first step that changes something.
    pub audit: Option<AuditEntry>,
}

/// Which deliveries a command is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// These.
    Ids(BTreeSet<DeliveryId>),
    /// Those that match, as far as the action is for their state; in the order of a listing.
    Matching(DeliveryFilter),
    /// Events that match: for a replay or an erasure, and these for nothing else.
    Events(EventFilter),
}

/// Where one stands among those that a command comes to: dead letters by when they ended, all others by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Last {
    /// When it ended, where they come by that; else the same for all.
    pub at: Wall,
    /// The bits of its id.
    pub id: u128,
}

/// Tells which are meant where a store has no index for it.
#[derive(Clone)]
pub struct Meant(Arc<dyn Fn(&Delivery) -> bool + Send + Sync>);

impl Meant {
    /// Those for which this is true; the same each time.
    pub fn new(is_meant: impl Fn(&Delivery) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_meant))
    }

    /// Whether it is meant.
    pub(super) fn holds(&self, delivery: &Delivery) -> bool {
        (self.0)(delivery)
    }
}

impl fmt::Debug for Meant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meant")
    }
}
