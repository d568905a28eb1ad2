//! The hub: accepts events, leases what is due to clients with credit, settles what they report.
//!
//! One machine for all sessions of a server. It holds what is leased, never the backlog.
//!
//! # How to drive it
//! [`Hub::handle`] with one input or several, then [`Hub::poll_output`] until it gives `None`, performing each output in
//! order; then [`Hub::poll_timeout`] names the next moment for [`Hub::handle_timeout`]. Settlements, extensions and
//! look-ups of all inputs handled since the last drain leave as one store operation each for a part of the store that may be away
//! by itself (`hub/parts.rs`), and so do the leases of a destination for one instance. Bodies follow once there is room for them: see `hub/room.rs`.
//! [`Hub::poll_transmit`] may be called at any time, as a socket takes messages; ask for the timeout again after it.
//!
//! The first inputs are [`Input::DeliveredSoFar`] and [`Input::Routing`], in this order: routing starts the hub.

mod accept;
mod bodies;
mod claims;
mod clocks;
mod delivered;
mod destinations;
mod due;
mod durations;
mod extensions;
mod held;
mod input;
mod instances;
mod late;
mod leases;
mod notice;
mod ops;
mod others;
mod output;
mod pace;
mod parked;
mod parts;
mod resend;
mod room;
mod session;
mod sessions;
mod settle;
mod setup;
mod slots;
mod stop;
mod strays;
mod timers;
mod undecided;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::{
    accept::Accepts,
    bodies::Bodies,
    clocks::Clocks,
    destinations::Destination,
    due::Looking,
    held::Held,
    instances::Instance,
    late::Late,
    leases::PendingLoss,
    ops::Ops,
    others::Others,
    parked::Parked,
    parts::{ByPart, Part},
    room::Room,
    session::Session,
    settle::{Decided, Work},
    strays::Strays,
    timers::Timer,
    undecided::Undecided,
};
pub use self::{
    input::{Accepting, ConnId, Input, Ticket},
    notice::Notice,
    output::{Answer, NotStored, Output},
    setup::Setup,
    view::{ClientView, DestinationView, ServerView, UnroutedView},
};
pub use crate::routing::Serves;
use crate::{
    by_id::ById,
    id::{DeliveryId, EventId, IdMint, InstanceId},
    limits,
    name::Name,
    partitions::Partitions,
    routing::Routing,
    storage::{Extend, HeldAsk, HeldOf, OpId, StoreOp, Stored},
    time::{Mono, Now, Wall},
    wire::message::Message,
};

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
    /// Those that a route leads to, or the store knows of. Clients may serve whatever they like: a name that only they know
    /// has no entry here.
    destinations: BTreeMap<Name, Destination>,
    /// Destinations that have an entry since the last input.
    appeared: Vec<Name>,
    /// Leases that cannot be granted: handed back once the input at hand is taken in.
    unwanted: Vec<DeliveryId>,
    /// Instances that hold less than before and have no socket, or are done: forgotten, or let go, when that is nothing.
    emptied: BTreeSet<InstanceId>,
    /// What somebody else changed, and the last store operation that was asked for by then: a lease that one of those brings
    /// may be one that is over.
    touched: BTreeMap<DeliveryId, OpId>,
    instances: BTreeMap<InstanceId, Instance>,
    sessions: BTreeMap<ConnId, Session>,
    /// Those of them that have not been welcomed.
    greeting: BTreeSet<ConnId>,
    held: ById<Held>,
    /// Lease ends of all that is held.
    ends: BTreeSet<(Wall, DeliveryId)>,
    /// Leases that were released before their end: they count as lost then unless their instance resumes.
    losses: BTreeMap<(Wall, DeliveryId), PendingLoss>,
    /// Those of them whose release is not decided yet: it may be found to be another server's by now.
    releasing: BTreeSet<DeliveryId>,
    timers: BTreeSet<(Mono, Timer)>,
    room: Room,
    /// Clients are looked at, for somebody waits for room: see [`pace`].
    looks: bool,
    parked: Parked,
    bodies: Bodies,

    ops: Ops,
    outputs: VecDeque<Output>,
    /// Gathered until the outputs are drained.
    settles: ByPart<Decided>,
    finds: ByPart<Work>,
    extends: ByPart<Extend>,
    /// Destinations to ask for what is due, each once.
    to_ask: VecDeque<Name>,
    /// Destinations whose clients are to be told how many they are, each with the one that came or went last.
    recounted: BTreeMap<Name, InstanceId>,
    /// Decisions that the store could not take for now.
    undecided: Undecided,
    late: Late,
    strays: Strays,
    looking: Looking,
    others: Others,
    clocks: Clocks,
    /// Decisions whose store operation is under way.
    deciding: usize,

    /// Since when the leases of the previous run are known.
    loaded_at: Option<Mono>,
    started: bool,
    stopping: bool,
    stopped: bool,
    /// The store has failed for good.
    failed: bool,
}

/// Why what is leased is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldFor {
    /// To take over the leases of an earlier run.
    Start,
    /// To find those in a part of the store that nobody knows of: see [`strays`].
    Strays(Part),
    /// To find those in a part of the store that another server keeps of a client that has come here: see [`claims`].
    Claim(ConnId, Part),
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
            appeared: Vec::new(),
            unwanted: Vec::new(),
            emptied: BTreeSet::new(),
            touched: BTreeMap::new(),
            instances: BTreeMap::new(),
            sessions: BTreeMap::new(),
            greeting: BTreeSet::new(),
            held: ById::default(),
            ends: BTreeSet::new(),
            losses: BTreeMap::new(),
            releasing: BTreeSet::new(),
            timers: BTreeSet::new(),
            room: Room::new(setup.outgoing_bytes_max),
            looks: false,
            parked: Parked::default(),
            bodies: Bodies::new(setup.parts),
            ops: Ops::default(),
            outputs: VecDeque::new(),
            settles: ByPart::new(setup.parts),
            finds: ByPart::new(setup.parts),
            extends: ByPart::new(setup.parts),
            to_ask: VecDeque::new(),
            recounted: BTreeMap::new(),
            undecided: Undecided::new(setup.parts),
            late: Late::default(),
            strays: Strays::default(),
            looking: Looking::default(),
            others: Others::default(),
            clocks: Clocks::new(setup.shares),
            deciding: 0,
            loaded_at: None,
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

    /// See [`Setup::instance_of`].
    pub fn instance_of(&self, token: &Name, said: InstanceId) -> InstanceId {
        self.setup.instance_of(token, said)
    }

    /// Whether the store has several parts, each of which commits by itself: see [`Setup::parts`].
    pub fn has_parts(&self) -> bool {
        self.setup.parts > 1
    }

    /// The number of the part of the store that an event is in: see [`Setup::parts`]. What is asked for together is in one.
    pub fn part_of(&self, id: EventId) -> u16 {
        Part::of(id.partition(), self.setup.parts.max(1)).number()
    }

    /// All parts of the store.
    fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        Part::all(self.setup.parts.max(1))
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
            Input::Heard(conn) => self.on_heard(conn),
            Input::Closed(conn) => self.on_closed(conn),
            Input::Stored(stored) => self.on_stored(stored),
            Input::Woken(destination) => self.on_woken(&destination),
            Input::Touched(id) => self.on_touched(id),
            Input::Revoked(token) => self.on_revoked(&token),
            Input::Configured(config) => {
                self.setup.server.config = config;
                self.say_presence();
            }
            Input::Stop => self.on_stop(),
        }
        self.finish_input();
    }

    /// Time never runs backwards here, whatever a driver says.
    fn set_now(&mut self, now: Now) {
        self.now = Now { wall: self.now.wall.max(now.wall), mono: self.now.mono.max(now.mono) };
        self.room.set_now(self.now.mono);
    }

    /// The next thing to do, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if !self.settles.is_empty() {
            let decided = self.settles.take(limits::DECISIONS_MAX);
            return Some(Output::Store(self.ops.settle(decided)));
        }
        let first = self.finds.parts().next();
        if let Some(part) = first {
            let works = self.finds.take_of(part, self.undecided.piece(part));
            return Some(Output::Store(self.ops.find(works)));
        }
        if let Some(op) = self.read_bodies() {
            return Some(Output::Store(op));
        }
        if !self.extends.is_empty() {
            let extends = self.extends.take(usize::MAX);
            return Some(Output::Store(self.ops.extend(extends)));
        }
        while let Some((name, last)) = self.recounted.pop_first() {
            self.tell_peers(&name, last);
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
        }
        while let Some(name) = self.to_ask.pop_front() {
            self.ask_for_due(&name);
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
        }
        None
    }

    /// The next message for a socket, with at most so many bytes of a body ([`limits::CHUNK_BYTES`] in any case): fewer on a
    /// slow link, so that others have their turn. `None` when there is nothing more to send for now.
    pub fn poll_transmit(&mut self, conn: ConnId, piece_bytes: usize) -> Option<Message> {
        let popped = self.sessions.get_mut(&conn)?.outbox.pop(piece_bytes)?;
        if let Some(piece) = popped.piece {
            self.on_piece_sent(piece);
        }
        Some(popped.message)
    }

    fn ask_store(&mut self, op: StoreOp) {
        self.outputs.push_back(Output::Store(op));
    }

    /// Reads the leased deliveries behind an id.
    fn ask_held(&mut self, what_for: HeldFor, after: Option<DeliveryId>) {
        let parts = self.setup.parts.max(1);
        let only = |part: Part| Partitions::only(part.number(), parts);
        let (of, partitions) = match what_for {
            HeldFor::Start => (HeldOf::All, Partitions::ALL),
            HeldFor::Strays(part) => (HeldOf::Keeper(self.nonce), only(part)),
            HeldFor::Claim(conn, part) => match self.claimant(conn) {
                Some(instance) => (HeldOf::Instance(instance), only(part)),
                None => return,
            },
        };
        let op = self.ops.held(what_for, HeldAsk { of, after, limit: limits::PAGE_MAX, partitions });
        self.ask_store(op);
    }

    fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }

    fn on_stored(&mut self, stored: Stored) {
        if stored.is_final() {
            self.on_store_failed();
        }
        match stored {
            Stored::Append(one) => {
                if let Some((id, pending, result)) = self.ops.appends.answered(one) {
                    self.on_appended(id, pending, result);
                }
            }
            Stored::Lease(one) => {
                if let Some((id, ask, result)) = self.ops.leases.answered(one) {
                    self.on_leased(id, ask, result);
                }
            }
            Stored::Bodies(one) => {
                if let Some((_, reading, result)) = self.ops.bodies.answered(one) {
                    self.on_bodies(reading, result);
                }
            }
            Stored::Extend(one) => {
                if let Some((_, extends, result)) = self.ops.extends.answered(one) {
                    self.on_extended(&extends, result);
                }
            }
            Stored::Settle(one) => {
                if let Some((_, decided, result)) = self.ops.settles.answered(one) {
                    self.on_settled(decided, result);
                }
            }
            Stored::Replay(one) => {
                if let Some((_, resent, result)) = self.ops.replays.answered(one) {
                    self.on_resent(&resent, result);
                }
            }
            Stored::Find(one) => {
                if let Some((_, works, result)) = self.ops.finds.answered(one) {
                    self.on_found(works, result);
                }
            }
            Stored::Due(one) => {
                if let Some((_, asked_at, result)) = self.ops.dues.answered(one) {
                    self.on_due(asked_at, result);
                }
            }
            Stored::Held(one) => {
                if let Some((_, what_for, result)) = self.ops.helds.answered(one) {
                    self.on_held_page(what_for, result);
                }
            }
            Stored::Presence(one) => {
                if let Some((_, (), result)) = self.ops.presences.answered(one) {
                    self.on_presence(result);
                }
            }
            Stored::Clock(one) => {
                if let Some((_, asked, result)) = self.ops.clocks.answered(one) {
                    self.on_clock(asked, &result);
                }
            }
        }
        self.forget_touched();
        self.return_strays();
    }

    /// The store has failed for good: nobody is told anything that is not known to be durable, and the process stops.
    fn on_store_failed(&mut self) {
        self.failed = true;
        self.give_up_appends();
        self.answer_early(&Answer::NotStored(NotStored::Failed));
        for ticket in self.accepts.take_waiting() {
            self.outputs.push_back(Output::Answer(ticket, Answer::Unavailable));
        }
    }

    fn finish_input(&mut self) {
        self.join_appeared();
        self.return_unwanted();
        self.forget_emptied();
        self.unpark();
        self.fill_room();
        self.look_soon();
        self.finish_stop();
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }
}
