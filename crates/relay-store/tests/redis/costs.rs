//! What operations cost Redis, in calls.

use std::collections::BTreeMap;

use relay_core::{
    delivery::cancel,
    id::IdMint,
    partitions::Partitions,
    storage::{Appended, Dedupe, OverAsk},
};
use relay_store::{
    conformance::{Fixture, at},
    redis::Options,
    seam::{DeliveryFilter, Page},
};

use crate::{backend::Shared, node::Node};

/// Calls by command since the last look.
fn calls(node: &Node) -> BTreeMap<String, u64> {
    let stats = node.ask(&[b"INFO", b"commandstats"]);
    node.ask(&[b"CONFIG", b"RESETSTAT"]);
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    stats.lines().filter_map(line).collect()
}

/// Decision 15: what an append writes, for each event of a batch and for the batch.
#[tokio::test]
async fn an_append_costs_what_was_decided() {
    const BATCH: u64 = 32;
    let node = Node::start();
    let mut fixture = Fixture::over(Shared::on(Options::new(node.address())), IdMint::new(0, 7));
    // Scripts are loaded, and the names are known.
    fixture.accept("crm", at(0)).await;
    for (keyed, sets) in [(false, 1), (true, 2)] {
        let mut batch = Vec::new();
        for number in 0..BATCH {
            let event = fixture.event("in", b"{}", at(1));
            let mut append = fixture.appending(event, &["crm"]);
            if keyed {
                append.dedupe = Some(Dedupe { key: [number as u8; 32], until: at(90) });
            }
            batch.push(append);
        }
        calls(&node);
        let answers = fixture.store().append(batch).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(Appended::is_stored)));
        let made = calls(&node);
        let writes: BTreeMap<&str, u64> = made
            .iter()
            .filter(|(name, _)| matches!(name.as_str(), "set" | "mset" | "xadd" | "zadd" | "hset" | "hincrby"))
            .map(|(name, calls)| (name.as_str(), *calls))
            .collect();
        let batches = made["evalsha"];
        assert!(batches <= 2, "{made:?}");
        assert_eq!((writes["set"], writes["xadd"]), (sets * BATCH, 3 * BATCH), "{made:?}");
        assert_eq!((writes["mset"], writes["zadd"], made["exists"]), (batches, batches, batches), "{made:?}");
        assert!(writes["hset"] + writes["hincrby"] <= 5 * batches, "{made:?}");
    }
}

/// What ends leases writes a listing and a row for each, and all else once.
#[tokio::test]
async fn a_settling_costs_what_was_decided() {
    const BATCH: usize = 32;
    let node = Node::start();
    let mut fixture = Fixture::over(Shared::on(Options::new(node.address())), IdMint::new(0, 7));
    for _ in 0..BATCH {
        fixture.accept("crm", at(0)).await;
    }
    let held = fixture.lease("crm", at(1)).await.deliveries;
    assert_eq!(held.len(), BATCH);
    let first = cancel(&fixture.accept("crm", at(0)).await, at(2));
    fixture.store().settle(vec![first]).await.expect("settles");
    calls(&node);
    fixture.store().settle(held.iter().map(|held| cancel(held, at(2))).collect()).await.expect("settles");
    let made = calls(&node);
    let of = |name: &str| made.get(name).copied().unwrap_or_default();
    assert_eq!((of("get"), of("xadd")), (BATCH as u64, BATCH as u64), "{made:?}");
    for once in ["evalsha", "mset", "zrem", "xack", "xdel"] {
        assert_eq!(of(once), 1, "{once}: {made:?}");
    }
}

/// A commit costs a turn of the disk: in sixteen partitions a lease makes one only where something waits.
#[tokio::test]
async fn a_lease_commits_only_where_something_waits() {
    let node = Node::start();
    let options = Options { partitions: 16, ..Options::new(node.address()) };
    let mut fixture = Fixture::over(Shared::on(options), IdMint::new(0, 7));
    calls(&node);
    assert_eq!(fixture.lease("crm", at(1)).await.deliveries.len(), 0);
    assert_eq!(calls(&node).get("evalsha"), None);
    let first = fixture.accept("crm", at(0)).await;
    calls(&node);
    assert_eq!(fixture.lease("crm", at(1)).await.deliveries.len(), 1);
    // The first of a partition makes its group, and asks twice.
    assert_eq!(calls(&node)["evalsha"], 3);
    let event = relay_core::event::Event {
        id: fixture.mint.event_in(first.event.partition(), at(2)),
        ..fixture.event("in", b"", at(2))
    };
    let append = fixture.appending(event, &["crm"]);
    assert!(fixture.append(append).await.is_ok_and(|found| found.is_stored()));
    calls(&node);
    assert_eq!(fixture.lease("crm", at(3)).await.deliveries.len(), 1);
    assert_eq!(calls(&node)["evalsha"], 1);
}

/// What is read for one page does not grow with how many destinations there are.
#[tokio::test]
async fn a_page_reads_no_more_of_many_destinations() {
    const DESTINATIONS: usize = 40;
    const OF_EACH: usize = 20;
    let node = Node::start();
    let mut fixture = Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7));
    let names: Vec<String> = (0..DESTINATIONS).map(|number| format!("d{number}")).collect();
    let to: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut ended = Vec::new();
    for second in 0..OF_EACH as u64 {
        let event = fixture.event("in", b"{}", at(second));
        let append = fixture.appending(event, &to);
        assert!(fixture.append(append.clone()).await.is_ok_and(|found| found.is_stored()));
        let changes: Vec<_> = append.deliveries.iter().map(|made| cancel(made, at(second))).collect();
        ended.extend(changes.iter().map(|change| change.next.id));
        fixture.store().settle(changes).await.expect("settles");
    }
    calls(&node);
    let ask = |limit| OverAsk { delivered_before: at(99), dead_before: at(99), limit, partitions: Partitions::ALL };
    let over = fixture.store().over(ask(10)).await.expect("reads");
    assert_eq!(over.len(), 10);
    let made = calls(&node);
    assert!(made["get"] <= 20, "{made:?}");
    let over = fixture.store().over(ask(1_000)).await.expect("reads");
    assert_eq!(over.len(), DESTINATIONS * OF_EACH);
    // Of each destination those that ended first.
    let over = fixture.store().over(ask(3 * DESTINATIONS as u32)).await.expect("reads");
    assert!(over.iter().all(|found| found.changed_at < at(3)), "{over:?}");

    let written = || {
        let stats = node.ask(&[b"INFO", b"stats"]);
        let bytes = stats.split_once("total_net_output_bytes:").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
        bytes.unwrap_or(0_u64)
    };
    let (mut listed, mut page, before) = (Vec::new(), Page { cursor: None, limit: 100 }, written());
    let mut first = None;
    loop {
        let found = fixture.store().browse_deliveries(DeliveryFilter::default(), page.clone()).await.expect("reads");
        first.get_or_insert_with(|| written() - before);
        listed.extend(found.items.into_iter().map(|found| found.id));
        let Some(next) = found.next else { break };
        page.cursor = Some(next);
    }
    ended.sort_unstable();
    ended.reverse();
    assert_eq!(listed, ended);
    // 256 rows of half a kilobyte, and an entry of about 60 bytes for each of them and a few of each destination.
    assert!(first.is_some_and(|bytes| bytes < 200_000), "{first:?}");
}
