//! What a move into another store asks for.

use relay_core::{
    delivery::{Delivery, Lease, Reason, State, outcome::Class},
    id::{DeliveryId, EventId, InstanceId},
    storage::{Append, Replay, Replayed},
    time::Wall,
};

use super::{
    Backend, Fixture,
    fixture::{TTL, at, attempt, ending, failing, key, name},
};
use crate::seam::{HaveRoom, Stats};

/// A delivery in a state, as one has become that ended so or is on its way.
fn become_so(ready: &Delivery, state: State) -> Delivery {
    let tried = failing(ready, Class::Rejected, at(2), at(30)).next;
    match state {
        State::Ready => ready.clone(),
        State::Scheduled => tried,
        State::Leased => Delivery { state, lease: Some(lease()), version: ready.version + 1, ..ready.clone() },
        State::Delivered | State::Dead | State::Expired | State::Cancelled => ending(&tried, state, at(40)).next,
    }
}

fn lease() -> Lease {
    Lease { instance: InstanceId::from_u128(0xabc), keeper: 7, since: at(2), until: at(62) }
}

/// I5: an event whose deliveries are in any state is stored as it is, and what is due is leased, and what is over is listed, as if it had
/// become so there.
pub async fn what_is_in_any_state_is_stored_as_it_is<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let event = fixture.event("in", b"{}", at(1));
    let append = fixture.appending(event, &["crm"; 7]);
    let all: Vec<Delivery> =
        append.deliveries.iter().zip(State::ALL).map(|(ready, state)| become_so(ready, state)).collect();
    let append = Append { deliveries: all.clone(), ..append };
    assert!(fixture.append(append.clone()).await.is_ok_and(|appended| appended.is_stored()));
    assert!(fixture.append(append).await.is_ok_and(|appended| appended.is_stored()), "again, and nothing twice");
    let fixture = fixture.reopen().await;
    for delivery in &all {
        assert_eq!(fixture.find(delivery.id).await.as_ref(), Some(delivery));
    }
    assert_eq!(fixture.counters("crm").await.states, [1; 7]);
    let leased = fixture.lease("crm", at(31)).await;
    let states = [State::Ready, State::Scheduled];
    assert_eq!(leased.deliveries.len(), states.len());
    let dead = all.iter().find(|delivery| delivery.state == State::Dead).expect("there is one");
    assert_eq!(dead.reason, Some(Reason::Rejected));
    let redriven = ending(dead, State::Ready, at(50));
    fixture.apply(redriven).await;
    fixture.check_sums().await;
}

/// A replay in any state, too.
pub async fn a_replay_in_any_state_is_stored_as_it_is<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let first = fixture.accept("crm", at(1)).await;
    let event = fixture.store().event(first.event).await.expect("reads").expect("is there");
    let made: Vec<Delivery> = State::ALL
        .into_iter()
        .map(|state| {
            let id = fixture.mint.delivery(at(3)).beside(event.id);
            become_so(&Delivery::ready(id, &event, name("crm"), true, at(3), TTL), state)
        })
        .collect();
    let stored = fixture.store().replay(Replay::anyway(made.clone()), Vec::new()).await;
    assert_eq!(stored, Ok(Replayed::Stored(vec![true; made.len()])));
    for made in &made {
        assert_eq!(fixture.find(made.id).await.as_ref(), Some(made));
    }
    fixture.check_sums().await;
}

/// A key belongs to the event that took it last, and an event without one has none.
pub async fn keys_are_those_of_the_events_that_hold_them<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let (short, long) = (key("again", at(10)), key("again", at(100)));
    let mut ids = Vec::new();
    for (dedupe, received_at) in [(&short, at(1)), (&long, at(20))] {
        let event = fixture.event_of(dedupe, "in", b"{}", received_at);
        ids.push(event.id);
        let append = Append { dedupe: Some(dedupe.clone()), ..fixture.appending(event, &["crm"]) };
        assert!(fixture.append(append).await.is_ok_and(|appended| appended.is_stored()));
    }
    ids.push(fixture.accept("crm", at(30)).await.event);
    let keys = fixture.store().keys(ids).await;
    assert_eq!(keys, Ok(vec![None, Some(long), None]));
    fixture.check_sums().await;
}

/// They are those that were put, however often, and the latest is that of the record.
pub async fn attempts_are_put_in_the_place_of_those_before<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let event = fixture.event("in", b"{}", at(1));
    let append = fixture.appending(event, &["crm"]);
    let ready = append.deliveries[0].clone();
    let one = failing(&ready, Class::Busy, at(2), at(3)).next;
    let two = failing(&one, Class::Rejected, at(4), at(5)).next;
    let three = failing(&two, Class::Rejected, at(6), at(7)).next;
    let append = Append { deliveries: vec![three.clone()], ..append };
    assert!(fixture.append(append).await.is_ok_and(|appended| appended.is_stored()));
    let earlier: Vec<_> = [&one, &two].into_iter().filter_map(|before| before.last.clone()).collect();
    for _ in 0..2 {
        assert_eq!(fixture.store().put_attempts(vec![(three.id, earlier.clone())]).await, Ok(()));
    }
    let fixture = fixture.reopen().await;
    let last = three.last.clone().expect("it was tried");
    let all = fixture.store().attempts(three.id).await;
    assert_eq!(all, Ok([&earlier[..], std::slice::from_ref(&last)].concat()));
    // Those that come later stand behind them.
    let four = attempt(&three, Class::Busy, at(8));
    let mut change = ending(&three, State::Delivered, at(9));
    (change.next.last, change.archive) = (Some(four.clone()), Some(last.clone()));
    fixture.apply(change).await;
    assert_eq!(fixture.store().attempts(three.id).await, Ok([&earlier[..], &[last, four]].concat()));
    assert_eq!(fixture.store().put_attempts(vec![(three.id, Vec::new())]).await, Ok(()));
    assert_eq!(fixture.store().attempts(three.id).await.map(|left| left.len()), Ok(1));
}

/// I5: what only counters know is as it is set, and what follows from what is stored is left alone.
pub async fn totals_are_set_and_what_is_stored_is_left_alone<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for second in 1..=20 {
        fixture.accept("crm", at(second)).await;
    }
    let mut totals: Stats = fixture.store().stats().await.expect("stats work");
    let source = &mut totals.sources[0];
    (source.accepted, source.retired, source.duplicates) = (120, 100, 8);
    let destination = &mut totals.destinations[0];
    (destination.created, destination.retired, destination.lost) = (57, 30, 7);
    (destination.outcomes, destination.retried) = ([5, 4, 3, 2, 1], 9);
    (totals.id_floor, totals.latest) = (totals.id_floor + (1 << 30), at(900));
    let set = totals.clone();
    // What cannot be, for it is not so.
    totals.sources[0].stored = 3;
    totals.destinations[0].states = [9; 7];
    for _ in 0..2 {
        assert_eq!(fixture.store().put_totals(totals.clone()).await, Ok(()));
    }
    let fixture = fixture.reopen().await;
    let stats = fixture.store().stats().await.expect("stats work");
    assert_eq!((&stats.sources, &stats.destinations), (&set.sources, &set.destinations));
    assert_eq!((stats.id_floor, stats.latest), (set.id_floor, set.latest));
    // They never go back.
    let nothing = Stats { id_floor: 0, latest: Wall::MIN, ..set.clone() };
    assert_eq!(fixture.store().put_totals(nothing).await, Ok(()));
    assert_eq!(
        fixture.store().stats().await.map(|stats| (stats.id_floor, stats.latest)),
        Ok((set.id_floor, set.latest))
    );
    fixture.check_sums().await;
}

/// What is stored under an id is not in the way of the same id, and whoever is told to make room finds it one behind.
pub async fn an_id_that_is_stored_is_not_in_its_own_way<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let stored = fixture.accept("crm", at(1)).await;
    let (other_event, other) = (fixture.mint.event(at(2)), fixture.mint.delivery(at(2)));
    let asked = |events: &[_], deliveries: &[_]| fixture.store().have_room(events.to_vec(), deliveries.to_vec());
    let room = asked(&[stored.event, other_event], &[stored.id, other]).await;
    assert_eq!(room, Ok(HaveRoom::all(2, 2)));
    // Of the same sequences, and others.
    let event = EventId::from_u128(stored.event.as_u128() ^ 1 << 40);
    let delivery = DeliveryId::from_u128(stored.id.as_u128() ^ 1 << 40);
    let HaveRoom { events, deliveries } = asked(&[event, event], &[delivery, delivery]).await.expect("reads");
    assert_eq!((events[0], deliveries[0]), (events[1], deliveries[1]));
    let twin = EventId::from_u128(other_event.as_u128() ^ 1 << 40);
    let twins = asked(&[other_event, twin], &[]).await.expect("reads");
    assert_eq!(
        twins.events,
        [true, events[0]],
        "two that are not stored yet are in each other's way where a stored one is"
    );
}
