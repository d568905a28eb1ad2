//! Retention: what ended long enough ago goes, and only that.

use std::{collections::BTreeMap, time::Duration};

use relay_core::{
    delivery::{Delivery, State},
    jobs::{Action, Retained, Rules, Target},
    limits,
    partitions::Partitions,
    storage::{Append, Ended, Forget, OverAsk, Replay, Replayed, Retire, Retired},
};

use super::{
    Backend, Fixture,
    fixture::{TTL, at, ending, key, name},
};
use crate::seam::{DeliveryFilter, EventFilter, Page};

/// Everything that ended before `at(100)`.
fn rules() -> Rules {
    Rules { now: at(1_000), delivered_before: at(100), dead_before: at(100), partitions: Partitions::ALL }
}

async fn retain<B: Backend>(fixture: &Fixture<B>, rules: Rules) -> Retained {
    fixture.retain(rules, 1_000).await
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
    let only_dead = Rules { delivered_before: at(0), ..rules() };
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
    assert!(fixture.append(append).await.is_ok_and(|found| found.is_stored()));
    fixture.apply(ending(&crm, State::Delivered, at(1))).await;
    assert_eq!(retain(&fixture, rules()).await.events, 0);
    assert!(fixture.store().event(id).await.expect("reading works").is_some());
    fixture.apply(ending(&erp, State::Delivered, at(2))).await;
    assert_eq!(retain(&fixture, rules()).await.events, 1);
    assert_eq!(fixture.store().event(id).await, Ok(None));
    fixture.check_sums().await;
}

/// An event that nobody wanted goes by its own time; once it was replayed, with that delivery, like any other.
pub async fn an_event_without_a_delivery_goes_by_time_or_with_its_replay<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut ids = Vec::new();
    for second in [1, 2] {
        let event = fixture.event("in", b"nobody's", at(second));
        ids.push(event.id);
        let append = fixture.appending(event, &[]);
        assert!(fixture.append(append).await.is_ok_and(|found| found.is_stored()));
    }
    let [gone, kept] = ids[..] else { unreachable!("there are two") };
    let event = fixture.store().event(kept).await.expect("reading works").expect("it is there");
    let replay = Delivery::ready(fixture.mint.delivery(at(5)).beside(kept), &event, name("crm"), true, at(5), TTL);
    assert_eq!(
        fixture.store().replay(Replay::anyway(vec![replay.clone()]), Vec::new()).await,
        Ok(Replayed::Stored(vec![true]))
    );
    let mut fixture = fixture.reopen().await;
    assert_eq!(retain(&fixture, rules()).await, Retained { deliveries: 0, events: 1 });
    assert_eq!(fixture.store().event(gone).await, Ok(None));
    let again = Delivery { id: fixture.mint.delivery(at(6)).beside(kept), ..replay.clone() };
    assert_eq!(
        fixture.store().replay(Replay::anyway(vec![again.clone()]), Vec::new()).await,
        Ok(Replayed::Stored(vec![true]))
    );
    fixture.apply(ending(&replay, State::Delivered, at(7))).await;
    assert_eq!(retain(&fixture, rules()).await, Retained { deliveries: 1, events: 0 }, "the other is open");
    assert_eq!(fixture.store().event(kept).await, Ok(Some(event)));
    fixture.apply(ending(&again, State::Dead, at(8))).await;
    assert_eq!(retain(&fixture, rules()).await, Retained { deliveries: 1, events: 1 });
    assert_eq!(fixture.store().event(kept).await, Ok(None));
    fixture.check_sums().await;
}

/// Page by page, whatever the pages hold: also exactly all there is.
pub async fn retention_goes_on_until_there_is_no_more<B: Backend>() {
    for page_max in [1, 5, 10, 25, 26] {
        let mut fixture = Fixture::<B>::fresh().await;
        for number in 0..25 {
            let state = if number % 2 == 0 { State::Delivered } else { State::Dead };
            fixture.ended(["crm", "erp"][number % 3 / 2], state, at(1)).await;
        }
        let kept = fixture.accept("crm", at(1)).await;
        let retained = fixture.retain(rules(), page_max).await;
        assert_eq!(retained, Retained { deliveries: 25, events: 25 }, "by {page_max}");
        assert_eq!(fixture.source_counters("in").await.retired, 25);
        assert_eq!(fixture.find(kept.id).await, Some(kept));
        fixture.check_sums().await;
    }
}

/// I1, I13: between the page and the removal somebody redrove one, and it died again: that is another end.
pub async fn what_is_not_what_was_decided_on_is_kept<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let open = fixture.ended("crm", State::Dead, at(1)).await;
    let gone = fixture.ended("crm", State::Dead, at(1)).await;
    let ask = OverAsk { delivered_before: at(100), dead_before: at(100), limit: 10, partitions: Partitions::ALL };
    let mut over = fixture.store().over(ask).await.expect("reading works");
    over.sort_by_key(|found| found.id);
    assert_eq!(over, [dead.clone(), open.clone(), gone]);
    let ready = fixture.apply(ending(&dead, State::Ready, at(2))).await;
    let again = fixture.apply(ending(&ready, State::Dead, at(3))).await;
    let open = fixture.apply(ending(&open, State::Ready, at(2))).await;
    let forget = Forget {
        keys_until: at(0),
        unrouted_before: at(0),
        jobs_before: at(0),
        audit_before: at(0),
        partitions: Partitions::ALL,
    };
    let retire = Retire { ended: over.iter().filter_map(Ended::of).collect(), more: false, forget };
    let retired = fixture.store().retire(retire).await;
    assert_eq!(retired, Ok(Retired { taken: 3, deliveries: 1, events: 1, more: false }));
    for kept in [again, open] {
        assert_eq!(fixture.find(kept.id).await, Some(kept));
    }
    fixture.check_sums().await;
}

/// The marks of jobs do not gather for ever; nobody goes on with a command after that long.
pub async fn a_job_is_remembered_for_a_week<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let redrive = Action::Redrive { ttl: BTreeMap::new(), ttl_default: Duration::from_secs(60), pace: None };
    let command = fixture.command(redrive, Target::Ids([dead.id].into()), at(10));
    assert_eq!(fixture.run(command.clone(), at(10)).await.0.changed, 1);
    let ready = fixture.find(dead.id).await.expect("it is there");
    fixture.apply(ending(&ready, State::Dead, at(11))).await;
    for (now, state) in [(at(10), State::Dead), (at(11), State::Ready)] {
        let rules = Rules {
            now: now + limits::JOBS_KEPT,
            delivered_before: at(0),
            dead_before: at(0),
            partitions: Partitions::ALL,
        };
        retain(&fixture, rules).await;
        fixture.run(command.clone(), at(12)).await;
        assert_eq!(fixture.find(dead.id).await.map(|found| found.state), Some(state));
    }
    fixture.check_sums().await;
}

/// Attempts, pages and dedupe keys of what is gone are gone too.
pub async fn a_retired_delivery_is_gone_everywhere<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let dedupe = key("order-1", at(50));
    let event = fixture.event_of(&dedupe, "in", b"{}", at(0));
    let append = Append { dedupe: Some(dedupe), ..fixture.appending(event, &["crm"]) };
    let delivery = append.deliveries[0].clone();
    assert!(fixture.append(append).await.is_ok_and(|found| found.is_stored()));
    fixture.apply(ending(&delivery, State::Delivered, at(1))).await;
    retain(&fixture, rules()).await;
    let page = || Page { cursor: None, limit: 10 };
    let store = fixture.store();
    let events = store.browse_events(EventFilter::default(), page()).await.expect("browsing works");
    let deliveries = store.browse_deliveries(DeliveryFilter::default(), page()).await.expect("browsing works");
    assert!(events.items.is_empty() && deliveries.items.is_empty());
    assert_eq!(store.attempts(delivery.id).await, Ok(Vec::new()));

    let dedupe = key("order-1", at(90));
    let event = fixture.event_of(&dedupe, "in", b"{}", at(60));
    let again = Append { dedupe: Some(dedupe), ..fixture.appending(event, &["crm"]) };
    assert!(fixture.append(again).await.is_ok_and(|found| found.is_stored()));
    fixture.check_sums().await;
}

/// I16: what is in other partitions is another server's to retire; none is left out.
pub async fn each_partition_is_retired_by_itself<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let count = fixture.store().promises().partitions;
    let mut left = Vec::new();
    for number in 0..40_u64 {
        let event = fixture.event("in", b"{}", at(number));
        let append = fixture.appending(event, if number % 4 == 0 { &[] } else { &["crm"] });
        let (event, deliveries) = (append.event.id, append.deliveries.clone());
        assert!(fixture.append(append).await.is_ok_and(|found| found.is_stored()));
        for made in deliveries {
            fixture.apply(ending(&made, State::Dead, at(50))).await;
        }
        left.push(event);
    }
    assert_eq!(retain(&fixture, Rules { partitions: Partitions::none(count), ..rules() }).await, Retained::default());
    for place in 0..count {
        let partitions = Partitions::only(place, count);
        // However few are read at a time.
        fixture.retain(Rules { partitions, ..rules() }, 1).await;
        left.retain(|event| !partitions.hold(event.partition()));
        let page = Page { cursor: None, limit: 100 };
        let stored = fixture.store().browse_events(EventFilter::default(), page).await.expect("browsing works").items;
        let mut stored: Vec<_> = stored.iter().map(|row| row.event.id).collect();
        stored.sort_unstable();
        assert_eq!(stored, left, "behind {partitions:?}");
    }
    assert!(left.is_empty());
    fixture.check_sums().await;
}
