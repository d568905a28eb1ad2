//! A store of several parts, some of which are away while the others go on.

use std::time::Duration;

use relay_core::{
    delivery::{Delivery, State, outcome::Class},
    hub::Answer,
    limits,
    partitions::Partitions,
};

use crate::rig::{PARTITIONS, Rig, lease_of, outcome};

/// Those that one of three primaries has.
fn some() -> Partitions {
    (0..PARTITIONS).filter(|place| place % 3 != 1).fold(Partitions::all(PARTITIONS), Partitions::without)
}

/// A key of the first partition, the only one of its number.
fn key_in_first(number: u16) -> [u8; 32] {
    let mut key = [0; 32];
    key[30..].copy_from_slice(&number.to_be_bytes());
    key
}

/// A client that takes and delivers whatever it is given, for so many seconds.
fn delivers(rig: &mut Rig, client: relay_core::hub::ConnId, seconds: u64) {
    for _ in 0..seconds * 4 {
        for grant in rig.grants(client) {
            rig.report(client, lease_of(&grant), &outcome(Class::Delivered));
        }
        rig.pass(Duration::from_millis(250));
    }
}

/// What is not delivered.
fn open(rig: &Rig) -> Vec<Delivery> {
    rig.store.deliveries().into_iter().filter(|record| record.state != State::Delivered).collect()
}

/// I15, I19: outcomes of deliveries in a part that is away wait for it, and those of all others are stored, however many were
/// under way.
#[test]
fn outcomes_wait_for_their_own_part_only() {
    let [mut rig, _] = Rig::sharing();
    let client = rig.join(1, 7, 900);
    for _ in 0..1_800 {
        rig.send();
    }
    rig.store.set_away(Some(some()));
    delivers(&mut rig, client, 20);
    assert!(open(&rig).iter().all(|record| some().hold(record.id.partition())), "others were delivered");
    for _ in 0..100 {
        let ticket = rig.send();
        delivers(&mut rig, client, 1);
        assert!(matches!(rig.answers[&ticket], Answer::Accepted { .. }), "what has no key goes where a part is");
    }
    assert!(
        open(&rig).iter().all(|record| some().hold(record.id.partition())),
        "and so were those that came meanwhile"
    );
    assert!(open(&rig).len() > 300, "{} were under way there", open(&rig).len());
    rig.store.set_away(None);
    delivers(&mut rig, client, 5);
    assert_eq!(rig.count(State::Delivered), 1_900);
    assert!(rig.store.deliveries().iter().all(|record| record.tries == 1), "I8: each was tried once");
}

/// I16, I19: while more outcomes wait for one part than may, nothing is leased there, and everything is elsewhere.
#[test]
fn many_outcomes_that_wait_for_a_part_stop_no_other() {
    let [mut rig, _] = Rig::sharing();
    let many = limits::UNDECIDED_MAX as u16 + limits::PAGE_MAX as u16 + 100;
    let client = rig.join(1, 7, u32::from(many));
    for number in 0..many {
        rig.send_body("src", b"0123456789", Some(key_in_first(number)));
    }
    rig.store.set_away(Some(Partitions::only(0, PARTITIONS)));
    delivers(&mut rig, client, 5);
    assert_eq!(open(&rig).len(), usize::from(many));
    for _ in 0..300 {
        rig.send();
    }
    delivers(&mut rig, client, 10);
    assert_eq!((open(&rig).len(), rig.count(State::Delivered)), (usize::from(many), 300));
    // It is there again, and takes no outcomes: nothing of it is leased.
    for number in many..many + 50 {
        rig.store.set_away(None);
        rig.trouble(relay_store::memory::Trouble::Settle, relay_core::storage::StoreError::Full);
        rig.send_body("src", b"0123456789", Some(key_in_first(number)));
    }
    delivers(&mut rig, client, 2);
    assert_eq!(rig.count(State::Ready), 50, "of a part for which so many wait nothing is leased");
    rig.no_trouble();
    delivers(&mut rig, client, 5);
    assert_eq!(rig.count(State::Delivered), usize::from(many) + 350);
}

/// I15: bodies that cannot be read keep no slot of a client, and no room, from those that can.
#[test]
fn a_body_that_is_away_keeps_no_slot() {
    let [mut rig, _] = Rig::sharing();
    for _ in 0..200 {
        rig.send();
    }
    rig.prompt = false;
    let client = rig.join(1, 7, 8);
    for _ in 0..50 {
        // Leases are told of, and their bodies are not read yet.
        while let Some(at) = rig.pending.iter().position(|ask| !matches!(ask, relay_core::storage::StoreOp::Bodies(_)))
        {
            rig.pending.rotate_left(at);
            rig.answer_one();
        }
        rig.pass(Duration::from_millis(100));
    }
    assert_eq!(rig.count(State::Leased), 8);
    let leased = rig.store.deliveries().into_iter().filter(|record| record.state == State::Leased);
    let places = leased.map(|record| record.id.partition().number() % PARTITIONS);
    let away = places.fold(Partitions::none(PARTITIONS), Partitions::with);
    rig.store.set_away(Some(away));
    rig.prompt = true;
    rig.answer_store();
    delivers(&mut rig, client, 30);
    assert!(open(&rig).iter().all(|record| away.hold(record.id.partition())), "{} wait", open(&rig).len());
    assert!(rig.count(State::Delivered) > 50);
    rig.store.set_away(None);
    delivers(&mut rig, client, 30);
    assert_eq!(rig.count(State::Delivered), 200);
}
