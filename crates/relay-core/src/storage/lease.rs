//! Leasing: what is due, for whom, and until when.

use crate::{
    delivery::{Claim, Delivery},
    id::{DeliveryId, InstanceId},
    name::Name,
    partitions::Partitions,
    time::Wall,
};

/// Lease what is due: ready or scheduled with `due_at <= now`, TTL not passed. Whether the destination is paused is for who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseAsk {
    /// Whose deliveries.
    pub destination: Name,
    /// For whom.
    pub instance: InstanceId,
    /// The fence's nonce; the store raises each record's counter by one.
    pub nonce: u64,
    /// The leases' end.
    pub until: Wall,
    /// At this moment.
    pub now: Wall,
    /// At most so many.
    pub limit: u32,
    /// Of these at most so many that were tried before, even if nothing else is due.
    pub tried_max: u32,
    /// Which of them.
    pub order: LeaseOrder,
    /// Of these partitions only, where parts of the store may be away each by itself; else of all there are.
    pub partitions: Partitions,
}

/// Which of the due deliveries are leased first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseOrder {
    /// Those never tried and those tried before have a share each: up to so many of the limit are the oldest tried ones, the
    /// rest the oldest never tried, and what one kind leaves the other takes, as far as [`LeaseAsk::tried_max`] lets it. Those
    /// taken go by `due_at`, then id.
    Shared {
        /// For tried ones, where both kinds are due.
        tried: u32,
    },
    /// By `tries`, then `due_at`, then id.
    FewestTries,
    /// Never tried before tried; of those the last by `due_at`, then id; of these as [`Self::FewestTries`].
    Newest,
}

/// What a [`LeaseAsk`] gave.
#[derive(Clone, Debug, Default)]
pub struct Leased {
    /// The leased deliveries, in order, as they are stored now. Their bodies are read when there is room for them: see
    /// [`BodyOf`](super::BodyOf).
    pub deliveries: Vec<Delivery>,
    /// Why there are no more.
    pub end: LeaseEnd,
    /// What else there is at the destination.
    pub backlog: Backlog,
    /// In some part of the store others may be leased, of which nothing is told, as when all of it is unknown.
    pub unsure: bool,
}

/// What there is at a destination, due or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// A delivery that was tried before waits, beside those just leased or among them.
    pub tried: bool,
    /// Deliveries that are not over: ready, scheduled or leased.
    pub open: u64,
}

/// Why a lease gave no more than it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaseEnd {
    /// Nothing more is due; the next becomes due then, if any waits.
    Drained {
        /// Due time of the earliest delivery that still waits.
        next_due: Option<Wall>,
    },
    /// Nothing more is due but what was tried before, and of that no more was to be leased (`tried_max`).
    Tried {
        /// Due time of the earliest delivery that is not due yet.
        next_due: Option<Wall>,
    },
    /// More may be due: `limit` was reached.
    #[default]
    More,
}

/// Move the end of a lease, if it stands and has the same keeper. An end is never moved back: asked twice, or asked late, it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extend {
    /// Which delivery.
    pub id: DeliveryId,
    /// Which lease, and whose it is.
    pub claim: Claim,
    /// The new end.
    pub until: Wall,
}

/// What became of an [`Extend`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extended {
    /// It stands, and that is durable.
    Stands {
        /// Its end: the one that was asked for, or a later one.
        until: Wall,
        /// The record's version now: one on, where the end was moved.
        version: u64,
    },
    /// It does not stand any more, or another run keeps it: this is the record, and nothing was changed. `None`: it is gone, or
    /// damaged.
    Over(Option<Box<Delivery>>),
}

impl Extended {
    /// It stands, and this is its record.
    pub fn stands(record: &Delivery) -> Self {
        let until = record.lease.map_or(Wall::MIN, |lease| lease.until);
        Self::Stands { until, version: record.version }
    }
}
