//! Parked: leases of large bodies for which their client has no slot, since as many are on their way to it as may be. They
//! take none, so that small bodies behind them in the store are leased all the same.
//!
//! **Invariant:** of a client's slots at a destination one in [`SMALL_SLOTS_PART`](crate::limits::SMALL_SLOTS_PART) is for small bodies, where it has
//! two or more, as long as large ones wait or have not left whole. What is parked is handed back at its lease's end at the
//! latest, and what was leased first goes first.

use std::collections::{BTreeMap, VecDeque};

use super::{
    Hub,
    instances::{Instance, Service},
    room::Pair,
    slots::Slots,
};
use crate::{delivery::Delivery, id::DeliveryId};

/// What is parked, the first first.
#[derive(Debug, Default)]
pub(super) struct Parked {
    lines: BTreeMap<Pair, VecDeque<DeliveryId>>,
    /// A slot may have become free for one since they were looked at.
    woken: bool,
}

impl Parked {
    /// What is parked at this client and destination.
    pub(super) fn at(&self, pair: &Pair) -> Vec<DeliveryId> {
        self.lines.get(pair).into_iter().flatten().copied().collect()
    }

    /// How many these are.
    pub(super) fn count(&self, pair: &Pair) -> usize {
        self.lines.get(pair).map_or(0, VecDeque::len)
    }

    /// Whether they are to be looked at.
    pub(super) fn is_woken(&self) -> bool {
        self.woken
    }

    /// A slot became free, or a large body has left.
    pub(super) fn wake(&mut self) {
        self.woken = !self.lines.is_empty();
    }

    fn push(&mut self, pair: &Pair, id: DeliveryId) {
        self.lines.entry(pair.clone()).or_default().push_back(id);
    }

    fn take(&mut self, pair: &Pair, id: DeliveryId) -> bool {
        let Some(line) = self.lines.get_mut(pair) else { return false };
        let Some(index) = line.iter().position(|parked| *parked == id) else { return false };
        line.remove(index);
        if line.is_empty() {
            self.lines.remove(pair);
        }
        true
    }
}

impl Hub {
    /// Whether large bodies wait for this client and destination: then it has credit for small ones.
    pub(super) fn is_crowded(&self, pair: &Pair) -> bool {
        self.parked.count(pair) > 0 || self.room.has_large_waiting(pair)
    }

    /// Whether this delivery's body is not one large body too many on its way there.
    pub(super) fn has_slot_for(&self, pair: &Pair, delivery: &Delivery) -> bool {
        if !self.room.is_large(delivery.body_bytes) {
            return true;
        }
        let served = self.instances.get(&pair.0).and_then(|instance| instance.served.get(&pair.1));
        served.is_none_or(|served| self.has_large_slot(pair, served))
    }

    fn has_large_slot(&self, pair: &Pair, served: &Service) -> bool {
        let (waiting, unsent) = self.room.large_at(pair);
        waiting + unsent < Slots::for_large(served.allowed()) as usize
    }

    /// Puts a lease aside until it has a slot.
    pub(super) fn park(&mut self, pair: &Pair, delivery: &Delivery) {
        self.parked.push(pair, delivery.id);
        let instance = self.instances.entry(pair.0).or_insert_with(Instance::unseen);
        instance.granted.take(1);
        instance.served.entry(pair.1.clone()).or_default().slots.park(delivery.tries > 0);
    }

    /// Takes a lease out that may be parked. `false`: it is not.
    pub(super) fn leave_parked(&mut self, pair: &Pair, delivery: &Delivery) -> bool {
        let was_there = self.parked.take(pair, delivery.id);
        if was_there && let Some(instance) = self.instances.get_mut(&pair.0) {
            instance.granted.give_back(1);
            if let Some(served) = instance.served.get_mut(&pair.1) {
                served.slots.unpark(delivery.tries > 0);
            }
        }
        was_there
    }

    /// Gives those a slot for which there is one now.
    pub(super) fn unpark(&mut self) {
        if !std::mem::take(&mut self.parked.woken) {
            return;
        }
        let pairs: Vec<Pair> = self.parked.lines.keys().cloned().collect();
        for pair in pairs {
            while let Some(delivery) =
                self.next_unparked(&pair).and_then(|id| Some(self.held.get(&id)?.delivery.clone()))
            {
                self.leave_parked(&pair, &delivery);
                self.take_slot(pair.0, &delivery);
                self.wait_for_room(delivery.id);
            }
            self.rerank(pair.0, &pair.1);
        }
    }

    fn next_unparked(&self, pair: &Pair) -> Option<DeliveryId> {
        let instance = self.instances.get(&pair.0).filter(|instance| instance.takes_new() && !self.stopping)?;
        let served = instance.served.get(&pair.1)?;
        if served.free() == 0 || !self.has_large_slot(pair, served) {
            return None;
        }
        // Slow retries have no more slots than they would have had without being parked.
        let takes_tried = !served.durations.is_slow() || served.slots.takes_slow(served.allowed());
        let goes = |id: &&DeliveryId| takes_tried || self.held.get(id).is_some_and(|held| held.delivery.tries == 0);
        self.parked.lines.get(pair)?.iter().find(goes).copied()
    }
}
