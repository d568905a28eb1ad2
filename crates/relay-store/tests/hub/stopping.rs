//! Stopping.

use relay_core::{
    delivery::{State, outcome::Class},
    hub::{Answer, Input},
    wire::message::Message,
};

use crate::rig::{Rig, lease_of, outcome};

#[test]
fn an_idle_hub_stops_at_once() {
    let mut rig = Rig::new();
    rig.input(Input::Stop);
    assert!(rig.stopped);
}

/// I22: what is being forwarded is waited for, new requests are refused.
#[test]
fn a_stop_waits_for_reports_and_refuses_requests() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.input(Input::Stop);
    assert!(rig.received(client).iter().any(|message| matches!(message, Message::GoAway(_))));
    let late = rig.send();
    assert_eq!(rig.answers[&late], Answer::Stopping);
    assert!(!rig.stopped);
    rig.report(client, lease, &outcome(Class::Delivered));
    assert!(rig.stopped);
    assert_eq!(rig.only().state, State::Delivered);
}

/// I22: an accept under way finishes; its delivery is not sent any more.
#[test]
fn an_accept_under_way_finishes_and_its_lease_is_handed_back() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.prompt = false;
    let ticket = rig.send();
    rig.input(Input::Stop);
    assert!(!rig.stopped);
    rig.answer_store();
    assert!(matches!(rig.answers[&ticket], Answer::Accepted { .. }));
    assert!(rig.stopped);
    assert!(rig.grants(client).is_empty());
    assert_eq!((rig.only().state, rig.only().losses), (State::Ready, 0));
}

/// I22: a client that hands back what it holds lets the server go.
#[test]
fn a_hand_back_ends_the_wait() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.input(Input::Stop);
    rig.release(client, lease);
    assert!(rig.stopped);
    assert_eq!((rig.only().state, rig.only().losses), (State::Ready, 0));
}
