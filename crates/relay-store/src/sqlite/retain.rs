//! Retention: what ended long enough ago goes, and nothing that is open ever does.

use relay_core::{
    delivery::{Delivery, State},
    storage::{Forget, OverAsk, Retire, Retired},
    time::Wall,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    book::{Kind, Shelf},
    fault::Fault,
    queue::BATCH_OPS_MAX,
    rows,
    schema::{self, SEQ_BITS},
    step,
    transaction::Transaction,
};

/// Rows that one call removes at most, so that it stays one short commit.
const ROWS_MAX: usize = 500;
/// Rows that one call removes for each that was stored meanwhile, where more is due: what is due gets less then, however
/// much comes in.
const ROWS_FOR_EACH: usize = 2;
/// Rows stored that earn one call its turn: so many always pass between two of them.
const STORED_MIN: usize = 256;
/// Rows stored that count for one call: those of the largest batch.
const STORED_MAX: usize = BATCH_OPS_MAX;

/// The next code of a state in which any delivery of a destination ended.
const NEXT_STATE: &str = "SELECT state FROM deliveries INDEXED BY by_end
    WHERE dest = ?1 AND state > ?2 AND state >= 40 ORDER BY state LIMIT 1";
const ENDED: &str = "SELECT seq FROM deliveries INDEXED BY by_end
    WHERE dest = ?1 AND state = ?2 AND state >= 40 AND changed < ?3 ORDER BY changed";
const UNROUTED: &str = "SELECT seq, source FROM events INDEXED BY events_unrouted
    WHERE deliveries IS NULL AND seq < ?1 ORDER BY seq LIMIT ?2";
const FORGOTTEN: &str =
    "DELETE FROM dedupe WHERE (source, key) IN (SELECT source, key FROM dedupe INDEXED BY dedupe_by_until
    WHERE until <= ?1 LIMIT ?2)";

const OLD_MARKS: &str = "DELETE FROM marks WHERE job IN (SELECT job FROM marks WHERE job < ?1 ORDER BY job LIMIT ?2)";

/// How far retention is behind: what was stored while more was due than one call removes.
#[derive(Debug, Default)]
pub(super) struct Arrears {
    is_behind: bool,
    stored: usize,
}

impl Arrears {
    /// Counts a row that was stored: a delivery, an event without any, an attempt.
    pub(super) fn on_stored(&mut self) {
        self.stored += usize::from(self.is_behind);
    }

    /// Whether the next call has earned its turn, whatever else there is to do.
    pub(super) fn has_turn(&self) -> bool {
        self.stored >= STORED_MIN
    }

    /// How many rows a call may remove that begins now.
    fn take(&mut self) -> usize {
        let counted = self.stored.min(STORED_MAX);
        self.stored -= counted;
        ROWS_MAX.max(ROWS_FOR_EACH * counted)
    }

    /// What a call left.
    fn note(&mut self, more: bool) {
        if !more {
            self.stored = 0;
        }
        self.is_behind = more;
    }
}

/// Ended deliveries that retention is over for, those that ended first in each state of each destination first.
pub(super) fn over(db: &Connection, shelf: &Shelf, ask: &OverAsk) -> Result<Vec<Delivery>, Fault> {
    let mut found = Vec::new();
    for (destination, _) in shelf.entries(Kind::Destination) {
        let mut next_state = db.prepare_cached(NEXT_STATE)?;
        let mut code = 0i64;
        while let Some(next) = next_state.query_row(params![destination, code], |row| row.get(0)).optional()? {
            code = next;
            let before = match schema::state_of(code) {
                None | Some(State::Ready | State::Scheduled | State::Leased) => continue,
                Some(State::Delivered | State::Cancelled) => ask.delivered_before,
                Some(State::Dead | State::Expired) => ask.dead_before,
            };
            let mut statement = db.prepare_cached(ENDED)?;
            let mut rows = statement.query(params![destination, code, before.as_micros()])?;
            while let Some(row) = rows.next()? {
                if found.len() >= ask.limit as usize {
                    return Ok(found);
                }
                let read = rows::delivery_at(db, row.get(0)?, shelf);
                found.extend(rows::passing_over_damage(shelf.damage(), read)?);
            }
        }
    }
    Ok(found)
}

/// Removes the first of these, and forgets, each as much as a short commit holds.
pub(super) fn retire(tx: &mut Transaction<'_>, retire: &Retire) -> Result<Retired, Fault> {
    let limit = tx.book.arrears.take();
    let mut retired = Retired::default();
    let mut rows = 0;
    for ended in &retire.ended {
        // A delivery that was tried for days has thousands of attempts, and they are rows like any other.
        if rows >= limit {
            break;
        }
        retired.taken += 1;
        let Some((gone, event_went)) = step::retire_if(tx, *ended)? else { continue };
        // The latest try is in the record itself.
        rows += 1 + (gone.tries as usize + gone.earlier as usize).saturating_sub(1);
        retired.deliveries += 1;
        retired.events += u64::from(event_went);
    }
    let Forget { keys_until, unrouted_before, jobs_before, audit_before } = retire.forget;
    let unrouted = unrouted(tx, unrouted_before, limit)?;
    retired.events += unrouted as u64;
    let forgotten = [
        unrouted,
        forget_keys(tx, keys_until, limit)?,
        forget_marks(tx, jobs_before, limit)?,
        forget_audit(tx, audit_before, limit)?,
    ];
    retired.more = forgotten.contains(&limit);
    // Where none of those that are due can be removed another call would do no more.
    let is_behind = retired.deliveries > 0 && (retire.more || (retired.taken as usize) < retire.ended.len());
    tx.book.arrears.note(is_behind || retired.more);
    Ok(retired)
}

/// Removes events that never had a delivery; gives how many.
fn unrouted(tx: &mut Transaction<'_>, before: Wall, limit: usize) -> Result<usize, Fault> {
    let before = (before.as_millis() as i64).min(i64::MAX >> SEQ_BITS) << SEQ_BITS;
    let mut statement = tx.db.prepare_cached(UNROUTED)?;
    let rows = statement.query_map(params![before, limit as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found = rows.collect::<rusqlite::Result<Vec<(i64, u32)>>>()?;
    for (seq, source) in &found {
        tx.db.prepare_cached("DELETE FROM events WHERE seq = ?1")?.execute([seq])?;
        tx.removed(*seq);
        tx.event_is_gone(*source, *seq)?;
    }
    Ok(found.len())
}

/// Removes audit lines from before then, the oldest first; gives how many. Lines are written in the order of time, so
/// that the first one that stays ends the search.
fn forget_audit(tx: &mut Transaction<'_>, before: Wall, limit: usize) -> Result<usize, Fault> {
    let mut statement = tx.db.prepare_cached("SELECT seq, at FROM audit ORDER BY seq LIMIT ?1")?;
    let mut rows = statement.query([limit as i64])?;
    let mut old = Vec::new();
    while let Some(row) = rows.next()?
        && row.get::<_, i64>(1)? < before.as_micros()
    {
        old.push(row.get::<_, i64>(0)?);
    }
    drop(rows);
    for seq in &old {
        tx.db.prepare_cached("DELETE FROM audit WHERE seq = ?1")?.execute([seq])?;
        tx.removed(*seq);
    }
    Ok(old.len())
}

/// Forgets dedupe keys past their window; gives how many.
fn forget_keys(tx: &mut Transaction<'_>, now: Wall, limit: usize) -> Result<usize, Fault> {
    let forgotten = tx.db.prepare_cached(FORGOTTEN)?.execute(params![now.as_micros(), limit as i64])?;
    if forgotten > 0 {
        tx.removed(forgotten as i64);
    }
    Ok(forgotten)
}

/// Forgets marks of jobs that were begun before; gives how many.
fn forget_marks(tx: &mut Transaction<'_>, before: Wall, limit: usize) -> Result<usize, Fault> {
    let oldest_job = u128::from(before.as_millis()) << 80;
    let forgotten = tx.db.prepare_cached(OLD_MARKS)?.execute(params![oldest_job.to_be_bytes(), limit as i64])?;
    if forgotten > 0 {
        tx.removed(forgotten as i64);
    }
    Ok(forgotten)
}
