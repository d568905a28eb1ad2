//! How a server ends.

use relay_server::Outcome;
use relay_store::{Store as _, seam::Retain};
use serde_json::Value;

use crate::{
    bench::{Bench, RELAY_TOKEN},
    client::{answers, join},
};

/// I22: a stop under way hands leases back, loses nothing and ends in time.
#[tokio::test]
async fn a_stop_tells_clients_and_leaves_nothing_leased() {
    let mut bench = Bench::start().await;
    let client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    for _ in 0..50 {
        assert_eq!(bench.post(b"{}").await.status, 202);
    }
    bench.shut_down();
    assert_eq!(bench.ended().await, Outcome::Stopped);
    client.stop().await;
    let leased = bench.store.deliveries().into_iter().filter(|delivery| delivery.lease.is_some()).count();
    assert_eq!(leased, 0);
    assert_eq!(bench.store.event_ids().len(), 50);
}

#[tokio::test]
async fn run_json_stands_while_the_server_runs() {
    let mut bench = Bench::start().await;
    let path = bench.data_dir.join("run.json");
    let run: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(run["pid"], std::process::id());
    assert_eq!(run["public"], bench.public.to_string());
    assert_eq!(run["admin"], bench.admin.to_string());
    bench.shut_down();
    assert_eq!(bench.ended().await, Outcome::Stopped);
    assert!(!path.exists() && !bench.data_dir.join("admin.sock").exists());
}

/// I17: a store that has failed ends the process, whatever else is going on.
#[tokio::test]
async fn a_failed_store_ends_the_server() {
    let mut bench = Bench::start().await;
    bench.post(b"{}").await;
    bench.store.fail_at(relay_store::memory::Edge::BeforeCommit);
    let reply = bench.post(b"{}").await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(matches!(bench.ended().await, Outcome::StoreFailed(_)));
    let rules = Retain {
        now: Default::default(),
        delivered_before: Default::default(),
        dead_before: Default::default(),
        limit: 1,
    };
    assert!(bench.store.retain(rules).await.is_err());
}
