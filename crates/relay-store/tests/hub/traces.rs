//! Traces: what a client is told of them, and what is told of a try.

use std::time::Duration;

use relay_core::{
    delivery::{State, outcome::Class},
    hub::Notice,
    trace::{Forwarded, TraceContext, Traced},
};

use crate::rig::{Rig, START, lease_of, outcome};

fn forwarded(rig: &Rig) -> Vec<Forwarded> {
    let of = |notice: &Notice| if let Notice::Forwarded(of) = notice { Some((**of).clone()) } else { None };
    rig.notices.iter().filter_map(of).collect()
}

/// Over a retry: each try is told with its lease, its outcome and what became of the delivery, and is the parent that its client
/// was given.
#[test]
fn each_try_of_a_traced_event_is_told_once_it_is_durable() {
    let mut rig = Rig::traced();
    let client = rig.join(1, 7, 4);
    rig.send();
    let first = rig.grant(client);
    rig.pass(Duration::from_secs(2));
    rig.prompt = false;
    rig.report(client, lease_of(&first), &outcome(Class::Rejected));
    assert_eq!(forwarded(&rig), [], "it is not durable");
    rig.prompt = true;
    rig.answer_store();
    rig.pass(Duration::from_secs(2));
    let second = rig.grant(client);
    rig.report(client, lease_of(&second), &outcome(Class::Delivered));

    let told = forwarded(&rig);
    assert_eq!(told.len(), 2, "{told:?}");
    let [one, other] = [&told[0], &told[1]];
    assert_eq!((one.class, one.status, one.state), (Class::Rejected, Some(500), State::Scheduled));
    assert_eq!((other.class, other.attempt, other.state), (Class::Delivered, 2, State::Delivered));
    assert_eq!((one.due, one.leased, one.ended), (START, START, START + Duration::from_secs(2)));
    assert!(other.due > one.ended && other.leased >= other.due && other.client == one.client, "{other:?}");
    for (grant, told) in [(&first, one), (&second, other)] {
        let given = TraceContext::from_bytes(&grant.trace).unwrap().to_string();
        let [_, span] = Traced::Forwarded(Box::new(told.clone())).spans();
        assert_eq!(given, format!("00-{}-{}-01", span.trace, span.id));
    }
}

/// A client that comes back goes on under the lease that it had, and its try is told; so is one whose body left in pieces.
#[test]
fn a_try_is_told_though_its_socket_was_lost() {
    let mut rig = Rig::traced();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.input(relay_core::hub::Input::Closed(client));
    let again = rig.join_with(2, 7, &[("crm", 4)], relay_core::limits::CLIENT_BUFFER, &[lease]);
    rig.report(again, lease, &outcome(Class::Delivered));
    assert_eq!(forwarded(&rig).len(), 1);
}

/// Of several servers each tells of the tries that it granted, in the trace and under the parent that the others say.
#[test]
fn servers_on_one_store_tell_of_an_event_in_one_trace() {
    let mut rigs = Rig::sharing_traced();
    let client = rigs[0].join(1, 7, 4);
    rigs[0].send();
    let first = rigs[0].grant(client);
    rigs[0].report(client, lease_of(&first), &outcome(Class::Rejected));
    rigs[0].input(relay_core::hub::Input::Closed(client));
    for _ in 0..30 {
        for rig in &mut rigs {
            rig.pass(Duration::from_millis(100));
        }
    }
    let other = rigs[1].join(1, 8, 4);
    let second = rigs[1].grant(other);
    rigs[1].report(other, lease_of(&second), &outcome(Class::Delivered));
    let told = rigs.each_ref().map(forwarded);
    let spans = told.each_ref().map(|told| Traced::Forwarded(Box::new(told[0].clone())).spans());
    assert_eq!((told[0].len(), told[1].len(), told[1][0].attempt), (1, 1, 2));
    let [[_, one], [_, other]] = spans;
    assert_eq!((one.trace, one.parent), (other.trace, other.parent));
    assert_ne!(one.id, other.id);
}

#[test]
fn where_nothing_is_traced_nothing_is_said_of_it() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let grant = rig.grant(client);
    rig.report(client, lease_of(&grant), &outcome(Class::Delivered));
    assert!(grant.trace.is_empty() && forwarded(&rig).is_empty());
}
