//! Lease ends: resume, release, loss, suspects, restart.

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use relay_core::{
    delivery::{Delivery, Reason, State, outcome::Class},
    hub::{Input, Notice},
    id::IdMint,
    limits,
    storage::{Erased, Step, Stepped},
    wire::{codec::LeaseKey, message::Message},
};
use relay_store::seam::Upkeep as _;

use crate::rig::{FORWARD_TIMEOUT, Rig, keys, lease_of, outcome};

const SECOND: Duration = Duration::from_secs(1);

fn resumed(messages: &[Message]) -> Vec<LeaseKey> {
    let welcome = messages.iter().find_map(|message| match message {
        Message::Welcome(welcome) => Some(keys(&welcome.resumed)),
        _ => None,
    });
    welcome.expect("a Welcome")
}

fn rejoin(rig: &mut Rig, conn: u64, instance: u128, held: &[LeaseKey]) -> relay_core::hub::ConnId {
    rig.join_with(conn, instance, &[("crm", 4)], limits::CLIENT_BUFFER, held)
}

/// I8, I11: a socket lost for less than the grace costs nothing.
#[test]
fn an_instance_that_comes_back_in_time_keeps_its_leases() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.input(Input::Closed(client));
    rig.pass(Duration::from_secs(4));
    let again = rejoin(&mut rig, 2, 7, &[lease]);
    assert_eq!(resumed(&rig.received(again)), [lease]);
    rig.pass(Duration::from_secs(20));
    rig.report(again, lease, &outcome(Class::Delivered));
    assert_eq!((rig.only().state, rig.only().losses), (State::Delivered, 0));
    assert!(!rig.notices.iter().any(|notice| matches!(notice, Notice::ClientLeft { .. })));
}

/// I8: what a resumed client does not list is released at once, uncounted.
#[test]
fn what_a_resumed_client_does_not_list_is_released() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lost = lease_of(&rig.grant(client));
    rig.input(Input::Closed(client));
    let again = rejoin(&mut rig, 2, 7, &[]);
    let grant = rig.grant(again);
    assert_eq!((lease_of(&grant).0, grant.attempt), (lost.0, 1));
    assert_eq!(rig.only().losses, 0);
}

/// I8, I11: released after the grace, lost when the lease would have ended.
#[test]
fn an_absent_instance_loses_its_leases_after_the_grace_and_the_loss_counts_at_their_end() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    rig.received(client);
    let other = rig.join(2, 8, 4);
    rig.input(Input::Closed(client));
    rig.pass(limits::RESUME_GRACE.saturating_sub(SECOND));
    assert!(rig.grants(other).is_empty(), "the grace is not over");
    rig.pass(SECOND);
    let lease = lease_of(&rig.grant(other));
    assert_eq!(rig.only().losses, 0);
    for _ in 0..6 {
        rig.pass(Duration::from_secs(10));
        rig.heartbeat(other, &[lease]);
    }
    assert_eq!((rig.only().losses, rig.only().state), (1, State::Leased));
    rig.report(other, lease, &outcome(Class::Delivered));
    assert_eq!(rig.only().state, State::Delivered);
}

/// I11: an instance that comes back after its leases were released, but before their end, has lost nothing.
#[test]
fn an_instance_that_comes_back_before_the_end_of_its_leases_counts_no_loss() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.input(Input::Closed(client));
    rig.pass(Duration::from_secs(20));
    let again = rejoin(&mut rig, 2, 7, &[lease]);
    assert_eq!(resumed(&rig.received(again)), [], "it was released");
    rig.pass(Duration::from_secs(50));
    assert_eq!(rig.only().losses, 0);
}

/// I8: a half-open socket is noticed by its silence.
#[test]
fn a_silent_client_is_closed_and_its_leases_go_to_others() {
    let mut rig = Rig::new();
    let silent = rig.join(1, 7, 4);
    rig.send();
    rig.received(silent);
    let other = rig.join(2, 8, 4);
    for _ in 0..5 {
        rig.pass(Duration::from_secs(10));
        rig.heartbeat(other, &[]);
    }
    assert_eq!(rig.closed.len(), 1);
    assert_eq!(rig.grants(other).len(), 1);
}

/// I8: a live client keeps a lease by naming it, but not beyond its cap.
#[test]
fn a_lease_is_extended_as_far_as_its_cap() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.heartbeat(client, &[lease]);
    for _ in 0..9 {
        rig.pass(10 * SECOND);
        rig.heartbeat(client, &[lease]);
    }
    assert_eq!(rig.only().state, State::Leased);
    rig.received(client);
    rig.pass((FORWARD_TIMEOUT + limits::LEASE_OVERTIME).saturating_sub(90 * SECOND));
    assert_eq!(rig.only().losses, 1, "its forward timeout and the overtime are over");
    let told = rig.received(client);
    assert!(told.iter().any(|message| matches!(message, Message::Release(_))));
}

/// I8: a restart knows nothing of the client's forward timeout; the client that resumes says it.
#[test]
fn a_resumed_lease_has_the_forward_timeout_of_its_client() {
    let mut rig = Rig::new();
    rig.forward_timeout = 300 * SECOND;
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.heartbeat(client, &[lease]);
    rig.crash();
    let again = rejoin(&mut rig, 2, 7, &[lease]);
    assert_eq!(resumed(&rig.received(again)), [lease]);
    for _ in 0..30 {
        rig.pass(10 * SECOND);
        rig.heartbeat(again, &[lease]);
    }
    assert_eq!((rig.only().state, rig.only().losses), (State::Leased, 0));
    rig.pass(limits::LEASE_OVERTIME);
    assert_eq!(rig.only().losses, 1, "and no more than that");
}

/// I8: coming back again and again moves no cap.
#[test]
fn a_lease_that_is_resumed_often_is_not_kept_for_longer() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.heartbeat(client, &[lease]);
    for conn in 2..12 {
        rig.pass(10 * SECOND);
        rig.input(Input::Closed(relay_core::hub::ConnId(conn - 1)));
        rejoin(&mut rig, conn, 7, &[lease]);
    }
    assert_eq!(rig.only().losses, 1);
}

/// I8, I11: what is still on its way to its client is not lost, however slow that way is. Its time at the target starts when
/// the client has it whole.
#[test]
fn a_lease_lives_while_its_body_is_on_its_way() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    for _ in 0..30 {
        rig.pass(10 * SECOND);
        rig.heartbeat(client, &[]);
    }
    for _ in 0..9 {
        rig.heartbeat(client, &[lease]);
        rig.pass(10 * SECOND);
    }
    assert_eq!((rig.only().state, rig.only().losses), (State::Leased, 0));
    rig.report(client, lease, &outcome(Class::Delivered));
    assert_eq!(rig.only().state, State::Delivered);
}

/// I8: a client that is there and never has its body loses the lease all the same.
#[test]
fn a_lease_that_is_never_named_ends() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    rig.received(client);
    let most = limits::TRANSFER_TAIL + FORWARD_TIMEOUT + limits::LEASE_OVERTIME;
    for _ in 0..most.as_secs() / 10 {
        rig.pass(10 * SECOND);
        rig.heartbeat(client, &[]);
    }
    assert_eq!(rig.only().losses, 1);
}

/// A client that says what it holds a thousand times costs no thousand commits.
#[test]
fn heartbeats_without_a_pause_do_not_reach_the_store() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.asked.clear();
    for _ in 0..1_000 {
        rig.pass(Duration::from_millis(10));
        rig.heartbeat(client, &[lease]);
    }
    let extended = rig.asked.iter().filter(|asked| **asked == "extend").count();
    assert!((1..=2).contains(&extended), "{extended} in ten seconds");
}

/// I11: a hand-back counts nothing.
#[test]
fn a_hand_back_counts_nothing() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let first = lease_of(&rig.grant(client));
    rig.release(client, first);
    let grant = rig.grant(client);
    assert_eq!((grant.attempt, rig.only().losses, rig.only().attempts), (1, 0, 0));
    assert_ne!(lease_of(&grant), first, "another lease");
}

/// I11: from the third loss on a delivery is leased alone.
#[test]
fn a_suspect_goes_out_alone() {
    let mut rig = Rig::new();
    for _ in 0..4 {
        rig.send();
    }
    let suspect = rig.store.deliveries().first().map(|delivery| delivery.id).expect("four");
    rig.edit(suspect, |delivery| delivery.losses = limits::LOSSES_SUSPECT);
    let client = rig.join(1, 7, 8);
    let others = rig.grants(client);
    assert_eq!(others.len(), 3, "the suspect waits");
    assert!(others.iter().all(|grant| lease_of(grant).0 != suspect));
    for grant in &others {
        rig.report(client, lease_of(grant), &outcome(Class::Delivered));
    }
    let alone = rig.grant(client);
    assert_eq!(lease_of(&alone).0, suspect);
    rig.send();
    assert!(rig.grants(client).is_empty(), "nothing goes beside a suspect");
    rig.report(client, lease_of(&alone), &outcome(Class::Delivered));
    assert_eq!(rig.grants(client).len(), 1);
}

/// I11: a delivery that takes its client down every time ends dead.
#[test]
fn twelve_losses_end_a_delivery() {
    let mut rig = Rig::new();
    rig.send();
    for life in 0..u128::from(limits::LOSSES_MAX) {
        let client = rig.join(life as u64 + 1, life + 1, 4);
        assert_eq!(rig.grants(client).len(), 1, "life {life}");
        rig.input(Input::Closed(client));
        rig.pass(Duration::from_secs(62));
    }
    assert_eq!((rig.only().state, rig.only().reason), (State::Dead, Some(Reason::LostLeases)));
}

/// I8, I11: after a restart of the server every lease is re-armed, and resuming it costs nothing.
#[test]
fn after_a_restart_a_client_resumes_its_leases() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    rig.crash();
    let other = rig.join(2, 8, 4);
    rig.pass(Duration::from_secs(30));
    rig.heartbeat(other, &[]);
    assert!(rig.grants(other).is_empty(), "it is still leased");
    let again = rejoin(&mut rig, 3, 7, &[lease]);
    assert_eq!(resumed(&rig.received(again)), [lease]);
    rig.report(again, lease, &outcome(Class::Delivered));
    assert_eq!((rig.only().state, rig.only().losses), (State::Delivered, 0));
}

/// I8, I11: a lease whose instance never comes after a restart is released at its end, and the crash counts nothing.
#[test]
fn after_a_restart_the_lease_of_an_absent_instance_ends_uncounted() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    rig.received(client);
    rig.crash();
    let other = rig.join(2, 8, 4);
    for _ in 0..6 {
        rig.pass(Duration::from_secs(10));
        rig.heartbeat(other, &[]);
    }
    assert_eq!(rig.grants(other).len(), 1);
    assert_eq!(rig.only().losses, 0);
}

/// I11: a redrive starts losses anew, also those of leases that were released before it and end behind it.
#[test]
fn a_loss_from_before_a_redrive_does_not_count_against_it() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 4);
    rig.send();
    rig.received(client);
    rig.input(Input::Closed(client));
    rig.pass(limits::RESUME_GRACE);
    let released = rig.only().clone();
    assert_eq!((released.state, released.losses), (State::Ready, 0), "its loss is due when its lease would have ended");
    let dead = Delivery { state: State::Dead, reason: Some(Reason::Rejected), ..released };
    let redriven = relay_core::delivery::redrive(&dead, rig.now.wall, limits::MESSAGE_TTL).next;
    rig.store.put(redriven);
    rig.pass(Duration::from_secs(120));
    assert_eq!((rig.only().state, rig.only().losses), (State::Ready, 0));
}

/// I8: a page of held leases that is short because a record is damaged is not the last one.
#[test]
fn every_lease_is_rearmed_behind_a_short_page() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 400);
    for _ in 0..300 {
        rig.send();
    }
    assert_eq!(rig.grants(client).len(), 300);
    let damaged = rig.store.deliveries().first().map(|delivery| delivery.id).expect("300");
    rig.store.set_damaged([damaged].into());
    rig.crash();
    rig.pass(limits::LEASE);
    let other = rig.join(2, 8, 400);
    assert_eq!(rig.grants(other).len(), 299);
}

/// I7: somebody else's cancel takes the lease from its client.
#[test]
fn a_cancelled_delivery_is_taken_from_its_client() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 1);
    rig.send();
    let lease = lease_of(&rig.grant(client));
    let cancelled = relay_core::delivery::cancel(&rig.only(), rig.now.wall).next;
    rig.store.put(cancelled);
    rig.input(Input::Touched(lease.0));
    let told = rig.received(client);
    assert!(matches!(&told[..], [Message::Release(release)] if keys(&release.leases) == [lease]));
    rig.report(client, lease, &outcome(Class::Delivered));
    assert_eq!(rig.only().state, State::Cancelled, "the report came too late");
    rig.send();
    assert_eq!(rig.grants(client).len(), 1, "the slot is free");
}

/// I7, I12: the news that a delivery was cancelled may overtake the answer of the operation that leased it.
#[test]
fn what_was_cancelled_while_it_was_leased_is_not_granted() {
    for pre_leased in [true, false] {
        let mut rig = Rig::new();
        if pre_leased {
            rig.join(1, 7, 4);
            rig.prompt = false;
            rig.send();
        } else {
            rig.send();
            rig.prompt = false;
            rig.join(1, 7, 4);
        }
        let client = relay_core::hub::ConnId(1);
        let ask = rig.pending.pop_front().expect("an append, or a lease");
        let leased = rig.store.perform(ask);
        let cancelled = relay_core::delivery::cancel(&rig.only(), rig.now.wall).next;
        let id = cancelled.id;
        rig.store.put(cancelled);
        rig.prompt = true;
        rig.input(Input::Touched(id));
        rig.input(Input::Stored(leased));
        assert!(rig.grants(client).is_empty(), "pre-leased: {pre_leased}");
        assert_eq!(rig.only().state, State::Cancelled);
        rig.send();
        assert_eq!(rig.grants(client).len(), 1, "its slot is free, and others go on");
    }
}

/// What was touched and goes on is leased again.
#[test]
fn what_was_touched_while_it_was_leased_comes_in_the_end() {
    let mut rig = Rig::new();
    rig.send();
    rig.prompt = false;
    let client = rig.join(1, 7, 4);
    let id = rig.only().id;
    rig.input(Input::Touched(id));
    rig.prompt = true;
    rig.answer_store();
    assert_eq!(rig.grants(client).len(), 1);
    assert_eq!((rig.only().state, rig.only().losses), (State::Leased, 0));
}

/// An instance that says goodbye while something is still under way for it is forgotten once that is over.
#[test]
fn an_instance_is_forgotten_once_nothing_is_under_way_for_it() {
    for pre_leased in [true, false] {
        let mut rig = Rig::new();
        let client = rig.join(1, 7, 4);
        rig.prompt = false;
        if pre_leased {
            rig.send();
        } else {
            rig.input(Input::Woken(crate::rig::name("crm")));
        }
        assert!(!rig.pending.is_empty());
        rig.input(Input::Received(client, Message::GoAway(relay_core::wire::message::GoAway::default())));
        rig.input(Input::Closed(client));
        assert!(format!("{:?}", rig.hub).contains("client-7"), "something is under way");
        rig.prompt = true;
        rig.answer_store();
        assert!(!format!("{:?}", rig.hub).contains("client-7"), "pre-leased: {pre_leased}");
    }
}

/// Suspects that wait behind each other are handed back one after the other, not inside each other.
#[test]
fn many_suspects_of_a_client_that_leaves_are_handed_back() {
    let mut rig = Rig::new();
    let client = rig.join(1, 7, 256);
    let open = rig.routing.clone();
    rig.routing.paused.insert(crate::rig::name("crm"));
    rig.input(Input::Routing(std::sync::Arc::new(rig.routing.clone())));
    for _ in 0..256 {
        rig.send();
    }
    for delivery in rig.store.deliveries() {
        rig.edit(delivery.id, |delivery| delivery.losses = limits::LOSSES_SUSPECT);
    }
    rig.input(Input::Routing(std::sync::Arc::new(open)));
    assert_eq!((rig.grants(client).len(), rig.count(State::Leased)), (1, 256));
    rig.input(Input::Received(client, Message::GoAway(relay_core::wire::message::GoAway::default())));
    assert_eq!(rig.count(State::Ready), 255, "all but the one that is out");
    rig.input(Input::Closed(client));
    rig.pass(limits::RESUME_GRACE);
    assert_eq!(rig.count(State::Ready), 256);
}

/// I11: a suspect that is out when the server dies is alone after the restart too.
#[test]
fn a_resumed_suspect_is_alone() {
    let mut rig = Rig::new();
    rig.send();
    let suspect = rig.store.deliveries().first().map(|delivery| delivery.id).expect("one");
    rig.edit(suspect, |delivery| delivery.losses = limits::LOSSES_SUSPECT);
    let client = rig.join(1, 7, 4);
    let lease = lease_of(&rig.grant(client));
    rig.crash();
    let client = rejoin(&mut rig, 2, 7, &[lease]);
    rig.send();
    assert!(rig.grants(client).is_empty(), "nothing goes beside it");
    rig.report(client, lease, &outcome(Class::Delivered));
    assert_eq!(rig.grants(client).len(), 1);
}

/// I8, I11: a server whose store reads slowly after a restart ends no lease before its instance could come back to it.
#[test]
fn leases_of_an_earlier_run_wait_until_all_are_read() {
    let mut rig = Rig::with_lease(Duration::from_secs(10));
    let client = rig.join(1, 7, 4);
    rig.send();
    rig.grant(client);
    rig.prompt = false;
    rig.crash();
    assert!(rig.answer_one(), "the first page");
    rig.pending.clear();
    rig.prompt = true;
    rig.pass(Duration::from_secs(30));
    assert_eq!((rig.only().state, rig.only().losses), (State::Leased, 0));
}

/// I20: a delivery that a replay made of an event just as that was erased goes to nobody, and ends.
#[test]
fn what_was_erased_goes_to_nobody() {
    let mut rig = Rig::new();
    rig.send();
    let waiting = rig.store.deliveries().remove(0);
    rig.store.put(Delivery { state: State::Cancelled, ..waiting.clone() });
    let job = IdMint::new(0, 1).job(rig.now.wall);
    let step = Step { before: 0, erase: vec![waiting.event], ..Step::look(job) };
    let stepped = rig.store.step(step).as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(stepped, Poll::Ready(Ok(Stepped::Done { erased, .. })) if erased == [Erased::Now]));
    rig.store.put(waiting.clone());
    let client = rig.join(1, 7, 4);
    rig.send();
    assert_eq!(rig.grants(client).len(), 1, "the other one");
    assert_eq!((rig.count(State::Cancelled), rig.count(State::Leased)), (1, 1));
    rig.pass(SECOND);
    assert_eq!(rig.count(State::Cancelled), 1);
}
