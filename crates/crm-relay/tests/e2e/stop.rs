//! I22: SIGTERM under load loses nothing and causes no duplicate.

use crate::{
    process::{Server, client, wait_for},
    target::{Reply, Target},
    torture::Load,
};

/// I22, I9: a server and a client are stopped in turn under load; no event is lost, none arrives twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_loses_and_duplicates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(204)).await;
    let mut server = Server::start(dir.path(), &[]);
    let targets = [("default", target.url("/"))];
    let mut first = client(dir.path(), "first", server.public, &targets, &[]);
    let _second = client(dir.path(), "second", server.public, &targets, &[]);
    let load = Load::start(&server.url("/webhook"));

    for round in 0..3 {
        let enough = target.count() + 100;
        wait_for("the load to flow", || (target.count() >= enough).then_some(()));
        first.signal("TERM");
        let status = first.wait();
        assert!(status.success(), "the client ended with {status}: {}", first.log());
        server.process.signal("TERM");
        let status = server.process.wait();
        assert!(status.success(), "the server ended with {status}: {}", server.process.log());
        server.restart();
        first = client(dir.path(), &format!("first-{round}"), server.public, &targets, &[]);
    }

    let history = load.stop().await;
    wait_for("every acknowledged event to arrive", || (history.missing(&target.delivered()) == 0).then_some(()));
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    server.audit();
    let findings = history.check(&target.arrivals());
    assert_eq!(findings.duplicates, 0, "I22: a graceful stop causes no duplicate");
}

/// I22: the second signal ends the process at once, although a forward still hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_client_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::hang()).await;
    let server = Server::start(dir.path(), &[]);
    let mut client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    crate::sender::Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    wait_for("the forward to begin", || (target.count() == 1).then_some(()));
    client.signal("TERM");
    wait_for("the client to say that it stops", || client.log().to_lowercase().contains("stopping").then_some(()));
    assert!(client.is_running());
    client.signal("TERM");
    let status = client.wait();
    assert!(!status.success());
}
