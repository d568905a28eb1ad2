//! Told where nobody looks any more: at the end of a process whose store failed, and before one that could look.

use super::*;
use crate::relay_name::{RelayName, beside};

/// A server's data directory, and who is told of it.
struct Scene {
    dir: TempDir,
    target: Target,
}

impl Scene {
    async fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), target: Target::start().await }
    }

    fn config(&self) -> Config {
        let disk_only = DeclaredAlert { kinds: [relay_core::alert::Kind::Disk].into(), ..self.alert("disk") };
        Config { alerts: vec![self.alert("ops"), disk_only], ..Config::sample(self.dir.path().to_owned()) }
    }

    fn alert(&self, name: &str) -> DeclaredAlert {
        alert(name, Way::Post(post_to(&self.target, Format::StandardWebhooks)))
    }

    fn outcry(&self) -> Outcry {
        Outcry::of(&self.config())
    }

    /// How often somebody was told.
    fn told(&self) -> usize {
        self.target.got().len()
    }

    /// What was noted is so much older.
    fn age(&self, span: Duration) {
        self.edit(|note| note["at"] = (note["at"].as_i64().unwrap() - span.as_micros() as i64).into());
    }

    /// Changes what was noted.
    fn edit(&self, change: impl Fn(&mut Value)) {
        let path = self.dir.path().join("told-failed");
        let mut notes: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        notes.as_array_mut().unwrap().iter_mut().for_each(change);
        std::fs::write(path, notes.to_string()).unwrap();
    }
}

/// As of which relay it is left, for each alert.
async fn left_in(dir: &std::path::Path) -> Vec<(String, String)> {
    let config = Config { alerts: Vec::new(), ..Config::sample(dir.to_owned()) };
    let left = Outcry::of(&config).left(false).await.into_iter();
    left.map(|(name, memory)| (name.to_string(), memory.told[0].relay.clone())).collect()
}

const FAILED: &str = "the store has failed:\nits disk";

/// Whom it concerns is told once, however often the process is started again within the hour, and then again.
#[tokio::test]
async fn a_store_that_fails_again_and_again_is_told_once_an_hour() {
    let scene = Scene::new().await;
    for _ in 0..3 {
        scene.outcry().tell(Cry::Ends, FAILED, Duration::ZERO).await;
    }
    assert_eq!(scene.told(), 1);
    let got = scene.target.got()[0].json();
    assert_eq!(
        (of(&got, "begun"), &got["data"]["severity"]),
        (vec![("store".into(), String::new())], &json!("critical"))
    );
    assert_eq!(got["data"]["begun"][0]["words"], FAILED.replace('\n', " "));
    // That it takes long to open is another thing, and the same incident, also for who knows the relay by another name.
    let named = Config { relay_name: Some("another".into()), ..scene.config() };
    Outcry::of(&named).tell(Cry::Opens, "the store takes long to open", Duration::ZERO).await;
    assert_eq!(scene.told(), 2);
    let left = left_in(scene.dir.path()).await;
    let noted = std::fs::read_to_string(scene.dir.path().join("told-opening")).unwrap();
    assert!(left.len() == 1 && noted.contains(&left[0].1), "{left:?} {noted}");
    scene.age(Duration::from_mins(59));
    scene.outcry().tell(Cry::Ends, FAILED, Duration::ZERO).await;
    assert_eq!(scene.told(), 2);
    scene.age(Duration::from_mins(1));
    scene.outcry().tell(Cry::Ends, FAILED, Duration::ZERO).await;
    assert_eq!(scene.told(), 3);
}

/// Where nothing can be written down, a process that is started over and over tells nobody each time; one that had run for long does.
#[tokio::test]
async fn what_cannot_be_written_down_makes_no_storm() {
    let scene = Scene::new().await;
    let nowhere = scene.dir.path().join("a file");
    std::fs::write(&nowhere, "").unwrap();
    let outcry = scene.outcry().noted_in(vec![nowhere.join("a"), nowhere.join("b")]);
    for _ in 0..3 {
        outcry.tell(Cry::Ends, FAILED, limits::OUTCRY_RAN / 2).await;
    }
    assert_eq!(scene.told(), 0);
    outcry.tell(Cry::Ends, FAILED, limits::OUTCRY_RAN).await;
    assert_eq!(scene.told(), 1);
    // A data directory that takes nothing is not the only place.
    let beside = tempfile::tempdir().unwrap();
    let outcry = scene.outcry().noted_in(vec![nowhere.join("a"), beside.path().to_owned()]);
    for _ in 0..3 {
        outcry.tell(Cry::Ends, FAILED, Duration::ZERO).await;
    }
    assert_eq!(scene.told(), 2);
}

/// Somebody who refuses is tried again, and who says nothing is waited for no longer than everybody may take together.
#[tokio::test]
async fn nobody_holds_up_the_end_of_the_process() {
    let scene = Scene::new().await;
    scene.target.answer(&["HTTP/1.1 503 No\r\n\r\n"]);
    scene.outcry().tell(Cry::Ends, FAILED, Duration::ZERO).await;
    assert_eq!(scene.told(), 2);
    let scene = Scene::new().await;
    scene.target.answer(&[""]);
    let outcry = scene.outcry();
    let ((), ()) = tokio::join!(outcry.tell(Cry::Ends, FAILED, Duration::ZERO), async {
        scene.target.until(1).await;
        advance(limits::OUTCRY_WITHIN).await;
    });
    assert_eq!(scene.told(), 1);
}

/// Who refuses it has not heard it, and is not told that it is over.
#[tokio::test]
async fn what_nobody_heard_is_not_over() {
    let scene = Scene::new().await;
    scene.target.answer(&["HTTP/1.1 503 No\r\n\r\n", ""]);
    let outcry = scene.outcry();
    let ((), ()) = tokio::join!(outcry.tell(Cry::Ends, FAILED, Duration::ZERO), async {
        scene.target.until(1).await;
        // Between two tries it is known that nobody has it.
        let none_left = async { while !left_in(scene.dir.path()).await.is_empty() {} };
        timeout(Duration::from_mins(1), none_left).await.expect("it is written down that nobody has it");
        scene.target.until(2).await;
        advance(limits::OUTCRY_WITHIN).await;
    });
}

/// Who did not hear it is told by a later start, once a minute at most, and nobody else.
#[tokio::test]
async fn who_did_not_hear_it_is_told_later() {
    let (scene, other) = (Scene::new().await, Scene::new().await);
    let outcry = || Outcry::of(&Config { alerts: vec![scene.alert("ops"), other.alert("night")], ..scene.config() });
    outcry().tell(Cry::Ends, FAILED, Duration::ZERO).await;
    assert_eq!((scene.told(), other.told(), left_in(scene.dir.path()).await.len()), (1, 1, 2));
    scene.edit(|note| {
        if note["alert"] == "night" {
            note["arrival"] = "failed".into();
        }
    });
    // Not at each of many starts; and what nobody has heard is not told as over.
    outcry().tell(Cry::Ends, FAILED, Duration::ZERO).await;
    assert_eq!((scene.told(), other.told(), left_in(scene.dir.path()).await.len()), (1, 1, 1));
    scene.age(Duration::from_mins(1));
    outcry().tell(Cry::Ends, FAILED, Duration::ZERO).await;
    assert_eq!((scene.told(), other.told(), left_in(scene.dir.path()).await.len()), (1, 2, 2));
}

/// A server whose store fails tells it before it ends; the next one tells once that it is over, however often it is started, by the key that
/// it was told with.
#[tokio::test]
async fn a_store_that_failed_is_told_and_told_as_over() {
    use relay_store::sqlite::{Edge, EdgeAction, Edges, Options, SqliteStore};
    let scene = Scene::new().await;
    let fails = |edge| if edge == Edge::BeforeCheckpoint { EdgeAction::Io } else { EdgeAction::Continue };
    let options = Options { edges: Edges::new(fails), disk_reserve: 0, ..Options::new(scene.dir.path()) };
    let store = Arc::new(SqliteStore::open(options).unwrap());
    let server = Server::start(scene.config(), store.clone(), Outside::default()).await.unwrap();
    let mark = RelayName::of(&scene.config(), &*store).await.mark;
    assert_eq!(beside(scene.dir.path()), Some(mark.clone()), "for who cannot ask the store");
    let outcome = server.run(std::future::ready(())).await;
    assert!(matches!(outcome, crate::Outcome::StoreFailed(_)), "{outcome:?}");
    let got = scene.target.until(1).await[0].json();
    assert!(got["data"]["begun"][0]["words"].as_str().unwrap().contains("BeforeCheckpoint"), "{got}");
    assert_eq!(left_in(scene.dir.path()).await, [("ops".to_owned(), mark)]);

    let Scene { dir, target } = scene;
    let declared = || vec![alert("ops", Way::Post(post_to(&target, Format::StandardWebhooks)))];
    let bench = Bench::over(Arc::new(MemoryStore::new()), dir, declared()).await;
    bench.look_after(Duration::ZERO).await;
    assert_eq!(left_in(bench.dir.path()).await.len(), 1, "nobody has told it as over yet");
    let (store, dir) = bench.stop().await;
    let bench = Bench::over(store, dir, declared()).await;
    for _ in 0..12 {
        bench.look_after(limits::ALERT_HOLD).await;
    }
    let got = target.until(2).await[1].json();
    assert_eq!((&got["type"], of(&got, "over")), (&json!("alert.over"), vec![("store".into(), String::new())]));
    bench.until_kept().await;
    let told = async {
        while !left_in(bench.dir.path()).await.is_empty() {
            bench.look_after(Duration::ZERO).await;
        }
    };
    timeout(Duration::from_mins(1), told).await.expect("it is written down that it was told as over");
    // Another failure is another one.
    Outcry::of(&Config { alerts: declared(), ..Config::sample(bench.dir.path().to_owned()) })
        .tell(Cry::Ends, FAILED, Duration::ZERO)
        .await;
    assert_eq!(target.until(3).await[2].json()["type"], "alert.firing");
    bench.look_after(Duration::ZERO).await;
    assert_eq!(target.got().len(), 3);
    bench.stop().await;
}
