//! Retention keeps up with whatever comes in, and leaves the lanes of others alone.

use std::{collections::VecDeque, thread};

use relay_core::{
    jobs::{Retained, Retention, Rules},
    storage::{Ended, Forget},
};

use super::*;
use crate::seam::perform_retention;

/// What ended before the edge of [`rules`], and what ends behind it.
const EARLY: Wall = NOW;
const LATE: Wall = Wall::from_micros(NOW.as_micros() + 3_600_000_000);

fn rules() -> Rules {
    ended_before(NOW, NOW + Duration::from_secs(1))
}

/// All that ended before then, at that moment.
pub(super) fn ended_before(now: Wall, edge: Wall) -> Rules {
    Rules { now, delivered_before: edge, dead_before: edge }
}

/// One round of retention.
pub(super) fn retain(store: &SqliteStore, rules: Rules) -> Retained {
    let mut retention = Retention::new(rules);
    while let Some(op) = retention.poll() {
        retention.handle(wait(perform_retention(store, op)));
    }
    let (retained, result) = retention.outcome().expect("it is over");
    result.expect("nothing is in its way");
    retained
}

/// One call of it, about so many.
pub(super) fn retire(store: &SqliteStore, rules: Rules, limit: u32) -> Result<Retired, StoreError> {
    let Rules { now, delivered_before, dead_before } = rules;
    let over = wait(store.over(OverAsk { delivered_before, dead_before, limit }))?;
    let forget =
        Forget { keys_until: now, unrouted_before: delivered_before, jobs_before: now, audit_before: Wall::MIN };
    let (ended, more) = (over.iter().filter_map(Ended::of).collect(), over.len() == limit as usize);
    wait(store.retire(Retire { ended, more, forget }))
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
        let retention = scope.spawn(|| retain(&store, rules()));
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
    let retire = || retire(&store, rules(), 4_096).expect("is done");
    assert!(wait(store.append(ended(&mut maker, 5_000, EARLY))).iter().all(Result::is_ok));
    assert_eq!(retire().deliveries, 500, "nothing is known yet of how far it is behind");
    assert_eq!(retire().deliveries, 500);
    assert!(wait(store.append(ended(&mut maker, 400, LATE))).iter().all(Result::is_ok));
    assert_eq!(retire().deliveries, 800);
    assert_eq!(retire().deliveries, 500);
    assert!(wait(store.append(ended(&mut maker, 1_500, LATE))).iter().all(Result::is_ok));
    assert_eq!(retire().deliveries, 2_048, "what the largest batch makes of it");
    assert_eq!(retire(), Retired { taken: 652, deliveries: 652, events: 652, more: false });
    assert!(wait(store.append(ended(&mut maker, 400, LATE))).iter().all(Result::is_ok));
    assert_eq!(retire(), Retired::default());
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
    let retire = || retire(&store, rules(), 4_096).expect("is done");
    for left in [8, 6, 4, 2, 0] {
        assert_eq!(retire(), Retired { taken: 2, deliveries: 2, events: 2, more: false }, "{left} are left");
    }
    // One alone goes however many it has.
    let mut appends = ended(&mut maker, 1, EARLY);
    appends[0].deliveries[0].tries = 5_000;
    assert!(wait(store.append(appends)).iter().all(Result::is_ok));
    assert_eq!(retire(), Retired { taken: 1, deliveries: 1, events: 1, more: false });
}
