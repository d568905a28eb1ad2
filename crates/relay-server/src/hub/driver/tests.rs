use std::sync::Arc;

use futures_util::future::join_all;
use relay_core::{
    delivery::retry::RetryPolicy,
    hub::{Accepting, Answer, Setup},
    limits,
    quota::{Measure, Quota},
    routing::{Route, Routing},
    storage::About,
    time::Wall,
};
use relay_store::memory::MemoryStore;

use super::*;
use crate::{
    hub::{Handle, QUEUE},
    quotas::Quotas,
};

fn driver(inlet: Inlet) -> Driver {
    let setup = Setup {
        server: About { version: "test".into(), ..About::default() },
        lease: Duration::from_mins(1),
        retry_after_max: Duration::from_hours(1),
        circuit_pause_max: Duration::from_mins(1),
        outgoing_bytes_max: limits::CHUNK_BYTES as u64,
        public_url: None,
        seed: 1,
        shares: false,
        partitions: 1,
        parts: 1,
        id_floor: 0,
        sha256: |_| [0; 32],
        traces: None,
    };
    let (store, clock) = (Arc::new(MemoryStore::new()), Clock::start(Wall::MIN));
    let stores: (Arc<dyn Queue>, Arc<dyn Upkeep>) = (store.clone(), store);
    Driver::new(Hub::new(setup), clock, stores, Arc::new(Metrics::default()), inlet, OldestCommit::default())
}

fn webhook() -> Box<Accepting> {
    Box::new(Accepting {
        source: Name::fallback(),
        method: "POST".into(),
        path: "/webhook".into(),
        query: None,
        headers: Vec::new(),
        body: "{}".into(),
        body_sha256: [0; 32],
        received_at: Wall::MIN,
        name: None,
        key: None,
        dedupe: None,
        resend: false,
        deadline: Wall::MIN + Duration::from_hours(1),
    })
}

/// I2: who waits at a hub that ends hears that nothing was done with his webhook, and not that it may be stored. Of those in
/// front of the stop some may have been looked at; no route leads from their source.
#[tokio::test]
async fn requests_that_wait_when_the_hub_ends_are_turned_away_for_certain() {
    for _ in 0..10 {
        let (handle, inlet) = Handle::new();
        let accepted = join_all((0..2 * QUEUE).map(|_| handle.accept(webhook(), None)));
        let (answers, ()) = tokio::join!(accepted, async {
            // Half of them are in the queue by now, the others wait for room there.
            let (stopped, done) = oneshot::channel();
            assert!(handle.tell(Event::Stop(stopped)).await);
            driver(inlet).run().await;
            done.await.unwrap();
        });
        assert!(!answers.contains(&Answer::Unavailable));
    }
}

/// S36: what is stored is counted though its sender has gone, and what is turned away is not, nor held any more.
#[tokio::test]
async fn what_is_stored_counts_whether_or_not_its_sender_waits() {
    let (quotas, quota) = (Arc::new(Quotas::default()), Quota { events: Some(9), bytes: None });
    // The day is that on which it is stored.
    let today = || Clock::start(Wall::MIN).wall();
    let hold = || quotas.hold(&Name::fallback(), &quota, 2, today).unwrap();
    let used = || quotas.used(&Name::fallback(), Measure::Bytes, today());
    let (handle, inlet) = Handle::new();
    let mut driver = driver(inlet);
    let (destination, retry) = (Name::fallback(), RetryPolicy::default());
    let routes = vec![Route { destination, ttl: limits::MESSAGE_TTL, retry }];
    let routing = Routing { routes: BTreeMap::from([(Name::fallback(), routes)]), ..Routing::default() };
    driver.feed(Input::Routing(Arc::new(routing)));
    // It is in the hub's queue, and its sender gone.
    assert!(handle.accept(webhook(), hold()).now_or_never().is_none());
    let stays = handle.accept(webhook(), hold());
    let stops = async {
        assert!(matches!(stays.await, Answer::Accepted { repeat: false, .. }));
        let (stopped, done) = oneshot::channel();
        assert!(handle.tell(Event::Stop(stopped)).await);
        done.await.unwrap();
    };
    tokio::join!(driver.run(), stops);
    assert_eq!(used(), 4);
    assert_eq!(handle.accept(webhook(), hold()).await, Answer::Stopping);
    quotas.check(&Name::fallback(), &Quota { events: Some(3), bytes: None }, today).expect("nothing is held");
}
