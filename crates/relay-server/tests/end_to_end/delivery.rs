//! A webhook on its way.

use serde_json::json;

use crate::{
    bench::{API_KEY, Bench, RELAY_TOKEN},
    client::{answers, drive, join},
};

/// I1, I6: what was answered 202 reaches the target and is delivered, durably.
#[tokio::test]
async fn a_webhook_reaches_the_client_and_is_settled() {
    let bench = Bench::start().await;
    let mut client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    let reply = bench.post_to("/webhook/default/a%2Fb?x=1", &format!("X-API-Key: {API_KEY}\r\n"), b"{\"n\":1}").await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let event_id = reply.json()["event_id"].as_str().unwrap().to_owned();

    let forward = client.next().await;
    assert_eq!(forward.event.to_string(), event_id);
    assert_eq!(
        (&forward.body[..], &forward.rest[..], forward.query.as_deref()),
        (&b"{\"n\":1}"[..], &b"/a%2Fb"[..], Some(&b"x=1"[..]))
    );
    assert_eq!(forward.attempt, 1);
    assert!(!forward.headers.iter().any(|(name, _)| &name[..] == b"x-api-key"), "the API key stays here");

    bench.until("delivered", 1).await;
    let event = bench.ask(&format!("/api/v1/events/{event_id}")).await;
    assert_eq!(event["deliveries"][0]["state"], "delivered");
    assert_eq!(event["deliveries"][0]["last"]["status"], 200);
    let body = bench.command("GET", &format!("/api/v1/events/{event_id}/body"), json!(null)).await;
    assert_eq!(body.body, b"{\"n\":1}");
    client.stop().await;
    bench.finish().await;
}

#[tokio::test]
async fn a_client_of_the_same_process_needs_no_socket() {
    let mut bench = Bench::start().await;
    let mut client = drive(bench.attached(), "default", answers(&[204]));
    assert_eq!(bench.post(b"{}").await.status, 202);
    assert_eq!(&client.next().await.body[..], b"{}");
    bench.until("delivered", 1).await;
    client.stop().await;
    bench.finish().await;
}

/// What waits while nobody is there is delivered once somebody is.
#[tokio::test]
async fn a_backlog_is_delivered_when_a_client_comes() {
    let bench = Bench::start().await;
    for n in 0..100 {
        assert_eq!(bench.post(format!("{{\"n\":{n}}}").as_bytes()).await.status, 202);
    }
    let client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    bench.until("delivered", 100).await;
    client.stop().await;
    bench.finish().await;
}

#[tokio::test]
async fn a_body_of_many_chunks_arrives_whole() {
    let bench = Bench::start().await;
    let mut client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    let body: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(bench.post(&body).await.status, 202);
    assert!(client.next().await.body == body);
    bench.until("delivered", 1).await;
    client.stop().await;
    bench.finish().await;
}

#[tokio::test]
async fn a_rejected_webhook_is_tried_again() {
    let bench = Bench::start().await;
    let mut client = join(bench.public, RELAY_TOKEN, "default", answers(&[500, 200])).await;
    bench.post(b"{}").await;
    assert_eq!(client.next().await.attempt, 1);
    assert_eq!(client.next().await.attempt, 2);
    bench.until("delivered", 1).await;
    client.stop().await;
    bench.finish().await;
}

/// I12: a dead letter is listed with its reason, and redriven it is the same delivery, with attempts anew.
#[tokio::test]
async fn a_dead_letter_is_listed_and_redriven() {
    let bench = Bench::start().await;
    let client = join(bench.public, RELAY_TOKEN, "default", answers(&[500, 500, 200])).await;
    bench.post(b"{}").await;
    bench.until("dead", 1).await;
    let dead = bench.ask("/api/v1/dead").await;
    assert_eq!(dead["items"][0]["reason"], "rejected");
    let id = dead["items"][0]["id"].clone();

    let dry = bench.command("POST", "/api/v1/dead/redrive", json!({"all": true, "dry_run": true})).await.json();
    assert_eq!((&dry["matched"], &dry["changed"]), (&json!(1), &json!(0)));
    let done = bench.command("POST", "/api/v1/dead/redrive", json!({"ids": [id]})).await.json();
    assert_eq!(done["changed"], 1, "{done:#}");
    bench.until("delivered", 1).await;
    let shown = bench.ask(&format!("/api/v1/deliveries/{}", id.as_str().unwrap())).await;
    assert_eq!(shown["tries"], 1);
    assert_eq!(shown["history"].as_array().unwrap().len(), 3);
    client.stop().await;
    bench.finish().await;
}

/// I12: what is open stays counted while it is tried, and a cancel with a limit, as one in steps has, takes it.
#[tokio::test]
async fn a_limit_alone_leaves_nothing_that_was_tried_since_it_was_counted() {
    let bench = Bench::start().await;
    bench.post(b"{}").await;
    let cancel = |more: serde_json::Value| {
        let mut body = json!({"source": "default"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.command("POST", "/api/v1/deliveries/cancel", body)
    };
    let counted = cancel(json!({"dry_run": true})).await.json();
    assert_eq!(counted["matched"], 1, "{counted:#}");
    let mut client = join(bench.public, RELAY_TOKEN, "default", answers(&[429])).await;
    client.next().await;
    client.stop().await;
    let done = cancel(json!({"preview": counted["preview"], "job": counted["job"], "limit": 1_000})).await.json();
    assert_eq!((&done["matched"], &done["changed"]), (&json!(1), &json!(1)), "{done:#}");
    bench.finish().await;
}

/// The audit log says which was meant, and what groups failed with, for who reads it when they are gone.
#[tokio::test]
async fn what_was_done_to_dead_letters_is_written_down_in_words() {
    let bench = Bench::start().await;
    let client = join(bench.public, RELAY_TOKEN, "default", answers(&[422, 422, 422, 422])).await;
    for dead in 1..=2 {
        bench.post(b"{}").await;
        bench.until("dead", dead).await;
    }
    let groups = bench.ask("/api/v1/dead/groups").await;
    let id = groups["items"][0]["example"].as_str().unwrap();
    let asked = json!({"all": true, "groups": [groups["items"][0]["key"]]});
    let purge = |more: serde_json::Value| {
        let mut body = asked.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.command("POST", "/api/v1/dead/purge", body)
    };
    let counted = purge(json!({"dry_run": true})).await.json();
    assert!(counted["example"].as_str().is_some_and(|id| id.starts_with("dlv_")), "{counted:#}");
    let done = purge(json!({"preview": counted["preview"], "job": counted["job"], "limit": 1})).await.json();
    assert_eq!(done["changed"], 1, "{done:#}");
    let done = purge(json!({"preview": counted["preview"], "job": counted["job"], "limit": 2})).await.json();
    assert_eq!(done["changed"], 2, "{done:#}");
    bench.post(b"{}").await;
    bench.until("dead", 1).await;
    let left = bench.ask("/api/v1/dead").await["items"][0]["id"].clone();
    assert_ne!(left, id);
    bench.command("POST", "/api/v1/dead/redrive", json!({"ids": [left]})).await;
    let log = bench.store.audit_log();
    let subjects = |action: &str| -> Vec<String> {
        log.iter().filter(|entry| entry.action == action).map(|entry| entry.subject.clone()).collect()
    };
    let (job, purged) = (counted["job"].as_str().unwrap(), subjects("dead.purge"));
    assert_eq!(purged.len(), 1, "{purged:?}");
    assert!(purged[0].starts_with(&format!("{job}: 2 counted, all, groups default refused 422")), "{purged:?}");
    assert_eq!(subjects("dead.redrive"), [left.as_str().unwrap()]);
    client.stop().await;
    bench.finish().await;
}

/// What failed alike is one group, and a command about one leaves the others.
#[tokio::test]
async fn dead_letters_are_redriven_by_their_group() {
    let bench = Bench::start().await;
    let client = join(bench.public, RELAY_TOKEN, "default", answers(&[422, 422, 409, 409, 200])).await;
    for dead in 1..=2 {
        bench.post(b"{}").await;
        bench.until("dead", dead).await;
    }
    let groups = bench.ask("/api/v1/dead/groups").await;
    let (items, of_all) = (groups["items"].as_array().unwrap(), (&groups["looked_at"], &groups["is_all"]));
    assert_eq!((items.len(), of_all), (2, (&json!(2), &json!(true))), "{groups:#}");
    let group = items.iter().find(|group| group["status"] == 409).unwrap();
    let redrive = |preview: &serde_json::Value| {
        let (dry_run, key) = (preview.is_null(), &group["key"]);
        let mut body = json!({"all": true, "groups": [key], "dry_run": dry_run});
        if !dry_run {
            body["preview"] = preview.clone();
        }
        bench.command("POST", "/api/v1/dead/redrive", body)
    };
    let counted = redrive(&json!(null)).await.json();
    assert_eq!(counted["split"], json!([{"destination": "default", "count": 1}]), "{counted:#}");
    let keys: Vec<_> = items.iter().map(|group| &group["key"]).collect();
    let backwards: Vec<_> = keys.iter().rev().collect();
    let of_both = json!({"all": true, "groups": keys, "dry_run": true});
    let of_both = bench.command("POST", "/api/v1/dead/redrive", of_both).await.json()["preview"].clone();
    let done = redrive(&counted["preview"]).await.json();
    assert_eq!(done["changed"], 1, "{done:#}");
    bench.until("delivered", 1).await;
    let limited = json!({"all": true, "groups": backwards, "limit": 0, "preview": of_both});
    let in_another_order = bench.command("POST", "/api/v1/dead/redrive", limited).await;
    assert_eq!(in_another_order.status, 200, "{}", in_another_order.text());
    let left = bench.ask("/api/v1/dead/groups").await;
    assert_eq!((left["items"].as_array().unwrap().len(), &left["items"][0]["status"]), (1, &json!(422)), "{left:#}");
    for (path, body) in [
        ("dead/purge", json!({"all": true, "groups": ["x"]})),
        ("dead/purge", json!({"all": true, "groups": vec![group["key"].clone(); 501]})),
        ("deliveries/cancel", json!({"all": true, "groups": [group["key"]]})),
    ] {
        let refused = bench.command("POST", &format!("/api/v1/{path}"), body).await;
        assert!(refused.status == 400 && refused.text().contains("groups"), "{}", refused.text());
    }
    client.stop().await;
    bench.finish().await;
}

#[tokio::test]
async fn a_replay_is_a_new_delivery_of_the_old_event() {
    let bench = Bench::start().await;
    let mut client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    let event = bench.post(b"{}").await.json()["event_id"].as_str().unwrap().to_owned();
    assert!(!client.next().await.replay);
    let reply = bench.command("POST", &format!("/api/v1/events/{event}/replay"), json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let again = client.next().await;
    assert!(again.replay && again.event.to_string() == event);
    bench.until("delivered", 2).await;
    client.stop().await;
    bench.finish().await;
}

#[tokio::test]
async fn a_paused_destination_waits_and_goes_on_when_resumed() {
    let bench = Bench::start().await;
    let client = join(bench.public, RELAY_TOKEN, "default", answers(&[200])).await;
    let paused = bench.command("POST", "/api/v1/destinations/default/pause", json!({})).await;
    assert_eq!(paused.json()["paused"], true);
    bench.until_holds(|| async { bench.ask("/api/v1/destinations/default").await["paused"] == true }).await;
    bench.post(b"{}").await;
    bench.until("ready", 1).await;
    bench.command("POST", "/api/v1/destinations/default/resume", json!({})).await;
    bench.until("delivered", 1).await;
    client.stop().await;
    bench.finish().await;
}

/// I20: a repeat of an `Idempotency-Key` makes no second event and gets the first one's id.
#[tokio::test]
async fn a_repeat_is_answered_with_the_first_event() {
    let bench = Bench::start().await;
    let headers = format!("X-API-Key: {API_KEY}\r\nIdempotency-Key: order-7\r\n");
    let first = bench.post_to("/webhook", &headers, b"{}").await.json();
    let second = bench.post_to("/webhook", &headers, b"{}").await.json();
    assert_eq!(first, second);
    assert_eq!(bench.ask("/api/v1/events").await["items"].as_array().unwrap().len(), 1);
    bench.finish().await;
}
