//! Several servers whose clocks are not the same: who takes leases, and what is stored.

use std::time::Duration;

use relay_core::{
    delivery::{State, outcome::Class},
    hub::{Answer, ConnId, Input},
    limits,
    storage::StoreError,
    time::Wall,
    wire::message::{GoAway, Message},
};
use relay_store::memory::Trouble;

use crate::rig::{Rig, START, lease_of, outcome};

const HOUR: i64 = 3_600;
const STEP: Duration = Duration::from_millis(100);

/// Lets time pass at all, and at the store.
fn pass(rigs: &mut [Rig], span: Duration) {
    for _ in 0..span.as_millis() / STEP.as_millis() {
        let passed = rigs[0].now.mono.as_micros() - 1;
        for rig in &mut *rigs {
            rig.store.tell_clock(START + Duration::from_micros(passed) + STEP);
            rig.pass(STEP);
        }
    }
}

/// I10: a server whose clock is off takes nothing out, also not what it stores itself; the others do.
#[test]
fn a_server_whose_clock_is_off_takes_no_leases() {
    for off in [-HOUR, HOUR] {
        let mut rigs = Rig::apart([0, off]);
        pass(&mut rigs, limits::PRESENCE_EVERY * 2);
        let apart = rigs[1].hub.clock_apart().expect("it is off");
        assert_eq!((apart.by.as_secs(), apart.ahead), (HOUR.unsigned_abs(), off > 0));
        assert_eq!(rigs[0].hub.clock_apart(), None);
        let idle = rigs[1].join(1, 8, 4);
        let ticket = rigs[1].send();
        assert!(matches!(rigs[1].answers[&ticket], Answer::Accepted { .. }));
        pass(&mut rigs, limits::DUE_EVERY);
        assert!(rigs[1].grants(idle).is_empty());
        let client = rigs[0].join(1, 7, 4);
        let lease = lease_of(&rigs[0].grant(client));
        rigs[0].report(client, lease, &outcome(Class::Delivered));
        assert_eq!(rigs[0].only().state, State::Delivered);
    }
}

/// I10: what such a server stores is of the others' time, so that nothing expires early or waits for an hour.
#[test]
fn what_is_stored_is_of_the_time_that_all_have() {
    for off in [-HOUR, HOUR] {
        let mut rigs = Rig::apart([0, off]);
        pass(&mut rigs, limits::PRESENCE_EVERY * 2);
        rigs[1].send();
        let made = rigs[1].only();
        let near = |at: Wall, wanted: Wall| at.since(wanted).max(wanted.since(at)) <= STEP * 2;
        assert!(near(made.ready_at, rigs[0].now.wall), "{made:?}");
        assert!(near(made.expires_at, rigs[0].now.wall + limits::MESSAGE_TTL), "{made:?}");
        let event = rigs[0].store.event_now(made.event).expect("it is stored");
        assert!(near(event.received_at, rigs[0].now.wall));
    }
}

/// I7, I8: what it holds when its clock goes off it goes on with: settled, and extended so that nobody takes it away.
#[test]
fn what_comes_to_it_is_kept_and_settled() {
    for off in [-HOUR, HOUR] {
        let mut rigs = Rig::apart([0, off]);
        pass(&mut rigs, limits::PRESENCE_EVERY * 2);
        let client = rigs[0].join(1, 7, 4);
        rigs[0].send();
        let lease = lease_of(&rigs[0].grant(client));
        rigs[0].input(Input::Closed(client));
        let again = rigs[1].join_with(1, 7, &[("crm", 4)], limits::CLIENT_BUFFER, &[lease]);
        for _ in 0..8 {
            pass(&mut rigs, Duration::from_secs(10));
            rigs[1].heartbeat(again, &[lease]);
        }
        let held = rigs[1].only();
        assert_eq!((held.state, held.token, held.losses, held.unheard), (State::Leased, lease.1, 0, 0));
        rigs[1].report(again, lease, &outcome(Class::Busy));
        let tried = rigs[1].only();
        assert!(tried.due_at.since(rigs[0].now.wall) < Duration::from_mins(5), "{tried:?}");
        assert_eq!((tried.state, tried.losses), (State::Scheduled, 0));
    }
}

/// I10, I19: whoever is at a server whose clock goes off, or comes to it, goes to one that leases: it reports what it has begun, gets
/// nothing more, and dials another at once.
#[test]
fn clients_leave_a_server_whose_clock_is_off() {
    let mut rigs = Rig::apart([0, 0]);
    pass(&mut rigs, limits::PRESENCE_EVERY * 2);
    let client = rigs[1].join(1, 7, 4);
    rigs[1].send();
    let lease = lease_of(&rigs[1].grant(client));
    rigs[1].now.wall = rigs[1].now.wall + Duration::from_hours(1);
    pass(&mut rigs, limits::PRESENCE_EVERY * 2);
    assert!(rigs[1].hub.clock_apart().is_some() && sends_elsewhere(&mut rigs[1], client));
    rigs[1].report(client, lease, &outcome(Class::Delivered));
    assert_eq!(rigs[1].only().state, State::Delivered);
    let late = rigs[1].join(2, 8, 4);
    assert!(sends_elsewhere(&mut rigs[1], late));
    let other = rigs[0].join(1, 9, 4);
    assert!(!sends_elsewhere(&mut rigs[0], other));
}

/// I10, I19: once its clock is right again, as after a machine that slept and was told the time, it leases to who comes.
#[test]
fn a_server_whose_clock_is_right_again_leases() {
    let mut rigs = Rig::apart([0, -HOUR]);
    pass(&mut rigs, limits::PRESENCE_EVERY * 2);
    let early = rigs[1].join(1, 7, 4);
    assert!(sends_elsewhere(&mut rigs[1], early));
    rigs[1].now.wall = rigs[1].now.wall + Duration::from_hours(1);
    pass(&mut rigs, limits::PRESENCE_EVERY * 3);
    assert_eq!(rigs[1].hub.clock_apart(), None);
    let again = rigs[1].join(2, 7, 4);
    assert!(!sends_elsewhere(&mut rigs[1], again));
    rigs[1].send();
    rigs[1].grant(again);
}

/// I19: a server whose clock is off and that is left alone leases before long, without anybody's help: by the clock of those that are
/// gone, which is that of all that is stored. Whoever comes later finds that clock kept.
#[test]
fn a_server_whose_clock_is_off_leases_once_it_is_alone() {
    for off in [-HOUR, HOUR] {
        let mut rigs = Rig::apart([0, off]);
        pass(&mut rigs, limits::PRESENCE_EVERY * 2);
        rigs[0].send();
        let right = rigs[0].now;
        let left = &mut rigs[1..];
        pass(left, limits::PRESENCE_GONE + limits::PRESENCE_EVERY);
        let early = left[0].join(1, 7, 4);
        assert!(sends_elsewhere(&mut left[0], early), "the others may have leases yet");
        left[0].input(Input::Closed(early));
        pass(left, limits::PRESENCE_GONE + limits::LAPSE_AFTER + limits::PRESENCE_EVERY);
        let client = left[0].join(2, 8, 4);
        assert!(left[0].hub.clock_apart().is_none());

        let lease = lease_of(&left[0].grant(client));
        let since_then = Duration::from_micros(left[0].now.mono.as_micros() - right.mono.as_micros());
        let shared = right.wall + since_then;
        let near = |at: Wall, wanted: Wall| at.since(wanted).max(wanted.since(at)) <= STEP * 2;
        let until = left[0].only().lease.expect("it is leased").until;
        assert!(near(until, shared + limits::LEASE), "{until} is not {shared} and a lease");
        left[0].report(client, lease, &outcome(Class::Busy));
        pass(left, Duration::from_secs(2));
        let again = lease_of(&left[0].grant(client));
        pass(left, Duration::from_secs(30));
        left[0].heartbeat(client, &[]);
        pass(left, Duration::from_secs(29));
        assert_eq!(left[0].only().token, again.1, "its lease ends when it ends");

        // The others come back, with the clock that they had.
        let passed = Duration::from_micros(rigs[1].now.mono.as_micros() - right.mono.as_micros());
        rigs[0].now = right + passed;
        rigs[0].crash();
        pass(&mut rigs, limits::PRESENCE_EVERY * 3);
        assert!(rigs.iter().all(|rig| rig.hub.clock_apart().is_none()), "both keep it");
        rigs[1].heartbeat(client, &[again]);
        rigs[1].report(client, again, &outcome(Class::Delivered));
        assert_eq!(rigs[1].only().state, State::Delivered);
        assert!(near(rigs[1].only().changed_at, rigs[0].now.wall), "{:?}", rigs[1].only());
    }
}

fn sends_elsewhere(rig: &mut Rig, conn: ConnId) -> bool {
    rig.received(conn).iter().any(|message| matches!(message, Message::GoAway(GoAway { elsewhere: true, .. })))
}

/// Two that agree are right, whatever the store's clock says, and who goes as they do goes on.
#[test]
fn the_clock_of_most_is_kept() {
    let mut rigs = Rig::apart([HOUR, HOUR, 0]);
    pass(&mut rigs, limits::PRESENCE_EVERY * 2);
    let off: Vec<bool> = rigs.iter().map(|rig| rig.hub.clock_apart().is_some()).collect();
    assert_eq!(off, [false, false, true]);
}

/// I10: nothing is leased before it is known, and what comes meanwhile waits as long as its sender does.
#[test]
fn nobody_leases_or_stores_before_clocks_are_compared() {
    let mut rigs = Rig::apart([0]);
    let rig = &mut rigs[0];
    rig.trouble(Trouble::Clock, StoreError::Away);
    rig.crash();
    rig.join(1, 7, 4);
    rig.asked.clear();
    let given_up = rig.send();
    rig.pass(Duration::from_secs(5));
    assert!(matches!(rig.answers[&given_up], Answer::NotStored(_)), "{:?}", rig.answers);
    let kept = rig.send();
    assert!(!rig.asked.contains(&"lease") && !rig.asked.contains(&"append"));
    rig.no_trouble();
    pass(&mut rigs, limits::STORE_RETRY * 2);
    let rig = &rigs[0];
    assert!(matches!(rig.answers[&kept], Answer::Accepted { .. }), "{:?}", rig.answers.get(&kept));
    assert_eq!(rig.only().state, State::Leased);
}

/// I10: a server that is off and cannot ask for the store's clock at first takes nobody for gone by its own, and is not alone then.
#[test]
fn a_server_that_does_not_know_the_time_takes_nobody_for_gone() {
    let mut rigs = Rig::apart([0, 0]);
    pass(&mut rigs, limits::PRESENCE_EVERY * 2);
    rigs[1].now.wall = rigs[1].now.wall + Duration::from_hours(1);
    rigs[1].trouble(Trouble::Clock, StoreError::Away);
    rigs[1].crash();
    rigs[1].pass(STEP);
    rigs[1].no_trouble();
    rigs[1].pass(limits::STORE_RETRY * 2);
    let ticket = rigs[1].send();
    assert!(matches!(rigs[1].answers[&ticket], Answer::Accepted { .. }));
    assert!(rigs[1].only().ready_at.since(rigs[0].now.wall) < Duration::from_mins(1), "{:?}", rigs[1].only());
}

/// One owner asks for no clock.
#[test]
fn one_owner_reads_no_clock() {
    let mut rig = Rig::new();
    rig.pass(limits::PRESENCE_EVERY * 5);
    assert!(!rig.asked.iter().any(|kind| matches!(*kind, "clock" | "presence")));
}
