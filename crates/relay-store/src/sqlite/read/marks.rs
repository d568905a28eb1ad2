//! Marks: rows of `marks` that lead from a value to the events that have it, and from an event to its values.
//!
//! `name` is the day of the event, by its id, and in the lower bits a slot. There `hash` and `seq` are those of a value and of an event; with
//! [`BEHIND`] set the other way round, so that an event's rows are found without its body. Rows of name 0 say how far each slot is.

use relay_core::{
    limits,
    storage::{Indexed, MarkedAsk, MarkedPage, Marker},
    time::Wall,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    book::{Kind, Shelf},
    browse, rows,
};
use crate::{
    cipher::Ciphers,
    sqlite::{fault::Fault, files::schema::SEQ_BITS},
};

/// Bits of a name below the day.
pub(crate) const SLOT_BITS: u32 = 5;
/// Of a name whose rows lead from events to values.
pub(crate) const BEHIND: i64 = 1 << (SLOT_BITS - 1);
/// The name of rows that say how far slots are: no event has it, for it is that of no slot.
pub(crate) const REACH: i64 = 0;
/// Rows of [`REACH`] that a slot has room for, by the lower bits of their hash.
const REACH_BITS: u32 = 2;

const MILLIS_A_DAY: i64 = 24 * 60 * 60 * 1000;

const ANY: &str = "SELECT 1 FROM marks WHERE source >= 0";
const EVERY: &str = "SELECT source, name, hash, seq FROM marks WHERE source >= 0";
const REACHES: &str = "SELECT hash, seq FROM marks WHERE source = ?1 AND name = 0 ORDER BY hash, seq";
const DAY_BEFORE: &str = "SELECT name FROM marks WHERE source = ?1 AND name < ?2 ORDER BY name DESC LIMIT 1";
const OF_VALUE: &str =
    "SELECT seq FROM marks WHERE source = ?1 AND name = ?2 AND hash = ?3 AND seq < ?4 ORDER BY seq DESC LIMIT ?5";
const OF_DAY: &str = "SELECT 1 FROM of_source WHERE source = ?1 AND ms >= ?2 AND ms < ?3";

/// Parts of what is said of a slot.
const DEFINITION: i64 = 0;
const FROM: i64 = 1;
const TO: i64 = 2;

/// Whether there are rows at all.
pub(crate) fn are_any(db: &Connection) -> Result<bool, Fault> {
    Ok(db.prepare_cached(ANY)?.exists([])?)
}

/// The day of an event, by its sequence.
pub(crate) const fn day_of(seq: i64) -> i64 {
    (seq >> SEQ_BITS) / MILLIS_A_DAY
}

/// The day of a row.
pub(crate) const fn day_of_name(name: i64) -> i64 {
    name >> SLOT_BITS
}

/// The name of rows of a day's values in a slot.
pub(crate) const fn name_of(day: i64, slot: u8) -> i64 {
    day << SLOT_BITS | slot as i64
}

/// The name behind all those of a day.
pub(crate) const fn behind(day: i64) -> i64 {
    (day + 1) << SLOT_BITS
}

/// Whether a source has events of a day.
pub(crate) fn has_events(db: &Connection, source: u32, day: i64) -> Result<bool, Fault> {
    Ok(db.prepare_cached(OF_DAY)?.exists(params![source, day * MILLIS_A_DAY, (day + 1) * MILLIS_A_DAY])?)
}

/// What stands for a value: of a sealed store nobody makes it without its key.
pub(crate) fn hash_of(ciphers: &Ciphers, value: &[u8; 32]) -> i64 {
    let number = ciphers.newest().map_or_else(
        || u128::from_be_bytes(*value.first_chunk().expect("a digest is longer")),
        |cipher| cipher.number_for(value),
    );
    (number >> 64) as i64
}

/// How far one slot is; the definition 0: it is being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) marker: Marker,
    pub(crate) from: Wall,
    pub(crate) to: Wall,
}

impl Reached {
    /// The rows that say so, as hash and sequence.
    pub(crate) fn rows(&self) -> [(i64, i64); 3] {
        let Self { marker, from, to } = *self;
        let place = i64::from(marker.slot) << REACH_BITS;
        [
            (place | DEFINITION, marker.definition.cast_signed()),
            (place | FROM, from.as_micros()),
            (place | TO, to.as_micros()),
        ]
    }

    /// The first hash of a slot's rows, and that behind the last.
    pub(crate) const fn hashes(slot: u8) -> (i64, i64) {
        ((slot as i64) << REACH_BITS, (slot as i64 + 1) << REACH_BITS)
    }
}

/// How far the slots of a source are. Of one whose rows do not say so nothing is believed: it is to be removed.
pub(crate) fn reached(db: &Connection, source: u32) -> Result<Vec<Reached>, Fault> {
    let rows: Vec<(i64, i64)> = {
        let mut statement = db.prepare_cached(REACHES)?;
        let rows = statement.query_map([source], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let of_slot = |slot: &[(i64, i64)]| {
        let number = u8::try_from(slot[0].0 >> REACH_BITS).ok()?;
        let parts: Vec<i64> = slot.iter().map(|(hash, _)| hash & ((1 << REACH_BITS) - 1)).collect();
        let nothing = Reached { marker: Marker { slot: number, definition: 0 }, from: Wall::MIN, to: Wall::MIN };
        if parts != [DEFINITION, FROM, TO] {
            return Some(nothing);
        }
        let marker = Marker { slot: number, definition: slot[0].1.cast_unsigned() };
        Some(Reached { marker, from: Wall::from_micros(slot[1].1), to: Wall::from_micros(slot[2].1) })
    };
    Ok(rows.chunk_by(|one, next| one.0 >> REACH_BITS == next.0 >> REACH_BITS).filter_map(of_slot).collect())
}

/// Rows that lead nowhere, and would not for anybody: without the one that leads the other way, of another day than their event's, in no slot.
pub(crate) fn stray(db: &Connection) -> Result<u64, Fault> {
    let mut twin = db.prepare("SELECT 1 FROM marks WHERE source = ?1 AND name = ?2 AND hash = ?3 AND seq = ?4")?;
    let mut statement = db.prepare(EVERY)?;
    let mut rows = statement.query([])?;
    let mut stray = 0;
    while let Some(row) = rows.next()? {
        let (source, name, hash, seq): (i64, i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let event = if name & BEHIND == 0 { seq } else { hash };
        let is_slot = (1..=limits::MARKS_MAX as i64).contains(&(name & (BEHIND - 1)));
        let leads = is_slot && day_of(event) == day_of_name(name);
        if name != REACH && !(leads && twin.exists(params![source, name ^ BEHIND, seq, hash])?) {
            stray += 1;
        }
    }
    Ok(stray)
}

/// How far the slots of all sources are.
pub(crate) fn indexed(db: &Connection, shelf: &Shelf) -> Result<Vec<Indexed>, Fault> {
    let mut all = Vec::new();
    if !are_any(db)? {
        return Ok(all);
    }
    for (number, entry) in shelf.entries(Kind::Source) {
        let of_source = reached(db, number)?.into_iter();
        all.extend(of_source.map(|Reached { marker, from, to }| Indexed {
            source: entry.name.clone(),
            marker,
            from,
            to,
        }));
    }
    Ok(all)
}

/// A page of the events that may have a value.
pub(crate) fn page(db: &Connection, shelf: &Shelf, ask: &MarkedAsk) -> Result<MarkedPage, Fault> {
    let Some(source) = shelf.number(Kind::Source, &ask.source) else { return Ok(MarkedPage::default()) };
    let reached = reached(db, source)?.into_iter().find(|reached| reached.marker == ask.marker);
    let Some(Reached { marker, from, to }) = reached else { return Ok(MarkedPage::default()) };
    let limit = ask.page.limit.clamp(1, 1000) as usize;
    let before = ask.page.cursor.as_deref().and_then(|cursor| cursor.parse().ok()).unwrap_or(i64::MAX);
    let search = Search { source, slot: marker.slot, hash: hash_of(shelf.ciphers(), &ask.value) };
    let mut seqs = search.newest(db, before, limit + 1)?;
    let next = (seqs.len() > limit).then(|| seqs[limit - 1].to_string());
    seqs.truncate(limit);
    let mut items = Vec::with_capacity(seqs.len());
    for seq in seqs {
        let row = rows::passing_over_damage(shelf.damage(), browse::event_row(db, shelf, seq))?;
        items.extend(row.filter(|row| row.event.source == ask.source && !row.event.is_erased()));
    }
    let indexed = Some(Indexed { source: ask.source.clone(), marker, from, to });
    Ok(MarkedPage { indexed, items, next })
}

/// Where events of one value are listed.
struct Search {
    source: u32,
    slot: u8,
    hash: i64,
}

impl Search {
    /// The newest before that one, day by day: a seek for the day, and one for the value.
    fn newest(&self, db: &Connection, before: i64, wanted: usize) -> Result<Vec<i64>, Fault> {
        let mut found = Vec::new();
        let mut name = behind(day_of(before.max(0)));
        let mut statement = db.prepare_cached(OF_VALUE)?;
        while let Some(day) = day_before(db, self.source, name)? {
            let left = (wanted - found.len()) as i64;
            let rows = statement
                .query_map(params![self.source, name_of(day, self.slot), self.hash, before, left], |row| row.get(0))?;
            for seq in rows {
                found.push(seq?);
            }
            if found.len() >= wanted {
                break;
            }
            name = day << SLOT_BITS;
        }
        Ok(found)
    }
}

/// The latest day with rows whose names are before that one.
fn day_before(db: &Connection, source: u32, name: i64) -> Result<Option<i64>, Fault> {
    let found: Option<i64> =
        db.prepare_cached(DAY_BEFORE)?.query_row(params![source, name], |row| row.get(0)).optional()?;
    Ok(found.filter(|name| *name > REACH).map(day_of_name))
}
