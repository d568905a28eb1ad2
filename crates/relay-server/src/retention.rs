//! Removes what is past its retention, in small steps: in the partitions that this server looks after.

use std::{sync::Arc, time::Duration};

use relay_core::{
    jobs::{Retained, Retention, Rules},
    partitions::Partitions,
    storage::StoreError,
    time::Wall,
};
use relay_store::seam::{Upkeep, perform_retention};

use crate::{clock::Clock, hub::Handle};

/// Between the rounds, and before the first that goes by this machine's clock: one that starts with a wrong clock has it put
/// right by then.
const EVERY: Duration = Duration::from_mins(1);
/// Before the first round, which goes by what the store knows of time: a process that is restarted again and again retires
/// what was due by then, and one that has just started takes up its work first.
const FIRST_AFTER: Duration = Duration::from_secs(5);

/// How long what ended is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// Delivered and cancelled ones.
    pub(crate) delivered: Duration,
    /// Dead and expired ones.
    pub(crate) dead: Duration,
}

/// Runs until it is dropped. A store that fails is somebody else's to notice.
///
/// `latest`: the latest moment that was stored when the process started.
pub(crate) async fn run(store: Arc<dyn Upkeep>, hub: Handle, clock: Clock, keep: Keep, latest: Wall) {
    tokio::time::sleep(FIRST_AFTER).await;
    look(&*store, &hub, keep.rules(latest, clock.present())).await;
    loop {
        tokio::time::sleep(EVERY).await;
        look(&*store, &hub, keep.rules(clock.wall(), clock.present())).await;
    }
}

/// One round, and a line about it. Where there is nothing to look after there is none.
async fn look(store: &dyn Upkeep, hub: &Handle, rules: Rules) {
    let Some(partitions) = hub.partitions().await.filter(|mine| !mine.is_empty()) else { return };
    let rules = Rules { partitions, ..rules };
    let (removed, result) = round(store, rules).await;
    if removed != Retained::default() {
        tracing::debug!(event = "retired", deliveries = removed.deliveries, events = removed.events);
    }
    if let Err(error) = result {
        tracing::warn!(event = "retention_failed", %error);
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
    /// What may go at a moment, wherever it is, as schedules have it and as the system's clock does. A dead letter that is removed does not
    /// come back when a clock that was ahead is put right, so it goes only when both say so. All else goes by the clock that
    /// dates it: were that one ahead from the start, nothing would go, and the disk fill up.
    fn rules(self, wall: Wall, present: Wall) -> Rules {
        let dead_before = wall.min(present) - self.dead;
        Rules { now: wall, delivered_before: wall - self.delivered, dead_before, partitions: Partitions::ALL }
    }
}

#[cfg(test)]
mod tests {
    use relay_core::{
        delivery::{Delivery, Reason, State},
        id::{EventId, IdMint},
    };
    use relay_store::{memory::MemoryStore, seam::Queue as _};

    use super::*;
    use crate::{
        hub,
        tests::{append, event},
    };

    const DAY: Duration = Duration::from_hours(24);
    const NOW: Wall = Wall::from_micros(1_700_000_000_000_000);

    /// I1, F6: a clock that runs ahead, be it the system's or the one of schedules, removes no dead letter before its time.
    #[test]
    fn a_dead_letter_goes_by_the_earlier_of_two_clocks() {
        let keep = Keep { delivered: 7 * DAY, dead: 30 * DAY };
        for (wall, present) in [(NOW, NOW), (NOW + 365 * DAY, NOW), (NOW, NOW + 365 * DAY)] {
            let rules = keep.rules(wall, present);
            assert_eq!(rules.dead_before, NOW - 30 * DAY);
            assert_eq!((rules.now, rules.delivered_before), (wall, wall - 7 * DAY));
        }
    }

    /// One that ended at this moment, stored.
    async fn ended(store: &MemoryStore, mint: &mut IdMint, state: State, at: Wall) -> EventId {
        let event = event(mint, at, "in");
        let made = Delivery::ready(mint.delivery(at), &event, "crm".parse().unwrap(), false, at, DAY);
        let reason = (state == State::Dead).then_some(Reason::Rejected);
        let deliveries = vec![Delivery { state, reason, ..made }];
        let id = event.id;
        assert!(store.append(vec![append(event, deliveries)]).await.iter().all(Result::is_ok));
        id
    }

    async fn left(store: &MemoryStore) -> u64 {
        store.stats().await.unwrap().sources.iter().map(|source| source.stored).sum()
    }

    /// I16, F1: what was due when a process started goes within seconds, however often it is restarted; what is due by this
    /// machine's clock alone waits for a minute, for that may be put right (F6).
    #[tokio::test(start_paused = true)]
    async fn a_process_that_lives_for_seconds_retires_what_is_due() {
        let keep = Keep { delivered: 7 * DAY, dead: 30 * DAY };
        let store = Arc::new(MemoryStore::new());
        let mut mint = IdMint::new(0, 1);
        for (state, age) in [(State::Delivered, 8), (State::Delivered, 6), (State::Dead, 31), (State::Dead, 29)] {
            ended(&store, &mut mint, state, NOW - age * DAY).await;
        }
        // The last thing that any run before did.
        ended(&store, &mut mint, State::Delivered, NOW).await;
        let latest = store.stats().await.unwrap().latest;
        assert_eq!((latest, left(&store).await), (NOW, 5));
        // The system's clock is far ahead of all of it.
        let hub = looks_after(Partitions::ALL);
        let running = run(store.clone(), hub, Clock::start(Wall::MIN), keep, latest);
        let ended = tokio::time::timeout(FIRST_AFTER + Duration::from_secs(1), running).await;
        assert!(ended.is_err(), "it runs for as long as it is let");
        assert_eq!(left(&store).await, 3, "two were due");
    }

    /// A hub that says so.
    fn looks_after(partitions: Partitions) -> Handle {
        let (handle, mut inlet) = Handle::new();
        tokio::spawn(async move {
            while let Some(event) = inlet.event().await {
                let hub::Event::Partitions(answer) = event else { panic!("it is asked for nothing else") };
                assert!(answer.send(partitions).is_ok());
            }
        });
        handle
    }

    /// I16: what another server looks after is its own to retire, and together they leave nothing.
    #[tokio::test(start_paused = true)]
    async fn servers_that_share_a_store_retire_each_its_part() {
        let keep = Keep { delivered: 7 * DAY, dead: 30 * DAY };
        let store = Arc::new(MemoryStore::with_partitions(16));
        let mut mint = IdMint::new(0, 1);
        let mut ids = Vec::new();
        for _ in 0..40 {
            ids.push(ended(&store, &mut mint, State::Delivered, NOW - 8 * DAY).await);
        }
        let runs = [1, 2];
        for run_of in runs {
            let mine = Partitions::looked_after_by(run_of, &runs, 16);
            let running = run(store.clone(), looks_after(mine), Clock::start(NOW), keep, NOW);
            assert!(tokio::time::timeout(FIRST_AFTER + Duration::from_secs(1), running).await.is_err());
            ids.retain(|id| !mine.hold(id.partition()));
            let mut stored = store.event_ids();
            stored.sort_unstable();
            assert_eq!(stored, ids, "behind {mine:?}");
        }
        assert!(ids.is_empty());
        // Whoever knows of no other yet does nothing.
        ended(&store, &mut mint, State::Delivered, NOW - 8 * DAY).await;
        let running = run(store.clone(), looks_after(Partitions::none(16)), Clock::start(NOW), keep, NOW);
        assert!(tokio::time::timeout(FIRST_AFTER + EVERY * 2, running).await.is_err());
        assert_eq!(left(&store).await, 1);
    }
}
