//! Stores to be moved, and what is in them.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use relay_core::{
    delivery::{Attempt, Change, Delivery, Reason, State, answer::Answer, outcome::Class},
    event::Event,
    id::{DeliveryId, EventId, IdMint, InstanceId, Partition},
    name::Name,
    partitions::Partitions,
    storage::{Append, Appended, AuditEntry, Changed, Dedupe, EventFilter, LeaseAsk, LeaseOrder, Page, Replay},
    time::Wall,
};
use relay_store::{
    Store,
    migrate::{self, MigrateError, Move, Moved},
    redis::{Options, RedisStore},
    seam::{DocumentKey, DocumentKind},
    sqlite::{self, SqliteStore},
    watch::Watch,
};

use crate::node::{Node, Server, fresh_name};

/// TTL of all deliveries.
const TTL: Duration = Duration::from_hours(24);

/// A moment of these tests' own time.
pub(crate) fn at(seconds: u64) -> Wall {
    Wall::from_micros(1_800_000_000_000_000) + Duration::from_secs(seconds)
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("it is one")
}

/// An embedded store in a directory.
pub(crate) fn embedded(dir: &Path) -> SqliteStore {
    let clock = Arc::new(|| at(0));
    let options = sqlite::Options { disk_reserve: 0, ballast: false, clock, ..sqlite::Options::new(dir) };
    SqliteStore::open(options).expect("it opens")
}

/// A store in the Redis of all these tests, under a name of its own.
pub(crate) async fn in_redis(partitions: usize) -> RedisStore {
    in_redis_called(partitions).await.0
}

/// The same, and that name.
pub(crate) async fn in_redis_called(partitions: usize) -> (RedisStore, String) {
    let stream_name = fresh_name();
    let called = stream_name.clone();
    let dead_letter_queue = format!("{stream_name}-dead");
    let node = Node::shared(Server::Installed);
    let options = Options { stream_name, dead_letter_queue, partitions, ..Options::new(node.address()) };
    let store = RedisStore::open(options);
    store.begin().await.expect("it is fit for it");
    (store, called)
}

/// Moves it.
pub(crate) async fn moved(source: &dyn Store, target: &dyn Store) -> Result<Moved, MigrateError> {
    moved_watched(source, target, &Watch::default()).await
}

pub(crate) async fn moved_watched(
    source: &dyn Store,
    target: &dyn Store,
    watch: &Watch,
) -> Result<Moved, MigrateError> {
    // Each later than the one before it.
    static NOW: AtomicU64 = AtomicU64::new(1_000);
    let now = at(NOW.fetch_add(10, Ordering::Relaxed));
    migrate::migrate(Move { source, target, from: "there", to: "here" }, now, watch).await
}

/// Fills a store with some of all there is: many events of two sources, with and without keys, deliveries in all states and with
/// attempts, replays, an event without a delivery; something that was retired; documents, lines.
pub(crate) async fn fill(store: &dyn Store, count: u64) {
    let mut mint = IdMint::new(0, 5);
    for number in 0..count {
        let now = at(number);
        let append = appending(&mut mint, number, now);
        let [appended] = &store.append(vec![append.clone()]).await[..] else { panic!("one answer") };
        assert!(appended.as_ref().is_ok_and(Appended::is_stored), "{appended:?}");
        for (delivery, way) in append.deliveries.iter().zip(number..) {
            walk(store, delivery, way, now).await;
        }
        if number % 7 == 3 {
            let ids: Vec<DeliveryId> = (0..3).map(|_| mint.delivery(now).beside(append.event.id)).collect();
            let made: Vec<Delivery> =
                ids.iter().map(|id| Delivery::ready(*id, &append.event, name("erp"), true, now, TTL)).collect();
            store.replay(Replay::anyway(made), Vec::new()).await.expect("it is stored");
        }
    }
    lease_some(store, at(count)).await;
    document(store, "in", r#"{"provider":"api-key"}"#).await;
    let line = |second| AuditEntry {
        at: at(second),
        who: "cli".into(),
        action: "source.create".into(),
        subject: format!("in {second}"),
        origin: String::new(),
    };
    store.audit((0..450).map(|number| line(number / 3)).collect()).await.expect("they are written");
}

async fn document(store: &dyn Store, named: &str, body: &str) {
    let key = DocumentKey { kind: DocumentKind::Source, name: named.into() };
    assert_eq!(store.put_document(key, 0, Some(body.into()), Vec::new()).await, Ok(Some(1)));
}

fn appending(mint: &mut IdMint, number: u64, now: Wall) -> Append {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes());
    let dedupe = (!number.is_multiple_of(3)).then_some(Dedupe { key, until: now + TTL });
    let id = match &dedupe {
        Some(dedupe) => mint.event_in(Partition::of_digest(&dedupe.key), now),
        None => mint.event(now),
    };
    let event = Arc::new(event(id, number, now));
    let to: &[&str] = match number % 5 {
        0 => &[],
        1 => &["crm", "erp"],
        _ => &["crm"],
    };
    let deliveries =
        to.iter().map(|to| Delivery::ready(mint.delivery(now), &event, name(to), false, now, TTL)).collect();
    Append { event, deliveries, dedupe, deadline: Wall::MAX }
}

/// An event, another for each number.
pub(crate) fn event(id: EventId, number: u64, received_at: Wall) -> Event {
    let body = vec![number as u8; (number as usize * 37) % 3_000];
    Event {
        id,
        source: name(if number.is_multiple_of(4) { "shop" } else { "in" }),
        method: "POST".into(),
        path: format!("/webhook/in/{number}").into(),
        query: number.is_multiple_of(2).then(|| "a=%2F".into()),
        headers: vec![("x-one".into(), vec![0xff, 0x80].into()), ("x-one".into(), "two".into())],
        body_sha256: aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body)
            .as_ref()
            .try_into()
            .expect("32 bytes"),
        body: body.into(),
        received_at,
        name: (number % 6 == 1).then(|| "invoice.paid".into()),
        key: None,
    }
}

/// A delivery's way, another for each number.
async fn walk(store: &dyn Store, ready: &Delivery, way: u64, now: Wall) {
    let mut current = ready.clone();
    for _ in 0..way % 4 {
        let next = tried(&current, now);
        current = apply(store, &current, next).await;
    }
    let state = match way % 9 {
        0 | 1 => State::Delivered,
        2 => State::Dead,
        3 => State::Expired,
        4 => State::Cancelled,
        _ => return,
    };
    let reason = match state {
        State::Dead => Some(Reason::Rejected),
        State::Expired => Some(Reason::Expired),
        _ => None,
    };
    let next = Delivery { state, reason, changed_at: now, ..current.clone() };
    apply(store, &current, next).await;
}

fn tried(before: &Delivery, now: Wall) -> Delivery {
    let number = before.next_attempt();
    let last = Attempt {
        number,
        at: now,
        duration_ms: u64::from(number) * 3,
        status: Some(500),
        class: Class::Rejected,
        counted: true,
        error: Some("the target answered 500".into()),
        answer: Answer { body: Some("canary".into()), ..Answer::default() }.shared(),
    };
    let due_at = now + Duration::from_secs(60 * u64::from(number));
    let (tries, attempts) = (before.tries + 1, before.attempts + 1);
    Delivery { state: State::Scheduled, tries, attempts, due_at, changed_at: now, last: Some(last), ..before.clone() }
}

async fn apply(store: &dyn Store, before: &Delivery, mut next: Delivery) -> Delivery {
    next.version = before.version + 1;
    let archive = before.last.clone().filter(|last| next.last.as_ref() != Some(last));
    let change = Change { before: before.clone(), next: next.clone(), archive };
    assert_eq!(store.settle(vec![change]).await, Ok(vec![Changed::Applied]));
    next
}

/// Some are at a client when it stops.
async fn lease_some(store: &dyn Store, now: Wall) {
    let ask = LeaseAsk {
        destination: name("crm"),
        instance: InstanceId::from_u128(9),
        nonce: 0xbeef,
        until: now + Duration::from_mins(1),
        now,
        limit: 3,
        tried_max: u32::MAX,
        order: LeaseOrder::Shared { tried: 0 },
        partitions: Partitions::ALL,
    };
    store.lease(ask).await.expect("it leases");
}

/// All that a store shows but for its counters, which a move compares itself, in words.
pub(crate) async fn shown(store: &dyn Store) -> Vec<String> {
    let mut lines = Vec::new();
    let filter = EventFilter { oldest_first: true, ..EventFilter::default() };
    let listed = store.browse_events(filter, Page { cursor: None, limit: 1_000 }).await.expect("it reads");
    assert_eq!(listed.next, None, "one page has them all");
    for row in listed.items {
        lines.push(format!("{:?}", store.event(row.event.id).await.expect("it reads")));
        for delivery in row.deliveries {
            lines.push(format!("{delivery:?} {:?}", store.attempts(delivery.id).await));
        }
    }
    lines.push(format!("{:?}", store.documents(DocumentKind::Source).await));
    lines
}

/// I5: what is counted is what is there, and nothing of it is damaged.
pub(crate) async fn check_sums(store: &dyn Store) {
    let recount = store.recount().await.expect("it counts");
    assert_eq!(
        (&recount.counted.sources, &recount.counted.destinations),
        (&recount.kept.sources, &recount.kept.destinations)
    );
    assert_eq!(recount.damaged, 0);
}
