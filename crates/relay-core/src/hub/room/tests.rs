use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;

const MAX: u64 = 64 * 1024 * 1024;
const HEAD: u64 = limits::HEAD_BYTES_MAX as u64;

fn pair(client: u128, destination: &str) -> Pair {
    (InstanceId::from_u128(client), destination.parse().expect("a name"))
}

fn id_of(number: u128) -> DeliveryId {
    DeliveryId::from_u128(number)
}

/// Room with clients that take `buffer` bytes each.
fn room(clients: u128, buffer: u64) -> Room {
    let mut room = Room::new(MAX);
    for client in 1..=clients {
        room.set_buffer(InstanceId::from_u128(client), buffer);
    }
    room
}

fn admitted(room: &mut Room) -> Vec<u128> {
    let mut ids = Vec::new();
    while let Some((_, id)) = room.next() {
        ids.push(id.as_u128());
        room.check();
    }
    assert!(!room.is_woken() || room.short.is_empty());
    ids
}

#[test]
fn a_client_is_given_what_it_takes_and_one_body_in_any_case() {
    let (mut room, crm) = (room(1, 1_000), pair(1, "crm"));
    for (number, body) in [(1, 600), (2, 400), (3, 1), (4, 9_000)] {
        room.wait(&crm, id_of(number), body);
    }
    assert_eq!(admitted(&mut room), [1, 2]);
    assert!(!room.is_open(crm.0) && room.has_waiting(&crm));
    room.settled(&crm, 600);
    assert_eq!(admitted(&mut room), [3], "in the order of leasing");
    room.settled(&crm, 400);
    assert_eq!(admitted(&mut room), [] as [u128; 0]);
    room.settled(&crm, 1);
    assert_eq!(admitted(&mut room), [4], "alone, however long it is");
}

/// I15: who waits for a client's room with nothing out there holds the others back; who has something out does not.
#[test]
fn who_has_nothing_out_is_not_passed() {
    let (mut room, stuck, tall, short) = (room(1, 1_000), pair(1, "stuck"), pair(1, "tall"), pair(1, "short"));
    room.wait(&stuck, id_of(1), 600);
    room.wait(&stuck, id_of(2), 600);
    room.wait(&short, id_of(3), 10);
    assert_eq!(admitted(&mut room), [1, 3], "a destination that waits for itself holds up no other");
    room.wait(&tall, id_of(4), 900);
    room.wait(&short, id_of(5), 10);
    assert_eq!(admitted(&mut room), [] as [u128; 0]);
    room.leave(&tall, id_of(4));
    assert_eq!(admitted(&mut room), [5], "it waits no more");
}

/// I15, I16: a destination has half of the room at most, a client a quarter, and a quarter is for those that have none.
#[test]
fn nobody_has_all_of_the_room() {
    let mut room = room(9, u64::MAX);
    let body = MAX / 32 - HEAD;
    let mut number = 0;
    let mut fill = |room: &mut Room, client: u128, name: &str| {
        for _ in 0..40 {
            number += 1;
            room.wait(&pair(client, name), id_of(number), body);
        }
        admitted(room).len()
    };
    assert_eq!(fill(&mut room, 1, "first"), 8, "a client's quarter");
    assert_eq!(fill(&mut room, 2, "first"), 8);
    assert_eq!(fill(&mut room, 3, "first"), 0, "a destination's half");
    assert_eq!(fill(&mut room, 4, "second"), 8, "what is left but for the kept quarter");
    assert_eq!(fill(&mut room, 5, "third"), 1, "of the kept quarter one");
    room.check();
}

/// Properties of the page: nobody waits for ever while others come and go, the accounts hold, and no bound is passed but by one.
#[test]
fn everybody_gets_in_while_what_is_out_comes_back() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let buffers: Vec<u64> = (0..4).map(|_| rng.random_range(1..MAX)).collect();
        let mut room = Room::new(MAX);
        for (client, buffer) in buffers.iter().enumerate() {
            room.set_buffer(InstanceId::from_u128(client as u128 + 1), *buffer);
        }
        let (mut number, mut bodies, mut waiting) = (0_u128, BTreeMap::new(), BTreeMap::new());
        // What is out here, then at the client.
        let (mut leaving, mut held) = (Vec::new(), Vec::new());
        for step in 0..600 {
            if step < 400 && rng.random_bool(0.6) {
                number += 1;
                let body =
                    if rng.random_bool(0.1) { rng.random_range(0..2 * MAX) } else { rng.random_range(0..MAX / 16) };
                let at = pair(rng.random_range(1..5), ["a", "b", "c"][rng.random_range(0..3)]);
                bodies.insert(number, body);
                waiting.insert(number, at.clone());
                room.wait(&at, id_of(number), body);
            }
            if rng.random_bool(0.05)
                && let Some((&number, at)) = waiting.iter().nth(rng.random_range(0..waiting.len().max(1)))
            {
                room.leave(at, id_of(number));
                waiting.remove(&number);
            }
            while let Some((at, id)) = room.next() {
                let body = bodies[&id.as_u128()];
                assert_eq!(waiting.remove(&id.as_u128()), Some(at.clone()));
                leaving.push((at, body, most_of(body)));
                room.check();
            }
            if !leaving.is_empty() && rng.random_bool(0.7) {
                let (at, body, size) = leaving.swap_remove(rng.random_range(0..leaving.len()));
                room.left(&at, size);
                held.push((at, body));
            }
            if !held.is_empty() && rng.random_bool(0.7) {
                let (at, body) = held.swap_remove(rng.random_range(0..held.len()));
                room.settled(&at, body);
            }
            room.check();
        }
        // Nothing new comes: all that is out comes back, and whoever waits gets in.
        for _ in 0..4 * number {
            while let Some((at, id)) = room.next() {
                waiting.remove(&id.as_u128());
                leaving.push((at, bodies[&id.as_u128()], most_of(bodies[&id.as_u128()])));
            }
            if let Some((at, body, size)) = leaving.pop() {
                room.left(&at, size);
                held.push((at, body));
            } else if let Some((at, body)) = held.pop() {
                room.settled(&at, body);
            }
        }
        assert!(waiting.is_empty(), "seed {seed}: {waiting:?} wait for ever: {room:?}");
        assert_eq!((room.out(), room.lines.len(), room.short.len()), (0, 0, 0), "seed {seed}");
    }
}

/// I15: what is small does not wait until a body has left that is larger than a client's part, and no second one of those goes.
#[test]
fn small_bodies_go_beside_one_that_is_larger_than_the_part() {
    let mut room = room(2, u64::MAX);
    let (tall, short) = (pair(1, "tall"), pair(1, "short"));
    room.wait(&tall, id_of(1), MAX / 3);
    room.wait(&short, id_of(2), 1_000);
    assert_eq!(admitted(&mut room), [1, 2]);
    room.came(&tall, most_of(MAX / 3), MAX / 3 + 100);
    room.check();
    room.wait(&pair(1, "other"), id_of(3), MAX / 3);
    assert_eq!(admitted(&mut room), [] as [u128; 0]);
    room.left(&tall, MAX / 3 + 100);
    room.left(&short, most_of(1_000));
    assert_eq!(admitted(&mut room), [3]);
}

/// What one body waits for is looked at again when it comes back, not with each thing that does.
#[test]
fn what_is_given_back_wakes_those_that_wait_for_it() {
    let mut room = room(3, 1_000);
    let (first, second) = (pair(1, "crm"), pair(2, "crm"));
    room.wait(&first, id_of(1), 1_000);
    room.wait(&first, id_of(2), 1_000);
    assert_eq!(admitted(&mut room), [1]);
    room.wait(&second, id_of(3), 1_000);
    assert_eq!(admitted(&mut room), [3]);
    room.settled(&second, 1_000);
    assert!(!room.is_woken(), "the other client has nothing more for it");
    room.settled(&first, 1_000);
    assert!(room.is_woken());
    assert_eq!(admitted(&mut room), [2]);
}
