//! Dedupe keys: I20, resolved in the commit that accepts.

use std::{sync::Arc, time::Duration};

use relay_core::{
    delivery::{self, Delivery, State},
    id::EventId,
    jobs::{Action, Rules, Target},
    partitions::Partitions,
    storage::{Append, AppendError, Appended, Changed, Replay, Replayed},
    time::Wall,
};

use super::{
    Backend, Fixture,
    fixture::{at, ending, key},
};
use crate::seam::{AuditFilter, Page};

/// An append with a key, to destination `crm`.
fn keyed<B: Backend>(fixture: &mut Fixture<B>, source: &str, body: &[u8], now: Wall, until: Wall) -> Append {
    let dedupe = key("order-1", until);
    let event = fixture.event_of(&dedupe, source, body, now);
    Append { dedupe: Some(dedupe), ..fixture.appending(event, &["crm"]) }
}

fn first_of(answer: &Result<Appended, AppendError>) -> (EventId, bool) {
    match answer {
        Ok(Appended::Repeat { first, differs, .. }) => (*first, *differs),
        Ok(Appended::Stored { .. }) | Err(_) => panic!("not a repeat: {answer:?}"),
    }
}

/// I20: a repeat is answered with the first's id and time, is counted, and says whether its body differs.
pub async fn a_repeat_finds_the_first_event_and_stores_nothing<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let first = keyed(&mut fixture, "in", b"one", at(1), at(100));
    let (id, deliveries) = (first.event.id, first.deliveries.clone());
    assert!(fixture.append(first).await.is_ok_and(|found| found.is_stored()));

    let same = keyed(&mut fixture, "in", b"one", at(2), at(101));
    let other = keyed(&mut fixture, "in", b"two", at(3), at(102));
    let not_stored = [same.event.id, other.event.id];
    let expected = Appended::Repeat { first: id, received_at: at(1), differs: false, deliveries, gone: false };
    assert_eq!(fixture.append(same).await, Ok(expected));
    assert_eq!(first_of(&fixture.append(other).await), (id, true));
    for id in not_stored {
        assert_eq!(fixture.store().event(id).await, Ok(None));
    }
    let counters = fixture.source_counters("in").await;
    assert_eq!((counters.accepted, counters.duplicates), (1, 2));
    assert_eq!(fixture.counters("crm").await.created, 1);
    fixture.check_sums().await;
}

/// I20: also when both are in one commit.
pub async fn a_repeat_in_the_same_batch_finds_the_first<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let first = keyed(&mut fixture, "in", b"one", at(1), at(100));
    let second = keyed(&mut fixture, "in", b"one", at(1), at(100));
    let id = first.event.id;
    let answers = fixture.store().append(vec![first, second]).await;
    assert!(answers[0].as_ref().is_ok_and(Appended::is_stored));
    assert_eq!(first_of(&answers[1]), (id, false));
    fixture.check_sums().await;
}

/// I20: many at once make one event, and all others learn its id.
pub async fn concurrent_repeats_make_one_event<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let append = keyed(&mut fixture, "in", b"one", at(1), at(100));
        waiting.push((append.event.id, fixture.store().append(vec![append])));
    }
    let mut stored = Vec::new();
    let mut firsts = Vec::new();
    for (id, answer) in waiting {
        match &answer.await[0] {
            Ok(Appended::Stored { .. }) => stored.push(id),
            repeat => firsts.push(first_of(repeat).0),
        }
    }
    assert_eq!((stored.len(), firsts.len()), (1, 19));
    assert!(firsts.iter().all(|first| *first == stored[0]));
    assert_eq!(fixture.source_counters("in").await.duplicates, 19);
    fixture.check_sums().await;
}

/// I20 through a crash.
pub async fn a_key_is_remembered_after_reopening<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let first = keyed(&mut fixture, "in", b"one", at(1), at(100));
    let id = first.event.id;
    assert!(fixture.append(first).await.is_ok_and(|found| found.is_stored()));
    let mut fixture = fixture.reopen().await;
    let repeat = keyed(&mut fixture, "in", b"one", at(2), at(100));
    assert_eq!(first_of(&fixture.append(repeat).await), (id, false));
    fixture.check_sums().await;
}

/// I20: outside the window a send is a new event, which takes the key anew.
pub async fn a_key_is_free_again_when_its_window_has_passed<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let first = keyed(&mut fixture, "in", b"one", at(1), at(100));
    let at_its_end = keyed(&mut fixture, "in", b"one", at(100), at(200));
    let inside_the_new = keyed(&mut fixture, "in", b"one", at(101), at(201));
    let second = at_its_end.event.id;
    assert!(fixture.append(first).await.is_ok_and(|found| found.is_stored()));
    assert!(fixture.append(at_its_end).await.is_ok_and(|found| found.is_stored()));
    assert_eq!(first_of(&fixture.append(inside_the_new).await), (second, false));
    fixture.check_sums().await;
}

/// The same key at another source is another key.
pub async fn a_key_belongs_to_its_source<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let here = keyed(&mut fixture, "in", b"one", at(1), at(100));
    let there = keyed(&mut fixture, "other", b"one", at(1), at(100));
    assert!(fixture.append(here).await.is_ok_and(|found| found.is_stored()));
    assert!(fixture.append(there).await.is_ok_and(|found| found.is_stored()));
    fixture.check_sums().await;
}

/// I20: the deliveries of the first are named as they are stored, so that the core can redrive what is dead or expired, and
/// replays among them.
pub async fn a_repeat_names_the_deliveries_of_the_first<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dedupe = key("order-1", at(100));
    let event = fixture.event_of(&dedupe, "in", b"one", at(1));
    let first = Append { dedupe: Some(dedupe), ..fixture.appending(event, &["dead", "done", "expired", "waits"]) };
    let deliveries = first.deliveries.clone();
    assert!(fixture.append(first).await.is_ok_and(|found| found.is_stored()));
    let dead = fixture.apply(ending(&deliveries[0], State::Dead, at(2))).await;
    let done = fixture.apply(ending(&deliveries[1], State::Delivered, at(2))).await;
    let expired = fixture.apply(ending(&deliveries[2], State::Expired, at(2))).await;

    let repeat = keyed(&mut fixture, "in", b"one", at(3), at(100));
    match fixture.append(repeat).await {
        Ok(Appended::Repeat { deliveries: mut named, .. }) => {
            named.sort_by_key(|found| found.id);
            assert_eq!(named, [dead, done, expired, deliveries[3].clone()]);
        }
        other => panic!("not a repeat: {other:?}"),
    }
    fixture.check_sums().await;
}

/// I20: the redrive that a repeat causes is on record in the commit that makes it; one that came too late is not.
pub async fn a_redrive_by_a_repeat_is_audited<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let redrive = delivery::redrive(&dead, at(2), Duration::from_hours(1));
    let answers = fixture.store().settle(vec![redrive.clone(), redrive]).await.expect("settling works");
    assert!(matches!(answers[..], [Changed::Applied, Changed::Conflict(_)]), "{answers:?}");
    let fixture = fixture.reopen().await;
    let page = Page { cursor: None, limit: 10 };
    let lines = fixture.store().browse_audit(AuditFilter::default(), page).await.expect("reading works").items;
    let [line] = &lines[..] else { panic!("not one line: {lines:?}") };
    assert_eq!((line.at, &line.who[..], &line.action[..]), (at(2), "sender", "delivery.redrive"));
    assert_eq!(line.subject, format!("{} of {}", dead.id, dead.event));
    fixture.check_sums().await;
}

/// I20: the key is remembered only once the event is durable, so a refused append may be sent again.
pub async fn a_key_is_not_remembered_when_nothing_was_stored<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut refused = keyed(&mut fixture, "in", b"one", at(1), at(100));
    refused.deadline = Wall::MIN;
    assert_eq!(fixture.append(refused).await, Err(AppendError::TooLate));
    let again = keyed(&mut fixture, "in", b"one", at(2), at(100));
    assert!(fixture.append(again).await.is_ok_and(|found| found.is_stored()));
    fixture.check_sums().await;
}

/// I1, I20: of an event that is purged in part, a repeat finds what is left, and that there was more: so the core makes it
/// again. What the core makes is then found with the rest, over a restart too.
pub async fn a_repeat_is_told_that_deliveries_of_the_first_are_gone<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dedupe = key("order-1", at(100));
    let event = fixture.event_of(&dedupe, "in", b"one", at(1));
    let first = Append { dedupe: Some(dedupe), ..fixture.appending(event.clone(), &["dead", "waits"]) };
    let (dead, waits) = (first.deliveries[0].clone(), first.deliveries[1].clone());
    assert!(fixture.append(first).await.is_ok_and(|found| found.is_stored()));
    fixture.apply(ending(&dead, State::Dead, at(2))).await;
    let command = fixture.command(Action::Purge, Target::Ids([dead.id].into()), at(3));
    assert_eq!(fixture.run(command, at(3)).await.0.changed, 1);

    let mut fixture = fixture.reopen().await;
    let repeat = keyed(&mut fixture, "in", b"one", at(4), at(100));
    let found = |deliveries: Vec<_>| Appended::Repeat {
        first: event.id,
        received_at: at(1),
        differs: false,
        deliveries,
        gone: true,
    };
    assert_eq!(fixture.append(repeat).await, Ok(found(vec![waits.clone()])));
    let ttl = Duration::from_hours(1);
    let made = Delivery::ready(fixture.mint.delivery(at(4)), &event, dead.destination.clone(), true, at(4), ttl);
    let stored = fixture.store().replay(Replay::anyway(vec![made.clone()]), Vec::new()).await;
    assert_eq!(stored, Ok(Replayed::Stored(vec![true])));
    let mut fixture = fixture.reopen().await;
    let repeat = keyed(&mut fixture, "in", b"one", at(5), at(100));
    assert_eq!(fixture.append(repeat).await, Ok(found(vec![waits, made])), "the list says what was, not what is");
    fixture.check_sums().await;
}

/// A key leads to the event that took it, as listings show it, and nowhere once that is gone.
pub async fn an_event_is_found_by_its_key<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let first = keyed(&mut fixture, "in", b"one", at(1), at(1_000));
    let (event, made) = (Arc::clone(&first.event), first.deliveries[0].clone());
    let wanted = first.dedupe.as_ref().expect("it has one").key;
    let there = keyed(&mut fixture, "other", b"three", at(1), at(1_000));
    let elsewhere = there.event.id;
    let repeat = keyed(&mut fixture, "in", b"one", at(2), at(1_000));
    for append in [first, there, repeat] {
        assert!(fixture.append(append).await.is_ok());
    }
    let mut fixture = fixture.reopen().await;
    let strange = key("order-2", at(1)).key;
    let found = fixture.store().by_key(event.source.clone(), vec![strange, wanted, wanted]).await.expect("reads");
    let [row] = &found[..] else { panic!("not one: {found:?}") };
    assert_eq!((row.event.id, row.body_bytes, row.event.body.len()), (event.id, 3, 0));
    assert_eq!(row.deliveries, std::slice::from_ref(&made));
    let found = fixture.store().by_key("other".parse().expect("a name"), vec![wanted]).await.expect("reads");
    assert_eq!(found.iter().map(|row| row.event.id).collect::<Vec<_>>(), [elsewhere]);
    let second = key("order-5", at(1_000));
    let other = fixture.event_of(&second, "in", b"five", at(2));
    let (other_id, other_key) = (other.id, second.key);
    let append = Append { dedupe: Some(second), ..fixture.appending(other, &["crm"]) };
    assert!(fixture.append(append).await.is_ok());
    for keys in [[wanted, other_key], [other_key, wanted]] {
        let found = fixture.store().by_key(event.source.clone(), keys.to_vec()).await.expect("reads");
        let of = |key| if key == wanted { event.id } else { other_id };
        assert_eq!(found.iter().map(|row| row.event.id).collect::<Vec<_>>(), keys.map(of), "in the order of the keys");
    }
    let nobodys = fixture.store().by_key("nobody".parse().expect("a name"), vec![wanted]).await;
    assert_eq!(nobodys, Ok(Vec::new()));

    fixture.apply(ending(&made, State::Dead, at(2))).await;
    let purge = fixture.command(Action::Purge, Target::Ids([made.id].into()), at(3));
    assert_eq!(fixture.run(purge, at(3)).await.0.changed, 1);
    assert_eq!(fixture.store().by_key(event.source.clone(), vec![wanted]).await, Ok(Vec::new()));
    fixture.check_sums().await;
}

/// I1, I20: once the first event is purged or retired, its key is free: what is sent again is a new event, never
/// acknowledged and dropped.
pub async fn a_key_goes_with_its_event<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for retained in [false, true] {
        let first = keyed(&mut fixture, "in", b"one", at(1), at(1_000));
        let (id, made) = (first.event.id, first.deliveries[0].clone());
        assert!(fixture.append(first).await.is_ok_and(|found| found.is_stored()));
        fixture.apply(ending(&made, State::Dead, at(2))).await;
        if retained {
            let rules = Rules { now: at(4), delivered_before: at(4), dead_before: at(4), partitions: Partitions::ALL };
            fixture.retain(rules, 500).await;
        } else {
            let purge = fixture.command(Action::Purge, Target::Ids([made.id].into()), at(3));
            assert_eq!(fixture.run(purge, at(3)).await.0.changed, 1);
        }
        assert_eq!(fixture.store().event(id).await, Ok(None));
        fixture = fixture.reopen().await;
        let again = keyed(&mut fixture, "in", b"one", at(5), at(1_000));
        let (new, delivery) = (again.event.id, again.deliveries[0].id);
        assert!(fixture.append(again).await.is_ok_and(|found| found.is_stored()));
        assert!(fixture.find(delivery).await.is_some());
        let repeat = keyed(&mut fixture, "in", b"one", at(6), at(1_000));
        assert_eq!(first_of(&fixture.append(repeat).await), (new, false));
        let cancel = fixture.command(Action::Cancel, Target::Ids([delivery].into()), at(7));
        fixture.run(cancel, at(7)).await;
        let rules = Rules { now: at(9), delivered_before: at(9), dead_before: at(9), partitions: Partitions::ALL };
        fixture.retain(rules, 500).await;
    }
    fixture.check_sums().await;
}
