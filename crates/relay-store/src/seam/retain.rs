//! Retention: what is removed.

use relay_core::time::Wall;

/// What [`Upkeep::retain`](super::Upkeep::retain) removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retain {
    /// At this moment.
    pub now: Wall,
    /// Delivered and cancelled ones that ended before.
    pub delivered_before: Wall,
    /// Dead and expired ones that ended before.
    pub dead_before: Wall,
    /// Rows a call.
    pub limit: u32,
}

/// What a [`Upkeep::retain`](super::Upkeep::retain) call removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Deliveries.
    pub deliveries: u64,
    /// Events.
    pub events: u64,
    /// Call again.
    pub more: bool,
}
