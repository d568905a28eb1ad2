//! Moving in: `crm-relay store migrate`, with its process killed in the middle.

use std::{collections::BTreeMap, path::Path, process::Output};

use serde_json::Value;

use crate::{
    process::{Process, Server, client, run, wait_for},
    sender::Sender,
    store::Redis,
    target::{Reply, Target},
};

/// Events of a move that is to take a while.
const EVENTS: usize = 1_500;

/// `crm-relay store migrate` to its end.
fn migrate(dir: &Path, from: &str, to: &str, more: &[&str]) -> Output {
    let args = [&["store", "migrate", "--from", from, "--to", to, "--json"], more].concat();
    run(dir, &args, &[("STREAM_NAME", "moved")])
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A server that is to end by itself.
fn ends(dir: &Path, settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let data = dir.join("data");
    let usual = [
        ("DATA_DIR", data.to_str().unwrap()),
        ("SERVER_HOST", "127.0.0.1"),
        ("SERVER_PORT", "0"),
        ("ADMIN_LISTEN", "off"),
        ("STREAM_NAME", "moved"),
    ];
    let output = run(dir, &["server"], &[&usual, settings].concat());
    (output.status.code(), said(&output))
}

/// I1, I5, I7, I20: nothing is lost on the way to a Redis and back, though the move is killed again and again; no server starts on what
/// is half a store; and what was delivered before is not delivered again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_moves_to_a_redis_and_back_however_often_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(&[]);
    let (url, data) = (redis.url(), dir.path().join("data"));
    let data = data.to_str().unwrap();
    let target = Target::start(|arrival| Reply::status(if arrival.body.starts_with(b"bad") { 422 } else { 200 })).await;
    let mut embedded = Server::start(dir.path(), &[("REDIS_URL", ""), ("MAX_RETRIES", "1"), ("RETRY_DELAY", "10ms")]);
    let sender = Sender::new();
    // Some are delivered or dead by then, the others wait.
    let hands = client(dir.path(), "before", embedded.public, &[("default", target.url("/"))], &[]);
    let mut sent = BTreeMap::new();
    for number in 0..60 {
        let body = if number % 3 == 0 { format!("bad {number}") } else { format!("good {number}") };
        sent.insert(sender.post(&embedded.url("/webhook"), body.clone()).await.unwrap().event(), body);
    }
    wait_for("the queue to empty", || (embedded.queue_depth() == 0).then_some(()));
    drop(hands);
    let before = target.delivered();
    let mut posts = tokio::task::JoinSet::new();
    for number in 60..EVENTS {
        let (sender, url) = (sender.clone(), embedded.url("/webhook"));
        posts.spawn(async move {
            let body = format!("good {number}");
            let id = sender.post(&url, body.clone()).await.map(|told| told.event());
            (id.unwrap(), body)
        });
        if posts.len() >= 32 {
            sent.extend(posts.join_next().await.unwrap());
        }
    }
    while let Some(posted) = posts.join_next().await {
        sent.extend(posted);
    }
    let is_served = migrate(dir.path(), data, &url, &[]);
    assert_eq!(is_served.status.code(), Some(69), "{}", said(&is_served));
    let totals = embedded.json(&["health"]);
    embedded.process.signal("TERM");
    assert!(embedded.process.wait().success());

    let survey = json(&migrate(dir.path(), data, &url, &["--dry-run"]));
    assert_eq!(survey["events"], EVENTS);
    assert_eq!(redis.node.ask(&[b"DBSIZE"]), ":0\r\n", "that changes nothing");
    kill_in_the_middle(dir.path(), data, &url, &redis);
    let (code, text) = ends(dir.path(), &[]);
    assert!(code == Some(78) && text.contains("is being moved to"), "{code:?} {text}");
    let other = tempfile::tempdir().unwrap();
    let (code, text) = ends(other.path(), &[("REDIS_URL", &url)]);
    assert!(code == Some(78) && text.contains("a part of what is being moved"), "{code:?} {text}");
    let moved = json(&migrate(dir.path(), data, &url, &[]));
    assert_eq!((moved["events"].as_u64(), moved["was_done"].as_bool()), (Some(EVENTS as u64), Some(false)));
    assert_eq!(json(&migrate(dir.path(), data, &url, &[]))["was_done"], true);
    let (code, text) = ends(dir.path(), &[]);
    assert!(code == Some(78) && text.contains("was moved to"), "{code:?} {text}");

    // On the Redis, in the same directory, with the secrets that lie there.
    let settings = [("REDIS_URL", url.as_str()), ("STREAM_NAME", "moved"), ("RETENTION_DELIVERED", "7d")];
    let mut server = Server::start(dir.path(), &settings);
    let now = server.json(&["health"]);
    for name in ["webhooks_received", "webhooks_processed", "webhooks_failed", "webhooks_retried", "queue_depth"] {
        assert_eq!(now[name], totals[name], "{name}");
    }
    server.audit();
    let _hands = client(dir.path(), "after", server.public, &[("default", target.url("/"))], &[]);
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    let delivered = target.delivered();
    for (id, body) in &sent {
        let wanted = u32::from(body.starts_with("good"));
        assert_eq!(delivered.get(id).copied().unwrap_or_default(), wanted, "{id}: {body}");
    }
    assert!(before.keys().all(|id| delivered.contains_key(id)));
    let refused = migrate(dir.path(), &url, dir.path().join("back").to_str().unwrap(), &[]);
    assert_eq!(refused.status.code(), Some(69), "{}", said(&refused));
    server.process.signal("TERM");
    assert!(server.process.wait().success());

    let back = dir.path().join("back/data");
    let returned = json(&migrate(dir.path(), &url, back.to_str().unwrap(), &[]));
    assert_eq!(returned["events"], EVENTS);
    std::fs::copy(dir.path().join("data/credentials"), back.join("credentials")).ok();
    let server = Server::start(&dir.path().join("back"), &[("REDIS_URL", "")]);
    assert_eq!(server.json(&["health"])["webhooks_received"], totals["webhooks_received"]);
    let (id, body) = sent.iter().next_back().unwrap();
    assert_eq!(server.cli(&["event", "show", id, "--body"]).stdout, body.as_bytes());
    server.audit();
}

/// Where there is no store, none is made by looking for it, and nothing is told to be moved.
#[tokio::test]
async fn an_empty_redis_is_no_source() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(&[]);
    let (url, to) = (redis.url(), dir.path().join("to"));
    for more in [&["--dry-run"][..], &[]] {
        let refused = migrate(dir.path(), &url, to.to_str().unwrap(), more);
        assert!(
            refused.status.code() == Some(69) && said(&refused).contains("no store in the Redis"),
            "{}",
            said(&refused)
        );
        assert_eq!(redis.node.ask(&[b"DBSIZE"]), ":0\r\n");
        assert!(!to.exists());
    }
}

/// Kills it as soon as something of it is there, and again when more is.
fn kill_in_the_middle(dir: &Path, from: &str, to: &str, redis: &Redis) {
    let stored = || -> u64 {
        let said = redis.node.ask(&[b"DBSIZE"]);
        said.trim_start_matches(':').trim().parse().unwrap()
    };
    let args = ["store", "migrate", "--from", from, "--to", to];
    for _ in 0..3 {
        let at_first = stored();
        let mut moving = Process::start(&dir.join("migrate.log"), &args, &[("STREAM_NAME", "moved")]);
        wait_for("some of it to be there", || {
            assert!(moving.is_running(), "it ended before it was killed: {}", moving.log());
            (stored() >= at_first + 200).then_some(())
        });
        moving.kill();
    }
}
