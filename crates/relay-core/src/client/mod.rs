//! The client's end: dials, resumes, assembles bodies, reports, and keeps every outcome until it is settled.
//!
//! [`Client`] is the machine; what goes in and comes out stands here. `held` keeps the books of what is leased.

mod held;
mod machine;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

pub use crate::wire::codec::Served;
use crate::{
    delivery::outcome::Outcome,
    id::{DeliveryId, EventId, InstanceId},
    name::Name,
    time::Wall,
    trace::TraceContext,
    wire::message::Message,
};

pub use machine::Client;

/// What a client is and serves. Fixed for its life.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Random per process start.
    pub instance: InstanceId,
    /// A name for people.
    pub label: String,
    /// The program's version.
    pub version: String,
    /// What it serves.
    pub destinations: Vec<Served>,
    /// `CLIENT_BUFFER`.
    pub buffer_bytes: u64,
    /// Seed of the reconnect jitter.
    pub seed: u64,
}

/// One thing that happens to a client.
#[derive(Debug)]
pub enum Input {
    /// The socket asked for by [`Output::Dial`] is open and upgraded.
    Connected,
    /// Dialling failed, in words; it is tried again.
    DialFailed(DialFailure),
    /// A message arrived.
    Received(Message),
    /// Part of a message arrived, as a driver may say about once a second: the server lives, its link is slow.
    Heard,
    /// The socket took part of what was sent, as a driver may say about once a second: the link is slow. It shows no life of a
    /// server, but that there is no sense in waiting for its answer yet.
    Taken,
    /// The socket is closed or unusable.
    Disconnected,
    /// The forward asked for by [`Output::Forward`] ended.
    Forwarded(DeliveryId, Outcome),
    /// The body of the forward asked for does not match its digest; nothing was sent to the target.
    Corrupt(DeliveryId),
    /// The driver lacks something of its own for the forward asked for; nothing was sent to the target.
    Unasked(DeliveryId),
    /// Go on with another setup: hand back what has not begun, and dial anew at once. As another instance, or where what runs is to
    /// have less time, wait first until that is settled, and say goodbye.
    Renew(Box<Setup>),
    /// Stop: hand back what has not begun, wait for what has, say goodbye.
    Stop,
}

/// Why dialling failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialFailure {
    /// The server refused the token (401): final.
    TokenRefused,
    /// The server speaks another protocol version (426): final.
    VersionRefused,
    /// The server asked to come back later.
    Later {
        /// For how long it wants to be left alone.
        after: Duration,
        /// What it said.
        why: String,
    },
    /// Everything else, network and server errors alike.
    Failed(String),
}

/// What a client wants done.
#[derive(Debug)]
pub enum Output {
    /// Open a socket to the server. Answer with `Connected` or `DialFailed`.
    Dial,
    /// Send this on the socket.
    Send(Message),
    /// Close the socket.
    Hangup,
    /// Forward this webhook to the local target of its destination. Answer with `Forwarded`.
    Forward(Arc<Forward>),
    /// Tell people.
    Notice(Notice),
    /// Nothing is held and the goodbye was said, or going on is pointless: stop driving.
    Exit(Exit),
}

/// A webhook whose body is complete. The driver compares the digest before it sends a byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Its delivery.
    pub delivery: DeliveryId,
    /// Its event.
    pub event: EventId,
    /// Names the local target.
    pub destination: Name,
    /// `Relay-Source`.
    pub source: Name,
    /// `Relay-Attempt`.
    pub attempt: u32,
    /// `Relay-Received-At`.
    pub received_at: Wall,
    /// HTTP method.
    pub method: Bytes,
    /// Raw path behind the source.
    pub rest: Bytes,
    /// Raw query.
    pub query: Option<Bytes>,
    /// Header fields in order.
    pub headers: Vec<(Bytes, Bytes)>,
    /// `Relay-Original-Url`; empty: left out.
    pub original_url: Bytes,
    /// `Relay-Replay`.
    pub replay: bool,
    /// The body.
    pub body: Bytes,
    /// What the body's SHA-256 must be.
    pub body_sha256: [u8; 32],
    /// Where in a trace this try is, if the server tells of it.
    pub trace: Option<TraceContext>,
}

/// Why a client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was told to stop, and everything is settled or handed back.
    Stopped,
    /// The server refused its token.
    TokenRefused,
    /// The server speaks another protocol version.
    VersionRefused,
}

/// What people should hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The session is up.
    Up {
        /// The server's program version.
        server_version: String,
        /// Per destination: name, whether the token allows it, whether a route leads there, other clients that serve it.
        destinations: Vec<(Name, bool, bool, u32)>,
    },
    /// The session was lost or could not be made; the next dial follows after `pause`.
    Down {
        /// Why.
        why: String,
        /// Until the next dial.
        pause: Duration,
        /// Failures in a row.
        failures: u32,
    },
    /// Another client joined or left a destination.
    Peers {
        /// Which destination.
        destination: Name,
        /// Other clients that serve it now.
        others: u32,
    },
    /// A body did not match its digest; it was not forwarded.
    Corrupt(DeliveryId),
    /// It goes on with another setup; the next dial follows at once.
    Renewing,
}

/// What a client holds and whether it is connected, for health and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The session is up.
    pub up: bool,
    /// It was told to stop.
    pub stopping: bool,
    /// Per destination, in the order of their names.
    pub destinations: Vec<HeldView>,
}

/// What a client holds of one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldView {
    /// Which.
    pub destination: Name,
    /// Bodies still arriving.
    pub assembling: u32,
    /// Complete, waiting for a slot.
    pub waiting: u32,
    /// At the target.
    pub forwarding: u32,
    /// Outcomes that the server has not confirmed.
    pub reported: u32,
}
