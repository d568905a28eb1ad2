//! What is half done is never told as done, nor as not done.

use std::time::Duration;

use relay_core::{
    delivery::{Change, Delivery, State, cancel},
    id::{IdMint, InstanceId, Partition},
    partitions::Partitions,
    storage::{
        AppendError, Changed, Dedupe, Ended, Extend, Forget, LeaseAsk, LeaseEnd, LeaseOrder, Replay, Replayed, Retire,
        Step, StoreError,
    },
};
use relay_store::{
    conformance::{Fixture, at},
    redis::Options,
    seam::{AuditEntry, AuditFilter, Page},
};

use crate::{backend::Shared, node::Node};

fn ask(limit: u32) -> LeaseAsk {
    LeaseAsk {
        destination: "crm".parse().expect("a name"),
        instance: InstanceId::from_u128(5),
        nonce: 9,
        until: at(100),
        now: at(50),
        limit,
        tried_max: 9,
        order: LeaseOrder::Shared { tried: 2 },
        partitions: Partitions::ALL,
    }
}

fn forget() -> Forget {
    Forget {
        partitions: Partitions::ALL,
        keys_until: at(0),
        unrouted_before: at(0),
        jobs_before: at(0),
        audit_before: at(0),
    }
}

fn dead(before: &Delivery) -> Change {
    let mut change = cancel(before, at(60));
    change.next.state = State::Dead;
    change.next.reason = Some(relay_core::delivery::Reason::Rejected);
    change
}

fn tried(before: &Delivery) -> Change {
    let mut change = cancel(before, at(60));
    (change.next.state, change.next.tries, change.next.due_at) = (State::Scheduled, 1, at(40));
    change
}

/// I2, I12: a key of ours is another's: whatever would write there looks first, and changes nothing at all.
#[tokio::test]
async fn a_key_of_another_type_leaves_nothing_half_done() {
    let node = Node::start();
    let keys = [
        "n",
        "leases",
        "lone",
        "steps",
        "audit",
        "ready:crm:0:1",
        "back:crm:0",
        "due:crm:0",
        "tries:crm:0",
        "exp:crm",
        "done:crm",
        "ended:crm",
        "log:crm",
        "made:crm",
        "src:in",
    ];
    let mut refused = 0;
    for within in keys {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7));
        // Something in each state.
        let replayed = fixture.ended("crm", State::Delivered, at(1)).await;
        let expired = fixture.ended("crm", State::Dead, at(1)).await;
        let back = fixture.accept("crm", at(2)).await;
        let back = fixture.apply(tried(&back)).await;
        for second in 3..6 {
            fixture.accept("crm", at(second)).await;
        }
        let held = fixture.store().lease(ask(2)).await.expect("leases").deliveries;
        let waits = fixture.accept("crm", at(7)).await;
        let event = fixture.event("in", b"{}", at(8));
        let append = fixture.appending(event, &["crm"]);
        let event = fixture.event("in", b"{}", at(8));
        let mut leased = fixture.appending(event, &["crm"]);
        (leased.deliveries[0].state, leased.deliveries[0].lease) = (State::Leased, held[0].lease);
        let id = fixture.mint.delivery(at(9)).beside(replayed.event);
        let made = Delivery { id, replay: true, due_at: at(9), state: State::Ready, version: 0, ..replayed.clone() };
        let line = AuditEntry {
            at: at(9),
            who: "cli".into(),
            action: "x".into(),
            subject: String::new(),
            origin: String::new(),
        };
        let ended: Vec<Ended> = [&replayed, &expired].into_iter().filter_map(Ended::of).collect();
        let step = Step {
            job: fixture.job(at(9)),
            before: 0,
            cursor: None,
            matched: 1,
            fingerprint: 7,
            next_due: None,
            is_over: true,
            settle: vec![cancel(&waits, at(60))],
            retire: ended.clone(),
            make: vec![made.clone()],
            erase: Vec::new(),
            audit: Some(line.clone()),
        };
        let key = format!("crm-relay:{{00-23}}:{within}");
        node.ask_all(&[&[b"DEL", key.as_bytes()], &[b"SET", key.as_bytes(), b"nonsense"]]);
        let store = fixture.store();
        let extend = Extend { id: held[0].id, claim: held[0].claim(), until: at(200) };
        for append in [append, leased] {
            let event = [b"crm-relay:{00-23}:e:", &append.event.id.as_u128().to_be_bytes()[..]].concat();
            let before = node.digest();
            match store.append(vec![append]).await.pop().expect("one answer") {
                Ok(_) => {}
                Err(AppendError::Damaged) => {
                    // A body whose script did not run is nobody's.
                    node.ask(&[b"DEL", &event]);
                    assert_eq!(node.digest(), before, "append beside {within}");
                    refused += 1;
                }
                Err(other) => panic!("append beside {within}: {other}"),
            }
        }
        let changes = vec![dead(&held[0]), tried(&held[1]), cancel(&back, at(60))];
        let replay = Replay::anyway(vec![made]);
        for number in 0..6 {
            let before = node.digest();
            let fault = match number {
                0 => store.extend(vec![extend]).await.err(),
                1 => store.settle(changes.clone()).await.err(),
                2 => store.lease(ask(4)).await.err(),
                3 => store.replay(replay.clone(), vec![line.clone()]).await.err(),
                4 => store.step(step.clone()).await.err(),
                _ => store.retire(Retire { ended: ended.clone(), more: false, forget: forget() }).await.err(),
            };
            let Some(fault) = fault else { continue };
            if (number, within) == (5, "audit") {
                // What it removes is gone, and lines of the audit log are looked at behind that.
                assert_eq!(fault, StoreError::Unknown);
                continue;
            }
            // An outcome is kept until that is put aside, never given up as one of a row that does not read (I6).
            let is_told =
                if number == 1 { fault == StoreError::Away } else { matches!(fault, StoreError::Damaged { .. }) };
            assert!(is_told, "{number} beside {within}: {fault}");
            assert_eq!(node.digest(), before, "{number} beside {within}");
            refused += 1;
        }
    }
    assert!(refused > 30, "{refused}");
}

/// I2: what fails half way is unknown: some of it is done.
#[tokio::test]
async fn what_fails_half_way_is_unknown() {
    let node = Node::start();
    let mut fixture = Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7));
    let stored = fixture.accept("crm", at(0)).await;
    // A listing behind whose last entry no other fits, and one of what has ended.
    for within in ["log:crm", "done:crm"] {
        let last = b"18446744073709551615-18446744073709551615";
        node.ask(&[b"XADD", format!("crm-relay:{{00-23}}:{within}").as_bytes(), last, b"i", b"x"]);
    }
    let event = fixture.event("in", b"{}", at(1));
    let append = fixture.appending(event, &["crm"]);
    assert_eq!(fixture.append(append).await, Err(AppendError::Unknown));
    assert_eq!(fixture.store().settle(vec![cancel(&stored, at(2))]).await, Err(StoreError::Unknown));
}

/// A stream behind whose last entry no other fits.
fn exhaust(node: &Node, within: &str) {
    let last = b"18446744073709551615-18446744073709551615";
    let key = format!("crm-relay:{{00-23}}:{within}");
    node.ask(&[b"XADD", key.as_bytes(), last, b"i", b"x"]);
}

/// I1, I2: what stands ahead of something that fails half way is whole, and found so by whoever asks for it again, by itself too: no key and
/// no name leads to a row that is not there, and nothing is written twice.
#[tokio::test]
async fn what_stands_ahead_of_what_fails_is_whole() {
    let node = Node::start();
    let mut fixture = Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7));
    let there = fixture.ended("erp", State::Delivered, at(0)).await;
    let held = {
        fixture.accept("erp", at(1)).await;
        fixture.lease("erp", at(2)).await.deliveries.remove(0)
    };
    let waits = fixture.accept("crm", at(1)).await;
    for within in ["log:crm", "done:crm"] {
        exhaust(&node, within);
    }

    let mut batch = Vec::new();
    for destination in ["erp", "crm"] {
        let event = fixture.event("in", b"{}", at(3));
        batch.push(fixture.appending(event, &[destination]));
    }
    batch[0].dedupe = Some(Dedupe { key: [7; 32], until: at(90) });
    let answers = fixture.store().append(batch.clone()).await;
    assert!(answers.iter().all(|answer| *answer == Err(AppendError::Unknown)), "{answers:?}");
    let again = fixture.store().append(vec![batch[0].clone()]).await;
    assert!(matches!(&again[..], [Ok(appended)] if appended.is_stored()), "{again:?}");
    assert_eq!(fixture.find(batch[0].deliveries[0].id).await.as_ref(), Some(&batch[0].deliveries[0]));

    let made = ["erp", "crm"].map(|destination| Delivery {
        id: fixture.mint.delivery(at(4)).beside(there.event),
        destination: destination.parse().expect("a name"),
        replay: true,
        due_at: at(4),
        state: State::Ready,
        version: 0,
        ..there.clone()
    });
    let store = fixture.store();
    let replayed = store.replay(Replay::anyway(made.to_vec()), Vec::new()).await;
    assert_eq!(replayed, Err(StoreError::Unknown));
    assert_eq!(store.replay(Replay::anyway(vec![made[0].clone()]), Vec::new()).await, Ok(Replayed::Stored(vec![true])));
    assert_eq!(fixture.find(made[0].id).await.map(|found| found.state), Some(State::Ready));

    let first = tried(&held);
    for _ in 0..3 {
        let settled = store.settle(vec![first.clone(), cancel(&waits, at(60))]).await;
        assert_eq!(settled, Err(StoreError::Unknown));
    }
    assert_eq!(fixture.find(held.id).await.as_ref(), Some(&first.next), "done with the first try");
    assert!(
        fixture
            .store()
            .lease(LeaseAsk { destination: held.destination.clone(), ..ask(4) })
            .await
            .is_ok_and(|leased| { leased.deliveries.iter().filter(|leased| leased.id == held.id).count() == 1 })
    );
}

/// Two partitions of sixteen, and something in each.
async fn in_two(fixture: &mut Fixture<Shared>) -> [Vec<Delivery>; 2] {
    let mut found = [Vec::new(), Vec::new()];
    for (number, found) in found.iter_mut().enumerate() {
        for _ in 0..2 {
            let mut event = fixture.event("in", b"{}", at(0));
            event.id = fixture.mint.event_in(Partition::of_digest(&[8 * number as u8; 32]), at(0));
            let append = fixture.appending(event, &["crm"]);
            assert!(fixture.append(append.clone()).await.is_ok_and(|appended| appended.is_stored()));
            found.push(append.deliveries[0].clone());
        }
    }
    assert_ne!(found[0][0].id.partition().number() % 16, found[1][0].id.partition().number() % 16);
    found
}

fn spread(node: &Node) -> Fixture<Shared> {
    let options = Options { partitions: 16, ..Options::new(node.address()) };
    Fixture::over(Shared::at_hand(options), IdMint::new(0, 7))
}

/// The keys that are called so in the partition of a delivery: of all those there are.
fn spoil_at(node: &Node, of: &Delivery, within: &str) {
    let row = [&b"*d:"[..], &of.id.as_u128().to_be_bytes()[..]].concat();
    let escaped: Vec<u8> = row
        .iter()
        .flat_map(|byte| if b"*?[]\\^".contains(byte) && *byte != b'*' { vec![b'\\', *byte] } else { vec![*byte] })
        .collect();
    let found = node.ask(&[b"KEYS", &escaped]);
    let tag = found.split_once('{').and_then(|(_, rest)| rest.split_once('}')).expect("it is there").0.to_owned();
    let key = format!("crm-relay:{{{tag}}}:{within}");
    node.ask_all(&[&[b"DEL", key.as_bytes()], &[b"SET", key.as_bytes(), b"nonsense"]]);
}

/// I2, I12: where one partition refuses, and another has done its part, it is not said that nothing was done.
#[tokio::test]
async fn what_one_partition_has_done_is_not_denied_for_another() {
    let node = Node::start();
    for spoilt in [0, 1] {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = spread(&node);
        let all = in_two(&mut fixture).await;
        let store = fixture.store();
        spoil_at(&node, &all[spoilt][0], "done:crm");
        let changes: Vec<Change> = all.iter().map(|found| cancel(&found[0], at(1))).collect();
        assert_eq!(store.settle(changes.clone()).await, Err(StoreError::Unknown), "{spoilt}");
        let done = store.settle(vec![changes[1 - spoilt].clone()]).await.expect("settles");
        assert!(matches!(done[..], [Changed::Conflict(Some(_))]), "{spoilt}: it was done: {done:?}");
        let alone = store.settle(vec![changes[spoilt].clone()]).await;
        assert_eq!(alone, Err(StoreError::Away), "{spoilt}");

        // Leased is what can be, and the rest is asked for again.
        spoil_at(&node, &all[spoilt][0], "leases");
        let leased = store.lease(ask(64)).await;
        let ids: Vec<_> = leased.iter().flat_map(|leased| &leased.deliveries).map(|leased| leased.id).collect();
        assert_eq!(ids, [all[1 - spoilt][1].id], "{spoilt}: {leased:?}");
        assert_eq!(leased.map(|leased| leased.end), Ok(LeaseEnd::More), "{spoilt}");
        let held = fixture.find(ids[0]).await.expect("it is there");
        let extends = [&held, &all[spoilt][1]].map(|of| Extend {
            id: of.id,
            claim: of.claim(),
            until: at(60) + Duration::from_secs(90),
        });
        assert_eq!(store.extend(extends.to_vec()).await, Err(StoreError::Unknown), "{spoilt}");
    }
}

/// I2, I13: what retention has removed in one partition is not denied because it fails in another.
#[tokio::test]
async fn what_retention_has_removed_is_not_denied() {
    let node = Node::start();
    let mut fixture = spread(&node);
    let all = in_two(&mut fixture).await;
    let mut ended = Vec::new();
    for found in &all {
        ended.extend(Ended::of(&fixture.apply(cancel(&found[0], at(1))).await));
    }
    let last = all.iter().max_by_key(|found| found[0].id.partition().number() % 16).expect("there are two");
    spoil_at(&node, &last[0], "audit");
    let retire = Retire { ended, more: false, forget: forget() };
    assert_eq!(fixture.store().retire(retire).await, Err(StoreError::Unknown));
    assert_eq!(fixture.find(all[0][0].id).await, None);
    assert_eq!(fixture.find(all[1][0].id).await, None);
}

/// Nothing that a command has done is without its line in the audit log, also where it is done in one partition alone.
#[tokio::test]
async fn what_a_step_has_done_in_one_partition_is_in_the_audit_log() {
    let node = Node::start();
    let mut fixture = spread(&node);
    let all = in_two(&mut fixture).await;
    spoil_at(&node, &all[1][0], "done:crm");
    let (who, action) = ("cli".into(), "delivery.cancel".into());
    let line = AuditEntry { at: at(1), who, action, subject: String::new(), origin: String::new() };
    let step = Step {
        job: fixture.job(at(1)),
        before: 0,
        cursor: None,
        matched: 2,
        fingerprint: 7,
        next_due: None,
        is_over: true,
        settle: all.iter().map(|found| cancel(&found[0], at(1))).collect(),
        retire: Vec::new(),
        make: Vec::new(),
        erase: Vec::new(),
        audit: Some(line.clone()),
    };
    assert_eq!(fixture.store().step(step).await, Err(StoreError::Unknown));
    assert_eq!(fixture.find(all[0][0].id).await.map(|found| found.state), Some(State::Cancelled));
    let page = Page { cursor: None, limit: 10 };
    let lines = fixture.store().browse_audit(AuditFilter::default(), page).await.expect("reads").items;
    assert_eq!(lines, [line]);
}
