//! Each transition alone. Their interplay is checked against a reference in `tests/model`.

use std::time::Duration;

use super::{
    Delivery, Reason, State, Terms,
    answer::Answer,
    outcome::{Class, Outcome},
    redrive,
    retry::{self, RetryPolicy, Schedule},
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
        name: None,
        key: None,
    };
    Delivery::ready(DeliveryId::from_u128(2), &event, Name::fallback(), false, NOW, TTL)
}

fn held() -> Delivery {
    leased(&ready(), InstanceId::from_u128(3), 4, NOW, NOW + limits::LEASE)
}

fn failure(class: Class) -> Outcome {
    let error = Some("connection refused".into());
    Outcome { class, status: None, retry_after: None, duration: Duration::from_millis(5), error, answer: None }
}

fn answer(status: u16) -> Outcome {
    Outcome { status: Some(status), ..failure(Class::of_status(status)) }
}

/// Settles a try, while failures may count (`charges`) or not.
fn settled(before: &Delivery, outcome: &Outcome, delivered: u64, charges: bool) -> Delivery {
    let retry = RetryPolicy::default();
    let terms = Terms {
        retry: &retry,
        retry_after_max: limits::RETRY_AFTER_MAX,
        uncounted_delay_max: limits::UNCOUNTED_DELAY_MAX,
        delivered,
        charges,
        jitter: 0.0,
    };
    settle(before, before.token, outcome, &terms, NOW).expect("it is held under its token").next
}

fn check(before: &Delivery, outcome: &Outcome, delivered: u64, state: State, attempts: u32) -> Delivery {
    let next = settled(before, outcome, delivered, true);
    assert_eq!((next.state, next.attempts), (state, attempts));
    next
}

fn again(failed: &Delivery) -> Delivery {
    leased(failed, InstanceId::from_u128(3), 4, NOW, NOW)
}

/// I10: rejected counts while the circuit is closed, refused always, unreachable never.
/// I13: what comes at a rate has its whole TTL from when it is due; it is taken back like any redrive.
#[test]
fn a_delivery_that_is_due_later_waits_with_its_whole_ttl() {
    let dead = Delivery { state: State::Dead, reason: Some(Reason::Rejected), ..ready() };
    let now = NOW + TTL;
    let next = redrive(&dead, now, TTL).next;
    assert_eq!(next.clone().due_from(now), next, "now is no later");
    let later = next.due_from(now + TTL * 5);
    assert_eq!((later.state, later.due_at, later.ready_at), (State::Scheduled, now + TTL * 5, now + TTL * 5));
    assert_eq!(later.expires_at, now + TTL * 6);
    assert_eq!(expire(&later, now + TTL * 5).map(|change| change.next.state), None);
    assert_eq!(cancel(&later, now).next.state, State::Dead);
}

#[test]
fn rejected_counts_while_the_circuit_is_closed_refused_always_unreachable_never() {
    for (class, closed, open) in [(Class::Rejected, 1, 0), (Class::Refused, 1, 1), (Class::Unreachable, 0, 0)] {
        assert_eq!(settled(&held(), &failure(class), 0, true).attempts, closed, "{class:?}");
        assert_eq!(settled(&held(), &failure(class), 0, false).attempts, open, "{class:?}");
    }
}

/// I10: a destination that says "not now" and serves others meanwhile is believed to mean this event from the eighth try
/// in a row on; 429 means the sender, never the event.
#[test]
fn not_now_counts_from_the_eighth_try_and_429_never() {
    for (status, counted_at_8) in [(408, 1), (425, 1), (502, 1), (503, 1), (504, 1), (429, 0)] {
        let mut delivery = held();
        for tries in 1..=7 {
            let failed = settled(&delivery, &answer(status), tries, true);
            assert_eq!((failed.attempts, failed.tries), (0, tries as u32), "{status}");
            delivery = again(&failed);
        }
        assert_eq!(settled(&delivery, &answer(status), 7, true).attempts, 0, "{status}: nobody else was served");
        assert_eq!(settled(&delivery, &answer(status), 8, false).attempts, 0, "{status}: the circuit is open");
        assert_eq!(settled(&delivery, &answer(status), 8, true).attempts, counted_at_8, "{status}");
    }
}

/// I10: what did not count makes no retry that counts come later, and comes itself within a minute.
#[test]
fn an_outage_does_not_postpone_the_retries_behind_it() {
    let mut delivery = held();
    for _ in 0..960 {
        let failed = settled(&delivery, &failure(Class::Busy), 0, true);
        assert!(failed.due_at.since(NOW) <= limits::UNCOUNTED_DELAY_MAX);
        delivery = again(&failed);
    }
    let mut delays = Vec::new();
    for _ in 0..3 {
        let failed = settled(&delivery, &answer(500), 0, true);
        delays.push(failed.due_at.since(NOW).as_secs());
        delivery = again(&failed);
    }
    assert_eq!(delays, [1, 2, 4]);
}

/// I10: `Retry-After` is heeded wherever the destination answered, within its bound.
#[test]
fn retry_after_is_heeded_on_refused_rejected_and_busy() {
    let asked = |class, seconds| {
        let outcome = Outcome { retry_after: Some(Duration::from_secs(seconds)), ..failure(class) };
        settled(&held(), &outcome, 0, true).due_at.since(NOW).as_secs()
    };
    for class in [Class::Refused, Class::Rejected, Class::Busy] {
        assert_eq!((asked(class, 90), asked(class, 90_000)), (90, limits::RETRY_AFTER_MAX.as_secs()), "{class:?}");
    }
    assert_eq!(asked(Class::Unreachable, 90), 1);
}

/// I10: busy counts only if another event was delivered since the previous try.
#[test]
fn busy_counts_once_the_destination_served_another() {
    let first = check(&held(), &failure(Class::Busy), 5, State::Scheduled, 0);
    assert_eq!(first.mark, Some(5));
    check(&again(&first), &failure(Class::Busy), 5, State::Scheduled, 0);
    check(&again(&first), &failure(Class::Busy), 6, State::Scheduled, 1);
}

/// I10: dead when the counted attempts exceed the retries.
#[test]
fn a_delivery_is_dead_after_its_last_retry() {
    let mut last = held();
    last.attempts = limits::MAX_RETRIES;
    for (class, reason) in [(Class::Rejected, Reason::Rejected), (Class::Refused, Reason::Refused)] {
        let dead = check(&last, &failure(class), 0, State::Dead, limits::MAX_RETRIES + 1);
        assert_eq!(dead.reason, Some(reason));
    }
}

/// I13: past its TTL a failure, a loss and a hand-back all end as expired.
#[test]
fn past_its_ttl_a_lease_ends_as_expired() {
    let mut late = held();
    late.expires_at = NOW;
    check(&late, &failure(Class::Rejected), 0, State::Expired, 1);
    for change in [hand_back(&late, late.claim(), NOW), lose(&late, late.claim(), NOW)] {
        assert_eq!(change.map(|change| change.next.state), Some(State::Expired));
    }
}

/// I10: a redirect is an answer like any other.
#[test]
fn the_class_follows_from_the_status() {
    for status in 100..1000 {
        let class = match status {
            200..300 => Class::Delivered,
            400 | 409 | 412 | 413 | 414 | 415 | 422 | 424 | 431 => Class::Refused,
            408 | 425 | 429 | 502 | 503 | 504 => Class::Busy,
            _ => Class::Rejected,
        };
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

/// S27: what a destination said is kept, and no `Debug` shows it.
#[test]
fn what_a_destination_says_is_kept_of_the_first_tries_and_of_the_latest() {
    let said = |text: &str| Answer { body: Some(text.into()), ..Answer::default() }.shared();
    let refusal = |text: &str| Outcome { answer: said(text), ..answer(422) };
    let retry = RetryPolicy { max_retries: 100, ..RetryPolicy::default() };
    let terms = Terms {
        retry: &retry,
        retry_after_max: limits::RETRY_AFTER_MAX,
        uncounted_delay_max: limits::UNCOUNTED_DELAY_MAX,
        delivered: 0,
        charges: true,
        jitter: 0.0,
    };
    let mut delivery = held();
    let mut archived = Vec::new();
    for number in 1..=limits::ANSWERS_ARCHIVED_MAX + 2 {
        let change = settle(&delivery, delivery.token, &refusal(&number.to_string()), &terms, NOW).expect("settled");
        archived.extend(change.archive.map(|last| last.answer));
        assert_eq!(change.next.last.as_ref().and_then(|last| last.answer.clone()), said(&number.to_string()));
        assert!(!format!("{:?}", change.next).contains(&format!("\"{number}\"")));
        delivery = leased(&change.next, InstanceId::from_u128(3), 4, NOW, NOW + limits::LEASE);
    }
    assert_eq!(archived.len() as u32, limits::ANSWERS_ARCHIVED_MAX + 1);
    assert_eq!((archived[0].clone(), archived[15].clone(), archived[16].clone()), (said("1"), said("16"), None));
    // A redrive begins the numbers anew, and not the room for answers.
    delivery.earlier = limits::ANSWERS_ARCHIVED_MAX;
    delivery.last = delivery.last.map(|last| Attempt { number: 1, ..last });
    delivery.state = State::Dead;
    assert_eq!(redrive(&delivery, NOW, TTL).archive.and_then(|last| last.answer), None);
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
    let standard = RetryPolicy { max_retries: 9, schedule: Schedule::Listed(retry::STANDARD_WEBHOOKS.to_vec()) };
    assert_eq!([1, 2, 9, 10].map(|n| seconds(&standard.schedule, n)), [5, 300, 86_400, 86_400]);
    assert_eq!(standard.span().as_secs() / 3_600, 75);
    let constant = Schedule::Exponential { delay: Duration::from_secs(1), multiplier: 1.0 };
    assert_eq!(RetryPolicy { max_retries: u32::MAX, schedule: constant }.span().as_secs(), u64::from(u32::MAX));
    // A long list that stands still for a while is read to its end.
    let delays: Vec<Duration> = (0..100).map(|n| Duration::from_secs(if n < 80 { 1 } else { 10 })).collect();
    let listed = RetryPolicy { max_retries: 1_000, schedule: Schedule::Listed(delays) };
    assert_eq!(listed.span().as_secs(), 80 + 920 * 10);
}
