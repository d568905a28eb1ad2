//! The hub: accepts events, leases what is due to clients with credit, settles what they report.
//!
//! One machine for all sessions of a server. It holds what is leased, never the backlog.
//!
//! # How to drive it
//! [`Hub::handle`] with one input or several, then [`Hub::poll_output`] until it gives `None`, performing each output in
//! order; then [`Hub::poll_timeout`] names the next moment for [`Hub::handle_timeout`]. Settlements, extensions and
//! look-ups of all inputs handled since the last drain leave as one store operation each.
//! [`Hub::poll_transmit`] may be called at any time, as a socket takes messages; ask for the timeout again after it.
//!
//! The first inputs are [`Input::DeliveredSoFar`] and [`Input::Routing`], in this order: routing starts the hub.

mod accept;
mod destinations;
mod instances;
mod leases;
mod sessions;
mod settle;
mod timers;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::{
    accept::Accepts,
    destinations::Destination,
    instances::Instance,
    leases::{Held, PendingLoss},
    settle::{Decided, Work},
    timers::Timer,
};
use crate::{
    id::{DeliveryId, EventId, IdMint, InstanceId},
    name::Name,
    routing::Routing,
    session::server::Session,
    storage::{Dedupe, Extend, StoreAnswer, StoreOp},
    time::{Mono, Now, Wall},
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
    /// Seed of jitter, nonces and ids: another one at every start, for the nonce keeps this run's leases apart from
    /// those of a branch of history that was lost.
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
    /// A new snapshot of routes and pauses. The first one starts the hub.
    Routing(Arc<Routing>),
    /// How many deliveries were ever made at each destination (the store's durable counter): once, before any session.
    DeliveredSoFar(Vec<(Name, u64)>),
    /// A verified request: make it durable, then answer. Always answered by [`Output::Answer`] with the same ticket.
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
    /// A record is damaged: what was to become of it is given up, and it stays as it is for `store check`.
    Damaged {
        /// Whose.
        delivery: DeliveryId,
        /// What is wrong with it.
        what: Box<str>,
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

/// The machine: see [the module](self).
#[derive(Debug)]
pub struct Hub {
    setup: Setup,
    public_url: Option<Arc<str>>,
    routing: Arc<Routing>,
    /// Destinations that a route leads to.
    routed: BTreeSet<Name>,
    rng: StdRng,
    ids: IdMint,
    /// The fence's nonce of every lease this hub takes.
    nonce: u64,
    now: Now,

    accepts: Accepts,
    destinations: BTreeMap<Name, Destination>,
    instances: BTreeMap<InstanceId, Instance>,
    sessions: BTreeMap<ConnId, Session>,
    held: BTreeMap<DeliveryId, Held>,
    /// Lease ends of all that is held.
    ends: BTreeSet<(Wall, DeliveryId)>,
    /// Leases that were released before their end: they count as lost then unless their instance resumes.
    losses: BTreeMap<(Wall, DeliveryId), PendingLoss>,
    timers: BTreeSet<(Mono, Timer)>,
    outgoing: Outgoing,

    ops: BTreeMap<OpId, Op>,
    last_op: u64,
    outputs: VecDeque<Output>,
    /// Gathered until the outputs are drained.
    settles: Vec<Decided>,
    finds: Vec<Work>,
    extends: Vec<Extend>,
    /// Decisions whose store operation failed for now.
    again: Vec<Work>,
    /// Decisions whose store operation is under way.
    deciding: usize,

    /// The leases of the previous run are known.
    loaded: bool,
    started: bool,
    stopping: bool,
    stopped: bool,
    /// The store has failed for good.
    failed: bool,
}

/// Bodies on their way out, and those that lease operations under way may bring.
#[derive(Debug, Default)]
struct Outgoing {
    bytes: u64,
    asked: u64,
    /// Destinations that wait for room.
    thirsty: BTreeSet<Name>,
    /// Room was made outside of an input.
    freed: bool,
    /// A body has left since the thirsty were last looked at.
    left: bool,
}

/// A store operation under way.
#[derive(Debug)]
enum Op {
    Append(Box<accept::Pending>),
    Lease(Box<destinations::Ask>),
    Extend(Vec<Extend>),
    Settle(Vec<Decided>),
    Find(Vec<Work>),
    Due,
    Held,
}

impl Hub {
    /// A hub that knows nothing yet.
    pub fn new(setup: Setup) -> Self {
        let mut rng = StdRng::seed_from_u64(setup.seed);
        Self {
            public_url: setup.public_url.as_deref().map(Arc::from),
            routing: Arc::default(),
            routed: BTreeSet::new(),
            ids: IdMint::new(setup.id_floor, rng.random()),
            nonce: rng.random(),
            rng,
            now: Now::default(),
            accepts: Accepts::default(),
            destinations: BTreeMap::new(),
            instances: BTreeMap::new(),
            sessions: BTreeMap::new(),
            held: BTreeMap::new(),
            ends: BTreeSet::new(),
            losses: BTreeMap::new(),
            timers: BTreeSet::new(),
            outgoing: Outgoing::default(),
            ops: BTreeMap::new(),
            last_op: 0,
            outputs: VecDeque::new(),
            settles: Vec::new(),
            finds: Vec::new(),
            extends: Vec::new(),
            again: Vec::new(),
            deciding: 0,
            loaded: false,
            started: false,
            stopping: false,
            stopped: false,
            failed: false,
            setup,
        }
    }

    /// A delivery id that rises with the hub's own, for deliveries made elsewhere (replays).
    pub fn mint_delivery(&mut self, now: Wall) -> DeliveryId {
        self.ids.delivery(now)
    }

    /// Takes in one thing that happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.set_now(now);
        match input {
            Input::Routing(routing) => self.on_routing(routing),
            Input::DeliveredSoFar(counts) => self.on_delivered_so_far(counts),
            Input::Accept { ticket, request } => self.on_accept(ticket, *request),
            Input::Opened { conn, token, serves, peer } => self.on_opened(conn, token, serves, peer),
            Input::Received(conn, message) => self.on_message(conn, message),
            Input::Closed(conn) => self.on_closed(conn),
            Input::Stored(op, answer) => self.on_stored(op, answer),
            Input::Woken(destination) => self.on_woken(&destination),
            Input::Touched(id) => self.on_touched(id),
            Input::Revoked(token) => self.on_revoked(&token),
            Input::Stop => self.on_stop(),
        }
        self.finish_input();
    }

    /// Time never runs backwards here, whatever a driver says.
    fn set_now(&mut self, now: Now) {
        self.now = Now { wall: self.now.wall.max(now.wall), mono: self.now.mono.max(now.mono) };
    }

    /// The next thing to do, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if !self.settles.is_empty() {
            let decided = std::mem::take(&mut self.settles);
            let changes = decided.iter().map(|decided| decided.change.clone()).collect();
            return Some(self.store(Op::Settle(decided), StoreOp::Settle(changes)));
        }
        if !self.finds.is_empty() {
            let works = std::mem::take(&mut self.finds);
            let ids = works.iter().map(|work| work.id).collect();
            return Some(self.store(Op::Find(works), StoreOp::Find(ids)));
        }
        if !self.extends.is_empty() {
            let extends = std::mem::take(&mut self.extends);
            return Some(self.store(Op::Extend(extends.clone()), StoreOp::Extend(extends)));
        }
        None
    }

    /// The next message for a socket; `None` when there is nothing more to send for now.
    pub fn poll_transmit(&mut self, conn: ConnId) -> Option<Message> {
        let popped = self.sessions.get_mut(&conn)?.queue.pop()?;
        if let Some((id, done)) = popped.piece {
            self.on_piece_sent(id, done);
        }
        Some(popped.message)
    }

    /// Puts a store operation on record. Its answer finds it there.
    fn store(&mut self, op: Op, ask: StoreOp) -> Output {
        self.last_op += 1;
        let id = OpId(self.last_op);
        self.ops.insert(id, op);
        Output::Store(id, ask)
    }

    fn ask_store(&mut self, op: Op, ask: StoreOp) {
        let output = self.store(op, ask);
        self.outputs.push_back(output);
    }

    fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }

    fn on_stored(&mut self, id: OpId, answer: StoreAnswer) {
        let Some(op) = self.ops.remove(&id) else { return };
        match (op, answer) {
            (Op::Append(pending), StoreAnswer::Append(result)) => self.on_appended(*pending, result),
            (Op::Lease(ask), StoreAnswer::Lease(result)) => self.on_leased(*ask, result),
            (Op::Extend(extends), StoreAnswer::Extend(result)) => self.on_extended(&extends, &result),
            (Op::Settle(decided), StoreAnswer::Settle(result)) => self.on_settled(decided, result),
            (Op::Find(works), StoreAnswer::Find(result)) => self.on_found(works, result),
            (Op::Due, StoreAnswer::Due(result)) => self.on_due(result),
            (Op::Held, StoreAnswer::Held(result)) => self.on_held_page(result),
            (op, answer) => unreachable!("the driver answered {op:?} with {answer:?}"),
        }
    }

    /// The store has failed for good: nobody is told anything that is not known to be durable, and the process stops.
    fn on_store_failed(&mut self) {
        self.failed = true;
        for ticket in self.accepts.take_waiting() {
            self.outputs.push_back(Output::Answer(ticket, Answer::Unavailable));
        }
    }

    fn finish_input(&mut self) {
        self.quench();
        self.finish_stop();
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }
}
