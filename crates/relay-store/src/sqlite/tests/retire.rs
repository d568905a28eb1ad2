//! Retention keeps up with whatever comes in, and leaves the lanes of others alone.

use std::{
    collections::VecDeque,
    sync::Barrier,
    task::{Context, Poll, Waker},
    thread,
};

use relay_core::{
    jobs::{Action, Retained, Retention, Rules},
    limits,
    partitions::Partitions,
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
    Rules { now, delivered_before: edge, dead_before: edge, partitions: Partitions::ALL }
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
    let over = wait(store.over(over(rules, limit)))?;
    wait(retire_these(store, rules, &over, over.len() == limit as usize))
}

/// What is over by those.
pub(super) fn over(rules: Rules, limit: u32) -> OverAsk {
    OverAsk {
        delivered_before: rules.delivered_before,
        dead_before: rules.dead_before,
        limit,
        partitions: Partitions::ALL,
    }
}

fn retire_these(
    store: &SqliteStore,
    rules: Rules,
    these: &[Delivery],
    more: bool,
) -> Later<Result<Retired, StoreError>> {
    let Rules { now, delivered_before, .. } = rules;
    let forget = Forget {
        keys_until: now,
        unrouted_before: delivered_before,
        jobs_before: now,
        audit_before: Wall::MIN,
        partitions: Partitions::ALL,
    };
    store.retire(Retire { ended: these.iter().filter_map(Ended::of).collect(), more, forget })
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

/// I5, I16: what is due goes although the writer always has appends to do, and what comes in comes in.
#[test]
fn what_is_due_goes_however_much_comes_in() {
    const DUE: usize = 6_000;
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    fill(&store, &mut maker, DUE);
    thread::scope(|scope| {
        let retention = scope.spawn(|| retain(&store, rules()));
        flood(&store, &mut maker, || retention.is_finished());
    });
    assert_eq!(retired(&store), DUE as u64, "none is due any more, and nothing else went");
    let recount = wait(store.recount()).expect("counts");
    assert_eq!(recount.counted, recount.kept);
}

/// I16: retention is paced by the writer alone, so that a disk does not fill up because intake is faster: of what is named in
/// one call two rows go for each that comes, however long whoever called gets no processor.
#[test]
fn retention_is_faster_than_intake_whoever_waits_for_it() {
    const DUE: usize = 6_000;
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    fill(&store, &mut maker, DUE);
    let all = wait(store.over(over(rules(), u32::MAX))).expect("reads");
    let mut removing = retire_these(&store, rules(), &all, false);
    let mut removed = None;
    let came = flood(&store, &mut maker, || {
        let poll = removing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(answer) = poll {
            removed = Some(answer);
        }
        removed.is_some()
    });
    let removed = removed.expect("was waited for").expect("is done");
    assert_eq!((removed.taken as usize, removed.deliveries as usize), (DUE, DUE));
    assert!(came < DUE, "{came} came in before {DUE} that were due had gone");
}

/// Stores so many that are due, some at a time.
fn fill(store: &SqliteStore, maker: &mut Maker, due: usize) {
    for _ in 0..due / 1_000 {
        assert!(wait(store.append(ended(maker, 1_000, EARLY))).iter().all(Result::is_ok));
    }
}

/// Stores what is not due until it is over; several appends wait at any time, so that the writer is never without work. Gives
/// how many came in.
fn flood(store: &SqliteStore, maker: &mut Maker, mut is_over: impl FnMut() -> bool) -> usize {
    let mut came = 0;
    let mut asked = VecDeque::new();
    while !is_over() {
        while asked.len() < 8 {
            asked.push_back(store.append(ended(maker, 64, LATE)));
        }
        let answers = wait(asked.pop_front().expect("some were asked for"));
        assert!(answers.iter().flatten().filter(|answer| answer.is_stored()).count() == answers.len());
        came += answers.len();
    }
    for later in asked {
        assert!(wait(later).iter().all(Result::is_ok));
    }
    came
}

/// A store that counts its commits.
fn counting(dir: &Path) -> (SqliteStore, Arc<AtomicU64>) {
    let commits = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&commits);
    let edges = Edges::new(move |met| {
        counted.fetch_add(u64::from(met == Edge::BeforeCommit), Ordering::SeqCst);
        EdgeAction::Continue
    });
    (SqliteStore::open(Options { edges, ..options(dir) }).expect("opens"), commits)
}

/// I15: a commit removes no more than a short one may hold unless as much came in, whatever is asked for, and what is not due
/// costs nothing.
#[test]
fn a_commit_removes_what_a_short_one_holds() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, commits) = counting(dir.path());
    let mut maker = Maker::new(&store);
    let retire = |limit| {
        let before = commits.load(Ordering::SeqCst);
        let retired = retire(&store, rules(), limit).expect("is done");
        (retired.deliveries, commits.load(Ordering::SeqCst) - before)
    };
    fill(&store, &mut maker, 5_000);
    assert_eq!(retire(1_200), (1_200, 3), "nothing is known yet of how far it is behind");
    assert!(wait(store.append(ended(&mut maker, 400, LATE))).iter().all(Result::is_ok));
    assert_eq!(retire(900), (900, 2), "of which the first 800");
    assert!(wait(store.append(ended(&mut maker, 1_500, LATE))).iter().all(Result::is_ok));
    assert_eq!(retire(2_049), (2_049, 2), "of which the first 2,048: what the largest batch makes of it");
    assert_eq!(retire(4_096), (851, 2), "nothing is left of what came in");
    assert!(wait(store.append(ended(&mut maker, 400, LATE))).iter().all(Result::is_ok));
    assert_eq!(retire(4_096), (0, 0));
}

/// I15, I16: what was tried for days has more attempts than a short commit may remove: they count as rows, of what goes and
/// of what comes.
#[test]
fn attempts_count_as_rows() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, commits) = counting(dir.path());
    let mut maker = Maker::new(&store);
    let retire = || {
        let before = commits.load(Ordering::SeqCst);
        let retired = retire(&store, rules(), 4_096).expect("is done");
        (retired, commits.load(Ordering::SeqCst) - before)
    };
    let mut appends = ended(&mut maker, 10, EARLY);
    for append in &mut appends {
        (append.deliveries[0].tries, append.deliveries[0].earlier) = (200, 100);
    }
    assert!(wait(store.append(appends)).iter().all(Result::is_ok));
    assert_eq!(retire(), (Retired { taken: 10, deliveries: 10, events: 10, more: false }, 5), "two in each");
    // One alone goes however many it has.
    let mut appends = ended(&mut maker, 1, EARLY);
    appends[0].deliveries[0].tries = 5_000;
    assert!(wait(store.append(appends)).iter().all(Result::is_ok));
    assert_eq!(retire(), (Retired { taken: 1, deliveries: 1, events: 1, more: false }, 1));
}

/// So many with bodies that stand for 33 rows each, of this state.
fn large(maker: &mut Maker, count: usize, state: State) -> Vec<Append> {
    let body = "x".repeat(33 * limits::BODY_BYTES_A_ROW as usize);
    let mut appends: Vec<Append> = (0..count).map(|_| maker.append(&body, NOW)).collect();
    for append in &mut appends {
        append.deliveries[0].state = state;
    }
    appends
}

/// I15, I16: a body is removed page by page: a large one counts as many rows, in retention, of what goes and of what comes,
/// whether it had a delivery or none, and in a purge.
#[test]
fn bodies_count_as_rows() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, commits) = counting(dir.path());
    let mut maker = Maker::new(&store);
    let counted = |asked: &dyn Fn() -> u64| {
        let before = commits.load(Ordering::SeqCst);
        (asked(), commits.load(Ordering::SeqCst) - before)
    };
    let retire = |limit| retire(&store, rules(), limit).expect("is done").deliveries;
    assert!(wait(store.append(large(&mut maker, 45, State::Delivered))).iter().all(Result::is_ok));
    assert_eq!(counted(&|| retire(30)), (30, 2), "fifteen in each");
    assert!(wait(store.append(large(&mut maker, 10, State::Delivered))).iter().all(Result::is_ok));
    assert_eq!(counted(&|| retire(25)), (25, 2), "twenty, for the 340 rows that came, and five");

    assert_eq!(counted(&|| retire(100)), (0, 0), "it is not behind any more");
    let mut unrouted = large(&mut maker, 30, State::Delivered);
    for append in &mut unrouted {
        append.deliveries.clear();
    }
    assert!(wait(store.append(unrouted)).iter().all(Result::is_ok));
    assert_eq!(counted(&|| retain(&store, rules()).events), (30, 2));

    assert!(wait(store.append(large(&mut maker, 30, State::Dead))).iter().all(Result::is_ok));
    let purge = || jobs::run(&store, jobs::command(&mut Maker::new(&store), Action::Purge, jobs::everything())).changed;
    assert_eq!(counted(&purge), (30, 3), "fourteen in each, and two");
    let recount = wait(store.recount()).expect("counts");
    assert_eq!(recount.counted, recount.kept);
}

/// I1, I22: a store that closes ends retention with the commit that is under way: what is left may be gigabytes. What has gone
/// are whole deliveries, however it ends.
#[test]
fn what_retention_has_begun_is_left_at_a_whole_delivery() {
    for closes in [true, false] {
        let dir = tempfile::tempdir().expect("a directory");
        let gate = Arc::new((AtomicBool::new(false), Barrier::new(2)));
        let met_by_writer = Arc::clone(&gate);
        let edges = Edges::new(move |met| {
            if met == Edge::BeforeCommit && met_by_writer.0.swap(false, Ordering::SeqCst) {
                met_by_writer.1.wait();
            }
            EdgeAction::Continue
        });
        let store = SqliteStore::open(Options { edges, ..options(dir.path()) }).expect("opens");
        fill(&store, &mut Maker::new(&store), 3_000);
        let all = wait(store.over(over(rules(), u32::MAX))).expect("reads");
        gate.0.store(closes, Ordering::SeqCst);
        let removing = retire_these(&store, rules(), &all, false);
        if closes {
            let closing = store.close();
            gate.1.wait();
            wait(closing);
            let removed = wait(removing).expect("is done");
            assert_eq!((removed.taken, removed.deliveries), (500, 500));
        } else {
            wait(store.crash());
        }
        drop(store);
        let store = open(dir.path());
        let recount = wait(store.recount()).expect("counts");
        assert_eq!(recount.counted, recount.kept);
        retain(&store, rules());
        assert_eq!(retired(&store), 3_000);
    }
}
