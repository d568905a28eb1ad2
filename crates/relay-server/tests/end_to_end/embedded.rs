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

/// What two platforms' webhooks hold finds them, each by the mark of its own source, with how far that is all of them; across a restart, and
/// until one is erased.
#[tokio::test]
async fn events_are_found_by_what_they_hold_until_they_are_erased() {
    let mut bench = start(tempfile::tempdir().unwrap()).await;
    let secret = "a-signing-secret-of-the-tests";
    let new = json!({"name": "shop", "provider": "bearer", "parameters": [["token", secret]], "destination": "crm"});
    assert_eq!(bench.command("POST", "/api/v1/sources", new).await.status, 201);
    assert_eq!(bench.post(br#"{"data":{"customer":"cus_1"}}"#).await.status, 202);
    let authorized = format!("Authorization: Bearer {secret}\r\n");
    let sent = bench.post_to("/webhook/shop", &authorized, br#"{"buyers":["cus_2","cus_1"]}"#).await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    for (source, path) in [("default", "$.data.customer"), ("shop", "$.buyers")] {
        let path = json!({"mark": [["customer", path]]});
        let update = bench.command("PATCH", &format!("/api/v1/sources/{source}"), path).await;
        assert_eq!(update.status, 200, "{}", update.text());
    }
    let marked = |source: &str| format!("/api/v1/events/marked?source={source}&mark=customer:cus_1");
    let ids = |answer: serde_json::Value| -> Vec<String> {
        answer["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let has = async |bench: &Bench<SqliteStore>, source: &str, count: usize| {
        let wanted = |answer: &serde_json::Value| answer["indexed_to"].is_string() && answer["indexed_from"].is_null();
        bench
            .until_holds(|| async {
                let answer = bench.ask(&marked(source)).await;
                wanted(&answer) && ids(answer).len() == count
            })
            .await;
    };
    has(&bench, "default", 1).await;
    has(&bench, "shop", 1).await;
    let shown = bench.ask("/api/v1/sources/shop").await;
    assert_eq!(shown["marks"][0]["path"], "$.buyers");
    assert!(shown["marks"][0]["indexed_to"].is_string(), "{shown:#}");
    for (path, status, words) in [
        ("/api/v1/events/marked?source=shop&mark=buyer:1", 404, "it has: customer"),
        ("/api/v1/events/marked?source=shop&mark=customer", 400, "customer:cus_1"),
    ] {
        let refused = bench.command("GET", path, json!(null)).await;
        assert_eq!(refused.status, status, "{}", refused.text());
        assert!(refused.text().contains(words), "{}", refused.text());
    }
    bench.shut_down();
    assert_eq!(bench.ended().await, Outcome::Stopped);

    let bench = start(bench.into_dir()).await;
    has(&bench, "shop", 1).await;
    let id = ids(bench.ask(&marked("default")).await).remove(0);
    let erased = bench.command("POST", &format!("/api/v1/events/{id}/erase"), json!({"cancel": true})).await;
    assert_eq!(erased.status, 200, "{}", erased.text());
    assert_eq!(ids(bench.ask(&marked("default")).await), Vec::<String>::new());
    has(&bench, "shop", 1).await;
    bench.finish().await;
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
