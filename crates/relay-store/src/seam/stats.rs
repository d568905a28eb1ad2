//! Counters.

use relay_core::{name::Name, time::Wall};

/// Counters, kept in the same commit as what they count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Per source, by name.
    pub sources: Vec<SourceStats>,
    /// Per destination, by name.
    pub destinations: Vec<DestinationStats>,
    /// Bytes of free disk below the store; `None` in memory.
    pub disk_free_bytes: Option<u64>,
    /// Bytes the store's files take.
    pub store_bytes: u64,
    /// The memory that it is in; `None`: it is on a disk.
    pub memory: Option<Memory>,
    /// Whether appends are refused for want of room.
    pub full: bool,
    /// Highest id sequence stored.
    pub id_floor: i64,
    /// Latest moment that any commit spoke of: where the clock of the next run begins if the system's stands before it.
    pub latest: Wall,
    /// Records known to be damaged, be it from an earlier run. Each that this one meets is named in the log.
    pub damaged: u64,
}

/// The memory that a store is in, with all else that stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that are used.
    pub used: u64,
    /// Bytes up to which appends are taken; 0: nobody knows.
    pub bound: u64,
    /// Bytes that came in a day, by the last one; `None`: it is too early to say.
    pub bytes_a_day: Option<u64>,
}

/// Counters of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStats {
    /// Which.
    pub source: Name,
    /// Events ever stored.
    pub accepted: u64,
    /// Events stored now.
    pub stored: u64,
    /// Events removed by retention or purge.
    pub retired: u64,
    /// Repeats that were answered with the first's id.
    pub duplicates: u64,
}

/// Counters of one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationStats {
    /// Which.
    pub destination: Name,
    /// Deliveries ever made: routed and replayed.
    pub created: u64,
    /// Now in each state, in the order of [`State::ALL`](relay_core::delivery::State::ALL).
    pub states: [u64; 7],
    /// Removed by retention or purge.
    pub retired: u64,
    /// In ranges that an operator accepted as lost.
    pub lost: u64,
    /// Outcomes ever recorded, in the order of [`Class::ALL`](relay_core::delivery::outcome::Class::ALL).
    pub outcomes: [u64; 5],
    /// Tries after the first.
    pub retried: u64,
    /// Due time of the earliest waiting delivery.
    pub oldest_due: Option<Wall>,
    /// End of the TTL of the earliest waiting delivery to expire.
    pub next_expiry: Option<Wall>,
}
