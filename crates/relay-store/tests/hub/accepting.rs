//! Accepting, pre-leasing, settling, repeats.

use std::time::Duration;

use relay_core::{
    delivery::{
        Reason, State,
        answer::Answer as Said,
        outcome::{Class, Outcome},
        retry::{RetryPolicy, Schedule},
    },
    hub::{Answer, Input, NotStored, Notice},
    id::DeliveryId,
    limits,
    storage::StoreError,
    time::{Now, Wall},
    wire::{codec::report, message::Message},
};
use relay_store::memory::Trouble;

use crate::rig::{Rig, lease_of, outcome};

/// I1: the answer waits for the commit.
#[test]
fn a_request_is_answered_only_when_its_event_is_stored() {
    let mut rig = Rig::new();
    rig.prompt = false;
    let ticket = rig.send();
    assert!(rig.answers.is_empty(), "nothing is durable yet");
    rig.answer_store();
    assert!(matches!(rig.answers[&ticket], Answer::Accepted { repeat: false, .. }));
    assert_eq!(rig.store.deliveries().len(), 1);
}

/// I6, I11: the lease rides in the append, the grant goes out after the commit, and the confirmation after the next one.
#[test]
fn with_credit_at_hand_a_delivery_is_stored_leased_and_sent_from_memory() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 2);
    rig.received(client);
    rig.asked.clear();
    let ticket = rig.send();
    assert_eq!(rig.asked, ["append"], "no lease operation is needed");
    assert!(matches!(rig.answers[&ticket], Answer::Accepted { .. }));
    let grant = rig.grant(client);
    assert_eq!((grant.attempt, &grant.body[..], &grant.rest[..]), (1, &b"0123456789"[..], &b"/a%2Fb"[..]));
    assert_eq!(&grant.original_url[..], b"https://relay.example.com/webhook/src/a%2Fb?x=1");
    assert_eq!(rig.only().state, State::Leased);

    rig.prompt = false;
    rig.report(client, lease_of(&grant), &outcome(Class::Delivered));
    assert!(rig.received(client).is_empty(), "nothing is confirmed before it is durable");
    rig.answer_store();
    let Some(Message::Settled(settled)) = rig.received(client).pop() else { panic!("a confirmation") };
    assert_eq!(crate::rig::keys(&settled.leases), [lease_of(&grant)]);
    assert_eq!(rig.only().state, State::Delivered);
}

#[test]
fn reports_handled_before_a_drain_leave_as_one_settlement_and_one_confirmation() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 8);
    for _ in 0..3 {
        rig.send();
    }
    let grants = rig.grants(client);
    for grant in &grants {
        let report = report(lease_of(grant), &outcome(Class::Delivered));
        rig.hub.handle(Input::Received(client, Message::Report(report)), rig.now);
    }
    rig.asked.clear();
    rig.drain();
    assert_eq!(rig.asked, ["settle"]);
    let confirmed = rig.received(client);
    assert!(matches!(&confirmed[..], [Message::Settled(settled)] if settled.leases.len() == 3));
}

/// I20: a repeat gets the first's id, and redrives what of the first is dead, before it is answered.
#[test]
fn a_repeat_redrives_a_dead_delivery_before_it_is_answered() {
    let mut rig = Rig::new();
    let first = rig.send_body("src", b"a", Some([1; 32]));
    let Answer::Accepted { event, .. } = rig.answers[&first] else { panic!("accepted") };
    let id = rig.only().id;
    rig.edit(id, |dead| {
        (dead.state, dead.reason, dead.attempts, dead.tries) = (State::Dead, Some(Reason::Rejected), 4, 4);
    });
    rig.prompt = false;
    let repeat = rig.send_body("src", b"b", Some([1; 32]));
    assert!(rig.answer_one(), "the append finds the first");
    assert!(!rig.answers.contains_key(&repeat), "the redrive is not durable yet");
    rig.answer_store();
    assert!(matches!(rig.answers[&repeat], Answer::Accepted { event: same, repeat: true, .. } if same == event));
    assert_eq!((rig.only().state, rig.only().attempts, rig.only().earlier), (State::Ready, 0, 4));
    assert!(rig.notices.contains(&Notice::RepeatDiffers { event }));
    assert!(rig.notices.contains(&Notice::Redriven { delivery: id }));
}

/// I1, I20: a first that was purged while its repeat was about to redrive it is not acknowledged as if it were there.
#[test]
fn a_repeat_of_what_is_purged_meanwhile_is_not_acknowledged() {
    let mut rig = Rig::new();
    rig.send_body("src", b"a", Some([1; 32]));
    let id = rig.only().id;
    rig.edit(id, |dead| (dead.state, dead.reason) = (State::Dead, Some(Reason::Rejected)));
    rig.prompt = false;
    let repeat = rig.send_body("src", b"a", Some([1; 32]));
    assert!(rig.answer_one(), "the append finds the first");
    rig.store.purge_all();
    rig.answer_store();
    assert_eq!(rig.answers[&repeat], Answer::NotStored(NotStored::Gone));
}

/// I2, I16: what is not known to be stored is not acknowledged, and the credit set aside for it is free again.
#[test]
fn a_failed_append_is_refused_and_gives_its_credit_back() {
    let cases = [(StoreError::TooSlow { after: Duration::ZERO }, Answer::Busy), (StoreError::Full, Answer::Full)];
    for (error, answer) in cases {
        let mut rig = Rig::new();
        let client = rig.join(1, 7, 1);
        rig.prompt = false;
        let refused = rig.send();
        rig.refuse_one(Trouble::Append, error);
        assert_eq!(rig.answers[&refused], answer);
        rig.prompt = true;
        rig.send();
        assert_eq!(rig.grants(client).len(), 1, "the only slot is free");
    }
}

/// I20: repeats under way with their first share its fate and its answer: nobody is acknowledged before it is durable.
#[test]
fn a_repeat_is_answered_only_once_its_first_is_durable() {
    let mut rig = Rig::new();
    rig.prompt = false;
    let first = rig.send_body("src", b"x", Some([1; 32]));
    let repeat = rig.send_body("src", b"x", Some([1; 32]));
    assert!(rig.answers.is_empty());
    rig.answer_store();
    let Answer::Accepted { event, received_at, repeat: false, .. } = rig.answers[&first] else { panic!("the first") };
    assert_eq!(rig.answers[&repeat], Answer::Accepted { event, received_at, repeat: true, differs: false });
    assert_eq!(rig.store.event_ids().len(), 1);
}

/// I2, I20: if the first's commit fails, its repeat is stored in its own right.
#[test]
fn a_repeat_of_a_first_that_was_not_stored_is_a_first() {
    let mut rig = Rig::new();
    rig.prompt = false;
    let first = rig.send_body("src", b"x", Some([1; 32]));
    rig.refuse_one(Trouble::Append, StoreError::TooSlow { after: Duration::ZERO });
    let repeat = rig.send_body("src", b"x", Some([1; 32]));
    rig.answer_store();
    assert_eq!(rig.answers[&first], Answer::Busy);
    assert!(matches!(rig.answers[&repeat], Answer::Accepted { repeat: false, .. }));
}

/// I16: a burst beyond what may wait for its commit is not a full disk: it is told to come again at once.
#[test]
fn more_than_may_wait_for_their_commit_are_told_that_it_is_busy() {
    let mut rig = Rig::new();
    rig.prompt = false;
    for _ in 0..limits::APPENDS_MAX {
        rig.send();
    }
    let refused = rig.send();
    assert_eq!(rig.answers[&refused], Answer::Busy);
}

/// I10: without retries the first failure that counts is the last.
#[test]
fn without_retries_one_rejection_is_the_end() {
    let retry = RetryPolicy { max_retries: 0, ..RetryPolicy::default() };
    let mut rig = Rig::with_routes(&[("src", "crm")], &retry);
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.report(client, lease, &outcome(Class::Rejected));
    assert_eq!((rig.only().state, rig.only().attempts), (State::Dead, 1));
}

/// I10, I13: delays beyond all time end with the TTL, and nothing overflows on the way.
#[test]
fn delays_beyond_all_time_end_with_the_ttl() {
    let schedule = Schedule::Exponential { delay: Duration::MAX, multiplier: f64::MAX };
    let mut rig = Rig::with_routes(&[("src", "crm")], &RetryPolicy { max_retries: u32::MAX, schedule });
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.report(client, lease, &outcome(Class::Rejected));
    assert_eq!((rig.only().state, rig.only().due_at), (State::Scheduled, Wall::MAX));
    rig.input(Input::Closed(client));
    rig.pass(limits::MESSAGE_TTL + Duration::from_secs(2));
    assert_eq!(rig.only().state, State::Expired);
}

/// I13: a TTL that ends during a lease waits for the lease: a success counts, a failure expires.
#[test]
fn a_ttl_shorter_than_a_lease_is_decided_by_the_report() {
    for (class, state) in [(Class::Delivered, State::Delivered), (Class::Rejected, State::Expired)] {
        let mut rig = Rig::new();
        rig.routing.routes.values_mut().flatten().for_each(|route| route.ttl = Duration::from_secs(1));
        rig.input(Input::Routing(std::sync::Arc::new(rig.routing.clone())));
        let client = rig.join(1, 7, 4);
        rig.send();
        let lease = lease_of(&rig.grant(client));
        rig.pass(Duration::from_secs(5));
        assert_eq!(rig.only().state, State::Leased);
        rig.report(client, lease, &outcome(class));
        assert_eq!(rig.only().state, state);
    }
}

/// A driver whose clock runs backwards between inputs stalls and breaks nothing.
#[test]
fn a_clock_that_runs_backwards_stalls_nothing() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.pass(Duration::from_secs(8));
    let later = rig.now;
    rig.now = Now { wall: rig.now.wall - Duration::from_hours(24), ..rig.now };
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.report(client, lease, &outcome(Class::Rejected));
    assert!(rig.only().due_at > later.wall, "due by the later clock");
    rig.now = later;
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.grants(client).len(), 1);
}

#[test]
fn after_the_store_has_failed_every_request_is_refused() {
    let mut rig = Rig::new();
    rig.prompt = false;
    let first = rig.send();
    rig.refuse_one(Trouble::Append, StoreError::Unavailable);
    let second = rig.send();
    // The first may be stored; for the second nobody was asked.
    let failed = Answer::NotStored(NotStored::Failed);
    assert_eq!((&rig.answers[&first], &rig.answers[&second]), (&Answer::Unavailable, &failed));
}

#[test]
fn a_source_without_routes_is_refused() {
    let mut rig = Rig::new();
    let ticket = rig.send_body("other", b"", None);
    assert_eq!(rig.answers[&ticket], Answer::NotStored(NotStored::Unrouted));
}

/// I10: not before its due time, and at once when it comes.
#[test]
fn a_rejected_delivery_is_tried_again_when_it_is_due() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 1);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.report(client, lease, &outcome(Class::Rejected));
    assert_eq!((rig.only().state, rig.only().attempts), (State::Scheduled, 1));
    let due = rig.only().due_at;
    rig.received(client);
    rig.pass(due.since(rig.now.wall + Duration::from_micros(1)));
    assert!(rig.grants(client).is_empty(), "not due yet");
    rig.pass(Duration::from_micros(1));
    assert_eq!(rig.grant(client).attempt, 2);
}

/// I7: a stale failure is ignored, a stale success counts, and both are confirmed so that the client forgets them.
#[test]
fn a_stale_failure_is_ignored_and_a_stale_success_completes() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 1);
    rig.send();
    let stale = lease_of(&rig.grant(client));
    rig.report(client, stale, &outcome(Class::Rejected));
    rig.received(client);
    rig.pass(rig.only().due_at.since(rig.now.wall));
    let lease = lease_of(&rig.grant(client));
    rig.report(client, stale, &outcome(Class::Rejected));
    assert_eq!((rig.only().state, rig.only().tries, rig.only().token), (State::Leased, 1, lease.1));
    assert!(matches!(rig.received(client)[..], [Message::Settled(_)]));
    rig.report(client, stale, &outcome(Class::Delivered));
    assert_eq!(rig.only().state, State::Delivered);
    let told = rig.received(client);
    assert!(told.iter().any(|message| matches!(message, Message::Release(_))), "its lease is over");
}

/// I18: one damaged record is named once and left as it is; the others of its batch are settled.
#[test]
fn a_damaged_record_holds_up_no_other() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 8);
    for _ in 0..5 {
        rig.send();
    }
    let leases: Vec<_> = rig.grants(client).iter().map(lease_of).collect();
    let damaged = leases[2].0;
    rig.store.set_damaged([damaged].into());
    rig.prompt = false;
    for lease in &leases {
        rig.hub.handle(Input::Received(client, Message::Report(report(*lease, &outcome(Class::Delivered)))), rig.now);
    }
    rig.prompt = true;
    rig.drain();
    assert_eq!(rig.count(State::Delivered), 4);
    let named = |notice: &&Notice| matches!(notice, Notice::Damaged { delivery, .. } if *delivery == damaged);
    assert_eq!(rig.notices.iter().filter(named).count(), 1);
    rig.asked.clear();
    rig.pass(Duration::from_secs(10));
    assert!(!rig.asked.contains(&"settle") && !rig.asked.contains(&"find"), "it is not asked for again");
    rig.input(Input::Stop);
    assert!(rig.stopped, "nor waited for");
}

/// A repeat of an event whose record is damaged is refused, and everything else goes on.
#[test]
fn a_damaged_first_fails_its_repeat_alone() {
    let mut rig = Rig::new();
    rig.prompt = false;
    let repeat = rig.send();
    rig.refuse_one(Trouble::Append, StoreError::Damaged { what: "bits".into() });
    assert_eq!(rig.answers[&repeat], Answer::NotStored(NotStored::Damaged));
    rig.prompt = true;
    let next = rig.send();
    assert!(matches!(rig.answers[&next], Answer::Accepted { .. }));
}

/// I7: settling is idempotent.
#[test]
fn a_report_that_is_repeated_settles_once() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 1);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.prompt = false;
    rig.report(client, lease, &outcome(Class::Rejected));
    rig.report(client, lease, &outcome(Class::Rejected));
    rig.prompt = true;
    rig.answer_store();
    assert_eq!((rig.only().tries, rig.only().attempts), (1, 1));
    let tried = rig.notices.iter().filter(|notice| matches!(notice, Notice::Tried { .. })).count();
    assert_eq!(tried, 1);
}

/// I13: what waits past its TTL ends visibly.
#[test]
fn a_delivery_nobody_takes_expires() {
    let mut rig = Rig::new();
    rig.send();
    rig.pass(limits::MESSAGE_TTL + Duration::from_secs(2));
    assert_eq!((rig.only().state, rig.only().reason), (State::Expired, Some(Reason::Expired)));
    assert!(rig.notices.iter().any(|notice| matches!(notice, Notice::DeliveryExpired { .. })));
}

#[test]
fn the_first_input_starts_with_what_an_earlier_run_had_leased() {
    let rig = Rig::new();
    assert_eq!(rig.asked[..2], ["held", "due"]);
}

/// S20: what a target said is stored with its try, and left out where so many reports wait for a commit that it would fill
/// the memory.
#[test]
fn what_a_target_said_is_kept_unless_too_many_reports_wait() {
    for waiting in [0, limits::ANSWERS_WAITING_MAX] {
        let mut rig = Rig::new();
        let client = rig.join(1, 7, 1);
        rig.send();
        let lease = lease_of(&rig.grant(client));
        rig.prompt = false;
        let said = || Said { body: Some("no such customer".into()), ..Said::default() }.shared();
        let refused = Outcome { status: Some(422), answer: said(), ..outcome(Class::Refused) };
        for unknown in 0..waiting as u128 {
            let lease = (DeliveryId::from_u128(unknown), lease.1);
            rig.hub.handle(Input::Received(client, Message::Report(report(lease, &refused))), rig.now);
        }
        rig.report(client, lease, &refused);
        rig.answer_store();
        let last = rig.only().last.clone().expect("a try");
        assert_eq!((last.status, last.answer), (Some(422), said().filter(|_| waiting == 0)));
    }
}

/// A dead delivery, and its key.
fn dead_under(key: [u8; 32]) -> Rig {
    let retry = RetryPolicy { max_retries: 0, ..RetryPolicy::default() };
    let mut rig = Rig::with_routes(&[("src", "crm")], &retry);
    let client = rig.join(1, 7, 4);
    rig.send_body("src", b"a", Some(key));
    let lease = lease_of(&rig.grant(client));
    rig.report(client, lease, &outcome(Class::Refused));
    assert_eq!(rig.count(State::Dead), 1);
    rig
}

/// I1, I20: a repeat is not acknowledged if what it repeats was purged before its redrive was durable, however late that is
/// found out.
#[test]
fn a_repeat_of_what_is_purged_while_the_store_is_full_is_not_acknowledged() {
    let mut rig = dead_under([1; 32]);
    rig.trouble(Trouble::Settle, StoreError::Full);
    let repeat = rig.send_body("src", b"a", Some([1; 32]));
    assert!(!rig.answers.contains_key(&repeat));
    rig.store.purge_all();
    rig.no_trouble();
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.answers[&repeat], Answer::NotStored(NotStored::Gone));
}

/// I1, I18: nor if the record that it would redrive is damaged.
#[test]
fn a_repeat_of_a_damaged_delivery_is_not_acknowledged() {
    let mut rig = dead_under([1; 32]);
    rig.store.set_damaged(rig.store.deliveries().iter().map(|delivery| delivery.id).collect());
    let repeat = rig.send_body("src", b"a", Some([1; 32]));
    assert_eq!(rig.answers[&repeat], Answer::NotStored(NotStored::Gone));
}
