//! A store in sixteen partitions.

use std::{collections::BTreeMap, time::Duration};

use relay_core::{
    delivery::{Change, Delivery, Reason, State, retry::RetryPolicy},
    id::{IdMint, Partition},
    jobs::{Action, Retained, Rules, Target},
    partitions::Partitions,
    routing::Route,
    storage::{Append, Appended, Dedupe, Ended, Forget, Replay, Replayed, Retire},
};
use relay_store::{
    conformance::{Fixture, at},
    redis::Options,
    seam::{AuditEntry, AuditFilter, DeliveryFilter, EventFilter, Page},
};

use crate::{backend::Shared, node::Node};

/// I5, I12, I20: what is spread is listed, leased, redriven and retired as if it were in one place, each once.
#[tokio::test]
async fn what_is_spread_is_worked_on_as_from_one_place() {
    let node = Node::start();
    let options = Options { partitions: 16, ..Options::new(node.address()) };
    let mut fixture = Fixture::over(Shared::on(options), IdMint::new(0, 7));
    let mut made = Vec::new();
    for number in 0..60_u8 {
        let mut event = fixture.event("in", b"{}", at(number.into()));
        let key = [number; 32];
        // An event is in the partition of its key.
        event.id = fixture.mint.event_in(Partition::of_digest(&key), at(number.into()));
        let mut append = fixture.appending(event, &["crm"]);
        append.dedupe = Some(Dedupe { key, until: at(1_000) });
        made.push(append.deliveries[0].id);
        assert!(fixture.append(append.clone()).await.is_ok_and(|appended| appended.is_stored()));
        let mut repeat = fixture.event("in", b"{}", at(number.into()));
        repeat.id = fixture.mint.event_in(Partition::of_digest(&key), at(number.into()));
        let repeat = Append { dedupe: append.dedupe, ..fixture.appending(repeat, &["crm"]) };
        let answer = fixture.append(repeat).await;
        assert!(matches!(answer, Ok(Appended::Repeat { first, .. }) if first == append.event.id), "{answer:?}");
    }
    let used: std::collections::BTreeSet<u16> = made.iter().map(|id| id.partition().number() % 16).collect();
    assert!(used.len() > 8, "{used:?}");

    // Listed in one order, page by page.
    let mut listed = Vec::new();
    let mut page = Page { cursor: None, limit: 7 };
    loop {
        let found = fixture.store().browse_deliveries(DeliveryFilter::default(), page.clone()).await.expect("reads");
        listed.extend(found.items.iter().map(|found| found.id));
        let Some(next) = found.next else { break };
        page.cursor = Some(next);
    }
    let newest_first: Vec<_> = made.iter().rev().copied().collect();
    assert_eq!(listed, newest_first);
    let all = Page { cursor: None, limit: 100 };
    let events = fixture.store().browse_events(EventFilter::default(), all).await.expect("reads");
    assert_eq!(events.items.len(), 60);

    // Leased once each, and no more than there are.
    let mut leased = Vec::new();
    loop {
        let found = fixture.lease("crm", at(100)).await;
        assert_eq!(found.backlog.open, 60);
        if found.deliveries.is_empty() {
            break;
        }
        leased.extend(found.deliveries);
    }
    assert_eq!(leased.len(), 60);
    for held in &leased {
        let reason = Some(Reason::Rejected);
        let version = held.version + 1;
        let next = Delivery { state: State::Dead, reason, version, lease: None, changed_at: at(101), ..held.clone() };
        fixture.apply(Change { before: held.clone(), next, archive: None }).await;
    }

    // A command over all of them, then retention.
    let redrive = Action::Redrive { ttl: BTreeMap::new(), ttl_default: Duration::from_secs(900), pace: None };
    let command = fixture.command(redrive, Target::Matching(DeliveryFilter::default()), at(200));
    assert_eq!(fixture.run(command.clone(), at(200)).await.0.changed, 60);
    assert_eq!(fixture.run(command, at(201)).await.0.changed, 60, "asked for again it says what it did");
    let cancel = fixture.command(Action::Cancel, Target::Ids(made[..30].iter().copied().collect()), at(210));
    assert_eq!(fixture.run(cancel, at(210)).await.0.changed, 30);
    fixture.check_sums().await;
    let rules = Rules { partitions: Partitions::ALL, now: at(1_000), delivered_before: at(900), dead_before: at(900) };
    assert_eq!(fixture.retain(rules, 7).await, Retained { deliveries: 30, events: 30 });
    fixture.check_sums().await;
}

/// I12: what is made at once in several partitions is one line of the audit log, also where it is asked for again.
#[tokio::test]
async fn a_replay_over_partitions_is_written_down_once() {
    let node = Node::start();
    let options = Options { partitions: 16, ..Options::new(node.address()) };
    let mut fixture = Fixture::over(Shared::at_hand(options), IdMint::new(0, 7));
    let mut made = Vec::new();
    for number in 0..4_u8 {
        let mut event = fixture.event("in", b"{}", at(0));
        event.id = fixture.mint.event_in(Partition::of_digest(&[number * 16; 32]), at(0));
        let append = fixture.appending(event, &["crm"]);
        // Of the first the event is gone.
        if number > 0 {
            assert!(fixture.append(append.clone()).await.is_ok_and(|appended| appended.is_stored()));
        }
        let id = fixture.mint.delivery(at(1)).beside(append.event.id);
        made.push(Delivery { id, replay: true, ..append.deliveries[0].clone() });
    }
    let of: std::collections::BTreeSet<u16> = made.iter().map(|made| made.id.partition().number() % 16).collect();
    assert_eq!(of.len(), 4, "{of:?}");
    let line = AuditEntry {
        at: at(2),
        who: "cli".into(),
        action: "event.replay".into(),
        subject: String::new(),
        origin: String::new(),
    };
    for _ in 0..2 {
        let replayed = fixture.store().replay(Replay::anyway(made.clone()), vec![line.clone()]).await;
        assert_eq!(replayed, Ok(Replayed::Stored(vec![false, true, true, true])));
        let page = Page { cursor: None, limit: 10 };
        let lines = fixture.store().browse_audit(AuditFilter::default(), page).await.expect("reads").items;
        assert_eq!(lines, std::slice::from_ref(&line));
    }
    fixture.check_sums().await;
}

/// I9: a job that was killed behind what it made in other partitions, and before its mark, makes none of it again: not by other pages,
/// and not where what it made is over and was removed. What it does make is in the sums, as what it made before is.
#[tokio::test]
async fn a_replay_whose_mark_is_lost_makes_nothing_twice() {
    let node = Node::start();
    let options = Options { partitions: 16, ..Options::new(node.address()) };
    let mut fixture = Fixture::over(Shared::at_hand(options), IdMint::new(0, 7));
    for number in 0..20 {
        fixture.ended("crm", State::Delivered, at(number)).await;
    }
    let ttl = Duration::from_secs(900);
    let route = Route { destination: "erp".parse().expect("a name"), ttl, retry: RetryPolicy::default() };
    let routes = BTreeMap::from([("in".parse().expect("a name"), vec![route])]);
    let replay = Action::Replay { routes, pace: None };
    let mut command = fixture.command(replay, Target::Events(EventFilter::default()), at(30));
    command.limit = Some(15);
    assert_eq!(fixture.run(command.clone(), at(30)).await.0.changed, 15);
    // Some of it ends, and goes.
    let leased = fixture.lease("erp", at(40)).await.deliveries;
    for held in &leased[..5] {
        let next = Delivery { state: State::Cancelled, version: held.version + 1, lease: None, ..held.clone() };
        let next = fixture.apply(Change { before: held.clone(), next, archive: None }).await;
        let ended = Ended::of(&next).into_iter().collect();
        let forget = Forget {
            partitions: Partitions::ALL,
            keys_until: at(0),
            unrouted_before: at(0),
            jobs_before: at(0),
            audit_before: at(0),
        };
        fixture.store().retire(Retire { ended, more: false, forget }).await.expect("retires");
        assert_eq!(fixture.find(held.id).await, None);
    }
    let forgets = b"return redis.call('DEL', unpack(redis.call('KEYS', 'crm-relay:{*}:step:*')))";
    assert_eq!(node.ask(&[b"EVAL", forgets, b"0"]), ":1\r\n");
    command.limit = None;
    let outcome = fixture.run(command, at(50)).await.0;
    assert_eq!((outcome.matched, outcome.changed), (20, 20));
    let erp = fixture.counters("erp").await;
    assert_eq!((erp.created, erp.retired), (20, 5));
    fixture.check_sums().await;
}
