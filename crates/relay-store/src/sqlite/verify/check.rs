//! `store check`: reads everything that is stored, while no server runs, and says what does not hold.

use std::{
    collections::BTreeSet,
    fs, io,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use relay_core::{delivery::Delivery, time::Wall};
use rusqlite::Connection;

use super::{
    accept,
    accept::line_of_audit,
    damaged::{Damaged, Vouched},
    epoch, gap, recount, sealed,
};
use crate::{
    cipher::Ciphers,
    private::{self, Owners},
    record,
    seam::{Gap, Recount, Why},
    sqlite::{
        fault::Fault,
        files::{
            damage::{self, Finder},
            lock::{Glance, Writing},
            meta::Meta,
            open::{Alone, Doubt, OpenError, StoreDir, io_error},
        },
        read::{
            audit,
            book::{Book, Kind},
            documents, event_names,
            line::Line,
            marks, named, of_source, rows,
            taken::Taken,
            unrouted,
        },
        write::{columns, step},
    },
    watch::Watch,
};

/// Steps of SQLite's machine between two looks at whether somebody wants an early end: some milliseconds.
const STEPS_BETWEEN_LOOKS: i32 = 100_000;

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
    /// What is missing since, if events are or may be.
    pub gap: Option<Gap>,
    /// The numbers of the keys that it is sealed with; none: it is clear.
    pub sealed_with: Vec<u32>,
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
    check_watched(dir, &Ciphers::default(), accept_loss, at, &Arc::default())
}

/// As [`check`], of a store that is sealed with these keys, and watched: ended early it has read, and changed nothing.
///
/// # Errors
/// As [`check`], and that it was ended early.
pub fn check_watched(
    dir: &Path,
    ciphers: &Ciphers,
    accept_loss: bool,
    at: Wall,
    watch: &Arc<Watch>,
) -> Result<CheckReport, OpenError> {
    if accept_loss { mend(dir, ciphers, at, watch) } else { look_through(dir, ciphers, watch) }
}

/// Reads a copy as [`check`] reads a store, without its ledger, which a copy has none of; nothing is written beside it.
///
/// # Errors
/// It cannot be read at all, is sealed with other keys, or somebody asked for an early end.
pub fn check_copy(dir: &Path, ciphers: &Ciphers, watch: &Arc<Watch>) -> Result<CheckReport, OpenError> {
    let place = StoreDir { dir: dir.to_owned() };
    let mut db = place.connect_copy()?;
    sealed::fit(&place, &db, ciphers)?;
    let mut report = CheckReport {
        sealed_with: sealed::numbers(&db).map_err(|error| place.damaged(error))?,
        ..CheckReport::default()
    };
    let asked = Arc::clone(watch);
    db.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || asked.is_stopped())).map_err(|error| place.damaged(error))?;
    let mut damaged = Damaged::default();
    let read = read_everything(&db, ciphers, &mut report, &mut damaged, watch);
    if watch.is_stopped() {
        return Err(OpenError::Interrupted { dir: place.dir });
    }
    match (read, damaged.later.pop_first()) {
        (Ok(()), None) => {}
        (Ok(()), Some(what)) => return Err(OpenError::Later { dir: place.dir, what }),
        (Err(fault), _) => return Err(place.damaged(fault)),
    }
    Ok(report)
}

/// Reads everything beside others that only read, and in no server's way: it gives way to one that starts.
fn look_through(dir: &Path, ciphers: &Ciphers, watch: &Arc<Watch>) -> Result<CheckReport, OpenError> {
    let (place, glance) = StoreDir::look(dir, Owners::UsOrServed)?;
    place.refuse_lone_ledger()?;
    let alone = place.database_alone()?;
    let mut db = match place.connect_looking() {
        Err(OpenError::Empty { .. }) => return Ok(CheckReport::default()),
        other => other?,
    };
    let standing = Basis::of(&place, &db);
    sealed::fit(&place, &db, ciphers)?;
    let found = gives_way(&glance, watch, || read_store(&place, &mut db, ciphers, alone, watch))?;
    drop((db, glance));
    // What is found is told in any case; a server that has begun meanwhile finds it by its scrub.
    if let Ok((place, _lock)) = StoreDir::claim(dir, Owners::UsOrServed, Writing::Command)
        && standing.is_still(&place)
    {
        found.note(&place)?;
    }
    Ok(found.report)
}

/// What a check is about: what it found says nothing of what a server wrote, or met, after it had read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    meta: Option<Meta>,
    suspect: Option<Vec<u8>>,
    known: Option<Vec<u8>>,
}

impl Basis {
    pub(crate) fn of(place: &StoreDir, db: &Connection) -> Self {
        let meta = Meta::load(db).ok().flatten();
        let [suspect, known] = [place.suspect(), place.known_damage()].map(|file| fs::read(file).ok());
        Self { meta, suspect, known }
    }

    /// Whether nothing has changed since.
    pub(crate) fn is_still(&self, place: &StoreDir) -> bool {
        place.connect_looking().is_ok_and(|db| Self::of(place, &db) == *self)
    }
}

/// Does work that only reads, and has it ended early as soon as a server wants to start.
fn gives_way<T>(glance: &Glance, watch: &Watch, work: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    const LOOK_EVERY: Duration = Duration::from_millis(20);
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let looks = scope.spawn(move || {
            while is_done.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                if glance.is_in_the_way() {
                    watch.stop();
                    return true;
                }
            }
            false
        });
        let result = work();
        drop(done);
        match (result, looks.join()) {
            (Err(OpenError::Interrupted { dir }), Ok(true)) => Err(OpenError::GaveWay { dir }),
            (result, _) => result,
        }
    })
}

/// Reads everything, and accepts what is lost or damaged, while nobody else has the store.
fn mend(dir: &Path, ciphers: &Ciphers, at: Wall, watch: &Arc<Watch>) -> Result<CheckReport, OpenError> {
    let (place, _lock) = StoreDir::claim(dir, Owners::UsOrServed, Writing::Command)?;
    place.refuse_lone_ledger()?;
    place.sweep();
    let alone = place.database_alone()?;
    let mut db = place.connect_writer()?;
    sealed::fit(&place, &db, ciphers)?;
    let mut found = read_store(&place, &mut db, ciphers, alone, watch)?;
    if let Some(what) = found.damaged.later.pop_first() {
        return Err(OpenError::Later { dir: place.dir, what });
    }
    if !found.report.is_healthy() {
        let gap = accept::accept(&place, &mut db, ciphers, &found.damaged, &found.report.faults, found.vouched, at)?;
        found.report.gap = gap;
        found.report.accepted = true;
    }
    found.note(&place)?;
    Ok(found.report)
}

/// What was read, and what is to be noted of it.
struct Read {
    report: CheckReport,
    damaged: Damaged,
    vouched: Vouched,
    /// Faults of the ledger, which its store notes itself.
    of_ledger: Vec<String>,
}

/// Reads everything.
fn read_store(
    place: &StoreDir,
    db: &mut Connection,
    ciphers: &Ciphers,
    alone: Alone,
    watch: &Arc<Watch>,
) -> Result<Read, OpenError> {
    match (alone, Meta::load(db)) {
        (_, Err(fault @ Fault::Later(_))) => return Err(place.damaged(fault)),
        (Alone::Says(alone), Ok(Some(meta))) => place.compare_log(alone.as_deref(), &meta)?,
        _ => {}
    }
    let mut report = CheckReport::default();
    let mut damaged = Damaged::default();
    report.sealed_with = sealed::numbers(db).map_err(|error| place.damaged(error))?;
    let vouched = ledger(place, db, &mut report)?;
    let of_ledger = report.faults.clone();
    let asked = Arc::clone(watch);
    db.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || asked.is_stopped())).map_err(|error| place.damaged(error))?;
    let read = read_everything(db, ciphers, &mut report, &mut damaged, watch);
    let read = read.and_then(|()| read_marks(db, &mut report, &mut damaged));
    db.progress_handler(0, None::<fn() -> bool>).map_err(|error| place.damaged(error))?;
    if watch.is_stopped() {
        return Err(OpenError::Interrupted { dir: place.dir.clone() });
    }
    match read {
        Ok(()) => {}
        Err(fault @ Fault::Later(_)) => return Err(place.damaged(fault)),
        Err(fault) => report.faults.push(place.damaged(fault).to_string()),
    }
    let mut told = BTreeSet::new();
    report.faults.retain(|fault| told.insert(fault.clone()));
    Ok(Read { report, damaged, vouched, of_ledger })
}

impl Read {
    /// Keeps what a server that is started has to know, and forgets what does not hold any more.
    fn note(&self, place: &StoreDir) -> Result<(), OpenError> {
        if self.report.is_healthy() || self.report.accepted {
            trust_again(place)?;
            return damage::forget(&place.known_damage())
                .map_err(|error| io_error("write", &place.known_damage(), error));
        }
        let faults = self.report.faults.iter();
        let is_damage = |fault: &&String| !self.of_ledger.contains(fault) && !self.damaged.later.contains(*fault);
        let found: Vec<String> = faults.filter(is_damage).cloned().collect();
        remember(place, &found, &self.damaged.whole)
    }
}

/// Keeps what was found, so that a server which is started all the same says so.
fn remember(place: &StoreDir, found: &[String], whole: &BTreeSet<String>) -> Result<(), OpenError> {
    let by = |what: &String| if whole.contains(what) { Finder::Check } else { Finder::Scrub };
    let found: Vec<_> = found.iter().map(|what| (by(what), what.as_str())).collect();
    match damage::keep(&place.known_damage(), &found) {
        // What is found is told in any case.
        Err(error) if !private::is_no_room(&error) => Err(io_error("write", &place.known_damage(), error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// I17: reads everything if the store failed in an earlier run, and refuses it unless all of it holds.
pub(crate) fn verify_if_suspect(place: &StoreDir, db: &Connection, ciphers: &Ciphers) -> Result<(), OpenError> {
    let Ok(reason) = fs::read_to_string(place.suspect()) else { return Ok(()) };
    verify(place, db, ciphers, &format!("it failed: {reason}"))?;
    trust_again(place)
}

/// As [`verify_if_suspect`], for who only reads: whether it holds is for the next start to note.
pub(crate) fn verify_looking(
    place: &StoreDir,
    (db, glance): (&mut Connection, &Glance),
    ciphers: &Ciphers,
    alone_is_unreadable: bool,
) -> Result<(), OpenError> {
    let watch = Arc::new(Watch::default());
    let asked = Arc::clone(&watch);
    db.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || asked.is_stopped())).map_err(|error| place.damaged(error))?;
    let reason = match fs::read_to_string(place.suspect()) {
        Ok(reason) => format!("it failed: {reason}"),
        Err(_) if alone_is_unreadable => UNREADABLE_ALONE.to_owned(),
        Err(_) => return Ok(()),
    };
    let verified = gives_way(glance, &watch, || match verify(place, db, ciphers, &reason) {
        _ if watch.is_stopped() => Err(OpenError::Interrupted { dir: place.dir.clone() }),
        verified => verified,
    });
    db.progress_handler(0, None::<fn() -> bool>).map_err(|error| place.damaged(error))?;
    match verified {
        Err(OpenError::GaveWay { .. }) => Err(place.in_use(glance.holder())),
        verified => verified,
    }
}

/// Why a store is read whole whose database cannot be read without its log.
pub(crate) const UNREADABLE_ALONE: &str = "the database without its log cannot be read";

/// Reads everything, for that reason, and refuses the store unless all of it holds.
pub(crate) fn verify(place: &StoreDir, db: &Connection, ciphers: &Ciphers, reason: &str) -> Result<(), OpenError> {
    tracing::warn!(event = "store_verifying", reason, "everything in the store is read first");
    let (mut report, mut damaged) = (CheckReport::default(), Damaged::default());
    read_everything(db, ciphers, &mut report, &mut damaged, &Watch::default()).map_err(|fault| place.damaged(fault))?;
    if let Some(what) = damaged.later.pop_first() {
        return Err(OpenError::Later { dir: place.dir.clone(), what });
    }
    if let Some(first) = report.faults.first() {
        let count = report.faults.len();
        return Err(place.damaged(Fault::Damaged(format!("{count} faults ({reason}): {first}").into())));
    }
    Ok(())
}

fn trust_again(place: &StoreDir) -> Result<(), OpenError> {
    match fs::remove_file(place.suspect()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("write", &place.suspect(), error)),
        _ => Ok(()),
    }
}

/// What the ledger of a store that opens could not vouch for.
pub(crate) fn doubted(doubt: &Doubt, meta: &Meta, at: Wall) -> Gap {
    tracing::warn!(
        event = "ledger_doubtful",
        %doubt,
        "it cannot be told whether the latest webhooks are all there; crm-relay audit goes on to say so"
    );
    let commits = match doubt {
        Doubt::Torn { .. } => Some(1),
        Doubt::Old { .. } => None,
    };
    Gap { why: Why::Unvouched, since: meta.latest, until: at.max(meta.latest), commits, events: None }
}

/// Writes that down, in a new epoch.
pub(crate) fn write_down(
    place: &StoreDir,
    db: &mut Connection,
    doubt: &Doubt,
    meta: &Meta,
    at: Wall,
) -> Result<Meta, OpenError> {
    let gap = doubted(doubt, meta, at);
    let entry = line_of_audit("server", "store.unvouched", doubt.to_string(), at);
    let begun = epoch::begin(db, &[entry], meta.id_high, |db| gap::add(db, &gap).map(Some));
    begun.map(|(meta, _)| meta).map_err(|error| place.damaged(error))
}

fn ledger(place: &StoreDir, db: &Connection, report: &mut CheckReport) -> Result<Vouched, OpenError> {
    let read = Meta::load(db).and_then(|meta| {
        let (book, faults) = Book::load_leniently(db, &Ciphers::default())?;
        // Where counters do not read, nobody knows how many events there were.
        Ok((meta, faults.is_empty().then_some(book.accepted)))
    });
    let (fault, vouched) = match read {
        Ok((Some(meta), accepted)) => match place.compare_ledger(&meta, accepted.unwrap_or_default()) {
            Ok(None) => return Ok(Vouched::Whole),
            Ok(Some(doubt @ Doubt::Torn { .. })) => (doubt.to_string(), Vouched::Unknown { commits: Some(1) }),
            Ok(Some(doubt @ Doubt::Old { .. })) => (doubt.to_string(), Vouched::Unknown { commits: None }),
            Err(fault @ OpenError::LostCommits { from, to, events, .. }) => {
                let commits = to - from + 1;
                let known = Vouched::Lacks { commits, events };
                (fault.to_string(), accepted.map_or(Vouched::Unknown { commits: Some(commits) }, |_| known))
            }
            Err(fault @ (OpenError::OtherHistory { .. } | OpenError::NoLedger { .. })) => {
                (fault.to_string(), Vouched::Unknown { commits: None })
            }
            Err(other) => return Err(other),
        },
        Ok((None, _)) => ("the meta row is missing".to_owned(), Vouched::Unknown { commits: None }),
        Err(fault) => (place.damaged(fault).to_string(), Vouched::Unknown { commits: None }),
    };
    report.faults.push(fault);
    Ok(vouched)
}

fn read_everything(
    db: &Connection,
    ciphers: &Ciphers,
    report: &mut CheckReport,
    damaged: &mut Damaged,
    watch: &Watch,
) -> Result<(), Fault> {
    let rows = |table: &str| db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0));
    // Where even that cannot be read, nobody learns how long it takes; what is wrong is found below.
    watch.expect(["events", "deliveries"].map(|table| rows(table).unwrap_or(0) as u64).iter().sum());
    integrity(db, report, damaged)?;
    let (book, faults) = Book::load_leniently(db, ciphers)?;
    for fault in faults {
        damaged.book |= damaged.is(fault, &mut report.faults)?;
    }
    read_events(db, &book, report, damaged, watch)?;
    read_deliveries(db, &book, report, damaged, watch)?;
    read_lines(db, &book, report, damaged)?;
    read_documents(db, ciphers, report, damaged)?;
    read_keys_and_marks(db, report, damaged)?;
    read_audit(db, report, damaged)?;
    read_gaps(db, report)?;
    read_reserved(db, report, damaged)?;
    if damaged.book {
        return Ok(());
    }
    let sums = recount::sums(db)?;
    if sums.counted != sums.kept {
        damaged.note_whole(&mut report.faults, "the counters differ from what is stored".to_owned());
    }
    report.recount = Some(sums);
    Ok(())
}

/// SQLite's own check of pages, and of each index against its table.
fn integrity(db: &Connection, report: &mut CheckReport, damaged: &mut Damaged) -> Result<(), Fault> {
    let mut statement = db.prepare("PRAGMA integrity_check")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    lines.into_iter().filter(|line| line != "ok").for_each(|line| damaged.note_whole(&mut report.faults, line));
    Ok(())
}

fn read_events(
    db: &Connection,
    book: &Book,
    report: &mut CheckReport,
    damaged: &mut Damaged,
    watch: &Watch,
) -> Result<(), Fault> {
    for seq in sequences(db, "SELECT seq FROM events")?.into_iter().take_while(|_| !watch.is_stopped()) {
        report.events += 1;
        watch.add(1);
        match rows::event_at(db, seq, book) {
            Ok(Some(event)) => {
                let source = book.number(Kind::Source, &event.source).unwrap_or(0);
                let column: u32 = db
                    .prepare_cached("SELECT source FROM events WHERE seq = ?1")?
                    .query_row([seq], |row| row.get(0))?;
                let names = book.event_names.all();
                let code = event_names::code(names, source, event.name.as_deref());
                if column != source || of_source::code(db, source, seq)? != Some(code) {
                    report.faults.push(format!("{}: it is not listed with its source", event.id));
                    damaged.unlisted.push((seq, source));
                }
                if !record::Head::holds_digest(&event) {
                    report.faults.push(rows::body_without_digest(event.id));
                    damaged.events.insert(seq);
                }
            }
            Ok(None) => {}
            Err(fault) => {
                if damaged.is(fault, &mut report.faults)? {
                    damaged.events.insert(seq);
                }
            }
        }
        match rows::deliveries_of(db, seq) {
            // A purged delivery may be missing from an event that others keep alive.
            Ok(listed) => {
                if unrouted::is_misplaced(db, seq, &listed)? {
                    report.faults.push(unrouted_wrongly(seq));
                }
            }
            Err(fault) => {
                if damaged.is(fault, &mut report.faults)? {
                    damaged.lists.insert(seq);
                }
            }
        }
    }
    let listed: u64 = of_source::count(db)?.iter().map(|(_, count)| count).sum();
    if listed != report.events {
        let what = format!("{listed} events are listed with their sources, {} are stored", report.events);
        damaged.note_whole(&mut report.faults, what);
    }
    if unrouted::strays(db)? > 0 {
        damaged.note_whole(
            &mut report.faults,
            "replays, or the want of a delivery, are noted of events that are not stored".to_owned(),
        );
    }
    if let Some((source, minute)) = named::differs(db)? {
        let what = format!("the names of events of source {source} are counted wrongly in minute {minute}");
        damaged.note_whole(&mut report.faults, what);
    }
    Ok(())
}

fn read_deliveries(
    db: &Connection,
    book: &Book,
    report: &mut CheckReport,
    damaged: &mut Damaged,
    watch: &Watch,
) -> Result<(), Fault> {
    for seq in sequences(db, "SELECT seq FROM deliveries")?.into_iter().take_while(|_| !watch.is_stopped()) {
        report.deliveries += 1;
        watch.add(1);
        match rows::record_at(db, seq, book) {
            Ok(Some(found)) => {
                let destination = book.number(Kind::Destination, &found.destination);
                match misplaced(db, destination, &found) {
                    Ok(None) => {}
                    Ok(Some(what)) => {
                        report.faults.push(what.told(&found));
                        match what {
                            Misplaced::Columns => damaged.columns.insert(seq),
                            Misplaced::Unlisted => damaged.lists.insert(found.event.sequence()),
                        };
                    }
                    Err(fault) => drop(damaged.is(fault, &mut report.faults)?),
                }
            }
            Ok(None) => {}
            Err(fault) => {
                if damaged.is(fault, &mut report.faults)? {
                    damaged.deliveries.insert(seq);
                }
            }
        }
        attempts(db, &book.ciphers, seq, report, damaged)?;
    }
    Ok(())
}

/// That retention would remove an event with a delivery, or keep one for ever.
pub(crate) fn unrouted_wrongly(seq: i64) -> String {
    format!("the event in row {seq}: whether it has a delivery is noted wrongly")
}

/// Whether what waits in line stands there in the order of its ids.
fn read_lines(db: &Connection, book: &Book, report: &mut CheckReport, damaged: &mut Damaged) -> Result<(), Fault> {
    for destination in book.numbers(Kind::Destination) {
        for line in Line::all(db, destination)? {
            if let Some(seq) = line.out_of_order(db)? {
                let what = format!("the delivery in row {seq} stands in line before one that is due earlier");
                damaged.note_whole(&mut report.faults, what);
            }
        }
    }
    Ok(())
}

/// What of a delivery does not hold though its record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// The columns for the indexes do not repeat it.
    Columns,
    /// Its event does not list it.
    Unlisted,
}

impl Misplaced {
    /// In words.
    pub(crate) fn told(self, of: &Delivery) -> String {
        match self {
            Self::Columns => format!("{}: an index column differs from the record", of.id),
            Self::Unlisted => format!("{}: its event {} does not have it", of.id, of.event),
        }
    }
}

/// Whether the columns for the indexes, the event and its list agree with the record.
pub(crate) fn misplaced(
    db: &Connection,
    destination: Option<u32>,
    found: &Delivery,
) -> Result<Option<Misplaced>, Fault> {
    let seq = found.id.sequence();
    if !columns::repeat(db, destination, found)? {
        return Ok(Some(Misplaced::Columns));
    }
    match rows::deliveries_of(db, found.event.sequence()) {
        Ok(listed) if listed.contains(&seq) => Ok(None),
        Ok(_) => Ok(Some(Misplaced::Unlisted)),
        // Told with the event.
        Err(Fault::Damaged(_) | Fault::Later(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn attempts(
    db: &Connection,
    ciphers: &Ciphers,
    seq: i64,
    report: &mut CheckReport,
    damaged: &mut Damaged,
) -> Result<(), Fault> {
    let mut statement = db.prepare_cached("SELECT version, record FROM attempts WHERE delivery = ?1")?;
    let mut rows = statement.query([seq])?;
    while let Some(row) = rows.next()? {
        if let Err(error) = record::decode_attempt(row.get_ref(1)?.as_blob().unwrap_or_default(), seq, ciphers) {
            let fault = Fault::record(&format_args!("an attempt of the delivery in row {seq}"), &error);
            if damaged.is(fault, &mut report.faults)? {
                damaged.attempts.push((seq, row.get(0)?));
            }
        }
    }
    Ok(())
}

fn read_documents(
    db: &Connection,
    ciphers: &Ciphers,
    report: &mut CheckReport,
    damaged: &mut Damaged,
) -> Result<(), Fault> {
    if let Err(fault) = documents::refuse_unknown(db) {
        damaged.is(fault, &mut report.faults)?;
    }
    for key in documents::keys(db)? {
        if let Err(fault) = documents::one(db, &key, ciphers)
            && damaged.is(fault, &mut report.faults)?
        {
            damaged.documents.push((key.kind, key.name));
        }
    }
    Ok(())
}

/// Dedupe keys, and the marks of jobs.
fn read_keys_and_marks(db: &Connection, report: &mut CheckReport, damaged: &mut Damaged) -> Result<(), Fault> {
    let mut statement = db.prepare("SELECT source, key, record FROM dedupe")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (source, key): (u32, Vec<u8>) = (row.get(0)?, row.get(1)?);
        if let Err(error) = Taken::decode(source, &key, row.get_ref(2)?.as_blob().unwrap_or_default()) {
            let fault = Fault::record(&format_args!("a dedupe key of source {source}"), &error);
            if damaged.is(fault, &mut report.faults)? {
                damaged.keys.push((source, key));
            }
        }
    }
    for (job, mark) in step::all(db)? {
        if let Err(fault) = mark
            && damaged.is(fault, &mut report.faults)?
        {
            damaged.marks.push(job);
        }
    }
    Ok(())
}

fn read_audit(db: &Connection, report: &mut CheckReport, damaged: &mut Damaged) -> Result<(), Fault> {
    for seq in sequences(db, "SELECT seq FROM audit")? {
        if let Err(fault) = audit::at(db, seq)
            && damaged.is(fault, &mut report.faults)?
        {
            damaged.audit.push(seq);
        }
    }
    Ok(())
}

/// Rows by which events are found. They only lead: a copy, or a start behind a failure, does not go by them.
fn read_marks(db: &Connection, report: &mut CheckReport, damaged: &mut Damaged) -> Result<(), Fault> {
    let stray = marks::stray(db)?;
    if stray > 0 && Meta::load(db).ok().flatten().is_none_or(|meta| meta.has_marks) {
        damaged.leads = true;
        report.faults.push(format!("marks: {stray} of their rows lead nowhere"));
    }
    Ok(())
}

/// Tables that this version has for later ones, and writes nothing to.
fn read_reserved(db: &Connection, report: &mut CheckReport, damaged: &mut Damaged) -> Result<(), Fault> {
    // Rows of marks that are known to be here.
    let has_marks = Meta::load(db).ok().flatten().is_none_or(|meta| meta.has_marks);
    for table in ["replies", "marks"].into_iter().filter(|table| *table != "marks" || !has_marks) {
        if db.query_row(&format!("SELECT EXISTS (SELECT 1 FROM {table})"), [], |row| row.get(0))? {
            let rows = Fault::Later(format!("{table}: it has rows, which are not known here").into());
            damaged.is(rows, &mut report.faults)?;
        }
    }
    Ok(())
}

fn read_gaps(db: &Connection, report: &mut CheckReport) -> Result<(), Fault> {
    match gap::all(db) {
        Err(Fault::Damaged(what) | Fault::Later(what)) => report.faults.push(what.into()),
        read => drop(read?),
    }
    Ok(())
}

fn sequences(db: &Connection, query: &str) -> Result<Vec<i64>, Fault> {
    let mut statement = db.prepare(query)?;
    let found = statement.query_map([], |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
