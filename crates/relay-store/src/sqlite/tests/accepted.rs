//! What an accepted loss costs: what itself does not read, and nothing beside it.

use std::fs;

use super::*;
use crate::sqlite::verify::check::Basis;

/// Bytes of a page.
const PAGE: usize = schema::PAGE_BYTES as usize;

fn sql(dir: &Path, statements: &str) {
    let db = rusqlite::Connection::open(dir.join("store.db")).expect("opens");
    db.execute_batch(statements).expect("runs");
}

/// A store in which one event was replayed and one has a name, closed; and what it holds.
fn with_replay(dir: &Path) -> Vec<String> {
    let store = filled(dir);
    let mut maker = Maker::new(&store);
    let append = maker.append("named", NOW);
    let event = Event { name: Some("invoice.paid".into()), ..Event::clone(&append.event) };
    let again = Delivery::ready(maker.mint.delivery(NOW), &event, name("crm"), true, NOW, TTL);
    append_one(&store, &Append { event: Arc::new(event), ..append }).expect("stored");
    assert_eq!(wait(store.replay(Replay::anyway(vec![again]), Vec::new())), Ok(Replayed::Stored(vec![true])));
    let held = content_of(&store).expect("reads");
    wait(store.close());
    held
}

/// Accepts what is damaged; the store opens then, and everything in it holds.
fn accepted(dir: &Path, what: &str) -> (CheckReport, SqliteStore) {
    let found = check(dir, false, NOW).expect(what).faults;
    assert!(!found.is_empty(), "{what}");
    let report = check(dir, true, NOW).expect(what);
    assert!(report.accepted, "{what}");
    assert_eq!(check(dir, false, NOW).expect(what).faults, Vec::<String>::new(), "{what}");
    let store = open(dir);
    let recount = wait(store.recount()).expect("counts");
    assert_eq!(recount.counted, recount.kept, "{what}");
    (report, store)
}

/// I1, I5, I18: where only a list, or a column that an index repeats, is damaged, an accepted loss loses nothing.
#[test]
fn what_is_whole_is_not_given_up_with_what_only_leads_to_it() {
    let columns = ["dest", "tries", "due", "expires", "changed", "state"].map(|column| (column, 1));
    let columns = columns.into_iter().chain([("line", 1000)]);
    let columns = columns.map(|(column, by)| format!("UPDATE deliveries SET {column} = {column} + {by}"));
    let lists = [
        "UPDATE events SET deliveries = x'01'",
        "UPDATE replays SET deliveries = x'01'",
        "UPDATE events SET deliveries = x'01'; UPDATE replays SET deliveries = x'01'",
        "UPDATE events SET deliveries = NULL",
        "DELETE FROM replays",
    ];
    for spoil in columns.chain(lists.map(str::to_owned)) {
        let dir = tempfile::tempdir().expect("a directory");
        let before = with_replay(dir.path());
        sql(dir.path(), &spoil);
        let (report, store) = accepted(dir.path(), &spoil);
        assert_eq!(report.gap, None, "{spoil}");
        assert_eq!(content_of(&store).expect("reads"), before, "{spoil}");
        let lost: u64 = wait(store.stats()).expect("stats").destinations.iter().map(|of| of.lost).sum();
        assert_eq!(lost, 0, "{spoil}");
        assert_eq!(wait(store.lease(lease_ask(9))).expect("leases").deliveries.len(), 5, "{spoil}");
    }
}

/// I18: whichever row of names, counters or the store itself is damaged, the store can be mended, and nothing that reads is lost.
#[test]
fn a_damaged_name_does_not_end_a_store() {
    for (spoil, keeps_names) in [
        ("UPDATE names SET counters = x'01' WHERE id = 1", true),
        ("UPDATE names SET counters = x'01' WHERE id = 2", true),
        ("UPDATE names SET counters = x'01' WHERE id = 0", true),
        ("DELETE FROM names WHERE id = 0", true),
        ("UPDATE names SET name = 'stripf' WHERE id = 1", false),
        ("UPDATE names SET name = '' WHERE id = 2", false),
        ("UPDATE names SET kind = 2 WHERE id = 1", true),
        ("DELETE FROM names WHERE id = 1", false),
        ("UPDATE names SET id = 5 WHERE id = 2", false),
        ("UPDATE event_names SET crc = 0", false),
        ("UPDATE event_names SET number = 3", true),
        ("DELETE FROM event_names", false),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let before = with_replay(dir.path());
        sql(dir.path(), spoil);
        let opens = SqliteStore::open(options(dir.path())).map(|store| wait(store.crash()));
        assert!(opens.is_err() || spoil.starts_with("DELETE FROM event_names"), "{spoil}");
        let (_, store) = accepted(dir.path(), spoil);
        let after = content_of(&store).expect("reads");
        assert_eq!(after.len(), before.len(), "{spoil}: {after:#?}");
        assert!(!keeps_names || after == before, "{spoil}: {after:#?}");
        append_one(&store, &Maker::new(&store).append("goes on", NOW)).expect("stored");
    }
}

/// I18: of the two copies of a name, in its row and in the index, that one is believed which its counters were sealed with.
#[test]
fn a_name_is_found_again_in_its_index() {
    for table in ["names", "sqlite_autoindex_names_1"] {
        let dir = tempfile::tempdir().expect("a directory");
        let before = with_replay(dir.path());
        let path = dir.path().join("store.db");
        let db = rusqlite::Connection::open(&path).expect("opens");
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let root: u32 = db.query_row(root, [table], |row| row.get(0)).expect("is there");
        drop(db);
        let mut bytes = fs::read(&path).expect("reads");
        let page = PAGE * (root as usize - 1)..PAGE * root as usize;
        let at = bytes[page.clone()].windows(6).position(|bytes| bytes == b"stripe").expect("is there");
        bytes[page.start + at + 5] ^= 1;
        fs::write(&path, bytes).expect("writes");
        let (report, store) = accepted(dir.path(), table);
        assert_eq!(content_of(&store).expect("reads"), before, "{table}");
        assert_eq!(report.gap.and_then(|gap| gap.events), None, "{table}");
    }
}

/// I17: what a server wrote down after a check had read is not taken away by that check.
#[test]
fn a_check_takes_nothing_away_that_it_has_not_read() {
    type Happens = fn(&Path);
    let meanwhile: [(&str, Happens); 4] = [
        ("nothing", |_| {}),
        ("it failed", |dir| fs::write(dir.join("suspect"), "an error of the disk").expect("writes")),
        ("the scrub met something", |dir| fs::write(dir.join("damaged"), "r a record\n").expect("writes")),
        ("it stored something", |dir| {
            let store = open(dir);
            append_one(&store, &Maker::new(&store).append("more", NOW)).expect("stored");
            wait(store.close());
        }),
    ];
    for (what, happens) in meanwhile {
        let dir = tempfile::tempdir().expect("a directory");
        wait(filled(dir.path()).close());
        let (place, glance) = StoreDir::look(dir.path(), Owners::Us).expect("looks");
        let standing = Basis::of(&place, &place.connect_looking().expect("opens"));
        drop((place, glance));
        happens(dir.path());
        let (place, _lock) = StoreDir::claim(dir.path(), Owners::Us, Writing::Command).expect("is ours");
        assert_eq!(standing.is_still(&place), what == "nothing", "{what}");
    }
}
