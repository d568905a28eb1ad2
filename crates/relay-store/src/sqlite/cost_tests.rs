//! What an operation costs must not grow with what is stored: counted in steps of SQLite's machine, not in time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use relay_core::{
    delivery::{self, Change, Delivery, State},
    event::Event,
    id::{DeliveryId, IdMint, InstanceId},
    jobs::Action,
    name::Name,
    partitions::Partitions,
    storage::{
        Append, Dedupe, DueAsk, Ended, Forget, HeldAsk, Indexed, LeaseAsk, LeaseOrder, Mark, MarkedAsk, Marker,
        Marking, OverAsk, Retire, Step, Stepped,
    },
    time::Wall,
};
use rusqlite::{Connection, params};

use super::{
    files::{damage::Damage, room::Seen, schema},
    read::{
        audit,
        book::{Book, Shelf},
        browse, due, marks,
    },
    write::{self, append, lease, retain, settle, step, transaction::Transaction},
};
use crate::seam::{AuditFilter, DeliveryFilter, EventFilter, EventRow, Page, Range};

const NOW: Wall = Wall::from_micros(1_800_000_000_000_000);
const TTL: Duration = Duration::from_hours(1);

/// A database with so many waiting deliveries of which every second was tried before, and as many delivered ones.
fn filled(count: u64) -> (Connection, Book) {
    let db = Connection::open_in_memory().expect("opens");
    schema::create(&db).expect("makes tables");
    let mut book = Book::default();
    let mut mint = IdMint::new(0, 1);
    let damage = Damage::default();
    let mut tx = Transaction::new(&db, &mut book, &damage, NOW);
    for number in 0..count {
        let event = event(&mut mint);
        let waiting = Delivery::ready(mint.delivery(NOW), &event, name("crm"), false, NOW, TTL);
        let waiting = Delivery { tries: (number % 2) as u32, ..waiting };
        let ended = Delivery { id: mint.delivery(NOW).beside(event.id), state: State::Delivered, ..waiting.clone() };
        tx.insert_event(&event, &[waiting.clone(), ended.clone()]).expect("writes");
        tx.insert_delivery(&waiting).expect("writes");
        tx.insert_delivery(&ended).expect("writes");
        // Ten events have each value.
        let (seq, value) = (event.id.sequence(), (number % (count / 10)) as i64);
        let row = params![1, marks::name_of(marks::day_of(seq), 1), value << 32, seq];
        db.prepare_cached("INSERT INTO marks VALUES (?1, ?2, ?3, ?4)")
            .and_then(|mut put| put.execute(row))
            .expect("writes");
    }
    let marking = Marking { reach: vec![indexed()], ..Marking::nothing(name("stripe")) };
    write::marks::mark(&mut tx, &marking).expect("writes");
    tx.finish().expect("writes");
    db.execute_batch("COMMIT").expect("commits");
    (db, book)
}

fn event(mint: &mut IdMint) -> Event {
    Event {
        id: mint.event(NOW),
        source: name("stripe"),
        method: Bytes::from_static(b"POST"),
        path: Bytes::from_static(b"/webhook/stripe"),
        query: None,
        headers: Vec::new(),
        body: Bytes::from_static(b"{}"),
        body_sha256: [0; 32],
        received_at: NOW,
        name: None,
        key: None,
    }
}

fn indexed() -> Indexed {
    let marker = Marker { slot: 1, definition: 1 };
    Indexed { source: name("stripe"), marker, from: Wall::MIN, to: NOW }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// Steps that each operation takes: leases of both orders, settle, stats, due and pages.
fn steps(count: u64) -> Vec<(&'static str, u64)> {
    let (mut db, mut book) = filled(count);
    let taken = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&taken);
    let count_step = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        false
    };
    db.progress_handler(1, Some(count_step)).expect("is set");
    let shelf = Shelf::default();
    book.publish_all(&shelf);
    let mut costs = Vec::new();
    let mut note = |what| costs.push((what, taken.swap(0, Ordering::Relaxed)));
    let damage = Damage::default();
    let mut tx = Transaction::new(&db, &mut book, &damage, NOW);
    let ask = |order| LeaseAsk {
        destination: name("crm"),
        instance: InstanceId::from_u128(1),
        nonce: 1,
        until: NOW + Duration::from_mins(1),
        now: NOW,
        limit: 20,
        tried_max: 20,
        order,
        partitions: Partitions::ALL,
    };
    let leased = lease::lease(&mut tx, &ask(LeaseOrder::Shared { tried: 10 })).expect("leases");
    assert_eq!(leased.deliveries.len(), 20);
    note("lease, shared");
    assert_eq!(lease::lease(&mut tx, &ask(LeaseOrder::FewestTries)).expect("leases").deliveries.len(), 20);
    note("lease, fewest tries");
    assert_eq!(lease::lease(&mut tx, &ask(LeaseOrder::Newest)).expect("leases").deliveries.len(), 20);
    note("lease, newest");
    let changes: Vec<Change> = leased.deliveries.into_iter().map(delivered).collect();
    settle::settle(&mut tx, &changes).expect("settles");
    note("settle");
    due::stats(&db, &shelf, &Seen::default(), std::path::Path::new("/nowhere")).expect("reads");
    note("stats");
    due::due(&db, &shelf, DueAsk::at(NOW, 10)).expect("reads");
    note("due");
    let later = NOW + Duration::from_hours(2);
    let event = event(&mut IdMint::new(i64::MAX >> 1, 1));
    let live = Delivery::ready(DeliveryId::from_u128(u128::MAX >> 1), &event, name("crm"), false, later, TTL);
    tx.insert_event(&event, std::slice::from_ref(&live)).expect("writes");
    tx.insert_delivery(&live).expect("writes");
    for (what, order) in [
        ("lease behind an expired backlog", LeaseOrder::Shared { tried: 10 }),
        ("probe behind it", LeaseOrder::FewestTries),
        ("newest behind it", LeaseOrder::Newest),
    ] {
        note("");
        let late = LeaseAsk { now: later, until: later + TTL, ..ask(order) };
        let leased = lease::lease(&mut tx, &late).expect("leases");
        note(what);
        assert_eq!(leased.deliveries.len(), 1, "{what}");
        tx.update_delivery(&leased.deliveries[0], &live).expect("writes");
    }
    costs.retain(|(what, _)| !what.is_empty());
    let mut note = |what| costs.push((what, taken.swap(0, Ordering::Relaxed)));
    let page = Page { cursor: None, limit: 20 };
    browse::events(&db, &shelf, &EventFilter::default(), &page).expect("reads");
    note("events");
    let of_source = EventFilter { source: Some(name("stripe")), ..EventFilter::default() };
    browse::events(&db, &shelf, &of_source, &page).expect("reads");
    note("events of a source");
    let mut value = [0; 32];
    value[..8].copy_from_slice(&(7i64 << 32).to_be_bytes());
    let sought = MarkedAsk { source: name("stripe"), marker: indexed().marker, value, page: page.clone() };
    assert_eq!(marks::page(&db, &shelf, &sought).expect("reads").items.len(), 10);
    note("events by a mark");
    let of_state = DeliveryFilter { states: vec![State::Ready], ..DeliveryFilter::default() };
    browse::deliveries(&db, &shelf, &of_state, &page).expect("reads");
    note("deliveries in a state");
    let of_destination = DeliveryFilter { destination: Some(name("crm")), ..DeliveryFilter::default() };
    browse::deliveries(&db, &shelf, &of_destination, &page).expect("reads");
    note("deliveries of a destination");
    let ended = DeliveryFilter { states: vec![State::Dead, State::Expired], ..DeliveryFilter::default() };
    let since = Range { since: Some(NOW), until: None };
    browse::deliveries(&db, &shelf, &DeliveryFilter { range: since, ..ended }, &page).expect("reads");
    note("dead letters of a time");
    due::held(&db, &shelf, HeldAsk::all(None, 20)).expect("reads");
    note("leases held");
    audit::page(&db, shelf.damage(), &AuditFilter::default(), &page).expect("reads");
    note("audit log");
    let appending = |event: &Arc<Event>| Append {
        event: Arc::clone(event),
        deliveries: Vec::new(),
        dedupe: Some(Dedupe { key: [1; 32], until: later + TTL }),
        deadline: Wall::MAX,
    };
    let mut mint = IdMint::new((i64::MAX >> 1) + 1_000, 1);
    let (first, again) = (Arc::new(super::cost_tests::event(&mut mint)), Arc::new(super::cost_tests::event(&mut mint)));
    append::append_all(&mut tx, &[appending(&first), appending(&again)]).expect("stores one");
    note("a key and its repeat");
    let filter = DeliveryFilter { states: Action::Cancel.states().to_vec(), ..DeliveryFilter::default() };
    let page = Page { cursor: None, limit: 500 };
    let open = browse::deliveries(&db, &shelf, &filter, &page).expect("reads").items;
    note("page of a job");
    let cancel = Step {
        job: mint.job(NOW),
        before: 0,
        cursor: None,
        matched: 500,
        fingerprint: 7,
        next_due: None,
        is_over: true,
        settle: open.iter().map(|found| delivery::cancel(found, NOW)).collect(),
        retire: Vec::new(),
        make: Vec::new(),
        erase: Vec::new(),
        audit: None,
    };
    let done = step::step(&mut tx, &cancel).expect("is done");
    assert!(matches!(done, Stepped::Done { mark: Mark { changed: 500, .. }, .. }));
    note("step of a job");
    let old = browse::events(&db, &shelf, &EventFilter::default(), &page).expect("reads").items;
    note("page of events");
    let job = mint.job(NOW);
    let make = |row: &EventRow| Delivery::ready(mint.delivery(NOW), &row.event, name("crm"), true, NOW, TTL);
    let replay =
        Step { job, matched: old.len() as u64, settle: Vec::new(), make: old.iter().map(make).collect(), ..cancel };
    let done = step::step(&mut tx, &replay).expect("is done");
    assert!(matches!(done, Stepped::Done { mark: Mark { changed: 500, .. }, .. }));
    note("step of a replay");
    let edge = NOW + Duration::from_secs(1);
    let over = OverAsk { delivered_before: edge, dead_before: edge, limit: 100, partitions: Partitions::ALL };
    let ended = retain::over(&db, &shelf, &over).expect("reads").iter().filter_map(Ended::of).collect();
    note("what retention is over for");
    let forget = Forget {
        keys_until: NOW,
        unrouted_before: NOW,
        jobs_before: NOW,
        audit_before: NOW,
        partitions: Partitions::ALL,
    };
    let retire = Retire { ended, more: true, forget };
    assert_eq!(retain::retire(&mut tx, &retire, 0).expect("is done").deliveries, 100);
    note("retention");
    costs
}

fn delivered(before: Delivery) -> Change {
    let next = Delivery { version: before.version + 1, state: State::Delivered, lease: None, ..before.clone() };
    Change { before, next, archive: None }
}

/// The cost at 100 times as much is at most 1.2 times the cost. `COST_EVENTS` sets how much that is.
#[test]
fn no_operation_costs_more_when_more_is_stored() {
    let most = std::env::var("COST_EVENTS").map_or(100_000, |text| text.parse().expect("a number of events"));
    let (few, many) = (steps(1_000), steps(most));
    for ((what, few), (_, many)) in few.into_iter().zip(many) {
        assert!(many * 10 <= few * 12, "{what}: {few} steps at 1,000 events, {many} at {most}");
    }
}
