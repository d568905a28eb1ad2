//! Settling: compare on version, attempts, counters.

use relay_core::{
    delivery::{State, outcome::Class},
    id::DeliveryId,
    jobs::{Action, Rules, Target},
    partitions::Partitions,
    storage::Changed,
};

use super::{
    Backend, Fixture,
    fixture::{asking, at, attempt, change, ending, failing},
};

/// I7: a decision on a record that is no longer the stored one is refused, and the stored one comes back.
pub async fn a_change_is_applied_only_to_the_record_it_was_decided_on<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    fixture.accept("crm", at(0)).await;
    let leased = fixture.lease("crm", at(1)).await.deliveries[0].clone();
    let scheduled = fixture.apply(failing(&leased, Class::Rejected, at(2), at(3))).await;
    let late = ending(&leased, State::Dead, at(3));
    assert_eq!(fixture.settle(late).await, Changed::Conflict(Some(Box::new(scheduled.clone()))));
    assert_eq!(fixture.find(scheduled.id).await, Some(scheduled));
    fixture.check_sums().await;
}

/// I7: settling is idempotent: the repetition conflicts with what the first stored, and counts nothing twice.
pub async fn settling_twice_changes_nothing_the_second_time<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let before = fixture.accept("crm", at(0)).await;
    let done = change(&before, |next| {
        next.state = State::Delivered;
        next.tries = 1;
        next.last = Some(attempt(&before, Class::Delivered, at(1)));
    });
    let stored = Box::new(done.next.clone());
    let answers = fixture.store().settle(vec![done.clone(), done.clone()]).await.expect("settling works");
    assert_eq!(answers, [Changed::Applied, Changed::Conflict(Some(stored.clone()))]);
    assert_eq!(fixture.settle(done).await, Changed::Conflict(Some(stored)));
    assert_eq!(fixture.counters("crm").await.outcomes, [1, 0, 0, 0, 0]);
    fixture.check_sums().await;
}

/// What retention or a purge removed is not brought back by a late report.
pub async fn a_change_to_a_retired_delivery_finds_nothing<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let purge = fixture.command(Action::Purge, Target::Ids([dead.id].into()), at(2));
    assert_eq!(fixture.run(purge, at(2)).await.0.changed, 1);
    assert_eq!(fixture.settle(ending(&dead, State::Delivered, at(3))).await, Changed::Conflict(None));
    assert_eq!(fixture.find(dead.id).await, None);
    fixture.check_sums().await;
}

/// One answer per item in order; a conflict does not keep the others from being applied.
pub async fn answers_of_a_batch_are_independent<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let first = fixture.accept("crm", at(0)).await;
    let second = fixture.accept("erp", at(0)).await;
    let third = fixture.accept("crm", at(0)).await;
    let second_now = fixture.apply(failing(&second, Class::Busy, at(1), at(2))).await;
    let batch = [&first, &second, &third].map(|found| ending(found, State::Delivered, at(3))).to_vec();
    let answers = fixture.store().settle(batch).await.expect("settling works");
    assert_eq!(answers, [Changed::Applied, Changed::Conflict(Some(Box::new(second_now))), Changed::Applied]);
    fixture.check_sums().await;
}

/// Every try stays visible: the earlier ones as attempts, the latest in the record.
pub async fn earlier_tries_are_kept_as_attempts<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut delivery = fixture.accept("crm", at(0)).await;
    let mut expected = Vec::new();
    for (number, class) in [Class::Rejected, Class::Busy, Class::Unreachable, Class::Refused].into_iter().enumerate() {
        let now = at(10 * (number as u64 + 1));
        expected.push(attempt(&delivery, class, now));
        delivery = fixture.apply(failing(&delivery, class, now, now)).await;
    }
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store().attempts(delivery.id).await, Ok(expected));
    assert_eq!(fixture.store().attempts(DeliveryId::from_u128(1)).await, Ok(Vec::new()));
    fixture.check_sums().await;
}

/// Outcomes by class, and tries after the first, from the records alone.
pub async fn outcomes_and_retries_are_counted<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let delivery = fixture.accept("crm", at(0)).await;
    let delivery = fixture.apply(failing(&delivery, Class::Unreachable, at(1), at(2))).await;
    let delivery = fixture.apply(failing(&delivery, Class::Busy, at(3), at(4))).await;
    let delivery = fixture.apply(failing(&delivery, Class::Rejected, at(5), at(6))).await;
    let delivery = fixture.apply(failing(&delivery, Class::Refused, at(7), at(8))).await;
    let last = attempt(&delivery, Class::Delivered, at(9));
    fixture
        .apply(change(&delivery, |next| {
            next.state = State::Delivered;
            next.tries += 1;
            next.last = Some(last);
        }))
        .await;
    let fixture = fixture.reopen().await;
    let counters = fixture.counters("crm").await;
    assert_eq!((counters.outcomes, counters.retried), ([1, 1, 1, 1, 1], 4));
    fixture.check_sums().await;
}

/// I10: attempt count and due time survive any restart.
pub async fn a_schedule_survives_reopening<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let delivery = fixture.accept("crm", at(0)).await;
    let scheduled = fixture.apply(failing(&delivery, Class::Rejected, at(1), at(600))).await;
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.find(scheduled.id).await, Some(scheduled));
    assert!(fixture.lease("crm", at(599)).await.deliveries.is_empty());
    assert_eq!(fixture.lease("crm", at(600)).await.deliveries.len(), 1);
    fixture.check_sums().await;
}

/// One answer per id, in order, and nothing for those that are gone.
pub async fn finding_answers_in_order_with_gaps<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let first = fixture.accept("crm", at(0)).await;
    let gone = fixture.ended("crm", State::Delivered, at(1)).await;
    let last = fixture.accept("crm", at(2)).await;
    fixture
        .retain(Rules { now: at(9), delivered_before: at(9), dead_before: at(0), partitions: Partitions::ALL }, 10)
        .await;
    let found = fixture.store().find(vec![last.id, gone.id, first.id, last.id]).await;
    assert_eq!(found, Ok(vec![Some(last.clone()), None, Some(first), Some(last)]));
    assert_eq!(fixture.store().lease(asking("nobody", at(1))).await.map(|leased| leased.deliveries.len()), Ok(0));
    fixture.check_sums().await;
}
