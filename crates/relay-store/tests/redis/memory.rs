//! What Redis holds when all has passed through it is what it held before.

use std::time::Duration;

use relay_core::{
    delivery::{Change, Delivery, State},
    id::IdMint,
    partitions::Partitions,
    storage::{Dedupe, Ended, Forget, Retire},
};
use relay_store::{
    conformance::{Fixture, at},
    redis::Options,
};

use tokio::time::sleep;

use crate::{
    backend::Shared,
    node::{Node, bound},
};

/// Accepted, leased, settled and retired together.
const BATCH: u64 = 256;

/// Bytes that Redis uses.
fn used(node: &Node) -> f64 {
    let info = node.ask(&[b"INFO", b"memory"]);
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("it says so");
    used.parse().expect("a number")
}

/// What each key takes.
fn keys(node: &Node) -> String {
    let script = b"local all = {} for _, key in ipairs(redis.call('KEYS', '*')) do \
        all[#all + 1] = key .. ' ' .. redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) end table.sort(all) return table.concat(all, ', ')";
    node.ask(&[b"EVAL", script, b"0"])
}

/// The least within some seconds: buffers of connections are given back when they have rested for two.
async fn used_at_rest(node: &Node) -> f64 {
    let mut least = used(node);
    for _ in 0..50 {
        sleep(Duration::from_millis(100)).await;
        least = least.min(used(node));
    }
    least
}

/// I13: events come, are delivered or die, and are retired; then as much memory is used as before, to within 5 %. `EVENTS` says how many
/// pass (`make redis-memory` takes a million). Tables of Redis grow in steps, which a sixteenth of them is enough for.
#[tokio::test]
async fn what_has_passed_through_leaves_nothing_behind() {
    let events: u64 = std::env::var("EVENTS").map_or(8_192, |text| text.parse().expect("a number of events"));
    bound::within(Duration::from_millis(2 * events));
    let node = Node::start();
    // What Redis notes about its commands: a histogram of 37 KB for each when it is first called, and the arguments of slow ones.
    node.ask(&[b"CONFIG", b"SET", b"latency-tracking", b"no", b"slowlog-log-slower-than", b"-1"]);
    let mut fixture = Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7));
    // Names, groups, scripts and buffers are there from then on, and as many that were removed while they were young as are remembered.
    let first = (events / BATCH / 16).max(64);
    for batch in 0..first {
        pass(&mut fixture, batch).await;
    }
    let (before, of_before) = (used_at_rest(&node).await, keys(&node));
    let mut most = before;
    for batch in first..first + events / BATCH {
        pass(&mut fixture, batch).await;
        most = most.max(used(&node));
    }
    let after = used_at_rest(&node).await;
    assert!(
        (after / before - 1.0).abs() <= 0.05,
        "{before} bytes before, {after} after {events} events, {most} at most\n{of_before}\n{}",
        keys(&node)
    );
    fixture.check_sums().await;
}

async fn pass(fixture: &mut Fixture<Shared>, batch: u64) {
    let now = at(batch);
    let mut appends = Vec::new();
    for number in 0..BATCH {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&[batch.to_be_bytes(), number.to_be_bytes()].concat());
        let event = fixture.event("in", &[b'x'; 1_024], now);
        let mut append = fixture.appending(event, &["crm"]);
        append.dedupe = (number % 2 == 0).then_some(Dedupe { key, until: at(batch + 100) });
        appends.push(append);
    }
    let answers = fixture.store().append(appends).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    loop {
        let held = fixture.lease("crm", now).await.deliveries;
        if held.is_empty() {
            break;
        }
        let changes: Vec<Change> = held.iter().enumerate().map(|(number, held)| ended(held, number)).collect();
        let ended = changes.iter().filter_map(|change| Ended::of(&change.next)).collect();
        fixture.store().settle(changes).await.expect("settles");
        let forget = Forget {
            partitions: Partitions::ALL,
            keys_until: now,
            unrouted_before: now,
            jobs_before: now,
            audit_before: now,
        };
        fixture.store().retire(Retire { ended, more: false, forget }).await.expect("retires");
    }
}

fn ended(held: &Delivery, number: usize) -> Change {
    let state = if number.is_multiple_of(16) { State::Dead } else { State::Delivered };
    let reason = (state == State::Dead).then_some(relay_core::delivery::Reason::Rejected);
    let next = Delivery { state, reason, lease: None, version: held.version + 1, ..held.clone() };
    Change { before: held.clone(), next, archive: None }
}
