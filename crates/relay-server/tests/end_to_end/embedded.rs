//! The same over the embedded store, across restarts.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use relay_server::{Config, Outcome};
use relay_store::sqlite::{Options, SqliteStore};
use serde_json::json;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::{
    bench::{Bench, RELAY_TOKEN},
    client::{answers, join, upgrade},
    session::hello,
};

async fn start(dir: TempDir) -> Bench<SqliteStore> {
    start_with(dir, |_| {}).await
}

async fn start_with(dir: TempDir, adjust: impl FnOnce(&mut Config)) -> Bench<SqliteStore> {
    let store = SqliteStore::open(Options::new(dir.path().join("store"))).unwrap();
    Bench::start_over(Arc::new(store), dir, adjust).await
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

/// I15, I16: clients that do not read hold some of the memory for bodies, and never all that intake has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_do_not_stop_intake() {
    let bench = start_with(tempfile::tempdir().unwrap(), |config| config.inflight_bytes_max = 16 * 1024 * 1024).await;
    bench.command("POST", "/api/v1/routes", json!({"source": "default", "destination": "erp"})).await;
    bench.command("POST", "/api/v1/routes", json!({"source": "default", "destination": "crm"})).await;
    let mut slow = Vec::new();
    for (instance, destination) in ["default", "erp", "crm"].into_iter().cycle().take(9).enumerate() {
        let mut socket = upgrade(bench.public, RELAY_TOKEN, Some("1")).await.unwrap();
        socket.send(hello(instance as u128, destination)).await.unwrap();
        let welcome = socket.next().await;
        assert!(matches!(welcome, Some(Ok(Frame::Binary(_)))));
        slow.push(socket);
    }
    let body = vec![0; 1024 * 1024];
    for number in 0..40 {
        assert_eq!(bench.post(&body).await.status, 202, "webhook {number}");
    }
    drop(slow);
    bench.finish().await;
}
