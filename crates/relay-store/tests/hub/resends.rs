//! Repeats from platforms that never try again by themselves: somebody pressed Resend.

use std::time::Duration;

use relay_core::{
    delivery::{Delivery, Reason, State, outcome::Class, retry::RetryPolicy},
    hub::{Answer, NotStored, Notice},
    id::Partition,
    limits,
    storage::StoreError,
};
use relay_store::memory::Trouble;

use crate::rig::{Rig, lease_of, outcome};

const KEY: [u8; 32] = [1; 32];

/// Sends an event of such a platform and has it delivered.
fn delivered(rig: &mut Rig, client: relay_core::hub::ConnId) -> Answer {
    let ticket = rig.resend(b"a", KEY);
    let lease = lease_of(&rig.grant(client));
    rig.report(client, lease, &outcome(Class::Delivered));
    rig.received(client);
    rig.answers[&ticket].clone()
}

fn replays(rig: &Rig) -> Vec<Delivery> {
    rig.store.deliveries().into_iter().filter(|delivery| delivery.replay).collect()
}

/// I20: the press of a button makes a new delivery of the same event, and is answered once that is durable.
#[test]
fn a_resend_of_what_was_delivered_is_a_new_delivery() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 2);
    let Answer::Accepted { event, received_at, .. } = delivered(&mut rig, client) else { panic!("accepted") };
    rig.prompt = false;
    let again = rig.resend(b"a", KEY);
    assert!(rig.answer_one(), "the append finds the first");
    assert!(!rig.answers.contains_key(&again), "the new delivery is not durable yet");
    rig.answer_store();
    assert_eq!(rig.answers[&again], Answer::Accepted { event, received_at, repeat: true, differs: false });
    let [replay] = &replays(&rig)[..] else { panic!("one replay") };
    assert_eq!((replay.event, replay.body_bytes), (event, 1));
    // All that belongs to a key is in one place.
    let partition = Partition::of_digest(&KEY);
    assert!(rig.store.deliveries().iter().all(|made| made.id.partition() == partition), "{:?}", rig.store.deliveries());
    assert_eq!(event.partition(), partition);
    assert!(rig.notices.contains(&Notice::Resent { event, destinations: 1 }));
    let grant = rig.grant(client);
    assert!(grant.replay && grant.attempt == 1 && grant.body[..] == *b"a");
    assert_eq!(rig.store.event_ids().len(), 1);
}

/// I20: whoever retries by itself, or wants `strict`, gets the first answer and no second delivery.
#[test]
fn a_repeat_of_a_sender_that_retries_is_no_resend() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 2);
    delivered(&mut rig, client);
    let repeat = rig.send_body("src", b"a", Some(KEY));
    assert!(matches!(rig.answers[&repeat], Answer::Accepted { repeat: true, .. }));
    assert!(replays(&rig).is_empty());
}

/// I1, I20: a first that was purged while its repeat was about to be delivered again is not acknowledged.
#[test]
fn a_resend_of_what_is_purged_meanwhile_is_not_acknowledged() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 2);
    delivered(&mut rig, client);
    rig.prompt = false;
    let again = rig.resend(b"a", KEY);
    assert!(rig.answer_one(), "the append finds the first");
    rig.store.purge_all();
    rig.answer_store();
    assert_eq!(rig.answers[&again], Answer::NotStored(NotStored::Gone));
}

/// What waits or has another body is not sent again; what is dead is redriven, as for everybody.
#[test]
fn only_what_is_over_and_the_same_is_resent() {
    let mut rig = Rig::new();
    rig.resend(b"a", KEY);
    rig.resend(b"a", KEY);
    assert_eq!(rig.store.deliveries().len(), 1, "the first is still on its way");
    let id = rig.only().id;
    rig.edit(id, |dead| (dead.state, dead.reason) = (State::Dead, Some(Reason::Rejected)));
    rig.resend(b"a", KEY);
    assert_eq!(rig.only().state, State::Ready, "redriven");
    rig.edit(id, |delivery| delivery.state = State::Delivered);
    rig.resend(b"b", KEY);
    assert_eq!(rig.store.deliveries().len(), 1, "another body is no resend");
    rig.edit(id, |delivery| delivery.state = State::Cancelled);
    rig.resend(b"a", KEY);
    assert_eq!(rig.store.deliveries().len(), 1, "an operator did not want it delivered");
}

/// I20: a destination that does not take the event for now keeps nobody from sending it again where it arrived.
#[test]
fn a_resend_goes_where_nothing_is_under_way() {
    let mut rig = Rig::with_routes(&[("src", "crm"), ("src", "erp")], &RetryPolicy::default());
    let client = rig.join(1, 7, 2);
    rig.resend(b"a", KEY);
    let lease = lease_of(&rig.grant(client));
    rig.report(client, lease, &outcome(Class::Delivered));
    for made in 1..=3 {
        rig.resend(b"a", KEY);
        let replays = replays(&rig);
        assert_eq!(replays.len(), made, "{replays:?}");
        let last = replays.last().unwrap();
        assert_eq!((last.destination.as_str(), last.state.is_open()), ("crm", true), "the other one has it under way");
        rig.resend(b"a", KEY);
        assert_eq!(self::replays(&rig).len(), made, "one press is enough");
        let lease = lease_of(&rig.grant(client));
        rig.report(client, lease, &outcome(Class::Delivered));
    }
    assert!(!rig.notices.iter().any(|notice| matches!(notice, Notice::ResentTooOften { .. })));
}

/// I20: five an hour, counted in the store: neither patience of the sender nor a restart gets around it.
#[test]
fn resends_are_few_an_hour_over_restarts_too() {
    let mut rig = Rig::with_routes(&[("src", "crm"), ("src", "erp")], &RetryPolicy::default());
    let settle = |rig: &mut Rig| {
        for delivery in rig.store.deliveries() {
            rig.edit(delivery.id, |delivery| delivery.state = State::Delivered);
        }
    };
    rig.resend(b"a", KEY);
    for made in 1..=limits::RESENDS_MAX {
        settle(&mut rig);
        rig.resend(b"a", KEY);
        assert_eq!(replays(&rig).len(), 2 * made, "one along each route");
    }
    settle(&mut rig);
    let refused = rig.resend(b"a", KEY);
    let Answer::Accepted { event, repeat: true, .. } = rig.answers[&refused] else { panic!("answered as a repeat") };
    assert!(rig.notices.contains(&Notice::ResentTooOften { event }));
    rig.crash();
    rig.resend(b"a", KEY);
    assert_eq!(replays(&rig).len(), 2 * limits::RESENDS_MAX);
    rig.pass(limits::RESEND_WINDOW + Duration::from_secs(1));
    rig.resend(b"a", KEY);
    assert_eq!(replays(&rig).len(), 2 * limits::RESENDS_MAX + 2, "an hour later it may be again");
}

/// I2: two presses at once are one, and neither is acknowledged if it could not be stored.
#[test]
fn resends_under_way_share_their_fate() {
    for (error, answer) in [(StoreError::Full, Answer::Full), (StoreError::Unavailable, Answer::Unavailable)] {
        let mut rig = Rig::new();
        let client = rig.join(1, 7, 2);
        delivered(&mut rig, client);
        rig.prompt = false;
        let tickets = [rig.resend(b"a", KEY), rig.resend(b"a", KEY)];
        assert!(rig.answer_one() && rig.answer_one(), "both find the first");
        assert_eq!(rig.pending.len(), 1, "one replay for both");
        rig.refuse_one(Trouble::Replay, error);
        assert_eq!(tickets.map(|ticket| rig.answers[&ticket].clone()), [answer.clone(), answer]);
    }
}

/// An event for two destinations, one of whose deliveries has died and was purged, while the other waits.
fn purged_in_part() -> Rig {
    let mut rig = Rig::with_routes(&[("src", "crm"), ("src", "erp")], &RetryPolicy::default());
    rig.send_body("src", b"a", Some(KEY));
    let crm = of(&rig, "crm").id;
    rig.edit(crm, |dead| (dead.state, dead.reason) = (State::Dead, Some(Reason::Rejected)));
    rig.store.purge(crm);
    rig
}

fn of(rig: &Rig, destination: &str) -> Delivery {
    let found: Vec<_> =
        rig.store.deliveries().into_iter().filter(|found| found.destination.as_str() == destination).collect();
    let [found] = &found[..] else { panic!("one to {destination}: {found:?}") };
    found.clone()
}

/// I1, I20: a purge forgets what is there and refuses nothing that comes: the repeat makes the purged delivery again, leaves
/// the other, and is answered once that is durable. Repeats that come meanwhile are one with it.
#[test]
fn a_repeat_makes_what_was_purged_again() {
    let mut rig = purged_in_part();
    let waits = of(&rig, "erp");
    rig.prompt = false;
    // Another body under the key does not count: the event has the first one.
    let repeats = [rig.send_body("src", b"a", Some(KEY)), rig.send_body("src", b"another", Some(KEY))];
    assert!(rig.answer_one() && rig.answer_one(), "both find the first");
    assert!(repeats.iter().all(|ticket| !rig.answers.contains_key(ticket)), "it is not durable yet");
    rig.answer_store();
    for ticket in repeats {
        assert!(matches!(rig.answers[&ticket], Answer::Accepted { event, repeat: true, .. } if event == waits.event));
    }
    let made = of(&rig, "crm");
    assert_eq!((made.event, made.state, made.replay, made.body_bytes), (waits.event, State::Ready, true, 1));
    assert_eq!(of(&rig, "erp"), waits);
    assert!(rig.notices.contains(&Notice::Replaced { event: waits.event, destinations: 1 }));
    rig.prompt = true;
    rig.send_body("src", b"a", Some(KEY));
    assert_eq!((of(&rig, "crm"), of(&rig, "erp")), (made, waits), "now there is nothing to make");
}

/// I1, I20: what has ended of such an event is redriven beside that; and what cannot be stored is not acknowledged.
#[test]
fn a_repeat_after_a_purge_is_answered_when_all_of_it_is_durable() {
    let mut rig = purged_in_part();
    let erp = of(&rig, "erp").id;
    rig.edit(erp, |dead| (dead.state, dead.reason) = (State::Expired, Some(Reason::Expired)));
    rig.prompt = false;
    let refused = rig.send_body("src", b"a", Some(KEY));
    assert!(rig.answer_one());
    rig.refuse_one(Trouble::Replay, StoreError::Full);
    assert_eq!(rig.answers[&refused], Answer::Full);
    assert_eq!(rig.only().state, State::Expired);
    let again = rig.send_body("src", b"a", Some(KEY));
    assert!(rig.answer_one() && rig.answer_one(), "the append, and the new delivery");
    assert!(!rig.answers.contains_key(&again), "the redrive is not durable yet");
    rig.answer_store();
    assert!(matches!(rig.answers[&again], Answer::Accepted { repeat: true, .. }));
    assert_eq!((of(&rig, "crm").state, of(&rig, "erp").state), (State::Ready, State::Ready));
}
