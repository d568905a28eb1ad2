//! Accepting: event, deliveries and dedupe key in one commit, or the event that took the key.

use relay_core::{
    delivery::Delivery,
    event::Event,
    id::EventId,
    storage::{Append, AppendError, Appended, Dedupe},
};
use rusqlite::params;

use super::transaction::Transaction;
use crate::sqlite::{
    fault::Fault,
    read::{
        book::Kind,
        rows::{self, body_without_digest},
        taken::Taken,
    },
};

/// Stores each item, or finds the one that took its key. Only a fault of the whole store is an error.
pub(crate) fn append_all(
    tx: &mut Transaction<'_>,
    batch: &[Append],
) -> Result<Vec<Result<Appended, AppendError>>, Fault> {
    batch
        .iter()
        .map(|item| {
            if item.deadline < tx.now {
                return Ok(Err(AppendError::TooLate));
            }
            match append(tx, item) {
                Ok(appended) => Ok(Ok(appended)),
                Err(fault) => tx.damage.pass(fault).map(|()| Err(AppendError::Damaged)),
            }
        })
        .collect()
}

fn append(tx: &mut Transaction<'_>, item: &Append) -> Result<Appended, Fault> {
    if let Some(dedupe) = &item.dedupe
        && let Some(first) = take_key(tx, &item.event, dedupe)?
    {
        // Asked for once more by the same id, it is stored already.
        let same = first.event == item.event.id;
        return if same { stored_before(tx, item.event.id) } else { repeat(tx, &item.event, &first) };
    }
    if relay_core::canary::is("dedupe_before_commit") && item.dedupe.is_some() {
        tx.db.execute_batch("COMMIT; BEGIN IMMEDIATE")?; // Canary: a key must not be durable before its event.
    }
    if !tx.insert_event(&item.event, &item.deliveries)? {
        return stored_before(tx, item.event.id);
    }
    for delivery in &item.deliveries {
        tx.insert_delivery(delivery)?;
    }
    Ok(Appended::as_asked(item.event.id))
}

/// It is there, with these deliveries by now. As if it were all as asked for, nothing of it may be damaged.
fn stored_before(tx: &Transaction<'_>, event: EventId) -> Result<Appended, Fault> {
    if is_known_damaged(tx, event) {
        return Err(Fault::Damaged(rows::named_event(event.sequence()).into()));
    }
    let mut deliveries = Vec::new();
    for seq in rows::deliveries_of(tx.db, event.sequence())? {
        deliveries.extend(rows::delivery_at(tx.db, seq, tx.book)?);
    }
    Ok(Appended::Stored { event, deliveries })
}

/// The deliveries of an event that are there and read, and how many it ever had.
pub(super) fn deliveries_of(tx: &Transaction<'_>, event: EventId) -> Result<(Vec<Delivery>, usize), Fault> {
    let mut deliveries: Vec<Delivery> = Vec::new();
    let listed = rows::deliveries_of(tx.db, event.sequence())?;
    for seq in &listed {
        deliveries.extend(rows::passing_over_damage(tx.damage, rows::delivery_at(tx.db, *seq, tx.book))?);
    }
    Ok((deliveries, listed.len()))
}

/// Takes the key for `event`, unless another event holds it: that one then.
fn take_key(tx: &mut Transaction<'_>, event: &Event, dedupe: &Dedupe) -> Result<Option<Taken>, Fault> {
    let source = tx.book.intern(Kind::Source, &event.source);
    let taken =
        Taken { event: event.id, received_at: event.received_at, until: dedupe.until, body_sha256: event.body_sha256 };
    let (record, crc) = taken.encode(source, &dedupe.key);
    tx.crcs.push(crc);
    let until = dedupe.until.as_micros();
    let inserted = tx
        .db
        .prepare_cached(
            "INSERT INTO dedupe (source, key, until, record) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )?
        .execute(params![source, &dedupe.key[..], until, record])?;
    if inserted > 0 {
        return Ok(None);
    }
    let stored: Vec<u8> = tx
        .db
        .prepare_cached("SELECT record FROM dedupe WHERE source = ?1 AND key = ?2")?
        .query_row(params![source, &dedupe.key[..]], |row| row.get(0))?;
    let first = Taken::decode(source, &dedupe.key, &stored)
        .map_err(|error| Fault::record(&format_args!("a dedupe key of source {source}"), &error));
    if let Some(first) = passing_over(tx, first.map(Some))?
        && first.until > event.received_at
        && is_whole(tx, first.event)?
    {
        return Ok(Some(first));
    }
    tx.db
        .prepare_cached("UPDATE dedupe SET until = ?3, record = ?4 WHERE source = ?1 AND key = ?2")?
        .execute(params![source, &dedupe.key[..], until, record])?;
    Ok(None)
}

/// Whether an event is there and nothing of it is known to be damaged. A key goes with its event: what was purged, or retired
/// early, erased, or cannot be delivered any more, must not swallow what is sent again.
fn is_whole(tx: &Transaction<'_>, event: EventId) -> Result<bool, Fault> {
    if relay_core::canary::is("dedupe_before_commit") {
        return Ok(true); // Canary: a key that was durable before its event would be free again.
    }
    let head = passing_over(tx, rows::head_at(tx.db, event.sequence(), tx.book))?;
    Ok(head.is_some_and(|(head, _)| head.event.id == event && !head.event.is_erased()) && !is_known_damaged(tx, event))
}

/// Whether somebody who read its body, now or in an earlier run, found it damaged.
fn is_known_damaged(tx: &Transaction<'_>, event: EventId) -> bool {
    let named = rows::named_event(event.sequence());
    tx.damage.is_known(&format!("{named}: ")) || tx.damage.is_known(&body_without_digest(event))
}

/// Passes over what is damaged, not over what a later version wrote: that may be whole.
fn passing_over<T>(tx: &Transaction<'_>, read: Result<Option<T>, Fault>) -> Result<Option<T>, Fault> {
    match read {
        Err(fault @ Fault::Damaged(_)) => tx.damage.pass(fault).map(|()| None),
        other => other,
    }
}

fn repeat(tx: &mut Transaction<'_>, event: &Event, first: &Taken) -> Result<Appended, Fault> {
    let (deliveries, listed) = deliveries_of(tx, first.event)?;
    // An event that lost all of them (an accepted loss) lists none.
    let gone = deliveries.len() < listed || listed == 0;
    let source = tx.book.intern(Kind::Source, &event.source);
    tx.book.repeated(source);
    Ok(Appended::Repeat {
        first: first.event,
        received_at: first.received_at,
        differs: first.body_sha256 != event.body_sha256,
        deliveries,
        gone,
    })
}
