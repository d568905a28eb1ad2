//! Handshake, heartbeats, several clients, tokens, misuse.

use std::{collections::BTreeSet, time::Duration};

use relay_core::{
    delivery::{State, outcome::Class},
    hub::{ConnId, Input, Notice, Serves},
    limits,
    wire::message::{GoAway, Hello, Message, Peers, Welcome},
};

use crate::rig::{Rig, keys, lease_of, name, outcome};

fn welcome(messages: Vec<Message>) -> Welcome {
    let welcome = |message| if let Message::Welcome(welcome) = message { Some(welcome) } else { None };
    messages.into_iter().find_map(welcome).expect("a Welcome")
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

#[test]
fn a_client_that_says_goodbye_leaves_at_once() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    rig.received(client);
    let other = rig.join(2, 8, 4);
    rig.input(Input::Received(client, Message::GoAway(GoAway::default())));
    rig.input(Input::Closed(client));
    assert_eq!(rig.grants(other).len(), 1, "no grace after a goodbye");
    assert_eq!(rig.only().losses, 0);
    assert!(rig.notices.iter().any(|notice| matches!(notice, Notice::ClientLeft { clients: 1, held: 1, .. })));
}

/// I21: a token sees only what it may serve.
#[test]
fn a_token_serves_only_its_destinations() {
    let mut rig = Rig::new();
    let conn = ConnId(1);
    let serves = Serves::Only(BTreeSet::from([name("erp")]));
    rig.input(Input::Opened { conn, token: name("t"), serves, peer: String::new() });
    let hello = hello(7, &["crm", "erp"]);
    rig.input(Input::Received(conn, Message::Hello(hello)));
    let said = welcome(rig.received(conn));
    let allowed: Vec<(bool, bool)> = said.destinations.iter().map(|d| (d.allowed, d.known)).collect();
    assert_eq!(allowed, [(false, false), (true, false)]);
    rig.send();
    assert!(rig.grants(conn).is_empty());
}

/// I21: nor can it settle what it may not serve.
#[test]
fn a_report_about_a_destination_beyond_the_token_changes_nothing() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 1);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    let stranger = ConnId(2);
    let serves = Serves::Only(BTreeSet::from([name("erp")]));
    rig.input(Input::Opened { conn: stranger, token: name("t"), serves, peer: String::new() });
    rig.input(Input::Received(stranger, Message::Hello(hello(8, &["erp"]))));
    rig.report(stranger, lease, &outcome(Class::Delivered));
    assert_eq!(rig.only().state, State::Leased);
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

#[test]
fn an_instance_belongs_to_the_token_that_brought_it() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    let thief = ConnId(2);
    rig.input(Input::Opened { conn: thief, token: name("other"), serves: Serves::All, peer: String::new() });
    rig.input(Input::Received(thief, Message::Hello(hello(7, &["crm"]))));
    assert_eq!(rig.closed.last().map(|(conn, _)| *conn), Some(thief));
    rig.send();
    assert_eq!(rig.grants(client).len(), 1);
}

#[test]
fn a_newer_socket_of_an_instance_replaces_the_older() {
    let mut rig = Rig::new();
    let old = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(old));
    let new = rig.join_with(2, 7, &[("crm", 4)], limits::CLIENT_BUFFER, &[lease]);
    assert_eq!(rig.closed.last().map(|(conn, _)| *conn), Some(old));
    rig.input(Input::Closed(old));
    rig.pass(Duration::from_secs(10));
    rig.report(new, lease, &outcome(Class::Delivered));
    assert_eq!((rig.only().state, rig.only().losses), (State::Delivered, 0));
}

/// I8: heartbeats of the server name what it believes is held.
#[test]
fn the_server_names_what_it_believes_is_held() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
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
        let conn = ConnId(1);
        rig.input(Input::Opened { conn, token: name("t"), serves: Serves::All, peer: String::new() });
        misuse(&mut rig, conn);
        assert_eq!(rig.closed.len(), 1, "{what}");
        assert!(rig.notices.iter().any(|notice| matches!(notice, Notice::Misbehaved { .. })), "{what}");
    }
}

#[test]
fn a_socket_without_a_hello_is_closed() {
    let mut rig = Rig::new();
    rig.input(Input::Opened { conn: ConnId(1), token: name("t"), serves: Serves::All, peer: String::new() });
    rig.pass(limits::HELLO_WITHIN);
    assert_eq!(rig.closed.len(), 1);
}

fn hello(instance: u128, destinations: &[&str]) -> Hello {
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
