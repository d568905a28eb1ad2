//! A bit that flips decides nothing: whatever is removed, repeated or counted as done was found sealed first.

use relay_core::{
    delivery::{Delivery, State, cancel},
    id::{EventId, IdMint},
    partitions::Partitions,
    storage::{
        Append, AppendError, Appended, Changed, Dedupe, Ended, Forget, Replay, Replayed, Retire, Retired, Step,
        Stepped, StoreError,
    },
};
use relay_store::{
    conformance::{Fixture, at},
    redis::{Mended, Options, RedisStore},
    seam::{DocumentKey, DocumentKind},
};

use crate::{backend::Shared, node::Node};

fn fixture(node: &Node) -> Fixture<Shared> {
    Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7))
}

fn key(kind: &[u8], id: u128) -> Vec<u8> {
    [b"crm-relay:{00-23}:", kind, &id.to_be_bytes()[..]].concat()
}

fn is_there(node: &Node, key: &[u8]) -> bool {
    node.ask(&[b"EXISTS", key]) == ":1\r\n"
}

/// An event for two, of which one has it.
async fn half_done(fixture: &mut Fixture<Shared>) -> (EventId, Delivery) {
    let event = fixture.event("in", b"{}", at(0));
    let append = fixture.appending(event, &["crm", "erp"]);
    assert!(fixture.append(append.clone()).await.is_ok_and(|appended| appended.is_stored()));
    let done = fixture.apply(cancel(&append.deliveries[0], at(1))).await;
    (append.event.id, done)
}

async fn retire(fixture: &Fixture<Shared>, ended: &[&Delivery]) -> Retired {
    let forget = Forget {
        partitions: Partitions::ALL,
        keys_until: at(0),
        unrouted_before: at(900),
        jobs_before: at(0),
        audit_before: at(0),
    };
    let ended = ended.iter().filter_map(|ended| Ended::of(ended)).collect();
    fixture.store().retire(Retire { ended, more: false, forget }).await.expect("retires")
}

async fn damaged(fixture: &Fixture<Shared>) -> u64 {
    fixture.store().stats().await.expect("reads").damaged
}

/// I1, I18: whichever byte in front of an event has flipped, it stays while it has a delivery, and is named.
#[tokio::test]
async fn no_flipped_bit_removes_an_event_that_is_wanted() {
    let node = Node::start();
    // Number of deliveries, their ids, key, source, length of the head, seal.
    for byte in 33..33 + 2 + 32 + 1 + 3 + 4 + 4 {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = fixture(&node);
        let (event, done) = half_done(&mut fixture).await;
        node.flip(&key(b"e:", event.as_u128()), byte, (byte % 8) as u8);
        let retired = retire(&fixture, &[&done]).await;
        assert_eq!((retired.deliveries, retired.events), (1, 0), "byte {byte}");
        assert!(is_there(&node, &key(b"e:", event.as_u128())), "byte {byte}");
        assert_eq!(damaged(&fixture).await, 1, "byte {byte}");
        fixture.check_sums().await;
    }
}

/// I1, I18: the same for what names deliveries that were made later: cut short, flipped, or gone with the row that it leads to.
#[tokio::test]
async fn no_flipped_bit_removes_an_event_that_was_replayed() {
    let node = Node::start();
    for byte in 0..20 {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = fixture(&node);
        let done = fixture.ended("crm", State::Delivered, at(1)).await;
        let event = fixture.store().event(done.event).await.expect("reads").expect("it is there");
        let id = fixture.mint.delivery(at(2)).beside(done.event);
        let made =
            Delivery { id, ..Delivery::ready(id, &event, done.destination.clone(), true, at(2), at(90).since(at(2))) };
        let replayed = fixture.store().replay(Replay::anyway(vec![made.clone()]), Vec::new()).await;
        assert_eq!(replayed, Ok(Replayed::Stored(vec![true])));
        node.flip(&key(b"r:", done.event.as_u128()), byte, 3);
        let retired = retire(&fixture, &[&done]).await;
        assert_eq!((retired.deliveries, retired.events), (1, 0), "byte {byte}");
        let leased = fixture.lease("crm", at(3)).await.deliveries;
        assert_eq!(leased.len(), 1, "byte {byte}");
        assert!(fixture.bodies(&leased).await[0].is_some(), "byte {byte}");
        assert_eq!(damaged(&fixture).await, 1, "byte {byte}");
        fixture.check_sums().await;
    }
}

/// I1, I18: a row in which a bit flips behind the decision takes nothing along, neither itself nor another's event.
#[tokio::test]
async fn no_flipped_bit_of_a_row_removes_anything() {
    let node = Node::start();
    // State, version, fence, times, event, names: all that scripts see of it but where it stands.
    for byte in [1, 11, 27, 43, 70, 94, 109, 180, 243, 247, 260] {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = fixture(&node);
        let (event, done) = half_done(&mut fixture).await;
        node.flip(&key(b"d:", done.id.as_u128()), byte, 0);
        let retired = retire(&fixture, &[&done]).await;
        assert_eq!((retired.deliveries, retired.events), (0, 0), "byte {byte}");
        assert!(is_there(&node, &key(b"d:", done.id.as_u128())), "byte {byte}");
        assert!(is_there(&node, &key(b"e:", event.as_u128())), "byte {byte}");
        assert_eq!(damaged(&fixture).await, 1, "byte {byte}");
    }
}

/// I1, I5, I12, I18: a bit flips in any byte of a row, also of those that say where it stands and are under no seal: nothing else goes with
/// it, what can be read goes once the next round has put it right, and nothing is said to be lost that is there or was removed.
#[tokio::test]
async fn no_flipped_bit_of_a_row_costs_another_anything() {
    let node = Node::start();
    let mut byte = 0;
    loop {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = fixture(&node);
        // Others stand beside it in every listing.
        let beside = [fixture.ended("crm", State::Delivered, at(0)).await, fixture.accept("crm", at(0)).await];
        let (event, done) = half_done(&mut fixture).await;
        fixture.ended("crm", State::Delivered, at(2)).await;
        let row = key(b"d:", done.id.as_u128());
        if node.ask(&[b"STRLEN", &row]) == format!(":{byte}\r\n") {
            break;
        }
        node.flip(&row, byte, [0, 2, 4, 6][byte % 4]);
        let mut retired = retire(&fixture, &[&done]).await;
        let store = RedisStore::open(Options::new(node.address()));
        let mended = store.mend().await.expect("mends");
        assert_eq!(mended.lost, 0, "byte {byte}");
        assert_eq!(store.mend().await, Ok(Mended { rows: mended.rows, ..Mended::default() }), "byte {byte}: once");
        retired.deliveries += retire(&fixture, &[&done]).await.deliveries;
        let is_damaged = fixture.find(done.id).await.is_none() && retired.deliveries == 0;
        assert_eq!((retired.deliveries, retired.events), (u64::from(!is_damaged), 0), "byte {byte}");
        assert_eq!(is_there(&node, &row), is_damaged, "byte {byte}");
        // Place and entries are no part of what the delivery is, nor is what is said of a lease that is over.
        let says_nothing = [2, 3].contains(&byte) || (110..176).contains(&byte) || (232..242).contains(&byte);
        assert!(is_damaged || says_nothing, "byte {byte}");
        for of in &beside {
            assert_eq!(fixture.find(of.id).await.as_ref(), Some(of), "byte {byte}");
        }
        assert!(is_there(&node, &key(b"e:", event.as_u128())), "byte {byte}");
        let waits = fixture.lease("erp", at(3)).await.deliveries;
        assert_eq!(fixture.bodies(&waits).await.iter().filter(|body| body.is_some()).count(), 1, "byte {byte}");
        let waits = fixture.lease("crm", at(3)).await.deliveries;
        assert_eq!(waits.iter().map(|held| held.id).collect::<Vec<_>>(), [beside[1].id], "byte {byte}");
        assert!(is_damaged || mended.rows > 0);
        if !is_damaged {
            fixture.check_sums().await;
        }
        byte += 1;
    }
    assert!(byte > 400, "{byte}");
}

/// I1, I7, I18: the same of what waits, and of what is leased: it is leased once, and ends.
#[tokio::test]
async fn no_flipped_bit_of_where_a_row_stands_holds_it_up() {
    let node = Node::start();
    for byte in std::iter::once(2).chain(110..176) {
        for bit in [0, 2, 4] {
            node.ask(&[b"FLUSHALL"]);
            let mut fixture = fixture(&node);
            let (mut all, mut seen) = (Vec::new(), Vec::new());
            for second in 0..3 {
                all.push(fixture.accept("crm", at(second)).await.id);
            }
            let what = format!("bit {bit} of byte {byte}");
            node.flip(&key(b"d:", all[1].as_u128()), byte, bit);
            let store = RedisStore::open(Options::new(node.address()));
            // Before any round, and behind one.
            for second in 10..12 {
                for held in fixture.lease("crm", at(second)).await.deliveries {
                    seen.push(held.id);
                    node.flip(&key(b"d:", held.id.as_u128()), byte, bit);
                    let settled = fixture.settle(cancel(&held, at(second))).await;
                    assert!(matches!(settled, Changed::Applied | Changed::Conflict(None)), "{what}: {settled:?}");
                    if settled != Changed::Applied {
                        // It does not read any more: an entry is digits.
                        assert!(byte > 2, "{what}");
                        node.flip(&key(b"d:", held.id.as_u128()), byte, bit);
                        fixture.apply(cancel(&held, at(second))).await;
                    }
                }
                assert_eq!(store.mend().await.map(|mended| mended.lost), Ok(0), "{what}");
            }
            if seen.len() < 3 {
                // What is no entry is named, and waits for who mends it.
                assert!(damaged(&fixture).await > 0, "{what}");
                node.flip(&key(b"d:", all[1].as_u128()), byte, bit);
                store.mend().await.expect("mends");
                seen.extend(fixture.lease("crm", at(20)).await.deliveries.iter().map(|held| held.id));
            }
            seen.sort_unstable();
            assert_eq!(seen, all, "{what}");
            store.mend().await.expect("mends");
            fixture.check_sums().await;
        }
    }
}

/// I13, I18: a due time in which a bit flips hides nothing that waits behind it, and is named.
#[tokio::test]
async fn no_flipped_bit_of_a_due_time_holds_up_others() {
    let node = Node::start();
    // The highest digits: centuries from now.
    for byte in [28, 29, 30] {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = fixture(&node);
        let mut waiting = Vec::new();
        for seconds in 0..3 {
            waiting.push(fixture.accept("crm", at(seconds)).await);
        }
        node.flip(&key(b"d:", waiting[0].id.as_u128()), byte, 3);
        let leased: Vec<_> = fixture.lease("crm", at(9)).await.deliveries.iter().map(|held| held.id).collect();
        assert_eq!(leased, [waiting[1].id, waiting[2].id], "byte {byte}");
        assert_eq!(damaged(&fixture).await, 1, "byte {byte}");
    }
}

/// I18: what nobody wanted goes when it reads, and stays when it does not.
#[tokio::test]
async fn a_lone_event_that_is_spoilt_is_not_forgotten() {
    let node = Node::start();
    let mut fixture = fixture(&node);
    let mut lone = Vec::new();
    for seconds in 0..2 {
        let event = fixture.event("in", b"{}", at(seconds));
        lone.push(event.id);
        let append = fixture.appending(event, &[]);
        assert!(fixture.append(append).await.is_ok_and(|appended| appended.is_stored()));
    }
    node.flip(&key(b"e:", lone[0].as_u128()), 37, 1);
    assert_eq!(retire(&fixture, &[]).await.events, 1);
    assert!(is_there(&node, &key(b"e:", lone[0].as_u128())) && !is_there(&node, &key(b"e:", lone[1].as_u128())));
}

fn keyed(fixture: &mut Fixture<Shared>, second: u64) -> Append {
    let event = fixture.event("in", b"{}", at(second));
    Append { dedupe: Some(Dedupe { key: [7; 32], until: at(100) }), ..fixture.appending(event, &["crm"]) }
}

const TAKEN: &[u8] = b"crm-relay:{00-23}:k:in:\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07";

/// I18, I20: what a key says in the open is what was sealed, whichever bit of it flips: inside its window a repeat finds the first, and
/// behind it nothing does. Where what is sealed does not hold, the repeat is an event of its own, for nothing must be swallowed.
#[tokio::test]
async fn no_flipped_bit_of_a_key_swallows_or_repeats_an_event() {
    let node = Node::start();
    for byte in 0..93 {
        for second in [50, 200] {
            node.ask(&[b"FLUSHALL"]);
            let mut fixture = fixture(&node);
            let first = keyed(&mut fixture, 0);
            assert!(fixture.append(first.clone()).await.is_ok_and(|appended| appended.is_stored()));
            node.flip(TAKEN, byte, (byte % 4) as u8);
            let again = keyed(&mut fixture, second);
            let answer = fixture.append(again).await.expect("it is answered");
            let is_repeat =
                matches!(answer, Appended::Repeat { first: found, gone: false, .. } if found == first.event.id);
            let is_sealed = byte >= 32;
            assert_eq!(is_repeat, second < 100 && !is_sealed, "byte {byte}: {answer:?}");
            assert_eq!(answer.is_stored(), !is_repeat, "byte {byte}");
            // Behind its end nobody asks for more of it than when that is.
            assert!(second > 100 && is_sealed || damaged(&fixture).await == 1, "byte {byte}");
            // From then on it is right again.
            let once_more = keyed(&mut fixture, second.min(99));
            let answer = fixture.append(once_more).await.expect("it is answered");
            assert!(second > 100 || !answer.is_stored(), "byte {byte}: {answer:?}");
            fixture.check_sums().await;
        }
    }
}

/// I20: of an event that was delivered to nobody and cannot be any more a repeat is an event of its own; where a delivery alone is spoilt it
/// is said to be gone, and can be made again.
#[tokio::test]
async fn what_cannot_be_delivered_any_more_swallows_no_repeat() {
    let node = Node::start();
    for spoilt in ["delivery", "front", "head", "body"] {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = fixture(&node);
        let first = keyed(&mut fixture, 0);
        assert!(fixture.append(first.clone()).await.is_ok_and(|appended| appended.is_stored()));
        let event = key(b"e:", first.event.id.as_u128());
        match spoilt {
            "delivery" => node.flip(&key(b"d:", first.deliveries[0].id.as_u128()), 300, 0),
            "front" => node.flip(&event, 40, 0),
            "head" => node.flip(&event, 160, 0),
            _ => {
                let length = node.ask(&[b"STRLEN", &event]);
                let length: usize = length.trim_start_matches(':').trim_end().parse().expect("a number");
                node.flip(&event, length - 1, 0);
                // Whoever was to deliver it has met it.
                let leased = fixture.lease("crm", at(1)).await.deliveries;
                assert_eq!(fixture.bodies(&leased).await, [None]);
            }
        }
        let again = keyed(&mut fixture, 2);
        let answer = fixture.append(again.clone()).await;
        if spoilt == "delivery" {
            let none = Appended::Repeat {
                first: first.event.id,
                received_at: at(0),
                differs: false,
                deliveries: Vec::new(),
                gone: true,
            };
            assert_eq!(answer, Ok(none));
            let id = fixture.mint.delivery(at(3)).beside(first.event.id);
            let made = Delivery { id, replay: true, ..first.deliveries[0].clone() };
            let replay = Replay { made: vec![made], decided_on: Some(0) };
            assert_eq!(fixture.store().replay(replay.clone(), Vec::new()).await, Ok(Replayed::Stored(vec![true])));
            assert_eq!(fixture.store().replay(replay, Vec::new()).await, Ok(Replayed::Stored(vec![true])), "again");
            let other = fixture.mint.delivery(at(3)).beside(first.event.id);
            let late =
                Replay { made: vec![Delivery { id: other, ..first.deliveries[0].clone() }], decided_on: Some(0) };
            let elsewise = fixture.store().replay(late, Vec::new()).await;
            assert!(matches!(&elsewise, Ok(Replayed::Elsewise(now)) if now.len() == 1), "{elsewise:?}");
        } else {
            assert_eq!(answer, Ok(Appended::as_asked(again.event.id)), "{spoilt}");
        }
        let leased = fixture.lease("crm", at(9)).await.deliveries;
        assert!(fixture.bodies(&leased).await.iter().any(Option::is_some), "{spoilt}");
    }
}

/// I2: an append that was stored, and is asked for again once its delivery does not read, is not told to be as it was asked for.
#[tokio::test]
async fn what_is_stored_and_spoilt_is_not_confirmed() {
    let node = Node::start();
    let mut fixture = fixture(&node);
    let event = fixture.event("in", b"{}", at(0));
    let append = fixture.appending(event, &["crm"]);
    assert!(fixture.append(append.clone()).await.is_ok_and(|appended| appended.is_stored()));
    node.flip(&key(b"d:", append.deliveries[0].id.as_u128()), 300, 0);
    assert_eq!(fixture.append(append).await, Err(AppendError::Damaged));
}

/// I12, I18: how far a job is: no digit of it is taken for true that was not written.
#[tokio::test]
async fn no_flipped_bit_makes_a_step_twice_or_never() {
    let node = Node::start();
    let mut fixture = fixture(&node);
    let stored = fixture.accept("crm", at(0)).await;
    let job = fixture.job(at(1));
    let step = |before, settle| Step {
        job,
        before,
        cursor: None,
        matched: 1,
        fingerprint: 7,
        next_due: None,
        is_over: false,
        settle,
        retire: Vec::new(),
        make: Vec::new(),
        erase: Vec::new(),
        audit: None,
    };
    let Ok(Stepped::Done { mark, .. }) = fixture.store().step(step(0, vec![cancel(&stored, at(2))])).await else {
        panic!("it is not done");
    };
    assert_eq!((mark.steps, mark.changed), (1, 1));
    let at_mark = key(b"step:", job.as_u128());
    for byte in 0..60 {
        node.flip(&at_mark, byte, 0);
        for before in [0, 1] {
            let stepped = fixture.store().step(step(before, Vec::new())).await;
            assert!(matches!(stepped, Err(StoreError::Damaged { .. })), "byte {byte}: {stepped:?}");
        }
        node.flip(&at_mark, byte, 0);
    }
    let Ok(Stepped::Done { mark, .. }) = fixture.store().step(step(1, Vec::new())).await else {
        panic!("it is not done");
    };
    assert_eq!((mark.steps, mark.changed), (2, 1));
}

/// I18: a document whose version is spoilt is known to be, and can be written anew.
#[tokio::test]
async fn a_document_of_another_version_than_was_sealed_is_written_anew() {
    let node = Node::start();
    let fixture = fixture(&node);
    let key = DocumentKey { kind: DocumentKind::Source, name: "in".to_owned() };
    let put = |version| fixture.store().put_document(key.clone(), version, Some("{}".to_owned()), Vec::new());
    assert_eq!(put(0).await, Ok(Some(1)));
    let stored: &[&[u8]] = &[
        b"EVAL",
        b"local stored = redis.call('HGET', KEYS[1], 'in') redis.call('HSET', KEYS[1], 'in', '0000000000000000000' .. '3' .. string.sub(stored, 21))",
        b"1",
        b"crm-relay:{reg}:doc:1",
    ];
    node.ask(stored);
    let spoilt = fixture.store().document(key.clone()).await.expect("reads").expect("it is there");
    assert_eq!((spoilt.version, &spoilt.body[..]), (3, ""));
    assert_eq!(put(3).await, Ok(Some(4)));
    assert_eq!(fixture.store().document(key.clone()).await.expect("reads").map(|found| found.version), Some(4));
    assert_eq!(damaged(&fixture).await, 1);
}
