//! Removes what is past its retention, in small steps.

use std::{sync::Arc, time::Duration};

use relay_core::storage::StoreError;
use relay_store::{
    Store,
    seam::{Retain, Retained},
};

use crate::clock::Clock;

/// Between two rounds.
const EVERY: Duration = Duration::from_mins(1);
/// Rows of one step at most. The store takes fewer where others wait, and gives steps the turns that they need to keep up
/// with what comes in.
const STEP_ROWS: u32 = 4_096;

/// Runs until it is dropped. A store that fails is somebody else's to notice.
pub(crate) async fn run(store: Arc<dyn Store>, clock: Clock, delivered: Duration, dead: Duration) {
    loop {
        match round(&store, clock, delivered, dead).await {
            Ok(Retained { deliveries: 0, events: 0, .. }) => {}
            Ok(removed) => {
                tracing::debug!(event = "retired", deliveries = removed.deliveries, events = removed.events);
            }
            Err(error) => tracing::warn!(event = "retention_failed", %error),
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn round(
    store: &Arc<dyn Store>,
    clock: Clock,
    delivered: Duration,
    dead: Duration,
) -> Result<Retained, StoreError> {
    let mut removed = Retained::default();
    loop {
        let now = clock.wall();
        let rules = Retain { now, delivered_before: now - delivered, dead_before: now - dead, limit: STEP_ROWS };
        let step = store.retain(rules).await?;
        removed.deliveries += step.deliveries;
        removed.events += step.events;
        if !step.more {
            return Ok(removed);
        }
    }
}
