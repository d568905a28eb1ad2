//! What a move to another store or from one reads and writes beside what everybody does.

mod keys;

use std::collections::BTreeMap;

use relay_core::{
    delivery::Attempt,
    id::{DeliveryId, EventId},
};
use rusqlite::Connection;

pub(super) use self::keys::Keys;
use super::{
    fault::Fault,
    read::{book::Shelf, rows},
    write::transaction::Transaction,
};
use crate::seam::{HaveRoom, Stats};

/// Which of these nobody is in the way of: rows stand under sequences.
pub(super) fn have_room(
    db: &Connection,
    shelf: &Shelf,
    events: &[EventId],
    deliveries: &[DeliveryId],
) -> Result<HaveRoom, Fault> {
    let (mut taken, mut room) = (BTreeMap::new(), Vec::with_capacity(events.len()));
    for id in events {
        let there = rows::head_at(db, id.sequence(), shelf)?.map(|(head, _)| head.event.id);
        room.push(there.is_none_or(|there| there == *id) && *taken.entry(id.sequence()).or_insert(*id) == *id);
    }
    let (mut taken, mut room_of_deliveries) = (BTreeMap::new(), Vec::with_capacity(deliveries.len()));
    for id in deliveries {
        let there = rows::delivery_at(db, id.sequence(), shelf)?.map(|found| found.id);
        let is_free = there.is_none_or(|there| there == *id);
        room_of_deliveries.push(is_free && *taken.entry(id.sequence()).or_insert(*id) == *id);
    }
    Ok(HaveRoom { events: room, deliveries: room_of_deliveries })
}

/// Puts these in the place of the earlier attempts of each. They stand under the versions that replaced them; a delivery had
/// at least as many of those as attempts, and none that comes later is among them.
pub(super) fn put_attempts(tx: &mut Transaction<'_>, of: &[(DeliveryId, Vec<Attempt>)]) -> Result<(), Fault> {
    for (id, attempts) in of {
        let seq = id.sequence();
        tx.db.prepare_cached("DELETE FROM attempts WHERE delivery = ?1")?.execute([seq])?;
        for (version, attempt) in (1..).zip(attempts) {
            tx.insert_attempt(seq, version, attempt)?;
        }
    }
    Ok(())
}

/// Sets what only counters know.
pub(super) fn put_totals(tx: &mut Transaction<'_>, totals: &Stats) {
    tx.book.put_totals(totals);
    tx.id_high = tx.id_high.max(totals.id_floor);
    tx.latest = tx.latest.max(totals.latest);
}
