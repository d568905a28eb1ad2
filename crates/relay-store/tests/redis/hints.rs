//! Changes of the registry, and what becomes due, are heard of, with hints and without.

use std::time::Duration;

use relay_core::{
    name::Name,
    storage::{About, Presence},
};
use relay_store::{
    conformance::at,
    redis::{Options, RedisStore},
    seam::{DocumentKey, DocumentKind, Queue as _, Registry as _},
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

fn said_by(run: u64) -> Presence {
    let (server, clock, clients, circuits) = (About::default(), None, Vec::new(), Vec::new());
    Presence { run, at: at(0), server, stopping: false, clock, clients, circuits }
}

/// I10: where something becomes due at one server the others hear of it, joined, and though nobody looks; one that is alone tells
/// nobody, and none hears itself.
#[tokio::test]
async fn what_becomes_due_is_heard_of_by_the_others() {
    let node = Node::start();
    let mut fixture = crate::begin::fixture(Options::new(node.address()));
    let one = fixture.store();
    let other = RedisStore::open(Options::new(node.address()));
    listeners(&node, 2).await;
    let published = || {
        let stats = node.ask(&[b"INFO", b"commandstats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_publish:calls="));
        line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0_u32)
    };
    fixture.accept("crm", at(0)).await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(published(), 0, "nobody else is there");

    one.presence(said_by(1)).await.expect("it is said");
    other.presence(said_by(2)).await.expect("it is said");
    one.presence(said_by(1)).await.expect("it is said");
    let (heard, own) = (other.arrivals(), one.arrivals());
    for number in 0..20 {
        fixture.accept(if number % 2 == 0 { "crm" } else { "erp" }, at(number)).await;
    }
    let names: Vec<Name> = timeout(Duration::from_secs(60), heard).await.expect("it is heard");
    assert!(names.iter().all(|name| ["crm", "erp"].contains(&name.as_str())), "{names:?}");
    assert!(timeout(Duration::from_millis(50), own).await.is_err(), "it hears itself");
}
