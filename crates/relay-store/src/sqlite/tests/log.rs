//! The write-ahead log and the database that it goes on from.

use std::fs;

use super::*;

/// A store with some commits in the database itself, ended well.
fn closed(dir: &Path) -> Vec<u8> {
    wait(filled(dir).close());
    fs::read(dir.join("store.db")).expect("reads")
}

/// Some more events, the last of them in the log alone when the process is killed.
fn go_on_and_be_killed(dir: &Path, events: usize) {
    let store = open(dir);
    let mut maker = Maker::new(&store);
    for _ in 0..events {
        append_one(&store, &maker.append("more", NOW)).expect("stored");
    }
    wait(store.crash());
}

fn put(dir: &Path, name: &str, bytes: &[u8]) {
    fs::write(dir.join(name), bytes).expect("writes");
}

fn refused(dir: &Path) {
    let before = fs::read(dir.join("store.db")).expect("reads");
    for error in [SqliteStore::open(options(dir)).map(drop), check(dir, true, NOW).map(drop)] {
        let error = error.expect_err("is another database");
        assert!(matches!(error, OpenError::OtherLog { .. }), "{error}");
        assert!(error.to_string().contains("move store.db-wal away"), "{error}");
    }
    assert_eq!(fs::read(dir.join("store.db")).expect("reads"), before, "not a byte of it has changed");
}

/// I18: an older database that is put back under the log that was left is refused, not mixed with it; put right, all is there;
/// without the log, the ledger says what is missing.
#[test]
fn an_older_database_under_a_left_log_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let early = closed(dir.path());
    go_on_and_be_killed(dir.path(), 3);
    // What is in the log goes into the database, and the log begins anew.
    wait(open(dir.path()).close());
    go_on_and_be_killed(dir.path(), 2);
    let (right, log) = (fs::read(dir.path().join("store.db")), fs::read(dir.path().join("store.db-wal")));
    let (right, log) = (right.expect("reads"), log.expect("reads"));
    assert!(!log.is_empty());

    put(dir.path(), "store.db", &early);
    refused(dir.path());
    put(dir.path(), "store.db", &right);
    put(dir.path(), "store.db-wal", &log);
    let store = open(dir.path());
    assert_eq!(wait(store.stats()).expect("stats").sources[0].stored, 9);
    wait(store.crash());
    drop(store);

    put(dir.path(), "store.db", &early);
    fs::remove_file(dir.path().join("store.db-wal")).expect("removes");
    let error = SqliteStore::open(options(dir.path())).expect_err("lacks commits");
    assert!(matches!(error, OpenError::LostCommits { events: 5, .. }), "{error}");
}

/// I18: a copy that `VACUUM INTO` made has all that the store has, in other pages: beside the log of the store it is refused, and
/// without it taken.
#[test]
fn a_vacuumed_copy_beside_a_left_log_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    closed(dir.path());
    go_on_and_be_killed(dir.path(), 3);
    let copy = dir.path().join("copy");
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    db.execute("VACUUM INTO ?1", [copy.to_str()]).expect("copies");
    let keeps = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    db.set_db_config(keeps, true).expect("is set");
    drop(db);
    assert!(fs::metadata(dir.path().join("store.db-wal")).expect("is there").len() > 0);
    put(dir.path(), "store.db", &fs::read(copy).expect("reads"));
    refused(dir.path());
    fs::remove_file(dir.path().join("store.db-wal")).expect("removes");
    let store = open(dir.path());
    assert_eq!(wait(store.stats()).expect("stats").sources[0].stored, 7);
    let sums = wait(store.recount()).expect("counts");
    assert_eq!(sums.counted, sums.kept);
}

/// I18: nor is the database of another store taken for it, nor a newer one.
#[test]
fn another_or_a_newer_database_under_a_left_log_is_refused() {
    let (dir, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (_, another) = (closed(dir.path()), closed(other.path()));
    go_on_and_be_killed(dir.path(), 2);
    let right = fs::read(dir.path().join("store.db")).expect("reads");
    let log = fs::read(dir.path().join("store.db-wal")).expect("reads");
    put(dir.path(), "store.db", &another);
    refused(dir.path());

    put(dir.path(), "store.db", &right);
    put(dir.path(), "store.db-wal", &log);
    go_on_and_be_killed(dir.path(), 1);
    wait(open(dir.path()).close());
    put(dir.path(), "store.db-wal", &log);
    refused(dir.path());
}

/// I18: a log that is whole goes on from any state that the database had since it began: none of them is refused.
#[test]
fn a_database_of_the_time_of_its_log_is_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let early = closed(dir.path());
    go_on_and_be_killed(dir.path(), 4);
    put(dir.path(), "store.db", &early);
    let store = open(dir.path());
    assert_eq!(wait(store.stats()).expect("stats").sources[0].stored, 8);
    wait(store.crash());
    drop(store);
    assert_eq!(check(dir.path(), false, NOW).expect("reads").faults, Vec::<String>::new());
}

/// I18: what a backup held back moves into the database without the writer; the log that begins anew behind it says so.
#[test]
fn a_log_that_begins_anew_behind_a_backup_says_from_where() {
    let dir = tempfile::tempdir().expect("a directory");
    let early = closed(dir.path());
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let copying = wait(store.backup()).expect("begins");
    append_one(&store, &maker.append("while it is taken", NOW)).expect("stored");
    take(copying, &dir.path().join("backup"));
    while store.copies.is_under_way() {}
    // Its second salt is a random one.
    let salt = || fs::read(dir.path().join("store.db-wal")).expect("reads")[20..24].to_vec();
    let (before, mut stored) = (salt(), 5);
    while salt() == before {
        append_one(&store, &maker.append("more", NOW)).expect("stored");
        stored += 1;
    }
    wait(store.crash());
    drop(store);
    let right = fs::read(dir.path().join("store.db")).expect("reads");
    put(dir.path(), "store.db", &early);
    refused(dir.path());
    put(dir.path(), "store.db", &right);
    assert_eq!(wait(open(dir.path()).stats()).expect("stats").sources[0].stored, stored);
}

/// I18: where a checkpoint was cut short the database alone may not be readable. Then everything is read with the log, which
/// has all that matters; what does not hold is refused.
#[test]
fn a_database_that_cannot_be_read_alone_is_verified() {
    let dir = tempfile::tempdir().expect("a directory");
    closed(dir.path());
    go_on_and_be_killed(dir.path(), 2);
    let good = fs::read(dir.path().join("store.db")).expect("reads");
    let log = fs::read(dir.path().join("store.db-wal")).expect("reads");
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    let root = |table: &str| -> usize {
        let root: u32 = db
            .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0))
            .expect("is there");
        root as usize
    };
    let size = usize::from(u16::from_be_bytes([good[16], good[17]]));
    // The page of the counters is in the log as well; that of the registry is not.
    let (counters, registry) = (root("names"), root("documents"));
    drop(db);
    for (pages, holds) in [(vec![counters], true), (vec![counters, registry], false)] {
        let mut bad = good.clone();
        for page in pages {
            bad[(page - 1) * size..][..size].fill(0xff);
        }
        put(dir.path(), "store.db", &bad);
        put(dir.path(), "store.db-wal", &log);
        let opened = SqliteStore::open(options(dir.path()));
        assert_eq!(opened.is_ok(), holds, "{:?}", opened.err());
        if let Ok(store) = opened {
            wait(store.crash());
        }
    }
}

/// I16: what made the log long does not keep the disk's room for ever, be the process the same or another: it is cut when it
/// begins anew.
#[test]
fn a_long_log_is_cut() {
    let dir = tempfile::tempdir().expect("a directory");
    let length = || fs::metadata(dir.path().join("store.db-wal")).expect("is there").len();
    for is_killed in [false, true] {
        let store = open(dir.path());
        let mut maker = Maker::new(&store);
        let some = |store: &SqliteStore, maker: &mut Maker| {
            let batch = (0..100).map(|_| maker.append(&"x".repeat(100_000), NOW)).collect();
            assert!(wait(store.append(batch)).iter().all(Result::is_ok));
        };
        let reader = open::connect_reader(dir.path()).expect("opens");
        reader.execute_batch("BEGIN; SELECT count(*) FROM events").expect("holds a snapshot");
        while length() < 80 << 20 {
            some(&store, &mut maker);
        }
        drop(reader);
        let store = if is_killed {
            wait(store.crash());
            drop(store);
            open(dir.path())
        } else {
            store
        };
        while length() > 64 << 20 {
            some(&store, &mut maker);
        }
        wait(store.close());
    }
}
