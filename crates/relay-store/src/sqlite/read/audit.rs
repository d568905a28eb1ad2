//! The audit log: read line by line and page by page. Lines are written with what they tell of, in the order of time.

use relay_core::time::Wall;
use rusqlite::Connection;

use super::rows;
use crate::{
    record::{RecordError, seal::of_columns},
    seam::{AuditEntry, AuditFilter, Listing, Page},
    sqlite::{fault::Fault, files::damage::Damage},
};

/// Lines that one page looks at, most; then it ends with a cursor to go on from.
const SCAN_MAX: usize = 10_000;

/// A page of lines, the newest first.
pub(crate) fn page(
    db: &Connection,
    damage: &Damage,
    filter: &AuditFilter,
    page: &Page,
) -> Result<Listing<AuditEntry>, Fault> {
    let before = page.cursor.as_deref().and_then(|cursor| cursor.parse().ok()).unwrap_or(i64::MAX);
    let limit = page.limit.clamp(1, 1000) as usize;
    let mut statement = db.prepare_cached("SELECT seq FROM audit WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2")?;
    let mut found = statement.query([before, SCAN_MAX as i64 + 1])?;
    let (mut items, mut looked_at, mut last) = (Vec::new(), 0, before);
    while let Some(row) = found.next()? {
        if items.len() == limit || looked_at == SCAN_MAX {
            return Ok(Listing { items, next: Some(last.to_string()) });
        }
        last = row.get(0)?;
        looked_at += 1;
        items.extend(rows::passing_over_damage(damage, at(db, last))?.filter(|entry| filter.holds(entry)));
    }
    Ok(Listing { items, next: None })
}

/// The line in a row.
pub(crate) fn at(db: &Connection, seq: i64) -> Result<Option<AuditEntry>, Fault> {
    let mut statement = db.prepare_cached("SELECT at, who, action, subject, origin, crc FROM audit WHERE seq = ?1")?;
    let mut rows = statement.query([seq])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    // Bytes that are no text are damage to this line, not to the store.
    let text = |column| row.get_ref(column).map(|value| String::from_utf8_lossy(value.as_bytes().unwrap_or_default()));
    let (who, action, subject) = (text(1)?.into_owned(), text(2)?.into_owned(), text(3)?.into_owned());
    let origin = text(4)?.into_owned();
    let entry = AuditEntry { at: Wall::from_micros(row.get(0)?), who, action, subject, origin };
    if i64::from(crc(&entry)) != row.get::<_, i64>(5)? {
        return Err(Fault::record(&format_args!("audit entry {seq}"), &RecordError::Checksum));
    }
    Ok(Some(entry))
}

/// The checksum of an audit entry.
pub(crate) fn crc(entry: &AuditEntry) -> u32 {
    let [who, action, subject, origin] =
        [&entry.who, &entry.action, &entry.subject, &entry.origin].map(String::as_bytes);
    of_columns(&[&entry.at.as_micros().to_le_bytes(), who, action, subject, origin])
}
