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
use crate::{
    private,
    record::{
        RecordError,
        seal::{Fields, Sealing},
    },
};

const MAGIC: [u8; 4] = *b"CRML";
const VERSION: u8 = 1;
/// One disk sector each, so that a torn write harms one slot only.
const SLOT_BYTES: u64 = 512;
const BYTES: usize = 1 + 4 + 3 + 16 + 8 + 32 + 8 + 8 + 4;
/// How long an acknowledged commit may be missing from the ledger's disk.
const SYNC_EVERY: Duration = Duration::from_millis(10);

/// What one slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) epoch: u128,
    pub(crate) commit: u64,
    pub(crate) chain: [u8; 32],
    pub(crate) id_high: i64,
    pub(crate) accepted: u64,
}

impl Slot {
    /// What the ledger says after this commit.
    pub(crate) fn of(meta: &Meta, accepted: u64) -> Self {
        Self { epoch: meta.epoch, commit: meta.commit, chain: meta.chain, id_high: meta.id_high, accepted }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        let mut record = Sealing::begin(VERSION, &mut bytes);
        record.raw(&MAGIC);
        record.raw(&[0; 3]);
        record.u128(self.epoch);
        record.u64(self.commit);
        record.raw(&self.chain);
        record.i64(self.id_high);
        record.u64(self.accepted);
        record.end();
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut fields = Fields::open(VERSION, &[], bytes)?;
        if fields.array()? != MAGIC || fields.array()? != [0; 3] {
            return Err(RecordError::Field("magic"));
        }
        let slot = Self {
            epoch: fields.u128()?,
            commit: fields.u64()?,
            chain: fields.array()?,
            id_high: fields.i64()?,
            accepted: fields.u64()?,
        };
        fields.end()?;
        Ok(slot)
    }
}

/// What can be read of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The newer slot that holds.
    pub(crate) slot: Slot,
    /// The other one does not hold, and it is its turn after this one: it may have named one commit more.
    pub(crate) may_have_named_more: bool,
}

/// Reads the newer valid slot; `None` if the file is missing or neither slot holds.
pub(crate) fn read(path: &Path) -> io::Result<Option<Found>> {
    let file = match private::open_existing(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let slots = slots_of(&file)?;
    let newest = slots.iter().flatten().max_by_key(|slot| slot.commit);
    Ok(newest.map(|slot| {
        let turn_of_other = slots[(slot.commit + 1) as usize % 2].is_none();
        Found { slot: *slot, may_have_named_more: turn_of_other }
    }))
}

fn slots_of(file: &File) -> io::Result<[Option<Slot>; 2]> {
    let mut slots = [None, None];
    for place in 0..2 {
        let mut bytes = [0; BYTES];
        match file.read_exact_at(&mut bytes, place * SLOT_BYTES) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(error),
        }
        slots[place as usize] = Slot::decode(&bytes).ok();
    }
    Ok(slots)
}

/// Whether both slots hold and are of this epoch, and the newer one is this.
fn says(file: &File, slot: &Slot) -> io::Result<bool> {
    let [Some(one), Some(other)] = slots_of(file)? else { return Ok(false) };
    let newest = if one.commit > other.commit { one } else { other };
    Ok(newest == *slot && one.epoch == other.epoch)
}

/// The open ledger, with the thread that fsyncs it.
#[derive(Debug)]
pub(crate) struct Ledger {
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
    pub(crate) fn open(path: &Path, slot: &Slot) -> io::Result<Self> {
        let file = private::open(path)?;
        // One that says so already is left as it is: on a full disk even that may find no room.
        if !says(&file, slot)? {
            file.set_len(2 * SLOT_BYTES)?;
            // The place of the next commit first: cut short in between, a new ledger does not look as if it had named more.
            for commit in [slot.commit + 1, slot.commit] {
                file.write_all_at(&slot.encode(), (commit % 2) * SLOT_BYTES)?;
            }
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
    /// This write failed, or an earlier fsync did: the store must stop, unless there was [no room](crate::private::is_no_room).
    pub(crate) fn write(&self, slot: &Slot) -> io::Result<()> {
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
        let found = |commit, may_have_named_more| Some(Found { slot: slot(commit), may_have_named_more });
        assert_eq!(read(&path).expect("reads"), found(6, false));
        ledger.file.write_all_at(b"torn", 0).expect("writes");
        assert_eq!(read(&path).expect("reads"), found(5, true));
        ledger.write(&slot(6)).expect("writes");
        ledger.file.write_all_at(b"torn", SLOT_BYTES).expect("writes");
        assert_eq!(read(&path).expect("reads"), found(6, true));
        drop(ledger);
        let ledger = Ledger::open(&path, &slot(6)).expect("opens");
        ledger.file.write_all_at(b"torn", 0).expect("writes");
        assert_eq!(read(&path).expect("reads"), found(6, false), "the next commit would stand where this one is read");
    }
}
