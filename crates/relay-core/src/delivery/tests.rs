//! Each transition alone. Their interplay is checked against a reference in `tests/model`.

use std::time::Duration;

use super::{
    Delivery, Reason, State, Terms,
    outcome::{Class, Outcome},
    redrive,
    retry::{RetryPolicy, Schedule},
    *,
};
use crate::{
    event::Event,
    id::{DeliveryId, EventId},
    limits,
    name::Name,
};

const NOW: Wall = Wall::from_micros(1_700_000_000_000_000);
const TTL: Duration = Duration::from_hours(24);

fn ready() -> Delivery {
    let event = Event {
        id: EventId::from_u128(1),
        source: Name::fallback(),
        method: "POST".into(),
        path: "/webhook".into(),
        query: None,
        headers: Vec::new(),
        body: "{}".into(),
        body_sha256: [0; 32],
        received_at: NOW,
    };
    Delivery::ready(DeliveryId::from_u128(2), &event, Name::fallback(), false, NOW, TTL)
}

fn held() -> Delivery {
    leased(&ready(), InstanceId::from_u128(3), 4, NOW, NOW + limits::LEASE)
}

fn failure(class: Class) -> Outcome {
    let error = Some("connection refused".into());
    Outcome { class, status: None, retry_after: None, duration: Duration::from_millis(5), error }
}

fn check(before: &Delivery, outcome: &Outcome, made: u64, state: State, attempts: u32) -> Delivery {
    let retry = RetryPolicy::default();
    let terms = Terms { retry: &retry, retry_after_max: limits::RETRY_AFTER_MAX, made, probe: false, jitter: 0.0 };
    let change = settle(before, before.token, outcome, &terms, NOW).expect("it is held under its token");
    assert_eq!((change.next.state, change.next.attempts), (state, attempts));
    change.next
}

/// I10: rejected counts, unreachable does not.
#[test]
fn rejected_counts_and_unreachable_does_not() {
    check(&held(), &failure(Class::Rejected), 0, State::Scheduled, 1);
    check(&held(), &failure(Class::Unreachable), 0, State::Scheduled, 0);
}

/// I10: busy counts only if another event was delivered since the previous try.
#[test]
fn busy_counts_once_the_destination_served_another() {
    let first = check(&held(), &failure(Class::Busy), 5, State::Scheduled, 0);
    assert_eq!(first.mark, Some(5));
    let again = leased(&first, InstanceId::from_u128(3), 4, NOW, NOW);
    check(&again, &failure(Class::Busy), 5, State::Scheduled, 0);
    check(&again, &failure(Class::Busy), 6, State::Scheduled, 1);
}

/// I10: dead when the counted attempts exceed the retries.
#[test]
fn a_delivery_is_dead_after_its_last_retry() {
    let mut last = held();
    last.attempts = limits::MAX_RETRIES;
    let dead = check(&last, &failure(Class::Rejected), 0, State::Dead, limits::MAX_RETRIES + 1);
    assert_eq!(dead.reason, Some(Reason::Rejected));
}

/// I13: past its TTL a failure, a loss and a hand-back all end as expired.
#[test]
fn past_its_ttl_a_lease_ends_as_expired() {
    let mut late = held();
    late.expires_at = NOW;
    check(&late, &failure(Class::Rejected), 0, State::Expired, 1);
    for change in [hand_back(&late, late.token, NOW), lose(&late, late.token, NOW)] {
        assert_eq!(change.map(|change| change.next.state), Some(State::Expired));
    }
}

/// I10: a redirect is an answer like any other.
#[test]
fn the_class_follows_from_the_status() {
    let classes = [
        (200, Class::Delivered),
        (299, Class::Delivered),
        (301, Class::Rejected),
        (404, Class::Rejected),
        (429, Class::Busy),
        (500, Class::Rejected),
        (503, Class::Busy),
    ];
    for (status, class) in classes {
        assert_eq!(Class::of_status(status), class, "{status}");
    }
}

#[test]
fn a_redriven_delivery_starts_anew_and_its_attempt_records_go_on() {
    let mut dead = check(&held(), &failure(Class::Rejected), 0, State::Scheduled, 1);
    (dead.state, dead.reason, dead.losses) = (State::Dead, Some(Reason::Rejected), 2);
    let change = redrive(&dead, NOW + TTL, TTL);
    let next = &change.next;
    assert_eq!((next.state, next.attempts, next.tries, next.losses, next.earlier), (State::Ready, 0, 0, 0, 3));
    assert_eq!((next.expires_at, next.next_attempt()), (NOW + TTL + TTL, 1));
    assert_eq!(change.archive, dead.last);
}

#[test]
fn errors_are_cut_between_characters() {
    let mut long = failure(Class::Rejected);
    long.error = Some("ü".repeat(400).into());
    let next = check(&held(), &long, 0, State::Scheduled, 1);
    assert_eq!(next.last.and_then(|last| last.error).map(|error| error.len()), Some(500));
}

/// I10: delays grow, end at the last of a list, and never overflow.
#[test]
fn schedules_grow_and_never_overflow() {
    let seconds = |schedule: &Schedule, n| schedule.delay(n).as_secs();
    let default = RetryPolicy::default();
    assert_eq!([1, 2, 3].map(|n| seconds(&default.schedule, n)), [1, 2, 4]);
    assert_eq!(default.schedule.delay(u32::MAX), Duration::MAX);
    assert_eq!(default.span(), Duration::from_secs(7));
    let standard = RetryPolicy { max_retries: 9, schedule: Schedule::standard_webhooks() };
    assert_eq!([1, 2, 9, 10].map(|n| seconds(&standard.schedule, n)), [5, 300, 86_400, 86_400]);
    assert_eq!(standard.span().as_secs() / 3_600, 75);
    let constant = Schedule::Exponential { delay: Duration::from_secs(1), multiplier: 1.0 };
    assert_eq!(RetryPolicy { max_retries: u32::MAX, schedule: constant }.span().as_secs(), u64::from(u32::MAX));
}
