//! Client instances: what each serves, holds and has credit for. An instance outlives its sockets.
//!
//! **Invariant:** a destination's [`Takers`](super::slots::Takers) are exactly the instances that may be given a delivery of
//! it now, each where [`Service::rank`] says.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    ConnId, Hub, Output,
    durations::Durations,
    held::{Held, Sent},
    room::Pair,
    slots::{Granted, Rank, Slots},
};
use crate::{
    circuit::Circuit,
    delivery::Delivery,
    id::{DeliveryId, InstanceId},
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
    pub(super) granted: Granted,
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
    pub(super) slots: Slots,
    pub(super) forward_timeout: Duration,
    /// How long tries have lately taken here.
    pub(super) durations: Durations,
    pub(super) circuit: Circuit,
    /// Where it stands among the takers of the destination.
    pub(super) rank: Option<Rank>,
}

impl Service {
    /// Nothing of it is served, held, or worth remembering.
    pub(super) fn is_over(&self) -> bool {
        self.slots.are_over() && self.rank.is_none() && self.circuit.is_blank()
    }

    /// Slots that its circuit lets it use.
    pub(super) fn allowed(&self) -> u32 {
        self.circuit.slots(self.slots.offered())
    }

    /// Those of them that nothing takes.
    pub(super) fn free(&self) -> u32 {
        self.slots.free(self.allowed())
    }

    /// How many of the next `limit` deliveries tried ones may be, even if nothing else is due. Slow ones keep most slots free for
    /// what arrives; the one try of an open circuit may be any.
    pub(super) fn tried_max(&self, limit: u32) -> u32 {
        // Canary: what is known to hold its slot for long must not take all of them.
        let any = self.circuit.is_one_at_a_time() || crate::canary::is("slow_retries_take_all");
        if any || !self.durations.is_slow() { limit } else { self.slots.slow_of(limit, self.allowed()) }
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
            granted: Granted::default(),
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
        self.takes_new() && self.served.get(name).is_some_and(|served| served.slots.are_offered())
    }

    fn rank(&self, served: &Service, now: Mono) -> Option<u32> {
        let takes = self.takes_new() && self.granted.left() > 0;
        takes.then(|| served.slots.rank(served.allowed(), served.circuit.permit(now))).flatten()
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
        self.destination(destination).takers.place(id, before, after);
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
        let takes = |rank: Rank, id: InstanceId| {
            // Where so much that is large waits that nothing more is leased, what is small does not wait behind it.
            let passes = || self.parked.is_full(&(id, ready.destination.clone()));
            let is_next = if rank.takes_any { !is_due } else { is_small && (!is_due || passes()) };
            rank.slots > 0 && is_next
        };
        let id = destination.takers.first(takes)?;
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
        instance.granted.take(1);
        instance.served.entry(delivery.destination.clone()).or_default().slots.take(delivery.tries > 0);
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
        let others = !was_open || instance.granted.left() == 0;
        instance.granted.give_back(1);
        if let Some(served) = instance.served.get_mut(name) {
            served.slots.give_back(delivery.id, delivery.tries > 0);
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
        let idle = instance.served.values().all(|served| served.slots.are_idle());
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
        if self.leave_parked(&pair, id) {
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
