//! What is erased, as it lies on the disk.

use std::{fs, time::Instant};

use relay_core::{
    delivery::{answer::Answer, give_up, outcome::Class},
    storage::{Ended, Erased, Step, Stepped},
};

use super::*;
use crate::cipher::{Ciphers, tests::ciphers};

/// How often a word stands in the files below a directory.
fn found_in(dir: &Path, word: &str) -> usize {
    let files = fs::read_dir(dir).expect("lists").map(|entry| entry.expect("lists").path());
    files.filter(|path| path.is_file()).map(|path| count(&fs::read(path).expect("reads"), word)).sum()
}

fn count(bytes: &[u8], word: &str) -> usize {
    bytes.windows(word.len()).filter(|window| *window == word.as_bytes()).count()
}

/// An event whose body, path, query and header hold a word, with a delivery that its target refused twice with another one.
fn told(store: &SqliteStore, maker: &mut Maker, word: &str, bytes: usize) -> Delivery {
    let made = maker.append(&word.repeat(bytes / word.len()), NOW);
    let event = Event {
        path: word.to_owned().into(),
        query: Some(word.to_owned().into()),
        headers: vec![(Bytes::from_static(b"authorization"), word.to_owned().into())],
        ..(*made.event).clone()
    };
    append_one(store, &Append { event: Arc::new(event), ..made }).expect("stored");
    let mut stored = None;
    for number in 1..=2 {
        let held = wait(store.lease(lease_ask(1))).expect("leases").deliveries.remove(0);
        let answer = Answer { body: Some(word.into()), location: Some(word.into()), reason: None, cut: false };
        let (status, class) = (Some(400), Class::Refused);
        let answer = answer.shared();
        let last = Attempt { number, at: NOW, duration_ms: 1, status, class, counted: true, error: None, answer };
        let (version, last) = (held.version + 1, Some(last));
        let next = Delivery { version, state: State::Ready, lease: None, tries: number, last, ..held.clone() };
        let archive = held.last.clone();
        assert_eq!(
            wait(store.settle(vec![Change { before: held, next: next.clone(), archive }])),
            Ok(vec![Changed::Applied])
        );
        stored = Some(next);
    }
    let before = stored.expect("two tries");
    let change = give_up(&before, NOW).expect("it is open");
    let next = change.next.clone();
    assert_eq!(wait(store.settle(vec![change])), Ok(vec![Changed::Applied]));
    next
}

fn erase(store: &SqliteStore, maker: &mut Maker, of: &Delivery) -> Erased {
    let job = maker.mint.job(NOW);
    let step = Step { before: 0, erase: vec![of.event], ..Step::look(job) };
    let Ok(Stepped::Done { erased, .. }) = wait(store.step(step)) else { panic!("the first of its job") };
    erased[0]
}

/// Until a word stands nowhere; how often it does after a minute.
fn left_of(dir: &Path, word: &str) -> usize {
    let began = Instant::now();
    loop {
        let found = found_in(dir, word);
        if found == 0 || began.elapsed() > Duration::from_mins(1) {
            return found;
        }
        thread::yield_now();
    }
}

/// S32: once it is erased nothing of an event stands in the database, its log, or a backup that is made then; without a
/// key all of it did before.
#[test]
fn what_is_erased_stands_in_no_file() {
    for numbers in [&[][..], &[1]] {
        let dir = tempfile::tempdir().expect("a directory");
        let ciphers: Ciphers = ciphers(numbers);
        let store = SqliteStore::open(Options { ciphers: ciphers.clone(), ..options(dir.path()) }).expect("opens");
        let mut maker = Maker::new(&store);
        let words = ["canary-small", "canary-large"];
        let found = words.map(|word| told(&store, &mut maker, word, if word == words[0] { 100 } else { 300_000 }));
        let kept = told(&store, &mut maker, "other-one", 100);
        for (word, of) in words.iter().zip(&found) {
            assert_eq!(found_in(dir.path(), word) > 7, numbers.is_empty(), "{word}");
            assert_eq!(erase(&store, &mut maker, of), Erased::Now);
            assert_eq!(left_of(dir.path(), word), 0, "{word} while the store is open");
        }
        let copy = dir.path().join("copy");
        back_up(&store, &copy);
        wait(store.close());
        drop(store);
        for word in words {
            assert_eq!((found_in(dir.path(), word), found_in(&copy, word)), (0, 0), "{word}");
        }
        let report = check_watched(dir.path(), &ciphers, false, NOW, &Arc::default()).expect("reads");
        assert_eq!((report.events, report.faults), (3, Vec::new()));
        let store = SqliteStore::open(Options { ciphers, ..options(dir.path()) }).expect("opens");
        let event = wait(store.event(kept.event)).expect("reads").expect("it is there");
        assert_eq!(event.query.as_deref(), Some(&b"other-one"[..]));
    }
}

/// Events of all lengths, of which retention has taken two of three, so that the others were moved from page to page: their words, and the
/// step that erases them.
fn moved(store: &SqliteStore, count: usize) -> (Vec<String>, Step) {
    let mut maker = Maker::new(store);
    let all = (0..count).map(|number| {
        let word = format!("canary-{number:04}-");
        (told(store, &mut maker, &word, 60 + (number * 370) % 9_000), word)
    });
    let all: Vec<(Delivery, String)> = all.collect();
    let (gone, kept): (Vec<_>, Vec<_>) = all.into_iter().enumerate().partition(|(at, _)| at % 3 != 0);
    for chunk in gone.chunks(50) {
        let retire = chunk.iter().filter_map(|(_, (found, _))| Ended::of(found)).collect();
        let step = Step { before: 0, retire, ..Step::look(maker.mint.job(NOW)) };
        assert!(matches!(wait(store.step(step)), Ok(Stepped::Done { retired, .. }) if !retired.contains(&false)));
    }
    let erase = kept.iter().map(|(_, (found, _))| found.event).collect();
    let step = Step { before: 0, erase, ..Step::look(maker.mint.job(NOW)) };
    (kept.into_iter().map(|(_, (_, word))| word).collect(), step)
}

/// I18: of an event with a delivery that does not read nothing is erased: that one may still go out, and what was answered to it would stay.
#[test]
fn an_event_whose_delivery_does_not_read_is_left() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let mut maker = Maker::new(&store);
    let of = told(&store, &mut maker, "canary-kept", 100);
    wait(store.close());
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("opens");
    db.execute_batch("UPDATE deliveries SET record = x'01'").expect("runs");
    drop(db);
    let store = open(dir.path());
    assert_eq!(erase(&store, &mut maker, &of), Erased::Damaged);
    let event = wait(store.event(of.event)).expect("reads").expect("it is there");
    assert_eq!(event.query.as_deref(), Some(&b"canary-kept"[..]));
}

/// Until the store says that nothing is left.
pub(super) fn swept(dir: &Path) {
    let began = Instant::now();
    while dir.join("erased").exists() {
        assert!(began.elapsed() < Duration::from_mins(1), "it has not been swept");
        thread::yield_now();
    }
}

/// S32: what SQLite left of an event where it moved its row, or of the answers of its deliveries, goes too: from free pages, from between rows, and
/// from behind the ends of long values. Also where the process ended before it came to that, and in a copy that is asked for at once.
#[test]
fn what_was_left_of_it_in_other_places_goes_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let is_now = Arc::new(AtomicBool::new(false));
    let crashes = Arc::clone(&is_now);
    let edges = Edges::new(move |edge| {
        let is_now = edge == Edge::AfterLedger && crashes.load(Ordering::SeqCst);
        if is_now { EdgeAction::Crash } else { EdgeAction::Continue }
    });
    let store = SqliteStore::open(Options { edges, ..options(dir.path()) }).expect("opens");
    let (words, step) = moved(&store, 120);
    assert!(matches!(wait(store.step(step)), Ok(Stepped::Done { mark, .. }) if mark.changed == 40));
    let copy = dir.path().join("copy");
    back_up(&store, &copy);
    swept(dir.path());
    let left = |dir: &Path, words: &[String]| words.iter().filter(|word| found_in(dir, word) > 0).count();
    assert_eq!((left(dir.path(), &words), left(&copy, &words)), (0, 0), "of {}", words.len());

    let (words, step) = moved(&store, 3);
    is_now.store(true, Ordering::SeqCst);
    assert_eq!(wait(store.step(step)), Err(StoreError::Unavailable));
    drop(store);
    assert!(dir.path().join("erased").exists(), "it was not through");
    let looked = SqliteStore::look(options(dir.path())).expect("reads");
    let refused = wait(looked.backup()).expect_err("a copy of a store that is not swept");
    assert!(refused.to_string().contains("start the server"), "{refused}");
    drop(looked);
    let store = open(dir.path());
    swept(dir.path());
    assert_eq!(left(dir.path(), &words), 0);
    wait(store.close());
    drop(store);
    let report = check(dir.path(), false, NOW).expect("reads");
    assert_eq!(report.faults, Vec::<String>::new());
}
