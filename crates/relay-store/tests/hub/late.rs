//! Reports by who does not hold the lease.

use std::time::Duration;

use relay_core::{
    delivery::{State, Token, outcome::Class},
    hub::{ConnId, Input},
    limits,
    wire::message::Message,
};

use crate::{
    rig::{Rig, outcome},
    sessions::forwarding,
};

/// I9, I11: a client that went on as another instance reports what it began as the former one. That is not confirmed before it counts,
/// and it counts once the former one has not come: nobody else is given it.
#[test]
fn a_success_of_the_next_instance_counts_once_the_former_one_is_gone() {
    for rearmed in [false, true] {
        let (mut rig, client, lease) = forwarding();
        if rearmed {
            rig.crash();
        } else {
            rig.input(Input::Closed(client));
        }
        let next = rig.join(2, 9, 4);
        let other = rig.join(3, 8, 4);
        rig.report(next, lease, &outcome(Class::Delivered));
        rig.pass(Duration::from_secs(3));
        assert!(!confirmed(&mut rig, next), "its client would forget it");
        for _ in 0..10 {
            rig.pass(Duration::from_secs(10));
            rig.heartbeat(next, &[]);
            rig.heartbeat(other, &[]);
        }
        assert!(confirmed(&mut rig, next));
        assert_eq!((rig.only().state, rig.only().losses), (State::Delivered, 0));
        assert!(rig.grants(other).is_empty() && rig.grants(next).is_empty());
    }
}

/// I6, I9: what failed counts as a try in the same way, and not as a lost lease; of several reports a success counts.
#[test]
fn a_failure_of_the_next_instance_counts_once_the_former_one_is_gone() {
    for (classes, last) in [
        (&[Class::Rejected][..], Class::Rejected),
        (&[Class::Refused, Class::Rejected], Class::Refused),
        (&[Class::Rejected, Class::Delivered], Class::Delivered),
    ] {
        let (mut rig, client, lease) = forwarding();
        rig.input(Input::Closed(client));
        let next = rig.join(2, 9, 4);
        for class in classes {
            rig.report(next, lease, &outcome(*class));
        }
        rig.pass(Duration::from_secs(3));
        assert!(!confirmed(&mut rig, next), "its client would forget it");
        rig.pass(Duration::from_secs(4));
        assert!(confirmed(&mut rig, next));
        let record = rig.only();
        let tried = record.last.as_ref().map(|last| (last.number, last.class));
        assert_eq!((tried, record.losses, record.unheard), (Some((1, last)), 0, 0), "{classes:?}");
    }
}

/// One that comes back in time decides about what it holds; whoever else said something hears of it then.
#[test]
fn a_report_of_another_instance_does_not_count_once_the_holder_is_back() {
    let (mut rig, client, lease) = forwarding();
    rig.input(Input::Closed(client));
    let other = rig.join(2, 9, 4);
    rig.report(other, lease, &outcome(Class::Delivered));
    let again = rig.join_with(3, 7, &[("crm", 4)], limits::CLIENT_BUFFER, &[lease]);
    rig.pass(Duration::from_secs(2));
    assert!(!confirmed(&mut rig, other), "its client would forget it, and the holder may not come to say so");
    assert_eq!(rig.only().state, State::Leased);
    rig.report(again, lease, &outcome(Class::Delivered));
    assert_eq!(rig.only().state, State::Delivered);
    rig.pass(Duration::from_secs(2));
    assert!(confirmed(&mut rig, other));
}

/// I9: nor is it confirmed while the holder seems to be there, as it does behind a socket that is half open.
#[test]
fn a_success_of_the_next_instance_counts_behind_a_half_open_socket() {
    let (mut rig, _, lease) = forwarding();
    let next = rig.join(2, 9, 4);
    rig.report(next, lease, &outcome(Class::Delivered));
    for _ in 0..12 {
        rig.pass(Duration::from_secs(10));
        rig.heartbeat(next, &[]);
    }
    assert!(confirmed(&mut rig, next));
    assert_eq!((rig.only().state, rig.only().losses), (State::Delivered, 0));
    assert!(rig.grants(next).is_empty(), "it went out once more");
}

/// I21: what failed at a client of another access token says nothing about a lease that is not its own.
#[test]
fn a_failure_of_a_stranger_never_counts() {
    let (mut rig, client, lease) = forwarding();
    rig.input(Input::Closed(client));
    let stranger = rig.join_as("stranger", 2, 9, 4);
    rig.report(stranger, lease, &outcome(Class::Refused));
    for _ in 0..8 {
        rig.pass(Duration::from_secs(10));
        rig.heartbeat(stranger, &[]);
    }
    assert!(confirmed(&mut rig, stranger));
    assert_ne!(rig.only().state, State::Dead);
    assert!(rig.only().last.is_none());
}

/// I6: nor does one under a token that was never given out, as a client has it whose server went back to a backup; the lease that stands
/// ends as any does.
#[test]
fn a_success_of_another_history_settles_nothing() {
    let (mut rig, client, (id, token)) = forwarding();
    rig.input(Input::Closed(client));
    let next = rig.join(2, 9, 4);
    rig.report(next, (id, Token { counter: token.counter + 1, ..token }), &outcome(Class::Delivered));
    rig.pass(Duration::from_secs(7));
    assert!(confirmed(&mut rig, next));
    assert_eq!((rig.only().state, rig.only().token.counter), (State::Leased, 2), "it is given out anew");
}

fn confirmed(rig: &mut Rig, conn: ConnId) -> bool {
    rig.received(conn).iter().any(|message| matches!(message, Message::Settled(_)))
}
