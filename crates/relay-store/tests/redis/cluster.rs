//! A store on a cluster: parts are found where their slots are, and followed when those go elsewhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use relay_core::{
    delivery::{Delivery, State},
    id::{DeliveryId, IdMint, InstanceId},
    storage::{AppendError, Change, LeaseAsk, LeaseOrder, StoreError},
    time::Wall,
};
use relay_store::{
    conformance::{Fixture, at},
    redis::{Address, BeginError, Deployment, Login, Mended, Options, RedisStore},
    seam::Durability,
    watch::Watch,
};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep},
};

use crate::{
    backend::Shared,
    clustered::Clustered,
    failover::{Load, certificates},
    node::{Node, Server},
    replicated::until,
};

/// How soon something is confirmed again once a primary has its replica.
const CONFIRMS_WITHIN: Duration = Duration::from_secs(10);
/// Nothing takes longer, or it is called a failure.
const PATIENCE: Duration = Duration::from_secs(60);
const HANDS: u64 = 4;
/// Tags of partitions: of the first, of one in the midst, and of the registry.
const TAGS: [&str; 3] = ["00-23", "09-08", "reg"];

fn plain(port: u16) -> Address {
    Address::Tcp { host: "127.0.0.1".into(), port }
}

fn options(address: Deployment, durability: Durability) -> Options {
    Options { durability: Some(durability), partitions: 16, ..Options::new(address) }
}

fn slot(cluster: &Clustered, tag: &str) -> u16 {
    let said = cluster.nodes[0].ask(&[b"CLUSTER", b"KEYSLOT", format!("{{{tag}}}").as_bytes()]);
    said.trim_start_matches(':').trim_end().parse().expect("it is a number")
}

/// What a server does: takes webhooks in, leases, settles; whatever happens meanwhile.
struct Hand {
    fixture: Fixture<Shared>,
    confirmed: Vec<DeliveryId>,
}

impl Hand {
    async fn works(mut self, is_over: Arc<AtomicBool>, delivered: Arc<AtomicU64>) -> Self {
        while !is_over.load(Ordering::Relaxed) {
            self.append().await;
            let count = self.deliver().await;
            delivered.fetch_add(count, Ordering::Relaxed);
        }
        self
    }

    async fn append(&mut self) {
        let event = self.fixture.event("in", b"{}", at(self.confirmed.len() as u64));
        let append = self.fixture.appending(event, &["crm"]);
        let since = Instant::now();
        loop {
            match self.fixture.append(append.clone()).await {
                Ok(_) => break self.confirmed.push(append.deliveries[0].id),
                Err(AppendError::Away | AppendError::Unknown) => self.again(since).await,
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    async fn again(&self, since: Instant) {
        assert!(since.elapsed() < PATIENCE, "{:?}", self.fixture.store().condition());
        sleep(Duration::from_millis(10)).await;
    }

    /// What is due is delivered; gives how many.
    async fn deliver(&self) -> u64 {
        let ask = LeaseAsk {
            destination: "crm".parse().expect("it is a name"),
            instance: InstanceId::from_u128(7),
            nonce: 7,
            until: at(60_000),
            now: at(50_000),
            limit: 16,
            tried_max: 16,
            order: LeaseOrder::Shared { tried: 8 },
        };
        let leased = match self.fixture.store().lease(ask).await {
            Ok(leased) => leased.deliveries,
            Err(StoreError::Away | StoreError::Unknown) => return 0,
            Err(other) => panic!("{other:?}"),
        };
        let changes: Vec<Change> = leased.into_iter().map(|held| delivered(held, at(50_001))).collect();
        let (count, since) = (changes.len() as u64, Instant::now());
        while count > 0 {
            match self.fixture.store().settle(changes.clone()).await {
                Ok(_) => break,
                Err(StoreError::Away | StoreError::Unknown) => self.again(since).await,
                Err(other) => panic!("{other:?}"),
            }
        }
        count
    }
}

fn delivered(held: Delivery, now: Wall) -> Change {
    let version = held.version + 1;
    let next = Delivery { state: State::Delivered, version, lease: None, changed_at: now, ..held.clone() };
    Change { before: held, next, archive: None }
}

/// Several servers that work.
struct Traffic {
    is_over: Arc<AtomicBool>,
    delivered: Arc<AtomicU64>,
    hands: Vec<JoinHandle<Hand>>,
    store: RedisStore,
}

impl Traffic {
    fn on(options: &Options) -> Self {
        let (is_over, delivered): (Arc<AtomicBool>, Arc<AtomicU64>) = (Arc::default(), Arc::default());
        let hand = |number| {
            let fixture = Fixture::over(Shared::on(options.clone()), IdMint::new(0, number));
            let hand = Hand { fixture, confirmed: Vec::new() };
            tokio::spawn(hand.works(Arc::clone(&is_over), Arc::clone(&delivered)))
        };
        let hands = (0..HANDS).map(hand).collect();
        Self { is_over, delivered, hands, store: RedisStore::open(options.clone()) }
    }

    /// So many more are delivered from now on.
    async fn flows(&self, more: u64) {
        let (until, since) = (self.delivered.load(Ordering::Relaxed) + more, Instant::now());
        while self.delivered.load(Ordering::Relaxed) < until {
            assert!(since.elapsed() < PATIENCE, "nothing flows any more");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// All that was confirmed is there, and every key fits to all others.
    async fn ends_well(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        let mut confirmed = 0;
        for hand in self.hands {
            let hand = hand.await.expect("it does not panic");
            for id in &hand.confirmed {
                assert!(hand.fixture.find(*id).await.is_some(), "I1: {id} was confirmed and is gone");
            }
            hand.fixture.check_sums().await;
            confirmed += hand.confirmed.len();
        }
        let inspected = self.store.inspect(Arc::new(Watch::default())).await.expect("it reads");
        assert!(inspected.is_healthy(), "{inspected:?}");
        assert!(inspected.deliveries >= confirmed as u64, "{inspected:?}");
        let mended = self.store.mend().await.expect("it reads");
        assert_eq!(Mended { rows: 0, consumers: 0, ..mended }, Mended::default(), "I12: no row is half written");
        confirmed
    }
}

/// What happens to a cluster, and one of its primaries.
type Does = fn(&mut Clustered, usize);

/// I1, F5: each way that a replica takes the place of its primary, with what was there before coming back as a replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_outlives_each_primary() {
    let set = Clustered::start(Server::Installed, (3, 1), &[], false);
    let mut load = Load::on(options(set.plain(), Durability::Replicated));
    load.append().await;
    let faults: [(&str, &str, Does, Does); 3] = [
        ("a command", TAGS[0], |set, primary| set.fail_over(set.replica_of(primary)), |_, _| {}),
        ("kill -9", TAGS[1], |set, primary| set.nodes[primary].stop(), |set, primary| set.nodes[primary].restart()),
        ("SIGSTOP", TAGS[2], |set, primary| set.nodes[primary].pause(), |set, primary| set.nodes[primary].resume()),
    ];
    let mut set = Some(set);
    for (name, tag, begin, end) in faults {
        let mut whole = set.take().expect("it is there");
        let (back_at, back) = load
            .during(move || {
                let slot = slot(&whole, tag);
                let before = whole.owner(slot).expect("all agree");
                let replica = whole.replica_of(before);
                begin(&mut whole, before);
                until("another primary", || (whole.owner_by(replica, slot) == Some(replica)).then_some(()));
                // Alone it confirms nothing.
                end(&mut whole, before);
                until("the one before to follow", || whole.says(before, "master_link_status:up").then_some(()));
                let back_at = Instant::now();
                whole.is_whole();
                (back_at, whole)
            })
            .await;
        load.append().await;
        let waited = load.first_after(back_at);
        println!("{name}: confirmed again {waited:?} after there was a replica");
        assert!(waited <= CONFIRMS_WITHIN, "{name}: {waited:?}");
        set = Some(back);
    }
    load.all_is_there().await;
}

/// I1, I12: slots go from one primary to another, with all that is in them, while all of it is worked on.
async fn slots_move(set: Clustered, at_once: bool) {
    let set = Arc::new(set);
    let traffic = Traffic::on(&options(set.plain(), Durability::Fsync));
    traffic.flows(100).await;
    for tag in TAGS {
        let moving = Arc::clone(&set);
        let moved = spawn_blocking(move || {
            let slot = slot(&moving, tag);
            let to = (moving.owner(slot).expect("all agree") + 1) % 3;
            let began = Instant::now();
            if at_once {
                moving.move_slot_at_once(slot, to);
            } else {
                moving.move_slot(slot, to, Duration::from_millis(5));
            }
            began.elapsed()
        });
        println!("{tag}: moved in {:?}", moved.await.expect("it does not panic"));
        traffic.flows(50).await;
    }
    let confirmed = traffic.ends_well().await;
    println!("{confirmed} confirmed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_moves_key_by_key() {
    slots_move(Clustered::start(Server::Installed, (3, 0), &[], false), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_moves_key_by_key_on_valkey() {
    slots_move(Clustered::start(Server::Valkey9, (3, 0), &[], false), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_moves_at_once() {
    slots_move(Clustered::start(Server::Valkey9, (3, 0), &[], false), true).await;
}

/// I2: on a node that has not met our scripts: they are loaded, and it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_gone_are_loaded_again() {
    let set = Clustered::start(Server::Installed, (3, 0), &[], false);
    let mut load = Load::on(options(set.plain(), Durability::Fsync));
    for _ in 0..20 {
        load.append().await;
    }
    for node in &set.nodes {
        assert_eq!(node.ask(&[b"SCRIPT", b"FLUSH"]), "+OK\r\n");
    }
    for _ in 0..20 {
        load.append().await;
    }
    load.all_is_there().await;
}

/// S27, S30: nodes that speak TLS alone, to a user that may do what is needed and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_asked_over_tls_by_a_user_of_few_rights() {
    // In the program another crate brings what encrypts, and there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (dir, authority) = certificates();
    let file = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let tls = [
        ("port", "0".to_owned()),
        ("tls-cert-file", file("cert.pem")),
        ("tls-key-file", file("key.pem")),
        ("tls-ca-cert-file", file("ca.pem")),
        ("tls-auth-clients", "no".to_owned()),
        ("tls-replication", "yes".to_owned()),
    ];
    let settings: Vec<_> = tls.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let set = Clustered::start(Server::Installed, (3, 0), &settings, true);
    let over_tls = |authorities: Option<Vec<u8>>| {
        set.deployment(|port| Address::Tls { host: "127.0.0.1".into(), port, authorities: authorities.clone() })
    };
    let said = async |options| RedisStore::open(options).begin().await.expect_err("it is not let in").to_string();
    let strange = said(options(over_tls(None), Durability::Fsync)).await;
    assert!(strange.contains("signed by nobody that is trusted"), "{strange}");
    let login = Login { user: Some("crm".into()), password: Some("canary".into()), database: 0 };
    let options = Options { login, ..options(over_tls(Some(authority)), Durability::Fsync) };
    let wrong = said(options.clone()).await;
    assert!(wrong.contains("refuses the user or the password") && !wrong.contains("canary"), "{wrong}");
    // The line that a user without rights is told makes one who has all of them, at every node.
    for node in &set.nodes {
        let rights: [&[u8]; 5] = [b"+info", b"+config|get", b"+cluster|nodes", b"+cluster|slots", b"on"];
        let [info, config, nodes, slots, on] = rights;
        node.ask(&[b"ACL", b"SETUSER", b"crm", on, b">canary", info, config, nodes, slots]);
    }
    let told = said(options.clone()).await;
    let (_, line) = told.split_once(": ACL").expect("the line stands behind it");
    let line = format!("ACL{}", line.split("; ").next().unwrap_or_default()).replace("PASSWORD", "canary");
    for node in &set.nodes {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        assert_eq!(node.ask(&words), "+OK\r\n", "{line}");
    }
    let store = RedisStore::open(options.clone());
    assert_eq!(store.begin().await, Ok(()));
    let mut load = Load::on(options);
    for _ in 0..20 {
        load.append().await;
    }
    load.all_is_there().await;
}

/// Trouble: what is no cluster, a slot that is nobody's, a primary without a replica, and a node that is asked as if it were alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_a_cluster_from_being_used_is_named() {
    let begin = async |address: Deployment, durability| RedisStore::open(options(address, durability)).begin().await;
    let (alone, set) = (Node::start(), Clustered::start(Server::Installed, (3, 1), &[], false));
    let cluster =
        relay_store::redis::Cluster { at: vec![alone.address()], elsewhere: std::collections::BTreeMap::new() };
    let refused = |begun: Result<(), BeginError>, what: &str, mend: &str| match begun {
        Err(BeginError::Refused(findings)) => {
            assert!(findings[0].what.contains(what), "{findings:?}");
            assert!(findings[0].mend.contains(mend), "{findings:?}");
        }
        other => panic!("{other:?}"),
    };
    let begun = begin(Deployment::Cluster(cluster), Durability::Fsync).await;
    refused(begun, "no node of a cluster", "redis://");
    let begun = begin(plain(set.ports[0]).into(), Durability::Fsync).await;
    refused(begun, "it is a node of a cluster", "redis+cluster://");
    assert_eq!(begin(set.plain(), Durability::Replicated).await, Ok(()));

    let mut set = set;
    let primary = set.owner(slot(&set, TAGS[0])).expect("all agree");
    let replica = set.replica_of(primary);
    set.nodes[replica].stop();
    until("the primary to see that", || set.says(primary, "connected_slaves:0").then_some(()));
    let begun = begin(set.plain(), Durability::Replicated).await;
    refused(begun, &format!("{}: 0 of 1 replicas follow it", plain(set.ports[primary])), "REDIS_MIN_REPLICAS");
    assert_eq!(begin(set.plain(), Durability::Fsync).await, Ok(()), "they are not waited for");

    let number = slot(&set, "06-77").to_string();
    let lost = (0..set.nodes.len()).filter(|at| set.nodes[*at].is_running());
    for at in lost {
        assert_eq!(set.nodes[at].ask(&[b"CLUSTER", b"DELSLOTS", number.as_bytes()]), "+OK\r\n");
    }
    match begin(set.plain(), Durability::Fsync).await {
        Err(BeginError::Away(why)) => assert!(why.contains("a slot of the cluster is nobody's"), "{why}"),
        other => panic!("{other:?}"),
    }
}
