//! Retries that take long: they leave room for what arrives, and quick ones have their half.

use std::time::Duration;

use relay_core::{
    delivery::{State, outcome::Class, outcome::Outcome},
    hub::ConnId,
    limits,
    wire::{codec::LeaseKey, message::Grant},
};

use crate::rig::{Rig, lease_of, outcome};

/// An outcome that took so long.
fn after(class: Class, millis: u64) -> Outcome {
    Outcome { duration: Duration::from_millis(millis), ..outcome(class) }
}

/// A client with so many slots at which as many webhooks have failed once after so long, and one was delivered. Nothing is due.
fn failed_once(slots: u32, count: usize, millis: u64) -> (Rig, ConnId) {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, slots);
    fail_once(&mut rig, client, count, millis);
    (rig, client)
}

fn fail_once(rig: &mut Rig, client: ConnId, count: usize, millis: u64) {
    for _ in 0..count {
        rig.send();
        let lease = lease_of(&rig.grant(client));
        rig.report(client, lease, &after(Class::Busy, millis));
        // So that they count, and no circuit opens.
        rig.send();
        let lease = lease_of(&rig.grant(client));
        rig.report(client, lease, &after(Class::Delivered, 20));
    }
}

/// Goes on until the retries are due; gives what is granted.
fn until_due(rig: &mut Rig, client: ConnId) -> Vec<Grant> {
    rig.pass(Duration::from_secs(2));
    rig.grants(client)
}

fn leases(grants: &[Grant]) -> Vec<LeaseKey> {
    grants.iter().map(lease_of).collect()
}

fn asks(rig: &Rig) -> usize {
    rig.asked.iter().filter(|kind| **kind == "lease").count()
}

/// I15: retries that hang leave three quarters of the slots, whether anything waits for these or not: what arrives is granted at
/// once. Each that ends makes room for the next, and nobody asks meanwhile.
#[test]
fn retries_that_hang_leave_room_for_what_arrives() {
    let (mut rig, client) = failed_once(8, 8, 25_000);
    let held = until_due(&mut rig, client);
    assert_eq!(held.len(), 2, "a quarter of the slots");
    let before = asks(&rig);
    for _ in 0..20 {
        rig.heartbeat(client, &leases(&held));
        rig.pass(Duration::from_secs(1));
    }
    assert!(rig.grants(client).is_empty());
    // The look at what is due finds them each second, and cannot tell what they are.
    assert!(asks(&rig) <= before + 20, "{} asks for nothing", asks(&rig) - before);
    let before = asks(&rig);
    let mut healthy = Vec::new();
    for _ in 0..6 {
        rig.send();
        let grant = rig.grant(client);
        assert_eq!(grant.attempt, 1, "what arrives goes out at once");
        healthy.push(lease_of(&grant));
    }
    assert_eq!(asks(&rig), before, "with its append");
    let mut held = leases(&held);
    for lease in healthy {
        rig.report(client, lease, &after(Class::Delivered, 20));
        assert!(rig.grants(client).is_empty());
        rig.report(client, held.remove(0), &after(Class::Busy, 25_000));
        let next = rig.grant(client);
        assert!(next.attempt > 1, "the next that was tried");
        held.push(lease_of(&next));
    }
}

/// I15: retries that are quick have all slots as long as nothing else is due.
#[test]
fn quick_retries_have_all_slots() {
    let (mut rig, client) = failed_once(8, 8, 20);
    assert_eq!(until_due(&mut rig, client).len(), 8);
}

/// I15: once retries are quick again they have their half of the slots, and the others where nothing else is due.
#[test]
fn retries_that_are_quick_again_have_all_slots() {
    let (mut rig, client) = failed_once(8, 40, 25_000);
    let mut held = leases(&until_due(&mut rig, client));
    assert_eq!(held.len(), 2);
    let mut quick = 0;
    while held.len() < 8 {
        quick += 1;
        assert!(quick < 20, "it is not forgotten");
        rig.report(client, held.remove(0), &after(Class::Delivered, 20));
        held.extend(leases(&rig.grants(client)));
    }
    for _ in 0..16 {
        rig.send();
    }
    for lease in held {
        rig.report(client, lease, &after(Class::Delivered, 20));
    }
    let next = rig.grants(client);
    assert_eq!(next.iter().filter(|grant| grant.attempt > 1).count(), 4, "of {}", next.len());
}

/// I15, I19: with one slot retries and first tries have it by turns, however slow these are, and with two of them one each.
#[test]
fn few_slots_are_for_both() {
    let (mut rig, client) = failed_once(1, 4, 25_000);
    let mut grant = until_due(&mut rig, client).remove(0);
    assert!(grant.attempt > 1, "nothing else is due");
    for _ in 0..4 {
        rig.send();
    }
    let mut firsts = Vec::new();
    for _ in 0..6 {
        rig.report(client, lease_of(&grant), &after(Class::Delivered, 20));
        grant = rig.grant(client);
        firsts.push(grant.attempt == 1);
    }
    assert!(firsts.windows(2).all(|pair| pair[0] != pair[1]), "{firsts:?}");

    let (mut rig, client) = failed_once(2, 4, 25_000);
    assert_eq!(until_due(&mut rig, client).len(), 1);
    rig.send();
    assert_eq!(rig.grant(client).attempt, 1);
}

/// I19: what one client may not take goes to another that may.
#[test]
fn another_client_takes_what_one_may_not() {
    let mut rig = Rig::new();
    let quick = rig.join(2, 8, 4);
    let slow = rig.join(1, 7, 8);
    fail_once(&mut rig, slow, 12, 25_000);
    assert_eq!(until_due(&mut rig, slow).len(), 2);
    assert_eq!(rig.grants(quick).len(), 4);
    assert_eq!(rig.count(State::Leased), 6);
}

/// I15: where all takes as long, retries are no slower than what they make room for, and have all slots.
#[test]
fn retries_that_take_as_long_as_the_rest_have_all_slots() {
    let (mut rig, client) = failed_once(8, 8, 3_000);
    for _ in 0..40 {
        rig.send();
        let lease = lease_of(&rig.grant(client));
        rig.report(client, lease, &after(Class::Delivered, 3_000));
    }
    assert_eq!(until_due(&mut rig, client).len(), 8);
}

/// I15: large bodies that are tried again have no more slots for being parked before.
#[test]
fn large_retries_that_hang_leave_room_too() {
    let body = vec![7; 200_000];
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 8);
    for _ in 0..12 {
        rig.send_body("src", &body, None);
        let lease = lease_of(&rig.grant(client));
        rig.report(client, lease, &after(Class::Busy, 25_000));
        rig.send();
        let lease = lease_of(&rig.grant(client));
        rig.report(client, lease, &after(Class::Delivered, 20));
    }
    let held = until_due(&mut rig, client);
    assert_eq!((held.len(), rig.count(State::Leased)), (2, 2));
    for _ in 0..6 {
        rig.send_body("src", &body, None);
        assert_eq!(rig.grant(client).attempt, 1);
    }
}

/// I19: all that waits gets its turn and ends, whatever it takes, and the store is asked about as often as there are leases.
#[test]
fn all_of_it_ends_and_nobody_asks_in_vain() {
    let (mut rig, client) = failed_once(8, 30, 25_000);
    let mut out: Vec<(Grant, Duration)> = Vec::new();
    let mut granted = 0;
    for second in 0..3_600_u64 {
        let now = Duration::from_secs(second);
        if second % 5 == 0 {
            rig.send();
        }
        for grant in rig.grants(client) {
            granted += 1;
            let takes = Duration::from_secs(if grant.attempt > 1 { 25 } else { 0 });
            out.push((grant, now + takes));
        }
        let (over, rest): (Vec<_>, Vec<_>) = out.into_iter().partition(|(_, at)| *at <= now);
        out = rest;
        for (grant, _) in over {
            let class = if grant.attempt > 1 { Class::Busy } else { Class::Delivered };
            let took = if grant.attempt > 1 { 25_000 } else { 20 };
            rig.report(client, lease_of(&grant), &after(class, took));
        }
        let held: Vec<LeaseKey> = out.iter().map(|(grant, _)| lease_of(grant)).collect();
        rig.heartbeat(client, &held);
        rig.pass(Duration::from_secs(1));
    }
    assert_eq!(rig.count(State::Dead), 30);
    let asked = asks(&rig);
    // One each time that one comes due, and one for what it may take.
    assert!(asked <= 2 * granted + 3_600 / limits::DUE_EVERY.as_secs() as usize, "{asked} asks for {granted} grants");
}

/// I15: large bodies that are tried again, quickly, and wait for their way to a client that reads nothing do not count
/// against small ones.
#[test]
fn small_retries_pass_large_ones_that_are_parked() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 8);
    for number in 0..23 {
        if number == 20 {
            // So that the small ones are due behind them.
            rig.pass(Duration::from_millis(500));
        }
        rig.send_body("src", &vec![7; if number < 20 { 200_000 } else { 10 }], None);
        let lease = lease_of(&rig.grant(client));
        rig.report(client, lease, &outcome(Class::Rejected));
        rig.send();
        let lease = lease_of(&rig.grant(client));
        rig.report(client, lease, &outcome(Class::Delivered));
    }
    rig.deaf.insert(client);
    rig.pass(Duration::from_secs(2));
    let leased = |most: u64| {
        let deliveries = rig.store.deliveries();
        deliveries.iter().filter(|known| known.state == State::Leased && known.body_bytes <= most).count()
    };
    assert_eq!((leased(10), leased(200_000)), (2, 22), "six large ones are on their way, and all others are parked");
}
