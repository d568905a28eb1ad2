//! What operations cost Redis, in calls.

use std::collections::BTreeMap;

use relay_core::{
    id::IdMint,
    storage::{Appended, Dedupe},
};
use relay_store::{
    conformance::{Fixture, at},
    redis::Options,
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
    for (keyed, sets) in [(false, 2), (true, 3)] {
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
            .filter(|(name, _)| matches!(name.as_str(), "set" | "xadd" | "zadd" | "hset" | "hincrby"))
            .map(|(name, calls)| (name.as_str(), *calls))
            .collect();
        let batches = made["evalsha"];
        assert!(batches <= 2, "{made:?}");
        assert_eq!((writes["set"], writes["xadd"], writes["zadd"]), (sets * BATCH, 3 * BATCH, batches), "{made:?}");
        assert!(writes["hset"] + writes["hincrby"] <= 8 * batches, "{made:?}");
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
