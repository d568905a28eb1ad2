//! A new epoch: history was cut, by a restore or a loss, and the ledger of before says nothing of what comes.

use relay_core::time::Wall;
use rusqlite::Connection;

use crate::{
    seam::AuditEntry,
    sqlite::{
        fault::Fault,
        files::{damage::Damage, meta::Meta, open},
        read::book::Book,
        write::transaction::Transaction,
    },
};

/// Begins a new epoch; gives the meta row and the number of accepted events.
/// It is above `id_high`; what `also` writes is part of the same commit.
pub(crate) fn begin(
    db: &mut Connection,
    audit: &[AuditEntry],
    id_high: i64,
    also: impl FnOnce(&Connection) -> Result<Option<u32>, Fault>,
) -> Result<(Meta, u64), Fault> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    begin_within(db, audit, id_high, also)
}

/// As [`begin`], in a transaction that has begun; commits it.
pub(crate) fn begin_within(
    db: &mut Connection,
    audit: &[AuditEntry],
    id_high: i64,
    also: impl FnOnce(&Connection) -> Result<Option<u32>, Fault>,
) -> Result<(Meta, u64), Fault> {
    let mut meta = Meta::load(db)?.ok_or_else(|| Fault::Damaged("the meta row is missing".into()))?;
    let mut book = Book::load(db)?;
    let accepted = book.accepted;
    let damage = Damage::default();
    let mut tx = Transaction::new(db, &mut book, &damage, Wall::MIN);
    tx.audit(audit)?;
    let (mut crcs, latest) = (std::mem::take(&mut tx.crcs), tx.latest);
    crcs.extend(also(db)?);
    meta.previous = meta.epoch;
    meta.epoch = open::new_epoch();
    meta.advance(&crcs, id_high, latest);
    meta.began = meta.commit;
    meta.write(db)?;
    db.execute_batch("COMMIT")?;
    Ok((meta, accepted))
}
