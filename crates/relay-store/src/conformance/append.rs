//! Accepting: an event and its deliveries in one commit.

use std::sync::Arc;

use bytes::Bytes;
use relay_core::{
    delivery::{Change, Lease, State, Token},
    event::Event,
    id::InstanceId,
    storage::{Append, AppendError, Appended, Changed, Dedupe, HeldAsk},
    time::Wall,
};

use super::{
    Backend, Fixture,
    fixture::{at, ending, sha256},
};

/// I3: body, method, path, raw query and header values, repetitions and binary bytes included, come back unchanged,
/// also after a crash.
pub async fn what_was_appended_reads_back_byte_for_byte<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let all_bytes: Vec<u8> = (0..=255).collect();
    let plain = fixture.event("stripe", b"", at(1));
    let event = Event {
        method: Bytes::from_static(b"PATCH"),
        path: Bytes::from_static(b"/webhook/stripe/a%2Fb//c/%ff"),
        query: Some(Bytes::new()),
        headers: vec![
            (Bytes::from_static(b"x-one"), Bytes::from_static(b"first")),
            (Bytes::from_static(b"x-two"), Bytes::from_static(b"\x80\xff odd \t bytes")),
            (Bytes::from_static(b"x-one"), Bytes::from_static(b"second")),
            (Bytes::from_static(b"x-one"), Bytes::new()),
        ],
        body_sha256: sha256(&all_bytes),
        body: Bytes::from(all_bytes),
        ..plain
    };
    let append = fixture.appending(event.clone(), &["crm", "erp"]);
    let deliveries = append.deliveries.clone();
    assert!(fixture.append(append).await.is_ok_and(|found| found.is_stored()));

    let fixture = fixture.reopen().await;
    let stored = fixture.store().event(event.id).await.expect("reading works").expect("the event is there");
    assert_eq!(*stored, event);
    for delivery in deliveries {
        assert_eq!(fixture.find(delivery.id).await, Some(delivery));
    }
    let leased = fixture.lease("crm", at(2)).await;
    assert_eq!(fixture.bodies(&leased.deliveries).await, [Some(Arc::new(event))]);
    fixture.check_sums().await;
}

/// I2: a refused append leaves nothing.
pub async fn an_append_past_its_deadline_stores_nothing<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let event = fixture.event("in", b"late", at(1));
    let id = event.id;
    let mut append = fixture.appending(event, &["crm"]);
    append.deadline = Wall::MIN;
    let delivery = append.deliveries[0].id;
    assert_eq!(fixture.append(append).await, Err(AppendError::TooLate));
    assert_eq!(fixture.store().event(id).await, Ok(None));
    assert_eq!(fixture.find(delivery).await, None);
    fixture.check_sums().await;
}

/// One answer per item, in order, and one that is refused does not take the others with it.
pub async fn answers_come_in_the_order_of_the_batch<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut batch = Vec::new();
    for number in 0..5_u8 {
        let event = fixture.event("in", &[number], at(1));
        batch.push(fixture.appending(event, &["crm"]));
    }
    batch[2].deadline = Wall::MIN;
    let ids: Vec<_> = batch.iter().map(|append| append.event.id).collect();
    let answers = fixture.store().append(batch).await;
    for (place, answer) in answers.iter().enumerate() {
        let stored = fixture.store().event(ids[place]).await.expect("reading works").is_some();
        match place {
            2 => assert!(!stored && *answer == Err(AppendError::TooLate)),
            _ => assert!(stored && answer.as_ref().is_ok_and(Appended::is_stored)),
        }
    }
    fixture.check_sums().await;
}

/// Sources take turns: a burst of one does not keep another out.
pub async fn sources_that_append_at_once_are_all_stored<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut waiting = Vec::new();
    for number in 0..60_u8 {
        let source = ["busy", "busy", "busy", "quiet"][usize::from(number) % 4];
        let event = fixture.event(source, &[number], at(1));
        let append = fixture.appending(event, &["crm"]);
        waiting.push(fixture.store().append(vec![append]));
    }
    for answer in waiting {
        assert!(answer.await.into_iter().all(|answer| answer.is_ok_and(|found| found.is_stored())));
    }
    assert_eq!(fixture.source_counters("busy").await.accepted, 45);
    assert_eq!(fixture.source_counters("quiet").await.accepted, 15);
    assert_eq!(fixture.counters("crm").await.created, 60);
    fixture.check_sums().await;
}

/// I11: the lease may ride in the commit that accepts; it is held, fenced and settled like any other.
pub async fn a_delivery_may_be_stored_already_leased<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let event = fixture.event("in", b"hot", at(1));
    let mut append = fixture.appending(event, &["crm"]);
    let delivery = &mut append.deliveries[0];
    delivery.state = State::Leased;
    delivery.token = Token { counter: 1, nonce: 77 };
    delivery.lease = Some(Lease { instance: InstanceId::from_u128(5), keeper: 5, since: at(1), until: at(61) });
    let delivery = delivery.clone();
    assert!(fixture.append(append).await.is_ok_and(|found| found.is_stored()));

    assert!(fixture.lease("crm", at(2)).await.deliveries.is_empty());
    assert_eq!(fixture.store().held(HeldAsk::all(None, 10)).await, Ok(vec![delivery.clone()]));
    let done: Change = ending(&delivery, State::Delivered, at(2));
    assert_eq!(fixture.settle(done).await, Changed::Applied);
    fixture.check_sums().await;
}

/// I4: neither nothing nor much is cut.
pub async fn large_and_empty_bodies_keep_every_byte<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for length in [0_usize, 1, 4_095, 4_096, 65_537, 9 * 1024 * 1024] {
        let body: Vec<u8> = (0..length).map(|place| (place * 31 % 251) as u8).collect();
        let event = fixture.event("in", &body, at(1));
        let append = fixture.appending(event.clone(), &["crm"]);
        assert!(fixture.append(append).await.is_ok_and(|found| found.is_stored()));
        let stored = fixture.store().event(event.id).await.expect("reading works");
        assert!(stored == Some(Arc::new(event)), "a body of {length} bytes came back changed");
    }
    fixture.check_sums().await;
}

/// I2, I9: whoever did not hear the answer asks again with the same ids, and nothing is stored twice.
pub async fn an_append_is_repeated_by_its_event<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    for dedupe in [None, Some(Dedupe { key: [1; 32], until: at(1_000) })] {
        let event = match &dedupe {
            Some(dedupe) => fixture.event_of(dedupe, "in", b"{}", at(0)),
            None => fixture.event("in", b"{}", at(0)),
        };
        let append = Append { dedupe, ..fixture.appending(event, &["crm", "erp"]) };
        let before = fixture.store().stats().await.expect("stats work");
        assert!(fixture.append(append.clone()).await.is_ok_and(|found| found.is_stored()));
        let stored = fixture.store().stats().await.expect("stats work");
        assert!(fixture.append(append).await.is_ok_and(|found| found.is_stored()));
        assert_eq!(fixture.store().stats().await.expect("stats work").sources, stored.sources);
        assert_eq!(fixture.store().stats().await.expect("stats work").destinations, stored.destinations);
        assert_ne!(before.destinations, stored.destinations);
    }
    let recount = fixture.store().recount().await.expect("counts");
    assert_eq!(recount.counted, recount.kept, "I5");
}
