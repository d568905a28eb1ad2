//! A recount is exact while everything goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use relay_core::{
    delivery::{State, cancel, hand_back},
    id::IdMint,
    partitions::Partitions,
    storage::{Ended, Forget, Retire},
};
use relay_store::{
    conformance::{Backend as _, Fixture, at},
    redis::Options,
};

use tokio::time::timeout;

use crate::{backend::Shared, node::Node};

/// I5: events come, are leased, given back, end, die and are removed at two servers, while a third counts them again and again.
#[tokio::test]
async fn a_recount_is_exact_under_load() {
    let node = Node::start();
    let over = Arc::new(AtomicBool::new(false));
    let mut load = Vec::new();
    for server in 0..2 {
        let (backend, over) = (Shared::on(Options::new(node.address())), Arc::clone(&over));
        load.push(tokio::spawn(work(Fixture::over(backend, IdMint::new(0, server)), over)));
    }
    let counting = Shared::on(Options::new(node.address())).store();
    let mut most = 0;
    for _ in 0..40 {
        let recount = counting.recount().await.expect("counts");
        assert_eq!(recount.counted.sources, recount.kept.sources, "I5: events");
        assert_eq!(recount.counted.destinations, recount.kept.destinations, "I5: deliveries");
        most = most.max(recount.kept.sources.iter().map(|source| source.accepted).sum());
    }
    over.store(true, Ordering::Relaxed);
    for worker in load {
        assert!(worker.await.expect("it does not panic") > 0);
    }
    assert!(most > 100, "there was load: {most}");
}

/// Counted by several servers at a time, each of them gets its figures; a tally that a server left which is gone keeps nobody waiting for ever.
#[tokio::test]
async fn several_count_at_a_time() {
    let node = Node::start();
    let backend = Shared::on(Options::new(node.address()));
    let mut fixture = Fixture::over(backend, IdMint::new(0, 1));
    for number in 0..20 {
        let event = fixture.event("in", b"{}", at(number));
        let append = fixture.appending(event, &["crm"]);
        assert!(fixture.store().append(vec![append]).await.iter().all(Result::is_ok));
    }
    node.ask(&[b"HSET", b"crm-relay:{00-23}:tally", b"run", b"gone", b"steps", b"7"]);
    let mut servers = Vec::new();
    for _ in 0..4 {
        let counting = Shared::on(Options::new(node.address())).store();
        servers.push(tokio::spawn(async move {
            for _ in 0..8 {
                let recount = counting.recount().await.expect("counts");
                assert_eq!(recount.counted, recount.kept, "I5");
            }
        }));
    }
    for server in servers {
        server.await.expect("it does not panic");
    }
}

/// I5, I18: a name of another's that is no text, as the run of a tally and among the counters, ends no recount and holds none up for ever.
#[tokio::test]
async fn names_that_are_no_text_keep_no_recount_waiting() {
    let node = Node::start();
    let mut fixture = Fixture::over(Shared::on(Options::new(node.address())), IdMint::new(0, 7));
    for number in 0..3 {
        fixture.accept("crm", at(number)).await;
    }
    node.ask(&[b"HSET", b"crm-relay:{00-23}:tally", b"run", b"\xff\xfe", b"steps", b"7"]);
    node.ask(&[b"HSET", b"crm-relay:{00-23}:n", b"d:\xff:created", b"1", b"s:\xfe:accepted", b"1"]);
    let recount = timeout(Duration::from_secs(60), fixture.store().recount()).await.expect("it ends").expect("counts");
    assert_eq!(recount.counted.destinations, recount.kept.destinations, "I5: deliveries");
}

/// I5, I18: among counters a name that is none is nobody's: it ends no recount, though a key of its listing is of another type.
#[tokio::test]
async fn names_that_are_none_end_no_recount() {
    let node = Node::start();
    let mut fixture = Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7));
    fixture.accept("crm", at(0)).await;
    let long = "a".repeat(64);
    for name in ["UP", "-crm", "_", "c.rm", "c rm", "caf\u{e9}", &long] {
        node.ask(&[b"HSET", b"crm-relay:{00-23}:n", format!("d:{name}:created").as_bytes(), b"1"]);
        node.ask(&[b"HSET", b"crm-relay:{00-23}:n", format!("s:{name}:accepted").as_bytes(), b"1"]);
        for listing in ["log", "made", "src"] {
            node.ask(&[b"SET", format!("crm-relay:{{00-23}}:{listing}:{name}").as_bytes(), b"x"]);
        }
    }
    let recount = timeout(Duration::from_secs(60), fixture.store().recount()).await.expect("it ends").expect("counts");
    assert_eq!(recount.counted.destinations, recount.kept.destinations, "I5: deliveries");
    assert_eq!(recount.counted.sources, recount.kept.sources, "I5: events");
    assert_eq!(recount.counted.destinations.len(), 1);
}

/// Gives how often it went round.
async fn work(mut fixture: Fixture<Shared>, over: Arc<AtomicBool>) -> u64 {
    let mut rounds = 0;
    while !over.load(Ordering::Relaxed) {
        rounds += 1;
        let now = at(rounds / 8);
        let mut batch = Vec::new();
        for number in 0..8 {
            let event = fixture.event(["in", "out"][number % 2], b"{}", now);
            let to: &[&str] = if number % 3 == 0 { &["crm", "erp"] } else { &["crm"] };
            batch.push(fixture.appending(event, to));
        }
        let (ins, outs): (Vec<_>, Vec<_>) = batch.into_iter().partition(|append| append.event.source.as_str() == "in");
        for batch in [ins, outs] {
            assert!(fixture.store().append(batch).await.iter().all(Result::is_ok));
        }
        let held = fixture.lease("crm", now).await.deliveries;
        let mut changes = Vec::new();
        for (number, held) in held.iter().enumerate() {
            changes.extend(match number % 3 {
                0 => hand_back(held, held.claim(), now),
                1 => Some(cancel(held, now)),
                _ => {
                    let mut change = cancel(held, now);
                    change.next.state = State::Dead;
                    Some(change)
                }
            });
        }
        let ended: Vec<Ended> = changes.iter().filter_map(|change| Ended::of(&change.next)).collect();
        fixture.store().settle(changes).await.expect("settles");
        let forget = Forget {
            partitions: Partitions::ALL,
            keys_until: at(0),
            unrouted_before: at(0),
            jobs_before: at(0),
            audit_before: at(0),
        };
        let ended = ended.into_iter().step_by(2).collect();
        fixture.store().retire(Retire { ended, more: false, forget }).await.expect("retires");
    }
    rounds
}
