//! A consistent copy of the store, read page by page at one snapshot on a thread and a connection of its own.
//!
//! The writer has no part in it: all its lanes go on. What the snapshot costs is room, for a checkpoint stops where the
//! snapshot began, and the write-ahead log grows until the copy is through. So a copy that is not taken in time, or that
//! is overtaken by what is written, is given up; and what it held back is moved into the database here, not on the
//! writer's thread, where everybody would wait for it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use rusqlite::{Connection, ErrorCode, wal::CheckpointMode};
use tokio::sync::{
    mpsc::{self, OwnedPermit, error::TrySendError},
    oneshot,
};

use super::book::{Book, Kind, Shelf};
use crate::{
    copy::{Backup, BackupError, Copying, Digest, FORMAT, Manifest, PIECE_BYTES, PIECES_WAITING, Piece},
    sqlite::{
        fault::Fault,
        files::{
            meta::Meta,
            open::{self, Clock},
            room::Seen,
        },
        status::Status,
    },
};

/// Every page as it is at the snapshot, in order.
const PAGES: &str = "SELECT data FROM sqlite_dbpage ORDER BY pgno";
/// So much may the write-ahead log grow while a copy is taken; for a larger store, by its size.
pub(crate) const GROWTH_MAX: u64 = 1024 * 1024 * 1024;
/// The same where the disk was full before it began: what settling may still need is not for copies.
const GROWTH_MAX_FULL: u64 = 8 * 1024 * 1024;
/// Between two looks at whether a reader has taken something.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long the writer's last checkpoint waits for the end of a copy.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a copy waits until what was erased is gone from the pages.
const SWEEP_MAX: Duration = Duration::from_mins(1);
/// What is told behind that.
const NOT_SWEPT: &str =
    "what was erased is still being swept from the database, and no copy is to have it: ask again in some minutes";

/// What is told where nobody sweeps.
const NOT_SWEPT_HERE: &str = "what was erased has not been swept from the database, and no copy is to have it: start the server, which does that, and ask it";

type Answer = oneshot::Sender<Result<Copying, BackupError>>;
type Pieces = mpsc::Sender<Result<Piece, BackupError>>;

/// The one copy that may be under way.
#[derive(Clone, Default)]
pub(crate) struct Copies(Arc<Shared>);

#[derive(Default)]
struct Shared {
    doing: Mutex<Doing>,
    wake: Condvar,
    /// What a copy held back is being moved into the database.
    catching_up: AtomicBool,
    /// How often that was done.
    caught_up: AtomicU64,
    /// What was erased is being swept from the pages.
    sweeps: AtomicBool,
}

#[derive(Default)]
struct Doing {
    stop: bool,
    /// Two, where one has been taken and moves what it held back.
    under_way: u8,
    /// As many as are under way, and those that have just ended.
    threads: Vec<JoinHandle<()>>,
}

/// What a copy needs of the store.
pub(crate) struct Order {
    pub(crate) dir: PathBuf,
    pub(crate) status: Arc<Status>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) clock: Clock,
    /// How long whoever takes the copy may take nothing: [`STALL_MAX`](crate::copy::STALL_MAX).
    pub(crate) stall_max: Duration,
    /// How much the write-ahead log may grow meanwhile, at least: [`GROWTH_MAX`].
    pub(crate) growth_max: u64,
    /// Whether what the copy held back is moved into the database afterwards: not by a command, whose store it is not.
    pub(crate) moves: bool,
    /// Where damage is noted.
    pub(crate) shelf: Shelf,
}

impl Copies {
    /// Begins a copy, unless there is one or the store closes.
    pub(crate) fn begin(&self, order: Order) -> oneshot::Receiver<Result<Copying, BackupError>> {
        let (answer, asked) = oneshot::channel();
        let mut doing = self.lock();
        let refused = if doing.stop {
            Some(BackupError::Stopped)
        } else if doing.under_way > u8::from(self.is_catching_up()) {
            Some(BackupError::UnderWay)
        } else {
            None
        };
        if let Some(error) = refused {
            drop(answer.send(Err(error)));
            return asked;
        }
        let under_way = UnderWay(self.clone());
        let work = move || order.status.guard("the backup", || under_way.0.work(&order, answer));
        doing.under_way += 1;
        drop(doing);
        // Without a thread the answer is dropped, which is an answer too, and so is what was under way.
        if let Ok(thread) = thread::Builder::new().name("store-backup".into()).spawn(work) {
            let mut doing = self.lock();
            doing.threads.retain(|thread| !thread.is_finished());
            doing.threads.push(thread);
        }
        asked
    }

    /// Ends the copy that is under way, and lets none begin.
    pub(crate) fn stop(&self) {
        self.lock().stop = !relay_core::canary::is("sqlite_backup_goes_on");
        self.0.wake.notify_all();
    }

    /// Waits until the copy that was told to stop is gone, for a moment at most.
    pub(crate) fn gone(&self) {
        let gone = |doing: &mut Doing| doing.under_way > 0;
        drop(self.0.wake.wait_timeout_while(self.lock(), END_TIMEOUT, gone));
    }

    /// Waits for the end of all threads: one may still move what an earlier copy held back.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut self.lock().threads);
        // A panic there has been printed; there is nothing left to save.
        for thread in threads {
            drop(thread.join());
        }
    }

    /// Whether there is one.
    #[cfg(test)]
    pub(crate) fn is_under_way(&self) -> bool {
        self.lock().under_way > 0
    }

    /// Whether the writer leaves checkpoints to the copy that has just been taken.
    pub(crate) fn is_catching_up(&self) -> bool {
        self.0.catching_up.load(Ordering::Acquire)
    }

    /// How often a copy has moved what it held back: what is in the log may be in the database since.
    pub(crate) fn caught_up(&self) -> u64 {
        self.0.caught_up.load(Ordering::Acquire)
    }

    /// Whether copies wait, for as long as something that was erased is in the pages.
    pub(crate) fn wait_for_sweep(&self, waits: bool) {
        self.0.sweeps.store(waits, Ordering::Release);
        drop(self.lock());
        self.0.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Doing> {
        self.0.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rests; `true` when the store closes.
    fn rest(&self, span: Duration) -> bool {
        let (doing, _) = self
            .0
            .wake
            .wait_timeout_while(self.lock(), span, |doing| !doing.stop)
            .unwrap_or_else(PoisonError::into_inner);
        doing.stop
    }

    fn work(&self, order: &Order, answer: Answer) {
        if !self.begins_alone() {
            return drop(answer.send(Err(BackupError::Stopped)));
        }
        if !order.moves && order.dir.join(open::ERASED).exists() {
            return drop(answer.send(Err(BackupError::NotNow(NOT_SWEPT_HERE.to_owned()))));
        }
        if !self.is_swept() {
            return drop(answer.send(Err(BackupError::NotNow(NOT_SWEPT.to_owned()))));
        }
        let db = match open::connect_reader(&order.dir) {
            Ok(db) => db,
            Err(fault) => return drop(answer.send(Err(order.told(fault)))),
        };
        let taken = self.take(order, &db, answer);
        if let Err(error) = &taken {
            tracing::warn!(event = "backup_failed", %error);
        }
        self.0.catching_up.store(true, Ordering::Release);
        drop(db.execute_batch("ROLLBACK"));
        if order.moves
            && !self.rest(Duration::ZERO)
            && let Err(fault) = catch_up(&db)
        {
            order.told(fault);
        }
    }

    /// Waits for one that has been taken, and moves what it held back; `false` when the store closes.
    fn begins_alone(&self) -> bool {
        let waits = |doing: &mut Doing| doing.under_way > 1 && !doing.stop;
        let doing = self.0.wake.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        !doing.stop
    }

    /// Waits until nothing that was erased is in the pages, for a while.
    fn is_swept(&self) -> bool {
        let sweeps = |doing: &mut Doing| self.0.sweeps.load(Ordering::Acquire) && !doing.stop;
        let waited = self.0.wake.wait_timeout_while(self.lock(), SWEEP_MAX, sweeps);
        let (doing, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_swept = !self.0.sweeps.load(Ordering::Acquire);
        drop(doing);
        is_swept
    }

    fn take(&self, order: &Order, db: &Connection, answer: Answer) -> Result<(), BackupError> {
        let backup = match begin(order, db).map_err(|fault| order.told(fault)) {
            Ok(backup) => backup,
            Err(error) => {
                drop(answer.send(Err(error.clone())));
                return Err(error);
            }
        };
        let (sender, pieces) = mpsc::channel(PIECES_WAITING + 1);
        // One place is kept for the last word.
        let Ok(last) = sender.clone().try_reserve_owned() else { return Err(BackupError::Unavailable) };
        let watch = LogWatch::new(order, backup.bytes);
        if answer.send(Ok(Copying { backup: backup.clone(), pieces })).is_err() {
            return Ok(());
        }
        let copied = self.pages(order, db, &watch, &sender);
        drop(sender);
        // Before the last word: whoever hears it may ask for the next copy.
        self.0.catching_up.store(true, Ordering::Release);
        finish(last, backup, copied)
    }

    /// Sends all pages; gives their SHA-256, and `None` if nobody wants them any more.
    fn pages(
        &self,
        order: &Order,
        db: &Connection,
        watch: &LogWatch,
        pieces: &Pieces,
    ) -> Result<Option<String>, BackupError> {
        let told = |error: rusqlite::Error| order.told(error.into());
        let mut digest = Digest::new();
        let mut statement = db.prepare(PAGES).map_err(told)?;
        let mut rows = statement.query([]).map_err(told)?;
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        loop {
            match rows.next().map_err(told)? {
                Some(row) => {
                    piece.extend_from_slice(row.get_ref(0).map_err(told)?.as_blob().unwrap_or_default());
                    if piece.len() < PIECE_BYTES {
                        continue;
                    }
                }
                None if piece.is_empty() => return Ok(Some(digest.finish())),
                None => {}
            }
            digest.update(&piece);
            let full = std::mem::replace(&mut piece, BytesMut::with_capacity(PIECE_BYTES));
            if !self.send(watch, pieces, full.freeze())? {
                return Ok(None);
            }
        }
    }

    /// Sends a piece as soon as there is a place for it; `false`: nobody wants it any more.
    fn send(&self, watch: &LogWatch, pieces: &Pieces, bytes: Bytes) -> Result<bool, BackupError> {
        let began = Instant::now();
        let mut piece = Ok(Piece::Bytes(bytes));
        loop {
            watch.look()?;
            match pieces.try_send(piece) {
                Ok(()) => return Ok(true),
                Err(TrySendError::Closed(_)) => return Ok(false),
                Err(TrySendError::Full(back)) => piece = back,
            }
            if self.rest(LOOK_EVERY) {
                return Err(BackupError::Stopped);
            }
            if began.elapsed() > watch.stall_max {
                return Err(BackupError::Stalled);
            }
        }
    }
}

/// A copy that is under way, until this is dropped.
struct UnderWay(Copies);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.catching_up.store(false, Ordering::Release);
        self.0.0.caught_up.fetch_add(1, Ordering::Release);
        self.0.lock().under_way -= 1;
        self.0.0.wake.notify_all();
    }
}

impl Order {
    /// What whoever asked is told of a fault. One of the store itself stops the store (I17).
    fn told(&self, fault: Fault) -> BackupError {
        match fault {
            Fault::NotOpened(reason) => BackupError::NotNow(reason),
            Fault::TooSlow => BackupError::NotNow("it took too long".into()),
            Fault::Full => BackupError::Full,
            Fault::Broken(reason) | Fault::Unwritten(reason) | Fault::Corrupt { reason, .. } => {
                self.status.fail(&format!("backup: {reason}"));
                BackupError::Unavailable
            }
            // One record: the store works. What the book has is in memory, and is written anew.
            Fault::Damaged(what) | Fault::Later(what) => {
                self.shelf.damage().note(&what);
                BackupError::NotNow(what.into())
            }
            Fault::Crash => BackupError::Unavailable,
        }
    }
}

/// Takes the snapshot, and what there is to say about it.
fn begin(order: &Order, db: &Connection) -> Result<Backup, Fault> {
    db.execute_batch("BEGIN")?;
    let meta = Meta::load(db).and_then(|meta| meta.ok_or_else(|| Fault::Damaged("the meta row is missing".into())));
    let meta = meta.inspect_err(|_| order.shelf.damage().want_names())?;
    let book = Book::load_noting(db, &order.shelf)?;
    let (pages, size): (i64, i64) = (
        db.pragma_query_value(None, "page_count", |row| row.get(0))?,
        db.pragma_query_value(None, "page_size", |row| row.get(0))?,
    );
    Ok(Backup {
        bytes: (pages * size).cast_unsigned(),
        events: book.entries(Kind::Source).map(|(_, entry)| entry.source_stats().stored).sum(),
        accepted: book.accepted,
        commit: meta.commit,
        epoch: format!("{:032x}", meta.epoch),
        at_ms: (order.clock)().as_millis() as i64,
    })
}

/// Says the last word: what the copy was, or why there is none.
fn finish(
    last: OwnedPermit<Result<Piece, BackupError>>,
    backup: Backup,
    copied: Result<Option<String>, BackupError>,
) -> Result<(), BackupError> {
    match copied {
        Ok(None) => {
            tracing::info!(event = "backup_ended", "nobody takes the backup any more");
            Ok(())
        }
        Ok(Some(sha256)) => {
            let manifest = Manifest { format: FORMAT, sha256, backup };
            drop(last.send(Ok(Piece::End(Box::new(manifest)))));
            Ok(())
        }
        Err(error) => {
            drop(last.send(Err(error.clone())));
            Err(error)
        }
    }
}

/// Moves what the snapshot held back into the database. Commits go on meanwhile.
fn catch_up(db: &Connection) -> Result<(), Fault> {
    match db.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE) {
        Ok(_) => Ok(()),
        Err(error) => match error.sqlite_error_code() {
            // Somebody else does it, or there is no room for it: the log keeps what it has.
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull) => Ok(()),
            _ => match error.into() {
                // Perhaps for want of room, as of a quota: the writer, whose next checkpoint meets the same, finds out.
                Fault::Unwritten(_) => Ok(()),
                fault => Err(fault),
            },
        },
    }
}

/// Looks after the room that a copy holds back.
struct LogWatch {
    log: PathBuf,
    length: u64,
    growth_max: u64,
    was_full: bool,
    stall_max: Duration,
    seen: Arc<Seen>,
}

impl LogWatch {
    fn new(order: &Order, bytes: u64) -> Self {
        let log = order.dir.join("store.db-wal");
        let was_full = order.seen.is_full();
        let growth_max = if was_full { GROWTH_MAX_FULL } else { order.growth_max.max(bytes) };
        let (length, stall_max) = (length(&log), order.stall_max);
        Self { log, length, growth_max, was_full, stall_max, seen: Arc::clone(&order.seen) }
    }

    fn look(&self) -> Result<(), BackupError> {
        if self.seen.is_full() && !self.was_full {
            return Err(BackupError::Full);
        }
        let bytes = length(&self.log).saturating_sub(self.length);
        if bytes <= self.growth_max {
            Ok(())
        } else if self.was_full {
            Err(BackupError::Full)
        } else {
            Err(BackupError::Outgrown { bytes })
        }
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}
