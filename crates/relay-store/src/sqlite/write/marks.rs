//! Marks: rows put and removed, in short commits behind those of the events.

use relay_core::{
    id::EventId,
    limits,
    name::Name,
    storage::{Indexed, MarkedEvent, Marker, Marking},
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::transaction::Transaction;
use crate::sqlite::{
    fault::Fault,
    read::{
        book::Kind,
        marks::{self, BEHIND, REACH, Reached},
        rows,
    },
};

/// Days that one commit of retention looks at.
const DAYS_A_COMMIT: usize = 32;

const PUT: &str = "INSERT INTO marks (source, name, hash, seq) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
const TAKE: &str = "DELETE FROM marks WHERE source = ?1 AND name = ?2 AND hash = ?3 AND seq = ?4";
const TAKE_REACH: &str = "DELETE FROM marks WHERE source = ?1 AND name = 0 AND hash >= ?2 AND hash < ?3";
const TAKE_NAMES: &str = "DELETE FROM marks WHERE (source, name, hash, seq) IN
    (SELECT source, name, hash, seq FROM marks WHERE source = ?1 AND name >= ?2 AND name < ?3 LIMIT ?4)";
const OF_NAMES: &str = "SELECT name, hash, seq FROM marks WHERE source = ?1 AND name >= ?2 AND name < ?3 LIMIT ?4";
const OF_EVENT: &str = "SELECT seq FROM marks WHERE source = ?1 AND name = ?2 AND hash = ?3";
const NAME_FROM: &str = "SELECT name FROM marks WHERE source = ?1 AND name >= ?2 ORDER BY name LIMIT 1";
const NEXT: &str = "SELECT source, name FROM marks WHERE (source, name) >= (?1, ?2) ORDER BY source, name LIMIT 1";

/// Where a commit of retention goes on: a source, and the first name of a day.
pub(crate) type Looked = (u32, i64);

/// Writes rows of events that are there, and how far slots are behind them.
pub(crate) fn mark(tx: &mut Transaction<'_>, marking: &Marking) -> Result<(), Fault> {
    if marking.is_nothing() {
        return Ok(());
    }
    let source = tx.book.intern(Kind::Source, &marking.source);
    let open = reach(tx, source, &marking.reach)?;
    let mut rows = Vec::new();
    for event in &marking.events {
        if event.values.iter().any(|(slot, _)| open.contains(slot)) && is_there(tx, event.id)? {
            rows.extend(rows_of(tx, event, &open));
        }
    }
    rows.sort_unstable();
    let mut statement = tx.db.prepare_cached(PUT)?;
    for (name, hash, seq) in &rows {
        statement.execute(params![source, name, hash, seq])?;
    }
    drop(statement);
    if !rows.is_empty() || !open.is_empty() {
        tx.marks = true;
        tx.book.has_marks = true;
        tx.removed(rows.len() as i64);
    }
    Ok(())
}

/// Removes values of a slot; whether there are more.
pub(crate) fn unmark(tx: &mut Transaction<'_>, source: &Name, slot: u8) -> Result<bool, Fault> {
    let Some(source) = tx.book.number(Kind::Source, source) else { return Ok(false) };
    let Some(stands) = marks::reached(tx.db, source)?.into_iter().find(|reached| reached.marker.slot == slot) else {
        return Ok(false);
    };
    if stands.marker.definition != 0 {
        put_reach(tx.db, source, &Reached { marker: Marker { definition: 0, ..stands.marker }, ..stands })?;
    }
    tx.removed(i64::from(slot));
    // Of what stood clear, or under an older key.
    tx.reseals |= tx.book.ciphers.newest_number() != 0;
    let (mut left, mut from) = (limits::MARKS_A_COMMIT, REACH + 1);
    while let Some(name) = name_from(tx.db, source, from)? {
        let day = marks::day_of_name(name);
        let name = marks::name_of(day, slot);
        left -= take_pairs(tx.db, source, (name, name + 1), left)?;
        if left == 0 {
            return Ok(true);
        }
        from = marks::behind(day);
    }
    take_reach(tx.db, source, slot)?;
    Ok(false)
}

/// Removes the rows of an event.
pub(crate) fn unmark_event(tx: &mut Transaction<'_>, source: u32, id: EventId) -> Result<(), Fault> {
    let seq = id.sequence();
    let day = marks::day_of(seq);
    // Mostly there are none of that day.
    if name_from(tx.db, source, marks::name_of(day, 0))?.is_none_or(|name| marks::day_of_name(name) != day) {
        return Ok(());
    }
    for slot in 0..BEHIND as u8 {
        let name = marks::name_of(day, slot);
        let hashes = {
            let mut statement = tx.db.prepare_cached(OF_EVENT)?;
            let hashes = statement.query_map(params![source, name | BEHIND, seq], |row| row.get(0))?;
            hashes.collect::<rusqlite::Result<Vec<i64>>>()?
        };
        let mut take = tx.db.prepare_cached(TAKE)?;
        for hash in hashes {
            take.execute(params![source, name, hash, seq])?;
            take.execute(params![source, name | BEHIND, seq, hash])?;
        }
    }
    Ok(())
}

/// Removes rows of days of which their source has no event any more; whether there are more of such a day. It looks at a few days, behind
/// those that it looked at before.
pub(crate) fn forget_days(tx: &mut Transaction<'_>, limit: usize) -> Result<bool, Fault> {
    if !tx.book.has_marks {
        return Ok(false);
    }
    for _ in 0..DAYS_A_COMMIT {
        let (source, name) = tx.book.marks_looked_at;
        let next: Option<Looked> = tx
            .db
            .prepare_cached(NEXT)?
            .query_row([i64::from(source), name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((source, name)) = next else {
            tx.book.marks_looked_at = (0, 0);
            return Ok(false);
        };
        let day = marks::day_of_name(name);
        let end = if name == REACH { REACH + 1 } else { marks::behind(day) };
        if name != REACH && !marks::has_events(tx.db, source, day)? {
            let first = marks::name_of(day, 0);
            let taken = take_pairs(tx.db, source, (first, first + BEHIND), limit)?;
            tx.removed(taken as i64);
            if taken >= limit {
                return Ok(true);
            }
        }
        tx.book.marks_looked_at = (source, end);
    }
    Ok(false)
}

/// Removes values of these names, from the first and before the second, each with the row that leads the other way, so that at no time one stands
/// without the other; then what stands alone. Gives how many, `limit` at most.
fn take_pairs(db: &Connection, source: u32, (first, behind): (i64, i64), limit: usize) -> Result<usize, Fault> {
    let pairs = {
        let mut statement = db.prepare_cached(OF_NAMES)?;
        let pairs = statement.query_map(params![source, first + BEHIND, behind + BEHIND, limit as i64], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })?;
        pairs.collect::<rusqlite::Result<Vec<_>>>()?
    };
    let mut take = db.prepare_cached(TAKE)?;
    for (name, event, hash) in &pairs {
        take.execute(params![source, name, event, hash])?;
        take.execute(params![source, name ^ BEHIND, hash, event])?;
    }
    let left = (limit - pairs.len()) as i64;
    let alone = db.prepare_cached(TAKE_NAMES)?.execute(params![source, first, behind, left])?;
    Ok(pairs.len() + alone)
}

/// Writes how far slots are; gives those that have that definition.
fn reach(tx: &mut Transaction<'_>, source: u32, reach: &[Indexed]) -> Result<Vec<u8>, Fault> {
    let stands = marks::reached(tx.db, source)?;
    let mut open = Vec::with_capacity(reach.len());
    for Indexed { marker, from, to, .. } in reach {
        let stood = stands.iter().find(|reached| reached.marker.slot == marker.slot);
        let next = Reached { marker: *marker, from: *from, to: *to };
        let next = match stood {
            None => next,
            Some(stood) if stood.marker == *marker => {
                Reached { from: stood.from.min(*from), to: stood.to.max(*to), ..next }
            }
            Some(_) => continue,
        };
        if stood != Some(&next) {
            put_reach(tx.db, source, &next)?;
        }
        // The next run's clock begins behind it: no id is minted where marks have gone past.
        tx.latest = tx.latest.max(next.to);
        open.push(marker.slot);
    }
    Ok(open)
}

fn put_reach(db: &Connection, source: u32, reached: &Reached) -> Result<(), Fault> {
    take_reach(db, source, reached.marker.slot)?;
    let mut statement = db.prepare_cached(PUT)?;
    for (hash, seq) in reached.rows() {
        statement.execute(params![source, REACH, hash, seq])?;
    }
    Ok(())
}

fn take_reach(db: &Connection, source: u32, slot: u8) -> Result<(), Fault> {
    let (first, behind) = Reached::hashes(slot);
    db.prepare_cached(TAKE_REACH)?.execute(params![source, first, behind])?;
    Ok(())
}

/// Whether an event is there, and not erased. One that does not read is not.
fn is_there(tx: &Transaction<'_>, id: EventId) -> Result<bool, Fault> {
    let head = rows::passing_over_damage(tx.damage, rows::head_at(tx.db, id.sequence(), tx.book))?;
    Ok(head.is_some_and(|(head, _)| head.event.id == id && !head.event.is_erased()))
}

/// Both rows of each value in one of these slots, as name, hash and sequence.
fn rows_of<'a>(
    tx: &'a Transaction<'_>,
    event: &'a MarkedEvent,
    open: &'a [u8],
) -> impl Iterator<Item = (i64, i64, i64)> + 'a {
    let seq = event.id.sequence();
    let day = marks::day_of(seq);
    event.values.iter().filter(|(slot, _)| open.contains(slot)).flat_map(move |(slot, value)| {
        let (name, hash) = (marks::name_of(day, *slot), marks::hash_of(&tx.book.ciphers, value));
        [(name, hash, seq), (name | BEHIND, seq, hash)]
    })
}

fn name_from(db: &Connection, source: u32, name: i64) -> Result<Option<i64>, Fault> {
    Ok(db.prepare_cached(NAME_FROM)?.query_row(params![source, name], |row| row.get(0)).optional()?)
}
