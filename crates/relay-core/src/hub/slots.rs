//! Slots: how many deliveries a client may hold at a destination, how many of them tried ones may be, and who is given the
//! next.
//!
//! Three owners, none of which knows the hub: [`Slots`] counts what one client holds at one destination, [`Granted`] all that
//! it holds, [`Takers`] has the clients of one destination in the order in which they are given deliveries. How many of its
//! slots a circuit lets a client use comes in as a number (`allowed`). Bytes are another matter: see `hub/room.rs`.
//!
//! **Invariants:** each delivery that was taken is given back once, with the same word on whether it was tried, so no count
//! goes below zero; a suspect goes out when nothing but suspects takes a slot, and nothing else goes out beside it; whom
//! [`Takers`] names for tried ones it names for any.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    circuit::Permit,
    id::{DeliveryId, InstanceId},
    limits,
};

/// Those of one client at one destination.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// As many as it said in its Hello; 0: it does not serve the destination, or not any more.
    offered: u32,
    /// Deliveries it holds or is about to get.
    used: u32,
    /// Those among them that were tried before.
    tried: u32,
    /// Those that were tried before and are parked: they take no slot.
    tried_parked: u32,
    /// Of an odd number of slots the one in the middle is for tried ones; changes with each lease.
    tried_first: bool,
    /// A lease operation is under way.
    asking: bool,
    /// Leased suspects that wait until nothing else is held.
    suspects: VecDeque<DeliveryId>,
    /// The suspect that is out, alone.
    alone: Option<DeliveryId>,
}

impl Slots {
    /// So many from now on. What is held beyond them is not taken back.
    pub(super) fn offer(&mut self, slots: u32) {
        self.offered = slots;
    }

    /// How many there are.
    pub(super) fn offered(&self) -> u32 {
        self.offered
    }

    /// How many are taken; more than there are, where the client came back with fewer.
    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// Whether its client serves the destination.
    pub(super) fn are_offered(&self) -> bool {
        self.offered > 0
    }

    /// Whether no more are taken than there are.
    pub(super) fn suffice(&self) -> bool {
        self.used <= self.offered
    }

    /// Whether nothing is held, parked ones aside, nor asked for.
    pub(super) fn are_idle(&self) -> bool {
        self.used == 0 && !self.asking
    }

    /// Whether none are offered, and nothing is held or asked for.
    pub(super) fn are_over(&self) -> bool {
        self.offered == 0 && self.are_idle() && self.tried_parked == 0
    }

    /// A delivery takes one.
    pub(super) fn take(&mut self, tried: bool) {
        self.used += 1;
        self.tried += u32::from(tried);
    }

    /// It gives it back.
    pub(super) fn give_back(&mut self, id: DeliveryId, tried: bool) {
        self.used -= 1;
        self.tried -= u32::from(tried);
        self.suspects.retain(|waiting| *waiting != id);
        self.alone.take_if(|alone| *alone == id);
    }

    /// A delivery is parked.
    pub(super) fn park(&mut self, tried: bool) {
        self.tried_parked += u32::from(tried);
    }

    /// It is not parked any more.
    pub(super) fn unpark(&mut self, tried: bool) {
        self.tried_parked -= u32::from(tried);
    }

    /// How many are parked that were tried.
    pub(super) fn tried_parked(&self) -> u32 {
        self.tried_parked
    }

    /// A lease operation is asked for.
    pub(super) fn ask(&mut self) {
        self.asking = true;
    }

    /// It is answered.
    pub(super) fn answered(&mut self) {
        self.asking = false;
    }

    /// Something was leased: of an odd number of slots the other kind gets the one in the middle next.
    pub(super) fn turn(&mut self) {
        self.tried_first = !self.tried_first;
    }

    /// A suspect waits until nothing else is held.
    pub(super) fn wait_alone(&mut self, id: DeliveryId) {
        self.suspects.push_back(id);
    }

    /// A suspect is out already: its client came back with it.
    pub(super) fn resume_alone(&mut self, id: DeliveryId) {
        self.alone = Some(id);
    }

    /// The next suspect, if nothing but suspects takes a slot and none is out. It is out from now on.
    pub(super) fn next_alone(&mut self) -> Option<DeliveryId> {
        if self.alone.is_some() || self.used as usize > self.suspects.len() {
            return None;
        }
        self.alone = self.suspects.pop_front();
        self.alone
    }

    /// How many suspects wait.
    pub(super) fn suspects(&self) -> usize {
        self.suspects.len()
    }

    /// Those that may be used and nothing takes.
    pub(super) fn free(&self, allowed: u32) -> u32 {
        allowed.saturating_sub(self.used)
    }

    /// Those by which it stands among the takers: `Some(0)` for a probe, `None` if it takes nothing now.
    pub(super) fn rank(&self, allowed: u32, permit: Permit) -> Option<u32> {
        let free = self.free(allowed);
        if self.asking || self.alone.is_some() || !self.suspects.is_empty() || free == 0 {
            return None;
        }
        match permit {
            Permit::All => Some(free),
            Permit::Probe => Some(0),
            Permit::NotBefore(_) | Permit::Probing => None,
        }
    }

    /// Those that tried ones may take in all while they are slow: most stay free for what arrives.
    fn slow_max(allowed: u32) -> u32 {
        (allowed / limits::SLOW_RETRY_SLOTS_PART).max(1)
    }

    /// How many of the next `limit` deliveries slow tried ones may be, even if nothing else is due.
    pub(super) fn slow_of(&self, limit: u32, allowed: u32) -> u32 {
        Self::slow_max(allowed).saturating_sub(self.tried + self.tried_parked).min(limit)
    }

    /// Whether one of the parked that was tried may take a slot, while such are slow: no more than without being parked.
    pub(super) fn takes_slow(&self, allowed: u32) -> bool {
        self.tried < Self::slow_max(allowed)
    }

    /// How many of the next `limit` deliveries tried ones may be where both kinds are due: each has half of the slots.
    pub(super) fn share_of_tried(&self, limit: u32, allowed: u32) -> u32 {
        let half = if self.tried_first { allowed.div_ceil(2) } else { allowed / 2 };
        let tried = half.saturating_sub(self.tried);
        let fresh = (allowed - half).saturating_sub(self.used - self.tried);
        let all = u64::from(tried) + u64::from(fresh);
        if all <= u64::from(limit) {
            return tried;
        }
        let part = u64::from(limit) * u64::from(tried);
        let share = if self.tried_first { part.div_ceil(all) } else { part / all };
        u32::try_from(share).unwrap_or(limit)
    }

    /// Those that large bodies may have while they are on their way: one in some is for small ones.
    pub(super) fn for_large(allowed: u32) -> u32 {
        if allowed > 1 { allowed - allowed.div_ceil(limits::SMALL_SLOTS_PART) } else { allowed }
    }
}

/// How much one client holds or is about to get of all destinations, parked ones included, and what lease operations under
/// way may bring it: [`limits::GRANTED_MAX`] at most.
#[derive(Debug, Default)]
pub(super) struct Granted(usize);

impl Granted {
    pub(super) fn take(&mut self, count: usize) {
        self.0 += count;
    }

    pub(super) fn give_back(&mut self, count: usize) {
        self.0 -= count;
    }

    /// How many more it may get.
    pub(super) fn left(&self) -> usize {
        limits::GRANTED_MAX.saturating_sub(self.0)
    }
}

/// How a client stands among the takers of a destination: the highest is given the next delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// No large bodies wait for it: else what it takes is small.
    pub(super) takes_any: bool,
    /// Free slots; 0: a probe.
    pub(super) slots: u32,
    /// It may be one that was tried before.
    pub(super) takes_tried: bool,
}

/// The clients that may be given a delivery of one destination now.
#[derive(Debug, Default)]
pub(super) struct Takers {
    all: BTreeSet<(Rank, InstanceId)>,
    /// Those among them that may be given one that was tried before.
    of_tried: BTreeSet<(Rank, InstanceId)>,
}

impl Takers {
    /// A client stands here from now on, and no more where it stood.
    pub(super) fn place(&mut self, id: InstanceId, before: Option<Rank>, after: Option<Rank>) {
        if let Some(rank) = before {
            self.all.remove(&(rank, id));
            self.of_tried.remove(&(rank, id));
        }
        if let Some(rank) = after {
            self.all.insert((rank, id));
            if rank.takes_tried {
                self.of_tried.insert((rank, id));
            }
        }
    }

    /// Whether nobody takes anything.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The first who takes anything that arrives, if anybody does.
    pub(super) fn take_arrivals(&self) -> bool {
        self.all.last().is_some_and(|(rank, _)| rank.takes_any && rank.slots > 0)
    }

    /// The first for whom this holds.
    pub(super) fn first(&self, fits: impl Fn(Rank, InstanceId) -> bool) -> Option<InstanceId> {
        first_of(&self.all, fits)
    }

    /// The first for whom this holds of those who may be given one that was tried before.
    pub(super) fn first_of_tried(&self, fits: impl Fn(Rank, InstanceId) -> bool) -> Option<InstanceId> {
        first_of(&self.of_tried, fits)
    }

    /// Whether it stands there.
    pub(super) fn has(&self, id: InstanceId, rank: Rank) -> bool {
        self.all.contains(&(rank, id))
    }

    /// Panics unless each stands where this says.
    pub(super) fn check(&self, rank_of: impl Fn(InstanceId) -> Option<Rank>) {
        assert!(self.all.iter().all(|(rank, id)| rank_of(*id) == Some(*rank)), "takers stand where they are said to");
        let of_tried = self.all.iter().filter(|(rank, _)| rank.takes_tried);
        assert!(of_tried.eq(&self.of_tried), "retries go to those of them that take such");
    }
}

fn first_of(set: &BTreeSet<(Rank, InstanceId)>, fits: impl Fn(Rank, InstanceId) -> bool) -> Option<InstanceId> {
    set.iter().rev().find(|(rank, id)| fits(*rank, *id)).map(|(_, id)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Mono;

    fn of(offered: u32, fresh: u32, tried: u32) -> Slots {
        let mut slots = Slots::default();
        slots.offer(offered);
        (0..fresh).for_each(|_| slots.take(false));
        (0..tried).for_each(|_| slots.take(true));
        slots
    }

    fn delivery(number: u128) -> DeliveryId {
        DeliveryId::from_u128(number)
    }

    #[test]
    fn each_kind_has_half_of_the_slots_and_the_odd_one_goes_from_one_to_the_other() {
        let mut slots = of(5, 0, 0);
        assert_eq!(slots.share_of_tried(5, 5), 2);
        slots.turn();
        assert_eq!(slots.share_of_tried(5, 5), 3);
        // One slot: alternately.
        let mut one = of(1, 0, 0);
        assert_eq!(one.share_of_tried(1, 1), 0);
        one.turn();
        assert_eq!(one.share_of_tried(1, 1), 1);
        // Who has more than half waits for the other kind.
        assert_eq!(of(8, 0, 6).share_of_tried(2, 8), 0);
        assert_eq!(of(8, 6, 0).share_of_tried(2, 8), 2);
        // A part of what is free is shared as the whole is.
        assert_eq!(of(8, 0, 0).share_of_tried(4, 8), 2);
    }

    #[test]
    fn slow_retries_leave_most_slots_free_and_parked_ones_count_among_them() {
        let allowed = 4 * limits::SLOW_RETRY_SLOTS_PART;
        let mut slots = of(allowed, 0, 1);
        assert_eq!(slots.slow_of(allowed, allowed), 3);
        slots.park(true);
        assert_eq!(slots.slow_of(allowed, allowed), 2);
        assert!(slots.takes_slow(allowed), "what is parked takes no slot yet");
        slots.unpark(true);
        slots.take(true);
        slots.take(true);
        slots.take(true);
        assert!(!slots.takes_slow(allowed));
        assert_eq!(slots.slow_of(allowed, allowed), 0);
        assert_eq!(of(1, 0, 0).slow_of(1, 1), 1, "one slot is enough for one");
    }

    #[test]
    fn a_suspect_goes_out_alone() {
        let mut slots = of(4, 1, 0);
        slots.take(true);
        slots.wait_alone(delivery(7));
        slots.take(true);
        slots.wait_alone(delivery(8));
        assert_eq!(slots.next_alone(), None, "something else is held");
        assert_eq!(slots.rank(4, Permit::All), None, "nothing more is leased meanwhile");
        slots.give_back(delivery(1), false);
        assert_eq!(slots.next_alone(), Some(delivery(7)));
        assert_eq!(slots.next_alone(), None, "one is out");
        slots.give_back(delivery(7), true);
        assert_eq!(slots.next_alone(), Some(delivery(8)));
        slots.give_back(delivery(8), true);
        assert_eq!(slots.rank(4, Permit::All), Some(4));
        assert!(slots.are_idle());
    }

    #[test]
    fn a_suspect_that_is_handed_back_before_its_turn_is_not_waited_for() {
        let mut slots = of(4, 1, 0);
        slots.take(true);
        slots.wait_alone(delivery(7));
        slots.give_back(delivery(7), true);
        assert_eq!(slots.rank(4, Permit::All), Some(3));
    }

    #[test]
    fn who_asks_holds_all_it_may_or_has_a_closed_door_takes_nothing() {
        let mut slots = of(3, 2, 0);
        assert_eq!(slots.rank(3, Permit::All), Some(1));
        assert_eq!(slots.rank(3, Permit::Probe), Some(0));
        assert_eq!(slots.rank(3, Permit::Probing), None);
        assert_eq!(slots.rank(3, Permit::NotBefore(Mono::default())), None);
        assert_eq!(slots.rank(2, Permit::All), None, "its circuit lets it use two");
        slots.ask();
        assert_eq!(slots.rank(3, Permit::All), None);
        slots.answered();
        assert_eq!(slots.rank(3, Permit::All), Some(1));
    }

    #[test]
    fn what_is_held_beyond_what_is_offered_is_known() {
        let mut slots = of(4, 3, 0);
        assert!(slots.suffice());
        slots.offer(2);
        assert!(!slots.suffice());
        assert_eq!(slots.free(2), 0);
        slots.offer(0);
        assert!(!slots.are_offered() && !slots.are_over(), "it is held all the same");
        (0..3).for_each(|number| slots.give_back(delivery(number), false));
        assert!(slots.are_over());
    }

    #[test]
    fn large_bodies_leave_a_slot_to_small_ones_where_there_are_two() {
        assert_eq!(Slots::for_large(0), 0);
        assert_eq!(Slots::for_large(1), 1);
        assert_eq!(Slots::for_large(2), 1);
        assert_eq!(Slots::for_large(8), 8 - 8_u32.div_ceil(limits::SMALL_SLOTS_PART));
    }

    #[test]
    fn the_most_free_slots_come_first_and_retries_go_to_who_takes_them() {
        let rank = |takes_any, slots, takes_tried| Rank { takes_any, slots, takes_tried };
        let [crowded, slow, wide] = [1, 2, 3].map(InstanceId::from_u128);
        let mut takers = Takers::default();
        assert!(takers.is_empty() && !takers.take_arrivals());
        takers.place(crowded, None, Some(rank(false, 9, true)));
        assert!(!takers.take_arrivals(), "what it takes is small");
        takers.place(slow, None, Some(rank(true, 8, false)));
        takers.place(wide, None, Some(rank(true, 2, true)));
        assert_eq!(takers.first(|_, _| true), Some(slow));
        assert_eq!(takers.first_of_tried(|_, _| true), Some(wide));
        assert_eq!(takers.first(|rank, _| !rank.takes_any), Some(crowded));
        takers.place(slow, Some(rank(true, 8, false)), Some(rank(true, 1, true)));
        assert_eq!(takers.first(|_, _| true), Some(wide));
        takers.place(wide, Some(rank(true, 2, true)), None);
        assert!(takers.has(slow, rank(true, 1, true)) && !takers.has(wide, rank(true, 2, true)));
        takers.check(|id| if id == slow { Some(rank(true, 1, true)) } else { Some(rank(false, 9, true)) });
    }

    #[test]
    fn a_client_holds_no_more_in_all_than_may_be_granted() {
        let mut granted = Granted::default();
        granted.take(limits::GRANTED_MAX - 1);
        assert_eq!(granted.left(), 1);
        granted.take(5);
        assert_eq!(granted.left(), 0);
        granted.give_back(6);
        assert_eq!(granted.left(), 2);
    }
}
