//! Changes of the registry are heard of, with hints and without.

use std::time::Duration;

use relay_store::{
    redis::{Options, RedisStore},
    seam::{DocumentKey, DocumentKind, Registry as _},
};
use tokio::time::{Instant, sleep, timeout};

use crate::node::Node;

const NEVER: Duration = Duration::from_hours(1);

async fn write(store: &RedisStore, version: u64) {
    let key = DocumentKey { kind: DocumentKind::Source, name: "in".to_owned() };
    let written = store.put_document(key, version, Some("{}".to_owned()), Vec::new()).await;
    assert_eq!(written, Ok(Some(version + 1)));
}

/// How many connections only hear.
async fn listeners(node: &Node, wanted: usize) {
    let began = Instant::now();
    loop {
        let clients = node.ask(&[b"CLIENT", b"LIST", b"TYPE", b"pubsub"]);
        if clients.matches("addr=").count() / 2 == wanted {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "not {wanted}: {clients}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// I21: what one server writes another hears of at once, and though nobody looks.
#[tokio::test]
async fn a_change_is_heard_of_by_a_hint_alone() {
    let node = Node::start();
    let options = Options { look_every: NEVER, ..Options::new(node.address()) };
    let (one, other) = (RedisStore::open(options.clone()), RedisStore::open(options));
    listeners(&node, 2).await;
    for version in 0..3 {
        let heard = other.changes();
        write(&one, version).await;
        timeout(Duration::from_secs(60), heard).await.expect("it is heard");
    }
}

/// I21: a listener whose connection was killed looks as soon as it has another, and hears again.
#[tokio::test]
async fn a_change_is_heard_of_though_the_connection_was_killed() {
    let node = Node::start();
    let options = Options { look_every: NEVER, ..Options::new(node.address()) };
    let one = RedisStore::open(Options { hears: false, ..options.clone() });
    let other = RedisStore::open(options);
    for version in 0..3 {
        listeners(&node, 1).await;
        let heard = other.changes();
        node.ask(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]);
        write(&one, version).await;
        timeout(Duration::from_secs(60), heard).await.expect("it is heard");
    }
}

/// I21: without hints looking is enough.
#[tokio::test]
async fn a_change_is_seen_without_hints() {
    let node = Node::start();
    let options = Options { hears: false, look_every: Duration::from_millis(5), ..Options::new(node.address()) };
    let (one, other) = (RedisStore::open(options.clone()), RedisStore::open(options));
    let first = other.changes();
    write(&one, 0).await;
    timeout(Duration::from_secs(60), first).await.expect("it is seen");
    let second = other.changes();
    write(&one, 1).await;
    timeout(Duration::from_secs(60), second).await.expect("it is seen");
    listeners(&node, 0).await;
}
