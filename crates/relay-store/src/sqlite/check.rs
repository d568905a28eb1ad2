//! `store check`: reads everything that is stored, while no server runs, and says what does not hold.

use std::{collections::BTreeSet, path::Path};

use relay_core::{delivery::Delivery, time::Wall};
use rusqlite::Connection;

use super::{
    append::Taken,
    backup,
    book::{Book, Kind},
    damage::Damage,
    documents,
    fault::Fault,
    meta::Meta,
    open::{OpenError, Place},
    recount, rows,
    transaction::{Transaction, audit_crc},
};
use crate::{
    record,
    seam::{AuditEntry, Recount},
};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Events read.
    pub events: u64,
    /// Deliveries read.
    pub deliveries: u64,
    /// Everything that does not hold, in words; empty: the store is healthy.
    pub faults: Vec<String>,
    /// Counters and recount.
    pub recount: Option<Recount>,
    /// The loss was accepted: what is damaged was removed and counted as lost, and a new epoch has begun.
    pub accepted: bool,
}

impl CheckReport {
    /// Whether everything holds.
    pub fn is_healthy(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Checks the store in `dir`. With `accept_loss`, what is lost or damaged is removed, counted and written to the audit
/// log, and the store opens again.
///
/// # Errors
/// The store is in use, of a newer version, or cannot be read at all.
pub fn check(dir: &Path, accept_loss: bool, at: Wall) -> Result<CheckReport, OpenError> {
    let place = Place::claim(dir)?;
    let mut db = place.connect_writer()?;
    let mut report = CheckReport::default();
    let mut damaged = Damaged::default();
    ledger(&place, &db, &mut report)?;
    let read = read_everything(&db, &mut report, &mut damaged);
    if let Err(fault) = read {
        report.faults.push(place.damaged(fault).to_string());
    }
    if accept_loss && !report.is_healthy() {
        accept(&place, &mut db, &damaged, &report.faults, at)?;
        report.accepted = true;
    }
    Ok(report)
}

/// Rows that cannot be used.
#[derive(Debug, Default)]
struct Damaged {
    events: BTreeSet<i64>,
    deliveries: BTreeSet<i64>,
}

/// Begins a new epoch; gives the meta row and the number of accepted events.
pub(super) fn begin_epoch(db: &mut Connection, audit: &[AuditEntry]) -> Result<(Meta, u64), Fault> {
    let mut meta = Meta::load(db)?.ok_or_else(|| Fault::Damaged("the meta row is missing".into()))?;
    let mut book = Book::load(db)?;
    let accepted = book.accepted;
    db.execute_batch("BEGIN IMMEDIATE")?;
    let (mut paused, damage) = (BTreeSet::new(), Damage::default());
    let mut tx = Transaction::new(db, &mut book, &mut paused, &damage, Wall::MIN);
    tx.audit(audit)?;
    let crcs = std::mem::take(&mut tx.crcs);
    meta.previous = meta.epoch;
    meta.epoch = super::open::new_epoch();
    meta.advance(&crcs, 0);
    meta.write(db)?;
    db.execute_batch("COMMIT")?;
    Ok((meta, accepted))
}

fn ledger(place: &Place, db: &Connection, report: &mut CheckReport) -> Result<(), OpenError> {
    let read = Meta::load(db).and_then(|meta| Ok((meta, Book::load(db)?.accepted)));
    match read {
        Ok((Some(meta), accepted)) => match place.compare_ledger(&meta, accepted) {
            Ok(()) => {}
            Err(fault @ (OpenError::LostCommits { .. } | OpenError::OtherHistory { .. })) => {
                report.faults.push(fault.to_string());
            }
            Err(other) => return Err(other),
        },
        Ok((None, _)) => report.faults.push("the meta row is missing".to_owned()),
        Err(fault) => report.faults.push(place.damaged(fault).to_string()),
    }
    Ok(())
}

fn read_everything(db: &Connection, report: &mut CheckReport, damaged: &mut Damaged) -> Result<(), Fault> {
    integrity(db, report)?;
    let book = Book::load(db)?;
    read_events(db, &book, report, damaged)?;
    read_deliveries(db, &book, report, damaged)?;
    read_others(db, report)?;
    let sums = recount::recount(db)?;
    if sums.counted != sums.kept {
        report.faults.push("the counters differ from what is stored".to_owned());
    }
    report.recount = Some(sums);
    Ok(())
}

/// SQLite's own check of pages, and of each index against its table.
fn integrity(db: &Connection, report: &mut CheckReport) -> Result<(), Fault> {
    let mut statement = db.prepare("PRAGMA integrity_check")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    report.faults.extend(lines.into_iter().filter(|line| line != "ok"));
    Ok(())
}

fn read_events(db: &Connection, book: &Book, report: &mut CheckReport, damaged: &mut Damaged) -> Result<(), Fault> {
    for seq in sequences(db, "SELECT seq FROM events")? {
        report.events += 1;
        let read = rows::event_at(db, seq, book).and_then(|event| {
            let deliveries = rows::deliveries_of(db, seq)?;
            Ok((event, deliveries))
        });
        match read {
            Ok((Some(event), listed)) => {
                if !record::Head::holds_digest(&event) {
                    report.faults.push(format!("{}: the body does not have its SHA-256", event.id));
                    damaged.events.insert(seq);
                }
                // A purged delivery may be missing from an event that others keep alive, so only the event counts here.
                drop(listed);
            }
            Ok((None, _)) => {}
            Err(Fault::Damaged(what)) => {
                report.faults.push(what.into());
                damaged.events.insert(seq);
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

fn read_deliveries(db: &Connection, book: &Book, report: &mut CheckReport, damaged: &mut Damaged) -> Result<(), Fault> {
    for seq in sequences(db, "SELECT seq FROM deliveries")? {
        report.deliveries += 1;
        match rows::delivery_at(db, seq, book) {
            Ok(Some(found)) => {
                if let Some(fault) = misplaced(db, book, &found)? {
                    report.faults.push(fault);
                    damaged.deliveries.insert(seq);
                }
            }
            Ok(None) => {}
            Err(Fault::Damaged(what)) => {
                report.faults.push(what.into());
                damaged.deliveries.insert(seq);
            }
            Err(fault) => return Err(fault),
        }
        if let Err(Fault::Damaged(what)) = attempts(db, seq) {
            report.faults.push(what.into());
        }
    }
    Ok(())
}

/// Whether the columns for the indexes, the event and its list agree with the record.
fn misplaced(db: &Connection, book: &Book, found: &Delivery) -> Result<Option<String>, Fault> {
    let seq = found.id.sequence();
    let columns: (u32, u32, i64, i64) = db
        .prepare_cached("SELECT dest, tries, expires, changed FROM deliveries WHERE seq = ?1")?
        .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let destination = book.number(Kind::Destination, &found.destination).unwrap_or(0);
    if columns != (destination, found.tries, found.expires_at.as_micros(), found.changed_at.as_micros()) {
        return Ok(Some(format!("{}: an index column differs from the record", found.id)));
    }
    match rows::deliveries_of(db, found.event.sequence()) {
        Ok(listed) if listed.contains(&seq) => Ok(None),
        Ok(_) => Ok(Some(format!("{}: its event {} does not have it", found.id, found.event))),
        // Told with the event.
        Err(Fault::Damaged(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn attempts(db: &Connection, seq: i64) -> Result<(), Fault> {
    let mut statement = db.prepare_cached("SELECT record FROM attempts WHERE delivery = ?1")?;
    let mut rows = statement.query([seq])?;
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(0)?.as_blob().unwrap_or_default();
        record::decode_attempt(bytes)
            .map_err(|error| Fault::record(&format_args!("an attempt of the delivery in row {seq}"), &error))?;
    }
    Ok(())
}

/// Documents, dedupe keys and the audit log.
fn read_others(db: &Connection, report: &mut CheckReport) -> Result<(), Fault> {
    for kind in documents::KINDS {
        match documents::all(db, kind) {
            Err(Fault::Damaged(what)) => report.faults.push(what.into()),
            read => read.map(drop)?,
        }
    }
    let mut statement = db.prepare("SELECT source, key, until, record FROM dedupe")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key = row.get_ref(1)?.as_blob().unwrap_or_default();
        let stored = row.get_ref(3)?.as_blob().unwrap_or_default();
        if let Err(error) = Taken::decode(row.get(0)?, key, stored) {
            report.faults.push(format!("a dedupe key: {error}"));
        }
    }
    let mut statement = db.prepare("SELECT seq, at, who, action, subject, crc FROM audit")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let at = Wall::from_micros(row.get(1)?);
        let entry = AuditEntry { at, who: row.get(2)?, action: row.get(3)?, subject: row.get(4)? };
        if audit_crc(&entry) != row.get::<_, u32>(5)? {
            report.faults.push(format!("audit entry {}: the checksum does not match", row.get::<_, i64>(0)?));
        }
    }
    Ok(())
}

/// Removes what cannot be used, takes the counters from what is left, and begins a new epoch.
fn accept(place: &Place, db: &mut Connection, damaged: &Damaged, faults: &[String], at: Wall) -> Result<(), OpenError> {
    remove(db, damaged).map_err(|error| place.damaged(error))?;
    let audit: Vec<AuditEntry> = faults
        .iter()
        .map(|fault| AuditEntry {
            at,
            who: "cli".to_owned(),
            action: "store.accept-loss".to_owned(),
            subject: fault.clone(),
        })
        .collect();
    backup::begin_epoch(place, db, &audit)
}

fn remove(db: &Connection, damaged: &Damaged) -> Result<(), Fault> {
    db.execute_batch("REINDEX")?;
    db.execute_batch("BEGIN IMMEDIATE")?;
    for seq in &damaged.deliveries {
        db.prepare_cached("DELETE FROM deliveries WHERE seq = ?1")?.execute([seq])?;
    }
    for seq in &damaged.events {
        db.prepare_cached("DELETE FROM events WHERE seq = ?1")?.execute([seq])?;
    }
    // A delivery whose event went has nothing left to deliver.
    let mut book = Book::load(db)?;
    for seq in sequences(db, "SELECT seq FROM deliveries")? {
        let Ok(Some(found)) = rows::delivery_at(db, seq, &book) else { continue };
        if damaged.events.contains(&found.event.sequence()) {
            db.prepare_cached("DELETE FROM deliveries WHERE seq = ?1")?.execute([seq])?;
        }
    }
    // An event that lost all its deliveries is left to retention, like one that never had any.
    for seq in sequences(db, "SELECT seq FROM events WHERE deliveries IS NOT NULL")? {
        let Ok(listed) = rows::deliveries_of(db, seq) else { continue };
        let mut there = db.prepare_cached("SELECT 1 FROM deliveries WHERE seq = ?1")?;
        let any = listed.iter().map(|delivery| there.exists([delivery])).find(|found| !matches!(found, Ok(false)));
        if any.transpose()?.is_none() {
            db.prepare_cached("UPDATE events SET deliveries = NULL WHERE seq = ?1")?.execute([seq])?;
        }
    }
    book.take_over(db)?;
    book.write(db, &super::book::Shelf::default())?;
    db.execute_batch("COMMIT")?;
    Ok(())
}

fn sequences(db: &Connection, query: &str) -> Result<Vec<i64>, Fault> {
    let mut statement = db.prepare(query)?;
    let found = statement.query_map([], |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
