//! Destinations: what is known of their backlog, and leasing from it when a client has credit.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    HeldFor, Hub,
    instances::{Instance, Served, Stall},
    timers::Timer,
};
use crate::{
    circuit::{Permit, Pick, Streak},
    id::InstanceId,
    limits,
    name::Name,
    routing::Routing,
    storage::{LeaseAsk, LeaseEnd, LeaseOrder, Leased, OpId, StoreError},
    time::{Mono, Wall},
};

/// Smallest share of the outgoing budget that is worth asking with: the longest head, and as much again.
const ASK_BYTES_MIN: u64 = limits::CHUNK_BYTES as u64;

/// What a head comes to at most.
const HEAD_BYTES: u64 = limits::HEAD_BYTES_MAX as u64;
/// Which part of its memory, at most, what comes in lends to what goes out without having been stored first: half of
/// `MAX_INFLIGHT_BYTES` is for what comes in, and so much more than half of that stays for it.
const BORROWED_PART: u64 = 4;
/// Which part of the room for what goes out is for destinations that have nothing out.
const KEPT_PART: u64 = 4;
/// Which part of it, at most, waits for one instance.
const UNSENT_PART: u64 = 4;

/// What the hub knows of one destination.
#[derive(Debug)]
pub(super) struct Destination {
    /// Deliveries ever made here, durably.
    pub(super) made: u64,
    /// What has failed since the last delivery made here, whoever tried it.
    pub(super) streak: Streak,
    /// Instances whose circuit is open here, and has not heard of what arrived since its last try.
    pub(super) open: BTreeSet<InstanceId>,
    /// Something may be due in the store. Starts as true: nothing is known.
    pub(super) work: bool,
    /// Goes up with each delivery that became due since: an older answer of the store does not speak of it.
    changes: u64,
    /// When something becomes due, as far as is known.
    pub(super) next_due: Option<Wall>,
    /// When the timer for that goes off.
    timer: Option<Mono>,
    /// Instances that may be given a delivery: free slots (0: a probe), instance.
    pub(super) free: BTreeSet<(u32, InstanceId)>,
    /// Instances that were announced as serving it.
    pub(super) joined: BTreeSet<InstanceId>,
    /// Lease operations under way.
    asks: usize,
    /// Bytes of events on their way out.
    pub(super) outgoing: u64,
    /// Bytes of events that lease operations under way may bring.
    asked: u64,
    /// It is in [`Hub::pumps`](super::Hub).
    pumping: bool,
}

/// A lease operation under way.
#[derive(Debug)]
pub(super) struct Ask {
    destination: Name,
    instance: InstanceId,
    /// Which of them were asked for in trouble.
    pick: Option<Pick>,
    /// Body bytes that were asked for of the instance's credit, and of the outgoing budget.
    reserved: u64,
    /// What was asked for of the outgoing budget for the heads.
    heads: u64,
    /// It was for the next one alone, with all the room there was.
    whole: bool,
    limit: u32,
    changes: u64,
}

/// How a lease operation was asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    op: OpId,
    /// Nothing became due since.
    current: bool,
    whole: bool,
}

impl Destination {
    fn new() -> Self {
        Self {
            made: 0,
            streak: Streak::default(),
            open: BTreeSet::new(),
            work: true,
            changes: 0,
            next_due: None,
            timer: None,
            free: BTreeSet::new(),
            joined: BTreeSet::new(),
            asks: 0,
            outgoing: 0,
            asked: 0,
            pumping: false,
        }
    }
}

impl Hub {
    pub(super) fn on_routing(&mut self, routing: Arc<Routing>) {
        let before = std::mem::replace(&mut self.routing, routing);
        self.routed = self.routing.routes.values().flatten().map(|route| route.destination.clone()).collect();
        for name in self.routed.clone() {
            self.destination(&name);
        }
        if !self.started {
            self.started = true;
            self.ask_held(HeldFor::Start, None);
            self.ask_due();
        }
        let routing = Arc::clone(&self.routing);
        for name in before.paused.difference(&routing.paused) {
            self.on_work(name);
        }
        for name in routing.paused.difference(&before.paused) {
            self.leave_line(name);
        }
    }

    /// Of a paused destination nothing waits for room: its next body must not hold up those of others.
    fn leave_line(&mut self, name: &Name) {
        let joined = self.destinations.get(name).map(|destination| destination.joined.clone()).unwrap_or_default();
        for id in joined {
            let Some(instance) = self.instances.get_mut(&id) else { continue };
            let waited = instance.line.len();
            instance.line.retain(|other| other != name);
            if let Some(served) = instance.served.get_mut(name) {
                (served.oversize, served.stalled) = (false, None);
            }
            if instance.line.len() < waited {
                self.rerank_all(id);
            }
        }
    }

    pub(super) fn on_delivered_so_far(&mut self, counts: Vec<(Name, u64)>) {
        for (name, made) in counts {
            self.destination(&name).made = made;
        }
    }

    pub(super) fn on_woken(&mut self, destination: &Name) {
        self.on_arrival(destination);
    }

    /// Deliveries were accepted, redriven or replayed: what may end the pause of an open circuit.
    pub(super) fn on_arrival(&mut self, name: &Name) {
        for id in std::mem::take(&mut self.destination(name).open) {
            let served = self.instances.get_mut(&id).and_then(|instance| instance.served.get_mut(name));
            if served.is_some_and(|served| served.circuit.on_arrival()) {
                self.arm_probe(id, name);
                self.destination(name).open.remove(&id);
                self.rerank(id, name);
            }
        }
        self.on_work(name);
    }

    /// The destination's entry, made when a route or the store first names it.
    pub(super) fn destination(&mut self, name: &Name) -> &mut Destination {
        if !self.destinations.contains_key(name) {
            self.destinations.insert(name.clone(), Destination::new());
            self.appeared.push(name.clone());
        }
        self.destinations.get_mut(name).expect("it was inserted above if it was missing")
    }

    /// Drops the entry of a destination that no route leads to any more and nothing was ever delivered to.
    pub(super) fn forget_destination(&mut self, name: &Name) {
        let unknown = !self.routed.contains(name)
            && self.destinations.get(name).is_some_and(|destination| {
                let idle = destination.asks == 0 && destination.outgoing == 0 && destination.timer.is_none();
                idle && destination.open.is_empty()
                    && destination.made == 0
                    && destination.joined.is_empty()
                    && destination.free.is_empty()
            });
        if unknown {
            self.destinations.remove(name);
            self.outgoing.thirsty.remove(name);
        }
    }

    /// Something is due in the store.
    pub(super) fn on_work(&mut self, name: &Name) {
        let destination = self.destination(name);
        destination.work = true;
        destination.changes += 1;
        self.pump(name);
    }

    /// Something becomes due later.
    pub(super) fn on_scheduled(&mut self, name: &Name, due: Wall) {
        if due <= self.now.wall {
            return self.on_work(name);
        }
        let at = self.mono_of(due);
        let destination = self.destination(name);
        destination.next_due = Some(destination.next_due.map_or(due, |known| known.min(due)));
        if destination.timer.is_none_or(|timer| at < timer) {
            let before = destination.timer.replace(at);
            if let Some(before) = before {
                self.timers.remove(&(before, Timer::NextDue(name.clone())));
            }
            self.timers.insert((at, Timer::NextDue(name.clone())));
        }
    }

    /// The timer of [`Self::on_scheduled`] went off.
    pub(super) fn on_next_due(&mut self, name: &Name) {
        let destination = self.destination(name);
        destination.timer = None;
        destination.next_due = None;
        self.on_work(name);
    }

    /// Has the store asked for deliveries once the inputs at hand are taken in: one operation for all the credit that
    /// they free.
    pub(super) fn pump(&mut self, name: &Name) {
        let Some(destination) = self.destinations.get_mut(name) else { return };
        if destination.work && !std::mem::replace(&mut destination.pumping, true) {
            self.pumps.push_back(name.clone());
        }
    }

    /// Asks the store for deliveries as long as something may be due and somebody has credit for it.
    pub(super) fn ask_for_due(&mut self, name: &Name) {
        if let Some(destination) = self.destinations.get_mut(name) {
            destination.pumping = false;
        }
        if self.stopping || self.failed || !self.started || self.routing.paused.contains(name) {
            return;
        }
        if self.undecided.are_many() {
            self.undecided.keep_back(name);
            return;
        }
        loop {
            let Some(destination) = self.destinations.get(name) else { return };
            if !destination.work || destination.asks >= limits::LEASE_ASKS_MAX {
                return;
            }
            let free = destination.free.iter().rev().map(|(_, instance)| *instance);
            let mut free = free.filter(|instance| self.has_turn(*instance, name)).peekable();
            if free.peek().is_none() {
                return;
            }
            let instance = free.find(|instance| self.may_send_more(*instance, ASK_BYTES_MIN));
            if !instance.is_some_and(|instance| self.ask_for(name, instance)) {
                self.outgoing.thirsty.insert(name.clone());
                return;
            }
        }
    }

    /// Asks for as many deliveries as `id` has credit for. `false` if the outgoing budget has no room.
    fn ask_for(&mut self, name: &Name, id: InstanceId) -> bool {
        let now = self.now;
        let oversize = self.instances.get(&id).and_then(|i| i.served.get(name)).is_some_and(|served| served.oversize);
        let Some(budget) = self.outgoing_room(name, id, oversize) else { return false };
        let Some(instance) = self.instances.get_mut(&id) else { return false };
        let taken = instance.bytes + instance.asked_bytes;
        let Some(served) = instance.served.get_mut(name) else { return false };
        let pick = served.circuit.pick(served.slots);
        let idle = served.oversize && taken == 0 && self.outgoing.bytes + self.outgoing.asked == 0;
        let credit = if taken == 0 && served.oversize { u64::MAX } else { instance.buffer_bytes.saturating_sub(taken) };
        let single = served.circuit.is_one_at_a_time() || served.oversize;
        let free = served.free() as usize;
        // Half of the room at most for heads, as long as a head may be: what is left is for the bodies.
        let roomy = usize::try_from(budget / (2 * HEAD_BYTES)).unwrap_or(usize::MAX);
        let most = limits::LEASE_BATCH_MAX.min(limits::GRANTED_MAX.saturating_sub(instance.granted)).min(roomy).max(1);
        let limit = if single { 1 } else { free.min(most) as u32 };
        let heads = HEAD_BYTES.saturating_mul(limit.into()).min(budget / 2);
        let reserved = credit.min(budget - heads);
        instance.granted += limit as usize;
        served.asking = true;
        let order = match pick {
            Some(Pick::Newest) => LeaseOrder::Newest,
            Some(Pick::FewestTries) => LeaseOrder::FewestTries,
            // One that is larger than the rest comes when it is the oldest of all.
            None if served.oversize => LeaseOrder::Oldest,
            // Canary: deliveries that wait for their first try must not stand behind all retries, nor the other way round.
            None if cfg!(feature = "canary_no_shares") => LeaseOrder::Oldest,
            None => LeaseOrder::Shared { tried: served.share_of_tried(limit) },
        };
        served.circuit.on_asked();
        let open = served.circuit.is_open();
        instance.asked_bytes += reserved;
        instance.outgoing_asked += reserved + heads;
        instance.asked_last = Some(name.clone());
        self.outgoing.asked += reserved + heads;
        let nonce = self.nonce;
        let destination = self.destination(name);
        if open {
            destination.open.insert(id);
        }
        destination.asks += 1;
        destination.asked += reserved + heads;
        let changes = destination.changes;
        let ask =
            Ask { destination: name.clone(), instance: id, pick, reserved, heads, whole: oversize, limit, changes };
        let lease = LeaseAsk {
            destination: name.clone(),
            instance: id,
            nonce,
            until: now.wall + self.setup.lease,
            now: now.wall,
            limit,
            body_bytes_max: if idle { u64::MAX } else { reserved },
            order,
        };
        let op = self.ops.lease(ask, lease);
        self.ask_store(op);
        self.rerank_served(id);
        true
    }

    pub(super) fn on_leased(&mut self, op: OpId, ask: Ask, result: Result<Leased, StoreError>) {
        let Ask { destination: name, instance: id, pick, reserved, heads, whole, limit, changes } = ask;
        self.outgoing.asked -= reserved + heads;
        let destination = self.destination(&name);
        destination.asks -= 1;
        destination.asked -= reserved + heads;
        let current = destination.changes == changes;
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.asked_bytes -= reserved;
            instance.outgoing_asked -= reserved + heads;
            instance.granted -= limit as usize;
            if instance.conn.is_none() {
                self.emptied.insert(id);
            }
            if let Some(served) = instance.served.get_mut(&name) {
                served.asking = false;
            }
        }
        match result {
            Ok(leased) => self.on_lease_batch(&name, id, pick, Asked { op, current, whole }, leased),
            Err(error) => {
                if error.is_unknown() {
                    self.look_for_strays();
                }
                if let Some(served) = self.served_mut(id, &name) {
                    served.circuit.on_ask_failed();
                }
                self.destination(&name).work = false;
                self.on_scheduled(&name, self.now.wall + limits::STORE_RETRY);
            }
        }
        self.outgoing.freed |= reserved + heads > 0;
        self.rerank_all(id);
        self.pump(&name);
    }

    fn on_lease_batch(&mut self, name: &Name, id: InstanceId, pick: Option<Pick>, asked: Asked, leased: Leased) {
        let Asked { op, current, whole } = asked;
        let none = leased.deliveries.is_empty();
        let paused = self.routing.paused.contains(name);
        let did_not_fit = none && leased.end == LeaseEnd::More && !paused;
        let now = self.now.mono;
        let mut permit = Permit::All;
        if let Some(served) = self.served_mut(id, name) {
            served.circuit.on_backlog(leased.backlog, now);
            permit = served.circuit.permit(now);
            if none {
                // Nothing was due, or it did not fit: its place is kept, for another pause would come on top.
                served.circuit.on_ask_failed();
            } else if matches!(permit, Permit::All | Permit::Probing) {
                served.tried_first = !served.tried_first;
                if let Some(pick) = pick {
                    served.circuit.on_picked(pick);
                }
            }
        }
        for (delivery, event) in leased.deliveries {
            self.hold_leased(op, id, delivery, event, permit);
        }
        self.grant_next_suspect(id, name);
        match leased.end {
            LeaseEnd::Drained { next_due } => {
                self.destination(name).work &= !current;
                if let Some(due) = next_due {
                    self.on_scheduled(name, due);
                }
            }
            LeaseEnd::More => {}
        }
        let in_flight = self.outgoing.bytes + self.outgoing.asked > 0;
        if let Some(instance) = self.instances.get_mut(&id) {
            let stalled = if instance.bytes + instance.asked_bytes > 0 {
                Some(Stall::Instance)
            } else {
                // Asked for with a part of the room, it may yet fit in all of it.
                (in_flight && whole).then_some(Stall::Outgoing)
            };
            instance.line.retain(|other| other != name || did_not_fit);
            if did_not_fit && !instance.line.contains(name) {
                instance.line.push(name.clone());
            }
            if let Some(served) = instance.served.get_mut(name) {
                served.oversize = did_not_fit;
                served.stalled = stalled.filter(|_| did_not_fit);
                if served.stalled.is_some() {
                    self.outgoing.thirsty.insert(name.clone());
                }
            }
        }
    }

    fn served_mut(&mut self, id: InstanceId, name: &Name) -> Option<&mut Served> {
        self.instances.get_mut(&id)?.served.get_mut(name)
    }

    /// Wakes an open circuit when its pause is over, or when something arrives.
    pub(super) fn arm_probe(&mut self, id: InstanceId, name: &Name) {
        let served = self.instances.get(&id).and_then(|instance| instance.served.get(name));
        let Some(circuit) = served.map(|served| &served.circuit) else { return };
        let permit = circuit.permit(self.now.mono);
        if circuit.is_open() {
            self.destination(name).open.insert(id);
        }
        if let Permit::NotBefore(at) = permit {
            self.timers.insert((at, Timer::Probe(id, name.clone())));
        }
    }

    /// Circuits that know of nothing yet begin closed where nothing waits.
    pub(super) fn tell_if_nothing_waits(&mut self, id: InstanceId, name: &Name) {
        let idle = self.destinations.get(name).is_some_and(|known| !known.work && known.next_due.is_none());
        if let Some(served) = self.served_mut(id, name).filter(|_| idle) {
            served.circuit.on_nothing_waits();
        }
    }

    /// Bytes of events that a lease operation of this destination for this instance may bring; `None` if there is no room.
    /// `whole`: all of it.
    fn outgoing_room(&self, name: &Name, id: InstanceId, whole: bool) -> Option<u64> {
        let max = self.setup.outgoing_bytes_max;
        let (taken, mine) = self.outgoing_taken(name);
        let half = (max / 2).saturating_sub(mine);
        if whole {
            let room = if taken == 0 { max } else { self.outgoing_left(mine) };
            let room = if mine == 0 { room } else { room.min(half) };
            return (room >= ASK_BYTES_MIN).then_some(room);
        }
        // A part of what is left, so that others can ask before this one's answer is in; and other destinations of the instance.
        let room = half.min(if taken == 0 { max } else { self.outgoing_left(mine) });
        let part = if taken == 0 { room } else { room.min((room / 4).max(ASK_BYTES_MIN)) };
        let unsent = self.unsent_left(id);
        let part = part.min(unsent.min((unsent / 2).max(ASK_BYTES_MIN)));
        (part >= ASK_BYTES_MIN).then_some(part)
    }

    /// Whether an event may go out beside those that do. No destination takes more than half of the room, so that one whose
    /// clients do not read leaves some to the others; one body of its own may be larger.
    pub(super) fn has_outgoing_room(&self, name: &Name, id: InstanceId, size: u64) -> bool {
        let (taken, mine) = self.outgoing_taken(name);
        let half = mine == 0 || mine + size <= self.setup.outgoing_bytes_max / 2;
        taken == 0 || (size <= self.outgoing_left(mine) && half && self.may_send_more(id, size))
    }

    /// Bytes of events that may go out beside those that do, for a destination that has so many out. A part of the room is
    /// for those that have none: the others may all have clients that do not read.
    fn outgoing_left(&self, mine: u64) -> u64 {
        let max = self.setup.outgoing_bytes_max;
        let kept = if mine == 0 { 0 } else { max / KEPT_PART };
        max.saturating_sub(kept).saturating_sub(self.outgoing.bytes + self.outgoing.asked)
    }

    /// Whether so many bytes more may wait for an instance to take them. One event always may.
    fn may_send_more(&self, id: InstanceId, size: u64) -> bool {
        let all = self.instances.get(&id).map_or(0, |instance| instance.outgoing + instance.outgoing_asked);
        all == 0 || size <= self.unsent_left(id)
    }

    /// Bytes of events that may wait for an instance beside those that do: whoever does not read holds a part of the room,
    /// however many destinations it serves.
    fn unsent_left(&self, id: InstanceId) -> u64 {
        self.unsent_max().saturating_sub(self.instances.get(&id).map_or(0, Instance::unsent))
    }

    /// Bytes of events that may wait for one instance, beside one that is larger.
    pub(super) fn unsent_max(&self) -> u64 {
        self.setup.outgoing_bytes_max / UNSENT_PART
    }

    /// Whether an event may wait for its clients in the memory it came in with. That memory is for what comes in: were it lent
    /// out without a bound, some clients that read slowly would stop all intake (I15, I16).
    pub(super) fn may_borrow(&self, size: u64) -> bool {
        // Canary: slow clients must not hold the memory of what comes in.
        self.outgoing.borrowed + size <= self.setup.outgoing_bytes_max / BORROWED_PART
            || cfg!(feature = "canary_borrows_all")
    }

    /// Bytes of events going out or asked for: of all destinations, and of this one.
    fn outgoing_taken(&self, name: &Name) -> (u64, u64) {
        let mine = self.destinations.get(name).map_or(0, |destination| destination.outgoing + destination.asked);
        (self.outgoing.bytes + self.outgoing.asked, mine)
    }

    /// An event has left, or will not.
    pub(super) fn free_outgoing(&mut self, name: &Name, id: InstanceId, size: u64) {
        self.outgoing.bytes -= size;
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.free_unsent(size);
        }
        self.destination(name).outgoing -= size;
        self.outgoing.freed |= size > 0;
        self.outgoing.left |= size > 0;
    }

    /// Lets those that waited for room ask again. One whose next body did not fit waits until another body has left, until
    /// its instance has nothing else if that was in the way, or until nothing at all is on its way: an answer that brought
    /// nothing makes no room that was not there, and asking again because of it would never end.
    pub(super) fn quench(&mut self) {
        if !std::mem::take(&mut self.outgoing.freed) {
            return;
        }
        let left = std::mem::take(&mut self.outgoing.left);
        let idle = self.outgoing.bytes + self.outgoing.asked == 0;
        // Who came first last time comes last.
        let mut names: Vec<Name> = std::mem::take(&mut self.outgoing.thirsty).into_iter().collect();
        let behind = names.iter().position(|name| self.outgoing.first.as_ref() < Some(name)).unwrap_or(0);
        names.rotate_left(behind);
        self.outgoing.first = names.first().cloned();
        for name in names {
            let joined: Vec<InstanceId> = self.destination(&name).joined.iter().copied().collect();
            for id in joined {
                let Some(instance) = self.instances.get_mut(&id) else { continue };
                let alone = instance.bytes + instance.asked_bytes == 0;
                let Some(served) = instance.served.get_mut(&name) else { continue };
                let may_ask = match served.stalled {
                    None => continue,
                    Some(Stall::Instance) => left || alone,
                    Some(Stall::Outgoing) => left || (alone && idle),
                };
                if may_ask {
                    served.stalled = None;
                } else {
                    self.outgoing.thirsty.insert(name.clone());
                }
                self.rerank(id, &name);
            }
            self.pump(&name);
        }
    }
}
