//! Erasing: what was received is gone, and all that is counted stays.

use std::sync::Arc;

use relay_core::{
    delivery::{Delivery, State, give_up, outcome::Class},
    event::{ERASED, Event},
    id::EventId,
    jobs::{Action, Target},
    storage::{Append, Appended, Erased, EventFilter, Replay, Replayed, Step, Stepped},
    time::Wall,
};

use super::{
    Backend, Fixture,
    fixture::{TTL, at, ending, failing, key, name},
};
use crate::seam::{AuditEntry, AuditFilter, Page};

fn audited(now: Wall) -> AuditEntry {
    let (who, action) = ("cli".into(), "event.erase".into());
    AuditEntry { at: now, who, action, subject: "one".into(), origin: "{}".into() }
}

/// Erases one event in a step of its own, behind the end of these; gives what became of it, and how much the mark counts.
async fn erase<B: Backend>(fixture: &mut Fixture<B>, id: EventId, ended: &[&Delivery], now: Wall) -> (Erased, u64) {
    let job = fixture.job(now);
    let settle = ended.iter().filter_map(|found| give_up(found, now)).collect();
    let step = Step { before: 0, is_over: true, settle, erase: vec![id], audit: Some(audited(now)), ..Step::look(job) };
    let Ok(Stepped::Done { mark, erased, .. }) = fixture.store().step(step.clone()).await else { panic!("{step:?}") };
    assert!(
        matches!(fixture.store().step(step).await, Ok(Stepped::Elsewhere(then)) if then == mark),
        "it is done once"
    );
    assert_eq!(erased.len(), 1);
    (erased[0], mark.changed)
}

async fn event<B: Backend>(fixture: &Fixture<B>, id: EventId) -> Arc<Event> {
    fixture.store().event(id).await.expect("reading works").expect("it is there")
}

/// An event with a key and a header that tells something, and a delivery that its target refused twice with an answer.
async fn refused_twice<B: Backend>(fixture: &mut Fixture<B>, now: Wall) -> (Append, Delivery) {
    let dedupe = key("one", at(1_000));
    let event = fixture.event_of(&dedupe, "in", b"{\"card\": 4111}", now);
    let append = Append { dedupe: Some(dedupe), ..fixture.appending(event, &["crm"]) };
    assert!(fixture.append(append.clone()).await.is_ok_and(|found| found.is_stored()));
    let tried = fixture.apply(failing(&append.deliveries[0], Class::Rejected, now, at(2))).await;
    let tried = fixture.apply(failing(&tried, Class::Rejected, at(2), at(3))).await;
    let dead = fixture.apply(ending(&tried, State::Dead, at(3))).await;
    (append, dead)
}

/// What was received and answered is written over byte by byte, and what tells events apart, lengths and counts stay: once more, and
/// after a restart.
pub async fn an_erased_event_keeps_its_place_and_no_word<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let (append, dead) = refused_twice(&mut fixture, at(1)).await;
    let (before, id) = (&append.event, append.event.id);
    assert_eq!(erase(&mut fixture, id, &[&dead], at(4)).await, (Erased::Now, 1));
    let before_reopening = fixture.snapshot().await;
    let mut fixture = fixture.reopen().await;
    assert_eq!(fixture.snapshot().await, before_reopening);

    let after = event(&fixture, id).await;
    assert!(after.is_erased());
    assert_eq!((after.id, &after.source, after.received_at), (id, &before.source, before.received_at));
    assert_eq!((after.size(), after.headers.len(), after.path.len()), (before.size(), 1, before.path.len()));
    assert_eq!(after.headers[0].0, before.headers[0].0, "the name of a header");
    let query = after.query.clone().expect("it had one");
    for words in [&after.method, &after.path, &query, &after.headers[0].1, &after.body] {
        assert!(!words.is_empty() && words.iter().all(|byte| *byte == ERASED), "{words:?}");
    }
    let stored = fixture.find(dead.id).await.expect("it is there");
    assert_eq!((stored.state, stored.tries, stored.body_bytes), (State::Cancelled, dead.tries, dead.body_bytes));
    let attempts = fixture.store().attempts(dead.id).await.expect("reading works");
    assert_eq!(attempts.len(), 2);
    for attempt in attempts {
        let answer = attempt.answer.expect("that there was one");
        assert!(
            [answer.location.as_deref(), answer.body.as_deref()].iter().flatten().all(|text| text.trim().is_empty())
        );
    }

    assert_eq!(erase(&mut fixture, id, &[&stored], at(5)).await, (Erased::Before, 0));
    assert_eq!(erase(&mut fixture, EventId::from_u128(9 << 80), &[], at(6)).await, (Erased::Gone, 0));
    let page = Page { cursor: None, limit: 10 };
    let log = fixture.store().browse_audit(AuditFilter::default(), page).await.expect("browsing works").items;
    assert!(log.contains(&audited(at(4))), "{log:?}");
    fixture.check_sums().await;
}

/// I20: what was erased cannot be sent again, so that neither a replay nor a repeat of its sender stands for it: that is a new event.
pub async fn nothing_is_made_of_an_erased_event<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let (append, dead) = refused_twice(&mut fixture, at(1)).await;
    let id = append.event.id;
    assert_eq!(erase(&mut fixture, id, &[&dead], at(4)).await.0, Erased::Now);
    let replay = Delivery::ready(fixture.mint.delivery(at(5)), &append.event, name("erp"), true, at(5), TTL);
    for decided_on in [None, Some(1)] {
        let replay = Replay { made: vec![replay.clone()], decided_on };
        assert_eq!(fixture.store().replay(replay, Vec::new()).await, Ok(Replayed::Stored(vec![false])));
    }
    let dedupe = append.dedupe.clone().expect("it has one");
    let again = fixture.event_of(&dedupe, "in", b"{\"card\": 4111}", at(6));
    let again = Append { dedupe: Some(dedupe), ..fixture.appending(again, &["crm"]) };
    assert!(
        matches!(fixture.append(again.clone()).await, Ok(Appended::Stored { event, .. }) if event == again.event.id)
    );
    assert_eq!(event(&fixture, again.event.id).await, again.event);
    fixture.check_sums().await;
}

/// What may still go out keeps its event as it is, be it open or a dead letter, unless it ends in the same step.
pub async fn an_event_that_may_still_go_out_is_not_erased<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let open = fixture.accept("crm", at(1)).await;
    let leased = fixture.lease("crm", at(2)).await.deliveries.remove(0);
    for found in [dead, leased] {
        let before = event(&fixture, found.event).await;
        assert_eq!(erase(&mut fixture, found.event, &[], at(3)).await, (Erased::Open, 0));
        assert_eq!(event(&fixture, found.event).await, before);
        assert_eq!(erase(&mut fixture, found.event, &[&found], at(4)).await, (Erased::Now, 1));
        assert!(event(&fixture, found.event).await.is_erased());
    }
    assert_eq!(fixture.find(open.id).await.map(|found| found.state), Some(State::Cancelled));
    assert_eq!(fixture.counters("crm").await.states[6], 2);
    fixture.check_sums().await;
}

/// A command about what matches counts first, leaves what is open unless it is to be cancelled, and finds nothing the second time.
pub async fn a_command_erases_what_matches<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for number in 1..=3 {
        fixture.ended("crm", State::Delivered, at(number)).await;
    }
    let open = fixture.accept("crm", at(4)).await;
    let target = || Target::Events(EventFilter { oldest_first: true, ..EventFilter::default() });
    let mut command = fixture.command(Action::Erase { cancels: false }, target(), at(10));
    command.dry_run = true;
    let counted = fixture.run(command.clone(), at(10)).await.0;
    assert_eq!((counted.matched, counted.split), (4, [(name("crm"), 1)].into()));
    (command.dry_run, command.audit) = (false, Some(audited(at(10))));
    let (done, _) = fixture.run(command.clone(), at(10)).await;
    assert_eq!((done.matched, done.changed), (4, 3));
    assert_eq!(event(&fixture, open.event).await.method, "POST");
    assert_eq!(fixture.run(command, at(11)).await.0, done);

    let command = fixture.command(Action::Erase { cancels: true }, target(), at(12));
    let (done, told) = fixture.run(command, at(12)).await;
    assert_eq!((done.matched, done.changed, told.touched), (1, 1, vec![open.id]));
    let command = fixture.command(Action::Erase { cancels: true }, target(), at(13));
    assert_eq!(fixture.run(command, at(13)).await.0.matched, 0);
    fixture.check_sums().await;
}
