//! What happens to the hub.

use std::sync::Arc;

use super::Serves;
use crate::{
    id::DeliveryId,
    name::Name,
    routing::Routing,
    storage::{Dedupe, Stored},
    time::Wall,
    wire::message::Message,
};

/// A socket of a client, numbered by the driver; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// One request that waits for its acknowledgement, numbered by the driver; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One thing that happens to the hub.
#[derive(Debug)]
pub enum Input {
    /// A new snapshot of routes and pauses. The first one starts the hub.
    Routing(Arc<Routing>),
    /// How many deliveries were ever delivered at each destination (the store's durable counter): once, before any session.
    DeliveredSoFar(Vec<(Name, u64)>),
    /// A verified request: make it durable, then answer. Always answered by [`Output::Answer`](super::Output::Answer) with the same ticket.
    Accept {
        /// Names the answer.
        ticket: Ticket,
        /// The request. The hub mints its id.
        request: Box<Accepting>,
    },
    /// A socket passed the token check and is upgraded.
    Opened {
        /// Its number.
        conn: ConnId,
        /// The token's name.
        token: Name,
        /// What it may serve.
        serves: Serves,
        /// The peer's address, for people.
        peer: String,
    },
    /// A message arrived on a socket.
    Received(ConnId, Message),
    /// Part of a message arrived on a socket, as a driver may say about once a second: the client lives, its link is slow.
    Heard(ConnId),
    /// A socket is closed or unusable.
    Closed(ConnId),
    /// A store operation is done.
    Stored(Stored),
    /// Deliveries of this destination became due by other means than this hub: a redrive, a replay, a resume, another
    /// server.
    Woken(Name),
    /// This delivery was changed by other means than this hub: a redrive, a cancel, a purge.
    Touched(DeliveryId),
    /// The token was revoked, or may serve less: its sockets are closed.
    Revoked(Name),
    /// The configuration was read anew, and has this digest: see [`About`](crate::storage::About).
    Configured([u8; 32]),
    /// Stop: refuse new requests, say `GoAway`, wait for reports.
    Stop,
}

/// A verified request that is about to become an event.
#[derive(Clone, Debug)]
pub struct Accepting {
    /// The source.
    pub source: Name,
    /// See [`Event`](crate::event::Event).
    pub method: bytes::Bytes,
    /// See [`Event`](crate::event::Event).
    pub path: bytes::Bytes,
    /// See [`Event`](crate::event::Event).
    pub query: Option<bytes::Bytes>,
    /// See [`Event`](crate::event::Event).
    pub headers: Vec<(bytes::Bytes, bytes::Bytes)>,
    /// See [`Event`](crate::event::Event).
    pub body: bytes::Bytes,
    /// See [`Event`](crate::event::Event).
    pub body_sha256: [u8; 32],
    /// When the request was complete.
    pub received_at: Wall,
    /// See [`Event`](crate::event::Event).
    pub name: Option<Arc<str>>,
    /// See [`Event`](crate::event::Event).
    pub key: Option<Name>,
    /// See [`Dedupe`].
    pub dedupe: Option<Dedupe>,
    /// The sender never tries again by itself: a repeat of what was delivered is somebody who pressed Resend.
    pub resend: bool,
    /// When the sender's patience ends: no commit begins after this.
    pub deadline: Wall,
}
