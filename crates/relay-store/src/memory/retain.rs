//! Retention, counters as shown, and the recount that checks them.

use std::collections::BTreeMap;

use relay_core::{delivery::State, id::DeliveryId, name::Name};

use super::{
    counters::{Counters, slot},
    disk::Disk,
};
use crate::seam::{DestinationStats, Recount, Retain, Retained, SourceStats, Stats};

impl Disk {
    /// Retires what ended long enough ago, at most `limit` deliveries, and forgets dedupe keys past their window.
    pub(super) fn retain(&mut self, rules: Retain) -> Retained {
        let over = self.deliveries.values().filter(|found| match found.state {
            State::Ready | State::Scheduled | State::Leased => false,
            State::Delivered | State::Cancelled => found.changed_at < rules.delivered_before,
            State::Dead | State::Expired => found.changed_at < rules.dead_before,
        });
        let mut over = over.map(|found| found.id);
        let chosen: Vec<DeliveryId> = over.by_ref().take(rules.limit as usize).collect();
        let more = over.next().is_some();
        let events = chosen.iter().filter(|id| self.retire(**id).is_some()).count();
        self.keys.retain(|_, taken| taken.until > rules.now);
        Retained { deliveries: chosen.len() as u64, events: events as u64, more }
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
            tally.created = tally.retired;
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
        let sources = counters.sources.iter().map(|(source, tally)| SourceStats {
            source: source.clone(),
            accepted: tally.accepted,
            stored: tally.stored,
            retired: tally.retired,
            duplicates: tally.duplicates,
        });
        let waiting: &BTreeMap<Name, _> = &self.waiting;
        let destinations = counters.destinations.iter().map(|(destination, tally)| {
            let waiting = waiting.get(destination);
            DestinationStats {
                destination: destination.clone(),
                created: tally.created,
                states: tally.states,
                retired: tally.retired,
                lost: 0,
                outcomes: tally.outcomes,
                retried: tally.retried,
                oldest_due: waiting.and_then(|found| found.by_due.first()).map(|(due_at, _)| *due_at),
                next_expiry: waiting.and_then(|found| found.by_expiry.first()).map(|(expires_at, _)| *expires_at),
            }
        });
        Stats {
            sources: sources.collect(),
            destinations: destinations.collect(),
            disk_free_bytes: None,
            store_bytes: 0,
            full,
            id_floor: self.id_floor,
            latest: self.latest,
            damaged: 0,
        }
    }
}
