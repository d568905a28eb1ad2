//! Each kind of key is deleted, or made something else, under load: the store mends it by itself, or names what is lost.

use std::{collections::BTreeSet, time::Duration};

use relay_core::{
    delivery::{Change, Delivery, State, outcome::Class},
    id::{DeliveryId, EventId, IdMint, InstanceId, JobId},
    partitions::Partitions,
    storage::{About, Append, Dedupe, DueAsk, HeldAsk, LeaseAsk, LeaseOrder, Presence, Replay, Step},
};
use relay_store::{
    conformance::{Backend as _, Fixture, at},
    redis::{Options, RedisStore, Scrubbed},
    seam::{AuditEntry, DeliveryFilter, DocumentKey, DocumentKind, Page, Queue as _, Registry as _, Upkeep as _},
};
use tokio::time::{Instant, sleep};

use crate::{
    backend::Shared,
    node::{Node, fresh_name},
};

/// A kind of key, and what becomes of what is lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It is made of the rows again.
    Index(&'static str),
    /// It can be done without.
    Spare(&'static str),
    /// A delivery: all others go on.
    Delivery,
    /// An event: its delivery cannot be made any more, all others go on.
    Event,
    /// What leads from an event to its replay.
    Replays,
    /// Earlier attempts.
    Attempts,
    /// A dedupe entry.
    Taken,
    /// How far a job is.
    Mark,
    /// Dead letters, for people's tools.
    DeadLetters,
    /// A key of the registry: all of it is there again.
    Registry(&'static str),
}

/// A job that has made a step.
const JOB: u128 = 77;

/// What somebody does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Deletes,
    /// Makes it something of another type.
    Retypes,
    /// Empties a stream.
    Trims,
    /// Lets it go in a while.
    Expires,
    /// Puts something of the right type there that nobody of ours wrote.
    Garbles,
}

const KINDS: [Kind; 29] = [
    Kind::Index("n"),
    Kind::Index("leases"),
    Kind::Index("ready:crm:0:1"),
    Kind::Index("back:crm:0"),
    Kind::Index("due:crm:0"),
    Kind::Index("tries:crm:0"),
    Kind::Index("exp:crm"),
    Kind::Index("done:crm"),
    Kind::Index("ended:crm"),
    Kind::Index("log:crm"),
    Kind::Index("made:crm"),
    Kind::Index("src:in"),
    Kind::Index("lone"),
    Kind::Spare("steps"),
    Kind::Spare("audit"),
    Kind::Spare("tally"),
    Kind::Spare("gone"),
    Kind::Delivery,
    Kind::Event,
    Kind::Replays,
    Kind::Attempts,
    Kind::Taken,
    Kind::Mark,
    Kind::DeadLetters,
    Kind::Registry("meta"),
    Kind::Registry("doc:1"),
    Kind::Registry("version"),
    Kind::Registry("runs"),
    Kind::Registry("audit"),
];

impl Kind {
    fn is_stream(self) -> bool {
        match self {
            Self::Index(within) => ["ready", "done", "log", "src"].iter().any(|begin| within.starts_with(begin)),
            Self::Spare(within) | Self::Registry(within) => ["audit", "gone"].contains(&within),
            Self::DeadLetters => true,
            Self::Delivery | Self::Event | Self::Replays | Self::Attempts | Self::Taken | Self::Mark => false,
        }
    }

    fn is_string(self) -> bool {
        let is_registry_version = self == Self::Registry("version");
        is_registry_version || matches!(self, Self::Delivery | Self::Event | Self::Replays | Self::Taken | Self::Mark)
    }
}

impl How {
    fn spoil(self, node: &Node, kind: Kind, key: &[u8]) {
        match self {
            Self::Deletes => drop(node.ask(&[b"DEL", key])),
            Self::Retypes if kind.is_string() => {
                drop(node.ask_all(&[&[b"DEL", key], &[b"RPUSH", key, b"nonsense"]]));
            }
            Self::Retypes => drop(node.ask_all(&[&[b"DEL", key], &[b"SET", key, b"nonsense"]])),
            Self::Trims => drop(node.ask(&[b"XTRIM", key, b"MAXLEN", b"0"])),
            Self::Expires => drop(node.ask(&[b"PEXPIRE", key, b"600000"])),
            Self::Garbles => match node.ask(&[b"TYPE", key]).trim_end() {
                "+string" => drop(node.ask(&[b"SET", key, b"nonsense"])),
                "+hash" => drop(node.ask(&[b"HSET", key, b"nonsense", b"9999999999999999"])),
                "+list" => drop(node.ask(&[b"LPUSH", key, b"nonsense"])),
                "+stream" => drop(node.ask(&[b"XADD", key, b"*", b"nonsense", b"nonsense"])),
                "+zset" => drop(node.ask(&[b"ZADD", key, b"1.5", b"nonsense"])),
                // Nothing is there, so that it is of any type.
                _ => {}
            },
        }
    }
}

/// I1, I5: nothing that was acknowledged is lost without a word, whatever one key becomes.
#[tokio::test]
async fn whatever_key_is_deleted_is_mended_or_named() {
    let node = Node::start();
    for kind in KINDS {
        Load::spoilt(&node, kind, How::Deletes).await;
    }
}

/// I1, I5
#[tokio::test]
async fn whatever_key_becomes_something_else_is_mended_or_named() {
    let node = Node::start();
    for kind in KINDS {
        Load::spoilt(&node, kind, How::Retypes).await;
    }
}

/// I1, I5: somebody's XTRIM.
#[tokio::test]
async fn whatever_stream_is_emptied_is_mended() {
    let node = Node::start();
    for kind in KINDS.into_iter().filter(|kind| kind.is_stream()) {
        Load::spoilt(&node, kind, How::Trims).await;
    }
}

/// I1, I5: somebody's EXPIRE; dedupe entries alone have one of ours. Of each type some.
#[tokio::test]
async fn whatever_key_is_set_to_expire_stays() {
    const KINDS: [Kind; 8] = [
        Kind::Delivery,
        Kind::Event,
        Kind::Attempts,
        Kind::Index("n"),
        Kind::Index("log:crm"),
        Kind::Index("made:crm"),
        Kind::DeadLetters,
        Kind::Registry("doc:1"),
    ];
    let node = Node::start();
    for kind in KINDS {
        Load::spoilt(&node, kind, How::Expires).await;
    }
}

/// I1, I5: nonsense of the right type. What is sealed and does not read stays until somebody takes it out by `--accept-loss`: a mark, for which
/// its job waits, is not among these.
#[tokio::test]
async fn whatever_key_is_garbled_is_mended_or_passed_over() {
    let node = Node::start();
    for kind in KINDS.into_iter().filter(|kind| *kind != Kind::Mark) {
        Load::spoilt(&node, kind, How::Garbles).await;
    }
}

/// A store under load, and what was acknowledged.
struct Load<'a> {
    node: &'a Node,
    kind: Kind,
    how: How,
    fixture: Fixture<Shared>,
    store: RedisStore,
    acknowledged: BTreeSet<DeliveryId>,
    /// Those that may be lost with the key.
    with_key: BTreeSet<DeliveryId>,
    sources: BTreeSet<String>,
    name: String,
    began: Instant,
}

impl<'a> Load<'a> {
    async fn spoilt(node: &'a Node, kind: Kind, how: How) {
        let name = fresh_name();
        let options = Options {
            stream_name: name.clone(),
            dead_letter_queue: format!("{name}-dead"),
            glance_every: Duration::from_millis(5),
            ..Options::new(node.address())
        };
        let store = RedisStore::open(options.clone());
        store.begin().await.expect("it keeps what it is given");
        let fixture = Fixture::over(Shared::at_hand(options), IdMint::new(0, 7));
        let (acknowledged, with_key, sources) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let began = Instant::now();
        let mut load = Self { node, kind, how, fixture, store, acknowledged, with_key, sources, name, began };
        // From now on it looks after everything.
        load.store.due(DueAsk::at(at(0), 1)).await.expect("reads");
        for round in 0..2 {
            load.work(round).await;
        }
        let key = load.key().await;
        load.insist(|store| store.documents(DocumentKind::Source)).await;
        how.spoil(node, kind, &key);
        for round in 2..4 {
            load.work(round).await;
        }
        load.come_to_rest(&key).await;
    }

    /// The key that is spoilt.
    async fn key(&mut self) -> Vec<u8> {
        let prefix = format!("{}:{{00-23}}:", self.name).into_bytes();
        let (victim, event) = self.victim().await;
        let id = |kind: &[u8], id: u128| [&prefix, kind, &id.to_be_bytes()[..]].concat();
        match self.kind {
            Kind::Index(within) | Kind::Spare(within) => [&prefix, within.as_bytes()].concat(),
            Kind::Delivery => {
                self.with_key.extend(Some(victim).filter(|_| self.how != How::Expires));
                id(b"d:", victim.as_u128())
            }
            Kind::Event => {
                self.with_key.extend(Some(victim).filter(|_| self.how != How::Expires));
                id(b"e:", event.as_u128())
            }
            Kind::Replays => id(b"r:", event.as_u128()),
            Kind::Attempts => id(b"t:", victim.as_u128()),
            Kind::Taken => [&prefix, &b"k:in:"[..], &[0; 32]].concat(),
            Kind::Mark => id(b"step:", JOB),
            Kind::DeadLetters => format!("{}-dead:{{00-23}}", self.name).into_bytes(),
            Kind::Registry(within) => format!("{}:{{reg}}:{within}", self.name).into_bytes(),
        }
    }

    /// A delivery of an event that was tried, and replayed.
    async fn victim(&mut self) -> (DeliveryId, EventId) {
        let stored = self.accept(50, None).await;
        for tries in 0..2 {
            let now = self.fixture.find(stored.id).await.expect("it is there");
            self.settle(tried(&now, tries)).await;
        }
        if self.kind == Kind::Replays {
            let id = self.fixture.mint.delivery(at(50)).beside(stored.event);
            let made = Delivery { id, replay: true, ..stored.clone() };
            self.insist(|store| store.replay(Replay::anyway(vec![made.clone()]), Vec::new())).await;
            self.acknowledged.insert(id);
        }
        (stored.id, stored.event)
    }

    /// Asks until it is done: what is spoilt is mended meanwhile.
    async fn insist<T, E: std::fmt::Debug, F>(&self, ask: impl Fn(&RedisStore) -> F) -> T
    where
        F: Future<Output = Result<T, E>>,
    {
        loop {
            match ask(&self.store).await {
                Ok(done) => return done,
                Err(error) => self.not_for_ever(&error),
            }
            tokio::task::yield_now().await;
        }
    }

    fn not_for_ever(&self, what: &dyn std::fmt::Debug) {
        assert!(self.began.elapsed() < Duration::from_secs(60), "{:?} {:?}: {what:?}", self.kind, self.how);
    }

    async fn accept(&mut self, second: u64, dedupe: Option<Dedupe>) -> Delivery {
        let event = self.fixture.event("in", b"{}", at(second));
        let append = Append { dedupe, ..self.fixture.appending(event, &["crm"]) };
        let stored = append.deliveries[0].clone();
        let ask = |store: &RedisStore| {
            let asked = store.append(vec![append.clone()]);
            async { asked.await.pop().expect("one answer") }
        };
        self.insist(ask).await;
        self.acknowledged.insert(stored.id);
        stored
    }

    async fn settle(&self, change: Change) {
        self.insist(|store| store.settle(vec![change.clone()])).await;
    }

    async fn lease(&self, second: u64) -> Vec<Delivery> {
        let ask = LeaseAsk {
            destination: "crm".parse().expect("a name"),
            instance: InstanceId::from_u128(5),
            nonce: 9,
            until: at(second + 60),
            now: at(second),
            limit: 4,
            tried_max: 9,
            order: LeaseOrder::Shared { tried: 2 },
            partitions: Partitions::ALL,
        };
        self.insist(|store| store.lease(ask.clone())).await.deliveries
    }

    /// A document, a line of the audit log, a word of a run, and a step of a job.
    async fn work_beside(&mut self, round: u64) {
        let name = format!("in-{round}");
        let key = DocumentKey { kind: DocumentKind::Source, name: name.clone() };
        self.insist(|store| store.put_document(key.clone(), 0, Some("{}".into()), Vec::new())).await;
        self.sources.insert(name);
        let line = AuditEntry {
            at: at(round),
            who: "somebody".to_owned(),
            action: "a.test".to_owned(),
            subject: String::new(),
            origin: String::new(),
        };
        self.insist(|store| store.audit(vec![line.clone()])).await;
        let mine = Presence {
            run: 3,
            at: at(round),
            server: About::default(),
            stopping: false,
            clock: None,
            clients: Vec::new(),
            circuits: Vec::new(),
        };
        self.insist(|store| store.presence(mine.clone())).await;
        let step = Step {
            job: JobId::from_u128(JOB),
            before: 0,
            cursor: None,
            matched: 0,
            fingerprint: 1,
            next_due: None,
            is_over: false,
            settle: Vec::new(),
            retire: Vec::new(),
            make: Vec::new(),
            erase: Vec::new(),
            audit: None,
        };
        self.insist(|store| store.step(step.clone())).await;
    }

    /// All documents are there, and what says what the store is.
    async fn has_registry(&self) -> bool {
        let sources = self.insist(|store| store.documents(DocumentKind::Source)).await;
        let names: BTreeSet<String> = sources.into_iter().map(|source| source.key.name).collect();
        let version = self.insist(relay_store::seam::Registry::version).await;
        let meta = format!("{}:{{reg}}:meta", self.name);
        let told = self.node.ask(&[b"HMGET", meta.as_bytes(), b"layout", b"partitions", b"epoch"]);
        // One that was never ours does not read, and is empty.
        let is_ours = |name: &String| self.how != How::Garbles || name != "nonsense";
        names.into_iter().filter(is_ours).collect::<BTreeSet<_>>() == self.sources
            && version > Some(0)
            && told.starts_with("*3")
            && !told.contains("$-1")
    }

    /// Something in every state and every place.
    async fn work(&mut self, round: u64) {
        self.work_beside(round).await;
        for number in 0..10 {
            let dedupe = (round == 0 && number == 0).then(|| Dedupe { key: [0; 32], until: at(90) });
            self.accept(round, dedupe).await;
        }
        let event = self.fixture.event("in", b"nobody's", at(round));
        let lone = self.fixture.appending(event, &[]);
        let ask = |store: &RedisStore| {
            let asked = store.append(vec![lone.clone()]);
            async { asked.await.pop().expect("one answer") }
        };
        self.insist(ask).await;
        for (number, held) in self.lease(round + 10).await.into_iter().enumerate() {
            match number {
                0 => self.settle(ended(&held, State::Delivered)).await,
                1 => self.settle(ended(&held, State::Dead)).await,
                2 => self.settle(tried(&held, 0)).await,
                _ => {}
            }
        }
        let back = self.lease(round + 10).await;
        if let Some(held) = back.first() {
            let back = relay_core::delivery::hand_back(held, held.claim(), at(round + 10));
            self.settle(back.expect("it is held")).await;
        }
    }

    /// All that was acknowledged comes to its end, or is named; then everything fits together.
    async fn come_to_rest(&mut self, key: &[u8]) {
        loop {
            let held = self.insist(|store| store.held(HeldAsk::all(None, 100))).await;
            let leased = self.lease(100).await;
            for held in held.iter().chain(&leased) {
                self.settle(ended(held, State::Delivered)).await;
            }
            let all: Vec<DeliveryId> = self.acknowledged.difference(&self.with_key).copied().collect();
            let found = self.insist(|store| store.find(all.clone())).await;
            let is_over = |found: &Option<Delivery>| found.as_ref().is_some_and(|found| !found.state.is_open());
            // It is gone, or stays for ever.
            let stays = self.kind == Kind::Taken || self.node.ask(&[b"PTTL", key]).starts_with(":-");
            let is_whole = found.iter().all(is_over) && self.is_whole().await && self.has_registry().await;
            if is_whole && stays && self.is_mended() {
                break;
            }
            let open = found.iter().flatten().find(|found| found.state.is_open());
            self.not_for_ever(&(open, stays, self.store.scrubbed()));
            // Of two recounts at a time one is given up: that of the store shall come to its end.
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// It says when it ran, and what it did. Some come right as what stands in them is leased.
    fn is_mended(&self) -> bool {
        let Scrubbed { ran, mended, .. } = self.store.scrubbed();
        let has_changed = mended.mended + mended.counters + mended.aside > 0;
        let by_itself = match self.kind {
            Kind::Index(within) => ["lone", "exp:crm", "tries:crm:0"].contains(&within) || self.how == How::Expires,
            _ => true,
        } || self.how == How::Garbles;
        ran.is_some() && (has_changed || by_itself)
    }

    /// Counters and listings say the same; what is lost was named.
    async fn is_whole(&self) -> bool {
        let recount = self.insist(relay_store::seam::Upkeep::recount).await;
        let sums = recount.counted.sources == recount.kept.sources
            && recount.counted.destinations == recount.kept.destinations;
        let is_named = self.with_key.is_empty() || recount.damaged > 0;
        let created = recount.kept.destinations.first().map_or(0, |destination| destination.created);
        let listed = self.listed().await;
        let is_listed = self.acknowledged.difference(&self.with_key).all(|id| listed.contains(id));
        sums && is_named && is_listed && created >= self.acknowledged.len() as u64
    }

    async fn listed(&self) -> BTreeSet<DeliveryId> {
        let page = Page { cursor: None, limit: 1_000 };
        let store = self.fixture.backend.store();
        let listed = store.browse_deliveries(DeliveryFilter::default(), page).await.expect("reads").items;
        listed.into_iter().map(|found| found.id).collect()
    }
}

fn ended(before: &Delivery, state: State) -> Change {
    let reason = (state == State::Dead).then_some(relay_core::delivery::Reason::Rejected);
    let next =
        Delivery { state, reason, lease: None, version: before.version + 1, changed_at: at(20), ..before.clone() };
    Change { before: before.clone(), next, archive: None }
}

fn tried(before: &Delivery, tries: u32) -> Change {
    let last = relay_core::delivery::Attempt {
        number: before.next_attempt(),
        at: at(1),
        duration_ms: 1,
        status: None,
        class: Class::Busy,
        counted: true,
        error: None,
        answer: None,
    };
    let next = Delivery {
        state: State::Scheduled,
        lease: None,
        version: before.version + 1,
        tries: tries + 1,
        attempts: before.attempts + 1,
        due_at: at(60),
        changed_at: at(20),
        last: Some(last),
        ..before.clone()
    };
    Change { before: before.clone(), next, archive: before.last.clone() }
}
