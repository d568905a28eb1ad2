//! The embedded store: SQLite behind one writing thread with group commit. Files, tables and indexes:
//! `docs/internals/schema.md`.
//!
//! **Invariant:** one thread writes; every other connection only reads, also those of a command that looks
//! ([`SqliteStore::look`]). The same thread checkpoints, but for what a backup held back.

#[cfg(test)]
mod cost_tests;
mod fault;
mod files;
#[cfg(test)]
mod plan_tests;
mod read;
mod status;
#[cfg(test)]
mod tests;
mod transfer;
mod verify;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use relay_core::{
    delivery::{Attempt, Change, Delivery},
    event::Event,
    id::{DeliveryId, EventId},
    name::Name,
    storage::{
        Append, AppendError, Appended, BodyOf, Changed, Dedupe, Due, DueAsk, Extend, Extended, HeldAsk, LeaseAsk,
        Leased, OverAsk, Presence, Replay, Replayed, Retire, Retired, Step, Stepped, StoreError,
    },
    time::Wall,
};
use tokio::sync::oneshot;

use self::{
    fault::Fault,
    files::{
        damage::Damage,
        ledger::Slot,
        lock::{Lock, Writing},
        meta::Meta,
        open::{self, Alone, Clock, StoreDir},
        room::{Room, Seen},
        schema,
        slack::Sweep,
    },
    read::{
        ahead::Ahead,
        audit,
        backup::{self, Copies, Order},
        book::{Book, Shelf},
        browse, documents, due, marks, named,
        reader::Readers,
    },
    status::Status,
    transfer::Keys,
    verify::{check, recount::Counting, scrub::Scrub, sealed},
    write::{
        append, lease, marks as marking_rows, put,
        queue::{Ask, Queues, Refusal, Task, Weight},
        rekey, replay,
        retain::{self, Retiring},
        settle, step,
        transaction::Transaction,
        writer::{Sweeping, WalPages, Writer},
    },
};
pub use self::{
    files::{
        edge::{Edge, EdgeAction, Edges},
        open::{OpenError, Options},
        room::DiskFree,
    },
    verify::{
        check::{CheckReport, check, check_copy, check_watched},
        restore::{RestoreError, Restored, restore, restore_watched},
    },
};
use crate::{
    Later,
    cipher::Sealed as _,
    copy::{BackupError, Copying, STALL_MAX},
    private::Owners,
    seam::{
        Archive, AuditEntry, AuditFilter, Condition, DeliveryFilter, Document, DocumentKey, DocumentKind, Durability,
        EventFilter, EventRow, Gap, HaveRoom, Indexed, Listing, MarkedAsk, MarkedPage, Marking, NameCounts, Page,
        Promises, Queue, Recount, Registry, Rekeyed, Stats, Transfer, Upkeep, WholePage,
    },
};

/// Connections that only read.
const READERS: usize = 2;
/// The first pass of the scrub begins so long after the start, when what has piled up is on its way.
const SCRUB_AFTER: Duration = Duration::from_mins(1);

/// The embedded store. Dropping it ends it as a crash would: what was not answered may or may not have happened.
pub struct SqliteStore {
    dir: PathBuf,
    epoch: u128,
    clock: Arc<Mutex<Clock>>,
    copies: Copies,
    counting: Counting,
    queues: Arc<Queues>,
    status: Arc<Status>,
    shelf: Shelf,
    seen: Arc<Seen>,
    disk_free: DiskFree,
    readers: Readers,
    ahead: Ahead,
    keys: Arc<Keys>,
    /// `None`: this one only reads.
    scrub: Option<Scrub>,
    writer: Option<JoinHandle<()>>,
    /// What the ledger could not vouch for, where nobody writes it down.
    doubt: Option<Gap>,
}

/// A data directory that is kept from others by whoever has no store in it. Others are let in again when this is dropped.
#[derive(Debug)]
pub struct Occupied {
    _lock: Lock,
}

impl Occupied {
    /// Takes it as a server does; it is made if it does not exist.
    ///
    /// # Errors
    /// Another process has it, or it cannot be used.
    pub fn take(dir: &Path) -> Result<Self, OpenError> {
        let (_, lock) = StoreDir::claim(dir, Owners::Us, Writing::Server)?;
        Ok(Self { _lock: lock })
    }
}

impl SqliteStore {
    /// Opens the store in a directory, or makes it. Takes milliseconds, however much is stored; only after the store failed
    /// in an earlier run everything is read first.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was changed then.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let (place, lock) = StoreDir::claim(&options.dir, options.owners, Writing::Server)?;
        place.refuse_lone_ledger()?;
        place.sweep();
        let alone = place.database_alone()?;
        let mut db = place.connect_writer()?;
        sealed::fit(&place, &db, &options.ciphers)?;
        check::verify_if_suspect(&place, &db, &options.ciphers)?;
        let meta = Meta::load(&db).map_err(|error| place.damaged(error))?;
        let mut meta = meta.ok_or_else(|| place.damaged(Fault::Damaged("the meta row is missing".into())))?;
        match alone {
            Alone::Without => meta.is_all_in_database(),
            Alone::Says(alone) => place.compare_log(alone.as_deref(), &meta)?,
            Alone::Unreadable => check::verify(&place, &db, &options.ciphers, check::UNREADABLE_ALONE)?,
        }
        let mut book = Book::load(&db).map_err(|error| place.damaged(error))?;
        book.ciphers = options.ciphers.clone();
        book.has_marks = meta.has_marks;
        if relay_core::canary::is("schedule_forgotten") {
            settle::forget_schedules(&db, &mut book).map_err(|error| place.damaged(error))?;
        }
        if let Some(doubt) = place.compare_ledger(&meta, book.accepted)? {
            meta = check::write_down(&place, &mut db, &doubt, &meta, (options.clock)())?;
        }
        documents::refuse_unknown(&db).map_err(|error| place.damaged(error))?;
        meta = sealed::register(&place, &db, &mut book, meta)?;
        let wal = WalPages::watch(&mut db).map_err(|error| place.damaged(error))?;
        let ledger = place.open_ledger(&Slot::of(&meta, book.accepted))?;
        let connections = (0..READERS).map(|_| place.connect_reader()).collect::<Result<Vec<_>, _>>()?;

        let (queues, status, seen) =
            (Arc::new(Queues::default()), Arc::new(Status::default()), Arc::new(Seen::default()));
        let damage = Damage::kept_in(place.known_damage());
        let damage = damage.map_err(|error| open::io_error("read", &place.known_damage(), error))?;
        let shelf = Shelf::beside(damage, options.ciphers.clone());
        book.publish_all(&shelf);
        shelf.publish_meta(&meta);
        let disk_free = options.disk_free.unwrap_or_else(|| open::disk_free_below(&options.dir));
        let ballast = options.ballast.then(|| place.ballast());
        let mut room = Room::new(Arc::clone(&disk_free), options.disk_reserve, &place.dir, ballast, Arc::clone(&seen));
        let clock = Arc::new(Mutex::new(open::clock_from(options.clock, meta.latest)));
        let copies = Copies::default();
        // Whoever erased may have died before all of it was gone.
        let sweep = place.erased().exists().then_some(Sweeping::Pages(Sweep::BEGIN));
        copies.wait_for_sweep(sweep.is_some());
        let (dir, epoch) = (place.dir.clone(), meta.epoch);
        room.is_full(|| schema::free_inside(&db).unwrap_or(0));
        let writer = Writer {
            queues: Arc::clone(&queues),
            status: Arc::clone(&status),
            shelf: shelf.clone(),
            book,
            meta,
            ledger,
            room,
            edges: options.edges,
            clock: Arc::clone(&clock),
            copies: copies.clone(),
            suspect: place.suspect(),
            lock,
            wal,
            hurried: false,
            ledger_lags: false,
            bulk_not_before: None,
            caught_up: 0,
            remains: place.erased(),
            sweep,
            sweep_not_before: Instant::now(),
        };
        let cannot_start = |error| open::io_error("start a thread for", &options.dir, error);
        let readers = Readers::start(connections, &status).map_err(cannot_start)?;
        let scrub = Scrub::start(dir.clone(), shelf.clone(), Arc::clone(&status), SCRUB_AFTER).map_err(cannot_start)?;
        let writer =
            thread::Builder::new().name("store-write".into()).spawn(move || writer.run(db)).map_err(cannot_start)?;
        let counting = Counting::default();
        Ok(Self {
            dir,
            epoch,
            clock,
            copies,
            counting,
            queues,
            status,
            shelf,
            seen,
            disk_free,
            readers,
            ahead: Ahead::default(),
            keys: Arc::default(),
            scrub: Some(scrub),
            writer: Some(writer),
            doubt: None,
        })
    }

    /// Opens the store in a directory to read what is there. Nothing is written, not even what a start would mend; what asks
    /// for a write is refused. It is in nobody's way: a server may start beside it, and each read sees one commit.
    ///
    /// # Errors
    /// See [`OpenError`]; it is in use where somebody writes, or is about to.
    pub fn look(options: Options) -> Result<Self, OpenError> {
        let (place, glance) = StoreDir::look(&options.dir, options.owners)?;
        place.refuse_lone_ledger()?;
        let alone = place.database_alone()?;
        let mut db = place.connect_looking()?;
        let meta = Meta::load(&db).map_err(|error| place.damaged(error))?;
        let meta = meta.ok_or_else(|| place.damaged(Fault::Damaged("the meta row is missing".into())))?;
        let alone_is_unreadable = matches!(alone, Alone::Unreadable);
        if let Alone::Says(alone) = alone {
            place.compare_log(alone.as_deref(), &meta)?;
        }
        sealed::fit(&place, &db, &options.ciphers)?;
        check::verify_looking(&place, (&mut db, &glance), &options.ciphers, alone_is_unreadable)?;
        let book = Book::load(&db).map_err(|error| place.damaged(error))?;
        let doubt = place.compare_ledger(&meta, book.accepted)?;
        let doubt = doubt.map(|doubt| check::doubted(&doubt, &meta, (options.clock)()));
        let damage = Damage::known_in(&place.known_damage());
        let damage = damage.map_err(|error| open::io_error("read", &place.known_damage(), error))?;
        let shelf = Shelf::beside(damage, options.ciphers.clone());
        let status = Arc::new(Status::default());
        let cannot_start = |error| open::io_error("start a thread for", &options.dir, error);
        let readers = Readers::start(vec![db], &status).map_err(cannot_start)?;
        drop(glance);
        status.writer_is_gone();
        let queues = Arc::new(Queues::default());
        queues.shut();
        Ok(Self {
            dir: place.dir,
            epoch: meta.epoch,
            clock: Arc::new(Mutex::new(open::clock_from(options.clock, meta.latest))),
            copies: Copies::default(),
            counting: Counting::default(),
            queues,
            status,
            shelf,
            seen: Arc::default(),
            disk_free: options.disk_free.unwrap_or_else(|| open::disk_free_below(&options.dir)),
            readers,
            ahead: Ahead::default(),
            keys: Arc::default(),
            scrub: None,
            writer: None,
            doubt,
        })
    }

    /// Ends the store as a kill of the process would: what was not answered never is. For tests.
    pub fn crash(&self) -> Later<()> {
        self.readers.stop();
        self.scrub.iter().for_each(Scrub::stop);
        self.copies.stop();
        self.counting.stop();
        self.queues.abandon();
        Box::pin(self.status.end())
    }

    /// Makes a task of a function, for [`Queues`] to take.
    fn ask<A: Send + 'static>(
        weight: Weight,
        run: impl FnMut(&mut Transaction<'_>) -> Result<A, Fault> + Send + 'static,
    ) -> (Box<dyn Task>, Later<Result<A, StoreError>>) {
        let (answer, asked) = oneshot::channel();
        let mut run = run;
        let run = move |tx: &mut Transaction<'_>| match run(tx) {
            Err(fault @ (Fault::Damaged(_) | Fault::Later(_))) => Ok(Err(tx.damage.answered(fault))),
            other => other.map(Ok),
        };
        let refuse = |why: Refusal| Err(why.of_store());
        let task = Box::new(Ask { run, refuse, weight, done: None, answer });
        (task, Box::pin(async move { asked.await.unwrap_or(Err(StoreError::Unavailable)) }))
    }

    /// What a backup needs.
    fn order(&self) -> Order {
        Order {
            dir: self.dir.clone(),
            status: Arc::clone(&self.status),
            seen: Arc::clone(&self.seen),
            clock: self.clock(),
            stall_max: STALL_MAX,
            growth_max: backup::GROWTH_MAX,
            moves: self.writer.is_some(),
            shelf: self.shelf.clone(),
        }
    }

    fn clock(&self) -> Clock {
        Arc::clone(&*self.clock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn urgent<A: Send + 'static>(
        &self,
        ops: usize,
        run: impl FnMut(&mut Transaction<'_>) -> Result<A, Fault> + Send + 'static,
    ) -> Later<Result<A, StoreError>> {
        let (task, later) = Self::ask(Weight { ops, bytes: 0 }, run);
        self.queues.push_urgent(task);
        later
    }

    fn bulk_work<A: Send + 'static>(
        &self,
        adds: bool,
        run: impl FnMut(&mut Transaction<'_>) -> Result<A, Fault> + Send + 'static,
    ) -> Later<Result<A, StoreError>> {
        let (task, later) = Self::ask(Weight { ops: 1, bytes: 0 }, run);
        self.queues.push_bulk(task, adds);
        later
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Connection, &Shelf) -> Result<T, Fault> + Send + 'static,
    ) -> Later<Result<T, StoreError>> {
        let (shelf, noted) = (self.shelf.clone(), self.shelf.clone());
        let noting = move |fault: &Fault| noted.damage().note_fault(fault);
        // Where another process may write, names and counters are those of the commit that is read.
        let is_kept = self.writer.is_some();
        let asked = self.readers.reads().read(move |db| {
            if !is_kept {
                shelf.read_anew(db)?;
            }
            shelf.judged(|| read(db, &shelf)).inspect_err(noting)
        });
        Box::pin(async move { asked.await.unwrap_or(Err(StoreError::Unavailable)) })
    }
}

impl Queue for SqliteStore {
    fn append(&self, batch: Vec<Append>) -> Later<Vec<Result<Appended, AppendError>>> {
        let count = batch.len();
        let Some(first) = batch.first() else { return Box::pin(async { Vec::new() }) };
        let source = first.event.source.clone();
        let bytes = batch.iter().map(|item| item.event.size()).sum();
        let ops = batch.iter().map(|item| item.deliveries.len().max(1)).sum();
        let (answer, asked) = oneshot::channel();
        // Freed where it was allocated: the writer lets go of it first, and is spared the work.
        let batch = Arc::new(batch);
        let kept = Arc::clone(&batch);
        let task = Box::new(Ask {
            run: move |tx: &mut Transaction<'_>| append::append_all(tx, &batch),
            refuse: move |why| {
                let error = match why {
                    Refusal::Full => AppendError::Full,
                    Refusal::Busy => AppendError::TooLate,
                    Refusal::Unknown => AppendError::Unknown,
                    Refusal::Unavailable => AppendError::Unavailable,
                };
                vec![Err(error); count]
            },
            weight: Weight { ops, bytes },
            done: None,
            answer,
        });
        self.queues.push_append(&source, task);
        Box::pin(async move {
            let results = asked.await.unwrap_or_else(|_| vec![Err(AppendError::Unavailable); count]);
            drop(kept);
            results
        })
    }

    fn lease(&self, ask: LeaseAsk) -> Later<Result<Leased, StoreError>> {
        let (ahead, reads, shelf) = (self.ahead.clone(), self.readers.reads().clone(), self.shelf.clone());
        let seen = Arc::clone(&self.seen);
        self.urgent(ask.limit as usize, move |tx| {
            let leased = lease::lease(tx, &ask)?;
            // Whoever reads keeps the log from beginning anew, and that is the room there is on a full disk.
            if !seen.is_full() {
                ahead.begin(&reads, &shelf, &leased);
            }
            Ok(leased)
        })
    }

    fn bodies(&self, of: Vec<BodyOf>) -> Later<Result<Vec<Option<Arc<Event>>>, StoreError>> {
        if let Some(events) = self.ahead.take_all(of.iter().map(|of| of.event)) {
            return Box::pin(std::future::ready(Ok(events.into_iter().map(Some).collect())));
        }
        let ahead = self.ahead.clone();
        self.read(move |db, shelf| due::bodies(db, shelf, &ahead, &of))
    }

    fn extend(&self, batch: Vec<Extend>) -> Later<Result<Vec<Extended>, StoreError>> {
        self.urgent(batch.len(), move |tx| settle::extend(tx, &batch))
    }

    fn settle(&self, batch: Vec<Change>) -> Later<Result<Vec<Changed>, StoreError>> {
        self.urgent(batch.len(), move |tx| settle::settle(tx, &batch))
    }

    fn replay(&self, replay: Replay, audit: Vec<AuditEntry>) -> Later<Result<Replayed, StoreError>> {
        self.bulk_work(true, move |tx| replay::replay_if(tx, &replay, &audit))
    }

    fn find(&self, ids: Vec<DeliveryId>) -> Later<Result<Vec<Option<Delivery>>, StoreError>> {
        self.read(move |db, shelf| due::find(db, shelf, &ids))
    }

    fn due(&self, ask: DueAsk) -> Later<Result<Due, StoreError>> {
        self.read(move |db, shelf| due::due(db, shelf, ask))
    }

    fn held(&self, ask: HeldAsk) -> Later<Result<Vec<Delivery>, StoreError>> {
        self.read(move |db, shelf| due::held(db, shelf, ask))
    }

    /// Nobody else has it: its directory is locked.
    fn presence(&self, _mine: Presence) -> Later<Result<Vec<Presence>, StoreError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Its one owner's clock is its own.
    fn clock(&self) -> Later<Result<Option<Wall>, StoreError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn keep_time(&self, clock: Arc<dyn Fn() -> Wall + Send + Sync>) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = clock;
    }
}

impl Archive for SqliteStore {
    fn event(&self, id: EventId) -> Later<Result<Option<Arc<Event>>, StoreError>> {
        self.read(move |db, shelf| Ok(due::event(db, shelf, id)?.map(Arc::new)))
    }

    fn delivery(&self, id: DeliveryId) -> Later<Result<Option<Delivery>, StoreError>> {
        self.read(move |db, shelf| Ok(due::find(db, shelf, &[id])?.pop().flatten()))
    }

    fn browse_events(&self, filter: EventFilter, page: Page) -> Later<Result<Listing<EventRow>, StoreError>> {
        self.read(move |db, shelf| browse::events(db, shelf, &filter, &page))
    }

    fn browse_whole(&self, filter: EventFilter, page: Page, bytes_max: u64) -> Later<Result<WholePage, StoreError>> {
        self.read(move |db, shelf| browse::whole(db, shelf, &filter, &page, bytes_max))
    }

    fn by_key(&self, source: Name, keys: Vec<[u8; 32]>) -> Later<Result<Vec<EventRow>, StoreError>> {
        self.read(move |db, shelf| browse::by_key(db, shelf, &source, &keys))
    }

    fn marked(&self, ask: MarkedAsk) -> Later<Result<MarkedPage, StoreError>> {
        self.read(move |db, shelf| marks::page(db, shelf, &ask))
    }

    fn indexed(&self) -> Later<Result<Vec<Indexed>, StoreError>> {
        // Of a look beside a server that is of the commit which it began with.
        if !self.shelf.has_marks() && self.writer.is_some() {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        self.read(marks::indexed)
    }

    fn event_names(&self, source: Name) -> Later<Result<NameCounts, StoreError>> {
        self.read(move |db, shelf| named::counts(db, shelf, &source))
    }

    fn browse_deliveries(&self, filter: DeliveryFilter, page: Page) -> Later<Result<Listing<Delivery>, StoreError>> {
        self.read(move |db, shelf| browse::deliveries(db, shelf, &filter, &page))
    }

    fn browse_audit(&self, filter: AuditFilter, page: Page) -> Later<Result<Listing<AuditEntry>, StoreError>> {
        self.read(move |db, shelf| audit::page(db, shelf.damage(), &filter, &page))
    }

    fn attempts(&self, id: DeliveryId) -> Later<Result<Vec<Attempt>, StoreError>> {
        self.read(move |db, shelf| browse::attempts(db, shelf, id))
    }
}

impl Registry for SqliteStore {
    fn document(&self, key: DocumentKey) -> Later<Result<Option<Document>, StoreError>> {
        self.read(move |db, shelf| documents::one(db, &key, shelf.ciphers()))
    }

    fn documents(&self, kind: DocumentKind) -> Later<Result<Vec<Document>, StoreError>> {
        self.read(move |db, shelf| documents::all(db, kind, shelf))
    }

    fn put_document(
        &self,
        key: DocumentKey,
        expect: u64,
        body: Option<String>,
        audit: Vec<AuditEntry>,
    ) -> Later<Result<Option<u64>, StoreError>> {
        let body = body.map(|body| self.shelf.ciphers().seal_document(&key, expect + 1, body));
        self.urgent(1, move |tx| put::document(tx, &key, expect, body.as_deref(), &audit))
    }

    fn audit(&self, entries: Vec<AuditEntry>) -> Later<Result<(), StoreError>> {
        self.urgent(entries.len(), move |tx| tx.audit(&entries))
    }

    /// Nobody else has it: its directory is locked.
    fn version(&self) -> Later<Result<Option<u64>, StoreError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn changes(&self) -> Later<()> {
        Box::pin(std::future::pending())
    }
}

impl Upkeep for SqliteStore {
    fn step(&self, step: Step) -> Later<Result<Stepped, StoreError>> {
        self.bulk_work(step.adds(), move |tx| step::step(tx, &step))
    }

    fn over(&self, ask: OverAsk) -> Later<Result<Vec<Delivery>, StoreError>> {
        self.read(move |db, shelf| retain::over(db, shelf, &ask))
    }

    fn retire(&self, retire: Retire) -> Later<Result<Retired, StoreError>> {
        let (answer, asked) = oneshot::channel();
        self.queues.push_retire(Box::new(Retiring::new(retire, answer)));
        Box::pin(async move { asked.await.unwrap_or(Err(StoreError::Unavailable)) })
    }

    fn mark(&self, marking: Marking) -> Later<Result<(), StoreError>> {
        self.bulk_work(!marking.is_nothing(), move |tx| marking_rows::mark(tx, &marking))
    }

    fn unmark(&self, source: Name, slot: u8) -> Later<Result<bool, StoreError>> {
        self.bulk_work(false, move |tx| marking_rows::unmark(tx, &source, slot))
    }

    fn rekey(&self, from: Option<String>) -> Later<Result<Rekeyed, StoreError>> {
        if self.shelf.ciphers().newest_number() == 0 {
            return Box::pin(async { Ok(Rekeyed::default()) });
        }
        let at = rekey::At::read(from.as_deref());
        self.bulk_work(true, move |tx| rekey::step(tx, at))
    }

    fn stats(&self) -> Later<Result<Stats, StoreError>> {
        let (seen, disk_free, dir) = (Arc::clone(&self.seen), Arc::clone(&self.disk_free), self.dir.clone());
        self.read(move |db, shelf| {
            let stats = due::stats(db, shelf, &seen, &dir)?;
            Ok(Stats { disk_free_bytes: disk_free().ok(), ..stats })
        })
    }

    fn recount(&self) -> Later<Result<Recount, StoreError>> {
        let asked = self.counting.ask(&self.dir, &self.status, &self.shelf);
        let (shelf, doubt) = (self.shelf.clone(), self.doubt);
        Box::pin(async move {
            let mut counted = asked.await.unwrap_or(Err(StoreError::Unavailable))?;
            counted.gaps.extend(doubt);
            Ok(Recount { damaged: shelf.damage().count(), ..counted })
        })
    }

    fn backup(&self) -> Later<Result<Copying, BackupError>> {
        if self.status.has_failed() {
            return Box::pin(async { Err(BackupError::Unavailable) });
        }
        let asked = self.copies.begin(self.order());
        Box::pin(async move {
            let no_thread = |_| Err(BackupError::NotNow("no thread could be started".into()));
            asked.await.unwrap_or_else(no_thread)
        })
    }

    fn epoch(&self) -> Option<String> {
        Some(format!("{:032x}", self.epoch))
    }

    fn promises(&self) -> Promises {
        Promises {
            backend: "sqlite",
            durability: "fsync before the answer",
            survives_kill: true,
            survives_power_loss: true,
            several_owners: false,
            partitions: 1,
            parts: 1,
            marks: true,
            sealed_with: self.shelf.ciphers().newest_number_given(),
        }
    }

    /// It answers once its disk has a commit, or has failed for good: there is nothing in between to be told.
    fn condition(&self) -> Condition {
        match self.status.reason() {
            Some(why) => Condition::broken(Durability::Fsync, why),
            None => Condition::well(Durability::Fsync),
        }
    }

    fn failed(&self) -> Later<String> {
        Box::pin(self.status.failure())
    }

    fn close(&self) -> Later<()> {
        self.readers.stop();
        self.scrub.iter().for_each(Scrub::stop);
        self.copies.stop();
        self.counting.stop();
        self.queues.finish();
        Box::pin(self.status.end())
    }
}

impl Transfer for SqliteStore {
    fn keys(&self, of: Vec<EventId>) -> Later<Result<Vec<Option<Dedupe>>, StoreError>> {
        let (keys, reads) = (Arc::clone(&self.keys), self.readers.reads().clone());
        Box::pin(async move { keys.of(&reads, &of).await })
    }

    fn have_room(&self, events: Vec<EventId>, deliveries: Vec<DeliveryId>) -> Later<Result<HaveRoom, StoreError>> {
        self.read(move |db, shelf| transfer::have_room(db, shelf, &events, &deliveries))
    }

    fn put_attempts(&self, of: Vec<(DeliveryId, Vec<Attempt>)>) -> Later<Result<(), StoreError>> {
        self.urgent(of.len(), move |tx| transfer::put_attempts(tx, &of))
    }

    fn put_totals(&self, totals: Stats) -> Later<Result<(), StoreError>> {
        self.urgent(1, move |tx| {
            transfer::put_totals(tx, &totals);
            Ok(())
        })
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.copies.stop();
        self.counting.stop();
        self.queues.abandon();
        if let Some(writer) = self.writer.take() {
            // A panic there has been noticed and told by the writer itself.
            drop(writer.join());
        }
        self.copies.join();
        self.counting.join();
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}
