//! A store that is away, full, or does not answer.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use relay_core::fault::Retry;
use relay_store::sqlite::{Edge as SqliteEdge, EdgeAction, Edges};
use tokio::time::{Instant, sleep};

use super::*;

const SOON: Duration = Duration::from_millis(100);

fn crm() -> NewToken {
    NewToken { name: name("crm"), destinations: None, pins: Vec::new() }
}

fn created(store: &MemoryStore) -> usize {
    store.audit_log().iter().filter(|line| line.action == "token.create").count()
}

/// A write whose answer is lost is found out by its version, done or not, and is done once.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_looked_for() {
    for was_done in [true, false] {
        let store = store();
        let registry = open(&store, &config()).await;
        store.set_trouble(vec![(Trouble::PutDocument, StoreError::Unknown)]);
        if !was_done {
            // Every other one is.
            let heard = store.audit(Vec::new()).await;
            assert_eq!(heard, Err(StoreError::Unknown));
        }
        let command = async { registry.create_token(crm(), &CLI).await };
        let answers = async {
            sleep(SOON).await;
            assert_eq!(created(&store), usize::from(was_done));
            store.set_trouble(Vec::new());
        };
        let (made, ()) = tokio::join!(command, answers);
        made.expect("it is known to be done");
        assert_eq!(created(&store), 1, "and is done once");
        registry.revoke_token(&name("crm"), &CLI).await.expect("decided on the version that is stored");
    }
}

/// What somebody else wrote under that version is not taken for one's own.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_not_anothers() {
    let store = store();
    let (registry, other) = (open(&store, &config()).await, open(&store, &config()).await);
    store.set_trouble(vec![(Trouble::PutDocument, StoreError::Unknown)]);
    let _every_other_one_is_done = store.audit(Vec::new()).await;
    let command = async { registry.create_token(crm(), &CLI).await };
    let faster = async {
        sleep(SOON).await;
        store.set_trouble(Vec::new());
        other.create_token(crm(), &CLI).await.unwrap();
    };
    let (made, ()) = tokio::join!(command, faster);
    assert!(matches!(made, Err(RegistryError::Taken { .. })), "{made:?}");
    assert_eq!(created(&store), 1);
}

/// One that stays unknown is told as such in a time, and holds if it is done.
#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_not_waited_for_for_ever() {
    let store = store();
    let registry = open(&store, &config()).await;
    store.set_trouble(vec![(Trouble::PutDocument, StoreError::Unknown)]);
    let began = Instant::now();
    let made = registry.create_token(crm(), &CLI).await;
    assert_eq!(made.unwrap_err(), RegistryError::Store(StoreError::Unknown));
    assert!(began.elapsed() <= Duration::from_secs(6));
    assert!(registry.directory().tokens.contains_key("crm"), "it was done, and holds");
}

/// Who meets a store that is away, or full, hears so at once, and that the same again may do.
#[tokio::test(start_paused = true)]
async fn what_changed_nothing_is_told_at_once() {
    let store = store();
    let registry = open(&store, &config()).await;
    for error in [StoreError::Away, StoreError::Full] {
        store.set_trouble(vec![(Trouble::PutDocument, error.clone())]);
        let began = Instant::now();
        let told = registry.create_token(crm(), &CLI).await.unwrap_err();
        assert_eq!((began.elapsed(), told.retry() == Retry::Never), (Duration::ZERO, false));
        assert_eq!(told, RegistryError::Store(error));
        assert_eq!(created(&store), 0);
    }
    store.set_trouble(Vec::new());
    registry.create_token(crm(), &CLI).await.unwrap();
}

/// A change of several documents that ends half way says that some are written, and is no "nothing was changed".
#[tokio::test]
async fn a_change_that_is_half_done_says_so() {
    let dir = tempfile::tempdir().unwrap();
    // Commits that have room yet.
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let counted = Arc::clone(&left);
    let edges = Edges::new(move |edge| {
        if edge != SqliteEdge::BeforeCommit {
            return EdgeAction::Continue;
        }
        let before = counted.fetch_update(SeqCst, SeqCst, |left| Some(left.saturating_sub(1)));
        if before == Ok(0) { EdgeAction::Full } else { EdgeAction::Continue }
    });
    let options = Options { disk_reserve: 0, ballast: false, edges, ..Options::new(dir.path()) };
    let store = Arc::new(SqliteStore::open(options).unwrap());
    let registry = Registry::open(store, Clock::start(Wall::MIN), &config()).await.unwrap();
    left.store(1, SeqCst);
    let told = registry.create_source(shop("crm"), &CLI).await.unwrap_err();
    assert_eq!(told, RegistryError::Partly { done: 1, all: 2, error: StoreError::Full }, "{told}");
    assert!(told.to_string().contains("1 of 2 documents of this change are written"), "{told}");
    assert!(registry.directory().routes.contains_key(&(name("shop"), name("crm"))), "and in force");
}
