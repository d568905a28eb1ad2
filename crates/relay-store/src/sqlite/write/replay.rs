//! Replays: new deliveries of old events.

use relay_core::{
    delivery::Delivery,
    storage::{Replay, Replayed},
};
use rusqlite::params;

use super::{append::deliveries_of, transaction::Transaction};
use crate::{
    seam::AuditEntry,
    sqlite::{fault::Fault, read::rows},
};

/// Stores new deliveries of old events, unless they were decided on when there were others.
pub(crate) fn replay_if(tx: &mut Transaction<'_>, replay: &Replay, audit: &[AuditEntry]) -> Result<Replayed, Fault> {
    if let (Some(decided_on), Some(first)) = (replay.decided_on, replay.made.first()) {
        let (now, listed) = deliveries_of(tx, first.event)?;
        let is_done = replay.made.iter().all(|made| now.iter().any(|now| now.id == made.id));
        // Without its event, which lists what it ever had, nothing is stored anyway.
        if !is_done && listed > 0 && now.len() as u64 != u64::from(decided_on) {
            return Ok(Replayed::Elsewise(now));
        }
    }
    self::replay(tx, &replay.made, audit).map(Replayed::Stored)
}

/// Stores new deliveries of old events; `false` for those whose event is gone.
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
