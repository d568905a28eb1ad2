//! What a job asks of a store, and what else it wants.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    delivery::{Change, Delivery},
    id::DeliveryId,
    name::Name,
    storage::{Answered, Asked, Changed, Ended, EventsAsk, OverAsk, PageAsk, Replay, Retire, Step},
};

/// What a job wants next.
#[derive(Debug)]
pub enum Output {
    /// Ask a store, and hand its answer to `handle`.
    Ask(JobOp),
    /// Give so many ids to [`Job::mint`](super::Job::mint), such as no other delivery has.
    Mint(usize),
    /// Tell the hub, before anything else.
    Tell(ForHub),
    /// Go on after that long.
    Pause(Duration),
    /// It has ended.
    Over,
}

/// What the hub has to hear of an operation that it did not ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForHub {
    /// Deliveries that were, or may have been, changed or removed.
    pub touched: Vec<DeliveryId>,
    /// Destinations at which deliveries became due: each cuts short the pause of a circuit.
    pub woken: BTreeSet<Name>,
}

impl ForHub {
    /// Of a step: what it did of what it was asked for.
    pub fn of_step(step: &Step, settled: &[Changed], retired: &[bool], made: &[bool]) -> Self {
        let applied = step.settle.iter().zip(settled).filter(|(_, changed)| **changed == Changed::Applied);
        let removed = step.retire.iter().zip(retired).filter(|(_, removed)| **removed);
        let made = step.make.iter().zip(made).filter(|(_, made)| **made);
        Self::of(applied.map(|(change, _)| change), removed.map(|(ended, _)| ended), made.map(|(made, _)| made))
    }

    /// Of a step that may have been done, whole or in part.
    pub fn of_any(step: &Step) -> Self {
        Self::of(&step.settle, &step.retire, &step.make)
    }

    /// Of new deliveries that may be stored.
    pub fn of_replay(replay: &Replay) -> Self {
        Self::of([], [], &replay.made)
    }

    /// What is changed is looked at where it is held; where something is to be delivered somebody is woken.
    fn of<'a>(
        changes: impl IntoIterator<Item = &'a Change>,
        removed: impl IntoIterator<Item = &'a Ended>,
        made: impl IntoIterator<Item = &'a Delivery>,
    ) -> Self {
        let mut told = Self::default();
        for Change { next, .. } in changes {
            told.touched.push(next.id);
            if next.state.is_open() {
                told.woken.insert(next.destination.clone());
            }
        }
        told.touched.extend(removed.into_iter().map(|ended| ended.id));
        told.woken.extend(made.into_iter().map(|made| made.destination.clone()));
        told
    }

    /// Whether there is nothing to hear.
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.woken.is_empty()
    }
}

/// One thing that a job asks of a store. Performed in one place, `relay_store::seam::perform_job`.
#[derive(Clone, Debug)]
pub enum JobOp {
    /// Read a page of those that match.
    Page(Asked<PageAsk>),
    /// Read a page of events that match.
    Events(Asked<EventsAsk>),
    /// Read those that were named.
    Find(Asked<Vec<DeliveryId>>),
    /// Do a step.
    Step(Asked<Box<Step>>),
}

/// What a store answers to a [`JobOp`].
#[derive(Debug)]
pub enum JobStored {
    /// To [`JobOp::Page`].
    Page(Answered<PageAsk>),
    /// To [`JobOp::Events`].
    Events(Answered<EventsAsk>),
    /// To [`JobOp::Find`].
    Find(Answered<Vec<DeliveryId>>),
    /// To [`JobOp::Step`].
    Step(Answered<Box<Step>>),
}

/// One thing that retention asks of a store. Performed in one place, `relay_store::seam::perform_retention`.
#[derive(Clone, Debug)]
pub enum RetentionOp {
    /// Read what it is over for.
    Over(Asked<OverAsk>),
    /// Remove it, and forget what only time ends.
    Retire(Asked<Retire>),
}

/// What a store answers to a [`RetentionOp`].
#[derive(Debug)]
pub enum RetentionStored {
    /// To [`RetentionOp::Over`].
    Over(Answered<OverAsk>),
    /// To [`RetentionOp::Retire`].
    Retire(Answered<Retire>),
}
