use std::sync::Arc;

use futures_util::future::join_all;
use relay_core::{
    hub::{Accepting, Setup},
    limits,
    storage::About,
    time::Wall,
};
use relay_store::memory::MemoryStore;

use super::*;
use crate::hub::{Handle, QUEUE};

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
        id_floor: 0,
        sha256: |_| [0; 32],
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
        let accepted = join_all((0..2 * QUEUE).map(|_| handle.accept(webhook())));
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
