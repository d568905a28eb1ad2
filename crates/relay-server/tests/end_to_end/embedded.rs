//! The same over the embedded store, across restarts.

use std::sync::Arc;

use relay_server::Outcome;
use relay_store::sqlite::{Options, SqliteStore};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    bench::{Bench, RELAY_TOKEN},
    client::{answers, join},
};

async fn start(dir: TempDir) -> Bench<SqliteStore> {
    let store = SqliteStore::open(Options::new(dir.path().join("store"))).unwrap();
    Bench::start_over(Arc::new(store), dir, |_| {}).await
}

/// I1, I23: what was accepted before a restart is delivered after it.
#[tokio::test]
async fn a_backlog_outlives_a_restart() {
    let mut bench = start(tempfile::tempdir().unwrap()).await;
    for _ in 0..20 {
        assert_eq!(bench.post(b"{}").await.status, 202);
    }
    bench.shut_down();
    assert_eq!(bench.ended().await, Outcome::Stopped);

    let mut bench = start(bench.into_dir()).await;
    assert_eq!(bench.get("/health", "").await.json()["webhooks_received"], 20);
    let client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    bench.until_holds(|| async { bench.get("/health", "").await.json()["webhooks_processed"] == 20 }).await;
    client.stop().await;
    bench.shut_down();
    assert_eq!(bench.ended().await, Outcome::Stopped);
}

/// Sources, keys and tokens are documents of the store.
#[tokio::test]
async fn the_registry_outlives_a_restart() {
    let mut bench = start(tempfile::tempdir().unwrap()).await;
    let new = json!({"name": "shop", "provider": "api-key", "destination": "crm"});
    assert_eq!(bench.command("POST", "/api/v1/sources", new).await.status, 201);
    let made = bench.command("POST", "/api/v1/keys", json!({"source": "shop", "name": "first"})).await.json();
    let headers = format!("X-API-Key: {}\r\n", made["key"].as_str().unwrap());
    bench.shut_down();
    assert_eq!(bench.ended().await, Outcome::Stopped);

    let bench = start(bench.into_dir()).await;
    assert_eq!(bench.post_to("/webhook/shop", &headers, b"{}").await.status, 202);
    assert_eq!(bench.ask("/api/v1/sources/shop").await["destinations"], json!(["crm"]));
}
