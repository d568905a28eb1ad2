//! Mending what only repeats something else: indexes from their tables, columns of deliveries from their records, names and
//! counters from memory. Nothing is decided, and no record changes.

use super::{columns, transaction::Transaction};
use crate::sqlite::{
    fault::Fault,
    files::damage::Wanted,
    read::{book::Kind, rows},
};

/// Does it, in a commit of its own.
pub(crate) fn mend(tx: &mut Transaction<'_>, wanted: &Wanted) -> Result<(), Fault> {
    if let Some(reason) = &wanted.indexes {
        tracing::error!(
            event = "store_mended",
            reason,
            "the indexes of the store are made anew; is its disk still good?"
        );
    }
    let mut spoilt = Vec::new();
    for seq in &wanted.columns {
        let Some(found) = rows::passing_over_damage(tx.damage, rows::record_at(tx.db, *seq, &*tx.book))? else {
            continue;
        };
        let destination = tx.book.number(Kind::Destination, &found.destination);
        let repeats = columns::repeat(tx.db, destination, &found).map(Some);
        if rows::passing_over_damage(tx.damage, repeats)? == Some(false) {
            spoilt.push(found);
        }
    }
    // An entry that its column does not lead to cannot be taken out: so the indexes go first.
    if wanted.indexes.is_some() || !spoilt.is_empty() {
        tx.db.execute_batch("REINDEX deliveries; REINDEX dedupe")?;
    }
    for found in &spoilt {
        columns::write(tx.db, tx.book, found)?;
        tx.damage.pass_no_more(found.id.sequence());
        tracing::error!(event = "store_mended", delivery = %found.id, "what its indexes have of it is made anew of its record");
    }
    if wanted.names {
        tracing::error!(
            event = "store_mended",
            "names and counters are written anew; is the disk of the store still good?"
        );
        tx.book.write_anew(tx.db)?;
    }
    // The chain hash has to speak of each commit.
    tx.removed(0);
    Ok(())
}
