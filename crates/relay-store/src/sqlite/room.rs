//! Room: how much may still be stored, and the ballast that settling may use when the disk is full.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::fs::FallocateFlags;

/// How often the disk is asked.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// The ballast: the WAL of several thousand settled deliveries.
const BALLAST_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Tells how many bytes are free below the store. Tests may bring their own.
pub type DiskFree = Arc<dyn Fn() -> io::Result<u64> + Send + Sync>;

/// What the writer last saw, for `stats`.
#[derive(Debug, Default)]
pub(super) struct Seen {
    full: AtomicBool,
}

impl Seen {
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
}

/// The writer's view of the disk.
pub(super) struct Room {
    disk_free: DiskFree,
    reserve: u64,
    ballast: PathBuf,
    ballast_bytes: u64,
    has_ballast: bool,
    sampled: Option<Instant>,
    seen: Arc<Seen>,
}

impl Room {
    /// `reserve` bytes of the disk stay free; an eighth of them lies in the ballast file.
    pub(super) fn new(disk_free: DiskFree, reserve: u64, ballast: PathBuf, seen: Arc<Seen>) -> Self {
        let ballast_bytes = (reserve / 8).min(BALLAST_BYTES_MAX);
        Self { disk_free, reserve, ballast, ballast_bytes, has_ballast: false, sampled: None, seen }
    }

    /// Whether appends must be refused. `free_inside`: bytes of free pages in the database.
    pub(super) fn is_full(&mut self, free_inside: impl FnOnce() -> u64) -> bool {
        if self.sampled.is_none_or(|sampled| sampled.elapsed() >= SAMPLE_EVERY) {
            self.sample(free_inside());
        }
        self.seen.is_full()
    }

    /// Whether there was no room when the disk was last asked.
    pub(super) fn was_full(&self) -> bool {
        self.seen.is_full()
    }

    /// A write found no room: appends are refused until the disk is asked again.
    pub(super) fn ran_out(&mut self) {
        self.seen.full.store(true, Ordering::Relaxed);
        self.sampled = Some(Instant::now());
    }

    /// Gives the ballast back to the disk, for settling and retention; whether there was any.
    pub(super) fn drop_ballast(&mut self) -> bool {
        if !std::mem::take(&mut self.has_ballast) {
            return false;
        }
        tracing::warn!(event = "store_full", "the disk is full: the ballast is used to finish what is open");
        fs::remove_file(&self.ballast).is_ok()
    }

    fn sample(&mut self, free_inside: u64) {
        self.sampled = Some(Instant::now());
        // A disk that does not answer here will answer the next write.
        let free = (self.disk_free)().unwrap_or(u64::MAX);
        if !self.has_ballast && free > self.reserve {
            self.has_ballast = self.make_ballast().is_ok();
        }
        let held_back = self.reserve - if self.has_ballast { self.ballast_bytes } else { 0 };
        let full = free.saturating_add(free_inside) <= held_back;
        if self.seen.full.swap(full, Ordering::Relaxed) != full {
            if full {
                tracing::warn!(event = "store_full", free, "no room: new webhooks are refused");
            } else {
                tracing::info!(event = "store_room", free, "there is room again");
            }
        }
    }

    fn make_ballast(&self) -> io::Result<()> {
        if self.ballast_bytes == 0 {
            return Ok(());
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.ballast)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.ballast_bytes)?;
        Ok(())
    }
}
