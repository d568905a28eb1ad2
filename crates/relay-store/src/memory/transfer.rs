//! What a move into another store reads and writes beside what everybody does.

use relay_core::{delivery::Attempt, id::DeliveryId, id::EventId, storage::Dedupe};

use super::disk::Disk;
use crate::seam::Stats;

impl Disk {
    /// The dedupe keys that these events hold.
    pub(super) fn keys_of(&self, events: &[EventId]) -> Vec<Option<Dedupe>> {
        let of = |event: &EventId| {
            let held = self.keys.iter().find(|(_, taken)| taken.event == *event);
            held.map(|((_, key), taken)| Dedupe { key: *key, until: taken.until })
        };
        events.iter().map(of).collect()
    }

    /// Puts these in the place of the earlier attempts of each.
    pub(super) fn put_attempts(&mut self, of: Vec<(DeliveryId, Vec<Attempt>)>) {
        self.attempts.extend(of);
    }

    /// Sets what only counters know.
    pub(super) fn put_totals(&mut self, totals: &Stats) {
        for of in &totals.sources {
            let tally = self.counters.source(&of.source);
            (tally.accepted, tally.retired, tally.duplicates) = (of.accepted, of.retired, of.duplicates);
        }
        for of in &totals.destinations {
            let tally = self.counters.destination(&of.destination);
            (tally.created, tally.retired, tally.lost) = (of.created, of.retired, of.lost);
            (tally.outcomes, tally.retried) = (of.outcomes, of.retried);
        }
        self.id_floor = self.id_floor.max(totals.id_floor);
        self.latest = self.latest.max(totals.latest);
    }
}
