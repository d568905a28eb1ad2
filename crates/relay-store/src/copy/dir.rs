//! A copy of a store as it is written: a directory that gets its name last, so that whatever has one is whole.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use relay_core::{
    fault::{Fault, Retry},
    quota,
};

use super::{Backup, DATABASE, Digest, FORMAT, MANIFEST, Manifest};
use crate::private;

/// How a copy is named until it is whole: `.NAME.crm-relay-part`, beside where it will be.
const PART: &str = ".crm-relay-part";

/// A copy that is being written. Dropped before it is [named](Self::name), it leaves what was written: see [`Self::undo`].
#[derive(Debug)]
pub struct CopyDir {
    /// Where it will be.
    into: PathBuf,
    /// Where it is until then.
    dir: PathBuf,
    /// The directory, locked: what is left of a copy whose process was killed is not.
    lock: File,
    database: File,
    digest: Digest,
    written: u64,
}

/// Why a copy was not written.
#[derive(Debug, thiserror::Error)]
pub enum CopyDirError {
    /// Something has its name.
    #[error("{} exists already; name a directory that does not, it is made", .0.display())]
    IsThere(PathBuf),
    /// Somebody else writes a copy of that name.
    #[error("another command is writing a backup to {}: wait for it, or name another", .0.display())]
    UnderWay(PathBuf),
    /// There is nothing to make it in.
    #[error("cannot make {}: there is no directory {parent}. Make it: mkdir -p {parent}", dir.display(), parent = parent.display())]
    NoParent {
        /// What was to be made.
        dir: PathBuf,
        /// Where.
        parent: PathBuf,
    },
    /// It does not fit.
    #[error("{} has no room for the copy: it takes {}, {} are free there{}", dir.display(), size(*takes), size(*free), reserved(*reserve))]
    NoRoom {
        /// Where it is written.
        dir: PathBuf,
        /// How long it will be.
        takes: u64,
        /// What there is.
        free: u64,
        /// What has to stay free beside it.
        reserve: u64,
    },
    /// What came is not what was sent.
    #[error("the copy did not arrive as it was sent: its SHA-256 differs. Take it again")]
    Differs,
    /// A later version makes such copies.
    #[error("the server writes backups of format {found}, this crm-relay knows {FORMAT}")]
    Later {
        /// Of which format it is.
        found: u32,
    },
    /// The system would not have it.
    #[error("cannot {verb} {}: {}{}", path.display(), reason(error), advice(error))]
    Io {
        /// What was tried: `write`, `make`.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl CopyDirError {
    /// Who has to change something.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::IsThere(_) | Self::UnderWay(_) | Self::NoParent { .. } => Fault::Caller,
            Self::NoRoom { .. } => Fault::Resource,
            Self::Differs => Fault::Peer,
            Self::Later { .. } | Self::Io { .. } => Fault::Operator,
        }
    }

    /// Whether the same copy may be written there later.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::UnderWay(_) | Self::NoRoom { .. } | Self::Differs => Retry::Backoff,
            Self::IsThere(_) | Self::NoParent { .. } | Self::Later { .. } | Self::Io { .. } => Retry::Never,
        }
    }
}

impl CopyDir {
    /// Makes it, beside where it will be; what killed processes have left of theirs there is removed, and told to `removed`.
    ///
    /// # Errors
    /// See [`CopyDirError`]; nothing is left then.
    pub fn begin(into: &Path, removed: impl Fn(&Path)) -> Result<Self, CopyDirError> {
        let (Some(parent), Some(name)) = (into.parent(), into.file_name()) else {
            return Err(CopyDirError::IsThere(into.to_owned()));
        };
        if into.symlink_metadata().is_ok() {
            return Err(CopyDirError::IsThere(into.to_owned()));
        }
        remove_left(parent, removed);
        let dir = parent.join(part_of(name));
        // Fails for whatever is there already, a link included.
        DirBuilder::new().mode(0o700).create(&dir).map_err(|error| cannot_make(into, error))?;
        let made = File::open(&dir).and_then(|lock| {
            // Where directories are not locked, nobody removes what is left.
            drop(lock.try_lock());
            Ok((lock, private::create(&dir.join(DATABASE))?))
        });
        let (lock, database) = made.map_err(|error| {
            drop(fs::remove_dir(&dir));
            CopyDirError::Io { verb: "write", path: dir.join(DATABASE), error }
        })?;
        Ok(Self { into: into.to_owned(), dir, lock, database, digest: Digest::new(), written: 0 })
    }

    /// Says what will come, and what has to stay free beside it: no use to begin where there is no room for it.
    ///
    /// # Errors
    /// [`CopyDirError::NoRoom`]
    pub fn expect(&self, backup: &Backup, reserve: u64) -> Result<(), CopyDirError> {
        let free = rustix::fs::statvfs(&self.dir).map(|stat| stat.f_bavail * stat.f_frsize);
        match free {
            Ok(free) if free < backup.bytes.saturating_add(reserve) => {
                Err(CopyDirError::NoRoom { dir: self.dir.clone(), takes: backup.bytes, free, reserve })
            }
            // A disk that does not answer here will answer the first write.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Takes the next bytes of the database.
    ///
    /// # Errors
    /// [`CopyDirError::Io`]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CopyDirError> {
        let written = self.database.write_all(bytes);
        written.map_err(|error| CopyDirError::Io { verb: "write", path: self.dir.join(DATABASE), error })?;
        self.digest.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Compares what came with what was sent, and writes the manifest, last: a directory without one is no backup.
    ///
    /// # Errors
    /// See [`CopyDirError`].
    pub fn finish(&mut self, manifest: &Manifest) -> Result<(), CopyDirError> {
        if manifest.format != FORMAT {
            return Err(CopyDirError::Later { found: manifest.format });
        }
        let sha256 = std::mem::take(&mut self.digest).finish();
        if (self.written, &sha256) != (manifest.backup.bytes, &manifest.sha256) {
            return Err(CopyDirError::Differs);
        }
        let text = serde_json::to_string_pretty(manifest).unwrap_or_default();
        let path = self.dir.join(MANIFEST);
        let write = || {
            self.database.sync_all()?;
            let mut file = private::create(&path)?;
            writeln!(file, "{text}")?;
            file.sync_all()?;
            private::sync_dir_of(&path)
        };
        write().map_err(|error| CopyDirError::Io { verb: "write", path: path.clone(), error })
    }

    /// Where it is until it has its name.
    pub fn part(&self) -> &Path {
        &self.dir
    }

    /// Gives it its name, durably.
    ///
    /// # Errors
    /// See [`CopyDirError`].
    pub fn name(&mut self) -> Result<(), CopyDirError> {
        if self.into.symlink_metadata().is_ok() {
            return Err(CopyDirError::IsThere(self.into.clone()));
        }
        let failed = |path: &Path, error| CopyDirError::Io { verb: "write", path: path.to_owned(), error };
        fs::rename(&self.dir, &self.into).map_err(|error| failed(&self.into, error))?;
        // Undone from there, if the name may not last.
        self.dir.clone_from(&self.into);
        private::sync_dir_of(&self.into).map_err(|error| failed(&self.into, error))
    }

    /// Removes what was written.
    ///
    /// # Errors
    /// What is left, and why.
    pub fn undo(self) -> Result<(), (PathBuf, io::Error)> {
        drop(self.database);
        let removed = remove(&self.dir);
        drop(self.lock);
        removed.map_err(|error| (self.dir, error))
    }
}

/// Removes a copy, and nothing that is none: one with something else in it stays whole. Cut short, the rest goes by the name of what is not
/// whole, and with the next copy that is made beside it.
///
/// # Errors
/// Those of the system.
pub fn remove(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if ![MANIFEST, DATABASE].iter().any(|known| name == *known) {
            let what = format!("{} is in it, which is of no copy", name.display());
            return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, what));
        }
    }
    let part = match (dir.parent(), dir.file_name()) {
        (Some(parent), Some(name)) if !is_part(name) => {
            let part = parent.join(part_of(name));
            fs::rename(dir, &part)?;
            part
        }
        (_, _) => dir.to_owned(),
    };
    remove_part(&part)
}

fn remove_part(dir: &Path) -> io::Result<()> {
    for name in [MANIFEST, DATABASE] {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::remove_dir(dir)
}

/// Removes what processes that were killed have left of their copies: ours, under the name of what is not whole, with nothing
/// in it that a copy has not, and nobody writing it any more. What cannot be removed does no harm.
fn remove_left(parent: &Path, removed: impl Fn(&Path)) {
    let us = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let is_ours = is_part(&name) && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == us);
        if is_ours && File::open(&path).is_ok_and(|lock| lock.try_lock().is_ok() && remove(&path).is_ok()) {
            removed(&path);
        }
    }
}

/// What a copy of that name is called while it is not whole.
fn part_of(name: &OsStr) -> OsString {
    let mut part = OsString::from(".");
    part.push(name);
    part.push(PART);
    part
}

fn is_part(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") && name.as_bytes().ends_with(PART.as_bytes())
}

fn cannot_make(dir: &Path, error: io::Error) -> CopyDirError {
    match error.kind() {
        io::ErrorKind::AlreadyExists => CopyDirError::UnderWay(dir.to_owned()),
        io::ErrorKind::NotFound => {
            CopyDirError::NoParent { dir: dir.to_owned(), parent: dir.parent().unwrap_or(dir).to_owned() }
        }
        _ => CopyDirError::Io { verb: "make", path: dir.to_owned(), error },
    }
}

/// What the target of a copy says is about the target, not about the store.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ". Make room there, or name another directory",
        io::ErrorKind::ReadOnlyFilesystem => ": the file system is read-only. Name another directory",
        io::ErrorKind::PermissionDenied => ". Name a directory that you may write",
        _ => ". Name another directory",
    }
}

/// In plain words, without the number of the operating system.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::StorageFull => "no space left on the disk".to_owned(),
        _ => {
            let text = error.to_string();
            let end = text.find(" (os error").unwrap_or(text.len());
            text[..end].to_lowercase()
        }
    }
}

fn reserved(reserve: u64) -> String {
    if reserve == 0 {
        return String::new();
    }
    format!(", of which {} stay free for webhooks (DISK_RESERVE): it is the disk of the store", size(reserve))
}

/// In the largest whole unit.
fn size(bytes: u64) -> String {
    quota::show_bytes(if bytes < 1 << 20 { bytes } else { bytes.div_ceil(1 << 20) << 20 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What others do, and room, are another matter later; what was asked for wrongly is not.
    #[test]
    fn every_reason_not_to_copy_says_whether_it_passes() {
        let dir = || PathBuf::from("/backup");
        let full = CopyDirError::NoRoom { dir: dir(), takes: 2, free: 1, reserve: 0 };
        let io = CopyDirError::Io { verb: "make", path: dir(), error: io::ErrorKind::Other.into() };
        for (error, expected) in [
            (CopyDirError::IsThere(dir()), (Fault::Caller, Retry::Never)),
            (CopyDirError::UnderWay(dir()), (Fault::Caller, Retry::Backoff)),
            (CopyDirError::NoParent { dir: dir(), parent: dir() }, (Fault::Caller, Retry::Never)),
            (full, (Fault::Resource, Retry::Backoff)),
            (CopyDirError::Differs, (Fault::Peer, Retry::Backoff)),
            (CopyDirError::Later { found: 2 }, (Fault::Operator, Retry::Never)),
            (io, (Fault::Operator, Retry::Never)),
        ] {
            assert_eq!((error.fault(), error.retry()), expected, "{error}");
        }
    }
}
