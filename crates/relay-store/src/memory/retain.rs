//! Retention, counters as shown, and the recount that checks them.

use relay_core::{
    delivery::Delivery,
    event::Event,
    id::{EventId, Partition},
    name::Name,
    storage::{Forget, OverAsk, Retire, Retired},
};

use super::{
    counters::{Counters, slot},
    disk::Disk,
};
use crate::{
    seam::{Recount, Stats},
    tally::{First, shown_destinations, shown_sources},
};

impl Disk {
    /// What retention is over for, at most so many.
    pub(super) fn over(&self, ask: &OverAsk) -> Vec<Delivery> {
        self.deliveries.values().filter(|found| ask.holds(found)).take(ask.limit as usize).cloned().collect()
    }

    /// Removes those that are what was decided on, and forgets what only time ends.
    pub(super) fn retire_over(&mut self, retire: &Retire) -> Retired {
        let gone: Vec<bool> = retire.ended.iter().filter_map(|ended| self.retire_if(*ended)).collect();
        let events = gone.iter().filter(|event_went| **event_went).count() as u64;
        let events = events + self.forget(&retire.forget);
        Retired { taken: retire.ended.len() as u32, deliveries: gone.len() as u64, events, more: false }
    }

    /// Gives how many events without a delivery went. The audit log stays as long as the process.
    fn forget(&mut self, forget: &Forget) -> u64 {
        let here = forget.partitions;
        self.keys.retain(|(_, key), taken| taken.until > forget.keys_until || !here.hold(Partition::of_digest(key)));
        self.marks.retain(|job, _| job.minted_at() >= forget.jobs_before || !here.hold_first());
        let is_over = |event: &&Event| {
            let old = event.id.minted_at() < forget.unrouted_before;
            old && here.hold(event.id.partition()) && !self.by_event.contains_key(&event.id)
        };
        let unrouted: Vec<EventId> =
            self.events.values().map(|event| &**event).filter(is_over).map(|event| event.id).collect();
        for id in &unrouted {
            let Some(event) = self.events.remove(id) else { continue };
            self.unmark_event(*id);
            let tally = self.counters.source(&event.source);
            tally.stored -= 1;
            tally.retired += 1;
        }
        unrouted.len() as u64
    }

    /// The counters.
    pub(super) fn stats(&self, full: bool) -> Stats {
        self.shown(&self.counters, full)
    }

    /// Counts what is stored. What only a counter knows (retired, duplicates, outcomes) is taken over, so that the
    /// sums must come out even.
    pub(super) fn recount(&self, full: bool) -> Recount {
        let mut counted = self.counters.clone();
        for tally in counted.sources.values_mut() {
            tally.stored = 0;
            tally.accepted = tally.retired;
        }
        for tally in counted.destinations.values_mut() {
            tally.states = [0; 7];
            tally.created = tally.retired + tally.lost;
        }
        for event in self.events.values() {
            let tally = counted.source(&event.source);
            tally.stored += 1;
            tally.accepted += 1;
        }
        for delivery in self.deliveries.values() {
            let tally = counted.destination(&delivery.destination);
            tally.states[slot(delivery.state)] += 1;
            tally.created += 1;
        }
        Recount { counted: self.shown(&counted, full), kept: self.stats(full), gaps: Vec::new(), damaged: 0 }
    }

    fn shown(&self, counters: &Counters, full: bool) -> Stats {
        let first = |name: &Name| {
            let Some(waiting) = self.waiting.get(name) else { return First::default() };
            let due = waiting.by_due.first().map(|(due_at, _)| *due_at);
            First { due, expiry: waiting.by_expiry.first().map(|(expires_at, _)| *expires_at) }
        };
        Stats {
            sources: shown_sources(&counters.sources),
            destinations: shown_destinations(&counters.destinations, first),
            disk_free_bytes: None,
            store_bytes: 0,
            memory: None,
            full,
            id_floor: self.id_floor,
            latest: self.latest,
            damaged: 0,
        }
    }
}
