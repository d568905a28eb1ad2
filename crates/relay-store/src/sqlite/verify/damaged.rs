//! What a check found that accepting a loss has to give up or make anew.

use std::collections::BTreeSet;

use crate::{seam::DocumentKind, sqlite::fault::Fault};

/// Rows that cannot be used, or have to be made anew.
#[derive(Debug, Default)]
pub(super) struct Damaged {
    pub(super) events: BTreeSet<i64>,
    pub(super) deliveries: BTreeSet<i64>,
    /// Events whose lists of deliveries do not say which they have.
    pub(super) lists: BTreeSet<i64>,
    /// Deliveries whose record reads, and not the columns beside it.
    pub(super) columns: BTreeSet<i64>,
    /// Names or counters.
    pub(super) book: bool,
    /// Events that are not listed with their sources.
    pub(super) unlisted: Vec<(i64, u32)>,
    pub(super) attempts: Vec<(i64, i64)>,
    pub(super) keys: Vec<(u32, Vec<u8>)>,
    pub(super) documents: Vec<(DocumentKind, String)>,
    pub(super) marks: Vec<Vec<u8>>,
    /// Rows by which events are found: all of them are filled anew.
    pub(super) leads: bool,
    pub(super) audit: Vec<i64>,
    /// What is wrong with the store as a whole, in words: no other than a check finds it.
    pub(super) whole: BTreeSet<String>,
    /// What a later version wrote, in words: it is no damage, and stays.
    pub(super) later: BTreeSet<String>,
}

impl Damaged {
    /// Tells of a record that cannot be read; whether it is damaged. Any other fault comes back.
    pub(super) fn is(&mut self, fault: Fault, faults: &mut Vec<String>) -> Result<bool, Fault> {
        match fault {
            Fault::Damaged(what) => {
                faults.push(what.into());
                Ok(true)
            }
            Fault::Later(what) => {
                self.later.insert(what.clone().into());
                faults.push(what.into());
                Ok(false)
            }
            other => Err(other),
        }
    }

    pub(super) fn note_whole(&mut self, faults: &mut Vec<String>, what: String) {
        self.whole.insert(what.clone());
        faults.push(what);
    }
}

/// What the ledger can say of commits that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vouched {
    /// None are missing.
    Whole,
    /// So many are, with so many events.
    Lacks { commits: u64, events: u64 },
    /// Nothing: it is gone, of another history, or too old.
    Unknown { commits: Option<u64> },
}
