//! Whether a server is alive where it counts, for whoever restarts one that is not.

use std::sync::Arc;

use relay_store::seam::Queue;

use crate::hub::Handle;

/// Asks a running server for signs of life. Cheap to clone.
#[derive(Clone)]
pub struct Pulse {
    queue: Arc<dyn Queue>,
    hub: Handle,
}

impl Pulse {
    pub(crate) fn new(queue: Arc<dyn Queue>, hub: Handle) -> Self {
        Self { queue, hub }
    }

    /// Completes once the hub has answered and the store has ended a commit that came after all that was waiting there; as
    /// long as a commit hangs, it does not. It writes nothing by itself. A full disk is none of its business: a store that
    /// refuses for want of room has answered. Cancel safe.
    pub async fn beat(&self) {
        self.hub.view().await;
        // What a store answers is the hub's to judge: that it answers is what counts here.
        let _answer = self.queue.settle(Vec::new()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, PoisonError},
        time::Duration,
    };

    use relay_store::sqlite::{Edge, EdgeAction, Edges, Options, SqliteStore};
    use tokio::time::timeout;

    use super::*;
    use crate::{Config, Outside, Server};

    /// I24: a writer that hangs is no sign of life, whatever else of the server goes on.
    #[tokio::test]
    #[expect(clippy::await_holding_lock, reason = "the writer, a thread of its own, hangs on it")]
    async fn a_pulse_waits_for_a_commit_that_hangs() {
        let dir = tempfile::tempdir().unwrap();
        let gate = Arc::new(Mutex::new(()));
        let passed = Arc::clone(&gate);
        let edges = Edges::new(move |edge| {
            if edge == Edge::BeforeBegin {
                drop(passed.lock().unwrap_or_else(PoisonError::into_inner));
            }
            EdgeAction::Continue
        });
        let options = Options { edges, disk_reserve: 0, ..Options::new(dir.path()) };
        let store = Arc::new(SqliteStore::open(options).unwrap());
        let server = Server::start(Config::sample(dir.path().to_owned()), store, Outside::default()).await.unwrap();
        let pulse = server.pulse();
        pulse.beat().await;
        let hanging = {
            let _hangs = gate.lock().unwrap();
            let beating = pulse.clone();
            let mut beat = Box::pin(async move { beating.beat().await });
            let ended = timeout(Duration::from_millis(100), &mut beat).await;
            assert!(ended.is_err(), "the commit hangs, and so does the beat");
            beat
        };
        hanging.await;
        server.run(std::future::ready(())).await;
    }
}
