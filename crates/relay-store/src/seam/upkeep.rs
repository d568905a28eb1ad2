//! The trade of those who look after a store: retention, counters, copies, its life.

use relay_core::storage::StoreError;

use super::{BulkDone, BulkStep, Promises, Recount, Retain, Retained, Stats};
use crate::{
    Later,
    copy::{BackupError, Copying},
};

/// A store as something to look after.
pub trait Upkeep: Send + Sync + 'static {
    /// One step of a bulk command: at most 500 deliveries, in the order of
    /// [`browse_deliveries`](super::Archive::browse_deliveries), or of the ids that were named. Repeating a step under the
    /// same job id and cursor changes nothing twice. Call again with the returned cursor until there is none.
    fn bulk(&self, step: BulkStep) -> Later<Result<BulkDone, StoreError>>;

    /// Retires ended deliveries whose retention is over, and events without deliveries left; forgets dedupe keys past
    /// their window and audit lines older than a year (and than `dead_before`). At most `limit` rows a call; `more` asks
    /// for another call.
    fn retain(&self, rules: Retain) -> Later<Result<Retained, StoreError>>;

    /// Depths, totals and oldest waiting age. Cost does not depend on how much is stored.
    fn stats(&self) -> Later<Result<Stats, StoreError>>;

    /// Recounts everything at one read snapshot, in chunks, and compares with the counters.
    fn recount(&self) -> Later<Result<Recount, StoreError>>;

    /// Begins a consistent copy of the store, to be taken piece by piece while it goes on working: one at a time.
    fn backup(&self) -> Later<Result<Copying, BackupError>>;

    /// What this backend guarantees, for the log and `/health`.
    fn promises(&self) -> Promises;

    /// Completes when the store has failed for good, with the reason.
    fn failed(&self) -> Later<String>;

    /// Finishes what was asked for and closes. Later calls answer `Unavailable`.
    fn close(&self) -> Later<()>;
}
