//! Pages: a closed set of filters, cursors that neither skip nor repeat.

use std::time::Duration;

use relay_core::{
    delivery::{Delivery, Reason, State},
    event::Event,
    id::EventId,
    partitions::Partitions,
    storage::{Append, Ended, Forget, Retire},
};

use super::{
    Backend, Fixture,
    fixture::{at, ending, name},
};
use crate::seam::{DeliveryFilter, EventFilter, NameCount, NameCounts, Page, Range};

async fn all_deliveries<B: Backend>(fixture: &Fixture<B>, filter: DeliveryFilter, limit: u32) -> Vec<Delivery> {
    let mut found = Vec::new();
    let mut page = Page { cursor: None, limit };
    loop {
        let listing = fixture.store().browse_deliveries(filter.clone(), page).await.expect("browsing works");
        assert!(listing.items.len() <= limit as usize);
        found.extend(listing.items);
        match listing.next {
            Some(cursor) => page = Page { cursor: Some(cursor), limit },
            None => return found,
        }
    }
}

async fn all_events<B: Backend>(fixture: &Fixture<B>, filter: EventFilter, limit: u32) -> Vec<EventId> {
    let mut found = Vec::new();
    let mut page = Page { cursor: None, limit };
    loop {
        let listing = fixture.store().browse_events(filter.clone(), page).await.expect("browsing works");
        assert!(listing.items.len() <= limit as usize);
        found.extend(listing.items.iter().map(|row| row.event.id));
        match listing.next {
            Some(cursor) => page = Page { cursor: Some(cursor), limit },
            None => return found,
        }
    }
}

/// Newest first, each once, whatever the page's length; a row names body length and deliveries but not the body.
pub async fn events_come_newest_first_page_by_page<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut expected = Vec::new();
    for seconds in 0..7 {
        expected.insert(0, fixture.accept("crm", at(seconds)).await);
    }
    let ids: Vec<EventId> = expected.iter().map(|found| found.event).collect();
    for limit in [1, 2, 3, 7, 1_000] {
        assert_eq!(all_events(&fixture, EventFilter::default(), limit).await, ids);
    }
    let page = Page { cursor: None, limit: 1 };
    let listing = fixture.store().browse_events(EventFilter::default(), page).await.expect("browsing works");
    let row = &listing.items[0];
    assert_eq!((row.body_bytes, row.event.body.len()), (2, 0));
    assert_eq!(row.deliveries, expected[..1]);
    fixture.check_sums().await;
}

/// By source and by when it was received: from `since` on, before `until`.
pub async fn event_filters_select_source_and_range<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut stored: Vec<Event> = Vec::new();
    for (seconds, source) in [(0, "in"), (10, "other"), (20, "in"), (30, "in")] {
        let event = fixture.event(source, b"{}", at(seconds));
        stored.push(event.clone());
        let append = fixture.appending(event, &["crm"]);
        fixture.append(append).await.expect("appending works");
    }
    let of_source = EventFilter { source: Some(name("in")), ..EventFilter::default() };
    assert_eq!(all_events(&fixture, of_source.clone(), 2).await, [stored[3].id, stored[2].id, stored[0].id]);
    let range = Range { since: Some(at(10)), until: Some(at(30)) };
    let in_range = EventFilter { range, ..EventFilter::default() };
    assert_eq!(all_events(&fixture, in_range, 10).await, [stored[2].id, stored[1].id]);
    let oldest = EventFilter { oldest_first: true, ..of_source.clone() };
    for limit in [1, 2, 9] {
        let found = all_events(&fixture, oldest.clone(), limit).await;
        assert_eq!(found, [stored[0].id, stored[2].id, stored[3].id], "the oldest first");
    }
    let oldest = EventFilter { oldest_first: true, range, ..EventFilter::default() };
    assert_eq!(all_events(&fixture, oldest, 1).await, [stored[1].id, stored[2].id]);
    let both = EventFilter { range, ..of_source };
    assert_eq!(all_events(&fixture, both, 10).await, [stored[2].id]);
    let unknown = EventFilter { source: Some(name("nobody")), ..EventFilter::default() };
    assert!(all_events(&fixture, unknown, 10).await.is_empty());
    fixture.check_sums().await;
}

/// A page of whole events ends where there is no room for more, and goes on behind any of them; it always has one.
pub async fn events_come_with_their_bodies_as_far_as_there_is_room<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut stored: Vec<Event> = Vec::new();
    for (seconds, source, size) in [(0, "in", 100_000), (1, "other", 5), (2, "in", 10), (3, "in", 0), (4, "in", 10)] {
        let event = fixture.event(source, &vec![b'x'; size], at(seconds));
        stored.insert(0, event.clone());
        let append = fixture.appending(event, &["crm"]);
        fixture.append(append).await.expect("appending works");
    }
    let fixture = fixture.reopen().await;
    let whole = async |filter: &EventFilter, cursor: Option<&str>, limit, bytes_max| {
        let page = Page { cursor: cursor.map(str::to_owned), limit };
        fixture.store().browse_whole(filter.clone(), page, bytes_max).await.expect("browsing works")
    };
    let all = EventFilter::default();
    for (limit, bytes_max) in [(1, 1 << 20), (3, 1 << 20), (9, 1), (9, 20), (9, 1 << 20)] {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let listing = whole(&all, cursor.as_deref(), limit, bytes_max).await;
            let [begin @ .., _] = &listing.items[..] else { break };
            let bytes: usize = begin.iter().map(|whole| whole.event.body.len()).sum();
            assert!((bytes as u64) < bytes_max && listing.items.len() <= limit as usize);
            found.extend(listing.items.iter().map(|whole| Event::clone(&whole.event)));
            cursor = listing.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, stored, "{limit} {bytes_max}");
    }
    for (place, before) in whole(&all, None, 9, 1 << 20).await.items.iter().enumerate() {
        let behind = whole(&all, Some(&before.cursor), 9, 1 << 20).await;
        let ids: Vec<EventId> = behind.items.iter().map(|whole| whole.event.id).collect();
        assert_eq!(ids, stored[place + 1..].iter().map(|event| event.id).collect::<Vec<_>>());
    }
    let other = EventFilter { source: Some(name("other")), ..EventFilter::default() };
    assert_eq!(whole(&other, None, 9, 1).await.items.len(), 1);
    let range = Range { since: Some(at(1)), until: Some(at(4)) };
    let oldest = EventFilter { oldest_first: true, range, ..EventFilter::default() };
    let found = whole(&oldest, None, 9, 1 << 20).await;
    let ids: Vec<EventId> = found.items.iter().map(|whole| whole.event.id).collect();
    assert_eq!((ids, found.passed), (vec![stored[3].id, stored[2].id, stored[1].id], 0));
    fixture.check_sums().await;
}

/// I25: by a pattern of their names, of one source or of all; and how many there are of each.
pub async fn events_are_found_and_counted_by_name<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut stored: Vec<Event> = Vec::new();
    for (seconds, source, named) in [
        (0, "in", Some("invoice.paid")),
        (1, "other", Some("invoice.paid")),
        (70, "in", None),
        (70, "in", Some("invoice.voided")),
        (71, "in", Some("push")),
        (140, "in", Some("invoice.paid")),
    ] {
        let event = Event { name: named.map(Into::into), ..fixture.event(source, b"{}", at(seconds)) };
        stored.push(event.clone());
        let append = fixture.appending(event, &["crm"]);
        let ended = Delivery { state: State::Delivered, ..append.deliveries[0].clone() };
        fixture.append(Append { deliveries: vec![ended], ..append }).await.expect("appending works");
    }
    let fixture = fixture.reopen().await;
    let cases: [(Option<&str>, &str, &[usize]); 7] = [
        (None, "invoice.*", &[0, 1, 3, 5]),
        (Some("in"), "invoice.*", &[0, 3, 5]),
        (Some("in"), "*.voided", &[3]),
        (Some("in"), "", &[2]),
        (None, "*", &[0, 1, 2, 3, 4, 5]),
        (Some("other"), "push", &[]),
        (Some("nobody"), "*", &[]),
    ];
    for (source, pattern, expected) in cases {
        let filter = EventFilter {
            source: source.map(name),
            name: Some(pattern.parse().expect("a pattern")),
            oldest_first: true,
            ..EventFilter::default()
        };
        let mut expected: Vec<EventId> = expected.iter().map(|place| stored[*place].id).collect();
        for limit in [1, 2, 100] {
            assert_eq!(all_events(&fixture, filter.clone(), limit).await, expected, "{source:?} {pattern}");
        }
        expected.reverse();
        let newest = EventFilter { oldest_first: false, ..filter };
        for limit in [1, 2, 100] {
            assert_eq!(all_events(&fixture, newest.clone(), limit).await, expected, "{source:?} {pattern}");
        }
    }
    let counts = |counts: NameCounts| {
        let count = |count: NameCount| (count.name.map(|name| name.to_string()), count.events, count.last);
        counts.names.into_iter().map(count).collect::<Vec<_>>()
    };
    let minute = |number: u64| at(0) + Duration::from_secs(60 * number);
    let named = |text: &str, events, last| (Some(text.to_owned()), events, last);
    let of = |source| fixture.store().event_names(name(source));
    assert_eq!(
        counts(of("in").await.expect("counting works")),
        [named("invoice.paid", 2, minute(2)), named("invoice.voided", 1, minute(1)), named("push", 1, minute(1)),]
    );
    assert_eq!(counts(of("nobody").await.expect("counting works")), []);
    // What is removed is no longer among them.
    let all = all_deliveries(&fixture, DeliveryFilter::default(), 100).await;
    let ended = all.iter().filter(|ended| ended.event == stored[5].id || ended.event == stored[4].id);
    let forget = Forget {
        keys_until: at(0),
        unrouted_before: at(0),
        jobs_before: at(0),
        audit_before: at(0),
        partitions: Partitions::ALL,
    };
    let retire = Retire { ended: ended.filter_map(Ended::of).collect(), more: false, forget };
    fixture.store().retire(retire).await.expect("retiring works");
    let left = counts(of("in").await.expect("counting works"));
    assert_eq!(
        left.iter().map(|(name, events, _)| (name.as_deref(), *events)).collect::<Vec<_>>(),
        [(Some("invoice.paid"), 1), (Some("invoice.voided"), 1)]
    );
    let filter = EventFilter { name: Some("push".parse().expect("a pattern")), ..EventFilter::default() };
    assert_eq!(all_events(&fixture, filter, 9).await, []);
    fixture.check_sums().await;
}

/// Newest first, each once, whatever the page's length.
pub async fn deliveries_come_newest_first_page_by_page<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let mut expected = Vec::new();
    for seconds in 0..7 {
        expected.insert(0, fixture.accept("crm", at(seconds)).await);
    }
    for limit in [1, 2, 3, 7, 1_000] {
        assert_eq!(all_deliveries(&fixture, DeliveryFilter::default(), limit).await, expected);
    }
    fixture.check_sums().await;
}

/// Each filter alone and the combinations a store must serve.
pub async fn delivery_filters_select_event_destination_state_reason_and_source<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let ready = fixture.accept("crm", at(0)).await;
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    let expired = fixture.ended("erp", State::Expired, at(2)).await;
    let done = fixture.ended("erp", State::Delivered, at(3)).await;
    let event = fixture.event("other", b"{}", at(4));
    let append = fixture.appending(event, &["crm"]);
    let other = append.deliveries[0].clone();
    fixture.append(append).await.expect("appending works");

    let all = DeliveryFilter::default;
    let crm = Some(name("crm"));
    let cases: Vec<(DeliveryFilter, Vec<&Delivery>)> = vec![
        (DeliveryFilter { event: Some(dead.event), ..all() }, vec![&dead]),
        (DeliveryFilter { destination: crm.clone(), ..all() }, vec![&other, &dead, &ready]),
        (DeliveryFilter { destination: crm.clone(), states: vec![State::Ready], ..all() }, vec![&other, &ready]),
        (DeliveryFilter { states: vec![State::Delivered], ..all() }, vec![&done]),
        (DeliveryFilter { states: vec![State::Dead, State::Expired], ..all() }, vec![&expired, &dead]),
        (DeliveryFilter { reason: Some(Reason::Rejected), ..all() }, vec![&dead]),
        (DeliveryFilter { reason: Some(Reason::Expired), destination: crm.clone(), ..all() }, vec![]),
        (DeliveryFilter { source: Some(name("other")), ..all() }, vec![&other]),
        (DeliveryFilter { source: Some(name("in")), destination: crm, ..all() }, vec![&dead, &ready]),
        (DeliveryFilter { range: Range { since: Some(at(1)), until: Some(at(3)) }, ..all() }, vec![&expired, &dead]),
    ];
    for (filter, expected) in cases {
        for limit in [1, 50] {
            let found = all_deliveries(&fixture, filter.clone(), limit).await;
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}, {limit} a page");
        }
    }
    fixture.check_sums().await;
}

/// Whoever looks for yesterday's dead letters means those that ended yesterday.
pub async fn dead_letters_are_ranged_by_when_they_ended<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let first = fixture.accept("crm", at(0)).await;
    let second = fixture.accept("crm", at(1)).await;
    let second = fixture.apply(ending(&second, State::Dead, at(100))).await;
    let first = fixture.apply(ending(&first, State::Expired, at(200))).await;
    let ended = |since, until| DeliveryFilter {
        destination: Some(name("crm")),
        states: vec![State::Dead, State::Expired],
        range: Range { since: Some(at(since)), until: Some(at(until)) },
        ..DeliveryFilter::default()
    };
    assert_eq!(all_deliveries(&fixture, ended(100, 200), 10).await, std::slice::from_ref(&second));
    assert_eq!(all_deliveries(&fixture, ended(101, 201), 10).await, std::slice::from_ref(&first));
    // The one that ended last comes first, though it was made first.
    for limit in [1, 10] {
        assert_eq!(all_deliveries(&fixture, ended(0, 300), limit).await, [first.clone(), second.clone()]);
    }
    assert!(all_deliveries(&fixture, ended(0, 50), 10).await.is_empty());
    fixture.check_sums().await;
}

/// Of one event, it is when they were made.
pub async fn the_dead_letters_of_one_event_are_ranged_by_when_they_were_made<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let made = fixture.accept("crm", at(0)).await;
    let dead = fixture.apply(ending(&made, State::Dead, at(100))).await;
    let of_event = |since, until| DeliveryFilter {
        event: Some(dead.event),
        states: vec![State::Dead],
        range: Range { since: Some(at(since)), until: Some(at(until)) },
        ..DeliveryFilter::default()
    };
    assert!(all_deliveries(&fixture, of_event(50, 200), 10).await.is_empty());
    assert_eq!(all_deliveries(&fixture, of_event(0, 50), 10).await, std::slice::from_ref(&dead));
    fixture.check_sums().await;
}

/// Hostile text in a cursor is answered, with a page or an error, and the store goes on.
pub async fn an_unknown_cursor_is_no_catastrophe<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let stored = fixture.accept("crm", at(0)).await;
    for cursor in ["", "nonsense", "-1", "99999999999999999999999999", "\u{0}'; drop table event"] {
        let page = || Page { cursor: Some(cursor.to_owned()), limit: 10 };
        // Whatever the answer, the call comes back.
        let _ = fixture.store().browse_events(EventFilter::default(), page()).await;
        let _ = fixture.store().browse_deliveries(DeliveryFilter::default(), page()).await;
    }
    assert_eq!(fixture.find(stored.id).await, Some(stored));
    fixture.check_sums().await;
}

/// As it is stored; one that never was is `None`.
pub async fn a_delivery_is_read_by_its_id<B: Backend>() {
    let mut fixture = Fixture::<B>::fresh().await;
    let stored = fixture.accept("crm", at(0)).await;
    let never = fixture.mint.delivery(at(1));
    assert_eq!(fixture.store().delivery(stored.id).await, Ok(Some(stored)));
    assert_eq!(fixture.store().delivery(never).await, Ok(None));
}
