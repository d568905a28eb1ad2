//! Marks, as they lie on the disk.

use std::fs;

use relay_core::storage::{Erased, Indexed, MarkedAsk, MarkedEvent, Marker, Marking, Step, Stepped};

use super::*;
use crate::cipher::tests::ciphers;

const MARKER: Marker = Marker { slot: 1, definition: 7 };
const DAY: Duration = Duration::from_hours(24);

/// What stands for a value, told from all other bytes of a store.
fn digest_of(value: u8) -> [u8; 32] {
    let mut digest = [value; 32];
    digest[..4].copy_from_slice(b"mark");
    digest
}

fn marking(of: &[(EventId, u8)]) -> Marking {
    let event = |(id, value): &(EventId, u8)| MarkedEvent { id: *id, values: vec![(1, digest_of(*value))] };
    let reach = vec![Indexed { source: name("stripe"), marker: MARKER, from: Wall::MIN, to: NOW }];
    Marking { source: name("stripe"), events: of.iter().map(event).collect(), reach }
}

fn mark(store: &SqliteStore, of: &[(EventId, u8)]) {
    assert_eq!(wait(store.mark(marking(of))), Ok(()));
}

fn found(store: &SqliteStore, value: u8) -> Vec<EventId> {
    let page = Page { cursor: None, limit: 100 };
    let ask = MarkedAsk { source: name("stripe"), marker: MARKER, value: digest_of(value), page };
    let page = wait(store.marked(ask)).expect("reads");
    page.items.iter().map(|row| row.event.id).collect()
}

/// An event of then that has been delivered by then.
fn ended(store: &SqliteStore, maker: &mut Maker, now: Wall) -> Delivery {
    let made = maker.append("x", now);
    let deliveries = vec![Delivery { state: State::Delivered, changed_at: now, ..made.deliveries[0].clone() }];
    let made = Append { deliveries, ..made };
    append_one(store, &made).expect("stored");
    made.deliveries[0].clone()
}

/// Rows that lead from values and from events, without those that say how far slots are.
fn rows(dir: &Path) -> i64 {
    let db = rusqlite::Connection::open(dir.join("store.db")).expect("opens");
    db.query_row("SELECT count(*) FROM marks WHERE name > 0", [], |row| row.get(0)).expect("counts")
}

/// I26: no row outlives the last event of its source and day, be it of a mark that nobody wants any more; as long as there is one the others of that
/// day lead nowhere.
#[test]
fn rows_go_with_the_last_event_of_their_day() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let begin = NOW - DAY * 5;
    let days: Vec<Delivery> = (0..4).map(|day| ended(&store, &mut maker, begin + DAY * day)).collect();
    let late = ended(&store, &mut maker, begin + DAY * 3 + Duration::from_hours(1));
    let all: Vec<(EventId, u8)> = days.iter().chain([&late]).map(|one| (one.event, 1)).collect();
    mark(&store, &all);
    mark(&store, &all);
    assert_eq!(rows(dir.path()), 10, "twice is once");
    let of_value: Vec<EventId> = all.iter().rev().map(|(id, _)| *id).collect();
    assert_eq!(found(&store, 1), of_value);
    for (gone, left) in [(1, 8), (3, 4), (4, 4), (5, 0)] {
        let edge = if gone == 4 { late.changed_at } else { begin + DAY * (gone - 1) + Duration::from_secs(1) };
        let edge = if gone == 5 { NOW } else { edge };
        retain(&store, ended_before(NOW, edge));
        assert_eq!((rows(dir.path()), found(&store, 1).len()), (left, 5 - gone as usize), "{gone} are gone");
    }
    wait(store.close());
    assert_eq!(check(dir.path(), false, NOW).expect("reads").faults, Vec::<String>::new());
}

/// Where removing takes several commits each of them leaves a sound store, with the same rows in both directions: for a check, a copy, and a start behind a
/// failure, be it that nobody wants a mark any more or that its day is over.
#[test]
fn between_two_steps_of_removing_a_store_is_sound() {
    for is_over in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(dir.path());
        let mut maker = Maker::new(&store);
        let id = ended(&store, &mut maker, NOW - DAY).event;
        let value = |number: u16| {
            let mut value = [0; 32];
            value[..2].copy_from_slice(&number.to_be_bytes());
            (1, value)
        };
        let events = vec![MarkedEvent { id, values: (0..600).map(value).collect() }];
        assert_eq!(wait(store.mark(Marking { events, ..marking(&[]) })), Ok(()));
        assert_eq!(rows(dir.path()), 1_200);
        if is_over {
            assert!(retire::retire(&store, ended_before(NOW, NOW), 10).expect("retires").more);
        } else {
            assert_eq!(wait(store.unmark(name("stripe"), 1)), Ok(true));
            assert_eq!(wait(store.indexed()).expect("reads")[0].marker.definition, 0, "nothing is found by it");
        }
        assert_eq!(rows(dir.path()), 200);
        wait(store.close());
        drop(store);
        assert_eq!(check(dir.path(), false, NOW).expect("reads").faults, Vec::<String>::new());
        fs::write(dir.path().join("suspect"), "a failure").expect("writes");
        let store = open(dir.path());
        if is_over {
            retain(&store, ended_before(NOW, NOW));
        } else {
            assert_eq!(wait(store.unmark(name("stripe"), 1)), Ok(false));
        }
        assert_eq!(rows(dir.path()), 0);
    }
}

/// S32: of what stands for a value nothing is left in any file once its event is erased, and a sealed store never has what anybody could make
/// of the value without its key.
#[test]
fn what_stands_for_a_value_goes_when_its_event_is_erased() {
    for numbers in [&[][..], &[1]] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(Options { ciphers: ciphers(numbers), ..options(dir.path()) }).expect("opens");
        let mut maker = Maker::new(&store);
        let (gone, kept) = (ended(&store, &mut maker, NOW), ended(&store, &mut maker, NOW));
        mark(&store, &[(gone.event, 1), (kept.event, 2)]);
        let hash = |value: u8| digest_of(value)[..8].to_vec();
        let stands = |value: u8| {
            let files = fs::read_dir(dir.path()).expect("lists").map(|entry| entry.expect("lists").path());
            let of_file = |path: PathBuf| fs::read(path).expect("reads");
            files
                .filter(|path| path.is_file())
                .any(|path| of_file(path).windows(8).any(|window| *window == hash(value)))
        };
        assert_eq!((stands(1), stands(2)), (numbers.is_empty(), numbers.is_empty()));
        let step = Step { before: 0, erase: vec![gone.event], ..Step::look(maker.mint.job(NOW)) };
        let Ok(Stepped::Done { erased, .. }) = wait(store.step(step)) else { panic!("the first of its job") };
        assert_eq!(erased, [Erased::Now]);
        assert_eq!((found(&store, 1), found(&store, 2), rows(dir.path())), (vec![], vec![kept.event], 2));
        // The log is cut once all pages are swept.
        let began = Instant::now();
        while dir.path().join("erased").exists() {
            assert!(began.elapsed() < Duration::from_mins(1), "it is not swept");
            thread::yield_now();
        }
        assert_eq!((stands(1), stands(2)), (false, numbers.is_empty()));
        mark(&store, &[(gone.event, 1)]);
        assert_eq!((found(&store, 1), stands(1)), (vec![], false), "nothing of it comes back");
    }
}

/// I23: a version that does not know marks refuses the store from the first row on, and not before; this one opens it.
#[test]
fn a_store_needs_a_version_that_knows_marks_from_the_first_one_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let event = ended(&store, &mut maker, NOW).event;
    let needs = |store: SqliteStore| {
        wait(store.close());
        drop(store);
        let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
        Meta::load(&db).expect("reads").expect("is there").has_marks
    };
    assert_eq!(wait(store.mark(Marking::nothing(name("stripe")))), Ok(()));
    assert!(!needs(store));
    let store = open(dir.path());
    mark(&store, &[(event, 1)]);
    assert!(needs(store));
    let store = open(dir.path());
    assert_eq!(found(&store, 1), [event]);
    while wait(store.unmark(name("stripe"), 1)).expect("removes") {}
    assert_eq!(wait(store.indexed()), Ok(Vec::new()));
    assert!(needs(store), "it is never taken back");
}

/// A row that leads nowhere is named by a check; an accepted loss takes all of them, and no event, and they are filled anew.
#[test]
fn rows_that_lead_nowhere_are_named_and_cost_no_event() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let event = ended(&store, &mut maker, NOW).event;
    mark(&store, &[(event, 1)]);
    wait(store.close());
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    db.execute("UPDATE marks SET hash = hash + 1 WHERE name > 0 AND seq = ?1", [event.sequence()]).expect("writes");
    drop(db);
    // Nor do they keep a server from starting behind a failure.
    fs::write(dir.path().join("suspect"), "a failure").expect("writes");
    let store = open(dir.path());
    assert_eq!(found(&store, 1), []);
    wait(store.close());
    drop(store);
    let report = check(dir.path(), true, NOW).expect("reads");
    assert_eq!((report.faults, report.events), (vec!["marks: 2 of their rows lead nowhere".to_owned()], 1));
    assert_eq!(check(dir.path(), false, NOW).expect("reads").faults, Vec::<String>::new());
    let store = open(dir.path());
    assert_eq!(wait(store.indexed()), Ok(Vec::new()));
    mark(&store, &[(event, 1)]);
    assert_eq!(found(&store, 1), [event]);
}
