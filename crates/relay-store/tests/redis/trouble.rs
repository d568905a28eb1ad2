//! What strangers, crashes and lost answers do to the store, and what it does about it.

use std::time::Duration;

use relay_core::{
    delivery::{Claim, Delivery, State, Token, cancel, hand_back},
    id::{IdMint, InstanceId, JobId},
    jobs::Rules,
    partitions::Partitions,
    storage::{
        About, Append, AppendError, Appended, Changed, Dedupe, DueAsk, Ended, Extend, Extended, Forget, HeldAsk,
        HeldOf, LeaseAsk, LeaseEnd, LeaseOrder, OverAsk, Presence, Replay, Replayed, Retire, Step, Stepped, StoreError,
    },
};
use relay_store::{
    conformance::{Backend as _, Fixture, at},
    redis::Options,
    seam::{
        AuditEntry, AuditFilter, DeliveryFilter, DocumentKey, DocumentKind, Durability, EventFilter, Page, Upkeep as _,
    },
};

use crate::{
    backend::Shared,
    node::{Node, Server},
    proxy::Proxy,
};

fn fixture(options: Options) -> Fixture<Shared> {
    Fixture::over(Shared::on(options), IdMint::new(0, 7))
}

/// The key of what waits for its first lease at `crm`.
const READY: &[u8] = b"crm-relay:{00-23}:ready:crm:0:1";

/// I1, I7: whatever becomes of the group, what waits is leased, once, and nothing is leased again.
#[tokio::test]
async fn a_group_that_was_lost_or_moved_is_made_again() {
    let node = Node::start();
    let mut fixture = fixture(Options::new(node.address()));
    let spoil: [&[&[u8]]; 5] = [
        &[b"XGROUP", b"DESTROY", READY, b"relay"],
        &[b"XGROUP", b"SETID", READY, b"relay", b"0"],
        &[b"XGROUP", b"SETID", READY, b"relay", b"$"],
        &[b"XREADGROUP", b"GROUP", b"relay", b"stranger", b"STREAMS", READY, b">"],
        &[b"XGROUP", b"CREATECONSUMER", READY, b"relay", b"stranger"],
    ];
    fixture.accept("crm", at(0)).await;
    let mut seen = vec![fixture.lease("crm", at(1)).await.deliveries[0].id];
    for (number, command) in spoil.into_iter().enumerate() {
        for _ in 0..3 {
            fixture.accept("crm", at(2 + number as u64)).await;
        }
        node.ask(command);
        let leased = fixture.lease("crm", at(100)).await.deliveries;
        assert_eq!(leased.len(), 3, "{command:?}");
        seen.extend(leased.iter().map(|leased| leased.id));
        for held in leased {
            let back = hand_back(&held, held.claim(), at(101)).expect("it is held");
            fixture.apply(back).await;
        }
        // What is back waits out of turn, and is leased again like all else.
        assert_eq!(fixture.lease("crm", at(102)).await.deliveries.len(), 3);
        fixture.check_sums().await;
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 16);
}

/// I1: a row that names another's entry waits all the same.
#[tokio::test]
async fn what_names_the_entry_of_another_is_leased_all_the_same() {
    let node = Node::start();
    let mut fixture = fixture(Options::new(node.address()));
    let mut all = Vec::new();
    for second in 0..3 {
        all.push(fixture.accept("crm", at(second)).await);
    }
    let key = [b"crm-relay:{00-23}:d:", &all[1].id.as_u128().to_be_bytes()[..]].concat();
    node.ask(&[b"SETRANGE", &key, b"110", b"9"]);
    let mut leased = Vec::new();
    for second in 10..13 {
        leased.extend(fixture.lease("crm", at(second)).await.deliveries);
    }
    leased.sort_by_key(|held| held.id);
    assert_eq!(leased.iter().map(|held| held.id).collect::<Vec<_>>(), all.iter().map(|one| one.id).collect::<Vec<_>>());
    fixture.check_sums().await;
}

/// I2: a Redis that lost its scripts learns them again, and nothing is done twice.
#[tokio::test]
async fn scripts_that_were_flushed_are_loaded_again() {
    let node = Node::start();
    let mut fixture = fixture(Options::new(node.address()));
    for round in 0..3 {
        let stored = fixture.accept("crm", at(round)).await;
        node.ask(&[b"SCRIPT", b"FLUSH"]);
        let next = fixture.accept("crm", at(round)).await;
        node.ask(&[b"SCRIPT", b"FLUSH"]);
        let leased = fixture.lease("crm", at(10)).await.deliveries;
        assert_eq!(leased.iter().map(|leased| leased.id).collect::<Vec<_>>(), [stored.id, next.id]);
    }
    assert_eq!(fixture.counters("crm").await.created, 6);
    fixture.check_sums().await;
}

/// I2, I16: without Redis everything is away, nothing ends, and once it is back everything goes on by itself.
#[tokio::test]
async fn a_redis_that_is_gone_is_away_until_it_is_back() {
    let mut node = Node::start();
    let mut fixture = fixture(Options::new(node.address()));
    let stored = fixture.accept("crm", at(0)).await;
    node.stop();
    let event = fixture.event("in", b"{}", at(1));
    let append = fixture.appending(event, &["crm"]);
    // The connection breaks with the first; from then on there is none.
    let first = fixture.append(append.clone()).await;
    assert!(matches!(first, Err(AppendError::Unknown | AppendError::Away)), "{first:?}");
    assert_eq!(fixture.append(append.clone()).await, Err(AppendError::Away));
    assert_eq!(fixture.store().find(vec![stored.id]).await, Err(StoreError::Away));
    assert_eq!(fixture.store().settle(vec![cancel(&stored, at(2))]).await, Err(StoreError::Away));
    let condition = fixture.store().condition();
    assert!(!condition.commits && !condition.reasons.is_empty(), "{condition:?}");
    node.restart();
    assert!(fixture.append(append).await.is_ok_and(|appended| appended.is_stored()));
    assert_eq!(fixture.find(stored.id).await, Some(stored));
    assert!(fixture.store().condition().commits);
    fixture.check_sums().await;
}

/// I16: at the end of its memory Redis refuses what adds, as full; what settles goes on.
#[tokio::test]
async fn memory_that_is_full_refuses_what_adds_and_nothing_else() {
    let node = Node::start();
    let mut fixture = fixture(Options::new(node.address()));
    let stored = fixture.accept("crm", at(0)).await;
    fixture.accept("crm", at(0)).await;
    node.ask(&[b"CONFIG", b"SET", b"maxmemory", b"1"]);
    let event = fixture.event("in", b"{}", at(1));
    let append = fixture.appending(event, &["crm"]);
    assert_eq!(fixture.append(append.clone()).await, Err(AppendError::Full));
    let held = fixture.lease("crm", at(1)).await.deliveries;
    assert_eq!(held.len(), 2);
    fixture.apply(cancel(&held[0], at(2))).await;
    let ended = fixture.find(stored.id).await.as_ref().and_then(Ended::of).expect("it is over");
    let forget = Forget {
        partitions: Partitions::ALL,
        keys_until: at(0),
        unrouted_before: at(0),
        jobs_before: at(0),
        audit_before: at(0),
    };
    let retired = fixture.store().retire(Retire { ended: vec![ended], more: false, forget }).await;
    assert_eq!(retired.map(|retired| retired.deliveries), Ok(1));
    assert!(fixture.store().stats().await.expect("reads").full);
    let before = fixture.store().stats().await.expect("reads").sources;
    node.ask(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
    assert_eq!(fixture.store().stats().await.expect("reads").sources, before, "nothing was stored");
    assert!(fixture.append(append).await.is_ok_and(|appended| appended.is_stored()));
    fixture.check_sums().await;
}

/// I2, I7, I9: each writing operation is done, and its answer lost: it is unknown, and the same call again does nothing twice.
#[tokio::test]
async fn an_answer_that_is_lost_is_unknown_and_asked_for_again() {
    let node = Node::start();
    let proxy = Proxy::to(node.socket());
    let backend = Shared::at_hand(Options::new(proxy.address()));
    let mut fixture = Fixture::over(backend, IdMint::new(0, 7));
    // The first lease at a destination makes its group, and asks twice.
    fixture.accept("crm", at(0)).await;
    fixture.lease("crm", at(0)).await;
    for seconds in 0..4 {
        fixture.accept("crm", at(seconds)).await;
    }
    let store = fixture.store();

    // Append.
    let event = fixture.event("in", b"{}", at(5));
    let append = fixture.appending(event, &["crm"]);
    proxy.lose_behind(0);
    assert_eq!(fixture.append(append.clone()).await, Err(AppendError::Unknown));
    let again = Appended::Stored { event: append.event.id, deliveries: append.deliveries.clone() };
    assert_eq!(fixture.append(append).await, Ok(again));

    // Lease: what it may have leased is found by its keeper.
    let ask = LeaseAsk {
        destination: "crm".parse().expect("a name"),
        instance: InstanceId::from_u128(5),
        nonce: 9,
        until: at(100),
        now: at(10),
        limit: 4,
        tried_max: 9,
        order: LeaseOrder::Shared { tried: 0 },
        partitions: Partitions::ALL,
    };
    proxy.lose_behind(0);
    assert_eq!(store.lease(ask).await.map(|leased| leased.deliveries.len()), Err(StoreError::Unknown));
    let mine = HeldAsk { of: HeldOf::Keeper(9), ..HeldAsk::all(None, 10) };
    let held = store.held(mine).await.expect("reads");
    assert_eq!(held.len(), 4);

    // Extend. What connects anew loses nothing: it is away then, for nothing was sent.
    let connected = async || {
        let claim = Claim { token: Token::default(), ..held[0].claim() };
        let nothing = Extend { id: held[0].id, claim, until: at(1) };
        assert!(matches!(store.extend(vec![nothing]).await.as_deref(), Ok([Extended::Over(Some(_))])));
    };
    connected().await;
    let extend = vec![Extend { id: held[0].id, claim: held[0].claim(), until: at(200) }];
    proxy.lose_behind(0);
    assert_eq!(store.extend(extend.clone()).await, Err(StoreError::Unknown));
    let version = held[0].version + 1;
    assert_eq!(store.extend(extend).await, Ok(vec![Extended::Stands { until: at(200), version }]));
    let extended = fixture.find(held[0].id).await.expect("it is there");
    assert_eq!(extended.lease.map(|lease| lease.until), Some(at(200)));

    // Settle.
    let done = cancel(&held[1], at(20));
    proxy.lose_behind(0);
    assert_eq!(store.settle(vec![done.clone()]).await, Err(StoreError::Unknown));
    let now = Changed::Conflict(Some(Box::new(done.next.clone())));
    assert_eq!(store.settle(vec![done.clone()]).await, Ok(vec![now]));

    // Replay.
    let made = Delivery { id: fixture.mint.delivery(at(21)).beside(done.next.event), ..replayed(&done.next) };
    let replay = Replay { made: vec![made], decided_on: Some(1) };
    // It reads first whether the event is erased.
    connected().await;
    proxy.lose_behind(1);
    assert_eq!(store.replay(replay.clone(), Vec::new()).await, Err(StoreError::Unknown));
    assert_eq!(store.replay(replay, Vec::new()).await, Ok(Replayed::Stored(vec![true])));

    // Step.
    let step = Step {
        job: JobId::from_u128(3 << 80),
        before: 0,
        cursor: None,
        matched: 1,
        fingerprint: 7,
        next_due: None,
        is_over: true,
        settle: vec![cancel(&held[2], at(22))],
        retire: Vec::new(),
        make: Vec::new(),
        erase: Vec::new(),
        audit: None,
    };
    // It reads the mark first.
    connected().await;
    proxy.lose_behind(1);
    assert_eq!(store.step(step.clone()).await, Err(StoreError::Unknown));
    let Ok(Stepped::Elsewhere(mark)) = store.step(step).await else { panic!("it was done twice") };
    assert_eq!((mark.steps, mark.changed), (1, 1));

    // A document, and presence.
    connected().await;
    let key = DocumentKey { kind: DocumentKind::Source, name: "in".to_owned() };
    proxy.lose_behind(0);
    let put = store.put_document(key.clone(), 0, Some("{}".to_owned()), Vec::new()).await;
    assert_eq!(put, Err(StoreError::Unknown));
    assert_eq!(store.document(key).await.expect("reads").map(|document| document.version), Some(1));
    connected().await;
    proxy.lose_behind(0);
    let mine = Presence {
        run: 1,
        at: at(30),
        server: About::default(),
        stopping: false,
        clock: None,
        clients: Vec::new(),
        circuits: Vec::new(),
    };
    assert_eq!(store.presence(mine.clone()).await, Err(StoreError::Unknown));
    assert_eq!(store.presence(mine).await, Ok(Vec::new()));
    assert_eq!(proxy.lost(), 8);
    assert_eq!(fixture.counters("crm").await.states[State::Cancelled as usize - 1], 2);
    fixture.check_sums().await;
}

/// Whatever was tried of it, a delivery is as good as new when it is made again.
fn replayed(old: &Delivery) -> Delivery {
    Delivery {
        state: State::Ready,
        version: 0,
        replay: true,
        last: None,
        due_at: at(21),
        changed_at: at(21),
        ..old.clone()
    }
}

/// I1: what only the primary has is not confirmed, and not by asking again either: on a connection that wrote nothing WAIT
/// answers at once. (So Redis 8 and Valkey 9 do; 7.0 waits for all that was written before, whoever wrote it.)
#[tokio::test]
async fn what_no_replica_has_is_unknown_however_often_it_is_asked_for() {
    for server in Server::ALL {
        nothing_is_confirmed_without_a_replica(server).await;
    }
}

async fn nothing_is_confirmed_without_a_replica(server: Server) {
    let (primary, replica) = Node::with_replica(server);
    let patience = Duration::from_secs(20);
    let durability = Some(Durability::Replicated);
    let options = Options { durability, replicas_within: patience / 2, patience, ..Options::new(primary.address()) };
    let mut fixture = fixture(options.clone());
    fixture.accept("crm", at(0)).await;
    replica.pause();
    // Nothing is waited for that could still come.
    let hasty = Options { replicas_within: Duration::from_millis(20), ..options.clone() };
    let event = fixture.event("in", b"{}", at(1));
    let mut append = fixture.appending(event, &["crm"]);
    append.dedupe = Some(Dedupe { key: [1; 32], until: at(90) });
    let repeat = {
        let event = fixture.event("in", b"{}", at(2));
        Append { dedupe: append.dedupe.clone(), ..fixture.appending(event, &["crm"]) }
    };
    // Each time on a connection that wrote nothing.
    let fresh = || Shared::on(hasty.clone()).store();
    for round in 0..3 {
        for append in [&append, &repeat] {
            assert_eq!(fresh().append(vec![append.clone()]).await, [Err(AppendError::Unknown)], "round {round}");
        }
        let cancelled = fresh().settle(vec![cancel(&append.deliveries[0], at(3))]).await;
        assert_eq!(cancelled, Err(StoreError::Unknown), "round {round}");
        let made =
            Delivery { id: fixture.mint.delivery(at(3)).beside(append.event.id), ..append.deliveries[0].clone() };
        let replay = Replay { made: vec![made], decided_on: Some(7) };
        assert_eq!(fresh().replay(replay, Vec::new()).await, Err(StoreError::Unknown), "round {round}");
        // What may go away again is not told as what is so.
        let store = fresh();
        assert_eq!(store.settle(vec![cancel(&append.deliveries[0], at(3))]).await, Err(StoreError::Unknown));
        assert_eq!(store.find(vec![append.deliveries[0].id]).await, Err(StoreError::Unknown), "round {round}");
    }
    replica.resume();
    let fixture = Fixture::over(Shared::on(options), fixture.mint);
    assert!(fixture.append(append).await.is_ok_and(|appended| appended.is_stored()));
    assert!(fixture.append(repeat).await.is_ok_and(|appended| !appended.is_stored()));
    fixture.check_sums().await;
}

/// I1: a connection that somebody kills is made anew, for reads without anybody noticing.
#[tokio::test]
async fn connections_that_are_killed_are_made_anew() {
    let node = Node::start();
    let mut fixture = fixture(Options::new(node.address()));
    let stored = fixture.accept("crm", at(0)).await;
    fixture.find(stored.id).await;
    fixture.find(stored.id).await;
    node.ask(&[b"CLIENT", b"KILL", b"TYPE", b"normal"]);
    for _ in 0..4 {
        assert_eq!(fixture.find(stored.id).await.as_ref(), Some(&stored));
    }
    // What was sent on the one that commits may be done.
    let change = failed(&stored);
    let first = fixture.store().settle(vec![change.clone()]).await;
    assert!(matches!(first, Err(StoreError::Unknown) | Ok(_)), "{first:?}");
    fixture.store().settle(vec![change.clone()]).await.expect("it is connected again");
    assert_eq!(fixture.find(stored.id).await, Some(change.next));
    fixture.check_sums().await;
}

fn failed(stored: &Delivery) -> relay_core::delivery::Change {
    let mut next = stored.clone();
    next.version += 1;
    next.state = State::Scheduled;
    next.due_at = at(50);
    relay_core::delivery::Change { before: stored.clone(), next, archive: None }
}

/// I13: of all keys only dedupe entries are ever taken by time; what is dead stands in a stream of its own, for people's tools, and
/// leaves it when it is redriven or removed.
#[tokio::test]
async fn only_keys_expire_and_the_dead_stand_in_a_stream() {
    let node = Node::start();
    let mut fixture = fixture(Options::new(node.address()));
    let event = fixture.event("in", b"{}", at(0));
    let mut append = fixture.appending(event, &["crm"]);
    append.dedupe = Some(Dedupe { key: [7; 32], until: at(90) });
    assert!(fixture.append(append).await.is_ok_and(|appended| appended.is_stored()));
    let first = fixture.ended("crm", State::Dead, at(1)).await;
    let second = fixture.ended("crm", State::Expired, at(2)).await;
    fixture.lease("crm", at(3)).await;
    let expires = node.ask(&[b"INFO", b"keyspace"]);
    assert!(expires.contains(",expires=1,"), "{expires}");

    let dead = || node.ask(&[b"XRANGE", b"crm-relay-dead:{00-23}", b"-", b"+"]);
    let all = dead();
    assert!(all.starts_with("*2\r\n"), "{all}");
    for text in [first.id.to_string(), first.event.to_string(), second.id.to_string(), "crm".into(), "in".into()] {
        assert!(all.contains(&text), "{text} is not in {all}");
    }
    let redrive = relay_core::delivery::redrive(&first, at(5), Duration::from_secs(9));
    fixture.apply(redrive).await;
    assert!(!dead().contains(&first.id.to_string()));
    let ended = vec![Ended::of(&second).expect("it is over")];
    let forget = Forget {
        partitions: Partitions::ALL,
        keys_until: at(0),
        unrouted_before: at(0),
        jobs_before: at(0),
        audit_before: at(6),
    };
    let retired = fixture.store().retire(Retire { ended, more: false, forget }).await;
    assert_eq!(retired.map(|retired| retired.deliveries), Ok(1));
    assert_eq!(dead(), "*0\r\n");
    // The line about the redrive is of before; later ones are kept.
    let lines = async || {
        let page = Page { cursor: None, limit: 10 };
        fixture.store().browse_audit(AuditFilter::default(), page).await.expect("reads").items.len()
    };
    assert_eq!(lines().await, 0);
    let line = |seconds| AuditEntry {
        at: at(seconds),
        who: "cli".into(),
        action: "test".into(),
        subject: String::new(),
        origin: String::new(),
    };
    fixture.store().audit(vec![line(20), line(10), line(30)]).await.expect("writes");
    let forget = Forget { audit_before: at(30), ..forget };
    fixture.store().retire(Retire { ended: Vec::new(), more: false, forget }).await.expect("forgets");
    assert_eq!(lines().await, 1);
}

/// I15, I18: a row that somebody spoilt is named and passed over; all others at its destination go on.
#[tokio::test]
async fn a_spoilt_row_keeps_no_other_waiting() {
    let node = Node::start();
    for spoil in 0..7 {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = fixture(Options::new(node.address()));
        let mut all = Vec::new();
        for seconds in 0..3 {
            all.push(fixture.accept("crm", at(seconds)).await);
        }
        let spoilt = all[1].id;
        let key = [b"crm-relay:{00-23}:d:", &spoilt.as_u128().to_be_bytes()[..]].concat();
        match spoil {
            0 => node.ask(&[b"SET", &key, b""]),
            1 => node.ask(&[b"SET", &key, b"nonsense"]),
            2 => node.ask(&[b"SETRANGE", &key, b"28", b"no moment here!!"]),
            3 => node.ask(&[b"SETRANGE", &key, b"242", b"\xff"]),
            4 => node.ask(&[b"SETRANGE", &key, b"110", b"x"]),
            5 => node.ask(&[b"SETRANGE", &key, b"143", b"\xb1"]),
            _ => node.ask(&[b"SETRANGE", &key, b"300", b"\x00\x00\x00\x00"]),
        };
        let leased = fixture.lease("crm", at(9)).await.deliveries;
        assert_eq!(leased.iter().map(|held| held.id).collect::<Vec<_>>(), [all[0].id, all[2].id], "{spoil}");
        assert_eq!(fixture.find(spoilt).await, None);
        let batch = vec![cancel(&all[1], at(10)), cancel(&leased[0], at(10))];
        let answers = fixture.store().settle(batch).await;
        assert_eq!(answers, Ok(vec![Changed::Conflict(None), Changed::Applied]), "{spoil}");
        let listed =
            fixture.store().browse_deliveries(DeliveryFilter::default(), Page { cursor: None, limit: 9 }).await;
        assert_eq!(listed.map(|listed| listed.items.len()), Ok(2));
        assert_eq!(fixture.store().stats().await.map(|stats| stats.damaged > 0), Ok(true), "{spoil}");
        relay_store::redis::RedisStore::open(Options::new(node.address())).mend().await.expect("passes over it");
        assert_eq!(fixture.find(all[2].id).await.map(|found| found.state), Some(State::Leased));
    }
}

/// I15, I18, I23: a row whose record says something that only a later version understands is not leased, and stays where that version
/// finds it; it is no damage, nothing takes it out, and all others at its destination go on.
#[tokio::test]
async fn a_row_of_a_later_version_is_left_to_that_version() {
    let node = Node::start();
    // Slow, laned, a flag of the second byte, the version, and the number of a job: where they stand in the record.
    for (at_byte, bits) in [(3, 16), (3, 64), (4, 1), (0, 3), (45, 1)] {
        // It waits in the stream, or out of turn, or was tried.
        for place in ["ready", "back", "due"] {
            node.ask(&[b"FLUSHALL"]);
            let mut fixture = Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7));
            let mut all = Vec::new();
            for seconds in 0..3 {
                all.push(fixture.accept("crm", at(seconds)).await);
            }
            if place == "back" {
                for held in fixture.lease("crm", at(5)).await.deliveries {
                    fixture.apply(hand_back(&held, held.claim(), at(5)).expect("it is held")).await;
                }
            } else if place == "due" {
                for made in &all {
                    fixture.apply(retried(made)).await;
                }
            }
            let key = [b"crm-relay:{00-23}:d:", &all[1].id.as_u128().to_be_bytes()[..]].concat();
            let row = of_a_later_version(&node, &key, at_byte, bits);
            let what = format!("{place}: {bits} at {at_byte}");
            let leased = fixture.lease("crm", at(9)).await.deliveries;
            assert_eq!(leased.iter().map(|held| held.id).collect::<Vec<_>>(), [all[0].id, all[2].id], "{what}");
            assert!(fixture.lease("crm", at(10)).await.deliveries.is_empty(), "{what}");
            let store = relay_store::redis::RedisStore::open(Options::new(node.address()));
            assert_eq!(store.accept_loss().await, Ok(Vec::new()), "{what}");
            assert_eq!(store.stats().await.map(|stats| stats.damaged), Ok(0), "{what}");
            assert_eq!(fixture.store().stats().await.map(|stats| stats.damaged), Ok(0), "{what}");
            let (was, is) = (without_place(&row), without_place(&got(&node, &key)));
            assert_eq!(is, was, "{what}: as it was but for where it stands");
            // The version that understands it, here one that finds it as it was, leases it as any other.
            of_a_later_version(&node, &key, at_byte, bits);
            let leased = fixture.lease("crm", at(11)).await.deliveries;
            assert_eq!(leased.iter().map(|held| held.id).collect::<Vec<_>>(), [all[1].id], "{what}");
            fixture.check_sums().await;
        }
    }
}

/// What stands there.
fn got(node: &Node, key: &[u8]) -> Vec<u8> {
    let answer = node.ask_raw(&[&[b"GET", key]]);
    let from = answer.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    answer[from..answer.len() - 2].to_vec()
}

fn without_place(row: &[u8]) -> Vec<u8> {
    [&row[..2], &row[3..110], &row[143..]].concat()
}

/// Turns bits of the record in a row of `crm` and `in` over, as somebody does who means it; gives the row.
fn of_a_later_version(node: &Node, key: &[u8], at_byte: usize, bits: u8) -> Vec<u8> {
    let mut row = got(node, key);
    let (begins, ends) = (242 + 1 + 3 + 1 + 2 + 4, row.len() - 4);
    row[begins + at_byte] ^= bits;
    let crc = crc32fast::hash(&row[begins..ends]);
    row[ends..].copy_from_slice(&crc.to_le_bytes());
    node.ask(&[b"SET", key, &row]);
    row
}

/// I13, I15, I18: rows that do not read, or are gone, stand at the head of everything, more of them than a page takes: what is behind
/// them is leased, expires, lapses, is listed and retired as if they were not there.
#[tokio::test]
async fn pages_of_spoilt_rows_keep_nothing_from_its_end() {
    let node = Node::start();
    let key = |kind: &[u8], id: u128| [b"crm-relay:{00-23}:", kind, &id.to_be_bytes()[..]].concat();
    for number in 0..3 {
        let spoil = |key: &[u8]| match number {
            0 => drop(node.ask(&[b"SET", key, b"nonsense"])),
            1 => drop(node.ask(&[b"DEL", key])),
            _ => drop(node.ask_all(&[&[b"DEL", key], &[b"LPUSH", key, b"x"]])),
        };
        node.ask(&[b"FLUSHALL"]);
        let backend = Shared::at_hand(Options::new(node.address()));
        let mut fixture = Fixture::over(backend, IdMint::new(0, 7));
        let mut bad = Vec::new();
        let mut good = Vec::new();
        for round in 0..6 {
            let of = if round < 5 { &mut bad } else { &mut good };
            let held = fixture.accept("leased", at(round)).await;
            fixture.lease("leased", at(round)).await;
            of.push(held.id);
            of.push(fixture.ended("crm", State::Delivered, at(round)).await.id);
            of.push(fixture.ended("crm", State::Dead, at(round)).await.id);
            of.push(fixture.accept("crm", at(round)).await.id);
        }
        let mut tried = Vec::new();
        for _ in 0..70 {
            let made = fixture.accept("erp", at(0)).await;
            tried.push(fixture.apply(retried(&made)).await.id);
        }
        let last_tried = tried.pop().expect("there is one");
        for id in bad.iter().chain(&tried) {
            spoil(&key(b"d:", id.as_u128()));
        }
        let mut lone = Vec::new();
        for round in 0..66 {
            let event = fixture.event("in", b"{}", at(round));
            lone.push(event.id);
            let append = fixture.appending(event, &[]);
            assert!(fixture.append(append).await.is_ok_and(|found| found.is_stored()));
        }
        let last_lone = lone.pop().expect("there is one");
        for id in &lone {
            spoil(&key(b"e:", id.as_u128()));
        }

        let [held, done, dead, waits] = good[..] else { panic!("there are four: {good:?}") };
        let store = fixture.store();
        let ids = |all: Vec<Delivery>| all.into_iter().map(|found| found.id).collect::<Vec<_>>();
        let late = at(1_000_000);
        let due = store.due(DueAsk { lapsed_by: Some(late), ..DueAsk::at(at(10), 1) }).await.expect("reads");
        assert_eq!(ids(due.lapsed), [held], "{number}");
        let waiting: Vec<&str> = due.destinations.iter().map(|due| due.destination.as_str()).collect();
        assert_eq!(waiting, ["crm", "erp"], "{number}");
        assert_eq!(ids(store.due(DueAsk::at(late, 1)).await.expect("reads").expired).len(), 1, "{number}");
        let ask =
            |before| OverAsk { delivered_before: before, dead_before: before, limit: 1, partitions: Partitions::ALL };
        assert_eq!(ids(store.over(ask(late)).await.expect("reads")).len(), 1, "{number}");
        let rules =
            Rules { partitions: Partitions::ALL, now: at(100), delivered_before: at(100), dead_before: at(100) };
        fixture.retain(rules, 1).await;
        for gone in [done, dead] {
            assert_eq!(fixture.find(gone).await, None, "{number}");
        }
        assert_eq!(store.event(last_lone).await, Ok(None), "{number}");
        for (destination, id) in [("crm", waits), ("erp", last_tried)] {
            let mut leased = Vec::new();
            loop {
                let ask = LeaseAsk { limit: 1, ..asking(destination, at(100)) };
                let part = store.lease(ask).await.expect("leasing works");
                leased.extend(ids(part.deliveries));
                if part.end != LeaseEnd::More {
                    break;
                }
            }
            assert_eq!(leased, [id], "{number}");
        }
        let page = Page { cursor: None, limit: 1 };
        let listed = store.browse_deliveries(DeliveryFilter::default(), page.clone()).await.expect("reads").items;
        assert_eq!(listed.len(), 1);
        store.browse_events(EventFilter::default(), page).await.expect("reads");
        store.stats().await.expect("reads");
    }
}

/// As a client asks that takes four.
pub(crate) fn asking(destination: &str, now: relay_core::time::Wall) -> LeaseAsk {
    LeaseAsk {
        destination: destination.parse().expect("a name"),
        instance: InstanceId::from_u128(5),
        nonce: 9,
        until: now + Duration::from_secs(60),
        now,
        limit: 4,
        tried_max: 9,
        order: LeaseOrder::Shared { tried: 0 },
        partitions: Partitions::ALL,
    }
}

/// Tried once, and due.
fn retried(stored: &Delivery) -> relay_core::delivery::Change {
    let mut change = failed(stored);
    (change.next.tries, change.next.due_at) = (1, at(1));
    change
}

/// I7: a cursor that is lost with all counters leases nothing again that is leased.
#[tokio::test]
async fn what_is_leased_is_not_leased_again_without_a_cursor() {
    let node = Node::start();
    let mut fixture = fixture(Options::new(node.address()));
    for seconds in 0..4 {
        fixture.accept("crm", at(seconds)).await;
    }
    let ask = LeaseAsk { limit: 2, ..asking("crm", at(9)) };
    let held = fixture.store().lease(ask).await.expect("leasing works").deliveries;
    node.ask(&[b"DEL", b"crm-relay:{00-23}:n"]);
    let rest = fixture.lease("crm", at(10)).await.deliveries;
    assert_eq!((held.len(), rest.len()), (2, 2));
    assert!(rest.iter().all(|found| held.iter().all(|other| other.id != found.id)));
    for held in held.iter().chain(&rest) {
        fixture.apply(cancel(held, at(11))).await;
    }
    assert!(fixture.lease("crm", at(12)).await.deliveries.is_empty());
    let ready = node.ask(&[b"XLEN", READY]);
    assert_eq!(ready, ":0\r\n", "each has left the stream when its lease ended");
}
