//! The ack ledger: what was acknowledged last, in a file of its own, so that a database that lost commits is noticed.
//!
//! **Invariant:** a slot is written after the commit it names and before that commit's answers.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::meta::Meta;
use crate::private;

const MAGIC: [u8; 4] = *b"CRML";
const VERSION: u32 = 1;
/// One disk sector each, so that a torn write harms one slot only.
const SLOT_BYTES: u64 = 512;
const CONTENT_BYTES: usize = 4 + 4 + 16 + 8 + 32 + 8 + 8;
/// How long an acknowledged commit may be missing from the ledger's disk.
const SYNC_EVERY: Duration = Duration::from_millis(10);

/// What one slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) epoch: u128,
    pub(super) commit: u64,
    pub(super) chain: [u8; 32],
    pub(super) id_high: i64,
    pub(super) accepted: u64,
}

impl Slot {
    /// What the ledger says after this commit.
    pub(super) fn of(meta: &Meta, accepted: u64) -> Self {
        Self { epoch: meta.epoch, commit: meta.commit, chain: meta.chain, id_high: meta.id_high, accepted }
    }

    fn encode(&self) -> [u8; CONTENT_BYTES + 4] {
        let mut bytes = Vec::with_capacity(CONTENT_BYTES + 4);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.commit.to_le_bytes());
        bytes.extend_from_slice(&self.chain);
        bytes.extend_from_slice(&self.id_high.to_le_bytes());
        bytes.extend_from_slice(&self.accepted.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.try_into().expect("the fields above add up to this length")
    }

    fn decode(bytes: &[u8; CONTENT_BYTES + 4]) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (magic, rest) = content.split_first_chunk::<4>()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let (epoch, rest) = rest.split_first_chunk::<16>()?;
        let (commit, rest) = rest.split_first_chunk::<8>()?;
        let (chain, rest) = rest.split_first_chunk::<32>()?;
        let (id_high, rest) = rest.split_first_chunk::<8>()?;
        let (accepted, _) = rest.split_first_chunk::<8>()?;
        (*magic == MAGIC && u32::from_le_bytes(*version) == VERSION).then(|| Self {
            epoch: u128::from_le_bytes(*epoch),
            commit: u64::from_le_bytes(*commit),
            chain: *chain,
            id_high: i64::from_le_bytes(*id_high),
            accepted: u64::from_le_bytes(*accepted),
        })
    }
}

/// Reads the newer valid slot; `None` if the file is missing or neither slot holds.
pub(super) fn read(path: &Path) -> io::Result<Option<Slot>> {
    let file = match private::open_existing(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut newest: Option<Slot> = None;
    for place in 0..2 {
        let mut bytes = [0; CONTENT_BYTES + 4];
        match file.read_exact_at(&mut bytes, place * SLOT_BYTES) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(error),
        }
        newest = newest.into_iter().chain(Slot::decode(&bytes)).max_by_key(|slot| slot.commit);
    }
    Ok(newest)
}

/// The open ledger, with the thread that fsyncs it.
#[derive(Debug)]
pub(super) struct Ledger {
    file: Arc<File>,
    shared: Arc<(Mutex<Wanted>, Condvar)>,
    syncer: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Wanted {
    sync: bool,
    stop: bool,
    failed: Option<String>,
}

impl Ledger {
    /// Opens or makes it, writes `slot` into both places and fsyncs: from here on only this epoch counts.
    pub(super) fn open(path: &Path, slot: &Slot) -> io::Result<Self> {
        let file = private::open(path)?;
        file.set_len(2 * SLOT_BYTES)?;
        for place in 0..2 {
            file.write_all_at(&slot.encode(), place * SLOT_BYTES)?;
        }
        file.sync_all()?;
        if let Some(dir) = path.parent() {
            // A ledger whose name is lost with the power would make the next start refuse a healthy store.
            File::open(dir)?.sync_all()?;
        }
        let file = Arc::new(file);
        let shared = Arc::new((Mutex::new(Wanted::default()), Condvar::new()));
        let syncer = {
            let (file, shared) = (Arc::clone(&file), Arc::clone(&shared));
            thread::Builder::new().name("ledger".into()).spawn(move || sync_when_wanted(&file, &shared))?
        };
        Ok(Self { file, shared, syncer: Some(syncer) })
    }

    /// Writes a slot; it is on disk within [`SYNC_EVERY`].
    ///
    /// # Errors
    /// This write failed, or an earlier fsync did: the store must stop.
    pub(super) fn write(&self, slot: &Slot) -> io::Result<()> {
        self.file.write_all_at(&slot.encode(), (slot.commit % 2) * SLOT_BYTES)?;
        let (wanted, wake) = &*self.shared;
        let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = &wanted.failed {
            return Err(io::Error::other(reason.clone()));
        }
        if !wanted.sync {
            wanted.sync = true;
            wake.notify_one();
        }
        Ok(())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.shared.1.notify_one();
        if let Some(syncer) = self.syncer.take() {
            // A panic there has been printed; there is nothing left to save.
            drop(syncer.join());
        }
    }
}

fn sync_when_wanted(file: &File, shared: &(Mutex<Wanted>, Condvar)) {
    let (wanted, wake) = shared;
    loop {
        let mut now = wanted.lock().unwrap_or_else(PoisonError::into_inner);
        while !now.sync && !now.stop {
            now = wake.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
        if !now.sync {
            return;
        }
        now.sync = false;
        drop(now);
        if let Err(error) = file.sync_data() {
            wanted.lock().unwrap_or_else(PoisonError::into_inner).failed =
                Some(format!("fsync of the ledger: {error}"));
            return;
        }
        // Collect the commits of one span into one fsync.
        let now = wanted.lock().unwrap_or_else(PoisonError::into_inner);
        drop(wake.wait_timeout_while(now, SYNC_EVERY, |now| !now.stop));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(commit: u64) -> Slot {
        Slot { epoch: 7, commit, chain: [commit as u8; 32], id_high: 9, accepted: commit * 3 }
    }

    /// I18: the newest acknowledged commit is found again, and a torn slot falls back to the one before.
    #[test]
    fn the_newer_slot_counts_and_a_torn_one_does_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger");
        assert_eq!(read(&path).expect("no file is fine"), None);
        let ledger = Ledger::open(&path, &slot(4)).expect("opens");
        ledger.write(&slot(5)).expect("writes");
        ledger.write(&slot(6)).expect("writes");
        assert_eq!(read(&path).expect("reads"), Some(slot(6)));
        ledger.file.write_all_at(b"torn", 0).expect("writes");
        assert_eq!(read(&path).expect("reads"), Some(slot(5)));
    }
}
