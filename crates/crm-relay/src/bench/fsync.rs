//! How long one fsync takes on a disk: a page of a log is written over, and waited for, again and again.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::waits::Waits;

/// As the store's pages are.
const PAGE: [u8; 8192] = [0x5a; 8192];
/// Pages of the file. They are there before: a log of the store is written over too, and grows seldom.
const PAGES: u64 = 512;
/// So many are enough to know it: in memory one takes a microsecond.
const ROUNDS_MAX: usize = 100_000;

/// Measures it for `span`, or until it is to stop.
///
/// # Errors
/// The disk's.
pub(crate) fn measure(path: &Path, span: Duration, stop: &AtomicBool) -> io::Result<Option<Waits>> {
    let file = File::create_new(path)?;
    for page in 0..PAGES {
        file.write_all_at(&PAGE, page * PAGE.len() as u64)?;
    }
    file.sync_all()?;
    let (start, mut spans) = (Instant::now(), Vec::new());
    for page in (0..PAGES).cycle().take(ROUNDS_MAX) {
        let began = Instant::now();
        if began - start >= span || stop.load(Ordering::Relaxed) {
            break;
        }
        file.write_all_at(&PAGE, page * PAGE.len() as u64)?;
        file.sync_data()?;
        spans.push(began.elapsed());
    }
    Ok(Waits::of(spans, start.elapsed()))
}
