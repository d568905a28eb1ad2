//! Two servers on a primary with two replicas and three sentinels, clients, a load, and one failover after the other: by command, by
//! kill -9, by SIGSTOP, and by networks that are parted, both ways or one, each with the old primary coming back; between them a
//! replica that is killed, and replicas that the primary drops. Nothing acknowledged is lost.
//!
//! `ROUNDS=n` (by `make torture-redis SET=sentinel ROUNDS=n`) sets the number of rounds; `SEED=n` another order of them.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use crate::{
    bound,
    front::Front,
    gate,
    node::Server as Redis,
    process::{Process, Server, client, wait_for},
    replicated::{MASTER, Replicated, Settings},
    sender::Sender,
    target::{Arrival, Reply, Target},
    torture::Load,
};

/// How soon a webhook is taken once there is another primary.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// The longest that somebody stays away once there is another primary.
const AWAY_MAX: Duration = Duration::from_secs(6);
/// All that was acknowledged arrives so soon once nothing happens any more: what is leased in vain lapses before.
const ARRIVE_WITHIN: Duration = Duration::from_secs(90);
const CLIENTS: usize = 2;
const SLOTS: u64 = 8;

/// What happens to a primary, or to those that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A sentinel is told to take another one.
    Command,
    Kill,
    Stop,
    /// Nobody but servers hears it.
    Isolated,
    /// Sentinels do not hear it; servers and replicas do.
    Unwatched,
    /// It hears everybody, and is heard by servers alone: what it is sent it does, and no replica has it.
    Muted,
    /// Servers do not hear it; everybody else does. It stays the primary.
    Unreached,
    /// A replica is killed. The primary stays.
    Replica,
    /// The primary ends the connections of those that follow it. It stays.
    Dropped,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::Kill,
        Self::Unwatched,
        Self::Dropped,
        Self::Stop,
        Self::Muted,
        Self::Command,
        Self::Isolated,
        Self::Replica,
        Self::Unreached,
    ];

    /// Whether there is another primary then.
    fn replaces(self) -> bool {
        !matches!(self, Self::Unreached | Self::Replica | Self::Dropped)
    }

    fn begin(self, set: &mut Replicated, primary: usize) {
        match self {
            Self::Command => set.fail_over(),
            Self::Kill => set.nodes[primary].stop(),
            Self::Stop => set.nodes[primary].pause(),
            Self::Isolated => {
                set.gates[primary].shut(Replicated::other_nodes(primary).chain(Replicated::all_sentinels()));
            }
            Self::Unwatched => set.gates[primary].shut(Replicated::all_sentinels()),
            Self::Muted => {
                set.gates[primary].mute(Replicated::other_nodes(primary).chain(Replicated::all_sentinels()));
            }
            Self::Unreached => set.gates[primary].shut([gate::from(1)]),
            Self::Replica => set.nodes[another(primary)].stop(),
            Self::Dropped => drop(set.nodes[primary].ask(&[b"CLIENT", b"KILL", b"TYPE", b"replica"])),
        }
    }

    fn end(self, set: &mut Replicated, primary: usize) {
        match self {
            Self::Command | Self::Dropped => {}
            Self::Kill => set.nodes[primary].restart(),
            Self::Stop => set.nodes[primary].resume(),
            Self::Isolated | Self::Unwatched | Self::Muted | Self::Unreached => set.gates[primary].open(),
            Self::Replica => set.nodes[another(primary)].restart(),
        }
    }
}

/// One that follows it.
fn another(primary: usize) -> usize {
    usize::from(primary == 0)
}

fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// I1, I3, I5, I9, F5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_with_a_primary() {
    Box::pin(torture(Redis::Installed, "replicated", &Fault::ALL[..4])).await;
}

/// The same where the disks of replicas have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_with_a_primary_and_its_disks() {
    Box::pin(torture(Redis::Valkey9, "fsync-replicated", &Fault::ALL[4..])).await;
}

async fn torture(redis: Redis, durability: &str, faults: &[Fault]) {
    let (rounds, seed) = (given("ROUNDS"), given("SEED").unwrap_or(4711));
    let count = rounds.unwrap_or(faults.len() as u64);
    bound::within(Duration::from_mins(count));
    eprintln!("torture by sentinels: {count} rounds, {durability}, seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut scene = Scene::set(redis, durability, &[]).await;
    let mut slowest = Duration::ZERO;
    let mut order = Vec::new();
    for round in 0..count {
        if order.is_empty() {
            order = if rounds.is_some() { Fault::ALL.to_vec() } else { faults.to_vec() };
            // Each of them comes; which comes behind which differs.
            order.shuffle(&mut rng);
        }
        let Some(fault) = order.pop() else { break };
        scene.flows();
        let away = Duration::from_millis(rng.random_range(200..AWAY_MAX.as_millis() as u64));
        let (promoted, taken) = scene.round(fault, if rounds.is_some() { away } else { away / 4 });
        eprintln!("round {round}: {fault:?}, another primary after {promoted:?}, first 2xx {taken:?} behind that");
        slowest = slowest.max(taken);
    }
    eprintln!("{count} rounds, {durability}: first 2xx {slowest:?} behind another primary at most");
    assert!(slowest <= TAKEN_WITHIN, "a webhook was taken {slowest:?} after there was another primary");
    scene.ends_well(count).await;
}

struct Scene {
    replicated: Replicated,
    servers: Vec<Server>,
    front: Front,
    target: Target,
    clients: Vec<Process>,
    load: Load,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn set(redis: Redis, durability: &str, more: &[(&str, &str)]) -> Self {
        let replicated = Replicated::start(redis, &Settings::default()).await;
        let dir = tempfile::tempdir().unwrap();
        let hosts = replicated.sentinel_ports().iter().map(|port| format!("127.0.0.1:{port}"));
        let url = format!("redis+sentinel://{}/{MASTER}", hosts.collect::<Vec<_>>().join(","));
        let mut servers = Vec::new();
        for name in ["a", "b"] {
            let home = dir.path().join(name);
            std::fs::create_dir(&home).unwrap();
            let usual = [
                ("REDIS_URL", url.as_str()),
                ("REDIS_DURABILITY", durability),
                ("STREAM_NAME", "replicated"),
                ("LEASE", "20s"),
                ("MESSAGE_TTL", "1h"),
                ("MAX_RETRIES", "8"),
                ("RETRY_DELAY", "200ms"),
            ];
            servers.push(Server::start(&home, &[&usual[..], more].concat()));
        }
        let front = Front::start(servers.iter().map(|server| server.public).collect()).await;
        let target = Target::start(now_and_then).await;
        let start = |which: usize| {
            let to = [("default", target.url(&format!("/{which}")))];
            client(dir.path(), &format!("client-{which}"), front.addr, &to, &[])
        };
        let clients = (0..CLIENTS).map(start).collect();
        let load = Load::start(&front.url("/webhook"));
        Self { replicated, servers, front, target, clients, load, dir }
    }

    /// The load flows, to the target.
    fn flows(&self) {
        let enough = self.target.count() + 20;
        wait_for("the load to flow", || (self.target.count() >= enough).then_some(()));
    }

    /// One fault, from its beginning until everything is as it was. Gives how long it was until there was another primary, and from then
    /// until a webhook was taken.
    fn round(&mut self, fault: Fault, away: Duration) -> (Duration, Duration) {
        let set = &mut self.replicated;
        set.is_whole();
        let before = set.primary().unwrap();
        let began = Instant::now();
        fault.begin(set, before);
        if fault.replaces() {
            set.another_than(before);
        } else {
            std::thread::sleep(away);
        }
        let promoted = began.elapsed();
        if !fault.replaces() {
            fault.end(set, before);
        }
        let (known, since) = (self.load.so_far().0, Instant::now());
        wait_for("a webhook to be taken", || (self.load.so_far().0 > known).then_some(()));
        let taken = since.elapsed();
        if fault.replaces() {
            std::thread::sleep(away);
            fault.end(&mut self.replicated, before);
        }
        self.replicated.is_whole();
        (promoted, taken)
    }

    async fn ends_well(self, rounds: u64) {
        // What is first goes last, so that those who fail can show their logs.
        let Self { dir, servers, target, load, clients, replicated, front } = self;
        let history = load.stop().await;
        let since = Instant::now();
        while history.missing(&target.delivered()) > 0 {
            if since.elapsed() > ARRIVE_WITHIN {
                let delivered = target.delivered();
                for id in history.acknowledged.keys().filter(|id| !delivered.contains_key(*id)) {
                    let shown = servers[0].cli(&["event", "show", id]);
                    eprintln!(
                        "{id} never arrived: {}",
                        String::from_utf8_lossy(&[shown.stdout, shown.stderr].concat())
                    );
                }
                panic!("I1: {} acknowledged events never arrived", history.missing(&target.delivered()));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        wait_for("the queue to empty", || (servers[0].queue_depth() == 0).then_some(()));
        servers[0].audit();
        for server in &servers {
            let log = server.process.log();
            assert!(!log.contains("acknowledged_lost"), "{log}");
        }
        let findings = history.check(&target.arrivals());
        eprintln!(
            "{rounds} rounds: {} acknowledged, {} delivered, 0 lost, {} duplicates, {} of unknown outcome",
            findings.acknowledged, findings.delivered, findings.duplicates, history.unknown
        );
        let in_flight = rounds * SLOTS * CLIENTS as u64;
        assert!(findings.duplicates <= in_flight, "I9: {} duplicates, {in_flight} leases", findings.duplicates);
        drop((clients, dir, replicated, front));
    }
}

/// Fails one in sixteen first tries.
fn now_and_then(arrival: &Arrival) -> Reply {
    let first = arrival.header("relay-attempt") == "1";
    Reply::status(if first && arrival.body.len().is_multiple_of(16) { 500 } else { 200 })
}

/// R20: what `fsync` alone confirms while replicas are cut off is lost with the primary, and named, by the server that confirmed it and in
/// the audit log of all; and only that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_the_old_primary_had_is_named_at_all_servers() {
    let Scene { mut replicated, servers, load, clients, target, dir, front } =
        Scene::set(Redis::Installed, "fsync", &[]).await;
    drop(load.stop().await);
    wait_for("the queue to empty", || (servers[0].queue_depth() == 0).then_some(()));
    drop(clients);
    let delivery = |server: &Server, event: &str| {
        server.json(&["event", "show", event])["deliveries"][0]["id"].as_str().unwrap().to_owned()
    };
    let sender = Sender::new();
    let mut kept = Vec::new();
    for server in &servers {
        let event = sender.post(&server.url("/webhook"), "kept").await.unwrap().event();
        kept.push(delivery(server, &event));
    }
    replicated.is_whole();
    let primary = replicated.primary().unwrap();
    std::thread::sleep(Duration::from_millis(1_200));
    replicated.gates[primary].shut(Replicated::other_nodes(primary));
    let mut lost = Vec::new();
    for number in 0..5 {
        for (at, server) in servers.iter().enumerate() {
            let event = sender.post(&server.url("/webhook"), format!("lost-{number}")).await.unwrap().event();
            lost.push((at, event));
        }
    }
    // In a few seconds the primary misses its replicas, and takes no more.
    let lost: Vec<_> = lost.into_iter().map(|(at, event)| (at, delivery(&servers[at], &event))).collect();
    replicated.nodes[primary].stop();
    replicated.another_than(primary);
    for (at, id) in &lost {
        wait_for("what is lost to be named", || servers[*at].process.log().contains(id.as_str()).then_some(()));
    }
    for server in &servers {
        wait_for("the audit log of all to name it", || {
            let lines = server.cli(&["audit-log", "--action", "store.lost", "--json"]).stdout;
            let lines = String::from_utf8_lossy(&lines).into_owned();
            assert!(kept.iter().all(|id| !lines.contains(id.as_str())), "{lines}");
            lost.iter().all(|(_, id)| lines.contains(id.as_str())).then_some(())
        });
    }
    replicated.gates[primary].open();
    replicated.nodes[primary].restart();
    replicated.is_whole();
    for server in &servers {
        sender.post(&server.url("/webhook"), "again").await.unwrap().event();
    }
    servers[0].audit();
    drop((target, dir, front));
}
