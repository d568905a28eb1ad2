//! The virtual world: one clock, one queue of what is to happen, and everything it happens to.
//!
//! Real parts: the hub, the client machines, the wire codec, the memory store. Virtual parts: time, network, targets,
//! producers. Nothing here reads a clock, a thread or the environment, so a seed is a run.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use relay_core::{
    client::Client,
    delivery::outcome::Outcome,
    hub::{ConnId, Hub, Input as HubInput, Ticket},
    id::{DeliveryId, InstanceId, JobId},
    name::Name,
    routing::Route,
    storage::{OpId, Replay, StoreOp, Stored},
    time::{Mono, Now, Wall},
    wire::codec::LeaseKey,
};
use relay_store::memory::MemoryStore;

use crate::{
    chaos::Fault,
    intake::{self, Intake},
    jobs::Given,
    load::Sending,
    net::{End, Packet, Socket},
    operator::Act,
    oracle::Oracle,
    plan::{Plan, RENEWALS, STORE_TROUBLE, TRICKLES},
    retaining::Round,
    scenario::{Script, Seen},
    several::News,
    target::Targets,
    trace::Trace,
};

/// Wall time at the start of every run: in 2027.
const EPOCH: Wall = Wall::from_micros(1_800_000_000_000_000);
/// How long the healed world may take until everything has ended, beside the longest TTL: what was stored while the clock
/// was a day ahead is due a day late.
const PATIENCE: Duration = Duration::from_hours(26);
/// Healed steps after which a run counts as stuck: a world that spins in place never gets to the end of its patience.
const STEPS_MAX: u64 = 3_000_000;

/// Of a store that several servers share.
pub(crate) const PARTITIONS: u16 = 16;

/// Everything.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: StdRng,
    /// Beside the other, so that a seed without operators is the run that it was before there were any.
    pub(crate) operator: StdRng,
    /// Chance of the faults that were added later.
    pub(crate) later: StdRng,
    /// Chance of what comes bit by bit.
    pub(crate) trickle: StdRng,
    /// Chance of what the store cannot for a while.
    pub(crate) unwell: StdRng,
    /// Commands that operators gave.
    pub(crate) given: BTreeMap<JobId, Given>,
    /// Rounds of retention that go on, by server.
    pub(crate) rounds: BTreeMap<u64, Round>,
    /// Routes that are removed at present.
    pub(crate) unrouted: Vec<(Name, Route)>,
    /// Microseconds since the start of the run.
    pub(crate) clock: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    scheduled: u64,
    pub(crate) store: MemoryStore,
    /// The latest backup.
    pub(crate) backup: Option<MemoryStore>,
    /// Some of the store's answers are lost.
    pub(crate) lossy: bool,
    /// The server whose turn it is.
    pub(crate) server: Option<Server>,
    /// The others: see [`World::turn_to`].
    pub(crate) elsewhere: Vec<Server>,
    /// The clock of one server was off.
    pub(crate) went_apart: bool,
    /// That one is all that is left, and no other starts.
    pub(crate) left_alone: bool,
    /// Servers that are cut off from the store.
    pub(crate) cut: BTreeSet<u64>,
    /// Chance of what happens where there are several.
    pub(crate) several: StdRng,
    /// Chance of what clients are configured with anew.
    pub(crate) renewing: StdRng,
    pub(crate) server_epoch: u64,
    /// How far the wall clock of the next server process is off, in microseconds.
    pub(crate) skew: i64,
    pub(crate) clients: Vec<ClientSlot>,
    /// What the tokens of clients may serve that may not serve everything.
    pub(crate) narrowed: BTreeMap<usize, BTreeSet<Name>>,
    pub(crate) sockets: BTreeMap<u64, Socket>,
    pub(crate) last_socket: u64,
    /// The socket of somebody who says right now that he is somebody else.
    pub(crate) thief: Option<u64>,
    pub(crate) targets: Targets,
    /// What the target does instead, in a scenario.
    pub(crate) script: Option<Script>,
    /// What a scripted target saw.
    pub(crate) seen: Vec<Seen>,
    pub(crate) sendings: Vec<Sending>,
    /// The webhook of each, and the server that it came to.
    pub(crate) tickets: BTreeMap<Ticket, (usize, u64)>,
    /// Where each client instance has its latest socket, and since when it is welcome there.
    pub(crate) homes: BTreeMap<InstanceId, Home>,
    pub(crate) intake: Intake,
    pub(crate) last_ticket: u64,
    pub(crate) healed_at: Option<u64>,
    /// All is being made well.
    pub(crate) is_healing: bool,
    pub(crate) oracle: Oracle,
    pub(crate) trace: Trace,
}

/// One life of the server process.
pub(crate) struct Server {
    pub(crate) epoch: u64,
    pub(crate) hub: Hub,
    pub(crate) started: u64,
    pub(crate) skew: i64,
    /// How far its clock is from that of all others beside that: it is to notice.
    pub(crate) apart: i64,
    /// Store operations that were asked for and have not taken effect.
    pub(crate) pending: BTreeMap<OpId, StoreOp>,
    pub(crate) wake: Option<Mono>,
    pub(crate) stopping: bool,
}

/// Where a client instance is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    pub(crate) socket: u64,
    pub(crate) server: u64,
    pub(crate) since: u64,
}

/// One machine that runs a client process, most of the time.
pub(crate) struct ClientSlot {
    pub(crate) process: Option<ClientProcess>,
    pub(crate) epoch: u64,
    pub(crate) partitioned: bool,
    /// When the server last lost a socket of it, or started.
    pub(crate) lost_at: u64,
    /// The server to which its last socket leads.
    pub(crate) came_to: u64,
}

/// One life of a client process.
pub(crate) struct ClientProcess {
    pub(crate) machine: Client,
    pub(crate) instance: InstanceId,
    pub(crate) started: u64,
    pub(crate) socket: Option<u64>,
    pub(crate) wake: Option<Mono>,
    /// What its last Hello said that it holds.
    pub(crate) said_held: BTreeSet<LeaseKey>,
    /// Deliveries whose lease the server took away, until it grants them again.
    pub(crate) taken_away: BTreeSet<DeliveryId>,
}

/// What is to happen.
#[derive(Debug)]
pub(crate) enum What {
    Arrive { socket: u64, end: End, packet: Packet },
    ArriveInPart { socket: u64, end: End },
    Dialled { client: usize, epoch: u64 },
    StoreActs { epoch: u64, op: OpId },
    StoreAnswers { epoch: u64, answer: Box<Stored> },
    ServerWakes { epoch: u64 },
    ServerStarts { epoch: u64 },
    ServerGraceOver { epoch: u64 },
    ClientWakes { client: usize, epoch: u64 },
    ClientStarts { client: usize, epoch: u64 },
    TargetAnswers { client: usize, epoch: u64, delivery: DeliveryId, outcome: Box<Outcome> },
    Send { sending: usize },
    ThiefGoes { socket: u64 },
    Trouble(Fault),
    Operate(Act),
    JobActs { job: JobId, epoch: u64 },
    JobGoesOn { job: JobId, epoch: u64 },
    GiveAgain(JobId),
    ReplayActs { epoch: u64, replay: Replay },
    RetentionActs { epoch: u64 },
    Hears { epoch: u64, news: News },
    Heal,
}

struct Entry {
    at: u64,
    number: u64,
    what: What,
}

impl World {
    /// A world of which more is known than its seed.
    pub(crate) fn with_plan(plan: Plan, seed: u64, trace: Trace) -> Self {
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed ^ 0x005e_ed0f_7e57),
            operator: StdRng::seed_from_u64(!seed),
            later: StdRng::seed_from_u64(!seed.reverse_bits()),
            trickle: StdRng::seed_from_u64(!seed ^ TRICKLES),
            unwell: StdRng::seed_from_u64(!seed ^ STORE_TROUBLE),
            given: BTreeMap::new(),
            rounds: BTreeMap::new(),
            unrouted: Vec::new(),
            clock: 0,
            queue: BinaryHeap::new(),
            scheduled: 0,
            store: MemoryStore::with_partitions(if plan.servers > 1 { PARTITIONS } else { 1 }),
            backup: None,
            lossy: false,
            server: None,
            elsewhere: Vec::new(),
            went_apart: false,
            left_alone: false,
            cut: BTreeSet::new(),
            several: StdRng::seed_from_u64(seed.rotate_left(17) ^ 0x5e7e_7a10),
            renewing: StdRng::seed_from_u64(!seed ^ RENEWALS),
            server_epoch: 0,
            skew: 0,
            clients: Vec::new(),
            narrowed: BTreeMap::new(),
            sockets: BTreeMap::new(),
            last_socket: 0,
            thief: None,
            targets: Targets::new(&plan.destinations),
            script: None,
            seen: Vec::new(),
            sendings: Vec::new(),
            tickets: BTreeMap::new(),
            homes: BTreeMap::new(),
            intake: Intake::default(),
            last_ticket: 0,
            healed_at: None,
            is_healing: false,
            oracle: Oracle::new(&plan),
            trace,
            plan,
        };
        world.trace.line(0, format_args!("plan {:?}", world.plan));
        world
    }

    /// Runs until everything has ended, or a promise is broken.
    pub(crate) fn run(mut self) -> (Oracle, Trace, u64) {
        self.begin();
        let mut steps = 0_u64;
        while self.oracle.violation.is_none() {
            let Some(Reverse(entry)) = self.queue.pop() else { break };
            self.clock = entry.at;
            self.happen(entry.what);
            self.oracle_sees_healing();
            steps += 1;
            if self.is_over(steps) {
                self.check_janitors();
                self.oracle.check_end(&self.store);
                break;
            }
        }
        (self.oracle, self.trace, steps)
    }

    /// Lets happen what is to happen until then, or until a promise is broken.
    pub(crate) fn run_until(&mut self, end: u64) {
        while self.oracle.violation.is_none() && self.queue.peek().is_some_and(|Reverse(entry)| entry.at <= end) {
            let Some(Reverse(entry)) = self.queue.pop() else { break };
            self.clock = entry.at;
            self.happen(entry.what);
        }
        self.clock = self.clock.max(end);
    }

    /// Starts all processes.
    pub(crate) fn set_up(&mut self) {
        for _ in 0..self.plan.servers {
            self.start_server();
        }
        for client in 0..self.plan.clients.len() {
            self.clients.push(ClientSlot { process: None, epoch: 0, partitioned: false, lost_at: 0, came_to: 0 });
            self.start_client(client);
        }
    }

    fn begin(&mut self) {
        self.set_up();
        self.plan_load();
        self.plan_trouble();
        self.plan_operators();
        let trouble = micros(self.plan.trouble);
        self.at(trouble, What::Heal);
    }

    /// Everything was sent, answered and has ended; or nobody has patience any more.
    fn is_over(&self, steps: u64) -> bool {
        let Some(healed_at) = self.healed_at else { return false };
        let ttl = self.plan.routing.routes.values().flatten().map(|route| route.ttl).max().unwrap_or_default();
        if self.clock > healed_at + micros(ttl + PATIENCE) || steps > STEPS_MAX {
            return true;
        }
        self.all_know_each_other()
            && self.server.as_ref().is_some_and(|server| server.is_idle(self.plan.servers > 1))
            && self.elsewhere.iter().all(|server| server.is_idle(true))
            && self.sendings.iter().all(Sending::is_over)
            && self.store.open_deliveries() == 0
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Arrive { socket, end, packet } => self.arrive(socket, end, packet),
            What::ArriveInPart { socket, end } => self.arrive_in_part(socket, end),
            What::Dialled { client, epoch } => self.dialled(client, epoch),
            What::StoreActs { epoch, op } => self.store_acts(epoch, op),
            What::StoreAnswers { epoch, answer } => self.store_answers(epoch, *answer),
            What::ServerWakes { epoch } => self.server_wakes(epoch),
            What::ServerStarts { epoch } => {
                let is_next = epoch == self.server_epoch && self.server.is_none();
                if (is_next || self.plan.servers > 1) && !self.left_alone {
                    self.start_server();
                }
            }
            What::ServerGraceOver { epoch } => {
                if self.turn_to(epoch) {
                    self.end_server(false);
                }
            }
            What::ClientWakes { client, epoch } => self.client_wakes(client, epoch),
            What::ClientStarts { client, epoch } => {
                if self.clients[client].epoch == epoch && self.clients[client].process.is_none() {
                    self.start_client(client);
                }
            }
            What::TargetAnswers { client, epoch, delivery, outcome } => {
                self.target_answers(client, epoch, delivery, *outcome);
            }
            What::Send { sending } => self.send(sending),
            What::ThiefGoes { socket } => self.server_handles(HubInput::Closed(ConnId(socket))),
            What::Trouble(fault) => self.trouble(fault),
            What::Operate(act) => self.operate(act),
            What::JobActs { job, epoch } => self.job_acts(job, epoch),
            What::JobGoesOn { job, epoch } => self.job_goes_on(job, epoch),
            What::GiveAgain(job) => self.give_again(job),
            What::ReplayActs { epoch, replay } => self.replay_acts(epoch, replay),
            What::RetentionActs { epoch } => self.retention_acts(epoch),
            What::Hears { epoch, news } => {
                if self.turn_to(epoch) {
                    self.hears(news);
                }
            }
            What::Heal => self.heal(),
        }
    }

    /// Schedules something at an absolute time.
    pub(crate) fn at(&mut self, at: u64, what: What) {
        self.scheduled += 1;
        self.queue.push(Reverse(Entry { at: at.max(self.clock), number: self.scheduled, what }));
    }

    /// Schedules something some time from now.
    pub(crate) fn after(&mut self, span: Duration, what: What) {
        self.at(self.clock + micros(span), what);
    }

    /// Up to so many milliseconds, in microseconds.
    pub(crate) fn some_millis(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.rng.random_range(0..=most * 1_000))
    }

    /// Wall time as a process sees it whose clock is off by `skew`.
    pub(crate) fn wall(&self, skew: i64) -> Wall {
        Wall::from_micros(EPOCH.as_micros() + self.clock as i64 + skew)
    }

    /// The same as the server's process sees it, or the next one will.
    pub(crate) fn server_wall(&self) -> Wall {
        self.wall(self.server.as_ref().map_or(self.skew, |server| server.skew))
    }

    /// Both clocks of a process.
    pub(crate) fn now(&self, started: u64, skew: i64) -> Now {
        Now { wall: self.wall(skew), mono: Mono::from_micros(self.clock - started) }
    }

    /// A line of the trace.
    pub(crate) fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.line(self.clock, what);
    }

    /// Store operations and answers go by the oracle.
    pub(crate) fn perform(&mut self, op: &StoreOp, wall: Wall) -> Stored {
        let answer = self.perform_or_not(op, wall);
        self.oracle.store_answered(op, &answer);
        answer
    }

    fn perform_or_not(&mut self, op: &StoreOp, wall: Wall) -> Stored {
        let op = intake::on_disk(op);
        self.store.tell_time(wall);
        if self.plan.servers > 1 {
            let true_time = self.wall(0);
            self.store.tell_clock(true_time);
        }
        if let Some(heard) = self.lose_question(&op) {
            return heard;
        }
        self.oracle.applying(&op, &self.store);
        if self.loses_answer(&op) {
            let (answer, heard) = self.store.perform_unheard(op.clone());
            self.oracle.applied(&op, &answer, &self.store, wall);
            return heard;
        }
        if self.lossy && intake::writes(&op) && self.unwell.random_bool(0.3) {
            // Of what is unknown, some never came to the store.
            if self.unwell.random_bool(0.3) {
                return self.store.mishear(op);
            }
            let (answer, heard) = self.store.perform_unheard(op.clone());
            self.oracle.applied(&op, &answer, &self.store, wall);
            return heard;
        }
        let answer = self.store.perform(op.clone());
        self.oracle.applied(&op, &answer, &self.store, wall);
        answer
    }

    /// I19: once everything is well again, every destination with due work sees a try before long.
    fn oracle_sees_healing(&mut self) {
        let Some(healed_at) = self.healed_at else { return };
        self.oracle.check_progress(Duration::from_micros(self.clock - healed_at));
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

/// Microseconds of a span.
pub(crate) fn micros(span: Duration) -> u64 {
    span.as_micros() as u64
}

/// Routing as the hub takes it.
pub(crate) fn routing(plan: &Plan) -> Arc<relay_core::routing::Routing> {
    Arc::new(plan.routing.clone())
}
