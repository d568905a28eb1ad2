//! Pages of events and deliveries. Each page reads as many rows as it shows, whatever is stored; only a filter by source
//! looks at more, and gives up after [`SCAN_MAX`] rows with a cursor to go on from.

use std::sync::Arc;

use relay_core::{
    delivery::{Attempt, Delivery, State},
    id::{COUNTER_BITS, DeliveryId},
    name::Name,
    time::Wall,
};
use rusqlite::{CachedStatement, Connection, Params, params};

use super::{
    book::{Kind, Shelf},
    line::Line,
    named, of_source, rows,
    taken::Taken,
};
use crate::{
    record::{self, Names},
    seam::{DeliveryFilter, EventFilter, EventRow, Listing, Page, Range, WholeEvent, WholePage},
    sqlite::{
        fault::Fault,
        files::{damage::Damage, schema},
    },
};

/// Rows that one page looks at, most.
const SCAN_MAX: usize = 10_000;
/// Rows looked at in one go when most of them may not match.
const CHUNK: usize = 500;

const EVENTS: &str = "SELECT seq, seq FROM events WHERE seq < ?1 AND seq >= ?2 ORDER BY seq DESC LIMIT ?3";
const EVENTS_OLDEST: &str = "SELECT seq, seq FROM events WHERE seq < ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3";
const DELIVERIES: &str = "SELECT seq, seq FROM deliveries WHERE seq < ?1 AND seq >= ?2 ORDER BY seq DESC LIMIT ?3";
const BY_STATE: &str = "SELECT seq, seq FROM deliveries INDEXED BY by_state
    WHERE dest = ?4 AND state = ?5 AND line IS ?6 AND seq < ?1 AND seq >= ?2 ORDER BY seq DESC LIMIT ?3";
const BY_END: &str = "SELECT changed, seq FROM deliveries INDEXED BY by_end
    WHERE dest = ?4 AND state = ?5 AND state >= 40 AND (changed, seq) < (?1, ?6) AND changed >= ?2
    ORDER BY changed DESC, seq DESC LIMIT ?3";

/// Where a row stands in a listing: by `seq`, or by when it ended and then by `seq`.
type Place = (i64, i64);

/// A page of events, without their bodies.
pub(crate) fn events(
    db: &Connection,
    shelf: &Shelf,
    filter: &EventFilter,
    page: &Page,
) -> Result<Listing<EventRow>, Fault> {
    let found = found(db, shelf, filter, page)?;
    Ok(Listing { items: event_rows(db, shelf, found.seqs.into_iter())?, next: found.next.map(at) })
}

/// The same with their bodies, as far as those come to so many bytes.
pub(crate) fn whole(
    db: &Connection,
    shelf: &Shelf,
    filter: &EventFilter,
    page: &Page,
    bytes_max: u64,
) -> Result<WholePage, Fault> {
    let found = found(db, shelf, filter, page)?;
    let mut statement = rows::event_statement(db)?;
    let (mut items, mut bytes, mut passed) = (Vec::new(), 0, 0);
    for (place, seq) in found.seqs.iter().enumerate() {
        let event = rows::event_by(&mut statement, db, *seq, shelf);
        let Some(event) = rows::passing_over_damage(shelf.damage(), event)? else {
            passed += 1;
            continue;
        };
        bytes += event.body.len() as u64;
        items.push(WholeEvent { event: Arc::new(event), cursor: at(*seq) });
        if bytes >= bytes_max && place + 1 < found.seqs.len() {
            return Ok(WholePage { items, passed, next: Some(at(*seq)) });
        }
    }
    Ok(WholePage { items, passed, next: found.next.map(at) })
}

/// Where the events of a page stand, and behind which it goes on.
struct Found {
    seqs: Vec<i64>,
    next: Option<i64>,
}

fn found(db: &Connection, shelf: &Shelf, filter: &EventFilter, page: &Page) -> Result<Found, Fault> {
    let limit = page.limit.clamp(1, 1000) as usize;
    let (since, until) = sequences(filter.range);
    let from = position(page).map(|(at, _)| at);
    let (since, before) = if filter.oldest_first {
        (from.map_or(since, |at| since.max(at.saturating_add(1))), until)
    } else {
        (since, from.map_or(until, |at| at.min(until)))
    };
    if let Some(name) = &filter.name {
        let oldest_first = filter.oldest_first;
        let search = named::Search { name, range: (since, before), wanted: limit + 1, oldest_first };
        return events_named(db, shelf, filter, &search);
    }
    let wanted = (limit + 1) as i64;
    let sql = if filter.oldest_first { EVENTS_OLDEST } else { EVENTS };
    let places = match &filter.source {
        None => listed(&mut db.prepare_cached(sql)?, params![before, since, wanted])?,
        Some(source) => match shelf.number(Kind::Source, source) {
            None => Vec::new(),
            Some(number) => {
                let found = of_source::page(db, number, (since, before), limit + 1, filter.oldest_first)?;
                found.into_iter().map(|seq| (seq, seq)).collect()
            }
        },
    };
    let next = (places.len() > limit).then(|| places[limit - 1].1);
    Ok(Found { seqs: places.into_iter().take(limit).map(|(_, seq)| seq).collect(), next })
}

/// The same by name, of one source or of all, each of which is looked through by itself.
fn events_named(
    db: &Connection,
    shelf: &Shelf,
    filter: &EventFilter,
    search: &named::Search<'_>,
) -> Result<Found, Fault> {
    let limit = search.wanted - 1;
    let sources = match &filter.source {
        Some(source) => shelf.number(Kind::Source, source).into_iter().collect(),
        None => shelf.entries(Kind::Source).into_iter().map(|(number, _)| number).collect::<Vec<_>>(),
    };
    // What comes first in the order of the search is the smallest here.
    let rank = |seq: i64| if search.oldest_first { seq } else { !seq };
    let (mut ranks, mut looked_to): (Vec<i64>, Option<i64>) = (Vec::new(), None);
    for source in sources {
        let found = search.page(db, shelf, source)?;
        ranks.extend(found.seqs.into_iter().map(rank));
        looked_to = looked_to.into_iter().chain(found.looked_to.map(rank)).min();
    }
    ranks.sort_unstable();
    // Behind that not all sources were looked at.
    ranks.retain(|found| looked_to.is_none_or(|edge| *found <= edge));
    let end = if ranks.len() > limit { Some(ranks[limit - 1]) } else { looked_to };
    ranks.truncate(limit);
    Ok(Found { seqs: ranks.into_iter().map(rank).collect(), next: end.map(rank) })
}

/// The events that hold these dedupe keys of a source. One that does not read, of a key or of an event, is passed over.
pub(crate) fn by_key(db: &Connection, shelf: &Shelf, source: &Name, keys: &[[u8; 32]]) -> Result<Vec<EventRow>, Fault> {
    let Some(number) = shelf.number(Kind::Source, source) else { return Ok(Vec::new()) };
    let mut found: Vec<EventRow> = Vec::new();
    for key in keys {
        let taken = rows::passing_over_damage(shelf.damage(), taken(db, number, key))?;
        let Some(taken) = taken.filter(|taken| found.iter().all(|row| row.event.id != taken.event)) else { continue };
        let row = rows::passing_over_damage(shelf.damage(), event_row(db, shelf, taken.event.sequence()))?;
        // Another may stand in its place by now.
        found.extend(row.filter(|row| row.event.id == taken.event));
    }
    Ok(found)
}

fn taken(db: &Connection, source: u32, key: &[u8; 32]) -> Result<Option<Taken>, Fault> {
    let mut statement = db.prepare_cached("SELECT record FROM dedupe WHERE source = ?1 AND key = ?2")?;
    let mut rows = statement.query(params![source, &key[..]])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let read = Taken::decode(source, key, row.get_ref(0)?.as_blob().unwrap_or_default());
    read.map(Some).map_err(|error| Fault::record(&format_args!("a dedupe key of source {source}"), &error))
}

fn event_rows(db: &Connection, shelf: &Shelf, seqs: impl Iterator<Item = i64>) -> Result<Vec<EventRow>, Fault> {
    let mut items = Vec::new();
    for seq in seqs {
        items.extend(rows::passing_over_damage(shelf.damage(), event_row(db, shelf, seq))?);
    }
    Ok(items)
}

/// A page of deliveries, the newest first.
pub(crate) fn deliveries(
    db: &Connection,
    shelf: &Shelf,
    filter: &DeliveryFilter,
    page: &Page,
) -> Result<Listing<Delivery>, Fault> {
    let numbered = |kind, name| shelf.number(kind, name);
    let all: Vec<u32> = shelf.entries(Kind::Destination).into_iter().map(|(number, _)| number).collect();
    let destinations = match &filter.destination {
        None => all,
        Some(name) => numbered(Kind::Destination, name).into_iter().collect(),
    };
    let search = Search::new(filter, destinations, None, shelf.damage());
    search.page(db, shelf, position(page), page.limit.clamp(1, 1000) as usize)
}

/// The attempts of one delivery, oldest first, the latest included.
pub(crate) fn attempts(db: &Connection, shelf: &Shelf, id: DeliveryId) -> Result<Vec<Attempt>, Fault> {
    let Some(found) = rows::delivery_at(db, id.sequence(), shelf)?.filter(|found| found.id == id) else {
        return Ok(Vec::new());
    };
    let mut statement = db.prepare_cached("SELECT record FROM attempts WHERE delivery = ?1 ORDER BY version")?;
    let mut rows = statement.query([id.sequence()])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(0)?.as_blob().unwrap_or_default();
        let attempt = record::decode_attempt(bytes, id.sequence(), shelf.ciphers());
        attempts.push(attempt.map_err(|error| Fault::record(&format_args!("an attempt of {id}"), &error))?);
    }
    attempts.extend(found.last);
    Ok(attempts)
}

/// A filter on deliveries, made ready for the indexes.
pub(crate) struct Search<'a> {
    filter: &'a DeliveryFilter,
    damage: &'a Damage,
    destinations: Vec<u32>,
    /// Ranges of the index; empty: the whole table.
    codes: Vec<i64>,
    /// In the order in which they ended, because they are looked for by when they ended.
    by_end: bool,
    whole_table: bool,
}

impl<'a> Search<'a> {
    /// `only`: states that whoever asks can do something with.
    pub(crate) fn new(
        filter: &'a DeliveryFilter,
        destinations: Vec<u32>,
        only: Option<&[State]>,
        damage: &'a Damage,
    ) -> Self {
        let wanted = |state: &State| {
            (filter.states.is_empty() || filter.states.contains(state)) && only.is_none_or(|only| only.contains(state))
        };
        let codes = State::ALL.iter().filter(|state| wanted(state)).flat_map(|state| schema::codes(*state));
        let reason = |code: &i64| filter.reason.is_none_or(|reason| code % 10 == reason as i64);
        Self {
            filter,
            damage,
            destinations,
            codes: codes.filter(reason).collect(),
            by_end: filter.comes_by_end(),
            whole_table: filter.destination.is_none()
                && filter.states.is_empty()
                && filter.reason.is_none()
                && only.is_none(),
        }
    }

    /// Up to `limit` matching deliveries behind a position.
    pub(crate) fn page(
        &self,
        db: &Connection,
        names: &impl Names,
        from: Option<Place>,
        limit: usize,
    ) -> Result<Listing<Delivery>, Fault> {
        let chunk = if self.filter.source.is_some() { CHUNK } else { limit + 1 };
        let mut position = from;
        let mut items: Vec<Delivery> = Vec::new();
        let mut last_kept = from;
        let mut scanned = 0;
        loop {
            let places = self.places(db, position, chunk)?;
            let exhausted = places.len() < chunk;
            for place in places {
                position = Some(place);
                scanned += 1;
                let found = rows::passing_over_damage(self.damage, rows::delivery_at(db, place.1, names))?;
                let Some(found) = found.filter(|found| self.matches(found)) else { continue };
                if items.len() == limit {
                    return Ok(Listing { items, next: last_kept.map(cursor) });
                }
                items.push(found);
                last_kept = Some(place);
            }
            if exhausted {
                return Ok(Listing { items, next: None });
            }
            if scanned >= SCAN_MAX {
                return Ok(Listing { items, next: position.map(cursor) });
            }
        }
    }

    fn matches(&self, found: &Delivery) -> bool {
        let filter = self.filter;
        filter.source.as_ref().is_none_or(|source| found.source == *source)
            && filter.destination.as_ref().is_none_or(|destination| found.destination == *destination)
            && (self.whole_table || self.codes.contains(&schema::code_of(found)))
    }

    /// The next places in order, at most `wanted`.
    fn places(&self, db: &Connection, from: Option<Place>, wanted: usize) -> Result<Vec<Place>, Fault> {
        let wanted = wanted as i64;
        if let Some(event) = self.filter.event {
            let mut listed = rows::deliveries_of(db, event.sequence())?;
            listed.sort_unstable_by_key(|seq| std::cmp::Reverse(*seq));
            let (since, until) = sequences(self.filter.range);
            let before = from.map_or(until, |(at, _)| at.min(until));
            let behind = listed.into_iter().filter(|seq| (since..before).contains(seq));
            return Ok(behind.take(wanted as usize).map(|seq| (seq, seq)).collect());
        }
        if self.by_end {
            return self.places_by_end(db, from, wanted);
        }
        let (since, until) = sequences(self.filter.range);
        let before = from.map_or(until, |(at, _)| at.min(until));
        if self.whole_table {
            return listed(&mut db.prepare_cached(DELIVERIES)?, params![before, since, wanted]);
        }
        self.merged(db, wanted, |statement, destination, code| {
            let mut places = listed(statement, params![before, since, wanted, destination, code, None::<i64>])?;
            if code == schema::code(State::Ready, None) {
                for line in Line::all(db, destination)? {
                    places.extend(listed(statement, params![before, since, wanted, destination, code, line.ttl])?);
                }
            }
            Ok(places)
        })
    }

    fn places_by_end(&self, db: &Connection, from: Option<Place>, wanted: i64) -> Result<Vec<Place>, Fault> {
        let since = self.filter.range.since.map_or(i64::MIN, Wall::as_micros);
        let until = (self.filter.range.until.map_or(i64::MAX, Wall::as_micros), i64::MIN);
        let (at, seq) = from.map_or(until, |place| place.min(until));
        self.merged(db, wanted, |statement, destination, code| {
            listed(statement, params![at, since, wanted, destination, code, seq])
        })
    }

    /// Joins the ranges of all destinations and codes into one order.
    fn merged(
        &self,
        db: &Connection,
        wanted: i64,
        range: impl Fn(&mut CachedStatement<'_>, u32, i64) -> Result<Vec<Place>, Fault>,
    ) -> Result<Vec<Place>, Fault> {
        let mut statement = db.prepare_cached(if self.by_end { BY_END } else { BY_STATE })?;
        let mut places = Vec::new();
        for destination in &self.destinations {
            for code in &self.codes {
                places.extend(range(&mut statement, *destination, *code)?);
            }
        }
        places.sort_unstable_by_key(|place| std::cmp::Reverse(*place));
        places.truncate(wanted as usize);
        Ok(places)
    }
}

/// The text of a place, for the next page.
pub(crate) fn cursor((at, seq): Place) -> String {
    if at == seq { at.to_string() } else { format!("{at}.{seq}") }
}

fn at(seq: i64) -> String {
    cursor((seq, seq))
}

/// Reads a cursor. Text that no page gave out starts at the newest.
pub(crate) fn place(text: &str) -> Option<Place> {
    match text.split_once('.') {
        None => text.parse().ok().map(|at| (at, at)),
        Some((at, seq)) => Some((at.parse().ok()?, seq.parse().ok()?)),
    }
}

fn position(page: &Page) -> Option<Place> {
    page.cursor.as_deref().and_then(place)
}

pub(super) fn event_row(db: &Connection, shelf: &Shelf, seq: i64) -> Result<Option<EventRow>, Fault> {
    let Some((head, listed)) = rows::head_at(db, seq, shelf)? else { return Ok(None) };
    let mut deliveries = Vec::with_capacity(listed.len());
    for delivery in listed {
        deliveries.extend(rows::passing_over_damage(shelf.damage(), rows::delivery_at(db, delivery, shelf))?);
    }
    Ok(Some(EventRow { body_bytes: head.body_bytes, event: Arc::new(head.event), deliveries }))
}

/// A time range as sequences: from the first, before the second.
fn sequences(range: Range) -> Place {
    let first_of = |at: Wall| (at.as_micros().max(0).saturating_add(999) / 1000).saturating_mul(1 << COUNTER_BITS);
    (range.since.map_or(i64::MIN, first_of), range.until.map_or(i64::MAX, first_of))
}

fn listed(statement: &mut CachedStatement<'_>, params: impl Params) -> Result<Vec<Place>, Fault> {
    let found = statement.query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
