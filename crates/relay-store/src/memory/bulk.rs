//! Bulk commands, one step at a time.

use std::collections::BTreeSet;

use relay_core::{
    delivery::{self, Delivery, State},
    id::DeliveryId,
};

use super::{
    browse::{place, place_of, text_of},
    disk::Disk,
};
use crate::seam::{BulkAction, BulkDone, BulkStep, BulkTarget};

/// Deliveries that one step looks at and changes at most.
const STEP_MAX: usize = 500;

impl Disk {
    /// One step of a bulk command. A step that was done before answers as it did then.
    pub(super) fn bulk(&mut self, step: BulkStep) -> BulkDone {
        let name = (step.job, step.cursor.clone());
        if let Some(done) = self.steps.get(&name) {
            return done.clone();
        }
        let (chosen, next) = self.chosen(&step);
        let mut done = BulkDone { matched: chosen.len() as u64, next, ..BulkDone::default() };
        if step.dry_run {
            return done;
        }
        let destinations: BTreeSet<_> = chosen.iter().map(|found| found.destination.clone()).collect();
        done.changed = done.matched;
        done.ids = chosen.iter().map(|found| found.id).collect();
        done.destinations = destinations.into_iter().collect();
        for (before, found) in chosen.iter().enumerate() {
            self.act(&step, found, before as u64);
        }
        let is_first = !self.steps.iter().any(|((job, _), done)| *job == step.job && done.changed > 0);
        self.audit.extend(step.audit.filter(|_| is_first && done.changed > 0));
        self.steps.insert(name, done.clone());
        done
    }

    fn chosen(&self, step: &BulkStep) -> (Vec<Delivery>, Option<String>) {
        let applies = |found: &&Delivery| applies(&step.action, found.state);
        match &step.target {
            BulkTarget::Ids(ids) => {
                let from = step.cursor.as_ref().and_then(|text| text.parse().ok()).unwrap_or(0);
                let ids: BTreeSet<DeliveryId> = ids.iter().copied().collect();
                let here = ids.iter().skip(from).take(STEP_MAX).filter_map(|id| self.deliveries.get(id));
                let next = (from + STEP_MAX < ids.len()).then(|| (from + STEP_MAX).to_string());
                (here.filter(applies).cloned().collect(), next)
            }
            BulkTarget::Matching(filter) => {
                let behind = step.cursor.as_deref().and_then(place);
                let mut matching = self.ordered(filter, behind).into_iter().filter(applies);
                let chosen: Vec<Delivery> = matching.by_ref().take(STEP_MAX).cloned().collect();
                let more = matching.next().is_some();
                let next = chosen.last().filter(|_| more).map(|found| text_of(place_of(filter, found)));
                (chosen, next)
            }
        }
    }

    fn act(&mut self, step: &BulkStep, found: &Delivery, before: u64) {
        match &step.action {
            BulkAction::Redrive { ttl, ttl_default, pace } => {
                let route = ttl.iter().find(|(source, to, _)| *source == found.source && *to == found.destination);
                let ttl = route.map_or(*ttl_default, |(_, _, ttl)| *ttl);
                let mut change = delivery::redrive(found, step.now, ttl);
                if let Some(pace) = pace {
                    change.next = change.next.due_from(pace.due(before));
                }
                self.change(change);
            }
            BulkAction::Purge => {
                self.retire(found.id);
            }
            BulkAction::Cancel => {
                self.change(delivery::cancel(found, step.now));
            }
        }
    }
}

fn applies(action: &BulkAction, state: State) -> bool {
    match action {
        BulkAction::Redrive { .. } | BulkAction::Purge => matches!(state, State::Dead | State::Expired),
        BulkAction::Cancel => state.is_open(),
    }
}
