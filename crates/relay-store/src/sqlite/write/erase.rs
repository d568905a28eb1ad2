//! Erasing: what was received of an event, and what was answered to it, is written over where it stands.
//!
//! What takes its place is as long as it was, so that SQLite overwrites the row's own bytes, on its own pages, and no index has to hear of it.
//! What it has left elsewhere when it moved that row from page to page the writer sweeps (`files/slack.rs`), and then cuts the log, which has
//! the old bytes until then.

use relay_core::{delivery, id::EventId, storage::Erased};
use rusqlite::params;

use super::{marks, transaction::Transaction};
use crate::{
    cipher::Ciphers,
    record,
    sqlite::{
        fault::Fault,
        read::{book::Kind, rows},
    },
};

/// Erases an event, if nothing of it may still go out.
pub(crate) fn erase(tx: &mut Transaction<'_>, id: EventId) -> Result<Erased, Fault> {
    let seq = id.sequence();
    let read = rows::head_at(tx.db, seq, tx.book);
    let (head, listed) = match read {
        Ok(Some((head, listed))) if head.event.id == id => (head, listed),
        Ok(_) => return Ok(Erased::Gone),
        Err(fault) => return tx.damage.pass(fault).map(|()| Erased::Damaged),
    };
    let mut deliveries = Vec::with_capacity(listed.len());
    for seq in &listed {
        // It may be one that goes out, and what was answered to it would stay.
        match rows::delivery_at(tx.db, *seq, tx.book) {
            Ok(found) => deliveries.extend(found),
            Err(fault) => return tx.damage.pass(fault).map(|()| Erased::Damaged),
        }
    }
    if !deliveries.iter().all(|found| delivery::is_over_for_good(found.state)) {
        return Ok(Erased::Open);
    }
    tx.erases = true;
    for found in deliveries {
        if let Some(last) = found.last.as_ref().and_then(record::erased_attempt) {
            tx.update_record(&delivery::Delivery { last: Some(last), ..found })?;
        }
    }
    for seq in listed {
        attempts(tx, seq)?;
    }
    if head.event.is_erased() {
        return Ok(Erased::Before);
    }
    let event = head.erased();
    let source = tx.book.intern(Kind::Source, &event.source);
    marks::unmark_event(tx, source, id)?;
    let number = event.name.as_deref().and_then(|name| tx.book.event_names.intern(source, name));
    // What is sealed is longer.
    let ciphers = if head.is_sealed() { tx.book.ciphers.clone() } else { Ciphers::default() };
    let mut head = Vec::with_capacity(1024);
    tx.crcs.push(record::encode_event(&event, source, number, &ciphers, &mut head));
    tx.db.prepare_cached("UPDATE events SET head = ?2, body = ?3 WHERE seq = ?1")?.execute(params![
        seq,
        head,
        &record::encode_body(&event, &ciphers)[..]
    ])?;
    Ok(Erased::Now)
}

/// The earlier tries of a delivery, be it removed by now.
fn attempts(tx: &mut Transaction<'_>, seq: i64) -> Result<(), Fault> {
    let found = {
        let mut statement = tx.db.prepare_cached("SELECT version, record FROM attempts WHERE delivery = ?1")?;
        let found = statement.query_map([seq], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        found.collect::<rusqlite::Result<Vec<_>>>()?
    };
    let ciphers = tx.book.ciphers.clone();
    for (version, bytes) in found {
        let attempt = match record::decode_attempt(&bytes, seq, &ciphers) {
            Ok(attempt) => record::erased_attempt(&attempt),
            Err(error) => {
                tx.damage.pass(Fault::record(&format_args!("an attempt of the delivery in row {seq}"), &error))?;
                None
            }
        };
        let Some(attempt) = attempt else { continue };
        let mut erased = Vec::with_capacity(bytes.len());
        tx.crcs.push(record::encode_attempt(&attempt, seq, &ciphers, &mut erased));
        tx.db
            .prepare_cached("UPDATE attempts SET record = ?3 WHERE delivery = ?1 AND version = ?2")?
            .execute(params![seq, version, erased])?;
    }
    Ok(())
}
