//! The lock of a store's directory: who writes has it alone, who only reads is in nobody's way.
//!
//! There are two locks, of the file `store.lock` and of the directory itself. Whoever writes holds both alone, as long as the
//! store is open. Whoever only reads shares that of the file while the store is being opened, and may go on reading without
//! it: a reader hinders no writer of SQLite's write-ahead log. The one of the directory is the door: a start takes it first,
//! and from then on nobody new begins to look, so that it need only wait for those who look already.
//!
//! All of them are the kernel's: of a process that was killed none is left.

use std::{
    fs::{File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::private;

/// How long a start waits for commands that are at work in its directory. Those that only look are done within milliseconds
/// or give way; one that mends writes for as long as that takes.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// For so long nobody who holds it is taken for a server: a command may have it that has not written its number yet.
const UNKNOWN_MAX: Duration = Duration::from_millis(100);
/// Between two tries.
const TRY_EVERY: Duration = Duration::from_millis(5);
/// What stands behind the number of a process that is no server.
const COMMAND: &str = "command";

/// Why there is no lock.
#[derive(Debug)]
pub(crate) enum NotLocked {
    /// Somebody else has it.
    InUse {
        /// His process, if it could be read.
        pid: Option<u32>,
    },
    /// The file or the directory cannot be used.
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Who takes a store to write into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// A server, for as long as it runs: another start is refused at once.
    Server,
    /// A command that mends or restores, and is through at some time.
    Command,
}

/// Says that nobody else may open the store. It is given back at its end even if a child that is just being made has the same
/// file open.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    /// Locked as well: somebody who removes the file, because he takes it for a left one, lets nobody in by that.
    dir: File,
}

impl Lock {
    /// Takes both; waits for commands that are at work there, and for nobody else.
    pub(crate) fn take(dir: &Path, who: Writing) -> Result<Self, NotLocked> {
        let (file, door) = open(dir)?;
        let waits = Waits { dir, since: Instant::now() };
        let mut is_told = false;
        let mut held = waits.alone(&file, &door, &mut is_told).map(|()| Self { file, dir: door })?;
        let line = match who {
            Writing::Server => format!("{}\n", std::process::id()),
            Writing::Command => format!("{} {COMMAND}\n", std::process::id()),
        };
        let file = &mut held.file;
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(line.as_bytes()));
        match written {
            // The number is for who finds it locked; a full disk shall be left by what comes after this (I16).
            Err(error) if !private::is_no_room(&error) => Err(io_error("write", &path_in(dir), error)),
            Ok(()) | Err(_) => Ok(held),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the files gives them back as well, where no child has them.
        drop(self.file.unlock());
        drop(self.dir.unlock());
    }
}

/// The wait of a start.
struct Waits<'a> {
    dir: &'a Path,
    since: Instant,
}

impl Waits<'_> {
    /// Locks both, the door first.
    fn alone(&self, file: &File, door: &File, is_told: &mut bool) -> Result<(), NotLocked> {
        // A file system that locks no directory has the file.
        while matches!(door.try_lock(), Err(TryLockError::WouldBlock)) {
            self.on(door, is_told)?;
        }
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => self.on(file, is_told)?,
                Err(TryLockError::Error(error)) => return Err(io_error("lock", &path_in(self.dir), error)),
            }
        }
    }

    /// Waits a moment, if it is commands that are in the way.
    fn on(&self, locked: &File, is_told: &mut bool) -> Result<(), NotLocked> {
        let is_shared = locked.try_lock_shared().is_ok();
        if is_shared {
            drop(locked.unlock());
        }
        let holder = Holder::of(self.dir);
        let most = if is_shared || holder.is_command { WAIT_MAX } else { UNKNOWN_MAX };
        if self.since.elapsed() > most {
            return Err(holder.in_use());
        }
        // What is through at once is not worth a line.
        if !*is_told && self.since.elapsed() > WAIT_MAX / 10 {
            *is_told = true;
            tracing::info!(
                event = "store_waiting",
                dir = %self.dir.display(),
                "a command is at work in the data directory; it is waited for"
            );
        }
        thread::sleep(TRY_EVERY);
        Ok(())
    }
}

/// Says that nobody begins to write while a store is being opened to be read.
#[derive(Debug)]
pub(crate) struct Glance {
    file: File,
    door: File,
    dir: PathBuf,
}

impl Glance {
    /// Shares the lock, unless somebody writes there or is about to.
    pub(crate) fn take(dir: &Path) -> Result<Self, NotLocked> {
        let (file, door) = open(dir)?;
        let mine = Self { file, door, dir: dir.to_owned() };
        if matches!(mine.door.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            return Err(NotLocked::InUse { pid: mine.holder() });
        }
        let shared = mine.file.try_lock_shared();
        drop(mine.door.unlock());
        match shared {
            Ok(()) => Ok(mine),
            Err(TryLockError::WouldBlock) => Err(NotLocked::InUse { pid: mine.holder() }),
            Err(TryLockError::Error(error)) => Err(io_error("lock", &path_in(dir), error)),
        }
    }

    /// Whether somebody waits who wants to write.
    pub(crate) fn is_in_the_way(&self) -> bool {
        match self.door.try_lock_shared() {
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(_)) => false,
            Ok(()) => {
                drop(self.door.unlock());
                false
            }
        }
    }

    /// Whose way it is, if that could be read.
    pub(crate) fn holder(&self) -> Option<u32> {
        Holder::of(&self.dir).pid
    }
}

impl Drop for Glance {
    fn drop(&mut self) {
        drop(self.file.unlock());
        drop(self.door.unlock());
    }
}

/// Who wrote its number last.
struct Holder {
    pid: Option<u32>,
    is_command: bool,
}

impl Holder {
    fn of(dir: &Path) -> Self {
        let mut text = String::new();
        let read = private::open_existing(&path_in(dir)).and_then(|mut file| file.read_to_string(&mut text));
        let mut words = text.split_whitespace();
        let pid = words.next().filter(|_| read.is_ok()).and_then(|pid| pid.parse().ok());
        Self { pid, is_command: words.next() == Some(COMMAND) }
    }

    fn in_use(&self) -> NotLocked {
        NotLocked::InUse { pid: self.pid }
    }
}

fn io_error(verb: &'static str, path: &Path, error: io::Error) -> NotLocked {
    NotLocked::Io { verb, path: path.to_owned(), error }
}

fn path_in(dir: &Path) -> PathBuf {
    dir.join("store.lock")
}

/// The file, which is made if need be, and the directory.
fn open(dir: &Path) -> Result<(File, File), NotLocked> {
    let path = path_in(dir);
    let file = private::open(&path).map_err(|error| {
        // Of a file that is there it is the file that keeps us out; else the directory takes none.
        io_error("write", if path.symlink_metadata().is_ok() { &path } else { dir }, error)
    })?;
    let door = File::open(dir).map_err(|error| io_error("read", dir, error))?;
    Ok((file, door))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in_use<T>(taken: &Result<T, NotLocked>) -> bool {
        matches!(taken, Err(NotLocked::InUse { .. }))
    }

    #[test]
    fn a_second_server_is_refused_at_once_and_so_is_who_looks() {
        let dir = tempfile::tempdir().expect("a directory");
        let server = Lock::take(dir.path(), Writing::Server).expect("is free");
        let began = Instant::now();
        let refused = format!("{:?}", Lock::take(dir.path(), Writing::Server).expect_err("in use"));
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        assert!(is_in_use(&Glance::take(dir.path())));
        assert!(began.elapsed() < WAIT_MAX / 2);
        drop(server);
        Lock::take(dir.path(), Writing::Server).expect("is free again");
    }

    #[test]
    fn a_start_waits_for_who_looks_and_nobody_new_looks_meanwhile() {
        let dir = tempfile::tempdir().expect("a directory");
        let glances = [Glance::take(dir.path()).expect("is free"), Glance::take(dir.path()).expect("is shared")];
        assert!(!glances[0].is_in_the_way());
        let path = dir.path().to_owned();
        let start = thread::spawn(move || Lock::take(&path, Writing::Server));
        while !glances[1].is_in_the_way() {
            thread::yield_now();
        }
        assert!(is_in_use(&Glance::take(dir.path())));
        assert!(!start.is_finished());
        drop(glances);
        start.join().expect("ends").expect("is free");
    }

    #[test]
    fn a_start_waits_for_a_command_that_writes() {
        let dir = tempfile::tempdir().expect("a directory");
        let command = Lock::take(dir.path(), Writing::Command).expect("is free");
        let path = dir.path().to_owned();
        let start = thread::spawn(move || Lock::take(&path, Writing::Server));
        drop(command);
        start.join().expect("ends").expect("is free");
    }
}
