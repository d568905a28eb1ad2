//! Retention keeps up with whatever comes in, and leaves the lanes of others alone.

use std::{collections::VecDeque, thread};

use super::*;

/// What ended before the edge of [`rules`], and what ends behind it.
const EARLY: Wall = NOW;
const LATE: Wall = Wall::from_micros(NOW.as_micros() + 3_600_000_000);

fn rules() -> Retain {
    let edge = NOW + Duration::from_secs(1);
    Retain { now: NOW, delivered_before: edge, dead_before: edge, limit: 4_096 }
}

/// Appends whose deliveries have ended already.
fn ended(maker: &mut Maker, count: usize, at: Wall) -> Vec<Append> {
    let mut appends: Vec<Append> = (0..count).map(|_| maker.append("x", NOW)).collect();
    for append in &mut appends {
        append.deliveries[0].state = State::Delivered;
        append.deliveries[0].changed_at = at;
    }
    appends
}

fn retired(store: &SqliteStore) -> u64 {
    wait(store.stats()).expect("stats").destinations[0].retired
}

/// I5, I16: what is due goes although the writer always has appends to do, before as many came in meanwhile: a disk does not
/// fill up because intake is faster than retention. And what comes in comes in.
#[test]
fn what_is_due_goes_however_much_comes_in() {
    const DUE: usize = 6_000;
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    for _ in 0..DUE / 1_000 {
        assert!(wait(store.append(ended(&mut maker, 1_000, EARLY))).iter().all(Result::is_ok));
    }
    let came = thread::scope(|scope| {
        let retention = scope.spawn(|| while wait(store.retain(rules())).expect("is done").more {});
        let mut came = 0;
        let mut asked = VecDeque::new();
        while !retention.is_finished() {
            // Several wait at any time, so that the writer is never without work.
            while asked.len() < 8 {
                asked.push_back(store.append(ended(&mut maker, 64, LATE)));
            }
            let answers = wait(asked.pop_front().expect("some were asked for"));
            assert!(answers.iter().all(|answer| *answer == Ok(Appended::Stored)));
            came += answers.len();
        }
        for later in asked {
            assert!(wait(later).iter().all(Result::is_ok));
        }
        came
    });
    assert_eq!(retired(&store), DUE as u64, "none is due any more, and nothing else went");
    assert!(came <= DUE, "{came} came in before {DUE} that were due had gone");
    let recount = wait(store.recount()).expect("counts");
    assert_eq!(recount.counted, recount.kept);
}

/// I15: a call removes no more than a short commit may hold unless as much came in, whatever it is asked for, and what is
/// not due costs nothing.
#[test]
fn a_call_removes_what_a_short_commit_holds() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let retain = || wait(store.retain(rules())).expect("is done");
    assert!(wait(store.append(ended(&mut maker, 5_000, EARLY))).iter().all(Result::is_ok));
    assert_eq!(retain().deliveries, 500, "nothing is known yet of how far it is behind");
    assert_eq!(retain().deliveries, 500);
    assert!(wait(store.append(ended(&mut maker, 400, LATE))).iter().all(Result::is_ok));
    assert_eq!(retain().deliveries, 800);
    assert_eq!(retain().deliveries, 500);
    assert!(wait(store.append(ended(&mut maker, 1_500, LATE))).iter().all(Result::is_ok));
    assert_eq!(retain().deliveries, 2_048, "what the largest batch makes of it");
    assert_eq!(retain(), Retained { deliveries: 652, events: 652, more: false });
    assert!(wait(store.append(ended(&mut maker, 400, LATE))).iter().all(Result::is_ok));
    assert_eq!(retain(), Retained::default());
}

/// I15, I16: what was tried for days has more attempts than a short commit may remove: they count as rows, of what goes and
/// of what comes.
#[test]
fn attempts_count_as_rows() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let mut appends = ended(&mut maker, 10, EARLY);
    for append in &mut appends {
        (append.deliveries[0].tries, append.deliveries[0].earlier) = (200, 100);
    }
    assert!(wait(store.append(appends)).iter().all(Result::is_ok));
    let retain = || wait(store.retain(rules())).expect("is done");
    for left in [8, 6, 4, 2, 0] {
        assert_eq!(retain(), Retained { deliveries: 2, events: 2, more: left > 0 });
    }
    // One alone goes however many it has.
    let mut appends = ended(&mut maker, 1, EARLY);
    appends[0].deliveries[0].tries = 5_000;
    assert!(wait(store.append(appends)).iter().all(Result::is_ok));
    assert_eq!(retain(), Retained { deliveries: 1, events: 1, more: false });
}
