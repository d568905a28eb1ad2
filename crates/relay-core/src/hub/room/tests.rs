use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

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
    assert!(!room.is_open(crm.0) && !room.waiting(&crm).is_empty());
    room.settled(&crm, 600);
    assert_eq!(admitted(&mut room), [3], "in the order of leasing");
    room.settled(&crm, 400);
    assert_eq!(admitted(&mut room), [] as [u128; 0]);
    room.settled(&crm, 1);
    assert_eq!(admitted(&mut room), [4], "alone, however long it is");
}

#[test]
fn nothing_is_kept_of_a_client_that_is_forgotten_while_a_body_is_read_for_it() {
    let (mut room, crm) = (room(1, 1_000), pair(1, "crm"));
    room.wait(&crm, id_of(1), 600);
    assert_eq!(admitted(&mut room), [1]);
    room.settled(&crm, 600);
    room.forget(crm.0);
    assert_eq!(room.clients.len(), 1, "its body is read yet");
    room.left(&crm, 600, most_of(600));
    room.check();
    assert!(room.clients.is_empty());

    room.set_buffer(crm.0, 1_000);
    room.claim(&crm, 600, most_of(600));
    room.settled(&crm, 600);
    room.forget(crm.0);
    room.set_buffer(crm.0, 1_000);
    room.left(&crm, 600, most_of(600));
    assert_eq!(room.clients.len(), 1, "it came back meanwhile");
}

/// I15: where the target of one destination hangs, another waits for one of its bodies, not for all that were leased before.
#[test]
fn a_line_whose_target_hangs_lets_others_go() {
    let (mut room, hangs, other) = (room(1, 1_000), pair(1, "hangs"), pair(1, "other"));
    for number in 1..=10 {
        room.wait(&hangs, id_of(number), 900);
    }
    for number in 11..=13 {
        room.wait(&other, id_of(number), 900);
    }
    assert_eq!(admitted(&mut room), [1]);
    let mut now = Mono::default();
    let mut goes = |room: &mut Room, pair: &Pair, at_its_target: Duration| {
        room.set_now(now);
        room.left(pair, 900, most_of(900));
        now = now + at_its_target;
        room.set_now(now);
        room.settled(pair, 900);
        admitted(room)
    };
    let (soon, late) = (Duration::from_secs(1), limits::ROOM_TURN);
    assert_eq!(goes(&mut room, &hangs, soon), [2], "in the order of leasing");
    assert_eq!(goes(&mut room, &hangs, late), [11]);
    assert_eq!(goes(&mut room, &other, soon), [12]);
    assert_eq!(goes(&mut room, &other, late), [3], "it hangs as well");
    assert_eq!(goes(&mut room, &hangs, late), [13]);
    assert_eq!(goes(&mut room, &other, soon), [4]);
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
    room.leave(&tall, id_of(4), 900);
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
    assert_eq!(fill(&mut room, 1, "first"), 7, "a client's quarter, but for what is kept for small ones");
    assert_eq!(fill(&mut room, 2, "first"), 7);
    assert_eq!(fill(&mut room, 3, "first"), 0, "a destination's half");
    assert_eq!(fill(&mut room, 4, "second"), 7);
    assert_eq!(fill(&mut room, 5, "third"), 2, "what is left but for the kept quarter");
    assert_eq!(fill(&mut room, 6, "fourth"), 1, "of the kept quarter one");
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
                room.leave(at, id_of(number), bodies[&number]);
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
                room.left(&at, body, size);
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
                room.left(&at, body, size);
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
    assert_eq!(admitted(&mut room), [2, 1]);
    room.came(&tall, MAX / 3, MAX / 3 + 100);
    room.check();
    room.wait(&pair(1, "other"), id_of(3), MAX / 3);
    assert_eq!(admitted(&mut room), [] as [u128; 0]);
    room.left(&tall, MAX / 3, MAX / 3 + 100);
    room.left(&short, 1_000, most_of(1_000));
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

const MEBI: u64 = 1024 * 1024;

/// I15: what is small waits for no large one of its client: not of its own destination, nor of another that has nothing out.
#[test]
fn small_bodies_wait_for_no_large_ones() {
    let (mut room, crm, erp, wiki) = (room(1, 32 * MEBI), pair(1, "crm"), pair(1, "erp"), pair(1, "wiki"));
    for number in 1..=8 {
        room.wait(&crm, id_of(number), 5 * MEBI);
    }
    room.wait(&erp, id_of(9), 5 * MEBI);
    assert_eq!(admitted(&mut room), [1, 2], "what large ones may have of a client's part");
    for (number, at) in [(10, &crm), (11, &erp), (12, &wiki)] {
        room.wait(at, id_of(number), 10_000);
        assert_eq!(admitted(&mut room), [number]);
        assert!(room.takes(at, 10_000, 11_000), "nor does one that came in just now");
    }
    // All have left, and are at their target: the buffer is what they wait for.
    for _ in 0..2 {
        room.left(&crm, 5 * MEBI, most_of(5 * MEBI));
    }
    assert_eq!(admitted(&mut room), [3, 9]);
    room.left(&crm, 5 * MEBI, most_of(5 * MEBI));
    assert_eq!(admitted(&mut room), [4], "of 32 MiB 28");
    room.left(&crm, 5 * MEBI, most_of(5 * MEBI));
    room.left(&erp, 5 * MEBI, most_of(5 * MEBI));
    assert_eq!(admitted(&mut room), [] as [u128; 0]);
    room.wait(&crm, id_of(13), 60_000);
    assert_eq!(admitted(&mut room), [13]);
}

/// I15: what is large does not wait for ever behind small ones, however many of them come.
#[test]
fn a_large_body_gets_in_however_many_small_ones_come() {
    for body in [5 * MEBI, 15 * MEBI, 31 * MEBI] {
        let (mut room, crm, mut number) = (room(1, 32 * MEBI), pair(1, "crm"), 1);
        let mut out = VecDeque::new();
        let mut come = |room: &mut Room, number: &mut u128| {
            // As many as ever fit, and one more.
            loop {
                while let Some((_, id)) = room.next() {
                    if id == id_of(1) {
                        return true;
                    }
                    out.push_back(());
                }
                if room.has_small_waiting(&crm) {
                    break;
                }
                *number += 1;
                room.wait(&crm, id_of(*number), 60_000);
            }
            let gone = out.pop_front();
            assert!(gone.is_some(), "nothing is out, and nothing gets in");
            room.left(&crm, 60_000, most_of(60_000));
            room.settled(&crm, 60_000);
            false
        };
        for _ in 0..100 {
            assert!(!come(&mut room, &mut number));
        }
        room.wait(&crm, id_of(1), body);
        let waits = (0..2_000).take_while(|_| !come(&mut room, &mut number)).count();
        assert!(waits < 2_000, "{body} bytes never get in");
    }
}

/// The page's claim while others keep coming: nobody who could be served is passed for ever.
#[test]
fn nobody_is_passed_for_ever() {
    for seed in 0..12 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut room = Room::new(MAX);
        for client in 1..=3 {
            room.set_buffer(InstanceId::from_u128(client), rng.random_range(1..MAX));
        }
        let (mut number, mut waiting, mut slowest) = (0_u128, BTreeMap::new(), 0);
        let (mut leaving, mut held) = (Vec::new(), Vec::new());
        for step in 0..2_500_u32 {
            while waiting.len() < 40 {
                number += 1;
                let body = match rng.random_range(0..10) {
                    0 => rng.random_range(0..MAX / limits::ROOM_KEPT_PART - HEAD),
                    1 | 2 => rng.random_range(0..MAX / 16),
                    _ => rng.random_range(0..70_000),
                };
                let at = pair(rng.random_range(1..4), ["a", "b", "c"][rng.random_range(0..3)]);
                waiting.insert(number, (step, body));
                room.wait(&at, id_of(number), body);
            }
            while let Some((at, id)) = room.next() {
                let (since, body) = waiting.remove(&id.as_u128()).expect("it waits");
                slowest = slowest.max(step - since);
                leaving.push((at, body));
            }
            room.check();
            for _ in 0..3 {
                if !leaving.is_empty() && rng.random_bool(0.8) {
                    let (at, body) = leaving.swap_remove(rng.random_range(0..leaving.len()));
                    room.left(&at, body, most_of(body));
                    held.push((at, body));
                }
                if !held.is_empty() && rng.random_bool(0.8) {
                    let (at, body) = held.swap_remove(rng.random_range(0..held.len()));
                    room.settled(&at, body);
                }
            }
        }
        let longest = waiting.values().map(|(since, _)| 2_500 - since).max().unwrap_or_default();
        assert!(longest.max(slowest) < 1_000, "seed {seed}: one waits for {longest}, one waited for {slowest}");
    }
}
