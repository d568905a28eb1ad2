//! Counters that a bit flips in, or that somebody makes something else: nothing is refused for it, nothing believed, and they are made again.

use relay_core::{
    delivery::{Delivery, State, cancel},
    id::{DeliveryId, IdMint},
    jobs::Rules,
    partitions::Partitions,
    storage::{Append, Dedupe, DueAsk, Replay},
};
use relay_store::{
    conformance::{Backend as _, Fixture, at},
    redis::{Options, RedisStore},
};

use crate::{backend::Shared, node::Node};

const COUNTERS: &[u8] = b"crm-relay:{00-23}:n";

fn fixture(node: &Node) -> Fixture<Shared> {
    Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7))
}

fn store(node: &Node) -> RedisStore {
    RedisStore::open(Options::new(node.address()))
}

/// One that only reads.
fn reader(node: &Node) -> std::sync::Arc<dyn relay_store::Store> {
    Shared::at_hand(Options { hears: false, ..Options::new(node.address()) }).store()
}

fn field(node: &Node, name: &str) -> Vec<u8> {
    let answer = node.ask(&[b"HGET", COUNTERS, name.as_bytes()]);
    answer.lines().nth(1).unwrap_or_default().as_bytes().to_vec()
}

fn set(node: &Node, name: &str, value: &[u8]) {
    node.ask(&[b"HSET", COUNTERS, name.as_bytes(), value]);
}

/// I10, I18: whatever bit flips in the latest moment, or in the highest sequence, nobody begins later than what is stored, nor mints ids
/// far ahead; and it is made again.
#[tokio::test]
async fn no_flipped_bit_sends_a_server_ahead() {
    let node = Node::start();
    let mut fixture = fixture(&node);
    let first = fixture.accept("crm", at(0)).await;
    fixture.ended("crm", State::Delivered, at(3)).await;
    let last = fixture.accept("crm", at(7)).await;
    store(&node).mend().await.expect("mends");
    let whole = fixture.store().stats().await.expect("reads");
    assert_eq!((whole.latest, whole.id_floor), (at(7), last.id.sequence().max(last.event.sequence())));
    for name in ["latest", "floor"] {
        let whole = fixture.store().stats().await.expect("reads");
        let written = field(&node, name);
        for bit in 0..8 * written.len() {
            let mut bad = written.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            set(&node, name, &bad);
            let seen = reader(&node).stats().await.expect("reads");
            assert_eq!((seen.latest, seen.id_floor), (whole.latest, whole.id_floor), "bit {bit} of {name}");
        }
        // What is written over it says that it was spoilt, and is no less than it was once it is made again.
        let event = fixture.event("in", b"{}", at(1));
        let append = fixture.appending(event, &["crm"]);
        assert!(fixture.append(append).await.is_ok_and(|appended| appended.is_stored()));
        assert_eq!(store(&node).mend().await.map(|mended| mended.counters), Ok(1), "{name}");
        let seen = fixture.store().stats().await.expect("reads");
        assert_eq!(seen.latest, whole.latest);
        assert!(seen.id_floor >= whole.id_floor);
        assert_eq!(store(&node).mend().await.map(|mended| mended.counters), Ok(0), "{name}: once");
    }
    assert_eq!(fixture.find(first.id).await, Some(first));
    fixture.check_sums().await;
}

/// I18: an entry that leads far ahead, and a row that does not read, say nothing of what is the latest.
#[tokio::test]
async fn only_what_reads_says_what_is_the_latest() {
    let node = Node::start();
    let mut fixture = fixture(&node);
    let kept = fixture.accept("crm", at(1)).await;
    let spoilt = fixture.accept("crm", at(2)).await;
    let key = [b"crm-relay:{00-23}:d:", &spoilt.id.as_u128().to_be_bytes()[..]].concat();
    node.ask(&[b"SETRANGE", &key, b"60", b"9"]);
    let ahead = (spoilt.id.as_u128() | 1 << 127).to_be_bytes();
    node.ask(&[b"XADD", b"crm-relay:{00-23}:log:crm", b"*", b"i", &ahead]);
    set(&node, "latest", b"x");
    set(&node, "floor", b"x");
    let seen = reader(&node).stats().await.expect("reads");
    // Its event reads, and was received then.
    assert_eq!((seen.latest, seen.id_floor), (at(2), spoilt.event.sequence().max(kept.id.sequence())));
    store(&node).mend().await.expect("mends");
    assert_eq!(fixture.latest().await, at(2));
}

/// Every field of counters that a store may have, but the two that stand there twice.
const FIELDS: [&str; 24] = [
    "again",
    "cursor:crm",
    "last:crm",
    "d:crm:created",
    "d:crm:retired",
    "d:crm:lost",
    "d:crm:retried",
    "d:crm:o1",
    "d:crm:o3",
    "d:crm:1",
    "d:crm:2",
    "d:crm:3",
    "d:crm:4",
    "d:crm:5",
    "d:crm:6",
    "d:crm:7",
    "s:in:accepted",
    "s:in:stored",
    "s:in:retired",
    "s:in:duplicates",
    "latest",
    "floor",
    "spoilt:floor",
    "begun",
];

/// I2, I5, I18: whichever counter is no number any more, everything goes on as before, whole; and it is counted again.
#[tokio::test]
async fn a_counter_that_is_no_number_refuses_nothing() {
    let node = Node::start();
    for name in FIELDS {
        for value in [&b"x"[..], b"", b"02", b"9223372036854775807"] {
            node.ask(&[b"FLUSHALL"]);
            let mut fixture = fixture(&node);
            let (done, dead) = filled(&mut fixture).await;
            store(&node).mend().await.expect("mends");
            set(&node, name, value);
            let what = format!("{name} is {:?}", String::from_utf8_lossy(value));
            every_operation(&mut fixture, done, dead, &what).await;
            assert_eq!(
                fixture.store().due(DueAsk::at(at(1_000), 9)).await.expect("reads").destinations.len(),
                1,
                "{what}"
            );
            let mended = store(&node).mend().await;
            let mended = mended.unwrap_or_else(|error| panic!("{what}: {error}"));
            // Of the others the next lease, or the next append, makes the second and the third again.
            let is_harmless = ["begun", "cursor:crm", "last:crm"].contains(&name);
            assert!(mended.counters == 1 || is_harmless, "{what}: {mended:?}");
            assert_eq!(store(&node).mend().await.map(|again| again.counters), Ok(0), "{what}: once");
            fixture.check_sums().await;
            let counted = fixture.counters("crm").await;
            assert_eq!((counted.retired, counted.lost), (1, 0), "{what}");
            assert_eq!(fixture.source_counters("in").await.retired, 1, "{what}");
            // What waits is found, once.
            let mut leased = Vec::new();
            for second in 200..204 {
                leased.extend(ids(&fixture.lease("crm", at(second)).await.deliveries));
            }
            let many = leased.len();
            leased.sort_unstable();
            leased.dedup();
            assert_eq!((many, leased.len()), (3, 3), "{what}");
        }
    }
}

fn ids(all: &[Delivery]) -> Vec<DeliveryId> {
    all.iter().map(|one| one.id).collect()
}

/// Something in each state; gives one that is delivered and one that is dead.
async fn filled(fixture: &mut Fixture<Shared>) -> (Delivery, Delivery) {
    fixture.accept("crm", at(0)).await;
    fixture.lease("crm", at(0)).await;
    let done = fixture.ended("crm", State::Delivered, at(1)).await;
    let dead = fixture.ended("crm", State::Dead, at(2)).await;
    fixture.accept("crm", at(3)).await;
    (done, dead)
}

/// Each of them must be done.
async fn every_operation(fixture: &mut Fixture<Shared>, done: Delivery, dead: Delivery, what: &str) {
    let dedupe = Some(Dedupe { key: [7; 32], until: at(900) });
    for is_first in [true, false] {
        let event = fixture.event("in", b"{}", at(4));
        let append = Append { dedupe: dedupe.clone(), ..fixture.appending(event, &["crm"]) };
        let appended = fixture.append(append).await;
        assert_eq!(appended.map(|appended| appended.is_stored()), Ok(is_first), "{what}");
    }
    let held = fixture.lease("crm", at(5)).await.deliveries;
    assert_eq!(held.len(), 2, "{what}");
    fixture.apply(cancel(&held[0], at(6))).await;
    fixture.apply(relay_core::delivery::hand_back(&held[1], held[1].claim(), at(6)).expect("it is held")).await;
    fixture.apply(relay_core::delivery::redrive(&dead, at(7), at(900).since(at(7)))).await;
    let id = fixture.mint.delivery(at(8)).beside(dead.event);
    let made = Delivery {
        id,
        replay: true,
        state: State::Ready,
        version: 0,
        reason: None,
        due_at: at(8),
        changed_at: at(8),
        ..dead.clone()
    };
    let replayed = fixture.store().replay(Replay::anyway(vec![made]), Vec::new()).await;
    assert!(replayed.is_ok(), "{what}: {replayed:?}");
    let rules = Rules { partitions: Partitions::ALL, now: at(10), delivered_before: at(2), dead_before: at(0) };
    assert_eq!(fixture.retain(rules, 10).await.deliveries, 1, "{what}");
    assert_eq!(fixture.find(done.id).await, None, "{what}");
}

/// I2, I15: a cursor, or a last moment, that nearly reads leases nothing wrong, keeps nothing waiting, and is made again, once.
#[tokio::test]
async fn a_cursor_that_nearly_reads_is_made_again() {
    let node = Node::start();
    let cases: [(&str, &[u8]); 10] = [
        ("cursor:crm", b"99999999999999999999999-0"),
        ("cursor:crm", b"18446744073709551616-0"),
        ("cursor:crm", b"1-18446744073709551616"),
        ("cursor:crm", b"18446744073709551615-18446744073709551615"),
        ("cursor:crm", b"+1-0"),
        ("cursor:crm", b"01-0"),
        ("last:crm", b"0x00000000000001"),
        ("last:crm", b"1234567890123.45"),
        ("last:crm", b"             123"),
        ("last:crm", b"+000000000000001"),
    ];
    for (name, value) in cases {
        for is_leased_first in [true, false] {
            node.ask(&[b"FLUSHALL"]);
            let mut fixture = fixture(&node);
            filled(&mut fixture).await;
            store(&node).mend().await.expect("mends");
            set(&node, name, value);
            let what = format!("{name} is {:?}", String::from_utf8_lossy(value));
            let lease = async |fixture: &mut Fixture<Shared>| {
                assert_eq!(fixture.lease("crm", at(9)).await.deliveries.len(), 1, "{what}");
            };
            if is_leased_first {
                lease(&mut fixture).await;
            }
            let counted = store(&node).mend().await.map(|mended| mended.counters);
            let healed_by_lease = is_leased_first && name.starts_with("cursor");
            assert_eq!(counted, Ok(u64::from(!healed_by_lease)), "{what}");
            assert_eq!(store(&node).mend().await.map(|again| again.counters), Ok(0), "{what}: once");
            if !is_leased_first {
                lease(&mut fixture).await;
            }
            fixture.check_sums().await;
        }
    }
}
