//! Retention: what ended long enough ago goes, and only that.

use std::time::Duration;

use relay_core::{delivery::State, storage::Appended};

use super::{
    Backend, Fixture,
    fixture::{at, ending, key},
};
use crate::seam::{DeliveryFilter, EventFilter, Page, Retain, Retained};

/// Everything that ended before `at(100)`, in one go.
fn rules() -> Retain {
    Retain { now: at(1_000), delivered_before: at(100), dead_before: at(100), limit: 1_000 }
}

async fn retain<B: Backend>(fixture: &Fixture<B>, rules: Retain) -> Retained {
    let mut all = Retained::default();
    loop {
        let done = fixture.store().retain(rules).await.expect("retention works");
        assert!(done.deliveries <= u64::from(rules.limit));
        all.deliveries += done.deliveries;
        all.events += done.events;
        if !done.more {
            return all;
        }
    }
}

/// Ended before the edge goes, ended at the edge stays; each kind has its own edge.
pub async fn what_ended_is_retired_exactly_at_its_edge<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let before_edge = at(100) - Duration::from_micros(1);
    let mut gone = Vec::new();
    let mut kept = Vec::new();
    for state in [State::Delivered, State::Cancelled, State::Dead, State::Expired] {
        gone.push(fixture.ended("crm", state, before_edge).await);
        kept.push(fixture.ended("crm", state, at(100)).await);
    }
    let only_dead = Retain { delivered_before: at(0), ..rules() };
    assert_eq!(retain(&fixture, only_dead).await.deliveries, 2);
    assert_eq!(retain(&fixture, rules()).await.deliveries, 2);
    for delivery in gone {
        assert_eq!(fixture.find(delivery.id).await, None);
    }
    for delivery in kept {
        assert_eq!(fixture.find(delivery.id).await, Some(delivery));
    }
    assert_eq!(fixture.counters("crm").await.retired, 4);
    fixture.check_sums().await;
}

/// I13: however old it is.
pub async fn nothing_open_is_ever_retired<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    fixture.accept("leased", at(0)).await;
    fixture.lease("leased", at(0)).await;
    let delivery = fixture.accept("crm", at(0)).await;
    fixture.apply(ending(&delivery, State::Scheduled, at(1))).await;
    fixture.accept("crm", at(0)).await;
    let before = fixture.snapshot().await;
    assert_eq!(retain(&fixture, rules()).await, Retained::default());
    assert_eq!(fixture.snapshot().await, before);
    fixture.check_sums().await;
}

/// Not before: a replay or another destination may still need it.
pub async fn an_event_goes_with_its_last_delivery<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let event = fixture.event("in", b"two ways", at(0));
    let id = event.id;
    let append = fixture.appending(event, &["crm", "erp"]);
    let [crm, erp] = [append.deliveries[0].clone(), append.deliveries[1].clone()];
    assert_eq!(fixture.append(append).await, Ok(Appended::Stored));
    fixture.apply(ending(&crm, State::Delivered, at(1))).await;
    assert_eq!(retain(&fixture, rules()).await.events, 0);
    assert!(fixture.store().event(id).await.expect("reading works").is_some());
    fixture.apply(ending(&erp, State::Delivered, at(2))).await;
    assert_eq!(retain(&fixture, rules()).await.events, 1);
    assert_eq!(fixture.store().event(id).await, Ok(None));
    fixture.check_sums().await;
}

/// A bounded step says that there is more to do, and the next goes on.
pub async fn retention_goes_on_until_there_is_no_more<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for _ in 0..25 {
        fixture.ended("crm", State::Delivered, at(1)).await;
    }
    let small = Retain { limit: 10, ..rules() };
    let first = fixture.store().retain(small).await.expect("retention works");
    assert!(first.more && first.deliveries <= 10);
    let rest = retain(&fixture, small).await;
    assert_eq!(first.deliveries + rest.deliveries, 25);
    assert_eq!(fixture.source_counters("in").await.retired, 25);
    fixture.check_sums().await;
}

/// Attempts, pages and dedupe keys of what is gone are gone too.
pub async fn a_retired_delivery_is_gone_everywhere<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let event = fixture.event("in", b"{}", at(0));
    let mut append = fixture.appending(event, &["crm"]);
    append.dedupe = Some(key("order-1", at(50)));
    let delivery = append.deliveries[0].clone();
    assert_eq!(fixture.append(append).await, Ok(Appended::Stored));
    fixture.apply(ending(&delivery, State::Delivered, at(1))).await;
    retain(&fixture, rules()).await;
    let page = || Page { cursor: None, limit: 10 };
    let store = fixture.store();
    let events = store.browse_events(EventFilter::default(), page()).await.expect("browsing works");
    let deliveries = store.browse_deliveries(DeliveryFilter::default(), page()).await.expect("browsing works");
    assert!(events.items.is_empty() && deliveries.items.is_empty());
    assert_eq!(store.attempts(delivery.id).await, Ok(Vec::new()));

    let event = fixture.event("in", b"{}", at(60));
    let mut again = fixture.appending(event, &["crm"]);
    again.dedupe = Some(key("order-1", at(90)));
    assert_eq!(fixture.append(again).await, Ok(Appended::Stored));
    fixture.check_sums().await;
}
