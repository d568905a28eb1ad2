//! The main job over real processes: accepted, forwarded byte for byte, retried, dead, redriven.

use http::Method;

use crate::{
    process::{API_KEY, Server, client, wait_for},
    sender::Sender,
    target::{Arrival, Reply, Target},
    torture::Load,
};

/// I3, I6, S14: everything of a request arrives unchanged, and the key does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_arrives_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(200)).await;
    let server = Server::start(dir.path(), &[("PUBLIC_URL", "https://relay.example.com")]);
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/hook?k=v"))], &[]);
    let body: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let headers = [
        ("x-api-key", API_KEY),
        ("content-type", "application/octet-stream"),
        ("x-twice", "one"),
        ("x-between", "b"),
        ("x-twice", "two"),
        ("relay-event-id", "forged"),
    ];
    let url = server.url("/webhook/default/a%2Fb/c;d?x=1&x=2&empty=");
    let event = Sender::new().send(Method::PUT, &url, &headers, body.clone()).await.unwrap().event();

    wait_for("the webhook to arrive", || (target.count() == 1).then_some(()));
    let arrival = target.arrivals().remove(0);
    assert_eq!(arrival.method, "PUT");
    assert_eq!(arrival.path_and_query, "/hook/a%2Fb/c;d?k=v&x=1&x=2&empty=");
    assert_eq!(arrival.body, body);
    let twice: Vec<_> = arrival.headers.get_all("x-twice").iter().collect();
    assert_eq!(twice, ["one", "two"]);
    assert_eq!(arrival.header("x-api-key"), "");
    assert_eq!(arrival.header("relay-event-id"), event);
    assert_eq!(arrival.header("relay-attempt"), "1");
    assert_eq!(arrival.header("relay-source"), "default");
    assert_eq!(
        arrival.header("relay-original-url"),
        "https://relay.example.com/webhook/default/a%2Fb/c;d?x=1&x=2&empty="
    );
    assert_eq!(arrival.header("host"), target.addr.to_string());
    assert!(!arrival.headers.contains_key("relay-replay"));
}

/// I10, I12: refused tries are retried on schedule, end dead with their reason, and a redrive starts anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_webhook_is_retried_ends_dead_and_is_redriven() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(500)).await;
    let server = Server::start(dir.path(), &[("RETRY_DELAY", "10ms"), ("MAX_RETRIES", "2")]);
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    let event = Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();

    let dead = wait_for("the delivery to end dead", || {
        let listing = server.json(&["dead", "list"]);
        listing["items"].as_array().unwrap().first().cloned()
    });
    assert_eq!(dead["event_id"], event.as_str());
    assert_eq!(dead["reason"], "rejected");
    assert_eq!(dead["attempts"], 3);
    assert_eq!(dead["last"]["status"], 500);
    let attempts: Vec<String> =
        target.arrivals().iter().map(|arrival| arrival.header("relay-attempt").to_owned()).collect();
    assert_eq!(attempts, ["1", "2", "3"]);

    target.answer(|_| Reply::status(200));
    let redriven = server.json(&["dead", "redrive", dead["id"].as_str().unwrap(), "--yes"]);
    assert_eq!(redriven["changed"], 1);
    wait_for("the redriven delivery to arrive", || (target.count() == 4).then_some(()));
    assert_eq!(target.arrivals()[3].header("relay-attempt"), "1");
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    server.audit();
}

/// I7, I11: two clients share a destination; one is killed while it forwards, the other takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_client_takes_over_from_one_that_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::hang()).await;
    let server = Server::start(dir.path(), &[]);
    let targets = [("default", target.url("/"))];
    let mut first = client(dir.path(), "first", server.public, &targets, &[]);
    let event = Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    wait_for("the forward to begin", || (target.count() == 1).then_some(()));
    let _second = client(dir.path(), "second", server.public, &targets, &[]);
    target.answer(|_| Reply::status(200));
    first.kill();
    wait_for("the second client to deliver it", || (target.delivered().get(&event) == Some(&1)).then_some(()));
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
}

/// Circuit: from the moment it opens nothing dies; all of it is delivered once the target is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_refuses_everything_costs_nothing_once_the_circuit_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(500)).await;
    let settings = [("RETRY_DELAY", "100ms"), ("MAX_RETRIES", "2"), ("CIRCUIT_PAUSE_MAX", "1s")];
    let server = Server::start(dir.path(), &settings);
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[("CONCURRENCY", "2")]);
    let load = Load::start(&server.url("/webhook"));
    wait_for("the circuit to open", || server.process.log().contains("destination_down").then_some(()));
    wait_for("failures in flight to settle", || (target.count() >= 12).then_some(()));
    let dead = server.json(&["dead", "list", "--all"])["items"].as_array().unwrap().len();
    let enough = load.so_far().0 + 400;
    wait_for("a steady load under the outage", || (load.so_far().0 >= enough).then_some(()));
    let history = load.stop().await;
    assert_eq!(server.json(&["dead", "list", "--all"])["items"].as_array().unwrap().len(), dead);

    target.answer(|_| Reply::status(200));
    wait_for("all of it to arrive", || (history.missing(&target.delivered()) == dead).then_some(()));
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    server.audit();
}

/// I10: what the target judges ends dead as refused, also while it is down for everything else; that waits and arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_target_judges_ends_dead_while_it_is_down_for_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let judges =
        |arrival: &Arrival, otherwise: u16| Reply::status(if &arrival.body[..] == b"bad" { 422 } else { otherwise });
    let target = Target::start(move |arrival| judges(arrival, 500)).await;
    let settings = [("RETRY_DELAY", "500ms"), ("MAX_RETRIES", "1"), ("CIRCUIT_PAUSE_MAX", "1s")];
    let server = Server::start(dir.path(), &settings);
    let sender = Sender::new();
    for number in 0..8 {
        sender.post(&server.url("/webhook"), format!("good {number}")).await.unwrap();
    }
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    wait_for("the circuit to open", || server.process.log().contains("destination_down").then_some(()));
    sender.post(&server.url("/webhook"), "bad").await.unwrap();
    let dead = wait_for("it to end dead", || {
        let listing = server.json(&["dead", "list", "--reason", "refused"]);
        listing["items"].as_array().unwrap().first().cloned()
    });
    assert_eq!((dead["attempts"].as_u64(), dead["last"]["status"].as_u64()), (Some(2), Some(422)));
    assert_eq!(server.json(&["dead", "list", "--all"])["items"].as_array().unwrap().len(), 1);
    target.answer(move |arrival| judges(arrival, 200));
    wait_for("the rest to arrive", || (target.delivered().len() == 8).then_some(()));
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    server.audit();
}

/// I15: one event that always hangs the target ends dead; the others flow meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_that_always_hangs_the_target_ends_dead_while_others_flow() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|arrival| match &arrival.body[..] {
        b"poison" => Reply::hang(),
        _ => Reply::status(200),
    })
    .await;
    let server = Server::start(dir.path(), &[("RETRY_DELAY", "50ms"), ("MAX_RETRIES", "1")]);
    let more = [("FORWARD_TIMEOUT", "500ms"), ("CONCURRENCY", "2")];
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &more);
    let poison = Sender::new().post(&server.url("/webhook"), "poison").await.unwrap().event();
    let load = Load::start(&server.url("/webhook"));
    let dead = wait_for("the hanging event to end dead", || {
        server.json(&["dead", "list"])["items"].as_array().unwrap().first().cloned()
    });
    assert_eq!((dead["event_id"].as_str(), dead["reason"].as_str()), (Some(poison.as_str()), Some("busy")));
    let history = load.stop().await;
    wait_for("the others to arrive", || (history.missing(&target.delivered()) == 0).then_some(()));
    assert_eq!(server.json(&["dead", "list"])["items"].as_array().unwrap().len(), 1);
}
