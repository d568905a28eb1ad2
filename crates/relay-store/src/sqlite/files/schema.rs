//! Tables, indexes and settings of the database. What each is for: `docs/internals/schema.md`.

use relay_core::delivery::{Delivery, Reason, State};
use rusqlite::{Connection, config::DbConfig};

/// `CRMR`: marks the file as ours.
pub(crate) const APPLICATION_ID: i32 = 0x4352_4d52;
/// The schema written now. A store with a higher one is refused.
pub(crate) const SCHEMA_VERSION: i32 = 1;
/// Older SQLite may corrupt a WAL that two connections use (fixed in 3.51.3).
pub(crate) const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// Pages of 4 KiB: each page that a commit touches is written whole, and most commits of a relay that is not flooded hold one
/// event. A third of the bytes of pages of 16 KiB then, and no more time where commits are large.
pub(crate) const PAGE_BYTES: i64 = 4 * 1024;
/// Low bits of a sequence that tell the ids of one millisecond apart.
pub(crate) const SEQ_BITS: u32 = relay_core::id::COUNTER_BITS;
/// Small caches: the kernel caches the file anyway.
const WRITER_CACHE_KIB: i64 = 8 * 1024;
const READER_CACHE_KIB: i64 = 2 * 1024;
/// A write-ahead log that grew longer, while a backup was taken or somebody read, is cut to this when it begins anew: it has
/// what it usually takes, and gives back the rest of the disk's room also where the store never rests.
const LOG_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// Every statement stays prepared.
const STATEMENTS_CACHED: usize = 128;

const TABLES: &str = "
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, source INTEGER NOT NULL, deliveries BLOB, head BLOB NOT NULL, body BLOB NOT NULL
) STRICT;

CREATE TABLE replays (event INTEGER PRIMARY KEY, deliveries BLOB NOT NULL) STRICT;

CREATE TABLE unrouted (seq INTEGER PRIMARY KEY) STRICT;

CREATE TABLE of_source (
    source INTEGER NOT NULL, ms INTEGER NOT NULL, seqs BLOB NOT NULL, PRIMARY KEY (source, ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE event_names (
    source INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (source, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE named (
    source INTEGER NOT NULL, minute INTEGER NOT NULL, name INTEGER NOT NULL, events INTEGER NOT NULL,
    PRIMARY KEY (source, minute, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY, dest INTEGER NOT NULL, state INTEGER NOT NULL, line INTEGER, tries INTEGER NOT NULL,
    due INTEGER NOT NULL, expires INTEGER NOT NULL, changed INTEGER NOT NULL, record BLOB NOT NULL, lane INTEGER
) STRICT;
CREATE INDEX by_state ON deliveries (dest, state, line);
CREATE INDEX by_due ON deliveries (dest, (tries > 0), due, seq, expires) WHERE state < 30 AND line IS NULL;
CREATE INDEX by_tries ON deliveries (dest, tries, due) WHERE state < 30 AND line IS NULL AND tries > 0;
CREATE INDEX by_expiry ON deliveries (dest, expires) WHERE state < 30 AND line IS NULL;
CREATE INDEX by_end ON deliveries (dest, state, changed) WHERE state >= 40;

CREATE TABLE attempts (
    delivery INTEGER NOT NULL, version INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (delivery, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE dedupe (
    source INTEGER NOT NULL, key BLOB NOT NULL, until INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (source, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX dedupe_by_until ON dedupe (until);

CREATE TABLE names (
    id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL, counters BLOB NOT NULL, UNIQUE (kind, name)
) STRICT;

CREATE TABLE documents (
    kind INTEGER NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
    origin TEXT NOT NULL, crc INTEGER NOT NULL
) STRICT;

CREATE TABLE gaps (
    seq INTEGER PRIMARY KEY, why INTEGER NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL, commits INTEGER,
    events INTEGER, crc INTEGER NOT NULL
) STRICT;

CREATE TABLE jobs (job BLOB PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE replies (delivery INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;

CREATE TABLE marks (
    source INTEGER NOT NULL, name INTEGER NOT NULL, hash INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (source, name, hash, seq)
) STRICT, WITHOUT ROWID;
";

/// `state x 10 + reason`: what the indexes call a delivery's state.
pub(crate) const fn code(state: State, reason: Option<Reason>) -> i64 {
    let reason = match reason {
        Some(reason) => reason as i64,
        None => 0,
    };
    state as i64 * 10 + reason
}

/// The code of a delivery as it is.
pub(crate) const fn code_of(delivery: &Delivery) -> i64 {
    code(delivery.state, delivery.reason)
}

/// Every code a delivery of this state can have.
pub(crate) fn codes(state: State) -> impl Iterator<Item = i64> {
    let reasons = Reason::ALL.into_iter().filter(move |_| state.is_dead_letter());
    std::iter::once(None).chain(reasons.map(Some)).map(move |reason| code(state, reason))
}

/// The state behind a code.
pub(crate) fn state_of(code: i64) -> Option<State> {
    State::from_number(u8::try_from(code / 10).ok()?)
}

/// Makes the tables of an empty database.
pub(crate) fn create(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    db.execute_batch(TABLES)?;
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    db.pragma_update(None, "user_version", SCHEMA_VERSION)
}

/// Settings of the one connection that writes.
pub(crate) fn set_up_writer(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    db.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    db.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_KEPT, |_| Ok(()))?;
    db.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    db.pragma_update(None, "cell_size_check", true)?;
    set_up(db)
}

/// From its first transaction on the connection that writes waits for nobody: a checkpoint that a reader is in the way of is
/// left for later. Until then it waits: a command that looks may be reading the log of a process that was killed.
pub(crate) fn wait_for_nobody(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(std::time::Duration::ZERO)
}

/// Settings of a connection that reads.
pub(crate) fn set_up_reader(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    set_up(db)
}

fn set_up(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(()))?;
    db.pragma_update(None, "temp_store", "memory")?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // A plan does not depend on what is bound: otherwise a statement is compiled again each time other values are.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(())
}

/// Pages that are free inside the file, in bytes.
pub(crate) fn free_inside(db: &Connection) -> rusqlite::Result<u64> {
    let pages: i64 = db.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    let bytes: i64 = db.pragma_query_value(None, "page_size", |row| row.get(0))?;
    Ok((pages * bytes) as u64)
}
