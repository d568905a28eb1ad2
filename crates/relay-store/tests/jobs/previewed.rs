//! Commands that were previewed: what has come to match since is left.

use std::{collections::BTreeMap, time::Duration};

use relay_core::{
    delivery::{Delivery, State, redrive as redriven},
    jobs::{Action, Command, End, Job, JobOp, JobStored, Meant, Output, Target},
    name::Name,
    storage::{DeliveryFilter, Listing, Range, Step, Stepped},
    time::Wall,
};
use relay_store::seam::Upkeep as _;

use crate::{Edit, NOW, Rig, Run, TTL, name, redrive, replay, run, wait};

/// I12: a command that was previewed leaves what has come to match since, whatever made it match: another end, a redrive, another try.
#[test]
fn what_came_to_match_after_a_preview_is_left() {
    let (before, after) = (NOW + Duration::from_secs(1), NOW + Duration::from_secs(2));
    let shown = |found: &mut Delivery| (found.changed_at, found.ready_at) = (NOW, NOW);
    let changed = |found: &mut Delivery| found.changed_at = NOW + Duration::from_secs(2);
    let redriven = |found: &mut Delivery| {
        (found.changed_at, found.ready_at) = (NOW + Duration::from_secs(2), NOW + Duration::from_secs(2));
    };
    let placed = |found: &mut Delivery| found.ready_at = NOW + Duration::from_hours(1);
    let last_status = |found: &Delivery| found.tries == 0;
    let cases: [(Action, State, Edit, bool, u64); 12] = [
        (redrive(), State::Dead, shown, false, 1),
        (redrive(), State::Dead, changed, false, 0),
        (Action::Purge, State::Expired, shown, true, 1),
        (Action::Purge, State::Expired, changed, false, 0),
        (Action::Cancel, State::Ready, shown, false, 1),
        // Tried, leased or handed back: open all the while.
        (Action::Cancel, State::Scheduled, changed, false, 1),
        (Action::Cancel, State::Leased, changed, false, 1),
        // But perhaps not picked by what was tried before.
        (Action::Cancel, State::Scheduled, changed, true, 0),
        (Action::Cancel, State::Scheduled, shown, true, 1),
        (Action::Cancel, State::Ready, redriven, false, 0),
        (Action::Cancel, State::Scheduled, redriven, true, 0),
        // A redrive at a rate places what is ready only later.
        (Action::Cancel, State::Scheduled, placed, false, 1),
    ];
    for (number, (action, state, edit, is_picked, taken)) in cases.into_iter().enumerate() {
        let mut rig = Rig::new();
        let (made, pick) = (rig.made_as(state, edit), is_picked.then(|| Meant::new(last_status)));
        for target in [Target::Matching(DeliveryFilter::default()), Target::Ids([made.id].into())] {
            let command = Command { as_of: Some(before), pick: pick.clone(), target, ..rig.command(action.clone()) };
            let counted = run(&rig, &Command { dry_run: true, ..command.clone() }, 500);
            let split: BTreeMap<Name, u64> = (taken > 0).then(|| (name("crm"), taken)).into_iter().collect();
            assert_eq!((counted.matched, counted.split), (taken, split), "case {number}");
            let later = Command { as_of: Some(after), dry_run: true, ..command.clone() };
            assert_eq!(run(&rig, &later, 500).matched, 1, "case {number}");
        }
        let command = Command { as_of: Some(before), pick, ..rig.command(action) };
        let outcome = run(&rig, &command, 500);
        assert_eq!((outcome.matched, outcome.changed, outcome.split.len()), (taken, taken, 0), "case {number}");
    }
}

/// I12: the same of a replay; its preview tells how many deliveries it makes for whom.
#[test]
fn events_that_came_after_a_preview_are_not_replayed() {
    let (mut rig, _) = Rig::dead(3);
    let all = replay(&mut rig, None);
    let then = |micros| Some(NOW - Duration::from_micros(1) + Duration::from_micros(micros));
    let counted = run(&rig, &Command { dry_run: true, as_of: then(1), ..all.clone() }, 2);
    assert_eq!((counted.matched, counted.split.values().sum::<u64>(), counted.split.len()), (3, 6, 2));
    assert_eq!(run(&rig, &Command { as_of: then(0), ..all.clone() }, 2).matched, 0);
    let again = Command { job: rig.mint.job(NOW), as_of: then(1), ..all };
    assert_eq!(run(&rig, &again, 2).changed, 6);
}

/// I12: a preview that ended at its limit has an end: what is gone of those it counted has none in its place, whatever matches behind it.
#[test]
fn what_a_limited_preview_did_not_count_takes_no_place_of_what_has_gone() {
    let by_end =
        || DeliveryFilter { range: Range { since: None, until: Some(Wall::MAX) }, ..DeliveryFilter::default() };
    for filter in [DeliveryFilter::default(), by_end()] {
        let (mut rig, made) = Rig::dead(6);
        let target = Target::Matching(filter);
        let limited = Command { target, limit: Some(3), as_of: Some(NOW), ..rig.command(redrive()) };
        let counted = run(&rig, &Command { dry_run: true, ..limited.clone() }, 2);
        assert_eq!((counted.matched, counted.example), (3, Some(made[5].id)), "the latest first");
        rig.settled(redriven(&made[4], NOW, TTL));
        let done = run(&rig, &Command { last: counted.last, ..limited }, 2);
        assert_eq!((done.matched, done.changed, done.next), (2, 2, None));
        assert_eq!(rig.states().iter().filter(|state| **state == State::Dead).count(), 3, "none that was not counted");
    }
    let (mut rig, _) = Rig::dead(3);
    let all = Command { limit: Some(2), ..replay(&mut rig, None) };
    let counted = run(&rig, &Command { dry_run: true, ..all.clone() }, 2);
    assert_eq!(run(&rig, &Command { last: counted.last, limit: None, ..all.clone() }, 2).matched, 2);
    let whole = run(&rig, &Command { dry_run: true, limit: Some(4), ..all }, 2);
    assert_eq!((whole.matched, whole.last), (3, None), "all that there is has no end but its time");
}

/// I12: servers whose clocks are apart by as much as they may mint ids that are not in the order in which a store lists them.
#[test]
fn what_was_counted_is_not_left_because_its_id_is_out_of_order() {
    let mut rig = Rig::new();
    let made: Vec<Delivery> = (0..5).map(|_| rig.made(State::Ready)).collect();
    let command = Command { limit: Some(3), ..rig.command(Action::Cancel) };
    let listed = [4, 2, 3, 1, 0].map(|at: usize| made[at].clone());
    let counted_of = |command: Command| {
        let mut job = Job::new(command);
        loop {
            match job.poll(NOW) {
                Some(Output::Ask(JobOp::Page(asked))) => {
                    let (ask, receipt) = asked.take();
                    let page = Listing { items: listed[..ask.page.limit.min(5) as usize].to_vec(), next: None };
                    job.handle(JobStored::Page(receipt.answered(Ok(page))));
                }
                Some(Output::Ask(op)) => job.handle(rig.store.perform_job(op)),
                Some(Output::Over) => return job.outcome().expect("it is over"),
                Some(_) => {}
                None => panic!("nothing is under way"),
            }
        }
    };
    let counted = counted_of(Command { dry_run: true, ..command.clone() });
    assert_eq!(counted.matched, 3);
    let done = counted_of(Command { last: counted.last, ..command });
    assert_eq!((done.matched, done.changed), (3, 3));
}

/// Each of the steps of a command begins where the one before it ended, and not with the first that there is.
#[test]
fn what_is_known_of_a_job_is_not_read_again() {
    let (mut rig, _) = Rig::dead(3);
    let command = rig.command(redrive());
    let first = run(&rig, &Command { limit: Some(2), ..command.clone() }, 500);
    assert_eq!(first.matched, 2);
    let look = || wait(rig.store.step(Step::look(command.job)));
    let Ok(Stepped::Elsewhere(mark)) = look() else { panic!("no job has so many steps") };
    let mut job = Job::new(command.clone()).at(mark.clone());
    let Some(Output::Ask(JobOp::Page(asked))) = job.poll(NOW) else { panic!("it reads on") };
    assert_eq!(asked.take().0.page.cursor, mark.cursor);
    assert!(mark.cursor.is_some());
    let other = Job::new(Command { fingerprint: 1, ..command.clone() }).at(mark).poll(NOW);
    assert!(matches!(other, Some(Output::Ask(JobOp::Page(_)))), "another command is told so by the store");
}

/// I12: what is counted for a job that has begun is what it has done and what is left of it, whatever has come to match before that since.
#[test]
fn a_job_that_goes_on_is_counted_from_where_it_is() {
    let (mut rig, _) = Rig::dead(6);
    let command = Command { limit: Some(4), ..rig.command(redrive()) };
    run(&rig, &Command { limit: Some(2), ..command.clone() }, 500);
    let Ok(Stepped::Elsewhere(mark)) = wait(rig.store.step(Step::look(command.job))) else { panic!("it has begun") };
    for _ in 0..4 {
        rig.made(State::Dead);
    }
    let goes_on = |command: Command| {
        let run = Run::new(&rig.store, &command, 500);
        Run { job: run.job.at(mark.clone()), ..run }.finish().0
    };
    let counted = goes_on(Command { dry_run: true, ..command.clone() });
    assert_eq!(counted.matched, 4);
    let done = goes_on(Command { last: counted.last, ..command.clone() });
    assert_eq!((done.matched, done.changed), (4, 4));
    let anew = run(&rig, &Command { dry_run: true, ..command }, 500);
    assert_ne!(anew.last, counted.last, "from the first on it would be about others");
}

/// I12: a job that was stopped is not through, and whoever runs it is told by whom.
#[test]
fn a_job_that_was_stopped_says_by_whom() {
    let (mut rig, _) = Rig::dead(3);
    let command = rig.command(redrive());
    run(&rig, &Command { limit: Some(1), ..command.clone() }, 500);
    let Ok(Stepped::Elsewhere(mark)) = wait(rig.store.step(Step::look(command.job))) else { panic!("it has begun") };
    let stop = Step::stop(command.job, &mark, "user:alice");
    let Ok(Stepped::Done { mark, .. }) = wait(rig.store.step(stop)) else { panic!("it stands there") };
    for outcome in
        [run(&rig, &command, 500), Job::new(command.clone()).at(mark).outcome().expect("it is over before it reads")]
    {
        assert_eq!((outcome.end, outcome.changed, outcome.next), (End::StoppedBy("user:alice".into()), 1, None));
    }
    let through = Rig::dead(2).0;
    assert_eq!(run(&through, &Command { job: command.job, ..command }, 500).end, End::Done);
}
