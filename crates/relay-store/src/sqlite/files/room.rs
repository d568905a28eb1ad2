//! Room: how much may still be stored, and the ballast that settling may use when the disk is full.

use std::{
    fs, io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::fs::FallocateFlags;

use crate::private;

/// How often the disk is asked.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// What is written to see whether there is any room.
const PROBE_BYTES: usize = 64 * 1024;
/// The ballast: the WAL of several thousand settled deliveries.
const BALLAST_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Tells how many bytes are free below the store. Tests may bring their own.
pub type DiskFree = Arc<dyn Fn() -> io::Result<u64> + Send + Sync>;

/// Whether not even a little can be written below the store for want of room, be it of the disk or of a quota.
pub(crate) fn is_exhausted(dir: &Path) -> bool {
    let probe = dir.join("room.probe");
    let write = || {
        let file = private::open(&probe)?;
        file.write_all_at(&vec![1; PROBE_BYTES], 0)
    };
    let written: io::Result<()> = write();
    drop(fs::remove_file(&probe));
    written.is_err_and(|error| private::is_no_room(&error))
}

/// What the writer last saw, for `stats`.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    full: AtomicBool,
}

impl Seen {
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
}

/// The writer's view of the disk.
pub(crate) struct Room {
    disk_free: DiskFree,
    reserve: u64,
    /// Where the store is.
    dir: PathBuf,
    /// `None`: there shall be none.
    ballast: Option<PathBuf>,
    ballast_bytes: u64,
    /// Bytes that lie in it.
    held: u64,
    sampled: Option<Instant>,
    seen: Arc<Seen>,
}

impl Room {
    /// `reserve` bytes of the disk stay free; an eighth of them lies in the ballast file. What an earlier run left of it
    /// counts: on a full disk no new one could be made.
    pub(crate) fn new(
        disk_free: DiskFree,
        reserve: u64,
        dir: &Path,
        ballast: Option<PathBuf>,
        seen: Arc<Seen>,
    ) -> Self {
        let ballast_bytes = if ballast.is_some() { (reserve / 8).min(BALLAST_BYTES_MAX) } else { 0 };
        let left = ballast.as_ref().and_then(|path| private::open_existing(path).ok()?.metadata().ok());
        let held = match left {
            Some(found) if !relay_core::canary::is("sqlite_ballast_forgotten") => found.len().min(found.blocks() * 512),
            Some(_) | None => 0,
        };
        let dir = dir.to_owned();
        Self { disk_free, reserve, dir, ballast, ballast_bytes, held, sampled: None, seen }
    }

    /// Whether not even a little can be written for want of room, be it of the disk or of a quota.
    pub(crate) fn is_exhausted(&self) -> bool {
        is_exhausted(&self.dir)
    }

    /// Whether appends must be refused. `free_inside`: bytes of free pages in the database.
    pub(crate) fn is_full(&mut self, free_inside: impl FnOnce() -> u64) -> bool {
        if self.sampled.is_none_or(|sampled| sampled.elapsed() >= SAMPLE_EVERY) {
            self.sample(free_inside());
        }
        self.seen.is_full()
    }

    /// Whether there was no room when the disk was last asked.
    pub(crate) fn was_full(&self) -> bool {
        self.seen.is_full()
    }

    /// A write found no room: appends are refused until the disk is asked again.
    pub(crate) fn ran_out(&mut self) {
        self.seen.full.store(true, Ordering::Relaxed);
        self.sampled = Some(Instant::now());
    }

    /// Gives the ballast back to the disk, for settling and retention; whether there was any.
    pub(crate) fn drop_ballast(&mut self) -> bool {
        if std::mem::take(&mut self.held) == 0 {
            return false;
        }
        tracing::warn!(event = "store_full", "the disk is full: the ballast is used to finish what is open");
        self.ballast.as_ref().is_some_and(|path| fs::remove_file(path).is_ok())
    }

    fn sample(&mut self, free_inside: u64) {
        self.sampled = Some(Instant::now());
        // A disk that does not answer here will answer the next write.
        let free = (self.disk_free)().unwrap_or(u64::MAX);
        if self.held < self.ballast_bytes && free > self.reserve {
            match self.make_ballast() {
                Ok(()) => self.held = self.ballast_bytes,
                Err(error) => self.go_without(&error),
            }
        }
        let held_back = self.reserve - self.held.min(self.ballast_bytes);
        let full = free.saturating_add(free_inside) <= held_back;
        if self.seen.full.swap(full, Ordering::Relaxed) != full {
            if full {
                let reserve = self.reserve;
                tracing::warn!(
                    event = "store_full",
                    free,
                    reserve,
                    "no room beyond the reserve: new webhooks are refused"
                );
            } else {
                tracing::info!(event = "store_room", free, "there is room again");
            }
        }
    }

    /// A file system that sets no room aside for a file has no ballast: `DISK_RESERVE` as a whole is what stays free then.
    fn go_without(&mut self, error: &io::Error) {
        let unsupported = [rustix::io::Errno::OPNOTSUPP, rustix::io::Errno::NOSYS];
        if !unsupported.iter().any(|errno| Some(errno.raw_os_error()) == error.raw_os_error()) {
            return;
        }
        let Some(path) = self.ballast.take() else { return };
        tracing::warn!(
            event = "no_ballast",
            "this file system sets no room aside (fallocate is not supported): when the disk is full, settling has only \
             what others leave it"
        );
        drop(fs::remove_file(path));
    }

    fn make_ballast(&self) -> io::Result<()> {
        let Some(path) = &self.ballast else { return Ok(()) };
        let file = private::open(path)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.ballast_bytes)?;
        Ok(())
    }
}
