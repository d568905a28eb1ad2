//! Retention: what ended long enough ago goes, and nothing that is open ever does.

use super::{RetentionOp, RetentionStored};
use crate::{
    delivery::Delivery,
    limits,
    partitions::Partitions,
    storage::{Asked, Ended, Forget, OpId, OverAsk, Retire, Retired, StoreError},
    time::Wall,
};

/// What may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// At this moment.
    pub now: Wall,
    /// Delivered and cancelled ones that ended before.
    pub delivered_before: Wall,
    /// Dead and expired ones that ended before.
    pub dead_before: Wall,
    /// What is in these.
    pub partitions: Partitions,
}

/// What has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Deliveries.
    pub deliveries: u64,
    /// Events.
    pub events: u64,
}

/// One round of retention: it goes on until nothing is due. A store's trouble ends it; the next round does the rest.
#[derive(Debug)]
pub struct Retention {
    rules: Rules,
    page_max: u32,
    ops: u64,
    phase: Phase,
    retained: Retained,
}

#[derive(Debug)]
enum Phase {
    Read,
    Reading(OpId),
    /// These are to be removed, and beside them what only time ends.
    Remove(Removable),
    Removing(OpId, Removable),
    Over(Result<(), StoreError>),
}

/// Deliveries that are due.
#[derive(Debug)]
struct Removable {
    ended: Vec<Ended>,
    /// More were due than fit on the page.
    more: bool,
    /// Some of the page were removed.
    had_any: bool,
}

impl Retention {
    /// A round that has not begun.
    pub fn new(rules: Rules) -> Self {
        Self { rules, page_max: limits::RETIRE_PAGE_MAX, ops: 0, phase: Phase::Read, retained: Retained::default() }
    }

    /// The same, reading fewer at a time.
    #[must_use]
    pub fn by(self, page_max: u32) -> Self {
        Self { page_max: page_max.clamp(1, limits::RETIRE_PAGE_MAX), ..self }
    }

    /// The next thing to do; `None` while an answer is waited for, and when it is over.
    pub fn poll(&mut self) -> Option<RetentionOp> {
        match std::mem::replace(&mut self.phase, Phase::Read) {
            Phase::Read => {
                let asked = Asked::new(self.next_op(), self.over());
                self.phase = Phase::Reading(asked.id());
                Some(RetentionOp::Over(asked))
            }
            Phase::Remove(due) => {
                let retire = Retire { ended: due.ended.clone(), more: due.more, forget: self.forget() };
                let asked = Asked::new(self.next_op(), retire);
                self.phase = Phase::Removing(asked.id(), due);
                Some(RetentionOp::Retire(asked))
            }
            other @ (Phase::Reading(_) | Phase::Removing(..) | Phase::Over(_)) => {
                self.phase = other;
                None
            }
        }
    }

    /// The store answered. What nobody waits for is passed over.
    pub fn handle(&mut self, answer: RetentionStored) {
        self.phase = match (std::mem::replace(&mut self.phase, Phase::Read), answer) {
            (Phase::Reading(id), RetentionStored::Over(one)) if one.id() == id => self.on_page(one.answer),
            (Phase::Removing(id, due), RetentionStored::Retire(one)) if one.id() == id => {
                self.on_retired(due, one.answer)
            }
            (other, _) => other,
        }
    }

    /// What was removed, and whether it is through; `None` until it is over.
    pub fn outcome(&self) -> Option<(Retained, Result<(), StoreError>)> {
        let Phase::Over(result) = &self.phase else { return None };
        Some((self.retained, result.clone()))
    }

    fn over(&self) -> OverAsk {
        let Rules { delivered_before, dead_before, partitions, .. } = self.rules;
        OverAsk { delivered_before, dead_before, partitions, limit: self.page_max }
    }

    /// A line of the audit log stays as long as any dead letter that it may speak of.
    fn forget(&self) -> Forget {
        let Rules { now, delivered_before, dead_before, partitions } = self.rules;
        Forget {
            keys_until: now,
            unrouted_before: delivered_before,
            jobs_before: now - limits::JOBS_KEPT,
            audit_before: (now - limits::AUDIT_KEPT).min(dead_before),
            partitions,
        }
    }

    fn on_page(&mut self, result: Result<Vec<Delivery>, StoreError>) -> Phase {
        match result {
            Ok(page) => {
                let (asked, more) = (self.over(), page.len() >= self.page_max as usize);
                let ended = page.iter().filter(|found| asked.holds(found)).filter_map(Ended::of).collect();
                Phase::Remove(Removable { ended, more, had_any: false })
            }
            Err(error) if error.wants_less() && self.page_max > 1 => {
                self.page_max /= 2;
                Phase::Read
            }
            Err(error) => Phase::Over(Err(error)),
        }
    }

    fn on_retired(&mut self, due: Removable, result: Result<Retired, StoreError>) -> Phase {
        let retired = match result {
            Ok(retired) => retired,
            Err(error) => return Phase::Over(Err(error)),
        };
        self.retained.deliveries += retired.deliveries;
        self.retained.events += retired.events;
        let Removable { mut ended, more, had_any } = due;
        let had_any = had_any || retired.deliveries > 0;
        ended.drain(..ended.len().min(retired.taken as usize));
        if !ended.is_empty() && retired.taken > 0 {
            return Phase::Remove(Removable { ended, more, had_any });
        }
        // A page of which nothing could be removed would come again.
        if (more && had_any) || retired.more { Phase::Read } else { Phase::Over(Ok(())) }
    }

    fn next_op(&mut self) -> OpId {
        self.ops += 1;
        OpId(self.ops)
    }
}
