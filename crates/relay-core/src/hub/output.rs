//! What the hub wants done.

use super::{ConnId, Notice, Ticket};
use crate::{id::EventId, storage::StoreOp, time::Wall};

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
