//! A store and the store in memory, given the same random operations, crashes among them: same answers, same records, and
//! counters that equal a recount.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use relay_core::{
    delivery::{
        self, Change, Delivery, Reason, State, Terms,
        answer::Answer,
        outcome::{Class, Outcome},
        retry::RetryPolicy,
    },
    event::Event,
    id::{DeliveryId, IdMint, InstanceId, Partition},
    jobs::{self, Action, Command, ForHub, Job, Output, Pace, Retained, Retention, Rules, Target},
    name::Name,
    partitions::Partitions,
    storage::{
        Append, Backlog, BodyOf, Changed, Dedupe, DueAsk, Extend, HeldAsk, LeaseAsk, LeaseEnd, LeaseOrder, Replay,
        StoreError,
    },
    time::Wall,
};
use relay_store::{
    Store,
    memory::MemoryStore,
    seam::{
        AuditEntry, AuditFilter, DeliveryFilter, EventFilter, Page, Range, Stats, Trades, perform_job,
        perform_retention,
    },
};

/// When they begin.
pub(crate) const START: Wall = Wall::from_micros(1_800_000_000_000_000);
const TTL: Duration = Duration::from_secs(90);
const STEPS: usize = 150;

/// A store that is compared with the one in memory.
pub(crate) trait Tested: Sized {
    /// Whether leases come in one order over all of it. Else it is asked for all that is due, and the order of that is nothing.
    const STRICT_ORDER: bool = true;
    /// So many histories are played where nobody says how many.
    const HISTORIES: u64 = 12;

    /// An empty one.
    async fn fresh() -> Self;

    /// The store.
    fn store(&self) -> &dyn Store;

    /// The process dies, and starts again.
    async fn crash(self) -> Self;
}

/// Plays histories, as many as `DIFFERENTIAL_SEEDS` says.
pub(crate) fn play<T: Tested>() {
    let seeds =
        std::env::var("DIFFERENTIAL_SEEDS").map_or(T::HISTORIES, |text| text.parse().expect("a number of histories"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for seed in 0..seeds {
        runtime.block_on(async {
            let mut pair = Pair::<T>::new(seed).await;
            for step in 0..STEPS {
                pair.at = format!("seed {seed}, step {step}");
                pair.step().await;
                if step % 10 == 0 {
                    pair.compare().await;
                }
            }
            pair.compare().await;
        });
    }
}

/// Asks both stores the same and gives the answer, which must be the same.
macro_rules! both {
    ($pair:ident, |$store:ident| $ask:expr) => {{
        let tested = {
            let $store: &dyn Store = $pair.tested().store();
            $ask.await
        };
        let memory = {
            let $store: &dyn Store = &$pair.memory;
            $ask.await
        };
        assert_eq!(tested, memory, "{}: {}", $pair.at, stringify!($ask));
        tested
    }};
}

struct Pair<T> {
    /// There, but while it crashes.
    tested: Option<T>,
    memory: MemoryStore,
    rng: StdRng,
    mint: IdMint,
    now: Wall,
    /// Everything ever made, also what is gone by now.
    deliveries: Vec<DeliveryId>,
    events: Vec<Arc<Event>>,
    /// Decisions that may be old by now.
    changes: Vec<Change>,
    commands: Vec<(Command, u32)>,
    at: String,
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

impl<T: Tested> Pair<T> {
    async fn new(seed: u64) -> Self {
        Self {
            tested: Some(T::fresh().await),
            memory: MemoryStore::new(),
            rng: StdRng::seed_from_u64(seed),
            mint: IdMint::new(0, seed),
            now: START,
            deliveries: Vec::new(),
            events: Vec::new(),
            changes: Vec::new(),
            commands: Vec::new(),
            at: String::new(),
        }
    }

    fn tested(&self) -> &T {
        self.tested.as_ref().expect("it is there again after a crash")
    }

    async fn step(&mut self) {
        self.now = self.now + Duration::from_millis(self.rng.random_range(0..8_000));
        match self.rng.random_range(0..20) {
            0..5 => self.append().await,
            5..9 => self.lease().await,
            9..14 => self.settle().await,
            14 => self.extend().await,
            15 | 16 => self.command().await,
            17 => self.retain().await,
            18 => self.replay().await,
            _ => self.crash().await,
        }
    }

    fn source(&mut self) -> Name {
        name(["stripe", "github"][self.rng.random_range(0..2)])
    }

    fn destination(&mut self) -> Name {
        name(["crm", "erp", "n8n"][self.rng.random_range(0..3)])
    }

    async fn append(&mut self) {
        let source = self.source();
        let batch: Vec<Append> = (0..self.rng.random_range(1..4)).map(|_| self.event(&source)).collect();
        let answers = both!(self, |store| store.append(batch.clone()));
        assert!(answers.iter().all(Result::is_ok), "{}: {answers:?}", self.at);
    }

    fn name_of_event(&mut self) -> Option<Arc<str>> {
        [None, Some("invoice.paid"), Some("invoice.voided"), Some("push")][self.rng.random_range(0..4)].map(Arc::from)
    }

    fn event(&mut self, source: &Name) -> Append {
        let body = Bytes::from(vec![b'x'; self.rng.random_range(0..2_000)]);
        let key = [self.rng.random_range(0..6); 32];
        let dedupe = self.rng.random_bool(0.5).then(|| Dedupe { key, until: self.now + Duration::from_secs(40) });
        let id = match &dedupe {
            Some(dedupe) => self.mint.event_in(Partition::of_digest(&dedupe.key), self.now),
            None => self.mint.event(self.now),
        };
        let event = Arc::new(Event {
            id,
            source: source.clone(),
            method: Bytes::from_static(b"POST"),
            path: Bytes::from_static(b"/webhook"),
            query: None,
            headers: Vec::new(),
            body_sha256: [body.len() as u8; 32],
            body,
            received_at: self.now,
            name: self.name_of_event(),
            key: self.rng.random_bool(0.1).then(|| name("cron")),
        });
        let first = self.rng.random_range(0..3);
        let names = ["crm", "erp", "n8n", "crm"][first..first + self.rng.random_range(1..3).min(4 - first)].iter();
        // Routes of one destination may have TTLs of their own.
        let ttl = TTL * self.rng.random_range(1..4);
        let deliveries: Vec<Delivery> = names
            .map(|to| Delivery::ready(self.mint.delivery(self.now), &event, name(to), false, self.now, ttl))
            .collect();
        self.deliveries.extend(deliveries.iter().map(|made| made.id));
        self.events.push(Arc::clone(&event));
        Append { event, deliveries, dedupe, deadline: Wall::MAX }
    }

    async fn lease(&mut self) {
        let order = match self.rng.random_range(0..6) {
            0 => LeaseOrder::FewestTries,
            1 => LeaseOrder::Newest,
            _ => LeaseOrder::Shared { tried: self.rng.random_range(0..4) },
        };
        let mut ask = LeaseAsk {
            destination: self.destination(),
            instance: InstanceId::from_u128(self.rng.random_range(1..3)),
            nonce: self.rng.random_range(1..3),
            until: self.now + Duration::from_secs(20),
            now: self.now,
            limit: self.rng.random_range(1..5),
            tried_max: self.rng.random_range(0..5),
            order,
            partitions: Partitions::ALL,
        };
        let deliveries = if T::STRICT_ORDER {
            both!(self, |store| {
                let leased = store.lease(ask.clone());
                async { leased.await.map(|leased| (leased.deliveries, leased.end, leased.backlog)) }
            })
            .expect("leases")
            .0
        } else {
            (ask.limit, ask.tried_max) = (1_000, 1_000 * ask.tried_max.min(1));
            both!(self, |store| lease_all(store, &ask)).0
        };
        let of: Vec<BodyOf> =
            deliveries.iter().map(|leased| BodyOf { delivery: leased.id, event: leased.event }).collect();
        let bodies = both!(self, |store| store.bodies(of.clone())).expect("reads");
        assert!(bodies.iter().all(Option::is_some), "the event of what is leased is there");
    }

    async fn settle(&mut self) {
        for _ in 0..self.rng.random_range(1..4) {
            let Some(found) = self.any().await else { continue };
            if let Some(change) = self.decide(&found) {
                self.changes.push(change);
            }
        }
        // The newest decisions, and now and then one that is old.
        let from = self.changes.len().saturating_sub(3);
        let mut batch = self.changes[from..].to_vec();
        if !self.changes.is_empty() && self.rng.random_bool(0.3) {
            batch.push(self.changes[self.rng.random_range(0..self.changes.len())].clone());
        }
        let answers = both!(self, |store| store.settle(batch.clone())).expect("settles");
        assert!(answers.iter().all(|answer| matches!(answer, Changed::Applied | Changed::Conflict(_))));
    }

    /// One delivery as it is stored.
    async fn any(&mut self) -> Option<Delivery> {
        if self.deliveries.is_empty() {
            return None;
        }
        let id = self.deliveries[self.rng.random_range(0..self.deliveries.len())];
        both!(self, |store| store.find(vec![id])).expect("finds").pop().flatten()
    }

    fn decide(&mut self, found: &Delivery) -> Option<Change> {
        match self.rng.random_range(0..10) {
            0 => delivery::expire(found, self.now),
            1 => delivery::hand_back(found, found.claim(), self.now),
            2 => delivery::lose(found, found.claim(), self.now),
            3 => delivery::count_loss(found, found.ready_at, self.now),
            _ => {
                let class = [Class::Delivered, Class::Rejected, Class::Refused, Class::Busy, Class::Unreachable]
                    [self.rng.random_range(0..5)];
                let outcome = Outcome {
                    class,
                    status: None,
                    retry_after: None,
                    duration: Duration::from_millis(3),
                    error: (class != Class::Delivered).then(|| "no".into()),
                    answer: Answer { body: Some("no such customer\n".into()), ..Answer::default() }.shared(),
                };
                let retry = RetryPolicy::default();
                let (retry_after_max, made) = (Duration::from_hours(1), self.rng.random_range(0..4));
                let terms = Terms {
                    retry: &retry,
                    retry_after_max,
                    uncounted_delay_max: Duration::from_mins(1),
                    delivered: made,
                    charges: true,
                    jitter: 0.0,
                };
                delivery::settle(found, found.token, &outcome, &terms, self.now)
            }
        }
    }

    async fn extend(&mut self) {
        let Some(found) = self.any().await else { return };
        let mut claim = found.claim();
        claim.token.nonce += u64::from(self.rng.random_bool(0.2));
        claim.keeper += u64::from(self.rng.random_bool(0.2));
        let until = self.now + Duration::from_secs(self.rng.random_range(0..90));
        let extend = Extend { id: found.id, claim, until };
        both!(self, |store| store.extend(vec![extend])).expect("extends");
    }

    /// A command, on both: the same pages, decisions, answers and marks. Now and then it is cut, and one of before comes
    /// again.
    async fn command(&mut self) {
        let (command, page_max) = if !self.commands.is_empty() && self.rng.random_bool(0.3) {
            self.commands[self.rng.random_range(0..self.commands.len())].clone()
        } else {
            (self.new_command(), *[1, 3, 500].choose(&mut self.rng).expect("there are some"))
        };
        self.commands.push((command.clone(), page_max));
        let cut = self.rng.random_bool(0.3).then(|| self.rng.random_range(1..6));
        let now = self.now;
        let tested = run(self.tested().store(), command.clone(), page_max, now, cut).await;
        let memory = run(&self.memory, command, page_max, now, cut).await;
        assert_eq!(tested, memory, "{}", self.at);
    }

    fn new_command(&mut self) -> Command {
        let action = match self.rng.random_range(0..4) {
            0 => Action::Purge,
            1 => Action::Cancel,
            _ => {
                let pace = Pace { from: self.now, every: Duration::from_secs(3) };
                let pace = Some(pace).filter(|_| self.rng.random_bool(0.5));
                let ttl = BTreeMap::from([((self.source(), self.destination()), TTL * 2)]);
                Action::Redrive { ttl, ttl_default: TTL, pace }
            }
        };
        let target = if self.rng.random_bool(0.5) {
            Target::Ids(self.deliveries.iter().copied().filter(|_| self.rng.random_bool(0.1)).collect())
        } else {
            Target::Matching(self.filter())
        };
        let (job, limit) = (self.mint.job(self.now), self.rng.random_bool(0.2).then(|| self.rng.random_range(0..8)));
        let (dry_run, audit) = (self.rng.random_bool(0.2), Some(audit(self.now)));
        Command {
            job,
            fingerprint: 0,
            action,
            target,
            pick: None,
            limit,
            cursor: None,
            as_of: None,
            last: None,
            dry_run,
            audit,
        }
    }

    fn filter(&mut self) -> DeliveryFilter {
        let mut filter = DeliveryFilter::default();
        if self.rng.random_bool(0.5) {
            filter.destination = Some(self.destination());
        }
        if self.rng.random_bool(0.3) {
            filter.source = Some(self.source());
        }
        if self.rng.random_bool(0.4) {
            filter.states = State::ALL.into_iter().filter(|_| self.rng.random_bool(0.4)).collect();
        }
        if self.rng.random_bool(0.2) {
            filter.states = vec![State::Dead, State::Expired];
            filter.reason =
                Some([Reason::Rejected, Reason::Refused, Reason::Busy, Reason::Expired][self.rng.random_range(0..4)]);
        }
        if !self.events.is_empty() && self.rng.random_bool(0.1) {
            filter.event = Some(self.events[self.rng.random_range(0..self.events.len())].id);
        }
        if self.rng.random_bool(0.3) {
            let span = self.now.since(START).as_millis() as u64 + 1;
            let since = START + Duration::from_millis(self.rng.random_range(0..span));
            filter.range =
                Range { since: Some(since), until: self.rng.random_bool(0.5).then(|| since + Duration::from_secs(60)) };
        }
        filter
    }

    async fn retain(&mut self) {
        let delivered_before = self.now - Duration::from_secs(self.rng.random_range(0..200));
        let dead_before = self.now - Duration::from_secs(self.rng.random_range(100..400));
        let rules = Rules { now: self.now, delivered_before, dead_before, partitions: Partitions::ALL };
        let page_max = *[1, 7, 500].choose(&mut self.rng).expect("there are some");
        both!(self, |store| retain(store, rules, page_max));
    }

    async fn replay(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let made: Vec<Delivery> = (0..2)
            .map(|_| {
                let event = Arc::clone(&self.events[self.rng.random_range(0..self.events.len())]);
                let to = self.destination();
                Delivery::ready(self.mint.delivery(self.now), &event, to, true, self.now, TTL)
            })
            .collect();
        self.deliveries.extend(made.iter().map(|made| made.id));
        let entries = vec![audit(self.now)];
        let first =
            both!(self, |store| store.replay(Replay::anyway(made.clone()), entries.clone())).expect("is stored");
        let again =
            both!(self, |store| store.replay(Replay::anyway(made.clone()), entries.clone())).expect("is stored");
        assert_eq!(first, again, "{}: a repeated replay", self.at);
    }

    async fn crash(&mut self) {
        if let Some(tested) = self.tested.take() {
            self.tested = Some(tested.crash().await);
        }
        self.memory = self.memory.reopen();
    }

    /// Everything visible, and the sums.
    async fn compare(&mut self) {
        both!(self, |store| store.due(DueAsk::at(self.now, 1_000))).expect("reads");
        both!(self, |store| store.held(HeldAsk::all(None, 1_000))).expect("reads");
        self.compare_records().await;
        for _ in 0..4 {
            let filter = self.filter();
            let limit = self.rng.random_range(1..20);
            let tested = pages(self.tested().store(), &filter, limit).await;
            let memory = pages(&self.memory, &filter, limit).await;
            assert_eq!(tested, memory, "{}: {filter:?} by {limit}", self.at);
        }
        let oldest_first = self.rng.random_bool(0.5);
        let source = self.rng.random_bool(0.7).then(|| self.source());
        let pattern = [None, Some("invoice.*"), Some("*.voided"), Some("*"), Some("")][self.rng.random_range(0..5)];
        let pattern = pattern.map(|pattern| pattern.parse().expect("a pattern"));
        let events = EventFilter { source, name: pattern, oldest_first, ..EventFilter::default() };
        let page = Page { cursor: None, limit: 1_000 };
        both!(self, |store| store.browse_events(events.clone(), page.clone())).expect("reads");
        for source in ["stripe", "github", "nobody"] {
            both!(self, |store| store.event_names(name(source))).expect("reads");
        }
        let page = Page { cursor: None, limit: 1_000 };
        both!(self, |store| store.browse_audit(AuditFilter::default(), page.clone())).expect("reads");
        both!(self, |store| {
            let stats = store.stats();
            async { stats.await.map(sums) }
        })
        .expect("reads");
        let recount = self.tested().store().recount().await.expect("counts");
        assert_eq!(recount.counted, recount.kept, "{}: I5", self.at);
    }

    /// Every delivery with its attempts, and the event it carries.
    async fn compare_records(&mut self) {
        let page = Page { cursor: None, limit: 1_000 };
        let all = both!(self, |store| store.browse_deliveries(DeliveryFilter::default(), page.clone()));
        for found in all.expect("reads").items {
            let event = both!(self, |store| store.event(found.event)).expect("reads");
            assert!(event.is_some(), "{}: {} has lost its event", self.at, found.id);
            both!(self, |store| store.attempts(found.id)).expect("reads");
        }
    }
}

fn audit(at: Wall) -> AuditEntry {
    AuditEntry { at, who: "cli".into(), action: "test".into(), subject: "all".into(), origin: "{\"uid\":1}".into() }
}

/// Both sums hold, and what is left is what both backends have: counters and times.
fn sums(stats: Stats) -> Stats {
    for found in &stats.sources {
        assert_eq!(found.accepted, found.stored + found.retired, "I5: events of {}", found.source);
    }
    for found in &stats.destinations {
        let present: u64 = found.states.iter().sum();
        assert_eq!(found.created, present + found.retired + found.lost, "I5: deliveries of {}", found.destination);
    }
    // The embedded store also knows the times of audit entries.
    Stats { disk_free_bytes: None, store_bytes: 0, memory: None, latest: Wall::MIN, ..stats }
}

/// All that an ask comes to, asked again until nothing comes, by id; and what is said of the rest.
async fn lease_all(store: &dyn Store, ask: &LeaseAsk) -> (Vec<Delivery>, LeaseEnd, Backlog) {
    let mut all = Vec::new();
    loop {
        let leased = store.lease(ask.clone()).await.expect("leases");
        if leased.deliveries.is_empty() {
            all.sort_by_key(|leased: &Delivery| leased.id);
            return (all, leased.end, leased.backlog);
        }
        all.extend(leased.deliveries);
    }
}

/// Runs a command until it is over, or for so many operations; what the hub is told, and what came of it.
async fn run(
    store: &dyn Store,
    command: Command,
    page_max: u32,
    now: Wall,
    cut: Option<usize>,
) -> (Vec<ForHub>, Option<jobs::JobSums>) {
    let (mut job, mut tells, mut ops) = (Job::new(command).by(page_max), Vec::new(), 0);
    loop {
        match job.poll(now) {
            Some(Output::Ask(op)) => {
                if cut == Some(ops) {
                    return (tells, None);
                }
                ops += 1;
                job.handle(perform_job(Trades::of(store), op).await);
            }
            Some(Output::Tell(told)) => tells.push(told),
            Some(Output::Mint(_) | Output::Pause(_)) => panic!("nothing is in its way"),
            Some(Output::Over) | None => {
                // What a cursor says is each backend's own affair.
                let outcome =
                    job.outcome().map(|done| jobs::JobSums { next: done.next.map(|_| String::new()), ..done });
                return (tells, outcome);
            }
        }
    }
}

/// One round of retention.
async fn retain(store: &dyn Store, rules: Rules, page_max: u32) -> Option<(Retained, Result<(), StoreError>)> {
    let mut retention = Retention::new(rules).by(page_max);
    while let Some(op) = retention.poll() {
        retention.handle(perform_retention(store, op).await);
    }
    retention.outcome()
}

/// All pages of a listing, in their order.
async fn pages(store: &dyn Store, filter: &DeliveryFilter, limit: u32) -> Vec<Delivery> {
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = Page { cursor, limit };
        let listing = store.browse_deliveries(filter.clone(), page).await.expect("reads");
        found.extend(listing.items);
        cursor = listing.next;
        if cursor.is_none() {
            return found;
        }
    }
}
