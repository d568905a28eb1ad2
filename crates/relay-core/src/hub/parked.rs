//! Parked: leases of large bodies for which their client has no slot, since as many are on their way to it as may be. They
//! take none, so that small bodies behind them in the store are leased all the same.
//!
//! [`Parked`] knows no hub: what there is at a client and destination comes in as a value, and whose turn it is comes out.
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
use crate::{delivery::Delivery, id::DeliveryId, limits};

/// What is parked, the first first.
#[derive(Debug, Default)]
pub(super) struct Parked {
    lines: BTreeMap<Pair, VecDeque<Aside>>,
    /// A slot may have become free for one since they were looked at.
    woken: bool,
}

/// A lease that is parked.
#[derive(Clone, Copy, Debug)]
struct Aside {
    id: DeliveryId,
    /// It was tried before.
    tried: bool,
}

/// What one client has for large bodies at one destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForLarge {
    /// Slots that it may use.
    pub(super) allowed: u32,
    /// Those of them that nothing takes.
    pub(super) free: u32,
    /// Large bodies that have a slot, and wait for room or have not left whole.
    pub(super) underway: usize,
    /// A delivery that was tried before may take a slot.
    pub(super) takes_tried: bool,
}

impl ForLarge {
    /// Whether one more may be on its way.
    pub(super) fn has_way(self) -> bool {
        self.underway < Slots::for_large(self.allowed) as usize
    }
}

impl Parked {
    /// What is parked at this client and destination.
    pub(super) fn at(&self, pair: &Pair) -> Vec<DeliveryId> {
        self.lines.get(pair).into_iter().flatten().map(|aside| aside.id).collect()
    }

    /// How many these are.
    pub(super) fn count(&self, pair: &Pair) -> usize {
        self.lines.get(pair).map_or(0, VecDeque::len)
    }

    /// Whether these are as many as may be: then nothing more is leased for what they wait for.
    pub(super) fn is_full(&self, pair: &Pair) -> bool {
        self.count(pair) >= limits::PARKED_MAX
    }

    /// Whether they are to be looked at.
    pub(super) fn is_woken(&self) -> bool {
        self.woken
    }

    /// A slot became free, or a large body has left.
    pub(super) fn wake(&mut self) {
        self.woken = !self.lines.is_empty();
    }

    /// Where they are to be looked at, once.
    fn take_woken(&mut self) -> Vec<Pair> {
        if std::mem::take(&mut self.woken) { self.lines.keys().cloned().collect() } else { Vec::new() }
    }

    /// The next to be given a slot, if there is one for it: the first, but slow retries have no more slots than they would have had
    /// without being parked, and are passed by what was never tried.
    fn next(&self, pair: &Pair, there: ForLarge) -> Option<DeliveryId> {
        let line = self.lines.get(pair).filter(|_| there.free > 0 && there.has_way())?;
        line.iter().find(|aside| there.takes_tried || !aside.tried).map(|aside| aside.id)
    }

    fn push(&mut self, pair: &Pair, id: DeliveryId, tried: bool) {
        self.lines.entry(pair.clone()).or_default().push_back(Aside { id, tried });
    }

    /// Takes one out that may be parked; gives whether it was tried before.
    fn take(&mut self, pair: &Pair, id: DeliveryId) -> Option<bool> {
        let line = self.lines.get_mut(pair)?;
        let index = line.iter().position(|aside| aside.id == id)?;
        let taken = line.remove(index)?;
        if line.is_empty() {
            self.lines.remove(pair);
        }
        Some(taken.tried)
    }
}

impl Hub {
    /// Whether large bodies wait for this client and destination: then it has credit for small ones.
    pub(super) fn is_crowded(&self, pair: &Pair) -> bool {
        self.parked.count(pair) > 0 || self.room.has_large_waiting(pair)
    }

    /// Whether this delivery's body is not one large body too many on its way there.
    pub(super) fn has_slot_for(&self, pair: &Pair, delivery: &Delivery) -> bool {
        !self.room.is_large(delivery.body_bytes) || self.for_large(pair).is_none_or(ForLarge::has_way)
    }

    /// Puts a lease aside until it has a slot.
    pub(super) fn park(&mut self, pair: &Pair, delivery: &Delivery) {
        let tried = delivery.tries > 0;
        self.parked.push(pair, delivery.id, tried);
        let instance = self.instances.entry(pair.0).or_insert_with(Instance::unseen);
        instance.granted.take(1);
        instance.served.entry(pair.1.clone()).or_default().slots.park(tried);
    }

    /// Takes a lease out that may be parked. `false`: it is not.
    pub(super) fn leave_parked(&mut self, pair: &Pair, id: DeliveryId) -> bool {
        let Some(tried) = self.parked.take(pair, id) else { return false };
        if let Some(instance) = self.instances.get_mut(&pair.0) {
            instance.granted.give_back(1);
            if let Some(served) = instance.served.get_mut(&pair.1) {
                served.slots.unpark(tried);
            }
        }
        true
    }

    /// Gives those a slot for which there is one now.
    pub(super) fn unpark(&mut self) {
        for pair in self.parked.take_woken() {
            while let Some(delivery) =
                self.next_unparked(&pair).and_then(|id| Some(self.held.get(&id)?.delivery.clone()))
            {
                self.leave_parked(&pair, delivery.id);
                self.take_slot(pair.0, &delivery);
                self.wait_for_room(delivery.id);
            }
            self.rerank(pair.0, &pair.1);
        }
    }

    fn next_unparked(&self, pair: &Pair) -> Option<DeliveryId> {
        let takes = !self.stopping && self.instances.get(&pair.0).is_some_and(Instance::takes_new);
        self.for_large(pair).filter(|_| takes).and_then(|there| self.parked.next(pair, there))
    }

    /// What there is for large bodies, where a client serves a destination.
    fn for_large(&self, pair: &Pair) -> Option<ForLarge> {
        let served: &Service = self.instances.get(&pair.0)?.served.get(&pair.1)?;
        let (waiting, unsent) = self.room.large_at(pair);
        let allowed = served.allowed();
        let takes_tried = !served.durations.is_slow() || served.slots.takes_slow(allowed);
        Some(ForLarge { allowed, free: served.free(), underway: waiting + unsent, takes_tried })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::InstanceId, name::Name};

    /// Four slots, of which three are for large bodies.
    const ROOMY: ForLarge = ForLarge { allowed: 4, free: 4, underway: 0, takes_tried: true };

    fn pair(client: u128) -> Pair {
        (InstanceId::from_u128(client), Name::fallback())
    }

    fn delivery(number: u128) -> DeliveryId {
        DeliveryId::from_u128(number)
    }

    /// Each of these is parked at one client; those with `true` were tried before.
    fn parked(all: &[(u128, bool)]) -> Parked {
        let mut parked = Parked::default();
        for (number, tried) in all {
            parked.push(&pair(1), delivery(*number), *tried);
        }
        parked
    }

    #[test]
    fn what_was_leased_first_goes_first_at_each_client_by_itself() {
        let mut parked = parked(&[(9, false), (3, true)]);
        parked.push(&pair(2), delivery(1), false);
        assert_eq!(parked.next(&pair(1), ROOMY), Some(delivery(9)));
        assert_eq!(parked.next(&pair(2), ROOMY), Some(delivery(1)));
        assert_eq!(parked.take(&pair(1), delivery(9)), Some(false));
        assert_eq!(parked.next(&pair(1), ROOMY), Some(delivery(3)));
        assert_eq!(parked.take(&pair(1), delivery(1)), None, "it is another client's");
        assert_eq!(parked.take(&pair(1), delivery(3)), Some(true));
        assert_eq!((parked.next(&pair(1), ROOMY), parked.count(&pair(1)), parked.at(&pair(2)).len()), (None, 0, 1));
    }

    #[test]
    fn a_slot_is_left_to_small_bodies_while_large_ones_are_on_their_way() {
        let parked = parked(&[(9, false)]);
        let next = |there| parked.next(&pair(1), there).is_some();
        assert!(next(ForLarge { free: 2, underway: 2, ..ROOMY }));
        assert!(!next(ForLarge { free: 1, underway: 3, ..ROOMY }), "the last one is for small bodies");
        assert!(!next(ForLarge { free: 0, underway: 0, ..ROOMY }), "small bodies have all of them");
        assert!(next(ForLarge { allowed: 1, free: 1, ..ROOMY }), "one slot is for either");
        assert!(!next(ForLarge { allowed: 0, free: 0, ..ROOMY }));
    }

    #[test]
    fn slow_retries_are_passed_by_what_was_never_tried() {
        let slow = ForLarge { takes_tried: false, ..ROOMY };
        let mixed = parked(&[(9, true), (3, false)]);
        assert_eq!(mixed.next(&pair(1), ROOMY), Some(delivery(9)));
        assert_eq!(mixed.next(&pair(1), slow), Some(delivery(3)));
        assert_eq!(parked(&[(9, true)]).next(&pair(1), slow), None);
    }

    #[test]
    fn they_are_looked_at_once_for_each_change_and_never_where_nothing_is_parked() {
        let mut parked = Parked::default();
        parked.wake();
        assert!(!parked.is_woken(), "there is nothing to look at");
        parked.push(&pair(1), delivery(9), false);
        assert_eq!(parked.take_woken(), Vec::new());
        parked.wake();
        assert_eq!(parked.take_woken(), vec![pair(1)]);
        assert_eq!(parked.take_woken(), Vec::new());
    }

    #[test]
    fn no_more_are_parked_at_a_client_and_destination_than_a_bound() {
        let mut parked = Parked::default();
        for number in 1..=limits::PARKED_MAX as u128 {
            assert!(!parked.is_full(&pair(1)));
            parked.push(&pair(1), delivery(number), false);
        }
        assert!(parked.is_full(&pair(1)) && !parked.is_full(&pair(2)));
    }
}
