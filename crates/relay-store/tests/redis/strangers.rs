//! What somebody puts where only we write: of the right type, and nonsense all the same. It ends nothing, keeps nothing else waiting,
//! and goes or stays as if it were not there.

use std::{sync::Arc, time::Duration};

use relay_core::{
    delivery::{Delivery, hand_back},
    id::{DeliveryId, IdMint, InstanceId},
    partitions::Partitions,
    storage::{About, Append, DueAsk, HeldAsk, LeaseAsk, LeaseEnd, LeaseOrder, OverAsk, Presence},
};
use relay_store::{
    conformance::{Fixture, at},
    redis::{FullProbe, Options, RedisStore},
    seam::{AuditEntry, DocumentKey, DocumentKind, Queue as _, Registry as _, Upkeep as _},
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    backend::Shared,
    mend::{filled, seen},
    node::Node,
};

/// Longer than anything here takes: what goes round for ever is seen by it.
const PATIENCE: Duration = Duration::from_secs(60);
/// The last place of a stream.
const LAST: &[u8] = b"18446744073709551615-18446744073709551615";

/// With nothing that looks after anything by itself.
fn at_hand(node: &Node) -> Options {
    Options { full: Some(FullProbe::new(|| false)), hears: false, ..Options::new(node.address()) }
}

fn fixture(node: &Node) -> Fixture<Shared> {
    Fixture::over(Shared::at_hand(Options::new(node.address())), IdMint::new(0, 7))
}

fn says(run: u64) -> Presence {
    Presence {
        run,
        at: at(run),
        server: About::default(),
        stopping: false,
        clock: None,
        clients: Vec::new(),
        circuits: Vec::new(),
    }
}

/// I19, I24: a field among those of runs that is no run's is nobody: whoever comes sees the others, and it goes.
#[tokio::test]
async fn what_is_no_run_keeps_no_server_from_the_others() {
    let node = Node::start();
    let store = RedisStore::open(at_hand(&node));
    store.begin().await.expect("it keeps what it is given");
    store.presence(says(1)).await.expect("it is taken down");
    let runs = b"crm-relay:{reg}:runs";
    for name in [&b"foo"[..], b"", b"\xff\xfe", b"nine_long"] {
        node.ask(&[b"HSET", runs, name, b"9999999999999999"]);
    }
    assert!(store.examine().await.is_ok(), "whoever looks only sees what is there");
    let others = store.presence(says(2)).await.expect("a second server begins");
    assert_eq!(others.iter().map(|said| said.run).collect::<Vec<_>>(), [1]);
    assert_eq!(node.ask(&[b"HLEN", runs]), ":2\r\n", "they are gone");
}

/// I13, I15, I24: whatever score a stranger gives, all is due, counted, listed and retired as far as it is known, and put right by rows.
#[tokio::test]
async fn a_score_that_is_no_moment_hides_nothing() {
    let node = Node::start();
    for index in ["back:crm:0", "due:crm:0", "tries:crm:0", "exp:crm", "leases", "ended:crm", "made:crm"] {
        for score in ["1.5", "inf", "-inf", "1e300", "-1e300"] {
            node.ask(&[b"FLUSHALL"]);
            let mut fixture = fixture(&node);
            filled(&mut fixture).await;
            let (before, store) = (seen(&fixture).await, RedisStore::open(at_hand(&node)));
            let key = format!("crm-relay:{{00-23}}:{index}");
            let all = b"for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], ARGV[1], member) end";
            node.ask(&[b"EVAL", all, b"1", key.as_bytes(), score.as_bytes()]);
            let what = format!("{index}: {score}");
            reads(&store, &what).await;
            assert!(store.mend().await.is_ok_and(|mended| mended.mended > 0), "{what}");
            assert_eq!(store.mend().await.map(|again| again.mended + again.strays), Ok(0), "{what}: once");
            assert_eq!(seen(&fixture).await, before, "{what}");
            fixture.check_sums().await;
        }
    }
}

/// Everything that asks for moments.
async fn reads(store: &RedisStore, what: &str) {
    let late = at(1_000_000);
    let due = store.due(DueAsk { lapsed_by: Some(late), ..DueAsk::at(late, 100) }).await;
    assert!(due.as_ref().is_ok_and(|due| due.destinations.len() == 1), "{what}: {due:?}");
    assert!(store.stats().await.is_ok(), "{what}");
    let ask = OverAsk { delivered_before: late, dead_before: late, limit: 100, partitions: Partitions::ALL };
    assert!(store.over(ask).await.is_ok_and(|over| over.len() >= 2), "{what}");
    assert!(store.held(HeldAsk::all(None, 100)).await.is_ok(), "{what}");
    assert!(store.recount().await.is_ok(), "{what}");
}

/// I24: an entry at the last place of a stream, whose millisecond is no moment, ends nothing.
#[tokio::test]
async fn an_entry_at_the_last_place_ends_nothing() {
    let node = Node::start();
    let mut fixture = fixture(&node);
    filled(&mut fixture).await;
    let store = RedisStore::open(at_hand(&node));
    // Nothing is left in the stream but what a stranger puts there.
    for held in fixture.lease("crm", at(50)).await.deliveries {
        fixture.apply(hand_back(&held, held.claim(), at(51)).expect("it is held")).await;
    }
    for stream in ["{00-23}:ready:crm:0:1", "{00-23}:gone", "{reg}:accepted"] {
        node.ask(&[b"XADD", format!("crm-relay:{stream}").as_bytes(), LAST, b"i", &[9; 16]]);
    }
    reads(&store, "the last place").await;
    assert_eq!(fixture.lease("crm", at(60)).await.deliveries.len(), 3);
    assert!(store.examine().await.is_ok());
}

/// I18: `--accept-loss` ends at a line at the last place of a log, whether that reads or is taken out.
#[tokio::test]
async fn a_line_at_the_last_place_is_the_last_that_is_looked_at() {
    let node = Node::start();
    let log = b"crm-relay:{00-23}:audit";
    for reads in [true, false] {
        node.ask(&[b"FLUSHALL"]);
        let mut fixture = fixture(&node);
        fixture.accept("crm", at(0)).await;
        let (who, action) = ("cli".to_owned(), "a.test".to_owned());
        let line = AuditEntry { at: at(0), who, action, subject: String::new(), origin: String::new() };
        fixture.store().audit(vec![line]).await.expect("it is written");
        let copy = b"redis.call('XADD', KEYS[2], ARGV[1], 'l', redis.call('XRANGE', KEYS[1], '-', '+')[1][2][2])";
        if reads {
            node.ask(&[b"EVAL", copy, b"2", b"crm-relay:{reg}:audit", log, LAST]);
        } else {
            node.ask(&[b"XADD", log, LAST, b"l", b"nonsense"]);
        }
        assert_eq!(node.ask(&[b"XLEN", log]), ":1\r\n");
        let store = RedisStore::open(at_hand(&node));
        store.inspect(Arc::default()).await.expect("it reads");
        let taken = timeout(PATIENCE, store.accept_loss()).await.expect("it ends").expect("it is done");
        assert_eq!(taken.len(), usize::from(!reads), "{taken:?}");
        assert_eq!(timeout(PATIENCE, store.accept_loss()).await, Ok(Ok(Vec::new())), "once");
    }
}

/// I18, I21: a document whose name is no text is nobody's: it is named, taken out where that is asked for, once, and keeps no other from
/// being read.
#[tokio::test]
async fn a_document_whose_name_is_no_text_is_taken_out_once() {
    let node = Node::start();
    let options = at_hand(&node);
    let store = RedisStore::open(options.clone());
    store.begin().await.expect("it keeps what it is given");
    let key = DocumentKey { kind: DocumentKind::Source, name: "in".to_owned() };
    store.put_document(key.clone(), 0, Some("{}".into()), Vec::new()).await.expect("it is written");
    for name in [&b"\xff"[..], b"\xfe"] {
        node.ask(&[b"HSET", b"crm-relay:{reg}:doc:1", name, b"nonsense"]);
    }
    let read = store.documents(DocumentKind::Source).await.expect("reads");
    assert_eq!(read.iter().map(|document| &document.key).collect::<Vec<_>>(), [&key]);
    let store = RedisStore::open(options.clone());
    let faults = store.inspect(Arc::default()).await.expect("it reads").faults;
    assert_eq!(
        faults.iter().filter(|fault| fault.starts_with("document Source of the name 0x")).count(),
        2,
        "{faults:?}"
    );
    let mut taken = store.accept_loss().await.expect("they are taken out");
    taken.sort_unstable();
    assert_eq!(taken, ["document Source of the name 0xfe", "document Source of the name 0xff"].map(str::to_owned));
    assert_eq!(store.accept_loss().await, Ok(Vec::new()), "once");
    assert_eq!(RedisStore::open(options).documents(DocumentKind::Source).await.map(|all| all.len()), Ok(1));
}

/// I21: a version of the registry that is no number is given anew, by a server that has just begun as well; what is written meanwhile is
/// written, and nothing is lost.
#[tokio::test]
async fn a_version_that_is_no_number_is_given_anew() {
    let node = Node::start();
    let store = RedisStore::open(at_hand(&node));
    store.begin().await.expect("it keeps what it is given");
    let key = |name: &str| DocumentKey { kind: DocumentKind::Source, name: name.to_owned() };
    assert_eq!(store.put_document(key("one"), 0, Some("{}".into()), Vec::new()).await, Ok(Some(1)));
    let version = b"crm-relay:{reg}:version";
    for (number, nonsense) in [&b"abc"[..], b"", b"-7", b" 7", b"007", b"99999999999999999999"].into_iter().enumerate()
    {
        node.ask(&[b"SET", version, nonsense]);
        let told = store.version().await;
        assert!(told.as_ref().is_ok_and(|told| *told > Some(0)), "documents were written: {told:?}");
        assert_eq!(store.documents(DocumentKind::Source).await.map(|all| all.len()), Ok(number + 1));
        // Whoever writes heals it.
        let name = format!("n{number}");
        assert_eq!(store.put_document(key(&name), 0, Some("{}".into()), Vec::new()).await, Ok(Some(1)));
        assert_ne!(node.ask(&[b"GET", version]).as_bytes(), [&b"$3\r\n"[..], nonsense, b"\r\n"].concat());
        // And whoever looks, though nobody writes.
        node.ask(&[b"SET", version, nonsense]);
        let looks =
            RedisStore::open(Options { glance_every: Duration::from_millis(5), ..Options::new(node.address()) });
        looks.begin().await.expect("it keeps what it is given");
        let began = Instant::now();
        while store.version().await == told {
            assert!(began.elapsed() < PATIENCE, "{:?} stays", String::from_utf8_lossy(nonsense));
            sleep(Duration::from_millis(5)).await;
        }
        let read = looks.documents(DocumentKind::Source).await.map(|all| all.len());
        assert_eq!(read, Ok(number + 2));
    }
}

/// I15: a counter that does not read, or counters that are of another type, in one of sixteen partitions keep nothing in the others
/// waiting.
#[tokio::test]
async fn a_spoilt_counter_keeps_no_other_partition_waiting() {
    let node = Node::start();
    let is_retyped = [false, true];
    for is_retyped in is_retyped {
        node.ask(&[b"FLUSHALL"]);
        let options = Options { partitions: 16, ..Options::new(node.address()) };
        let mut fixture = Fixture::over(Shared::at_hand(options), IdMint::new(0, 7));
        let mut all = Vec::new();
        for second in 0..64 {
            all.push(fixture.accept("crm", at(second)).await.id);
        }
        let spoilt = all[0].partition().number() % 16;
        let is_there = |id: &DeliveryId| id.partition().number() % 16 == spoilt;
        let found = node.ask(&[b"KEYS", b"crm-relay:{*}:n"]);
        let of_first = |counters: &&str| {
            let row = [counters.trim_end_matches('n').as_bytes(), b"d:", &all[0].as_u128().to_be_bytes()[..]].concat();
            counters.starts_with("crm-relay") && node.ask(&[b"EXISTS", &row]) == ":1\r\n"
        };
        let counters = found.lines().find(of_first).expect("it is somewhere");
        if is_retyped {
            node.ask_all(&[&[b"DEL", counters.as_bytes()], &[b"SET", counters.as_bytes(), b"x"]]);
        } else {
            node.ask(&[b"HSET", counters.as_bytes(), b"d:crm:1", b"abc"]);
        }
        let mut leased = Vec::new();
        for second in 100..200 {
            let ask = LeaseAsk { limit: 8, ..asking(at(second)) };
            let part = fixture.store().lease(ask).await.expect("the others give theirs");
            leased.extend(part.deliveries.iter().map(|held| held.id));
            if part.end != LeaseEnd::More {
                break;
            }
        }
        let mut wanted: Vec<DeliveryId> = all.into_iter().filter(|id| !is_retyped || !is_there(id)).collect();
        wanted.sort_unstable();
        leased.sort_unstable();
        assert_eq!(leased, wanted, "{is_retyped}");
        let due = fixture.store().due(DueAsk::at(at(200), 9)).await;
        assert!(due.is_ok(), "{due:?}");
        assert!(fixture.store().stats().await.is_ok());
    }
}

fn asking(now: relay_core::time::Wall) -> LeaseAsk {
    LeaseAsk {
        destination: "crm".parse().expect("a name"),
        instance: InstanceId::from_u128(5),
        nonce: 9,
        until: now + Duration::from_hours(1),
        now,
        limit: 64,
        tried_max: 9,
        order: LeaseOrder::Shared { tried: 2 },
        partitions: Partitions::ALL,
    }
}

/// I13, I15: what stands in front of everything and is nobody's is passed over page by page, however much of it there is.
#[tokio::test]
async fn many_members_that_are_nobodys_are_passed_over() {
    let node = Node::start();
    let mut fixture = fixture(&node);
    let waits = fixture.accept("crm", at(0)).await;
    let held = fixture.accept("erp", at(0)).await;
    assert_eq!(fixture.lease("erp", at(1)).await.deliveries.len(), 1);
    let fill =
        b"for number = 1, 20000 do redis.call('ZADD', KEYS[1], 1, string.format('%016d', number) .. ARGV[1]) end";
    for (index, tail) in [("exp:crm", ""), ("leases", "0123456789abcdef"), ("lone", ""), ("steps", "")] {
        node.ask(&[b"EVAL", fill, b"1", format!("crm-relay:{{00-23}}:{index}").as_bytes(), tail.as_bytes()]);
    }
    node.ask_all(&[
        &[b"CONFIG", b"SET", b"slowlog-log-slower-than", b"0"],
        &[b"CONFIG", b"SET", b"slowlog-max-len", b"10000"],
    ]);
    let late = at(1_000_000);
    let due = fixture.store().due(DueAsk { lapsed_by: Some(late), ..DueAsk::at(late, 10) }).await.expect("reads");
    let ids = |all: Vec<Delivery>| all.into_iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!((ids(due.expired), ids(due.lapsed)), (vec![waits.id], vec![held.id]));
    let rules = relay_core::jobs::Rules {
        partitions: Partitions::ALL,
        now: late,
        delivered_before: at(900_000),
        dead_before: at(900_000),
    };
    fixture.retain(rules, 10).await;
    let asked = node.ask(&[b"SLOWLOG", b"GET", b"10000"]);
    let lines: Vec<&str> = asked.lines().collect();
    let number = |at: usize| lines.get(at).and_then(|line| line.parse::<usize>().ok()).unwrap_or_default();
    let pages: Vec<(usize, usize)> =
        (0..lines.len()).filter(|at| lines[*at] == "LIMIT").map(|at| (number(at + 2), number(at + 4))).collect();
    let (farthest, largest) =
        pages.iter().fold((0, 0), |(far, large), (behind, count)| (far.max(*behind), large.max(*count)));
    assert!(farthest > 15_000, "all of them were passed over: {pages:?}");
    assert!(largest <= 4_096, "{largest} in one answer");
}

/// I15: a partition that is gone through keeps no other waiting for it, however large it is.
#[tokio::test]
async fn a_large_partition_keeps_no_other_from_being_mended() {
    let node = Node::start();
    let options = Options { partitions: 2, ..Options::new(node.address()) };
    let mut fixture = Fixture::over(Shared::at_hand(options.clone()), IdMint::new(0, 7));
    for second in 0..40 {
        let mut batch: Vec<Append> = Vec::new();
        for _ in 0..64 {
            let event = fixture.event("in", b"{}", at(second));
            batch.push(fixture.appending(event, &["crm"]));
        }
        assert!(fixture.store().append(batch).await.iter().all(Result::is_ok));
    }
    let keys = node.ask(&[b"KEYS", b"crm-relay:{*}:exp:crm"]);
    let mut keys: Vec<&str> = keys.lines().filter(|line| line.starts_with("crm-relay")).collect();
    let first = Options { partitions: 2, ..options.clone() };
    keys.sort_unstable();
    let [one, other] = keys[..] else { panic!("there are two: {keys:?}") };
    // Of the one a member is nobody's, which is found when its indexes are gone through, behind all rows; the other is of another type,
    // which is found first of all.
    let stray = [9; 16];
    let store = RedisStore::open(Options { glance_every: Duration::from_millis(5), hears: false, ..first });
    for (large, small) in [(one, other), (other, one)] {
        node.ask(&[b"ZADD", large.as_bytes(), b"7", &stray]);
        node.ask_all(&[&[b"DEL", small.as_bytes()], &[b"SET", small.as_bytes(), b"x"]]);
        store.due(DueAsk::at(at(0), 1)).await.expect("reads");
        let began = Instant::now();
        while node.ask(&[b"TYPE", small.as_bytes()]).starts_with("+string") {
            assert!(began.elapsed() < PATIENCE, "{:?}", store.scrubbed());
            sleep(Duration::from_millis(2)).await;
        }
        assert!(node.ask(&[b"ZSCORE", large.as_bytes(), &stray]).contains('7'), "it is not gone through yet");
        while node.ask(&[b"ZSCORE", large.as_bytes(), &stray]).contains('7') {
            assert!(began.elapsed() < PATIENCE, "{:?}", store.scrubbed());
            sleep(Duration::from_millis(2)).await;
        }
    }
    fixture.check_sums().await;
}
