//! Several servers on one store: who ends which lease, what counts as lost, what they know of each other.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use relay_core::{
    delivery::{Delivery, State, outcome::Class},
    event::Event,
    hub::{Answer, ConnId, Input},
    id::{DeliveryId, EventId, IdMint},
    limits,
    partitions::Partitions,
    storage::{Appended, StoreError, StoreOp, Stored},
    wire::{
        codec::LeaseKey,
        message::{GoAway, Message},
    },
};
use relay_store::{memory::Trouble, seam::Queue as _};

use crate::rig::{PARTITIONS, Rig, START, keys, lease_of, name, outcome};

const STEP: Duration = Duration::from_millis(100);

/// Lets time pass at both.
fn pass(rigs: &mut [Rig; 2], span: Duration) {
    for _ in 0..span.as_millis() / STEP.as_millis() {
        for rig in &mut *rigs {
            rig.pass(STEP);
        }
    }
}

/// A client says Hello, and names what it holds.
fn come(rig: &mut Rig, conn: u64, held: &[LeaseKey]) -> ConnId {
    rig.join_with(conn, 7, &[("crm", 4)], limits::CLIENT_BUFFER, held)
}

/// What its Welcome says that it may go on with, and how many others serve its destination.
fn welcomed(rig: &mut Rig, conn: ConnId) -> (Vec<LeaseKey>, u32) {
    let welcome = rig.received(conn).into_iter().find_map(|message| match message {
        Message::Welcome(welcome) => Some(welcome),
        _ => None,
    });
    let welcome = welcome.expect("a Welcome");
    (keys(&welcome.resumed), welcome.destinations[0].others)
}

/// I7, I8: what a client names at another server stays its own, and its old server has no say in it.
#[test]
fn a_client_keeps_its_leases_where_it_goes() {
    let mut rigs = Rig::sharing();
    let client = rigs[0].join(1, 7, 4);
    rigs[0].send();
    let lease = lease_of(&rigs[0].grant(client));
    let token = rigs[0].only().token;
    rigs[0].input(Input::Closed(client));
    let again = come(&mut rigs[1], 1, &[lease]);
    assert_eq!(welcomed(&mut rigs[1], again).0, [lease]);
    let adopted = rigs[1].only();
    assert_eq!(adopted.token, token);
    assert_ne!(adopted.claim().keeper, token.nonce);
    for _ in 0..8 {
        pass(&mut rigs, Duration::from_secs(10));
        rigs[1].heartbeat(again, &[lease]);
    }
    assert_eq!((rigs[1].only().state, rigs[1].only().token), (State::Leased, token));
    rigs[1].report(again, lease, &outcome(Class::Delivered));
    let done = rigs[1].only();
    assert_eq!((done.state, done.losses, done.unheard, done.tries), (State::Delivered, 0, 0, 1));
}

/// I8: it is adopted only once that is durable, and whoever comes meanwhile waits for his Welcome.
#[test]
fn nobody_is_welcomed_before_what_it_names_is_adopted() {
    let mut rigs = Rig::sharing();
    let client = rigs[0].join(1, 7, 4);
    rigs[0].send();
    let lease = lease_of(&rigs[0].grant(client));
    rigs[0].input(Input::Closed(client));
    rigs[1].trouble(Trouble::Held, StoreError::Away);
    let again = come(&mut rigs[1], 1, &[lease]);
    rigs[1].pass(Duration::from_secs(2));
    assert!(rigs[1].received(again).is_empty());
    rigs[1].no_trouble();
    rigs[1].prompt = false;
    rigs[1].pass(Duration::from_secs(2));
    while let Some(at) = rigs[1].pending.iter().position(|ask| !matches!(ask, StoreOp::Settle(_))) {
        rigs[1].pending.rotate_left(at);
        rigs[1].answer_one();
    }
    assert!(rigs[1].received(again).is_empty(), "it is not adopted yet");
    rigs[1].prompt = true;
    rigs[1].answer_store();
    assert_eq!(welcomed(&mut rigs[1], again).0, [lease]);
}

/// I8: what it does not name is handed back where it comes.
#[test]
fn what_a_client_does_not_name_elsewhere_is_handed_back() {
    let mut rigs = Rig::sharing();
    let client = rigs[0].join(1, 7, 4);
    rigs[0].send();
    let lease = lease_of(&rigs[0].grant(client));
    rigs[0].input(Input::Closed(client));
    let again = come(&mut rigs[1], 1, &[]);
    let grant = rigs[1].grant(again);
    assert_eq!((lease_of(&grant).0, grant.attempt), (lease.0, 2));
    pass(&mut rigs, limits::LEASE / 2);
    assert_eq!((rigs[1].only().state, rigs[1].only().losses), (State::Leased, 0));
}

/// I24: a hint names what it likes: of destinations that nobody knows nothing is kept, and what is due there is found by looking.
#[test]
fn hints_of_unknown_destinations_are_not_remembered() {
    let [mut rig, mut other] = Rig::sharing();
    let known = rig.hub.view().len();
    for number in 0..10_000 {
        rig.input(Input::Woken(name(&format!("d{number}"))));
    }
    assert_eq!(rig.hub.view().len(), known);
    // What another knows of, and this one not yet.
    let mut routing = other.routing.clone();
    routing.routes.insert(
        name("new"),
        vec![relay_core::routing::Route { destination: name("d7"), ..routing.routes[&name("src")][0].clone() }],
    );
    other.input(Input::Routing(Arc::new(routing)));
    other.send_body("new", b"{}", None);
    let client = rig.join_with(1, 7, &[("d7", 4)], limits::CLIENT_BUFFER, &[]);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.grants(client).len(), 1);
}

/// I7, I8: a part that is read again while it is being read: the last page of the first reading, which is empty, drops nothing that stands.
#[test]
fn a_part_that_is_being_read_is_not_begun_anew() {
    let [mut rig, _] = Rig::sharing();
    let client = rig.join(1, 7, 8);
    for _ in 0..8 {
        rig.send();
    }
    let held: Vec<LeaseKey> = rig.grants(client).iter().map(lease_of).collect();
    assert_eq!(held.len(), 8);
    // It says nothing for so long that its leases are to be moved when it comes again, beside the socket that it has lost.
    rig.pass(limits::LEASE * 6 / 10);
    let slow = Partitions::only(held[0].0.partition().number() % PARTITIONS, PARTITIONS);
    let reads = |op: &StoreOp| matches!(op, StoreOp::Held(held) if held.ask.partitions == slow);
    let reads_on =
        |op: &StoreOp| matches!(op, StoreOp::Held(held) if held.ask.partitions == slow && held.ask.after.is_some());
    rig.prompt = false;
    rig.trouble(Trouble::Settle, StoreError::Away);
    let again = rig.join_with(2, 7, &[("crm", 8)], limits::CLIENT_BUFFER, &held);
    // Nothing can be moved, so each part is to be read again; one of them is not read to its end yet.
    let mut last_page = None;
    while let Some(op) = rig.pending.pop_front() {
        if reads_on(&op) {
            last_page = Some(op);
        } else {
            rig.pending.push_front(op);
            rig.answer_one();
        }
    }
    rig.no_trouble();
    rig.pass(limits::STORE_RETRY);
    rig.pending.push_front(last_page.expect("its first page was read"));
    rig.answer_one();
    // All others are read before it is once more.
    while let Some(at) = rig.pending.iter().position(|op| !reads(op)) {
        rig.pending.rotate_left(at);
        rig.answer_one();
    }
    rig.prompt = true;
    rig.answer_store();
    rig.pass(Duration::from_secs(3));
    let mut resumed = welcomed(&mut rig, again).0;
    resumed.sort_unstable();
    let mut wanted = held.clone();
    wanted.sort_unstable();
    assert_eq!(resumed, wanted, "what it holds stands");
    for lease in &held {
        rig.report(again, *lease, &outcome(Class::Delivered));
    }
    assert_eq!(rig.count(State::Delivered), 8);
}

/// I7, I10: who has said that he is back, and waits for the store for longer than the grace, loses nothing by that: nobody is charged for what
/// this server makes him wait for, nor is it given to others while he goes on with it.
#[test]
fn who_waits_for_the_store_is_back() {
    let [mut rig, _] = Rig::sharing();
    let client = rig.join(1, 7, 8);
    rig.send();
    let held = vec![lease_of(&rig.grant(client))];
    rig.input(Input::Closed(client));
    rig.prompt = false;
    let again = rig.join_with(2, 7, &[("crm", 8)], limits::CLIENT_BUFFER, &held);
    rig.pass(limits::RESUME_GRACE + Duration::from_secs(1));
    assert!(rig.grants(again).is_empty() && rig.only().state == State::Leased);
    rig.prompt = true;
    rig.answer_store();
    rig.pass(Duration::from_secs(2));
    assert_eq!(welcomed(&mut rig, again).0, held);
    assert_eq!((rig.only().token, rig.only().unheard), (held[0].1, 0));
    rig.report(again, held[0], &outcome(Class::Delivered));
    assert_eq!(rig.count(State::Delivered), 1);
}

/// I11: a loss whose answer does not come is counted once, though the record goes on and another of its leases is not over.
#[test]
fn a_loss_that_is_not_answered_is_counted_once() {
    let [mut rig, _] = Rig::sharing();
    for instance in [7, 8] {
        let client = rig.join(u64::try_from(instance).unwrap(), instance, 4);
        if instance == 7 {
            rig.send();
        }
        rig.grant(client);
        rig.input(Input::Closed(client));
        rig.pass(limits::LEASE / 2);
    }
    let counted = |record: &Delivery| (record.unheard, record.losses);
    while rig.only().losses == 0 {
        // Done, and not answered.
        rig.trouble(Trouble::Settle, StoreError::Unknown);
        assert_eq!(counted(&rig.only()), (2, 0), "both wait for their ends");
        rig.pass(STEP);
    }
    rig.no_trouble();
    let record = rig.only();
    assert_eq!(counted(&record), (1, 1));
    rig.edit(record.id, |record| record.version += 1);
    rig.pass(limits::STORE_RETRY * 3);
    assert_eq!(counted(&rig.only()), (1, 1), "the other's end has not come");
    rig.pass(limits::LEASE);
    assert_eq!(counted(&rig.only()), (0, 2));
}

/// I21: a lease is its instance's, wherever somebody else names it.
#[test]
fn nobody_else_adopts_a_lease() {
    let mut rigs = Rig::sharing();
    let client = rigs[0].join(1, 7, 4);
    rigs[0].send();
    let lease = lease_of(&rigs[0].grant(client));
    let other = rigs[1].join_with(1, 8, &[("crm", 4)], limits::CLIENT_BUFFER, &[lease]);
    assert_eq!(welcomed(&mut rigs[1], other).0, []);
    pass(&mut rigs, limits::RESUME_GRACE);
    assert_eq!(rigs[0].only().token, lease.1);
}

/// I8, I11: a server that starts leaves the leases of others alone.
#[test]
fn leases_of_a_live_server_are_not_taken_over() {
    let mut rigs = Rig::sharing();
    let client = rigs[0].join(1, 7, 4);
    rigs[0].send();
    let lease = lease_of(&rigs[0].grant(client));
    rigs[1].crash();
    let other = rigs[1].join(1, 8, 4);
    for _ in 0..9 {
        pass(&mut rigs, Duration::from_secs(10));
        rigs[0].heartbeat(client, &[lease]);
        rigs[1].heartbeat(other, &[]);
    }
    assert_eq!((rigs[0].only().state, rigs[0].only().token), (State::Leased, lease.1));
    assert!(rigs[1].grants(other).is_empty());
}

/// I8, I11: of a server that is gone each lease lapses, and counts nothing.
#[test]
fn leases_of_a_dead_server_lapse() {
    let [mut dead, mut rig] = Rig::sharing();
    let client = dead.join(1, 7, 4);
    dead.send();
    let lease = lease_of(&dead.grant(client));
    let other = rig.join(1, 8, 4);
    let late = limits::LAPSE_AFTER + limits::DUE_EVERY;
    for part in [limits::LEASE / 3; 3] {
        rig.pass(part);
        rig.heartbeat(other, &[]);
    }
    rig.pass(Duration::from_secs(1));
    assert!(rig.grants(other).is_empty());
    rig.pass(late);
    let grant = rig.grant(other);
    assert_eq!((lease_of(&grant).0, grant.attempt), (lease.0, 2));
    assert_eq!(rig.only().losses, 0);
}

/// I11: nothing is lost by a client that is at another server.
#[test]
fn a_loss_counts_only_if_the_client_is_nowhere() {
    for elsewhere in [true, false] {
        let mut rigs = Rig::sharing();
        let client = rigs[0].join(1, 7, 4);
        rigs[0].send();
        rigs[0].received(client);
        rigs[0].input(Input::Closed(client));
        pass(&mut rigs, limits::RESUME_GRACE + STEP);
        assert_eq!(rigs[0].only().state, State::Ready, "it is released");
        pass(&mut rigs, Duration::from_secs(20));
        if elsewhere {
            rigs[1].join_with(1, 7, &[("erp", 4)], limits::CLIENT_BUFFER, &[]);
        }
        // A socket that is half open is noticed by then.
        pass(&mut rigs, limits::LEASE);
        let lost = u32::from(!elsewhere);
        assert_eq!(rigs[0].only().losses, lost, "elsewhere: {elsewhere}");
    }
}

/// I11: no loss is counted while the store does not say who is where.
#[test]
fn a_loss_waits_for_word_of_the_others() {
    let mut rigs = Rig::sharing();
    let client = rigs[0].join(1, 7, 4);
    rigs[0].send();
    rigs[0].received(client);
    rigs[0].input(Input::Closed(client));
    rigs[0].trouble(Trouble::Presence, StoreError::Away);
    pass(&mut rigs, limits::LEASE * 2);
    assert_eq!(rigs[0].only().losses, 0);
    rigs[0].no_trouble();
    pass(&mut rigs, Duration::from_secs(2));
    assert_eq!(rigs[0].only().losses, 1);
}

/// I20: somebody pressed Resend once, and the platform sent it to both.
#[test]
fn one_press_that_reaches_two_servers_is_one() {
    let mut rigs = Rig::sharing();
    let client = rigs[0].join(1, 7, 4);
    rigs[0].resend(b"a", [1; 32]);
    let lease = lease_of(&rigs[0].grant(client));
    rigs[0].report(client, lease, &outcome(Class::Delivered));
    rigs[0].input(Input::Closed(client));
    pass(&mut rigs, limits::RESUME_GRACE * 2);
    let tickets = [0, 1].map(|at| {
        rigs[at].prompt = false;
        let ticket = rigs[at].resend(b"a", [1; 32]);
        while !matches!(rigs[at].pending.front(), Some(StoreOp::Replay(_))) {
            assert!(rigs[at].answer_one(), "each decides to make one");
        }
        ticket
    });
    for rig in &mut rigs {
        rig.prompt = true;
        rig.answer_store();
    }
    let made: Vec<Delivery> = rigs[0].store.deliveries().into_iter().filter(|made| made.replay).collect();
    assert_eq!(made.len(), 1);
    for (rig, ticket) in rigs.iter().zip(tickets) {
        assert!(matches!(rig.answers[&ticket], Answer::Accepted { repeat: true, .. }));
    }
}

/// I10, I11: an outage that two servers see charges nothing, however their counts leapfrog.
#[test]
fn an_outage_seen_by_two_servers_charges_nothing() {
    let mut rigs = Rig::sharing();
    let mut clients = [rigs[0].join(1, 7, 1), rigs[1].join(2, 8, 1)];
    let deliver = |rigs: &mut [Rig; 2], clients: [ConnId; 2], at: usize, times: usize| {
        for _ in 0..times {
            rigs[at].send();
            let lease = lease_of(&rigs[at].grant(clients[at]));
            rigs[at].report(clients[at], lease, &outcome(Class::Delivered));
        }
    };
    deliver(&mut rigs, clients, 0, 3);
    deliver(&mut rigs, clients, 1, 7);
    pass(&mut rigs, Duration::from_secs(5));
    rigs[0].send();
    // Whoever gets it, it fails there; in turn at both.
    let (mut tried, second) = ([0; 2], clients[1]);
    for _ in 0..200 {
        pass(&mut rigs, Duration::from_secs(1));
        // Now one is the first to look, now the other.
        rigs.swap(0, 1);
        clients.swap(0, 1);
        for (at, client) in clients.into_iter().enumerate() {
            for grant in rigs[at].grants(client) {
                tried[usize::from(client == second)] += 1;
                rigs[at].report(client, lease_of(&grant), &outcome(Class::Busy));
            }
            rigs[at].heartbeat(client, &[]);
        }
    }
    let open = rigs[0].store.deliveries().into_iter().find(|found| found.state.is_open()).expect("it is tried still");
    assert!(tried.iter().all(|times| *times > 0), "both saw it: {tried:?}");
    assert_eq!(open.attempts, 0, "{open:?}");
}

/// I24: each counts the clients of all.
#[test]
fn clients_of_other_servers_are_counted() {
    let mut rigs = Rig::sharing();
    let first = rigs[0].join(1, 7, 4);
    pass(&mut rigs, limits::PRESENCE_EVERY + STEP);
    let second = rigs[1].join(1, 8, 4);
    assert_eq!(welcomed(&mut rigs[1], second).1, 1);
    rigs[0].received(first);
    pass(&mut rigs, limits::PRESENCE_EVERY + STEP);
    let told = rigs[0].received(first);
    assert!(told.iter().any(|said| matches!(said, Message::Peers(peers) if peers.clients == 2)), "{told:?}");
    assert_eq!(rigs[0].hub.view()[0].elsewhere, 1);
    assert_eq!(rigs[0].hub.clients_elsewhere(), 1);
    let others = rigs[0].hub.servers();
    assert_eq!((others.len(), others[0].clients, &*others[0].about.version), (1, 1, "test"));
    rigs[1].input(Input::Closed(second));
    rigs[1].pass(limits::PRESENCE_EVERY * 3);
    pass(&mut rigs, limits::PRESENCE_EVERY * 3);
    assert_eq!(rigs[0].hub.view()[0].elsewhere, 0);
}

/// All servers find the same runs of each other, and one that is gone is one of them no longer than it may be silent.
#[test]
fn each_knows_which_runs_there_are() {
    let mut rigs = Rig::sharing();
    pass(&mut rigs, limits::PRESENCE_EVERY + STEP);
    let runs = rigs[0].hub.runs();
    assert_eq!((runs.len(), &runs), (2, &rigs[1].hub.runs()));
    assert!(runs.is_sorted());
    rigs[1].crash();
    pass(&mut rigs, limits::PRESENCE_GONE + limits::PRESENCE_EVERY);
    assert_eq!((rigs[0].hub.runs().len(), rigs[0].hub.runs()), (2, rigs[1].hub.runs()));
    assert_ne!(rigs[0].hub.runs(), runs);
    assert_eq!(Rig::new().hub.runs().len(), 1);
}

/// I1: a store may give an event another id than the one that was minted; whoever hears of it hears that one.
#[test]
fn an_event_may_be_stored_under_another_id() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.prompt = false;
    let ticket = rig.send();
    let Some(StoreOp::Append(asked)) = rig.pending.pop_front() else { panic!("an append") };
    let (append, receipt) = asked.take();
    let mut other = *append;
    let id: EventId = IdMint::new(1 << 40, 9).event(rig.now.wall);
    other.event = Arc::new(Event { id, ..Event::clone(&other.event) });
    let delivery = IdMint::new(1 << 41, 9).delivery(rig.now.wall).beside(id);
    other.deliveries[0] = Delivery { id: delivery, event: id, ..other.deliveries[0].clone() };
    let deliveries = other.deliveries.clone();
    drop(rig.store.append(vec![other]));
    let answer = receipt.answered(Ok(Appended::Stored { event: id, deliveries }));
    rig.prompt = true;
    rig.input(Input::Stored(Stored::Append(answer)));
    assert!(matches!(rig.answers[&ticket], Answer::Accepted { event, repeat: false, .. } if event == id));
    let grant = rig.grant(client);
    assert_eq!(lease_of(&grant).0, delivery);
    assert_eq!(grant.event[..], id.as_u128().to_be_bytes());
    rig.report(client, lease_of(&grant), &outcome(Class::Delivered));
    assert_eq!(rig.delivery(delivery).state, State::Delivered);
}

/// I7, I8: whoever kept a lease before is told so when it moves the end, and says nothing more of it: its client is at another
/// server, which alone moves the end and ends it.
#[test]
fn a_lease_that_is_anothers_by_now_is_dropped_in_silence() {
    let mut rigs = Rig::sharing();
    let old = rigs[0].join(1, 7, 4);
    rigs[0].send();
    let lease = lease_of(&rigs[0].grant(old));
    pass(&mut rigs, Duration::from_secs(20));
    // Its old socket is half open: nothing was heard of its end.
    let new = come(&mut rigs[1], 1, &[lease]);
    assert_eq!(welcomed(&mut rigs[1], new).0, [lease]);
    let adopted = rigs[1].only();
    pass(&mut rigs, Duration::from_secs(1));
    rigs[0].received(old);
    let settled = rigs[0].asked.iter().filter(|kind| **kind == "settle").count();
    rigs[0].heartbeat(old, &[lease]);
    assert_eq!(rigs[0].asked.last(), Some(&"extend"));
    let released = rigs[0].received(old);
    assert!(matches!(&released[..], [Message::Release(release)] if keys(&release.leases) == [lease]), "{released:?}");
    assert_eq!(rigs[1].only(), adopted, "its end is its new keeper's to move");
    pass(&mut rigs, Duration::from_secs(10));
    assert_eq!(rigs[0].asked.iter().filter(|kind| **kind == "settle").count(), settled);
    rigs[1].report(new, lease, &outcome(Class::Delivered));
    let done = rigs[1].only();
    assert_eq!((done.state, done.losses, done.unheard, done.tries), (State::Delivered, 0, 0, 1));
}

/// I8: an end that may not be stored is looked up, and stored once the store can: else another server would hand back what is
/// being forwarded.
#[test]
fn an_end_that_may_not_be_stored_is_stored_soon() {
    // What is answered so the first time is not done, and is done.
    for error in [StoreError::Away, StoreError::Unknown] {
        let mut rigs = Rig::sharing();
        let client = rigs[0].join(1, 7, 4);
        rigs[0].send();
        let lease = lease_of(&rigs[0].grant(client));
        pass(&mut rigs, Duration::from_secs(20));
        rigs[0].trouble(Trouble::Extend, error.clone());
        rigs[0].heartbeat(client, &[lease]);
        let until = rigs[0].now.wall + limits::LEASE;
        pass(&mut rigs, limits::STORE_RETRY * 4);
        let asked = rigs[0].asked.iter().filter(|kind| **kind == "extend").count();
        assert!(asked <= 6, "{error}: asked {asked} times in four seconds");
        rigs[0].no_trouble();
        pass(&mut rigs, limits::STORE_RETRY * 2);
        assert_eq!(rigs[0].only().lease.map(|lease| lease.until), Some(until), "{error}");
        // Behind the end that was stored before.
        for _ in 0..3 {
            pass(&mut rigs, Duration::from_secs(15));
            rigs[0].heartbeat(client, &[]);
        }
        assert_eq!(rigs[1].only().token, lease.1, "{error}");
        rigs[0].report(client, lease, &outcome(Class::Delivered));
        assert_eq!(rigs[0].only().state, State::Delivered, "{error}");
    }
}

/// A lease of which the store knows nothing any more is its client's no longer.
#[test]
fn an_end_that_cannot_be_looked_up_is_dropped() {
    let mut rigs = Rig::sharing();
    let client = rigs[0].join(1, 7, 4);
    rigs[0].send();
    let lease = lease_of(&rigs[0].grant(client));
    pass(&mut rigs, Duration::from_secs(20));
    rigs[0].trouble(Trouble::Extend, StoreError::Away);
    rigs[0].heartbeat(client, &[lease]);
    rigs[0].received(client);
    rigs[0].store.purge_all();
    pass(&mut rigs, limits::STORE_RETRY * 2);
    let heard = rigs[0].received(client);
    assert!(heard.iter().any(|said| matches!(said, Message::Release(release) if keys(&release.leases) == [lease])));
    rigs[0].no_trouble();
    rigs[0].input(Input::Stop);
    assert!(rigs[0].stopped);
}

/// What each of two servers asks the store to end, as it is answered.
fn ended_by(rig: &mut Rig) -> Vec<DeliveryId> {
    let mut ended = Vec::new();
    while let Some(op) = rig.pending.front() {
        if let StoreOp::Settle(changes) = op {
            let expires = changes.ask.iter().filter(|change| change.next.state == State::Expired);
            ended.extend(expires.map(|change| change.next.id));
        }
        rig.answer_one();
    }
    ended
}

/// Sends so many, which expire at once.
fn expire(rig: &mut Rig, count: usize) -> BTreeSet<DeliveryId> {
    let before: BTreeSet<DeliveryId> = rig.store.deliveries().iter().map(|found| found.id).collect();
    for _ in 0..count {
        rig.send();
    }
    let mut new: BTreeSet<DeliveryId> = rig.store.deliveries().iter().map(|found| found.id).collect();
    new.retain(|id| !before.contains(id));
    let now = rig.now.wall;
    for id in &new {
        rig.edit(*id, |record| record.expires_at = now);
    }
    new
}

/// I13: what expires is ended by one of several servers, by its partition; when that one dies another takes over within the time
/// that it may be silent.
#[test]
fn each_partition_has_one_server_that_ends_what_expires() {
    let mut rigs = Rig::sharing();
    pass(&mut rigs, limits::PRESENCE_EVERY + STEP);
    let parts = [0, 1].map(|at| rigs[at].hub.partitions());
    assert!(
        (0..PARTITIONS).all(|place| parts.iter().filter(|part| part.places().any(|own| own == place)).count() == 1)
    );
    assert!(parts.iter().all(|part| !part.is_empty()), "{parts:?}");
    let all = expire(&mut rigs[0], 100);
    let mut ended = BTreeSet::new();
    for _ in 0..20 {
        for (rig, part) in rigs.iter_mut().zip(parts) {
            rig.prompt = false;
            rig.pass(STEP);
            for id in ended_by(rig) {
                assert!(part.hold(id.partition()), "{id} is not among {part:?}");
                assert!(ended.insert(id), "{id} is ended twice");
            }
            rig.prompt = true;
        }
    }
    assert_eq!(ended, all);
    let [mut left, dead] = rigs;
    drop(dead);
    expire(&mut left, 100);
    left.pass(limits::DUE_EVERY * 2);
    assert!(left.count(State::Ready) > 0, "it was heard of a moment ago");
    left.pass(limits::PRESENCE_GONE + limits::PRESENCE_EVERY);
    assert_eq!(left.count(State::Expired), 200);
    assert_eq!(left.hub.partitions().places().count(), usize::from(PARTITIONS));
}

/// I8: what lapses waits for no server that has died and is still heard of, though it was that one's to look after.
#[test]
fn what_lapses_waits_for_no_server_that_has_died() {
    let [mut keeper, mut one, mut other] = Rig::apart([0, 0, 0]);
    let pass = |rigs: &mut [&mut Rig], span: Duration| {
        for _ in 0..span.as_millis() / STEP.as_millis() {
            let passed = rigs[0].now.mono.as_micros() - 1;
            for rig in &mut *rigs {
                rig.store.tell_clock(START + Duration::from_micros(passed) + STEP);
                rig.pass(STEP);
            }
        }
    };
    pass(&mut [&mut keeper, &mut one, &mut other], limits::PRESENCE_EVERY * 2);
    let client = keeper.join(1, 7, 4);
    keeper.send();
    keeper.grant(client);
    pass(&mut [&mut one, &mut other], limits::LEASE.saturating_sub(Duration::from_secs(1)));
    let partition = one.only().id.partition();
    let mut lives = if one.hub.partitions().hold(partition) { other } else { one };
    assert_eq!((lives.hub.runs().len(), lives.only().state), (2, State::Leased));
    pass(&mut [&mut lives], limits::LAPSE_AFTER + Duration::from_secs(4));
    assert!(!lives.hub.partitions().hold(partition), "the other is still heard of");
    assert_eq!((lives.only().state, lives.only().losses), (State::Ready, 0));
}

/// I8, I13: of what others look after only leases are asked for, now and then: a store that looks after its indexes goes by what expires.
#[test]
fn only_leases_of_others_are_asked_for() {
    let mut rigs = Rig::sharing();
    for rig in &mut rigs {
        rig.pass(limits::PRESENCE_EVERY + STEP);
    }
    rigs[0].pass(limits::PRESENCE_EVERY);
    let [rig, _other] = &mut rigs;
    rig.prompt = false;
    let (mut looks, mut farther) = (0, 0);
    for _ in 0..60 {
        rig.pass(STEP);
        let mine = rig.hub.partitions();
        assert!(mine.places().count() < usize::from(PARTITIONS), "the other is heard of");
        while let Some(op) = rig.pending.front() {
            if let StoreOp::Due(due) = op {
                assert_eq!(due.ask.partitions, mine);
                looks += 1;
                farther += u64::from(due.ask.lapsed_in == Partitions::all(PARTITIONS));
            }
            rig.answer_one();
        }
    }
    assert!((looks / 4..looks).contains(&farther), "{farther} of {looks}");
}

/// I13: a server that stops says so, and another has what it looked after before it would have been heard of no more.
#[test]
fn a_server_that_stops_leaves_its_partitions_to_others() {
    let [mut left, mut stopping] = Rig::sharing();
    for rig in [&mut left, &mut stopping] {
        rig.pass(limits::PRESENCE_EVERY + STEP);
    }
    left.pass(limits::PRESENCE_EVERY);
    assert!(!stopping.hub.partitions().is_empty());
    let client = stopping.join(1, 7, 4);
    stopping.input(Input::Stop);
    let leaves = |message: &Message| matches!(message, Message::GoAway(GoAway { elsewhere: true, .. }));
    assert!(stopping.received(client).iter().any(leaves), "its clients need not wait for it");
    assert!(stopping.hub.partitions().is_empty());
    assert!(stopping.stopped);
    left.pass(limits::PRESENCE_EVERY);
    assert_eq!(left.hub.partitions().places().count(), usize::from(PARTITIONS));
    assert_eq!(left.hub.runs().len(), 1);
}

/// I8, I13: before it has heard of the others a server ends nothing that they may be ending.
#[test]
fn a_server_that_has_heard_of_nobody_looks_after_nothing() {
    let mut rigs = Rig::sharing();
    expire(&mut rigs[0], 20);
    rigs[0].trouble(Trouble::Presence, StoreError::Away);
    rigs[0].crash();
    rigs[0].pass(Duration::from_secs(5));
    assert!(rigs[0].hub.partitions().is_empty());
    assert_eq!(rigs[0].count(State::Expired), 0);
    rigs[0].no_trouble();
    rigs[0].pass(limits::PRESENCE_GONE + limits::PRESENCE_EVERY);
    assert_eq!(rigs[0].count(State::Expired), 20);
    assert_eq!(Rig::new().hub.partitions(), Partitions::ALL, "the only one looks after everything at once");
}

/// I7: a client comes back to a server that kept its lease before another one did, and that one hands it back, or it is purged,
/// before it is adopted: the client is not told to go on with it.
#[test]
fn what_could_not_be_adopted_is_not_resumed() {
    for purged in [false, true] {
        let mut rigs = Rig::sharing();
        rigs[0].join(1, 7, 4);
        rigs[0].send();
        let lease = lease_of(&rigs[0].grant(ConnId(1)));
        let new = come(&mut rigs[1], 1, &[lease]);
        assert_eq!(welcomed(&mut rigs[1], new).0, [lease]);
        rigs[0].prompt = false;
        let again = come(&mut rigs[0], 2, &[lease]);
        while !matches!(rigs[0].pending.front(), Some(StoreOp::Settle(_))) {
            assert!(rigs[0].answer_one(), "it decides to adopt it");
        }
        rigs[1].input(Input::Closed(new));
        rigs[1].pass(limits::RESUME_GRACE + STEP);
        assert_eq!(rigs[1].only().state, State::Ready);
        if purged {
            rigs[1].store.purge_all();
        }
        rigs[0].prompt = true;
        rigs[0].answer_store();
        assert_eq!(welcomed(&mut rigs[0], again).0, [], "purged: {purged}");
    }
}

/// I24: whether the others are configured alike is judged by what both have by then.
#[test]
fn a_configuration_that_is_read_anew_is_compared_anew() {
    let mut rigs = Rig::sharing();
    pass(&mut rigs, limits::PRESENCE_EVERY + STEP);
    let alike = |rig: &Rig| rig.hub.servers()[0].same_config;
    assert!(alike(&rigs[0]) && alike(&rigs[1]));
    rigs[0].input(Input::Configured([9; 32]));
    assert!(!alike(&rigs[0]));
    rigs[1].pass(limits::PRESENCE_EVERY + STEP);
    assert!(!alike(&rigs[1]));
    rigs[1].input(Input::Configured([9; 32]));
    assert!(alike(&rigs[1]));
}

/// I7: what is left of an earlier visit is no lease, once another server has ended the one that its client names.
#[test]
fn what_is_left_of_an_earlier_visit_is_not_resumed() {
    let mut rigs = Rig::sharing();
    let client = rigs[0].join(1, 7, 4);
    rigs[0].send();
    let lease = lease_of(&rigs[0].grant(client));
    rigs[0].input(Input::Closed(client));
    // It is adopted at the second, and its client is gone before it is welcome there.
    rigs[1].prompt = false;
    let early = come(&mut rigs[1], 1, &[lease]);
    while !matches!(rigs[1].pending.front(), Some(StoreOp::Settle(_))) {
        assert!(rigs[1].answer_one(), "it decides to adopt it");
    }
    rigs[1].input(Input::Closed(early));
    rigs[1].answer_store();
    let back = come(&mut rigs[0], 2, &[lease]);
    assert_eq!(welcomed(&mut rigs[0], back).0, [lease]);
    rigs[0].input(Input::Closed(back));
    // The first ends it while the second is about to adopt it once more.
    let again = come(&mut rigs[1], 2, &[lease]);
    while !matches!(rigs[1].pending.front(), Some(StoreOp::Settle(_))) {
        assert!(rigs[1].answer_one(), "it decides to adopt it");
    }
    rigs[0].pass(limits::RESUME_GRACE + STEP);
    assert_eq!(rigs[0].only().state, State::Ready);
    rigs[1].prompt = true;
    rigs[1].answer_store();
    assert_eq!(welcomed(&mut rigs[1], again).0, []);
}
