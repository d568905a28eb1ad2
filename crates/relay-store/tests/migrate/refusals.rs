//! What is not moved, and why.

use relay_core::storage::{About, AuditEntry, Presence, StoreError};
use relay_store::{
    memory::MemoryStore,
    migrate::{MigrateError, Move, Standing, abandon, standing},
    seam::{DocumentKey, DocumentKind, Queue as _, Registry as _},
    watch::Watch,
};

use crate::filled::{at, embedded, fill, in_redis, moved, moved_watched};

async fn stopped(source: &MemoryStore, target: &MemoryStore) {
    let watch = Watch::default();
    watch.stop();
    assert_eq!(moved_watched(source, target, &watch).await, Err(MigrateError::Stopped));
}

#[tokio::test]
async fn a_store_that_holds_something_takes_no_move() {
    let (source, target) = (MemoryStore::new(), MemoryStore::new());
    fill(&source, 3).await;
    fill(&target, 1).await;
    let refused = moved(&source, &target).await;
    assert_eq!(refused, Err(MigrateError::NotEmpty("accepted 1 events".into())));
    assert_eq!(standing(&source).await, Ok(None), "nothing was begun");
    moved(&source, &MemoryStore::new()).await.unwrap();
}

#[tokio::test]
async fn what_was_moved_is_not_moved_elsewhere() {
    let (source, target) = (MemoryStore::new(), MemoryStore::new());
    fill(&source, 3).await;
    moved(&source, &target).await.unwrap();
    assert_eq!(moved(&source, &MemoryStore::new()).await, Err(MigrateError::Left("here".into())));
    assert_eq!(standing(&source).await, Ok(Some(Standing::Left("here".into()))));
    let gone = abandon(Move { source: &source, target: &target, from: "there", to: "here" }, at(9)).await;
    assert_eq!(gone, Err(MigrateError::Left("here".into())));
}

#[tokio::test]
async fn half_a_move_is_ended_with_the_same_or_given_up() {
    let (source, target, other) = (MemoryStore::new(), MemoryStore::new(), MemoryStore::new());
    fill(&source, 100).await;
    stopped(&source, &target).await;
    assert_eq!(standing(&source).await, Ok(Some(Standing::Leaving("here".into()))));
    assert_eq!(standing(&target).await, Ok(Some(Standing::Arriving("there".into()))));
    // Half of it is no source.
    assert!(matches!(moved(&target, &other).await, Err(MigrateError::Another { .. })));
    let third = MemoryStore::new();
    fill(&third, 1).await;
    assert!(matches!(moved(&third, &target).await, Err(MigrateError::Another { .. })));
    let stores = Move { source: &source, target: &target, from: "there", to: "here" };
    abandon(stores, at(9)).await.unwrap();
    assert_eq!(standing(&source).await, Ok(None));
    assert!(
        matches!(moved(&source, &target).await, Err(MigrateError::Another { .. })),
        "what is left of it is in the way"
    );
    moved(&source, &other).await.unwrap();
}

/// I1: a move is given up where it goes to, or it may be over there: two stores would be served then.
#[tokio::test]
async fn a_move_is_given_up_only_where_it_goes_to() {
    let (source, target, other) = (MemoryStore::new(), MemoryStore::new(), MemoryStore::new());
    fill(&source, 20).await;
    moved(&source, &target).await.unwrap();
    // Killed before the source was none.
    let key = DocumentKey { kind: DocumentKind::Migration, name: "out".into() };
    let out = source.document(key.clone()).await.unwrap().unwrap();
    let undone = out.body.replace("\"done\":true", "\"done\":false");
    source.put_document(key, out.version, Some(undone), Vec::new()).await.unwrap();
    let elsewhere = Move { source: &source, target: &other, from: "there", to: "elsewhere" };
    let refused = abandon(elsewhere, at(9)).await;
    assert!(matches!(refused, Err(MigrateError::Another { .. })), "{refused:?}");
    let third = MemoryStore::new();
    fill(&third, 1).await;
    moved(&third, &other).await.unwrap();
    let refused = abandon(Move { to: "here", ..elsewhere }, at(9)).await;
    assert!(matches!(refused, Err(MigrateError::Another { .. })), "it has another move's: {refused:?}");
    assert_eq!(standing(&source).await, Ok(Some(Standing::Leaving("here".into()))));
    // Whatever it is called: it is the one.
    let again = abandon(Move { target: &target, to: "over there", ..elsewhere }, at(9)).await;
    assert_eq!(again, Err(MigrateError::Left("here".into())));
}

/// Killed after the target was the store and before the source was none: the same again says so, though a server has worked there since.
#[tokio::test]
async fn one_that_was_killed_at_its_very_end_is_over() {
    let (source, target) = (MemoryStore::new(), MemoryStore::new());
    fill(&source, 20).await;
    moved(&source, &target).await.unwrap();
    let key = DocumentKey { kind: DocumentKind::Migration, name: "out".into() };
    let out = source.document(key.clone()).await.unwrap().unwrap();
    let undone = out.body.replace("\"done\":true", "\"done\":false");
    assert_ne!(undone, out.body);
    source.put_document(key, out.version, Some(undone), Vec::new()).await.unwrap();
    assert_eq!(standing(&source).await, Ok(Some(Standing::Leaving("here".into()))));
    let worked =
        AuditEntry { at: at(9), who: "cli".into(), action: "x".into(), subject: "y".into(), origin: String::new() };
    target.audit(vec![worked]).await.unwrap();
    assert!(moved(&source, &target).await.unwrap().was_done);
    assert_eq!(standing(&source).await, Ok(Some(Standing::Left("here".into()))));
}

/// A server that is heard of is waited for until it is gone; one that goes on saying something is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_served_is_not_moved() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (in_redis(1).await, embedded(dir.path()));
    fill(&source, 2).await;
    let says = |run, at| Presence {
        run,
        at,
        server: About { name: "office-1".into(), address: "192.0.2.1:80".into(), ..About::default() },
        stopping: false,
        clock: None,
        clients: Vec::new(),
        circuits: Vec::new(),
    };
    let saying = {
        let source = source.clone();
        tokio::spawn(async move {
            loop {
                let now = source.clock().await.unwrap().unwrap();
                source.presence(says(7, now)).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        })
    };
    match moved(&source, &target).await {
        Err(MigrateError::Served { servers, .. }) => assert_eq!(servers, "office-1 at 192.0.2.1:80"),
        other => panic!("{other:?}"),
    }
    saying.abort();
    moved(&source, &target).await.unwrap();
}

/// I23: what a later version says of a move is no damage, is not written over, and keeps servers away from both.
#[tokio::test]
async fn what_a_later_version_says_of_a_move_is_left_to_it() {
    for name in ["out", "in"] {
        let (source, target) = (MemoryStore::new(), MemoryStore::new());
        fill(&source, 1).await;
        let store = if name == "out" { &source } else { &target };
        let key = DocumentKey { kind: DocumentKind::Migration, name: name.into() };
        let later = r#"{"by":"a later version"}"#.to_owned();
        store.put_document(key.clone(), 0, Some(later.clone()), Vec::new()).await.unwrap().unwrap();
        let refused = moved(&source, &target).await;
        let is_later = matches!(refused, Err(MigrateError::Store { error: StoreError::Later { .. }, .. }));
        assert!(is_later, "{name}: {refused:?}");
        assert_eq!(store.document(key).await.unwrap().unwrap().body, later, "{name}");
        assert!(standing(store).await.unwrap().is_some(), "{name}");
    }
}
