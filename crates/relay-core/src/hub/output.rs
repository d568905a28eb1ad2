//! What the hub wants done.

use super::{ConnId, Notice, Ticket};
use crate::{
    id::EventId,
    storage::{AppendError, StoreError, StoreOp},
    time::Wall,
};

/// What the hub wants done, in this order.
#[derive(Debug)]
pub enum Output {
    /// Ask the store; bring its answer back as [`Input::Stored`](super::Input::Stored).
    Store(StoreOp),
    /// Answer a request.
    Answer(Ticket, Answer),
    /// This socket has something to send: call [`Hub::poll_transmit`](super::Hub) until it gives `None`, as fast as it takes it.
    Transmit(ConnId),
    /// Close this socket, after what [`Hub::poll_transmit`](super::Hub) still gives for it.
    Close(ConnId, &'static str),
    /// Tell people, count.
    Notice(Notice),
    /// After [`Input::Stop`](super::Input::Stop): every lease is settled or handed back and durable.
    Stopped,
}

/// Why a request is not stored, for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// No route leads from its source: the store was not asked.
    Unrouted,
    /// The store has failed before: it was not asked.
    Failed,
    /// The store could not be reached until the deadline.
    Away,
    /// What it repeats was to be delivered again, and was removed meanwhile or cannot be read.
    Gone,
    /// The record of what it repeats is damaged.
    Damaged,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The event is durable.
    Accepted {
        /// Its id: the first one's, for a repeat.
        event: EventId,
        /// When it was received: the first one, for a repeat.
        received_at: Wall,
        /// It repeats an event that was already stored.
        repeat: bool,
        /// It is a repeat with another body than the first: that body is not stored.
        differs: bool,
    },
    /// It is not known to be stored: 503.
    Unavailable,
    /// It is not stored, for sure: 503.
    NotStored(NotStored),
    /// As many wait for their commit as may, or its turn did not come in time: it is not stored, and a moment later it may be.
    /// 503.
    Busy,
    /// No room: 503.
    Full,
    /// The server stops: 503.
    Stopping,
}

/// What the sender of an event hears that is not stored, or not known to be.
impl From<&AppendError> for Answer {
    fn from(error: &AppendError) -> Self {
        match error {
            AppendError::TooLate => Self::Busy,
            AppendError::Full => Self::Full,
            AppendError::Damaged => Self::NotStored(NotStored::Damaged),
            AppendError::Away | AppendError::Unknown | AppendError::Unavailable => Self::Unavailable,
        }
    }
}

/// What the sender of a repeat hears whose deliveries are not stored, or not known to be: sent once more it finds those that are, for they
/// are the event's own.
impl From<&StoreError> for Answer {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Damaged { .. }
            | StoreError::Later { .. }
            | StoreError::TooSlow { .. }
            | StoreError::Away
            | StoreError::Unknown
            | StoreError::Unavailable => Self::Unavailable,
        }
    }
}
