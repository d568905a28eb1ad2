//! Slots, bytes, chunks, pauses.

use std::{collections::BTreeMap, time::Duration};

use relay_core::{
    delivery::{State, outcome::Class, retry::RetryPolicy},
    hub::{ConnId, Input},
    limits,
    storage::StoreError,
    wire::message::{GoAway, Message},
};
use relay_store::memory::Trouble;

use crate::rig::{OUTGOING_BYTES_MAX, Rig, lease_of, name, outcome};

#[test]
fn no_more_is_granted_than_there_are_slots() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 2);
    for _ in 0..5 {
        rig.send();
    }
    let grants = rig.grants(client);
    assert_eq!(grants.len(), 2);
    rig.report(client, lease_of(&grants[0]), &outcome(Class::Delivered));
    assert_eq!(rig.grants(client).len(), 1);
}

#[test]
fn a_large_body_goes_out_in_chunks_between_others() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    let body: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    rig.received(client);
    rig.send_body("src", &body, None);
    let messages = rig.received(client);
    let mut whole = Vec::new();
    for message in &messages {
        match message {
            Message::Grant(grant) => whole.extend_from_slice(&grant.body),
            Message::Chunk(chunk) => {
                assert_eq!(chunk.offset, whole.len() as u64);
                assert!(chunk.data.len() <= limits::CHUNK_BYTES);
                whole.extend_from_slice(&chunk.data);
            }
            _ => panic!("only the body"),
        }
    }
    assert_eq!((messages.len(), whole == body), (4, true));
}

#[test]
fn a_body_beyond_the_byte_credit_waits_and_goes_out_alone() {
    let mut rig = Rig::new();
    let client = rig.join_with(1, 7, &[("crm", 8)], 1_000, &[]);
    rig.send_body("src", &[1; 600], None);
    rig.send_body("src", &[2; 5_000], None);
    let first = rig.grant(client);
    assert_eq!(first.body_bytes, 600);
    rig.report(client, lease_of(&first), &outcome(Class::Delivered));
    let second = rig.grant(client);
    assert_eq!(second.body_bytes, 5_000, "it fits when nothing is in flight");
    rig.send_body("src", &[3; 10], None);
    assert!(rig.grants(client).is_empty(), "there is no credit beside it");
    rig.report(client, lease_of(&second), &outcome(Class::Delivered));
    assert_eq!(rig.grant(client).body_bytes, 10);
    assert_eq!(rig.count(State::Delivered), 2);
}

/// I19: asks that share out a client's room must not go on finding too little for ever.
#[test]
fn large_bodies_of_several_destinations_go_out_one_after_the_other() {
    let routes = [("a", "first"), ("b", "second"), ("c", "third")];
    let mut rig = Rig::with_routes(&routes, &RetryPolicy::default());
    for (source, _) in routes {
        rig.send_body(source, &[1; 5_000], None);
    }
    rig.prompt = false;
    let client = rig.join_with(1, 7, &[("first", 2), ("second", 2), ("third", 2)], 1_000, &[]);
    for delivered in 0..3 {
        let answered = (0..200).take_while(|_| rig.answer_one()).count();
        assert!(answered < 200, "the hub asks the store without end");
        let grant = rig.grant(client);
        rig.report(client, lease_of(&grant), &outcome(Class::Delivered));
        assert_eq!(rig.count(State::Delivered), delivered);
        rig.answer_one();
    }
    rig.answer_store();
    assert_eq!(rig.count(State::Delivered), 3);
}

/// I19: bodies that were asked for at the same time, each with a part of the room, and did not fit, are asked for again.
#[test]
fn bodies_that_fit_in_no_part_of_the_room_go_out() {
    let routes = [("a", "first"), ("b", "second")];
    let mut rig = Rig::with_routes(&routes, &RetryPolicy::default());
    for (source, _) in routes {
        rig.send_body(source, &vec![1; OUTGOING_BYTES_MAX as usize / 4], None);
    }
    rig.prompt = false;
    let client = rig.join_with(1, 7, &[("first", 1), ("second", 1)], limits::CLIENT_BUFFER, &[]);
    while rig.count(State::Delivered) < 2 {
        let answered = (0..200).take_while(|_| rig.answer_one()).count();
        assert!(answered < 200, "the hub asks the store without end");
        let grants = rig.grants(client);
        assert!(!grants.is_empty(), "nothing goes out any more");
        for grant in grants {
            rig.report(client, lease_of(&grant), &outcome(Class::Delivered));
        }
        rig.answer_store();
    }
}

/// I19: small bodies of one destination leave room for a large one of another.
#[test]
fn a_large_body_gets_its_turn_beside_a_backlog_of_small_ones() {
    let mut rig = Rig::with_routes(&[("a", "short"), ("b", "tall")], &RetryPolicy::default());
    for _ in 0..30 {
        rig.send_body("a", &[1; 400], None);
    }
    rig.send_body("b", &[2; 900], None);
    let client = rig.join_with(1, 7, &[("short", 4), ("tall", 4)], 1_000, &[]);
    let mut held = std::collections::VecDeque::new();
    for _ in 0..6 {
        held.extend(rig.grants(client));
        if held.iter().any(|grant| grant.destination == "tall") {
            return;
        }
        let oldest = held.pop_front().expect("something is always out");
        rig.report(client, lease_of(&oldest), &outcome(Class::Delivered));
    }
    panic!("the large body never got its turn");
}

#[test]
fn clients_of_a_destination_share_its_deliveries() {
    let mut rig = Rig::new();
    let clients: Vec<ConnId> = (1..=3).map(|n| rig.join(n, n.into(), 4)).collect();
    for _ in 0..12 {
        rig.send();
    }
    let granted: Vec<usize> = clients.iter().map(|client| rig.grants(*client).len()).collect();
    assert_eq!(granted, [4, 4, 4]);
}

/// I15: a destination whose client does not report holds up no other.
#[test]
fn a_hanging_destination_holds_up_no_other() {
    let mut rig = Rig::with_routes(&[("a", "hangs"), ("b", "works")], &RetryPolicy::default());
    let client = rig.join_with(1, 7, &[("hangs", 2), ("works", 2)], limits::CLIENT_BUFFER, &[]);
    for _ in 0..50 {
        rig.send_body("a", b"x", None);
    }
    rig.received(client);
    for _ in 0..50 {
        rig.send_body("b", b"x", None);
        for grant in rig.grants(client) {
            assert_eq!(grant.destination, "works");
            rig.report(client, lease_of(&grant), &outcome(Class::Delivered));
        }
    }
    assert_eq!(rig.count(State::Delivered), 50);
}

/// I15, I16: a destination whose clients do not read what they are sent holds at most half of the bodies in flight, and
/// the rest goes on.
#[test]
fn clients_that_do_not_read_leave_room_for_other_destinations() {
    let mut rig = Rig::with_routes(&[("a", "stuck"), ("b", "works")], &RetryPolicy::default());
    let works = rig.join_with(1, 1, &[("works", 8)], limits::CLIENT_BUFFER, &[]);
    for stuck in 2..6 {
        rig.deaf.insert(ConnId(stuck));
        rig.join_with(stuck, stuck.into(), &[("stuck", 8)], limits::CLIENT_BUFFER, &[]);
    }
    let large = vec![0; OUTGOING_BYTES_MAX as usize / 16];
    for _ in 0..20 {
        rig.send_body("a", &large, None);
    }
    let taken = rig.hub.bytes_out();
    assert!(taken <= OUTGOING_BYTES_MAX / 2, "{taken} of {OUTGOING_BYTES_MAX}");
    for _ in 0..20 {
        rig.send_body("b", &large, None);
        for grant in rig.grants(works) {
            rig.report(works, lease_of(&grant), &outcome(Class::Delivered));
        }
    }
    assert_eq!(rig.count(State::Delivered), 20);
}

/// Sends so much to `works` that the rest of the room would not do for it at once. Gives how many were delivered.
fn delivered_beside(rig: &mut Rig, works: ConnId, large: &[u8]) -> usize {
    for _ in 0..20 {
        for stuck in rig.deaf.clone() {
            rig.heartbeat(stuck, &[]);
        }
        rig.send_body("works", large, None);
        for _ in 0..3 {
            rig.pass(Duration::from_secs(1));
            for grant in rig.grants(works) {
                rig.report(works, lease_of(&grant), &outcome(Class::Delivered));
            }
            rig.heartbeat(works, &[]);
        }
    }
    rig.count(State::Delivered)
}

/// I15: nor do two such destinations, or more, hold up another.
#[test]
fn several_stuck_destinations_leave_room_for_another() {
    let names = ["stuck-1", "stuck-2", "stuck-3"];
    let mut routes: Vec<(&str, &str)> = names.iter().map(|name| (*name, *name)).collect();
    routes.push(("works", "works"));
    let mut rig = Rig::with_routes(&routes, &RetryPolicy::default());
    let large = vec![0; OUTGOING_BYTES_MAX as usize / 256];
    for (number, name) in names.iter().enumerate() {
        for client in 0..4 {
            let number = 10 * (1 + number as u64) + client;
            rig.deaf.insert(ConnId(number));
            rig.join_with(number, number.into(), &[(name, 256)], limits::CLIENT_BUFFER, &[]);
        }
        for _ in 0..150 {
            rig.send_body(name, &large, None);
        }
    }
    let works = rig.join_with(1, 1, &[("works", 8)], limits::CLIENT_BUFFER, &[]);
    assert_eq!(delivered_beside(&mut rig, works, &vec![0; OUTGOING_BYTES_MAX as usize / 32]), 20);
}

/// I15: a session that does not read holds up no other, however many destinations it names.
#[test]
fn one_session_that_does_not_read_holds_little() {
    let names: Vec<String> = (0..40).map(|number| format!("stuck-{number}")).collect();
    let mut routes: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    routes.push(("works", "works"));
    let mut rig = Rig::with_routes(&routes, &RetryPolicy::default());
    let stuck: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 8)).collect();
    rig.deaf.insert(ConnId(2));
    rig.join_with(2, 2, &stuck, 4 * OUTGOING_BYTES_MAX, &[]);
    let large = vec![0; OUTGOING_BYTES_MAX as usize / 32];
    for name in &names {
        for _ in 0..2 {
            rig.send_body(name, &large, None);
        }
    }
    let held = rig.hub.bytes_out();
    assert!(held <= OUTGOING_BYTES_MAX / 4 + large.len() as u64, "{held} of {OUTGOING_BYTES_MAX}");
    let works = rig.join_with(1, 1, &[("works", 8)], limits::CLIENT_BUFFER, &[]);
    assert_eq!(delivered_beside(&mut rig, works, &large), 20);
}

/// I15: a body that is larger than what may wait for an instance goes out alone, and small ones go out beside it all the same;
/// another large one does not.
#[test]
fn small_webhooks_do_not_wait_behind_one_that_is_larger_than_the_share() {
    let mut rig = Rig::new();
    let client = ConnId(1);
    rig.deaf.insert(client);
    rig.join_with(1, 1, &[("crm", 8)], 4 * OUTGOING_BYTES_MAX, &[]);
    rig.send_body("src", &vec![0; OUTGOING_BYTES_MAX as usize / 3], None);
    let next = |rig: &mut Rig| {
        let message = rig.hub.poll_transmit(client, limits::PIECE_BYTES_MIN);
        rig.drain();
        message
    };
    let mut begun = 0;
    while let Some(message) = next(&mut rig) {
        begun += u32::from(matches!(message, Message::Grant(_)));
        if matches!(message, Message::Chunk(_)) {
            break;
        }
    }
    assert_eq!(begun, 1);
    for _ in 0..3 {
        rig.send();
    }
    rig.send_body("src", &vec![0; OUTGOING_BYTES_MAX as usize / 3], None);
    let granted = (0..12).filter(|_| matches!(next(&mut rig), Some(Message::Grant(_)))).count();
    assert_eq!(granted, 3);
    assert!(rig.hub.bytes_out() < OUTGOING_BYTES_MAX / 2, "{} are out", rig.hub.bytes_out());
}

/// What a client's socket takes next over a slow link.
fn take_next(rig: &mut Rig, client: ConnId) -> Option<Message> {
    let message = rig.hub.poll_transmit(client, limits::PIECE_BYTES_MIN);
    rig.pass(Duration::ZERO);
    message
}

/// How many small webhooks come among so many messages; they are delivered at once.
fn small_delivered(rig: &mut Rig, client: ConnId, messages: usize) -> usize {
    let mut count = 0;
    for _ in 0..messages {
        if let Some(Message::Grant(grant)) = take_next(rig, client)
            && grant.body_bytes < 100
        {
            rig.report(client, lease_of(&grant), &outcome(Class::Delivered));
            count += 1;
        }
    }
    count
}

/// I15: over a slow link what is small goes at once, however many large ones of the same client wait for room or for a slot,
/// and whether it came before or after its client. The large ones go on.
#[test]
fn small_webhooks_wait_for_no_large_ones_of_their_client() {
    for (count, bytes) in [(5, 10 << 20), (12, 4 << 20), (60, 100_000)] {
        let mut rig = Rig::new();
        let large = vec![0; bytes];
        for _ in 0..count {
            rig.send_body("src", &large, None);
        }
        rig.send();
        rig.send();
        let client = ConnId(1);
        rig.deaf.insert(client);
        rig.join(1, 7, 8);
        assert_eq!(small_delivered(&mut rig, client, 20), 2, "{count} x {bytes}: behind them in the store");
        for _ in 0..3 {
            rig.send();
            assert_eq!(small_delivered(&mut rig, client, 10), 1, "{count} x {bytes}: just now");
        }
        let mut whole = 0;
        rig.deaf.clear();
        let mut begun = BTreeMap::new();
        while whole < count {
            let Some(message) = rig.hub.poll_transmit(client, limits::CHUNK_BYTES) else { panic!("nothing goes") };
            rig.pass(Duration::ZERO);
            let (lease, to) = match message {
                Message::Grant(grant) => (lease_of(&grant), grant.body.len()),
                Message::Chunk(chunk) => {
                    let lease =
                        relay_core::wire::codec::required_lease(chunk.lease.as_ref()).expect("it names its lease");
                    (lease, chunk.offset as usize + chunk.data.len())
                }
                _ => continue,
            };
            begun.insert(lease, to);
            if to == bytes {
                whole += 1;
                rig.report(client, lease, &outcome(Class::Delivered));
            }
        }
        assert!(begun.len() >= count, "every large one went");
    }
}

/// I15: no more of what is large is kept from other clients than helps what is small behind it, nor for longer than a lease;
/// what is small and comes then goes out all the same.
#[test]
fn few_large_ones_wait_for_a_slot_and_not_for_ever() {
    let mut rig = Rig::new();
    for _ in 0..100 {
        rig.send_body("src", &vec![0; 70_000], None);
    }
    let client = ConnId(1);
    rig.deaf.insert(client);
    rig.join(1, 7, 8);
    let leased = rig.count(State::Leased);
    assert!((limits::PARKED_MAX..limits::PARKED_MAX + 16).contains(&leased), "{leased} are leased");
    rig.send();
    assert_eq!(small_delivered(&mut rig, client, 20), 1);
    for _ in 0..5 {
        rig.pass(limits::LEASE / 4);
        rig.heartbeat(client, &[]);
    }
    let losses: u32 = rig.store.deliveries().iter().map(|delivery| delivery.losses).sum();
    assert_eq!(losses, 0);
    let other = rig.join(2, 8, 8);
    assert!(!rig.grants(other).is_empty(), "another client has its part");
    rig.input(Input::Closed(client));
    assert!(rig.count(State::Leased) <= limits::PARKED_MAX + 16, "what was parked is back");
    rig.hub.check_invariants();
}

/// I15, I16: heads take memory too. Webhooks without a body, whose clients do not read, stay within the same bound.
#[test]
fn heads_count_against_what_goes_out() {
    let mut rig = Rig::new();
    rig.field = vec![b'x'; 30 * 1024].into();
    rig.deaf.insert(ConnId(1));
    rig.join(1, 7, limits::CONCURRENCY_MAX);
    for _ in 0..3_000 {
        rig.send_body("src", b"", None);
    }
    let taken = rig.hub.bytes_out();
    assert!((OUTGOING_BYTES_MAX / 8..=OUTGOING_BYTES_MAX / 4).contains(&taken), "{taken} of {OUTGOING_BYTES_MAX}");
}

/// A pause holds back what is not leased; what a client holds is finished.
#[test]
fn a_paused_destination_finishes_what_is_leased() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    let open = rig.routing.clone();
    rig.routing.paused.insert(name("crm"));
    rig.input(Input::Routing(std::sync::Arc::new(rig.routing.clone())));
    rig.report(client, lease, &outcome(Class::Rejected));
    assert_eq!(rig.count(State::Scheduled), 1);
    rig.pass(Duration::from_mins(10));
    rig.received(client);
    assert_eq!(rig.count(State::Scheduled), 1, "and no further try");
    let client = rig.join(2, 7, 4);
    assert!(rig.grants(client).is_empty());
    rig.input(Input::Routing(std::sync::Arc::new(open)));
    let again = lease_of(&rig.grant(client));
    rig.report(client, again, &outcome(Class::Delivered));
    assert_eq!(rig.count(State::Delivered), 1);
}

/// I10: without a route the operator's own defaults hold, not the program's.
#[test]
fn deliveries_of_a_deleted_route_have_the_operators_defaults() {
    let mut rig = Rig::new();
    rig.send();
    rig.routing.routes.clear();
    rig.routing.standard_retry.max_retries = 0;
    rig.input(Input::Routing(std::sync::Arc::new(rig.routing.clone())));
    let client = rig.join(1, 7, 4);
    let lease = lease_of(&rig.grant(client));
    rig.report(client, lease, &outcome(Class::Rejected));
    assert_eq!(rig.count(State::Dead), 1, "no retries are the operator's default");
}

/// I13, I20: so do they for what a repeat redrives: it lives as long as they say.
#[test]
fn a_redrive_of_a_deleted_route_has_the_operators_ttl() {
    const STANDARD: Duration = Duration::from_hours(5);
    let retry = RetryPolicy { max_retries: 0, ..RetryPolicy::default() };
    let mut rig = Rig::with_routes(&[("src", "crm")], &retry);
    let client = rig.join(1, 7, 4);
    rig.send_body("src", b"a", Some([1; 32]));
    let lease = lease_of(&rig.grant(client));
    rig.report(client, lease, &outcome(Class::Rejected));
    assert_eq!(rig.count(State::Dead), 1);
    let route = &mut rig.routing.routes.get_mut(&name("src")).expect("is there")[0];
    route.destination = name("erp");
    rig.routing.standard_ttl = STANDARD;
    rig.input(Input::Routing(std::sync::Arc::new(rig.routing.clone())));
    rig.pass(Duration::from_secs(3));
    rig.send_body("src", b"a", Some([1; 32]));
    let redriven = rig.only();
    assert_eq!((redriven.destination.as_str(), redriven.expires_at), ("crm", rig.now.wall + STANDARD));
}

/// I1: a route that is deleted takes nothing along: what it made is delivered, under the default policy.
#[test]
fn deliveries_of_a_deleted_route_are_still_delivered() {
    let mut rig = Rig::new();
    rig.send();
    rig.routing.routes.clear();
    rig.input(Input::Routing(std::sync::Arc::new(rig.routing.clone())));
    let client = rig.join(1, 7, 4);
    let lease = lease_of(&rig.grant(client));
    rig.report(client, lease, &outcome(Class::Rejected));
    assert_eq!(rig.count(State::Scheduled), 1, "the default policy retries");
    rig.pass(Duration::from_secs(2));
    let lease = lease_of(&rig.grant(client));
    rig.report(client, lease, &outcome(Class::Delivered));
    assert_eq!(rig.count(State::Delivered), 1);
}

#[test]
fn nothing_of_a_paused_destination_is_leased() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    let open = rig.routing.clone();
    rig.routing.paused.insert(name("crm"));
    rig.input(Input::Routing(std::sync::Arc::new(rig.routing.clone())));
    rig.send();
    assert!(rig.grants(client).is_empty());
    rig.input(Input::Routing(std::sync::Arc::new(open)));
    assert_eq!(rig.grants(client).len(), 1);
}

/// What the store was asked for before its destination was paused comes afterwards: it is handed back.
#[test]
fn what_was_being_leased_when_its_destination_was_paused_is_handed_back() {
    let mut rig = Rig::new();
    rig.send();
    rig.prompt = false;
    let client = rig.join(1, 7, 4);
    let open = rig.routing.clone();
    rig.routing.paused.insert(name("crm"));
    rig.input(Input::Routing(std::sync::Arc::new(rig.routing.clone())));
    rig.prompt = true;
    rig.answer_store();
    assert!(rig.grants(client).is_empty());
    assert_eq!((rig.count(State::Ready), rig.only().tries), (1, 0));
    rig.input(Input::Routing(std::sync::Arc::new(open)));
    assert_eq!(rig.grants(client).len(), 1);
}

#[test]
fn work_announced_from_outside_is_leased() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.report(client, lease, &outcome(Class::Delivered));
    rig.edit(lease.0, |record| (record.state, record.version) = (State::Ready, record.version + 1));
    rig.received(client);
    rig.input(Input::Woken(name("crm")));
    assert_eq!(rig.grants(client).len(), 1);
}

/// I15: a large body that waits at a paused destination does not make the others ask one after the other.
#[test]
fn what_does_not_fit_at_a_paused_destination_holds_up_no_other() {
    let routes = [("a", "tall"), ("b", "second"), ("c", "third")];
    let mut rig = Rig::with_routes(&routes, &RetryPolicy::default());
    let client = rig.join_with(1, 7, &[("tall", 2), ("second", 2), ("third", 2)], limits::CLIENT_BUFFER, &[]);
    rig.send_body("b", &[1; 10], None);
    rig.send_body("a", &vec![1; limits::CLIENT_BUFFER as usize], None);
    let small = rig.grant(client);
    rig.routing.paused = ["tall", "second", "third"].into_iter().map(name).collect();
    rig.input(Input::Routing(std::sync::Arc::new(rig.routing.clone())));
    rig.report(client, lease_of(&small), &outcome(Class::Delivered));
    rig.send_body("b", &[1; 10], None);
    rig.send_body("c", &[1; 10], None);
    rig.prompt = false;
    rig.routing.paused = [name("tall")].into();
    rig.input(Input::Routing(std::sync::Arc::new(rig.routing.clone())));
    let asks = rig.pending.iter().filter(|ask| matches!(ask, relay_core::storage::StoreOp::Lease(_))).count();
    assert_eq!(asks, 2, "both are asked for at the same time");
}

/// I15: clients that have begun to take a large body and take no more give its room to one that takes what it gets, and each goes
/// on with the next byte, under the same lease, once it takes something again.
#[test]
fn what_has_begun_to_leave_is_taken_back_and_goes_on_where_it_was() {
    let names: Vec<String> = (2..8).map(|number| format!("stuck-{number}")).collect();
    let mut routes: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    routes.push(("works", "works"));
    let mut rig = Rig::with_routes(&routes, &RetryPolicy::default());
    let mut large = vec![7; OUTGOING_BYTES_MAX as usize / 6];
    large.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at / 1_000) as u8);
    let mut got: BTreeMap<ConnId, (relay_core::wire::codec::LeaseKey, Vec<u8>)> = BTreeMap::new();
    for (number, name) in (2..8).zip(&names) {
        let conn = ConnId(number);
        rig.deaf.insert(conn);
        rig.join_with(number, number.into(), &[(name, 8)], limits::CLIENT_BUFFER, &[]);
        rig.send_body(name, &large, None);
        if let Some(grant) = (0..4).find_map(|_| match rig.hub.poll_transmit(conn, limits::PIECE_BYTES_MIN) {
            Some(Message::Grant(grant)) => Some(grant),
            _ => None,
        }) {
            got.insert(conn, (lease_of(&grant), grant.body.to_vec()));
        }
    }
    assert!(got.len() >= 5, "{} have begun", got.len());
    let works = rig.join_with(1, 1, &[("works", 8)], limits::CLIENT_BUFFER, &[]);
    assert_eq!(delivered_beside(&mut rig, works, &large), 20);
    // They take again, as fast as it comes, whoever has the room.
    for _ in 0..60 {
        for conn in (2..8).map(ConnId) {
            while let Some(message) = rig.hub.poll_transmit(conn, limits::CHUNK_BYTES) {
                match message {
                    Message::Grant(grant) => {
                        got.insert(conn, (lease_of(&grant), grant.body.to_vec()));
                    }
                    Message::Chunk(chunk) => {
                        let (lease, body) = got.get_mut(&conn).expect("it has begun");
                        let key = relay_core::wire::codec::required_lease(chunk.lease.as_ref());
                        assert_eq!(
                            (key.ok(), chunk.offset),
                            (Some(*lease), body.len() as u64),
                            "it goes on where it was"
                        );
                        body.extend_from_slice(&chunk.data);
                    }
                    Message::Release(_) => panic!("nothing is taken from anybody but room"),
                    _ => {}
                }
            }
            rig.heartbeat(conn, &[]);
        }
        rig.pass(Duration::from_secs(1));
    }
    assert_eq!(got.len(), 6);
    for (conn, (lease, body)) in got {
        assert!(body == large, "{conn:?} has {} bytes of {}", body.len(), large.len());
        rig.report(conn, lease, &outcome(Class::Delivered));
    }
    assert_eq!(rig.count(State::Delivered), 26);
}

/// I8: what is leased for a client that has said goodbye meanwhile goes to others at once, also where it has no slot for it: nothing
/// frees one any more.
#[test]
fn a_large_lease_for_a_client_that_leaves_is_handed_back() {
    let mut rig = Rig::new();
    let large = vec![b'x'; 200_000];
    rig.send_body("src", &large, None);
    // The first takes the only slot for large ones until it is read.
    rig.trouble(Trouble::Bodies, StoreError::TooSlow { after: Duration::from_secs(1) });
    let client = rig.join(1, 7, 2);
    rig.prompt = false;
    rig.send_body("src", &large, None);
    rig.asked.clear();
    while !rig.asked.contains(&"lease") {
        assert!(rig.answer_one(), "the second is to be leased");
    }
    rig.input(Input::Received(client, Message::GoAway(GoAway::default())));
    rig.prompt = true;
    rig.answer_store();
    assert_eq!((rig.count(State::Leased), rig.count(State::Ready)), (0, 2));
}
