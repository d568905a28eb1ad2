//! What the cases share: a store, a mint with a fixed seed, and short ways to make a delivery of any state.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use relay_core::{
    delivery::{Attempt, Change, Delivery, Reason, State, answer::Answer, outcome::Class},
    event::Event,
    id::{DeliveryId, EventId, IdMint, InstanceId, JobId, Partition},
    jobs::{Action, Command, End, ForHub, Job, JobSums, Output, Retained, Retention, Rules, Target},
    name::Name,
    partitions::Partitions,
    storage::{Append, AppendError, Appended, BodyOf, Changed, Dedupe, LeaseAsk, LeaseOrder, Leased, StoreError},
    time::Wall,
};

use super::Backend;
use crate::{
    Store,
    seam::{
        DeliveryFilter, DestinationStats, Document, DocumentKind, EventFilter, Page, Recount, SourceStats, Trades,
        perform_job, perform_retention,
    },
};

/// How often a store that was away is asked again, with a pause of 20 ms each.
const AWAY_ASKED: u32 = 3_000;
/// TTL of the deliveries that a fixture makes.
pub(super) const TTL: Duration = Duration::from_hours(24);

/// A moment of the cases' own time: so many seconds behind its start, which lies in 2027, so that a backend which
/// compared with a real clock would be noticed.
pub fn at(seconds: u64) -> Wall {
    Wall::from_micros(1_800_000_000_000_000) + Duration::from_secs(seconds)
}

/// A name, known to be one.
pub(super) fn name(text: &str) -> Name {
    text.parse().expect("the cases use valid names")
}

/// A store under test and what is needed to fill it. Two fixtures that are filled alike hold the same ids.
#[derive(Debug)]
pub struct Fixture<B> {
    /// The backend.
    pub backend: B,
    /// Of every id made.
    pub mint: IdMint,
    /// Where all events are, if they are in one place.
    within: Option<Partition>,
}

/// Everything visible in a store, for comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    events: Vec<Event>,
    deliveries: Vec<(Delivery, Vec<Attempt>)>,
    documents: Vec<Document>,
    sources: Vec<SourceStats>,
    destinations: Vec<DestinationStats>,
}

impl<B: Backend> Fixture<B> {
    /// Over this store.
    pub fn over(backend: B, mint: IdMint) -> Self {
        Self { backend, mint, within: None }
    }

    /// Over an empty store.
    pub async fn fresh() -> Self {
        Self::over(B::fresh().await, IdMint::new(0, 7))
    }

    /// Over an empty store, all events where [one order](Backend::STRICT_ORDER) and one step reach: anywhere, or in one partition.
    pub async fn in_one_place() -> Self {
        let within = Some(Partition::of_digest(&[0; 32])).filter(|_| !B::STRICT_ORDER);
        Self { within, ..Self::fresh().await }
    }

    /// The store.
    pub fn store(&self) -> Arc<dyn Store> {
        self.backend.store()
    }

    /// Kills the process and opens its data again.
    pub async fn reopen(self) -> Self {
        Self { backend: self.backend.reopen().await, ..self }
    }

    /// An event that is not stored yet.
    pub fn event(&mut self, source: &str, body: &[u8], received_at: Wall) -> Event {
        let id = match self.within {
            Some(partition) => self.mint.event_in(partition, received_at),
            None => self.mint.event(received_at),
        };
        Self::event_under(id, source, body, received_at)
    }

    /// The same with a key: an event is in the partition of that.
    pub fn event_of(&mut self, dedupe: &Dedupe, source: &str, body: &[u8], received_at: Wall) -> Event {
        let id = self.mint.event_in(Partition::of_digest(&dedupe.key), received_at);
        Self::event_under(id, source, body, received_at)
    }

    fn event_under(id: EventId, source: &str, body: &[u8], received_at: Wall) -> Event {
        Event {
            id,
            source: name(source),
            method: Bytes::from_static(b"POST"),
            path: Bytes::from(format!("/webhook/{source}/a%2Fb")),
            query: Some(Bytes::from_static(b"x=1&x=2")),
            headers: vec![(Bytes::from_static(b"content-type"), Bytes::from_static(b"application/json"))],
            body: Bytes::copy_from_slice(body),
            body_sha256: sha256(body),
            received_at,
            name: None,
            key: None,
        }
    }

    /// An append of `event` with one ready delivery to each destination, due when it was received.
    pub fn appending(&mut self, event: Event, destinations: &[&str]) -> Append {
        let now = event.received_at;
        let event = Arc::new(event);
        let deliveries = destinations
            .iter()
            .map(|to| Delivery::ready(self.mint.delivery(now), &event, name(to), false, now, TTL))
            .collect();
        Append { event, deliveries, dedupe: None, deadline: Wall::MAX }
    }

    /// Stores one append.
    ///
    /// # Errors
    /// Those of [`Queue::append`](crate::seam::Queue::append).
    pub async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let mut answers = self.store().append(vec![append]).await;
        assert_eq!(answers.len(), 1, "one answer per item");
        answers.pop().expect("its length was checked")
    }

    /// Stores one event of source `in` with a small body and one ready delivery to `destination`.
    pub async fn accept(&mut self, destination: &str, received_at: Wall) -> Delivery {
        let event = self.event("in", b"{}", received_at);
        let append = self.appending(event, &[destination]);
        let delivery = append.deliveries[0].clone();
        assert!(self.append(append).await.is_ok_and(|found| found.is_stored()));
        delivery
    }

    /// Leases what is due by age, 100 at most, for 60 s.
    pub async fn lease(&self, destination: &str, now: Wall) -> Leased {
        self.store().lease(asking(destination, now)).await.expect("leasing works")
    }

    /// The events of these deliveries.
    pub async fn bodies(&self, of: &[Delivery]) -> Vec<Option<Arc<Event>>> {
        let of = of.iter().map(|held| BodyOf { delivery: held.id, event: held.event }).collect();
        self.store().bodies(of).await.expect("reading works")
    }

    /// The latest moment that the store knows of.
    pub async fn latest(&self) -> Wall {
        self.store().stats().await.expect("stats work").latest
    }

    /// Applies one change.
    pub async fn settle(&self, change: Change) -> Changed {
        let mut answers = self.store().settle(vec![change]).await.expect("settling works");
        assert_eq!(answers.len(), 1, "one answer per item");
        answers.pop().expect("its length was checked")
    }

    /// Applies one change that must succeed, and gives back the record now stored.
    pub async fn apply(&self, change: Change) -> Delivery {
        let next = change.next.clone();
        assert_eq!(self.settle(change).await, Changed::Applied);
        next
    }

    /// A stored delivery that ended that way at `now`.
    pub async fn ended(&mut self, destination: &str, state: State, now: Wall) -> Delivery {
        let found = self.accept(destination, now).await;
        self.apply(ending(&found, state, now)).await
    }

    /// The stored record.
    pub async fn find(&self, id: DeliveryId) -> Option<Delivery> {
        let mut found = self.store().find(vec![id]).await.expect("finding works");
        found.pop().expect("one answer per id")
    }

    /// A command under a new job.
    pub fn command(&mut self, action: Action, target: Target, now: Wall) -> Command {
        let job = self.job(now);
        Command {
            job,
            fingerprint: 0,
            action,
            target,
            pick: None,
            limit: None,
            cursor: None,
            as_of: None,
            last: None,
            dry_run: false,
            audit: None,
        }
    }

    /// A new job.
    pub fn job(&mut self, now: Wall) -> JobId {
        self.mint.job(now)
    }

    /// Runs a command, which must get to its end; gives what the hub was told of it, too.
    pub async fn run(&self, command: Command, now: Wall) -> (JobSums, ForHub) {
        let (outcome, heard) = self.end(command, now).await;
        assert_eq!(outcome.end, End::Done);
        (outcome, heard)
    }

    /// Runs a command until it ends, however it does. Where it would wait it goes on at once.
    pub async fn end(&self, command: Command, now: Wall) -> (JobSums, ForHub) {
        let store = self.store();
        // Far above those that were minted until now.
        let mut mint = IdMint::new(command.job.sequence() + (1 << 40), 1);
        let (mut job, mut heard) = (Job::new(command), ForHub::default());
        loop {
            match job.poll(now) {
                Some(Output::Ask(op)) => job.handle(perform_job(Trades::of(&*store), op).await),
                Some(Output::Mint(count)) => job.mint((0..count).map(|_| mint.delivery(now)).collect()),
                Some(Output::Tell(told)) => {
                    heard.touched.extend(told.touched);
                    heard.woken.extend(told.woken);
                }
                Some(Output::Pause(_)) => {}
                Some(Output::Over) | None => return (job.outcome().expect("nothing is in its way"), heard),
            }
        }
    }

    /// One round of retention, reading so many at a time.
    pub async fn retain(&self, rules: Rules, page_max: u32) -> Retained {
        let store = self.store();
        let mut retention = Retention::new(rules).by(page_max);
        while let Some(op) = retention.poll() {
            retention.handle(perform_retention(&*store, op).await);
        }
        let (retained, result) = retention.outcome().expect("it is over");
        assert_eq!(result, Ok(()));
        retained
    }

    /// A store that was away a moment ago may be so still; asked again, it counts again.
    async fn recounted(&self) -> Recount {
        for _ in 0..AWAY_ASKED {
            match self.store().recount().await {
                Ok(recount) => return recount,
                Err(StoreError::Away | StoreError::Unknown) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("recounting works: {error:?}"),
            }
        }
        panic!("it stays away")
    }

    /// I5: the counters equal a recount, and both sums come out even. Every case ends with this.
    pub async fn check_sums(&self) {
        let recount = self.recounted().await;
        assert_eq!(recount.counted.sources, recount.kept.sources, "I5: events");
        assert_eq!(recount.counted.destinations, recount.kept.destinations, "I5: deliveries");
        let stats = self.store().stats().await.expect("stats work");
        for found in &stats.sources {
            assert_eq!(found.accepted, found.stored + found.retired, "I5: events of {}", found.source);
        }
        for found in &stats.destinations {
            let present: u64 = found.states.iter().sum();
            assert_eq!(found.created, present + found.retired + found.lost, "I5: deliveries of {}", found.destination);
        }
    }

    /// Everything visible.
    pub async fn snapshot(&self) -> Snapshot {
        let store = self.store();
        let page = Page { cursor: None, limit: 1_000 };
        let mut events = Vec::new();
        for row in store.browse_events(EventFilter::default(), page.clone()).await.expect("browsing works").items {
            let event = store.event(row.event.id).await.expect("reading works").expect("a listed event is there");
            events.push(Event::clone(&event));
        }
        let mut deliveries = Vec::new();
        for found in store.browse_deliveries(DeliveryFilter::default(), page).await.expect("browsing works").items {
            let attempts = store.attempts(found.id).await.expect("reading works");
            deliveries.push((found, attempts));
        }
        let documents = store.documents(DocumentKind::Source).await.expect("reading works");
        let stats = store.stats().await.expect("stats work");
        Snapshot { events, deliveries, documents, sources: stats.sources, destinations: stats.destinations }
    }

    /// Counters of one destination.
    pub async fn counters(&self, destination: &str) -> DestinationStats {
        let stats = self.store().stats().await.expect("stats work");
        let found = stats.destinations.into_iter().find(|found| found.destination.as_str() == destination);
        found.expect("the destination has counters")
    }

    /// Counters of one source.
    pub async fn source_counters(&self, source: &str) -> SourceStats {
        let stats = self.store().stats().await.expect("stats work");
        stats.sources.into_iter().find(|found| found.source.as_str() == source).expect("the source has counters")
    }
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// A dedupe key.
pub(super) fn key(text: &str, until: Wall) -> Dedupe {
    Dedupe { key: sha256(text.as_bytes()), until }
}

/// Asks for up to 100 deliveries, oldest first, for 60 s.
pub(super) fn asking(destination: &str, now: Wall) -> LeaseAsk {
    LeaseAsk {
        destination: name(destination),
        instance: InstanceId::from_u128(0xc11e_0000),
        nonce: 0xfeed_face_cafe_beef,
        until: now + Duration::from_mins(1),
        now,
        limit: 100,
        tried_max: u32::MAX,
        order: LeaseOrder::Shared { tried: 0 },
        partitions: Partitions::ALL,
    }
}

/// A change of `before`; the version and the archived try follow by themselves.
pub(super) fn change(before: &Delivery, edit: impl FnOnce(&mut Delivery)) -> Change {
    let mut next = before.clone();
    edit(&mut next);
    next.version = before.version + 1;
    let archive = before.last.clone().filter(|last| next.last.as_ref() != Some(last));
    Change { before: before.clone(), next, archive }
}

/// A change that ends a delivery, or makes it ready, at `now`.
pub(super) fn ending(before: &Delivery, state: State, now: Wall) -> Change {
    change(before, |next| {
        next.state = state;
        next.lease = None;
        next.changed_at = now;
        next.reason = match state {
            State::Dead => Some(Reason::Rejected),
            State::Expired => Some(Reason::Expired),
            State::Ready | State::Scheduled | State::Leased | State::Delivered | State::Cancelled => None,
        };
    })
}

/// A change that records a try and schedules the next at `due_at`.
pub(super) fn failing(before: &Delivery, class: Class, now: Wall, due_at: Wall) -> Change {
    let attempt = attempt(before, class, now);
    change(before, |next| {
        next.state = State::Scheduled;
        next.lease = None;
        next.tries += 1;
        next.attempts += 1;
        next.due_at = due_at;
        next.changed_at = now;
        next.last = Some(attempt);
    })
}

/// The try that a report on `before` makes.
pub(super) fn attempt(before: &Delivery, class: Class, now: Wall) -> Attempt {
    Attempt {
        number: before.next_attempt(),
        at: now,
        duration_ms: 12,
        status: Some(500),
        class,
        counted: true,
        error: Some("the target answered 500".into()),
        answer: Answer { location: Some("/hooks/".into()), body: Some("größer\n".into()), ..Answer::default() }
            .shared(),
    }
}
