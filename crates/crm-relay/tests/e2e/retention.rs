//! What ended is kept for its retention and then goes; what is open never does.

use crate::{
    clock::clock,
    process::{API_KEY, Server, client, wait_for},
    sender::Sender,
    store,
    target::{Reply, Target},
};

/// I5, I13: delivered webhooks go after `RETENTION_DELIVERED`, dead ones after `RETENTION_DEAD`, both counted as retired
/// and the sums hold; one that is open stays however short both are, and is delivered in the end. A minute takes a second
/// here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_ended_goes_and_only_after_its_retention() {
    let dir = tempfile::tempdir().unwrap();
    let refuses_bad = |body: &[u8]| Reply::status(if body == b"bad" { 500 } else { 200 });
    let target = Target::start(move |arrival| refuses_bad(&arrival.body)).await;
    let settings = [
        ("MAX_RETRIES", "0"),
        ("MESSAGE_TTL", "30d"),
        ("DEDUPE_WINDOW", "1m"),
        ("RETENTION_DELIVERED", "1m"),
        ("RETENTION_DEAD", "30d"),
    ];
    let mut server = Server::start(dir.path(), &[&settings[..], &store::HURRIED[..]].concat());
    server.json(&["source", "create", "orders", "--destination", "erp"]);
    let key = server.json(&["key", "create", "orders", "shop"])["key"].as_str().unwrap().to_owned();
    server.process.kill();
    let hurried = clock(&["FAKETIME=+0 x60"]);
    server.restart_under(&hurried);
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    let sender = Sender::new();
    let open = sender.post_until_taken(&server.url("/webhook/orders"), &key, "open", "1").await;
    for (body, id) in [("good", "2"), ("bad", "3"), ("good", "4")] {
        sender.post_until_taken(&server.url("/webhook"), API_KEY, body, id).await;
    }

    wait_for("the delivered ones to go", || (count(&server, "default", "retired") == 2).then_some(()));
    assert_eq!(count(&server, "default", "dead"), 1, "dead letters have a retention of their own");
    assert_eq!(server.json(&["dead", "list"])["items"].as_array().unwrap().len(), 1);
    assert_eq!(server.json(&["event", "list"])["items"].as_array().unwrap().len(), 2, "the dead and the open one");
    server.audit();

    server.process.kill();
    server.set("RETENTION_DEAD", "1m");
    server.restart_under(&hurried);
    wait_for("the dead one to go", || (count(&server, "default", "retired") == 3).then_some(()));
    assert_eq!(server.json(&["event", "list"])["items"][0]["id"], *open);
    assert_eq!((count(&server, "erp", "ready"), count(&server, "erp", "retired")), (1, 0));
    server.audit();

    let _late = client(dir.path(), "late", server.public, &[("erp", target.url("/"))], &[]);
    wait_for("the open one to arrive", || target.delivered().contains_key(&open).then_some(()));
    wait_for("it to go as well", || (count(&server, "erp", "retired") == 1).then_some(()));
    assert_eq!(server.json(&["event", "list"])["items"].as_array().unwrap().len(), 0);
    server.audit();
}

/// One of the recounted sums of a destination.
fn count(server: &Server, destination: &str, what: &str) -> u64 {
    let audit = server.json(&["audit"]);
    let sums = audit["deliveries"].as_array().unwrap();
    let row = sums.iter().find(|row| row["destination"] == destination).unwrap_or_else(|| panic!("{audit:#}"));
    row[what].as_u64().unwrap_or_else(|| panic!("{audit:#}"))
}
