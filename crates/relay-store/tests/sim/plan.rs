//! What one seed is about: a topology, a load, and a random subset of faults.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, RngExt as _, SeedableRng as _, rngs::StdRng};
use relay_core::{
    delivery::retry::{RetryPolicy, Schedule},
    limits,
    name::Name,
    routing::{Route, Routing},
};

use crate::{ONCE_RED, ONCE_RED_OPERATED, ONCE_RED_SEVERAL};

/// Bytes a second of the slowest link: a chunk takes half as long as a session may be silent.
const SLOW: u64 = 3_000;

/// Makes of a seed the one for the store's trouble, so that a seed without it is the run that it was before there was any.
pub(crate) const STORE_TROUBLE: u64 = 0x5707_e7b0_0b1e;

/// The same for backups.
const BACKUPS: u64 = 0xbac0_0bac_0bac;

/// The same for what comes bit by bit.
pub(crate) const TRICKLES: u64 = 0x7a1c_c1e5_0b17;

/// The same for clients that crawl.
const CRAWLERS: u64 = 0xc7a3_71e7_5000;

/// The same for operators who replay what matches.
const REPLAYS: u64 = 0x4e91_a754_0000;

/// The same for clients that are configured anew.
pub(crate) const RENEWALS: u64 = 0x4e4e_3a15_0000;

/// Makes of a seed the one for the world of several servers.
const SEVERAL: u64 = 0x5e7e_7a10_0000_0000;

/// The same for trouble of hours.
const LONG_TROUBLE: u64 = 0x1076_7200_b1e5;

/// Everything that is decided before the first step.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) routing: Routing,
    pub(crate) sources: Vec<Name>,
    pub(crate) destinations: Vec<Name>,
    pub(crate) clients: Vec<ClientPlan>,
    pub(crate) events: u32,
    /// How long faults last; the load is spread over it.
    pub(crate) trouble: Duration,
    pub(crate) lease: Duration,
    pub(crate) circuit_pause_max: Duration,
    /// Half of `MAX_INFLIGHT_BYTES`: for what comes in, and as much for what goes out.
    pub(crate) intake_bytes: u64,
    pub(crate) faults: Faults,
    /// Operators give commands.
    pub(crate) operators: bool,
    /// Some of them replay what matches.
    pub(crate) replays: bool,
    /// Servers on the one store.
    pub(crate) servers: usize,
}

/// What one client serves, and with how much credit.
#[derive(Debug)]
pub(crate) struct ClientPlan {
    pub(crate) serves: Vec<Name>,
    pub(crate) slots: u32,
    pub(crate) buffer_bytes: u64,
    pub(crate) forward_timeout: Duration,
    /// What its own link carries each way, if that is less than that of others.
    pub(crate) bytes_per_second: Option<u64>,
    /// Bytes that machines on the way take at once, so that the server finds its link better than it is.
    pub(crate) taken_on_the_way: usize,
}

/// Which faults this seed has: a random subset, so that rare combinations come up and calm runs are held to more.
#[derive(Debug)]
pub(crate) struct Faults {
    /// Longest way of a message.
    pub(crate) delay_ms: u64,
    /// Longest time of a store operation.
    pub(crate) store_ms: u64,
    pub(crate) store_full: bool,
    pub(crate) resets: bool,
    pub(crate) half_open: bool,
    pub(crate) partitions: bool,
    pub(crate) server_kills: bool,
    pub(crate) server_stops: bool,
    pub(crate) client_kills: bool,
    pub(crate) client_stops: bool,
    pub(crate) clock_jumps: bool,
    pub(crate) target_trouble: bool,
    /// One event that its target always hangs on.
    pub(crate) poison: bool,
    pub(crate) large_bodies: bool,
    /// Routes are removed, and made again.
    pub(crate) routes: bool,
    /// What each way of a socket carries; `None`: as much as it is given.
    pub(crate) bytes_per_second: Option<u64>,
    /// Somebody says that he is somebody else.
    pub(crate) thieves: bool,
    /// Tokens are made to serve less, and more again.
    pub(crate) narrowing: bool,
    /// Targets answer one event so and another so.
    pub(crate) mixed: bool,
    /// Operations of the store fail for a while.
    pub(crate) store_trouble: bool,
    /// Backups are taken under load, and put back.
    pub(crate) backups: bool,
    /// A Hello may come bit by bit, and sockets end in the middle of a message.
    pub(crate) trickles: bool,
    /// All clients but the first are on links that carry next to nothing, beside little room for what goes out.
    pub(crate) crawlers: bool,
    /// Servers are cut off from the store for a while.
    pub(crate) cuts: bool,
    /// The clocks of servers are apart, as far as those that share a store may be.
    pub(crate) clocks_apart: bool,
    /// The clock of a server is an hour off.
    pub(crate) apart: bool,
    /// Clients are configured anew.
    pub(crate) renewals: bool,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut faults = Faults::new(&mut rng);
        // With a TTL of days, an event that hangs its target is tried for days once nothing else is served.
        faults.poison &= !faults.clock_jumps;
        let mut later = StdRng::seed_from_u64(seed.reverse_bits());
        let is_old = ONCE_RED.contains(&seed) || ONCE_RED_OPERATED.contains(&seed);
        if !is_old {
            faults.add_later_ones(&mut later);
            faults.store_trouble = StdRng::seed_from_u64(seed ^ STORE_TROUBLE).random_bool(0.3);
            faults.backups = StdRng::seed_from_u64(seed ^ BACKUPS).random_bool(0.2);
            faults.trickles = !faults.is_slow() && StdRng::seed_from_u64(seed ^ TRICKLES).random_bool(0.3);
            faults.resets |= faults.trickles;
            let others = faults.bytes_per_second.is_none() && !faults.store_trouble && !faults.clock_jumps;
            faults.crawlers = others && StdRng::seed_from_u64(seed ^ CRAWLERS).random_bool(0.4);
            faults.large_bodies |= faults.crawlers;
            let quick = faults.bytes_per_second.is_none();
            faults.renewals = quick && StdRng::seed_from_u64(seed ^ RENEWALS).random_bool(0.3);
        }
        let mut long = StdRng::seed_from_u64(seed ^ LONG_TROUBLE);
        let hours = (!is_old && long.random_bool(0.1)).then(|| long.random_range(1..=12));
        let sources = names("in", rng.random_range(1..=2));
        let destinations = names("to", rng.random_range(1..=3));
        let ttl = Duration::from_mins(if faults.clock_jumps { 48 * 60 } else { *pick(&mut rng, &[20, 60, 24 * 60]) });
        // Long enough to outlast the trouble, so that what waits has to arrive.
        let ttl = if hours.is_some() { ttl.max(Duration::from_hours(24)) } else { ttl };
        let mut routes = BTreeMap::new();
        for source in &sources {
            let mut led: Vec<Route> = Vec::new();
            for destination in &destinations {
                if led.is_empty() || rng.random_bool(0.6) {
                    led.push(Route { destination: destination.clone(), ttl, retry: policy(&mut rng) });
                }
            }
            routes.insert(source.clone(), led);
        }
        let count = rng.random_range(1..=4);
        let mut clients: Vec<ClientPlan> = (0..count).map(|_| client(&mut rng, &destinations)).collect();
        clients[0].serves.clone_from(&destinations);
        for client in clients.iter_mut().filter(|_| !is_old) {
            client.forward_timeout = Duration::from_secs(*pick(&mut later, &[25, 40, 120]));
            if faults.is_slow() {
                client.buffer_bytes = client.buffer_bytes.max(SLOW * 300);
            }
        }
        if faults.crawlers {
            add_crawlers(&mut clients, seed);
        }
        let events = rng.random_range(5..=80);
        let short = Duration::from_secs(rng.random_range(20..=200)) * if faults.is_slow() { 4 } else { 1 };
        let (events, trouble) = match hours {
            // Few events, so that what each of them meets counts.
            Some(hours) => (events.min(12), Duration::from_hours(hours)),
            None => (events, short),
        };
        Self {
            routing: Routing { routes, ..Routing::default() },
            sources,
            destinations,
            clients,
            events,
            trouble,
            lease: Duration::from_secs(60),
            circuit_pause_max: limits::CIRCUIT_PAUSE_MAX,
            intake_bytes: match () {
                () if faults.is_slow() => 4_000_000,
                () if faults.crawlers => 1_500_000,
                () => limits::MAX_INFLIGHT_BYTES / 2,
            },
            faults,
            replays: !is_old && StdRng::seed_from_u64(seed ^ REPLAYS).random_bool(0.5),
            operators: !ONCE_RED.contains(&seed) && StdRng::seed_from_u64(!seed).random_bool(0.4),
            servers: 1,
        }
    }

    /// Two or three servers on one store, some of whose answers are lost, and clients that find now this one and now that one.
    pub(crate) fn several(seed: u64) -> Self {
        let mut plan = Self::new(seed ^ SEVERAL);
        let mut rng = StdRng::seed_from_u64(!seed ^ SEVERAL);
        plan.servers = rng.random_range(2..=3);
        let is_old = ONCE_RED_SEVERAL.contains(&seed);
        let mut later = StdRng::seed_from_u64(seed.reverse_bits() ^ SEVERAL);
        plan.operators = !is_old && later.random_bool(0.4);
        plan.replays &= plan.operators;
        plan.trouble = plan.trouble.min(Duration::from_secs(rng.random_range(60..=400)));
        plan.intake_bytes = limits::MAX_INFLIGHT_BYTES / 2;
        let ttl = Duration::from_mins(*pick(&mut rng, &[20, 60]));
        plan.routing.routes.values_mut().flatten().for_each(|route| route.ttl = ttl);
        plan.clients.truncate(4);
        for client in &mut plan.clients {
            client.bytes_per_second = None;
            if plan.faults.poison && plan.faults.large_bodies && client.forward_timeout > plan.lease {
                // Whoever waits for what hangs is handed back before that is over, and who is leased next is anybody.
                client.buffer_bytes = limits::CLIENT_BUFFER;
            }
        }
        let faults = &mut plan.faults;
        faults.bytes_per_second = faults.bytes_per_second.filter(|rate| *rate > SLOW);
        faults.resets |= rng.random_bool(0.6);
        faults.server_kills |= rng.random_bool(0.4);
        faults.cuts = rng.random_bool(0.4);
        faults.renewals &= !is_old;
        for off in [&mut faults.routes, &mut faults.narrowing, &mut faults.thieves, &mut faults.clock_jumps] {
            *off = false;
        }
        for off in [&mut faults.store_trouble, &mut faults.backups, &mut faults.trickles, &mut faults.crawlers] {
            *off = false;
        }
        plan.faults.narrowing = !is_old && later.random_bool(0.3);
        plan.faults.clocks_apart = !is_old && later.random_bool(0.3);
        // Where nothing keeps servers from hearing of each other.
        let faults = &mut plan.faults;
        faults.apart = !is_old && !faults.clocks_apart && faults.store_ms <= 500 && later.random_bool(0.4);
        faults.cuts &= !faults.apart;
        faults.server_kills |= faults.apart;
        plan
    }
}

impl Faults {
    fn new(rng: &mut impl Rng) -> Self {
        Self {
            delay_ms: *pick(rng, &[1, 5, 50, 400, 3_000]),
            store_ms: *pick(rng, &[0, 2, 20, 500, 4_000]),
            store_full: rng.random_bool(0.25),
            resets: rng.random_bool(0.4),
            half_open: rng.random_bool(0.3),
            partitions: rng.random_bool(0.3),
            server_kills: rng.random_bool(0.4),
            server_stops: rng.random_bool(0.2),
            client_kills: rng.random_bool(0.4),
            client_stops: rng.random_bool(0.3),
            clock_jumps: rng.random_bool(0.03),
            target_trouble: rng.random_bool(0.7),
            poison: rng.random_bool(0.15),
            large_bodies: rng.random_bool(0.2),
            routes: false,
            bytes_per_second: None,
            narrowing: false,
            mixed: false,
            thieves: false,
            store_trouble: false,
            backups: false,
            trickles: false,
            crawlers: false,
            cuts: false,
            clocks_apart: false,
            apart: false,
            renewals: false,
        }
    }

    /// Nothing but restarts, and a quick network: for scenarios.
    pub(crate) fn restarts() -> Self {
        Self {
            delay_ms: 1,
            store_ms: 1,
            store_full: false,
            resets: false,
            half_open: false,
            partitions: false,
            server_kills: true,
            server_stops: false,
            client_kills: true,
            client_stops: false,
            clock_jumps: false,
            target_trouble: false,
            poison: false,
            large_bodies: false,
            routes: false,
            bytes_per_second: None,
            narrowing: false,
            mixed: false,
            thieves: false,
            store_trouble: false,
            backups: false,
            trickles: false,
            crawlers: false,
            cuts: false,
            clocks_apart: false,
            apart: false,
            renewals: false,
        }
    }

    /// Faults with a source of chance of their own, so that the others come as they came before.
    fn add_later_ones(&mut self, rng: &mut impl Rng) {
        self.routes = rng.random_bool(0.3);
        let bytes = *pick(rng, &[SLOW, 20_000, 100_000, 1_000_000, 10_000_000]);
        self.bytes_per_second = rng.random_bool(0.4).then_some(bytes);
        self.narrowing = rng.random_bool(0.3);
        self.mixed = rng.random_bool(0.4);
        self.thieves = rng.random_bool(0.3);
        self.large_bodies |= self.is_slow();
        if self.is_slow() && rng.random_bool(0.6) {
            // Nothing but a slow link: it must cost nobody anything.
            for fault in [&mut self.resets, &mut self.half_open, &mut self.partitions, &mut self.clock_jumps] {
                *fault = false;
            }
            for fault in [&mut self.client_kills, &mut self.client_stops, &mut self.narrowing] {
                *fault = false;
            }
        }
    }

    /// Whether a body takes longer than most other things here.
    pub(crate) fn is_slow(&self) -> bool {
        self.bytes_per_second.is_some_and(|rate| rate <= SLOW)
    }

    /// Whether nothing happens that could end a lease before its report: then nothing may arrive twice (I9).
    pub(crate) fn is_calm(&self) -> bool {
        !(self.resets
            || self.half_open
            || self.partitions
            || self.server_kills
            || self.server_stops
            || self.client_kills
            || self.narrowing
            || self.backups
            || self.cuts
            || self.clock_jumps)
    }

    /// Whether a client that stops hears in time that it is let go: then nothing is lost with it.
    fn stops_are_heard(&self) -> bool {
        let quick = self.delay_ms <= 400 && self.store_ms <= 20 && !self.store_trouble;
        quick && self.bytes_per_second.is_none() && !self.crawlers && !self.server_kills && !self.server_stops
    }

    /// Whether every client lives on with what it holds, or leaves in peace, and finds back to any server: then no lease may be lost
    /// (I11).
    fn spares_clients(&self) -> bool {
        !(self.resets
            || self.half_open
            || self.partitions
            || self.client_kills
            || ((self.client_stops || self.renewals) && !self.stops_are_heard())
            || self.narrowing
            || self.backups
            || self.cuts
            || self.clock_jumps)
    }
}

fn client(rng: &mut impl Rng, destinations: &[Name]) -> ClientPlan {
    let mut serves: Vec<Name> = destinations.iter().filter(|_| rng.random_bool(0.7)).cloned().collect();
    if serves.is_empty() {
        serves.push(pick(rng, destinations).clone());
    }
    ClientPlan {
        serves,
        slots: rng.random_range(1..=8),
        buffer_bytes: *pick(rng, &[1_000, 200_000, 64 << 20]),
        forward_timeout: Duration::from_secs(25),
        bytes_per_second: None,
        taken_on_the_way: 0,
    }
}

/// All but the first crawl, and there are some more of them.
fn add_crawlers(clients: &mut Vec<ClientPlan>, seed: u64) {
    let mut rng = StdRng::seed_from_u64(!seed ^ CRAWLERS);
    let all = clients[0].serves.clone();
    for _ in 0..rng.random_range(1..=4) {
        clients.push(client(&mut rng, &all));
    }
    clients[0].buffer_bytes = limits::CLIENT_BUFFER;
    for slow in &mut clients[1..] {
        slow.bytes_per_second = Some(*pick(&mut rng, &[500, SLOW, 20_000]));
        slow.buffer_bytes = limits::CLIENT_BUFFER;
    }
}

fn policy(rng: &mut impl Rng) -> RetryPolicy {
    let delay = Duration::from_millis(*pick(rng, &[10, 1_000, 30_000]));
    let multiplier = *pick(rng, &[1.0, 2.0]);
    RetryPolicy { max_retries: rng.random_range(0..=4), schedule: Schedule::Exponential { delay, multiplier } }
}

fn names(stem: &str, count: usize) -> Vec<Name> {
    (0..count).map(|number| format!("{stem}-{number}").parse().expect("it is a valid name")).collect()
}

impl Plan {
    /// Whether no lease may be lost: where answers of the store are lost, who leaves may not be heard in time.
    pub(crate) fn spares_clients(&self) -> bool {
        let leaves = self.faults.client_stops || self.faults.renewals;
        self.faults.spares_clients() && (self.servers == 1 || !leaves)
    }

    /// Whether nothing but its client, its socket or its server can end a lease: then one that its client is about to name
    /// stays its own.
    pub(crate) fn may_judge_returns(&self) -> bool {
        let faults = &self.faults;
        !(self.servers > 1
            || self.operators
            || faults.store_trouble
            || faults.backups
            || faults.narrowing
            || faults.clock_jumps)
    }
}

/// One of several.
pub(crate) fn pick<'a, T>(rng: &mut impl Rng, choices: &'a [T]) -> &'a T {
    &choices[rng.random_range(0..choices.len())]
}
