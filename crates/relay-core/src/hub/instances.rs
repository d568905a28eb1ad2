//! Client instances: what each serves, holds and has credit for. An instance outlives its sockets.
//!
//! **Invariant:** [`Destination::free`](super::destinations::Destination) names exactly the instances that may be given
//! a delivery now, by free slots.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{ConnId, Hub, leases::Held};
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
    /// Until when it may come back to its leases, after its socket was lost.
    pub(super) away_until: Option<Mono>,
    /// Until when its circuits are remembered, once it is gone.
    pub(super) forget_at: Option<Mono>,
    /// It was announced as serving its destinations, and has not been announced as gone.
    pub(super) joined: bool,
    /// It said goodbye: nothing new for it.
    pub(super) going: bool,
    pub(super) buffer_bytes: u64,
    /// Deliveries it holds or is about to get, and those that lease operations under way may bring it.
    pub(super) granted: usize,
    /// Body bytes of what it holds or is about to get.
    pub(super) bytes: u64,
    /// Body bytes that lease operations under way may bring it.
    pub(super) asked_bytes: u64,
    /// Bytes of events that wait to be sent to it, and those that lease operations under way may bring.
    pub(super) outgoing: u64,
    pub(super) outgoing_asked: u64,
    /// Those of one that is larger than all that may wait for an instance, and is on its way all the same.
    outsize: u64,
    /// The destination whose lease operation was asked for last.
    pub(super) asked_last: Option<Name>,
    /// Destinations whose next body did not fit, in the order in which they came to wait.
    pub(super) line: Vec<Name>,
    pub(super) served: BTreeMap<Name, Served>,
    pub(super) held: BTreeSet<DeliveryId>,
    /// Its entries in [`Hub::losses`](super::Hub).
    pub(super) losses: BTreeSet<(Wall, DeliveryId)>,
}

/// One destination that an instance serves.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) slots: u32,
    pub(super) forward_timeout: Duration,
    /// Deliveries it holds or is about to get.
    pub(super) used: u32,
    /// Those among them that were tried before.
    pub(super) tried: u32,
    /// Of an odd number of slots the one in the middle is for tried ones; changes with each lease.
    pub(super) tried_first: bool,
    /// A lease operation is under way.
    pub(super) asking: bool,
    pub(super) circuit: Circuit,
    /// Leased suspects that wait until nothing else is held.
    pub(super) suspects: VecDeque<DeliveryId>,
    /// The suspect that is out, alone.
    pub(super) alone: Option<DeliveryId>,
    /// The next body did not fit: what it waits for. Its destination is among the thirsty then.
    pub(super) stalled: Option<Stall>,
    /// The next body is larger than what was asked for: ask for it alone when nothing is in flight. Its destination is in
    /// [`Instance::line`] then.
    pub(super) oversize: bool,
    /// Its key in the destination's free set.
    pub(super) rank: Option<u32>,
}

/// What a body waits for that did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stall {
    /// Its instance holds or has asked for something else.
    Instance,
    /// Its instance has nothing, but what goes out to others leaves too little.
    Outgoing,
}

impl Served {
    /// Nothing of it is served, held, or worth remembering.
    pub(super) fn is_over(&self) -> bool {
        self.slots == 0 && self.used == 0 && !self.asking && self.rank.is_none() && self.circuit.is_blank()
    }
}

impl Instance {
    /// An instance that is known only by leases it took from an earlier run, or is about to say Hello.
    pub(super) fn unseen() -> Self {
        Self {
            conn: None,
            away_until: None,
            forget_at: None,
            token: Name::fallback(),
            label: String::new(),
            peer: String::new(),
            joined: false,
            going: false,
            buffer_bytes: 0,
            granted: 0,
            bytes: 0,
            asked_bytes: 0,
            outgoing: 0,
            outgoing_asked: 0,
            outsize: 0,
            asked_last: None,
            line: Vec::new(),
            served: BTreeMap::new(),
            held: BTreeSet::new(),
            losses: BTreeSet::new(),
        }
    }

    /// Body bytes it may still be given; one body always fits when nothing is in flight.
    pub(super) fn has_room_for(&self, body_bytes: u64) -> bool {
        let taken = self.bytes + self.asked_bytes;
        taken == 0 || taken.saturating_add(body_bytes) <= self.buffer_bytes
    }

    /// Whether it may be given anything more at all.
    fn has_room(&self) -> bool {
        self.granted < limits::GRANTED_MAX && self.has_room_for(1)
    }

    /// An event of so many bytes does not wait any more.
    pub(super) fn free_unsent(&mut self, size: u64) {
        self.outgoing -= size;
        if self.outsize == size {
            self.outsize = 0;
        }
    }

    /// Bytes of events that wait to be sent to it or were asked for, but for one that is larger than all that may: it went out
    /// alone, and what is small does not wait until all of it has left.
    pub(super) fn unsent(&self) -> u64 {
        self.outgoing + self.outgoing_asked - self.outsize
    }

    /// Whether new deliveries may go to it at all.
    pub(super) fn takes_new(&self) -> bool {
        self.conn.is_some() && !self.going
    }

    fn rank(&self, served: &Served, now: Mono) -> Option<u32> {
        // A body that did not fit needs all the room there is: asks that share it out would each find too little, for ever.
        let in_turn = self.asked_bytes > 0 && !self.line.is_empty();
        let blocked = served.asking
            || in_turn
            || served.stalled.is_some()
            || served.alone.is_some()
            || !served.suspects.is_empty();
        if !self.takes_new() || blocked || served.free() == 0 || !self.has_room() {
            return None;
        }
        match served.circuit.permit(now) {
            Permit::All => Some(served.free()),
            Permit::Probe => Some(0),
            Permit::NotBefore(_) | Permit::Probing => None,
        }
    }
}

impl Served {
    /// Slots that its circuit lets it use and nothing takes.
    pub(super) fn free(&self) -> u32 {
        self.circuit.slots(self.slots).saturating_sub(self.used)
    }

    /// How many of the next `limit` deliveries tried ones may be: each kind has half of the slots, as far as both are due.
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
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let Some(served) = instance.served.get(destination) else { return };
        let known = self.destinations.contains_key(destination);
        let after = if known { instance.rank(served, self.now.mono) } else { None };
        let before = served.rank;
        if before == after {
            return;
        }
        if let Some(served) = instance.served.get_mut(destination) {
            served.rank = after;
        }
        let free = &mut self.destination(destination).free;
        if let Some(rank) = before {
            free.remove(&(rank, id));
        }
        if let Some(rank) = after {
            free.insert((rank, id));
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
            self.pump(name);
        }
    }

    /// Whether it is this destination's turn at the instance: no other one holds nothing and waits for room. Without turns
    /// small bodies of one destination would for ever leave too little room for a large one of another.
    pub(super) fn has_turn(&self, id: InstanceId, name: &Name) -> bool {
        let Some(instance) = self.instances.get(&id) else { return false };
        let waits = |first: &&Name| {
            let work = self.destinations.get(*first).is_some_and(|destination| destination.work);
            let open = |served: &Served| matches!(served.circuit.permit(self.now.mono), Permit::All | Permit::Probe);
            let idle = instance.served.get(*first).is_some_and(|served| served.used == 0 && open(served));
            work && idle && !self.routing.paused.contains(*first)
        };
        instance.line.iter().find(waits).is_none_or(|first| first == name)
    }

    /// Finds an instance that can take a delivery of an event of so many bytes the moment it is stored, and sets its credit
    /// aside.
    pub(super) fn reserve_for(&mut self, ready: &Delivery, size: u64) -> Option<InstanceId> {
        if self.routing.paused.contains(&ready.destination) || self.undecided.are_many() {
            return None;
        }
        let destination = self.destinations.get(&ready.destination)?;
        if destination.work || destination.next_due.is_some_and(|due| due <= self.now.wall) {
            return None;
        }
        let &(rank, id) = destination.free.last()?;
        let fits = self.instances.get(&id)?.has_room_for(ready.body_bytes);
        if rank == 0
            || !fits
            || !self.has_turn(id, &ready.destination)
            || !self.has_outgoing_room(&ready.destination, id, size)
            || !self.may_borrow(size)
        {
            return None;
        }
        self.outgoing.borrowed += size;
        self.take_credit(id, ready, size);
        self.rerank(id, &ready.destination);
        Some(id)
    }

    /// Gives back what [`Self::reserve_for`] set aside.
    pub(super) fn unreserve(&mut self, id: InstanceId, delivery: &Delivery, size: u64) {
        self.outgoing.borrowed -= size;
        self.free_outgoing(&delivery.destination, id, size);
        self.free_credit(id, delivery);
    }

    /// Counts a delivery against its instance's slots and bytes, and its event against those going out.
    pub(super) fn take_credit(&mut self, id: InstanceId, delivery: &Delivery, size: u64) {
        self.outgoing.bytes += size;
        self.destination(&delivery.destination).outgoing += size;
        self.take_slot(id, delivery);
        let share = self.unsent_max();
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.outgoing += size;
            if size > share && instance.outsize == 0 {
                instance.outsize = size;
            }
        }
    }

    /// Counts a delivery against its instance's slots and bytes.
    pub(super) fn take_slot(&mut self, id: InstanceId, delivery: &Delivery) {
        let instance = self.instances.entry(id).or_insert_with(Instance::unseen);
        instance.bytes += delivery.body_bytes;
        instance.granted += 1;
        let served = instance.served.entry(delivery.destination.clone()).or_default();
        served.used += 1;
        served.tried += u32::from(delivery.tries > 0);
    }

    /// Gives a slot and its bytes back, and what waits for them a chance.
    pub(super) fn free_credit(&mut self, id: InstanceId, delivery: &Delivery) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let had_room = instance.has_room();
        instance.bytes -= delivery.body_bytes;
        instance.granted -= 1;
        let mut others = !had_room;
        for served in instance.served.values_mut() {
            others |= served.stalled.take().is_some();
        }
        if let Some(served) = instance.served.get_mut(&delivery.destination) {
            served.used -= 1;
            served.tried -= u32::from(delivery.tries > 0);
            served.suspects.retain(|waiting| *waiting != delivery.id);
            if served.alone == Some(delivery.id) {
                served.alone = None;
            }
        }
        if instance.conn.is_none() {
            self.emptied.insert(id);
        }
        self.grant_next_suspect(id, &delivery.destination);
        self.rerank(id, &delivery.destination);
        self.pump(&delivery.destination);
        if others {
            self.rerank_all(id);
        }
    }

    /// Forgets instances that were gone before, once nothing of theirs is under way any more.
    pub(super) fn forget_emptied(&mut self) {
        for id in std::mem::take(&mut self.emptied) {
            let gone = |instance: &Instance| instance.conn.is_none() && !instance.joined && instance.held.is_empty();
            if self.instances.get(&id).is_some_and(gone) {
                self.go_absent(id);
            }
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
        for name in gone.iter().flat_map(|gone| gone.served.keys()) {
            if let Some(destination) = self.destinations.get_mut(name) {
                destination.open.remove(&id);
            }
            self.forget_destination(name);
        }
    }

    /// Enters a lease into all indexes.
    pub(super) fn register(&mut self, held: Held) {
        let id = held.delivery.id;
        self.ends.insert((held.until, id));
        if let Some(instance) = self.instances.get_mut(&held.instance) {
            instance.held.insert(id);
        }
        let before = self.held.insert(id, held);
        debug_assert!(before.is_none(), "{id} is held once");
    }

    /// Takes a lease out of all indexes and frees what it took.
    pub(super) fn unregister(&mut self, id: DeliveryId) -> Option<Held> {
        let mut held = self.held.remove(&id)?;
        self.ends.remove(&(held.until, id));
        self.drop_body(&mut held);
        if let Some(instance) = self.instances.get_mut(&held.instance) {
            instance.held.remove(&id);
        }
        self.free_credit(held.instance, &held.delivery);
        Some(held)
    }
}
