//! Copies that a server takes by itself, of a real store.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use bytes::Bytes;
use relay_core::{event::Event, id::IdMint, storage::Append};
use relay_store::{
    cipher::Ciphers,
    copy::DATABASE,
    seam::Queue as _,
    sqlite::{Options, SqliteStore, restore},
};
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::{secret::sha256, tests};

const EVERY: Duration = Duration::from_hours(24);

/// A store and the directory of its copies, over several runs.
struct Scene {
    data: TempDir,
    copies: TempDir,
    store: Arc<SqliteStore>,
    ciphers: Ciphers,
}

impl Scene {
    fn new() -> Self {
        Self::sealed(Ciphers::default())
    }

    fn sealed(ciphers: Ciphers) -> Self {
        let (data, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = SqliteStore::open(Options {
            disk_reserve: 0,
            ballast: false,
            ciphers: ciphers.clone(),
            ..Options::new(data.path())
        })
        .unwrap();
        Self { data, copies, store: Arc::new(store), ciphers }
    }

    /// A run that begins now.
    fn run(&self, disk_reserve: u64) -> Arc<Backups> {
        self.run_to(self.copies.path(), disk_reserve)
    }

    fn run_to(&self, dir: &Path, disk_reserve: u64) -> Arc<Backups> {
        let plan = BackupPlan { dir: dir.to_owned(), every: EVERY, keep: 2, ciphers: self.ciphers.clone() };
        let place = (self.data.path().to_owned(), disk_reserve);
        Arc::new(Backups::new(plan, self.store.epoch().unwrap(), self.store.clone(), place, Clock::start(Wall::MIN)))
    }

    /// Names in the directory, in order.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.copies.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Every copy there is so much older.
    fn age(&self, backups: &Backups, span: Duration) {
        for copy in self.names() {
            let path = self.copies.path().join(copy);
            let at = backups.shelf.taken_at(&path).unwrap();
            fs::rename(&path, backups.shelf.path(Wall::MIN + at.since(Wall::MIN).saturating_sub(span))).unwrap();
        }
    }
}

/// A webhook of eight megabytes, whole or not.
fn large(is_whole: bool) -> Append {
    let body = vec![b'x'; 8 << 20];
    let body_sha256 = if is_whole { sha256(&body) } else { [0; 32] };
    let (at, mut mint) = (Wall::from_micros(1_700_000_000_000_000), IdMint::new(0, 7));
    let event = Event { body: Bytes::from(body), body_sha256, ..tests::event(&mut mint, at, "default") };
    tests::append(event, Vec::new())
}

impl Backups {
    fn words(&self, later: Duration) -> Option<String> {
        self.wanting(self.clock.now() + later).map(|wanting| wanting.to_string())
    }
}

/// The first copy is taken at once, the next one when it is due, also after a restart; each can be restored, is its owner's alone, and of
/// older ones so many stay as were asked for.
#[tokio::test]
async fn copies_are_taken_when_they_are_due() {
    let scene = Scene::new();
    let first = scene.run(0);
    assert_eq!(first.words(Duration::ZERO), None, "a run that has just begun is not late");
    first.step().await;
    assert_eq!((scene.names().len(), first.words(Duration::ZERO)), (1, None));
    let path = scene.copies.path().join(&scene.names()[0]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join(DATABASE))), (0o700, 0o600));
    let elsewhere = tempfile::tempdir().unwrap();
    restore(&path, elsewhere.path(), first.clock.wall()).unwrap();
    // What a run took is reckoned by its own time.
    let words = first.words(EVERY * 2).unwrap();
    assert!(words.starts_with("there is no backup younger than 2 d") && words.contains("is 2 d old"), "{words}");

    let second = scene.run(0);
    second.step().await;
    assert_eq!(scene.names().len(), 1, "the name says when the next is due");
    for taken in 2..=4 {
        scene.age(&second, EVERY);
        let run = scene.run(0);
        run.step().await;
        assert_eq!(scene.names().len(), taken.min(2));
        assert_eq!((run.shown(run.clock.now()).trouble, run.words(Duration::ZERO)), (None, None));
    }
    scene.store.close().await;
}

/// One that somebody removed is missed, though an older one is there.
#[tokio::test]
async fn a_copy_that_was_removed_is_missed() {
    let scene = Scene::new();
    let backups = scene.run(0);
    backups.step().await;
    scene.age(&backups, EVERY * 3);
    let second = scene.run(0);
    second.step().await;
    assert_eq!((scene.names().len(), second.words(Duration::ZERO)), (2, None));
    fs::remove_dir_all(scene.copies.path().join(&scene.names()[1])).unwrap();
    second.list().await;
    let words = second.words(Duration::ZERO).unwrap();
    assert!(second.is_due(second.clock.now()) && words.contains("is 3 d old"), "{words}");
    scene.store.close().await;
}

/// A directory that hangs is told, and asked by one thread alone.
#[tokio::test(start_paused = true)]
async fn a_directory_that_does_not_answer_is_told() {
    let scene = Scene::new();
    let backups = scene.run(0);
    *backups.listing.lock().await = Some(tokio::spawn(std::future::pending()));
    for _ in 0..2 {
        backups.step().await;
        let words = backups.words(Duration::ZERO).unwrap();
        assert!(words.contains("does not answer") && words.contains("what is in it is not known"), "{words}");
        assert_eq!(backups.wanting(backups.clock.now()).and_then(|wanting| wanting.missed), None, "nobody knows that");
        assert!(backups.listing.lock().await.is_some());
    }
    let words = backups.words(FIRST_WITHIN).unwrap();
    assert!(words.starts_with("nobody knows of a backup younger than 2 d"), "{words}");
    assert_eq!(scene.names(), Vec::<String>::new());
    scene.store.close().await;
}

/// A link into the data directory is found where it leads.
#[tokio::test]
async fn a_directory_that_leads_into_the_data_directory_is_none() {
    let scene = Scene::new();
    fs::create_dir(scene.data.path().join("copies")).unwrap();
    let link = scene.copies.path().join("link");
    std::os::unix::fs::symlink(scene.data.path().join("copies"), &link).unwrap();
    let backups = scene.run_to(&link, 0);
    backups.step().await;
    let words = backups.words(Duration::ZERO).unwrap();
    assert!(words.contains("is in DATA_DIR"), "{words}");
    scene.store.close().await;
}

/// What keeps a copy from being taken is said, with what mends it, and tried again a while later; nothing of it is left, nor what a process
/// that was killed has left.
#[tokio::test]
async fn a_copy_that_cannot_be_taken_is_told() {
    let scene = Scene::new();
    let told = async |backups: &Arc<Backups>| {
        backups.step().await;
        backups.words(Duration::ZERO).unwrap()
    };
    let nowhere = scene.run_to(&scene.copies.path().join("unmounted"), 0);
    let words = told(&nowhere).await;
    assert!(words.starts_with("there is no backup younger than 2 d") && words.contains("mkdir -m 700"), "{words}");
    assert!(!nowhere.is_due(nowhere.clock.now()), "not at once");
    assert!(nowhere.is_due(nowhere.clock.now() + RETRY_AFTER));

    fs::set_permissions(scene.copies.path(), fs::Permissions::from_mode(0o770)).unwrap();
    let words = told(&scene.run(0)).await;
    assert!(words.contains("chmod go-w"), "{words}");
    fs::set_permissions(scene.copies.path(), fs::Permissions::from_mode(0o700)).unwrap();

    // On the disk of the store a copy leaves what webhooks never fill.
    let words = told(&scene.run(u64::MAX / 2)).await;
    assert!(words.contains("has no room for the copy") && words.contains("DISK_RESERVE"), "{words}");
    assert_eq!(scene.names(), Vec::<String>::new());

    let left = scene.copies.path().join(".crm-relay-0-2026.crm-relay-part");
    fs::create_dir(&left).unwrap();
    fs::write(left.join(DATABASE), "half").unwrap();
    let well = scene.run(0);
    well.step().await;
    assert_eq!((well.words(Duration::ZERO), scene.names().len(), left.exists()), (None, 1, false));

    // One that is there and old, and another that does not come about: how old it is, and why.
    scene.age(&well, EVERY);
    let words = told(&scene.run(u64::MAX / 2)).await;
    assert!(words.starts_with("the latest backup to") && words.contains("the newest is 24 h old"), "{words}");
    scene.age(&well, EVERY);
    assert!(told(&scene.run(u64::MAX / 2)).await.starts_with("there is no backup younger than 2 d"));
    scene.store.close().await;
}

/// S32: the copy of a sealed store is sealed, and read through with its keys.
#[tokio::test]
async fn a_sealed_store_stays_sealed_in_its_copies() {
    let key = "1 MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let scene = Scene::sealed(Ciphers::read(key).unwrap());
    assert!(scene.store.append(vec![large(true)]).await[0].is_ok());
    let backups = scene.run(0);
    backups.step().await;
    assert_eq!((backups.words(Duration::ZERO), scene.names().len()), (None, 1));
    let database = fs::read(scene.copies.path().join(&scene.names()[0]).join(DATABASE)).unwrap();
    assert!(!database.windows(64).any(|bytes| bytes == [b'x'; 64]), "the body is not to be read in it");
    assert!(check_copy(&scene.copies.path().join(&scene.names()[0]), &Ciphers::default(), &Arc::default()).is_err());
    scene.store.close().await;
}

/// While somebody takes a copy by hand, one that is due waits for it.
#[tokio::test]
async fn a_copy_by_hand_is_waited_for() {
    let scene = Scene::new();
    // More than waits between the store and whoever takes it.
    assert!(scene.store.append(vec![large(true)]).await[0].is_ok());
    let by_hand = scene.store.backup().await.unwrap();
    assert!(matches!(scene.store.backup().await, Err(BackupError::UnderWay)));
    let backups = scene.run(0);
    let (taken, ()) = tokio::join!(backups.take(), async {
        // Its directory is there once it asks.
        while scene.names().is_empty() {
            sleep(Duration::from_millis(2)).await;
        }
        drop(by_hand);
    });
    assert!(taken.is_ok(), "{taken:?}");
    scene.store.close().await;
}

/// I18: a copy that does not hold gets no name, and the one before it stays.
#[tokio::test]
async fn a_copy_that_does_not_hold_is_told_and_thrown_away() {
    let scene = Scene::new();
    let first = scene.run(0);
    first.step().await;
    scene.age(&first, EVERY);
    let names = scene.names();
    assert!(scene.store.append(vec![large(false)]).await[0].is_ok());
    let backups = scene.run(0);
    backups.step().await;
    let words = backups.words(Duration::ZERO).unwrap();
    assert!(words.contains("does not hold (1 faults") && words.contains("store check"), "{words}");
    assert_eq!(scene.names(), names);
    scene.store.close().await;
}

/// A server that stops in the middle of a copy leaves nothing under its name.
#[tokio::test]
async fn a_copy_that_nobody_waits_for_ends() {
    let scene = Scene::new();
    // It takes a while.
    assert!(scene.store.append(vec![large(true)]).await[0].is_ok());
    let backups = scene.run(0);
    drop(timeout(Duration::ZERO, backups.take()).await);
    let since = Instant::now();
    while Arc::strong_count(&backups) > 1 {
        assert!(since.elapsed() < Duration::from_mins(1), "its thread goes on");
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(scene.names(), Vec::<String>::new());
    scene.store.close().await;
}
