//! Jobs over this store: over a crash, and beside what is urgent.

use std::collections::BTreeMap;

use relay_core::{
    delivery::retry::RetryPolicy,
    jobs::{Action, Command, Job, JobSums, Output, Target},
    routing::Route,
};

use super::*;
use crate::seam::{Trades, perform_job};

/// A command about all that match.
pub(super) fn command(maker: &mut Maker, action: Action, target: Target) -> Command {
    let job = maker.mint.job(NOW);
    Command {
        job,
        fingerprint: 0,
        action,
        target,
        pick: None,
        limit: None,
        cursor: None,
        as_of: None,
        last: None,
        dry_run: false,
        audit: None,
    }
}

pub(super) fn everything() -> Target {
    Target::Matching(DeliveryFilter::default())
}

/// Along one route of this source, at once.
pub(super) fn replay(source: &str, to: &str) -> Action {
    let route = Route { destination: name(to), ttl: TTL, retry: RetryPolicy::default() };
    Action::Replay { routes: BTreeMap::from([(name(source), vec![route])]), pace: None }
}

/// Runs a command to its end.
pub(super) fn run(store: &SqliteStore, command: Command) -> JobSums {
    // Far above those that were minted until now.
    let mut mint = IdMint::new(command.job.sequence() + (1 << 40), 1);
    let mut job = Job::new(command);
    loop {
        match job.poll(NOW) {
            Some(Output::Ask(op)) => job.handle(wait(perform_job(Trades::of(store), op))),
            Some(Output::Tell(_)) => {}
            Some(Output::Mint(count)) => job.mint((0..count).map(|_| mint.delivery(NOW)).collect()),
            Some(Output::Pause(_) | Output::Over) | None => {
                return job.outcome().expect("nothing is in its way");
            }
        }
    }
}

/// I5, I20: a job goes on after a crash where it stood, a step done before is not done again, and what is urgent does not
/// wait behind the steps that are asked for.
#[test]
fn a_job_goes_on_after_a_crash_and_lets_urgent_work_pass() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let mut appends: Vec<Append> = (0..2_000).map(|_| maker.append("x", NOW)).collect();
    for append in &mut appends {
        append.deliveries[0].state = State::Dead;
        append.deliveries[0].reason = Some(relay_core::delivery::Reason::Rejected);
    }
    assert!(wait(store.append(appends)).iter().all(Result::is_ok));
    let redrive = Action::Redrive { ttl: BTreeMap::new(), ttl_default: TTL, pace: None };
    let command = command(&mut maker, redrive, everything());
    let mut job = Job::new(command.clone());
    let first = loop {
        match job.poll(NOW) {
            Some(Output::Ask(op)) => job.handle(wait(perform_job(Trades::of(&store), op))),
            Some(Output::Tell(told)) => break told.touched.len() as u64,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(first, 500);
    wait(store.crash());
    drop(store);
    let store = open(dir.path());
    assert_eq!(wait(store.stats()).expect("stats").destinations[0].states[0], first);
    let mut job = Job::new(command.clone());
    while let Some(output) = job.poll(NOW) {
        match output {
            Output::Ask(op) => {
                // Asked for behind it, and both are answered: neither waits for the other to have nothing left.
                let step = perform_job(Trades::of(&store), op);
                let leased = wait(store.lease(lease_ask(1))).expect("leases").deliveries;
                assert_eq!(wait(store.settle(vec![delivered(&leased[0])])), Ok(vec![Changed::Applied]));
                job.handle(wait(step));
            }
            Output::Tell(_) => {}
            Output::Mint(_) | Output::Pause(_) => panic!("nothing is in its way"),
            Output::Over => break,
        }
    }
    let outcome = job.outcome().expect("it is over");
    assert_eq!((outcome.matched, outcome.changed), (2_000, 2_000));
    assert_eq!(run(&store, command), outcome, "and stays over");
    let recount = wait(store.recount()).expect("counts");
    assert_eq!(recount.counted, recount.kept);
}

/// I12, I15: a replay of large webhooks writes new deliveries and no body: those stand in rows that never change.
#[test]
fn a_replay_writes_no_body() {
    const BODY: usize = 400_000;
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let large = "x".repeat(BODY);
    let appends: Vec<Append> = (0..20).map(|_| maker.append(&large, NOW)).collect();
    let first = appends[0].event.id;
    let unrouted = Append { deliveries: Vec::new(), ..maker.append(&large, NOW) };
    assert!(wait(store.append(appends)).iter().all(Result::is_ok));
    append_one(&store, &unrouted).expect("stored");
    wait(store.close());
    drop(store);
    let store = open(dir.path());
    for round in 1..=2 {
        let all = Target::Events(EventFilter::default());
        let command = command(&mut Maker::new(&store), replay("stripe", "crm"), all);
        assert_eq!(run(&store, command).changed, 21, "{round}");
    }
    let log = std::fs::metadata(dir.path().join("store.db-wal")).expect("is there").len();
    assert!(log < BODY as u64, "two replays of 21 bodies wrote {log} bytes");
    for (event, expected) in [(first, 3), (unrouted.event.id, 2)] {
        let of_event = DeliveryFilter { event: Some(event), ..DeliveryFilter::default() };
        let found = wait(store.browse_deliveries(of_event, Page { cursor: None, limit: 10 })).expect("reads").items;
        assert_eq!(found.len(), expected);
        assert_eq!(wait(store.event(event)).expect("reads").map(|event| event.body.len()), Some(BODY));
    }
    wait(store.close());
    drop(store);
    assert_eq!(check(dir.path(), false, NOW).expect("reads").faults, Vec::<String>::new());
}
