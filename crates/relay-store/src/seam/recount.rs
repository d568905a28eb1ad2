//! What a recount finds.

use relay_core::time::Wall;

use super::Stats;

/// The result of [`Upkeep::recount`](super::Upkeep::recount).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recount {
    /// What was counted, in the shape of the counters.
    pub counted: Stats,
    /// What the counters said at the same snapshot.
    pub kept: Stats,
    /// Stretches of time of which something is missing or may be, the oldest first.
    pub gaps: Vec<Gap>,
    /// Records known to be damaged, be it from an earlier run: they are counted, and cannot be used.
    pub damaged: u64,
}

/// A stretch of time of which something is missing or may be, and the sums cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How it came about.
    pub why: Why,
    /// Everything before it is there. The beginning of time where nobody knows.
    pub since: Wall,
    /// When it was found out.
    pub until: Wall,
    /// Commits in between, at most; `None`: no ledger was left to tell.
    pub commits: Option<u64>,
    /// Events that are missing, at most.
    pub events: Option<u64>,
}

/// Why something is missing or may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A backup was put in the place of what was: from the backup to its restore.
    Restored = 1,
    /// An operator went on without what was lost or damaged.
    Accepted = 2,
    /// Of the ledger so much was gone when the store was opened that it could not vouch for the latest commits.
    Unvouched = 3,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Restored, Self::Accepted, Self::Unvouched];

    /// Its name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Accepted => "accepted",
            Self::Unvouched => "unvouched",
        }
    }
}
