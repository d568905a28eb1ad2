//! Outages, hanging events and probes.

use std::time::Duration;

use relay_core::{
    delivery::{
        Reason, State,
        outcome::Class,
        retry::{self, RetryPolicy},
    },
    hub::{Input, Notice},
    id::DeliveryId,
    limits,
};

use crate::rig::{Rig, lease_of, outcome};

/// Takes every grant there is and reports `class` for it.
fn report_all(rig: &mut Rig, client: relay_core::hub::ConnId, class: Class) -> Vec<DeliveryId> {
    let mut seen = Vec::new();
    for grant in rig.grants(client) {
        seen.push(lease_of(&grant).0);
        rig.report(client, lease_of(&grant), &outcome(class));
    }
    seen
}

/// I10: an outage burns no attempts, however long it is.
#[test]
fn an_outage_of_an_hour_burns_no_attempts() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    for _ in 0..10 {
        rig.send();
    }
    for _ in 0..3_600 {
        report_all(&mut rig, client, Class::Unreachable);
        rig.heartbeat(client, &[]);
        rig.pass(Duration::from_secs(1));
    }
    assert!(rig.notices.iter().any(|notice| matches!(notice, Notice::DestinationDown { .. })));
    assert!(rig.store.deliveries().iter().all(|delivery| delivery.attempts == 0 && delivery.state.is_open()));
    let tries: u32 = rig.store.deliveries().iter().map(|delivery| delivery.tries).sum();
    assert!(tries < 100, "an open circuit probes, it does not hammer: {tries} tries");
    for _ in 0..130 {
        report_all(&mut rig, client, Class::Delivered);
        rig.heartbeat(client, &[]);
        rig.pass(Duration::from_secs(1));
    }
    assert_eq!(rig.count(State::Delivered), 10);
    assert!(rig.notices.iter().any(|notice| matches!(notice, Notice::DestinationUp { .. })));
}

/// I10: from the moment the circuit opens nothing dies any more.
#[test]
fn a_target_that_answers_500_to_everything_kills_nothing_once_the_circuit_is_open() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 8);
    for _ in 0..20 {
        rig.send();
    }
    for _ in 0..1_000 {
        report_all(&mut rig, client, Class::Rejected);
        rig.heartbeat(client, &[]);
        rig.pass(Duration::from_secs(1));
    }
    assert_eq!(rig.count(State::Dead), 0);
    assert!(rig.store.deliveries().iter().all(|delivery| delivery.attempts <= 1), "in flight when it opened, at most");
}

/// I10: one event that a healthy target refuses is dead after its retries.
#[test]
fn one_event_refused_by_a_healthy_target_is_dead_after_its_retries() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 1);
    rig.send();
    let mut tries = 0;
    for _ in 0..60 {
        tries += report_all(&mut rig, client, Class::Rejected).len();
        rig.heartbeat(client, &[]);
        rig.pass(Duration::from_secs(1));
    }
    assert_eq!(tries, 4);
    assert_eq!((rig.only().state, rig.only().reason), (State::Dead, Some(Reason::Rejected)));
    assert!(rig.notices.iter().any(|notice| matches!(notice, Notice::DeliveryDead { .. })));
}

/// I10, I15: one event that always hangs its target ends dead, and the others flow.
#[test]
fn one_event_that_hangs_its_target_ends_dead_while_others_flow() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let hanging = rig.only().id;
    for _ in 0..200 {
        rig.send();
        for grant in rig.grants(client) {
            let class = if lease_of(&grant).0 == hanging { Class::Busy } else { Class::Delivered };
            rig.report(client, lease_of(&grant), &outcome(class));
        }
        rig.heartbeat(client, &[]);
        rig.pass(Duration::from_secs(1));
    }
    assert_eq!(rig.delivery(hanging).reason, Some(Reason::Busy));
    assert!(rig.count(State::Delivered) >= 199);
}

/// I10: a target that is busy for everybody is an outage: nothing counts.
#[test]
fn busy_without_another_delivery_made_meanwhile_does_not_count() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 1);
    rig.send();
    for _ in 0..600 {
        report_all(&mut rig, client, Class::Busy);
        rig.heartbeat(client, &[]);
        rig.pass(Duration::from_secs(1));
    }
    assert_eq!((rig.only().attempts, rig.only().state.is_open()), (0, true));
    assert!(rig.only().tries > 5);
}

#[test]
fn other_clients_of_the_destination_go_on_when_one_circuit_opens() {
    let mut rig = Rig::new();
    let broken = rig.join(1, 7, 8);
    for _ in 0..3 {
        rig.send();
    }
    report_all(&mut rig, broken, Class::Unreachable);
    let healthy = rig.join(2, 8, 8);
    rig.pass(Duration::from_secs(3));
    let probes = rig.grants(broken).len();
    assert!(probes <= 1, "one probe at a time, these are {probes}");
    assert!(rig.grants(healthy).len() >= 2);
}

/// I10: what several clients saw of an outage is put together, so that they do not charge it one after the other.
#[test]
fn two_clients_charge_an_outage_together() {
    let mut rig = Rig::new();
    let clients = [rig.join(1, 7, 4), rig.join(2, 8, 4)];
    for _ in 0..6 {
        rig.send();
    }
    for _ in 0..600 {
        for client in clients {
            report_all(&mut rig, client, Class::Rejected);
            rig.heartbeat(client, &[]);
        }
        rig.pass(Duration::from_secs(1));
    }
    let charged: u32 = rig.store.deliveries().iter().map(|delivery| delivery.attempts).sum();
    assert_eq!((rig.count(State::Dead), charged), (0, 4));
}

/// I15, I19: while the circuit is open, a new webhook goes out a second after the try before it, and ahead of what waits.
#[test]
fn a_new_webhook_does_not_wait_for_a_long_pause() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 8);
    for _ in 0..20 {
        rig.send();
    }
    for _ in 0..300 {
        report_all(&mut rig, client, Class::Rejected);
        rig.heartbeat(client, &[]);
        rig.pass(Duration::from_secs(1));
    }
    rig.pass(Duration::from_secs(2));
    rig.grants(client);
    let known: Vec<DeliveryId> = rig.store.deliveries().iter().map(|delivery| delivery.id).collect();
    rig.send();
    rig.pass(Duration::from_secs(1));
    let first = lease_of(&rig.grant(client)).0;
    assert!(!known.contains(&first), "the new one goes first");
}

/// I10: a server that starts anew in an outage charges nothing for it again.
#[test]
fn a_restart_in_an_outage_charges_nothing() {
    let mut rig = Rig::new();
    let mut client = rig.join(1, 7, 8);
    for _ in 0..6 {
        rig.send();
    }
    for restart in 0..5 {
        for _ in 0..60 {
            report_all(&mut rig, client, Class::Rejected);
            rig.heartbeat(client, &[]);
            rig.pass(Duration::from_secs(1));
        }
        rig.crash();
        client = rig.join(10 + restart, 70 + u128::from(restart), 8);
    }
    assert!(rig.store.deliveries().iter().all(|delivery| delivery.attempts <= 1 && delivery.state.is_open()));
}

/// I10: what the destination judges ends after its retries, in an outage too.
#[test]
fn what_is_refused_ends_in_an_outage_too() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 8);
    for _ in 0..6 {
        rig.send();
    }
    for _ in 0..600 {
        report_all(&mut rig, client, Class::Rejected);
        rig.heartbeat(client, &[]);
        rig.pass(Duration::from_secs(1));
    }
    rig.send();
    let bad = rig.store.deliveries().last().map(|delivery| delivery.id).expect("there are some");
    for _ in 0..300 {
        for grant in rig.grants(client) {
            let class = if lease_of(&grant).0 == bad { Class::Refused } else { Class::Rejected };
            rig.report(client, lease_of(&grant), &outcome(class));
        }
        rig.heartbeat(client, &[]);
        rig.pass(Duration::from_secs(1));
    }
    assert_eq!(rig.delivery(bad).reason, Some(Reason::Refused));
    assert_eq!(rig.count(State::Dead), 1);
}

/// I15: where retries and first tries are due, each have half of the slots.
#[test]
fn retries_and_first_tries_share_the_slots() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    for _ in 0..4 {
        rig.send();
    }
    // Three fail and one is delivered, so the circuit stays closed; the three come again in a second.
    for (number, grant) in rig.grants(client).into_iter().enumerate() {
        let class = if number == 3 { Class::Delivered } else { Class::Rejected };
        rig.report(client, lease_of(&grant), &outcome(class));
    }
    rig.pass(Duration::from_millis(500));
    for _ in 0..8 {
        rig.send();
    }
    let held = rig.grants(client);
    rig.pass(Duration::from_secs(1));
    assert_eq!(held.len(), 4, "nothing else was due");
    for grant in &held {
        rig.report(client, lease_of(grant), &outcome(Class::Delivered));
    }
    let tried = rig.grants(client).iter().filter(|grant| grant.attempt > 1).count();
    assert_eq!(tried, 2);
}

/// I10: `Retry-After` is honoured up to its bound.
#[test]
fn retry_after_is_honoured() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 1);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    let mut later = outcome(Class::Busy);
    later.status = Some(429);
    later.retry_after = Some(Duration::from_mins(2));
    rig.report(client, lease, &later);
    assert_eq!(rig.only().due_at, rig.now.wall + Duration::from_mins(2));
}

/// Three are out, ten wait, and the store is asked for five of these when the three come back unreachable.
fn opened_while_asking() -> (Rig, relay_core::hub::ConnId) {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 8);
    (0..3).for_each(|_| drop_ticket(rig.send()));
    let out = rig.grants(client);
    let open = rig.routing.clone();
    rig.routing.paused.insert(crate::rig::name("crm"));
    rig.input(Input::Routing(std::sync::Arc::new(rig.routing.clone())));
    (0..10).for_each(|_| drop_ticket(rig.send()));
    rig.prompt = false;
    rig.input(Input::Routing(std::sync::Arc::new(open)));
    for grant in out {
        rig.report(client, lease_of(&grant), &outcome(Class::Unreachable));
    }
    assert!(rig.notices.iter().any(|notice| matches!(notice, Notice::DestinationDown { .. })));
    rig.prompt = true;
    rig.answer_store();
    (rig, client)
}

fn drop_ticket(_: relay_core::hub::Ticket) {}

/// I10, I19: what the store brings after the circuit opened does not go out, and is no probe either.
#[test]
fn what_was_asked_for_before_the_circuit_opened_is_handed_back() {
    let (mut rig, client) = opened_while_asking();
    assert!(rig.grants(client).is_empty());
    assert_eq!(rig.count(State::Leased), 0);
    let mut at = Vec::new();
    for tenth in 0..80 {
        rig.pass(Duration::from_millis(100));
        let probes = report_all(&mut rig, client, Class::Unreachable).len();
        assert!(probes <= 1, "one at a time");
        at.extend((probes == 1).then_some(tenth + 1));
    }
    assert_eq!(at, [10, 30, 70], "the pauses double once for each failed probe");
}

/// The same of what was stored already leased.
#[test]
fn what_was_leased_with_its_append_when_the_circuit_opened_is_handed_back() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 8);
    (0..3).for_each(|_| drop_ticket(rig.send()));
    let out = rig.grants(client);
    rig.prompt = false;
    (0..5).for_each(|_| drop_ticket(rig.send()));
    for grant in out {
        rig.report(client, lease_of(&grant), &outcome(Class::Unreachable));
    }
    rig.prompt = true;
    rig.answer_store();
    assert!(rig.grants(client).is_empty());
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.grants(client).len(), 1, "what arrived is tried after a second");
}

/// I19: a delivery that is redriven while its destination's circuit is open is tried a second after the last try, whatever
/// else is under way, and is not taken for one that was changed while it was leased.
#[test]
fn a_redrive_does_not_lose_the_probe_it_causes() {
    let mut rig = Rig::with_routes(&[("src", "crm"), ("b", "other")], &RetryPolicy::default());
    let client = rig.join_with(1, 7, &[("crm", 4)], limits::CLIENT_BUFFER, &[]);
    rig.join_with(2, 8, &[("other", 4)], limits::CLIENT_BUFFER, &[]);
    rig.send();
    for _ in 0..200 {
        report_all(&mut rig, client, Class::Unreachable);
        rig.heartbeat(client, &[]);
        rig.heartbeat(relay_core::hub::ConnId(2), &[]);
        rig.pass(Duration::from_secs(1));
    }
    // A lease operation of another destination is under way all the time.
    let open = rig.routing.clone();
    rig.routing.paused.insert(crate::rig::name("other"));
    rig.input(Input::Routing(std::sync::Arc::new(rig.routing.clone())));
    rig.send_body("b", b"x", None);
    rig.prompt = false;
    rig.input(Input::Routing(std::sync::Arc::new(open)));
    assert_eq!(rig.pending.len(), 1);
    let aside = rig.pending.pop_front().expect("the lease operation");
    let now = rig.now.wall;
    let id = rig.store.deliveries()[0].id;
    rig.edit(id, |record| (record.state, record.version, record.due_at) = (State::Ready, record.version + 1, now));
    rig.input(Input::Touched(id));
    rig.input(Input::Woken(crate::rig::name("crm")));
    for _ in 0..15 {
        rig.answer_store();
        rig.pass(Duration::from_millis(100));
    }
    assert_eq!(rig.grants(client).len(), 1);
    rig.pending.push_back(aside);
    rig.prompt = true;
    rig.answer_store();
}

/// I10: a circuit is remembered for a minute after its client is gone, whatever of that client's ends meanwhile.
#[test]
fn a_circuit_outlives_the_leases_of_its_client() {
    let mut rig = Rig::with_lease(Duration::from_secs(20));
    let client = rig.join(1, 7, 8);
    (0..6).for_each(|_| drop_ticket(rig.send()));
    let mut out = rig.grants(client);
    let kept = lease_of(&out.pop().expect("six"));
    for grant in out {
        rig.report(client, lease_of(&grant), &outcome(Class::Unreachable));
    }
    rig.heartbeat(client, &[kept]);
    rig.input(Input::Closed(client));
    rig.pass(Duration::from_secs(40));
    let client = rig.join(2, 7, 8);
    let view = rig.hub.view();
    assert!(view[0].clients[0].circuit_open, "it was forgotten with the lost lease");
    drop(rig.grants(client));
    // It is gone again: an old timer does not cut short its minute.
    rig.input(Input::Closed(client));
    rig.pass(Duration::from_secs(45));
    rig.join(3, 7, 8);
    assert!(rig.hub.view()[0].clients[0].circuit_open, "it was forgotten by the timer of the first absence");
}

/// I24: a circuit that began open is shown as open.
#[test]
fn a_circuit_that_begins_open_is_seen() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 8);
    (0..6).for_each(|_| drop_ticket(rig.send()));
    for _ in 0..5 {
        report_all(&mut rig, client, Class::Rejected);
        rig.heartbeat(client, &[]);
        rig.pass(Duration::from_secs(1));
    }
    rig.crash();
    rig.join(2, 7, 8);
    let view = rig.hub.view();
    assert_eq!((view[0].clients[0].circuit_open, view[0].served), (true, false));
}

/// I10: delays of a millisecond do not hammer a destination that says that it is too much.
#[test]
fn what_does_not_count_waits_a_second_however_short_the_delays_are() {
    let schedule = retry::Schedule::Exponential { delay: Duration::from_millis(1), multiplier: 1.0 };
    let mut rig = Rig::with_routes(&[("src", "crm")], &RetryPolicy { schedule, ..RetryPolicy::default() });
    let client = rig.join(1, 7, 1);
    rig.send();
    let busy = relay_core::delivery::outcome::Outcome { status: Some(429), ..outcome(Class::Busy) };
    let mut tries = 0;
    for _ in 0..100 {
        for grant in rig.grants(client) {
            tries += 1;
            rig.report(client, lease_of(&grant), &busy);
        }
        rig.pass(Duration::from_millis(100));
    }
    assert!(tries <= 12, "{tries} tries in ten seconds");
}
