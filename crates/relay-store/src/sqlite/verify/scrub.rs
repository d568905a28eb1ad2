//! The scrub: reads every record again and again, slowly, so that damage is found before somebody needs the record.

use std::{
    cell::Cell,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};

use super::{
    bookmark::{Bookmark, Reached, ScrubPart},
    check, gap, indexes,
    pace::Pace,
};
use crate::{
    record::{self, Head},
    sqlite::{
        fault::Fault,
        files::open,
        read::{
            audit,
            book::{Book, Kind, Shelf},
            documents, event_names, of_source,
            reader::at_one_snapshot,
            rows,
            taken::Taken,
            unrouted,
        },
        status::Status,
        write::step as marks,
    },
};

/// Records of one step: a short read, so that checkpoints are never held up for long.
const STEP_ROWS: usize = 2_000;
/// A step that meets large bodies ends after this long.
const STEP_TIME: Duration = Duration::from_millis(20);
/// A scrub that found no connection tries again.
const OPEN_AGAIN: Duration = Duration::from_mins(1);
/// Between two passes.
const PASS_EVERY: Duration = Duration::from_hours(1);

/// The thread of the scrub.
pub(crate) struct Scrub {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Stop {
    asked: Mutex<bool>,
    wake: Condvar,
}

impl Stop {
    /// Rests; `true` when the store closes.
    fn rest(&self, span: Duration) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *self.wake.wait_timeout_while(asked, span, |asked| !*asked).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Scrub {
    /// Starts a pass `after` a rest.
    pub(crate) fn start(dir: PathBuf, shelf: Shelf, status: Arc<Status>, after: Duration) -> std::io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let seen = Arc::clone(&stop);
        let thread = thread::Builder::new().name("store-scrub".into()).spawn(move || {
            status.guard("the scrub", || {
                if let Err(fault) = begin(&dir, &shelf, &seen, after) {
                    status.fail(&format!("scrub: {fault:?}"));
                }
            });
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Asks it to end.
    pub(crate) fn stop(&self) {
        *self.stop.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.wake.notify_one();
    }
}

impl Drop for Scrub {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; there is nothing left to save.
            drop(thread.join());
        }
    }
}

/// Passes until the store closes, as soon as there is a connection.
fn begin(dir: &Path, shelf: &Shelf, stop: &Stop, mut after: Duration) -> Result<(), Fault> {
    loop {
        match open::connect_reader(dir).and_then(|db| run(&db, dir, shelf, stop, after)) {
            // It is no fault of what is stored: later there may be a descriptor again.
            Err(Fault::NotOpened(reason)) if !stop.rest(OPEN_AGAIN) => {
                tracing::debug!(reason, "the scrub could not begin");
                after = Duration::ZERO;
            }
            Err(Fault::NotOpened(_)) => return Ok(()),
            ended => return ended,
        }
    }
}

fn run(db: &Connection, dir: &Path, shelf: &Shelf, stop: &Stop, mut rest: Duration) -> Result<(), Fault> {
    let (mut bookmark, mut reached) = Bookmark::kept_in(dir);
    // What an earlier run found in the first part of a pass, this one has not seen: it cannot tell what is gone.
    let mut is_whole = false;
    let mut pace = Pace::default();
    while !stop.rest(rest) {
        let began = Instant::now();
        if reached == Reached::default() {
            shelf.damage().pass_begins();
            (is_whole, pace) = (true, Pace::default());
        }
        let rows = Cell::new(0);
        let next = match shelf.judged(|| at_one_snapshot(db, |db| step(db, shelf, &reached, &rows))) {
            // It is mended by then.
            Err(fault @ Fault::Damaged(_)) => {
                shelf.damage().pass(fault)?;
                Some(reached.clone())
            }
            other => other?,
        };
        rest = pace.rest(rows.get(), began.elapsed(), shelf.rows());
        reached = next.unwrap_or_else(|| {
            if is_whole {
                shelf.damage().pass_ended();
            }
            rest = rest.max(PASS_EVERY);
            Reached::default()
        });
        bookmark.keep(&reached);
    }
    bookmark.keep_now(&reached);
    Ok(())
}

/// Reads the next records; gives where to go on, `None` at the end.
#[cfg(test)]
pub(crate) fn read(db: &Connection, shelf: &Shelf, from: &Reached) -> Result<Option<Reached>, Fault> {
    step(db, shelf, from, &Cell::new(0))
}

/// Reads the next records, and counts them; gives where to go on, `None` at the end.
fn step(db: &Connection, shelf: &Shelf, from: &Reached, rows: &Cell<u64>) -> Result<Option<Reached>, Fault> {
    let counted = |read| {
        rows.set(rows.get() + 1);
        read
    };
    match from.part {
        ScrubPart::Events => {
            let read = |seq| counted(event(db, shelf, seq));
            let last = walk(db, "SELECT seq FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2", from.seq, read)?;
            Ok(Some(behind(last, ScrubPart::Events, ScrubPart::Deliveries)))
        }
        ScrubPart::Deliveries => {
            let read = |seq| counted(delivery(db, shelf, seq));
            let last = walk(db, "SELECT seq FROM deliveries WHERE seq > ?1 ORDER BY seq LIMIT ?2", from.seq, read)?;
            Ok(Some(behind(last, ScrubPart::Deliveries, ScrubPart::Keys)))
        }
        ScrubPart::Keys => keys(db, shelf, from),
        ScrubPart::Audit => {
            let read = |seq| note(shelf, audit::at(db, seq)).map(drop);
            let last = walk(db, "SELECT seq FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2", from.seq, read)?;
            Ok(Some(behind(last, ScrubPart::Audit, ScrubPart::Few)))
        }
        ScrubPart::Few => {
            for key in documents::keys(db)? {
                note(shelf, documents::one(db, &key, shelf.ciphers()))?;
            }
            for (_, mark) in marks::all(db)? {
                note(shelf, mark)?;
            }
            note(shelf, gap::all(db))?;
            note(shelf, Book::load_noting(db, shelf))?;
            Ok(None)
        }
    }
}

/// Behind the last row read; at the end of a part, before the first of the next.
fn behind(last: Option<i64>, part: ScrubPart, next: ScrubPart) -> Reached {
    match last {
        Some(seq) => Reached { part, seq, ..Reached::default() },
        None => Reached { part: next, seq: i64::MIN, ..Reached::default() },
    }
}

/// Reads rows until the step is over; gives the last one, `None` if there are no more.
fn walk(
    db: &Connection,
    query: &str,
    from: i64,
    read: impl Fn(i64) -> Result<(), Fault>,
) -> Result<Option<i64>, Fault> {
    let began = Instant::now();
    let mut statement = db.prepare_cached(query)?;
    let mut rows = statement.query(params![from, STEP_ROWS as i64])?;
    let mut last = None;
    while began.elapsed() < STEP_TIME
        && let Some(row) = rows.next()?
    {
        let seq = row.get(0)?;
        read(seq)?;
        last = Some(seq);
    }
    Ok(last)
}

fn event(db: &Connection, shelf: &Shelf, seq: i64) -> Result<(), Fault> {
    let read = note(shelf, rows::event_at(db, seq, shelf))?.flatten();
    if let Some(event) = read {
        if !Head::holds_digest(&event) {
            shelf.damage().note(&rows::body_without_digest(event.id));
        }
        let source = shelf.number(Kind::Source, &event.source).unwrap_or(0);
        let code = event_names::code(&shelf.event_names(), source, event.name.as_deref());
        if of_source::code(db, source, seq)? != Some(code) {
            shelf.damage().note(&format!("{}: it is not listed with its source", event.id));
        }
    }
    if let Some(listed) = note(shelf, rows::deliveries_of(db, seq))?
        && unrouted::is_misplaced(db, seq, &listed)?
    {
        shelf.damage().note(&check::unrouted_wrongly(seq));
    }
    Ok(())
}

fn delivery(db: &Connection, shelf: &Shelf, seq: i64) -> Result<(), Fault> {
    let read = rows::delivery_at(db, seq, shelf).inspect_err(|_| shelf.damage().want_columns(seq));
    if let Some(delivery) = note(shelf, read)?.flatten() {
        let destination = shelf.number(Kind::Destination, &delivery.destination);
        if let Some(fault) = note(shelf, check::misplaced(db, destination, &delivery))?.flatten() {
            shelf.damage().note(&fault.told(&delivery));
            if fault == check::Misplaced::Columns {
                shelf.damage().want_columns(seq);
            }
        }
    }
    found(shelf, &format_args!("the delivery in row {seq}"), &indexes::lacking(db, indexes::OF_DELIVERIES, [seq])?);
    let mut statement = db.prepare_cached("SELECT record FROM attempts WHERE delivery = ?1")?;
    let mut attempts = statement.query([seq])?;
    while let Some(row) = attempts.next()? {
        if let Err(error) = record::decode_attempt(row.get_ref(0)?.as_blob().unwrap_or_default(), seq, shelf.ciphers())
        {
            let what = format_args!("an attempt of the delivery in row {seq}");
            shelf.damage().note_fault(&Fault::record(&what, &error));
        }
    }
    Ok(())
}

/// Notes the indexes that lack a row.
fn found(shelf: &Shelf, row: &fmt::Arguments<'_>, lacking: &[&str]) {
    for index in lacking {
        let what = format!("{row} is missing from the index {index}");
        shelf.damage().note(&what);
        shelf.damage().want_indexes(&what);
    }
}

fn keys(db: &Connection, shelf: &Shelf, from: &Reached) -> Result<Option<Reached>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT source, key, record FROM dedupe WHERE (source, key) > (?1, ?2) ORDER BY source, key LIMIT ?3",
    )?;
    let mut rows = statement.query(params![from.key.0, from.key.1, STEP_ROWS as i64])?;
    let (began, mut last) = (Instant::now(), None);
    while began.elapsed() < STEP_TIME
        && let Some(row) = rows.next()?
    {
        let key: (u32, Vec<u8>) = (row.get(0)?, row.get(1)?);
        if let Err(error) = Taken::decode(key.0, &key.1, row.get_ref(2)?.as_blob().unwrap_or_default()) {
            let what = format_args!("a dedupe key of source {}", key.0);
            shelf.damage().note_fault(&Fault::record(&what, &error));
        }
        let lacking = indexes::lacking(db, indexes::OF_KEYS, params![key.0, key.1])?;
        found(shelf, &format_args!("a dedupe key of source {}", key.0), &lacking);
        last = Some(key);
    }
    Ok(Some(match last {
        Some(key) => Reached { part: ScrubPart::Keys, key, ..Reached::default() },
        None => behind(None, ScrubPart::Keys, ScrubPart::Audit),
    }))
}

/// Notes damage and goes on; any other fault ends the store.
fn note<T>(shelf: &Shelf, read: Result<T, Fault>) -> Result<Option<T>, Fault> {
    read.map(Some).or_else(|fault| shelf.damage().pass(fault).map(|()| None))
}
