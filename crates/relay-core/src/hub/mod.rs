//! The hub: accepts events, leases what is due to clients with credit, settles what they report.
//!
//! One machine for all sessions of a server. It holds what is leased, never the backlog.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    event::Event,
    id::{DeliveryId, EventId, InstanceId},
    name::Name,
    routing::Routing,
    storage::{Dedupe, StoreAnswer, StoreOp},
    time::Wall,
    wire::message::Message,
};

/// A socket of a client, numbered by the driver; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// One request that waits for its acknowledgement, numbered by the driver; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One store operation, numbered by the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// What an operator may set.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program's version, for `Welcome`.
    pub version: String,
    /// `LEASE`.
    pub lease: Duration,
    /// `RETRY_AFTER_MAX`.
    pub retry_after_max: Duration,
    /// `CIRCUIT_PAUSE_MAX`.
    pub circuit_pause_max: Duration,
    /// Share of `MAX_INFLIGHT_BYTES` that bodies read from the store and going out may take.
    pub outgoing_bytes_max: u64,
    /// `PUBLIC_URL` without a trailing `/`, for `Relay-Original-Url`.
    pub public_url: Option<String>,
    /// Seed of jitter, nonces and ids.
    pub seed: u64,
    /// Highest id sequence in the store.
    pub id_floor: i64,
}

/// Which destinations a token may serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Every destination.
    All,
    /// These.
    Only(BTreeSet<Name>),
}

/// One thing that happens to the hub.
#[derive(Debug)]
pub enum Input {
    /// A new snapshot of routes and pauses; the first input of all.
    Routing(Arc<Routing>),
    /// How many deliveries were ever made at each destination (the store's durable counter): once, before any session.
    DeliveredSoFar(Vec<(Name, u64)>),
    /// A verified request: make it durable, then answer. Always answered by [`Output::Answer`] with the same ticket.
    Accept {
        /// Names the answer.
        ticket: Ticket,
        /// The request. Its id was minted by [`Hub::mint_event`](Hub).
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
    /// A socket is closed or unusable.
    Closed(ConnId),
    /// A store operation is done.
    Stored(OpId, StoreAnswer),
    /// Somebody else (redrive, replay, resume, another server) made deliveries of this destination due.
    Woken(Name),
    /// Somebody else (cancel, purge) changed this delivery.
    Touched(DeliveryId),
    /// The token was revoked, or may serve less: its sockets are closed.
    Revoked(Name),
    /// Stop: refuse new requests, say `GoAway`, wait for reports.
    Stop,
}

/// A verified request that is about to become an event.
#[derive(Clone, Debug)]
pub struct Accepting {
    /// The source.
    pub source: Name,
    /// See [`Event`].
    pub method: bytes::Bytes,
    /// See [`Event`].
    pub path: bytes::Bytes,
    /// See [`Event`].
    pub query: Option<bytes::Bytes>,
    /// See [`Event`].
    pub headers: Vec<(bytes::Bytes, bytes::Bytes)>,
    /// See [`Event`].
    pub body: bytes::Bytes,
    /// See [`Event`].
    pub body_sha256: [u8; 32],
    /// When the request was complete.
    pub received_at: Wall,
    /// See [`Dedupe`].
    pub dedupe: Option<Dedupe>,
    /// When the sender's patience ends: no commit begins after this.
    pub deadline: Wall,
}

/// What the hub wants done, in this order.
#[derive(Debug)]
pub enum Output {
    /// Ask the store; bring the answer back as [`Input::Stored`] with the same id.
    Store(OpId, StoreOp),
    /// Answer a request.
    Answer(Ticket, Answer),
    /// This socket has something to send: call [`Hub::poll_transmit`](Hub) until it gives `None`, as fast as it takes it.
    Transmit(ConnId),
    /// Close this socket, after what [`Hub::poll_transmit`](Hub) still gives for it.
    Close(ConnId, &'static str),
    /// Tell people, count.
    Notice(Notice),
    /// After [`Input::Stop`]: every lease is settled or handed back and durable.
    Stopped,
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
    },
    /// It is not known to be stored: 503.
    Unavailable,
    /// No room: 503.
    Full,
    /// The server stops: 503.
    Stopping,
}

/// What people should hear and metrics count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A client instance serves a destination from now on.
    ClientJoined {
        /// Which destination.
        destination: Name,
        /// Which instance.
        instance: InstanceId,
        /// Its name for people.
        label: String,
        /// Its address.
        peer: String,
        /// Its token's name.
        token: Name,
        /// Instances that serve the destination now.
        clients: u32,
    },
    /// A client instance serves a destination no longer.
    ClientLeft {
        /// Which destination.
        destination: Name,
        /// Which instance.
        instance: InstanceId,
        /// Its name for people.
        label: String,
        /// Instances that serve the destination now.
        clients: u32,
        /// Leases that it still held.
        held: u32,
    },
    /// A circuit opened: nothing but probes goes to this destination through this client.
    DestinationDown {
        /// Which destination.
        destination: Name,
        /// Through which instance.
        instance: InstanceId,
        /// The last failure, in words.
        error: String,
    },
    /// A circuit closed again.
    DestinationUp {
        /// Which destination.
        destination: Name,
        /// Through which instance.
        instance: InstanceId,
    },
    /// A delivery is dead, durably.
    DeliveryDead {
        /// Which.
        delivery: DeliveryId,
        /// Its event.
        event: EventId,
        /// Where it was going.
        destination: Name,
        /// Why.
        reason: crate::delivery::Reason,
        /// The last failure, in words.
        error: Option<Box<str>>,
    },
    /// A delivery has expired, durably.
    DeliveryExpired {
        /// Which.
        delivery: DeliveryId,
        /// Its event.
        event: EventId,
        /// Where it was going.
        destination: Name,
    },
    /// A try was reported and is durable: for the outcome counters.
    Tried {
        /// Where.
        destination: Name,
        /// How it ended.
        class: crate::delivery::outcome::Class,
        /// Whether it was a later try than the first.
        retry: bool,
    },
    /// A lease was lost and that is durable.
    LeaseLost {
        /// Which delivery.
        delivery: DeliveryId,
        /// Where it was going.
        destination: Name,
        /// Losses so far.
        losses: u32,
    },
    /// A repeat carried another body than the event it repeats.
    RepeatDiffers {
        /// The first one.
        event: EventId,
    },
    /// A dead or expired delivery was redriven by a repeat of its event.
    Redriven {
        /// Which.
        delivery: DeliveryId,
    },
    /// A client broke the protocol; its socket is closed.
    Misbehaved {
        /// Which socket.
        conn: ConnId,
        /// What it did.
        what: String,
    },
}

/// What the hub knows of one destination, for metrics and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationView {
    /// Which.
    pub destination: Name,
    /// Client instances that serve it: id, label, leases held, whether the circuit is open.
    pub clients: Vec<ClientView>,
    /// Some client has credit and a closed circuit.
    pub served: bool,
}

/// What the hub knows of one client instance at one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientView {
    /// Its instance.
    pub instance: InstanceId,
    /// Its name for people.
    pub label: String,
    /// Its token's name.
    pub token: Name,
    /// Its address.
    pub peer: String,
    /// Leases held there.
    pub held: u32,
    /// Slots there.
    pub slots: u32,
    /// Whether its circuit is open.
    pub circuit_open: bool,
    /// The latest failure while the circuit is open.
    pub error: Option<String>,
}

/// What is being accepted as an event; used by `Hub::handle`.
pub type Stored = Arc<Event>;
