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
    /// Stretches of time of which nobody knows what happened in them, the oldest first.
    pub gaps: Vec<Gap>,
}

/// From a backup to its restore: what was accepted and delivered in that time is not in the store, and the sums cannot
/// tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the backup was taken.
    pub since: Wall,
    /// When it was restored.
    pub until: Wall,
    /// Commits in between, at most; `None`: no ledger was left to tell.
    pub commits: Option<u64>,
    /// Events accepted in between, at most.
    pub events: Option<u64>,
}
