//! A store that cannot, for now: full, or too slow.

use std::{collections::BTreeSet, time::Duration};

use relay_core::{
    delivery::{State, outcome::Class},
    hub::{Answer, Input, NotStored, Notice},
    limits,
    storage::{StoreError, StoreOp},
};
use relay_store::memory::Trouble;

use crate::rig::{Rig, lease_of, outcome};

/// More than two pages of deliveries past their TTL, which nobody has looked at yet.
const EXPIRED: usize = 2 * limits::PAGE_MAX as usize + 88;

/// A hub whose store holds them.
fn expired() -> Rig {
    let mut rig = Rig::new();
    for _ in 0..EXPIRED {
        rig.send();
    }
    rig.now = rig.now + limits::MESSAGE_TTL.saturating_sub(Duration::from_millis(1));
    rig.asked.clear();
    rig
}

fn asked(rig: &Rig, kind: &str) -> usize {
    rig.asked.iter().filter(|asked| **asked == kind).count()
}

/// I16, I19: what a full store cannot end waits, once; and it ends within moments once there is room.
#[test]
fn a_full_store_is_not_asked_for_the_same_again_and_again() {
    let mut rig = expired();
    rig.trouble(Trouble::Settle, StoreError::Full);
    rig.pass(Duration::from_mins(2));
    let largest = (rig.largest.get("settle").copied(), rig.largest.get("find").copied());
    assert!(largest.0 <= Some(limits::DECISIONS_MAX) && largest.1 <= Some(limits::PAGE_MAX as usize), "{largest:?}");
    let per_second = (asked(&rig, "settle") + asked(&rig, "find") + asked(&rig, "due")) / 120;
    assert!(per_second <= 6, "{per_second} store operations a second");
    rig.no_trouble();
    rig.pass(Duration::from_secs(3));
    assert_eq!(rig.count(State::Expired), EXPIRED);
}

/// I19: a store that reads slowly is asked for less at a time, until it can.
#[test]
fn a_look_up_that_takes_too_long_is_made_smaller() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 400);
    for _ in 0..400 {
        rig.send();
    }
    rig.trouble(Trouble::Settle, StoreError::Full);
    for grant in rig.grants(client) {
        rig.report(client, lease_of(&grant), &outcome(Class::Delivered));
    }
    rig.pass(Duration::from_secs(5));
    rig.no_trouble();
    rig.store.set_finds_most(Some(40));
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.count(State::Delivered), 400);
}

/// I16: a commit slower than the pause between pages does not have its page decided twice.
#[test]
fn what_is_being_ended_is_not_ended_again() {
    let mut rig = expired();
    rig.prompt = false;
    for _ in 0..10 {
        rig.pass(Duration::from_secs(1));
        // Everything but the commits is quick.
        while let Some(at) = rig.pending.iter().position(|ask| !matches!(ask, StoreOp::Settle(_))) {
            rig.pending.rotate_left(at);
            rig.answer_one();
        }
    }
    assert_eq!(rig.pending.len(), 1, "settlements of one page");
    rig.prompt = true;
    rig.answer_store();
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.count(State::Expired), EXPIRED);
}

/// I22: a hub that stops begins nothing new; what it was about to end, the next start ends.
#[test]
fn a_stopping_hub_looks_for_nothing_that_has_expired() {
    let mut rig = expired();
    let client = rig.join(1, 7, 1);
    rig.grants(client);
    rig.trouble(Trouble::Settle, StoreError::Full);
    rig.pass(Duration::from_secs(5));
    rig.input(Input::Stop);
    rig.asked.clear();
    rig.heartbeat(client, &[]);
    rig.pass(Duration::from_secs(10));
    assert_eq!(asked(&rig, "due"), 0);
}

/// I22: a store that is full does not hold up a stop for what only it could end.
#[test]
fn a_stop_does_not_wait_for_what_has_expired() {
    let mut rig = expired();
    rig.trouble(Trouble::Settle, StoreError::Full);
    rig.pass(Duration::from_secs(5));
    rig.input(Input::Stop);
    rig.pass(Duration::from_secs(5));
    assert!(rig.stopped);
}

/// I16, I19: while outcomes cannot be stored no more is leased than a bound, and then all goes on.
#[test]
fn a_store_that_takes_no_outcomes_is_not_leased_from() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 100);
    for _ in 0..1_200 {
        rig.send();
    }
    rig.trouble(Trouble::Settle, StoreError::Full);
    for _ in 0..20 {
        for grant in rig.grants(client) {
            rig.report(client, lease_of(&grant), &outcome(Class::Delivered));
        }
        rig.pass(Duration::from_secs(1));
        rig.heartbeat(client, &[]);
    }
    let leased = rig.count(State::Leased);
    assert!(leased <= limits::UNDECIDED_MAX + limits::PAGE_MAX as usize + 200, "{leased} outcomes wait");
    rig.no_trouble();
    for _ in 0..20 {
        rig.pass(Duration::from_secs(1));
        for grant in rig.grants(client) {
            rig.report(client, lease_of(&grant), &outcome(Class::Delivered));
        }
    }
    assert_eq!(rig.count(State::Delivered), 1_200);
}

/// I19: whatever a store could not do for a while, all of it goes on once it can.
#[test]
fn everything_goes_on_after_any_trouble() {
    let slow = StoreError::TooSlow { after: Duration::from_secs(1) };
    let kinds = [
        Trouble::Lease,
        Trouble::Bodies,
        Trouble::Extend,
        Trouble::Settle,
        Trouble::Find,
        Trouble::Due,
        Trouble::Replay,
    ];
    for kind in kinds {
        for error in [StoreError::Full, slow.clone(), StoreError::Away, StoreError::Unknown] {
            let mut rig = Rig::new();
            let client = rig.join(1, 7, 4);
            for _ in 0..10 {
                rig.send();
            }
            rig.trouble(kind, error.clone());
            for second in 0..90 {
                if second == 30 {
                    rig.no_trouble();
                }
                for grant in rig.grants(client) {
                    rig.report(client, lease_of(&grant), &outcome(Class::Delivered));
                }
                rig.heartbeat(client, &[]);
                rig.pass(Duration::from_secs(1));
            }
            assert_eq!(rig.count(State::Delivered), 10, "{kind:?} answered {error:?}");
            rig.input(Input::Stop);
            assert!(rig.stopped, "{kind:?} answered {error:?}");
        }
    }
}

/// I8, I11: leases of an earlier run are taken over as soon as they can be read.
#[test]
fn leases_of_an_earlier_run_are_read_once_the_store_can() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.trouble(Trouble::Held, StoreError::TooSlow { after: Duration::from_secs(1) });
    rig.crash();
    rig.pass(Duration::from_secs(5));
    rig.no_trouble();
    rig.pass(Duration::from_secs(2));
    let client = rig.join_with(2, 7, &[("crm", 4)], limits::CLIENT_BUFFER, &[lease]);
    rig.report(client, lease, &outcome(Class::Delivered));
    assert_eq!(rig.count(State::Delivered), 1);
}

/// I2, I9: an append whose answer is lost is asked for again with the same ids, and the event is stored and delivered once.
#[test]
fn an_append_that_is_not_answered_is_asked_for_again() {
    for error in [StoreError::Away, StoreError::Unknown] {
        for clients in [0, 1] {
            let mut rig = Rig::new();
            let client = (clients > 0).then(|| rig.join(1, 7, 4));
            rig.trouble(Trouble::Append, error.clone());
            let ticket = rig.send_body("src", b"a", Some([1; 32]));
            rig.pass(Duration::from_millis(500));
            assert!(!rig.answers.contains_key(&ticket), "{error:?}: nobody knows");
            rig.no_trouble();
            rig.pass(Duration::from_secs(1));
            assert!(matches!(rig.answers[&ticket], Answer::Accepted { repeat: false, .. }), "{error:?}");
            assert_eq!(rig.store.event_ids().len(), 1);
            let client = client.unwrap_or_else(|| rig.join(1, 7, 4));
            let lease = lease_of(&rig.grant(client));
            rig.report(client, lease, &outcome(Class::Delivered));
            assert_eq!(rig.only().state, State::Delivered);
        }
    }
}

/// I1, I20: what a partition of the store that is away has nothing of goes to another one; with a key it waits where its repeats look for
/// it, and so does what may be stored there.
#[test]
fn an_append_without_a_key_goes_to_another_partition() {
    for (error, dedupe, goes) in
        [(StoreError::Away, None, true), (StoreError::Away, Some([1; 32]), false), (StoreError::Unknown, None, false)]
    {
        let [mut rig, mut other] = Rig::sharing();
        for _ in 0..2 {
            rig.pass(limits::PRESENCE_EVERY);
            other.pass(limits::PRESENCE_EVERY);
        }
        let client = rig.join(1, 7, 4);
        rig.trouble(Trouble::Append, error.clone());
        rig.prompt = false;
        let ticket = rig.send_body("src", b"a", dedupe);
        let mut asked = Vec::new();
        for _ in 0..4 {
            while let Some(op) = rig.pending.front() {
                if let StoreOp::Append(append) = op {
                    let ids = append.ask.deliveries.iter().map(|made| (made.event, made.id.partition()));
                    let event = append.ask.event.id;
                    assert!(ids.into_iter().all(|beside| beside == (event, event.partition())), "{error:?}");
                    asked.push(event);
                }
                rig.answer_one();
            }
            rig.pass(limits::APPEND_AGAIN);
        }
        assert!(asked.len() > 2, "{asked:?}");
        let places: BTreeSet<u16> = asked.iter().map(|id| id.partition().number()).collect();
        assert_eq!(places.len() > 1, goes, "{error:?}, {dedupe:?}: {asked:?}");
        rig.no_trouble();
        rig.prompt = true;
        rig.pass(Duration::from_secs(1));
        assert!(matches!(rig.answers[&ticket], Answer::Accepted { repeat: false, .. }), "{error:?}");
        assert_eq!(rig.store.event_ids().len(), 1);
        let lease = lease_of(&rig.grant(client));
        rig.report(client, lease, &outcome(Class::Delivered));
        assert_eq!(rig.only().state, State::Delivered);
    }
}

/// I2, I12: at its deadline the sender hears no; what was stored all the same is delivered, also if it was stored leased.
#[test]
fn an_append_that_is_never_answered_is_refused_at_its_deadline() {
    let away = Answer::NotStored(NotStored::Away);
    for (error, stored, answer) in [(StoreError::Away, 0, away), (StoreError::Unknown, 1, Answer::Unavailable)] {
        let mut rig = Rig::new();
        let client = rig.join(1, 7, 1);
        rig.trouble(Trouble::Append, error.clone());
        let ticket = rig.send();
        rig.pass(Duration::from_secs(3));
        assert_eq!(rig.answers[&ticket], answer, "{error:?}");
        assert_eq!(rig.store.deliveries().len(), stored, "{error:?}");
        rig.no_trouble();
        rig.pass(Duration::from_secs(2));
        assert_eq!(rig.grants(client).len(), stored, "{error:?}: its slot is free, and what is stored goes out");
    }
}

/// I2: a store that fails for good while an append is asked for again ends the waiting.
#[test]
fn an_append_that_waits_is_refused_when_the_store_fails() {
    let mut rig = Rig::new();
    rig.trouble(Trouble::Append, StoreError::Unknown);
    let waiting = rig.send();
    rig.trouble(Trouble::Append, StoreError::Unavailable);
    let last = rig.send();
    assert_eq!((&rig.answers[&waiting], &rig.answers[&last]), (&Answer::Unavailable, &Answer::Unavailable));
}

/// I8, I12: leases whose answer is lost are found, and go out.
#[test]
fn leases_that_nobody_heard_of_are_handed_back() {
    let mut rig = Rig::new();
    for _ in 0..5 {
        rig.send();
    }
    rig.trouble(Trouble::Lease, StoreError::Unknown);
    let client = rig.join(1, 7, 8);
    assert!(
        rig.count(State::Leased) > 0 && rig.grants(client).is_empty(),
        "the store has leased, and nobody heard of it"
    );
    rig.no_trouble();
    for _ in 0..10 {
        rig.pass(Duration::from_secs(1));
        for grant in rig.grants(client) {
            rig.report(client, lease_of(&grant), &outcome(Class::Delivered));
        }
    }
    assert_eq!(rig.count(State::Delivered), 5);
    assert!(rig.store.deliveries().iter().all(|delivery| delivery.losses == 0));
}

/// I6, I9: an outcome whose settlement is not answered is settled once, and told as if it had been.
#[test]
fn a_settlement_that_is_not_answered_is_found_out() {
    for odd in [false, true] {
        let mut rig = Rig::new();
        let client = rig.join(1, 7, 4);
        rig.send();
        let lease = lease_of(&rig.grant(client));
        rig.trouble(Trouble::Settle, StoreError::Unknown);
        if odd {
            // Of two the second is not done.
            rig.send();
            let other = lease_of(&rig.grant(client));
            rig.release(client, other);
        }
        rig.report(client, lease, &outcome(Class::Refused));
        rig.no_trouble();
        rig.pass(Duration::from_secs(2));
        let record = rig.delivery(lease.0);
        assert_eq!((record.tries, record.attempts), (1, 1), "not done before: {odd}");
        let tried = |notice: &&Notice| matches!(notice, Notice::Tried { class: Class::Refused, .. });
        assert_eq!(rig.notices.iter().filter(tried).count(), 1);
    }
}
