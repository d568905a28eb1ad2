//! Filling and finding, over a store in memory.

use std::{
    io::Write as _,
    pin::pin,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use relay_core::{
    event::Event,
    id::{EventId, IdMint},
    storage::{Append, Page, StoreError},
    time::Wall,
};
use relay_store::{
    Store,
    memory::{MemoryStore, Trouble},
    seam::{Archive as _, Marking, Queue as _},
    sqlite::{Edge, EdgeAction, Edges, Options, SqliteStore},
};
use tokio::time::timeout;

use super::{fill::Run, *};
use crate::{Config, principal::Principal, registry::SourceUpdate};

/// A server's marks of the source `default`, and what it has come to.
struct Bench<S = MemoryStore> {
    store: Arc<S>,
    registry: Arc<Registry>,
    clock: Clock,
    marks: Marks,
    run: Run,
    mint: IdMint,
}

impl Bench {
    async fn start() -> Self {
        Self::over(Arc::new(MemoryStore::new()), Wall::MIN).await
    }

    /// The process ends, and another begins, not before then.
    async fn restart(self, at_least: Wall) -> Self {
        Self::over(Arc::new(self.store.reopen()), at_least).await
    }
}

impl<S: Store> Bench<S> {
    async fn over(store: Arc<S>, at_least: Wall) -> Self {
        let clock = Clock::start(at_least);
        let registry = Registry::open(store.clone(), clock, &Config::sample("/nonexistent".into())).await.unwrap();
        let registry = Arc::new(registry);
        let room = Arc::new(Semaphore::new(1));
        let marks = Marks::new((store.clone(), store.clone()), Arc::clone(&registry), clock, room);
        let floor = store.stats().await.unwrap().id_floor;
        Self { store, registry, clock, marks, run: Run::default(), mint: IdMint::new(floor, 7) }
    }

    /// An event of so long ago.
    async fn event(&mut self, body: &str, ago: Duration) -> EventId {
        self.event_at(body, self.clock.wall() - ago).await
    }

    async fn event_at(&mut self, body: &str, at: Wall) -> EventId {
        let append = self.appending(body, at);
        let id = append.event.id;
        assert!(self.store.append(vec![append]).await.iter().all(Result::is_ok));
        id
    }

    fn appending(&mut self, body: &str, at: Wall) -> Append {
        let event = Event {
            id: self.mint.event(at),
            source: Name::fallback(),
            method: "POST".into(),
            path: "/webhook".into(),
            query: None,
            headers: Vec::new(),
            body: body.to_owned().into(),
            body_sha256: [0; 32],
            received_at: at,
            name: None,
            key: None,
        };
        Append { event: Arc::new(event), deliveries: Vec::new(), dedupe: None, deadline: Wall::MAX }
    }

    async fn declare(&self, mark: &[(&str, &str)], unmark: &[&str]) {
        let update = SourceUpdate {
            mark: mark.iter().map(|(name, path)| (name.parse().unwrap(), path.parse().unwrap())).collect(),
            unmark: unmark.iter().map(|name| name.parse().unwrap()).collect(),
            ..SourceUpdate::default()
        };
        self.registry.update_source(&Name::fallback(), update, &Principal::CONFIG).await.unwrap();
    }

    /// Fills until there is no more to do.
    async fn fill(&mut self) {
        while self.marks.round(&mut self.run).await.unwrap() {}
    }

    async fn find(&self, mark: &str, value: &str) -> Sought {
        let lookup = self.marks.lookup(&Name::fallback(), mark, value).unwrap();
        self.marks.find(&lookup, Page { cursor: None, limit: 1000 }).await.unwrap()
    }

    async fn ids(&self, mark: &str, value: &str) -> Vec<EventId> {
        self.find(mark, value).await.rows.iter().map(|row| row.event.id).collect()
    }
}

const HOUR: Duration = Duration::from_hours(1);

/// I26: what came before a mark was declared is found by it, and what came since, and not what may still be overtaken by something late.
#[tokio::test]
async fn what_came_before_and_since_is_found() {
    let mut bench = Bench::start().await;
    let now = bench.clock.wall();
    let first = bench.event_at(r#"{"customer":"cus_1"}"#, now - HOUR * 2).await;
    bench.event_at(r#"{"customer":"cus_2"}"#, now - HOUR).await;
    bench.declare(&[("customer", "$.customer")], &[]).await;
    let nothing = bench.find("customer", "cus_1").await;
    assert!(nothing.rows.is_empty() && nothing.indexed.is_none());
    bench.fill().await;
    let second = bench.event_at(r#"{"customer":["cus_1","cus_3"]}"#, now + HOUR).await;
    bench.event_at(r#"{"customer":"cus_1"}"#, now + HOUR * 3).await;
    bench.fill().await;
    assert_eq!(bench.ids("customer", "cus_1").await, [first]);
    let mut bench = bench.restart(now + HOUR * 2).await;
    assert_eq!(bench.ids("customer", "cus_1").await, [first]);
    bench.fill().await;
    assert_eq!(bench.ids("customer", "cus_1").await, [second, first]);
    assert_eq!(bench.ids("customer", "cus_3").await, [second]);
    let indexed = bench.find("customer", "cus_1").await.indexed.unwrap();
    assert_eq!(indexed.from, Wall::MIN);
    assert!(now + HOUR < indexed.to && indexed.to < now + HOUR * 3, "{indexed:?}");
    let wrong = bench.marks.lookup(&Name::fallback(), "gone", "1");
    assert!(matches!(wrong, Err(MarksError::NoMark { has, .. }) if has == "it has: customer"));
}

/// I26: however many come in a millisecond, and wherever the process ends: each is found once all is filled.
#[tokio::test]
async fn pages_lose_nothing_between_them_and_go_on_behind_a_restart() {
    let mut bench = Bench::start().await;
    bench.declare(&[("number", "$.number"), ("all", "$.all")], &[]).await;
    let (burst, mut all) = (bench.clock.wall() - HOUR, Vec::new());
    for number in 0..700 {
        all.push(bench.event_at(&format!(r#"{{"number":{number},"all":true}}"#), burst).await);
    }
    for _ in 0..3 {
        bench.marks.round(&mut bench.run).await.unwrap();
    }
    let mut bench = bench.restart(Wall::MIN).await;
    bench.fill().await;
    all.reverse();
    assert_eq!(bench.ids("all", "true").await, all);
    assert_eq!(bench.ids("number", "0").await, all[699..]);
    assert_eq!(bench.ids("number", "450").await, all[249..250]);
}

/// Another place under the same name finds what stands there, and nothing by what stood at the one before; a mark that is taken away leaves nothing.
#[tokio::test]
async fn another_definition_is_filled_anew_and_one_that_goes_leaves_nothing() {
    let mut bench = Bench::start().await;
    let id = bench.event(r#"{"a":"x","b":"y"}"#, HOUR).await;
    bench.declare(&[("mark", "$.a"), ("kept", "$.b")], &[]).await;
    bench.fill().await;
    assert_eq!(bench.ids("mark", "x").await, [id]);
    bench.declare(&[("mark", "$.b")], &[]).await;
    bench.fill().await;
    assert_eq!((bench.ids("mark", "y").await, bench.ids("mark", "x").await), (vec![id], vec![]));
    assert_eq!(bench.store.indexed().await.unwrap().len(), 2);
    bench.declare(&[], &["mark"]).await;
    bench.fill().await;
    assert_eq!(bench.ids("kept", "y").await, [id]);
    bench.declare(&[], &["kept"]).await;
    bench.fill().await;
    assert_eq!(bench.store.indexed().await, Ok(Vec::new()));
}

/// I26: where no source declares marks the store is asked for nothing; where it does not answer it is asked again.
#[tokio::test]
async fn without_marks_nothing_is_read_and_a_store_that_is_away_is_asked_again() {
    let mut bench = Bench::start().await;
    let id = bench.event(r#"{"a":"x"}"#, HOUR).await;
    let away = || vec![(Trouble::Look, StoreError::Away), (Trouble::Upkeep, StoreError::Away)];
    bench.store.set_trouble(away());
    assert_eq!(bench.marks.round(&mut bench.run).await, Ok(false));
    bench.store.set_trouble(Vec::new());
    bench.declare(&[("mark", "$.a")], &[]).await;
    bench.store.set_trouble(away());
    assert_eq!(bench.marks.round(&mut bench.run).await, Err(StoreError::Away));
    bench.store.set_trouble(Vec::new());
    bench.fill().await;
    assert_eq!(bench.ids("mark", "x").await, [id]);
}

/// A server without marks is not woken for them; the first that is declared is filled.
#[tokio::test(start_paused = true)]
async fn without_marks_it_sleeps_until_one_is_declared() {
    let mut bench = Bench::start().await;
    let id = bench.event(r#"{"customer":"c1"}"#, Duration::from_secs(60)).await;
    let mut run = pin!(bench.marks.run());
    let mut polled = 0;
    let counted = std::future::poll_fn(|context| {
        polled += 1;
        run.as_mut().poll(context)
    });
    timeout(Duration::from_hours(1), counted).await.expect_err("it never ends");
    assert!(polled < 20, "it was woken {polled} times");
    bench.declare(&[("customer", "$.customer")], &[]).await;
    timeout(Duration::from_mins(1), run.as_mut()).await.expect_err("it never ends");
    assert_eq!(bench.ids("customer", "c1").await, [id]);
}

/// I26: a row only leads: an event that does not have the value is in no answer, whatever the store says.
#[tokio::test]
async fn an_answer_has_no_event_without_the_value() {
    let mut bench = Bench::start().await;
    let (one, other) = (bench.event(r#"{"a":"x"}"#, HOUR).await, bench.event(r#"{"a":"y"}"#, HOUR).await);
    bench.declare(&[("mark", "$.a")], &[]).await;
    bench.fill().await;
    let reach = bench.store.indexed().await.unwrap();
    let value = vec![(1, value::digest(&Name::fallback(), 1, "x"))];
    let lie = relay_store::seam::MarkedEvent { id: other, values: value };
    let marking = Marking { source: Name::fallback(), events: vec![lie], reach };
    bench.store.mark(marking).await.unwrap();
    assert_eq!(bench.ids("mark", "x").await, [one]);
}

/// I26: an answer says no more than what it was read from: what is filled while it is made is not in it, nor in how far it says that it goes.
#[tokio::test]
async fn an_answer_goes_as_far_as_what_it_was_read_from() {
    let mut bench = Bench::start().await;
    bench.event(r#"{"a":"x"}"#, HOUR).await;
    bench.declare(&[("mark", "$.a")], &[]).await;
    bench.fill().await;
    let before = bench.find("mark", "x").await.indexed.unwrap();
    let late = bench.event_at(r#"{"a":"x"}"#, bench.clock.wall()).await;
    let held = bench.marks.room.clone().acquire_owned().await.unwrap();
    let lookup = bench.marks.lookup(&Name::fallback(), "mark", "x").unwrap();
    let mut finding = pin!(bench.marks.find(&lookup, Page { cursor: None, limit: 10 }));
    assert!(futures_util::poll!(finding.as_mut()).is_pending());
    let value = vec![(1, value::digest(&Name::fallback(), 1, "x"))];
    let events = vec![relay_store::seam::MarkedEvent { id: late, values: value }];
    let reach = vec![Indexed { to: before.to + HOUR, ..before.clone() }];
    bench.marks.commit(Marking { source: Name::fallback(), events, reach }).await.unwrap();
    drop(held);
    let found = finding.await.unwrap();
    assert_eq!((found.rows.len(), found.indexed.unwrap().to), (1, before.to));
    assert_eq!(bench.find("mark", "x").await.indexed.unwrap().to, before.to + HOUR);
}

/// I26: what a store does not tell is no event that is gone.
#[tokio::test]
async fn a_store_that_fails_under_a_search_is_no_answer() {
    let mut bench = Bench::start().await;
    bench.event(r#"{"a":"x"}"#, HOUR).await;
    bench.declare(&[("mark", "$.a")], &[]).await;
    bench.fill().await;
    let held = bench.marks.room.clone().acquire_owned().await.unwrap();
    let lookup = bench.marks.lookup(&Name::fallback(), "mark", "x").unwrap();
    let mut finding = pin!(bench.marks.find(&lookup, Page { cursor: None, limit: 10 }));
    assert!(futures_util::poll!(finding.as_mut()).is_pending());
    bench.store.set_trouble(vec![(Trouble::Look, StoreError::TooSlow { after: HOUR })]);
    drop(held);
    assert!(matches!(finding.await, Err(MarksError::Store(StoreError::TooSlow { .. }))));
}

/// What nobody wants any more goes, also where the process ended before it was gone and no source declares a mark since.
#[tokio::test]
async fn what_was_left_by_a_run_before_goes() {
    let mut bench = Bench::start().await;
    bench.event(r#"{"a":"x"}"#, HOUR).await;
    bench.declare(&[("mark", "$.a")], &[]).await;
    bench.fill().await;
    bench.declare(&[], &["mark"]).await;
    let mut bench = bench.restart(Wall::MIN).await;
    assert_eq!(bench.store.indexed().await.unwrap().len(), 1);
    bench.fill().await;
    assert_eq!(bench.store.indexed().await, Ok(Vec::new()));
}

/// A page that is too slow is followed by shorter ones, down to one event, and never by none at all.
#[tokio::test]
async fn a_page_that_is_too_slow_gets_shorter() {
    let mut bench = Bench::start().await;
    let id = bench.event(r#"{"a":"x"}"#, HOUR).await;
    bench.declare(&[("mark", "$.a")], &[]).await;
    bench.marks.round(&mut bench.run).await.unwrap();
    bench.event(r#"{"a":"y"}"#, HOUR).await;
    bench.declare(&[("other", "$.a")], &[]).await;
    let mut sizes = Vec::new();
    for _ in 0..5 {
        bench.run.read(Some(&StoreError::TooSlow { after: HOUR }));
        sizes.push(bench.run.size());
    }
    assert_eq!(sizes, [20, 2, 1, 1, 1]);
    bench.fill().await;
    assert_eq!(bench.ids("other", "x").await, [id]);
    for _ in 0..3 {
        bench.run.read(None);
    }
    assert_eq!(bench.run.size(), 200);
}

/// I26: a moment is passed once nothing that was minted before it can be stored any more: what the writer has taken up is waited for.
#[tokio::test]
async fn what_is_on_its_way_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    let (begun, has_begun) = mpsc::channel();
    let (open, gate) = mpsc::channel::<()>();
    let (trigger, gate) = (Arc::clone(&armed), Mutex::new(gate));
    let edges = Edges::new(move |met| {
        if met == Edge::BeforeCommit && trigger.swap(false, Ordering::SeqCst) {
            begun.send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
        }
        EdgeAction::Continue
    });
    let options = Options { disk_reserve: 0, ballast: false, edges, ..Options::new(dir.path()) };
    let mut bench = Bench::over(Arc::new(SqliteStore::open(options).unwrap()), Wall::MIN).await;
    bench.declare(&[("mark", "$.a")], &[]).await;
    bench.fill().await;
    let to = bench.marks.standing(&Name::fallback()).await.unwrap()[0].indexed.clone().unwrap().to;
    let append = bench.appending(r#"{"a":"x"}"#, to);
    let id = append.event.id;
    armed.store(true, Ordering::SeqCst);
    let appending = tokio::spawn(bench.store.append(vec![append]));
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
    // Its millisecond is over, as far as the filler goes.
    while bench.clock.wall() - relay_core::limits::COMMIT_WITHIN <= to + Duration::from_millis(2) {
        tokio::task::yield_now().await;
    }
    let reads = async {
        // Until then whoever does not wait for the writer has read.
        for _ in 0..50 {
            bench.store.indexed().await.unwrap();
        }
        open.send(()).unwrap();
    };
    let (round, ()) = tokio::join!(bench.marks.round(&mut bench.run), reads);
    round.unwrap();
    assert!(appending.await.unwrap().iter().all(Result::is_ok));
    bench.fill().await;
    assert_eq!(bench.ids("mark", "x").await, [id]);
}

/// What a sender may have parsed of one page is bounded: it ends behind that, and the next goes on there.
#[tokio::test]
async fn a_page_ends_where_much_was_parsed_and_loses_nothing() {
    let mut bench = Bench::start().await;
    let marks = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| (name, "$.a"));
    bench.declare(&marks, &[]).await;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    write!(encoder, r#"{{"a":"x"{}}}"#, " ".repeat(2_200_000)).unwrap();
    let (body, mut ids) = (encoder.finish().unwrap(), Vec::new());
    assert!(body.len() < 100_000, "three of them are one page");
    for _ in 0..3 {
        let append = bench.appending("", bench.clock.wall() - HOUR);
        let headers = vec![("content-encoding".into(), "gzip".into())];
        let event = Event { body: body.clone().into(), headers, ..Event::clone(&append.event) };
        ids.push(event.id);
        let append = Append { event: Arc::new(event), ..append };
        assert!(bench.store.append(vec![append]).await.iter().all(Result::is_ok));
    }
    ids.reverse();
    bench.marks.round(&mut bench.run).await.unwrap();
    assert_eq!(bench.ids("a", "x").await, ids[..1], "eight marks of one come to 16 MiB");
    bench.fill().await;
    assert_eq!((bench.ids("a", "x").await, bench.ids("h", "x").await), (ids.clone(), ids));
}
