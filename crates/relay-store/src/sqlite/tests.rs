//! What only this backend can show: files, crashes between the steps of a commit, a full disk, damage.

mod accepted;
mod copies;
mod erase;
mod format;
mod full_disk;
mod jobs;
mod log;
mod loss;
mod marks;
mod retire;
mod rot;
mod sealed;

use std::{
    path::Path,
    sync::{
        Barrier, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use aws_lc_rs::digest;
use bytes::Bytes;
use relay_core::{
    delivery::{Lease, State, Token},
    id::{IdMint, InstanceId},
    name::Name,
    partitions::Partitions,
    storage::{Dedupe, HeldAsk, LeaseEnd, LeaseOrder, Replay, Replayed},
};

use self::retire::{ended_before, retain};
use super::{
    files::ledger,
    verify::{bookmark, indexes, scrub},
    *,
};
use crate::copy::{Backup, Piece};

const NOW: Wall = Wall::from_micros(1_800_000_000_000_000);
const TTL: Duration = Duration::from_hours(1);

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A program that looks into the file for a moment, or copies it, does not end the server.
#[test]
fn a_lock_of_somebody_else_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(open(dir.path()));
    let path = dir.path().join("store.db");
    let edges = Edges::new(move |edge| {
        if edge == Edge::BeforeBegin {
            let other = rusqlite::Connection::open(&path).expect("opens");
            other.execute_batch("BEGIN IMMEDIATE").expect("locks");
            // How long it looks into the file.
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                other.execute_batch("ROLLBACK").expect("unlocks");
            });
        }
        EdgeAction::Continue
    });
    let store = SqliteStore::open(Options { edges, ..options(dir.path()) }).expect("opens");
    assert!(append_one(&store, &Maker::new(&store).append("waits", NOW)).is_ok_and(|found| found.is_stored()));
    assert!(!store.status.has_failed());
}

/// What is leased is read while the lease is committed: whoever asks for it then waits for no reader.
#[test]
fn the_bodies_of_what_is_leased_are_at_hand() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let stored: Vec<_> = (0..20).map(|n| maker.append(&format!("body {n}"), NOW)).collect();
    for one in &stored {
        append_one(&store, one).expect("stored");
    }
    let held = wait(store.lease(lease_ask(20))).expect("leases").deliveries;
    wait_for_readers(&store);
    let of: Vec<_> = held.iter().map(|held| BodyOf { delivery: held.id, event: held.event }).collect();
    let is_stored = |events: &[Option<Arc<Event>>]| events.iter().flatten().eq(stored.iter().map(|one| &one.event));
    let now = store.bodies(of.clone()).as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(now, Poll::Ready(Ok(events)) if is_stored(&events)), "here, in the order that was asked for");
    assert!(is_stored(&wait(store.bodies(of)).expect("reads")), "and read again where they were given before");
}

fn options(dir: &Path) -> Options {
    Options { disk_reserve: 0, clock: Arc::new(|| NOW), ..Options::new(dir) }
}

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(options(dir)).expect("opens")
}

/// Until what was read ahead is read: once all readers are at the same place, they are done with what came before.
fn wait_for_readers(store: &SqliteStore) {
    let place = Arc::new(Barrier::new(READERS));
    let there = (0..READERS).map(|_| Arc::clone(&place)).map(|place| {
        store.read(move |_, _| {
            place.wait();
            Ok(())
        })
    });
    for reader in there.collect::<Vec<_>>() {
        wait(reader).expect("reads");
    }
}

fn wait<T>(later: Later<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(Duration::from_mins(1), later).await.expect("an answer") })
}

struct Maker {
    mint: IdMint,
}

impl Maker {
    fn new(store: &SqliteStore) -> Self {
        let floor = wait(store.stats()).expect("stats").id_floor;
        Self { mint: IdMint::new(floor, 1) }
    }

    fn append(&mut self, body: &str, now: Wall) -> Append {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let mut body_sha256 = [0; 32];
        body_sha256.copy_from_slice(digest::digest(&digest::SHA256, &body).as_ref());
        let event = Event {
            id: self.mint.event(now),
            source: name("stripe"),
            method: Bytes::from_static(b"POST"),
            path: Bytes::from_static(b"/webhook/stripe"),
            query: None,
            headers: vec![(Bytes::from_static(b"content-type"), Bytes::from_static(b"text/plain"))],
            body,
            body_sha256,
            received_at: now,
            name: None,
            key: None,
        };
        let delivery = Delivery::ready(self.mint.delivery(now), &event, name("crm"), false, now, TTL);
        Append { event: Arc::new(event), deliveries: vec![delivery], dedupe: None, deadline: NOW + TTL }
    }
}

/// The events of these.
fn bodies(store: &SqliteStore, of: &[Delivery]) -> Vec<Option<Arc<Event>>> {
    let of = of.iter().map(|held| BodyOf { delivery: held.id, event: held.event }).collect();
    wait(store.bodies(of)).expect("reads")
}

fn lease_ask(limit: u32) -> LeaseAsk {
    LeaseAsk {
        destination: name("crm"),
        instance: InstanceId::from_u128(5),
        nonce: 99,
        until: NOW + Duration::from_mins(1),
        now: NOW,
        limit,
        tried_max: u32::MAX,
        order: LeaseOrder::Shared { tried: 0 },
        partitions: Partitions::ALL,
    }
}

fn delivered(before: &Delivery) -> Change {
    let next = Delivery {
        version: before.version + 1,
        state: State::Delivered,
        lease: None,
        changed_at: NOW,
        ..before.clone()
    };
    Change { before: before.clone(), next, archive: None }
}

/// Takes a backup into a directory, as the command does.
fn back_up(store: &SqliteStore, into: &Path) -> Backup {
    let copying = wait(store.backup()).expect("begins");
    take(copying, into)
}

/// Takes what is left of a copy.
fn take(mut copying: Copying, into: &Path) -> Backup {
    let mut bytes = Vec::new();
    while let Some(piece) = copying.pieces.blocking_recv() {
        match piece.expect("goes on") {
            Piece::Bytes(piece) => bytes.extend_from_slice(&piece),
            Piece::End(manifest) => {
                assert_eq!(manifest.backup, copying.backup);
                std::fs::create_dir(into).expect("makes");
                std::fs::write(into.join("store.db"), &bytes).expect("writes");
                let text = serde_json::to_vec(&*manifest).expect("has a text");
                std::fs::write(into.join("manifest.json"), text).expect("writes");
                assert_eq!(manifest.backup.bytes, bytes.len() as u64);
                return copying.backup;
            }
        }
    }
    panic!("the stream just stopped")
}

fn append_one(store: &SqliteStore, append: &Append) -> Result<Appended, AppendError> {
    wait(store.append(vec![append.clone()])).remove(0)
}

/// I1, I3: what was answered is there after a reopening, byte for byte.
#[test]
fn what_was_stored_is_there_after_a_reopening() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let append = Maker::new(&store).append("hello", NOW);
    assert!(append_one(&store, &append).is_ok_and(|found| found.is_stored()));
    drop(store);
    let store = open(dir.path());
    assert_eq!(wait(store.event(append.event.id)), Ok(Some(Arc::clone(&append.event))));
    assert_eq!(wait(store.find(vec![append.deliveries[0].id])), Ok(vec![Some(append.deliveries[0].clone())]));
    wait(store.close());
    assert_eq!(append_one(&store, &append), Err(AppendError::Unavailable));
}

/// I7: a lease carries its fence, and only the change that was decided on the stored record is applied.
#[test]
fn a_lease_is_settled_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let (first, second) = (maker.append("1", NOW), maker.append("2", NOW + Duration::from_secs(5)));
    append_one(&store, &first).expect("stored");
    append_one(&store, &second).expect("stored");
    let leased = wait(store.lease(lease_ask(10))).expect("leases");
    assert_eq!(leased.end, LeaseEnd::Drained { next_due: Some(NOW + Duration::from_secs(5)) });
    let [held] = leased.deliveries.try_into().expect("one is due");
    assert_eq!(bodies(&store, std::slice::from_ref(&held)), [Some(Arc::clone(&first.event))]);
    assert_eq!(held.token, Token { counter: 1, nonce: 99 });
    assert_eq!(wait(store.held(HeldAsk::all(None, 10))), Ok(vec![held.clone()]));
    let change = delivered(&held);
    assert_eq!(wait(store.settle(vec![change.clone()])), Ok(vec![Changed::Applied]));
    let again = wait(store.settle(vec![change.clone()]));
    assert_eq!(again, Ok(vec![Changed::Conflict(Some(Box::new(change.next)))]));
    let stats = wait(store.stats()).expect("stats");
    assert_eq!(stats.destinations[0].states, [1, 0, 0, 1, 0, 0, 0]);
    assert_eq!(stats.destinations[0].oldest_due, Some(NOW + Duration::from_secs(5)));
}

/// I20: repeats make one event, also within one batch and after a crash.
#[test]
fn a_repeat_finds_the_first_event() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let dedupe = Some(Dedupe { key: [7; 32], until: NOW + TTL });
    let first = Append { dedupe: dedupe.clone(), ..maker.append("1", NOW) };
    let second = Append { dedupe: dedupe.clone(), ..maker.append("2", NOW) };
    let late = Append { dedupe, ..maker.append("3", NOW + TTL) };
    let answers = wait(store.append(vec![first.clone(), second.clone()]));
    let (id, deliveries) = (first.event.id, first.deliveries.clone());
    let repeat = Appended::Repeat { first: id, received_at: NOW, differs: true, deliveries, gone: false };
    assert_eq!(answers, vec![Ok(Appended::as_asked(id)), Ok(repeat.clone())]);
    drop(store);
    let store = open(dir.path());
    assert_eq!(append_one(&store, &second), Ok(repeat));
    assert!(append_one(&store, &late).is_ok_and(|found| found.is_stored()));
    let stats = wait(store.stats()).expect("stats");
    assert_eq!((stats.sources[0].accepted, stats.sources[0].duplicates), (2, 2));
}

/// I2, I18, I20: at whichever edge of a commit the process ends, the event is there whole or not at all, what was answered
/// is there, and the store opens again.
#[test]
fn a_crash_at_any_edge_leaves_a_healthy_store() {
    for edge in Edge::ALL {
        let dir = tempfile::tempdir().expect("a directory");
        let armed = Arc::new(AtomicBool::new(false));
        let trigger = Arc::clone(&armed);
        let edges = Edges::new(move |met| {
            if met == edge && trigger.load(Ordering::SeqCst) { EdgeAction::Crash } else { EdgeAction::Continue }
        });
        let store = SqliteStore::open(Options { edges, ..options(dir.path()) }).expect("opens");
        let mut maker = Maker::new(&store);
        let dedupe = Some(Dedupe { key: [1; 32], until: NOW + TTL });
        let (sure, risky) = (maker.append("sure", NOW), Append { dedupe, ..maker.append("risky", NOW) });
        assert!(append_one(&store, &sure).is_ok_and(|found| found.is_stored()), "{edge:?}");
        armed.store(true, Ordering::SeqCst);
        let answer = append_one(&store, &risky);
        wait(store.failed_or_closed());
        drop(store);
        let store = open(dir.path());
        let events = [&sure, &risky].map(|append| {
            let event = wait(store.event(append.event.id)).expect("reads");
            let found = wait(store.find(vec![append.deliveries[0].id])).expect("reads").remove(0);
            assert_eq!(event.is_some(), found.is_some(), "{edge:?}: half an event");
            event.is_some()
        });
        assert!(events[0], "{edge:?}: an acknowledged event is lost");
        assert!(events[1] || answer.is_err(), "{edge:?}: an acknowledged event is lost");
        let stats = wait(store.stats()).expect("stats");
        assert_eq!(stats.sources[0].stored, events.iter().filter(|there| **there).count() as u64, "{edge:?}");
        let again = Append { dedupe: risky.dedupe.clone(), ..maker.append("risky", NOW) };
        let stored_now = append_one(&store, &again).is_ok_and(|found| found.is_stored());
        assert_eq!(stored_now, !events[1], "{edge:?}: the key is remembered exactly when its event is durable");
    }
}

/// I17: after an IO error nothing is acknowledged any more, and the reason is told.
#[test]
fn an_io_error_stops_the_store() {
    for edge in [Edge::BeforeBegin, Edge::BeforeCommit, Edge::AfterCommit, Edge::AfterLedger] {
        let dir = tempfile::tempdir().expect("a directory");
        let edges = Edges::new(move |met| if met == edge { EdgeAction::Io } else { EdgeAction::Continue });
        let store = SqliteStore::open(Options { edges, ..options(dir.path()) }).expect("opens");
        let append = Maker::new(&store).append("x", NOW);
        assert_eq!(append_one(&store, &append), Err(AppendError::Unavailable));
        assert!(wait(store.failed()).contains("injected"));
        assert_eq!(append_one(&store, &append), Err(AppendError::Unavailable));
        assert_eq!(wait(store.stats()), Err(StoreError::Unavailable));
    }
}

/// I17: a panic of the writer stops the store; nobody waits for ever.
#[test]
fn a_panic_of_the_writer_stops_the_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let edges = Edges::new(|met| if met == Edge::BeforeCommit { panic!("planted") } else { EdgeAction::Continue });
    let store = SqliteStore::open(Options { edges, ..options(dir.path()) }).expect("opens");
    let append = Maker::new(&store).append("x", NOW);
    assert_eq!(append_one(&store, &append), Err(AppendError::Unavailable));
    assert_eq!(wait(store.failed()), "the writer panicked");
    drop(store);
    assert_eq!(wait(open(dir.path()).event(append.event.id)), Ok(None));
}

/// I16: a write that found no room is rolled back clean, refused, and possible again later.
#[test]
fn a_full_disk_refuses_appends_and_lets_settling_through() {
    let dir = tempfile::tempdir().expect("a directory");
    let full = Arc::new(Mutex::new(0));
    let left = Arc::clone(&full);
    let edges = Edges::new(move |met| {
        let mut left = left.lock().expect("unpoisoned");
        if met == Edge::BeforeCommit && *left > 0 {
            *left -= 1;
            return EdgeAction::Full;
        }
        EdgeAction::Continue
    });
    let free = Arc::new(AtomicU64::new(1 << 40));
    let disk = Arc::clone(&free);
    let disk_free: DiskFree = Arc::new(move || Ok(disk.load(Ordering::SeqCst)));
    let options = Options { edges, disk_reserve: 1 << 20, disk_free: Some(disk_free), ..options(dir.path()) };
    let store = SqliteStore::open(options).expect("opens");
    assert!(dir.path().join("ballast").exists());
    let mut maker = Maker::new(&store);
    append_one(&store, &maker.append("1", NOW)).expect("stored");
    let held = wait(store.lease(lease_ask(1))).expect("leases").deliveries.remove(0);
    *full.lock().expect("unpoisoned") = 1;
    assert_eq!(append_one(&store, &maker.append("2", NOW)), Err(AppendError::Full));
    *full.lock().expect("unpoisoned") = 1;
    free.store(0, Ordering::SeqCst);
    assert_eq!(wait(store.settle(vec![delivered(&held)])), Ok(vec![Changed::Applied]));
    assert_eq!(append_one(&store, &maker.append("3", NOW)), Err(AppendError::Full));
    free.store(1 << 40, Ordering::SeqCst);
    let stored = loop {
        let answer = append_one(&store, &maker.append("4", NOW));
        if answer != Err(AppendError::Full) {
            break answer;
        }
    };
    assert!(stored.is_ok_and(|found| found.is_stored()));
    assert_eq!(wait(store.stats()).expect("stats").sources[0].accepted, 2);
}

/// A second process is refused and told who has the store.
#[test]
fn a_store_in_use_is_refused_with_the_pid() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let refused = SqliteStore::open(options(dir.path())).expect_err("in use");
    let text = refused.to_string();
    assert_eq!(text, format!("another crm-relay (pid {}) uses {}", std::process::id(), dir.path().display()));
    // Who takes the lock for a left one lets nobody in by removing it.
    std::fs::remove_file(dir.path().join("store.lock")).expect("removes");
    let refused = SqliteStore::open(options(dir.path())).expect_err("in use all the same");
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    wait(store.close());
    open(dir.path());
}

/// A store that is looked into is in nobody's way: a server opens it meanwhile, and what that one makes is read as it is, new
/// names among it. Nothing is written by who looks.
#[test]
fn who_looks_reads_on_beside_a_server_and_writes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(filled(dir.path()));
    let looked = SqliteStore::look(options(dir.path())).expect("looks");
    let also = SqliteStore::look(options(dir.path())).expect("so may several");
    let store = open(dir.path());
    let refused = SqliteStore::look(options(dir.path())).expect_err("the server has it");
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    let mut maker = Maker::new(&store);
    let mut append = maker.append("new", NOW);
    append.deliveries[0].destination = "unheard-of".parse().expect("a name");
    assert!(append_one(&store, &append).is_ok_and(|found| found.is_stored()));
    for store in [&looked, &also] {
        let page = Page { cursor: None, limit: 100 };
        let found = wait(store.browse_deliveries(DeliveryFilter::default(), page)).expect("reads");
        assert!(found.items.iter().any(|delivery| delivery.destination.as_str() == "unheard-of"));
        let sums = wait(store.recount()).expect("counts");
        assert_eq!((sums.counted, sums.damaged), (sums.kept, 0));
        assert_eq!(wait(store.stats()).expect("reads").destinations.len(), 2);
        assert_eq!(append_one(store, &maker.append("no", NOW)), Err(AppendError::Unavailable));
    }
    assert_eq!(back_up(&looked, &dir.path().join("copy")).events, 5);
    drop((looked, also));
    assert!(append_one(&store, &maker.append("last", NOW)).is_ok_and(|found| found.is_stored()));
}

/// I23: a store of a newer version is refused, and not a byte of it changes.
#[test]
fn a_newer_store_is_refused_untouched() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    wait(store.close());
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    db.pragma_update(None, "user_version", schema::SCHEMA_VERSION + 1).expect("writes");
    drop(db);
    let before = std::fs::read(dir.path().join("store.db")).expect("reads");
    let refused = SqliteStore::open(options(dir.path())).expect_err("newer");
    assert!(matches!(refused, OpenError::Newer { found: 2, known: 1, .. }), "{refused}");
    assert_eq!(std::fs::read(dir.path().join("store.db")).expect("reads"), before);
}

/// I18: a database that lost acknowledged commits is refused, and the range is named.
#[test]
fn lost_commits_are_noticed() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    append_one(&store, &maker.append("1", NOW)).expect("stored");
    wait(store.close());
    drop(store);
    let early = std::fs::read(dir.path().join("store.db")).expect("reads");
    let store = open(dir.path());
    append_one(&store, &maker.append("2", NOW)).expect("stored");
    append_one(&store, &maker.append("3", NOW)).expect("stored");
    wait(store.close());
    drop(store);
    std::fs::write(dir.path().join("store.db"), early).expect("writes");
    let refused = SqliteStore::open(options(dir.path())).expect_err("lost");
    assert!(matches!(refused, OpenError::LostCommits { from: 2, to: 3, events: 2, .. }), "{refused}");
}

/// I11: the lease may ride in the append commit.
#[test]
fn a_delivery_can_be_stored_leased() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut append = Maker::new(&store).append("1", NOW);
    append.deliveries[0].state = State::Leased;
    append.deliveries[0].token = Token { counter: 1, nonce: 4 };
    append.deliveries[0].lease =
        Some(Lease { instance: InstanceId::from_u128(1), keeper: 1, since: NOW, until: NOW + TTL });
    append_one(&store, &append).expect("stored");
    let leased = wait(store.lease(lease_ask(10))).expect("leases");
    assert!(leased.deliveries.is_empty());
    assert_eq!(wait(store.held(HeldAsk::all(None, 10))), Ok(append.deliveries.clone()));
    assert_eq!(wait(store.settle(vec![delivered(&append.deliveries[0])])), Ok(vec![Changed::Applied]));
}

/// A store with deliveries in several states, one of them tried twice.
fn filled(dir: &Path) -> SqliteStore {
    fill(open(dir))
}

fn fill(store: SqliteStore) -> SqliteStore {
    let mut maker = Maker::new(&store);
    for body in ["one", "two", "three"] {
        append_one(&store, &maker.append(body, NOW)).expect("stored");
    }
    let keyed = Append { dedupe: Some(Dedupe { key: [3; 32], until: NOW + TTL }), ..maker.append("keyed", NOW) };
    append_one(&store, &keyed).expect("stored");
    for number in 1..=2 {
        let held = wait(store.lease(lease_ask(1))).expect("leases").deliveries.remove(0);
        let last = Attempt {
            number,
            at: NOW,
            duration_ms: 5,
            status: Some(500),
            class: relay_core::delivery::outcome::Class::Rejected,
            counted: true,
            error: Some("refused".into()),
            answer: None,
        };
        let next = Delivery {
            version: held.version + 1,
            state: State::Ready,
            lease: None,
            tries: number,
            attempts: number,
            last: Some(last),
            due_at: held.due_at,
            ..held.clone()
        };
        let change = Change { archive: held.last.clone(), before: held, next };
        assert_eq!(wait(store.settle(vec![change])), Ok(vec![Changed::Applied]));
    }
    let held = wait(store.lease(LeaseAsk { order: LeaseOrder::FewestTries, ..lease_ask(1) })).expect("leases");
    let held = held.deliveries[0].clone();
    assert_eq!(held.tries, 0);
    assert_eq!(wait(store.settle(vec![delivered(&held)])), Ok(vec![Changed::Applied]));
    let key = DocumentKey { kind: DocumentKind::Destination, name: "crm".to_owned() };
    let entry = AuditEntry {
        at: NOW,
        who: "cli".to_owned(),
        action: "destination.create".to_owned(),
        subject: "crm".to_owned(),
        origin: r#"{"peer":"192.0.2.7:1"}"#.to_owned(),
    };
    let put = store.put_document(key, 0, Some("{\"paused\":false}".to_owned()), vec![entry]);
    assert_eq!(wait(put), Ok(Some(1)));
    store
}

/// I18: a damaged document is told, and keeps neither the store from opening nor the others from being read.
#[test]
fn a_damaged_document_keeps_no_store_from_opening() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    let key = |name: &str| DocumentKey { kind: DocumentKind::Destination, name: name.to_owned() };
    assert_eq!(wait(store.put_document(key("erp"), 0, Some("{}".to_owned()), Vec::new())), Ok(Some(1)));
    wait(store.close());
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    db.execute("UPDATE documents SET body = '{\"paused\":tru3}' WHERE name = 'crm'", []).expect("writes");
    drop(db);
    let store = open(dir.path());
    let read = wait(store.documents(DocumentKind::Destination)).expect("reads");
    let bodies: Vec<_> = read.iter().map(|document| (document.key.name.as_str(), document.body.as_str())).collect();
    assert_eq!(bodies, [("crm", ""), ("erp", "{}")]);
    assert_eq!(wait(store.stats()).expect("reads").damaged, 1);
    assert!(matches!(wait(store.document(key("crm"))), Err(StoreError::Damaged { .. })));
}

/// I5: a recount of everything equals the counters.
#[test]
fn the_recount_equals_the_counters() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    let recount = wait(store.recount()).expect("counts");
    assert_eq!(recount.counted, recount.kept);
    assert_eq!(recount.kept.sources[0].accepted, 4);
    assert_eq!(recount.kept.destinations[0].outcomes, [0, 2, 0, 0, 0]);
}

/// I18: a backup made while the store works is whole, restores elsewhere, and begins a new epoch.
#[test]
fn a_backup_restores_into_an_empty_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    let into = dir.path().join("backup");
    let made = back_up(&store, &into);
    assert_eq!(made.events, 4);
    let all = DeliveryFilter::default;
    let page = || Page { cursor: None, limit: 100 };
    let before = wait(store.browse_deliveries(all(), page())).expect("reads");
    drop(store);

    let elsewhere = tempfile::tempdir().expect("a directory");
    let refused = restore(&into, dir.path(), NOW).expect_err("there is a store");
    assert!(matches!(refused, RestoreError::NotEmpty(_)), "{refused}");
    restore(&into, elsewhere.path(), NOW).expect("restores");
    let report = check(elsewhere.path(), false, NOW).expect("reads");
    assert_eq!(report.faults, Vec::<String>::new());
    let store = open(elsewhere.path());
    assert_eq!(wait(store.browse_deliveries(all(), page())), Ok(before));
    append_one(&store, &Maker::new(&store).append("after", NOW)).expect("stored");

    let mut bytes = std::fs::read(into.join("store.db")).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(into.join("store.db"), bytes).expect("writes");
    let empty = tempfile::tempdir().expect("a directory");
    let refused = restore(&into, empty.path(), NOW).expect_err("damaged");
    assert!(matches!(refused, RestoreError::Unusable { .. }), "{refused}");
}

/// I18: a loss is refused at the next start until it is accepted, which is audited.
#[test]
fn an_accepted_loss_is_audited_and_the_store_opens_again() {
    let dir = tempfile::tempdir().expect("a directory");
    wait(filled(dir.path()).close());
    let early = std::fs::read(dir.path().join("store.db")).expect("reads");
    let store = open(dir.path());
    append_one(&store, &Maker::new(&store).append("lost", NOW)).expect("stored");
    wait(store.close());
    drop(store);
    std::fs::write(dir.path().join("store.db"), early).expect("writes");
    let report = check(dir.path(), false, NOW).expect("reads");
    assert!(!report.is_healthy() && !report.accepted);
    SqliteStore::open(options(dir.path())).expect_err("still refused");
    assert!(check(dir.path(), true, NOW).expect("reads").accepted);
    let store = open(dir.path());
    let recount = wait(store.recount()).expect("counts");
    assert_eq!(recount.counted, recount.kept);
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    let audited: String = db
        .query_row("SELECT subject FROM audit WHERE action = 'store.accept-loss'", [], |row| row.get(0))
        .expect("an entry");
    assert!(audited.contains("lost commits"), "{audited}");
}

/// I5, I18: a damaged delivery is passed over by leases and named by the check; once accepted, it is counted as lost.
#[test]
fn a_damaged_delivery_is_named_and_counted_as_lost_once_accepted() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(dir.path());
    wait(store.close());
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    let oldest = "SELECT seq FROM deliveries WHERE state = 10 ORDER BY due, seq LIMIT 1";
    let seq: i64 = db.query_row(oldest, [], |row| row.get(0)).expect("one waits");
    db.execute("UPDATE deliveries SET record = zeroblob(160) WHERE seq = ?1", [seq]).expect("writes");
    drop(db);
    let store = open(dir.path());
    let leased = wait(store.lease(lease_ask(10))).expect("the others are leased");
    assert_eq!(leased.deliveries.len(), 2);
    wait(store.close());
    drop(store);
    let report = check(dir.path(), false, NOW).expect("reads");
    assert!(report.faults.iter().any(|fault| fault.contains("checksum")), "{:?}", report.faults);
    assert!(check(dir.path(), true, NOW).expect("reads").accepted);
    let store = open(dir.path());
    let recount = wait(store.recount()).expect("counts");
    assert_eq!(recount.counted, recount.kept);
    assert_eq!((recount.kept.destinations[0].created, recount.kept.destinations[0].lost), (4, 1));
    let later = NOW + Duration::from_hours(1);
    let retained = retain(&store, ended_before(NOW, later));
    assert_eq!(
        (retained.deliveries, retained.events),
        (1, 2),
        "the delivered one, and the event that lost its delivery"
    );
    wait(store.close());
    drop(store);
    let report = check(dir.path(), false, NOW).expect("reads");
    assert_eq!(report.faults, Vec::<String>::new());
}

/// The audit log does not grow for ever, and keeps what is younger than a year.
#[test]
fn audit_lines_are_kept_for_a_year() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let year = Duration::from_hours(365 * 24);
    let entry =
        |at| AuditEntry { at, who: "cli".into(), action: "a".into(), subject: "b".into(), origin: String::new() };
    let second = Duration::from_secs(1);
    // More than one call forgets.
    wait(store.audit(vec![entry(NOW - year - second); 1_200])).expect("writes");
    wait(store.audit([NOW - year, NOW].map(entry).to_vec())).expect("writes");
    retain(&store, ended_before(NOW, NOW));
    wait(store.close());
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    let left: i64 = db.query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).expect("counts");
    assert_eq!(left, 2);
}

/// I18, I19: a damaged record holds up nothing that is asked for beside it, and is counted once.
#[test]
fn a_damaged_record_holds_up_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let (bad, good) = (maker.append("bad", NOW), maker.append("good", NOW));
    append_one(&store, &bad).expect("stored");
    append_one(&store, &good).expect("stored");
    let held: Vec<Delivery> = wait(store.lease(lease_ask(2))).expect("leases").deliveries;
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    let seq = bad.deliveries[0].id.sequence();
    db.execute("UPDATE deliveries SET record = zeroblob(160) WHERE seq = ?1", [seq]).expect("writes");
    drop(db);
    let until = NOW + TTL;
    let extends = held.iter().map(|held| Extend { id: held.id, claim: held.claim(), until });
    let stands = Extended::Stands { until, version: held[1].version + 1 };
    assert_eq!(wait(store.extend(extends.collect())), Ok(vec![Extended::Over(None), stands]));
    let found = wait(store.find(held.iter().map(|held| held.id).collect())).expect("reads");
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    let extended = found[1].clone().expect("was asserted");
    assert_eq!(extended.lease.map(|lease| lease.until), Some(until));
    let answers = wait(store.settle(vec![delivered(&held[0]), delivered(&extended)]));
    assert_eq!(answers, Ok(vec![Changed::Conflict(None), Changed::Applied]));
    assert_eq!(wait(store.stats()).expect("stats").damaged, 1);
}

/// I16: room that goes or comes back is seen although nobody asks for anything.
#[test]
fn an_idle_store_sees_the_disk_fill_up_and_empty() {
    let dir = tempfile::tempdir().expect("a directory");
    let free = Arc::new(AtomicU64::new(1 << 40));
    let disk = Arc::clone(&free);
    let disk_free: DiskFree = Arc::new(move || Ok(disk.load(Ordering::SeqCst)));
    let options = Options { disk_reserve: 1 << 20, disk_free: Some(disk_free), ..options(dir.path()) };
    let store = SqliteStore::open(options).expect("opens");
    let becomes = |full: bool| while wait(store.stats()).expect("stats").full != full {};
    becomes(false);
    free.store(0, Ordering::SeqCst);
    becomes(true);
    let replayed = wait(store.replay(Replay::anyway(Vec::new()), Vec::new()));
    assert_eq!(replayed, Err(StoreError::Full), "a replay adds to what is stored");
    free.store(1 << 40, Ordering::SeqCst);
    becomes(false);
}

/// I18: whichever bit of the database flips, the check reports it or nothing that is stored has changed.
#[test]
fn a_flipped_bit_is_never_silent() {
    let dir = tempfile::tempdir().expect("a directory");
    wait(filled(dir.path()).close());
    let good = std::fs::read(dir.path().join("store.db")).expect("reads");
    let healthy = content(dir.path()).expect("a healthy store is read");
    let mut reported = 0;
    // Every 613th byte: a stride that meets every kind of page at many offsets.
    for at in (0..good.len()).step_by(613) {
        let copy = tempfile::tempdir().expect("a directory");
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(copy.path().join("store.db"), bad).expect("writes");
        std::fs::copy(dir.path().join("ledger"), copy.path().join("ledger")).expect("copies");
        match check(copy.path(), false, NOW) {
            Ok(report) if report.is_healthy() => {
                let store =
                    SqliteStore::open(options(copy.path())).unwrap_or_else(|error| panic!("byte {at}: {error}"));
                assert_eq!(content_of(&store), Some(healthy.clone()), "byte {at}");
            }
            _ => reported += 1,
        }
    }
    assert!(reported > 3, "some of the flips must have met something");
}

/// All deliveries, events and attempts of a store; `None` if it does not open.
fn content(dir: &Path) -> Option<Vec<String>> {
    content_of(&SqliteStore::open(options(dir)).ok()?)
}

fn content_of(store: &SqliteStore) -> Option<Vec<String>> {
    let page = || Page { cursor: None, limit: 100 };
    let mut lines = Vec::new();
    for found in wait(store.browse_deliveries(DeliveryFilter::default(), page())).ok()?.items {
        lines.push(format!("{found:?} {:?}", wait(store.attempts(found.id))));
    }
    for row in wait(store.browse_events(EventFilter::default(), page())).ok()?.items {
        lines.push(format!("{:?} {}", wait(store.event(row.event.id)), row.deliveries.len()));
    }
    lines.push(format!("{:?}", wait(store.documents(DocumentKind::Destination))));
    Some(lines)
}

impl SqliteStore {
    fn failed_or_closed(&self) -> Later<()> {
        self.queues.finish();
        Box::pin(self.status.end())
    }
}
