//! Opening: the directory, the lock, the version, and whether everything that was acknowledged is still there.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use relay_core::{
    fault::{Fault as Whose, Retry},
    time::Wall,
};
use rusqlite::{Connection, ErrorCode, OpenFlags, wal::CheckpointMode};

use super::{
    edge::Edges,
    ledger::{self, Found, Ledger, Slot},
    lock::{Glance, Lock, NotLocked, Writing},
    meta::Meta,
    room::{self, DiskFree},
    schema,
};
use crate::{
    cipher::{Ciphers, Unfit},
    private::{self, Owners, Unsafe},
    sqlite::fault::Fault,
};

/// A clock for append deadlines.
pub(crate) type Clock = Arc<dyn Fn() -> Wall + Send + Sync>;

/// After a loss of power the ledger lacks what was committed since its last fsync: 10 ms, or as long as the disk stalled
/// for both. More commits than this no disk does in that time.
const BEHIND_MAX: u64 = 1000;

/// There while something that was erased may stand in the slack of the database, or in its log.
pub(crate) const ERASED: &str = "erased";
/// What a restore writes into until it is through.
const PART: &str = "store.db.part";

/// The ledger of the store that was lost, until the restore is through.
pub(crate) const LEDGER_LEFT: &str = "ledger.left";

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// Directory that holds the store and nothing else; made if it does not exist.
    pub dir: PathBuf,
    /// Bytes of the disk that stay free: `DISK_RESERVE`.
    pub disk_reserve: u64,
    /// Whose directory it may be.
    pub owners: Owners,
    /// Whether a file is laid out that settling may use up when the disk is full.
    pub ballast: bool,
    /// The clock for deadlines: start wall clock + monotonic time. See [`Queue::keep_time`](crate::seam::Queue::keep_time).
    pub clock: Arc<dyn Fn() -> Wall + Send + Sync>,
    /// Free bytes of the disk; tests may bring their own.
    pub disk_free: Option<DiskFree>,
    /// The keys that it is sealed with; none: what is written is clear.
    pub ciphers: Ciphers,
    /// Failure points, for tests.
    pub edges: Edges,
}

impl Options {
    /// A store in `dir` with the default reserve and the system's clock.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            disk_reserve: 256 * 1024 * 1024,
            owners: Owners::Us,
            ballast: true,
            clock: system_clock(),
            disk_free: None,
            ciphers: Ciphers::default(),
            edges: Edges::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("dir", &self.dir)
            .field("disk_reserve", &self.disk_reserve)
            .finish_non_exhaustive()
    }
}

/// Why a store was not opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite could not open its files, which says nothing about what is in them.
    #[error(
        "the store in {} could not be opened: {what}. That is no damage: look at open files (ulimit -n; in systemd units \
         LimitNOFILE=65536), memory, and who may write there; then start again", dir.display()
    )]
    NotOpened {
        /// Whose.
        dir: PathBuf,
        /// What SQLite said.
        what: String,
    },
    /// The directory or a file in it cannot be used.
    #[error("cannot {verb} {} (uid {uid}): {}{}", path.display(), reason(error), private::way_out(error, path, *uid))]
    Io {
        /// What was tried: `read`, `write`.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// As whom.
        uid: u32,
        /// What the system said.
        error: io::Error,
    },
    /// Others than the relay could change what is in it.
    #[error(transparent)]
    Unsafe(#[from] Unsafe),
    /// Another process has it open.
    #[error("another crm-relay{} uses {}", pid.map_or_else(String::new, |pid| format!(" (pid {pid})")), dir.display())]
    InUse {
        /// The store.
        dir: PathBuf,
        /// The other process, if it could be read.
        pid: Option<u32>,
    },
    /// A newer version wrote it.
    #[error("the store in {} has format {found}, this crm-relay knows up to {known}: use the newer version", dir.display())]
    Newer {
        /// The store.
        dir: PathBuf,
        /// Its format.
        found: i32,
        /// The highest one known here.
        known: i32,
    },
    /// A newer version wrote something into it that this one does not know.
    #[error("the store in {} has something of a newer version: {what}. Use that version", dir.display())]
    Later {
        /// The store.
        dir: PathBuf,
        /// What, and in which record.
        what: String,
    },
    /// The file is something else.
    #[error("{} is not a crm-relay store", .0.display())]
    NotAStore(PathBuf),
    /// Commits that were acknowledged are gone.
    #[error(
        "the store in {} has lost commits {from} to {to}: {events} events were acknowledged that it does not have. \
         Restore a backup, or accept the loss: crm-relay store check --accept-loss", dir.display()
    )]
    LostCommits {
        /// The store.
        dir: PathBuf,
        /// The first lost commit.
        from: u64,
        /// The last one acknowledged.
        to: u64,
        /// Events accepted in them.
        events: u64,
    },
    /// The ledger tells of another history than the database.
    #[error(
        "the ledger in {} belongs to another store than the database beside it. Put back the files that belong together, \
         or accept the loss: crm-relay store check --accept-loss", dir.display()
    )]
    OtherHistory {
        /// The store.
        dir: PathBuf,
    },
    /// The ledger is gone or cannot be read, so nobody can tell whether the database has everything.
    #[error(
        "the ledger of the store in {} is gone or unreadable, so it cannot be told whether commits are lost. \
         Put it back, or go on without it: crm-relay store check --accept-loss", dir.display()
    )]
    NoLedger {
        /// The store.
        dir: PathBuf,
    },
    /// The write-ahead log goes on from another database than the one beside it.
    #[error(
        "{} is not the database that its log, store.db-wal, goes on from: another one, or an older copy, was put in its \
         place. Put back the one that belongs to the log; or go on with this one alone: move store.db-wal away, and see \
         what is missing then: crm-relay store check", dir.join("store.db").display()
    )]
    OtherLog {
        /// The store.
        dir: PathBuf,
    },
    /// There is a ledger, but its database is gone.
    #[error(
        "the database {} is gone or empty, but its ledger says that {events} events were accepted into it. \
         Put it back, or restore a backup: crm-relay store restore DIR. To begin anew, remove {}",
        dir.join("store.db").display(), dir.join("ledger").display()
    )]
    NoDatabase {
        /// The store.
        dir: PathBuf,
        /// Events that were accepted into it.
        events: u64,
    },
    /// A restore into it was begun and not finished.
    #[error(
        "a restore into {} was begun and did not come to its end. Run it again: crm-relay store restore DIR. \
         To begin anew without the backup, remove {}",
        dir.display(), dir.join(PART).display()
    )]
    UnfinishedRestore {
        /// The data directory.
        dir: PathBuf,
    },
    /// What must be read to open it is damaged.
    #[error("the store in {} is damaged: {what}", dir.display())]
    Damaged {
        /// The store.
        dir: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// There is a database without a table.
    #[error("the store in {} is empty: the server that was making it was ended. Start it again", dir.display())]
    Empty {
        /// The store.
        dir: PathBuf,
    },
    /// A server is about to start: who only reads the store as a whole is not in its way.
    #[error("gave way: a server starts in {}, or another command mends there. Nothing was changed", dir.display())]
    GaveWay {
        /// The data directory.
        dir: PathBuf,
    },
    /// Somebody asked for an early end.
    #[error("interrupted: {} is as it was", dir.display())]
    Interrupted {
        /// The data directory.
        dir: PathBuf,
    },
    /// It is sealed, and not with the keys that were given.
    #[error("the store in {} cannot be used: {why}", dir.display())]
    Sealed {
        /// The store.
        dir: PathBuf,
        /// What to do.
        why: Unfit,
    },
    /// The SQLite in this program is too old to be safe.
    #[error("SQLite {0} may corrupt a store; 3.51.3 or later is needed")]
    OldSqlite(&'static str),
}

impl OpenError {
    /// Who has to change something.
    pub const fn fault(&self) -> Whose {
        match self {
            Self::NotOpened { .. } => Whose::Resource,
            Self::Interrupted { .. } | Self::GaveWay { .. } => Whose::Caller,
            Self::OldSqlite(_) => Whose::Bug,
            Self::Io { .. }
            | Self::Unsafe(_)
            | Self::InUse { .. }
            | Self::Newer { .. }
            | Self::Later { .. }
            | Self::NotAStore(_)
            | Self::LostCommits { .. }
            | Self::OtherHistory { .. }
            | Self::NoLedger { .. }
            | Self::OtherLog { .. }
            | Self::NoDatabase { .. }
            | Self::UnfinishedRestore { .. }
            | Self::Damaged { .. }
            | Self::Empty { .. }
            | Self::Sealed { .. } => Whose::Operator,
        }
    }

    /// Whether it may be opened later as it is: another process has it only for a time. All else somebody has to mend.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::InUse { .. } | Self::GaveWay { .. } | Self::Interrupted { .. } => Retry::Backoff,
            Self::NotOpened { .. }
            | Self::Io { .. }
            | Self::Unsafe(_)
            | Self::Newer { .. }
            | Self::Later { .. }
            | Self::NotAStore(_)
            | Self::LostCommits { .. }
            | Self::OtherHistory { .. }
            | Self::NoLedger { .. }
            | Self::OtherLog { .. }
            | Self::NoDatabase { .. }
            | Self::UnfinishedRestore { .. }
            | Self::Damaged { .. }
            | Self::Empty { .. }
            | Self::Sealed { .. }
            | Self::OldSqlite(_) => Retry::Never,
        }
    }
}

/// What the database says without its write-ahead log.
pub(crate) enum Alone {
    /// There is no log.
    Without,
    /// Its store's own record; `None`: it has no tables yet.
    Says(Option<Box<Meta>>),
    /// A checkpoint that was cut short may leave it so, and so may damage.
    Unreadable,
}

/// What a ledger cannot vouch for, although nothing is known to be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Doubt {
    /// One of its slots does not hold, and it may have named a commit that is not there.
    #[error("one half of the ledger is gone or unreadable: commit {commit}, if there was one, is missing")]
    Torn {
        /// The commit that it may have named.
        commit: u64,
    },
    /// It is far older than the database beside it.
    #[error(
        "the ledger is {behind} commits older than the database beside it, as if put there from elsewhere: it cannot be \
         told whether later ones are missing"
    )]
    Old {
        /// So many commits are in the database that it does not name.
        behind: u64,
    },
}

/// The directory of a store.
#[derive(Debug)]
pub(crate) struct StoreDir {
    pub(crate) dir: PathBuf,
}

impl StoreDir {
    /// Makes the directory if need be, refuses a newer store before touching anything, and takes the lock of who writes.
    pub(crate) fn claim(dir: &Path, owners: Owners, who: Writing) -> Result<(Self, Lock), OpenError> {
        refuse_old_sqlite()?;
        // Before anything is made there, and as it is then.
        private::check_dir(dir, owners)?;
        private::make_dir(dir).map_err(|error| io_error("write", dir, error))?;
        let place = Self::known(dir, owners)?;
        let lock = Lock::take(&place.dir, who).map_err(|error| place.not_locked(error))?;
        Ok((place, lock))
    }

    /// As [`claim`](Self::claim), for who only reads what is there, and makes nothing.
    pub(crate) fn look(dir: &Path, owners: Owners) -> Result<(Self, Glance), OpenError> {
        refuse_old_sqlite()?;
        let place = Self::known(dir, owners)?;
        let glance = Glance::take(&place.dir).map_err(|error| place.not_locked(error))?;
        Ok((place, glance))
    }

    /// A directory that is there and safe, with no store in it that this program does not know.
    fn known(dir: &Path, owners: Owners) -> Result<Self, OpenError> {
        private::check_dir(dir, owners)?;
        // From here on without the links that the way to it may have, so that SQLite need not follow any.
        let dir = fs::canonicalize(dir).map_err(|error| io_error("read", dir, error))?;
        check_header(&dir)?;
        Ok(Self { dir })
    }

    /// In words for who opens it.
    fn not_locked(&self, error: NotLocked) -> OpenError {
        match error {
            NotLocked::InUse { pid } => self.in_use(pid),
            NotLocked::Io { verb, path, error } => io_error(verb, &path, error),
        }
    }

    /// Another process has it.
    pub(crate) fn in_use(&self, pid: Option<u32>) -> OpenError {
        OpenError::InUse { dir: self.dir.clone(), pid }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.join("store.db")
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.dir.join("ledger")
    }

    /// Room for settling on a full disk.
    pub(crate) fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }

    /// Where the reason is kept why the store stopped working, until everything was read again.
    pub(crate) fn suspect(&self) -> PathBuf {
        self.dir.join("suspect")
    }

    /// Where [`ERASED`] is.
    pub(crate) fn erased(&self) -> PathBuf {
        self.dir.join(ERASED)
    }

    /// What is known to be damaged, until it is mended, gone or accepted.
    pub(crate) fn known_damage(&self) -> PathBuf {
        self.dir.join("damaged")
    }

    /// The database of a restore that is not through, and the sign that one was begun.
    pub(crate) fn unfinished_restore(&self) -> PathBuf {
        self.dir.join(PART)
    }

    /// Refuses to make a new database beside the ledger of one that is gone, or beside a restore that is not through.
    pub(crate) fn refuse_lone_ledger(&self) -> Result<(), OpenError> {
        if self.database().metadata().is_ok_and(|found| found.len() > 0) {
            return Ok(());
        }
        if self.unfinished_restore().symlink_metadata().is_ok() {
            return Err(OpenError::UnfinishedRestore { dir: self.dir.clone() });
        }
        let found = ledger::read(&self.ledger()).map_err(|error| io_error("read", &self.ledger(), error))?;
        match found {
            Some(Found { slot, may_have_named_more }) if slot.commit > 0 || may_have_named_more => {
                Err(OpenError::NoDatabase { dir: self.dir.clone(), events: slot.accepted })
            }
            _ => Ok(()),
        }
    }

    /// What the database says without its log. Anything that SQLite opens it with takes both for one.
    pub(crate) fn database_alone(&self) -> Result<Alone, OpenError> {
        let log = self.dir.join("store.db-wal");
        match fs::symlink_metadata(&log) {
            Ok(found) if found.len() > 0 => {}
            Ok(_) => return Ok(Alone::Without),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Alone::Without),
            Err(error) => return Err(io_error("read", &log, error)),
        }
        let read = || {
            let db = Connection::open_with_flags(without_log(&self.database()), flags_without_log())?;
            let tables: i64 =
                db.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'names'", [], |row| row.get(0))?;
            if tables == 0 { Ok(None) } else { Meta::load(&db) }
        };
        let alone = match read() {
            Ok(meta) => Alone::Says(meta.map(Box::new)),
            Err(fault @ Fault::Later(_)) => return Err(self.damaged(fault)),
            Err(_) => Alone::Unreadable,
        };
        self.refuse_unlogged()?;
        Ok(alone)
    }

    /// Refuses a log beside a database that never had one: what `VACUUM INTO` makes has the same content in other pages, and
    /// those of the log would be written over them.
    fn refuse_unlogged(&self) -> Result<(), OpenError> {
        /// Where a database says who may read and write it, and what it says there once it has a log.
        const AT: u64 = 18;
        const WITH_LOG: [u8; 2] = [2, 2];
        let mut says = [0; 2];
        let read = private::open_existing(&self.database()).and_then(|file| file.read_exact_at(&mut says, AT));
        if read.is_ok() && says != WITH_LOG {
            return Err(OpenError::OtherLog { dir: self.dir.clone() });
        }
        Ok(())
    }

    /// Refuses a log that goes on from another database: SQLite would write its pages into this one.
    pub(crate) fn compare_log(&self, alone: Option<&Meta>, meta: &Meta) -> Result<(), OpenError> {
        if meta.goes_on_from(alone) { Ok(()) } else { Err(OpenError::OtherLog { dir: self.dir.clone() }) }
    }

    /// Removes what an earlier process left in the middle of something, and what speaks of a store that is not there any more.
    /// The store is not opened yet, and nothing refuses it.
    pub(crate) fn sweep(&self) {
        let mut left = vec!["room.probe", "suspect.new", "damaged.new", "ledger.new"];
        if self.unfinished_restore().symlink_metadata().is_err() {
            left.extend(["store.db.part-wal", "store.db.part-shm", LEDGER_LEFT]);
        }
        if !self.database().metadata().is_ok_and(|found| found.len() > 0) {
            left.extend(["suspect", "damaged"]);
        }
        for name in left {
            // What cannot be removed does no harm.
            drop(fs::remove_file(self.dir.join(name)));
        }
    }

    /// Opens the connection that writes; makes the tables if the database is new.
    pub(crate) fn connect_writer(&self) -> Result<Connection, OpenError> {
        self.connect(&self.database())
    }

    /// Like [`connect_writer`](Self::connect_writer), to a database of another name.
    pub(crate) fn connect(&self, path: &Path) -> Result<Connection, OpenError> {
        close_to_others(path)?;
        let db = Connection::open_with_flags(path, flags()).map_err(|error| self.damaged(unopened(error)))?;
        self.prepare(&db).map_err(|error| self.damaged(error))?;
        let found: i32 =
            db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|error| self.damaged(error))?;
        if found > schema::SCHEMA_VERSION {
            return Err(OpenError::Newer { dir: self.dir.clone(), found, known: schema::SCHEMA_VERSION });
        }
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(|error| io_error("write", &self.dir, error))?;
        Ok(db)
    }

    fn prepare(&self, db: &Connection) -> Result<(), Fault> {
        schema::set_up_writer(db).map_err(unopened)?;
        let version: i32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            schema::create(db)?;
            Meta::new(new_epoch()).write(db)?;
            db.execute_batch("COMMIT")?;
            // The version must be in the file itself, where an older program looks for it.
            db.wal_checkpoint_v2(None::<&str>, CheckpointMode::TRUNCATE)?;
            tracing::info!(event = "store_created", dir = %self.dir.display());
        }
        Ok(())
    }

    /// Opens a connection that reads, if there are tables to be read.
    pub(crate) fn connect_looking(&self) -> Result<Connection, OpenError> {
        let is_there = self.database().symlink_metadata().is_ok();
        if !is_there {
            return Err(OpenError::Empty { dir: self.dir.clone() });
        }
        close_to_others(&self.database())?;
        let db = self.connect_reader()?;
        let tables = db.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'names'", [], |row| row.get(0));
        match tables.map_err(|error| self.damaged(error))? {
            0_i64 => Err(OpenError::Empty { dir: self.dir.clone() }),
            _ => Ok(db),
        }
    }

    /// Opens the database as a file that nobody changes, and that has no log: a copy.
    pub(crate) fn connect_copy(&self) -> Result<Connection, OpenError> {
        let opened = Connection::open_with_flags(without_log(&self.database()), flags_without_log());
        opened.map_err(|error| self.damaged(unopened(error)))
    }

    /// Opens a connection that reads.
    pub(crate) fn connect_reader(&self) -> Result<Connection, OpenError> {
        connect_reader(&self.dir).map_err(|fault| self.damaged(fault))
    }

    /// Compares the ledger with what the database says, and refuses a database that lost commits. What it cannot vouch for
    /// is named.
    pub(crate) fn compare_ledger(&self, meta: &Meta, accepted: u64) -> Result<Option<Doubt>, OpenError> {
        let found = ledger::read(&self.ledger()).map_err(|error| io_error("read", &self.ledger(), error))?;
        let Some(Found { slot, may_have_named_more }) = found else {
            // A crash between the making of the database and that of the ledger leaves a store without a commit.
            return if meta.commit == 0 { Ok(None) } else { Err(OpenError::NoLedger { dir: self.dir.clone() }) };
        };
        // Two empty stores: nothing was acknowledged in either.
        if slot.commit == 0 && meta.commit == 0 && !may_have_named_more {
            return Ok(None);
        }
        // A crash between the commit that begins an epoch and its ledger.
        if slot.epoch == meta.previous && meta.previous != 0 && meta.commit == meta.began {
            return Ok(None);
        }
        if slot.epoch != meta.epoch || (slot.commit == meta.commit && slot.chain != meta.chain) {
            return Err(OpenError::OtherHistory { dir: self.dir.clone() });
        }
        if slot.commit > meta.commit {
            return Err(OpenError::LostCommits {
                dir: self.dir.clone(),
                from: meta.commit + 1,
                to: slot.commit,
                events: slot.accepted.saturating_sub(accepted),
            });
        }
        let behind = meta.commit - slot.commit;
        Ok(match behind {
            0 if may_have_named_more => Some(Doubt::Torn { commit: slot.commit + 1 }),
            0..=BEHIND_MAX => None,
            _ => Some(Doubt::Old { behind }),
        })
    }

    /// Opens the ledger for what is stored. Where a disk without room has to find some even for bytes that are there already
    /// (it copies what it overwrites), the ballast makes it.
    pub(crate) fn open_ledger(&self, slot: &Slot) -> Result<Ledger, OpenError> {
        let opened = match Ledger::open(&self.ledger(), slot) {
            Err(error) if private::is_no_room(&error) && fs::remove_file(self.ballast()).is_ok() => {
                Ledger::open(&self.ledger(), slot)
            }
            other => other,
        };
        opened.map_err(|error| io_error("write", &self.ledger(), error))
    }

    pub(crate) fn damaged(&self, error: impl Into<Fault>) -> OpenError {
        let what = match error.into() {
            Fault::Damaged(what) => what.into(),
            Fault::Later(what) => return OpenError::Later { dir: self.dir.clone(), what: what.into() },
            // That may be want of room, which only another write tells.
            Fault::Unwritten(_) if room::is_exhausted(&self.dir) => return self.damaged(Fault::Full),
            Fault::NotOpened(what) => return OpenError::NotOpened { dir: self.dir.clone(), what },
            Fault::Broken(what) | Fault::Unwritten(what) | Fault::Corrupt { reason: what, .. } => what,
            Fault::Full => return io_error("write", &self.dir, io::ErrorKind::StorageFull.into()),
            Fault::TooSlow | Fault::Crash => "it could not be read".to_owned(),
        };
        OpenError::Damaged { dir: self.dir.clone(), what }
    }
}

fn refuse_old_sqlite() -> Result<(), OpenError> {
    if rusqlite::version_number() < schema::SQLITE_VERSION_MIN {
        return Err(OpenError::OldSqlite(rusqlite::version()));
    }
    Ok(())
}

/// Opens a connection that reads the store in `dir`, down to the files beside the database. That it cannot be opened (no
/// descriptor, no memory, no permission) says nothing about what is stored: [`Fault::NotOpened`].
pub(crate) fn connect_reader(dir: &Path) -> Result<Connection, Fault> {
    let open = || {
        let db = Connection::open_with_flags(dir.join("store.db"), flags())?;
        schema::set_up_reader(&db)?;
        // The write-ahead log and its index are opened by the first who reads.
        db.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'", [], |_| Ok(()))?;
        Ok(db)
    };
    open().map_err(unopened)
}

/// A fault while a connection is opened: that it could not be is no damage.
fn unopened(error: rusqlite::Error) -> Fault {
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::OutOfMemory | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            Fault::NotOpened(format!("sqlite: {error}"))
        }
        _ => error.into(),
    }
}

/// No link is followed to a database.
fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW
}

/// The name of a database for SQLite to open as a file that nothing changes, and without its log.
fn without_log(path: &Path) -> OsString {
    let mut name = OsString::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => name.push(char::from(*byte).to_string()),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(*byte).to_string()),
            _ => name.push(format!("%{byte:02x}")),
        }
    }
    name.push("?immutable=1");
    name
}

fn flags_without_log() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
}

/// A random epoch.
pub(crate) fn new_epoch() -> u128 {
    let mut bytes = [0; 16];
    // Without random numbers the wall clock is still different from one epoch to the next.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        bytes = system_clock()().as_micros().cast_unsigned().to_le_bytes().repeat(2).try_into().unwrap_or(bytes);
    }
    u128::from_le_bytes(bytes)
}

/// Wall clock at the first call + monotonic time.
pub(crate) fn system_clock() -> Clock {
    let started = Instant::now();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = Wall::from_micros(wall.as_micros() as i64);
    Arc::new(move || wall + started.elapsed())
}

/// This clock, but never before what is stored: a system clock that was set back while the store was closed must not
/// make what is due lie in the future.
pub(crate) fn clock_from(clock: Clock, latest: Wall) -> Clock {
    let behind = latest.since(clock());
    Arc::new(move || clock() + behind)
}

/// Free bytes of the disk below `dir`.
pub(crate) fn disk_free_below(dir: &Path) -> DiskFree {
    let dir = dir.to_owned();
    Arc::new(move || {
        let stat = rustix::fs::statvfs(&dir)?;
        Ok(stat.f_bavail * stat.f_frsize)
    })
}

/// An IO error with who we are; one that says that a file is not safe is that.
pub(crate) fn io_error(verb: &'static str, path: &Path, error: io::Error) -> OpenError {
    if let Some(refused) = private::of_error(&error) {
        return refused.clone().into();
    }
    OpenError::Io { verb, path: path.to_owned(), uid: rustix::process::getuid().as_raw(), error }
}

/// Makes the database if it is not there, for us alone: SQLite gives its companions the same mode.
fn close_to_others(path: &Path) -> Result<(), OpenError> {
    private::open(path).map_err(|error| io_error("write", path, error))?;
    for ending in ["-wal", "-shm"] {
        let mut companion = path.as_os_str().to_owned();
        companion.push(ending);
        match private::open_existing(Path::new(&companion)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("write", Path::new(&companion), error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Bytes of what a database says of itself.
pub(crate) const HEADER_BYTES: usize = 100;

/// Looks at version and application id in the file's first bytes, without SQLite, which might recover a WAL.
fn check_header(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join("store.db");
    let mut header = [0; HEADER_BYTES];
    match private::open_existing(&path).and_then(|file| file.read_exact_at(&mut header, 0)) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => return Ok(()),
        Err(error) => {
            return Err(io_error("read", &path, error));
        }
    }
    judge_header(&header, dir, &path)
}

/// Whether the first bytes of a database are those of a store that this program knows.
pub(crate) fn judge_header(header: &[u8; HEADER_BYTES], dir: &Path, path: &Path) -> Result<(), OpenError> {
    let number = |at: usize| header[at..].first_chunk::<4>().map_or(0, |bytes| i32::from_be_bytes(*bytes));
    let (user_version, application_id) = (number(60), number(68));
    let is_sqlite = header.starts_with(b"SQLite format 3\0");
    if !is_sqlite || (application_id != schema::APPLICATION_ID && (application_id != 0 || user_version != 0)) {
        return Err(OpenError::NotAStore(path.to_owned()));
    }
    if user_version > schema::SCHEMA_VERSION {
        return Err(OpenError::Newer { dir: dir.to_owned(), found: user_version, known: schema::SCHEMA_VERSION });
    }
    Ok(())
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "read-only file system".to_owned(),
        io::ErrorKind::StorageFull => "no space left on the disk".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_unwritable_directory_is_told_with_the_way_out() {
        let error = OpenError::Io {
            verb: "write",
            path: PathBuf::from("/data"),
            uid: 65_532,
            error: io::ErrorKind::PermissionDenied.into(),
        };
        let told = "cannot write /data (uid 65532): permission denied. Give it to the relay: chown 65532 /data";
        assert_eq!(error.to_string(), told);
    }

    /// Only what another process has, or was ended, is worth another try; whoever waits for a server goes by that.
    #[test]
    fn every_reason_not_to_open_says_whether_it_passes() {
        let dir = || PathBuf::from("/data");
        let what = || "bits".to_owned();
        let open = tempfile::tempdir().expect("a directory");
        fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).expect("is ours");
        let danger = private::check_dir(open.path(), Owners::Us).expect_err("anybody may write there");
        let io = OpenError::Io { verb: "read", path: dir(), uid: 1, error: io::ErrorKind::Other.into() };
        let mended = [
            io,
            OpenError::Unsafe(danger),
            OpenError::Newer { dir: dir(), found: 2, known: 1 },
            OpenError::Later { dir: dir(), what: what() },
            OpenError::NotAStore(dir()),
            OpenError::LostCommits { dir: dir(), from: 1, to: 2, events: 3 },
            OpenError::OtherHistory { dir: dir() },
            OpenError::NoLedger { dir: dir() },
            OpenError::OtherLog { dir: dir() },
            OpenError::NoDatabase { dir: dir(), events: 1 },
            OpenError::UnfinishedRestore { dir: dir() },
            OpenError::Damaged { dir: dir(), what: what() },
            OpenError::Empty { dir: dir() },
            OpenError::Sealed { dir: dir(), why: Unfit::Unreadable },
        ];
        let answers = |error: &OpenError| (error.fault(), error.retry());
        assert!(mended.iter().all(|error| answers(error) == (Whose::Operator, Retry::Never)));
        for (error, expected) in [
            (OpenError::NotOpened { dir: dir(), what: what() }, (Whose::Resource, Retry::Never)),
            (OpenError::OldSqlite("3.0.0"), (Whose::Bug, Retry::Never)),
            (OpenError::InUse { dir: dir(), pid: None }, (Whose::Operator, Retry::Backoff)),
            (OpenError::GaveWay { dir: dir() }, (Whose::Caller, Retry::Backoff)),
            (OpenError::Interrupted { dir: dir() }, (Whose::Caller, Retry::Backoff)),
        ] {
            assert_eq!(answers(&error), expected, "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_store_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("store.db");
        fs::write(&path, [7; 200]).expect("writes");
        let refused = StoreDir::claim(dir.path(), Owners::Us, Writing::Server).expect_err("not a store");
        assert!(matches!(refused, OpenError::NotAStore(_)), "{refused}");
        assert_eq!(fs::read(&path).expect("reads"), [7; 200]);
    }
}
