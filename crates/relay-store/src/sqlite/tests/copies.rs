//! Backups that are taken while the store works, and what ends them; what a restore knows and does not know.

use std::fs;

use relay_core::jobs::{Action, Target};

use super::{
    jobs::{command, run},
    *,
};
use crate::{
    cipher::Ciphers,
    seam::{Gap, Why},
    watch::Watch,
};

/// A store whose copy is many times longer than what waits between its two ends.
fn large(dir: &Path) -> (SqliteStore, Maker) {
    let store = filled(dir);
    let mut maker = Maker::new(&store);
    let batch: Vec<Append> = (0..400).map(|_| maker.append(&"x".repeat(40_000), NOW)).collect();
    assert!(wait(store.append(batch)).iter().all(Result::is_ok));
    (store, maker)
}

fn last_word(mut copying: Copying) -> Option<Result<Piece, BackupError>> {
    let mut last = None;
    while let Some(piece) = copying.pieces.blocking_recv() {
        last = Some(piece);
    }
    last
}

/// I18: a copy is read as a store is checked, clear or sealed, and nothing is written beside it; a bit that does not hold is found.
#[test]
fn a_copy_is_read_as_a_store_is_checked() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = large(dir.path());
    let into = dir.path().join("backup");
    let made = take(wait(store.backup()).expect("begins"), &into);
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(&into).expect("lists").map(|entry| entry.expect("is there").file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let looked = |ciphers: &Ciphers| check_copy(&into, ciphers, &Arc::new(Watch::default()));
    let report = looked(&Ciphers::default()).expect("reads");
    assert!(report.is_healthy() && report.events == made.events, "{:?}", report.faults);
    assert_eq!(names(), before);
    let stopped = Arc::new(Watch::default());
    stopped.stop();
    assert!(matches!(check_copy(&into, &Ciphers::default(), &stopped), Err(OpenError::Interrupted { .. })));
    let path = into.join("store.db");
    let mut bytes = fs::read(&path).expect("reads");
    let at = bytes.windows(4).rposition(|four| four == b"xxxx").expect("a body");
    bytes[at] ^= 1;
    fs::write(&path, bytes).expect("writes");
    assert!(!looked(&Ciphers::default()).expect("reads").is_healthy());
}

/// I15, I18, I22: while nobody takes the copy, every lane goes on: webhooks, leases, redrives, replays, retention. What
/// is in the copy is what was stored when it began.
#[test]
fn a_backup_holds_up_no_lane_and_holds_one_moment() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, mut maker) = large(dir.path());
    let copying = wait(store.backup()).expect("begins");
    let before = wait(store.stats()).expect("stats");

    let after = maker.append("after", NOW);
    append_one(&store, &after).expect("stored");
    let held = wait(store.lease(lease_ask(1))).expect("leases").deliveries.remove(0);
    assert_eq!(wait(store.settle(vec![delivered(&held)])), Ok(vec![Changed::Applied]));
    let cancel = command(&mut maker, Action::Cancel, Target::Ids([after.deliveries[0].id].into()));
    assert_eq!(run(&store, cancel).changed, 1);
    let replayed = Delivery::ready(maker.mint.delivery(NOW), &after.event, name("crm"), true, NOW, TTL);
    let stored = wait(store.replay(Replay::anyway(vec![replayed]), Vec::new()));
    assert_eq!(stored, Ok(Replayed::Stored(vec![true])));
    let later = NOW + Duration::from_secs(1);
    assert!(retain(&store, ended_before(later, later)).deliveries > 0);

    let into = dir.path().join("backup");
    let made = take(copying, &into);
    assert_eq!(made.events, before.sources[0].stored);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let restored = restore(&into, elsewhere.path(), NOW).expect("restores");
    assert_eq!(restored.events, made.events);
    let report = check(elsewhere.path(), false, NOW).expect("reads");
    assert_eq!((report.events, report.faults), (made.events, Vec::new()));
    assert_eq!(wait(open(elsewhere.path()).stats()).expect("stats").sources, before.sources);
}

/// I22: a stop ends the copy at once, says so to whoever takes it, and the log is cut as always.
#[test]
fn a_stop_ends_the_copy_that_nobody_takes() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = large(dir.path());
    let copying = wait(store.backup()).expect("begins");
    let began = Instant::now();
    wait(store.close());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(last_word(copying), Some(Err(BackupError::Stopped)));
    assert_eq!(wait(store.backup()).expect_err("is closed"), BackupError::Stopped);
    assert_eq!(fs::metadata(dir.path().join("store.db-wal")).map_or(0, |found| found.len()), 0);
}

/// I15: one at a time, and one that is let go makes room for the next.
#[test]
fn one_copy_at_a_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = large(dir.path());
    let first = wait(store.backup()).expect("begins");
    assert_eq!(wait(store.backup()).expect_err("one is under way"), BackupError::UnderWay);
    take(first, &dir.path().join("first"));
    // What the first held back may be on its way still: the second waits for that, and is not refused.
    let second = wait(store.backup()).expect("begins");
    take(second, &dir.path().join("second"));
}

/// I16: a reader that takes nothing is given up, and so is a copy that the store outgrows; the store goes on.
#[test]
fn a_copy_that_takes_too_long_is_given_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, mut maker) = large(dir.path());
    let stalled = store.copies.begin(Order { stall_max: Duration::from_millis(20), ..store.order() });
    let stalled = stalled.blocking_recv().expect("is answered").expect("begins");
    while store.copies.is_under_way() {}
    assert_eq!(last_word(stalled), Some(Err(BackupError::Stalled)));

    // What is copied is 17 MB; the log may grow by as much.
    let outgrown = store.copies.begin(Order { growth_max: 1, ..store.order() });
    let outgrown = outgrown.blocking_recv().expect("is answered").expect("begins");
    while store.copies.is_under_way() {
        let batch = (0..100).map(|_| maker.append(&"x".repeat(40_000), NOW)).collect();
        assert!(wait(store.append(batch)).iter().all(Result::is_ok));
    }
    assert!(matches!(last_word(outgrown), Some(Err(BackupError::Outgrown { .. }))));
    append_one(&store, &maker.append("still there", NOW)).expect("stored");
}

/// I16: a disk that fills up ends the copy, whose room settling may need; a store that is full can still be saved.
#[test]
fn a_full_disk_ends_the_copy() {
    let dir = tempfile::tempdir().expect("a directory");
    wait(large(dir.path()).0.close());
    let free = Arc::new(AtomicU64::new(1 << 40));
    let disk = Arc::clone(&free);
    let disk_free: DiskFree = Arc::new(move || Ok(disk.load(Ordering::SeqCst)));
    let options = Options { disk_reserve: 1 << 20, disk_free: Some(disk_free), ..options(dir.path()) };
    let store = SqliteStore::open(options).expect("opens");
    let copying = wait(store.backup()).expect("begins");
    free.store(0, Ordering::SeqCst);
    while store.copies.is_under_way() {}
    assert_eq!(last_word(copying), Some(Err(BackupError::Full)));
    back_up(&store, &dir.path().join("backup"));
}

/// I18: what is not known of the time since the backup is written down; a ledger that was left says how much it is.
#[test]
fn a_restore_names_what_nobody_knows() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    let into = dir.path().join("backup");
    back_up(&store, &into);
    let mut maker = Maker::new(&store);
    for body in ["lost", "lost too"] {
        append_one(&store, &maker.append(body, NOW)).expect("stored");
    }
    let id_floor = wait(store.stats()).expect("stats").id_floor;
    wait(store.close());
    drop(store);
    let later = NOW + Duration::from_hours(2);

    let empty = tempfile::tempdir().expect("a directory");
    let restored = restore(&into, empty.path(), later).expect("restores");
    assert_eq!(restored.gap, Gap { why: Why::Restored, since: NOW, until: later, commits: None, events: None });
    let known = wait(open(empty.path()).recount()).expect("counts");
    assert_eq!((known.counted == known.kept, known.gaps), (true, vec![restored.gap]));

    // The database is gone, its ledger is not. The clock was set back since.
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(dir.path().join(name));
    }
    let restored = restore(&into, dir.path(), NOW - Duration::from_hours(24)).expect("restores");
    assert_eq!((restored.gap.commits, restored.gap.events), (Some(2), Some(2)));
    let store = open(dir.path());
    assert!(
        wait(store.stats()).expect("stats").id_floor >= id_floor,
        "ids that were given out are not given out again"
    );
    assert_eq!(wait(store.recount()).expect("counts").gaps, vec![restored.gap]);
    let mut again = Maker::new(&store);
    assert!(again.append("new", NOW - Duration::from_hours(24)).event.id.sequence() > id_floor);
    wait(store.close());
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    db.execute_batch("UPDATE gaps SET events = 0").expect("runs");
    drop(db);
    let report = check(dir.path(), false, NOW).expect("reads");
    assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
}

/// A restore that was cut short behind its ledger knows what was lost when it is repeated.
#[test]
fn a_repeated_restore_still_knows_what_was_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    let into = dir.path().join("backup");
    back_up(&store, &into);
    append_one(&store, &Maker::new(&store).append("lost", NOW)).expect("stored");
    wait(store.close());
    drop(store);
    let lose = || ["store.db", "store.db-wal", "store.db-shm"].map(|name| drop(fs::remove_file(dir.path().join(name))));
    lose();
    let ledger = fs::read(dir.path().join("ledger")).expect("reads");
    let first = restore(&into, dir.path(), NOW).expect("restores");
    assert!(!dir.path().join("ledger.left").exists(), "nothing is left of it");
    // As a kill between the new ledger and the last name leaves it.
    lose();
    fs::write(dir.path().join("ledger.left"), ledger).expect("writes");
    let second = restore(&into, dir.path(), NOW).expect("restores");
    assert_eq!((first.gap.events, second.gap), (Some(1), first.gap));
}

/// Counts hold up the log: however many ask, one runs at a time, each sees what was stored before it was asked for, and one
/// that nobody waits for any more ends.
#[test]
fn counts_are_shared_and_end_with_whoever_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    let mut maker = Maker::new(&store);
    for _ in 0..20 {
        append_one(&store, &maker.append("more", NOW)).expect("stored");
        let stored = wait(store.stats()).expect("stats").sources[0].stored;
        drop(store.recount());
        let asked: Vec<_> = (0..8).map(|_| store.recount()).collect();
        for later in asked {
            let counted = wait(later).expect("counts");
            assert_eq!((counted.counted.sources[0].stored, counted.counted == counted.kept), (stored, true));
        }
    }
    wait(store.close());
    assert_eq!(wait(store.recount()).expect_err("is closed"), StoreError::Unavailable);
}

/// Whoever waits sees how far it is, and may end it: then nothing has changed, and the same command does it again.
#[test]
fn a_restore_and_a_check_that_are_ended_early_change_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let into = dir.path().join("backup");
    let made = back_up(&filled(&dir.path().join("data")), &into);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let stopped = Arc::new(Watch::default());
    stopped.stop();
    let refused = restore_watched(&into, elsewhere.path(), NOW, &stopped).expect_err("was ended");
    assert!(matches!(refused, RestoreError::Open(OpenError::Interrupted { .. })), "{refused}");
    assert!(!elsewhere.path().join("store.db").exists() && !elsewhere.path().join("store.db.part").exists());

    let seen = Arc::new(Watch::default());
    restore_watched(&into, elsewhere.path(), NOW, &seen).expect("restores");
    assert_eq!(seen.progress(), (made.bytes, made.bytes));
    let refused = check_watched(elsewhere.path(), &Ciphers::default(), true, NOW, &stopped).expect_err("was ended");
    assert!(matches!(refused, OpenError::Interrupted { .. }), "{refused}");
    let seen = Arc::new(Watch::default());
    let report = check_watched(elsewhere.path(), &Ciphers::default(), false, NOW, &seen).expect("reads");
    let read = report.events + report.deliveries;
    assert_eq!((report.faults.as_slice(), seen.progress()), (&[][..], (read, read)));
}

/// What root restores or checks belongs to whom the directory belongs.
#[test]
fn what_root_restores_belongs_to_the_owner_of_the_directory() {
    use std::os::unix::fs::MetadataExt as _;

    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let into = dir.path().join("backup");
    back_up(&filled(&dir.path().join("data")), &into);
    let served = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::chown(served.path(), Some(65_534), Some(65_534)).expect("gives it away");
    restore(&into, served.path(), NOW).expect("restores");
    assert_eq!(check(served.path(), false, NOW).expect("reads").faults, Vec::<String>::new());
    for entry in fs::read_dir(served.path()).expect("lists") {
        let entry = entry.expect("is there");
        let found = entry.metadata().expect("is there");
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (65_534, 65_534, 0o600), "{entry:?}");
    }
    let refused = SqliteStore::open(options(served.path())).expect_err("is another's");
    assert!(matches!(refused, OpenError::Unsafe(_)), "{refused}");
}

/// I16: the ballast of an earlier run counts after a restart on a full disk, and settling may use it up.
#[test]
fn a_restart_on_a_full_disk_knows_its_ballast() {
    let dir = tempfile::tempdir().expect("a directory");
    let free = Arc::new(AtomicU64::new(1 << 40));
    let disk = Arc::clone(&free);
    let disk_free: DiskFree = Arc::new(move || Ok(disk.load(Ordering::SeqCst)));
    let fails = Arc::new(AtomicU64::new(0));
    let left = Arc::clone(&fails);
    let edges = Edges::new(move |met| {
        let full = met == Edge::BeforeCommit
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if full { EdgeAction::Full } else { EdgeAction::Continue }
    });
    let options = || Options {
        edges: edges.clone(),
        disk_reserve: 1 << 20,
        disk_free: Some(Arc::clone(&disk_free)),
        ..options(dir.path())
    };
    let store = SqliteStore::open(options()).expect("opens");
    let mut maker = Maker::new(&store);
    append_one(&store, &maker.append("1", NOW)).expect("stored");
    let held = wait(store.lease(lease_ask(1))).expect("leases").deliveries.remove(0);
    wait(store.close());
    drop(store);

    // What is free is more than the reserve without the ballast: as full as before the restart, and no fuller.
    free.store((1 << 20) - (1 << 17) + 1, Ordering::SeqCst);
    let store = SqliteStore::open(options()).expect("opens");
    append_one(&store, &maker.append("2", NOW)).expect("the ballast counts");
    wait(store.close());
    drop(store);

    free.store(0, Ordering::SeqCst);
    let store = SqliteStore::open(options()).expect("opens");
    assert_eq!(append_one(&store, &maker.append("3", NOW)), Err(AppendError::Full));
    // The second time, after the log was begun anew.
    fails.store(2, Ordering::SeqCst);
    assert_eq!(wait(store.settle(vec![delivered(&held)])), Ok(vec![Changed::Applied]));
    assert!(!dir.path().join("ballast").exists(), "it was used up");
}

/// I10, F6: deadlines are compared with the clock that they were reckoned with, also if the store's own was read before the
/// system's was set.
#[test]
fn deadlines_are_compared_with_the_clock_that_made_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let ahead = Options { clock: Arc::new(|| NOW + 24 * TTL), ..options(dir.path()) };
    let store = SqliteStore::open(ahead).expect("opens");
    let mut maker = Maker::new(&store);
    assert_eq!(append_one(&store, &maker.append("1", NOW)), Err(AppendError::TooLate));
    store.keep_time(Arc::new(|| NOW));
    assert!(append_one(&store, &maker.append("2", NOW)).is_ok_and(|found| found.is_stored()));
}

/// I15: the writer waits for no reader when it moves the write-ahead log into the database.
#[test]
fn a_checkpoint_waits_for_no_reader() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(filled(dir.path()));
    let (place, _lock) = StoreDir::claim(dir.path(), Owners::Us, Writing::Command).expect("is ours");
    let db = place.connect_writer().expect("opens");
    schema::wait_for_nobody(&db).expect("is set");
    let reader = open::connect_reader(dir.path()).expect("opens");
    reader.execute_batch("BEGIN; SELECT count(*) FROM events").expect("holds a snapshot");
    db.execute_batch("UPDATE events SET deliveries = NULL").expect("writes");
    let waits: i64 = db.pragma_query_value(None, "busy_timeout", |row| row.get(0)).expect("is told");
    assert_eq!(waits, 0, "whoever comes meanwhile would wait for as long");
    let done = db.wal_checkpoint_v2(None::<&str>, rusqlite::wal::CheckpointMode::TRUNCATE);
    let error = done.expect_err("the reader is in the way");
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
}

/// I17: that no connection can be opened says nothing about what is stored.
#[test]
fn a_connection_that_cannot_be_opened_is_no_broken_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    // Nobody follows a link to a database: it cannot be opened, as if there were no descriptor left.
    fs::rename(dir.path().join("store.db"), dir.path().join("moved")).expect("renames");
    std::os::unix::fs::symlink(dir.path().join("moved"), dir.path().join("store.db")).expect("links");
    assert!(matches!(wait(store.recount()), Err(StoreError::Away)));
    assert!(matches!(wait(store.backup()), Err(BackupError::NotNow(_))));
    append_one(&store, &Maker::new(&store).append("x", NOW)).expect("stored");
    fs::rename(dir.path().join("moved"), dir.path().join("store.db")).expect("renames");
    assert!(wait(store.recount()).is_ok());
}
