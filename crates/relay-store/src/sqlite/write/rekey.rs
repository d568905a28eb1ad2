//! Sealing anew, with the newest key, what is clear or sealed with an older one: steps through events, deliveries with their
//! attempts, and documents, each a commit. What is sealed with the newest key is passed over, so that a pass that was broken off
//! is begun anew at little cost.

use rusqlite::params;

use super::transaction::Transaction;
use crate::{
    cipher::{Sealed as _, sealed_with},
    record,
    seam::{DocumentKind, Rekeyed},
    sqlite::{
        fault::Fault,
        read::{book::Kind, documents, rows},
    },
};

/// Rows that a step looks at.
const ROWS_MAX: usize = 500;
/// Bytes of bodies that it seals, unless a single one has more.
const BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Where a step begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    part: RekeyPart,
    /// Behind this row.
    behind: i64,
    /// What was left by the steps before.
    left: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RekeyPart {
    Events,
    Deliveries,
    Documents,
}

impl At {
    /// As a step gave it; nothing, or what is no such place: at the beginning.
    pub(crate) fn read(text: Option<&str>) -> Self {
        let begin = Self { part: RekeyPart::Events, behind: i64::MIN, left: 0 };
        let parts: Option<Vec<&str>> = text.map(|text| text.split(':').collect());
        let Some([part, behind, left]) = parts.as_deref() else { return begin };
        let part = match *part {
            "events" => RekeyPart::Events,
            "deliveries" => RekeyPart::Deliveries,
            "documents" => RekeyPart::Documents,
            _ => return begin,
        };
        match (behind.parse(), left.parse()) {
            (Ok(behind), Ok(left)) => Self { part, behind, left },
            _ => begin,
        }
    }

    fn text(self) -> String {
        let part = match self.part {
            RekeyPart::Events => "events",
            RekeyPart::Deliveries => "deliveries",
            RekeyPart::Documents => "documents",
        };
        format!("{part}:{}:{}", self.behind, self.left)
    }
}

/// One step.
pub(crate) fn step(tx: &mut Transaction<'_>, at: At) -> Result<Rekeyed, Fault> {
    let mut done = Rekeyed::default();
    let stepped = step_of(tx, at, &mut done);
    // What was clear, or sealed with a key that is to be given up, is left nowhere else either.
    tx.reseals |= done.sealed > 0;
    stepped.map(|next| Rekeyed { next, ..done })
}

/// The same; gives where the next begins.
fn step_of(tx: &mut Transaction<'_>, at: At, done: &mut Rekeyed) -> Result<Option<String>, Fault> {
    let (behind, next) = match at.part {
        RekeyPart::Events => (events(tx, at.behind, done)?, RekeyPart::Deliveries),
        RekeyPart::Deliveries => (deliveries(tx, at.behind, done)?, RekeyPart::Documents),
        RekeyPart::Documents => {
            documents(tx, at.left, done)?;
            return Ok(None);
        }
    };
    let left = at.left + done.left;
    let next = match behind {
        Some(behind) => At { behind, left, ..at },
        None => At { part: next, behind: i64::MIN, left },
    };
    Ok(Some(next.text()))
}

/// Gives the last row that was looked at, if there may be more.
fn events(tx: &mut Transaction<'_>, behind: i64, done: &mut Rekeyed) -> Result<Option<i64>, Fault> {
    let newest = tx.book.ciphers.newest_number();
    let mut bytes = 0;
    let found = {
        let sql = "SELECT seq, substr(head, 1, 16), length(body) FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let mut statement = tx.db.prepare_cached(sql)?;
        let row =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?));
        statement.query_map(params![behind, ROWS_MAX as i64], row)?.collect::<rusqlite::Result<Vec<_>>>()?
    };
    let is_all = found.len() < ROWS_MAX;
    let mut last = None;
    for (seq, head, length) in found {
        if record::key_of_head(&head) != Some(newest) {
            // At least one a step, however long.
            if bytes > 0 && bytes + length.cast_unsigned() > BYTES_MAX {
                return Ok(last);
            }
            bytes += length.cast_unsigned();
            event(tx, seq, done)?;
        }
        done.read += 1;
        last = Some(seq);
    }
    Ok(last.filter(|_| !is_all))
}

fn event(tx: &mut Transaction<'_>, seq: i64, done: &mut Rekeyed) -> Result<(), Fault> {
    let read = rows::event_at(tx.db, seq, tx.book);
    let Some(event) = rows::passing_over_damage(tx.damage, read)? else {
        done.left += 1;
        return Ok(());
    };
    let source = tx.book.intern(Kind::Source, &event.source);
    let number = event.name.as_deref().and_then(|name| tx.book.event_names.intern(source, name));
    let (ciphers, mut head) = (tx.book.ciphers.clone(), Vec::with_capacity(1024));
    tx.crcs.push(record::encode_event(&event, source, number, &ciphers, &mut head));
    let body = record::encode_body(&event, &ciphers);
    tx.db.prepare_cached("UPDATE events SET head = ?2, body = ?3 WHERE seq = ?1")?.execute(params![
        seq,
        head,
        &body[..]
    ])?;
    done.sealed += 1;
    Ok(())
}

fn deliveries(tx: &mut Transaction<'_>, behind: i64, done: &mut Rekeyed) -> Result<Option<i64>, Fault> {
    let found = {
        let mut statement = tx.db.prepare_cached("SELECT seq FROM deliveries WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
        let found = statement.query_map(params![behind, ROWS_MAX as i64], |row| row.get(0))?;
        found.collect::<rusqlite::Result<Vec<i64>>>()?
    };
    for seq in &found {
        delivery(tx, *seq, done)?;
        attempts(tx, *seq, done)?;
        done.read += 1;
    }
    Ok(found.last().copied().filter(|_| found.len() == ROWS_MAX))
}

fn delivery(tx: &mut Transaction<'_>, seq: i64, done: &mut Rekeyed) -> Result<(), Fault> {
    let bytes: Vec<u8> = {
        let mut statement = tx.db.prepare_cached("SELECT record FROM deliveries WHERE seq = ?1")?;
        statement.query_row([seq], |row| row.get(0))?
    };
    match record::decode_sealed_delivery(&bytes, tx.book) {
        Ok((found, Some(key))) if key != tx.book.ciphers.newest_number() => {
            tx.update_record(&found)?;
            done.sealed += 1;
        }
        Ok(_) => {}
        Err(error) => {
            tx.damage.pass(rows::damaged_delivery(seq, &error))?;
            done.left += 1;
        }
    }
    Ok(())
}

fn attempts(tx: &mut Transaction<'_>, seq: i64, done: &mut Rekeyed) -> Result<(), Fault> {
    let found = {
        let mut statement = tx.db.prepare_cached("SELECT version, record FROM attempts WHERE delivery = ?1")?;
        let found = statement.query_map([seq], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        found.collect::<rusqlite::Result<Vec<_>>>()?
    };
    let ciphers = tx.book.ciphers.clone();
    for (version, bytes) in found {
        match record::decode_sealed_attempt(&bytes, seq, &ciphers) {
            Ok((attempt, Some(key))) if key != ciphers.newest_number() => {
                let mut sealed = Vec::with_capacity(512);
                tx.crcs.push(record::encode_attempt(&attempt, seq, &ciphers, &mut sealed));
                tx.db
                    .prepare_cached("UPDATE attempts SET record = ?3 WHERE delivery = ?1 AND version = ?2")?
                    .execute(params![seq, version, sealed])?;
                done.sealed += 1;
            }
            Ok(_) => {}
            Err(error) => {
                tx.damage.pass(Fault::record(&format_args!("an attempt of the delivery in row {seq}"), &error))?;
                done.left += 1;
            }
        }
    }
    Ok(())
}

/// All of them, and last those of the keys that nothing is sealed with any more.
fn documents(tx: &mut Transaction<'_>, left: u64, done: &mut Rekeyed) -> Result<(), Fault> {
    let ciphers = tx.book.ciphers.clone();
    let keys = documents::keys(tx.db)?;
    for key in keys.iter().filter(|key| key.kind != DocumentKind::Cipher) {
        done.read += 1;
        let stored = documents::stored(tx.db, key)?;
        let Some(stored) = stored.filter(|stored| sealed_with(&stored.body) != ciphers.newest_number()) else {
            continue;
        };
        let version = stored.version;
        let opened = ciphers
            .open_document(stored)
            .map_err(|error| Fault::record(&format_args!("document {:?} {}", key.kind, key.name), &error.into()))?;
        // Its version stays: it says what it said.
        let body = ciphers.seal_document(key, version, opened.body);
        let crc = documents::checksum(key, version, &body);
        tx.crcs.push(crc);
        tx.db
            .prepare_cached("UPDATE documents SET body = ?3, crc = ?4 WHERE kind = ?1 AND name = ?2")?
            .execute(params![key.kind as i64, key.name, body, crc])?;
        done.sealed += 1;
    }
    if left + done.left > 0 {
        return Ok(());
    }
    for key in keys.iter().filter(|key| key.kind == DocumentKind::Cipher) {
        let Some(number) = key.name.parse().ok().filter(|number| *number != ciphers.newest_number()) else { continue };
        tx.db
            .prepare_cached("DELETE FROM documents WHERE kind = ?1 AND name = ?2")?
            .execute(params![key.kind as i64, key.name])?;
        tx.crcs.push(documents::checksum(key, 0, ""));
        done.retired.push(number);
    }
    Ok(())
}
