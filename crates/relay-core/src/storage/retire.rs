//! What is removed: ended deliveries, by purge and by retention, and what only time ends.

use crate::{
    delivery::{Delivery, State},
    id::DeliveryId,
    limits,
    partitions::Partitions,
    time::Wall,
};

/// Remove an ended delivery, if its record is still the one decided on: with its attempts, and with its event if it
/// was the last of it: then a dedupe key that led there is free. Counted as retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub id: DeliveryId,
    /// Of the record decided on.
    pub version: u64,
    /// How it ended.
    pub state: State,
}

impl Ended {
    /// Of this record; `None` while it still has a way to go.
    pub fn of(delivery: &Delivery) -> Option<Self> {
        let Delivery { id, version, state, .. } = *delivery;
        (!state.is_open()).then_some(Self { id, version, state })
    }

    /// Whether it was decided on this record.
    pub fn is_of(&self, stored: &Delivery) -> bool {
        Self::of(stored) == Some(*self)
    }
}

/// What it takes to remove a delivery, in rows: itself and its earlier tries, and those that stand for a body of this length, if
/// its event goes with it.
pub fn rows_removed(gone: &Delivery, body_bytes: Option<u64>) -> u64 {
    // The latest try is in the record itself.
    let earlier = (u64::from(gone.tries) + u64::from(gone.earlier)).saturating_sub(1);
    1 + earlier + body_bytes.map_or(0, rows_of_body)
}

/// The rows that a body of this length stands for.
pub fn rows_of_body(bytes: u64) -> u64 {
    bytes / limits::BODY_BYTES_A_ROW
}

/// Ask which ended deliveries retention is over for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverAsk {
    /// Delivered and cancelled ones that ended before.
    pub delivered_before: Wall,
    /// Dead and expired ones that ended before.
    pub dead_before: Wall,
    /// Those in these.
    pub partitions: Partitions,
    /// At most so many.
    pub limit: u32,
}

impl OverAsk {
    /// Whether it is one of them. An open one never is.
    pub fn holds(&self, delivery: &Delivery) -> bool {
        self.partitions.hold(delivery.id.partition())
            && self.before(delivery.state).is_some_and(|before| delivery.changed_at < before)
    }

    /// It is over for what ended in that state before this moment; `None` for open ones.
    pub fn before(&self, state: State) -> Option<Wall> {
        let ended = if state.is_dead_letter() { self.dead_before } else { self.delivered_before };
        (!state.is_open()).then_some(ended)
    }
}

/// Remove what retention is over for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retire {
    /// In this order; a store may take only the first of them.
    pub ended: Vec<Ended>,
    /// More are due than these: a store that has more to do than it can must not put this off.
    pub more: bool,
    /// What goes beside them.
    pub forget: Forget,
}

/// Forget what only time ends; a store may take only a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forget {
    /// Dedupe keys whose window ended by then.
    pub keys_until: Wall,
    /// Events received before that never had a delivery.
    pub unrouted_before: Wall,
    /// Marks of jobs that were begun before.
    pub jobs_before: Wall,
    /// Lines of the audit log from before.
    pub audit_before: Wall,
    /// What is in these; what is in none goes with the first.
    pub partitions: Partitions,
}

/// What a [`Retire`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// So many of those named were looked at, from the first; the others are to be asked for again.
    pub taken: u32,
    /// Deliveries that were removed.
    pub deliveries: u64,
    /// Events that went with them, or never had a delivery.
    pub events: u64,
    /// There is more to forget.
    pub more: bool,
}
