//! Registry documents with compare-and-set, and the audit log beside them.

use std::collections::BTreeSet;

use relay_core::name::Name;
use rusqlite::{Connection, Row, params};

use super::{fault::Fault, transaction::Transaction};
use crate::{
    record::RecordError,
    seam::{AuditEntry, Document, DocumentKey, DocumentKind},
};

/// Every kind there is.
pub(super) const KINDS: [DocumentKind; 6] = [
    DocumentKind::Source,
    DocumentKind::Route,
    DocumentKind::Destination,
    DocumentKind::Key,
    DocumentKind::Token,
    DocumentKind::FetchedKey,
];

/// Writes or deletes a document if its version is still `expect`; gives the new version.
pub(super) fn put(
    tx: &mut Transaction<'_>,
    key: &DocumentKey,
    expect: u64,
    body: Option<&str>,
    audit: &[AuditEntry],
) -> Result<Option<u64>, Fault> {
    let stored = one(tx.db, key)?.map_or(0, |document| document.version);
    if stored != expect {
        return Ok(None);
    }
    let version = stored + 1;
    if let Some(body) = body {
        let crc = checksum(key, version, body);
        tx.crcs.push(crc);
        tx.db
            .prepare_cached(
                "INSERT OR REPLACE INTO documents (kind, name, version, body, crc) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![key.kind as i64, key.name, version as i64, body, crc])?;
    } else {
        tx.crcs.push(checksum(key, version, ""));
        tx.db
            .prepare_cached("DELETE FROM documents WHERE kind = ?1 AND name = ?2")?
            .execute(params![key.kind as i64, key.name])?;
    }
    tx.audit(audit)?;
    if key.kind == DocumentKind::Destination
        && let Ok(name) = key.name.parse::<Name>()
    {
        if body.is_some_and(says_paused) {
            tx.paused.insert(name);
        } else {
            tx.paused.remove(&name);
        }
    }
    Ok(Some(version))
}

/// Reads one document.
pub(super) fn one(db: &Connection, key: &DocumentKey) -> Result<Option<Document>, Fault> {
    let mut statement =
        db.prepare_cached("SELECT name, version, body, crc FROM documents WHERE kind = ?1 AND name = ?2")?;
    let mut rows = statement.query(params![key.kind as i64, key.name])?;
    rows.next()?.map(|row| document(row, key.kind)).transpose()
}

/// Reads all documents of a kind, by name.
pub(super) fn all(db: &Connection, kind: DocumentKind) -> Result<Vec<Document>, Fault> {
    let mut statement =
        db.prepare_cached("SELECT name, version, body, crc FROM documents WHERE kind = ?1 ORDER BY name")?;
    let mut rows = statement.query([kind as i64])?;
    let mut documents = Vec::new();
    while let Some(row) = rows.next()? {
        documents.push(document(row, kind)?);
    }
    Ok(documents)
}

/// The keys of all documents.
pub(super) fn keys(db: &Connection) -> Result<Vec<DocumentKey>, Fault> {
    let mut keys = Vec::new();
    for kind in KINDS {
        let mut statement = db.prepare_cached("SELECT name FROM documents WHERE kind = ?1 ORDER BY name")?;
        let names = statement.query_map([kind as i64], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        keys.extend(names.into_iter().map(|name| DocumentKey { kind, name }));
    }
    Ok(keys)
}

/// Destinations whose document says that they are paused.
pub(super) fn paused(db: &Connection) -> Result<BTreeSet<Name>, Fault> {
    let documents = all(db, DocumentKind::Destination)?;
    let paused = documents.iter().filter(|document| says_paused(&document.body));
    Ok(paused.filter_map(|document| document.key.name.parse().ok()).collect())
}

fn document(row: &Row<'_>, kind: DocumentKind) -> Result<Document, Fault> {
    let (name, version, body, crc): (String, i64, String, u32) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let key = DocumentKey { kind, name };
    let version = version as u64;
    if checksum(&key, version, &body) != crc {
        return Err(Fault::record(&format_args!("document {:?} {}", key.kind, key.name), &RecordError::Checksum));
    }
    Ok(Document { key, version, body })
}

fn says_paused(body: &str) -> bool {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(body);
    parsed.is_ok_and(|document| document.get("paused") == Some(&serde_json::Value::Bool(true)))
}

fn checksum(key: &DocumentKey, version: u64, body: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[key.kind as u8]);
    hasher.update(key.name.as_bytes());
    hasher.update(&version.to_le_bytes());
    hasher.update(body.as_bytes());
    hasher.finalize()
}
