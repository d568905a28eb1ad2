//! What is removed, and what is not: by what was found sealed, and past whatever somebody spoilt.

use relay_core::{
    delivery::{Change, Delivery, State, cancel, hand_back, redrive},
    id::{DeliveryId, EventId, IdMint, JobId},
    jobs::Rules,
    partitions::Partitions,
    storage::{Append, Appended, Dedupe, Ended, Forget, Replay, Replayed, Retire, Step, Stepped},
};
use relay_store::{
    conformance::{Fixture, at},
    redis::{Options, RedisStore},
};

use crate::{backend::Shared, node::Node};

fn fixture(node: &Node) -> Fixture<Shared> {
    Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7))
}

fn store(node: &Node) -> RedisStore {
    RedisStore::open(Options::new(node.address()))
}

fn key(kind: &[u8], id: u128) -> Vec<u8> {
    [b"crm-relay:{00-23}:", kind, &id.to_be_bytes()[..]].concat()
}

fn is_there(node: &Node, key: &[u8]) -> bool {
    node.ask(&[b"EXISTS", key]) == ":1\r\n"
}

/// Another type than ours.
fn make_strange(node: &Node, key: &[u8]) {
    node.ask_all(&[&[b"DEL", key], &[b"RPUSH", key, b"nonsense"]]);
}

fn rules() -> Rules {
    Rules { partitions: Partitions::ALL, now: at(1_000), delivered_before: at(900), dead_before: at(900) }
}

/// A new delivery of an event that is over.
fn again(fixture: &mut Fixture<Shared>, of: &Delivery) -> Delivery {
    let id = fixture.mint.delivery(at(5)).beside(of.event);
    let (due_at, changed_at, expires_at) = (at(5), at(5), at(90_000));
    Delivery {
        id,
        state: State::Ready,
        replay: true,
        version: 0,
        reason: None,
        due_at,
        changed_at,
        expires_at,
        ..of.clone()
    }
}

/// I1, I13, I18: what names the later deliveries of an event is of another type, or the event itself: nothing is removed that is still
/// wanted, all else is, and that something is spoilt is said.
#[tokio::test]
async fn what_is_of_another_type_is_kept_and_keeps_nothing_else() {
    let node = Node::start();
    for kind in [&b"r:"[..], b"e:"] {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = fixture(&node);
        let done = fixture.ended("crm", State::Delivered, at(1)).await;
        let others =
            [fixture.ended("crm", State::Dead, at(1)).await, fixture.ended("crm", State::Delivered, at(2)).await];
        let replay = again(&mut fixture, &done);
        let replayed = fixture.store().replay(Replay::anyway(vec![replay.clone()]), Vec::new()).await;
        assert_eq!(replayed, Ok(Replayed::Stored(vec![true])));
        make_strange(&node, &key(kind, done.event.as_u128()));
        // One page for each, so that what stays is met again and again.
        let retained = fixture.retain(rules(), 1).await;
        assert_eq!((retained.deliveries, retained.events), (3, 2));
        for gone in others.iter().chain([&done]) {
            assert_eq!(fixture.find(gone.id).await, None);
        }
        assert!(is_there(&node, &key(b"e:", done.event.as_u128())));
        assert_eq!(fixture.store().stats().await.expect("reads").damaged, 1);
        store(&node).mend().await.expect("mends");
        // Also once that is put aside, and before its rows were asked.
        assert_eq!(fixture.retain(rules(), 1).await.events, 0);
        let held = fixture.lease("crm", at(6)).await.deliveries;
        assert_eq!(held.iter().map(|held| held.id).collect::<Vec<_>>(), [replay.id]);
        assert_eq!(fixture.bodies(&held).await[0].is_some(), kind == b"r:");
        fixture.apply(cancel(&held[0], at(7))).await;
        assert_eq!(fixture.retain(rules(), 1).await.deliveries, 1);
        fixture.check_sums().await;
    }
}

/// I1, I12: the same between what is read of it and the removal itself: the script looks once more.
#[tokio::test]
async fn purging_goes_past_what_is_of_another_type() {
    let node = Node::start();
    for kind in [&b"r:"[..], b"e:"] {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = fixture(&node);
        let done = fixture.ended("crm", State::Delivered, at(1)).await;
        let other = fixture.ended("crm", State::Dead, at(1)).await;
        make_strange(&node, &key(kind, done.event.as_u128()));
        let retire: Vec<Ended> = [&done, &other].into_iter().filter_map(Ended::of).collect();
        let step = Step {
            job: fixture.job(at(9)),
            before: 0,
            cursor: None,
            matched: 2,
            fingerprint: 7,
            next_due: None,
            is_over: true,
            settle: Vec::new(),
            retire,
            make: Vec::new(),
            erase: Vec::new(),
            audit: None,
        };
        let stepped = fixture.store().step(step).await;
        assert!(matches!(&stepped, Ok(Stepped::Done { retired, .. }) if retired[..] == [true, true]), "{stepped:?}");
        assert!(is_there(&node, &key(b"e:", done.event.as_u128())));
        assert!(!is_there(&node, &key(b"e:", other.event.as_u128())));
        fixture.check_sums().await;
    }
}

fn forget(unrouted: u64, jobs: u64) -> Forget {
    Forget {
        partitions: Partitions::ALL,
        keys_until: at(0),
        unrouted_before: at(unrouted),
        jobs_before: at(jobs),
        audit_before: at(0),
    }
}

async fn lone(fixture: &mut Fixture<Shared>, second: u64) -> EventId {
    let event = fixture.event("in", b"{}", at(second));
    let append = fixture.appending(event, &[]);
    assert!(fixture.append(append.clone()).await.is_ok_and(|appended| appended.is_stored()));
    append.event.id
}

/// I12, I13, I18: of two that stand under one score only the one goes that is as old as that: by what is sealed, and by its own id. What
/// stands too early keeps nothing behind it, and the next round puts it where it belongs.
#[tokio::test]
async fn nothing_is_forgotten_by_its_score_alone() {
    let node = Node::start();
    let mut fixture = fixture(&node);
    // Ids rise.
    let (first, mut young) = (fixture.job(at(0)), Vec::new());
    let (old, behind) = (lone(&mut fixture, 0).await, lone(&mut fixture, 1).await);
    let jobs: [JobId; 2] = [first, fixture.job(at(500))];
    for second in 500..570 {
        young.push(lone(&mut fixture, second).await);
    }
    for job in jobs {
        let stored = fixture.accept("crm", at(600)).await;
        let step = Step {
            job,
            before: 0,
            cursor: None,
            matched: 1,
            fingerprint: 7,
            next_due: None,
            is_over: true,
            settle: vec![cancel(&stored, at(600))],
            retire: Vec::new(),
            make: Vec::new(),
            erase: Vec::new(),
            audit: None,
        };
        assert!(matches!(fixture.store().step(step).await, Ok(Stepped::Done { .. })));
    }
    let score = at(0).as_millis().to_string();
    for event in &young {
        node.ask(&[b"ZADD", b"crm-relay:{00-23}:lone", score.as_bytes(), &event.as_u128().to_be_bytes()]);
    }
    node.ask(&[b"ZADD", b"crm-relay:{00-23}:steps", score.as_bytes(), &jobs[1].as_u128().to_be_bytes()]);
    let retire = |forget| Retire { ended: Vec::new(), more: false, forget };
    let retired = fixture.store().retire(retire(forget(100, 100))).await.expect("retires");
    assert_eq!((retired.events, retired.more), (2, false));
    for (event, stays) in [(old, false), (behind, false), (young[0], true), (young[69], true)] {
        assert_eq!(is_there(&node, &key(b"e:", event.as_u128())), stays);
    }
    assert_eq!(
        jobs.iter().map(|job| is_there(&node, &key(b"step:", job.as_u128()))).collect::<Vec<_>>(),
        [false, true]
    );
    let mended = store(&node).mend().await.expect("mends");
    assert_eq!(mended.strays, 71);
    assert_eq!(store(&node).mend().await.map(|again| again.strays), Ok(0), "once");
    let retired = fixture.store().retire(retire(forget(600, 600))).await.expect("retires");
    assert_eq!((retired.events, retired.more), (64, true));
    assert!(!is_there(&node, &key(b"step:", jobs[1].as_u128())));
    fixture.check_sums().await;
}

/// I20: the repeat of an event with so many deliveries that what stands in front of it is longer than is usually read.
#[tokio::test]
async fn a_repeat_of_what_went_to_very_many_is_a_repeat() {
    let node = Node::start();
    let mut fixture = fixture(&node);
    let names: Vec<String> = (0..300).map(|number| format!("d{number}")).collect();
    let to: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut keyed = |second| {
        let event = fixture.event("in", b"{}", at(second));
        Append { dedupe: Some(Dedupe { key: [7; 32], until: at(900) }), ..fixture.appending(event, &to) }
    };
    let (first, repeat) = (keyed(0), keyed(1));
    assert_eq!(fixture.append(first.clone()).await, Ok(Appended::as_asked(first.event.id)));
    let answer = fixture.append(repeat).await;
    assert!(
        matches!(&answer, Ok(Appended::Repeat { first: found, deliveries, gone: false, .. })
            if *found == first.event.id && deliveries.len() == 300),
        "{answer:?}"
    );
    assert_eq!(fixture.store().stats().await.expect("reads").damaged, 0);
    fixture.check_sums().await;
}

/// I2, I18: what a row says of where it stands is gone, or is another place: it leaves wherever it stood all the same.
#[tokio::test]
async fn what_says_no_place_leaves_all_of_them() {
    let node = Node::start();
    for entry in [&[b' '; 33][..], b"1-1                              "] {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = fixture(&node);
        let blank = |id: DeliveryId| drop(node.ask(&[b"SETRANGE", &key(b"d:", id.as_u128()), b"110", entry]));
        let mut ended = Vec::new();
        for state in [State::Delivered, State::Dead, State::Expired] {
            let one = fixture.ended("crm", state, at(1)).await;
            blank(one.id);
            ended.push(one);
        }
        fixture.apply(redrive(&ended.pop().expect("there are three"), at(2), at(900).since(at(2)))).await;
        let ended = ended.iter().filter_map(Ended::of).collect();
        let retired = fixture.store().retire(Retire { ended, more: false, forget: forget(0, 0) }).await;
        assert_eq!(retired.map(|retired| (retired.deliveries, retired.events)), Ok((2, 2)));
        let waits = fixture.accept("crm", at(3)).await;
        blank(waits.id);
        fixture.apply(cancel(&waits, at(4))).await;
        let held = fixture.lease("crm", at(5)).await.deliveries;
        assert_eq!(held.len(), 1);
        blank(held[0].id);
        fixture.apply(hand_back(&held[0], held[0].claim(), at(6)).expect("it is held")).await;
        let mended = store(&node).mend().await.expect("mends");
        assert_eq!(mended.lost, 0);
        assert_eq!(store(&node).mend().await.map(|again| again.strays + again.mended), Ok(0));
        assert_eq!(fixture.lease("crm", at(7)).await.deliveries.len(), 1);
        fixture.check_sums().await;
    }
}

/// I13, I15: what others made of the stream of dead letters holds up no end.
#[tokio::test]
async fn a_dead_letter_stream_of_another_type_holds_up_no_end() {
    let node = Node::start();
    let mut fixture = fixture(&node);
    let waits = fixture.accept("crm", at(0)).await;
    node.ask(&[b"SET", b"crm-relay-dead:{00-23}", b"nonsense"]);
    let dead = fixture.ended("crm", State::Dead, at(1)).await;
    fixture.apply(redrive(&dead, at(2), at(900).since(at(2)))).await;
    fixture.apply(Change { ..cancel(&waits, at(3)) }).await;
    fixture.ended("crm", State::Expired, at(4)).await;
    assert_eq!(fixture.retain(rules(), 9).await.deliveries, 2);
    fixture.check_sums().await;
}
