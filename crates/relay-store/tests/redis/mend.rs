//! Rows are the truth: whatever index is lost, it is made of them again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use relay_core::{
    delivery::{Delivery, State, cancel, outcome::Class},
    id::{DeliveryId, EventId, IdMint, InstanceId},
    jobs::{Action, Rules, Target},
    partitions::Partitions,
    storage::{
        About, Append, Dedupe, DueAsk, Ended, Forget, HeldAsk, LeaseAsk, LeaseOrder, Presence, Replay, Retire,
        StoreError,
    },
    time::Wall,
};
use relay_store::{
    conformance::{Fixture, at},
    redis::{Edges, FullProbe, Mended, Options, RedisStore},
    seam::{AuditEntry, AuditFilter, DeliveryFilter, DocumentKey, DocumentKind, EventFilter, Page, Queue as _},
    watch::Watch,
};

use crate::{backend::Shared, node::Node, proxy::Proxy};

const INDEXES: [&str; 12] = [
    "ready:crm:0:1",
    "back:crm:0",
    "due:crm:0",
    "tries:crm:0",
    "exp:crm",
    "leases",
    "done:crm",
    "ended:crm",
    "log:crm",
    "made:crm",
    "src:in",
    "lone",
];

/// I5: as many as there should be, and others: a missing entry and one too many are two faults, and not none. Looking changes nothing.
#[tokio::test]
async fn a_check_sees_which_stand_in_an_index() {
    let node = Node::start();
    let options = Options { full: Some(FullProbe::new(|| false)), ..Options::new(node.address()) };
    let store = RedisStore::open(options.clone());
    let mut fixture = Fixture::over(Shared::on(options), IdMint::new(0, 7));
    filled(&mut fixture).await;
    let found = store.inspect(Arc::default()).await.expect("it reads");
    assert!(found.is_healthy(), "{found:?}");
    let key = |name: &str| format!("crm-relay:{{00-23}}:{name}");
    let member = node.ask_raw(&[&[b"ZRANGE", key("exp:crm").as_bytes(), b"0", b"0"]]);
    let member = &member[member.len() - 18..member.len() - 2];
    let exp = key("exp:crm");
    node.ask_all(&[&[b"ZREM", exp.as_bytes(), member], &[b"ZADD", exp.as_bytes(), b"7", &[9; 16]]]);
    let before = node.ask(&[b"ZRANGE", exp.as_bytes(), b"0", b"-1"]);
    let found = store.inspect(Arc::default()).await.expect("it reads");
    assert_eq!(found.apart, ["1 places in indexes are missing", "1 entries of indexes lead nowhere, or elsewhere"]);
    assert_eq!(node.ask(&[b"ZRANGE", exp.as_bytes(), b"0", b"-1"]), before);
    store.mend().await.expect("it mends");
    let found = store.inspect(Arc::default()).await.expect("it reads");
    assert!(found.is_healthy(), "{found:?}");
}

/// Something in every state and every place, twice: ready, back from a lease, tried, leased, done, dead.
pub(crate) async fn filled(fixture: &mut Fixture<Shared>) -> Vec<DeliveryId> {
    let mut all = Vec::new();
    for round in 0..2 {
        let now = at(10 * round);
        for _ in 0..3 {
            all.push(fixture.accept("crm", now).await.id);
        }
        let held = fixture.lease("crm", now).await.deliveries;
        fixture.apply(change(&held[0], |next| next.state = State::Ready)).await;
        fixture
            .apply(change(&held[1], |next| {
                (next.state, next.tries, next.attempts) = (State::Scheduled, 1, 1);
                next.last = Some(attempt(&held[1]));
            }))
            .await;
        all.push(fixture.ended("crm", State::Delivered, now).await.id);
        all.push(fixture.ended("crm", State::Dead, now).await.id);
        all.push(fixture.accept("crm", now).await.id);
    }
    all
}

fn change(before: &Delivery, edit: impl FnOnce(&mut Delivery)) -> relay_core::delivery::Change {
    let mut next = Delivery { lease: None, version: before.version + 1, ..before.clone() };
    edit(&mut next);
    relay_core::delivery::Change { before: before.clone(), next, archive: None }
}

fn attempt(of: &Delivery) -> relay_core::delivery::Attempt {
    relay_core::delivery::Attempt {
        number: of.next_attempt(),
        at: at(1),
        duration_ms: 1,
        status: None,
        class: Class::Busy,
        counted: true,
        error: None,
        answer: None,
    }
}

/// I1: each index is lost in turn, and all of them; then everything is listed, waits, is held, expires and is retired as before.
#[tokio::test]
async fn a_lost_index_is_made_of_the_rows_again() {
    let node = Node::start();
    for lost in INDEXES.iter().map(|index| vec![*index]).chain([INDEXES.to_vec()]) {
        node.ask(&[b"FLUSHALL"]);
        let options = Options::new(node.address());
        let mut fixture = Fixture::over(Shared::at_hand(options.clone()), IdMint::new(0, 7));
        let all = filled(&mut fixture).await;
        let before = seen(&fixture).await;
        let store = RedisStore::open(options);
        let whole = store.mend().await.expect("mends");
        assert_eq!(whole, Mended { rows: 2 * all.len() as u64, ..Mended::default() }, "nothing is missing yet");
        for index in &lost {
            node.ask(&[b"DEL", format!("crm-relay:{{00-23}}:{index}").as_bytes()]);
        }
        let mended = store.mend().await.expect("mends");
        assert_eq!(mended.mended > 0, lost != ["lone"], "{lost:?}");
        assert_eq!(store.mend().await.map(|again| again.mended), Ok(0), "{lost:?}: once");
        assert_eq!(seen(&fixture).await, before, "{lost:?}");
        // All that waits is leased, and all that ended is retired.
        let leased = fixture.lease("crm", at(1_000)).await.deliveries;
        assert_eq!(leased.len(), 3, "{lost:?}");
        let rules =
            Rules { partitions: Partitions::ALL, now: at(1_000), delivered_before: at(900), dead_before: at(900) };
        assert_eq!(fixture.retain(rules, 10).await.deliveries, 4, "{lost:?}");
        fixture.check_sums().await;
    }
}

/// I1, I10, I13: a score is under no seal: where one says another time than its row, what stands there is put right, or it would wait, be
/// held or be kept for ever.
#[tokio::test]
async fn a_score_that_its_row_does_not_say_is_put_right() {
    let node = Node::start();
    for index in ["back:crm:0", "due:crm:0", "tries:crm:0", "exp:crm", "leases", "ended:crm", "made:crm"] {
        node.ask(&[b"FLUSHALL"]);
        let options = Options::new(node.address());
        let mut fixture = Fixture::over(Shared::at_hand(options.clone()), IdMint::new(0, 7));
        filled(&mut fixture).await;
        let (before, store) = (seen(&fixture).await, RedisStore::open(options));
        let key = format!("crm-relay:{{00-23}}:{index}");
        let ahead: &[u8] = b"for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], '9007199254740991', member) end";
        node.ask(&[b"EVAL", ahead, b"1", key.as_bytes()]);
        let mended = store.mend().await.expect("mends");
        assert!(mended.mended > 0, "{index}: {mended:?}");
        assert_eq!(store.mend().await.map(|again| again.mended + again.strays), Ok(0), "{index}: once");
        assert_eq!(seen(&fixture).await, before, "{index}");
        assert_eq!(fixture.lease("crm", at(1_000)).await.deliveries.len(), 3, "{index}");
        let rules =
            Rules { partitions: Partitions::ALL, now: at(1_000), delivered_before: at(900), dead_before: at(900) };
        assert_eq!(fixture.retain(rules, 10).await.deliveries, 4, "{index}");
        fixture.check_sums().await;
    }
}

/// I1: where one piece of a round is refused half way whenever it is tried, the round goes on behind it, and all else is put right.
#[tokio::test]
async fn a_round_goes_on_past_what_stays_unknown() {
    let node = Node::start();
    let options = Options { glance_every: Duration::from_millis(5), ..Options::new(node.address()) };
    let mut fixture = Fixture::over(Shared::at_hand(options.clone()), IdMint::new(0, 7));
    let store = RedisStore::open(options);
    // A listing behind whose last entry no other fits: what is missing in it cannot be put there.
    let done = fixture.ended("erp", State::Delivered, at(0)).await;
    node.ask(&[b"DEL", b"crm-relay:{00-23}:done:erp"]);
    let last = b"18446744073709551615-18446744073709551615";
    node.ask(&[b"XADD", b"crm-relay:{00-23}:done:erp", last, b"i", &done.id.as_u128().to_be_bytes()]);
    let mut waits = Vec::new();
    for second in 0..400 {
        waits.push(fixture.accept("crm", at(second)).await.id);
    }
    node.ask(&[b"DEL", b"crm-relay:{00-23}:exp:crm"]);
    // From now on it looks after everything.
    store.due(DueAsk::at(at(0), 1)).await.expect("reads");
    let began = tokio::time::Instant::now();
    loop {
        let expired = store.due(DueAsk::at(at(1_000_000), 1_000)).await.expect("reads").expired.len();
        // Those beside it in its piece wait for it.
        if expired > 200 && store.scrubbed().through.is_some() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{expired} of 400: {:?}", store.scrubbed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // And so does whoever is told to do it at once.
    node.ask(&[b"DEL", b"crm-relay:{00-23}:exp:crm"]);
    store.mend().await.expect("it goes on");
    assert!(store.due(DueAsk::at(at(1_000_000), 1_000)).await.expect("reads").expired.len() > 200);
    // None is anywhere where nobody leases it.
    let mut leased = Vec::new();
    for _ in 0..waits.len() {
        leased.extend(fixture.lease("crm", at(1_000)).await.deliveries.into_iter().map(|held| held.id));
        if leased.len() == waits.len() {
            break;
        }
    }
    leased.sort_unstable();
    waits.sort_unstable();
    assert!(leased == waits, "{} of {} are leased", leased.len(), waits.len());
}

/// I18: an answer that is lost, whichever it is, ends no mending: the same is done again.
#[tokio::test]
async fn mending_goes_on_past_an_answer_that_is_lost() {
    let node = Node::start();
    let proxy = Proxy::to(node.socket());
    let mut fixture = Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7));
    let all = filled(&mut fixture).await.len();
    let full = FullProbe::new(|| false);
    let store = RedisStore::open(Options { full: Some(full), hears: false, ..Options::new(proxy.address()) });
    store.mend().await.expect("nothing is in its way");
    for lost in 1..60 {
        node.ask(&[b"DEL", b"crm-relay:{00-23}:log:crm"]);
        proxy.lose_behind(lost);
        match store.mend().await {
            Ok(_) => {}
            // Of what only reads it is known that nothing was done, and it may be asked for again.
            Err(error) => assert_eq!(error, StoreError::Away, "behind {lost}"),
        }
        proxy.lose_behind(-1);
        store.mend().await.expect("nothing is in its way");
        let listed =
            fixture.store().browse_deliveries(DeliveryFilter::default(), Page { cursor: None, limit: 100 }).await;
        assert_eq!(listed.expect("reads").items.len(), all, "behind {lost}");
    }
    assert!(proxy.lost() > 30, "{}", proxy.lost());
    fixture.check_sums().await;
}

/// I5: counters are made again though somebody else begins to count in the midst of that.
#[tokio::test]
async fn counters_are_mended_beside_a_recount() {
    let node = Arc::new(Node::start());
    let mut fixture = Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7));
    filled(&mut fixture).await;
    node.ask(&[b"HSET", b"crm-relay:{00-23}:n", b"d:crm:1", b"99"]);
    let (other, begun) = (Arc::clone(&node), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&begun);
    // Before each of its commits, as long as that is the second of a count: what it has counted is somebody else's by then.
    let edges = Edges::new(move |_| {
        let tally = b"crm-relay:{00-23}:tally";
        if count.load(Ordering::SeqCst) < 2 && other.ask(&[b"EXISTS", tally]) == ":1\r\n" {
            other.ask(&[b"HSET", tally, b"run", b"another"]);
            count.fetch_add(1, Ordering::SeqCst);
        }
        false
    });
    let full = Some(FullProbe::new(|| false));
    let store = RedisStore::open(Options { full, hears: false, edges, ..Options::new(node.address()) });
    let mended = store.mend().await.expect("it counts again");
    assert_eq!((mended.counters, begun.load(Ordering::SeqCst)), (1, 2));
    fixture.check_sums().await;
}

/// I18: whoever reads everything reads what stands beside rows and events, too: a bit that flipped in any of it is named.
#[tokio::test]
async fn a_bit_that_flipped_anywhere_is_found() {
    let node = Node::start();
    let mut fixture = Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7));
    let dedupe = Dedupe { key: [7; 32], until: at(1_000) };
    let event = fixture.event_of(&dedupe, "in", b"{}", at(0));
    let append = Append { dedupe: Some(dedupe), ..fixture.appending(event, &["crm"]) };
    assert!(fixture.append(append.clone()).await.is_ok_and(|appended| appended.is_stored()));
    let (mut tried, event) = (append.deliveries[0].clone(), append.event.id);
    for _ in 0..2 {
        let archive = tried.last.clone();
        let change = change(&tried, |next| {
            (next.state, next.tries, next.attempts) = (State::Scheduled, tried.tries + 1, tried.attempts + 1);
            next.last = Some(attempt(&tried));
        });
        tried = fixture.apply(relay_core::delivery::Change { archive, ..change }).await;
    }
    let made =
        Delivery { id: fixture.mint.delivery(at(1)).beside(event), replay: true, ..append.deliveries[0].clone() };
    fixture.store().replay(Replay::anyway(vec![made]), Vec::new()).await.expect("it is stored");
    let cancel = fixture.command(Action::Cancel, Target::Ids([tried.id].into()), at(2));
    let job = cancel.job;
    fixture.run(cancel, at(2)).await;
    let document = DocumentKey { kind: DocumentKind::Token, name: "laptop".to_owned() };
    fixture.store().put_document(document, 0, Some("{}".into()), Vec::new()).await.expect("it is written");
    let line =
        AuditEntry { at: at(3), who: "cli".into(), action: "x".into(), subject: "y".into(), origin: String::new() };
    fixture.store().audit(vec![line]).await.expect("it is written");
    let inspected = async |watch: Watch| {
        let store = RedisStore::open(Options { full: Some(FullProbe::new(|| false)), ..Options::new(node.address()) });
        store.inspect(Arc::new(watch)).await.expect("it reads")
    };
    let found = inspected(Watch::default()).await;
    assert!(found.is_healthy() && (found.events, found.deliveries) == (1, 2), "{found:?}");

    let of = |kind: &str, id: &[u8]| [b"crm-relay:{00-23}:", kind.as_bytes(), id].concat();
    let (tries, named) = (of("t:", &tried.id.as_u128().to_be_bytes()), of("r:", &event.as_u128().to_be_bytes()));
    let (entry, mark) = (of("k:in:", &[7; 32]), of("step:", &job.as_u128().to_be_bytes()));
    let spoil = "local bytes = ... return string.sub(bytes, 1, -6) .. string.char((string.byte(bytes, -5) + 1) % 256) .. string.sub(bytes, -4)";
    let script = |put: &str| format!("local function spoil(...) {spoil} end {put} return 'done'");
    let string = "redis.call('SET', KEYS[1], spoil(redis.call('GET', KEYS[1])), 'KEEPTTL')";
    let cases: [(&str, &[u8], &str); 6] = [
        ("an attempt of dlv_", &tries, "redis.call('LSET', KEYS[1], 0, spoil(redis.call('LINDEX', KEYS[1], 0)))"),
        ("what was made of evt_", &named, string),
        ("a dedupe key of in", &entry, string),
        ("job_", &mark, string),
        (
            "document Token laptop",
            b"crm-relay:{reg}:doc:5",
            "redis.call('HSET', KEYS[1], 'laptop', spoil(redis.call('HGET', KEYS[1], 'laptop')))",
        ),
        (
            "line ",
            b"crm-relay:{reg}:audit",
            "local line = redis.call('XRANGE', KEYS[1], '-', '+')[1]
             redis.call('XADD', KEYS[1], '*', 'l', spoil(line[2][2]))",
        ),
    ];
    for (named, (begins, key, put)) in cases.into_iter().enumerate() {
        let said = node.ask(&[b"EVAL", script(put).as_bytes(), b"1", key]);
        assert_eq!(said, "$4\r\ndone\r\n", "{begins}");
        let found = inspected(Watch::default()).await;
        assert!(
            !found.is_healthy() && found.faults.iter().any(|fault| fault.starts_with(begins)),
            "{begins}: {found:?}"
        );
        assert_eq!(found.faults.len(), named + 1, "{found:?}");
    }
    accepted(&node, &mut fixture).await;
}

/// I5, I18: what does not read is taken out when that is asked for, with what belongs to it, and counted as lost; all else stays.
async fn accepted(node: &Node, fixture: &mut Fixture<Shared>) {
    let kept = fixture.accept("crm", at(10)).await;
    let (row, event) = (fixture.accept("crm", at(11)).await, fixture.accept("crm", at(12)).await);
    let of = |kind: &str, id: u128| [b"crm-relay:{00-23}:", kind.as_bytes(), &id.to_be_bytes()[..]].concat();
    node.flip(&of("d:", row.id.as_u128()), 260, 3);
    node.flip(&of("e:", event.event.as_u128()), 80, 3);
    let full = || Some(FullProbe::new(|| false));
    let open = || RedisStore::open(Options { full: full(), ..Options::new(node.address()) });
    let store = open();
    let found = store.inspect(Arc::default()).await.expect("it reads");
    // The name that does not read names nothing.
    assert_eq!((found.faults.len(), &found.apart[..]), (8, &["1 places in indexes are missing".to_owned()][..]));
    let taken = store.accept_loss().await.expect("it is taken out");
    let named = |wanted: &str| taken.iter().any(|taken| taken.starts_with(wanted));
    for wanted in [
        &row.id.to_string()[..],
        &event.event.to_string(),
        &event.id.to_string(),
        "an attempt of dlv_",
        "what was made of evt_",
        "a dedupe key of in",
        "job_",
        "document Token laptop",
        "line ",
    ] {
        assert!(named(wanted), "{wanted}: {taken:?}");
    }
    assert_eq!(taken.len(), 9, "{taken:?}");
    let store = open();
    let found = store.inspect(Arc::default()).await.expect("it reads");
    assert!(found.is_healthy(), "{found:?}");
    assert_eq!(fixture.find(kept.id).await, Some(kept));
    assert_eq!((fixture.find(row.id).await, fixture.find(event.id).await), (None, None));
    assert_eq!(fixture.counters("crm").await.lost, 2);
    let filter = AuditFilter { action: Some("store.accept-loss".into()), ..AuditFilter::default() };
    let lines = fixture.store().browse_audit(filter, Page { cursor: None, limit: 10 }).await.expect("reads").items;
    assert!(lines.len() == 1 && lines[0].subject.contains(&row.id.to_string()), "{lines:?}");
    // The event that only the row belonged to is one without a delivery, and goes as such.
    assert_eq!(store.accept_loss().await, Ok(Vec::new()), "once");
}

/// I18: what was not read to its end is not told to be healthy.
#[tokio::test]
async fn who_is_stopped_does_not_say_that_all_is_well() {
    let node = Node::start();
    let mut fixture = Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7));
    fixture.accept("crm", at(0)).await;
    let store = RedisStore::open(Options { full: Some(FullProbe::new(|| false)), ..Options::new(node.address()) });
    let watch = Watch::default();
    watch.stop();
    let found = store.inspect(Arc::new(watch)).await.expect("it reads");
    assert!(!found.is_whole && !found.is_healthy() && found.faults.is_empty(), "{found:?}");
}

/// I2: a body that was set, and whose script did not run, is no event, and goes after an hour; one that is young stays, for its script may
/// still run. An event that nobody wanted stays, in whatever index it is missing.
#[tokio::test]
async fn a_body_without_its_script_is_taken_away() {
    let node = Node::start();
    let options = Options::new(node.address());
    let mut fixture = Fixture::over(Shared::at_hand(options.clone()), IdMint::new(0, 7));
    let store = RedisStore::open(options);
    let old = Wall::from_micros(1_600_000_000_000_000);
    let stored = fixture.accept("crm", old).await;
    let key = |event: EventId| [b"crm-relay:{00-23}:e:", &event.as_u128().to_be_bytes()[..]].concat();
    // What a transaction leaves behind whose script was refused.
    let mut left = Vec::new();
    for now in [old, at(0)] {
        let event = fixture.event("in", b"{}", now);
        let id = event.id;
        let append = fixture.appending(event, &["crm"]);
        assert!(fixture.append(append.clone()).await.is_ok_and(|appended| appended.is_stored()));
        node.ask(&[b"COPY", &key(id), b"kept"]);
        let ended = fixture.apply(change(&append.deliveries[0], |next| next.state = State::Cancelled)).await;
        let forget = Forget {
            partitions: Partitions::ALL,
            keys_until: at(0),
            unrouted_before: old,
            jobs_before: at(0),
            audit_before: at(0),
        };
        let ended = Ended::of(&ended).into_iter().collect();
        fixture.store().retire(Retire { ended, more: false, forget }).await.expect("retires");
        node.ask(&[b"RENAME", b"kept", &key(id)]);
        left.push(id);
    }
    let event = fixture.event("in", b"{}", old);
    let lone = event.id;
    let append = fixture.appending(event, &[]);
    assert!(fixture.append(append).await.is_ok_and(|appended| appended.is_stored()));
    node.ask(&[b"DEL", b"crm-relay:{00-23}:lone"]);

    assert_eq!(store.mend().await, Ok(Mended { rows: 5, mended: 1, orphans: 1, ..Mended::default() }));
    assert_eq!(store.mend().await, Ok(Mended { rows: 4, ..Mended::default() }));
    let there = async |event| fixture.store().event(event).await.expect("reads").is_some();
    assert!(!there(left[0]).await && there(left[1]).await && there(lone).await && there(stored.event).await);
    fixture.check_sums().await;
}

/// R11: the consumer of a run that is gone goes, once nothing is pending with it; those of others stay.
#[tokio::test]
async fn consumers_of_runs_that_are_gone_go() {
    let node = Node::start();
    let options = Options { consumers_idle: Duration::ZERO, ..Options::new(node.address()) };
    let mut fixture = Fixture::over(Shared::at_hand(options.clone()), IdMint::new(0, 7));
    let store = RedisStore::open(options);
    let mut held = Vec::new();
    for run in 1..4 {
        fixture.accept("crm", at(run)).await;
        let ask = LeaseAsk {
            destination: "crm".parse().expect("a name"),
            instance: InstanceId::from_u128(5),
            nonce: run,
            until: at(100),
            now: at(run),
            limit: 1,
            tried_max: 9,
            order: LeaseOrder::Shared { tried: 0 },
            partitions: Partitions::ALL,
        };
        held.extend(store.lease(ask).await.expect("leases").deliveries);
    }
    // The first still holds something, the second ended all it held, and the third is heard of.
    for held in &held[1..] {
        fixture.apply(cancel(held, at(10))).await;
    }
    let mine = Presence {
        run: 3,
        at: at(10),
        server: About::default(),
        stopping: false,
        clock: None,
        clients: Vec::new(),
        circuits: Vec::new(),
    };
    store.presence(mine).await.expect("it is taken down");
    let consumers = || {
        let all = node.ask(&[b"XINFO", b"CONSUMERS", b"crm-relay:{00-23}:ready:crm:0:1", b"relay"]);
        (1..4).filter(|run| all.contains(&format!("relay:{run:016x}"))).collect::<Vec<u64>>()
    };
    assert_eq!(consumers(), [1, 2, 3]);
    assert_eq!(store.mend().await.map(|mended| mended.consumers), Ok(1));
    assert_eq!(consumers(), [1, 3]);
    fixture.apply(cancel(&held[0], at(11))).await;
    assert_eq!(store.mend().await.map(|mended| mended.consumers), Ok(1));
    assert_eq!(consumers(), [3]);
    fixture.check_sums().await;
}

/// What can be seen of it: listings, what is due and expired, what is held.
pub(crate) async fn seen(
    fixture: &Fixture<Shared>,
) -> (Vec<DeliveryId>, usize, Vec<DeliveryId>, Vec<DeliveryId>, bool) {
    let page = Page { cursor: None, limit: 100 };
    let store = fixture.store();
    let ids = |all: Vec<Delivery>| all.into_iter().map(|found| found.id).collect::<Vec<_>>();
    let listed = store.browse_deliveries(DeliveryFilter::default(), page.clone()).await.expect("reads").items;
    let events = store.browse_events(EventFilter::default(), page).await.expect("reads").items.len();
    let late = store.due(DueAsk::at(at(1_000_000), 100)).await.expect("reads");
    let mut expired = ids(late.expired);
    expired.sort_unstable();
    let held = store.held(HeldAsk::all(None, 100)).await.expect("reads");
    (ids(listed), events, expired, ids(held), late.destinations[0].next_due == Some(at(0)))
}
