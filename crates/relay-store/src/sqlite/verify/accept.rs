//! Accepting a loss: what cannot be used goes, what only repeats something else is made anew, and a new epoch begins.

use std::collections::BTreeMap;

use relay_core::time::Wall;
use rusqlite::{Connection, params};

use super::{
    damaged::{Damaged, Vouched},
    epoch, gap, sealed,
};
use crate::{
    cipher::Ciphers,
    seam::{AuditEntry, Gap, Why},
    sqlite::{
        fault::Fault,
        files::{
            ledger::{self, Slot},
            meta::Meta,
            open::{self, OpenError, StoreDir},
            schema,
        },
        read::{
            book::{Book, Kind, Shelf},
            marks, named, of_source, rows, unrouted,
        },
        write::{columns, replay},
    },
};

/// A line of the audit log that is about the whole store.
pub(super) fn line_of_audit(who: &str, action: &str, subject: String, at: Wall) -> AuditEntry {
    AuditEntry { at, who: who.to_owned(), action: action.to_owned(), subject, origin: String::new() }
}

/// Removes what cannot be used, takes the counters from what is left, and begins a new epoch: all of it in one commit, so
/// that a loss is never accepted without being written down. Gives what is missing from now on, if events are.
pub(super) fn accept(
    place: &StoreDir,
    db: &mut Connection,
    ciphers: &Ciphers,
    damaged: &Damaged,
    faults: &[String],
    vouched: Vouched,
    at: Wall,
) -> Result<Option<Gap>, OpenError> {
    db.execute_batch("BEGIN IMMEDIATE").map_err(|error| place.damaged(error))?;
    let ledger = ledger::read(&place.ledger()).ok().flatten().map(|found| found.slot);
    let latest = match Meta::load(db).ok().flatten() {
        Some(meta) => meta.latest,
        None => recover_meta(db, ledger.as_ref()).map_err(|error| place.damaged(error))?,
    };
    // Before the indexes: that of names may have what its table has not.
    if damaged.book {
        let (book, _) = Book::load_leniently(db, ciphers).map_err(|error| place.damaged(error))?;
        book.write_anew(db).map_err(|error| place.damaged(error))?;
    }
    db.execute_batch("REINDEX").map_err(|error| place.damaged(error))?;
    let removed = remove(db, ciphers, damaged).map_err(|error| place.damaged(error))?;
    let forgotten = gap::remove_damaged(db).map_err(|error| place.damaged(error))?;
    let mut gap = gap_of(damaged, removed, vouched, latest, at);
    if forgotten {
        // What an earlier one said is gone: from now on nobody knows since when, and how much.
        gap = Some(Gap { why: Why::Accepted, since: Wall::MIN, until: at, commits: None, events: None });
    }
    let audit: Vec<AuditEntry> =
        faults.iter().map(|fault| line_of_audit("cli", "store.accept-loss", fault.clone(), at)).collect();
    // What the database has lost may have been given out: the ledger knows how far.
    let given_out = ledger.map_or(0, |slot| slot.id_high);
    let begun = epoch::begin_within(db, &audit, given_out, |db| gap.map(|gap| gap::add(db, &gap)).transpose());
    let (meta, accepted) = begun.map_err(|error| place.damaged(error))?;
    place.open_ledger(&Slot::of(&meta, accepted))?;
    Ok(gap)
}

/// What an accepted loss comes to. `removed`: events that the counters speak of and that are not there any more.
fn gap_of(damaged: &Damaged, removed: u64, vouched: Vouched, latest: Wall, at: Wall) -> Option<Gap> {
    let (commits, events) = match vouched {
        Vouched::Whole if removed == 0 => return None,
        Vouched::Whole => (Some(0), Some(removed)),
        Vouched::Lacks { commits, events } => (Some(commits), Some(events + removed)),
        Vouched::Unknown { commits } => (commits, None),
    };
    let oldest = damaged.events.first().map_or(latest, |seq| minted(*seq));
    // Rows that are gone without a trace may have been of any time.
    let since = if removed > damaged.events.len() as u64 { Wall::MIN } else { oldest.min(latest) };
    Some(Gap { why: Why::Accepted, since, until: at.max(since), commits, events })
}

/// Inside a transaction. Gives how many events the counters spoke of that are not there any more.
fn remove(db: &Connection, ciphers: &Ciphers, damaged: &Damaged) -> Result<u64, Fault> {
    for seq in &damaged.deliveries {
        db.prepare_cached("DELETE FROM deliveries WHERE seq = ?1")?.execute([seq])?;
    }
    for seq in &damaged.events {
        db.prepare_cached("DELETE FROM events WHERE seq = ?1")?.execute([seq])?;
    }
    for place in &damaged.attempts {
        db.prepare_cached("DELETE FROM attempts WHERE delivery = ?1 AND version = ?2")?.execute(*place)?;
    }
    for (source, key) in &damaged.keys {
        db.prepare_cached("DELETE FROM dedupe WHERE source = ?1 AND key = ?2")?.execute(params![source, key])?;
    }
    for (kind, name) in &damaged.documents {
        db.prepare_cached("DELETE FROM documents WHERE kind = ?1 AND name = ?2")?
            .execute(params![*kind as i64, name])?;
    }
    if damaged.leads {
        db.execute_batch("DELETE FROM marks")?;
    }
    for job in &damaged.marks {
        db.prepare_cached("DELETE FROM jobs WHERE job = ?1")?.execute(params![job])?;
    }
    for seq in &damaged.audit {
        db.prepare_cached("DELETE FROM audit WHERE seq = ?1")?.execute([seq])?;
    }
    let (mut book, _) = Book::load_leniently(db, ciphers)?;
    for seq in &damaged.columns {
        if let Some(found) = readable(rows::record_at(db, *seq, &book))? {
            columns::write(db, &book, &found)?;
        }
    }
    // Lines hold what is in order; the indexes of the backlog hold anything.
    db.execute_batch("UPDATE deliveries SET line = NULL WHERE line IS NOT NULL")?;
    remove_orphans_and_list(db, &book, damaged)?;
    // An event that lost all its deliveries is left to retention, like one that never had any.
    unrouted::rebuild(db)?;
    for place in &damaged.unlisted {
        db.prepare_cached("UPDATE events SET source = ?2 WHERE seq = ?1")?.execute(*place)?;
    }
    of_source::rebuild(db)?;
    named::rebuild(db)?;
    let stored =
        |book: &Book| -> u64 { book.entries(Kind::Source).map(|(_, entry)| entry.source_stats().stored).sum() };
    let before = stored(&book);
    book.take_over(db)?;
    book.write(db, &Shelf::default())?;
    Ok(before.saturating_sub(stored(&book)))
}

/// A delivery whose event went has nothing left to deliver. Where a list does not say which its event has, the deliveries do.
fn remove_orphans_and_list(db: &Connection, book: &Book, damaged: &Damaged) -> Result<(), Fault> {
    let mut there = db.prepare("SELECT 1 FROM events WHERE seq = ?1")?;
    let mut lists: BTreeMap<i64, Vec<(i64, bool)>> = BTreeMap::new();
    for event in damaged.lists.difference(&damaged.events) {
        if there.exists([event])? {
            lists.insert(*event, Vec::new());
        }
    }
    for seq in sequences(db, "SELECT seq FROM deliveries")? {
        let Some(found) = readable(rows::record_at(db, seq, book))? else { continue };
        let event = found.event.sequence();
        if let Some(listed) = lists.get_mut(&event) {
            listed.push((seq, found.replay));
        } else if damaged.events.contains(&event) || damaged.lists.contains(&event) {
            db.prepare_cached("DELETE FROM deliveries WHERE seq = ?1")?.execute([seq])?;
        }
    }
    lists.iter().try_for_each(|(event, deliveries)| list(db, *event, deliveries))
}

/// Makes the lists of an event anew: what reads of them stays, with those that are gone; the others are these.
fn list(db: &Connection, event: i64, deliveries: &[(i64, bool)]) -> Result<(), Fault> {
    let first = if let Some(first) = readable(rows::first_of(db, event).map(Some))? {
        first
    } else {
        let first: Vec<i64> = deliveries.iter().filter(|(_, replay)| !replay).map(|(seq, _)| *seq).collect();
        let list = rows::encode_sequences(event, first.iter().copied());
        db.prepare_cached("UPDATE events SET deliveries = ?2 WHERE seq = ?1")?.execute(params![event, list])?;
        first
    };
    let mut later = readable(rows::replays_of(db, event).map(Some))?.unwrap_or_default();
    let unlisted = deliveries.iter().map(|(seq, _)| *seq).filter(|seq| !first.contains(seq) && !later.contains(seq));
    let unlisted: Vec<i64> = unlisted.collect();
    later.extend(unlisted);
    if later.is_empty() {
        db.prepare_cached("DELETE FROM replays WHERE event = ?1")?.execute([event])?;
    } else {
        replay::put_list(db, event, &later)?;
    }
    Ok(())
}

/// Nothing of what is damaged, which has been told.
fn readable<T>(read: Result<Option<T>, Fault>) -> Result<Option<T>, Fault> {
    match read {
        Err(Fault::Damaged(_)) => Ok(None),
        other => other,
    }
}

/// Writes the store's own record anew where it does not read: of the ledger and of what is stored. Gives the latest moment that
/// is known of.
fn recover_meta(db: &Connection, ledger: Option<&Slot>) -> Result<Wall, Fault> {
    let highest =
        "SELECT max(coalesce((SELECT max(seq) FROM events), 0), coalesce((SELECT max(seq) FROM deliveries), 0))";
    let id_high: i64 = db.query_row(highest, [], |row| row.get(0))?;
    let (epoch, commit) = ledger.map_or_else(|| (open::new_epoch(), 0), |slot| (slot.epoch, slot.commit));
    let latest = minted(id_high);
    let (is_sealed, has_marks) = (!sealed::numbers(db)?.is_empty(), marks::are_any(db)?);
    Meta { commit, id_high, latest, is_sealed, has_marks, ..Meta::new(epoch) }.write(db)?;
    Ok(latest)
}

fn minted(seq: i64) -> Wall {
    Wall::from_micros((seq >> schema::SEQ_BITS).saturating_mul(1000))
}

fn sequences(db: &Connection, query: &str) -> Result<Vec<i64>, Fault> {
    let mut statement = db.prepare(query)?;
    let found = statement.query_map([], |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
