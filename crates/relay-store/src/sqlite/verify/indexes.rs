//! Whether a row is found through each of its indexes. Each question is one search per index, however large the store is.

use rusqlite::{Connection, OptionalExtension as _, Params};

use crate::sqlite::fault::Fault;

/// An index, and the question whether it lacks a row that it should have; no answer if it should not have it.
type Question = (&'static str, &'static str);

/// Of a delivery, by `seq`.
pub(crate) const OF_DELIVERIES: &[Question] = &[
    (
        "by_state",
        "SELECT NOT EXISTS (SELECT 1 FROM deliveries AS i INDEXED BY by_state
         WHERE i.dest = r.dest AND i.state = r.state AND i.line IS r.line AND i.seq = r.seq)
         FROM deliveries AS r WHERE r.seq = ?1",
    ),
    (
        "by_due",
        "SELECT NOT EXISTS (SELECT 1 FROM deliveries AS i INDEXED BY by_due
         WHERE i.state < 30 AND i.line IS NULL AND i.dest = r.dest AND (i.tries > 0) = (r.tries > 0) AND i.due = r.due
         AND i.seq = r.seq AND i.expires = r.expires)
         FROM deliveries AS r WHERE r.seq = ?1 AND r.state < 30 AND r.line IS NULL",
    ),
    (
        "by_tries",
        "SELECT NOT EXISTS (SELECT 1 FROM deliveries AS i INDEXED BY by_tries
         WHERE i.state < 30 AND i.line IS NULL AND i.tries > 0 AND i.dest = r.dest AND i.tries = r.tries
         AND i.due = r.due AND i.seq = r.seq)
         FROM deliveries AS r WHERE r.seq = ?1 AND r.state < 30 AND r.line IS NULL AND r.tries > 0",
    ),
    (
        "by_expiry",
        "SELECT NOT EXISTS (SELECT 1 FROM deliveries AS i INDEXED BY by_expiry
         WHERE i.state < 30 AND i.line IS NULL AND i.dest = r.dest AND i.expires = r.expires AND i.seq = r.seq)
         FROM deliveries AS r WHERE r.seq = ?1 AND r.state < 30 AND r.line IS NULL",
    ),
    (
        "by_end",
        "SELECT NOT EXISTS (SELECT 1 FROM deliveries AS i INDEXED BY by_end
         WHERE i.state >= 40 AND i.dest = r.dest AND i.state = r.state AND i.changed = r.changed AND i.seq = r.seq)
         FROM deliveries AS r WHERE r.seq = ?1 AND r.state >= 40",
    ),
];

/// Of a dedupe key, by `source` and `key`.
pub(crate) const OF_KEYS: &[Question] = &[(
    "dedupe_by_until",
    "SELECT NOT EXISTS (SELECT 1 FROM dedupe AS i INDEXED BY dedupe_by_until
     WHERE i.until = r.until AND i.source = r.source AND i.key = r.key)
     FROM dedupe AS r WHERE r.source = ?1 AND r.key = ?2",
)];

/// The indexes that lack a row they should have.
pub(crate) fn lacking(
    db: &Connection,
    questions: &[Question],
    row: impl Params + Copy,
) -> Result<Vec<&'static str>, Fault> {
    let mut lacking = Vec::new();
    for (index, question) in questions {
        if db.prepare_cached(question)?.query_row(row, |row| row.get(0)).optional()?.unwrap_or(false) {
            lacking.push(*index);
        }
    }
    Ok(lacking)
}
