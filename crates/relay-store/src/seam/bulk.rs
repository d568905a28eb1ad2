//! Bulk commands, a step at a time.

use std::time::Duration;

use relay_core::{
    id::{DeliveryId, JobId},
    name::Name,
    time::Wall,
};

use super::{AuditEntry, DeliveryFilter};

/// One step of a bulk command.
#[derive(Clone, Debug)]
pub struct BulkStep {
    /// Names the command, so that a repetition does nothing twice.
    pub job: JobId,
    /// What is done.
    pub action: BulkAction,
    /// To which deliveries.
    pub target: BulkTarget,
    /// Where the previous step ended.
    pub cursor: Option<String>,
    /// Only count.
    pub dry_run: bool,
    /// At this moment.
    pub now: Wall,
    /// What goes into the audit log with the first step that changes something.
    pub audit: Option<AuditEntry>,
}

/// What a bulk command does.
#[derive(Clone, Debug, PartialEq)]
pub enum BulkAction {
    /// Dead or expired to ready: attempts, losses and TTL start anew (TTL per `(source, destination)`, else the default).
    Redrive {
        /// TTL of routes.
        ttl: Vec<(Name, Name, Duration)>,
        /// For those not named.
        ttl_default: Duration,
        /// Not all at once.
        pace: Option<Pace>,
    },
    /// Dead or expired: removed now, counted as retired.
    Purge,
    /// Open: cancelled. A leased one too; its report comes too late.
    Cancel,
}

/// How fast many become due, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// When the first one does.
    pub from: Wall,
    /// From each to the next.
    pub every: Duration,
}

impl Pace {
    /// When the one behind so many others becomes due.
    pub fn due(&self, before: u64) -> Wall {
        self.from + self.every.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX))
    }
}

/// Which deliveries a bulk command is about.
#[derive(Clone, Debug, PartialEq)]
pub enum BulkTarget {
    /// These.
    Ids(Vec<DeliveryId>),
    /// Those that match.
    Matching(DeliveryFilter),
}

/// What one bulk step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkDone {
    /// Deliveries that matched.
    pub matched: u64,
    /// Deliveries that were changed.
    pub changed: u64,
    /// The changed ones.
    pub ids: Vec<DeliveryId>,
    /// Their destinations, each once.
    pub destinations: Vec<Name>,
    /// Where the next step starts; `None`: done.
    pub next: Option<String>,
}
