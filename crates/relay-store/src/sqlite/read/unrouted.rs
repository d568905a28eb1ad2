//! Events that have no delivery, and never had one or lost all: retention removes them by their own time, any other with its
//! last delivery. Few append one, and a replay takes it out: a row of a small table, so that neither touches other events.

use rusqlite::{Connection, params};

use super::rows;
use crate::sqlite::{fault::Fault, files::schema::SEQ_BITS};

const OVER: &str = "SELECT one.seq, events.source, coalesce(length(events.body), 0) FROM unrouted AS one
    LEFT JOIN events ON events.seq = one.seq WHERE one.seq < ?1 ORDER BY one.seq LIMIT ?2";
const STRAYS: &str = "SELECT
    (SELECT count(*) FROM unrouted WHERE NOT EXISTS (SELECT 1 FROM events WHERE events.seq = unrouted.seq)) +
    (SELECT count(*) FROM replays WHERE NOT EXISTS (SELECT 1 FROM events WHERE events.seq = replays.event))";

/// One that retention is over for.
pub(crate) struct Over {
    pub(crate) seq: i64,
    /// The number of its source; `None`: there is no such event.
    pub(crate) source: Option<u32>,
    pub(crate) body_bytes: u64,
}

/// Notes an event.
pub(crate) fn add(db: &Connection, seq: i64) -> Result<(), Fault> {
    db.prepare_cached("INSERT INTO unrouted (seq) VALUES (?1) ON CONFLICT DO NOTHING")?.execute([seq])?;
    Ok(())
}

/// Forgets an event: it is gone, or has a delivery.
pub(crate) fn remove(db: &Connection, seq: i64) -> Result<(), Fault> {
    db.prepare_cached("DELETE FROM unrouted WHERE seq = ?1")?.execute([seq])?;
    Ok(())
}

/// The oldest of them from before that millisecond, at most so many.
pub(crate) fn over(db: &Connection, before_ms: u64, limit: usize) -> Result<Vec<Over>, Fault> {
    let before = (before_ms as i64).min(i64::MAX >> SEQ_BITS) << SEQ_BITS;
    let mut statement = db.prepare_cached(OVER)?;
    let found = statement.query_map(params![before, limit as i64], |row| {
        Ok(Over { seq: row.get(0)?, source: row.get(1)?, body_bytes: row.get::<_, i64>(2)? as u64 })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Whether an event that lists these deliveries stands here and has one of them, or stands not and can have none.
pub(crate) fn is_misplaced(db: &Connection, seq: i64, listed: &[i64]) -> Result<bool, Fault> {
    if !db.prepare_cached("SELECT 1 FROM unrouted WHERE seq = ?1")?.exists([seq])? {
        return Ok(listed.is_empty());
    }
    has_any(db, listed)
}

/// Rows here, and lists of replays, that lead to no event.
pub(crate) fn strays(db: &Connection) -> Result<u64, Fault> {
    Ok(db.query_row(STRAYS, [], |row| row.get::<_, i64>(0))? as u64)
}

/// Makes all of it anew from events and deliveries, and forgets replays of events that are gone.
pub(crate) fn rebuild(db: &Connection) -> Result<(), Fault> {
    db.execute("DELETE FROM replays WHERE NOT EXISTS (SELECT 1 FROM events WHERE events.seq = replays.event)", [])?;
    db.execute("DELETE FROM unrouted", [])?;
    let mut events = db.prepare("SELECT seq FROM events")?;
    let events = events.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
    for seq in events {
        match rows::deliveries_of(db, seq) {
            Ok(listed) if !has_any(db, &listed)? => add(db, seq)?,
            // One whose list cannot be read was told with its event.
            Ok(_) | Err(Fault::Damaged(_) | Fault::Later(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

fn has_any(db: &Connection, deliveries: &[i64]) -> Result<bool, Fault> {
    let mut there = db.prepare_cached("SELECT 1 FROM deliveries WHERE seq = ?1")?;
    for seq in deliveries {
        if there.exists([seq])? {
            return Ok(true);
        }
    }
    Ok(false)
}
