//! Retention: what ended long enough ago goes, and nothing that is open ever does.

use std::time::Duration;

use relay_core::{delivery::State, time::Wall};
use rusqlite::{OptionalExtension as _, params};

use super::{
    book::Kind,
    fault::Fault,
    queue::BATCH_OPS_MAX,
    rows,
    schema::{self, SEQ_BITS},
    transaction::Transaction,
};
use crate::seam::{Retain, Retained};

/// Rows that one call removes at most, so that it stays one short commit.
const ROWS_MAX: usize = 500;
/// Rows that one call removes for each that was stored meanwhile, where more is due: what is due gets less then, however
/// much comes in.
const ROWS_FOR_EACH: usize = 2;
/// Rows stored that earn one call its turn: so many always pass between two of them.
const STORED_MIN: usize = 256;
/// Rows stored that count for one call: those of the largest batch.
const STORED_MAX: usize = BATCH_OPS_MAX;
/// How long a repeated bulk command is still recognised.
const STEPS_KEPT: Duration = Duration::from_hours(7 * 24);

/// How long a line of the audit log is kept, at least: longer than any dead letter it may speak of.
const AUDIT_KEPT: Duration = Duration::from_hours(365 * 24);

/// The next code of a state in which any delivery of a destination ended.
const NEXT_STATE: &str = "SELECT state FROM deliveries INDEXED BY by_end
    WHERE dest = ?1 AND state > ?2 AND state >= 40 ORDER BY state LIMIT 1";
const ENDED: &str = "SELECT seq FROM deliveries INDEXED BY by_end
    WHERE dest = ?1 AND state = ?2 AND state >= 40 AND changed < ?3 ORDER BY changed LIMIT ?4";
const UNROUTED: &str = "SELECT seq, source FROM events INDEXED BY events_unrouted
    WHERE deliveries IS NULL AND seq < ?1 ORDER BY seq LIMIT ?2";
const FORGOTTEN: &str =
    "DELETE FROM dedupe WHERE (source, key) IN (SELECT source, key FROM dedupe INDEXED BY dedupe_by_until
    WHERE until <= ?1 LIMIT ?2)";

const OLD_STEPS: &str = "DELETE FROM steps WHERE (job, cursor) IN (SELECT job, cursor FROM steps
    WHERE job < ?1 ORDER BY job LIMIT ?2)";

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

/// Removes up to `limit` rows of each kind.
pub(super) fn retain(tx: &mut Transaction<'_>, rules: &Retain) -> Result<Retained, Fault> {
    let limit = tx.book.arrears.take().min(rules.limit as usize);
    let mut retained = Retained::default();
    let over = ended(tx, rules, limit + 1)?;
    let (mut more, mut rows) = (false, 0);
    for seq in over {
        // A delivery that was tried for days has thousands of attempts, and they are rows like any other.
        if rows >= limit {
            more = true;
            break;
        }
        let Some(gone) = rows::passing_over_damage(tx.damage, rows::delivery_at(tx.db, seq, tx.book))? else {
            continue;
        };
        // The latest try is in the record itself.
        rows += 1 + (gone.tries as usize + gone.earlier as usize).saturating_sub(1);
        retained.deliveries += 1;
        retained.events += u64::from(tx.retire(&gone)?);
    }
    // Damaged ones stay where they are: with nothing but those at hand another call would do no more.
    retained.more |= more && retained.deliveries > 0;
    let unrouted = unrouted(tx, rules.delivered_before, limit)?;
    retained.events += unrouted;
    let forgotten = forget(tx, rules.now, limit)?;
    let done = forget_steps(tx, rules.now, limit)?;
    let told = forget_audit(tx, (rules.now - AUDIT_KEPT).min(rules.dead_before), limit)?;
    retained.more |= unrouted == limit as u64 || forgotten == limit || done == limit || told == limit;
    tx.book.arrears.note(retained.more);
    Ok(retained)
}

/// Sequences of deliveries whose retention is over.
fn ended(tx: &Transaction<'_>, rules: &Retain, wanted: usize) -> Result<Vec<i64>, Fault> {
    let mut found: Vec<i64> = Vec::new();
    for destination in tx.book.numbers(Kind::Destination) {
        let mut next_state = tx.db.prepare_cached(NEXT_STATE)?;
        let mut code = 0i64;
        while let Some(next) = next_state.query_row(params![destination, code], |row| row.get(0)).optional()? {
            code = next;
            let before = match schema::state_of(code) {
                None | Some(State::Ready | State::Scheduled | State::Leased) => continue,
                Some(State::Delivered | State::Cancelled) => rules.delivered_before,
                Some(State::Dead | State::Expired) => rules.dead_before,
            };
            let room = (wanted - found.len()) as i64;
            let mut statement = tx.db.prepare_cached(ENDED)?;
            let rows = statement.query_map(params![destination, code, before.as_micros(), room], |row| row.get(0))?;
            found.extend(rows.collect::<rusqlite::Result<Vec<i64>>>()?);
            if found.len() >= wanted {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Removes events that never had a delivery; gives how many.
fn unrouted(tx: &mut Transaction<'_>, before: Wall, limit: usize) -> Result<u64, Fault> {
    let before = (before.as_millis() as i64).min(i64::MAX >> SEQ_BITS) << SEQ_BITS;
    let mut statement = tx.db.prepare_cached(UNROUTED)?;
    let rows = statement.query_map(params![before, limit as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found = rows.collect::<rusqlite::Result<Vec<(i64, u32)>>>()?;
    for (seq, source) in &found {
        tx.db.prepare_cached("DELETE FROM events WHERE seq = ?1")?.execute([seq])?;
        tx.removed(*seq);
        tx.event_is_gone(*source, *seq)?;
    }
    Ok(found.len() as u64)
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
fn forget(tx: &mut Transaction<'_>, now: Wall, limit: usize) -> Result<usize, Fault> {
    let forgotten = tx.db.prepare_cached(FORGOTTEN)?.execute(params![now.as_micros(), limit as i64])?;
    if forgotten > 0 {
        tx.removed(forgotten as i64);
    }
    Ok(forgotten)
}

/// Forgets steps of bulk commands that nobody repeats any more; gives how many.
fn forget_steps(tx: &mut Transaction<'_>, now: Wall, limit: usize) -> Result<usize, Fault> {
    let oldest_job = u128::from((now - STEPS_KEPT).as_millis()) << 80;
    let forgotten = tx.db.prepare_cached(OLD_STEPS)?.execute(params![oldest_job.to_be_bytes(), limit as i64])?;
    if forgotten > 0 {
        tx.removed(forgotten as i64);
    }
    Ok(forgotten)
}
