//! The client's end: dials, resumes, assembles bodies, reports, and keeps every outcome until it is settled.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    delivery::outcome::Outcome,
    id::{DeliveryId, EventId, InstanceId},
    name::Name,
    time::{Mono, Wall},
    wire::message::Message,
};

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

/// One destination that a client serves.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its name.
    pub name: Name,
    /// `CONCURRENCY`.
    pub slots: u32,
    /// `FORWARD_TIMEOUT`.
    pub forward_timeout: Duration,
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
    /// The socket is closed or unusable.
    Disconnected,
    /// The forward asked for by [`Output::Forward`] ended.
    Forwarded(DeliveryId, Outcome),
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
    Later(Duration),
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

/// A webhook whose body is complete and matches its digest.
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
    /// A body did not match its digest; it was not forwarded.
    Corrupt(DeliveryId),
}

/// When the next timeout is due: see [`crate`].
pub type Timeout = Option<Mono>;
