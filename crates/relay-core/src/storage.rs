//! The values that cross the store seam: what the core asks of a store, and what a store answers.
//!
//! The core decides, a store applies. Every operation is a batch, every answer stands for a durable fact. The seam
//! itself, with its promises, is `relay_store::Store`.

use std::{sync::Arc, time::Duration};

use crate::{
    delivery::{Attempt, Delivery, Token},
    event::Event,
    id::{DeliveryId, EventId, InstanceId},
    name::Name,
    time::Wall,
};

/// Store this event and its deliveries in one commit, unless the dedupe key is taken.
#[derive(Clone, Debug)]
pub struct Append {
    /// The event.
    pub event: Arc<Event>,
    /// One per route: [`State::Ready`](crate::delivery::State::Ready), or already leased.
    pub deliveries: Vec<Delivery>,
    /// Makes a repeat of the same key find this event instead of storing another.
    pub dedupe: Option<Dedupe>,
    /// If the commit has not begun by then, the answer is [`AppendError::TooLate`] and nothing is stored.
    pub deadline: Wall,
}

/// A dedupe key, scoped to the event's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedupe {
    /// SHA-256 of what identifies the webhook within its source.
    pub key: [u8; 32],
    /// Until when it is remembered.
    pub until: Wall,
}

/// What became of an [`Append`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Event and deliveries are durable.
    Stored,
    /// The key was taken by an event that is durable; nothing was stored, the repeat is counted.
    Repeat {
        /// The event that took the key.
        first: EventId,
        /// When that one was received.
        received_at: Wall,
        /// The repeat carries another body.
        differs: bool,
        /// Deliveries of the first, for the core to see what became of it.
        deliveries: Vec<Delivery>,
    },
}

/// Why an [`Append`] stored nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Its deadline passed before its turn came.
    #[error("the deadline passed before the commit began")]
    TooLate,
    /// There is no room; settling and retention go on, so try again later.
    #[error("the store is full")]
    Full,
    /// The record of the event that took its dedupe key is damaged: nothing is stored, and the repeat cannot be answered.
    #[error("the event that it repeats is damaged")]
    Damaged,
    /// The store has failed or is closed. Whether the event is stored is not known.
    #[error("the store is not available")]
    Unavailable,
}

/// Lease what is due: ready or scheduled with `due_at <= now`, TTL not passed, destination not paused.
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
    /// Bodies of at most so many bytes together. The first that does not fit ends the batch, so that it stays next in line.
    pub body_bytes_max: u64,
    /// Which of them.
    pub order: LeaseOrder,
}

/// Which of the due deliveries are leased first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseOrder {
    /// By `due_at`, then id.
    Oldest,
    /// Those never tried and those tried before have a share each: up to so many of the limit are the oldest tried ones, the
    /// rest the oldest never tried, and what one kind leaves the other takes. Those taken go by `due_at`, then id.
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
    /// The leased deliveries with their events, in order. Their records are those now stored.
    pub deliveries: Vec<(Delivery, Arc<Event>)>,
    /// Why there are no more.
    pub end: LeaseEnd,
    /// What else there is at the destination.
    pub backlog: Backlog,
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
    /// More may be due: `limit` was reached, or the next body did not fit.
    #[default]
    More,
}

/// Move the end of a lease, if it is still held under that token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extend {
    /// Which delivery.
    pub id: DeliveryId,
    /// Under which lease.
    pub token: Token,
    /// The new end.
    pub until: Wall,
}

/// Replace a delivery's record, if the stored one still is the one decided on: see [`Change::is_of`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The record as decided on; tells the store which counters to move.
    pub before: Delivery,
    /// The record to store; same id, `before.version + 1`.
    pub next: Delivery,
    /// The earlier `last`, to be kept as an attempt record; set when `next.last` is a new try and `before.last` was set.
    pub archive: Option<Attempt>,
}

impl Change {
    /// Whether it was decided on this record: version, state and token. The version alone does not tell: an extension
    /// that the hub counted on is passed over once an operator has cancelled the delivery, which counts as well.
    pub fn is_of(&self, stored: &Delivery) -> bool {
        let version = stored.version == self.before.version && stored.version + 1 == self.next.version;
        version && stored.state == self.before.state && stored.token == self.before.token
    }
}

/// What became of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is durable.
    Applied,
    /// The stored record is another one; nothing was changed. `None`: it is gone (retired).
    Conflict(Option<Box<Delivery>>),
}

/// What waits at one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationDue {
    /// Whose.
    pub destination: Name,
    /// Due time of its earliest waiting delivery.
    pub next_due: Option<Wall>,
}

/// What has work to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Destinations with waiting deliveries.
    pub destinations: Vec<DestinationDue>,
    /// Waiting deliveries whose TTL has passed, earliest first, for the core to end; at most as many as were asked for.
    pub expired: Vec<Delivery>,
}

/// A store operation failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store has failed for good or is closed: the process must stop and verify on its next start.
    #[error("the store is not available")]
    Unavailable,
    /// No room, not even in the reserve; nothing was changed.
    #[error("the store is full")]
    Full,
    /// A record on disk is damaged: named, never used.
    #[error("damaged record: {what}")]
    Damaged {
        /// Which record, and what is wrong with it.
        what: Box<str>,
    },
    /// A read took too long and was given up; nothing was changed.
    #[error("the read was given up after {after:?}")]
    TooSlow {
        /// Its bound.
        after: Duration,
    },
}

/// One thing that the core asks of a store.
#[derive(Clone, Debug)]
pub enum StoreOp {
    /// See [`Append`]. Answered by [`StoreAnswer::Append`].
    Append(Box<Append>),
    /// See [`LeaseAsk`]. Answered by [`StoreAnswer::Lease`].
    Lease(LeaseAsk),
    /// See [`Extend`]; those no longer held are passed over. Answered by [`StoreAnswer::Extend`].
    Extend(Vec<Extend>),
    /// See [`Change`]. Answered by [`StoreAnswer::Settle`], in the same order.
    Settle(Vec<Change>),
    /// Store new deliveries of an old event. Answered by [`StoreAnswer::Replay`], in the same order.
    Replay(Vec<Delivery>),
    /// Read these deliveries. Answered by [`StoreAnswer::Find`], in the same order.
    Find(Vec<DeliveryId>),
    /// See [`Due`]. Answered by [`StoreAnswer::Due`].
    Due {
        /// At this moment.
        now: Wall,
        /// Most expired deliveries to name.
        limit: u32,
    },
    /// Read the leased deliveries behind this id. Answered by [`StoreAnswer::Held`].
    Held {
        /// Where the previous page ended.
        after: Option<DeliveryId>,
        /// Most to name.
        limit: u32,
    },
}

/// The answer to a [`StoreOp`]: a durable fact, or a failure.
#[derive(Clone, Debug)]
pub enum StoreAnswer {
    /// To [`StoreOp::Append`].
    Append(Result<Appended, AppendError>),
    /// To [`StoreOp::Lease`].
    Lease(Result<Leased, StoreError>),
    /// To [`StoreOp::Extend`].
    Extend(Result<(), StoreError>),
    /// To [`StoreOp::Settle`].
    Settle(Result<Vec<Changed>, StoreError>),
    /// To [`StoreOp::Replay`]; `false` for those whose event is gone.
    Replay(Result<Vec<bool>, StoreError>),
    /// To [`StoreOp::Find`]; `None` for those that are gone.
    Find(Result<Vec<Option<Delivery>>, StoreError>),
    /// To [`StoreOp::Due`].
    Due(Result<Due, StoreError>),
    /// To [`StoreOp::Held`].
    Held(Result<Vec<Delivery>, StoreError>),
}
