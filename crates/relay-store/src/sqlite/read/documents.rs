//! Registry documents.

use rusqlite::{Connection, Row, params};

use super::book::Shelf;
use crate::{
    cipher::{Ciphers, Sealed as _},
    record::{RecordError, seal::of_columns},
    seam::{Document, DocumentKey, DocumentKind},
    sqlite::fault::Fault,
};

/// Reads one document.
pub(crate) fn one(db: &Connection, key: &DocumentKey, ciphers: &Ciphers) -> Result<Option<Document>, Fault> {
    stored(db, key)?.map(|document| opened(document, ciphers)).transpose()
}

/// The same as it is stored, sealed or clear.
pub(crate) fn stored(db: &Connection, key: &DocumentKey) -> Result<Option<Document>, Fault> {
    let mut statement =
        db.prepare_cached("SELECT name, version, body, crc FROM documents WHERE kind = ?1 AND name = ?2")?;
    let mut rows = statement.query(params![key.kind as i64, key.name])?;
    rows.next()?.map(|row| document(row, key.kind)).transpose()
}

/// Reads all documents of a kind, by name. One that is damaged has no body, and is told.
pub(crate) fn all(db: &Connection, kind: DocumentKind, shelf: &Shelf) -> Result<Vec<Document>, Fault> {
    let mut statement =
        db.prepare_cached("SELECT name, version, body, crc FROM documents WHERE kind = ?1 ORDER BY name")?;
    let mut rows = statement.query([kind as i64])?;
    let mut documents = Vec::new();
    while let Some(row) = rows.next()? {
        documents.push(match document(row, kind).and_then(|stored| opened(stored, shelf.ciphers())) {
            Err(Fault::Damaged(what)) => {
                shelf.damage().note(&what);
                let key = DocumentKey { kind, name: row.get(0)? };
                Document { key, version: row.get::<_, i64>(1)? as u64, body: String::new() }
            }
            read => read?,
        });
    }
    Ok(documents)
}

/// A store with a kind of documents that is not known here is a later version's.
pub(crate) fn refuse_unknown(db: &Connection) -> Result<(), Fault> {
    let mut statement = db.prepare_cached("SELECT kind FROM documents ORDER BY kind")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        if !DocumentKind::ALL.iter().any(|kind| *kind as i64 == number) {
            return Err(Fault::record(&"a registry document", &RecordError::Later("its kind is")));
        }
    }
    Ok(())
}

/// The keys of all documents.
pub(crate) fn keys(db: &Connection) -> Result<Vec<DocumentKey>, Fault> {
    let mut keys = Vec::new();
    for kind in DocumentKind::ALL {
        let mut statement = db.prepare_cached("SELECT name FROM documents WHERE kind = ?1 ORDER BY name")?;
        let names = statement.query_map([kind as i64], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        keys.extend(names.into_iter().map(|name| DocumentKey { kind, name }));
    }
    Ok(keys)
}

fn opened(stored: Document, ciphers: &Ciphers) -> Result<Document, Fault> {
    let what = format!("document {:?} {}", stored.key.kind, stored.key.name);
    ciphers.open_document(stored).map_err(|error| Fault::record(&what, &error.into()))
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

pub(crate) fn checksum(key: &DocumentKey, version: u64, body: &str) -> u32 {
    of_columns(&[&[key.kind as u8], key.name.as_bytes(), &version.to_le_bytes(), body.as_bytes()])
}
