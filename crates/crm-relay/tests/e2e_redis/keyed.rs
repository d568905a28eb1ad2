//! A primary that is gone: webhooks without a key are taken by the others, and one with a key, which can be stored in one place alone, waits for
//! as long as a commit may take and is told to come again.

use std::time::{Duration, Instant};

use http::Method;
use tokio::task::JoinSet;

use crate::{
    clustered::Clustered,
    node::Server as Redis,
    process::{API_KEY, Server, wait_for},
    sender::{Sender, Told},
};

/// Of each kind. With three primaries some twenty of those with a key belong to the one that is gone.
const WEBHOOKS: usize = 60;
/// The deadline of a commit, and what a busy machine takes beside it.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// Well below the deadline of a commit: who is refused has waited for longer.
const AT_ONCE: Duration = Duration::from_millis(500);

/// I2, I20, I24.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_primary_is_gone_waits_and_is_told_to_come_again() {
    let mut cluster = Clustered::start(Redis::Installed, (3, 0), &[], false);
    let dir = tempfile::tempdir().unwrap();
    let hosts: Vec<String> = cluster.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let url = format!("redis+cluster://{}", hosts.join(","));
    let server = Server::start(dir.path(), &[("REDIS_URL", url.as_str())]);
    let slot = cluster.nodes[0].ask(&[b"CLUSTER", b"KEYSLOT", b"{reg}"]);
    let registry = cluster.owner(slot.trim_start_matches(':').trim_end().parse().unwrap()).unwrap();
    let gone = (registry + 1) % 3;

    cluster.nodes[gone].stop();
    // What is under way to it just then is not known to be taken: that it is gone has to be noticed first.
    wait_for("the primary to be missed", || {
        server.json(&["health"]).to_string().contains("cannot be reached").then_some(())
    });
    let (keyed, plain) = tokio::join!(all(&server, true), all(&server, false));
    assert!(plain.iter().all(|(told, _)| told.status == 202), "who has no key is taken by the others: {plain:?}");
    let mut refused = Vec::new();
    for (number, (told, waited)) in keyed.iter().enumerate() {
        if told.status == 202 {
            continue;
        }
        assert_eq!((told.status, told.code().as_str()), (503, "store_unavailable"), "{told:?}");
        assert!(told.headers.contains_key("retry-after"), "{told:?}");
        assert!((AT_ONCE..TOLD_WITHIN).contains(waited), "it waits until its deadline: {waited:?}");
        refused.push(number);
    }
    assert!((1..WEBHOOKS).contains(&refused.len()), "{} of {WEBHOOKS} were refused", refused.len());

    cluster.nodes[gone].restart();
    cluster.is_whole();
    let sender = Sender::new();
    for (number, (told, _)) in keyed.iter().enumerate() {
        let again = sender.post_until_taken(&server.url("/webhook"), API_KEY, "{}", &format!("key-{number}")).await;
        assert!(told.status == 503 || told.event() == again, "a key is one event: {told:?}, {again}");
    }
    assert_eq!(server.json(&["health"])["webhooks_received"], 2 * WEBHOOKS, "nothing half of those that were refused");
    server.audit();
}

/// All at once; each with how long its answer took, in order.
async fn all(server: &Server, keyed: bool) -> Vec<(Told, Duration)> {
    let mut posts = JoinSet::new();
    for number in 0..WEBHOOKS {
        let (sender, url) = (Sender::new(), server.url("/webhook"));
        posts.spawn(async move {
            let (key, since) = (format!("key-{number}"), Instant::now());
            let both = [("x-api-key", API_KEY), ("idempotency-key", key.as_str())];
            let headers = if keyed { &both[..] } else { &both[..1] };
            let told = sender.send(Method::POST, &url, headers, "{}").await.expect("an answer");
            (number, (told, since.elapsed()))
        });
    }
    let mut told = posts.join_all().await;
    told.sort_by_key(|(number, _)| *number);
    told.into_iter().map(|(_, told)| told).collect()
}
