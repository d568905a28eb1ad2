//! The trade of whoever moves a store into another one: see [`migrate`](crate::migrate).
//!
//! Nearly all of a move is asked for by the other trades: pages of events, bodies, attempts and documents are read as listings
//! read them; events with their deliveries, in whatever state those are, are stored as what comes in is, and replays as replays. Here
//! stands what those trades keep to themselves. Nothing of it decides anything.
//!
//! For stores that nobody else writes to meanwhile.
//!
//! # When the answer is lost
//!
//! | operation | again | resolved by |
//! | --- | --- | --- |
//! | `put_attempts`, `put_totals` | safe: they put the same in the place of what is there | asking again |
//! | all others | safe: they read | asking again |

use relay_core::{
    delivery::Attempt,
    id::{DeliveryId, EventId},
    storage::{Dedupe, StoreError},
};

use super::Stats;
use crate::Later;

/// Which ids nobody is in the way of, in the order in which they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HaveRoom {
    /// Of events.
    pub events: Vec<bool>,
    /// Of deliveries.
    pub deliveries: Vec<bool>,
}

impl HaveRoom {
    /// Nobody is in anybody's way.
    pub fn all(events: usize, deliveries: usize) -> Self {
        Self { events: vec![true; events], deliveries: vec![true; deliveries] }
    }

    /// Whether that is so.
    pub fn is_all(&self) -> bool {
        self.events.iter().chain(&self.deliveries).all(|has_room| *has_room)
    }
}

/// What of a store only a move reads and writes.
pub trait Transfer: Send + Sync + 'static {
    /// The dedupe keys that these events hold, in order; `None` for those that have none, or have lost it to a later event. The
    /// first call may go through all keys there are.
    fn keys(&self, of: Vec<EventId>) -> Later<Result<Vec<Option<Dedupe>>, StoreError>>;

    /// Which of these can be stored under their ids, in order: `false` where another one is in the way, be it one of those before
    /// it here, as it is by its [sequence](EventId::sequence) in a store with one mint. One that is stored already is not in its own
    /// way.
    fn have_room(&self, events: Vec<EventId>, deliveries: Vec<DeliveryId>) -> Later<Result<HaveRoom, StoreError>>;

    /// Puts these in the place of the earlier attempts of each, oldest first; the latest is in its record. Each delivery is stored.
    fn put_attempts(&self, of: Vec<(DeliveryId, Vec<Attempt>)>) -> Later<Result<(), StoreError>>;

    /// Sets what only counters know: of sources what was accepted, retired and repeated; of destinations what was created, retired,
    /// lost and tried; the highest sequence and the latest moment, which never go back. Left alone is what follows from what is stored.
    fn put_totals(&self, totals: Stats) -> Later<Result<(), StoreError>>;
}
