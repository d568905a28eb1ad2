//! Operations: each names its answer by type, and its number goes from the one who asks to the store and back.

use std::{marker::PhantomData, sync::Arc};

use super::{
    Append, AppendError, Appended, BodyOf, Changed, ClockAsk, Due, DueAsk, EventRow, EventsAsk, Extend, Extended,
    HeldAsk, LeaseAsk, Leased, Listing, OverAsk, PageAsk, Presence, Replay, Replayed, Retire, Retired, Step, Stepped,
    StoreError,
};
use crate::{
    delivery::{Change, Delivery},
    event::Event,
    id::DeliveryId,
    time::Wall,
};

/// The number of one operation. They rise in the order in which they were asked for, whatever their kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// Something to ask of a store.
pub trait Ask {
    /// What it is answered with: a durable fact, or a failure.
    type Answer;
}

impl Ask for Box<Append> {
    type Answer = Result<Appended, AppendError>;
}

impl Ask for LeaseAsk {
    type Answer = Result<Leased, StoreError>;
}

impl Ask for Vec<BodyOf> {
    type Answer = Result<Vec<Option<Arc<Event>>>, StoreError>;
}

/// Answered in the same order.
impl Ask for Vec<Extend> {
    type Answer = Result<Vec<Extended>, StoreError>;
}

/// Answered in the same order.
impl Ask for Vec<Change> {
    type Answer = Result<Vec<Changed>, StoreError>;
}

impl Ask for Replay {
    type Answer = Result<Replayed, StoreError>;
}

/// Answered with what other runs say.
impl Ask for Presence {
    type Answer = Result<Vec<Presence>, StoreError>;
}

/// Answered with the store's clock, as this owner may read it; `None`: there is none to compare with.
impl Ask for ClockAsk {
    type Answer = Result<Option<Wall>, StoreError>;
}

/// Read these, answered in the same order: `None` for those that are gone.
impl Ask for Vec<DeliveryId> {
    type Answer = Result<Vec<Option<Delivery>>, StoreError>;
}

impl Ask for DueAsk {
    type Answer = Result<Due, StoreError>;
}

impl Ask for HeldAsk {
    type Answer = Result<Vec<Delivery>, StoreError>;
}

impl Ask for PageAsk {
    type Answer = Result<Listing<Delivery>, StoreError>;
}

impl Ask for EventsAsk {
    type Answer = Result<Listing<EventRow>, StoreError>;
}

impl Ask for Box<Step> {
    type Answer = Result<Stepped, StoreError>;
}

impl Ask for OverAsk {
    type Answer = Result<Vec<Delivery>, StoreError>;
}

impl Ask for Retire {
    type Answer = Result<Retired, StoreError>;
}

/// One operation on its way to the store.
#[derive(Clone, Debug)]
pub struct Asked<A> {
    id: OpId,
    /// What is asked.
    pub ask: A,
}

impl<A: Ask> Asked<A> {
    /// Only who keeps the numbers gives one.
    pub(crate) fn new(id: OpId, ask: A) -> Self {
        Self { id, ask }
    }

    /// Its number.
    pub fn id(&self) -> OpId {
        self.id
    }

    /// What is to be done, and what its answer is to be made with.
    pub fn take(self) -> (A, Receipt<A>) {
        (self.ask, Receipt { id: self.id, of: PhantomData })
    }
}

/// Makes the answer to one operation: it can be of no other kind.
#[derive(Debug)]
pub struct Receipt<A> {
    id: OpId,
    of: PhantomData<fn(A)>,
}

impl<A: Ask> Receipt<A> {
    /// The store answered.
    pub fn answered(self, answer: A::Answer) -> Answered<A> {
        Answered { id: self.id, answer }
    }
}

/// One operation on its way back.
pub struct Answered<A: Ask> {
    id: OpId,
    /// What the store says.
    pub answer: A::Answer,
}

impl<A: Ask> Answered<A> {
    /// Its number.
    pub fn id(&self) -> OpId {
        self.id
    }
}

impl<A: Ask<Answer: std::fmt::Debug>> std::fmt::Debug for Answered<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answered").field("id", &self.id).field("answer", &self.answer).finish()
    }
}

/// One thing that the core asks of a store. Performed in one place, `relay_store::seam::perform`.
#[derive(Clone, Debug)]
pub enum StoreOp {
    /// Accept.
    Append(Asked<Box<Append>>),
    /// Lease what is due.
    Lease(Asked<LeaseAsk>),
    /// Read bodies of what is leased.
    Bodies(Asked<Vec<BodyOf>>),
    /// Move the ends of leases.
    Extend(Asked<Vec<Extend>>),
    /// Apply changes.
    Settle(Asked<Vec<Change>>),
    /// Store new deliveries of an old event.
    Replay(Asked<Replay>),
    /// Read deliveries.
    Find(Asked<Vec<DeliveryId>>),
    /// See what has work to do.
    Due(Asked<DueAsk>),
    /// Read what is leased.
    Held(Asked<HeldAsk>),
    /// Say which clients there are, and hear of those of other servers.
    Presence(Asked<Presence>),
    /// Read the store's clock.
    Clock(Asked<ClockAsk>),
}

/// What a store answers to a [`StoreOp`].
#[derive(Debug)]
pub enum Stored {
    /// To [`StoreOp::Append`].
    Append(Answered<Box<Append>>),
    /// To [`StoreOp::Lease`].
    Lease(Answered<LeaseAsk>),
    /// To [`StoreOp::Bodies`].
    Bodies(Answered<Vec<BodyOf>>),
    /// To [`StoreOp::Extend`].
    Extend(Answered<Vec<Extend>>),
    /// To [`StoreOp::Settle`].
    Settle(Answered<Vec<Change>>),
    /// To [`StoreOp::Replay`].
    Replay(Answered<Replay>),
    /// To [`StoreOp::Find`].
    Find(Answered<Vec<DeliveryId>>),
    /// To [`StoreOp::Due`].
    Due(Answered<DueAsk>),
    /// To [`StoreOp::Held`].
    Held(Answered<HeldAsk>),
    /// To [`StoreOp::Presence`].
    Presence(Answered<Presence>),
    /// To [`StoreOp::Clock`].
    Clock(Answered<ClockAsk>),
}

/// Does the same with whatever kind it is.
macro_rules! any {
    ($of:ident, $value:expr, $one:ident => $do:expr) => {
        match $value {
            $of::Append($one) => $do,
            $of::Lease($one) => $do,
            $of::Bodies($one) => $do,
            $of::Extend($one) => $do,
            $of::Settle($one) => $do,
            $of::Replay($one) => $do,
            $of::Find($one) => $do,
            $of::Due($one) => $do,
            $of::Held($one) => $do,
            $of::Presence($one) => $do,
            $of::Clock($one) => $do,
        }
    };
}

impl StoreOp {
    /// Its number.
    pub fn id(&self) -> OpId {
        any!(Self, self, one => one.id())
    }
}

impl Stored {
    /// The number of the operation.
    pub fn id(&self) -> OpId {
        any!(Self, self, one => one.id())
    }

    /// Whether it says that the store has failed for good.
    pub fn is_final(&self) -> bool {
        any!(Self, self, one => matches!(&one.answer, Err(error) if error.is_final()))
    }
}
