//! A store of several parts, some of which are away while the others go on.

use std::time::Duration;

use relay_core::{
    delivery::{Delivery, State, outcome::Class},
    hub::{Answer, ConnId, Input, NotStored},
    limits,
    partitions::Partitions,
    storage::{StoreError, StoreOp},
    wire::{codec::LeaseKey, message::Message},
};
use relay_store::memory::Trouble;

use crate::rig::{PARTITIONS, Rig, keys, lease_of, outcome};

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
fn delivers(rig: &mut Rig, client: ConnId, seconds: u64) {
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
        rig.trouble(Trouble::Settle, StoreError::Full);
        rig.send_body("src", b"0123456789", Some(key_in_first(number)));
    }
    delivers(&mut rig, client, 2);
    assert_eq!(rig.count(State::Ready), 50, "of a part for which so many wait nothing is leased");
    rig.no_trouble();
    delivers(&mut rig, client, 5);
    assert_eq!(rig.count(State::Delivered), usize::from(many) + 350);
}

/// I24: webhooks that cannot be stored where their repeats look for them keep no slot of a client, and no room, from others.
#[test]
fn what_cannot_be_stored_keeps_no_slot() {
    let [mut rig, _] = Rig::sharing();
    let client = rig.join(1, 7, 8);
    rig.store.set_away(Some(Partitions::only(0, PARTITIONS)));
    let waiting: Vec<_> =
        (0..8).map(|number| rig.send_body("src", b"0123456789", Some(key_in_first(number)))).collect();
    let others: Vec<_> = (0..20).map(|_| rig.send()).collect();
    // Their senders wait for longer.
    delivers(&mut rig, client, 1);
    assert!(waiting.iter().all(|ticket| !rig.answers.contains_key(ticket)));
    assert!(others.iter().all(|ticket| matches!(rig.answers[ticket], Answer::Accepted { .. })));
    assert_eq!(rig.count(State::Delivered), 20);
    rig.store.set_away(None);
    delivers(&mut rig, client, 1);
    assert!(waiting.iter().all(|ticket| matches!(rig.answers[ticket], Answer::Accepted { .. })));
    assert_eq!(rig.count(State::Delivered), 28);
}

/// I2, I24: a webhook with a key whose part does not come back waits until its deadline and no longer, when its sender is told to come again;
/// one without a key goes elsewhere.
#[test]
fn a_key_whose_part_does_not_come_back_waits_until_its_deadline() {
    let [mut rig, _] = Rig::sharing();
    rig.store.set_away(Some(Partitions::only(0, PARTITIONS)));
    let keyed = rig.send_body("src", b"0123456789", Some(key_in_first(0)));
    let keyless = rig.send();
    // Their senders wait for two seconds.
    rig.pass(Duration::from_millis(1_900));
    assert!(!rig.answers.contains_key(&keyed), "{:?}", rig.answers);
    assert!(matches!(rig.answers[&keyless], Answer::Accepted { .. }));
    rig.pass(Duration::from_millis(100) + limits::APPEND_AGAIN);
    assert_eq!(rig.answers[&keyed], Answer::NotStored(NotStored::Away));
    // Nothing of it comes with the part, and its sender's next try is taken.
    rig.store.set_away(None);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.store.deliveries().len(), 1);
    let again = rig.send_body("src", b"0123456789", Some(key_in_first(0)));
    assert!(matches!(rig.answers[&again], Answer::Accepted { repeat: false, .. }));
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
        while let Some(at) = rig.pending.iter().position(|ask| !matches!(ask, StoreOp::Bodies(_))) {
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

/// A client that comes with these while some parts are away is welcomed with all of them.
fn comes(rig: &mut Rig, held: &[LeaseKey]) -> ConnId {
    rig.store.set_away(Some(some()));
    let client = rig.join_with(2, 7, &[("crm", 64)], limits::CLIENT_BUFFER, held);
    let welcome = rig.received(client).into_iter().find_map(|message| match message {
        Message::Welcome(welcome) => Some(keys(&welcome.resumed)),
        _ => None,
    });
    let mut resumed = welcome.expect("it is welcome at once");
    resumed.sort_unstable();
    assert_eq!(resumed, held, "it goes on with all that it names");
    client
}

/// A client with these leases of one server, which is gone; and another server.
fn leaves() -> (Rig, Vec<LeaseKey>) {
    let [mut first, second] = Rig::sharing();
    let client = first.join(1, 7, 64);
    for _ in 0..64 {
        first.send();
    }
    let mut held: Vec<LeaseKey> = first.grants(client).iter().map(lease_of).collect();
    held.sort_unstable();
    assert_eq!(held.len(), 64);
    (second, held)
}

fn released(rig: &mut Rig, client: ConnId) -> Vec<LeaseKey> {
    let released = |message| if let Message::Release(release) = message { keys(&release.leases) } else { Vec::new() };
    rig.received(client).into_iter().flat_map(released).collect()
}

/// I7, I8, I9: a client that comes to another server while parts are away is welcomed at once, and goes on; what it holds in those is
/// adopted when they are back, and what it reports meanwhile is settled then. Nothing is given twice.
#[test]
fn a_client_is_welcome_while_a_part_is_away() {
    let (mut rig, held) = leaves();
    let client = comes(&mut rig, &held);
    let (reported, goes_on) = held.split_at(32);
    for lease in reported {
        rig.report(client, *lease, &outcome(Class::Delivered));
    }
    for _ in 0..5 {
        rig.heartbeat(client, goes_on);
        rig.pass(Duration::from_secs(2));
    }
    assert_eq!(released(&mut rig, client), [], "nothing is known to be somebody else's");
    assert!(rig.count(State::Delivered) < 32, "some of them are away");
    rig.store.set_away(None);
    rig.heartbeat(client, goes_on);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.count(State::Delivered), 32);
    let keepers: std::collections::BTreeSet<u64> =
        rig.store.deliveries().iter().filter_map(|record| record.lease).map(|lease| lease.keeper).collect();
    assert_eq!(keepers.len(), 1, "all that it goes on with has one keeper");
    assert_eq!(released(&mut rig, client), []);
    for lease in goes_on {
        rig.report(client, *lease, &outcome(Class::Delivered));
    }
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.count(State::Delivered), 64);
    assert!(rig.store.deliveries().iter().all(|record| (record.tries, record.losses) == (1, 0)));
}

/// I7: what a client hands back, or leaves behind, before its part is back is nobody's then, and is leased again.
#[test]
fn what_a_client_does_not_hold_is_handed_back_once_its_part_is_there() {
    let (mut rig, held) = leaves();
    let (named, left) = held.split_at(32);
    let client = comes(&mut rig, named);
    for lease in named {
        rig.release(client, *lease);
    }
    rig.pass(Duration::from_secs(5));
    rig.store.set_away(None);
    rig.heartbeat(client, &[]);
    rig.pass(Duration::from_secs(5));
    let again: Vec<LeaseKey> = rig.store.deliveries().iter().map(|record| (record.id, record.token)).collect();
    assert_eq!((again.len(), rig.count(State::Leased)), (named.len() + left.len(), 64));
    assert!(again.iter().all(|lease| !held.contains(lease)), "each is leased again, under another lease");
    rig.input(Input::Closed(client));
}

/// I7: nor does a client wait for a part that is read and commits nothing.
#[test]
fn a_client_does_not_wait_for_a_part_that_adopts_nothing() {
    let (mut rig, held) = leaves();
    rig.prompt = false;
    let client = rig.join_with(2, 7, &[("crm", 64)], limits::CLIENT_BUFFER, &held);
    // All is read, and then a part of it is away.
    while let Some(at) = rig.pending.iter().position(|ask| !matches!(ask, StoreOp::Settle(_))) {
        rig.pending.rotate_left(at);
        rig.answer_one();
    }
    rig.store.set_away(Some(some()));
    rig.prompt = true;
    rig.answer_store();
    let messages = rig.received(client);
    let welcome = messages.iter().find_map(|message| match message {
        Message::Welcome(welcome) => Some(welcome.resumed.len()),
        _ => None,
    });
    assert_eq!(welcome, Some(64), "it is welcome, with all that it names");
    rig.store.set_away(None);
    rig.heartbeat(client, &held);
    rig.pass(Duration::from_secs(5));
    assert_eq!(released(&mut rig, client), []);
    for lease in &held {
        rig.report(client, *lease, &outcome(Class::Delivered));
    }
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.count(State::Delivered), 64);
    assert!(rig.store.deliveries().iter().all(|record| (record.tries, record.losses) == (1, 0)));
}

/// I7: what was read and is somebody else's stays that, though the part it lies in adopts nothing by then.
#[test]
fn what_is_known_to_be_somebody_elses_is_not_gone_on_with() {
    let [mut first, mut rig] = Rig::sharing();
    let clients = [first.join(1, 7, 64), first.join(2, 8, 64)];
    for _ in 0..128 {
        first.send();
    }
    let [mut held, others] = clients.map(|client| first.grants(client).iter().map(lease_of).collect::<Vec<LeaseKey>>());
    assert_eq!((held.len(), others.len()), (64, 64));
    rig.prompt = false;
    let named = [held.as_slice(), &others].concat();
    let client = rig.join_with(3, 7, &[("crm", 64)], limits::CLIENT_BUFFER, &named);
    while let Some(at) = rig.pending.iter().position(|ask| !matches!(ask, StoreOp::Settle(_))) {
        rig.pending.rotate_left(at);
        rig.answer_one();
    }
    rig.store.set_away(Some(some()));
    rig.prompt = true;
    rig.answer_store();
    let welcome = rig.received(client).into_iter().find_map(|message| match message {
        Message::Welcome(welcome) => Some(keys(&welcome.resumed)),
        _ => None,
    });
    let mut resumed = welcome.expect("it is welcome");
    resumed.sort_unstable();
    held.sort_unstable();
    assert_eq!(resumed, held);
    rig.heartbeat(client, &named);
    let mut told = released(&mut rig, client);
    told.sort_unstable();
    told.dedup();
    assert!(told.iter().all(|lease| others.contains(lease)), "and it goes on with its own");
}
