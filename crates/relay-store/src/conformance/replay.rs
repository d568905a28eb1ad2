//! Replays: new deliveries of old events.

use relay_core::{
    delivery::{Delivery, State},
    id::EventId,
};

use super::{
    Backend, Fixture,
    fixture::{TTL, at, change, name},
};

/// I12: linked to the old event, which must still be there; the old delivery is not touched.
pub async fn a_replay_is_a_new_delivery_of_an_old_event<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let old = fixture.ended("crm", State::Delivered, at(1)).await;
    let event = fixture.store().event(old.event).await.expect("reading works").expect("it is there");
    let replay = Delivery::ready(fixture.mint.delivery(at(5)), &event, name("erp"), true, at(5), TTL);
    let orphan = Delivery { id: fixture.mint.delivery(at(5)), event: EventId::from_u128(9 << 80), ..replay.clone() };
    let answers = fixture.store().replay(vec![replay.clone(), orphan.clone()], Vec::new()).await;
    assert_eq!(answers, Ok(vec![true, false]));
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
        id: fixture.mint.delivery(at(5)),
        version: 0,
        state: State::Ready,
        replay: true,
        reason: None,
        ..old.clone()
    };
    let first = fixture.store().replay(vec![replay.clone()], Vec::new()).await;
    let moved = fixture.apply(change(&replay, |next| next.state = State::Cancelled)).await;
    let fixture = fixture.reopen().await;
    let second = fixture.store().replay(vec![replay], Vec::new()).await;
    assert_eq!((first, second), (Ok(vec![true]), Ok(vec![true])));
    assert_eq!(fixture.find(moved.id).await, Some(moved));
    assert_eq!(fixture.counters("crm").await.created, 2);
    fixture.check_sums().await;
}
