//! Records that cannot be read: each named once, counted, and passed over.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound,
    sync::{Mutex, PoisonError},
};

use super::reply::Fault;
use crate::record::RecordError;

/// Most that are told apart: beyond that no more are named.
const NAMED_MAX: usize = 10_000;

/// Those that this run has met; `true`: damaged, not of a later version.
#[derive(Debug, Default)]
pub(super) struct Damage(Mutex<BTreeMap<Box<str>, bool>>);

impl Damage {
    /// Names one, if it was not named before.
    pub(super) fn name(&self, what: &dyn fmt::Display, error: &RecordError) {
        let what: Box<str> = format!("{what}: {error}").into();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= NAMED_MAX || known.insert(what.clone(), !error.is_later()).is_some() {
            return;
        }
        drop(known);
        if error.is_later() {
            tracing::error!(
                event = "record_later",
                what,
                "it stays where it is; use the version, or the key, that it was written with"
            );
        } else {
            tracing::error!(event = "record_damaged", what, "it stays where it is, and is passed over");
        }
    }

    /// Names something that is gone, though an index still leads to it, if it was not named before.
    pub(super) fn lost(&self, what: &dyn fmt::Display) {
        let what: Box<str> = what.to_string().into();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= NAMED_MAX || known.insert(what.clone(), true).is_some() {
            return;
        }
        drop(known);
        tracing::error!(
            event = "record_lost",
            what,
            "somebody else removed it, or Redis lost it; it is counted as lost"
        );
    }

    /// What was read, or nothing and its name in the log.
    pub(super) fn passed<T>(&self, what: &dyn fmt::Display, read: Result<T, RecordError>) -> Option<T> {
        read.inspect_err(|error| self.name(what, error)).ok()
    }

    /// What was read, for somebody who asked for it.
    pub(super) fn told<T>(&self, what: &dyn fmt::Display, read: Result<T, RecordError>) -> Result<T, Fault> {
        read.map_err(|error| {
            self.name(what, &error);
            Fault::record(what, &error)
        })
    }

    /// Whether something of this name was found damaged.
    pub(super) fn is_known(&self, what: &dyn fmt::Display) -> bool {
        let begin = format!("{what}: ");
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.range::<str, _>((Bound::Included(&begin[..]), Bound::Unbounded)).next();
        found.is_some_and(|(what, is_damaged)| *is_damaged && what.starts_with(&begin))
    }

    /// All that were named, in words.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().map(ToString::to_string).collect()
    }

    /// How many are damaged.
    pub(super) fn count(&self) -> u64 {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter(|is_damaged| **is_damaged).count() as u64
    }
}
