//! Retention: what ended long enough ago goes, and nothing that is open ever does.

use std::time::Duration;

use relay_core::{delivery::State, time::Wall};
use rusqlite::params;

use super::{book::Kind, fault::Fault, rows, schema, transaction::Transaction};
use crate::seam::{Retain, Retained};

/// Rows that one call removes at most, so that it stays one short commit.
const ROWS_MAX: u32 = 500;
/// How long a repeated bulk command is still recognised.
const STEPS_KEPT: Duration = Duration::from_hours(7 * 24);

/// How long a line of the audit log is kept, at least: longer than any dead letter it may speak of.
const AUDIT_KEPT: Duration = Duration::from_hours(365 * 24);

const ENDED: &str = "SELECT seq FROM deliveries INDEXED BY by_end
    WHERE dest = ?1 AND state = ?2 AND state >= 40 AND changed < ?3 ORDER BY changed LIMIT ?4";
const UNROUTED: &str = "SELECT seq, source FROM events INDEXED BY events_unrouted
    WHERE deliveries IS NULL AND seq < ?1 ORDER BY seq LIMIT ?2";
const FORGOTTEN: &str =
    "DELETE FROM dedupe WHERE (source, key) IN (SELECT source, key FROM dedupe INDEXED BY dedupe_by_until
    WHERE until <= ?1 LIMIT ?2)";

/// Removes up to `limit` rows of each kind.
pub(super) fn retain(tx: &mut Transaction<'_>, rules: &Retain) -> Result<Retained, Fault> {
    let limit = rules.limit.min(ROWS_MAX) as usize;
    let mut retained = Retained::default();
    let mut over = ended(tx, rules, limit + 1)?;
    let more = over.len() > limit;
    over.truncate(limit);
    for seq in over {
        let Some(gone) = rows::passing_over_damage(tx.damage, rows::delivery_at(tx.db, seq, tx.book))? else {
            continue;
        };
        retained.deliveries += 1;
        retained.events += u64::from(tx.retire(&gone)?);
    }
    // Damaged ones stay where they are: with nothing but those at hand another call would do no more.
    retained.more |= more && retained.deliveries > 0;
    let unrouted = unrouted(tx, rules.delivered_before, limit)?;
    retained.events += unrouted;
    let forgotten = forget(tx, rules.now, limit)?;
    let told = forget_audit(tx, (rules.now - AUDIT_KEPT).min(rules.dead_before), limit)?;
    retained.more |= unrouted == limit as u64 || forgotten == limit || told == limit;
    Ok(retained)
}

/// Sequences of deliveries whose retention is over.
fn ended(tx: &Transaction<'_>, rules: &Retain, wanted: usize) -> Result<Vec<i64>, Fault> {
    let mut found: Vec<i64> = Vec::new();
    for destination in tx.book.numbers(Kind::Destination) {
        for state in State::ALL {
            let before = match state {
                State::Ready | State::Scheduled | State::Leased => continue,
                State::Delivered | State::Cancelled => rules.delivered_before,
                State::Dead | State::Expired => rules.dead_before,
            };
            for code in schema::codes(state) {
                let room = (wanted - found.len()) as i64;
                let mut statement = tx.db.prepare_cached(ENDED)?;
                let rows =
                    statement.query_map(params![destination, code, before.as_micros(), room], |row| row.get(0))?;
                found.extend(rows.collect::<rusqlite::Result<Vec<i64>>>()?);
                if found.len() >= wanted {
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

/// Removes events that never had a delivery; gives how many.
fn unrouted(tx: &mut Transaction<'_>, before: Wall, limit: usize) -> Result<u64, Fault> {
    let before = (before.as_millis() as i64) << 12;
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

/// Forgets dedupe keys past their window and old steps of bulk commands; gives the number of keys.
fn forget(tx: &mut Transaction<'_>, now: Wall, limit: usize) -> Result<usize, Fault> {
    let forgotten = tx.db.prepare_cached(FORGOTTEN)?.execute(params![now.as_micros(), limit as i64])?;
    let oldest_job = u128::from((now - STEPS_KEPT).as_millis()) << 80;
    let steps = tx.db.prepare_cached("DELETE FROM steps WHERE job < ?1")?.execute([oldest_job.to_be_bytes()])?;
    if forgotten + steps > 0 {
        tx.removed((forgotten + steps) as i64);
    }
    Ok(forgotten)
}
