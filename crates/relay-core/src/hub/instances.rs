//! Client instances: what each serves, holds and has credit for. An instance outlives its sockets.
//!
//! **Invariant:** [`Destination::free`](super::destinations::Destination) names exactly the instances that may be given
//! a delivery now, by free slots, and `free_for_tried` those among them that may be given a retry.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{
    ConnId, Hub, Output,
    durations::Durations,
    held::{Held, Sent},
    room::Pair,
};
use crate::{
    circuit::{Circuit, Permit},
    delivery::Delivery,
    id::{DeliveryId, InstanceId},
    limits,
    name::Name,
    time::{Mono, Wall},
};

/// One client instance.
#[derive(Debug)]
pub(super) struct Instance {
    /// Its socket, while it has one that said Hello.
    pub(super) conn: Option<ConnId>,
    pub(super) token: Name,
    pub(super) label: String,
    pub(super) peer: String,
    /// When it came here last, as all servers have it.
    pub(super) since: Wall,
    /// Its socket was lost, and it may come back to its leases.
    pub(super) away: Option<Away>,
    /// Until when its circuits are remembered, once it is gone.
    pub(super) forget_at: Option<Mono>,
    /// It was announced as serving its destinations, and has not been announced as gone.
    pub(super) joined: bool,
    /// It said goodbye: nothing new for it.
    pub(super) going: bool,
    /// It said that it holds nothing any more: its socket is closed once nothing is on its way to it either.
    pub(super) done: bool,
    /// Deliveries it holds or is about to get, and those that lease operations under way may bring it.
    pub(super) granted: usize,
    /// The destination whose lease operation was asked for last.
    pub(super) asked_last: Option<Name>,
    pub(super) served: BTreeMap<Name, Service>,
    /// In no order: each lease knows its [place](Held::place).
    pub(super) held: Vec<DeliveryId>,
    /// Its entries in [`Hub::losses`](super::Hub).
    pub(super) losses: BTreeSet<(Wall, DeliveryId)>,
}

/// How long an instance whose socket was lost is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Away {
    pub(super) since: Mono,
    pub(super) until: Mono,
}

/// One destination that an instance serves.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) slots: u32,
    pub(super) forward_timeout: Duration,
    /// Deliveries it holds or is about to get.
    pub(super) used: u32,
    /// Those among them that were tried before.
    pub(super) tried: u32,
    /// Those that were tried before and are parked.
    pub(super) tried_parked: u32,
    /// How long tries have lately taken here.
    pub(super) durations: Durations,
    /// Of an odd number of slots the one in the middle is for tried ones; changes with each lease.
    pub(super) tried_first: bool,
    /// A lease operation is under way.
    pub(super) asking: bool,
    pub(super) circuit: Circuit,
    /// Leased suspects that wait until nothing else is held.
    pub(super) suspects: VecDeque<DeliveryId>,
    /// The suspect that is out, alone.
    pub(super) alone: Option<DeliveryId>,
    /// Its key in the destination's free set.
    pub(super) rank: Option<Rank>,
}

/// Who is given a delivery first: the last by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// No large bodies wait for it: else what it takes is small.
    pub(super) takes_any: bool,
    /// Free slots; 0: a probe.
    pub(super) slots: u32,
    /// It may be one that was tried before.
    pub(super) takes_tried: bool,
}

impl Service {
    /// Nothing of it is served, held, or worth remembering.
    pub(super) fn is_over(&self) -> bool {
        let holds = self.used > 0 || self.tried_parked > 0 || self.asking;
        self.slots == 0 && !holds && self.rank.is_none() && self.circuit.is_blank()
    }
}

impl Instance {
    /// Whether it said Hello to this run of the server, and so which token it has is known.
    pub(super) fn has_come(&self) -> bool {
        self.since != Wall::MIN
    }

    /// An instance that is known only by leases it took from an earlier run, or is about to say Hello.
    pub(super) fn unseen() -> Self {
        Self {
            conn: None,
            since: Wall::MIN,
            away: None,
            forget_at: None,
            token: Name::fallback(),
            label: String::new(),
            peer: String::new(),
            joined: false,
            going: false,
            done: false,
            granted: 0,
            asked_last: None,
            served: BTreeMap::new(),
            held: Vec::new(),
            losses: BTreeSet::new(),
        }
    }

    /// What it holds, by id.
    pub(super) fn held_by_id(&self) -> Vec<DeliveryId> {
        let mut held = self.held.clone();
        held.sort_unstable();
        held
    }

    /// Whether it is to be looked at when it holds less.
    pub(super) fn may_leave(&self) -> bool {
        self.conn.is_none() || self.done
    }

    /// Whether new deliveries may go to it at all.
    pub(super) fn takes_new(&self) -> bool {
        self.conn.is_some() && !self.going
    }

    /// Whether new deliveries of a destination may.
    pub(super) fn serves(&self, name: &Name) -> bool {
        self.takes_new() && self.served.get(name).is_some_and(|served| served.slots > 0)
    }

    fn rank(&self, served: &Service, now: Mono) -> Option<u32> {
        let blocked = served.asking || served.alone.is_some() || !served.suspects.is_empty();
        if !self.takes_new() || blocked || served.free() == 0 || self.granted >= limits::GRANTED_MAX {
            return None;
        }
        match served.circuit.permit(now) {
            Permit::All => Some(served.free()),
            Permit::Probe => Some(0),
            Permit::NotBefore(_) | Permit::Probing => None,
        }
    }
}

impl Service {
    /// Slots that its circuit lets it use and nothing takes.
    pub(super) fn free(&self) -> u32 {
        self.circuit.slots(self.slots).saturating_sub(self.used)
    }

    /// How many of the next `limit` deliveries tried ones may be, even if nothing else is due. Slow ones keep most slots free for
    /// what arrives; the one try of an open circuit may be any.
    pub(super) fn tried_max(&self, limit: u32) -> u32 {
        // Canary: what is known to hold its slot for long must not take all of them.
        if self.circuit.is_one_at_a_time() || crate::canary::is("slow_retries_take_all") {
            return limit;
        }
        self.bound_of_tried().map_or(limit, |most| most.saturating_sub(self.tried + self.tried_parked).min(limit))
    }

    /// Slots that tried ones may hold, if they are slow.
    pub(super) fn bound_of_tried(&self) -> Option<u32> {
        let slots = self.circuit.slots(self.slots);
        self.durations.is_slow().then(|| (slots / limits::SLOW_RETRY_SLOTS_PART).max(1))
    }

    /// How many of the next `limit` deliveries tried ones may be where both kinds are due: each has half of the slots.
    pub(super) fn share_of_tried(&self, limit: u32) -> u32 {
        let slots = self.circuit.slots(self.slots);
        let half = if self.tried_first { slots.div_ceil(2) } else { slots / 2 };
        let tried = half.saturating_sub(self.tried);
        let fresh = (slots - half).saturating_sub(self.used - self.tried);
        let all = u64::from(tried) + u64::from(fresh);
        if all <= u64::from(limit) {
            return tried;
        }
        let part = u64::from(limit) * u64::from(tried);
        let share = if self.tried_first { part.div_ceil(all) } else { part / all };
        u32::try_from(share).unwrap_or(limit)
    }
}

impl Hub {
    /// Brings an instance's place in its destination's free set up to date.
    pub(super) fn rerank(&mut self, id: InstanceId, destination: &Name) {
        let Some(instance) = self.instances.get(&id) else { return };
        let Some(served) = instance.served.get(destination) else { return };
        let pair = (id, destination.clone());
        // What waits already is to have its turn first.
        let takes = self.room.is_open(id) && !self.room.has_small_waiting(&pair);
        let asks = takes && self.destinations.contains_key(destination);
        let slots = if asks { instance.rank(served, self.now.mono) } else { None };
        let takes_any = !self.is_crowded(&pair);
        let takes_tried = served.tried_max(1) > 0;
        let after = slots.filter(|slots| takes_any || *slots > 0).map(|slots| Rank { takes_any, slots, takes_tried });
        let before = served.rank;
        if before == after {
            return;
        }
        if let Some(served) = self.instances.get_mut(&id).and_then(|instance| instance.served.get_mut(destination)) {
            served.rank = after;
        }
        let destination = self.destination(destination);
        if let Some(rank) = before {
            destination.free.remove(&(rank, id));
            destination.free_for_tried.remove(&(rank, id));
        }
        if let Some(rank) = after {
            destination.free.insert((rank, id));
            if rank.takes_tried {
                destination.free_for_tried.insert((rank, id));
            }
        }
    }

    /// The same for all it serves.
    pub(super) fn rerank_served(&mut self, id: InstanceId) {
        let names: Vec<Name> = self.instances.get(&id).into_iter().flat_map(|i| i.served.keys().cloned()).collect();
        for name in &names {
            self.rerank(id, name);
        }
    }

    /// The same for all it serves, and gives it what it may have now.
    pub(super) fn rerank_all(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get(&id) else { return };
        let mut names: Vec<Name> = instance.served.keys().cloned().collect();
        // The one that asked last comes last, so that all get their turn.
        let behind = names.iter().position(|name| instance.asked_last.as_ref() < Some(name)).unwrap_or(0);
        names.rotate_left(behind);
        for name in &names {
            self.rerank(id, name);
        }
        for name in &names {
            self.ask_soon(name);
        }
    }

    /// Finds an instance that can take a delivery of an event of so many bytes the moment it is stored, and sets its credit
    /// aside.
    pub(super) fn reserve_for(&mut self, ready: &Delivery, size: u64) -> Option<InstanceId> {
        let may_lease = self.clocks.may_lease() && !self.undecided.are_many(self.settles.part_of(ready.id));
        if self.routing.paused.contains(&ready.destination) || !may_lease {
            return None;
        }
        let destination = self.destinations.get(&ready.destination)?;
        let is_due = destination.has_due(self.now.wall);
        let is_small = !self.room.is_large(ready.body_bytes);
        let takes = |(rank, id): &&(Rank, InstanceId)| {
            // Where so much that is large waits that nothing more is leased, what is small does not wait behind it.
            let passes = || self.parked.count(&(*id, ready.destination.clone())) >= limits::PARKED_MAX;
            let is_next = if rank.takes_any { !is_due } else { is_small && (!is_due || passes()) };
            rank.slots > 0 && is_next
        };
        let &(_, id) = destination.free.iter().rev().find(takes)?;
        let pair = (id, ready.destination.clone());
        if !self.has_slot_for(&pair, ready) || !self.room.takes(&pair, ready.body_bytes, size) {
            return None;
        }
        self.room.borrow(&pair, ready.body_bytes, size);
        self.take_slot(id, ready);
        self.rerank(id, &ready.destination);
        Some(id)
    }

    /// Gives back what [`Self::reserve_for`] set aside.
    pub(super) fn unreserve(&mut self, id: InstanceId, delivery: &Delivery, size: u64) {
        let pair = (id, delivery.destination.clone());
        self.room.returned(&pair, delivery.body_bytes, size);
        self.free_slot(&pair, delivery, true);
    }

    /// Counts a delivery against its instance's slots.
    pub(super) fn take_slot(&mut self, id: InstanceId, delivery: &Delivery) {
        let instance = self.instances.entry(id).or_insert_with(Instance::unseen);
        instance.granted += 1;
        let served = instance.served.entry(delivery.destination.clone()).or_default();
        served.used += 1;
        served.tried += u32::from(delivery.tries > 0);
    }

    /// Gives a slot back, and the body's room at its client if it had any; what waits for them gets a chance.
    fn free_slot(&mut self, pair: &Pair, delivery: &Delivery, had_room: bool) {
        let (id, name) = pair;
        let was_open = self.room.is_open(*id);
        if had_room {
            self.room.settled(pair, delivery.body_bytes);
        } else {
            self.room.leave(pair, delivery.id, delivery.body_bytes);
        }
        self.parked.wake();
        let Some(instance) = self.instances.get_mut(id) else { return };
        let others = !was_open || instance.granted >= limits::GRANTED_MAX;
        instance.granted -= 1;
        if let Some(served) = instance.served.get_mut(name) {
            served.used -= 1;
            served.tried -= u32::from(delivery.tries > 0);
            served.suspects.retain(|waiting| *waiting != delivery.id);
            if served.alone == Some(delivery.id) {
                served.alone = None;
            }
        }
        if instance.may_leave() {
            self.emptied.insert(*id);
        }
        self.grant_next_suspect(*id, name);
        self.rerank(*id, name);
        self.ask_soon(name);
        if others {
            self.rerank_all(*id);
        }
    }

    /// Forgets instances that were gone before, once nothing of theirs is under way any more, and lets those go that are done.
    pub(super) fn forget_emptied(&mut self) {
        for id in std::mem::take(&mut self.emptied) {
            self.let_go_if_done(id);
            let gone = |instance: &Instance| instance.conn.is_none() && !instance.joined && instance.held.is_empty();
            if self.instances.get(&id).is_some_and(gone) {
                self.go_absent(id);
            }
        }
    }

    /// Closes the socket of one that holds nothing and waits for that. What is not on its way to it stays here.
    fn let_go_if_done(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get(&id).filter(|instance| instance.done) else { return };
        let goes_out = |id: &DeliveryId| self.held.get(id).is_some_and(|held| held.sent >= Sent::Begun);
        if let Some(conn) = instance.conn.filter(|_| !instance.held.iter().any(goes_out)) {
            self.drop_session(conn);
            self.outputs.push_back(Output::Close(conn, "its client holds nothing any more"));
        }
    }

    /// The same once its circuits have been remembered for long enough.
    pub(super) fn forget_if_old(&mut self, id: InstanceId) {
        let young = |instance: &Instance| instance.forget_at.is_some_and(|at| at > self.now.mono);
        if !self.instances.get(&id).is_some_and(young) {
            self.forget_instance(id);
        }
    }

    /// Forgets an instance that nothing speaks for any more.
    pub(super) fn forget_instance(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get(&id) else { return };
        let idle = instance.served.values().all(|served| served.used == 0 && !served.asking);
        if instance.conn.is_some() || instance.joined || !idle || !instance.losses.is_empty() {
            return;
        }
        let gone = self.instances.remove(&id);
        self.room.forget(id);
        for name in gone.iter().flat_map(|gone| gone.served.keys()) {
            if let Some(destination) = self.destinations.get_mut(name) {
                destination.open.remove(&id);
            }
            self.forget_destination(name);
        }
    }

    /// Enters a lease into all indexes.
    pub(super) fn register(&mut self, mut held: Held) {
        let id = held.delivery.id;
        self.ends.insert((held.until, id));
        if let Some(instance) = self.instances.get_mut(&held.instance) {
            held.place = instance.held.len();
            instance.held.push(id);
        }
        let before = self.held.insert(id, held);
        debug_assert!(before.is_none(), "{id} is held once");
    }

    /// Takes a lease out of all indexes and frees what it took.
    pub(super) fn unregister(&mut self, id: DeliveryId) -> Option<Held> {
        let mut held = self.held.remove(&id)?;
        self.ends.remove(&(held.until, id));
        self.drop_body(&mut held);
        if held.rest.is_some_and(|rest| !rest.reading) {
            self.room.leave_again(&held.pair(), id, held.delivery.body_bytes);
        }
        let place = held.place;
        if let Some(instance) = self.instances.get_mut(&held.instance)
            && instance.held.get(place) == Some(&id)
        {
            instance.held.swap_remove(place);
            if let Some(moved) = instance.held.get(place).and_then(|moved| self.held.get_mut(moved)) {
                moved.place = place;
            }
        }
        let pair = held.pair();
        if self.leave_parked(&pair, &held.delivery) {
            if self.instances.get(&pair.0).is_some_and(Instance::may_leave) {
                self.emptied.insert(pair.0);
            }
            self.rerank(pair.0, &pair.1);
            self.ask_soon(&pair.1);
        } else {
            self.free_slot(&pair, &held.delivery, held.sent > Sent::Waiting);
        }
        Some(held)
    }
}
