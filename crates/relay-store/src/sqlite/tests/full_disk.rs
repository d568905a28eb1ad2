//! Real file systems without room: what is done on one, what is refused, and what is left behind. They are small ones in
//! memory, which only root can make; without the right to, these tests do nothing.

use std::{fs, io::Write as _, path::PathBuf, process::Command};

use super::{retire::retire, *};

/// A small file system.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(mebibytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self { dir })
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut hog = fs::File::create(self.dir.path().join("hog")).expect("is made");
        for size in [1 << 20, 4096, 1] {
            while hog.write_all(&vec![1; size]).is_ok() {}
        }
    }

    /// Gives so many bytes of it back.
    fn leave(&self, bytes: u64) {
        let hog = fs::OpenOptions::new().write(true).open(self.dir.path().join("hog")).expect("is there");
        hog.set_len(hog.metadata().expect("is there").len() - bytes).expect("shrinks");
    }

    fn empty(&self) {
        fs::remove_file(self.dir.path().join("hog")).expect("is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whatever is still open there goes with the process.
        let _ = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
    }
}

/// I16, I17: a file system that copies what it overwrites may have no room for the ledger behind a commit. Nobody is answered
/// as if that were done, nor as if it were not; nothing else is done before the ledger names it; and it ends by itself.
#[test]
fn a_ledger_without_room_is_a_full_disk() {
    for ballast in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let fails = Arc::new(AtomicU64::new(0));
        let left = Arc::clone(&fails);
        let edges = Edges::new(move |met| {
            let full = met == Edge::AfterCommit
                && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            if full { EdgeAction::Full } else { EdgeAction::Continue }
        });
        let options = Options { edges, ballast, disk_reserve: 1 << 20, ..options(dir.path()) };
        let store = SqliteStore::open(options).expect("opens");
        let mut maker = Maker::new(&store);
        append_one(&store, &maker.append("1", NOW)).expect("stored");
        let held = wait(store.lease(lease_ask(1))).expect("leases").deliveries.remove(0);
        let unsure = maker.append("2", NOW);
        fails.store(if ballast { 1 } else { 3 }, Ordering::SeqCst);
        if ballast {
            assert!(append_one(&store, &unsure).is_ok_and(|found| found.is_stored()), "the ballast made room");
            assert!(!dir.path().join("ballast").exists());
        } else {
            assert_eq!(append_one(&store, &unsure), Err(AppendError::Unknown));
            // The ledger comes first, and has no room twice more.
            assert_eq!(wait(store.settle(vec![delivered(&held)])), Err(StoreError::Full));
            assert_eq!(fails.load(Ordering::SeqCst), 0);
            assert_eq!(append_one(&store, &unsure), Err(AppendError::Full), "until the disk is asked again");
        }
        assert_eq!(wait(store.settle(vec![delivered(&held)])), Ok(vec![Changed::Applied]));
        let again = loop {
            let answer = append_one(&store, &unsure);
            if answer != Err(AppendError::Full) {
                break answer;
            }
        };
        assert!(again.is_ok_and(|found| found.is_stored()), "asked once more it is what it was");
        assert!(!store.status.has_failed());
        wait(store.crash());
        drop(store);
        assert_eq!(check(dir.path(), false, NOW).expect("reads").faults, Vec::<String>::new());
        assert_eq!(wait(open(dir.path()).stats()).expect("stats").sources[0].accepted, 2);
    }
}

/// So many commits of one settlement each write several times what the ballast holds.
const SETTLED: u32 = 100;

fn with_ballast(dir: &Path) -> Options {
    Options { disk_reserve: 8 << 20, ..options(dir) }
}

/// I16: a store is opened on a disk without a byte of room, be it after a clean end or a kill; what is leased is settled
/// there, what comes in is refused, and is taken again once there is room.
#[test]
fn a_store_is_opened_on_a_disk_without_a_byte_of_room() {
    for killed in [false, true] {
        let Some(disk) = SmallDisk::mount(32) else { return };
        let store = SqliteStore::open(with_ballast(&disk.data())).expect("opens");
        let mut maker = Maker::new(&store);
        for _ in 0..SETTLED {
            // In all somewhat less than the ballast: it is what the database grows by.
            append_one(&store, &maker.append(&"x".repeat(9_000), NOW)).expect("stored");
        }
        let held = wait(store.lease(lease_ask(SETTLED))).expect("leases").deliveries;
        if killed {
            wait(store.crash());
        } else {
            wait(store.close());
        }
        drop(store);
        disk.fill();
        let store = SqliteStore::open(with_ballast(&disk.data())).expect("opens without room");
        assert_eq!(append_one(&store, &maker.append("x", NOW)), Err(AppendError::Full));
        for (number, held) in held.iter().enumerate() {
            let changed = wait(store.settle(vec![delivered(held)]));
            assert_eq!(changed, Ok(vec![Changed::Applied]), "killed: {killed}, {number}");
        }
        let later = NOW + TTL;
        assert_eq!(retire(&store, ended_before(later, later), 10).map(|done| done.deliveries), Ok(10));
        disk.empty();
        wait(store.close());
        drop(store);
        let store = SqliteStore::open(with_ballast(&disk.data())).expect("opens");
        append_one(&store, &maker.append("x", NOW)).expect("stored");
        let recount = wait(store.recount()).expect("counts");
        assert_eq!(recount.counted, recount.kept);
        let states = recount.kept.destinations[0].states;
        assert_eq!(states[State::Delivered as usize - 1], u64::from(SETTLED) - 10);
    }
}

/// I16: without ballast, too, what needs no new pages is written where the log of a process that was killed stands in the way:
/// all of it is in the database, and so it can begin anew.
#[test]
fn a_log_that_was_left_behind_is_in_nobodys_way() {
    let Some(disk) = SmallDisk::mount(32) else { return };
    let store = SqliteStore::open(options(&disk.data())).expect("opens");
    let held = hundred_leased(&store);
    let other = other(&disk);
    move_log(&other);
    wait(store.crash());
    drop((store, other));
    disk.fill();
    let store = SqliteStore::open(options(&disk.data())).expect("opens without room");
    for held in &held {
        extend(&store, held, TTL);
    }
}

/// I16: a log that somebody reads in when room runs out begins anew once he is done.
#[test]
fn a_reader_is_in_the_way_for_as_long_as_he_reads() {
    let Some(disk) = SmallDisk::mount(32) else { return };
    let store = SqliteStore::open(options(&disk.data())).expect("opens");
    let held = hundred_leased(&store);
    let mut reader = other(&disk);
    let reading = reader.transaction().expect("begins");
    reading.query_row("SELECT count(*) FROM deliveries", [], |row| row.get::<_, i64>(0)).expect("reads");
    move_log(&other(&disk));
    disk.fill();
    let mut left = held.iter();
    while wait(store.settle(vec![delivered(left.next().expect("room runs out"))])).is_ok() {}
    let last = left.next().expect("is left");
    assert_eq!(wait(store.settle(vec![delivered(last)])), Err(StoreError::Full));
    drop(reading);
    extend(&store, last, TTL);
    extend(&store, last, TTL * 2);
}

fn hundred_leased(store: &SqliteStore) -> Vec<Delivery> {
    let mut maker = Maker::new(store);
    for _ in 0..SETTLED {
        append_one(store, &maker.append(&"x".repeat(10_000), NOW)).expect("stored");
    }
    let leased = wait(store.lease(lease_ask(SETTLED))).expect("leases").deliveries;
    wait_for_readers(store);
    leased
}

fn extend(store: &SqliteStore, held: &Delivery, by: Duration) {
    let extend = Extend { id: held.id, claim: held.claim(), until: NOW + by };
    let answers = wait(store.extend(vec![extend])).expect("it has room");
    assert!(matches!(answers[..], [Extended::Stands { until, .. }] if until == NOW + by), "{answers:?}");
}

/// A connection of somebody else; it leaves the log as it is.
fn other(disk: &SmallDisk) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(disk.data().join("store.db")).expect("opens");
    other.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).expect("is set");
    other
}

/// Moves all of the log into the database.
fn move_log(other: &rusqlite::Connection) {
    other.query_row("SELECT count(*) FROM deliveries", [], |row| row.get::<_, i64>(0)).expect("reads");
    let (in_log, moved) = other.wal_checkpoint_v2(None::<&str>, rusqlite::wal::CheckpointMode::PASSIVE).expect("moves");
    assert!(in_log > 0 && in_log == moved, "{in_log} {moved}");
}

/// I16, I17: whichever write is the first that finds no room, what was asked for happens whole or not at all, the store goes
/// on, and all of it works again once there is room.
#[test]
fn any_write_may_be_the_first_without_room() {
    let Some(disk) = SmallDisk::mount(8) else { return };
    for pages in (0..40).step_by(2) {
        let store = SqliteStore::open(options(&disk.data())).expect("opens");
        let mut maker = Maker::new(&store);
        let appends: Vec<Append> = (0..10).map(|_| maker.append(&"x".repeat(9_000), NOW)).collect();
        assert!(wait(store.append(appends)).iter().all(Result::is_ok));
        let held = wait(store.lease(lease_ask(5))).expect("leases").deliveries;
        wait_for_readers(&store);
        disk.fill();
        disk.leave(pages * 4_096);

        let key = DocumentKey { kind: DocumentKind::Destination, name: "crm".into() };
        let put = || store.put_document(key.clone(), 0, Some("{}".into()), Vec::new());
        let stored = append_one(&store, &maker.append(&"x".repeat(9_000), NOW));
        assert!(matches!(stored, Ok(Appended::Stored { .. }) | Err(AppendError::Full)), "{pages}: {stored:?}");
        for held in &held {
            let settled = wait(store.settle(vec![delivered(held)]));
            assert!(settled == Ok(vec![Changed::Applied]) || settled == Err(StoreError::Full), "{pages}: {settled:?}");
        }
        let later = NOW + TTL;
        let retired = retire(&store, ended_before(later, later), 2);
        assert!(matches!(retired, Ok(_) | Err(StoreError::Full)), "{pages}: {retired:?}");
        let written = wait(put());
        assert!(matches!(written, Ok(Some(1)) | Err(StoreError::Full)), "{pages}: {written:?}");

        disk.empty();
        let again = wait(put());
        assert_eq!(again.is_ok_and(|version| version.is_some()), written.is_err(), "{pages}");
        while append_one(&store, &maker.append("x", NOW)) == Err(AppendError::Full) {}
        let recount = wait(store.recount()).expect("counts");
        assert_eq!(recount.counted, recount.kept, "{pages}");
        wait(store.close());
        drop(store);
        let report = check(&disk.data(), false, NOW).expect("reads");
        assert_eq!(report.faults, Vec::<String>::new(), "{pages}");
        fs::remove_dir_all(disk.data()).expect("is removed");
    }
}

/// I18: where a copy does not fit, its restore says so before it begins, and leaves nothing.
#[test]
fn a_restore_without_room_is_refused() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(&dir.path().join("data"));
    let mut maker = Maker::new(&store);
    for _ in 0..40 {
        append_one(&store, &maker.append(&"x".repeat(50_000), NOW)).expect("stored");
    }
    let into = dir.path().join("backup");
    let bytes = back_up(&store, &into).bytes;
    disk.fill();
    disk.leave(bytes);
    let refused = restore(&into, &disk.data(), NOW).expect_err("there is no room");
    assert!(matches!(refused, RestoreError::NoRoom { .. }), "{refused}");
    assert!(!disk.data().join("store.db.part").exists());
    disk.empty();
    restore(&into, &disk.data(), NOW).expect("restores");
    assert_eq!(check(&disk.data(), false, NOW).expect("reads").faults, Vec::<String>::new());
}

/// I18: a restore that does not come to its end leaves nothing of the copy, and none begins with a copy that this program
/// cannot read or that was cut short.
#[test]
fn a_restore_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let into = dir.path().join("backup");
    back_up(&filled(&dir.path().join("data")), &into);
    let target = tempfile::tempdir().expect("a directory");
    let restored = || restore(&into, target.path(), NOW);
    let is_clean = || ["store.db.part", "store.db.part-wal"].iter().all(|name| !target.path().join(name).exists());

    fs::create_dir(target.path().join("ledger")).expect("is in the way");
    let refused = restored().expect_err("there can be no ledger");
    assert!(matches!(refused, RestoreError::Open(OpenError::Io { .. })) && is_clean(), "{refused}");
    fs::remove_dir(target.path().join("ledger")).expect("is empty");

    let whole = fs::read(into.join("store.db")).expect("reads");
    fs::write(into.join("store.db"), &whole[..whole.len() - 1]).expect("writes");
    let refused = restored().expect_err("is cut short");
    assert!(matches!(refused, RestoreError::Unusable { .. }) && is_clean(), "{refused}");

    let mut newer = whole.clone();
    newer[60..64].copy_from_slice(&2i32.to_be_bytes());
    fs::write(into.join("store.db"), newer).expect("writes");
    let refused = restored().expect_err("is newer");
    let RestoreError::Open(OpenError::Newer { dir: named, .. }) = &refused else { panic!("{refused}") };
    assert!(*named == into && is_clean(), "{refused}");

    fs::write(into.join("store.db"), whole).expect("writes");
    restored().expect("restores");
}
