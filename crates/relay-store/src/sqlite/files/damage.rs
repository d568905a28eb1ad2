//! What is known to be damaged: told once per record, counted, passed over, and kept over restarts until it is mended, gone or
//! accepted.
//!
//! It is kept in a file of its own, `damaged`: one line each, `r` for a record, `c` for what only a check can tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs, io,
    io::{Seek as _, SeekFrom, Write as _},
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use relay_core::storage::StoreError;

use crate::{private, sqlite::fault::Fault};

/// Records that are remembered by name; a store with more damage than this has told enough.
const TOLD_MAX: usize = 10_000;

/// So many rows are mended in one commit.
const WANTED_MAX: usize = 100;
/// So long an index that was made anew is not what is wrong.
const TRUSTED_FOR: Duration = Duration::from_mins(10);

/// Who can tell that something is not damaged any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Finder {
    /// A pass of the scrub, which reads every record.
    Scrub,
    /// A check alone: it is of the store as a whole.
    Check,
}

/// The damage that is known of. Shared by everybody who reads.
#[derive(Debug, Default)]
pub(crate) struct Damage(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Where it is kept, if it is.
    file: Option<PathBuf>,
    found: BTreeMap<Box<str>, Found>,
    /// Records of later versions.
    later: BTreeSet<Box<str>>,
    deliveries: BTreeSet<i64>,
    wanted: Wanted,
    /// When the indexes were made anew the last time.
    made_anew: Option<Instant>,
    /// Passes of the scrub that have begun.
    pass: u64,
}

/// What only repeats something else, and does not do so any more: the writer makes it anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The indexes, because of this.
    pub(crate) indexes: Option<Box<str>>,
    /// Columns of deliveries beside their records, by row.
    pub(crate) columns: BTreeSet<i64>,
    /// The rows of names, their counters and the store's own record, which are in memory.
    pub(crate) names: bool,
}

impl Wanted {
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Copy, Debug)]
struct Found {
    by: Finder,
    /// In this pass of the scrub, or in none since the start.
    seen: u64,
    is_told: bool,
}

impl Damage {
    /// What earlier runs found in the store of this directory, and what this one finds is kept there.
    pub(crate) fn kept_in(file: PathBuf) -> io::Result<Self> {
        let known = Self::known_in(&file)?;
        known.lock().file = Some(file);
        Ok(known)
    }

    /// The same for who only reads there: what is found is told, and kept nowhere.
    pub(crate) fn known_in(file: &Path) -> io::Result<Self> {
        let mut known = Known::default();
        for (by, what) in read(file)? {
            known.found.insert(what, Found { by, seen: 0, is_told: false });
        }
        if let Some((first, _)) = known.found.first_key_value() {
            let count = known.found.len();
            tracing::warn!(event = "damage_known", count, first, "an earlier run found records that are damaged");
        }
        Ok(Self(Mutex::new(known)))
    }

    /// Names a damaged record in the log, unless it was named before, and remembers it.
    pub(crate) fn note(&self, what: &str) {
        let mut known = self.lock();
        let pass = known.pass;
        if let Some(found) = known.found.get_mut(what) {
            found.seen = pass;
            if std::mem::replace(&mut found.is_told, true) {
                return;
            }
        } else {
            if known.found.len() >= TOLD_MAX {
                return;
            }
            known.found.insert(what.into(), Found { by: Finder::Scrub, seen: pass, is_told: true });
            if let Some(file) = &known.file {
                // Without room for it, the scrub finds it again after a restart.
                drop(append(file, what));
            }
        }
        drop(known);
        tracing::error!(
            event = "record_damaged",
            what,
            "it stays where it is; stop the server and run: crm-relay store check"
        );
    }

    /// Notes a record that cannot be read, so that it holds up no other; any other fault comes back.
    pub(crate) fn pass(&self, fault: Fault) -> Result<(), Fault> {
        self.note_fault(&fault);
        if matches!(fault, Fault::Damaged(_) | Fault::Later(_)) { Ok(()) } else { Err(fault) }
    }

    /// The same for somebody who asked for that record: what he is told.
    pub(crate) fn answered(&self, fault: Fault) -> StoreError {
        self.note_fault(&fault);
        fault.answer()
    }

    /// Whether something is known to be damaged whose name begins so.
    pub(crate) fn is_known(&self, begin: &str) -> bool {
        let known = self.lock();
        let behind = (Bound::Included(begin), Bound::Unbounded);
        known.found.range::<str, _>(behind).next().is_some_and(|(what, _)| what.starts_with(begin))
    }

    /// Names what cannot be read; any other fault is none of a record.
    pub(crate) fn note_fault(&self, fault: &Fault) {
        match fault {
            Fault::Damaged(what) => self.note(what),
            Fault::Later(what) => self.note_later(what),
            Fault::Full
            | Fault::TooSlow
            | Fault::NotOpened(_)
            | Fault::Unwritten(_)
            | Fault::Corrupt { .. }
            | Fault::Broken(_)
            | Fault::Crash => {}
        }
    }

    /// Names a record of a later version in the log, once. It is no damage, and not kept as such.
    fn note_later(&self, what: &str) {
        let mut known = self.lock();
        if known.later.len() >= TOLD_MAX || !known.later.insert(what.into()) {
            return;
        }
        drop(known);
        tracing::error!(
            event = "record_later",
            what,
            "it stays where it is; use the version, or the key, that it was written with"
        );
    }

    /// What a fault of a read that began then comes to. Where an index does not lead to what its table has, it is made anew,
    /// and whoever asked may ask again; where one that was just made anew does not either, the store is broken.
    pub(crate) fn judged(&self, fault: Fault, began: Instant) -> Fault {
        let Fault::Corrupt { reason, .. } = fault else { return fault };
        let mut known = self.lock();
        let just_now = |at: &Instant| *at < began && at.elapsed() < TRUSTED_FOR;
        if known.made_anew.as_ref().is_some_and(just_now) {
            return Fault::Broken(reason);
        }
        let what = format!("an index, which is made anew: {reason}");
        known.wanted.indexes.get_or_insert_with(|| reason.into());
        Fault::Damaged(what.into())
    }

    /// An index does not lead to a row, or leads to another.
    pub(crate) fn want_indexes(&self, why: &str) {
        self.lock().wanted.indexes.get_or_insert_with(|| why.into());
    }

    /// Columns of a delivery do not repeat its record.
    pub(crate) fn want_columns(&self, seq: i64) {
        let mut known = self.lock();
        if known.wanted.columns.len() < WANTED_MAX {
            known.wanted.columns.insert(seq);
        }
    }

    /// A row of names, of counters or of the store itself is not what is in memory.
    pub(crate) fn want_names(&self) {
        self.lock().wanted.names = true;
    }

    /// What the writer is to make anew; it is asked for once.
    pub(crate) fn take_wanted(&self) -> Wanted {
        std::mem::take(&mut self.lock().wanted)
    }

    /// The indexes were made anew.
    pub(crate) fn made_anew(&self) {
        self.lock().made_anew = Some(Instant::now());
    }

    /// The scrub begins to read everything.
    pub(crate) fn pass_begins(&self) {
        self.lock().pass += 1;
    }

    /// It has read everything: what nobody has found damaged meanwhile is mended, or has gone.
    pub(crate) fn pass_ended(&self) {
        let mut known = self.lock();
        let (before, pass) = (known.found.len(), known.pass);
        known.found.retain(|_, found| found.by == Finder::Check || found.seen == pass);
        let gone = before - known.found.len();
        if gone == 0 {
            return;
        }
        tracing::info!(event = "damage_gone", count = gone, "records that were damaged are mended, or have gone");
        let found: Vec<_> = known.found.iter().map(|(what, found)| (found.by, &**what)).collect();
        if let Some(file) = &known.file {
            // What is told too long is told again by the next start, and found mended by the scrub again.
            drop(keep(file, &found));
        }
    }

    /// Records known to be damaged.
    pub(crate) fn count(&self) -> u64 {
        self.lock().found.len() as u64
    }

    /// Leases pass over the delivery in this row from now on.
    pub(crate) fn pass_over(&self, seq: i64) {
        self.lock().deliveries.insert(seq);
    }

    /// Leases take it again: it is mended.
    pub(crate) fn pass_no_more(&self, seq: i64) {
        self.lock().deliveries.remove(&seq);
    }

    pub(crate) fn is_passed_over(&self, seq: i64) -> bool {
        self.lock().deliveries.contains(&seq)
    }

    /// Deliveries that leases pass over.
    pub(crate) fn passed_over(&self) -> usize {
        self.lock().deliveries.len()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps this instead of what was kept.
pub(crate) fn keep(file: &Path, found: &[(Finder, &str)]) -> io::Result<()> {
    let mut text = String::new();
    for (by, what) in found.iter().take(TOLD_MAX) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", line(*by, what));
    }
    if text.is_empty() { forget(file) } else { private::replace(file, text.as_bytes()) }
}

/// Nothing is damaged any more.
pub(crate) fn forget(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn append(file: &Path, what: &str) -> io::Result<()> {
    let mut file = private::open(file)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(format!("{}\n", line(Finder::Scrub, what)).as_bytes())
}

fn read(file: &Path) -> io::Result<Vec<(Finder, Box<str>)>> {
    match private::open_existing(file) {
        Ok(mut open) => {
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut open, &mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).lines().filter_map(parsed).take(TOLD_MAX).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn line(by: Finder, what: &str) -> String {
    let kind = match by {
        Finder::Scrub => 'r',
        Finder::Check => 'c',
    };
    format!("{kind} {}", what.replace('\n', " "))
}

/// A line that was cut short, or that somebody else wrote, still says that something is damaged.
fn parsed(line: &str) -> Option<(Finder, Box<str>)> {
    match line.split_once(' ') {
        Some(("c", what)) => Some((Finder::Check, what.into())),
        Some(("r", what)) => Some((Finder::Scrub, what.into())),
        _ if line.is_empty() => None,
        _ => Some((Finder::Scrub, line.into())),
    }
}
