//! The one decision a store makes: which waiting deliveries are leased.

use std::sync::Arc;

use relay_core::{
    delivery::{self, Delivery},
    storage::{LeaseAsk, LeaseEnd, LeaseOrder, Leased},
    time::Wall,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Params, params};

use super::{book::Kind, fault::Fault, rows, transaction::Transaction};

/// Due deliveries that were never tried since they became ready, oldest first.
const FRESH: &str = "SELECT due, seq FROM deliveries INDEXED BY by_due
    WHERE dest = ?1 AND (tries > 0) = 0 AND due <= ?2 AND expires > ?2 AND state < 30 ORDER BY due, seq LIMIT ?3";
/// The same of those tried before.
const TRIED: &str = "SELECT due, seq FROM deliveries INDEXED BY by_due
    WHERE dest = ?1 AND (tries > 0) = 1 AND due <= ?2 AND expires > ?2 AND state < 30 ORDER BY due, seq LIMIT ?3";
/// The next higher number of tries that any waiting delivery has.
const NEXT_TRIES: &str = "SELECT tries FROM deliveries INDEXED BY by_tries
    WHERE dest = ?1 AND tries > ?2 AND tries > 0 AND state < 30 ORDER BY tries LIMIT 1";
/// Due deliveries with this number of tries, oldest first.
const WITH_TRIES: &str = "SELECT due, seq FROM deliveries INDEXED BY by_tries
    WHERE dest = ?1 AND tries = ?2 AND tries > 0 AND due <= ?3 AND expires > ?3 AND state < 30
    ORDER BY due, seq LIMIT ?4";
/// When the next waiting delivery is due.
const NEXT_DUE: &str = "SELECT due FROM deliveries INDEXED BY by_due
    WHERE dest = ?1 AND (tries > 0) = ?2 AND due > ?3 AND state < 30 ORDER BY due LIMIT 1";

/// Leases what is due, in the order asked for, until a bound is met.
pub(super) fn lease(tx: &mut Transaction<'_>, ask: &LeaseAsk) -> Result<Leased, Fault> {
    let nothing = Leased { deliveries: Vec::new(), end: LeaseEnd::Drained { next_due: None } };
    let Some(destination) = tx.book.number(Kind::Destination, &ask.destination) else { return Ok(nothing) };
    if tx.paused.contains(&ask.destination) {
        return Ok(nothing);
    }
    // One more than may be leased shows whether more is due.
    let wanted = ask.limit as usize + 1 + tx.damaged.len();
    let candidates = candidates(tx.db, destination, ask, wanted)?;
    let all_seen = candidates.len() < wanted;
    let mut leased = Leased::default();
    let mut body_bytes = 0u64;
    for (_, seq) in candidates {
        if leased.deliveries.len() >= ask.limit as usize {
            return Ok(leased);
        }
        let Some((before, event)) = readable(tx, seq)? else { continue };
        body_bytes = body_bytes.saturating_add(before.body_bytes);
        if body_bytes > ask.body_bytes_max {
            return Ok(leased);
        }
        let next = delivery::leased(&before, ask.instance, ask.nonce, ask.now, ask.until);
        tx.update_delivery(&before, &next)?;
        leased.deliveries.push((next, event));
    }
    if all_seen {
        leased.end = LeaseEnd::Drained { next_due: next_due(tx.db, destination, ask.now)? };
    }
    Ok(leased)
}

/// When the first waiting delivery behind `now` is due.
pub(super) fn next_due(db: &Connection, destination: u32, now: Wall) -> Result<Option<Wall>, Fault> {
    let mut statement = db.prepare_cached(NEXT_DUE)?;
    let mut earliest: Option<i64> = None;
    for tried in [0, 1] {
        let due = statement.query_row(params![destination, tried, now.as_micros()], |row| row.get(0)).optional()?;
        earliest = earliest.into_iter().chain(due).min();
    }
    Ok(earliest.map(Wall::from_micros))
}

type Candidate = (i64, i64);

fn candidates(db: &Connection, dest: u32, ask: &LeaseAsk, wanted: usize) -> Result<Vec<Candidate>, Fault> {
    let now = ask.now.as_micros();
    let mut fresh = listed(&mut db.prepare_cached(FRESH)?, params![dest, now, wanted as i64])?;
    match ask.order {
        LeaseOrder::Oldest => {
            let tried = listed(&mut db.prepare_cached(TRIED)?, params![dest, now, wanted as i64])?;
            if !tried.is_empty() {
                fresh.extend(tried);
                fresh.sort_unstable();
                fresh.truncate(wanted);
            }
        }
        LeaseOrder::FewestTries => {
            let mut tries = 0i64;
            while fresh.len() < wanted {
                let next =
                    db.prepare_cached(NEXT_TRIES)?.query_row(params![dest, tries], |row| row.get(0)).optional()?;
                let Some(next) = next else { break };
                tries = next;
                let room = (wanted - fresh.len()) as i64;
                fresh.extend(listed(&mut db.prepare_cached(WITH_TRIES)?, params![dest, tries, now, room])?);
            }
        }
    }
    Ok(fresh)
}

fn listed(statement: &mut CachedStatement<'_>, params: impl Params) -> Result<Vec<Candidate>, Fault> {
    let found = statement.query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// A waiting delivery with its event; `None` if either is damaged, which the log names once.
fn readable(tx: &mut Transaction<'_>, seq: i64) -> Result<Option<(Delivery, Arc<relay_core::event::Event>)>, Fault> {
    if tx.damaged.contains(&seq) {
        return Ok(None);
    }
    let read = || {
        let Some(found) = rows::delivery_at(tx.db, seq, tx.book)? else { return Ok(None) };
        let event = rows::event_at(tx.db, found.event.sequence(), tx.book)?;
        let event =
            event.ok_or_else(|| Fault::Damaged(format!("{}: its event {} is gone", found.id, found.event).into()))?;
        Ok(Some((found, Arc::new(event))))
    };
    match read() {
        Err(Fault::Damaged(what)) => {
            tracing::error!(event = "record_damaged", %what, "the delivery stays where it is; run: crm-relay store check");
            tx.damaged.insert(seq);
            Ok(None)
        }
        other => other,
    }
}
