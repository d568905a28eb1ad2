//! Bulk commands in steps, each remembered under its job and cursor, and replays.

use std::{collections::BTreeSet, time::Duration};

use relay_core::{
    delivery::{self, Delivery, State},
    id::DeliveryId,
    name::Name,
};
use rusqlite::{OptionalExtension as _, params};

use super::{
    book::Kind,
    browse::{self, Search},
    fault::Fault,
    rows, settle,
    transaction::Transaction,
};
use crate::seam::{AuditEntry, BulkAction, BulkDone, BulkStep, BulkTarget};

/// Deliveries that one step changes at most, so that it stays one short commit.
const STEP_MAX: usize = 500;

/// One step. A step that was done before answers as it did then and does nothing.
pub(super) fn bulk(tx: &mut Transaction<'_>, step: &BulkStep) -> Result<BulkDone, Fault> {
    if let Some(done) = done_before(tx, step)? {
        return Ok(done);
    }
    let (chosen, next) = choose(tx, step)?;
    let mut done = BulkDone { matched: chosen.len() as u64, next, ..BulkDone::default() };
    if step.dry_run {
        return Ok(done);
    }
    for (before, found) in chosen.iter().enumerate() {
        act(tx, step, found, before as u64)?;
    }
    done.changed = done.matched;
    done.ids = chosen.iter().map(|found| found.id).collect();
    let destinations: BTreeSet<Name> = chosen.into_iter().map(|found| found.destination).collect();
    done.destinations = destinations.into_iter().collect();
    if let Some(entry) = &step.audit
        && done.changed > 0
        && !has_changed_something(tx, step)?
    {
        tx.audit(std::slice::from_ref(entry))?;
    }
    remember(tx, step, &done)?;
    Ok(done)
}

/// Stores new deliveries of old events; `false` for those whose event is gone.
pub(super) fn replay(
    tx: &mut Transaction<'_>,
    deliveries: &[Delivery],
    audit: &[AuditEntry],
) -> Result<Vec<bool>, Fault> {
    let mut answers = Vec::with_capacity(deliveries.len());
    let mut stored_any = false;
    for replayed in deliveries {
        let (seq, event_seq) = (replayed.id.sequence(), replayed.event.sequence());
        let event = rows::passing_over_damage(tx.damage, rows::head_at(tx.db, event_seq, tx.book))?;
        let event = event.filter(|(head, _)| head.event.id == replayed.event);
        answers.push(event.is_some());
        let Some((_, mut listed)) = event else { continue };
        if listed.contains(&seq) {
            continue;
        }
        listed.push(seq);
        let listed = rows::encode_sequences(event_seq, listed.into_iter());
        tx.db
            .prepare_cached("UPDATE events SET deliveries = ?2 WHERE seq = ?1")?
            .execute(params![event_seq, listed])?;
        tx.insert_delivery(replayed)?;
        stored_any = true;
    }
    if stored_any {
        tx.audit(audit)?;
    }
    Ok(answers)
}

/// The states an action is for.
fn applicable(action: &BulkAction) -> &'static [State] {
    match action {
        BulkAction::Redrive { .. } | BulkAction::Purge => &[State::Dead, State::Expired],
        BulkAction::Cancel => &[State::Ready, State::Scheduled, State::Leased],
    }
}

fn choose(tx: &Transaction<'_>, step: &BulkStep) -> Result<(Vec<Delivery>, Option<String>), Fault> {
    let states = applicable(&step.action);
    match &step.target {
        BulkTarget::Ids(ids) => {
            let from: usize = step.cursor.as_ref().and_then(|text| text.parse().ok()).unwrap_or(0);
            let ids: BTreeSet<DeliveryId> = ids.iter().copied().collect();
            let mut chosen = Vec::new();
            for id in ids.iter().skip(from).take(STEP_MAX) {
                let found = rows::passing_over_damage(tx.damage, rows::delivery_at(tx.db, id.sequence(), tx.book))?;
                chosen.extend(found.filter(|found| found.id == *id && states.contains(&found.state)));
            }
            let next = from.saturating_add(STEP_MAX);
            Ok((chosen, (next < ids.len()).then(|| next.to_string())))
        }
        BulkTarget::Matching(filter) => {
            let destinations = match &filter.destination {
                Some(name) => tx.book.number(Kind::Destination, name).into_iter().collect(),
                None => tx.book.numbers(Kind::Destination),
            };
            let search = Search::new(filter, destinations, Some(states), tx.damage);
            let from = step.cursor.as_deref().and_then(browse::place);
            let listing = search.page(tx.db, tx.book, from, STEP_MAX)?;
            Ok((listing.items, listing.next))
        }
    }
}

fn act(tx: &mut Transaction<'_>, step: &BulkStep, found: &Delivery, before: u64) -> Result<(), Fault> {
    match &step.action {
        BulkAction::Redrive { ttl, ttl_default, pace } => {
            let ttl = ttl_of(ttl, found).unwrap_or(*ttl_default);
            let mut change = delivery::redrive(found, step.now, ttl);
            if let Some(pace) = pace {
                change.next = change.next.due_from(pace.due(before));
            }
            settle::apply(tx, found, &change)
        }
        BulkAction::Purge => tx.retire(found).map(drop),
        BulkAction::Cancel => settle::apply(tx, found, &delivery::cancel(found, step.now)),
    }
}

fn ttl_of(routes: &[(Name, Name, Duration)], found: &Delivery) -> Option<Duration> {
    let route = routes.iter().find(|(source, to, _)| *source == found.source && *to == found.destination);
    route.map(|(_, _, ttl)| *ttl)
}

fn done_before(tx: &Transaction<'_>, step: &BulkStep) -> Result<Option<BulkDone>, Fault> {
    let stored: Option<Vec<u8>> = tx
        .db
        .prepare_cached("SELECT answer FROM steps WHERE job = ?1 AND cursor = ?2")?
        .query_row(params![job(step), cursor(step)], |row| row.get(0))
        .optional()?;
    let damaged = || Fault::Damaged(format!("step of {}: the checksum does not match", step.job).into());
    stored.map(|bytes| decode(tx, &bytes).ok_or_else(damaged)).transpose()
}

fn has_changed_something(tx: &Transaction<'_>, step: &BulkStep) -> Result<bool, Fault> {
    Ok(tx.db.prepare_cached("SELECT 1 FROM steps WHERE job = ?1 AND changed > 0")?.exists([job(step)])?)
}

fn remember(tx: &mut Transaction<'_>, step: &BulkStep, done: &BulkDone) -> Result<(), Fault> {
    let (bytes, crc) = encode(tx, done);
    tx.crcs.push(crc);
    tx.db
        .prepare_cached("INSERT INTO steps (job, cursor, changed, answer) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![job(step), cursor(step), done.changed as i64, bytes])?;
    Ok(())
}

/// Jobs sort by when they were minted.
fn job(step: &BulkStep) -> [u8; 16] {
    step.job.as_u128().to_be_bytes()
}

fn cursor(step: &BulkStep) -> &str {
    step.cursor.as_deref().unwrap_or_default()
}

/// Matched (8), changed (8), number of ids (4), ids (16 each), number of destinations (4), their numbers (4 each),
/// cursor (rest), CRC-32 (4).
fn encode(tx: &mut Transaction<'_>, done: &BulkDone) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity(64 + done.ids.len() * 16);
    bytes.extend_from_slice(&done.matched.to_le_bytes());
    bytes.extend_from_slice(&done.changed.to_le_bytes());
    bytes.extend_from_slice(&(done.ids.len() as u32).to_le_bytes());
    for id in &done.ids {
        bytes.extend_from_slice(&id.as_u128().to_le_bytes());
    }
    bytes.extend_from_slice(&(done.destinations.len() as u32).to_le_bytes());
    for name in &done.destinations {
        bytes.extend_from_slice(&tx.book.intern(Kind::Destination, name).to_le_bytes());
    }
    bytes.extend_from_slice(done.next.as_deref().unwrap_or_default().as_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    (bytes, crc)
}

/// Whether a stored answer is what was written.
pub(super) fn holds(bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<4>().is_some_and(|(content, crc)| crc32fast::hash(content) == u32::from_le_bytes(*crc))
}

fn decode(tx: &Transaction<'_>, bytes: &[u8]) -> Option<BulkDone> {
    let (content, _) = bytes.split_last_chunk::<4>().filter(|_| holds(bytes))?;
    let (matched, rest) = content.split_first_chunk::<8>()?;
    let (changed, rest) = rest.split_first_chunk::<8>()?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (ids, rest) = rest.split_at_checked(u32::from_le_bytes(*count) as usize * 16)?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (destinations, next) = rest.split_at_checked(u32::from_le_bytes(*count) as usize * 4)?;
    let ids = ids.as_chunks::<16>().0.iter().map(|id| DeliveryId::from_u128(u128::from_le_bytes(*id)));
    let destinations = destinations.as_chunks::<4>().0.iter();
    Some(BulkDone {
        matched: u64::from_le_bytes(*matched),
        changed: u64::from_le_bytes(*changed),
        ids: ids.collect(),
        destinations: destinations.map(|number| tx.book.name(u32::from_le_bytes(*number))).collect::<Option<_>>()?,
        next: if next.is_empty() { None } else { Some(std::str::from_utf8(next).ok()?.to_owned()) },
    })
}
