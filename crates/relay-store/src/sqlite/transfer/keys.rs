//! Dedupe keys by the event that holds them: the table has them by source and key. For a move into another store, which asks for all
//! of them once; so they are put in order in a file of their own, however many they are, which is gone with its connection.

use std::sync::{Mutex, PoisonError};

use relay_core::{
    id::EventId,
    storage::{Dedupe, StoreError},
    time::Wall,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::sqlite::{
    fault::Fault,
    read::{reader::Reads, taken::Taken},
};

/// Entries of one read, which is bounded in time.
const READ_MAX: i64 = 20_000;

/// A key and the event that holds it.
struct HeldKey {
    event: EventId,
    dedupe: Dedupe,
}

/// Where one of the entries stands: source and key.
type At = (u32, Vec<u8>);

/// Keys by event, as they were when they were first asked for.
#[derive(Default)]
pub(crate) struct Keys(Mutex<Option<Connection>>);

impl Keys {
    /// The keys that these events hold.
    pub(crate) async fn of(&self, reads: &Reads, events: &[EventId]) -> Result<Vec<Option<Dedupe>>, StoreError> {
        if self.with(|kept| kept.is_none()) {
            let all = self.gather(reads).await?;
            self.with(|kept| *kept = Some(all));
        }
        self.with(|kept| {
            let db = kept.as_ref().ok_or(StoreError::Unavailable)?;
            events.iter().map(|event| held_by(db, *event).map_err(|error| not_sorted(&error))).collect()
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Option<Connection>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn gather(&self, reads: &Reads) -> Result<Connection, StoreError> {
        let mut db = begin().map_err(|error| not_sorted(&error))?;
        let mut behind: Option<At> = None;
        loop {
            let from = behind.clone();
            let asked = reads.read(move |store| page(store, from.as_ref()));
            let (held, next) = asked.await.unwrap_or(Err(StoreError::Unavailable))?;
            put(&mut db, &held).map_err(|error| not_sorted(&error))?;
            match next {
                Some(next) => behind = Some(next),
                None => return Ok(db),
            }
        }
    }
}

/// A file that no name leads to, of which little is kept in memory.
fn begin() -> rusqlite::Result<Connection> {
    let db = Connection::open("")?;
    db.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
         CREATE TABLE held (event BLOB PRIMARY KEY, key BLOB NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    )?;
    Ok(db)
}

fn put(db: &mut Connection, held: &[HeldKey]) -> rusqlite::Result<()> {
    let tx = db.transaction()?;
    let mut statement = tx.prepare("INSERT OR REPLACE INTO held (event, key, until) VALUES (?1, ?2, ?3)")?;
    for HeldKey { event, dedupe } in held {
        let event = event.as_u128().to_be_bytes();
        statement.execute(params![&event[..], &dedupe.key[..], dedupe.until.as_micros()])?;
    }
    drop(statement);
    tx.commit()
}

fn held_by(db: &Connection, event: EventId) -> rusqlite::Result<Option<Dedupe>> {
    let event = event.as_u128().to_be_bytes();
    let mut statement = db.prepare_cached("SELECT key, until FROM held WHERE event = ?1")?;
    let held = statement.query_row([&event[..]], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(held.map(|(key, until)| Dedupe { key, until: Wall::from_micros(until) }))
}

/// The next entries of the table, and where there are more.
fn page(db: &Connection, behind: Option<&At>) -> Result<(Vec<HeldKey>, Option<At>), Fault> {
    let (source, key) = behind.map_or((0, &[][..]), |(source, key)| (*source, key));
    let mut statement = db.prepare_cached(
        "SELECT source, key, record FROM dedupe WHERE (source, key) > (?1, ?2) ORDER BY source, key LIMIT ?3",
    )?;
    let mut rows = statement.query(params![source, key, READ_MAX])?;
    let (mut held, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let (source, key, record): (u32, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let read = Taken::decode(source, &key, &record);
        let taken = read.map_err(|error| Fault::record(&format_args!("a dedupe key of source {source}"), &error))?;
        let of_key = <[u8; 32]>::try_from(&key[..]);
        let key_read = of_key.map_err(|_| Fault::Damaged(format!("a dedupe key of source {source}").into()))?;
        held.push(HeldKey { event: taken.event, dedupe: Dedupe { key: key_read, until: taken.until } });
        last = Some((source, key));
    }
    let is_more = held.len() as i64 == READ_MAX;
    Ok((held, last.filter(|_| is_more)))
}

fn not_sorted(error: &rusqlite::Error) -> StoreError {
    tracing::warn!(event = "read_refused", reason = %error, "keys could not be put in order; is the disk of temporary files full?");
    StoreError::Full
}
