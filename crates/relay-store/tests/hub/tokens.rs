//! Tokens that may serve less than before, and what their clients hold.

use std::collections::BTreeSet;

use relay_core::{
    delivery::{State, outcome::Class, retry::RetryPolicy},
    hub::{Input, Notice, Serves},
    limits,
    storage::{StoreError, StoreOp},
    wire::message::{Message, Peers},
};
use relay_store::memory::Trouble;

use crate::{
    rig::{Rig, keys, lease_of, name, outcome},
    sessions::{connect, erp_only, forwarding, hello, resuming, welcome},
};

/// I19, I21: a token that may serve less than before does not resume what it may no longer serve; others get it.
#[test]
fn leases_beyond_a_narrowed_token_are_not_resumed() {
    let (mut rig, client, lease) = forwarding();
    let other = rig.join(2, 8, 4);
    rig.input(Input::Revoked(name("nobody")));
    rig.input(Input::Closed(client));
    let again = connect(&mut rig, 3, "office", erp_only(), resuming(7, &["crm", "erp"], lease));
    assert!(welcome(rig.received(again)).resumed.is_empty());
    assert_eq!(rig.grants(other).len(), 1);
}

/// I9, I21: what a client reports beyond its token does not count, and it forgets it: others try it anew, under a number of its own.
#[test]
fn what_is_reported_beyond_a_token_is_tried_again() {
    let nothing = || Serves::Only(BTreeSet::new());
    let mut rigs = Rig::sharing();
    let client = connect(&mut rigs[0], 1, "office", Serves::All, hello(7, &["crm"]));
    rigs[0].send();
    let lease = lease_of(&rigs[0].grant(client));
    rigs[0].input(Input::Closed(client));
    // The part of the store where it lies is away as its client comes to another server, and reports.
    rigs[1].prompt = false;
    let narrowed = connect(&mut rigs[1], 2, "office", nothing(), resuming(7, &["crm"], lease));
    let is_there = |ask: &StoreOp| matches!(ask, StoreOp::Held(held) if held.ask.partitions.hold(lease.0.partition()));
    while let Some(first) = rigs[1].pending.front() {
        if is_there(first) {
            rigs[1].refuse_one(Trouble::Held, StoreError::Away);
        } else {
            rigs[1].answer_one();
        }
    }
    rigs[1].prompt = true;
    assert!(welcome(rigs[1].received(narrowed)).resumed.is_empty());
    rigs[1].report(narrowed, lease, &outcome(Class::Delivered));
    let settled = |said: &Message| matches!(said, Message::Settled(settled) if keys(&settled.leases) == [lease]);
    assert!(rigs[1].received(narrowed).iter().any(settled));
    rigs[1].input(Input::Closed(narrowed));
    let tried = |notice: &Notice| matches!(notice, Notice::Tried { .. });
    assert!(!rigs[1].notices.iter().any(tried), "it does not count");
    assert_eq!((rigs[1].only().state, rigs[1].only().tries, rigs[1].only().losses), (State::Ready, 0, 0));
    let again = connect(&mut rigs[0], 3, "office", nothing(), hello(7, &["crm"]));
    assert!(rigs[0].grants(again).is_empty());
    let other = rigs[0].join(4, 8, 4);
    rigs[0].pass(limits::DUE_EVERY * 20);
    assert_eq!(rigs[0].grant(other).attempt, 2);
}

/// I21, I24: a client that may not serve a destination any more, or does not want to, is no client of it: it hears no counts,
/// and nobody counts on it.
#[test]
fn a_client_leaves_what_its_new_hello_or_token_does_not_serve() {
    let both: &[&str] = &["crm", "erp"];
    for (serves, wanted) in [(erp_only(), both), (Serves::All, &["erp"])] {
        let mut rig = Rig::with_routes(&[("src", "crm"), ("other", "erp")], &RetryPolicy::default());
        let narrowed = connect(&mut rig, 1, "office", Serves::All, hello(7, both));
        let witness = rig.join(2, 8, 4);
        rig.received(witness);
        rig.input(Input::Closed(narrowed));
        let again = connect(&mut rig, 3, "office", serves, hello(7, wanted));
        rig.received(again);
        let alone = Message::Peers(Peers { destination: "crm".to_owned(), clients: 1 });
        assert_eq!(rig.received(witness), [alone]);
        let left = |notice: &&Notice| matches!(notice, Notice::ClientLeft { clients: 1, destination, .. } if destination.as_str() == "crm");
        assert_eq!(rig.notices.iter().filter(left).count(), 1);
        rig.input(Input::Closed(witness));
        rig.pass(limits::RESUME_GRACE);
        let other = rig.join(4, 9, 4);
        rig.input(Input::Closed(other));
        rig.pass(limits::RESUME_GRACE);
        assert_eq!(rig.received(again), [], "no count reaches it");
        let view = rig.hub.view();
        let clients =
            |name: &str| view.iter().find(|seen| seen.destination.as_str() == name).map(|seen| seen.clients.len());
        assert_eq!((clients("crm"), clients("erp")), (Some(0), Some(1)));
    }
}

/// I21: nor does it get what the store was asked for on its behalf before.
#[test]
fn what_the_store_leases_for_a_narrowed_client_is_handed_back() {
    for pre_leased in [true, false] {
        let mut rig = Rig::with_routes(&[("src", "crm"), ("other", "erp")], &RetryPolicy::default());
        let before = connect(&mut rig, 1, "office", Serves::All, hello(7, &["crm", "erp"]));
        rig.prompt = false;
        if pre_leased {
            rig.send();
        } else {
            rig.prompt = true;
            rig.input(Input::Closed(before));
            rig.send();
            rig.prompt = false;
            connect(&mut rig, 2, "office", Serves::All, hello(7, &["crm", "erp"]));
        }
        let again = connect(&mut rig, 3, "office", erp_only(), hello(7, &["crm", "erp"]));
        rig.answer_store();
        rig.prompt = true;
        assert!(rig.grants(again).is_empty(), "pre-leased: {pre_leased}");
        assert_eq!((rig.only().state, rig.only().losses), (State::Ready, 0));
    }
}
