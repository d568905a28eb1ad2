//! Each kind of key is deleted, or made something else, under load: the store mends it by itself, or names what is lost.

use std::{collections::BTreeSet, time::Duration};

use relay_core::{
    delivery::{Delivery, State, outcome::Class},
    id::{DeliveryId, EventId, IdMint, InstanceId},
    partitions::Partitions,
    storage::{Append, Change, Dedupe, DueAsk, HeldAsk, LeaseAsk, LeaseOrder, Replay},
};
use relay_store::{
    conformance::{Backend as _, Fixture, at},
    redis::{Options, RedisStore, Scrubbed},
    seam::{DeliveryFilter, Page, Queue as _},
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
}

const KINDS: [Kind; 21] = [
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
    Kind::Delivery,
    Kind::Event,
    Kind::Replays,
    Kind::Attempts,
    Kind::Taken,
];

/// I1, I5: nothing that was acknowledged is lost without a word, whatever one key becomes.
#[tokio::test]
async fn whatever_key_is_deleted_is_mended_or_named() {
    let node = Node::start();
    for kind in KINDS {
        Load::spoilt(&node, kind, &|key| drop(node.ask(&[b"DEL", key]))).await;
    }
}

/// I1, I5
#[tokio::test]
async fn whatever_key_becomes_something_else_is_mended_or_named() {
    let node = Node::start();
    for kind in KINDS {
        // Of another type than ours in each case.
        let strange = |key: &[u8]| match kind {
            Kind::Attempts | Kind::Index(_) | Kind::Spare(_) => {
                drop(node.ask_all(&[&[b"DEL", key], &[b"SET", key, b"nonsense"]]));
            }
            _ => drop(node.ask_all(&[&[b"DEL", key], &[b"RPUSH", key, b"nonsense"]])),
        };
        Load::spoilt(&node, kind, &strange).await;
    }
}

/// A store under load, and what was acknowledged.
struct Load {
    kind: Kind,
    fixture: Fixture<Shared>,
    store: RedisStore,
    acknowledged: BTreeSet<DeliveryId>,
    /// Those that may be lost with the key.
    with_key: BTreeSet<DeliveryId>,
    name: String,
    began: Instant,
}

impl Load {
    async fn spoilt(node: &Node, kind: Kind, spoil: &dyn Fn(&[u8])) {
        let name = fresh_name();
        let options = Options {
            stream_name: name.clone(),
            dead_letter_queue: format!("{name}-dead"),
            glance_every: Duration::from_millis(5),
            ..Options::new(node.address())
        };
        let store = RedisStore::open(options.clone());
        let fixture = Fixture::over(Shared::at_hand(options), IdMint::new(0, 7));
        let (acknowledged, with_key) = (BTreeSet::new(), BTreeSet::new());
        let mut load = Self { kind, fixture, store, acknowledged, with_key, name, began: Instant::now() };
        // From now on it looks after everything.
        load.store.due(DueAsk::at(at(0), 1)).await.expect("reads");
        for round in 0..2 {
            load.work(round).await;
        }
        let key = load.key().await;
        spoil(&key);
        for round in 2..4 {
            load.work(round).await;
        }
        load.come_to_rest().await;
    }

    /// The key that is spoilt.
    async fn key(&mut self) -> Vec<u8> {
        let prefix = format!("{}:{{00-23}}:", self.name).into_bytes();
        let (victim, event) = self.victim().await;
        let id = |kind: &[u8], id: u128| [&prefix, kind, &id.to_be_bytes()[..]].concat();
        match self.kind {
            Kind::Index(within) | Kind::Spare(within) => [&prefix, within.as_bytes()].concat(),
            Kind::Delivery => {
                self.with_key.insert(victim);
                id(b"d:", victim.as_u128())
            }
            Kind::Event => {
                self.with_key.insert(victim);
                id(b"e:", event.as_u128())
            }
            Kind::Replays => id(b"r:", event.as_u128()),
            Kind::Attempts => id(b"t:", victim.as_u128()),
            Kind::Taken => [&prefix, &b"k:in:"[..], &[0; 32]].concat(),
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
        assert!(self.began.elapsed() < Duration::from_secs(60), "{:?}: {what:?}", self.kind);
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

    /// Something in every state and every place.
    async fn work(&mut self, round: u64) {
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
    async fn come_to_rest(&mut self) {
        loop {
            let held = self.insist(|store| store.held(HeldAsk::all(None, 100))).await;
            let leased = self.lease(100).await;
            for held in held.iter().chain(&leased) {
                self.settle(ended(held, State::Delivered)).await;
            }
            let all: Vec<DeliveryId> = self.acknowledged.difference(&self.with_key).copied().collect();
            let found = self.insist(|store| store.find(all.clone())).await;
            let is_over = |found: &Option<Delivery>| found.as_ref().is_some_and(|found| !found.state.is_open());
            if found.iter().all(is_over) && self.is_whole().await && self.is_mended() {
                break;
            }
            let open = found.iter().flatten().find(|found| found.state.is_open());
            self.not_for_ever(&(open, self.store.scrubbed()));
            // Of two recounts at a time one is given up: that of the store shall come to its end.
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// It says when it ran, and what it did. Some come right as what stands in them is leased.
    fn is_mended(&self) -> bool {
        let Scrubbed { ran, mended, .. } = self.store.scrubbed();
        let has_changed = mended.mended + mended.counters + mended.aside > 0;
        let by_itself = match self.kind {
            Kind::Index(within) => ["lone", "exp:crm", "tries:crm:0"].contains(&within),
            _ => true,
        };
        ran.is_some() && (has_changed || by_itself)
    }

    /// Counters and listings say the same; what is lost was named.
    async fn is_whole(&self) -> bool {
        let recount = self.insist(relay_store::seam::Upkeep::recount).await;
        let sums = recount.counted.sources == recount.kept.sources
            && recount.counted.destinations == recount.kept.destinations;
        let is_named = !matches!(self.kind, Kind::Delivery | Kind::Event) || recount.damaged > 0;
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
