//! The defects of the program that this one replaces, each as a named regression test.

use http::Method;

use crate::{
    process::{API_KEY, Server, client, wait_for},
    sender::Sender,
    target::{Reply, Target},
};

/// It never retried a failed delivery: it stayed in the pending list for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_delivery_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let target =
        Target::start(|arrival| Reply::status(if arrival.header("relay-attempt") == "1" { 500 } else { 200 })).await;
    let server = Server::start(dir.path(), &[("RETRY_DELAY", "10ms")]);
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    let event = Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    wait_for("the second try", || (target.delivered().get(&event) == Some(&1)).then_some(()));
}

/// I13: its whole stream expired when it was idle. Here an event expires alone, visibly, and can be redriven.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_past_its_ttl_is_listed_with_its_body_and_redriven() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[("MESSAGE_TTL", "1s")]);
    let event = Sender::new().post(&server.url("/webhook"), "kept").await.unwrap().event();
    let expired = wait_for("the delivery to expire", || {
        server.json(&["dead", "list"])["items"].as_array().unwrap().first().cloned()
    });
    assert_eq!((expired["state"].as_str(), expired["reason"].as_str()), (Some("expired"), Some("expired")));
    assert_eq!(server.cli(&["event", "show", &event, "--body"]).stdout, b"kept");
    assert!(server.process.log().contains("delivery_expired"));

    server.process.signal("TERM");
    server.process.wait();
    server.set("MESSAGE_TTL", "1h");
    server.restart();
    server.json(&["dead", "redrive", "--all", "--yes"]);
    let target = Target::start(|_| Reply::status(200)).await;
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    wait_for("the redriven event to arrive", || (target.delivered().get(&event) == Some(&1)).then_some(()));
}

/// Its queue depth never fell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_depth_falls_when_events_are_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(200)).await;
    let server = Server::start(dir.path(), &[]);
    let sender = Sender::new();
    for _ in 0..5 {
        sender.post(&server.url("/webhook"), "{}").await.unwrap().event();
    }
    assert_eq!(server.queue_depth(), 5);
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    let health = server.json(&["health"]);
    assert_eq!((health["webhooks_received"].as_u64(), health["webhooks_processed"].as_u64()), (Some(5), Some(5)));
}

/// S14: it forwarded the relay's own API key to the local application.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_key_reaches_neither_target_nor_store() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(200)).await;
    let server = Server::start(dir.path(), &[]);
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    let bearer = format!("Bearer {API_KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/plain")];
    let url = server.url("/webhook");
    let event = Sender::new().send(Method::POST, &url, &headers, "x").await.unwrap().event();
    wait_for("the webhook to arrive", || (target.count() == 1).then_some(()));
    assert!(!format!("{:?}", target.arrivals()).contains(API_KEY));
    assert!(!server.json(&["event", "show", &event]).to_string().contains(API_KEY));
}

/// I3: it dropped repeated headers, query and path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_headers_query_and_path_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(200)).await;
    let server = Server::start(dir.path(), &[]);
    let _client = client(dir.path(), "client", server.public, &[("default", target.url(""))], &[]);
    let headers = [("x-api-key", API_KEY), ("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")];
    let url = server.url("/webhook/default/orders/7?b=2&a=1&b=3");
    Sender::new().send(Method::POST, &url, &headers, "x").await.unwrap().event();
    wait_for("the webhook to arrive", || (target.count() == 1).then_some(()));
    let arrival = target.arrivals().remove(0);
    assert_eq!(arrival.path_and_query, "/orders/7?b=2&a=1&b=3");
    assert_eq!(arrival.headers.get_all("x-forwarded-for").iter().count(), 2);
}

/// A GET got 404, so handshakes were impossible. A key source takes GET; unknown sources are told apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_is_taken_by_a_key_source() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let sender = Sender::new();
    let url = server.url("/webhook?hub.mode=subscribe");
    sender.send(Method::GET, &url, &[("x-api-key", API_KEY)], "").await.unwrap().event();
    let told = sender.send(Method::GET, &server.url("/webhook/nowhere"), &[("x-api-key", API_KEY)], "").await.unwrap();
    assert_eq!((told.status, told.code().as_str()), (404, "unknown_source"));
}

/// S27, S39: it printed the admin password into its log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("API_KEY", ""), ("RELAY_TOKEN", ""), ("ADMIN_TOKEN", ""), ("RUST_LOG", "trace")];
    let server = Server::start(dir.path(), &settings);
    let credentials = std::fs::read_to_string(server.data_dir().join("credentials")).unwrap();
    let secrets: Vec<&str> =
        credentials.lines().filter_map(|line| line.split_once('=')).map(|(_, value)| value).collect();
    assert_eq!(secrets.len(), 3);
    let canary = "canary-7f3a-payload";
    let headers = [("x-api-key", secrets[0]), ("cookie", "canary-7f3a-cookie"), ("authorization", "canary-7f3a-auth")];
    let url = server.url("/webhook?token=canary-7f3a-query");
    Sender::new().send(Method::POST, &url, &headers, canary).await.unwrap();
    Sender::new().post(&server.url("/webhook"), canary).await.unwrap();
    let log = server.process.log();
    for secret in secrets.iter().chain(&["canary-7f3a"]) {
        assert!(!log.contains(secret), "{secret} stands in the log");
    }
}
