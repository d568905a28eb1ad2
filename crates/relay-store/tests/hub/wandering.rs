//! A client goes from one server to another: what is down for it stays down.

use std::time::Duration;

use relay_core::{
    delivery::{State, outcome::Class},
    hub::{ConnId, Input, Notice},
    limits,
    storage::StoreError,
};
use relay_store::memory::Trouble;

use crate::rig::{Rig, lease_of, outcome};

const STEP: Duration = Duration::from_millis(100);

/// Lets time pass at both.
fn pass(rigs: &mut [Rig; 2], span: Duration) {
    for _ in 0..span.as_millis() / STEP.as_millis() {
        for rig in &mut *rigs {
            rig.pass(STEP);
        }
    }
}

/// Five webhooks that nobody has tried before are refused by a target that takes nothing, and removed.
fn break_down(rigs: &mut [Rig; 2], at: usize, client: ConnId) {
    pass(rigs, Duration::from_secs(2));
    for _ in 0..limits::CIRCUIT_EVENTS {
        rigs[at].send();
        let grant = rigs[at].grant(client);
        rigs[at].report(client, lease_of(&grant), &outcome(Class::Rejected));
    }
    assert!(is_down(&rigs[at]), "the circuit opens");
    rigs[at].store.purge_all();
}

fn is_down(rig: &Rig) -> bool {
    rig.hub.view()[0].clients.iter().any(|client| client.circuit_open)
}

/// I10: an outage that was found at one server is not charged at the next, though nothing waits there that would tell.
#[test]
fn an_outage_goes_with_its_client() {
    let mut rigs = Rig::sharing();
    let client = rigs[0].join(1, 7, 4);
    break_down(&mut rigs, 0, client);
    rigs[0].input(Input::Closed(client));
    let client = rigs[1].join(1, 7, 4);
    assert!(is_down(&rigs[1]));
    assert!(rigs[1].notices.iter().any(|notice| matches!(notice, Notice::DestinationDown { .. })));
    rigs[1].send();
    pass(&mut rigs, limits::CIRCUIT_PAUSE_FIRST * 2);
    let grant = rigs[1].grant(client);
    rigs[1].report(client, lease_of(&grant), &outcome(Class::Rejected));
    let tried = rigs[1].only();
    assert_eq!((tried.state, tried.attempts, tried.tries), (State::Scheduled, 0, 1));
    assert!(is_down(&rigs[1]));
}

/// I10: it goes on as it was: no try before its pause is over, and what is delivered closes it.
#[test]
fn its_pause_goes_on() {
    let mut rigs = Rig::sharing();
    let client = rigs[0].join(1, 7, 4);
    break_down(&mut rigs, 0, client);
    // Until the fourth pause begins, which is eight seconds.
    rigs[0].send();
    let mut tries = 0;
    while tries < 4 {
        pass(&mut rigs, STEP);
        for grant in rigs[0].grants(client) {
            rigs[0].report(client, lease_of(&grant), &outcome(Class::Rejected));
            tries += 1;
        }
        rigs[0].heartbeat(client, &[]);
    }
    rigs[0].input(Input::Closed(client));
    let client = rigs[1].join(1, 7, 4);
    pass(&mut rigs, Duration::from_secs(4));
    assert!(rigs[1].grants(client).is_empty(), "it waits");
    pass(&mut rigs, Duration::from_secs(60));
    let grant = rigs[1].grant(client);
    rigs[1].report(client, lease_of(&grant), &outcome(Class::Delivered));
    assert!(!is_down(&rigs[1]));
}

/// Whoever had it before knows nothing any more: a client that comes back is as the other left it.
#[test]
fn what_is_over_elsewhere_does_not_come_back() {
    let mut rigs = Rig::sharing();
    let client = rigs[0].join(1, 7, 4);
    break_down(&mut rigs, 0, client);
    rigs[0].input(Input::Closed(client));
    let client = rigs[1].join(1, 7, 4);
    rigs[1].send();
    pass(&mut rigs, limits::PRESENCE_EVERY * 2);
    let grant = rigs[1].grant(client);
    rigs[1].report(client, lease_of(&grant), &outcome(Class::Delivered));
    rigs[1].input(Input::Closed(client));
    rigs[0].join(2, 7, 4);
    assert!(!is_down(&rigs[0]));
}

/// The word of a server that is gone holds as long as it is known, and one that cannot be heard keeps nobody out.
#[test]
fn a_server_that_is_gone_has_said_it() {
    let [mut gone, rig] = Rig::sharing();
    let client = gone.join(1, 7, 4);
    let mut rigs = [gone, rig];
    break_down(&mut rigs, 0, client);
    let [_, mut rig] = rigs;
    let client = rig.join(1, 7, 4);
    assert!(is_down(&rig));
    rig.input(Input::Closed(client));
    rig.crash();
    rig.pass(limits::PRESENCE_EVERY);
    rig.trouble(Trouble::Presence, StoreError::Away);
    let client = rig.join(2, 7, 4);
    assert!(rig.received(client).iter().any(|said| matches!(said, relay_core::wire::message::Message::Welcome(_))));
}
