//! Who is let in, and who is put out again.

use serde_json::json;

use crate::{
    bench::{Bench, RELAY_TOKEN},
    client::{answers, join, upgrade},
};

#[tokio::test]
async fn a_wrong_token_and_no_token_are_refused_alike() {
    let bench = Bench::start().await;
    let wrong = upgrade(bench.public, "crt_wrong", Some("1")).await.unwrap_err();
    let none = bench.get("/connect", "Relay-Protocol: 1\r\n").await;
    assert_eq!((wrong.status().as_u16(), none.status), (401, 401));
    assert!(none.text().contains("crm-relay token list"));
    bench.finish().await;
}

#[tokio::test]
async fn another_version_of_the_protocol_is_told_so() {
    let bench = Bench::start().await;
    for version in [None, Some("2"), Some("one")] {
        let refused = upgrade(bench.public, RELAY_TOKEN, version).await.unwrap_err();
        assert_eq!(refused.status(), 426, "{version:?}");
        assert_eq!(refused.headers()["relay-protocol"], "1");
    }
    bench.finish().await;
}

#[tokio::test]
async fn a_request_without_an_upgrade_is_told_what_is_wanted() {
    let bench = Bench::start().await;
    let headers = format!("Authorization: Bearer {RELAY_TOKEN}\r\nRelay-Protocol: 1\r\n");
    assert_eq!(bench.get("/connect", &headers).await.status, 400);
    assert_eq!(bench.post_to("/connect", &headers, b"").await.status, 405);
    bench.finish().await;
}

/// I21: a revoked token lets nobody in, and closes the sockets it let in before.
#[tokio::test]
async fn a_revoked_token_closes_its_sockets() {
    let bench = Bench::start().await;
    let made = bench.command("POST", "/api/v1/tokens", json!({"name": "crm", "destinations": ["default"]})).await;
    assert_eq!(made.status, 201);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let mut client = join(bench.public, &token, "default", answers(&[200])).await;
    bench.post(b"{}").await;
    client.next().await;
    let kept = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;

    assert_eq!(bench.command("DELETE", "/api/v1/tokens/crm", json!(null)).await.status, 204);
    client.ended().await;
    assert_eq!(upgrade(bench.public, &token, Some("1")).await.unwrap_err().status(), 401);
    bench.until_holds(|| async { bench.ask("/api/v1/destinations/default").await["clients"] == 1 }).await;
    kept.stop().await;
    bench.finish().await;
}

/// I21: a token serves the destinations it names and no other.
#[tokio::test]
async fn a_token_of_another_destination_gets_nothing() {
    let bench = Bench::start().await;
    bench.command("POST", "/api/v1/routes", json!({"source": "default", "destination": "erp"})).await;
    let made = bench.command("POST", "/api/v1/tokens", json!({"name": "erp", "destinations": ["erp"]})).await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let mut stranger = join(bench.public, &token, "default", answers(&[200])).await;
    let client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    bench.post(b"{}").await;
    bench.until("delivered", 1).await;
    assert!(stranger.seen.try_recv().is_err());
    stranger.stop().await;
    client.stop().await;
    bench.finish().await;
}
