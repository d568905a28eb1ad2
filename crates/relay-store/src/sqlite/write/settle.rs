//! Changes that the core decided on, applied if the record is still the one decided on.

use relay_core::{
    delivery::{self, Change, Delivery},
    storage::{Changed, Extend, Extended},
    time::Wall,
};
use rusqlite::Connection;

use super::transaction::Transaction;
use crate::{
    seam::AuditEntry,
    sqlite::{
        fault::Fault,
        files::damage::Damage,
        read::{book::Book, rows},
    },
};

/// Applies what still fits, and writes down who redrove what.
pub(crate) fn settle(tx: &mut Transaction<'_>, batch: &[Change]) -> Result<Vec<Changed>, Fault> {
    let answers = apply_all(tx, batch)?;
    for (change, _) in batch.iter().zip(&answers).filter(|(_, changed)| **changed == Changed::Applied) {
        tx.audit(AuditEntry::of_redrive(change).as_slice())?;
    }
    Ok(answers)
}

/// Applies what still fits. What is damaged is noted and answered like what is gone, so that it holds up nothing else.
pub(crate) fn apply_all(tx: &mut Transaction<'_>, batch: &[Change]) -> Result<Vec<Changed>, Fault> {
    let mut answers = Vec::with_capacity(batch.len());
    for change in batch {
        let id = change.next.id;
        let found = rows::passing_over_damage(tx.damage, tx.delivery_at(id.sequence()))?;
        answers.push(match found.filter(|found| found.id == id) {
            None => Changed::Conflict(None),
            Some(found) if fits(&found, change) => {
                apply(tx, &found, change)?;
                Changed::Applied
            }
            Some(other) => Changed::Conflict(Some(Box::new(other))),
        });
    }
    Ok(answers)
}

/// Moves the ends of leases that stand. What is damaged is noted and answered like what is gone.
pub(crate) fn extend(tx: &mut Transaction<'_>, batch: &[Extend]) -> Result<Vec<Extended>, Fault> {
    batch.iter().map(|extend| extend_one(tx, extend)).collect()
}

fn extend_one(tx: &mut Transaction<'_>, Extend { id, claim, until }: &Extend) -> Result<Extended, Fault> {
    let found = rows::passing_over_damage(tx.damage, tx.delivery_at(id.sequence()))?;
    let Some(found) = found.filter(|found| found.id == *id) else { return Ok(Extended::Over(None)) };
    let Some(next) = delivery::extended(&found, *claim, *until) else {
        return Ok(Extended::Over(Some(Box::new(found))));
    };
    if next.version != found.version {
        tx.update_record(&next)?;
    }
    Ok(Extended::stands(&next))
}

/// The planted bug "schedule forgotten on restart": what waited for its due time is due at once.
pub(crate) fn forget_schedules(db: &Connection, book: &mut Book) -> Result<(), Fault> {
    let mut statement = db.prepare("SELECT seq FROM deliveries WHERE state = 20")?;
    let scheduled = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
    let damage = Damage::default();
    let mut tx = Transaction::new(db, book, &damage, Wall::MIN);
    for seq in scheduled {
        let Some(before) = tx.delivery_at(seq)? else { continue };
        let next = Delivery { due_at: before.changed_at, ..before.clone() };
        tx.update_delivery(&before, &next)?;
    }
    Ok(())
}

fn fits(stored: &Delivery, change: &Change) -> bool {
    let decided_on = change.is_of(stored);
    decided_on || relay_core::canary::is("skip_fence")
}

/// Stores a change that fits.
fn apply(tx: &mut Transaction<'_>, stored: &Delivery, change: &Change) -> Result<(), Fault> {
    if let Some(archive) = &change.archive {
        tx.insert_attempt(change.next.id.sequence(), change.next.version, archive)?;
    }
    tx.update_delivery(stored, &change.next)
}
