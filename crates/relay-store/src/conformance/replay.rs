//! Replays: new deliveries of old events.

use std::{collections::BTreeMap, time::Duration};

use relay_core::{
    delivery::{Delivery, State, retry::RetryPolicy},
    id::EventId,
    jobs::{Action, End, Pace, Target},
    routing::Route,
    storage::{EventFilter, Replay, Replayed, StoreError},
};

use super::{
    Backend, Fixture,
    fixture::{TTL, at, change, name},
};
use crate::seam::{DeliveryFilter, Page};

/// I12: linked to the old event, which must still be there; the old delivery is not touched.
pub async fn a_replay_is_a_new_delivery_of_an_old_event<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let old = fixture.ended("crm", State::Delivered, at(1)).await;
    let event = fixture.store().event(old.event).await.expect("reading works").expect("it is there");
    let replay = Delivery::ready(fixture.mint.delivery(at(5)), &event, name("erp"), true, at(5), TTL);
    let orphan = Delivery { id: fixture.mint.delivery(at(5)), event: EventId::from_u128(9 << 80), ..replay.clone() };
    let answers = fixture.store().replay(Replay::anyway(vec![replay.clone(), orphan.clone()]), Vec::new()).await;
    assert_eq!(answers, Ok(Replayed::Stored(vec![true, false])));
    assert_eq!(fixture.find(orphan.id).await, None);
    let leased = fixture.lease("erp", at(5)).await;
    assert!(leased.deliveries[0].replay);
    assert_eq!(fixture.bodies(&leased.deliveries).await, [Some(event)]);
    assert_eq!(fixture.find(old.id).await, Some(old));
    assert_eq!(fixture.counters("erp").await.created, 1);
    fixture.check_sums().await;
}

/// The same call again answers the same and stores nothing, whatever has become of the first.
pub async fn a_repeated_replay_stores_nothing_twice<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let old = fixture.ended("crm", State::Delivered, at(1)).await;
    let replay = Delivery {
        id: fixture.mint.delivery(at(5)).beside(old.event),
        version: 0,
        state: State::Ready,
        replay: true,
        reason: None,
        ..old.clone()
    };
    let first = fixture.store().replay(Replay::anyway(vec![replay.clone()]), Vec::new()).await;
    let moved = fixture.apply(change(&replay, |next| next.state = State::Cancelled)).await;
    let fixture = fixture.reopen().await;
    let second = fixture.store().replay(Replay::anyway(vec![replay]), Vec::new()).await;
    assert_eq!((first, second), (Ok(Replayed::Stored(vec![true])), Ok(Replayed::Stored(vec![true]))));
    assert_eq!(fixture.find(moved.id).await, Some(moved));
    assert_eq!(fixture.counters("crm").await.created, 2);
    fixture.check_sums().await;
}

/// I12: all events of a source, the oldest first, along its routes; the same command again, also after a crash, makes none.
pub async fn a_replay_of_many_is_done_once<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut old = Vec::new();
    for number in 0..3 {
        old.push(fixture.ended("crm", State::Delivered, at(number)).await);
    }
    let route = |to| Route { destination: name(to), ttl: TTL, retry: RetryPolicy::default() };
    let routes = BTreeMap::from([(name("in"), vec![route("crm"), route("erp")])]);
    let pace = Some(Pace { from: at(20), every: Duration::from_secs(5) });
    let target = Target::Events(EventFilter { oldest_first: true, ..EventFilter::default() });
    let command = fixture.command(Action::Replay { routes, pace }, target, at(10));
    let (done, told) = fixture.run(command.clone(), at(10)).await;
    assert_eq!((done.matched, done.changed, done.next_due), (3, 6, Some(at(35))));
    assert_eq!((told.touched.len(), told.woken), (0, [name("crm"), name("erp")].into()));
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.run(command, at(90)).await.0, done);
    for (number, old) in old.iter().enumerate() {
        let filter = DeliveryFilter { event: Some(old.event), ..DeliveryFilter::default() };
        let of_event = fixture.store().browse_deliveries(filter, Page { cursor: None, limit: 10 }).await;
        let made: Vec<Delivery> = of_event.expect("reads").items.into_iter().filter(|found| found.replay).collect();
        let due = at(20 + 5 * number as u64);
        assert_eq!(made.len(), 2);
        assert!(
            made.iter().all(|made| (made.due_at, made.expires_at, made.body_bytes) == (due, due + TTL, old.body_bytes))
        );
    }
    fixture.check_sums().await;
}

/// I16: a replay adds to what is stored, as a webhook does: without room it is refused, one event or many, and what was refused
/// is done by the same call once there is room. A command that was half way goes on there.
pub async fn nothing_is_replayed_without_room<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let old = fixture.ended("crm", State::Delivered, at(1)).await;
    fixture.ended("crm", State::Delivered, at(2)).await;
    let event = fixture.store().event(old.event).await.expect("reading works").expect("it is there");
    let one = Delivery::ready(fixture.mint.delivery(at(5)), &event, name("crm"), true, at(5), TTL);
    let route = Route { destination: name("erp"), ttl: TTL, retry: RetryPolicy::default() };
    let replay = Action::Replay { routes: BTreeMap::from([(name("in"), vec![route])]), pace: None };
    let target = Target::Events(EventFilter { oldest_first: true, ..EventFilter::default() });
    let mut many = fixture.command(replay, target, at(10));
    many.limit = Some(1);
    assert_eq!(fixture.run(many.clone(), at(10)).await.0.changed, 1);
    many.limit = None;

    fixture.backend.set_full(true).await;
    let before = fixture.snapshot().await;
    assert_eq!(fixture.store().replay(Replay::anyway(vec![one.clone()]), Vec::new()).await, Err(StoreError::Full));
    assert_eq!(fixture.end(many.clone(), at(11)).await.0.end, End::Failed(StoreError::Full));
    assert_eq!(fixture.snapshot().await, before);

    fixture.backend.set_full(false).await;
    assert_eq!(fixture.store().replay(Replay::anyway(vec![one]), Vec::new()).await, Ok(Replayed::Stored(vec![true])));
    assert_eq!(fixture.run(many, at(12)).await.0.changed, 2);
    assert_eq!((fixture.counters("crm").await.created, fixture.counters("erp").await.created), (3, 2));
    fixture.check_sums().await;
}
