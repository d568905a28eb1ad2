//! S32: what is sealed with a key, as it lies on the disk.

use std::fs;

use relay_core::delivery::{answer::Answer, outcome::Class};

use super::*;
use crate::cipher::{Ciphers, Unfit, tests::ciphers};

/// What stands in no file.
const CANARY: &str = "canary-6f1d";

fn sealed(dir: &Path, numbers: &[u8]) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(Options { ciphers: ciphers(numbers), ..options(dir) })
}

/// An event whose body, path, query and header are canaries, with a delivery that its target refused with another one.
fn canaries(store: &SqliteStore, maker: &mut Maker) -> Append {
    let made = maker.append(CANARY, NOW);
    let event = Event {
        path: CANARY.into(),
        query: Some(CANARY.into()),
        headers: vec![(Bytes::from_static(b"authorization"), CANARY.into())],
        ..(*made.event).clone()
    };
    let append = Append { event: Arc::new(event), ..made };
    append_one(store, &append).expect("stored");
    for number in 1..=2 {
        let held = wait(store.lease(lease_ask(1))).expect("leases").deliveries.remove(0);
        let answer = Answer { body: Some(CANARY.into()), location: Some(CANARY.into()), reason: None, cut: false };
        let last = Attempt {
            number,
            at: NOW,
            duration_ms: 1,
            status: Some(400),
            class: Class::Refused,
            counted: true,
            error: None,
            answer: answer.shared(),
        };
        let next = Delivery {
            version: held.version + 1,
            state: State::Ready,
            lease: None,
            tries: number,
            last: Some(last),
            ..held.clone()
        };
        let archive = held.last.clone();
        assert_eq!(wait(store.settle(vec![Change { before: held, next, archive }])), Ok(vec![Changed::Applied]));
    }
    append
}

fn document(store: &SqliteStore, expect: u64) {
    let key = DocumentKey { kind: DocumentKind::Source, name: "stripe".into() };
    let put = store.put_document(key, expect, Some(format!("{{\"secret\":\"{CANARY}\"}}")), Vec::new());
    assert_eq!(wait(put), Ok(Some(expect + 1)));
}

/// How often the canary stands in files below a directory.
fn found_in(dir: &Path) -> usize {
    let mut found = 0;
    for entry in fs::read_dir(dir).expect("lists") {
        let path = entry.expect("lists").path();
        if path.is_dir() {
            found += found_in(&path);
        } else {
            let bytes = fs::read(&path).expect("reads");
            found += bytes.windows(CANARY.len()).filter(|window| *window == CANARY.as_bytes()).count();
        }
    }
    found
}

fn all_is_read(store: &SqliteStore, stored: &Append) {
    assert_eq!(wait(store.event(stored.event.id)), Ok(Some(Arc::clone(&stored.event))));
    let attempts = wait(store.attempts(stored.deliveries[0].id)).expect("reads");
    let answers = attempts.iter().filter_map(|attempt| attempt.answer.as_ref()?.body.as_deref());
    assert_eq!(answers.collect::<Vec<_>>(), [CANARY; 2]);
    let documents = wait(store.documents(DocumentKind::Source)).expect("reads");
    assert!(documents[0].body.contains(CANARY));
    assert_eq!(wait(store.document(documents[0].key.clone())), Ok(Some(documents[0].clone())));
}

/// I3, S32: nothing of bodies, headers, paths, queries, answers and documents stands in database, log, ledger or backup; without a
/// key all of it does, which shows that it is looked for where it would be.
#[test]
fn nothing_that_is_sealed_stands_on_the_disk() {
    for (numbers, is_sealed) in [(&[1][..], true), (&[], false)] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = sealed(dir.path(), numbers).expect("opens");
        let stored = canaries(&store, &mut Maker::new(&store));
        document(&store, 0);
        all_is_read(&store, &stored);
        let backup = tempfile::tempdir().expect("a directory");
        back_up(&store, &backup.path().join("copy"));
        // While the log has it, and once the database has.
        let while_open = found_in(dir.path());
        wait(store.close());
        drop(store);
        for found in [while_open, found_in(dir.path()), found_in(backup.path())] {
            assert!(if is_sealed { found == 0 } else { found >= 6 }, "{found} with keys {numbers:?}");
        }
        all_is_read(&sealed(dir.path(), numbers).expect("opens"), &stored);
    }
}

/// S32: without its key, or with another one under its number, nobody opens, reads or checks the store, or mends it; it stays as it
/// is, and opens with the right one. The same goes for what a backup is restored to.
#[test]
fn a_store_without_its_key_is_refused_and_left() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = sealed(dir.path(), &[1]).expect("opens");
    let stored = canaries(&store, &mut Maker::new(&store));
    document(&store, 0);
    let copy = dir.path().join("copy");
    back_up(&store, &copy);
    wait(store.close());
    drop(store);
    let elsewhere = tempfile::tempdir().expect("a directory");
    restore(&copy, elsewhere.path(), NOW).expect("restores");
    for dir in [dir.path(), elsewhere.path()] {
        let before = fs::read(dir.join("store.db")).expect("reads");
        let text = format!("1 {}", "0123456789abcdef".repeat(4));
        let other = Ciphers::read(&text).expect("a key");
        for (given, why) in
            [(Ciphers::default(), Unfit::None(1)), (ciphers(&[2]), Unfit::Missing(1)), (other, Unfit::Other(1))]
        {
            let options = || Options { ciphers: given.clone(), ..options(dir) };
            let watch = Arc::default();
            for refused in [
                SqliteStore::open(options()).map(drop),
                SqliteStore::look(options()).map(drop),
                check_watched(dir, &given, false, NOW, &watch).map(drop),
                check_watched(dir, &given, true, NOW, &watch).map(drop),
            ] {
                assert!(matches!(&refused, Err(OpenError::Sealed { why: found, .. }) if *found == why), "{refused:?}");
            }
        }
        assert_eq!(fs::read(dir.join("store.db")).expect("reads"), before);
        let report = check_watched(dir, &ciphers(&[1]), false, NOW, &Arc::default()).expect("reads");
        assert_eq!((report.faults, report.sealed_with), (Vec::new(), vec![1]));
        all_is_read(&sealed(dir, &[1]).expect("opens"), &stored);
    }
}

/// S32: what was clear is read beside what is sealed, and a new key is put down before anything is sealed with it; from then on the store needs both.
#[test]
fn keys_are_put_down_before_they_are_used() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut stored = Vec::new();
    for (round, numbers) in [&[][..], &[1], &[1, 2], &[1, 2]].into_iter().enumerate() {
        let store = sealed(dir.path(), numbers).expect("opens");
        let mut maker = Maker::new(&store);
        let append = maker.append(&format!("body {round}"), NOW);
        append_one(&store, &append).expect("stored");
        stored.push(append);
        for append in &stored {
            assert_eq!(wait(store.event(append.event.id)), Ok(Some(Arc::clone(&append.event))), "{numbers:?}");
        }
        wait(store.close());
    }
    let refused = sealed(dir.path(), &[2]).map(drop);
    assert!(matches!(refused, Err(OpenError::Sealed { why: Unfit::Missing(1), .. })), "{refused:?}");
    let report = check_watched(dir.path(), &ciphers(&[1, 2]), false, NOW, &Arc::default()).expect("reads");
    assert_eq!((report.events, report.faults, report.sealed_with), (4, Vec::new(), vec![1, 2]));
}

/// I18, S32: what is sealed and is not what was sealed any more is damaged, also where whoever changed it made its checksum anew.
#[test]
fn what_does_not_open_is_damaged() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = sealed(dir.path(), &[1]).expect("opens");
    let stored = canaries(&store, &mut Maker::new(&store));
    document(&store, 0);
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    let mut head: Vec<u8> = db.query_row("SELECT head FROM events", [], |row| row.get(0)).expect("one");
    let end = head.len() - 4;
    head[end - 1] ^= 1;
    let crc = crc32fast::hash(&head[..end]).to_le_bytes();
    head[end..].copy_from_slice(&crc);
    db.execute("UPDATE events SET head = ?1", [head]).expect("writes");
    drop(db);
    let report = check_watched(dir.path(), &ciphers(&[1]), false, NOW, &Arc::default()).expect("reads");
    assert!(report.faults.iter().any(|fault| fault.ends_with("it does not open with its key")), "{:?}", report.faults);
    let store = sealed(dir.path(), &[1]).expect("opens");
    let read = wait(store.event(stored.event.id));
    assert!(matches!(read, Err(StoreError::Damaged { .. })), "{read:?}");
}

/// All steps of a pass; gives what was sealed, what was left, and which keys went.
fn rekeyed(store: &SqliteStore) -> (u64, u64, Vec<u32>) {
    let (mut from, mut sealed, mut left, mut retired) = (None, 0, 0, Vec::new());
    loop {
        let step = wait(store.rekey(from)).expect("goes on");
        sealed += step.sealed;
        left += step.left;
        retired.extend(step.retired);
        from = step.next;
        if from.is_none() {
            return (sealed, left, retired);
        }
    }
}

/// S32: a pass seals what was clear, and leaves nothing of it anywhere; the next key replaces the first in the same way, which may leave its file
/// then. Nobody notices: all of it reads as it was, and a second pass finds nothing to do.
#[test]
fn a_pass_seals_everything_with_the_newest_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = sealed(dir.path(), &[]).expect("opens");
    let mut maker = Maker::new(&store);
    let stored = canaries(&store, &mut maker);
    let many: Vec<Append> = (0..1_200).map(|number| maker.append(&format!("{CANARY} {number}"), NOW)).collect();
    assert!(wait(store.append(many.clone())).iter().all(Result::is_ok));
    document(&store, 0);
    assert_eq!(wait(store.rekey(None)), Ok(Rekeyed::default()), "there is no key");
    wait(store.close());
    drop(store);
    let clear = found_in(dir.path());
    assert!(clear > 1_200);
    for (numbers, gone) in [(&[1][..], vec![]), (&[1, 2], vec![1]), (&[2], vec![])] {
        let store = sealed(dir.path(), numbers).expect("opens");
        let before = wait(store.stats()).expect("stats");
        let is_new = numbers != [2];
        // Events, a delivery with its earlier attempt, and the document.
        let expected = if is_new { 1_201 + 2 + 1 } else { 0 };
        assert_eq!(rekeyed(&store), (expected, 0, gone), "{numbers:?}");
        assert_eq!(rekeyed(&store), (0, 0, Vec::new()), "{numbers:?}");
        let after = wait(store.stats()).expect("stats");
        assert_eq!((after.sources, after.destinations), (before.sources, before.destinations));
        all_is_read(&store, &stored);
        for one in &many {
            assert_eq!(wait(store.event(one.event.id)), Ok(Some(Arc::clone(&one.event))));
        }
        erase::swept(dir.path());
        wait(store.close());
        drop(store);
        assert_eq!(found_in(dir.path()), 0, "of {clear}");
        let newest = ciphers(numbers).newest_number();
        let report = check_watched(dir.path(), &ciphers(numbers), false, NOW, &Arc::default()).expect("reads");
        assert_eq!((report.events, report.faults), (1_201, Vec::new()));
        assert!(report.sealed_with.ends_with(&[newest]), "{:?}", report.sealed_with);
    }
}

/// I1, S32: whoever is killed at any edge of a step leaves each record with one key or the other, both of which the store still
/// asks for; the next pass does the rest.
#[test]
fn a_pass_that_is_killed_goes_on() {
    for edge in Edge::ALL {
        let dir = tempfile::tempdir().expect("a directory");
        let store = sealed(dir.path(), &[1]).expect("opens");
        let stored = canaries(&store, &mut Maker::new(&store));
        document(&store, 0);
        wait(store.close());
        drop(store);
        let steps = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&steps);
        let edges = Edges::new(move |met| {
            // In each run one step further.
            let is_now = met == edge && counted.fetch_sub(1, Ordering::SeqCst) == 0;
            if is_now { EdgeAction::Crash } else { EdgeAction::Continue }
        });
        let mut kills = 0;
        let retired = loop {
            steps.store(kills, Ordering::SeqCst);
            let options = Options { edges: edges.clone(), ciphers: ciphers(&[1, 2]), ..options(dir.path()) };
            let store = SqliteStore::open(options).expect("opens");
            all_is_read(&store, &stored);
            let mut from = None;
            let done = loop {
                match wait(store.rekey(from)) {
                    Ok(step) if step.next.is_none() => break Some(step.retired),
                    Ok(step) => from = step.next,
                    Err(_) => break None,
                }
            };
            drop(store);
            match done {
                Some(retired) => break retired,
                None => kills += 1,
            }
            assert!(kills < 10, "{edge:?}");
        };
        // Behind the last commit nobody hears that it was done.
        assert!(kills > 0 || edge == Edge::BeforeCheckpoint, "{edge:?} was never met");
        assert!(retired == [1] || edge > Edge::BeforeCommit, "{edge:?}: {retired:?}");
        all_is_read(&sealed(dir.path(), &[2]).expect("opens"), &stored);
    }
}

/// S32: what does not read is left, and its key stays needed for as long.
#[test]
fn a_key_stays_while_something_is_left() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = sealed(dir.path(), &[1]).expect("opens");
    canaries(&store, &mut Maker::new(&store));
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    db.execute("UPDATE events SET body = zeroblob(length(body))", []).expect("writes");
    drop(db);
    let store = sealed(dir.path(), &[1, 2]).expect("opens");
    assert_eq!(rekeyed(&store), (2, 1, Vec::new()));
    drop(store);
    assert!(matches!(sealed(dir.path(), &[2]).map(drop), Err(OpenError::Sealed { why: Unfit::Missing(1), .. })));
}
