//! Accepting: an event with its deliveries, in one commit.

use std::sync::Arc;

use crate::{delivery::Delivery, event::Event, id::EventId, time::Wall};

/// Store this event and its deliveries in one commit, unless the dedupe key is taken.
#[derive(Clone, Debug)]
pub struct Append {
    /// The event.
    pub event: Arc<Event>,
    /// One per route: [`State::Ready`](crate::delivery::State::Ready), or already leased.
    pub deliveries: Vec<Delivery>,
    /// Makes a repeat of the same key find this event instead of storing another.
    pub dedupe: Option<Dedupe>,
    /// If the commit has not begun by then, the answer is [`AppendError::TooLate`](super::AppendError::TooLate) and nothing is stored.
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
    Stored {
        /// The id that it is stored under: the one that was minted, unless the store had to give it another.
        event: EventId,
        /// Its deliveries as they are by now, where that need not be what was asked for: it has another id, or an earlier call
        /// stored it. Empty: they are what was asked for.
        deliveries: Vec<Delivery>,
    },
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
        /// It had others, which were purged or are lost.
        gone: bool,
    },
}

impl Appended {
    /// The event is stored as it was asked for.
    pub const fn as_asked(event: EventId) -> Self {
        Self::Stored { event, deliveries: Vec::new() }
    }

    /// Whether it is no repeat.
    pub const fn is_stored(&self) -> bool {
        matches!(self, Self::Stored { .. })
    }
}
