//! Replays: new deliveries of old events. Which there are stands beside the event, whose row never changes: as it has the
//! body, another length of anything in it would write all of that anew.

use relay_core::{
    delivery::Delivery,
    storage::{Replay, Replayed},
};
use rusqlite::{Connection, params};

use super::{append::deliveries_of, transaction::Transaction};
use crate::{
    seam::AuditEntry,
    sqlite::{
        fault::Fault,
        read::{rows, unrouted},
    },
};

const PUT: &str = "INSERT INTO replays (event, deliveries) VALUES (?1, ?2)
    ON CONFLICT (event) DO UPDATE SET deliveries = ?2";
/// Stores new deliveries of old events, unless they were decided on when there were others.
pub(crate) fn replay_if(tx: &mut Transaction<'_>, replay: &Replay, audit: &[AuditEntry]) -> Result<Replayed, Fault> {
    if let (Some(decided_on), Some(first)) = (replay.decided_on, replay.made.first()) {
        let found = deliveries_of(tx, first.event).map(Some);
        // Where the list does not read nothing is stored either.
        let (now, listed) = rows::passing_over_damage(tx.damage, found)?.unwrap_or_default();
        let is_done = replay.made.iter().all(|made| now.iter().any(|now| now.id == made.id));
        // Without its event, which lists what it ever had, nothing is stored anyway.
        if !is_done && listed > 0 && now.len() as u64 != u64::from(decided_on) {
            return Ok(Replayed::Elsewise(now));
        }
    }
    self::replay(tx, &replay.made, audit).map(Replayed::Stored)
}

/// Stores new deliveries of old events; `false` for those whose event is gone or erased.
pub(crate) fn replay(
    tx: &mut Transaction<'_>,
    deliveries: &[Delivery],
    audit: &[AuditEntry],
) -> Result<Vec<bool>, Fault> {
    let mut answers = Vec::with_capacity(deliveries.len());
    let mut stored_any = false;
    for replayed in deliveries {
        let (seq, event_seq) = (replayed.id.sequence(), replayed.event.sequence());
        let event = rows::passing_over_damage(tx.damage, rows::head_at(tx.db, event_seq, tx.book))?;
        let event = event.filter(|(head, _)| head.event.id == replayed.event && !head.event.is_erased());
        answers.push(event.is_some());
        let Some((_, listed)) = event else { continue };
        if listed.contains(&seq) {
            continue;
        }
        note(tx, event_seq, seq)?;
        tx.insert_delivery(replayed)?;
        stored_any = true;
    }
    if stored_any {
        tx.audit(audit)?;
    }
    Ok(answers)
}

/// Writes the list of those that were made of an event later; gives its CRC.
pub(crate) fn put_list(db: &Connection, event_seq: i64, replays: &[i64]) -> Result<u32, Fault> {
    let (list, crc) = rows::encode_replays(event_seq, replays);
    db.prepare_cached(PUT)?.execute(params![event_seq, list])?;
    Ok(crc)
}

/// Notes a delivery with its event, which has one from now on.
fn note(tx: &mut Transaction<'_>, event_seq: i64, seq: i64) -> Result<(), Fault> {
    let mut replays = rows::replays_of(tx.db, event_seq)?;
    replays.push(seq);
    let crc = put_list(tx.db, event_seq, &replays)?;
    tx.crcs.push(crc);
    unrouted::remove(tx.db, event_seq)
}
