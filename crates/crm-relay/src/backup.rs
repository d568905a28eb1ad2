//! Takes a copy of the store, from a running server or from the store itself, and writes it where the operator says: the
//! server may not be able to write there.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::BytesMut;
use relay_server::api::BackupAsk;
use relay_store::{
    copy::{Backup, BackupError, Copying, DATABASE, Digest, FORMAT, Frame, MANIFEST, Manifest, NoFrame, Piece},
    private,
    seam::Upkeep as _,
    sqlite::SqliteStore,
};

use crate::{
    admin_client::{Api, Arriving},
    exit::{Exit, Failure, reason},
    output::say,
    quantity::show_size,
    render::progress::Progress,
    signals,
};

/// Where a copy comes from.
pub(crate) enum Source {
    /// A server.
    Server(Api),
    /// A data directory that no server uses.
    Closed(Arc<SqliteStore>),
}

/// Writes a copy into `into`, which does not exist yet. Whatever goes wrong, nothing is left of it.
///
/// # Errors
/// In words, with the exit code that says whose turn it is.
pub(crate) async fn take(source: Source, into: &Path) -> Result<Manifest, Failure> {
    let stop = signals::listen()?;
    // Made first: what cannot be written is said before anything is read.
    let mut copy = Copy::begin(into)?;
    let taken = tokio::select! {
        taken = pieces(source, &mut copy) => taken,
        () = stop.asked() => Err(Failure::no("interrupted")),
    };
    match taken.and_then(|manifest| copy.finish(&manifest).map(|()| manifest)) {
        Ok(manifest) => Ok(manifest),
        Err(failure) => Err(copy.undo(&failure)),
    }
}

async fn pieces(source: Source, copy: &mut Copy) -> Result<Manifest, Failure> {
    match source {
        Source::Server(api) => {
            let mut arriving = api.stream("/api/v1/store/backup", &BackupAsk::default()).await?;
            let taken = streamed(&mut arriving, copy).await;
            taken.map_err(|why| match why {
                Ended::Failure(failure) => failure,
                Ended::Away(why) => {
                    Failure::unreachable(format!("the copy from {api} ended early: {why}. Take it again"))
                }
            })
        }
        Source::Closed(store) => closed(&store, copy).await,
    }
}

/// How a stream ended that did not end well.
enum Ended {
    Away(String),
    Failure(Failure),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<NoFrame> for Ended {
    fn from(error: NoFrame) -> Self {
        Self::Away(error.to_string())
    }
}

async fn streamed(arriving: &mut Arriving, copy: &mut Copy) -> Result<Manifest, Ended> {
    let mut arrived = BytesMut::new();
    while let Some(bytes) = arriving.next().await.map_err(Ended::Away)? {
        arrived.extend_from_slice(&bytes);
        while let Some(frame) = Frame::take(&mut arrived)? {
            match frame {
                Frame::About(backup) => copy.expect(&backup)?,
                Frame::Bytes(bytes) => copy.write(&bytes)?,
                Frame::End(manifest) => return Ok(*manifest),
                Frame::Failed { code, detail } => return Err(failed(&code, detail).into()),
            }
        }
    }
    Err(Ended::Away("the connection was closed".into()))
}

/// Without a server this command reads the store itself, in the way of none that starts meanwhile.
async fn closed(store: &SqliteStore, copy: &mut Copy) -> Result<Manifest, Failure> {
    let taken = async {
        let Copying { backup, mut pieces } = store.backup().await?;
        copy.expect(&backup)?;
        while let Some(piece) = pieces.recv().await {
            match piece? {
                Piece::Bytes(bytes) => copy.write(&bytes)?,
                Piece::End(manifest) => return Ok(*manifest),
            }
        }
        Err(BackupError::Unavailable.into())
    };
    let taken = taken.await;
    store.close().await;
    taken
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        failed(error.code(), error.to_string())
    }
}

/// Only a store that has failed is one.
fn failed(code: &str, detail: String) -> Failure {
    match code {
        "store_unavailable" | "damaged" => Failure::new(Exit::StoreFailed, detail),
        "shutting_down" => Failure::unreachable(detail),
        _ => Failure::no(detail),
    }
}

/// How a copy is named until it is whole: `.NAME.crm-relay-part`, beside where it will be.
const PART: &str = ".crm-relay-part";

/// A copy that is being written. It gets its name last, so that whatever has one is whole.
struct Copy {
    /// Where it will be.
    into: PathBuf,
    /// Where it is until then.
    dir: PathBuf,
    /// The directory, locked: what is left of a copy whose command was killed is not.
    lock: File,
    database: File,
    digest: Digest,
    written: u64,
    progress: Progress,
}

impl Copy {
    fn begin(into: &Path) -> Result<Self, Failure> {
        let (Some(parent), Some(name)) = (into.parent(), into.file_name()) else { return Err(is_there(into)) };
        if into.symlink_metadata().is_ok() {
            return Err(is_there(into));
        }
        remove_left(parent);
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(PART);
        let dir = parent.join(part);
        // Fails for whatever is there already, a link included.
        DirBuilder::new().mode(0o700).create(&dir).map_err(|error| cannot_make(into, &error))?;
        let made = File::open(&dir).and_then(|lock| {
            // Where directories are not locked, nobody removes what is left.
            drop(lock.try_lock());
            Ok((lock, private::create(&dir.join(DATABASE))?))
        });
        let (lock, database) = made.map_err(|error| {
            drop(fs::remove_dir(&dir));
            cannot("write", &dir.join(DATABASE), &error)
        })?;
        let (digest, progress) = (Digest::new(), Progress::bytes(0));
        Ok(Self { into: into.to_owned(), dir, lock, database, digest, written: 0, progress })
    }

    /// Says what will come: no use to begin where there is no room for it.
    fn expect(&mut self, backup: &Backup) -> Result<(), Failure> {
        self.progress = Progress::bytes(backup.bytes);
        let free = rustix::fs::statvfs(&self.dir).map(|stat| stat.f_bavail * stat.f_frsize);
        match free {
            Ok(free) if free < backup.bytes => Err(Failure::no(format!(
                "{} has no room for the copy: it takes {}, {} are free there",
                self.dir.display(),
                size(backup.bytes),
                size(free)
            ))),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.database.write_all(bytes).map_err(|error| cannot("write", &self.dir.join(DATABASE), &error))?;
        self.digest.update(bytes);
        self.written += bytes.len() as u64;
        self.progress.add(bytes.len() as u64);
        Ok(())
    }

    /// Compares what came with what was sent, and writes the manifest, last: a directory without one is no backup.
    fn finish(&mut self, manifest: &Manifest) -> Result<(), Failure> {
        self.progress.clear();
        let sha256 = std::mem::take(&mut self.digest).finish();
        if manifest.format != FORMAT {
            return Err(Failure::new(
                Exit::NewerVersion,
                format!("the server writes backups of format {}, this crm-relay knows {FORMAT}", manifest.format),
            ));
        }
        if (self.written, &sha256) != (manifest.backup.bytes, &manifest.sha256) {
            return Err(Failure::unreachable(
                "the copy did not arrive as it was sent: its SHA-256 differs. Take it again",
            ));
        }
        let text = serde_json::to_string_pretty(manifest).unwrap_or_default();
        let path = self.dir.join(MANIFEST);
        let write = || {
            self.database.sync_all()?;
            let mut file = private::create(&path)?;
            writeln!(file, "{text}")?;
            file.sync_all()?;
            private::sync_dir_of(&path)?;
            if self.into.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(&self.dir, &self.into)?;
            private::sync_dir_of(&self.into)
        };
        write().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => is_there(&self.into),
            _ => cannot("write", &path, &error),
        })
    }

    /// Removes what was written; says so, or what is left.
    fn undo(self, failure: &Failure) -> Failure {
        drop((self.database, self.progress));
        let left = match remove(&self.dir) {
            Ok(()) => "nothing of it is left".to_owned(),
            Err(error) => format!("remove what is left of it in {}: {}", self.dir.display(), reason(&error)),
        };
        drop(self.lock);
        Failure::new(failure.exit, format!("{}; {left}", failure.text))
    }
}

/// Removes what commands that were killed have left of their copies: ours, under the name of what is not whole, with nothing
/// in it that a copy has not, and nobody writing it any more. What cannot be removed does no harm.
fn remove_left(parent: &Path) {
    let us = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let is_part = name.as_bytes().starts_with(b".") && name.as_bytes().ends_with(PART.as_bytes());
        let is_ours = is_part && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == us);
        if is_ours && File::open(&path).is_ok_and(|lock| lock.try_lock().is_ok() && remove(&path).is_ok()) {
            let path = path.display().to_string();
            say(&format!("removed {path}: what was left of a backup whose command was killed"));
        }
    }
}

/// Removes a copy that is not whole, and nothing else.
fn remove(dir: &Path) -> io::Result<()> {
    for name in [MANIFEST, DATABASE] {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::remove_dir(dir)
}

/// What the target of a copy says is about the target, not about the store.
fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ". Make room there, or name another directory",
        io::ErrorKind::ReadOnlyFilesystem => ": the file system is read-only. Name another directory",
        io::ErrorKind::PermissionDenied => ". Name a directory that you may write",
        _ => ". Name another directory",
    };
    Failure::no(format!("cannot {verb} {}: {}{advice}", path.display(), reason(error)))
}

fn is_there(into: &Path) -> Failure {
    Failure::no(format!("{} exists already; name a directory that does not, it is made", into.display()))
}

fn cannot_make(dir: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::no(format!(
            "another command is writing a backup to {}: wait for it, or name another",
            dir.display()
        )),
        io::ErrorKind::NotFound => {
            let parent = dir.parent().unwrap_or(dir).display().to_string();
            Failure::no(format!(
                "cannot make {}: there is no directory {parent}. Make it: mkdir -p {parent}",
                dir.display()
            ))
        }
        _ => cannot("make", dir, error),
    }
}

/// In the largest whole unit.
fn size(bytes: u64) -> String {
    show_size(if bytes < 1 << 20 { bytes } else { (bytes + (1 << 20) - 1) >> 20 << 20 })
}
