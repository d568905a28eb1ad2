//! Replays: new deliveries of old events.

use relay_core::delivery::Delivery;
use rusqlite::params;

use super::transaction::Transaction;
use crate::{
    seam::AuditEntry,
    sqlite::{fault::Fault, read::rows},
};

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
