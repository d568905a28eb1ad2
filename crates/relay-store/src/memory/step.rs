//! One step of a job, and what it removes.

use std::sync::Arc;

use relay_core::{
    delivery::{self, Delivery},
    id::EventId,
    storage::{Changed, Ended, Erased, Step, Stepped},
};

use super::disk::Disk;
use crate::record;

impl Disk {
    /// Does a step, if the job is there.
    pub(super) fn step(&mut self, step: Step) -> Stepped {
        let before = self.marks.get(&step.job).cloned().unwrap_or_default();
        if before.steps != step.before && !relay_core::canary::is("step_twice") {
            return Stepped::Elsewhere(before);
        }
        let settled: Vec<Changed> = step.settle.iter().map(|change| self.change(change.clone())).collect();
        let retired: Vec<bool> = step.retire.iter().map(|ended| self.retire_if(*ended).is_some()).collect();
        let made = self.replay(step.make.clone(), Vec::new());
        let changed = settled.iter().filter(|changed| **changed == Changed::Applied).count()
            + retired.iter().chain(&made).filter(|done| **done).count();
        let erased: Vec<Erased> = step.erase.iter().map(|event| self.erase(*event)).collect();
        let mark = step.mark(&before, step.changed(changed, &erased));
        self.marks.insert(step.job, mark.clone());
        self.audit.extend(step.audit.filter(|_| changed > 0 || erased.contains(&Erased::Now)));
        Stepped::Done { mark, settled, retired, made, erased }
    }

    /// Writes over what was received and answered, if nothing of it may still go out.
    fn erase(&mut self, id: EventId) -> Erased {
        let Some(event) = self.events.get(&id).cloned() else { return Erased::Gone };
        let of_event: Vec<Delivery> = self.of_event(id).cloned().collect();
        if !of_event.iter().all(|found| delivery::is_over_for_good(found.state)) {
            return Erased::Open;
        }
        for found in of_event {
            for attempt in self.attempts.get_mut(&found.id).into_iter().flatten() {
                *attempt = record::erased_attempt(attempt).unwrap_or_else(|| attempt.clone());
            }
            if let Some(last) = found.last.as_ref().and_then(record::erased_attempt) {
                // It counts as no try.
                self.deliveries.insert(found.id, Delivery { last: Some(last), ..found });
            }
        }
        if event.is_erased() {
            return Erased::Before;
        }
        self.unmark_event(id);
        self.events.insert(id, Arc::new(event.erased(event.body.len(), record::digest)));
        Erased::Now
    }

    /// Removes one, if it is what was decided on; gives whether its event went along.
    pub(super) fn retire_if(&mut self, ended: Ended) -> Option<bool> {
        let stored = self.deliveries.get(&ended.id)?;
        ended.is_of(stored).then(|| self.retire(ended.id).is_some())
    }
}
