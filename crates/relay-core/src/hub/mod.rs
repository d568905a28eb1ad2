//! The hub: accepts events, leases what is due to clients with credit, settles what they report.
//!
//! One machine for all sessions of a server. It holds what is leased, never the backlog.
//!
//! # How to drive it
//! [`Hub::handle`] with one input or several, then [`Hub::poll_output`] until it gives `None`, performing each output in
//! order; then [`Hub::poll_timeout`] names the next moment for [`Hub::handle_timeout`]. Settlements, extensions and
//! look-ups of all inputs handled since the last drain leave as one store operation each, and so do the leases of a
//! destination for one instance.
//! [`Hub::poll_transmit`] may be called at any time, as a socket takes messages; ask for the timeout again after it.
//!
//! The first inputs are [`Input::DeliveredSoFar`] and [`Input::Routing`], in this order: routing starts the hub.

mod accept;
mod destinations;
mod due;
mod input;
mod instances;
mod leases;
mod notice;
mod output;
mod resend;
mod sessions;
mod settle;
mod setup;
mod stop;
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
    destinations::Destination,
    due::Looking,
    instances::Instance,
    leases::{Held, PendingLoss},
    resend::Resent,
    settle::{Decided, Work},
    timers::Timer,
    undecided::Undecided,
};
pub use self::{
    input::{Accepting, ConnId, Input, Ticket},
    notice::Notice,
    output::{Answer, OpId, Output},
    setup::Setup,
    view::{ClientView, DestinationView},
};
pub use crate::routing::Serves;
use crate::{
    id::{DeliveryId, IdMint, InstanceId},
    limits,
    name::Name,
    routing::Routing,
    session::server::Session,
    storage::{Extend, StoreAnswer, StoreOp},
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
    /// Instances without a socket that hold less than before: forgotten when that is nothing.
    emptied: BTreeSet<InstanceId>,
    /// What somebody else changed, and the last store operation that was asked for by then: a lease that one of those brings
    /// may be one that is over.
    touched: BTreeMap<DeliveryId, OpId>,
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
    settles: VecDeque<Decided>,
    finds: VecDeque<Work>,
    extends: Vec<Extend>,
    /// Destinations to ask for what is due, each once.
    pumps: VecDeque<Name>,
    /// Destinations whose clients are to be told how many they are, each with the one that came or went last.
    recounted: BTreeMap<Name, InstanceId>,
    /// Decisions that the store could not take for now.
    undecided: Undecided,
    looking: Looking,
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

/// Events on their way out, heads and bodies, and those that lease operations under way may bring.
#[derive(Debug, Default)]
struct Outgoing {
    bytes: u64,
    /// Those of them that came in and were not stored first: their bodies stand on the account of what comes in as well.
    borrowed: u64,
    asked: u64,
    /// Destinations that wait for room.
    thirsty: BTreeSet<Name>,
    /// The first of them that was let ask when there was some.
    first: Option<Name>,
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
    Replay(Resent),
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
            appeared: Vec::new(),
            unwanted: Vec::new(),
            emptied: BTreeSet::new(),
            touched: BTreeMap::new(),
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
            settles: VecDeque::new(),
            finds: VecDeque::new(),
            extends: Vec::new(),
            pumps: VecDeque::new(),
            recounted: BTreeMap::new(),
            undecided: Undecided::default(),
            looking: Looking::default(),
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

    /// See [`Setup::instance_of`].
    pub fn instance_of(&self, token: &Name, said: InstanceId) -> InstanceId {
        self.setup.instance_of(token, said)
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
            let decided: Vec<Decided> = self.settles.drain(..self.settles.len().min(limits::DECISIONS_MAX)).collect();
            let changes = decided.iter().map(|decided| decided.change.clone()).collect();
            return Some(self.store(Op::Settle(decided), StoreOp::Settle(changes)));
        }
        if !self.finds.is_empty() {
            let piece = self.undecided.piece();
            let works: Vec<Work> = self.finds.drain(..self.finds.len().min(piece)).collect();
            let ids = works.iter().map(|work| work.id).collect();
            return Some(self.store(Op::Find(works), StoreOp::Find(ids)));
        }
        if !self.extends.is_empty() {
            let extends = std::mem::take(&mut self.extends);
            return Some(self.store(Op::Extend(extends.clone()), StoreOp::Extend(extends)));
        }
        while let Some((name, last)) = self.recounted.pop_first() {
            self.tell_peers(&name, last);
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
        }
        while let Some(name) = self.pumps.pop_front() {
            self.ask_for_due(&name);
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
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
            (Op::Append(pending), StoreAnswer::Append(result)) => self.on_appended(id, *pending, result),
            (Op::Lease(ask), StoreAnswer::Lease(result)) => self.on_leased(id, *ask, result),
            (Op::Extend(extends), StoreAnswer::Extend(result)) => self.on_extended(&extends, &result),
            (Op::Settle(decided), StoreAnswer::Settle(result)) => self.on_settled(decided, result),
            (Op::Find(works), StoreAnswer::Find(result)) => self.on_found(works, result),
            (Op::Replay(resent), StoreAnswer::Replay(result)) => self.on_resent(&resent, result),
            (Op::Due, StoreAnswer::Due(result)) => self.on_due(result),
            (Op::Held, StoreAnswer::Held(result)) => self.on_held_page(result),
            (op, answer) => unreachable!("the driver answered {op:?} with {answer:?}"),
        }
        self.forget_touched();
    }

    /// The store has failed for good: nobody is told anything that is not known to be durable, and the process stops.
    fn on_store_failed(&mut self) {
        self.failed = true;
        for ticket in self.accepts.take_waiting() {
            self.outputs.push_back(Output::Answer(ticket, Answer::Unavailable));
        }
    }

    fn finish_input(&mut self) {
        self.join_appeared();
        self.return_unwanted();
        self.forget_emptied();
        self.quench();
        self.finish_stop();
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }
}
