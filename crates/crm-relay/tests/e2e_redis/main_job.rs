//! The main job of a server on Redis, whole.

use crate::{
    process::{Server, client, wait_for},
    sender::Sender,
    target::{Reply, Target},
};

/// I1, I5, I6: accepted, delivered, dead, redriven, replayed; and all of it there after the server was killed and started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_redis_does_the_main_job_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|arrival| Reply::status(if &arrival.body[..] == b"bad" { 422 } else { 200 })).await;
    let mut server = Server::start(dir.path(), &[("RETRY_DELAY", "10ms"), ("MAX_RETRIES", "1")]);
    let health = server.json(&["health"]);
    assert_eq!((&health["store"]["backend"], &health["store"]["profile"]), (&"redis".into(), &"fsync".into()));
    assert!(!server.data_dir().join("store.db").exists());
    let client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    let sender = Sender::new();
    let good = sender.post(&server.url("/webhook"), "good").await.unwrap().event();
    let bad = sender.post(&server.url("/webhook"), "bad").await.unwrap().event();
    let dead = wait_for("the refused one to end dead", || {
        server.json(&["dead", "list"])["items"].as_array().unwrap().first().cloned()
    });
    assert_eq!((dead["event_id"].as_str(), dead["reason"].as_str()), (Some(&*bad), Some("refused")));
    wait_for("the other to arrive", || (target.delivered().get(&good) == Some(&1)).then_some(()));
    drop(client);

    server.process.kill();
    server.restart();
    let health = server.json(&["health"]);
    assert_eq!((health["webhooks_received"].as_u64(), health["webhooks_failed"].as_u64()), (Some(2), Some(1)));
    assert_eq!(server.cli(&["event", "show", &bad, "--body"]).stdout, b"bad");
    target.answer(|_| Reply::status(200));
    assert_eq!(server.json(&["dead", "redrive", "--all", "--yes"])["changed"], 1);
    server.json(&["event", "replay", &good, "--yes"]);
    let _client = crate::process::client(dir.path(), "again", server.public, &[("default", target.url("/"))], &[]);
    wait_for("both to arrive", || {
        let delivered = target.delivered();
        (delivered.get(&bad) == Some(&1) && delivered.get(&good) == Some(&2)).then_some(())
    });
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    server.audit();
    server.process.signal("TERM");
    assert!(server.process.wait().success(), "{}", server.process.log());
}
