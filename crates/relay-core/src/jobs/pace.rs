//! How fast a job makes deliveries due.

use std::time::Duration;

use crate::time::Wall;

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
