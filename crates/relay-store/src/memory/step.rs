//! One step of a job, and what it removes.

use relay_core::storage::{Changed, Ended, Step, Stepped};

use super::disk::Disk;

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
        let mark = step.mark(&before, changed as u64);
        self.marks.insert(step.job, mark.clone());
        self.audit.extend(step.audit.filter(|_| changed > 0));
        Stepped::Done { mark, settled, retired, made }
    }

    /// Removes one, if it is what was decided on; gives whether its event went along.
    pub(super) fn retire_if(&mut self, ended: Ended) -> Option<bool> {
        let stored = self.deliveries.get(&ended.id)?;
        ended.is_of(stored).then(|| self.retire(ended.id).is_some())
    }
}
