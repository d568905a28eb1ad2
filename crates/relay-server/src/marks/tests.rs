//! Filling and finding, over a store in memory.

use std::time::Duration;

use relay_core::{
    event::Event,
    id::{EventId, IdMint},
    storage::{Append, Page, StoreError},
    time::Wall,
};
use relay_store::{
    memory::{MemoryStore, Trouble},
    seam::{Archive as _, Queue as _},
};

use super::{fill::Run, *};
use crate::{Config, principal::Principal, registry::SourceUpdate};

/// A server's marks of the source `default`, and what it has come to.
struct Bench {
    store: Arc<MemoryStore>,
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

    async fn over(store: Arc<MemoryStore>, at_least: Wall) -> Self {
        let clock = Clock::start(at_least);
        let registry = Registry::open(store.clone(), clock, &Config::sample("/nonexistent".into())).await.unwrap();
        let registry = Arc::new(registry);
        let room = Arc::new(Semaphore::new(1));
        let marks = Marks::new((store.clone(), store.clone()), Arc::clone(&registry), clock, room);
        let floor = store.stats().await.unwrap().id_floor;
        Self { store, registry, clock, marks, run: Run::default(), mint: IdMint::new(floor, 7) }
    }

    /// The process ends, and another begins, not before then.
    async fn restart(self, at_least: Wall) -> Self {
        Self::over(Arc::new(self.store.reopen()), at_least).await
    }

    /// An event of so long ago.
    async fn event(&mut self, body: &str, ago: Duration) -> EventId {
        self.event_at(body, self.clock.wall() - ago).await
    }

    async fn event_at(&mut self, body: &str, at: Wall) -> EventId {
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
        let id = event.id;
        let append = Append { event: Arc::new(event), deliveries: Vec::new(), dedupe: None, deadline: Wall::MAX };
        assert!(self.store.append(vec![append]).await.iter().all(Result::is_ok));
        id
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
        let page = Page { cursor: None, limit: 1000 };
        self.marks.find(&Name::fallback(), mark, value, page).await.unwrap()
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
    assert!(matches!(
        bench.marks.find(&Name::fallback(), "gone", "1", Page { cursor: None, limit: 1 }).await,
        Err(MarksError::Unknown(_))
    ));
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
    let marking = relay_store::seam::Marking { source: Name::fallback(), events: vec![lie], reach };
    bench.store.mark(marking).await.unwrap();
    assert_eq!(bench.ids("mark", "x").await, [one]);
}
