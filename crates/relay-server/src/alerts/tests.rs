mod outcry;
mod several;
pub(crate) mod target;
mod ways;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use relay_core::{
    alert::Severity,
    delivery::{Delivery, Reason as Death, State as DeliveryState},
    id::IdMint,
    limits,
    storage::{Append, StoreError},
    time::Wall,
};
use relay_store::{
    memory::{MemoryStore, Trouble},
    seam::{DocumentKey, DocumentKind, Queue as _, Registry as _},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::target::Target;
use super::*;
use crate::{
    Config, Outside, Server,
    config::alert::{Format, Post, Way},
    principal::Principal,
    tests,
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn post_to(target: &Target, format: Format) -> Post {
    let url = format!("http://{}/hooks/T0/canary", target.addr).parse().unwrap();
    Post { url, format, secret: Some(SECRET.to_owned()), allow_private: true }
}

fn alert(name: &str, way: Way) -> DeclaredAlert {
    DeclaredAlert { name: name.parse().unwrap(), way, kinds: BTreeSet::new(), severity: Severity::Info }
}

/// A server whose alerts go to a target, and whose minutes pass when a test says so.
struct Bench {
    store: Arc<MemoryStore>,
    server: Server,
    alerts: Arc<Alerts>,
    watched: Watched,
    dir: TempDir,
}

impl Bench {
    async fn start(declared: Vec<DeclaredAlert>) -> Self {
        Self::over(Arc::new(MemoryStore::new()), tempfile::tempdir().unwrap(), declared).await
    }

    async fn over(store: Arc<MemoryStore>, dir: TempDir, declared: Vec<DeclaredAlert>) -> Self {
        let config = Config { alerts: declared, ..Config::sample(dir.path().to_owned()) };
        Self::of(store, dir, config).await
    }

    async fn named(relay: &str, store: Arc<MemoryStore>, dir: TempDir, declared: Vec<DeclaredAlert>) -> Self {
        let relay_name = Some(relay.to_owned());
        let config = Config { alerts: declared, relay_name, ..Config::sample(dir.path().to_owned()) };
        Self::of(store, dir, config).await
    }

    async fn of(store: Arc<MemoryStore>, dir: TempDir, config: Config) -> Self {
        let server = Box::pin(Server::start(config, store.clone(), Outside::default())).await.unwrap();
        let (alerts, watched) = (server.alerts(), server.watched());
        // A hub that has only just begun looks after nothing.
        while !watched.hub.partitions().await.unwrap().hold_first() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Self { store, server, alerts, watched, dir }
    }

    /// A look, so much later, at a store that was not looked at within half a second.
    async fn look_after(&self, span: Duration) {
        *self.alerts.ahead.lock().unwrap() += span;
        self.watched.health.forget().await;
        self.alerts.step(&self.watched).await;
    }

    /// What is so now is told, if it was not.
    async fn told(&self) {
        self.look_after(Duration::ZERO).await;
        self.look_after(limits::ALERT_HOLD).await;
    }

    /// What was told is kept once it has left.
    async fn until_kept(&self) {
        while !self.alerts.receivers().all(|receiver| receiver.is_idle()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.look_after(Duration::ZERO).await;
    }

    /// The store has something to say of itself.
    fn lacks_a_replica(&self) {
        let reasons = vec!["a replica is missing".into()];
        self.store.set_condition(seam::Condition { reasons, ..seam::Condition::default() });
    }

    /// Stores so many dead letters of a destination.
    async fn dead_letters(&self, count: usize) {
        let (mut mint, at) = (IdMint::new(0, rand::random()), self.alerts.clock.wall());
        let dead = |made: Delivery| Delivery { state: DeliveryState::Dead, reason: Some(Death::Rejected), ..made };
        let appends = (0..count).map(|_| append(&mut mint, at, ("in", "crm"), dead)).collect();
        assert!(self.store.append(appends).await.iter().all(Result::is_ok));
    }

    /// Ends it; what it stored and its directory.
    async fn stop(self) -> (Arc<MemoryStore>, TempDir) {
        self.server.run(std::future::ready(())).await;
        (Arc::new(self.store.reopen()), self.dir)
    }
}

/// An event from a source to a destination, whose delivery is what becomes of it.
fn append(
    mint: &mut IdMint,
    at: Wall,
    (source, destination): (&str, &str),
    becomes: impl FnOnce(Delivery) -> Delivery,
) -> Append {
    let event = tests::event(mint, at, source);
    let day = Duration::from_hours(24);
    let made = Delivery::ready(mint.delivery(at), &event, destination.parse().unwrap(), false, at, day);
    tests::append(event, vec![becomes(made)])
}

fn of(got: &Value, list: &str) -> Vec<(String, String)> {
    let items = got["data"][list].as_array().unwrap().iter();
    items
        .map(|item| (item["kind"].as_str().unwrap().to_owned(), item["subject"].as_str().unwrap_or("").to_owned()))
        .collect()
}

/// A hundred thousand dead letters are one message, which says how many; more of them are another, an hour later.
#[tokio::test]
async fn a_hundred_thousand_dead_letters_are_two_messages() {
    let target = Target::start().await;
    let bench = Bench::start(vec![alert("ops", Way::Post(post_to(&target, Format::StandardWebhooks)))]).await;
    bench.dead_letters(40_000).await;
    bench.told().await;
    for _ in 0..6 {
        bench.dead_letters(10_000).await;
        bench.look_after(Duration::from_mins(1)).await;
    }
    for _ in 0..60 {
        bench.look_after(Duration::from_mins(1)).await;
    }
    let got = target.until(2).await;
    bench.until_kept().await;
    assert_eq!(target.got().len(), 2);
    let (first, second) = (got[0].json(), got[1].json());
    assert_eq!((&first["type"], &first["data"]["severity"]), (&json!("alert.firing"), &json!("warning")));
    assert_eq!(of(&first, "begun"), [("dead_letters".into(), "crm".into())]);
    assert_eq!(first["data"]["begun"][0]["count"], 40_000);
    assert_eq!((of(&second, "begun"), of(&second, "lasting").len()), (Vec::new(), 1));
    assert_eq!(second["data"]["lasting"][0]["count"], 100_000);
    bench.stop().await;
}

/// What is over is told, and of several alerts each is told what it is for.
#[tokio::test]
async fn what_is_over_is_told_to_whom_it_was_told() {
    let (all, some) = (Target::start().await, Target::start().await);
    let dead_letters_only = DeclaredAlert {
        kinds: [relay_core::alert::Kind::DeadLetters].into(),
        ..alert("dead", Way::Post(post_to(&some, Format::StandardWebhooks)))
    };
    let everything = alert("ops", Way::Post(post_to(&all, Format::StandardWebhooks)));
    let bench = Bench::start(vec![everything, dead_letters_only]).await;
    bench.dead_letters(1).await;
    bench.lacks_a_replica();
    bench.told().await;
    let (got, few) = (all.until(1).await[0].json(), some.until(1).await[0].json());
    assert_eq!(of(&got, "begun").len(), 2, "{got:#}");
    assert_eq!(of(&few, "begun"), [("dead_letters".into(), "crm".into())]);
    bench.store.set_condition(seam::Condition::default());
    bench.told().await;
    let got = all.until(2).await[1].json();
    assert_eq!((of(&got, "over"), of(&got, "lasting").len()), (vec![("store".into(), String::new())], 1));
    bench.until_kept().await;
    assert_eq!(some.got().len(), 1, "it is for none of that");
    bench.stop().await;
}

/// A restart while something is so tells nothing anew; a message that did not leave before it is told after it.
#[tokio::test]
async fn a_restart_tells_nothing_twice_and_nothing_never() {
    let target = Target::start().await;
    let declared = || vec![alert("ops", Way::Post(post_to(&target, Format::StandardWebhooks)))];
    let bench = Bench::start(declared()).await;
    bench.dead_letters(1).await;
    bench.told().await;
    target.until(1).await;
    bench.until_kept().await;
    let (store, dir) = bench.stop().await;
    let names = store.documents(DocumentKind::Alert).await.unwrap();
    assert_eq!(names.iter().map(|document| document.key.name.as_str()).collect::<Vec<_>>(), ["@relay", "ops"]);

    let bench = Bench::over(store, dir, declared()).await;
    bench.told().await;
    bench.until_kept().await;
    assert_eq!(target.got().len(), 1, "it was told before");
    // A message that nobody takes before the process ends.
    bench.lacks_a_replica();
    target.answer(&[""]);
    bench.told().await;
    target.until(2).await;
    let (store, dir) = bench.stop().await;

    let bench = Bench::over(store, dir, declared()).await;
    bench.lacks_a_replica();
    bench.told().await;
    let got = target.until(3).await[2].json();
    assert_eq!((of(&got, "begun"), of(&got, "lasting").len()), (vec![("store".into(), String::new())], 1));
    let (store, dir) = bench.stop().await;

    // What is no longer declared is forgotten.
    let bench = Bench::over(store, dir, Vec::new()).await;
    bench.look_after(Duration::ZERO).await;
    let (store, _dir) = bench.stop().await;
    let names = store.documents(DocumentKind::Alert).await.unwrap();
    assert_eq!(
        names.iter().map(|document| document.key.name.as_str()).collect::<Vec<_>>(),
        ["@relay"],
        "the next alert is of the same relay"
    );
}

/// What was told as of one relay is told as over of the same, whatever it is called by then; what is new is told by its new name.
#[tokio::test]
async fn an_incident_keeps_its_name_when_the_relay_gets_another() {
    let target = Target::start().await;
    let declared = || vec![alert("ops", Way::Post(post_to(&target, Format::PagerDuty)))];
    let bench = Bench::start(declared()).await;
    bench.dead_letters(1).await;
    bench.told().await;
    let first = target.until(1).await[0].json()["dedup_key"].clone();
    bench.until_kept().await;
    let (store, dir) = bench.stop().await;
    let bench = Bench::named("staging", store, dir, declared()).await;
    bench.lacks_a_replica();
    bench.told().await;
    let of_second = |got: &[target::Got], kind: &str| {
        let keys = got.iter().map(|got| got.json()["dedup_key"].as_str().unwrap().to_owned());
        keys.skip(1).find(|key| key.contains(kind)).unwrap()
    };
    let got = target.until(3).await;
    assert_eq!(json!(of_second(&got, "dead_letters")), first);
    assert!(of_second(&got, "/store/").starts_with("crm-relay/staging/"), "{}", of_second(&got, "/store/"));
    bench.stop().await;
}

/// A store that does not say how it is is told, and ends nothing that was told before; what cannot be kept is told all the same.
#[tokio::test]
async fn a_store_that_is_away_is_told() {
    let target = Target::start().await;
    let bench = Bench::start(vec![alert("ops", Way::Post(post_to(&target, Format::StandardWebhooks)))]).await;
    bench.dead_letters(1).await;
    bench.told().await;
    target.until(1).await;
    let away = [Trouble::Upkeep, Trouble::Documents, Trouble::PutDocument];
    bench.store.set_trouble(away.map(|trouble| (trouble, StoreError::Away)).to_vec());
    bench.told().await;
    let got = target.until(2).await[1].json();
    assert_eq!((&got["data"]["severity"], of(&got, "over").len()), (&json!("critical"), 0));
    assert_eq!(of(&got, "begun"), [("store".into(), String::new())]);
    bench.store.set_trouble(Vec::new());
    bench.told().await;
    let got = target.until(3).await[2].json();
    assert_eq!((of(&got, "over").len(), of(&got, "lasting").len()), (1, 1));
    bench.stop().await;
}

/// Who cannot be told is a reason of `/health`, a count, and is told to others.
#[tokio::test]
async fn an_alert_that_reaches_nobody_is_told_by_another() {
    let (target, gone) = (Target::start().await, Target::start().await);
    gone.answer(&["HTTP/1.1 500 Oh No\r\n\r\n"; 100]);
    let declared = vec![
        alert("gone", Way::Post(post_to(&gone, Format::Slack))),
        alert("ops", Way::Post(post_to(&target, Format::StandardWebhooks))),
    ];
    let bench = Bench::start(declared).await;
    bench.dead_letters(1).await;
    bench.told().await;
    target.until(1).await;
    for tries in 1..=3 {
        gone.until(tries).await;
        let pause = relay_core::alert::pause_after(tries as u32).unwrap();
        while bench.alerts.receiver("gone").unwrap().account().error.is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if tries < 3 {
            advance(pause).await;
        }
    }
    let untold = || async {
        bench.watched.health.forget().await;
        let report = bench.watched.health.report().await.unwrap();
        report.reasons.iter().map(ToString::to_string).find(|words| words.starts_with("alert gone: nobody is told"))
    };
    while untold().await.is_none() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let words = untold().await.unwrap();
    assert!(words.contains("status 500") && words.contains("crm-relay alert test gone"), "{words}");
    assert!(!words.contains("canary"), "the URL is a secret: {words}");
    bench.told().await;
    let got = target.until(2).await[1].json();
    assert_eq!(of(&got, "begun"), [("alert".into(), "gone".into())]);
    bench.stop().await;
}

/// Requests that a source refuses, each a real one.
#[tokio::test]
async fn a_source_that_refuses_most_is_told() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let target = Target::start().await;
    let bench = Bench::start(vec![alert("ops", Way::Post(post_to(&target, Format::StandardWebhooks)))]).await;
    bench.look_after(Duration::ZERO).await;
    // What other servers on the store accept says nothing of this one.
    let (mut mint, at) = (IdMint::new(0, 7), bench.alerts.clock.wall());
    let elsewhere = (0..100).map(|_| append(&mut mint, at, ("default", "crm"), |waits| waits)).collect();
    assert!(bench.store.append(elsewhere).await.iter().all(Result::is_ok));
    for _ in 0..12 {
        let mut socket = tokio::net::TcpStream::connect(bench.server.public_addr().unwrap()).await.unwrap();
        let request = b"POST /webhook HTTP/1.1\r\nHost: a\r\nX-API-Key: wrong\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        socket.write_all(request).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    bench.told().await;
    let got = target.until(1).await[0].json();
    assert_eq!(of(&got, "begun"), [("refused".into(), "default".into())]);
    assert!(got["data"]["begun"][0]["words"].as_str().unwrap().contains("12 requests refused and 0 accepted"));
    bench.look_after(limits::REFUSED_WITHIN).await;
    bench.told().await;
    assert_eq!(of(&target.until(2).await[1].json(), "over"), [("refused".into(), "default".into())]);
    bench.stop().await;
}

/// What operators pause is worth knowing, and no more: an alert is asked for it.
#[tokio::test]
async fn a_pause_is_told_to_whom_wants_to_know_everything() {
    let (target, usual) = (Target::start().await, Target::start().await);
    let severe = DeclaredAlert {
        severity: Severity::Warning,
        ..alert("usual", Way::Post(post_to(&usual, Format::StandardWebhooks)))
    };
    let declared = vec![alert("ops", Way::Post(post_to(&target, Format::StandardWebhooks))), severe];
    let bench = Bench::start(declared).await;
    bench.watched.registry.set_paused(&"default".parse().unwrap(), true, &Principal::CONFIG).await.unwrap();
    let (mut mint, at) = (IdMint::new(0, 7), bench.alerts.clock.wall());
    let append = append(&mut mint, at, ("default", "default"), |waits| waits);
    assert!(bench.store.append(vec![append]).await.iter().all(Result::is_ok));
    bench.told().await;
    let got = target.until(1).await[0].json();
    assert_eq!(
        (of(&got, "begun"), &got["data"]["severity"]),
        (vec![("paused".into(), "default".into())], &json!("info"))
    );
    bench.until_kept().await;
    assert_eq!(usual.got(), []);
    bench.stop().await;
}

/// What a server told of itself that does not come back is told as over, in its name, and forgotten; what one told that is away for a
/// moment is not.
#[tokio::test]
async fn what_a_server_told_that_is_gone_is_over() {
    let target = Target::start().await;
    let store = Arc::new(MemoryStore::new());
    let told =
        r#"{"at":1,"interval_ms":3600000,"told":[{"kind":"disk","severity":"critical","words":"no room","since":1}]}"#;
    let key = |name: &str| DocumentKey { kind: DocumentKind::Alert, name: name.to_owned() };
    for name in ["ops@pod-7", "other@pod-7"] {
        assert_eq!(store.put_document(key(name), 0, Some(told.to_owned()), Vec::new()).await, Ok(Some(1)));
    }
    let declared = vec![alert("ops", Way::Post(post_to(&target, Format::StandardWebhooks)))];
    let bench = Bench::over(store, tempfile::tempdir().unwrap(), declared).await;
    bench.look_after(Duration::ZERO).await;
    bench.look_after(Duration::from_mins(50)).await;
    let kept = async || {
        let kept = bench.store.documents(DocumentKind::Alert).await.unwrap();
        kept.into_iter().filter(|document| document.key.name != "@relay").count()
    };
    assert_eq!(kept().await, 2);
    bench.look_after(Duration::from_mins(10)).await;
    let got = target.until(1).await[0].json();
    assert_eq!((&got["type"], &got["data"]["server"]), (&json!("alert.over"), &json!("pod-7")));
    assert_eq!(of(&got, "over"), [("disk".into(), String::new())]);
    bench.until_kept().await;
    assert_eq!(kept().await, 0);
    bench.look_after(Duration::from_mins(10)).await;
    bench.until_kept().await;
    assert_eq!(target.got().len(), 1);
    bench.stop().await;
}

/// A message that is given up is told again, as far as it is so.
#[tokio::test]
async fn what_nobody_took_is_told_anew() {
    let target = Target::start().await;
    let bench = Bench::start(vec![alert("ops", Way::Post(post_to(&target, Format::StandardWebhooks)))]).await;
    bench.dead_letters(1).await;
    bench.told().await;
    target.until(1).await;
    bench.until_kept().await;
    target.answer(&["HTTP/1.1 500 Oh No\r\n\r\n"; limits::ALERT_TRIES_MAX as usize]);
    bench.lacks_a_replica();
    bench.told().await;
    target.until(2).await;
    tokio::time::pause();
    while bench.alerts.receiver("ops").unwrap().account().untold == 0 {
        tokio::time::advance(limits::ALERT_RETRY_MAX / 4).await;
        // Sockets do not wait for a clock.
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
    let tried = target.got().len();
    bench.told().await;
    let got = target.until(tried + 1).await[tried].json();
    assert_eq!(of(&got, "begun"), [("store".into(), String::new())], "nobody heard of it");
    bench.stop().await;
}

/// Lets this much time pass for what sleeps.
async fn advance(span: Duration) {
    tokio::time::pause();
    tokio::time::advance(span).await;
    tokio::time::resume();
}
