//! Secrets replaced without a gap: nothing genuine is refused, and the old one is worth nothing once it is told so.

use serde_json::json;

use crate::{
    bench::Bench,
    client::{answers, join, upgrade},
    providers::{create, send, signed, with_url},
};

const OLD: (&str, &str) = ("secret_token", "the-old-secret-of-the-tests");
const NEW: (&str, &str) = ("secret_token", "the-new-secret-of-the-tests");

/// S28: both secrets prove a webhook while one is replaced, the operator sees which did, and then only the new one does.
#[tokio::test]
async fn webhooks_signed_with_either_secret_are_taken_until_the_rotation_is_finished() {
    let bench = Bench::start_with(with_url).await;
    assert_eq!(create(&bench, "zoom", &[OLD], "auto").await.status, 201);
    let status =
        async |parameter: (&str, &str), id: &str| send(&bench, &signed("zoom", &[parameter], id, None)).await.status;
    assert_eq!((status(OLD, "1").await, status(NEW, "2").await), (200, 401));
    let rotated = bench.command("POST", "/api/v1/sources/zoom/rotate", json!({"set": [NEW]})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    assert!(!rotated.text().contains(NEW.1) && !rotated.text().contains(OLD.1));
    assert_eq!((status(OLD, "3").await, status(NEW, "4").await, status(NEW, "5").await), (200, 200, 200));
    let forged = ("secret_token", "the-secret-of-a-stranger");
    assert_eq!(status(forged, "6").await, 401);

    let shown = bench.ask("/api/v1/sources/zoom").await["rotation"].clone();
    assert_eq!(shown["parameters"], json!(["secret_token"]));
    assert_eq!((&shown["old"]["count"], &shown["new"]["count"]), (&json!(1), &json!(2)), "{shown:#}");
    assert!(shown["old"]["last_at"].is_string() && shown["until"].is_null());

    let finished = bench.command("POST", "/api/v1/sources/zoom/rotate/finish", json!(null)).await;
    assert_eq!((finished.status, &finished.json()["rotation"]), (200, &json!(null)));
    assert_eq!((status(OLD, "7").await, status(NEW, "8").await), (401, 200));
    bench.finish().await;
}

/// A challenge has room for one answer: it is made with the new secret, which is what the platform compares it with when it
/// asks after the secret was changed there.
#[tokio::test]
async fn a_challenge_is_answered_with_the_new_secret() {
    let bench = Bench::start_with(with_url).await;
    create(&bench, "x-twitter", &[("consumer_secret", OLD.1)], "auto").await;
    let answer = async || bench.get("/webhook/x-twitter?crc_token=challenge", "").await.text();
    let by_old = answer().await;
    let set = json!({"set": [["consumer_secret", NEW.1]]});
    assert_eq!(bench.command("POST", "/api/v1/sources/x-twitter/rotate", set).await.status, 200);
    let by_new = answer().await;
    assert_ne!(by_new, by_old);
    bench.command("POST", "/api/v1/sources/x-twitter/rotate/finish", json!(null)).await;
    assert_eq!(answer().await, by_new);
    bench.finish().await;
}

/// I21: the key of a key source is looked at in the head; both let in there too, and the old one goes with its time.
#[tokio::test]
async fn an_old_key_goes_when_its_time_is_over() {
    let bench = Bench::start().await;
    create(&bench, "bearer", &[("token", OLD.1)], "auto").await;
    let rotate = json!({"set": [["token", NEW.1]], "keep_old_ms": 1_000});
    assert_eq!(bench.command("POST", "/api/v1/sources/bearer/rotate", rotate).await.status, 200);
    let status = async |key: &str| {
        bench.post_to("/webhook/bearer", &format!("Authorization: Bearer {key}\r\n"), b"{}").await.status
    };
    assert_eq!(status(NEW.1).await, 202);
    bench.until_holds(|| async { status(OLD.1).await == 401 }).await;
    assert_eq!(status(NEW.1).await, 202);
    bench.until_holds(|| async { bench.ask("/api/v1/sources/bearer").await["rotation"].is_null() }).await;
    bench.finish().await;
}

/// I21: sessions of the old secret are closed when it ends, those of the new one stay.
#[tokio::test]
async fn sessions_of_an_old_token_end_with_it() {
    let bench = Bench::start().await;
    let made = bench.command("POST", "/api/v1/tokens", json!({"name": "crm", "destinations": ["default"]})).await;
    let mut present = made.json()["token"].as_str().unwrap().to_owned();
    for keep_old_ms in [None, Some(1_000)] {
        let old = bench.ask("/api/v1/tokens/crm").await["prefix"].clone();
        let on_old = join(bench.public, &present, "default", answers(&[200])).await;
        let rotated = bench.command("POST", "/api/v1/tokens/crm/rotate", json!({"keep_old_ms": keep_old_ms})).await;
        assert_eq!(rotated.status, 200, "{}", rotated.text());
        let next = rotated.json()["token"].as_str().unwrap().to_owned();
        let on_new = join(bench.public, &next, "default", answers(&[200])).await;
        if keep_old_ms.is_none() {
            bench.until_holds(|| async { bench.ask("/api/v1/destinations/default").await["clients"] == 2 }).await;
            let rotation = bench.ask("/api/v1/tokens/crm").await["rotation"].clone();
            assert_eq!((&rotation["old"]["sessions"], &rotation["new"]["sessions"]), (&json!(1), &json!(1)));
            assert_eq!(rotation["old"]["prefix"], old);
            assert!(upgrade(bench.public, &present, Some("1")).await.is_ok(), "the old one lets in");
            assert_eq!(bench.command("POST", "/api/v1/tokens/crm/rotate/finish", json!(null)).await.status, 200);
        }
        on_old.ended().await;
        assert_eq!(upgrade(bench.public, &present, Some("1")).await.unwrap_err().status(), 401);
        bench.until_holds(|| async { bench.ask("/api/v1/destinations/default").await["clients"] == 1 }).await;
        on_new.stop().await;
        present = next;
    }
    bench.finish().await;
}
