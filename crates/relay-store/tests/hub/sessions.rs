//! Handshake, heartbeats, several clients, tokens, misuse.

use std::{collections::BTreeSet, time::Duration};

use relay_core::{
    delivery::{Delivery, State, Token, outcome::Class, retry::RetryPolicy},
    hub::{ConnId, Input, Notice, Serves},
    id::DeliveryId,
    limits,
    routing::Route,
    wire::{
        codec::{LeaseKey, lease_ref},
        message::{GoAway, Hello, Message, Peers, Welcome},
    },
};

use crate::rig::{Rig, keys, lease_of, name, outcome};

pub(crate) fn welcome(messages: Vec<Message>) -> Welcome {
    let welcome = |message| if let Message::Welcome(welcome) = message { Some(welcome) } else { None };
    messages.into_iter().find_map(welcome).expect("a Welcome")
}

/// A hub whose one delivery is being forwarded: by the instance 7, which came with the token `office`.
pub(crate) fn forwarding() -> (Rig, ConnId, LeaseKey) {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    (rig, client, lease)
}

fn open(rig: &mut Rig, conn: u64, token: &str, serves: Serves) -> ConnId {
    let conn = ConnId(conn);
    rig.input(Input::Opened { conn, token: name(token), serves, peer: String::new() });
    conn
}

/// A client comes with a token and says Hello.
pub(crate) fn connect(rig: &mut Rig, conn: u64, token: &str, serves: Serves, hello: Hello) -> ConnId {
    let conn = open(rig, conn, token, serves);
    rig.input(Input::Received(conn, Message::Hello(hello)));
    conn
}

pub(crate) fn erp_only() -> Serves {
    Serves::Only(BTreeSet::from([name("erp")]))
}

/// Says that it still holds a lease.
pub(crate) fn resuming(instance: u128, destinations: &[&str], lease: LeaseKey) -> Hello {
    Hello { held: vec![lease_ref(lease)], ..hello(instance, destinations) }
}

#[test]
fn a_second_client_of_a_destination_is_announced_on_both_sides() {
    let mut rig = Rig::new();
    let first = rig.join(1, 7, 4);
    let said = welcome(rig.received(first));
    assert_eq!((said.destinations[0].others, said.destinations[0].known), (0, true));
    let second = rig.join(2, 8, 4);
    assert_eq!(welcome(rig.received(second)).destinations[0].others, 1);
    let peers = Message::Peers(Peers { destination: "crm".to_owned(), clients: 2 });
    assert_eq!(rig.received(first), [peers]);
    let joined = |notice: &&Notice| matches!(notice, Notice::ClientJoined { clients: 2, .. });
    assert_eq!(rig.notices.iter().filter(joined).count(), 1);
    let view = rig.hub.view();
    assert_eq!((view[0].clients.len(), view[0].served), (2, true));
}

/// S11: clients that come together are told once how many they are, not each of each other, and all of them right.
#[test]
fn a_storm_of_clients_is_told_once() {
    const CLIENTS: u64 = 200;
    let mut rig = Rig::new();
    let first = rig.join(1, 1, 4);
    rig.received(first);
    for conn in 2..=CLIENTS {
        let opened =
            Input::Opened { conn: ConnId(conn), token: name("office"), serves: Serves::All, peer: String::new() };
        rig.hub.handle(opened, rig.now);
        let said = Message::Hello(hello(conn.into(), &["crm"]));
        rig.hub.handle(Input::Received(ConnId(conn), said), rig.now);
        // Sockets take what is there for them as fast as they can, also amid the storm.
        assert_eq!(rig.hub.poll_transmit(first, limits::CHUNK_BYTES), None, "told amid the storm");
    }
    rig.drain();
    let told = |rig: &mut Rig, conn: u64| {
        let peers = |message| if let Message::Peers(peers) = message { Some(peers.clients) } else { None };
        rig.received(ConnId(conn)).into_iter().filter_map(peers).collect::<Vec<_>>()
    };
    for conn in 1..CLIENTS {
        assert_eq!(told(&mut rig, conn), [CLIENTS as u32], "client {conn}");
    }
    assert!(told(&mut rig, CLIENTS).is_empty(), "the last one knows from its Welcome");
}

/// I24: what clients want to serve and no route leads to is known for as long as they are there, and bounded.
#[test]
fn what_no_route_leads_to_is_shown_while_a_client_wants_it() {
    let mut rig = Rig::new();
    rig.join(1, 8, 4);
    assert!(rig.hub.unrouted(10).is_empty());
    let first = connect(&mut rig, 2, "office", Serves::All, hello(7, &["crm", "erp", "shop"]));
    connect(&mut rig, 3, "home", Serves::All, hello(6, &["erp"]));
    let seen = |rig: &Rig, most| {
        let unrouted = rig.hub.unrouted(most).into_iter();
        unrouted.map(|seen| (seen.destination.to_string(), seen.clients)).collect::<Vec<_>>()
    };
    assert_eq!(seen(&rig, 10), [("erp".to_owned(), 2), ("shop".to_owned(), 1)]);
    assert_eq!(seen(&rig, 1).len(), 1);
    rig.input(Input::Closed(first));
    rig.pass(limits::RESUME_GRACE);
    assert_eq!(seen(&rig, 10), [("erp".to_owned(), 1)]);
}

/// I8: what a client hands back goes to others at once, and its goodbye needs no grace.
#[test]
fn a_client_that_says_goodbye_leaves_at_once() {
    let (mut rig, client, lease) = forwarding();
    let other = rig.join(2, 8, 4);
    rig.input(Input::Received(client, Message::GoAway(GoAway::default())));
    rig.release(client, lease);
    assert_eq!(rig.grants(other).len(), 1);
    rig.input(Input::Closed(client));
    assert_eq!(rig.only().losses, 0);
    assert!(rig.notices.iter().any(|notice| matches!(notice, Notice::ClientLeft { clients: 1, held: 0, .. })));
}

/// I11, I22: the socket of a client that holds nothing any more is closed once all is back that was on its way to it, and nothing is
/// lost with it. One that does not say so closes it itself.
#[test]
fn a_client_that_is_done_is_let_go_once_nothing_is_on_its_way() {
    let (mut rig, client, lease) = forwarding();
    let done = || Message::GoAway(GoAway { done: true, ..GoAway::default() });
    rig.input(Input::Received(client, done()));
    assert!(rig.closed.is_empty(), "the grant crossed its goodbye");
    rig.release(client, lease);
    assert_eq!(rig.closed.iter().map(|(conn, _)| *conn).collect::<Vec<_>>(), [client]);
    rig.pass(Duration::from_secs(120));
    assert_eq!((rig.only().state, rig.only().losses), (State::Ready, 0));
    assert!(rig.notices.iter().any(|notice| matches!(notice, Notice::ClientLeft { clients: 0, .. })));

    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.input(Input::Received(client, Message::GoAway(GoAway::default())));
    rig.pass(Duration::from_secs(1));
    assert!(rig.closed.is_empty());
    rig.input(Input::Received(client, done()));
    assert_eq!(rig.closed.len(), 1);
}

/// I22: a client that stops and loses its socket may still be forwarding: what it did not hand back waits for it.
#[test]
fn a_socket_lost_behind_a_goodbye_leaves_what_is_being_forwarded_to_its_client() {
    let (mut rig, client, lease) = forwarding();
    let other = rig.join(2, 8, 4);
    rig.input(Input::Received(client, Message::GoAway(GoAway::default())));
    rig.input(Input::Closed(client));
    rig.pass(limits::RESUME_GRACE.saturating_sub(Duration::from_secs(1)));
    assert!(rig.grants(other).is_empty(), "its forward may still run");
    let again = rig.join_with(3, 7, &[("crm", 4)], limits::CLIENT_BUFFER, &[lease]);
    rig.input(Input::Received(again, Message::GoAway(GoAway::default())));
    rig.report(again, lease, &outcome(Class::Delivered));
    rig.input(Input::Closed(again));
    rig.pass(Duration::from_secs(60));
    assert_eq!((rig.only().state, rig.only().losses), (State::Delivered, 0));
    assert!(rig.grants(other).is_empty());
}

/// I8: one that never comes back is replaced after the grace, as after any lost socket.
#[test]
fn a_client_that_dies_while_it_stops_is_replaced_after_the_grace() {
    let (mut rig, client, _) = forwarding();
    let other = rig.join(2, 8, 4);
    rig.input(Input::Received(client, Message::GoAway(GoAway::default())));
    rig.input(Input::Closed(client));
    rig.pass(limits::RESUME_GRACE);
    assert_eq!(rig.grants(other).len(), 1);
}

/// A client that holds a lease of ten seconds and lost its socket three seconds ago, one beside it, and a new socket.
fn coming_back(token: &str) -> (Rig, ConnId, ConnId, LeaseKey) {
    let mut rig = Rig::with_lease(Duration::from_secs(10));
    let client = rig.join(1, 7, 1);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.heartbeat(client, &[lease]);
    let other = rig.join(2, 8, 4);
    rig.input(Input::Closed(client));
    rig.pass(Duration::from_secs(3));
    open(&mut rig, 3, token, Serves::All);
    (rig, ConnId(3), other, lease)
}

/// Part of a Hello comes each second.
fn trickle(rig: &mut Rig, conn: ConnId, other: ConnId, span: Duration) {
    for _ in 0..span.as_secs() {
        rig.pass(Duration::from_secs(1));
        rig.input(Input::Heard(conn));
        rig.heartbeat(other, &[]);
    }
}

/// I8, I11: over a slow link the Hello of a client that holds much takes longer than the grace, and longer than its leases
/// last. As long as it goes on arriving, they are its own: nobody else gets them, and none is lost.
#[test]
fn a_hello_that_takes_its_time_resumes() {
    let (mut rig, again, other, lease) = coming_back("office");
    trickle(&mut rig, again, other, Duration::from_secs(40));
    assert!(rig.grants(other).is_empty(), "its forward still runs");
    rig.input(Input::Received(again, Message::Hello(resuming(7, &["crm"], lease))));
    let resumed = rig.received(again);
    assert_eq!(welcome(resumed).resumed.len(), 1);
    rig.report(again, lease, &outcome(Class::Delivered));
    rig.pass(Duration::from_secs(60));
    assert_eq!((rig.only().state, rig.only().losses), (State::Delivered, 0));
}

/// I8: a socket that says nothing, one that goes on for too long, and one of another token keep nobody waiting.
#[test]
fn the_grace_ends_where_nothing_comes_of_it() {
    let (mut rig, _, other, _) = coming_back("office");
    rig.pass(limits::RESUME_GRACE);
    assert_eq!(rig.grants(other).len(), 1, "nothing came for as long as the grace");
    let (mut rig, again, other, _) = coming_back("office");
    trickle(&mut rig, again, other, limits::RESUME_MAX);
    assert_eq!(rig.grants(other).len(), 1, "it goes on for ever");
    let (mut rig, stranger, other, _) = coming_back("shop");
    trickle(&mut rig, stranger, other, Duration::from_secs(3));
    assert_eq!(rig.grants(other).len(), 1, "another token's");
}

/// I11: a client that was away for longer than the grace, and says so when its lease ends, has lost nothing.
#[test]
fn a_loss_waits_for_a_hello_that_is_arriving() {
    for comes in [true, false] {
        let mut rig = Rig::new();
        let client = rig.join(1, 7, 1);
        rig.send();
        let lease = lease_of(&rig.grant(client));
        rig.heartbeat(client, &[lease]);
        rig.input(Input::Closed(client));
        rig.pass(limits::LEASE.saturating_sub(Duration::from_secs(3)));
        open(&mut rig, 3, "office", Serves::All);
        trickle(&mut rig, ConnId(3), ConnId(99), Duration::from_secs(30));
        assert_eq!(rig.only().losses, 0);
        if comes {
            rig.input(Input::Received(ConnId(3), Message::Hello(resuming(7, &["crm"], lease))));
        } else {
            rig.input(Input::Closed(ConnId(3)));
        }
        rig.pass(Duration::from_secs(10));
        assert_eq!(rig.only().losses, u32::from(!comes));
    }
}

/// I8: the same after a restart of the server, which knows of no token that a lease is.
#[test]
fn a_hello_that_takes_its_time_resumes_after_a_restart() {
    let (mut rig, _, _, lease) = coming_back("office");
    rig.crash();
    open(&mut rig, 4, "office", Serves::All);
    let other = rig.join(5, 8, 4);
    trickle(&mut rig, ConnId(4), other, Duration::from_secs(30));
    assert!(rig.grants(other).is_empty(), "its forward still runs");
    rig.input(Input::Received(ConnId(4), Message::Hello(resuming(7, &["crm"], lease))));
    let resumed = rig.received(ConnId(4));
    assert_eq!(welcome(resumed).resumed.len(), 1);
}

/// I21: nor may another token take over the leases of an instance that is away.
#[test]
fn an_instance_that_is_away_still_belongs_to_its_token() {
    let (mut rig, client, lease) = forwarding();
    rig.input(Input::Closed(client));
    let thief = connect(&mut rig, 2, "other", Serves::All, resuming(7, &["crm"], lease));
    assert_eq!(rig.closed.last().map(|(conn, _)| *conn), Some(thief));
}

/// I8: leases shorter than the usual heartbeat are kept by a quicker one.
#[test]
fn heartbeats_are_quick_enough_for_the_shortest_lease() {
    let lease = Duration::from_secs(3);
    let mut rig = Rig::with_lease(lease);
    let client = rig.join(1, 7, 4);
    let beat = Duration::from_millis(welcome(rig.received(client)).heartbeat_ms.into());
    assert!(beat * 3 <= lease);
    rig.send();
    let key = lease_of(&rig.grant(client));
    for _ in 0..20 {
        rig.pass(beat);
        assert_eq!(rig.received(client).len(), 1, "the server's heartbeat comes as often");
        rig.heartbeat(client, &[key]);
    }
    assert_eq!((rig.only().state, rig.only().losses), (State::Leased, 0));
}

/// A client that serves what no route leads to, under ever new names and instances, leaves nothing behind.
#[test]
fn made_up_instances_and_destinations_are_forgotten() {
    let mut rig = Rig::new();
    for number in 0..50 {
        let made_up = format!("made-up-{number}");
        let conn = rig.join_with(number, u128::from(number), &[(&made_up, 4)], limits::CLIENT_BUFFER, &[]);
        rig.input(Input::Closed(conn));
        rig.pass(limits::RESUME_GRACE);
    }
    let known: Vec<String> = rig.hub.view().into_iter().map(|seen| seen.destination.to_string()).collect();
    assert!(known.iter().all(|known| known == "crm"), "{known:?}");
}

/// What no route leads to has no clients, asks the store for nothing and costs one line; a client that came first joins once
/// there is a route.
#[test]
fn a_client_joins_a_destination_once_a_route_leads_there() {
    let mut rig = Rig::new();
    rig.asked.clear();
    let names: Vec<String> = (0..1_000).map(|number| format!("made-up-{number}")).collect();
    let served: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 4)).collect();
    let client = rig.join_with(1, 7, &served, limits::CLIENT_BUFFER, &[]);
    assert!(welcome(rig.received(client)).destinations.iter().all(|told| told.allowed && !told.known));
    assert!(rig.asked.is_empty(), "{:?}", rig.asked);
    assert_eq!(rig.hub.view().len(), 1);
    let unrouted = |notice: &Notice| matches!(notice, Notice::ClientUnrouted { destinations: 1_000, .. });
    assert_eq!(rig.notices.iter().map(unrouted).collect::<Vec<_>>(), [true]);

    let route = rig.routing.routes[&name("src")][0].clone();
    let route = Route { destination: name("made-up-7"), ..route };
    rig.routing.routes.insert(name("late"), vec![route]);
    rig.input(Input::Routing(std::sync::Arc::new(rig.routing.clone())));
    let joined = |notice: &&Notice| matches!(notice, Notice::ClientJoined { clients: 1, .. });
    assert_eq!(rig.notices.iter().filter(joined).count(), 1);
    rig.send_body("late", b"x", None);
    assert_eq!(rig.grants(client).len(), 1);
}

/// One instance that comes back with ever new names leaves nothing behind either, and is granted nothing of the old ones.
#[test]
fn what_an_instance_served_before_is_forgotten() {
    let mut rig = Rig::with_routes(&[("src", "crm"), ("other", "erp")], &RetryPolicy::default());
    let first = connect(&mut rig, 1, "office", Serves::All, hello(7, &["crm", "erp"]));
    let again = connect(&mut rig, 2, "office", Serves::All, hello(7, &["erp"]));
    rig.send();
    assert!(rig.grants(first).is_empty() && rig.grants(again).is_empty());
    rig.input(Input::Closed(again));
    rig.pass(limits::RESUME_GRACE);
    let left = |notice: &&Notice| matches!(notice, Notice::ClientLeft { .. });
    assert_eq!(rig.notices.iter().filter(left).count(), 2, "once of each");
}

/// Many leases may end at once: their client is told, and stays.
#[test]
fn a_thousand_leases_that_end_at_once_do_not_overrun_their_client() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, limits::CONCURRENCY_MAX);
    for _ in 0..1_100 {
        rig.send();
    }
    assert_eq!(rig.grants(client).len(), 1_100);
    rig.pass(limits::HEARTBEAT);
    let named = |message: &Message| if let Message::Extend(extend) = message { extend.held.len() } else { 0 };
    let named: Vec<usize> = rig.received(client).iter().map(named).filter(|count| *count > 0).collect();
    assert_eq!(named, [limits::LEASES_PER_MESSAGE, 76], "a heartbeat is as many messages as it takes");
    let ids: Vec<_> = rig.store.deliveries().iter().map(|delivery| delivery.id).collect();
    rig.prompt = false;
    for id in ids {
        let cancelled = relay_core::delivery::cancel(&rig.delivery(id), rig.now.wall).next;
        rig.store.put(cancelled);
        rig.hub.handle(Input::Touched(id), rig.now);
    }
    rig.prompt = true;
    rig.drain();
    assert!(rig.closed.is_empty(), "{:?}", rig.closed);
    let released = |message: &Message| if let Message::Release(release) = message { release.leases.len() } else { 0 };
    assert_eq!(rig.received(client).iter().map(released).sum::<usize>(), 1_100);
}

/// A client with more slots than it can hold is granted what it can hold.
#[test]
fn a_client_is_granted_no_more_than_it_can_hold() {
    let mut rig = Rig::with_routes(&[("a", "one"), ("b", "two"), ("c", "three")], &RetryPolicy::default());
    for source in ["a", "b", "c"] {
        rig.send_body(source, b"x", None);
    }
    let first: Vec<_> = rig.store.deliveries();
    for number in 1..u128::from(limits::CONCURRENCY_MAX) {
        for delivery in &first {
            let id = DeliveryId::from_u128(delivery.id.as_u128() + (number << 8));
            rig.store.put(Delivery { id, ..delivery.clone() });
        }
    }
    let slots =
        [("one", limits::CONCURRENCY_MAX), ("two", limits::CONCURRENCY_MAX), ("three", limits::CONCURRENCY_MAX)];
    let client = rig.join_with(1, 7, &slots, limits::CLIENT_BUFFER, &[]);
    let grants = rig.grants(client);
    assert_eq!(grants.len(), limits::GRANTED_MAX);
    rig.report(client, lease_of(&grants[0]), &outcome(Class::Delivered));
    assert_eq!(rig.grants(client).len(), 1, "and one more for each that it reports");
}

/// I21: a token sees only what it may serve.
#[test]
fn a_token_serves_only_its_destinations() {
    let mut rig = Rig::new();
    let conn = connect(&mut rig, 1, "t", erp_only(), hello(7, &["crm", "erp"]));
    let said = welcome(rig.received(conn));
    let allowed: Vec<(bool, bool)> = said.destinations.iter().map(|d| (d.allowed, d.known)).collect();
    assert_eq!(allowed, [(false, false), (true, false)]);
    rig.send();
    assert!(rig.grants(conn).is_empty());
}

/// I21: nor can it settle what it may not serve.
#[test]
fn a_report_about_a_destination_beyond_the_token_changes_nothing() {
    let (mut rig, _, lease) = forwarding();
    let stranger = connect(&mut rig, 2, "t", erp_only(), hello(8, &["erp"]));
    rig.report(stranger, lease, &outcome(Class::Delivered));
    assert_eq!(rig.only().state, State::Leased);
}

/// I21: who may serve the same destination and knows the lease does not end it: its holder does, also once it has come back.
#[test]
fn a_report_counts_only_from_the_holder() {
    for class in [Class::Delivered, Class::Rejected, Class::Refused, Class::Busy] {
        for token in ["other", "office"] {
            let (mut rig, client, lease) = forwarding();
            let stranger = connect(&mut rig, 2, token, Serves::All, hello(8, &["crm"]));
            rig.received(stranger);
            rig.report(stranger, lease, &outcome(class));
            assert_eq!((rig.only().state, rig.only().tries), (State::Leased, 0), "{class:?} with {token}");
            let may_forget =
                |rig: &mut Rig| rig.received(stranger).iter().any(|said| matches!(said, Message::Settled(_)));
            assert!(!may_forget(&mut rig), "the holder may not come to say so");
            rig.input(Input::Closed(client));
            let back = connect(&mut rig, 3, "office", Serves::All, resuming(7, &["crm"], lease));
            rig.report(back, lease, &outcome(Class::Delivered));
            assert_eq!(rig.only().state, State::Delivered);
            rig.pass(Duration::from_secs(1));
            assert!(may_forget(&mut rig), "{class:?} with {token}");
        }
    }
}

/// I7, I21: a success under an earlier lease completes a delivery that another client of the token has by then, and frees nobody
/// with another token from his lease.
#[test]
fn an_earlier_success_ends_no_lease_of_another_token() {
    for (token, state) in [("office", State::Delivered), ("other", State::Leased)] {
        let (mut rig, client, earlier) = forwarding();
        rig.input(Input::Closed(client));
        rig.pass(limits::RESUME_GRACE);
        let next = connect(&mut rig, 2, token, Serves::All, hello(8, &["crm"]));
        let lease = lease_of(&rig.grant(next));
        assert_ne!(lease, earlier);
        let back = connect(&mut rig, 3, "office", Serves::All, hello(7, &["crm"]));
        rig.report(back, earlier, &outcome(Class::Delivered));
        assert_eq!(rig.only().state, state, "its holder came with {token}");
        rig.report(next, lease, &outcome(Class::Delivered));
        assert_eq!((rig.only().state, rig.only().tries), (State::Delivered, 1));
    }
}

/// I21: live sockets of a revoked token are closed.
#[test]
fn a_revoked_token_loses_its_sockets() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.input(Input::Revoked(name("office")));
    assert_eq!(rig.closed[0].0, client);
    rig.send();
    assert!(rig.grants(client).is_empty());
}

/// I21: whoever says under another token that he is an instance is another one: the first goes on.
#[test]
fn an_instance_belongs_to_the_token_that_brought_it() {
    let (mut rig, client, lease) = forwarding();
    let thief = connect(&mut rig, 2, "other", Serves::All, hello(7, &["crm"]));
    assert!(welcome(rig.received(thief)).resumed.is_empty());
    assert_eq!(rig.hub.view()[0].clients.len(), 2);
    rig.report(client, lease, &outcome(Class::Delivered));
    assert_eq!(rig.only().state, State::Delivered);
    assert!(rig.closed.is_empty(), "{:?}", rig.closed);
}

/// I21: a restart makes no difference, whether or not the thief knows the lease, and whatever he may serve: he can neither take
/// it, nor free it, nor keep its owner out.
#[test]
fn after_a_restart_an_instance_is_still_its_tokens() {
    for (serves, knows) in [(Serves::All, true), (Serves::All, false), (erp_only(), true), (erp_only(), false)] {
        let (mut rig, _, lease) = forwarding();
        rig.crash();
        let greeting = if knows { resuming(7, &["crm", "erp"], lease) } else { hello(7, &["crm", "erp"]) };
        let thief = connect(&mut rig, 2, "other", serves, greeting);
        assert_eq!(rig.closed.iter().any(|(conn, _)| *conn == thief), knows, "a lease that he cannot have");
        assert_eq!(rig.only().state, State::Leased);
        let owner = connect(&mut rig, 3, "office", Serves::All, resuming(7, &["crm"], lease));
        assert_eq!(keys(&welcome(rig.received(owner)).resumed), [lease]);
        rig.report(owner, lease, &outcome(Class::Delivered));
        assert_eq!((rig.only().state, rig.only().losses), (State::Delivered, 0));
    }
}

/// I6, I7: a success counts under a token that was once given out, and under no other.
#[test]
fn a_fence_that_never_was_settles_nothing() {
    let (mut rig, client, (id, token)) = forwarding();
    for counter in [0, token.counter + 1, 424_242, u64::MAX] {
        rig.report(client, (id, Token { counter, ..token }), &outcome(Class::Delivered));
        assert_eq!(rig.only().state, State::Leased, "counter {counter}");
    }
    rig.report(client, (id, Token { nonce: !token.nonce, ..token }), &outcome(Class::Delivered));
    assert_eq!(rig.only().state, State::Leased, "of the latest lease all of the token is known");
    rig.report(client, (id, token), &outcome(Class::Delivered));
    assert_eq!(rig.only().state, State::Delivered);
}

#[test]
fn a_newer_socket_of_an_instance_replaces_the_older() {
    let (mut rig, old, lease) = forwarding();
    let new = rig.join_with(2, 7, &[("crm", 4)], limits::CLIENT_BUFFER, &[lease]);
    assert_eq!(rig.closed.last().map(|(conn, _)| *conn), Some(old));
    rig.input(Input::Closed(old));
    rig.pass(Duration::from_secs(10));
    rig.report(new, lease, &outcome(Class::Delivered));
    assert_eq!((rig.only().state, rig.only().losses), (State::Delivered, 0));
}

/// I9: a Hello that was on its way for long says what its client held then. It takes nothing from the socket on which that came since.
#[test]
fn a_hello_of_an_older_socket_comes_too_late() {
    let mut rig = Rig::new();
    rig.send();
    let older = open(&mut rig, 1, "office", Serves::All);
    let newer = connect(&mut rig, 2, "office", Serves::All, hello(7, &["crm"]));
    let lease = lease_of(&rig.grant(newer));
    rig.input(Input::Received(older, Message::Hello(hello(7, &["crm"]))));
    assert_eq!(rig.closed.iter().map(|(conn, _)| *conn).collect::<Vec<_>>(), [older]);
    rig.input(Input::Closed(older));
    rig.pass(Duration::from_secs(10));
    assert!(rig.grants(newer).is_empty(), "it was given out once more");
    rig.report(newer, lease, &outcome(Class::Delivered));
    assert_eq!((rig.only().state, rig.only().tries), (State::Delivered, 1));
}

/// I8: heartbeats of the server name what it believes is held.
#[test]
fn the_server_names_what_it_believes_is_held() {
    let (mut rig, client, lease) = forwarding();
    rig.pass(limits::HEARTBEAT);
    let beats: Vec<Vec<_>> = rig
        .received(client)
        .into_iter()
        .filter_map(|message| if let Message::Extend(extend) = message { Some(keys(&extend.held)) } else { None })
        .collect();
    assert_eq!(beats, [[lease]]);
}

#[test]
fn peers_that_break_the_protocol_are_closed() {
    type Misuse = fn(&mut Rig, ConnId);
    let cases: [(&str, Misuse); 4] = [
        ("speaks before Hello", |rig, conn| rig.heartbeat(conn, &[])),
        ("serves nothing", |rig, conn| rig.input(Input::Received(conn, Message::Hello(hello(7, &[]))))),
        ("serves a malformed name", |rig, conn| rig.input(Input::Received(conn, Message::Hello(hello(7, &["A b"]))))),
        ("plays server", |rig, conn| {
            rig.input(Input::Received(conn, Message::Hello(hello(7, &["crm"]))));
            rig.input(Input::Received(conn, Message::Welcome(Welcome::default())));
        }),
    ];
    for (what, misuse) in cases {
        let mut rig = Rig::new();
        let conn = open(&mut rig, 1, "t", Serves::All);
        misuse(&mut rig, conn);
        assert_eq!(rig.closed.len(), 1, "{what}");
        assert!(rig.notices.iter().any(|notice| matches!(notice, Notice::Misbehaved { .. })), "{what}");
    }
}

#[test]
fn a_socket_without_a_hello_is_closed() {
    let mut rig = Rig::new();
    open(&mut rig, 1, "t", Serves::All);
    rig.pass(limits::HELLO_WITHIN);
    assert_eq!(rig.closed.len(), 1);
}

/// I19: a Hello that takes minutes on a slow link is waited for as long as something of it comes, and no longer.
#[test]
fn a_hello_that_trickles_in_is_waited_for() {
    let mut rig = Rig::new();
    let conn = open(&mut rig, 1, "t", Serves::All);
    for _ in 0..600 {
        rig.pass(limits::HEARD_EVERY);
        rig.input(Input::Heard(conn));
    }
    assert!(rig.closed.is_empty(), "{:?}", rig.closed);
    rig.input(Input::Received(conn, Message::Hello(hello(7, &["crm"]))));
    rig.send();
    assert_eq!(rig.grants(conn).len(), 1);
    let silent = open(&mut rig, 2, "t", Serves::All);
    rig.input(Input::Heard(silent));
    rig.pass(limits::HELLO_WITHIN);
    assert_eq!(rig.closed, [(silent, "nothing was heard of the client")]);
}

/// I8, I19: a client whose heartbeat takes minutes to come in holds its leases until it has, or until they may last no longer.
#[test]
fn a_heartbeat_that_trickles_in_keeps_what_it_may_name() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grants(client)[0]);
    rig.heartbeat(client, &[lease]);
    let cap = rig.forward_timeout + limits::LEASE_OVERTIME;
    let trickle = |rig: &mut Rig, span: Duration| {
        for _ in 0..span.as_secs() {
            rig.pass(limits::HEARD_EVERY);
            rig.input(Input::Heard(client));
        }
    };
    trickle(&mut rig, cap.saturating_sub(Duration::from_secs(5)));
    assert_eq!((rig.only().state, rig.only().losses), (State::Leased, 0), "{:?}", rig.notices);
    trickle(&mut rig, Duration::from_secs(20));
    assert_eq!(rig.only().losses, 1, "a lease lasts no longer than its forward may");
    assert!(rig.closed.is_empty());
}

/// I15: a small body goes before large ones also where hundreds of these have not begun, and all of it has half of the line.
#[test]
fn small_webhooks_do_not_wait_until_many_large_ones_have_begun() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 512);
    rig.deaf.insert(client);
    for _ in 0..300 {
        rig.send_body("src", &vec![1; 70_000], None);
    }
    let next = |rig: &mut Rig| rig.hub.poll_transmit(client, limits::PIECE_BYTES_MIN);
    next(&mut rig);
    rig.send_body("src", &vec![2; 60_000], None);
    let (mut small, mut of_large) = (0, 0);
    while small < 60_000 {
        let (data, first) = match next(&mut rig) {
            Some(Message::Grant(grant)) => (grant.body, true),
            Some(Message::Chunk(chunk)) => (chunk.data, false),
            other => panic!("{other:?}"),
        };
        if data[0] == 2 {
            assert!(!first || of_large == 0, "it begins at once");
            small += data.len();
        } else {
            of_large += data.len();
        }
    }
    assert!(of_large <= 70_000, "{of_large} bytes of the large ones went before it");
}

/// I15: what is small goes before the rest of large bodies, and leaves them half of the line.
#[test]
fn small_webhooks_take_turns_with_large_ones() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 64);
    rig.deaf.insert(client);
    let large = vec![1; 10 * 1024 * 1024];
    let piece = 16 * 1024;
    for _ in 0..3 {
        rig.send_body("src", &large, None);
    }
    let next = |rig: &mut Rig| rig.hub.poll_transmit(client, piece);
    let is_grant = |message: &Option<Message>| matches!(message, Some(Message::Grant(_)));
    let is_chunk =
        |message: &Option<Message>| matches!(message, Some(Message::Chunk(chunk)) if chunk.data.len() == piece);
    for _ in 0..3 {
        let sent = next(&mut rig);
        assert!(is_grant(&sent) || is_chunk(&sent), "{sent:?}");
    }
    for _ in 0..10 {
        let sent = next(&mut rig);
        assert!(is_grant(&sent) || is_chunk(&sent), "{sent:?}");
    }
    // One that comes now is next, however much of the large ones waits.
    rig.send();
    assert!(is_grant(&next(&mut rig)));
    assert!(is_chunk(&next(&mut rig)));
    // Many together leave the large ones every other piece's worth of bytes.
    for _ in 0..40 {
        rig.send_body("src", &[2; 8 * 1024], None);
    }
    let (mut small, mut of_large) = (0, 0);
    while small < 40 * 8 * 1024 {
        match next(&mut rig) {
            Some(Message::Grant(grant)) => small += grant.body.len(),
            Some(Message::Chunk(chunk)) => of_large += chunk.data.len(),
            other => panic!("{other:?}"),
        }
    }
    assert!(of_large.abs_diff(small) <= small / 4, "{of_large} of the large ones beside {small}");
}

pub(crate) fn hello(instance: u128, destinations: &[&str]) -> Hello {
    let destination = |name: &&str| relay_core::wire::message::HelloDestination {
        name: (*name).to_owned(),
        slots: 4,
        forward_timeout_ms: 25_000,
    };
    Hello {
        instance: instance.to_be_bytes().to_vec().into(),
        destinations: destinations.iter().map(destination).collect(),
        buffer_bytes: 1_000_000,
        ..Hello::default()
    }
}
