//! Replays: new deliveries of old events.

use crate::delivery::Delivery;

/// Store new deliveries of old events. Those that are stored already are not stored again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The new deliveries.
    pub made: Vec<Delivery>,
    /// They are of one event, and were decided on when it had so many: if it has others by now, nothing is stored, for somebody
    /// else may have made the same. `None`: they are made whatever there is.
    pub decided_on: Option<u32>,
}

impl Replay {
    /// Stores them whatever there is.
    pub const fn anyway(made: Vec<Delivery>) -> Self {
        Self { made, decided_on: None }
    }
}

/// What became of a [`Replay`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// In the same order: `false` for those whose event is gone.
    Stored(Vec<bool>),
    /// Nothing was stored: the event has these deliveries by now.
    Elsewise(Vec<Delivery>),
}
