//! The book: names of sources and destinations by number, and the counters of each, kept in memory and written once a
//! commit.

use std::{
    collections::HashMap,
    num::NonZeroU8,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Instant,
};

use relay_core::{
    delivery::{Delivery, State, outcome::Class},
    name::Name,
    time::Wall,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    arrears::Arrears,
    event_names::{self, BySource, EventNames},
    line::{Lines, Walk},
    of_source,
};
use crate::{
    cipher::Ciphers,
    record::{
        Names, RecordError,
        seal::{Fields, Sealing},
    },
    seam::{DestinationStats, SourceStats, Stats},
    sqlite::{
        fault::Fault,
        files::{damage::Damage, meta::Meta},
    },
};

/// What a name is the name of. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i64)]
pub(crate) enum Kind {
    Source = 1,
    Destination = 2,
}

impl Kind {
    /// The kind behind a stored number.
    fn from_number(number: i64) -> Option<Self> {
        [Self::Source, Self::Destination].into_iter().find(|kind| *kind as i64 == number)
    }
}

/// Slots of [`Counters`] of a source.
const ACCEPTED: usize = 0;
const STORED: usize = 1;
const RETIRED_EVENTS: usize = 2;
const DUPLICATES: usize = 3;
/// Slots of [`Counters`] of a destination: created, one per state, retired, lost, one per class but the last, retried, and
/// one for the class that came last.
const CREATED: usize = 0;
const STATES: usize = 1;
const RETIRED: usize = 8;
const LOST: usize = 9;
const OUTCOMES: usize = 10;
const RETRIED: usize = 14;
const REFUSED: usize = 15;
/// What is behind the last one is for what later versions count; this one keeps it as it is.
const SLOTS: usize = 32;

/// All names with their counters.
const ROWS: &str = "SELECT id, kind, name, counters FROM names WHERE id > 0 ORDER BY id";
/// What the index of names has of a row.
const TWIN: &str = "SELECT name FROM names INDEXED BY sqlite_autoindex_names_1 WHERE id = ?1 ORDER BY kind, name";
/// So many names that are missing in a row are made up for.
const MISSING_MAX: u32 = 64;

/// Of the counters of a name.
const COUNTERS_VERSION: u8 = 1;

/// The counters of one name.
pub(crate) type Counters = [u64; SLOTS];

/// One name with its counters.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) name: Name,
    pub(crate) counters: Counters,
}

/// What readers see of the book: names at once, counters when committed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    entries: Arc<Mutex<Vec<Entry>>>,
    event_names: Arc<Mutex<Arc<BySource>>>,
    id_high: Arc<AtomicI64>,
    latest: Arc<AtomicI64>,
    has_marks: Arc<AtomicBool>,
    damage: Arc<Damage>,
    ciphers: Ciphers,
}

impl Shelf {
    /// An empty one, beside which this is known to be damaged, of what is sealed with these.
    pub(crate) fn beside(damage: Damage, ciphers: Ciphers) -> Self {
        Self { damage: Arc::new(damage), ciphers, ..Self::default() }
    }

    /// The keys, by their numbers.
    pub(crate) fn ciphers(&self) -> &Ciphers {
        &self.ciphers
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of events by number.
    pub(crate) fn event_names(&self) -> Arc<BySource> {
        Arc::clone(&self.event_names.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn show_event_names(&self, names: &EventNames) {
        *self.event_names.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(names.all().clone());
    }

    /// The name of events behind its number at a source.
    pub(crate) fn event_name(&self, source: u32, number: NonZeroU8) -> Option<Arc<str>> {
        event_names::name(&self.event_names.lock().unwrap_or_else(PoisonError::into_inner), source, number)
    }

    /// What was found damaged.
    pub(crate) fn damage(&self) -> &Damage {
        &self.damage
    }

    /// Does a read; of what only repeats something else, a fault is noted for the writer to mend.
    pub(crate) fn judged<T>(&self, read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        let began = Instant::now();
        read().map_err(|fault| self.damage.judged(fault, began))
    }

    /// Events and deliveries that are stored.
    pub(crate) fn rows(&self) -> u64 {
        let entries = self.lock();
        let stored = entries.iter().map(|entry| match entry.kind {
            Kind::Source => entry.counters[STORED],
            Kind::Destination => entry.counters[STATES..RETIRED].iter().sum(),
        });
        stored.sum()
    }

    /// To walk along the lines of a destination.
    pub(crate) fn walk<'a>(&'a self, db: &'a Connection) -> Walk<'a> {
        Walk { db, names: self, damage: &self.damage }
    }

    /// Highest id sequence ever stored.
    pub(crate) fn id_high(&self) -> i64 {
        self.id_high.load(Ordering::Relaxed)
    }

    /// Latest moment that any commit spoke of.
    pub(crate) fn latest(&self) -> Wall {
        Wall::from_micros(self.latest.load(Ordering::Relaxed))
    }

    /// Shows what a commit made of it.
    pub(crate) fn publish_meta(&self, meta: &Meta) {
        self.id_high.store(meta.id_high, Ordering::Relaxed);
        self.latest.store(meta.latest.as_micros(), Ordering::Relaxed);
        self.has_marks.store(meta.has_marks, Ordering::Relaxed);
    }

    /// Whether there are marks, or were.
    pub(crate) fn has_marks(&self) -> bool {
        self.has_marks.load(Ordering::Relaxed)
    }

    /// Shows what the snapshot of this connection has.
    pub(crate) fn read_anew(&self, db: &Connection) -> Result<(), Fault> {
        Book::load(db)?.publish_all(self);
        let meta = Meta::load(db)?.ok_or_else(|| Fault::Damaged("the meta row is missing".into()))?;
        self.publish_meta(&meta);
        Ok(())
    }

    /// The name behind a number.
    pub(crate) fn name(&self, number: u32) -> Option<Name> {
        self.lock().get(number.checked_sub(1)? as usize).map(|entry| entry.name.clone())
    }

    /// The number of a name.
    pub(crate) fn number(&self, kind: Kind, name: &Name) -> Option<u32> {
        self.lock().iter().position(|entry| entry.kind == kind && entry.name == *name).map(|index| index as u32 + 1)
    }

    /// All names of a kind with their numbers and counters.
    pub(crate) fn entries(&self, kind: Kind) -> Vec<(u32, Entry)> {
        let entries = self.lock();
        let numbered = entries.iter().enumerate().map(|(index, entry)| (index as u32 + 1, entry.clone()));
        numbered.filter(|(_, entry)| entry.kind == kind).collect()
    }
}

/// The writer's book. After a rollback it is [read](Self::load) anew.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: Vec<Entry>,
    /// Numbers of sources, then of destinations.
    numbers: [HashMap<Name, u32>; 2],
    /// Index of the entry asked for last, by kind: most often it is the next one too.
    recent: [u32; 2],
    dirty: Vec<bool>,
    /// Names of events.
    pub(crate) event_names: EventNames,
    /// Where what waits for its first lease stands.
    pub(crate) lines: Lines,
    /// How far retention is behind.
    pub(crate) arrears: Arrears,
    /// There are marks, or were.
    pub(crate) has_marks: bool,
    /// Where retention looks next for marks of days that are over.
    pub(crate) marks_looked_at: (u32, i64),
    /// Events ever accepted, over all sources.
    pub(crate) accepted: u64,
    /// The keys, by their numbers; not read from the database.
    pub(crate) ciphers: Ciphers,
}

impl Book {
    /// Reads it from the database.
    pub(crate) fn load(db: &Connection) -> Result<Self, Fault> {
        let mut book = Self { event_names: EventNames::load(db)?, ..Self::default() };
        let mut statement = db.prepare_cached(ROWS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (number, entry) = read(row)?;
            if number != book.next_number() {
                return Err(missing(book.next_number()));
            }
            book.enter(entry);
        }
        Ok(book)
    }

    /// Reads what there is of it, for a check: what does not read is named, and something stands in its place, so that all else
    /// can be read and counted again.
    pub(crate) fn load_leniently(db: &Connection, ciphers: &Ciphers) -> Result<(Self, Vec<Fault>), Fault> {
        let (event_names, mut faults) = EventNames::load_leniently(db)?;
        let mut book = Self { event_names, ciphers: ciphers.clone(), ..Self::default() };
        let mut statement = db.prepare(ROWS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let number: u32 = row.get(0)?;
            let entry = match read(row) {
                Ok((_, entry)) => entry,
                Err(fault @ Fault::Damaged(_)) => {
                    faults.push(fault);
                    book.in_place_of(db, row)?
                }
                Err(other) => return Err(other),
            };
            if number < book.next_number() || number - book.next_number() > MISSING_MAX {
                faults.push(Fault::Damaged(format!("name {number}: there are not so many").into()));
                continue;
            }
            while number > book.next_number() {
                faults.push(missing(book.next_number()));
                let missing = book.placeholder(kind_by_use(db, book.next_number())?);
                book.enter(missing);
            }
            book.enter(entry);
        }
        Ok((book, faults))
    }

    /// What stands for a row that does not read. The index of names has another copy of the name: that one is right which its
    /// counters were sealed with.
    fn in_place_of(&self, db: &Connection, row: &Row<'_>) -> Result<Entry, Fault> {
        let (number, kind): (u32, i64) = (row.get(0)?, row.get(1)?);
        let counters = row.get_ref(3)?.as_blob().unwrap_or_default();
        let twin: Option<String> = db.prepare_cached(TWIN)?.query_row([number], |row| row.get(0)).optional()?;
        let text = row.get_ref(2)?.as_str().ok().map(str::to_owned);
        for text in twin.into_iter().chain(text) {
            for kind in [Kind::Source, Kind::Destination] {
                if let Ok(entry) = entry(number, kind as i64, &text, counters) {
                    return Ok(entry);
                }
            }
        }
        let kind = Kind::from_number(kind).map_or_else(|| kind_by_use(db, number), Ok)?;
        let name = row.get_ref(2)?.as_str().ok().and_then(|text| text.parse().ok());
        let name = name.filter(|name| self.number(kind, name).is_none());
        Ok(name.map_or_else(|| self.placeholder(kind), |name| Entry { kind, name, counters: [0; SLOTS] }))
    }

    /// What stands for the next name where nobody knows it.
    fn placeholder(&self, kind: Kind) -> Entry {
        let names = (self.next_number()..).map(|number| format!("damaged-{number}"));
        let mut free = names.filter_map(|text| text.parse().ok()).filter(|name| self.number(kind, name).is_none());
        let name = free.next().expect("there are more numbers than names");
        Entry { kind, name, counters: [0; SLOTS] }
    }

    fn next_number(&self) -> u32 {
        self.entries.len() as u32 + 1
    }

    /// The same for somebody who only reads. What is damaged there is in the writer's memory: it writes it anew.
    pub(crate) fn load_noting(db: &Connection, shelf: &Shelf) -> Result<Self, Fault> {
        Self::load(db).inspect_err(|fault| {
            if matches!(fault, Fault::Damaged(_)) {
                shelf.damage.note_fault(fault);
                shelf.damage.want_names();
            }
        })
    }

    /// The same for the writer after a rollback: what is damaged there is taken from the shelf, as it was committed.
    pub(crate) fn load_beside(db: &Connection, shelf: &Shelf) -> Result<Self, Fault> {
        let ciphers = shelf.ciphers.clone();
        let fault = match Self::load_noting(db, shelf) {
            Err(fault @ Fault::Damaged(_)) => fault,
            other => return Ok(Self { ciphers, has_marks: shelf.has_marks(), ..other? }),
        };
        let committed: i64 = db.query_row("SELECT count(*) FROM names WHERE id > 0", [], |row| row.get(0))?;
        let shown = shelf.lock();
        if (shown.len() as i64) < committed {
            return Err(fault);
        }
        let mut book = Self { ciphers, has_marks: shelf.has_marks(), ..Self::default() };
        for entry in shown.iter().take(committed as usize) {
            book.enter(entry.clone());
        }
        drop(shown);
        book.event_names = EventNames::committed(db, &shelf.event_names())?;
        Ok(book)
    }

    /// Writes all of it anew, whatever is there now, also in the index of names; the store's own record stays.
    pub(crate) fn write_anew(&self, db: &Connection) -> Result<(), Fault> {
        let meta: Option<Vec<u8>> =
            db.query_row("SELECT counters FROM names WHERE id = 0", [], |row| row.get(0)).optional()?;
        // All at once: no row is looked for in the index.
        db.execute("DELETE FROM names", [])?;
        let mut statement =
            db.prepare_cached("INSERT INTO names (id, kind, name, counters) VALUES (?1, ?2, ?3, ?4)")?;
        if let Some(meta) = meta {
            statement.execute(params![0, 0, "", meta])?;
        }
        for (index, entry) in self.entries.iter().enumerate() {
            let number = index as u32 + 1;
            statement.execute(params![number, entry.kind as i64, entry.name.as_str(), encode(number, entry)])?;
        }
        self.event_names.write_anew(db)
    }

    fn enter(&mut self, entry: Entry) {
        if entry.kind == Kind::Source {
            self.accepted += entry.counters[ACCEPTED];
        }
        self.numbers[entry.kind as usize - 1].insert(entry.name.clone(), self.entries.len() as u32 + 1);
        self.entries.push(entry);
        self.dirty.push(false);
    }

    /// The number of a name, if it has one.
    pub(crate) fn number(&self, kind: Kind, name: &Name) -> Option<u32> {
        self.numbers[kind as usize - 1].get(name).copied()
    }

    /// The number of a name, given now if it has none.
    pub(crate) fn intern(&mut self, kind: Kind, name: &Name) -> u32 {
        let recent = self.recent[kind as usize - 1];
        if self.entries.get(recent as usize).is_some_and(|entry| entry.kind == kind && entry.name == *name) {
            return recent + 1;
        }
        if let Some(number) = self.number(kind, name) {
            self.recent[kind as usize - 1] = number - 1;
            return number;
        }
        self.entries.push(Entry { kind, name: name.clone(), counters: [0; SLOTS] });
        self.dirty.push(true);
        let number = self.entries.len() as u32;
        self.numbers[kind as usize - 1].insert(name.clone(), number);
        number
    }

    /// The name behind a number.
    pub(crate) fn name(&self, number: u32) -> Option<Name> {
        self.entries.get(number.checked_sub(1)? as usize).map(|entry| entry.name.clone())
    }

    /// The name of events behind its number at a source.
    pub(crate) fn event_name(&self, source: u32, number: NonZeroU8) -> Option<Arc<str>> {
        event_names::name(self.event_names.all(), source, number)
    }

    /// The numbers of all names of a kind.
    pub(crate) fn numbers(&self, kind: Kind) -> Vec<u32> {
        self.entries(kind).map(|(number, _)| number).collect()
    }

    /// All names of a kind with their numbers and counters.
    pub(crate) fn entries(&self, kind: Kind) -> impl Iterator<Item = (u32, &Entry)> {
        let numbered = self.entries.iter().enumerate().map(|(index, entry)| (index as u32 + 1, entry));
        numbered.filter(move |(_, entry)| entry.kind == kind)
    }

    /// Deliveries of a destination that are not over.
    pub(crate) fn open(&self, destination: u32) -> u64 {
        let open = State::ALL.into_iter().filter(|state| state.is_open());
        let counters = destination.checked_sub(1).and_then(|index| self.entries.get(index as usize));
        counters.map_or(0, |entry| open.map(|state| entry.counters[slot(state)]).sum())
    }

    /// Counts a stored event.
    pub(crate) fn stored(&mut self, source: u32) {
        self.accepted += 1;
        let counters = self.touch(source);
        counters[ACCEPTED] += 1;
        counters[STORED] += 1;
    }

    /// Counts a removed event.
    pub(crate) fn retired(&mut self, source: u32) {
        let counters = self.touch(source);
        counters[STORED] = counters[STORED].saturating_sub(1);
        counters[RETIRED_EVENTS] += 1;
    }

    /// Counts a repeat of a dedupe key.
    pub(crate) fn repeated(&mut self, source: u32) {
        self.touch(source)[DUPLICATES] += 1;
    }

    /// Counts a new delivery.
    pub(crate) fn created(&mut self, destination: u32, state: State) {
        self.arrears.on_stored(1);
        let counters = self.touch(destination);
        counters[CREATED] += 1;
        counters[slot(state)] += 1;
    }

    /// Counts a delivery that moved, and the try that moved it.
    pub(crate) fn moved(&mut self, destination: u32, before: &Delivery, next: &Delivery) {
        let counters = self.touch(destination);
        if before.state != next.state {
            counters[slot(before.state)] = counters[slot(before.state)].saturating_sub(1);
            counters[slot(next.state)] += 1;
        }
        if let Some(last) = &next.last
            && before.last.as_ref() != Some(last)
        {
            counters[outcome_slot(last.class)] += 1;
            counters[RETRIED] += u64::from(last.number > 1);
        }
    }

    /// Counts a removed delivery.
    pub(crate) fn removed(&mut self, destination: u32, state: State) {
        let counters = self.touch(destination);
        counters[slot(state)] = counters[slot(state)].saturating_sub(1);
        counters[RETIRED] += 1;
    }

    /// Sets what only counters know, to what they were where all of it came from.
    pub(crate) fn put_totals(&mut self, totals: &Stats) {
        for of in &totals.sources {
            let source = self.intern(Kind::Source, &of.source);
            let counters = self.touch(source);
            let before = std::mem::replace(&mut counters[ACCEPTED], of.accepted);
            (counters[RETIRED_EVENTS], counters[DUPLICATES]) = (of.retired, of.duplicates);
            self.accepted = self.accepted - before + of.accepted;
        }
        for of in &totals.destinations {
            let destination = self.intern(Kind::Destination, &of.destination);
            let counters = self.touch(destination);
            (counters[CREATED], counters[RETIRED], counters[LOST]) = (of.created, of.retired, of.lost);
            counters[RETRIED] = of.retried;
            for (class, count) in Class::ALL.into_iter().zip(of.outcomes) {
                counters[outcome_slot(class)] = count;
            }
        }
    }

    /// Takes the counters over from what is stored, after a loss was accepted: deliveries that are missing are lost.
    pub(crate) fn take_over(&mut self, db: &Connection) -> Result<(), Fault> {
        let events = of_source::count(db)?;
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let number = index as u32 + 1;
            let counters = &mut entry.counters;
            match entry.kind {
                Kind::Source => {
                    let of_this = events.iter().find(|(source, _)| *source == number);
                    counters[STORED] = of_this.map_or(0, |(_, count)| *count);
                    counters[ACCEPTED] = counters[ACCEPTED].max(counters[STORED]);
                    counters[RETIRED_EVENTS] = counters[ACCEPTED].saturating_sub(counters[STORED]);
                }
                Kind::Destination => {
                    for state in State::ALL {
                        let (from, below) = (state as i64 * 10, state as i64 * 10 + 10);
                        let count: i64 = db
                            .prepare_cached(
                                "SELECT count(*) FROM deliveries WHERE dest = ?1 AND state >= ?2 AND state < ?3",
                            )?
                            .query_row(params![number, from, below], |row| row.get(0))?;
                        counters[slot(state)] = count as u64;
                    }
                    let there: u64 = counters[STATES..RETIRED].iter().sum();
                    counters[CREATED] = counters[CREATED].max(there + counters[RETIRED]);
                    counters[LOST] = counters[CREATED] - (there + counters[RETIRED]);
                }
            }
            self.dirty[index] = true;
        }
        Ok(())
    }

    /// Writes what changed, inside the transaction, and shows new names to readers.
    pub(crate) fn write(&mut self, db: &Connection, shelf: &Shelf) -> Result<(), Fault> {
        let mut statement = db.prepare_cached(
            "INSERT INTO names (id, kind, name, counters) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET counters = excluded.counters",
        )?;
        for (index, entry) in self.entries.iter().enumerate().filter(|(index, _)| self.dirty[*index]) {
            let number = index as u32 + 1;
            let kind = entry.kind as i64;
            statement.execute(params![number, kind, entry.name.as_str(), encode(number, entry)])?;
        }
        if self.event_names.write(db)? {
            shelf.show_event_names(&self.event_names);
        }
        let mut shown = shelf.lock();
        let known = shown.len().min(self.entries.len());
        shown.extend_from_slice(&self.entries[known..]);
        Ok(())
    }

    /// Whether anything changed since the last commit.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.contains(&true)
    }

    /// Shows the counters to readers, after the commit.
    pub(crate) fn publish(&mut self, shelf: &Shelf) {
        let mut shown = shelf.lock();
        for (index, dirty) in self.dirty.iter_mut().enumerate().filter(|(_, dirty)| **dirty) {
            shown[index].counters = self.entries[index].counters;
            *dirty = false;
        }
    }

    /// Shows everything anew, after a load.
    pub(crate) fn publish_all(&self, shelf: &Shelf) {
        shelf.lock().clone_from(&self.entries);
        shelf.show_event_names(&self.event_names);
    }

    fn touch(&mut self, number: u32) -> &mut Counters {
        let index = number as usize - 1;
        self.dirty[index] = true;
        &mut self.entries[index].counters
    }
}

/// Reads a row of [`ROWS`].
fn read(row: &Row<'_>) -> Result<(u32, Entry), Fault> {
    let number = row.get(0)?;
    let text = row.get_ref(2)?.as_str().unwrap_or_default();
    Ok((number, entry(number, row.get(1)?, text, row.get_ref(3)?.as_blob().unwrap_or_default())?))
}

fn entry(number: u32, kind: i64, text: &str, counters: &[u8]) -> Result<Entry, Fault> {
    let kind = Kind::from_number(kind)
        .ok_or_else(|| Fault::record(&format_args!("name {number}"), &RecordError::Later("its kind is")))?;
    let name: Name = text.parse().map_err(|error| Fault::Damaged(format!("name {number}: {error}").into()))?;
    let counters = decode(number, kind, text, counters)?;
    Ok(Entry { kind, name, counters })
}

fn missing(number: u32) -> Fault {
    Fault::Damaged(format!("name {number}: the row is missing").into())
}

/// What a number must be of, by what it is used for.
fn kind_by_use(db: &Connection, number: u32) -> Result<Kind, Fault> {
    let is_source = db.prepare_cached("SELECT 1 FROM of_source WHERE source = ?1")?.exists([number])?;
    Ok(if is_source { Kind::Source } else { Kind::Destination })
}

impl Entry {
    /// As a source's counters.
    pub(crate) fn source_stats(&self) -> SourceStats {
        SourceStats {
            source: self.name.clone(),
            accepted: self.counters[ACCEPTED],
            stored: self.counters[STORED],
            retired: self.counters[RETIRED_EVENTS],
            duplicates: self.counters[DUPLICATES],
        }
    }

    /// Deliveries that a destination ever got.
    pub(crate) fn delivered(&self) -> u64 {
        self.counters[outcome_slot(Class::Delivered)]
    }

    /// As a destination's counters; the times are for the caller to fill in.
    pub(crate) fn destination_stats(&self) -> DestinationStats {
        let counters = &self.counters;
        DestinationStats {
            destination: self.name.clone(),
            created: counters[CREATED],
            states: std::array::from_fn(|index| counters[STATES + index]),
            retired: counters[RETIRED],
            lost: counters[LOST],
            outcomes: Class::ALL.map(|class| counters[outcome_slot(class)]),
            retried: counters[RETRIED],
            oldest_due: None,
            next_expiry: None,
        }
    }
}

const fn outcome_slot(class: Class) -> usize {
    match class {
        Class::Refused => REFUSED,
        Class::Delivered | Class::Rejected | Class::Busy | Class::Unreachable => OUTCOMES + class as usize - 1,
    }
}

const fn slot(state: State) -> usize {
    STATES + state as usize - 1
}

fn encode(number: u32, entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5 + SLOTS * 8);
    let mut record = Sealing::begin(COUNTERS_VERSION, &mut bytes)
        .about(&number.to_le_bytes())
        .about(&[entry.kind as u8])
        .about(entry.name.as_str().as_bytes());
    entry.counters.iter().for_each(|counter| record.u64(*counter));
    record.end();
    bytes
}

fn decode(number: u32, kind: Kind, name: &str, bytes: &[u8]) -> Result<Counters, Fault> {
    let about: [&[u8]; 3] = [&number.to_le_bytes(), &[kind as u8], name.as_bytes()];
    let words = Fields::open(COUNTERS_VERSION, &about, bytes).and_then(Fields::words);
    let counters = words.and_then(|words| {
        let words: &[[u8; 8]; SLOTS] = words.try_into().map_err(|_| RecordError::Field("length"))?;
        Ok(words.map(u64::from_le_bytes))
    });
    counters.map_err(|error| Fault::record(&format_args!("counters of name {number} ({name})"), &error))
}

impl Names for Book {
    fn name(&self, number: u32) -> Option<Name> {
        Self::name(self, number)
    }

    fn event_name(&self, source: u32, number: NonZeroU8) -> Option<Arc<str>> {
        Self::event_name(self, source, number)
    }

    fn ciphers(&self) -> &Ciphers {
        &self.ciphers
    }
}

impl Names for Shelf {
    fn name(&self, number: u32) -> Option<Name> {
        Self::name(self, number)
    }

    fn event_name(&self, source: u32, number: NonZeroU8) -> Option<Arc<str>> {
        Self::event_name(self, source, number)
    }

    fn ciphers(&self) -> &Ciphers {
        &self.ciphers
    }
}
