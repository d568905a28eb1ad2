//! Three servers on one Redis, six clients, and faults under load: servers and clients are killed and stopped, servers are cut from
//! their Redis while their clients forward. Nothing acknowledged is lost, and what is leased comes again when it should.
//!
//! `ROUNDS=n` (by `make torture-redis ROUNDS=n`) sets the number of rounds; `SEED=n` another order of them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    bound,
    process::{Process, wait_for},
    several::Several,
    target::{Arrival, Reply, Target},
    torture::Load,
};

/// Rounds in `make test`.
const ROUNDS: u64 = 3;
const CLIENTS: usize = 6;
/// Longer than a server that is gone is heard of, so that another looks after its partitions when what it kept lapses.
const LEASE: Duration = Duration::from_secs(20);
/// What nobody holds any more is leased again so long behind the end that its lease may have had.
const LAPSES_WITHIN: Duration = Duration::from_secs(5);
/// A client that says Hello elsewhere goes on with what it holds so soon.
const RESUMES_WITHIN: Duration = Duration::from_secs(2);
/// Whoever is killed is gone so soon.
const DIES_WITHIN: Duration = Duration::from_millis(200);
/// The longest that a process is stopped, or cut off.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// I1, I2, I3, I5, I7, I8, I9, I19 under F1 and F4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_between_servers() {
    Box::pin(torture("1")).await;
}

/// The same in partitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_between_servers_in_partitions() {
    Box::pin(torture("16")).await;
}

fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

async fn torture(partitions: &str) {
    let (rounds, seed) = (given("ROUNDS").unwrap_or(ROUNDS), given("SEED").unwrap_or(4711));
    eprintln!("torture of several servers: {rounds} rounds, P = {partitions}, seed {seed}");
    bound::within(Duration::from_mins(rounds));
    let mut scene = Scene::set(partitions, seed).await;
    for round in 1..=rounds {
        scene.flows();
        scene.round(round, given("ROUNDS").is_some()).await;
    }
    scene.ends_well(rounds, given("ROUNDS").is_some()).await;
}

/// Who was hit, from when to when.
#[derive(Clone, Debug)]
struct Fault {
    servers: Vec<SocketAddr>,
    /// Paths of clients that are gone for good.
    killed: Vec<String>,
    from: Instant,
    to: Instant,
}

/// One try, as its target saw it.
#[derive(Clone, Debug)]
struct Try {
    event: String,
    /// The path of the client that it came through.
    path: String,
    at: Instant,
    /// When it was answered, if its client was there to hear it.
    answered: Instant,
}

struct Scene {
    several: Several,
    target: Target,
    tries: Arc<Mutex<Vec<Try>>>,
    clients: Vec<(String, Process)>,
    load: Load,
    rng: StdRng,
    faults: Vec<Fault>,
    /// Leases that stood when somebody was hit, in all.
    in_flight: u64,
}

impl Scene {
    async fn set(partitions: &str, seed: u64) -> Self {
        let lease = format!("{}s", LEASE.as_secs());
        let settings = [
            ("REDIS_PARTITIONS", partitions),
            ("LEASE", &*lease),
            ("MESSAGE_TTL", "1h"),
            ("MAX_RETRIES", "8"),
            ("RETRY_DELAY", "200ms"),
        ];
        let several = Several::start(&settings).await;
        let tries = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&tries);
        let target = Target::start(move |arrival| {
            let reply = now_and_then(arrival);
            let (event, path) = (arrival.event().to_owned(), arrival.path_and_query.clone());
            let at = Instant::now();
            seen.lock().unwrap().push(Try { event, path, at, answered: at + reply.delay });
            reply
        });
        let target = target.await;
        let load = Load::start(&several.front.url("/webhook"));
        let rng = StdRng::seed_from_u64(seed);
        let (clients, faults) = (Vec::new(), Vec::new());
        let mut scene = Self { several, target, tries, clients, load, rng, faults, in_flight: 0 };
        for which in 0..CLIENTS {
            let client = scene.client(which, 0);
            scene.clients.push(client);
        }
        scene
    }

    fn client(&self, which: usize, round: u64) -> (String, Process) {
        let name = format!("client-{which}-{round}");
        let process = self.several.client(&name, self.several.front.addr, &self.target, &[("CONCURRENCY", "8")]);
        (format!("/{name}"), process)
    }

    /// The load flows, to the target.
    fn flows(&mut self) {
        let enough = self.target.count() + self.rng.random_range(20..80);
        wait_for("the load to flow", || (self.target.count() >= enough).then_some(()));
    }

    async fn round(&mut self, round: u64, long: bool) {
        let most = if long { PAUSE_MAX } else { Duration::from_secs(4) };
        let pause = Duration::from_millis(self.rng.random_range(1_000..=most.as_millis() as u64));
        let server = self.rng.random_range(0..self.several.servers.len());
        let client = self.rng.random_range(0..CLIENTS);
        // In short, each of them once.
        let what = if long { self.rng.random_range(0..10) } else { [8, 6, 7][round as usize % 3] };
        let before = self.several.leases();
        let from = Instant::now();
        let (mut servers, mut killed) = (vec![self.several.servers[server].public], Vec::new());
        match what {
            0..=2 => self.kill_server(server, what == 0),
            3 | 4 => {
                killed.push(self.kill_client(client, round));
                servers.clear();
            }
            5 => {
                self.several.servers[server].process.signal("STOP");
                tokio::time::sleep(pause).await;
                self.several.servers[server].process.signal("CONT");
            }
            6 => {
                self.clients[client].1.signal("STOP");
                tokio::time::sleep(pause).await;
                self.clients[client].1.signal("CONT");
                servers.clear();
            }
            7 => {
                self.several.ways[server].cut();
                tokio::time::sleep(pause).await;
                self.several.ways[server].mend();
            }
            8 => {
                killed.push(self.kill_client(client, round));
                self.kill_server(server, false);
            }
            _ => {
                // Two at once.
                let other = (server + 1) % self.several.servers.len();
                servers.push(self.several.servers[other].public);
                self.several.servers[other].process.kill();
                self.kill_server(server, false);
                self.several.servers[other].restart();
            }
        }
        self.in_flight += before.max(self.several.leases());
        eprintln!("round {round}: {what}, server {server}, client {client}, {:?}, {before} leases", from.elapsed());
        self.faults.push(Fault { servers, killed, from, to: Instant::now() });
    }

    fn kill_server(&mut self, which: usize, twice: bool) {
        let server = &mut self.several.servers[which];
        server.process.kill();
        server.restart();
        if twice {
            // Again while it recovers.
            server.process.kill();
            server.restart();
        }
    }

    fn kill_client(&mut self, which: usize, round: u64) -> String {
        self.clients[which].1.kill();
        let fresh = self.client(which, round);
        std::mem::replace(&mut self.clients[which], fresh).0
    }

    async fn ends_well(self, rounds: u64, strict: bool) {
        let Self { several, target, tries, clients, load, faults, in_flight, .. } = self;
        let history = load.stop().await;
        wait_for("every acknowledged event to arrive", || (history.missing(&target.delivered()) == 0).then_some(()));
        several.settle();
        let findings = history.check(&target.arrivals());
        let resumed = slowest_welcome(&several, &faults);
        let again = slowest_lease(&tries.lock().unwrap(), &faults);
        eprintln!(
            "{rounds} rounds: {} acknowledged, {} delivered, 0 lost, {} duplicates of {in_flight} in flight, {} of unknown \
             outcome; Welcome after {resumed:?} at most, what a killed client held again after {again:?}",
            findings.acknowledged, findings.delivered, findings.duplicates, history.unknown
        );
        assert!(findings.duplicates <= in_flight, "I9: {} duplicates, {in_flight} leases", findings.duplicates);
        assert!(again.is_none_or(|again| again <= LEASE + LAPSES_WITHIN), "I8: leased again after {again:?}");
        assert!(!strict || resumed <= RESUMES_WITHIN, "a client had its Welcome after {resumed:?}");
        drop(clients);
    }
}

/// Fails one in sixteen first tries, and takes its time with one in eight, so that there is something in flight.
fn now_and_then(arrival: &Arrival) -> Reply {
    let first = arrival.header("relay-attempt") == "1";
    let status = if first && arrival.body.len().is_multiple_of(16) { 500 } else { 200 };
    let delay = if arrival.body.len() % 8 == 3 { Duration::from_millis(1_500) } else { Duration::ZERO };
    Reply { delay, ..Reply::status(status) }
}

/// The longest that a client waited for its Welcome at a server that nothing happened to meanwhile.
fn slowest_welcome(several: &Several, faults: &[Fault]) -> Duration {
    let greetings = several.front.greetings();
    let waited = greetings.iter().filter_map(|greeting| {
        let until = greeting.welcome.unwrap_or(greeting.hello + RESUMES_WITHIN);
        let hit = |fault: &&Fault| fault.servers.contains(&greeting.server);
        let calm = faults.iter().filter(hit).all(|fault| until < fault.from || fault.to < greeting.hello);
        calm.then(|| until - greeting.hello)
    });
    waited.max().unwrap_or_default()
}

/// The longest until what a client held that was killed came to another: by what had come to it and was not answered yet. What came
/// within moments of a later fault says nothing.
fn slowest_lease(tries: &[Try], faults: &[Fault]) -> Option<Duration> {
    let mut of_event: HashMap<&str, Vec<&Try>> = HashMap::new();
    for one in tries {
        of_event.entry(&one.event).or_default().push(one);
    }
    let mut slowest = None;
    for fault in faults {
        let held = |one: &&Try| {
            let is_its = fault.killed.iter().any(|path| one.path.starts_with(path.as_str()));
            is_its && one.at <= fault.from && fault.from + DIES_WITHIN < one.answered
        };
        for lost in tries.iter().filter(held) {
            let all = &of_event[&*lost.event];
            let was_over = all.iter().any(|other| other.answered < fault.from);
            let next = all.iter().map(|other| other.at).filter(|at| *at > fault.from).min();
            assert!(was_over || next.is_some(), "I8: {} never came again", lost.event);
            // Who has it by then may be stopped, or killed, in turn.
            let in_turn = next.filter(|_| !was_over).filter(|at| {
                let hit = |other: &&Fault| fault.from < other.from && other.from < *at;
                let later = faults.iter().filter(hit).map(|other| {
                    let lease = if other.killed.is_empty() { Duration::ZERO } else { LEASE };
                    other.to + lease + LAPSES_WITHIN
                });
                later.max().is_none_or(|later| later < *at)
            });
            slowest = slowest.max(in_turn.map(|at| at - fault.from));
        }
    }
    slowest
}
