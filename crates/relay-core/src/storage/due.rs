//! What has work to do, and what is leased.

use crate::{
    delivery::{Delivery, Lease},
    id::{DeliveryId, InstanceId},
    name::Name,
    partitions::Partitions,
    time::Wall,
};

/// Asks what has work to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueAsk {
    /// At this moment.
    pub now: Wall,
    /// Name what has expired of these alone: others are looked after by other servers.
    pub partitions: Partitions,
    /// Name leases whose end came by then: whoever shares the store does not know of all of them.
    pub lapsed_by: Option<Wall>,
    /// Name leases of these alone.
    pub lapsed_in: Partitions,
    /// Most expired deliveries to name, and most leases.
    pub limit: u32,
}

impl DueAsk {
    /// At this moment, in all partitions, at most so many, and no leases.
    pub const fn at(now: Wall, limit: u32) -> Self {
        Self { now, partitions: Partitions::ALL, lapsed_by: None, lapsed_in: Partitions::ALL, limit }
    }
}

/// What waits at one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationDue {
    /// Whose.
    pub destination: Name,
    /// Due time of its earliest waiting delivery.
    pub next_due: Option<Wall>,
    /// How many deliveries were ever delivered there, whoever did it.
    pub delivered: u64,
}

/// What has work to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Destinations with waiting deliveries.
    pub destinations: Vec<DestinationDue>,
    /// Waiting deliveries whose TTL has passed, earliest first, for the core to end; at most as many as were asked for.
    pub expired: Vec<Delivery>,
    /// Leases whose end has come, whoever keeps them; at most as many as were asked for. A store with one owner names none, for
    /// that one knows the ends of all of them.
    pub lapsed: Vec<Delivery>,
}

/// Whose leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldOf {
    /// All there are.
    All,
    /// Those that this run keeps.
    Keeper(u64),
    /// Those of this client instance.
    Instance(InstanceId),
}

impl HeldOf {
    /// Whether this lease is one of them.
    pub fn holds(self, lease: &Lease) -> bool {
        match self {
            Self::All => true,
            Self::Keeper(keeper) => lease.keeper == keeper,
            Self::Instance(instance) => lease.instance == instance,
        }
    }
}

/// Reads leased deliveries behind an id. A page may be short: only an empty one is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldAsk {
    /// Whose.
    pub of: HeldOf,
    /// Where the previous page ended.
    pub after: Option<DeliveryId>,
    /// Most to name.
    pub limit: u32,
    /// In these partitions, where parts of the store may be away each by itself; else in all there are.
    pub partitions: Partitions,
}

impl HeldAsk {
    /// All of them, behind that one.
    pub const fn all(after: Option<DeliveryId>, limit: u32) -> Self {
        Self { of: HeldOf::All, after, limit, partitions: Partitions::ALL }
    }
}
