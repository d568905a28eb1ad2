//! Commands that were previewed: what has come to match since is left.

use std::{collections::BTreeMap, time::Duration};

use relay_core::{
    delivery::{Delivery, State},
    jobs::{Action, Command, Meant, Target},
    name::Name,
    storage::DeliveryFilter,
};

use crate::{Edit, NOW, Rig, name, redrive, replay, run};

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
