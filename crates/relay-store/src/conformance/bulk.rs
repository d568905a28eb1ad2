//! Bulk commands and replays: idempotent by job, counted, bounded by step.

use std::time::Duration;

use relay_core::{
    delivery::{Delivery, State, outcome::Class},
    id::EventId,
    storage::LeaseEnd,
};

use super::{
    Backend, Fixture,
    fixture::{TTL, at, change, ending, failing, name},
};
use crate::seam::{AuditEntry, AuditFilter, BulkAction, BulkTarget, DeliveryFilter, Pace, Page};

/// What `redrive` says of the deliveries here.
const TTL_OF_ROUTE: Duration = Duration::from_secs(50);

fn redrive() -> BulkAction {
    BulkAction::Redrive {
        ttl: vec![(name("in"), name("crm"), TTL_OF_ROUTE)],
        ttl_default: Duration::from_secs(70),
        pace: None,
    }
}

fn everything() -> BulkTarget {
    BulkTarget::Matching(DeliveryFilter::default())
}

/// I12, I13: the same delivery, ready again, with attempts, losses and TTL anew, the route's own TTL where it has one.
pub async fn redrive_makes_dead_and_expired_ready_again<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let tried = fixture.accept("crm", at(0)).await;
    let tried = fixture.apply(failing(&tried, Class::Rejected, at(1), at(2))).await;
    let dead = fixture.apply(ending(&tried, State::Dead, at(3))).await;
    let expired = fixture.ended("erp", State::Expired, at(3)).await;
    let step = fixture.step(redrive(), everything(), at(10));
    let mut done = fixture.bulk(step).await;
    done.ids.sort();
    assert_eq!((done.matched, done.changed, done.next), (2, 2, None));
    assert_eq!(done.ids, [dead.id, expired.id]);
    assert_eq!(done.destinations, [name("crm"), name("erp")]);

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
    let BulkAction::Redrive { ttl, ttl_default, .. } = redrive() else { unreachable!("it is one") };
    let step = fixture.step(BulkAction::Redrive { ttl, ttl_default, pace }, everything(), at(10));
    assert_eq!(fixture.bulk(step).await.changed, 2);
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
    let step = fixture.step(BulkAction::Cancel, everything(), at(21));
    fixture.bulk(step).await;
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
    let step = fixture.step(redrive(), everything(), at(10));
    assert_eq!(fixture.bulk(step).await.changed, 0);
    assert_eq!(fixture.snapshot().await, before);
    fixture.check_sums().await;
}

/// Purged dead letters are gone, with their event if nothing else is left of it, and both sums still hold (I5).
pub async fn purge_removes_and_counts_as_retired<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let done = fixture.ended("crm", State::Delivered, at(1)).await;
    let step = fixture.step(BulkAction::Purge, everything(), at(2));
    let purged = fixture.bulk(step).await;
    assert_eq!((purged.changed, purged.ids), (1, vec![dead.id]));
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
    let step = fixture.step(BulkAction::Cancel, everything(), at(2));
    assert_eq!(fixture.bulk(step).await.changed, 2);
    for id in [leased.id, ready.id] {
        let found = fixture.find(id).await.expect("it is there");
        assert_eq!((found.state, found.lease, found.reason), (State::Cancelled, None, None));
    }
    assert_eq!(fixture.find(dead.id).await, Some(dead));
    let too_late = fixture.settle(ending(&held, State::Delivered, at(3))).await;
    assert_ne!(too_late, relay_core::storage::Changed::Applied);
    assert!(fixture.lease("crm", at(9)).await.deliveries.is_empty());
    assert_eq!(fixture.store().held(None, 10).await, Ok(Vec::new()));
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
        let step = fixture.step(redrive(), everything(), at(round));
        assert_eq!(fixture.bulk(step).await.changed, 2);
        let held = fixture.lease("crm", at(round)).await.deliveries[0].clone();
        fixture.apply(failing(&held, Class::Rejected, at(round + 1), at(round + 2))).await;
        fixture = fixture.reopen().await;
        let step = fixture.step(BulkAction::Cancel, BulkTarget::Ids(vec![dead.id, expired.id]), at(round + 3));
        assert_eq!(fixture.bulk(step).await.changed, 2);
        for was in [&dead, &expired] {
            let found = fixture.find(was.id).await.expect("it is there");
            assert_eq!((found.state, found.reason, found.lease), (was.state, was.reason, None));
        }
    }
    let step = fixture.step(BulkAction::Cancel, everything(), at(30));
    assert_eq!(fixture.bulk(step).await.ids, [fresh.id]);
    assert_eq!(fixture.find(fresh.id).await.map(|found| found.state), Some(State::Cancelled));
    fixture.check_sums().await;
}

/// A dry run answers how many, and the step may then really be made under the same job.
pub async fn a_dry_run_counts_and_changes_nothing<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    fixture.ended("crm", State::Dead, at(1)).await;
    let before = fixture.snapshot().await;
    let mut step = fixture.step(redrive(), everything(), at(10));
    step.dry_run = true;
    let done = fixture.bulk(step.clone()).await;
    assert_eq!((done.matched, done.changed), (1, 0));
    assert_eq!(fixture.snapshot().await, before);
    step.dry_run = false;
    assert_eq!(fixture.bulk(step).await.changed, 1);
    fixture.check_sums().await;
}

/// A command whose answer was lost is sent again: what has died anew since then stays dead. Also after a crash.
pub async fn a_repeated_step_does_nothing_twice<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let step = fixture.step(redrive(), everything(), at(10));
    assert_eq!(fixture.bulk(step.clone()).await.changed, 1);
    let ready = fixture.find(dead.id).await.expect("it is there");
    let dead = fixture.apply(ending(&ready, State::Dead, at(11))).await;
    fixture.bulk(step.clone()).await;
    assert_eq!(fixture.find(dead.id).await, Some(dead.clone()));
    let mut fixture = fixture.reopen().await;
    fixture.bulk(step).await;
    assert_eq!(fixture.find(dead.id).await, Some(dead.clone()));

    let another = fixture.step(redrive(), everything(), at(12));
    assert_eq!(fixture.bulk(another).await.changed, 1);
    fixture.check_sums().await;
}

/// At most 500 a step; following the cursor reaches all, each once.
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

    let mut step = fixture.step(redrive(), everything(), at(10));
    let mut changed = Vec::new();
    loop {
        let done = fixture.bulk(step.clone()).await;
        assert!(done.changed <= 500 && done.changed == done.ids.len() as u64);
        changed.extend(done.ids);
        let Some(cursor) = done.next else { break };
        step.cursor = Some(cursor);
    }
    let mut newest_first = changed.clone();
    newest_first.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
    newest_first.dedup();
    assert_eq!((changed.len(), &changed), (1_100, &newest_first), "each once, the newest first");
    assert_eq!(fixture.counters("crm").await.states[0], 1_100);
    fixture.check_sums().await;
}

/// What an operator did is audited once: with the first step that changes something, not with the first that looks.
pub async fn a_job_is_audited_with_its_first_change<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let done = fixture.ended("crm", State::Delivered, at(1)).await;
    let mut ids = vec![done.id; 1];
    ids.extend((0..600).map(|_| fixture.mint.delivery(at(2))));
    ids.push(dead.id);
    // The first 500 of them in their order are nothing that could be redriven.
    let early = (0..500).map(|number| relay_core::id::DeliveryId::from_u128(number << 64));
    ids.extend(early);
    let entry = AuditEntry {
        at: at(10),
        who: "cli".into(),
        action: "dead.redrive".into(),
        subject: "many".into(),
        origin: "{}".into(),
    };
    let mut step = fixture.step(redrive(), BulkTarget::Ids(ids), at(10));
    step.audit = Some(entry.clone());
    let mut changed = Vec::new();
    loop {
        let done = fixture.bulk(step.clone()).await;
        changed.push(done.changed);
        let Some(cursor) = done.next else { break };
        step.cursor = Some(cursor);
    }
    assert_eq!((changed[0], changed.iter().sum::<u64>()), (0, 1));
    let page = Page { cursor: None, limit: 10 };
    let audited = fixture.store().browse_audit(AuditFilter::default(), page).await.expect("browsing works");
    assert_eq!(audited.items, [entry]);
    fixture.check_sums().await;
}

/// Those named, if they exist and the action applies; unknown ids are passed over.
pub async fn a_bulk_command_may_name_ids<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let first = fixture.ended("crm", State::Dead, at(1)).await;
    let second = fixture.ended("crm", State::Dead, at(1)).await;
    let done = fixture.ended("crm", State::Delivered, at(1)).await;
    let unknown = fixture.mint.delivery(at(1));
    let target = BulkTarget::Ids(vec![second.id, done.id, unknown]);
    let step = fixture.step(BulkAction::Purge, target, at(2));
    assert_eq!(fixture.bulk(step).await.ids, [second.id]);
    assert_eq!(fixture.find(first.id).await, Some(first));
    fixture.check_sums().await;
}

/// I12: linked to the old event, which must still be there; the old delivery is not touched.
pub async fn a_replay_is_a_new_delivery_of_an_old_event<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let old = fixture.ended("crm", State::Delivered, at(1)).await;
    let event = fixture.store().event(old.event).await.expect("reading works").expect("it is there");
    let replay = Delivery::ready(fixture.mint.delivery(at(5)), &event, name("erp"), true, at(5), TTL);
    let orphan = Delivery { id: fixture.mint.delivery(at(5)), event: EventId::from_u128(9 << 80), ..replay.clone() };
    let answers = fixture.store().replay(vec![replay.clone(), orphan.clone()], Vec::new()).await;
    assert_eq!(answers, Ok(vec![true, false]));
    assert_eq!(fixture.find(orphan.id).await, None);
    let leased = fixture.lease("erp", at(5)).await;
    assert!(leased.deliveries[0].replay);
    assert_eq!(fixture.bodies(&leased.deliveries).await, [Some(event)]);
    assert_eq!(fixture.find(old.id).await, Some(old));
    assert_eq!(fixture.counters("erp").await.created, 1);
    fixture.check_sums().await;
}

/// The same call again answers the same and stores nothing, whatever has become of the first.
pub async fn a_repeated_replay_stores_nothing_twice<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let old = fixture.ended("crm", State::Delivered, at(1)).await;
    let replay = Delivery {
        id: fixture.mint.delivery(at(5)),
        version: 0,
        state: State::Ready,
        replay: true,
        reason: None,
        ..old.clone()
    };
    let first = fixture.store().replay(vec![replay.clone()], Vec::new()).await;
    let moved = fixture.apply(change(&replay, |next| next.state = State::Cancelled)).await;
    let fixture = fixture.reopen().await;
    let second = fixture.store().replay(vec![replay], Vec::new()).await;
    assert_eq!((first, second), (Ok(vec![true]), Ok(vec![true])));
    assert_eq!(fixture.find(moved.id).await, Some(moved));
    assert_eq!(fixture.counters("crm").await.created, 2);
    fixture.check_sums().await;
}
