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
};

use relay_core::storage::StoreError;

use crate::{private, sqlite::fault::Fault};

/// Records that are remembered by name; a store with more damage than this has told enough.
const TOLD_MAX: usize = 10_000;

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
    /// Passes of the scrub that have begun.
    pass: u64,
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
        tracing::error!(event = "record_later", what, "it stays where it is; use the version that wrote it");
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
