//! Two servers on a cluster of three primaries and three replicas, clients, a load, and one fault after the other at whichever primary has some
//! partition: a failover by command, with and without anybody's agreement, kill -9, SIGSTOP, networks that are parted both ways or one, slots that are
//! moved, one that hangs and whose replica may not take over, and a replica that is killed. Nothing acknowledged is lost.
//!
//! `ROUNDS=n` (by `make torture-redis SET=cluster ROUNDS=n`) sets the number of rounds; `SEED=n` another order of them.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use crate::{
    bound,
    clustered::Clustered,
    front::Front,
    node::Server as Redis,
    process::{Process, Server, client, wait_for},
    replicated::until,
    target::{Arrival, Reply, Target},
    torture::Load,
};

/// How long a primary hangs that nobody replaces.
const ALONE: Duration = Duration::from_secs(20);
/// Whoever asks it for something waits once for an answer.
const NOTICED_WITHIN: Duration = Duration::from_secs(4);
/// How soon a webhook is taken once there is another primary.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// The longest that somebody stays away once there is another primary.
const AWAY_MAX: Duration = Duration::from_secs(6);
/// All that was acknowledged arrives so soon once nothing happens any more: what is leased in vain lapses before.
const ARRIVE_WITHIN: Duration = Duration::from_secs(90);
/// Whoever waits for the one that hangs waits for as long as that does; a disk that is slow takes its time as well.
const HELD_UP: Duration = Duration::from_secs(4);
const CLIENTS: usize = 2;
const SLOTS: u64 = 8;
const PRIMARIES: usize = 3;
/// Tags of parts, by which slots are chosen.
const TAGS: [&str; 6] = ["00-23", "04-44", "07-78", "11-37", "15-43", "reg"];

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A replica takes over, in agreement with its primary.
    Command,
    /// It does not ask its primary.
    Force,
    /// It asks nobody.
    Takeover,
    Kill,
    Stop,
    /// Nobody but servers hears it.
    Isolated,
    /// It hears everybody, and is heard by servers alone.
    Muted,
    /// Its replica is killed: nothing is taken there meanwhile.
    Replica,
    /// It hangs, and its replica may not take over.
    Alone,
    /// A slot goes to another primary, key by key.
    Move,
    /// And in one step.
    MoveAtOnce,
}

impl Fault {
    /// Of each kind, those that any of them can do.
    const USUAL: [Self; 10] = [
        Self::Kill,
        Self::Move,
        Self::Isolated,
        Self::Stop,
        Self::Takeover,
        Self::Alone,
        Self::Muted,
        Self::Command,
        Self::Replica,
        Self::Force,
    ];

    /// What is said behind the command that makes a replica take over.
    fn how(self) -> Option<&'static str> {
        match self {
            Self::Force => Some("FORCE"),
            Self::Takeover => Some("TAKEOVER"),
            _ => None,
        }
    }
}

fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// I1, I3, I5, I9, F5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_on_a_cluster() {
    let long = given("ROUNDS").is_some();
    let faults = if long { &Fault::USUAL[..] } else { &Fault::USUAL[..6] };
    Box::pin(torture(Redis::Installed, "replicated", faults)).await;
}

/// The same where the disks of replicas have it, and slots move in one step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_on_a_cluster_and_its_disks() {
    let long = given("ROUNDS").is_some();
    let faults = if long { &Fault::USUAL[..] } else { &Fault::USUAL[6..] };
    Box::pin(torture(Redis::Valkey9, "fsync-replicated", &[&[Fault::MoveAtOnce], faults].concat())).await;
}

async fn torture(redis: Redis, durability: &str, faults: &[Fault]) {
    let (rounds, seed) = (given("ROUNDS"), given("SEED").unwrap_or(4711));
    let count = rounds.unwrap_or(faults.len() as u64);
    bound::within(Duration::from_mins(count));
    eprintln!("torture on a cluster: {count} rounds, {durability}, seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut scene = Scene::set(redis, durability).await;
    let mut order = Vec::new();
    for round in 0..count {
        if order.is_empty() {
            order = faults.to_vec();
            // Each of them comes; which comes behind which differs.
            order.shuffle(&mut rng);
        }
        let Some(fault) = order.pop() else { break };
        scene.flows();
        let tag = TAGS[rng.random_range(0..TAGS.len())];
        let away = Duration::from_millis(rng.random_range(200..AWAY_MAX.as_millis() as u64));
        let away = if rounds.is_some() { away } else { away / 4 };
        let (took, taken, refused) = match fault {
            Fault::Move | Fault::MoveAtOnce => scene.moves(tag, fault == Fault::MoveAtOnce),
            Fault::Replica => scene.loses_its_replica(tag, away),
            Fault::Alone => scene.hangs_alone(if rounds.is_some() { ALONE } else { ALONE / 2 }),
            _ => scene.fails_over(fault, tag, away),
        };
        eprintln!(
            "round {round}: {fault:?} of {tag} took {took:?}, first 2xx {taken:?} behind that, {refused} without 2xx"
        );
        assert!(taken <= TAKEN_WITHIN, "a webhook was taken {taken:?} after it");
        if matches!(fault, Fault::Move | Fault::MoveAtOnce) {
            assert_eq!(refused, 0, "webhooks without a key keep their 2xx while a slot moves");
        }
    }
    scene.ends_well(count).await;
}

struct Scene {
    cluster: Clustered,
    servers: Vec<Server>,
    front: Front,
    target: Target,
    clients: Vec<Process>,
    load: Load,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn set(redis: Redis, durability: &str) -> Self {
        let cluster = Clustered::start_with_gates(redis, (PRIMARIES, 1)).await;
        let dir = tempfile::tempdir().unwrap();
        let hosts = cluster.ports.iter().map(|port| format!("127.0.0.1:{port}"));
        let url = format!("redis+cluster://{}", hosts.collect::<Vec<_>>().join(","));
        let mut servers = Vec::new();
        for name in ["a", "b"] {
            let home = dir.path().join(name);
            std::fs::create_dir(&home).unwrap();
            let settings = [
                ("REDIS_URL", url.as_str()),
                ("REDIS_DURABILITY", durability),
                ("STREAM_NAME", "spread"),
                ("LEASE", "20s"),
                ("MESSAGE_TTL", "1h"),
                ("MAX_RETRIES", "8"),
                ("RETRY_DELAY", "200ms"),
            ];
            servers.push(Server::start(&home, &settings));
        }
        let front = Front::start(servers.iter().map(|server| server.public).collect()).await;
        let target = Target::start(now_and_then).await;
        let start = |which: usize| {
            let to = [("default", target.url(&format!("/{which}")))];
            client(dir.path(), &format!("client-{which}"), front.addr, &to, &[])
        };
        let clients = (0..CLIENTS).map(start).collect();
        let load = Load::at(&front.url("/webhook"), 100);
        Self { cluster, servers, front, target, clients, load, dir }
    }

    /// The load flows, to the target.
    fn flows(&self) {
        let enough = self.target.count() + 20;
        wait_for("the load to flow", || (self.target.count() >= enough).then_some(()));
    }

    fn slot(&self, tag: &str) -> u16 {
        let said = self.cluster.nodes[0].ask(&[b"CLUSTER", b"KEYSLOT", format!("{{{tag}}}").as_bytes()]);
        said.trim_start_matches(':').trim_end().parse().unwrap()
    }

    /// A replica takes the place of the primary that has a part. Gives how long that was, how long from then until a webhook was taken, and
    /// how many were not meanwhile.
    fn fails_over(&mut self, fault: Fault, tag: &str, away: Duration) -> (Duration, Duration, u64) {
        let slot = self.slot(tag);
        let cluster = &mut self.cluster;
        let before = cluster.owner(slot).unwrap();
        let replica = cluster.replica_of(before);
        let (refused, began) = (self.load.so_far().1, Instant::now());
        match fault {
            Fault::Command | Fault::Force | Fault::Takeover => cluster.fail_over(replica, fault.how()),
            Fault::Kill => cluster.nodes[before].stop(),
            Fault::Stop => cluster.nodes[before].pause(),
            Fault::Isolated => cluster.part(before),
            Fault::Muted => cluster.mute(before),
            _ => panic!("nobody takes over for {fault:?}"),
        }
        until("another primary", || (cluster.owner_by(replica, slot) == Some(replica)).then_some(()));
        let took = began.elapsed();
        let taken = self.taken();
        std::thread::sleep(away);
        match fault {
            Fault::Kill => self.cluster.nodes[before].restart(),
            Fault::Stop => self.cluster.nodes[before].resume(),
            _ => self.cluster.join(),
        }
        self.cluster.is_whole();
        (took, taken, self.load.so_far().1 - refused)
    }

    /// The replica of a primary is killed, and comes back. What the primary alone has is not confirmed; others take what has no key.
    fn loses_its_replica(&mut self, tag: &str, away: Duration) -> (Duration, Duration, u64) {
        let primary = self.cluster.owner(self.slot(tag)).unwrap();
        let replica = self.cluster.replica_of(primary);
        let (refused, began) = (self.load.so_far().1, Instant::now());
        self.cluster.nodes[replica].stop();
        std::thread::sleep(away);
        self.cluster.nodes[replica].restart();
        let took = began.elapsed();
        let taken = self.taken();
        self.cluster.is_whole();
        (took, taken, self.load.so_far().1 - refused)
    }

    /// A primary hangs, and nobody takes its place: all that others have is taken in and delivered all the time.
    fn hangs_alone(&mut self, away: Duration) -> (Duration, Duration, u64) {
        let registry = self.cluster.owner(self.slot("reg")).unwrap();
        let owners = TAGS.iter().filter_map(|tag| self.cluster.owner(self.slot(tag)));
        let hangs = owners.into_iter().find(|at| *at != registry).unwrap();
        let replica = self.cluster.replica_of(hangs);
        let forbid = |cluster: &Clustered, what: &[u8]| {
            let set = cluster.nodes[replica].ask(&[b"CONFIG", b"SET", b"cluster-replica-no-failover", what]);
            assert_eq!(set, "+OK\r\n");
        };
        forbid(&self.cluster, b"yes");
        let (refused, began) = (self.load.so_far().1, Instant::now());
        self.cluster.nodes[hangs].pause();
        std::thread::sleep(NOTICED_WITHIN);
        while began.elapsed() < away {
            let (delivered, taken, since) = (self.target.count(), self.load.so_far().0, Instant::now());
            while self.target.count() == delivered || self.load.so_far().0 == taken {
                let (more, new) = (self.target.count() - delivered, self.load.so_far().0 - taken);
                assert!(
                    since.elapsed() < HELD_UP,
                    "I15: {new} were taken and {more} delivered in {HELD_UP:?}, while one of three hangs"
                );
                std::thread::sleep(Duration::from_millis(50));
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        self.cluster.nodes[hangs].resume();
        let took = began.elapsed();
        let taken = self.taken();
        forbid(&self.cluster, b"no");
        self.cluster.is_whole();
        (took, taken, self.load.so_far().1 - refused)
    }

    /// A slot goes to the next primary.
    fn moves(&mut self, tag: &str, at_once: bool) -> (Duration, Duration, u64) {
        let (slot, refused, began) = (self.slot(tag), self.load.so_far().1, Instant::now());
        let from = self.cluster.owner(slot).unwrap();
        let count = self.cluster.nodes.len();
        let mut others = (from + 1..count).chain(0..from);
        let to = others.find(|at| self.cluster.says(*at, "role:master")).unwrap();
        if at_once {
            self.cluster.move_slot_at_once(slot, to);
        } else {
            self.cluster.move_slot(slot, to, Duration::from_millis(2));
        }
        let took = began.elapsed();
        let taken = self.taken();
        self.cluster.is_whole();
        (took, taken, self.load.so_far().1 - refused)
    }

    /// How long it is until a webhook is taken.
    fn taken(&self) -> Duration {
        let (known, since) = (self.load.so_far().0, Instant::now());
        wait_for("a webhook to be taken", || (self.load.so_far().0 > known).then_some(()));
        since.elapsed()
    }

    async fn ends_well(self, rounds: u64) {
        // What is first goes last, so that those who fail can show their logs.
        let Self { dir, servers, target, load, clients, cluster, front } = self;
        let history = load.stop().await;
        let since = Instant::now();
        while history.missing(&target.delivered()) > 0 {
            assert!(
                since.elapsed() <= ARRIVE_WITHIN,
                "I1: {} acknowledged events never arrived",
                history.missing(&target.delivered())
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        wait_for("the queue to empty", || (servers[0].queue_depth() == 0).then_some(()));
        servers[0].audit();
        for server in &servers {
            let log = server.process.log();
            assert!(!log.contains("acknowledged_lost") && !log.contains("store_mended"), "{log}");
        }
        let findings = history.check(&target.arrivals());
        eprintln!(
            "{rounds} rounds: {} acknowledged, {} delivered, 0 lost, {} duplicates, {} of unknown outcome",
            findings.acknowledged, findings.delivered, findings.duplicates, history.unknown
        );
        let in_flight = rounds * SLOTS * CLIENTS as u64;
        assert!(findings.duplicates <= in_flight, "I9: {} duplicates, {in_flight} leases", findings.duplicates);
        drop((clients, dir, cluster, front));
    }
}

/// Fails one in sixteen first tries.
fn now_and_then(arrival: &Arrival) -> Reply {
    let first = arrival.header("relay-attempt") == "1";
    Reply::status(if first && arrival.body.len().is_multiple_of(16) { 500 } else { 200 })
}
