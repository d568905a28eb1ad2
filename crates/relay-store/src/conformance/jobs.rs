//! Jobs over each backend, and what a job is made of: steps with their marks.

use std::{collections::BTreeMap, time::Duration};

use relay_core::{
    delivery::{State, cancel, outcome::Class, redrive as redriven},
    id::DeliveryId,
    jobs::{Action, Pace, Target},
    storage::{Changed, Ended, HeldAsk, LeaseEnd, Mark, Step, Stepped},
};

use super::{
    Backend, Fixture,
    fixture::{at, ending, failing, name},
};
use crate::seam::{AuditEntry, AuditFilter, DeliveryFilter, Page};

/// What `redrive` says of the deliveries here.
const TTL_OF_ROUTE: Duration = Duration::from_secs(50);

fn redrive() -> Action {
    paced(None)
}

fn paced(pace: Option<Pace>) -> Action {
    let ttl = BTreeMap::from([((name("in"), name("crm")), TTL_OF_ROUTE)]);
    Action::Redrive { ttl, ttl_default: Duration::from_secs(70), pace }
}

fn everything() -> Target {
    Target::Matching(DeliveryFilter::default())
}

fn audited(now: relay_core::time::Wall) -> AuditEntry {
    let (who, action) = ("cli".into(), "dead.redrive".into());
    AuditEntry { at: now, who, action, subject: "many".into(), origin: "{}".into() }
}

async fn audit_log<B: Backend>(fixture: &Fixture<B>) -> Vec<AuditEntry> {
    let page = Page { cursor: None, limit: 10 };
    fixture.store().browse_audit(AuditFilter::default(), page).await.expect("browsing works").items
}

/// I12, I13: the same delivery, ready again, with attempts, losses and TTL anew, the route's own TTL where it has one.
pub async fn redrive_makes_dead_and_expired_ready_again<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let tried = fixture.accept("crm", at(0)).await;
    let tried = fixture.apply(failing(&tried, Class::Rejected, at(1), at(2))).await;
    let dead = fixture.apply(ending(&tried, State::Dead, at(3))).await;
    let expired = fixture.ended("erp", State::Expired, at(3)).await;
    let command = fixture.command(redrive(), everything(), at(10));
    let (done, mut told) = fixture.run(command, at(10)).await;
    told.touched.sort();
    assert_eq!((done.matched, done.changed, done.next), (2, 2, None));
    assert_eq!(told.touched, [dead.id, expired.id]);
    assert_eq!(told.woken, [name("crm"), name("erp")].into());

    let fixture = fixture.reopen().await;
    let again = fixture.find(dead.id).await.expect("it is there");
    assert_eq!((again.state, again.reason, again.version), (State::Ready, None, dead.version + 1));
    assert_eq!((again.attempts, again.tries, again.losses), (0, 0, 0));
    assert_eq!((again.ready_at, again.due_at, again.expires_at), (at(10), at(10), at(60)));
    assert_eq!(again.next_attempt(), 1);
    assert_eq!(fixture.find(expired.id).await.map(|found| found.expires_at), Some(at(80)));
    assert_eq!(fixture.lease("crm", at(10)).await.deliveries.len(), 1);
    assert_eq!(fixture.store().attempts(dead.id).await.map(|attempts| attempts.len()), Ok(1));
    fixture.check_sums().await;
}

/// At a rate each is due behind the one before it, over all steps; leased when its time has come, with its whole TTL.
pub async fn a_paced_redrive_is_due_one_after_the_other<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let ids = [fixture.ended("crm", State::Dead, at(1)).await.id, fixture.ended("crm", State::Expired, at(1)).await.id];
    let pace = Some(Pace { from: at(20), every: Duration::from_secs(5) });
    let command = fixture.command(paced(pace), everything(), at(10));
    let (done, _) = fixture.run(command, at(10)).await;
    assert_eq!((done.changed, done.next_due), (2, Some(at(30))));
    let mut fixture = fixture.reopen().await;
    assert!(fixture.lease("crm", at(19)).await.deliveries.is_empty());
    let mut due = Vec::new();
    for id in ids {
        let found = fixture.find(id).await.expect("it is there");
        assert_eq!((found.state, found.tries, found.expires_at), (State::Scheduled, 0, found.due_at + TTL_OF_ROUTE));
        due.push(found.due_at);
    }
    due.sort_unstable();
    assert_eq!(due, [at(20), at(25)]);
    let first = fixture.lease("crm", at(20)).await;
    assert_eq!((first.deliveries.len(), first.end), (1, LeaseEnd::Drained { next_due: Some(at(25)) }));
    let command = fixture.command(Action::Cancel, everything(), at(21));
    fixture.run(command, at(21)).await;
    for id in ids {
        let found = fixture.find(id).await.expect("it is there");
        assert!(matches!(found.state, State::Dead | State::Expired), "it goes back: {found:?}");
    }
    fixture.check_sums().await;
}

/// What succeeded, was cancelled or is still on its way is not touched, though it matches.
pub async fn redrive_leaves_everything_else_alone<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    fixture.ended("crm", State::Delivered, at(1)).await;
    fixture.ended("crm", State::Cancelled, at(1)).await;
    fixture.accept("crm", at(1)).await;
    let before = fixture.snapshot().await;
    let command = fixture.command(redrive(), everything(), at(10));
    assert_eq!(fixture.run(command, at(10)).await.0.changed, 0);
    assert_eq!(fixture.snapshot().await, before);
    fixture.check_sums().await;
}

/// Purged dead letters are gone, with their event if nothing else is left of it, and both sums still hold (I5).
pub async fn purge_removes_and_counts_as_retired<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let done = fixture.ended("crm", State::Delivered, at(1)).await;
    let command = fixture.command(Action::Purge, everything(), at(2));
    let (purged, told) = fixture.run(command, at(2)).await;
    assert_eq!((purged.changed, told.touched, told.woken.len()), (1, vec![dead.id], 0));
    assert_eq!(fixture.find(dead.id).await, None);
    assert_eq!(fixture.store().event(dead.event).await, Ok(None));
    assert_eq!(fixture.find(done.id).await, Some(done));
    assert_eq!(fixture.counters("crm").await.retired, 1);
    assert_eq!(fixture.source_counters("in").await.retired, 1);
    fixture.check_sums().await;
}

/// Open ones end; a leased one too, and its report then finds another version.
pub async fn cancel_ends_what_is_open_also_when_leased<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let leased = fixture.accept("crm", at(0)).await;
    let held = fixture.lease("crm", at(0)).await.deliveries[0].clone();
    let ready = fixture.accept("crm", at(1)).await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let command = fixture.command(Action::Cancel, everything(), at(2));
    assert_eq!(fixture.run(command, at(2)).await.0.changed, 2);
    for id in [leased.id, ready.id] {
        let found = fixture.find(id).await.expect("it is there");
        assert_eq!((found.state, found.lease, found.reason), (State::Cancelled, None, None));
    }
    assert_eq!(fixture.find(dead.id).await, Some(dead));
    let too_late = fixture.settle(ending(&held, State::Delivered, at(3))).await;
    assert_ne!(too_late, Changed::Applied);
    assert!(fixture.lease("crm", at(9)).await.deliveries.is_empty());
    assert_eq!(fixture.store().held(HeldAsk::all(None, 10)).await, Ok(Vec::new()));
    fixture.check_sums().await;
}

/// What was redriven and is cancelled before it succeeds is what it was, also when it has been tried again, and may be
/// redriven anew.
pub async fn a_cancelled_redrive_goes_back_to_the_dead_letters<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let expired = fixture.ended("erp", State::Expired, at(1)).await;
    let fresh = fixture.accept("n8n", at(1)).await;
    for round in [10, 20] {
        let command = fixture.command(redrive(), everything(), at(round));
        assert_eq!(fixture.run(command, at(round)).await.0.changed, 2);
        let held = fixture.lease("crm", at(round)).await.deliveries[0].clone();
        fixture.apply(failing(&held, Class::Rejected, at(round + 1), at(round + 2))).await;
        fixture = fixture.reopen().await;
        let command = fixture.command(Action::Cancel, Target::Ids([dead.id, expired.id].into()), at(round + 3));
        assert_eq!(fixture.run(command, at(round + 3)).await.0.changed, 2);
        for was in [&dead, &expired] {
            let found = fixture.find(was.id).await.expect("it is there");
            assert_eq!((found.state, found.reason, found.lease), (was.state, was.reason, None));
        }
    }
    let command = fixture.command(Action::Cancel, everything(), at(30));
    assert_eq!(fixture.run(command, at(30)).await.1.touched, [fresh.id]);
    assert_eq!(fixture.find(fresh.id).await.map(|found| found.state), Some(State::Cancelled));
    fixture.check_sums().await;
}

/// A dry run answers how many, and the command may then really be done under the same job.
pub async fn a_dry_run_counts_and_changes_nothing<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    fixture.ended("crm", State::Dead, at(1)).await;
    let before = fixture.snapshot().await;
    let mut command = fixture.command(redrive(), everything(), at(10));
    command.dry_run = true;
    let (done, told) = fixture.run(command.clone(), at(10)).await;
    assert_eq!((done.matched, done.changed, told.touched.len()), (1, 0, 0));
    assert_eq!(fixture.snapshot().await, before);
    command.dry_run = false;
    assert_eq!(fixture.run(command, at(10)).await.0.changed, 1);
    fixture.check_sums().await;
}

/// A command whose answer was lost is sent again: what has died anew since then stays dead. Also after a crash.
pub async fn a_repeated_command_does_nothing_twice<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let command = fixture.command(redrive(), everything(), at(10));
    let (done, _) = fixture.run(command.clone(), at(10)).await;
    assert_eq!(done.changed, 1);
    let ready = fixture.find(dead.id).await.expect("it is there");
    let dead = fixture.apply(ending(&ready, State::Dead, at(11))).await;
    assert_eq!(fixture.run(command.clone(), at(12)).await.0, done, "answered as it was then");
    assert_eq!(fixture.find(dead.id).await, Some(dead.clone()));
    let mut fixture = fixture.reopen().await;
    assert_eq!(fixture.run(command, at(12)).await.0, done);
    assert_eq!(fixture.find(dead.id).await, Some(dead.clone()));

    let another = fixture.command(redrive(), everything(), at(12));
    assert_eq!(fixture.run(another, at(12)).await.0.changed, 1);
    fixture.check_sums().await;
}

/// Many commits; each delivery once, the newest first.
pub async fn a_large_job_goes_step_by_step<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut batch = Vec::new();
    for _ in 0..1_100 {
        let event = fixture.event("in", b"{}", at(0));
        batch.push(fixture.appending(event, &["crm"]));
    }
    let ended: Vec<_> = batch.iter().map(|append| ending(&append.deliveries[0], State::Dead, at(1))).collect();
    assert!(fixture.store().append(batch).await.iter().all(Result::is_ok));
    fixture.store().settle(ended).await.expect("settling works");

    let command = fixture.command(redrive(), everything(), at(10));
    let (done, told) = fixture.run(command, at(10)).await;
    let mut newest_first = told.touched.clone();
    newest_first.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
    newest_first.dedup();
    assert_eq!((done.changed, &told.touched), (1_100, &newest_first), "each once, the newest first");
    assert_eq!(fixture.counters("crm").await.states[0], 1_100);
    fixture.check_sums().await;
}

/// What an operator did is audited once: with the first step that changes something, not with the first that looks.
pub async fn a_job_is_audited_with_its_first_change<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let done = fixture.ended("crm", State::Delivered, at(1)).await;
    // The first 500 of them in their order are nothing that could be redriven.
    let early = (0..500).map(|number| DeliveryId::from_u128(number << 64));
    let ids = early.chain((0..600).map(|_| fixture.mint.delivery(at(2)))).chain([done.id, dead.id]);
    let ids = ids.collect();
    let mut command = fixture.command(redrive(), Target::Ids(ids), at(10));
    command.audit = Some(audited(at(10)));
    assert_eq!(fixture.run(command, at(10)).await.0.changed, 1);
    let mut nothing = fixture.command(redrive(), everything(), at(11));
    nothing.audit = Some(audited(at(11)));
    assert_eq!(fixture.run(nothing, at(11)).await.0.changed, 0);
    assert_eq!(audit_log(&fixture).await, [audited(at(10))]);
    fixture.check_sums().await;
}

/// A step is done once: asked for again it answers with the mark, and so does one that is not the next. Also after a crash.
pub async fn a_step_is_done_once<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let first = fixture.ended("crm", State::Dead, at(1)).await;
    let second = fixture.ended("erp", State::Dead, at(1)).await;
    let step = Step {
        job: fixture.job(at(2)),
        before: 0,
        cursor: Some("there".into()),
        matched: 1,
        fingerprint: 7,
        next_due: Some(at(9)),
        is_over: false,
        settle: vec![redriven(&first, at(2), TTL_OF_ROUTE)],
        retire: Vec::new(),
        make: Vec::new(),
        erase: Vec::new(),
        audit: Some(audited(at(2))),
    };
    let mark = Mark {
        steps: 1,
        cursor: step.cursor.clone(),
        matched: 1,
        changed: 1,
        fingerprint: 7,
        next_due: Some(at(9)),
        is_over: false,
    };
    let (settled, retired, made) = (vec![Changed::Applied], Vec::new(), Vec::new());
    let done = Stepped::Done { mark: mark.clone(), settled, retired, made, erased: Vec::new() };
    assert_eq!(fixture.store().step(step.clone()).await, Ok(done));
    let before = fixture.snapshot().await;
    let too_far = Step { before: 2, retire: Ended::of(&second).into_iter().collect(), ..step.clone() };
    for _ in 0..2 {
        for wrong in [&step, &too_far] {
            assert_eq!(fixture.store().step(wrong.clone()).await, Ok(Stepped::Elsewhere(mark.clone())));
        }
        assert_eq!(fixture.snapshot().await, before);
        fixture = fixture.reopen().await;
    }
    let last = Step { before: 1, cursor: None, next_due: None, is_over: true, settle: Vec::new(), ..too_far };
    let mark = Mark { steps: 2, cursor: None, matched: 2, changed: 2, fingerprint: 7, next_due: None, is_over: true };
    let done = Stepped::Done {
        mark: mark.clone(),
        settled: Vec::new(),
        retired: vec![true],
        made: Vec::new(),
        erased: Vec::new(),
    };
    assert_eq!(fixture.store().step(last.clone()).await, Ok(done));
    assert_eq!(fixture.store().step(last).await, Ok(Stepped::Elsewhere(mark)));
    assert_eq!(audit_log(&fixture).await.len(), 2, "a line of each step that had one, and none else");
    let other = Step { job: fixture.job(at(3)), ..step };
    let Ok(Stepped::Done { settled, .. }) = fixture.store().step(other).await else { panic!("its own job's first") };
    assert!(matches!(settled[..], [Changed::Conflict(Some(_))]), "another job, and the record is another by now");
    fixture.check_sums().await;
}

/// I7, I12: each change and each removal is of the record that was decided on; one that is another by now is left alone, and
/// does not keep the others from their end.
pub async fn a_step_passes_over_what_has_changed<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let ready = fixture.accept("crm", at(0)).await;
    let leased = fixture.lease("crm", at(1)).await.deliveries.remove(0);
    let waiting = fixture.accept("erp", at(0)).await;
    let dead = fixture.ended("n8n", State::Dead, at(1)).await;
    let gone = fixture.ended("n8n", State::Dead, at(1)).await;
    let alive = fixture.apply(ending(&dead, State::Ready, at(2))).await;
    let named = |found| Ended::of(found).expect("it has ended");
    let step = Step {
        job: fixture.job(at(2)),
        before: 0,
        cursor: None,
        matched: 4,
        fingerprint: 7,
        next_due: None,
        is_over: true,
        settle: vec![cancel(&ready, at(2)), cancel(&waiting, at(2))],
        retire: vec![named(&dead), named(&gone)],
        make: Vec::new(),
        erase: Vec::new(),
        audit: None,
    };
    let Ok(Stepped::Done { mark, settled, retired, .. }) = fixture.store().step(step).await else {
        panic!("it is the first")
    };
    assert_eq!(settled, [Changed::Conflict(Some(Box::new(leased.clone()))), Changed::Applied]);
    assert_eq!((retired, mark.matched, mark.changed), (vec![false, true], 4, 2));
    for kept in [leased, alive] {
        assert_eq!(fixture.find(kept.id).await, Some(kept));
    }
    fixture.check_sums().await;
}

/// I16: without room commands that change or remove go on, also those that make something due: so a full store gets room.
pub async fn what_only_settles_or_removes_is_done_without_room<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    fixture.accept("crm", at(0)).await;
    fixture.ended("erp", State::Dead, at(1)).await;
    fixture.ended("n8n", State::Dead, at(1)).await;
    fixture.backend.set_full(true).await;
    let of = |to| Target::Matching(DeliveryFilter { destination: Some(name(to)), ..DeliveryFilter::default() });
    for (action, to) in [(Action::Cancel, "crm"), (redrive(), "erp"), (Action::Purge, "n8n")] {
        let command = fixture.command(action, of(to), at(2));
        assert_eq!(fixture.run(command, at(2)).await.0.changed, 1, "{to}");
    }
    fixture.check_sums().await;
}

/// Those named, if they exist and the action applies; unknown ids are passed over.
pub async fn a_command_may_name_ids<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let first = fixture.ended("crm", State::Dead, at(1)).await;
    let second = fixture.ended("crm", State::Dead, at(1)).await;
    let done = fixture.ended("crm", State::Delivered, at(1)).await;
    let unknown = fixture.mint.delivery(at(1));
    let target = Target::Ids([second.id, done.id, unknown].into());
    let command = fixture.command(Action::Purge, target, at(2));
    assert_eq!(fixture.run(command, at(2)).await.1.touched, [second.id]);
    assert_eq!(fixture.find(first.id).await, Some(first));
    fixture.check_sums().await;
}
