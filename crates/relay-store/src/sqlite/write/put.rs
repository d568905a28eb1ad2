//! Writing registry documents, with compare-and-set, and the audit log beside them.

use rusqlite::params;

use super::transaction::Transaction;
use crate::{
    seam::{AuditEntry, DocumentKey},
    sqlite::{fault::Fault, read::documents},
};

/// Writes or deletes a document if its version is still `expect`; gives the new version.
pub(crate) fn document(
    tx: &mut Transaction<'_>,
    key: &DocumentKey,
    expect: u64,
    body: Option<&str>,
    audit: &[AuditEntry],
) -> Result<Option<u64>, Fault> {
    let stored = documents::stored(tx.db, key)?.map_or(0, |document| document.version);
    if stored != expect {
        return Ok(None);
    }
    let version = stored + 1;
    if let Some(body) = body {
        let crc = documents::checksum(key, version, body);
        tx.crcs.push(crc);
        tx.db
            .prepare_cached(
                "INSERT OR REPLACE INTO documents (kind, name, version, body, crc) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![key.kind as i64, key.name, version as i64, body, crc])?;
    } else {
        tx.crcs.push(documents::checksum(key, version, ""));
        tx.db
            .prepare_cached("DELETE FROM documents WHERE kind = ?1 AND name = ?2")?
            .execute(params![key.kind as i64, key.name])?;
    }
    tx.audit(audit)?;
    Ok(Some(version))
}
