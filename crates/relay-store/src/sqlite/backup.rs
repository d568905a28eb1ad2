//! A consistent copy of the store, made in steps on the writer's own connection between its batches, and the way back.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, File},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
};

use aws_lc_rs::digest::{Context, SHA256};
use relay_core::storage::StoreError;
use rusqlite::{Connection, backup::StepResult, wal::CheckpointMode};
use serde_json::json;
use tokio::sync::oneshot;

use super::{
    book::Book,
    check,
    fault::Fault,
    ledger::{Ledger, Slot},
    meta::Meta,
    open::{self, OpenError, Place},
    writer::Writer,
};
use crate::seam::{AuditEntry, Backup};

/// Pages copied between two batches: 2 MiB.
const PAGES_PER_STEP: i32 = 256;
const MANIFEST: &str = "manifest.json";
const DATABASE: &str = "store.db";
/// Format of the manifest.
const FORMAT: u64 = 1;

/// A backup that somebody waits for.
pub(super) struct Order {
    pub(super) into: PathBuf,
    pub(super) answer: oneshot::Sender<Result<Backup, StoreError>>,
}

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
    /// There is a store already.
    #[error("{} already holds a store: restore into an empty data directory", .0.display())]
    NotEmpty(PathBuf),
    /// The data directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Copies the store while batches go on. Only a fault of the store itself is an error.
pub(super) fn run(writer: &mut Writer, db: &Connection, order: Order) -> Result<(), Fault> {
    let Order { into, answer } = order;
    match copy(writer, db, &into) {
        Ok((meta, events)) => {
            let finishing = move || {
                let finished = finish(&into, &meta, events);
                drop(answer.send(finished.map_err(|error| failed(&into, &error))));
            };
            // Reading the copy again takes a while and needs nothing of the writer.
            if let Err(error) = thread::Builder::new().name("store-backup".into()).spawn(finishing) {
                tracing::error!(event = "backup_failed", %error);
            }
            Ok(())
        }
        Err(Stopped::Store(fault)) => Err(fault),
        Err(Stopped::Target(error)) => {
            drop(answer.send(Err(failed(&into, &error))));
            Ok(())
        }
    }
}

/// Puts a backup into a data directory that holds no store. The ledger starts a new epoch.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore(from: &Path, dir: &Path, at: relay_core::time::Wall) -> Result<Backup, RestoreError> {
    let unusable = |what: String| RestoreError::Unusable { from: from.to_owned(), what };
    let manifest = fs::read(from.join(MANIFEST)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unusable(format!("it has no {MANIFEST}: it was not finished, or it is no backup")),
        _ => unusable(format!("{MANIFEST}: {error}")),
    })?;
    let manifest: serde_json::Value =
        serde_json::from_slice(&manifest).map_err(|error| unusable(format!("{MANIFEST}: {error}")))?;
    let number = |name: &str| manifest.get(name).and_then(serde_json::Value::as_u64);
    if number("format") != Some(FORMAT) {
        return Err(unusable(format!("its format is not {FORMAT}")));
    }
    let (bytes, digest) = digest(&from.join(DATABASE)).map_err(|error| unusable(format!("{DATABASE}: {error}")))?;
    if manifest.get("sha256").and_then(serde_json::Value::as_str) != Some(&digest) {
        return Err(unusable(format!("{DATABASE} does not have the SHA-256 that {MANIFEST} names")));
    }
    if dir.join(DATABASE).metadata().is_ok_and(|found| found.len() > 0) {
        return Err(RestoreError::NotEmpty(dir.to_owned()));
    }
    let place = Place::claim(dir)?;
    let cannot_write = |error| open::io_error("write", dir, error);
    let part = dir.join("store.db.part");
    take_copy(from, &part).map_err(cannot_write)?;
    let mut db = place.connect(&part)?;
    let entry = AuditEntry {
        at,
        who: "cli".to_owned(),
        action: "store.restore".to_owned(),
        subject: format!("backup {}", from.display()),
    };
    begin_epoch(&place, &mut db, &[entry])?;
    db.wal_checkpoint_v2(None::<&str>, CheckpointMode::TRUNCATE).map_err(|error| place.damaged(error))?;
    drop(db);
    put_in_place(&part, dir).map_err(cannot_write)?;
    Ok(Backup { bytes, events: number("events").unwrap_or(0) })
}

/// Begins a new epoch: from here on the ledger speaks of this history only.
pub(super) fn begin_epoch(place: &Place, db: &mut Connection, audit: &[AuditEntry]) -> Result<(), OpenError> {
    let begun = check::begin_epoch(db, audit).map_err(|error| place.damaged(error))?;
    let (meta, accepted) = begun;
    let ledger = Ledger::open(&place.ledger(), &Slot::of(&meta, accepted));
    ledger.map(drop).map_err(|error| open::io_error("write", &place.ledger(), error))
}

enum Stopped {
    Store(Fault),
    Target(io::Error),
}

impl From<rusqlite::Error> for Stopped {
    fn from(error: rusqlite::Error) -> Self {
        Self::Target(io::Error::other(error))
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Target(error)
    }
}

/// Gives the commit the copy stands for, and the number of events in it.
fn copy(writer: &mut Writer, db: &Connection, into: &Path) -> Result<(Meta, u64), Stopped> {
    DirBuilder::new().mode(0o700).create(into)?;
    let mut target = Connection::open(into.join(DATABASE))?;
    let backup = rusqlite::backup::Backup::new(db, &mut target)?;
    loop {
        if backup.step(PAGES_PER_STEP)? == StepResult::Done {
            return Ok((writer.meta, stored(&writer.book)));
        }
        // More to copy, or a reader in the way for a moment: other work comes first.
        if writer.queues.is_abandoned() {
            return Err(Stopped::Target(io::Error::other("the store was closed")));
        }
        if let Some(jobs) = writer.queues.next_batch() {
            writer.commit_and_checkpoint(db, jobs).map_err(Stopped::Store)?;
        }
    }
}

fn stored(book: &Book) -> u64 {
    book.entries(super::book::Kind::Source).map(|(_, entry)| entry.source_stats().stored).sum()
}

/// Writes the manifest, last: a directory without one is no backup.
fn finish(into: &Path, meta: &Meta, events: u64) -> io::Result<Backup> {
    let (bytes, sha256) = digest(&into.join(DATABASE))?;
    let manifest = json!({
        "format": FORMAT,
        "sha256": sha256,
        "bytes": bytes,
        "events": events,
        "commit": meta.commit,
        "epoch": format!("{:032x}", meta.epoch),
    });
    File::open(into.join(DATABASE))?.sync_all()?;
    let path = into.join(MANIFEST);
    fs::write(&path, format!("{manifest:#}\n"))?;
    File::open(&path)?.sync_all()?;
    File::open(into)?.sync_all()?;
    if let Some(parent) = into.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(Backup { bytes, events })
}

fn failed(into: &Path, error: &io::Error) -> StoreError {
    tracing::error!(event = "backup_failed", into = %into.display(), %error);
    if error.kind() == io::ErrorKind::StorageFull {
        return StoreError::Full;
    }
    StoreError::Damaged { what: format!("backup into {}: {error}", into.display()).into() }
}

/// Copies under another name first, so that a restore that was cut short leaves no store.
fn take_copy(from: &Path, part: &Path) -> io::Result<()> {
    remove_companions(part)?;
    fs::copy(from.join(DATABASE), part)?;
    // The backup may be read-only.
    fs::set_permissions(part, fs::Permissions::from_mode(0o600))
}

/// Gives the copy, whose ledger is there, the name of the store.
fn put_in_place(part: &Path, dir: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    remove_companions(part)?;
    remove_companions(&dir.join(DATABASE))?;
    fs::rename(part, dir.join(DATABASE))?;
    File::open(dir)?.sync_all()
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

/// Length and SHA-256 of a file.
fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut chunk = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            let mut text = String::new();
            for byte in context.finish().as_ref() {
                // Writing to a string does not fail.
                let _ = write!(text, "{byte:02x}");
            }
            return Ok((bytes, text));
        }
        context.update(&chunk[..read]);
        bytes += read as u64;
    }
}
