//! Successes that are reported by who does not hold the lease.

use std::time::Duration;

use relay_core::{
    delivery::{State, outcome::Class},
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

/// One that comes back in time decides about what it holds.
#[test]
fn a_success_of_another_instance_does_not_count_once_the_holder_is_back() {
    let (mut rig, client, lease) = forwarding();
    rig.input(Input::Closed(client));
    let other = rig.join(2, 9, 4);
    rig.report(other, lease, &outcome(Class::Delivered));
    assert!(!confirmed(&mut rig, other));
    let again = rig.join_with(3, 7, &[("crm", 4)], limits::CLIENT_BUFFER, &[lease]);
    rig.pass(Duration::from_secs(2));
    assert!(confirmed(&mut rig, other));
    assert_eq!(rig.only().state, State::Leased);
    rig.report(again, lease, &outcome(Class::Delivered));
    assert_eq!(rig.only().state, State::Delivered);
}

fn confirmed(rig: &mut Rig, conn: ConnId) -> bool {
    rig.received(conn).iter().any(|message| matches!(message, Message::Settled(_)))
}
