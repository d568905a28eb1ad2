//! A store that is away, or does not answer.

use relay_core::storage::StoreError;
use relay_store::{
    memory::Trouble,
    seam::{Condition, Durability},
};
use serde_json::json;

use crate::bench::Bench;

/// A command or a question that meets a store which is away is answered 503, with what is known and what to do; and goes
/// through once it is back.
#[tokio::test]
async fn a_store_that_is_away_is_named() {
    let bench = Bench::start().await;
    let event = bench.post(b"{}").await.json()["event_id"].as_str().unwrap().to_owned();
    let away = [Trouble::PutDocument, Trouble::Look, Trouble::Documents, Trouble::Upkeep, Trouble::Replay];
    let asks = [
        ("POST", "/api/v1/tokens".to_owned(), json!({"name": "crm"})),
        ("POST", "/api/v1/destinations/default/pause".to_owned(), json!(null)),
        ("POST", "/api/v1/invites".to_owned(), json!({"name": "shop", "provider": "api-key"})),
        ("GET", "/api/v1/deliveries".to_owned(), json!(null)),
        ("GET", format!("/api/v1/events/{event}"), json!(null)),
        ("GET", "/api/v1/status".to_owned(), json!(null)),
    ];
    bench.store.set_trouble(away.map(|trouble| (trouble, StoreError::Away)).to_vec());
    for (method, path, body) in &asks {
        let told = bench.command(method, path, body.clone()).await;
        assert_eq!((told.status, told.json()["code"].as_str()), (503, Some("store_away")), "{path}: {}", told.text());
        assert!(told.head.to_ascii_lowercase().contains("retry-after: 1"), "{path}: {}", told.head);
        assert!(told.json()["detail"].as_str().unwrap().contains("ask again in a moment"), "{path}");
    }
    bench.store.set_trouble(Vec::new());
    for (method, path, body) in asks {
        let told = bench.command(method, &path, body).await;
        assert!(told.status < 300, "{path}: {}", told.text());
    }
    bench.finish().await;
}

/// I9: a replay whose answer is lost is asked for again, and is one.
#[tokio::test]
async fn a_replay_that_was_not_answered_is_done_once() {
    let bench = Bench::start().await;
    let event = bench.post(b"{}").await.json()["event_id"].as_str().unwrap().to_owned();
    let deliveries = || async { bench.ask("/api/v1/deliveries").await["items"].as_array().unwrap().len() };
    bench.store.set_trouble(vec![(Trouble::Replay, StoreError::Unknown)]);
    let path = format!("/api/v1/events/{event}/replay");
    let answers = async {
        bench.until_holds(|| async { deliveries().await == 2 }).await;
        bench.store.set_trouble(Vec::new());
    };
    let (told, ()) = tokio::join!(bench.command("POST", &path, json!({})), answers);
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(deliveries().await, 2);
    bench.finish().await;
}

/// I24: a store that says that it takes nothing is not ready, and `/health` says why in its words; one that only has something
/// to say is ready.
#[tokio::test]
async fn what_a_store_says_of_itself_is_told() {
    let bench = Bench::start().await;
    let health = || async { bench.ask("/health").await };
    let told = health().await;
    assert_eq!((&told["store"]["commits"], &told["store"]["profile"]), (&json!(true), &json!("none")));
    let lacks = Condition::broken(Durability::Fsync, "one replica of two is left: start the other");
    bench.store.set_condition(lacks.clone());
    assert_eq!(bench.get("/readyz", "").await.status, 503);
    bench.until_holds(|| async { health().await["store"]["commits"] == false }).await;
    let told = health().await;
    let reason = "the store takes nothing, webhooks get 503: one replica of two is left: start the other";
    assert_eq!((&told["status"], &told["reasons"]), (&json!("degraded"), &json!([reason])));
    bench.store.set_condition(Condition { commits: true, ..lacks });
    assert_eq!(bench.get("/readyz", "").await.status, 200);
    bench.until_holds(|| async { health().await["store"]["commits"] == true }).await;
    let told = health().await;
    assert_eq!(told["store"]["profile"], "fsync");
    assert_eq!(told["reasons"], json!(["the store: one replica of two is left: start the other"]));
    bench.store.set_condition(Condition::default());
    bench.until_holds(|| async { health().await["status"] == "ok" }).await;
    bench.finish().await;
}
