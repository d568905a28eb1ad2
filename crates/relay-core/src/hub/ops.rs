//! Store operations under way, a table for each kind: with its answer comes what waits for it, and nothing else can.

use std::{collections::BTreeMap, marker::PhantomData};

use super::{
    HeldFor, accept,
    bodies::BodyRead,
    destinations,
    resend::Resent,
    settle::{Decided, Work},
};
use crate::{
    delivery::Change,
    id::DeliveryId,
    storage::{
        Answered, Append, Ask, Asked, BodyOf, ClockAsk, DueAsk, Extend, HeldAsk, LeaseAsk, OpId, Presence, Replay,
        StoreOp,
    },
    time::{Now, Wall},
};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Ops {
    /// The number of the latest.
    last: u64,
    pub(super) appends: Table<Box<Append>, accept::Pending>,
    pub(super) leases: Table<LeaseAsk, destinations::LeaseUnderway>,
    pub(super) bodies: Table<Vec<BodyOf>, Vec<BodyRead>>,
    pub(super) extends: Table<Vec<Extend>, Vec<Extend>>,
    pub(super) settles: Table<Vec<Change>, Vec<Decided>>,
    pub(super) replays: Table<Replay, Resent>,
    pub(super) finds: Table<Vec<DeliveryId>, Vec<Work>>,
    /// Each with when it was asked for.
    pub(super) dues: Table<DueAsk, Wall>,
    pub(super) helds: Table<HeldAsk, HeldFor>,
    pub(super) presences: Table<Presence, ()>,
    /// Each with when it was asked.
    pub(super) clocks: Table<ClockAsk, Now>,
}

/// Those of one kind, each with what waits for its answer.
pub(super) struct Table<A, W> {
    waiting: BTreeMap<OpId, W>,
    of: PhantomData<fn(A)>,
}

impl<A: Ask, W> Table<A, W> {
    /// The answer is here: to whom, and what it is. `None` if nobody waits for it.
    pub(super) fn answered(&mut self, answered: Answered<A>) -> Option<(OpId, W, A::Answer)> {
        let id = answered.id();
        self.waiting.remove(&id).map(|waits| (id, waits, answered.answer))
    }

    /// What waits for answers.
    pub(super) fn waits(&self) -> impl Iterator<Item = &W> {
        self.waiting.values()
    }

    /// Whether none is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn ask(&mut self, id: OpId, waits: W, ask: A) -> Asked<A> {
        self.waiting.insert(id, waits);
        Asked::new(id, ask)
    }

    fn first(&self) -> Option<OpId> {
        self.waiting.first_key_value().map(|(id, _)| *id)
    }
}

impl Ops {
    /// The number of the latest.
    pub(super) fn last(&self) -> OpId {
        OpId(self.last)
    }

    /// The first under way that may bring a lease.
    pub(super) fn first_bringing(&self) -> Option<OpId> {
        [self.appends.first(), self.leases.first()].into_iter().flatten().min()
    }

    pub(super) fn append(&mut self, waits: accept::Pending, ask: Box<Append>) -> StoreOp {
        let id = self.next();
        StoreOp::Append(self.appends.ask(id, waits, ask))
    }

    pub(super) fn lease(&mut self, waits: destinations::LeaseUnderway, ask: LeaseAsk) -> StoreOp {
        let id = self.next();
        StoreOp::Lease(self.leases.ask(id, waits, ask))
    }

    pub(super) fn bodies(&mut self, reading: Vec<BodyRead>) -> StoreOp {
        let id = self.next();
        let wanted = reading.iter().map(|one| one.of).collect();
        StoreOp::Bodies(self.bodies.ask(id, reading, wanted))
    }

    pub(super) fn extend(&mut self, extends: Vec<Extend>) -> StoreOp {
        let id = self.next();
        StoreOp::Extend(self.extends.ask(id, extends.clone(), extends))
    }

    pub(super) fn settle(&mut self, decided: Vec<Decided>) -> StoreOp {
        let id = self.next();
        let changes = decided.iter().map(|decided| decided.change.clone()).collect();
        StoreOp::Settle(self.settles.ask(id, decided, changes))
    }

    pub(super) fn replay(&mut self, waits: Resent, replay: Replay) -> StoreOp {
        let id = self.next();
        StoreOp::Replay(self.replays.ask(id, waits, replay))
    }

    pub(super) fn find(&mut self, works: Vec<Work>) -> StoreOp {
        let id = self.next();
        let ids = works.iter().map(|work| work.id).collect();
        StoreOp::Find(self.finds.ask(id, works, ids))
    }

    pub(super) fn due(&mut self, ask: DueAsk) -> StoreOp {
        let id = self.next();
        StoreOp::Due(self.dues.ask(id, ask.now, ask))
    }

    pub(super) fn held(&mut self, what_for: HeldFor, ask: HeldAsk) -> StoreOp {
        let id = self.next();
        StoreOp::Held(self.helds.ask(id, what_for, ask))
    }

    pub(super) fn presence(&mut self, mine: Presence) -> StoreOp {
        let id = self.next();
        StoreOp::Presence(self.presences.ask(id, (), mine))
    }

    pub(super) fn clock(&mut self, now: Now) -> StoreOp {
        let id = self.next();
        StoreOp::Clock(self.clocks.ask(id, now, ClockAsk))
    }

    fn next(&mut self) -> OpId {
        self.last += 1;
        OpId(self.last)
    }
}

impl<A, W> Default for Table<A, W> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), of: PhantomData }
    }
}

impl<A, W: std::fmt::Debug> std::fmt::Debug for Table<A, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.waiting.fmt(f)
    }
}
