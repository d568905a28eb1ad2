//! Removes what is past its retention, in small steps.

use std::{sync::Arc, time::Duration};

use relay_core::{
    jobs::{Retained, Retention, Rules},
    storage::StoreError,
    time::Wall,
};
use relay_store::seam::{Upkeep, perform_retention};

use crate::clock::Clock;

/// Before each round. The first one waits as well: a machine that starts with a wrong clock has it put right by then.
const EVERY: Duration = Duration::from_mins(1);

/// How long what ended is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// Delivered and cancelled ones.
    pub(crate) delivered: Duration,
    /// Dead and expired ones.
    pub(crate) dead: Duration,
}

/// Runs until it is dropped. A store that fails is somebody else's to notice.
pub(crate) async fn run(store: Arc<dyn Upkeep>, clock: Clock, keep: Keep) {
    loop {
        tokio::time::sleep(EVERY).await;
        let (removed, result) = round(&*store, keep.rules(clock.wall(), clock.present())).await;
        if removed != Retained::default() {
            tracing::debug!(event = "retired", deliveries = removed.deliveries, events = removed.events);
        }
        if let Err(error) = result {
            tracing::warn!(event = "retention_failed", %error);
        }
    }
}

async fn round(store: &dyn Upkeep, rules: Rules) -> (Retained, Result<(), StoreError>) {
    let mut retention = Retention::new(rules);
    loop {
        if let Some(op) = retention.poll() {
            let answer = perform_retention(store, op).await;
            retention.handle(answer);
        }
        if let Some(outcome) = retention.outcome() {
            return outcome;
        }
    }
}

impl Keep {
    /// What may go at a moment, as schedules have it and as the system's clock does. A dead letter that is removed does not
    /// come back when a clock that was ahead is put right, so it goes only when both say so. All else goes by the clock that
    /// dates it: were that one ahead from the start, nothing would go, and the disk fill up.
    fn rules(self, wall: Wall, present: Wall) -> Rules {
        let dead_before = wall.min(present) - self.dead;
        Rules { now: wall, delivered_before: wall - self.delivered, dead_before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I1, F6: a clock that runs ahead, be it the system's or the one of schedules, removes no dead letter before its time.
    #[test]
    fn a_dead_letter_goes_by_the_earlier_of_two_clocks() {
        const DAY: Duration = Duration::from_hours(24);
        const NOW: Wall = Wall::from_micros(1_800_000_000_000_000);
        let keep = Keep { delivered: 7 * DAY, dead: 30 * DAY };
        for (wall, present) in [(NOW, NOW), (NOW + 365 * DAY, NOW), (NOW, NOW + 365 * DAY)] {
            let rules = keep.rules(wall, present);
            assert_eq!(rules.dead_before, NOW - 30 * DAY);
            assert_eq!((rules.now, rules.delivered_before), (wall, wall - 7 * DAY));
        }
    }
}
