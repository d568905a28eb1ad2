//! Puts a backup into a data directory: a new epoch begins, and what is not known of the time since is written down.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use relay_core::{
    fault::{Fault, Retry},
    time::Wall,
};
use rusqlite::{Connection, wal::CheckpointMode};

use super::{epoch, gap};
use crate::{
    copy::{DATABASE, Digest, FORMAT, MANIFEST, Manifest},
    private::{self, Owners},
    seam::{AuditEntry, Gap, Why},
    sqlite::files::{
        damage,
        ledger::{self, Slot},
        lock::Writing,
        open::{self, LEDGER_LEFT, OpenError, StoreDir},
    },
    watch::Watch,
};

/// What beginning a new epoch writes beside the copy, at most.
const EPOCH_BYTES: u64 = 1024 * 1024;

/// Why a backup was not restored. The data directory was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup is not complete or not what was written.
    #[error("the backup in {} cannot be used: {what}", from.display())]
    Unusable {
        /// The backup.
        from: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It does not fit.
    #[error("{} has no room for the backup: it takes {bytes} bytes, {free} are free there", dir.display())]
    NoRoom {
        /// The data directory.
        dir: PathBuf,
        /// What it takes, with what a new epoch needs.
        bytes: u64,
        /// What there is.
        free: u64,
    },
    /// There is a store already.
    #[error("{} already holds a store: restore into an empty data directory", .0.display())]
    NotEmpty(PathBuf),
    /// The data directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl RestoreError {
    /// Who has to change something.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Unusable { .. } => Fault::Operator,
            Self::NoRoom { .. } => Fault::Resource,
            Self::NotEmpty(_) => Fault::Caller,
            Self::Open(error) => error.fault(),
        }
    }

    /// Whether the same restore may succeed later: where there was no room, once there is.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Unusable { .. } | Self::NotEmpty(_) => Retry::Never,
            Self::NoRoom { .. } => Retry::Backoff,
            Self::Open(error) => error.retry(),
        }
    }
}

/// What a restore came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Bytes of the database.
    pub bytes: u64,
    /// Events in it.
    pub events: u64,
    /// What is not known of the time since the backup.
    pub gap: Gap,
}

/// Puts a backup into a data directory that holds no store. The ledger starts a new epoch; one that is left there of the
/// store before says how much is missing at most.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore(from: &Path, dir: &Path, at: Wall) -> Result<Restored, RestoreError> {
    restore_watched(from, dir, at, &Watch::default())
}

/// As [`restore`], watched: ended early it leaves the directory as it was.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore_watched(from: &Path, dir: &Path, at: Wall, watch: &Watch) -> Result<Restored, RestoreError> {
    let unusable = |what: String| RestoreError::Unusable { from: from.to_owned(), what };
    let manifest = read_manifest(from).map_err(unusable)?;
    refuse_newer(from, &manifest)?;
    refuse_used(dir)?;
    let (place, _lock) = StoreDir::claim(dir, Owners::UsOrServed, Writing::Command)?;
    // Again: a server may have begun and ended there before it was claimed.
    refuse_used(dir)?;
    let cannot_write = |error| open::io_error("write", dir, error);
    let part = place.unfinished_restore();
    let goes_on = part.symlink_metadata().is_ok();
    // From here on the file says that a restore was begun: no store is made beside it, whenever this one is killed.
    mark(&part).map_err(cannot_write)?;
    let restored =
        refuse_small(&place, manifest.backup.bytes).and_then(|()| put_back(from, &place, &manifest, &part, at, watch));
    if restored.is_err() && !goes_on {
        // It is no store under this name; whoever tries again begins anew.
        drop(remove_part(&part));
    }
    restored
}

fn put_back(
    from: &Path,
    place: &StoreDir,
    manifest: &Manifest,
    part: &Path,
    at: Wall,
    watch: &Watch,
) -> Result<Restored, RestoreError> {
    let unusable = |what: String| RestoreError::Unusable { from: from.to_owned(), what };
    let cannot_write = |error| open::io_error("write", &place.dir, error);
    watch.expect(manifest.backup.bytes);
    let copied = take_copy(&from.join(DATABASE), part, watch).and_then(|found| {
        let backup = &manifest.backup;
        if found == (backup.bytes, manifest.sha256.clone()) {
            return Ok(());
        }
        Err(Copy::Source(format!("{DATABASE} does not have the length and SHA-256 that {MANIFEST} names")))
    });
    copied.map_err(|why| match why {
        Copy::Source(what) => unusable(what),
        Copy::Target(error) => cannot_write(error).into(),
        Copy::Interrupted => OpenError::Interrupted { dir: place.dir.clone() }.into(),
    })?;
    let left = left_in(place, manifest).map_err(cannot_write)?;
    let gap = gap_of(manifest, &left, at);
    let mut db = place.connect(part)?;
    begin_epoch(place, &mut db, manifest, &left, from, &gap)?;
    db.wal_checkpoint_v2(None::<&str>, CheckpointMode::TRUNCATE).map_err(|error| place.damaged(error))?;
    drop(db);
    // What is known of the store that was lost says nothing about this one.
    for left in [place.suspect(), place.known_damage()] {
        damage::forget(&left).map_err(cannot_write)?;
    }
    put_in_place(part, &place.dir).map_err(cannot_write)?;
    // It has said what it knew; a left one is harmless.
    drop(fs::remove_file(place.dir.join(LEDGER_LEFT)));
    Ok(Restored { bytes: manifest.backup.bytes, events: manifest.backup.events, gap })
}

/// Refuses what this program cannot read before a byte of it is copied.
fn refuse_newer(from: &Path, manifest: &Manifest) -> Result<(), RestoreError> {
    let unusable = |what: String| RestoreError::Unusable { from: from.to_owned(), what };
    let read = |error: io::Error| unusable(format!("{DATABASE}: {error}"));
    let mut source = File::open(from.join(DATABASE)).map_err(read)?;
    let bytes = source.metadata().map_err(read)?.len();
    if bytes != manifest.backup.bytes {
        return Err(unusable(format!("{DATABASE} has {bytes} bytes, {MANIFEST} names {}", manifest.backup.bytes)));
    }
    let mut header = [0; open::HEADER_BYTES];
    source.read_exact(&mut header).map_err(read)?;
    open::judge_header(&header, from, &from.join(DATABASE))?;
    Ok(())
}

/// No use to begin where the end cannot be reached.
fn refuse_small(place: &StoreDir, bytes: u64) -> Result<(), RestoreError> {
    let bytes = bytes.saturating_add(EPOCH_BYTES);
    match open::disk_free_below(&place.dir)() {
        Ok(free) if free < bytes => Err(RestoreError::NoRoom { dir: place.dir.clone(), bytes, free }),
        // A disk that does not answer here will answer the first write.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn refuse_used(dir: &Path) -> Result<(), RestoreError> {
    let used = dir.join(DATABASE).symlink_metadata().is_ok_and(|found| found.len() > 0);
    if used { Err(RestoreError::NotEmpty(dir.to_owned())) } else { Ok(()) }
}

/// What the ledgers that are left say: the lost store's own, and the copy of it that a restore which was cut short has put
/// aside. Such a copy is made here, before the ledger begins a new epoch, so that the repeated restore still knows what was
/// lost.
fn left_in(place: &StoreDir, manifest: &Manifest) -> io::Result<Vec<Slot>> {
    let aside = place.dir.join(LEDGER_LEFT);
    let [own, earlier] =
        [&place.ledger(), &aside].map(|path| ledger::read(path).ok().flatten().map(|found| found.slot));
    if own.as_ref().is_some_and(|slot| is_of(manifest, slot)) {
        private::replace(&aside, &fs::read(place.ledger())?)?;
    }
    Ok(own.into_iter().chain(earlier).collect())
}

/// Whether a ledger goes on where the backup was taken.
fn is_of(manifest: &Manifest, slot: &Slot) -> bool {
    format!("{:032x}", slot.epoch) == manifest.backup.epoch && slot.commit >= manifest.backup.commit
}

fn read_manifest(from: &Path) -> Result<Manifest, String> {
    let text = fs::read(from.join(MANIFEST)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("it has no {MANIFEST}: it was not finished, or it is no backup"),
        _ => format!("{MANIFEST}: {error}"),
    })?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| format!("{MANIFEST}: {error}"))?;
    if manifest.format != FORMAT {
        return Err(format!("its format is {}, this crm-relay knows {FORMAT}", manifest.format));
    }
    Ok(manifest)
}

/// What the ledgers that were left say of the time since the backup, if they are of the same history.
fn gap_of(manifest: &Manifest, left: &[Slot], at: Wall) -> Gap {
    let backup = &manifest.backup;
    let left = left.iter().filter(|slot| is_of(manifest, slot)).max_by_key(|slot| slot.commit);
    let since = Wall::from_micros(backup.at_ms.saturating_mul(1000));
    Gap {
        why: Why::Restored,
        since,
        // A clock that was set back meanwhile makes no time before the backup.
        until: at.max(since),
        commits: left.map(|slot| slot.commit - backup.commit),
        events: left.map(|slot| slot.accepted.saturating_sub(backup.accepted)),
    }
}

/// Begins a new epoch, with ids above all that the old one may have given out as far as can be known.
fn begin_epoch(
    place: &StoreDir,
    db: &mut Connection,
    manifest: &Manifest,
    left: &[Slot],
    from: &Path,
    gap: &Gap,
) -> Result<(), OpenError> {
    let entry = AuditEntry {
        at: gap.until,
        who: "cli".to_owned(),
        action: "store.restore".to_owned(),
        subject: format!("backup {} of commit {}", from.display(), manifest.backup.commit),
        origin: String::new(),
    };
    // The next id is minted above this, whatever the clock says then.
    let at_least = gap.until.as_millis() as i64 * (1 << crate::sqlite::files::schema::SEQ_BITS);
    let id_high = left.iter().map(|slot| slot.id_high).fold(at_least, i64::max);
    let begun = epoch::begin(db, &[entry], id_high, |db| gap::add(db, gap).map(Some));
    let (meta, accepted) = begun.map_err(|error| place.damaged(error))?;
    place.open_ledger(&Slot::of(&meta, accepted)).map(drop)
}

enum Copy {
    Source(String),
    Target(io::Error),
    Interrupted,
}

/// Copies under another name first, so that a restore that was cut short leaves no store; gives length and SHA-256.
fn take_copy(from: &Path, part: &Path, watch: &Watch) -> Result<(u64, String), Copy> {
    let read = |error: io::Error| Copy::Source(format!("{DATABASE}: {error}"));
    let mut source = File::open(from).map_err(read)?;
    let mut target = private::open(part).map_err(Copy::Target)?;
    let (mut digest, mut bytes, mut chunk) = (Digest::new(), 0, vec![0; 256 * 1024]);
    loop {
        if watch.is_stopped() {
            return Err(Copy::Interrupted);
        }
        let count = source.read(&mut chunk).map_err(read)?;
        if count == 0 {
            return Ok((bytes, digest.finish()));
        }
        watch.add(count as u64);
        digest.update(&chunk[..count]);
        target.write_all(&chunk[..count]).map_err(Copy::Target)?;
        bytes += count as u64;
    }
}

/// Gives the copy, whose ledger is there, the name of the store.
fn put_in_place(part: &Path, dir: &Path) -> io::Result<()> {
    private::open(part)?.sync_all()?;
    remove_companions(part)?;
    remove_companions(&dir.join(DATABASE))?;
    fs::rename(part, dir.join(DATABASE))?;
    File::open(dir)?.sync_all()
}

/// Makes the file that says that a restore was begun, or empties the one of a restore that did not come to its end.
fn mark(part: &Path) -> io::Result<()> {
    remove_companions(part)?;
    let file = private::open(part)?;
    file.set_len(0)?;
    file.sync_all()
}

/// Removes what is left of a restore that did not come to its end.
fn remove_part(part: &Path) -> io::Result<()> {
    remove_companions(part)?;
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what SQLite leaves beside a database.
fn remove_companions(database: &Path) -> io::Result<()> {
    for ending in ["-wal", "-shm"] {
        let mut name = database.as_os_str().to_owned();
        name.push(ending);
        match fs::remove_file(Path::new(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same restore may do once there is room, or nobody else has the directory; a backup that is none stays so.
    #[test]
    fn every_reason_not_to_restore_says_whether_it_passes() {
        let dir = || PathBuf::from("/data");
        let unusable = RestoreError::Unusable { from: dir(), what: "cut short".into() };
        for (error, expected) in [
            (unusable, (Fault::Operator, Retry::Never)),
            (RestoreError::NoRoom { dir: dir(), bytes: 2, free: 1 }, (Fault::Resource, Retry::Backoff)),
            (RestoreError::NotEmpty(dir()), (Fault::Caller, Retry::Never)),
            (OpenError::InUse { dir: dir(), pid: None }.into(), (Fault::Operator, Retry::Backoff)),
        ] {
            assert_eq!((error.fault(), error.retry()), expected, "{error}");
        }
    }
}
