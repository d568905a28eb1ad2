//! Two servers on one store.

use std::sync::Arc;

use relay_store::memory::MemoryStore;
use serde_json::json;

use crate::{
    bench::Bench,
    client::{answers, join, upgrade},
};

async fn two() -> (Bench, Bench) {
    let store = MemoryStore::new();
    let other = Arc::new(store.second_owner());
    let first = Bench::start_over(Arc::new(store), tempfile::tempdir().unwrap(), |config| config.server = "a".into());
    let first = first.await;
    let second = Bench::start_over(other, tempfile::tempdir().unwrap(), |config| config.server = "b".into()).await;
    (first, second)
}

/// I21: a token that is revoked at one server closes its sockets at another, and lets nobody in there.
#[tokio::test]
async fn a_token_revoked_at_one_server_is_at_the_other() {
    let (first, second) = two().await;
    let made = first.command("POST", "/api/v1/tokens", json!({"name": "crm", "destinations": ["default"]})).await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    second.until_holds(|| async { second.command("GET", "/api/v1/tokens/crm", json!(null)).await.status == 200 }).await;
    let client = join(second.public, &token, "default", answers(&[200])).await;
    second.until_holds(|| async { second.ask("/api/v1/destinations/default").await["clients"] == 1 }).await;
    assert_eq!(first.command("DELETE", "/api/v1/tokens/crm", json!(null)).await.status, 204);
    client.ended().await;
    assert_eq!(upgrade(second.public, &token, Some("1")).await.unwrap_err().status(), 401);
    first.finish().await;
}

/// A destination that is paused at one server is at the other: what comes in there waits, and goes on once it is resumed.
#[tokio::test]
async fn a_destination_paused_at_one_server_is_at_the_other() {
    let (first, mut second) = two().await;
    let mut client = crate::client::drive(second.attached(), "default", answers(&[200]));
    for (verb, paused) in [("pause", true), ("resume", false)] {
        let path = format!("/api/v1/destinations/default/{verb}");
        assert_eq!(first.command("POST", &path, json!(null)).await.status, 200);
        let obeys = || async { second.ask("/api/v1/destinations/default").await["paused"] == paused };
        second.until_holds(obeys).await;
        if paused {
            assert_eq!(second.post(b"{}").await.status, 202);
            assert!(client.seen.try_recv().is_err());
            second.until("ready", 1).await;
        }
    }
    second.until("delivered", 1).await;
    client.stop().await;
    first.finish().await;
}

/// I12: a preview of one server is one at the other, and was used at both.
#[tokio::test]
async fn a_preview_of_one_server_is_taken_by_the_other_once() {
    let (first, second) = two().await;
    assert_eq!(first.post(b"{}").await.status, 202);
    let path = "/api/v1/deliveries/cancel";
    let counted = first.command("POST", path, json!({"all": true, "dry_run": true})).await.json();
    assert_eq!(counted["matched"], 1, "{counted:#}");
    let cancel = json!({"all": true, "preview": counted["preview"]});
    let done = second.command("POST", path, cancel.clone()).await;
    assert_eq!((done.status, &done.json()["changed"]), (200, &json!(1)), "{}", done.text());
    let again = first.command("POST", path, cancel).await;
    assert!(again.status == 409 && again.text().contains("used already"), "{}", again.text());
    first.finish().await;
}

/// I24: a client of one server is a client for all of them, on every screen.
#[tokio::test]
async fn a_client_of_one_server_is_known_at_the_other() {
    let (first, second) = two().await;
    let client = join(second.public, crate::bench::RELAY_TOKEN, "default", answers(&[200])).await;
    first.until_holds(|| async { first.ask("/api/v1/destinations/default").await["elsewhere"] == 1 }).await;
    let seen = first.ask("/api/v1/destinations/default").await;
    assert_eq!((&seen["clients"], &seen["instances"]), (&json!(1), &json!([])), "{seen:#}");
    let metrics = first.command("GET", "/metrics", json!(null)).await;
    assert!(metrics.text().contains("crm_relay_clients{destination=\"default\"} 1\n"), "{}", metrics.text());
    let servers = first.ask("/api/v1/status").await["servers"].clone();
    assert_eq!((servers[0]["name"].as_str(), &servers[0]["clients"]), (Some("b"), &json!(1)), "{servers:#}");
    assert_eq!(servers[0]["same_configuration"], true, "{servers:#}");
    client.stop().await;
    first.finish().await;
}

/// I24: servers that are not configured alike say so of each other, also once one has read its file anew.
#[tokio::test]
async fn servers_that_are_configured_otherwise_name_each_other() {
    let store = MemoryStore::new();
    let other = Arc::new(store.second_owner());
    let first = Bench::start_over(Arc::new(store), tempfile::tempdir().unwrap(), |config| config.server = "a".into());
    let first = first.await;
    let second = Bench::start_over(other, tempfile::tempdir().unwrap(), |config| {
        config.server = "b".into();
        config.lease *= 2;
    });
    let second = second.await;
    for (bench, named) in [(&first, "this server: b ("), (&second, "this server: a (")] {
        let says = || async {
            let health = bench.ask("/api/v1/health").await;
            health["reasons"].as_array().unwrap().iter().any(|reason| reason.as_str().unwrap().contains(named))
        };
        bench.until_holds(says).await;
    }
    first.finish().await;
}

/// S16: behind a load balancer it is another server that answers; nothing is stored or counted as refused. What only looks like such a
/// request is one like any other.
#[tokio::test]
async fn a_public_url_that_leads_to_a_server_on_the_same_store_is_well() {
    let store = MemoryStore::new();
    let other = Arc::new(store.second_owner());
    let second = Bench::start_over(other, tempfile::tempdir().unwrap(), |config| config.server = "b".into()).await;
    let public = second.public;
    let first = Bench::start_over(Arc::new(store), tempfile::tempdir().unwrap(), |config| {
        config.server = "a".into();
        config.public_url = Some(format!("http://{public}"));
    });
    let first = first.await;
    let checked = first.command("POST", "/api/v1/public-url", json!(null)).await.json();
    assert_eq!((&checked["verdict"], &checked["hop"]), (&json!("ok"), &json!("server")), "{checked:#}");
    let forged = "Relay-Own-Request: 1700000000000000.00.00\r\n";
    assert_eq!(second.post_to("/webhook", forged, b"{}").await.status, 401);
    let key = format!("X-API-Key: {}\r\n{forged}", crate::bench::API_KEY);
    assert_eq!(second.post_to("/webhook", &key, b"{}").await.status, 202);
    let status = second.ask("/api/v1/status").await;
    assert_eq!(status["webhooks_received"], 1, "{status:#}");
    let metrics = second.command("GET", "/metrics", json!(null)).await.text();
    let refused: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("crm_relay_requests_refused_total{")).collect();
    assert_eq!(refused, ["crm_relay_requests_refused_total{source=\"default\",reason=\"missing_key\"} 1"]);
    first.finish().await;
}
