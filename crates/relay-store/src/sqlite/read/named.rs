//! How many events of each name a source had in each minute: what `named` holds. It leads a search by name past the minutes
//! without one, and a count past the events.
//!
//! **Invariant:** it says what [`of_source`] says: so many events of that minute have that code.

use std::{collections::BTreeMap, num::NonZeroU8};

use relay_core::{glob::Glob, name::Name, time::Wall};
use rusqlite::{Connection, params};

use super::{
    book::{Kind, Shelf},
    event_names::{self, BySource},
    of_source, rows,
};
use crate::{
    record::NAME_AS_TEXT,
    seam::{NameCount, NameCounts},
    sqlite::{fault::Fault, files::schema::SEQ_BITS},
};

const MILLIS_A_MINUTE: i64 = 60_000;
/// Rows that a count reads, the newest: a day of a source that uses all its numbers, months of one that has some.
const COUNTED_MAX: usize = 400_000;
/// Events that one page looks at, most.
const LOOKED_AT_MAX: usize = 10_000;
/// Minutes that one page passes over.
const MINUTES_MAX: usize = 200_000;

const ADD: &str = "INSERT INTO named (source, minute, name, events) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET events = events + excluded.events";
const TAKE: &str = "UPDATE named SET events = events - ?4 WHERE source = ?1 AND minute = ?2 AND name = ?3";
const EMPTY: &str = "DELETE FROM named WHERE source = ?1 AND minute = ?2 AND name = ?3 AND events <= 0";
const COUNTS: &str =
    "SELECT minute, name, events FROM named WHERE source = ?1 ORDER BY minute DESC, name DESC LIMIT ?2";
const NEWEST: &str =
    "SELECT minute, name FROM named WHERE source = ?1 AND minute <= ?2 AND minute >= ?3 ORDER BY minute DESC";
const OLDEST: &str =
    "SELECT minute, name FROM named WHERE source = ?1 AND minute <= ?2 AND minute >= ?3 ORDER BY minute";

/// A row: source, minute and code.
type Row = (u32, i64, u8);

/// Changes of a transaction that are still to be written.
#[derive(Debug, Default)]
pub(crate) struct Moves(BTreeMap<Row, i64>);

impl Moves {
    /// Counts so many more events, or fewer.
    pub(crate) fn count(&mut self, source: u32, seq: i64, code: u8, events: i64) {
        if code != 0 {
            *self.0.entry((source, minute_of(seq), code)).or_default() += events;
        }
    }

    /// Writes them, inside the transaction.
    pub(crate) fn write(self, db: &Connection) -> Result<(), Fault> {
        for ((source, minute, code), events) in self.0 {
            if events > 0 {
                db.prepare_cached(ADD)?.execute(params![source, minute, code, events])?;
            } else if events < 0 {
                db.prepare_cached(TAKE)?.execute(params![source, minute, code, -events])?;
                db.prepare_cached(EMPTY)?.execute(params![source, minute, code])?;
            }
        }
        Ok(())
    }
}

/// The minute in which an event was received.
fn minute_of(seq: i64) -> i64 {
    (seq >> SEQ_BITS) / MILLIS_A_MINUTE
}

/// How many events of a source have each name.
pub(crate) fn counts(db: &Connection, shelf: &Shelf, source: &Name) -> Result<NameCounts, Fault> {
    let Some(source) = shelf.number(Kind::Source, source) else { return Ok(NameCounts::default()) };
    let mut by_code: BTreeMap<u8, (u64, i64)> = BTreeMap::new();
    let mut statement = db.prepare_cached(COUNTS)?;
    let mut rows = statement.query(params![source, COUNTED_MAX as i64])?;
    let (mut read, mut since) = (0, None);
    while let Some(row) = rows.next()? {
        let (minute, code, events): (i64, u8, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        by_code.entry(code).or_insert((0, minute)).0 += events as u64;
        read += 1;
        since = Some(minute);
    }
    let names = shelf.event_names();
    let named = |(code, (events, last)): (u8, (u64, i64))| NameCount {
        name: NonZeroU8::new(code).and_then(|number| event_names::name(&names, source, number)),
        events,
        last: start_of(last),
    };
    let mut counts: Vec<NameCount> = by_code.into_iter().map(named).collect();
    counts.sort_by(|one, other| other.events.cmp(&one.events).then_with(|| one.name.cmp(&other.name)));
    // The last minute may have been read in part.
    let since = since.filter(|_| read >= COUNTED_MAX).map(|minute| start_of(minute + 1));
    Ok(NameCounts { names: counts, since })
}

fn start_of(minute: i64) -> Wall {
    Wall::from_micros(minute * MILLIS_A_MINUTE * 1000)
}

/// What a search by name found: events in the order of the search, and how far it looked if that was not to the end.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) seqs: Vec<i64>,
    /// All events up to this one, in the order of the search, were looked at.
    pub(crate) looked_to: Option<i64>,
}

/// A search for events by name.
pub(crate) struct Search<'a> {
    pub(crate) name: &'a Glob,
    /// From the first sequence on, and before the second.
    pub(crate) range: (i64, i64),
    pub(crate) wanted: usize,
    pub(crate) oldest_first: bool,
}

impl Search<'_> {
    /// Those of one source.
    pub(crate) fn page(&self, db: &Connection, shelf: &Shelf, source: u32) -> Result<Found, Fault> {
        let mut looking = Looking {
            search: self,
            source,
            codes: self.codes(&shelf.event_names(), source),
            looked: 0,
            found: Found::default(),
        };
        let (since, before) = self.range;
        if since >= before {
            return Ok(looking.found);
        }
        // What has no name is in no minute's count.
        if looking.codes[0] {
            looking.among(db, shelf, (since, before))?;
            return Ok(looking.found);
        }
        let (from, to) = (minute_of(since.max(0)), minute_of(before.max(0)));
        let mut statement = db.prepare_cached(if self.oldest_first { OLDEST } else { NEWEST })?;
        let mut rows = statement.query(params![source, to, from])?;
        let (mut last, mut minutes) = (None, 0);
        while let Some(row) = rows.next()? {
            let (minute, code): (i64, u8) = (row.get(0)?, row.get(1)?);
            minutes += 1;
            if minutes > MINUTES_MAX {
                looking.stop_before(minute);
                break;
            }
            if last == Some(minute) || !looking.codes[usize::from(code)] {
                continue;
            }
            last = Some(minute);
            let first = (minute * MILLIS_A_MINUTE) << SEQ_BITS;
            let behind = ((minute + 1) * MILLIS_A_MINUTE) << SEQ_BITS;
            if looking.among(db, shelf, (since.max(first), before.min(behind)))? {
                break;
            }
        }
        Ok(looking.found)
    }

    /// Which codes may stand for what is looked for.
    fn codes(&self, names: &BySource, source: u32) -> [bool; 256] {
        let mut codes = [false; 256];
        for (index, name) in names.get(&source).into_iter().flatten().enumerate() {
            codes[index + 1] = self.name.matches(name);
        }
        codes[0] = self.name.matches("");
        codes[usize::from(NAME_AS_TEXT)] = true;
        codes
    }
}

/// A search under way.
struct Looking<'a> {
    search: &'a Search<'a>,
    source: u32,
    codes: [bool; 256],
    looked: usize,
    found: Found,
}

impl Looking<'_> {
    /// Looks at the events of a range; whether that is enough for a page.
    fn among(&mut self, db: &Connection, shelf: &Shelf, range: (i64, i64)) -> Result<bool, Fault> {
        let oldest_first = self.search.oldest_first;
        of_source::walk(db, self.source, range, oldest_first, |seq, code| {
            if self.codes[usize::from(code)] && (code != NAME_AS_TEXT || self.has_text(db, shelf, seq)?) {
                self.found.seqs.push(seq);
            }
            self.looked += 1;
            if self.found.seqs.len() < self.search.wanted && self.looked < LOOKED_AT_MAX {
                return Ok(true);
            }
            self.found.looked_to = Some(seq);
            Ok(false)
        })
    }

    /// Whether the name that stands in an event's head is one that is looked for.
    fn has_text(&self, db: &Connection, shelf: &Shelf, seq: i64) -> Result<bool, Fault> {
        let head = rows::passing_over_damage(shelf.damage(), rows::head_at(db, seq, shelf))?;
        Ok(head.and_then(|(head, _)| head.event.name).is_some_and(|name| self.search.name.matches(&name)))
    }

    /// All before this minute, in the order of the search, was looked at.
    fn stop_before(&mut self, minute: i64) {
        let edge = if self.search.oldest_first { minute } else { minute + 1 };
        let first = (edge * MILLIS_A_MINUTE) << SEQ_BITS;
        self.found.looked_to = Some(if self.search.oldest_first { first - 1 } else { first });
    }
}

/// Whether it says what the events' own listing says; the first minute of which it does not.
pub(crate) fn differs(db: &Connection) -> Result<Option<(u32, i64)>, Fault> {
    let mut statement = db.prepare("SELECT source, minute, name, events FROM named ORDER BY source, minute, name")?;
    let mut rows = statement.query([])?;
    let mut next = || -> Result<Option<(Row, i64)>, Fault> {
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?)))
    };
    let mut unlike = None;
    of_source::by_span(db, MILLIS_A_MINUTE, |source, minute, counted| {
        for (code, events) in counted {
            if next()? != Some(((source, minute, *code), *events)) {
                unlike = Some((source, minute));
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    if unlike.is_none() {
        unlike = next()?.map(|((source, minute, _), _)| (source, minute));
    }
    Ok(unlike)
}

/// Makes all of it anew from the events' own listing.
pub(crate) fn rebuild(db: &Connection) -> Result<(), Fault> {
    db.execute_batch("DELETE FROM named")?;
    of_source::by_span(db, MILLIS_A_MINUTE, |source, minute, counted| {
        for (code, events) in counted {
            db.prepare_cached(ADD)?.execute(params![source, minute, code, events])?;
        }
        Ok(true)
    })
}
