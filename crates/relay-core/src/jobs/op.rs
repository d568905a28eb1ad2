//! What a job asks of a store, and what else it wants.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    id::DeliveryId,
    name::Name,
    storage::{Answered, Asked, EventsAsk, OverAsk, PageAsk, Retire, Step},
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

/// What the hub has to hear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForHub {
    /// Deliveries that were, or may have been, changed or removed.
    pub touched: Vec<DeliveryId>,
    /// Destinations at which deliveries became due: each cuts short the pause of a circuit.
    pub woken: BTreeSet<Name>,
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
