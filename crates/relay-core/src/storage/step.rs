//! One step of a job: what it changes, and how far the job is, in one commit.

use super::{AuditEntry, Changed, Ended};
use crate::{
    delivery::{Change, Delivery},
    id::{EventId, JobId},
    time::Wall,
};

/// How far a job is. Stored by each of its steps, in the same commit: a step that was done before finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Steps done.
    pub steps: u64,
    /// Where the next page starts; of a job that was stopped, by whom: see [`Mark::stopped_by`].
    pub cursor: Option<String>,
    /// What was decided about: deliveries, or events of a replay or an erasure.
    pub matched: u64,
    /// Deliveries that were changed, removed or made; of an erasure, events that were erased.
    pub changed: u64,
    /// Of which command it is: see [`Command::fingerprint`](crate::jobs::Command::fingerprint).
    pub fingerprint: u64,
    /// Where they come at a rate: when the next one is due.
    pub next_due: Option<Wall>,
    /// There is no next step.
    pub is_over: bool,
}

impl Mark {
    /// Who stopped it, if it did not come through by itself: there is no page then that could start anywhere.
    pub fn stopped_by(&self) -> Option<&str> {
        self.cursor.as_deref().filter(|_| self.is_over)
    }
}

/// One commit of a job. It happens if the stored [`Mark`] has as many steps as its own says were done before it; else it
/// has happened already, or somebody else goes on with the same job, and the stored mark is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Whose.
    pub job: JobId,
    /// Steps before it.
    pub before: u64,
    /// Where the next page starts.
    pub cursor: Option<String>,
    /// What it decided about and no step before it did: deliveries, or events of a replay.
    pub matched: u64,
    /// Of which command it is.
    pub fingerprint: u64,
    /// Where they come at a rate: when the next one is due.
    pub next_due: Option<Wall>,
    /// It is the last.
    pub is_over: bool,
    /// Applied as [`Vec<Change>`](Change) is, each if its record is still the one decided on.
    pub settle: Vec<Change>,
    /// Removed, each if its record is still the one decided on.
    pub retire: Vec<Ended>,
    /// New deliveries of old events: stored as [`Vec<Delivery>`](Delivery) is, each if its event is still there.
    pub make: Vec<Delivery>,
    /// Erased behind what is settled, each if nothing of it may still go out: see [`Erased`].
    pub erase: Vec<EventId>,
    /// Written if anything was changed, removed, made or erased.
    pub audit: Option<AuditEntry>,
}

impl Step {
    /// One that no store does, since no job has so many steps before it: its answer is how far the job is.
    pub const fn look(job: JobId) -> Self {
        Self {
            job,
            before: u64::MAX,
            cursor: None,
            matched: 0,
            fingerprint: 0,
            next_due: None,
            is_over: false,
            settle: Vec::new(),
            retire: Vec::new(),
            make: Vec::new(),
            erase: Vec::new(),
            audit: None,
        }
    }

    /// The last one of a job that is so far, which does nothing: whoever runs the job finds that it was stopped, and by whom.
    pub fn stop(job: JobId, mark: &Mark, who: &str) -> Self {
        let Mark { steps: before, fingerprint, next_due, .. } = *mark;
        Self { before, fingerprint, next_due, cursor: Some(who.to_owned()), is_over: true, ..Self::look(job) }
    }

    /// Whether it adds to what is stored: such a step is refused where there is no room, as what comes in is. What settles or
    /// removes goes on there.
    pub fn adds(&self) -> bool {
        !self.make.is_empty()
    }

    /// How many a mark counts as changed, where so many of its deliveries were, and this became of its events: of a step that erases these
    /// alone.
    pub fn changed(&self, deliveries: usize, erased: &[Erased]) -> u64 {
        let events = erased.iter().filter(|erased| **erased == Erased::Now).count();
        (if self.erase.is_empty() { deliveries } else { events }) as u64
    }

    /// The mark behind it, where so many of its deliveries were changed and the mark before it was this.
    #[must_use]
    pub fn mark(&self, before: &Mark, changed: u64) -> Mark {
        Mark {
            steps: before.steps + 1,
            cursor: self.cursor.clone(),
            matched: before.matched + self.matched,
            changed: before.changed + changed,
            fingerprint: self.fingerprint,
            next_due: self.next_due,
            is_over: self.is_over,
        }
    }
}

/// What became of an event that was to be erased: what was received is [written over](crate::event::Event::erased) where it stands, and
/// what targets answered to its deliveries too; its dedupe key holds no more. Nothing that is counted changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erased {
    /// It is erased.
    Now,
    /// It was before; whatever had been left of its answers is erased now.
    Before,
    /// It is as it was: of its deliveries one is not [over for good](crate::delivery::is_over_for_good).
    Open,
    /// It is as it was, for it does not read.
    Damaged,
    /// There is none.
    Gone,
}

/// What became of a [`Step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// It is durable.
    Done {
        /// How far the job is now.
        mark: Mark,
        /// What became of each change, in order.
        settled: Vec<Changed>,
        /// Which of those to be removed were, in order.
        retired: Vec<bool>,
        /// Which of those to be made were, in order.
        made: Vec<bool>,
        /// What became of each event that was to be erased, in order.
        erased: Vec<Erased>,
    },
    /// Nothing was done: the job is at another step.
    Elsewhere(Mark),
}
