//! A store in memory, for tests and simulation; never offered to users.
//!
//! Every operation is one step under one lock, done before its future is handed out, so a run with the same inputs
//! gives the same answers. What it holds counts as durable: [`MemoryStore::reopen`] is a crash, and takes it along.

mod browse;
mod counters;
mod disk;
mod hand;
mod lease;
mod marks;
mod retain;
mod slot;
mod step;
mod transfer;

use std::{
    collections::BTreeSet,
    future::{poll_fn, ready},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use relay_core::{
    delivery::{Attempt, Change, Delivery},
    event::Event,
    id::{DeliveryId, EventId},
    jobs::{JobOp, JobStored, RetentionOp, RetentionStored},
    name::Name,
    partitions::Partitions,
    storage::{
        Append, AppendError, Appended, BodyOf, Changed, Dedupe, Due, DueAsk, Extend, Extended, HeldAsk, LeaseAsk,
        Leased, OverAsk, Presence, Replay, Replayed, Retire, Retired, Step, Stepped, StoreError, StoreOp, Stored,
    },
    time::Wall,
};
use tokio::sync::watch;

use self::disk::Disk;
use crate::{
    Later,
    copy::{BackupError, Copying},
    seam::{
        Archive, AuditEntry, AuditFilter, Condition, DeliveryFilter, Document, DocumentKey, DocumentKind, Durability,
        EventFilter, EventRow, HaveRoom, Indexed, Listing, MarkedAsk, MarkedPage, Marking, NameCounts, Page, Promises,
        Queue, Recount, Registry, Rekeyed, Stats, Trades, Transfer, Upkeep, WholePage, perform, perform_job,
        perform_retention,
    },
};

/// The store. All its methods work through `&self`.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

/// Where a writing operation can be made to die: see [`MemoryStore::fail_at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Nothing of it has happened yet.
    BeforeCommit,
    /// It has happened, but nobody was told.
    AfterCommit,
}

/// An operation that can be made to fail for a while: see [`MemoryStore::set_trouble`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// [`StoreOp::Append`]; too slow is too late.
    Append,
    /// [`StoreOp::Lease`].
    Lease,
    /// [`StoreOp::Bodies`].
    Bodies,
    /// [`StoreOp::Extend`].
    Extend,
    /// [`StoreOp::Settle`].
    Settle,
    /// [`StoreOp::Replay`].
    Replay,
    /// [`StoreOp::Find`].
    Find,
    /// [`StoreOp::Due`].
    Due,
    /// [`StoreOp::Held`].
    Held,
    /// [`StoreOp::Presence`].
    Presence,
    /// [`StoreOp::Clock`].
    Clock,
    /// All of [`Archive`].
    Look,
    /// Reads of [`Registry`].
    Documents,
    /// Writes of [`Registry`].
    PutDocument,
    /// [`Upkeep::step`].
    Step,
    /// All else of [`Upkeep`] that answers with an error.
    Upkeep,
}

#[derive(Debug, Default)]
struct Inner {
    disk: Disk,
    life: Life,
    /// As the driver last told it; only [`Append::deadline`] is compared with it.
    now: Wall,
    /// Its own: see [`MemoryStore::tell_clock`].
    clock: Option<Wall>,
    full: bool,
    edge: Option<Edge>,
    trouble: Vec<(Trouble, StoreError)>,
    /// Partitions that are away: see [`MemoryStore::set_away`].
    away: Option<Partitions>,
    /// Records that do not read: see [`MemoryStore::set_damaged`].
    damaged: BTreeSet<DeliveryId>,
    finds_most: Option<usize>,
    /// Answers so and does nothing.
    deaf: Option<StoreError>,
    /// Operations answered with [`StoreError::Unknown`] so far.
    unknown: u64,
    /// See [`MemoryStore::reads`].
    reads: u64,
    watchers: Vec<Waker>,
    condition: Condition,
    /// Hints of [`Registry::changes`].
    hints: watch::Sender<()>,
    /// Gives none.
    gives_no_hints: bool,
}

#[derive(Debug, Default)]
enum Life {
    #[default]
    Open,
    Closed,
    Failed(String),
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store of so many partitions.
    pub fn with_partitions(partitions: u16) -> Self {
        let store = Self::default();
        store.lock().disk.partitions = partitions;
        store
    }

    /// The process dies and starts again: what was durable lives on in the store returned, this one answers
    /// [`StoreError::Unavailable`] from now on.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let mut inner = self.lock();
        let mut disk = std::mem::take(&mut inner.disk);
        inner.life = Life::Closed;
        if relay_core::canary::is("schedule_forgotten") {
            disk.forget_schedules();
        }
        if relay_core::canary::is("purged_in_part_is_lost") {
            disk.lose_purged_in_part();
        }
        Self { inner: Arc::new(Mutex::new(Inner { disk, now: inner.now, ..Inner::default() })) }
    }

    /// A handle of another owner, on the same data. What either is told of trouble holds for both, and so does its end.
    #[must_use]
    pub fn second_owner(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }

    /// Tells the time that append deadlines are compared with.
    pub fn tell_time(&self, now: Wall) {
        self.lock().now = now;
    }

    /// What its own clock says from now on, whatever those of its owners say: by it servers compare theirs, deadlines pass, and
    /// runs that say nothing are gone. It has none until it is told.
    pub fn tell_clock(&self, now: Wall) {
        self.lock().clock = Some(now);
    }

    /// Refuses what adds to it (appends, replays) for want of room, until told otherwise.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Answers these operations so, and does nothing of them, until told otherwise. Of those that are answered
    /// [`StoreError::Unknown`] every other one is done.
    pub fn set_trouble(&self, trouble: Vec<(Trouble, StoreError)>) {
        self.lock().trouble = trouble;
    }

    /// Says so of how it is, while it goes on: see [`Upkeep::condition`].
    pub fn set_condition(&self, condition: Condition) {
        self.lock().condition = condition;
    }

    /// Gives no hints of changes from now on: whoever follows them has to look.
    pub fn lose_hints(&self) {
        self.lock().gives_no_hints = true;
    }

    /// Lets the next writing operation die there: it answers [`StoreError::Unavailable`], and so does everything
    /// after it.
    pub fn fail_at(&self, edge: Edge) {
        self.lock().edge = Some(edge);
    }

    /// How many operations have read so far, and changed nothing: for those who are to leave it alone.
    pub fn reads(&self) -> u64 {
        self.lock().reads
    }

    /// What operators did, oldest first.
    pub fn audit_log(&self) -> Vec<AuditEntry> {
        self.lock().disk.audit.clone()
    }

    /// All deliveries, by id: for oracles.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.lock().disk.deliveries.values().cloned().collect()
    }

    /// One delivery: for oracles.
    pub fn delivery(&self, id: DeliveryId) -> Option<Delivery> {
        self.lock().disk.deliveries.get(&id).cloned()
    }

    /// Whether an event is stored: for oracles.
    pub fn holds_event(&self, id: EventId) -> bool {
        self.lock().disk.events.contains_key(&id)
    }

    /// Ids of all events: for oracles.
    pub fn event_ids(&self) -> Vec<EventId> {
        self.lock().disk.events.keys().copied().collect()
    }

    /// Deliveries that still have a way to go.
    pub fn open_deliveries(&self) -> u64 {
        self.lock().disk.counters.destinations.values().map(|tally| tally.states[..3].iter().sum::<u64>()).sum()
    }

    /// Counters, at once: for drivers without a runtime.
    pub fn stats_now(&self) -> Stats {
        let inner = self.lock();
        inner.disk.stats(inner.full)
    }

    /// [`Upkeep::recount`], at once: for drivers without a runtime.
    pub fn recount_now(&self) -> Recount {
        let inner = self.lock();
        inner.disk.recount(inner.full)
    }

    /// Performs what the core asks for, at once: for drivers without a runtime.
    pub fn perform(&self, op: StoreOp) -> Stored {
        at_once(perform(self, op))
    }

    /// Performs what a job asks for, at once: for drivers without a runtime.
    pub fn perform_job(&self, op: JobOp) -> JobStored {
        at_once(perform_job(Trades::of(self), op))
    }

    /// Does nothing of what a job asks for, and answers what it hears who gets no answer, [`StoreError::Unknown`].
    pub fn job_unheard(&self, op: JobOp) -> JobStored {
        self.perform_job_deaf(op, StoreError::Unknown)
    }

    /// Does nothing of what a job asks for, for it cannot be reached: [`StoreError::Away`].
    pub fn turn_job_away(&self, op: JobOp) -> JobStored {
        self.perform_job_deaf(op, StoreError::Away)
    }

    fn perform_job_deaf(&self, op: JobOp, error: StoreError) -> JobStored {
        self.lock().deaf = Some(error);
        let heard = self.perform_job(op);
        self.lock().deaf = None;
        heard
    }

    /// Performs what retention asks for, at once: for drivers without a runtime.
    pub fn perform_retention(&self, op: RetentionOp) -> RetentionStored {
        at_once(perform_retention(self, op))
    }

    /// Does nothing of what retention asks for, and answers what it hears who gets no answer, [`StoreError::Unknown`].
    pub fn retention_unheard(&self, op: RetentionOp) -> RetentionStored {
        self.perform_retention_deaf(op, StoreError::Unknown)
    }

    /// Does nothing of what retention asks for, for it cannot be reached: [`StoreError::Away`].
    pub fn turn_retention_away(&self, op: RetentionOp) -> RetentionStored {
        self.perform_retention_deaf(op, StoreError::Away)
    }

    fn perform_retention_deaf(&self, op: RetentionOp, error: StoreError) -> RetentionStored {
        self.lock().deaf = Some(error);
        let heard = self.perform_retention(op);
        self.lock().deaf = None;
        heard
    }

    /// Performs it, and loses the answer: gives what it was, and what the hub hears instead, [`StoreError::Unknown`].
    pub fn perform_unheard(&self, op: StoreOp) -> (Stored, Stored) {
        let answer = self.perform(op.clone());
        (answer, self.mishear(op))
    }

    /// Does nothing, for it never heard of it; what the hub hears is the same, [`StoreError::Unknown`].
    pub fn mishear(&self, op: StoreOp) -> Stored {
        self.perform_deaf(op, StoreError::Unknown)
    }

    /// Does nothing, for it cannot be reached: [`StoreError::Away`].
    pub fn turn_away(&self, op: StoreOp) -> Stored {
        self.perform_deaf(op, StoreError::Away)
    }

    fn perform_deaf(&self, op: StoreOp, error: StoreError) -> Stored {
        self.lock().deaf = Some(error);
        let heard = self.perform(op);
        self.lock().deaf = None;
        heard
    }

    fn append_one(&self, append: &Append) -> Result<Appended, AppendError> {
        let (full, now) = {
            let mut inner = self.lock();
            if relay_core::canary::is("dedupe_before_commit") {
                inner.disk.remember(append);
            }
            (inner.full, inner.clock.unwrap_or(inner.now).max(append.event.received_at))
        };
        if append.deadline < now {
            return Err(AppendError::TooLate);
        }
        if full {
            return Err(AppendError::Full);
        }
        let is_there = self.are_there([append.event.id.partition()]);
        is_there.and_then(|()| self.write(Trouble::Append, |disk| disk.append(append))).map_err(|error| match error {
            StoreError::Full => AppendError::Full,
            StoreError::TooSlow { .. } => AppendError::TooLate,
            StoreError::Damaged { .. } | StoreError::Later { .. } => AppendError::Damaged,
            StoreError::Away => AppendError::Away,
            StoreError::Unknown => AppendError::Unknown,
            StoreError::Unavailable => AppendError::Unavailable,
        })
    }

    /// One commit. The closure cannot fail, so it happens whole.
    fn write<T>(&self, op: Trouble, commit: impl FnOnce(&mut Disk) -> T) -> Result<T, StoreError> {
        let mut inner = self.lock();
        if let Err(error) = inner.check(op) {
            if error == StoreError::Unknown && inner.deaf.is_none() && inner.does_this_one() {
                commit(&mut inner.disk);
            }
            return Err(error);
        }
        if inner.edge == Some(Edge::BeforeCommit) {
            return Err(inner.fail("died before the commit"));
        }
        let answer = commit(&mut inner.disk);
        if inner.edge == Some(Edge::AfterCommit) {
            return Err(inner.fail("died after the commit"));
        }
        Ok(answer)
    }

    /// The same for what adds to what is stored: while it is full that is refused.
    fn add<T>(&self, op: Trouble, commit: impl FnOnce(&mut Disk) -> T) -> Result<T, StoreError> {
        let is_full = {
            let inner = self.lock();
            inner.full && inner.check(op).is_ok()
        };
        if is_full { Err(StoreError::Full) } else { self.write(op, commit) }
    }

    fn read<T>(&self, op: Trouble, look: impl FnOnce(&Disk) -> T) -> Result<T, StoreError> {
        let mut inner = self.lock();
        inner.reads += 1;
        inner.check(op)?;
        Ok(look(&inner.disk))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl Inner {
    fn check(&self, op: Trouble) -> Result<(), StoreError> {
        if let Some(error) = &self.deaf {
            return Err(error.clone());
        }
        match self.life {
            Life::Open => {}
            Life::Closed | Life::Failed(_) => return Err(StoreError::Unavailable),
        }
        self.trouble.iter().find(|(known, _)| *known == op).map_or(Ok(()), |(_, error)| Err(error.clone()))
    }

    /// Whether an operation that is answered with [`StoreError::Unknown`] is done.
    fn does_this_one(&mut self) -> bool {
        self.unknown += 1;
        self.unknown % 2 == 1
    }

    fn fail(&mut self, why: &str) -> StoreError {
        self.life = Life::Failed(why.to_owned());
        self.watchers.drain(..).for_each(Waker::wake);
        StoreError::Unavailable
    }
}

/// The answer of an operation of this store: it is there already.
fn at_once<T>(mut later: Later<T>) -> T {
    match later.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("every operation of this store is done before its future is handed out"),
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    // A panic inside a commit is a bug of this file; tests that look on afterwards see what it left.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

fn done<T: Send + 'static>(answer: T) -> Later<T> {
    Box::pin(ready(answer))
}

impl Queue for MemoryStore {
    fn append(&self, batch: Vec<Append>) -> Later<Vec<Result<Appended, AppendError>>> {
        done(batch.iter().map(|append| self.append_one(append)).collect())
    }

    fn lease(&self, ask: LeaseAsk) -> Later<Result<Leased, StoreError>> {
        done(self.lease_there(&ask))
    }

    fn bodies(&self, of: Vec<BodyOf>) -> Later<Result<Vec<Option<Arc<Event>>>, StoreError>> {
        let are_there = self.are_there(of.iter().map(|of| of.event.partition()));
        done(are_there.and_then(|()| self.read(Trouble::Bodies, |disk| disk.bodies(&of))))
    }

    fn extend(&self, batch: Vec<Extend>) -> Later<Result<Vec<Extended>, StoreError>> {
        let are_there = self.are_there(batch.iter().map(|extend| extend.id.partition()));
        done(are_there.and_then(|()| self.write(Trouble::Extend, |disk| disk.extend(&batch))))
    }

    fn settle(&self, batch: Vec<Change>) -> Later<Result<Vec<Changed>, StoreError>> {
        done(self.settle_all(batch))
    }

    fn replay(&self, replay: Replay, audit: Vec<AuditEntry>) -> Later<Result<Replayed, StoreError>> {
        let is_there = self.are_there(replay.made.iter().map(|made| made.id.partition()));
        done(is_there.and_then(|()| self.add(Trouble::Replay, |disk| disk.replay_if(replay, audit))))
    }

    fn find(&self, ids: Vec<DeliveryId>) -> Later<Result<Vec<Option<Delivery>>, StoreError>> {
        done(self.find_all(&ids))
    }

    fn due(&self, ask: DueAsk) -> Later<Result<Due, StoreError>> {
        let away = self.lock().away;
        done(self.read(Trouble::Due, |disk| disk.due(ask, away)))
    }

    fn held(&self, ask: HeldAsk) -> Later<Result<Vec<Delivery>, StoreError>> {
        done(self.held_behind(ask))
    }

    fn presence(&self, mine: Presence) -> Later<Result<Vec<Presence>, StoreError>> {
        let at = mine.at;
        done(self.write(Trouble::Presence, |disk| disk.presence(mine, at)))
    }

    /// What it was told: see [`MemoryStore::tell_clock`].
    fn clock(&self) -> Later<Result<Option<Wall>, StoreError>> {
        let clock = self.lock().clock;
        done(self.read(Trouble::Clock, |_| clock))
    }

    /// Time is told: see [`MemoryStore::tell_time`].
    fn keep_time(&self, _clock: Arc<dyn Fn() -> Wall + Send + Sync>) {}
}

impl Archive for MemoryStore {
    fn event(&self, id: EventId) -> Later<Result<Option<Arc<Event>>, StoreError>> {
        done(self.read(Trouble::Look, |disk| disk.events.get(&id).cloned()))
    }

    fn delivery(&self, id: DeliveryId) -> Later<Result<Option<Delivery>, StoreError>> {
        done(self.read(Trouble::Look, |disk| disk.deliveries.get(&id).cloned()))
    }

    fn browse_events(&self, filter: EventFilter, page: Page) -> Later<Result<Listing<EventRow>, StoreError>> {
        done(self.read(Trouble::Look, |disk| disk.browse_events(&filter, &page)))
    }

    fn browse_whole(&self, filter: EventFilter, page: Page, bytes_max: u64) -> Later<Result<WholePage, StoreError>> {
        done(self.read(Trouble::Look, |disk| disk.browse_whole(&filter, &page, bytes_max)))
    }

    fn by_key(&self, source: Name, keys: Vec<[u8; 32]>) -> Later<Result<Vec<EventRow>, StoreError>> {
        done(self.read(Trouble::Look, |disk| disk.by_key(&source, &keys)))
    }

    fn marked(&self, ask: MarkedAsk) -> Later<Result<MarkedPage, StoreError>> {
        done(self.read(Trouble::Look, |disk| disk.marked(&ask)))
    }

    fn indexed(&self) -> Later<Result<Vec<Indexed>, StoreError>> {
        // Whoever never had any has nothing to look for.
        let is_empty = self.lock().disk.slots.is_empty();
        done(if is_empty { Ok(Vec::new()) } else { self.read(Trouble::Look, Disk::indexed) })
    }

    fn event_names(&self, source: Name) -> Later<Result<NameCounts, StoreError>> {
        done(self.read(Trouble::Look, |disk| disk.event_names(&source)))
    }

    fn browse_deliveries(&self, filter: DeliveryFilter, page: Page) -> Later<Result<Listing<Delivery>, StoreError>> {
        done(self.read(Trouble::Look, |disk| disk.browse_deliveries(&filter, &page)))
    }

    fn browse_audit(&self, filter: AuditFilter, page: Page) -> Later<Result<Listing<AuditEntry>, StoreError>> {
        done(self.read(Trouble::Look, |disk| disk.browse_audit(&filter, &page)))
    }

    fn attempts(&self, id: DeliveryId) -> Later<Result<Vec<Attempt>, StoreError>> {
        done(self.read(Trouble::Look, |disk| disk.attempts_of(id)))
    }
}

impl Registry for MemoryStore {
    fn document(&self, key: DocumentKey) -> Later<Result<Option<Document>, StoreError>> {
        done(self.read(Trouble::Documents, |disk| disk.documents.get(&key).cloned()))
    }

    fn documents(&self, kind: DocumentKind) -> Later<Result<Vec<Document>, StoreError>> {
        done(self.read(Trouble::Documents, |disk| {
            disk.documents.values().filter(|found| found.key.kind == kind).cloned().collect()
        }))
    }

    fn put_document(
        &self,
        key: DocumentKey,
        expect: u64,
        body: Option<String>,
        audit: Vec<AuditEntry>,
    ) -> Later<Result<Option<u64>, StoreError>> {
        let written = self.write(Trouble::PutDocument, |disk| disk.put_document(key, expect, body, audit));
        let inner = self.lock();
        if !inner.gives_no_hints {
            inner.hints.send_modify(|()| {});
        }
        drop(inner);
        done(written)
    }

    fn audit(&self, entries: Vec<AuditEntry>) -> Later<Result<(), StoreError>> {
        done(self.write(Trouble::PutDocument, |disk| disk.audit.extend(entries)))
    }

    fn version(&self) -> Later<Result<Option<u64>, StoreError>> {
        done(self.read(Trouble::Documents, |disk| Some(disk.written_documents)))
    }

    fn changes(&self) -> Later<()> {
        let mut hints = self.lock().hints.subscribe();
        Box::pin(async move {
            if hints.changed().await.is_err() {
                // The store is gone, and nobody writes any more.
                std::future::pending::<()>().await;
            }
        })
    }
}

impl Upkeep for MemoryStore {
    fn step(&self, step: Step) -> Later<Result<Stepped, StoreError>> {
        let adds = step.adds();
        let commit = |disk: &mut Disk| disk.step(step);
        done(if adds { self.add(Trouble::Step, commit) } else { self.write(Trouble::Step, commit) })
    }

    fn over(&self, ask: OverAsk) -> Later<Result<Vec<Delivery>, StoreError>> {
        done(self.read(Trouble::Upkeep, |disk| disk.over(&ask)))
    }

    fn retire(&self, retire: Retire) -> Later<Result<Retired, StoreError>> {
        done(self.write(Trouble::Upkeep, |disk| disk.retire_over(&retire)))
    }

    fn mark(&self, marking: Marking) -> Later<Result<(), StoreError>> {
        done(self.add(Trouble::Upkeep, |disk| disk.mark(marking)))
    }

    fn unmark(&self, source: Name, slot: u8) -> Later<Result<bool, StoreError>> {
        done(self.write(Trouble::Upkeep, |disk| disk.unmark(source, slot)))
    }

    /// Nothing is sealed.
    fn rekey(&self, _from: Option<String>) -> Later<Result<Rekeyed, StoreError>> {
        Box::pin(async { Ok(Rekeyed::default()) })
    }

    fn stats(&self) -> Later<Result<Stats, StoreError>> {
        let full = self.lock().full;
        done(self.read(Trouble::Upkeep, |disk| disk.stats(full)))
    }

    fn recount(&self) -> Later<Result<Recount, StoreError>> {
        let full = self.lock().full;
        done(self.read(Trouble::Upkeep, |disk| disk.recount(full)))
    }

    /// There are no files to copy: always [`BackupError::Unavailable`].
    fn backup(&self) -> Later<Result<Copying, BackupError>> {
        done(Err(BackupError::Unavailable))
    }

    fn promises(&self) -> Promises {
        let partitions = self.lock().disk.partitions.max(1);
        Promises {
            backend: "memory",
            durability: "none: gone with the process",
            survives_kill: false,
            survives_power_loss: false,
            several_owners: true,
            partitions,
            parts: partitions,
            marks: true,
            sealed_with: None,
        }
    }

    fn condition(&self) -> Condition {
        let inner = self.lock();
        match &inner.life {
            Life::Open => inner.condition.clone(),
            Life::Closed => Condition::broken(Durability::None, "it is closed"),
            Life::Failed(why) => Condition::broken(Durability::None, why.clone()),
        }
    }

    fn failed(&self) -> Later<String> {
        let inner = Arc::clone(&self.inner);
        Box::pin(poll_fn(move |context| {
            let mut inner = lock(&inner);
            if let Life::Failed(why) = &inner.life {
                return Poll::Ready(why.clone());
            }
            inner.watchers.push(context.waker().clone());
            Poll::Pending
        }))
    }

    fn close(&self) -> Later<()> {
        let mut inner = self.lock();
        if matches!(inner.life, Life::Open) {
            inner.life = Life::Closed;
        }
        done(())
    }
}

impl Transfer for MemoryStore {
    fn keys(&self, of: Vec<EventId>) -> Later<Result<Vec<Option<Dedupe>>, StoreError>> {
        done(self.read(Trouble::Look, |disk| disk.keys_of(&of)))
    }

    /// All bits of an id tell it from others here.
    fn have_room(&self, events: Vec<EventId>, deliveries: Vec<DeliveryId>) -> Later<Result<HaveRoom, StoreError>> {
        done(self.read(Trouble::Look, |_| HaveRoom::all(events.len(), deliveries.len())))
    }

    fn put_attempts(&self, of: Vec<(DeliveryId, Vec<Attempt>)>) -> Later<Result<(), StoreError>> {
        done(self.write(Trouble::Upkeep, |disk| disk.put_attempts(of)))
    }

    fn put_totals(&self, totals: Stats) -> Later<Result<(), StoreError>> {
        done(self.write(Trouble::Upkeep, |disk| disk.put_totals(&totals)))
    }
}
