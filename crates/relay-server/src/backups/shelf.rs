//! The directory of copies: which of them are this relay's, when each was taken, and which go.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use relay_core::time::Wall;
use relay_store::copy::{MANIFEST, Manifest, dir};

use super::AHEAD_MAX;

/// Digits of its epoch in the name of a copy.
const DIGITS: usize = 8;
/// Bytes of the time in a name.
const STAMP_LENGTH: usize = 18;
/// Bytes of a manifest at most: a longer file is none.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024;

/// A copy that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptCopy {
    pub(crate) path: PathBuf,
    /// When it was taken, by the system's clock of then.
    pub(crate) at: Wall,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

/// Where copies are, and what this store's are called: a store that was restored elsewhere begins an epoch, and touches no copy of the one
/// that it was restored from.
#[derive(Clone, Debug)]
pub(super) struct CopyShelf {
    dir: PathBuf,
    epoch: String,
}

impl CopyShelf {
    pub(super) const fn new(dir: PathBuf, epoch: String) -> Self {
        Self { dir, epoch }
    }

    fn prefix(&self) -> String {
        let digits: String = self.epoch.chars().take(DIGITS).collect();
        format!("crm-relay-{digits}-")
    }

    /// Where one is that was taken then.
    pub(super) fn path(&self, at: Wall) -> PathBuf {
        self.dir.join(format!("{}{}", self.prefix(), stamp(at)))
    }

    /// When one of that name was taken.
    #[cfg(test)]
    pub(super) fn taken_at(&self, path: &Path) -> Option<Wall> {
        self.read(path).map(|copy| copy.at)
    }

    /// The newest; what another clock dated ahead says nothing about when it was taken.
    pub(super) fn newest(&self, present: Wall) -> Option<KeptCopy> {
        self.all().into_iter().rfind(|copy| copy.at <= present + AHEAD_MAX)
    }

    /// Removes all but so many, the newest of which has just been taken; gives those that could not be removed. What is not of that
    /// relay, and what a copy does not consist of, stays.
    pub(super) fn keep(&self, keep: usize, taken: &KeptCopy) -> Vec<(PathBuf, io::Error)> {
        let mut others = self.all();
        others.retain(|copy| copy.path != taken.path);
        // First what another clock dated ahead: how old it is nobody knows.
        others.sort_by_key(|copy| copy.at <= taken.at + AHEAD_MAX);
        // The one that was taken is one of them.
        let many = (others.len() + 1).saturating_sub(keep.max(1));
        let removed = others.into_iter().take(many).map(|copy| (dir::remove(&copy.path), copy.path));
        removed.filter_map(|(removed, path)| removed.err().map(|error| (path, error))).collect()
    }

    /// Those that are whole, the oldest first.
    fn all(&self) -> Vec<KeptCopy> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut all: Vec<KeptCopy> = entries.filter_map(|entry| self.read(&entry.path())).collect();
        all.sort_by(|one, other| (one.at, &one.path).cmp(&(other.at, &other.path)));
        all
    }

    fn read(&self, path: &Path) -> Option<KeptCopy> {
        let at = read_stamp(path.file_name()?.to_str()?.strip_prefix(&self.prefix())?)?;
        let (found, us) = (fs::symlink_metadata(path).ok()?, rustix::process::geteuid().as_raw());
        let manifest = path.join(MANIFEST);
        let is_ours = found.is_dir() && found.uid() == us && fs::metadata(&manifest).ok()?.len() <= MANIFEST_BYTES_MAX;
        let manifest: Manifest = serde_json::from_slice(&is_ours.then(|| fs::read(&manifest).ok()).flatten()?).ok()?;
        let is_of_store = manifest.backup.epoch == self.epoch;
        is_of_store.then(|| KeptCopy {
            path: path.to_owned(),
            at,
            events: manifest.backup.events,
            bytes: manifest.backup.bytes,
        })
    }
}

/// The time in a name: `2026-11-30T154500Z`, so that names stand in its order.
fn stamp(at: Wall) -> String {
    let timestamp = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or(jiff::Timestamp::MAX);
    timestamp.strftime("%Y-%m-%dT%H%M%SZ").to_string()
}

fn read_stamp(text: &str) -> Option<Wall> {
    let is_one = text.is_ascii() && text.len() == STAMP_LENGTH;
    let whole = is_one.then(|| format!("{}:{}:{}", &text[..13], &text[13..15], &text[15..]))?;
    Some(Wall::from_micros(whole.parse::<jiff::Timestamp>().ok()?.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use relay_store::copy::{Backup, DATABASE, FORMAT};

    use super::*;

    const NOON: Wall = Wall::from_micros(1_800_000_000_000_000);

    fn put(shelf: &CopyShelf, at: Wall) -> PathBuf {
        let path = shelf.path(at);
        fs::create_dir(&path).unwrap();
        fs::write(path.join(DATABASE), "x").unwrap();
        let backup = Backup { bytes: 1, events: 2, accepted: 2, commit: 3, epoch: shelf.epoch.clone(), at_ms: 0 };
        let manifest = Manifest { format: FORMAT, sha256: String::new(), backup };
        fs::write(path.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
        path
    }

    /// The name says when, to the second; older copies go, and nothing that this relay did not write, or that is more than a copy.
    #[test]
    fn only_older_copies_of_the_same_relay_go() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = |epoch: &str| CopyShelf::new(dir.path().to_owned(), epoch.to_owned());
        // They differ behind the digits of the name.
        let (mine, theirs) = (shelf("00000000a"), shelf("00000000b"));
        let hours = |count: u64| NOON + Duration::from_hours(count);
        let own: Vec<PathBuf> = (0..5).map(|hour| put(&mine, hours(hour))).collect();
        assert!(own[0].to_str().unwrap().ends_with("-2027-01-15T080000Z"), "{}", own[0].display());
        let other = put(&theirs, NOON + Duration::from_mins(30));
        // Without a manifest it is no copy; with something else in it, somebody uses it.
        let unfinished = mine.path(hours(9));
        fs::create_dir(&unfinished).unwrap();
        fs::write(own[1].join("notes.txt"), "mine").unwrap();
        let newest = mine.newest(hours(9)).unwrap();
        assert_eq!((newest.path.clone(), newest.at, newest.events), (own[4].clone(), hours(4), 2));
        let failed = mine.keep(2, &newest);
        assert_eq!(failed.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), [own[1].clone()]);
        let is_there: Vec<bool> = own.iter().map(|path| path.join(DATABASE).exists()).collect();
        assert_eq!((is_there, own[1].join("notes.txt").exists()), (vec![false, true, false, true, true], true));
        assert!(own[1].join(MANIFEST).exists(), "it stays whole");
        assert!(other.join(DATABASE).exists() && unfinished.exists());
        assert!(CopyShelf::new(dir.path().join("nowhere"), "a".into()).newest(NOON).is_none());
    }

    /// A removal that is cut short leaves what the next copy finds and removes.
    #[test]
    fn what_is_left_of_a_removal_is_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = CopyShelf::new(dir.path().to_owned(), "a".into());
        let (old, taken) = (put(&shelf, NOON), put(&shelf, NOON + Duration::from_hours(1)));
        fs::remove_file(old.join(DATABASE)).unwrap();
        fs::create_dir(old.join(DATABASE)).unwrap();
        let failed = shelf.keep(1, &shelf.read(&taken).unwrap());
        assert_eq!((failed.len(), old.exists()), (1, false));
        let mut names: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert!(names.len() == 2 && names[0].ends_with(".crm-relay-part"), "{names:?}");
    }

    /// What a clock that was set ahead and back has dated is not the newest, and the first to go.
    #[test]
    fn what_is_dated_ahead_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = CopyShelf::new(dir.path().to_owned(), "a".into());
        let ahead = put(&shelf, NOON + Duration::from_hours(1_000));
        assert_eq!(shelf.newest(NOON), None);
        let before = put(&shelf, NOON - Duration::from_hours(24));
        let taken = put(&shelf, NOON);
        assert_eq!(shelf.newest(NOON).unwrap().path, taken);
        let taken = shelf.read(&taken).unwrap();
        assert_eq!(shelf.keep(2, &taken).len(), 0);
        assert!(taken.path.exists() && before.exists() && !ahead.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
