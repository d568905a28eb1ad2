//! The one thread that writes: takes what has queued up, commits it with one fsync, then answers.
//!
//! **Invariant:** nobody is answered before the commit and the ledger slot that speak of their operation are written.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, wal::CheckpointMode};

use super::{
    mend,
    queue::{Allowed, Job, Queues, Refusal, Turn},
    retain,
    transaction::{Transaction, Written},
};
use crate::{
    copy::DATABASE,
    private,
    sqlite::{
        fault::Fault,
        files::{
            damage::Wanted,
            edge::{Edge, Edges},
            ledger::{Ledger, Slot},
            lock::Lock,
            meta::Meta,
            open::Clock,
            room::Room,
            schema,
            slack::{Sweep, Swept},
        },
        read::{
            backup::Copies,
            book::{Book, Shelf},
        },
        status::Status,
    },
};

/// WAL pages that make a checkpoint worth it. A commit waits for all of them to be moved, one by one: it is their number that
/// makes the slowest commit slow, and what a checkpoint costs besides is two of the disk's rounds.
const CHECKPOINT_PAGES: i32 = 512;
/// The same while nothing comes in, so that no sender waits: a page that is written many times is moved less often.
const CHECKPOINT_PAGES_UNHURRIED: i32 = 4 * CHECKPOINT_PAGES;
/// A WAL with more pages than this, 16 MiB, is cut when there is nothing else to do.
const TRUNCATE_PAGES: i32 = (16 * 1024 * 1024 / schema::PAGE_BYTES) as i32;
/// After this long without work the WAL is checkpointed and the disk is asked for its room.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// The same while there is no room, so that its return is seen soon.
const IDLE_AFTER_FULL: Duration = Duration::from_millis(250);
/// Bulk work pauses for so many times its own duration while other work comes in: a fifth of the time at most.
const BULK_PAUSE: u32 = 4;
/// How long a program of somebody else may hold the file locked (a shell that looks into it, a tool that copies it).
const BUSY_MAX: Duration = Duration::from_secs(2);

/// Everything the writer owns but the connection.
pub(crate) struct Writer {
    pub(crate) queues: Arc<Queues>,
    pub(crate) status: Arc<Status>,
    pub(crate) shelf: Shelf,
    pub(crate) book: Book,
    pub(crate) meta: Meta,
    pub(crate) ledger: Ledger,
    pub(crate) room: Room,
    pub(crate) edges: Edges,
    /// The one that deadlines are compared with; may be replaced.
    pub(crate) clock: Arc<Mutex<Clock>>,
    pub(crate) copies: Copies,
    /// Where the next start finds out that this run failed.
    pub(crate) suspect: PathBuf,
    /// Held while the store is open.
    pub(crate) lock: Lock,
    pub(crate) wal: WalPages,
    /// Something came in since the latest checkpoint: senders may wait for the next.
    pub(crate) hurried: bool,
    /// The last commit is not in the ledger, for want of room: nothing else is done before that.
    pub(crate) ledger_lags: bool,
    pub(crate) bulk_not_before: Option<Instant>,
    /// How often a copy had caught up at the latest checkpoint.
    pub(crate) caught_up: u64,
    /// There while something that was erased remains in slack or log, for the next start.
    pub(crate) remains: PathBuf,
    /// What is done about that, and from when on the next step may be.
    pub(crate) sweep: Option<Sweeping>,
    pub(crate) sweep_not_before: Instant,
}

/// How far what was erased is gone.
#[derive(Clone, Debug)]
pub(crate) enum Sweeping {
    /// Slack is swept.
    Pages(Sweep),
    /// The log is to be cut, as soon as nobody reads it.
    Log {
        /// Nothing is left elsewhere.
        is_swept: bool,
    },
}

/// Pages in the WAL, as SQLite last told.
#[derive(Clone, Debug, Default)]
pub(crate) struct WalPages {
    written: Arc<AtomicI32>,
    /// Those that are in the database as well; `None`: what an earlier process left has not been looked at.
    moved: Option<i32>,
    /// As many as there were at the latest checkpoint, whatever came of it.
    tried: i32,
}

impl WalPages {
    /// Makes the connection report its commits here.
    pub(crate) fn watch(db: &mut Connection) -> rusqlite::Result<Self> {
        let pages = Self::default();
        let written = Arc::clone(&pages.written);
        db.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, in_wal| {
            written.store(in_wal, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(pages)
    }

    fn written(&self) -> i32 {
        self.written.load(Ordering::Relaxed)
    }

    /// Pages since the latest checkpoint, which need not have moved all.
    fn since_tried(&mut self) -> i32 {
        let written = self.written();
        if written < self.tried {
            // The log has begun anew.
            (self.tried, self.moved) = (0, Some(0));
        }
        written - self.tried
    }

    /// Whether all of them are in the database.
    fn are_all_moved(&self) -> bool {
        self.moved == Some(self.written())
    }

    /// What a checkpoint found in the log, and has moved of it in all.
    fn found(&mut self, in_log: i32, moved: i32) {
        self.written.store(in_log.max(0), Ordering::Relaxed);
        (self.tried, self.moved) = (in_log.max(0), Some(moved.max(0)));
    }
}

/// What became of a transaction that is committed.
enum Committed {
    /// The ledger names it.
    Vouched,
    /// The ledger does not, for want of room.
    Unvouched,
}

impl Writer {
    /// Runs until the store is closed, dropped or has failed.
    pub(crate) fn run(mut self, db: Connection) {
        let queues = Arc::clone(&self.queues);
        let status = Arc::clone(&self.status);
        let ended = catch_unwind(AssertUnwindSafe(|| self.serve(&db)));
        let failed = match ended {
            Ok(Ok(())) => status.reason(),
            Ok(Err(Fault::Crash)) => {
                status.fail("ended by a failure point");
                None
            }
            Ok(Err(
                Fault::Broken(reason)
                | Fault::Unwritten(reason)
                | Fault::NotOpened(reason)
                | Fault::Corrupt { reason, .. },
            )) => Some(reason),
            Ok(Err(Fault::Damaged(what))) => Some(format!("damaged record: {what}")),
            Ok(Err(Fault::Later(what))) => Some(format!("record of a later version: {what}")),
            Ok(Err(Fault::Full | Fault::TooSlow)) => Some("the disk is full where it must not be".to_owned()),
            Err(_) => Some("the writer panicked".to_owned()),
        };
        if let Some(reason) = failed {
            // If not even this can be written, the next start meets what this one met.
            drop(private::replace(&self.suspect, reason.as_bytes()));
            status.fail(&reason);
        }
        // The connection and the lock go first: whoever sees the writer gone may open the store again.
        drop(db);
        drop(self);
        queues.shut();
        status.writer_is_gone();
    }

    fn serve(&mut self, db: &Connection) -> Result<(), Fault> {
        schema::wait_for_nobody(db)?;
        loop {
            let allowed = Allowed { bulk_from: self.bulk_not_before, retire: retain::has_turn(&self.book.arrears) };
            let patience = if self.room.was_full() { IDLE_AFTER_FULL } else { IDLE_AFTER };
            let patience = if self.sweep.is_some() { self.until_sweep().min(patience) } else { patience };
            let turn = self.queues.next(allowed, patience);
            if self.status.has_failed() {
                // A reader met an error: whatever this turn would answer can no longer be trusted.
                return Ok(());
            }
            let wanted = self.shelf.damage().take_wanted();
            if !wanted.is_nothing() {
                self.mend(db, &wanted)?;
            }
            match turn {
                Turn::Batch(jobs) => self.commit_and_checkpoint(db, jobs)?,
                Turn::Retire(job) => self.commit_and_checkpoint(db, vec![job])?,
                Turn::Bulk(job) => {
                    let began = Instant::now();
                    self.commit_and_checkpoint(db, vec![job])?;
                    self.bulk_not_before = Some(Instant::now() + began.elapsed() * BULK_PAUSE);
                }
                Turn::Idle => self.rest(db)?,
                Turn::Close => return self.close(db),
                Turn::Abandon => return Ok(()),
            }
            if self.sweep.is_some() && self.until_sweep().is_zero() {
                self.sweep(db)?;
            }
        }
    }

    /// How long sweeping has to wait for its share of the time.
    fn until_sweep(&self) -> Duration {
        self.sweep_not_before.saturating_duration_since(Instant::now())
    }

    /// Like [`commit`](Self::commit); then a checkpoint if enough has gathered for one.
    fn commit_and_checkpoint(&mut self, db: &Connection, jobs: Vec<Job>) -> Result<(), Fault> {
        if self.caught_up != self.copies.caught_up() {
            // The log may begin anew with this commit, which has to say from what it goes on.
            self.checkpoint(db, CheckpointMode::PASSIVE)?;
        }
        self.hurried |= jobs.iter().any(|job| job.adds);
        self.commit(db, jobs)?;
        let pages = if self.hurried { CHECKPOINT_PAGES } else { CHECKPOINT_PAGES_UNHURRIED };
        if self.wal.since_tried() >= pages && !self.copies.is_catching_up() {
            self.checkpoint(db, CheckpointMode::PASSIVE)?;
        }
        Ok(())
    }

    /// Runs the jobs in one transaction and answers them. An error here ends the store; the jobs are dropped unanswered.
    fn commit(&mut self, db: &Connection, mut jobs: Vec<Job>) -> Result<(), Fault> {
        if jobs.iter().any(|job| job.adds) && self.room.is_full(|| schema::free_inside(db).unwrap_or(0)) {
            jobs = refuse_adders(jobs);
        }
        let (mut had_checkpoint, mut had_mend) = (false, false);
        while !jobs.is_empty() {
            let run = |tx: &mut Transaction<'_>| jobs.iter_mut().try_for_each(|job| job.task.run(tx));
            let tried = self.attempt(db, run).map_err(|fault| self.judged(fault));
            match tried {
                Ok(Committed::Vouched) => break,
                Ok(Committed::Unvouched) => {
                    // What is done stays done, and its askers ask again: no answer goes ahead of the ledger.
                    jobs.drain(..).for_each(|job| job.task.refuse(Refusal::Unknown));
                }
                Err(Fault::Full) => {
                    self.roll_back(db)?;
                    self.room.ran_out();
                    if jobs.iter().any(|job| job.adds) {
                        jobs = refuse_adders(jobs);
                    } else if !self.make_room(db, &mut had_checkpoint)? {
                        jobs.drain(..).for_each(|job| job.task.refuse(Refusal::Full));
                    }
                }
                Err(Fault::Corrupt { reason, delivery }) if !std::mem::replace(&mut had_mend, true) => {
                    self.roll_back(db)?;
                    let columns = delivery.into_iter().collect();
                    let wanted = Wanted { indexes: Some(reason.into()), columns, names: false };
                    if !self.mend(db, &wanted)? {
                        jobs.drain(..).for_each(|job| job.task.refuse(Refusal::Full));
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
        for job in jobs {
            if let Some(rest) = job.task.answer() {
                self.queues.go_on(rest);
            }
        }
        self.edges.meet(Edge::AfterAnswers)
    }

    /// Makes anew what only repeats something else; `false`: there is no room for it now. A fault of SQLite in it is one of what
    /// is stored, and ends the store.
    fn mend(&mut self, db: &Connection, wanted: &Wanted) -> Result<bool, Fault> {
        match self.attempt(db, |tx| mend::mend(tx, wanted)).map_err(|fault| self.judged(fault)) {
            Ok(Committed::Vouched | Committed::Unvouched) => {
                if wanted.indexes.is_some() {
                    self.shelf.damage().made_anew();
                }
                Ok(true)
            }
            Err(Fault::Full) => {
                self.roll_back(db)?;
                self.room.ran_out();
                Ok(false)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Runs that in one transaction, commits it and tells the ledger.
    fn attempt(
        &mut self,
        db: &Connection,
        run: impl FnOnce(&mut Transaction<'_>) -> Result<(), Fault>,
    ) -> Result<Committed, Fault> {
        self.edges.meet(Edge::BeforeBegin)?;
        if self.ledger_lags {
            self.vouch()?;
        }
        begin(db)?;
        let clock = Arc::clone(&*self.clock.lock().unwrap_or_else(PoisonError::into_inner));
        let now = clock();
        let mut tx = Transaction::new(db, &mut self.book, self.shelf.damage(), now);
        run(&mut tx)?;
        let Written { crcs, id_high, latest, erases, reseals, marks } = tx.finish()?;
        if crcs.is_empty() && !self.book.is_dirty() {
            db.prepare_cached("COMMIT")?.execute([])?;
            return Ok(Committed::Vouched);
        }
        self.book.write(db, &self.shelf)?;
        let mut meta = self.meta;
        meta.has_marks |= marks;
        meta.advance(&crcs, id_high, latest);
        meta.write(db)?;
        if erases || reseals {
            self.begin_sweep(erases)?;
        }
        self.edges.meet(Edge::BeforeCommit)?;
        db.prepare_cached("COMMIT")?.execute([])?;
        self.meta = meta;
        self.book.publish(&self.shelf);
        self.shelf.publish_meta(&self.meta);
        self.ledger_lags = true;
        match self.vouch() {
            Err(Fault::Full) => {
                self.room.ran_out();
                if !self.room.drop_ballast() {
                    return Ok(Committed::Unvouched);
                }
                match self.vouch() {
                    Err(Fault::Full) => return Ok(Committed::Unvouched),
                    vouched => vouched?,
                }
            }
            vouched => vouched?,
        }
        self.edges.meet(Edge::AfterLedger)?;
        Ok(Committed::Vouched)
    }

    /// Writes the last commit into the ledger. A file system that copies what it overwrites may have no room for that.
    fn vouch(&mut self) -> Result<(), Fault> {
        self.edges.meet(Edge::AfterCommit)?;
        match self.ledger.write(&Slot::of(&self.meta, self.book.accepted)) {
            Ok(()) => self.ledger_lags = false,
            Err(error) if private::is_no_room(&error) => {
                tracing::warn!(event = "store_full", %error, "no room for the ledger");
                return Err(Fault::Full);
            }
            Err(error) => return Err(Fault::Broken(format!("ledger: {error}"))),
        }
        Ok(())
    }

    /// For what must go on although the disk is full: once all of the write-ahead log is in the database, whose pages are
    /// there already, it is written from its beginning again. Where the database itself has to grow for that, the ballast
    /// makes room. `false`: nothing is left to try.
    fn make_room(&mut self, db: &Connection, had_checkpoint: &mut bool) -> Result<bool, Fault> {
        // Once a commit, be the log moved or not as far as is known: a log that somebody read in can begin anew only now.
        if !std::mem::replace(had_checkpoint, true)
            && !self.copies.is_catching_up()
            && self.checkpoint(db, CheckpointMode::PASSIVE)?
        {
            return Ok(true);
        }
        let had_ballast = self.room.drop_ballast();
        if had_ballast && !self.copies.is_catching_up() {
            self.checkpoint(db, CheckpointMode::PASSIVE)?;
        }
        Ok(had_ballast)
    }

    /// A write that did not go through: was it for want of room?
    fn judged(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Unwritten(reason) if self.room.is_exhausted() => {
                tracing::warn!(event = "store_full", reason, "no room for a write");
                Fault::Full
            }
            Fault::Unwritten(reason) => Fault::Broken(reason),
            other => other,
        }
    }

    /// After a full disk: nothing of the transaction may be left, neither in the database nor in memory.
    fn roll_back(&mut self, db: &Connection) -> Result<(), Fault> {
        if !db.is_autocommit() {
            db.execute_batch("ROLLBACK").map_err(|error| Fault::Broken(format!("rollback failed: {error}")))?;
        }
        self.book = Book::load_beside(db, &self.shelf)?;
        self.book.publish_all(&self.shelf);
        Ok(())
    }

    /// What there is to do when nobody asks for anything.
    fn rest(&mut self, db: &Connection) -> Result<(), Fault> {
        self.room.is_full(|| schema::free_inside(db).unwrap_or(0));
        if self.wal.are_all_moved() || self.copies.is_catching_up() {
            return Ok(());
        }
        let mode =
            if self.wal.written() >= TRUNCATE_PAGES { CheckpointMode::TRUNCATE } else { CheckpointMode::PASSIVE };
        self.checkpoint(db, mode)?;
        Ok(())
    }

    /// Before anything is erased: a copy that begins behind this has nothing of it, and a start behind the end of this process goes on. Copies do
    /// not wait for what was sealed anew, which may take hours.
    fn begin_sweep(&mut self, erases: bool) -> Result<(), Fault> {
        if erases {
            self.copies.wait_for_sweep(true);
        }
        match &mut self.sweep {
            // The file is there since that began.
            Some(Sweeping::Pages(sweep)) => {
                sweep.goes_round_again();
                return Ok(());
            }
            sweep => *sweep = Some(Sweeping::Pages(Sweep::BEGIN)),
        }
        private::replace(&self.remains, b"what was erased is being swept\n").map_err(|error| {
            if private::is_no_room(&error) {
                Fault::Full
            } else {
                Fault::Broken(format!("{}: {error}", self.remains.display()))
            }
        })
    }

    /// A step towards the end of what was erased. A reader, or a copy, that is in the way of the log has it tried again a second later, as does
    /// a disk that is full.
    fn sweep(&mut self, db: &Connection) -> Result<(), Fault> {
        let began = Instant::now();
        let is_through = match self.sweep.clone() {
            None => return Ok(()),
            Some(Sweeping::Pages(sweep)) => self.sweep_pages(db, sweep)?,
            Some(Sweeping::Log { is_swept }) => {
                let is_cut = !self.copies.is_catching_up() && self.checkpoint(db, CheckpointMode::TRUNCATE)?;
                if is_cut {
                    // Where it is left the next start tries again.
                    if is_swept {
                        drop(fs::remove_file(&self.remains));
                    }
                    self.sweep = None;
                }
                is_cut
            }
        };
        let pause = if is_through { began.elapsed() * BULK_PAUSE } else { IDLE_AFTER };
        self.sweep_not_before = Instant::now() + pause;
        Ok(())
    }

    /// `false`: there is no room for it now, or a page of it does not read, which is passed over the next time.
    fn sweep_pages(&mut self, db: &Connection, before: Sweep) -> Result<bool, Fault> {
        let (mut sweep, mut came) = (before.clone(), Swept::Further);
        let swept = self.attempt(db, |tx| {
            // What is freed meanwhile is no new slack.
            tx.db.pragma_update(None, "secure_delete", true)?;
            came = sweep.step(tx.db)?;
            Ok(())
        });
        match swept.map_err(|fault| self.judged(fault)) {
            Ok(_) => {}
            Err(Fault::Full) => {
                self.roll_back(db)?;
                self.room.ran_out();
                return Ok(false);
            }
            Err(fault) => return self.pass_over(db, before, &sweep, fault),
        }
        match came {
            Swept::Further => self.sweep = Some(Sweeping::Pages(sweep)),
            Swept::Through if sweep.unread().is_empty() => self.end_sweep(db, true)?,
            Swept::Through => {
                let words = "pages do not read, and what was erased may be left in them: crm-relay store check";
                tracing::error!(event = "erased_not_swept", pages = ?sweep.unread(), "{words}");
                self.end_sweep(db, false)?;
            }
            Swept::Not(reason) => {
                let words = "copies of what was erased may be left between what is stored";
                tracing::error!(event = "erased_not_swept", reason, "{words}");
                self.end_sweep(db, false)?;
            }
        }
        Ok(true)
    }

    /// A page that does not read is no reason to end: it may be one that nobody needs.
    fn pass_over(&mut self, db: &Connection, mut before: Sweep, failed: &Sweep, fault: Fault) -> Result<bool, Fault> {
        if !before.passes_over(failed) {
            return Err(fault);
        }
        tracing::warn!(event = "page_unread", pages = ?before.unread(), ?fault, "passed over by the sweep of what was erased");
        self.roll_back(db)?;
        self.sweep = Some(Sweeping::Pages(before));
        Ok(false)
    }

    /// The pages are through: copies go on, and the log is cut.
    fn end_sweep(&mut self, db: &Connection, is_swept: bool) -> Result<(), Fault> {
        db.pragma_update(None, "secure_delete", false)?;
        self.copies.wait_for_sweep(false);
        self.sweep = Some(Sweeping::Log { is_swept });
        Ok(())
    }

    /// Moves the write-ahead log into the database; whether all of it is there now.
    fn checkpoint(&mut self, db: &Connection, mode: CheckpointMode) -> Result<bool, Fault> {
        match self.edges.meet(Edge::BeforeCheckpoint) {
            // No room for a checkpoint: the WAL keeps what it has.
            Err(Fault::Full) => return Ok(false),
            met => met?,
        }
        self.wal.tried = self.wal.written();
        self.hurried = false;
        self.caught_up = self.copies.caught_up();
        let done = db.wal_checkpoint_v2(None::<&str>, mode);
        match done.map_err(|error| (error.sqlite_error_code(), error)) {
            Ok((in_log, moved)) => {
                self.wal.found(in_log, moved);
                if in_log == moved {
                    self.meta.is_all_in_database();
                }
                Ok(in_log == moved)
            }
            Err((Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _)) => Ok(false),
            Err((Some(ErrorCode::DiskFull), _)) => {
                self.room.ran_out();
                Ok(false)
            }
            Err((_, error)) => match self.judged(error.into()) {
                Fault::Full => {
                    self.room.ran_out();
                    Ok(false)
                }
                Fault::Broken(reason) => Err(Fault::Broken(format!("checkpoint: {reason}"))),
                other => Err(other),
            },
        }
    }

    fn close(&mut self, db: &Connection) -> Result<(), Fault> {
        self.copies.gone();
        self.checkpoint(db, CheckpointMode::TRUNCATE)?;
        tracing::debug!(lock = ?self.lock, "the store is closed");
        Ok(())
    }
}

/// Begins a transaction. A program of somebody else that has the file locked for a moment is waited for.
fn begin(db: &Connection) -> Result<(), Fault> {
    db.busy_timeout(BUSY_MAX)?;
    let begun = db.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
    // A checkpoint must not wait: what is in its way is left for later.
    db.busy_timeout(Duration::ZERO)?;
    begun.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => Fault::Broken(format!(
            "another program has had {DATABASE} locked for {} s; only crm-relay may write there",
            BUSY_MAX.as_secs()
        )),
        _ => error.into(),
    })?;
    Ok(())
}

/// Refuses the jobs that add to what is stored; gives the others.
fn refuse_adders(jobs: Vec<Job>) -> Vec<Job> {
    let (adders, others): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.adds);
    for job in adders {
        job.task.refuse(Refusal::Full);
    }
    others
}
