//! What was found damaged while the store is open: told once per record, counted, and passed over.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Records that are remembered by name; a store with more damage than this has told enough.
const TOLD_MAX: usize = 10_000;

/// The damage that is known of. Shared by everybody who reads.
#[derive(Debug, Default)]
pub(super) struct Damage(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    told: BTreeSet<Box<str>>,
    deliveries: BTreeSet<i64>,
}

impl Damage {
    /// Names a damaged record in the log, unless it was named before.
    pub(super) fn note(&self, what: &str) {
        let mut known = self.lock();
        if known.told.len() < TOLD_MAX && known.told.insert(what.into()) {
            drop(known);
            tracing::error!(
                event = "record_damaged",
                what,
                "it stays where it is; stop the server and run: crm-relay store check"
            );
        }
    }

    /// Records found damaged since the store was opened.
    pub(super) fn count(&self) -> u64 {
        self.lock().told.len() as u64
    }

    /// Leases pass over the delivery in this row from now on.
    pub(super) fn pass_over(&self, seq: i64) {
        self.lock().deliveries.insert(seq);
    }

    pub(super) fn is_passed_over(&self, seq: i64) -> bool {
        self.lock().deliveries.contains(&seq)
    }

    /// Deliveries that leases pass over.
    pub(super) fn passed_over(&self) -> usize {
        self.lock().deliveries.len()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
