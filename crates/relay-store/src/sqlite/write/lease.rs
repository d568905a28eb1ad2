//! The one decision a store makes: which waiting deliveries are leased.

use std::time::Duration;

use relay_core::{
    delivery::{self, Delivery},
    storage::{Backlog, LeaseAsk, LeaseEnd, LeaseOrder, Leased},
};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Params, params};

use super::transaction::Transaction;
use crate::sqlite::{
    fault::Fault,
    read::{
        book::Kind,
        due::next_due,
        line::{Line, Walk},
    },
};

/// Rows that one range passes over because their TTL has passed, most. A backlog that expires as a whole would
/// otherwise be walked by every lease until the core has ended it.
const EXPIRED_MAX: usize = 500;
/// How soon to ask again when the rows looked at held nothing to lease.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Due deliveries that wait, but not in line, and were not tried since they became ready, oldest first.
const UNTRIED: &str = "SELECT due, seq, expires FROM deliveries INDEXED BY by_due
    WHERE dest = ?1 AND (tries > 0) = 0 AND due <= ?2 AND state < 30 AND line IS NULL ORDER BY due, seq";
/// The same, newest first.
const UNTRIED_NEWEST: &str = "SELECT due, seq, expires FROM deliveries INDEXED BY by_due
    WHERE dest = ?1 AND (tries > 0) = 0 AND due <= ?2 AND state < 30 AND line IS NULL ORDER BY due DESC, seq DESC";
/// Whether anything waits that was tried before.
const ANY_TRIED: &str = "SELECT 1 FROM deliveries INDEXED BY by_due
    WHERE dest = ?1 AND (tries > 0) = 1 AND state < 30 AND line IS NULL LIMIT 1";
/// Those due that were tried before, oldest first.
const TRIED: &str = "SELECT due, seq, expires FROM deliveries INDEXED BY by_due
    WHERE dest = ?1 AND (tries > 0) = 1 AND due <= ?2 AND state < 30 AND line IS NULL ORDER BY due, seq";
/// The next higher number of tries that any waiting delivery has.
const NEXT_TRIES: &str = "SELECT tries FROM deliveries INDEXED BY by_tries
    WHERE dest = ?1 AND tries > ?2 AND tries > 0 AND state < 30 AND line IS NULL ORDER BY tries LIMIT 1";
/// Due deliveries with this number of tries, oldest first.
const WITH_TRIES: &str = "SELECT due, seq, expires FROM deliveries INDEXED BY by_tries
    WHERE dest = ?1 AND tries = ?3 AND tries > 0 AND due <= ?2 AND state < 30 AND line IS NULL ORDER BY due, seq";
/// Deliveries that wait, but not in line, whose TTL has not passed, the first to expire first.
const UNEXPIRED: &str = "SELECT due, seq, tries FROM deliveries INDEXED BY by_expiry
    WHERE dest = ?1 AND expires > ?2 AND state < 30 AND line IS NULL ORDER BY expires LIMIT ?3";

/// Leases what is due, in the order asked for, until a bound is met.
pub(crate) fn lease(tx: &mut Transaction<'_>, ask: &LeaseAsk) -> Result<Leased, Fault> {
    let nothing = Leased { end: LeaseEnd::Drained { next_due: None }, ..Leased::default() };
    let Some(destination) = tx.book.number(Kind::Destination, &ask.destination) else { return Ok(nothing) };
    let tried = tx.db.prepare_cached(ANY_TRIED)?.exists([destination])?;
    let backlog = Backlog { tried, open: tx.book.open(destination) };
    // One more than may be leased shows whether more is due.
    let wanted = ask.limit as usize + 1 + tx.damage.passed_over();
    let Candidates { found, all_untried, all_seen } = candidates(tx.walk(), destination, ask, wanted)?;
    let mut leased = Leased { backlog, ..Leased::default() };
    let (mut tried, mut kept_back) = (0, false);
    for Candidate { tries, seq, .. } in found {
        if leased.deliveries.len() >= ask.limit as usize {
            return Ok(leased);
        }
        if tries > 0 && tried >= ask.tried_max {
            kept_back = true;
            continue;
        }
        let Some(before) = readable(tx, seq)? else { continue };
        if before.destination != ask.destination {
            // It goes to nobody but its own: the index, or the column that it repeats, is made anew.
            tx.damage.want_indexes(&format!("{} is found at {}", before.id, ask.destination));
            tx.damage.want_columns(seq);
            continue;
        }
        let next = delivery::leased(&before, ask.instance, ask.nonce, ask.now, ask.until);
        tx.update_delivery(&before, &next)?;
        tried += u32::from(tries > 0);
        leased.deliveries.push(next);
    }
    let next_due = match () {
        () if all_seen || (kept_back && all_untried) => next_due(tx.walk(), destination, ask.now)?,
        () if leased.deliveries.is_empty() => Some(ask.now + LOOK_AGAIN),
        () => return Ok(leased),
    };
    leased.end = if kept_back { LeaseEnd::Tried { next_due } } else { LeaseEnd::Drained { next_due } };
    Ok(leased)
}

/// A row that may be leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    /// Where the number plays no part, 1 for all that were tried.
    tries: i64,
    due: i64,
    seq: i64,
}

impl Candidate {
    /// They are leased as these sort.
    fn place(self, order: LeaseOrder) -> (i64, i64, i64) {
        match order {
            LeaseOrder::Shared { .. } => (0, self.due, self.seq),
            LeaseOrder::Newest if self.tries == 0 => (0, -self.due, -self.seq),
            LeaseOrder::Newest | LeaseOrder::FewestTries => (self.tries, self.due, self.seq),
        }
    }
}

/// What may be leased, in order.
struct Candidates {
    found: Vec<Candidate>,
    /// Nothing else is due that was never tried.
    all_untried: bool,
    /// Nothing else is due.
    all_seen: bool,
}

fn candidates(walk: Walk<'_>, dest: u32, ask: &LeaseAsk, wanted: usize) -> Result<Candidates, Fault> {
    let now = ask.now.as_micros();
    let mut in_line = Vec::new();
    for line in Line::all(walk.db, dest)? {
        let behind = now.saturating_sub(line.ttl);
        let due = match ask.order {
            LeaseOrder::Newest => line.newest(walk, behind, now, wanted)?,
            LeaseOrder::Shared { .. } | LeaseOrder::FewestTries => line.between(walk, behind, now, wanted)?,
        };
        in_line.extend(due.iter().map(|next| Candidate { tries: 0, due: next.due, seq: next.seq }));
    }
    let enough = ask.order == LeaseOrder::Newest && in_line.len() >= wanted;
    let Candidates { mut found, all_untried, all_seen } = out_of_line(walk.db, dest, ask, wanted, enough)?;
    let all_untried = all_untried && in_line.len() < wanted;
    found.extend(in_line);
    found.sort_unstable_by_key(|found| found.place(ask.order));
    let all_seen = all_seen && found.len() < wanted;
    if let LeaseOrder::Shared { tried } = ask.order {
        found = shared(found, tried as usize, ask);
    }
    found.truncate(wanted);
    Ok(Candidates { found, all_untried, all_seen })
}

/// Takes what each kind has its share of first: see [`LeaseOrder::Shared`].
fn shared(found: Vec<Candidate>, share: usize, ask: &LeaseAsk) -> Vec<Candidate> {
    let limit = ask.limit as usize;
    let (mut tried, mut fresh): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.tries > 0);
    let of_tried = tried.len().min(share.max(limit.saturating_sub(fresh.len()))).min(ask.tried_max as usize);
    let of_fresh = fresh.len().min(limit.saturating_sub(of_tried));
    let mut rest = tried.split_off(of_tried);
    rest.extend(fresh.split_off(of_fresh));
    tried.extend(fresh);
    tried.sort_unstable_by_key(|found| (found.due, found.seq));
    tried.extend(rest);
    tried
}

/// What may be leased of that which does not wait in line: at least the first `wanted`, in any order. `enough`: what waits
/// in line comes before all that was tried, and there is enough of it.
fn out_of_line(db: &Connection, dest: u32, ask: &LeaseAsk, wanted: usize, enough: bool) -> Result<Candidates, Fault> {
    let now = ask.now.as_micros();
    let untried = if ask.order == LeaseOrder::Newest { UNTRIED_NEWEST } else { UNTRIED };
    let Some(mut found) = due_in(&mut db.prepare_cached(untried)?, params![dest, now], 0, now, wanted)? else {
        return unexpired(db, dest, ask, wanted);
    };
    let all_untried = found.len() < wanted;
    match ask.order {
        LeaseOrder::Shared { .. } => {
            let Some(tried) = due_in(&mut db.prepare_cached(TRIED)?, params![dest, now], 1, now, wanted)? else {
                return unexpired(db, dest, ask, wanted);
            };
            let all_seen = all_untried && tried.len() < wanted;
            found.extend(tried);
            return Ok(Candidates { found, all_untried, all_seen });
        }
        LeaseOrder::Newest if enough => {}
        LeaseOrder::FewestTries | LeaseOrder::Newest => {
            let mut tries = 0i64;
            while found.len() < wanted {
                let next =
                    db.prepare_cached(NEXT_TRIES)?.query_row(params![dest, tries], |row| row.get(0)).optional()?;
                let Some(next) = next else { break };
                tries = next;
                let mut with_tries = db.prepare_cached(WITH_TRIES)?;
                let room = wanted - found.len();
                let Some(tried) = due_in(&mut with_tries, params![dest, now, tries], tries, now, room)? else {
                    return unexpired(db, dest, ask, wanted);
                };
                found.extend(tried);
            }
        }
    }
    let all_seen = found.len() < wanted;
    Ok(Candidates { found, all_untried, all_seen })
}

/// The first `wanted` rows of a range whose TTL has not passed; `None` when too many had to be passed over.
fn due_in(
    statement: &mut CachedStatement<'_>,
    params: impl Params,
    tries: i64,
    now: i64,
    wanted: usize,
) -> Result<Option<Vec<Candidate>>, Fault> {
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    let mut expired = 0;
    while found.len() < wanted
        && let Some(row) = rows.next()?
    {
        if row.get::<_, i64>(2)? > now {
            found.push(Candidate { tries, due: row.get(0)?, seq: row.get(1)? });
        } else {
            expired += 1;
            if expired > EXPIRED_MAX {
                return Ok(None);
            }
        }
    }
    Ok(Some(found))
}

/// What is left of a backlog of which much has expired: the first to expire.
fn unexpired(db: &Connection, dest: u32, ask: &LeaseAsk, wanted: usize) -> Result<Candidates, Fault> {
    let now = ask.now.as_micros();
    let rows_max = wanted + EXPIRED_MAX;
    let mut statement = db.prepare_cached(UNEXPIRED)?;
    let rows = statement.query_map(params![dest, now, rows_max as i64], |row| {
        Ok(Candidate { tries: row.get(2)?, due: row.get(0)?, seq: row.get(1)? })
    })?;
    let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let all_seen = found.len() < rows_max;
    found.retain(|waits| waits.due <= now);
    Ok(Candidates { found, all_untried: all_seen, all_seen })
}

/// A delivery; `None` if it is damaged, which the log names once.
fn readable(tx: &mut Transaction<'_>, seq: i64) -> Result<Option<Delivery>, Fault> {
    if tx.damage.is_passed_over(seq) {
        return Ok(None);
    }
    match tx.delivery_at(seq) {
        Err(fault) => {
            tx.damage.pass(fault)?;
            tx.damage.pass_over(seq);
            tx.damage.want_columns(seq);
            Ok(None)
        }
        found => found,
    }
}
