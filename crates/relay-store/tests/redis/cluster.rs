//! A store on a cluster: parts are found where their slots are, and followed when those go elsewhere.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use relay_core::{
    delivery::{Change, Delivery, State},
    id::{DeliveryId, IdMint, InstanceId},
    partitions::Partitions,
    storage::{
        AppendError, Changed, DueAsk, Ended, Extend, Forget, HeldAsk, LeaseAsk, LeaseOrder, OverAsk, Retire, StoreError,
    },
    time::Wall,
};
use relay_store::{
    conformance::{Fixture, at},
    redis::{Address, BeginError, Deployment, Login, Mended, Options, RedisStore},
    seam::{
        Archive as _, AuditFilter, DocumentKey, DocumentKind, Durability, Page, Queue as _, Registry as _, Upkeep as _,
    },
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
        let leased = match self.fixture.store().lease(asking(at(50_000))).await {
            Ok(leased) => leased.deliveries,
            Err(StoreError::Away | StoreError::Unknown) => return 0,
            Err(other) => panic!("{other:?}"),
        };
        let changes: Vec<Change> = leased.into_iter().map(|held| delivered(held, at(50_001))).collect();
        let (count, since) = (changes.len() as u64, Instant::now());
        if count == 0 {
            return 0;
        }
        loop {
            match self.fixture.store().settle(changes.clone()).await {
                Ok(_) => return count,
                Err(StoreError::Away | StoreError::Unknown) => self.again(since).await,
                Err(other) => panic!("{other:?}"),
            }
        }
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
    let set = Clustered::start_with_gates(Server::Installed, (3, 1)).await;
    let mut load = Load::on(options(set.plain(), Durability::Replicated));
    load.append().await;
    let faults: [(&str, &str, Does, Does); 7] = [
        ("a command", TAGS[0], |set, primary| set.fail_over(set.replica_of(primary), None), |_, _| {}),
        ("FORCE", TAGS[1], |set, primary| set.fail_over(set.replica_of(primary), Some("FORCE")), |_, _| {}),
        ("no node that hears it", TAGS[2], |set, primary| set.mute(primary), |set, _| set.join()),
        ("TAKEOVER", TAGS[0], |set, primary| set.fail_over(set.replica_of(primary), Some("TAKEOVER")), |_, _| {}),
        ("nodes that are parted from it", TAGS[1], |set, primary| set.part(primary), |set, _| set.join()),
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
            if at_once {
                moving.move_slot_at_once(slot, to);
            } else {
                moving.move_slot(slot, to, Duration::from_millis(5));
            }
        });
        moved.await.expect("it does not panic");
        traffic.flows(50).await;
    }
    assert!(traffic.ends_well().await >= 200, "something was confirmed");
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

/// Events in all partitions, by a store that has begun.
async fn filled(set: &Clustered) -> (RedisStore, Fixture<Shared>, BTreeSet<DeliveryId>) {
    let options = options(set.plain(), Durability::Fsync);
    let store = RedisStore::open(options.clone());
    assert_eq!(store.begin().await, Ok(()));
    let (mut fixture, mut stored) = (Fixture::over(Shared::on(options), IdMint::new(0, 9)), BTreeSet::new());
    for number in 0..100 {
        let event = fixture.event("in", b"{}", at(number));
        let append = fixture.appending(event, &["crm"]);
        stored.insert(append.deliveries[0].id);
        let answers = store.append(vec![append]).await;
        assert!(matches!(&answers[..], [Ok(appended)] if appended.is_stored()), "{answers:?}");
    }
    (store, fixture, stored)
}

/// A primary that has partitions, and not the registry.
fn without_registry(set: &Clustered) -> usize {
    let registry = set.owner(slot(set, "reg")).expect("all agree");
    (0..3).find(|at| *at != registry).expect("there are three")
}

/// I5, F5: where one of several primaries is emptied, what it had is named, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_emptied_is_noticed() {
    let set = Clustered::start(Server::Installed, (3, 0), &[], false);
    let (store, fixture, stored) = filled(&set).await;
    set.nodes[without_registry(&set)].ask(&[b"FLUSHALL"]);
    what_is_lost_is_named(&store, &fixture, &stored).await;
}

/// I5, F5: what a replica had not heard of when it took over is named, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_next_primary_never_had_is_named() {
    // It may take over however old it is.
    let settings = [("cluster-replica-validity-factor".to_owned(), "0".to_owned())];
    let mut set = Clustered::start(Server::Installed, (3, 1), &settings, false);
    let (store, mut fixture, mut stored) = filled(&set).await;
    let primary = without_registry(&set);
    let replica = set.replica_of(primary);
    set.nodes[primary].ask(&[b"CONFIG", b"SET", b"min-replicas-to-write", b"0"]);
    set.nodes[replica].stop();
    for number in 0..60 {
        let event = fixture.event("in", b"{}", at(200 + number));
        let append = fixture.appending(event, &["crm"]);
        stored.insert(append.deliveries[0].id);
        let answers = store.append(vec![append]).await;
        assert!(matches!(&answers[..], [Ok(appended)] if appended.is_stored()), "{answers:?}");
    }
    let slot = TAGS.iter().map(|tag| slot(&set, tag)).find(|slot| set.owner_by(primary, *slot) == Some(primary));
    let slot = slot.expect("it has some");
    set.nodes[primary].stop();
    set.nodes[replica].restart();
    until("another primary", || (set.owner_by(replica, slot) == Some(replica)).then_some(()));
    set.nodes[replica].ask(&[b"CONFIG", b"SET", b"min-replicas-to-write", b"0"]);
    what_is_lost_is_named(&store, &fixture, &stored).await;
}

/// Of what was stored some is gone, and that is what the audit log names.
async fn what_is_lost_is_named(store: &RedisStore, fixture: &Fixture<Shared>, stored: &BTreeSet<DeliveryId>) {
    let (mut gone, mut there, since) = (BTreeSet::new(), 0, Instant::now());
    for id in stored {
        // Whoever has the partition by now may be asked for first.
        let found = loop {
            match fixture.store().find(vec![*id]).await {
                Ok(mut found) => break found.pop().flatten(),
                Err(error) => assert!(since.elapsed() < PATIENCE, "{error:?}"),
            }
        };
        match found {
            Some(_) => there += 1,
            None => drop(gone.insert(id.to_string())),
        }
    }
    assert!(there > 0 && !gone.is_empty(), "{there} of {}", stored.len());
    loop {
        let filter = AuditFilter { action: Some("store.lost".into()), ..AuditFilter::default() };
        let lines = store.browse_audit(filter, Page { cursor: None, limit: 100 }).await;
        let named: BTreeSet<String> = lines
            .map(|lines| lines.items.iter().flat_map(|line| line.subject.split(' ')).map(str::to_owned).collect())
            .unwrap_or_default();
        assert!(named.is_subset(&gone), "{named:?}");
        if named == gone {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{named:?} of {gone:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// I15, I24: a primary that is gone, and has no replica, keeps nothing waiting that others have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_gone_keeps_no_other_waiting() {
    let mut set = Clustered::start(Server::Installed, (3, 0), &[], false);
    let (store, mut fixture, stored) = filled(&set).await;
    let gone = without_registry(&set);
    let named = plain(set.ports[gone]).to_string();
    let since = Instant::now();
    let says = async |what: &str| loop {
        let condition = store.condition();
        if condition.reasons.iter().any(|reason| reason.contains(&named) && reason.contains(what)) {
            assert!(condition.commits, "{condition:?}");
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{condition:?}");
        sleep(Duration::from_millis(20)).await;
    };
    // First it is there, and takes no commits: what expires there fills no page.
    set.nodes[gone].ask(&[b"CONFIG", b"SET", b"appendfsync", b"no"]);
    says("appendfsync").await;
    let expired = store.due(DueAsk::at(at(100_000), 100)).await.expect("all are there").expired;
    assert!((40..100).contains(&expired.len()), "{} of 100", expired.len());
    set.nodes[gone].stop();
    says("cannot be reached").await;
    // Another server begins meanwhile, with what is there.
    let another = RedisStore::open(options(set.plain(), Durability::Fsync));
    assert_eq!(another.begin().await, Ok(()));
    let stats = another.stats().await.expect("it is told of what is there");
    let ready = stats.destinations[0].states[0];
    assert!((20..100).contains(&ready) && stats.id_floor > 0, "{stats:?}");
    let mut held = Vec::new();
    for place in 0..16 {
        let ask = HeldAsk { partitions: Partitions::only(place, 16), ..HeldAsk::all(None, 10) };
        held.push(another.held(ask).await);
    }
    assert!(held.contains(&Ok(Vec::new())) && held.contains(&Err(StoreError::Away)), "{held:?}");

    let (mut taken, mut away) = (BTreeSet::new(), 0);
    for number in 0..60 {
        let event = fixture.event("in", b"{}", at(200 + number));
        let append = fixture.appending(event, &["crm"]);
        match store.append(vec![append.clone()]).await.pop() {
            Some(Ok(_)) => drop(taken.insert(append.deliveries[0].id)),
            Some(Err(AppendError::Away)) => away += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(taken.len() > 20 && away > 5, "{} were taken, {away} were away", taken.len());
    let due = store.due(DueAsk::at(at(1_000), 100)).await.expect("it is told of what is there");
    assert_eq!(due.destinations.len(), 1);
    let mut leased = Vec::new();
    loop {
        let more = store.lease(asking(at(1_000))).await.expect("others have some, and then nothing").deliveries;
        if more.is_empty() {
            break;
        }
        leased.extend(more);
    }
    assert!(leased.len() > 40, "{}", leased.len());
    what_is_over_goes(&store, &leased).await;
    let since = Instant::now();
    while store.scrubbed().mended.rows < leased.len() as u64 {
        assert!(since.elapsed() < PATIENCE, "{:?}", store.scrubbed());
        sleep(Duration::from_millis(20)).await;
    }

    set.nodes[gone].restart();
    set.is_whole();
    let all: BTreeSet<DeliveryId> = stored.union(&taken).copied().collect();
    let (mut seen, since) = (leased.into_iter().map(|held| held.id).collect::<BTreeSet<_>>(), Instant::now());
    while seen != all {
        if let Ok(leased) = store.lease(asking(at(1_000))).await {
            seen.extend(leased.deliveries.into_iter().map(|held| held.id));
        }
        assert!(since.elapsed() < PATIENCE, "{} of {}", seen.len(), all.len());
    }
    fixture.check_sums().await;
}

/// I16: of these, which are where a part is that is there, some are delivered, and go once their retention is over.
async fn what_is_over_goes(store: &RedisStore, leased: &[Delivery]) {
    let mut removed = BTreeSet::new();
    for held in &leased[..20] {
        let settled = store.settle(vec![delivered(held.clone(), at(1_001))]).await;
        assert_eq!(settled, Ok(vec![Changed::Applied]));
        removed.insert(held.id);
    }
    let [delivered_before, dead_before] = [at(2_000); 2];
    let over = OverAsk { delivered_before, dead_before, partitions: Partitions::ALL, limit: 100 };
    let over = store.over(over).await.expect("it is told of what is there");
    assert_eq!(over.iter().map(|found| found.id).collect::<BTreeSet<_>>(), removed);
    let forget = Forget {
        keys_until: at(0),
        unrouted_before: at(0),
        jobs_before: at(0),
        audit_before: at(0),
        partitions: Partitions::ALL,
    };
    let ended = over.iter().filter_map(Ended::of).collect();
    let retired = store.retire(Retire { ended, more: false, forget }).await.expect("the rest is forgotten later");
    assert_eq!((retired.taken, retired.deliveries), (20, 20));
}

/// I1: where all nodes take their cluster for down nothing is committed, and that is said, until it is up again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_down_is_not_ready() {
    let settings = [("cluster-require-full-coverage".to_owned(), "yes".to_owned())];
    let mut set = Clustered::start(Server::Installed, (3, 0), &settings, false);
    let (store, mut fixture, _) = filled(&set).await;
    assert!(store.condition().commits);
    let gone = without_registry(&set);
    set.nodes[gone].stop();
    let since = Instant::now();
    loop {
        let event = fixture.event("in", b"{}", at(200));
        let append = fixture.appending(event, &["crm"]);
        drop(store.append(vec![append]).await);
        let condition = store.condition();
        if !condition.commits {
            let downs = condition.reasons.iter().filter(|reason| reason.contains("CLUSTERDOWN")).count();
            assert_eq!(downs, 2, "{condition:?}");
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{condition:?}");
    }
    set.nodes[gone].restart();
    set.is_whole();
    let since = Instant::now();
    while !store.condition().commits || !store.condition().reasons.is_empty() {
        assert!(since.elapsed() < PATIENCE, "{:?}", store.condition());
        sleep(Duration::from_millis(20)).await;
    }
    fixture.check_sums().await;
}

/// I5, F5: what one primary has lost is named though another is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_is_named_while_another_is_away() {
    let mut set = Clustered::start(Server::Installed, (3, 0), &[], false);
    let (store, fixture, stored) = filled(&set).await;
    let gone = without_registry(&set);
    let registry = set.owner(slot(&set, "reg")).expect("all agree");
    let emptied = (0..3).find(|at| *at != gone && *at != registry).expect("there are three");
    let parts = set.nodes[emptied].ask(&[b"KEYS", b"*}:n"]).matches("}:n\r\n").count();
    let key = DocumentKey { kind: DocumentKind::Source, name: "in".to_owned() };
    assert_eq!(store.put_document(key, 0, Some("{}".to_owned()), Vec::new()).await, Ok(Some(1)));
    assert_eq!(store.documents(DocumentKind::Source).await.map(|all| all.len()), Ok(1));
    set.nodes[gone].stop();
    set.nodes[emptied].ask(&[b"FLUSHALL"]);
    until("all that is lost to be written down", || {
        let told = set.nodes[emptied].ask(&[b"KEYS", b"*}:audit"]).matches("}:audit\r\n").count();
        (told == parts).then_some(())
    });
    // What watches the registry goes on meanwhile: a document that somebody takes out comes back.
    set.nodes[registry].ask(&[b"HDEL", b"crm-relay:{reg}:doc:1", b"in"]);
    until("the document to be written back", || {
        let is_there = set.nodes[registry].ask(&[b"HEXISTS", b"crm-relay:{reg}:doc:1", b"in"]);
        (is_there == ":1\r\n").then_some(())
    });
    set.nodes[gone].restart();
    set.is_whole();
    what_is_lost_is_named(&store, &fixture, &stored).await;
}

/// I13, I15: while the registry's primary is away, which knows what servers there are, indexes of the others are gone through to their end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_are_mended_without_the_registry() {
    let mut set = Clustered::start(Server::Installed, (3, 0), &[], false);
    let (store, fixture, _) = filled(&set).await;
    // From now on it looks after everything.
    store.due(DueAsk::at(at(0), 1)).await.expect("reads");
    let registry = set.owner(slot(&set, "reg")).expect("all agree");
    let other = without_registry(&set);
    let counters = set.nodes[other].ask(&[b"KEYS", b"*}:n"]);
    let counters = counters.lines().find(|line| line.ends_with("}:n")).expect("it has a partition");
    set.nodes[registry].stop();
    let indexes = ["exp:crm", "back:crm:0", "due:crm:0", "ended:crm", "made:crm", "leases"];
    let key = |index: &str| format!("{}{index}", counters.trim_end_matches('n')).into_bytes();
    for index in indexes {
        set.nodes[other].ask(&[b"ZADD", &key(index), b"7", &[9; 32][..if index == "leases" { 32 } else { 16 }]]);
    }
    until("what stands in indexes and is nobody's to be taken out", || {
        let left = |index: &str| set.nodes[other].ask(&[b"ZCOUNT", &key(index), b"7", b"7"]) != ":0\r\n";
        (!indexes.iter().any(|index| left(index))).then_some(())
    });
    set.nodes[registry].restart();
    set.is_whole();
    until("the registry to be there", || store.condition().commits.then_some(()));
    fixture.check_sums().await;
}

/// I12, I2: a row that has left ahead of its slot is decided on by nobody until the rest is there, and a look through all keys says
/// nothing while keys are on their way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_has_left_ahead_of_its_slot_waits_for_it() {
    let set = Clustered::start(Server::Installed, (3, 0), &[], false);
    let (store, fixture, _) = filled(&set).await;
    let leased = store.lease(asking(at(1_000))).await.expect("it leases").deliveries;
    let in_first = |held: &&Delivery| held.id.partition().number().is_multiple_of(16);
    let held = leased.iter().find(in_first).expect("some are in the first").clone();
    let slot = slot(&set, TAGS[0]);
    let to = (set.owner(slot).expect("all agree") + 1) % 3;
    let from = set.begin_move(slot, to);
    let key = [format!("crm-relay:{{{}}}:d:", TAGS[0]).as_bytes(), &held.id.as_u128().to_be_bytes()].concat();
    set.move_keys(&[key], (from, to));
    let change = delivered(held.clone(), at(1_001));
    let extend = Extend { id: held.id, claim: held.claim(), until: at(5_000) };
    let is_not_told = |error: &StoreError| matches!(error, StoreError::Away | StoreError::Unknown);
    let settled = store.settle(vec![change.clone()]).await;
    assert!(settled.as_ref().is_err_and(is_not_told), "{settled:?}");
    let extended = store.extend(vec![extend]).await;
    assert!(extended.as_ref().is_err_and(is_not_told), "{extended:?}");
    let inspected = store.inspect(Arc::new(Watch::default())).await;
    assert_eq!(inspected.err(), Some(StoreError::Away), "keys may have passed it");
    set.end_move(slot, (from, to), Duration::ZERO);
    let since = Instant::now();
    loop {
        match store.extend(vec![extend]).await {
            Ok(extended) => {
                assert!(matches!(extended[..], [relay_core::storage::Extended::Stands { .. }]), "{extended:?}");
                break;
            }
            Err(error) => assert!(since.elapsed() < PATIENCE, "{error:?}"),
        }
    }
    let stands = fixture.find(held.id).await.expect("it is there");
    assert_eq!(store.settle(vec![delivered(stands, at(1_001))]).await, Ok(vec![Changed::Applied]));
    let inspected = store.inspect(Arc::new(Watch::default())).await.expect("it reads");
    assert!(inspected.is_healthy() && inspected.deliveries == 100, "{inspected:?}");
    let mended = store.mend().await.expect("it reads");
    assert_eq!(Mended { rows: 0, consumers: 0, ..mended }, Mended::default(), "no row is half written");
    fixture.check_sums().await;
}

/// I15, I24: a primary that hangs holds up nothing that others have: no look at what is due, no lease, no outcome.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_hangs_holds_up_no_other() {
    let set = Clustered::start(Server::Installed, (3, 0), &[], false);
    let (store, mut fixture, stored) = filled(&set).await;
    let hangs = without_registry(&set);
    let named = plain(set.ports[hangs]).to_string();
    set.nodes[hangs].pause();
    let since = Instant::now();
    while !store.condition().reasons.iter().any(|reason| reason.contains(&named)) {
        assert!(since.elapsed() < PATIENCE, "{:?}", store.condition());
        sleep(Duration::from_millis(20)).await;
    }
    // What waits for the one that hangs takes half a second at least; disks that are slow take their time as well.
    let (mut rounds, mut seen, mut waits) = (0, BTreeSet::new(), Vec::new());
    while rounds < 30 {
        let begin = Instant::now();
        let event = fixture.event("in", b"{}", at(200 + rounds));
        let append = fixture.appending(event, &["crm"]);
        drop(store.append(vec![append]).await);
        let due = store.due(DueAsk::at(at(1_000), 100)).await.expect("it is told of what is there");
        assert!(due.destinations.len() <= 1, "{due:?}");
        match store.lease(asking(at(1_000))).await {
            Ok(leased) => {
                for held in leased.deliveries {
                    seen.insert(held.id);
                    let settled = store.settle(vec![delivered(held, at(1_001))]).await;
                    assert_eq!(settled, Ok(vec![Changed::Applied]));
                }
            }
            Err(error) => assert_eq!(error, StoreError::Away),
        }
        rounds += 1;
        // What waited from before is settled by then.
        if rounds > 5 {
            waits.push(begin.elapsed());
        }
    }
    waits.sort_unstable();
    println!("rounds beside a primary that hangs took {waits:?}");
    assert!(waits[waits.len() / 2] < Duration::from_millis(400), "each waited for the one that hangs: {waits:?}");
    assert!(seen.len() as u64 > rounds / 2 + 40, "{} of {rounds}", seen.len());

    set.nodes[hangs].resume();
    set.is_whole();
    let since = Instant::now();
    while !stored.is_subset(&seen) {
        if let Ok(leased) = store.lease(asking(at(1_000))).await {
            seen.extend(leased.deliveries.into_iter().map(|held| held.id));
        }
        assert!(since.elapsed() < PATIENCE, "{} of {}", seen.intersection(&stored).count(), stored.len());
    }
    fixture.check_sums().await;
}

fn asking(now: Wall) -> LeaseAsk {
    LeaseAsk {
        destination: "crm".parse().expect("it is a name"),
        instance: InstanceId::from_u128(7),
        nonce: 7,
        until: now + PATIENCE,
        now,
        limit: 64,
        tried_max: 64,
        order: LeaseOrder::Shared { tried: 8 },
        partitions: Partitions::ALL,
    }
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
