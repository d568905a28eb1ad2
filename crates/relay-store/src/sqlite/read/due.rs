//! What has work to do, what is held, and the depths: reads that the hub and the health page make all the time.

use std::{path::Path, sync::Arc};

use relay_core::{
    delivery::Delivery,
    event::Event,
    id::{DeliveryId, EventId},
    storage::{BodyOf, DestinationDue, Due, DueAsk, HeldAsk},
    time::Wall,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    ahead::Ahead,
    book::{Kind, Shelf},
    line::{Line, Walk},
    rows,
};
use crate::{
    seam::Stats,
    sqlite::{fault::Fault, files::room::Seen},
};

/// Deliveries of a destination that wait, but not in line, the first to expire first.
const BY_EXPIRY: &str = "SELECT expires, seq FROM deliveries INDEXED BY by_expiry
    WHERE dest = ?1 AND expires <= ?2 AND state < 30 AND line IS NULL ORDER BY expires, seq LIMIT ?3";
/// Leased deliveries of a destination behind a sequence.
const HELD: &str = "SELECT seq FROM deliveries INDEXED BY by_state
    WHERE dest = ?1 AND state = 30 AND line IS NULL AND seq > ?2 ORDER BY seq LIMIT ?3";

/// When the next of them is due.
const NEXT_DUE: &str = "SELECT due FROM deliveries INDEXED BY by_due
    WHERE dest = ?1 AND (tries > 0) = ?2 AND due > ?3 AND state < 30 AND line IS NULL ORDER BY due LIMIT 1";

/// What waits, and what has passed its TTL while waiting.
pub(crate) fn due(db: &Connection, shelf: &Shelf, ask: DueAsk) -> Result<Due, Fault> {
    let DueAsk { now, limit, partitions, .. } = ask;
    // It has one partition, so it is asked for all or for none.
    let limit = if partitions.is_empty() { 0 } else { limit };
    let mut due = Due::default();
    let mut numbers = Vec::new();
    for (number, entry) in shelf.entries(Kind::Destination) {
        let Some(next_due) = next_due(shelf.walk(db), number, Wall::from_micros(i64::MIN))? else { continue };
        let delivered = entry.delivered();
        due.destinations.push(DestinationDue { destination: entry.name, next_due: Some(next_due), delivered });
        numbers.push(number);
    }
    due.destinations.sort_by(|a, b| a.destination.cmp(&b.destination));
    due.expired = expired(shelf.walk(db), &numbers, now, limit as usize)?;
    Ok(due)
}

/// Waiting deliveries of these destinations whose TTL has passed, the first to expire first. Damaged ones among them make room
/// for no fewer others: it is read on until there are enough, or no more.
fn expired(walk: Walk<'_>, numbers: &[u32], now: Wall, limit: usize) -> Result<Vec<Delivery>, Fault> {
    let mut wanted = limit;
    loop {
        let mut places: Vec<(i64, i64)> = Vec::new();
        for number in numbers {
            places.extend(expiring(walk, *number, now.as_micros(), wanted)?);
        }
        places.sort_unstable();
        places.truncate(wanted);
        let mut found = Vec::with_capacity(places.len().min(limit));
        for (_, seq) in &places {
            found.extend(rows::passing_over_damage(walk.damage, rows::delivery_at(walk.db, *seq, walk.names))?);
        }
        if found.len() >= limit || places.len() < wanted {
            found.truncate(limit);
            return Ok(found);
        }
        wanted *= 2;
    }
}

/// Waiting deliveries of a destination whose TTL ends by then, each with that moment; the first so many among them.
fn expiring(walk: Walk<'_>, destination: u32, by: i64, limit: usize) -> Result<Vec<(i64, i64)>, Fault> {
    let mut statement = walk.db.prepare_cached(BY_EXPIRY)?;
    let found = statement.query_map(params![destination, by, limit as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut found = found.collect::<rusqlite::Result<Vec<_>>>()?;
    for line in Line::all(walk.db, destination)? {
        let first = line.between(walk, i64::MIN, by.saturating_sub(line.ttl), limit)?;
        found.extend(first.iter().map(|waits| (waits.due + line.ttl, waits.seq)));
    }
    Ok(found)
}

/// Leased deliveries behind an id, by id: some of those that were asked for, unless there are none.
pub(crate) fn held(db: &Connection, shelf: &Shelf, ask: HeldAsk) -> Result<Vec<Delivery>, Fault> {
    let mut after = ask.after.map_or(0, DeliveryId::sequence);
    loop {
        let (page, last) = held_behind(db, shelf, after, ask.limit)?;
        let Some(last) = last else { return Ok(page) };
        let wanted = |found: &Delivery| found.lease.is_some_and(|lease| ask.of.holds(&lease));
        let page: Vec<Delivery> = page.into_iter().filter(wanted).collect();
        if !page.is_empty() {
            return Ok(page);
        }
        after = last;
    }
}

/// A page of all that is leased, and where it ended, if there was any.
fn held_behind(db: &Connection, shelf: &Shelf, after: i64, limit: u32) -> Result<(Vec<Delivery>, Option<i64>), Fault> {
    let mut sequences: Vec<i64> = Vec::new();
    for (number, _) in shelf.entries(Kind::Destination) {
        let mut statement = db.prepare_cached(HELD)?;
        let found = statement.query_map(params![number, after, limit], |row| row.get(0))?;
        sequences.extend(found.collect::<rusqlite::Result<Vec<i64>>>()?);
    }
    sequences.sort_unstable();
    sequences.truncate(limit as usize);
    let mut held = Vec::with_capacity(sequences.len());
    for seq in &sequences {
        held.extend(rows::passing_over_damage(shelf.damage(), rows::delivery_at(db, *seq, shelf))?);
    }
    Ok((held, sequences.last().copied()))
}

/// Deliveries by id, in order.
pub(crate) fn find(db: &Connection, shelf: &Shelf, ids: &[DeliveryId]) -> Result<Vec<Option<Delivery>>, Fault> {
    let found = ids.iter().map(|id| {
        let found = rows::passing_over_damage(shelf.damage(), rows::delivery_at(db, id.sequence(), shelf))?;
        Ok(found.filter(|found| found.id == *id))
    });
    found.collect()
}

/// Events of leased deliveries. One that is damaged, or gone although it is leased, is not leased again.
pub(crate) fn bodies(
    db: &Connection,
    shelf: &Shelf,
    ahead: &Ahead,
    of: &[BodyOf],
) -> Result<Vec<Option<Arc<Event>>>, Fault> {
    let mut events = rows::event_statement(db)?;
    let bodies = of.iter().map(|of| {
        if let Some(event) = ahead.take(of.event) {
            return Ok(Some(event));
        }
        let gone = || Fault::Damaged(format!("{}: its event {} is gone", of.delivery, of.event).into());
        let found = rows::event_by(&mut events, db, of.event.sequence(), shelf);
        let found = found.and_then(|event| event.filter(|event| event.id == of.event).ok_or_else(gone));
        match found {
            Ok(event) => Ok(Some(Arc::new(event))),
            Err(fault @ (Fault::Damaged(_) | Fault::Later(_))) => {
                let holds =
                    rows::passing_over_damage(shelf.damage(), rows::delivery_at(db, of.delivery.sequence(), shelf))?;
                // Purged meanwhile, nothing is damaged.
                if holds.is_some_and(|found| found.id == of.delivery) {
                    shelf.damage().note_fault(&fault);
                    shelf.damage().pass_over(of.delivery.sequence());
                }
                Ok(None)
            }
            Err(other) => Err(other),
        }
    });
    bodies.collect()
}

/// One event with its body.
pub(crate) fn event(db: &Connection, shelf: &Shelf, id: EventId) -> Result<Option<Event>, Fault> {
    Ok(rows::event_at(db, id.sequence(), shelf)?.filter(|event| event.id == id))
}

/// Depths, totals and the oldest waiting times: counters and two index seeks per destination. Free disk is for the
/// caller to fill in.
pub(crate) fn stats(db: &Connection, shelf: &Shelf, seen: &Seen, dir: &Path) -> Result<Stats, Fault> {
    let mut stats = kept(shelf);
    for destination in &mut stats.destinations {
        let Some(number) = shelf.number(Kind::Destination, &destination.destination) else { continue };
        destination.oldest_due = next_due(shelf.walk(db), number, Wall::from_micros(i64::MIN))?;
        let next_expiry = expiring(shelf.walk(db), number, i64::MAX, 1)?.into_iter().min();
        destination.next_expiry = next_expiry.map(|(at, _)| Wall::from_micros(at));
    }
    let sizes = ["store.db", "store.db-wal", "ledger", "ballast"].map(|name| dir.join(name).metadata());
    stats.store_bytes = sizes.iter().flatten().map(std::fs::Metadata::len).sum();
    stats.full = seen.is_full();
    stats.damaged = shelf.damage().count();
    Ok(stats)
}

/// The counters as they are kept.
pub(crate) fn kept(shelf: &Shelf) -> Stats {
    let mut sources: Vec<_> = shelf.entries(Kind::Source).iter().map(|(_, entry)| entry.source_stats()).collect();
    let mut destinations: Vec<_> =
        shelf.entries(Kind::Destination).iter().map(|(_, entry)| entry.destination_stats()).collect();
    sources.sort_by(|a, b| a.source.cmp(&b.source));
    destinations.sort_by(|a, b| a.destination.cmp(&b.destination));
    Stats { sources, destinations, id_floor: shelf.id_high(), latest: shelf.latest(), ..Stats::default() }
}

/// When the first waiting delivery behind `now` is due.
pub(crate) fn next_due(walk: Walk<'_>, destination: u32, now: Wall) -> Result<Option<Wall>, Fault> {
    let mut statement = walk.db.prepare_cached(NEXT_DUE)?;
    let mut earliest: Option<i64> = None;
    for tried in [0, 1] {
        let due = statement.query_row(params![destination, tried, now.as_micros()], |row| row.get(0)).optional()?;
        earliest = earliest.into_iter().chain(due).min();
    }
    for line in Line::all(walk.db, destination)? {
        let next = line.first_behind(walk, now.as_micros())?;
        earliest = earliest.into_iter().chain(next.map(|next| next.due)).min();
    }
    Ok(earliest.map(Wall::from_micros))
}
