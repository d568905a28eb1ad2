//! Destinations: what is known of their backlog, and leasing from it when a client has credit.

use std::{
    collections::{BTreeSet, btree_map::Entry},
    sync::Arc,
};

use super::{
    HeldFor, Hub,
    delivered::Delivered,
    instances::Service,
    slots::{Rank, Takers},
    timers::Timer,
};
use crate::{
    circuit::{Permit, Pick, Streak},
    id::{DeliveryId, InstanceId},
    limits,
    name::Name,
    partitions::Partitions,
    routing::Routing,
    storage::{LeaseAsk, LeaseEnd, LeaseOrder, Leased, OpId, StoreError},
    time::{Mono, Wall},
};

/// What the hub knows of one destination.
#[derive(Debug)]
pub(super) struct Destination {
    /// How many deliveries were ever delivered here, durably.
    pub(super) delivered: Delivered,
    /// What has failed since something was last delivered here, whoever tried it.
    pub(super) streak: Streak,
    /// Instances whose circuit is open here, and has not heard of what arrived since its last try.
    pub(super) open: BTreeSet<InstanceId>,
    /// What may be due in the store. Starts as anything: nothing is known.
    work: MayBeDue,
    /// Goes up with each delivery that became due since: an older answer of the store does not speak of it.
    changes: u64,
    /// When something becomes due, as far as is known.
    pub(super) next_due: Option<Wall>,
    /// When the timer for that goes off.
    timer: Option<Mono>,
    pub(super) takers: Takers,
    /// Instances that were announced as serving it.
    pub(super) joined: BTreeSet<InstanceId>,
    /// Lease operations under way.
    asks: usize,
    /// How long the bodies were that were leased last, on average.
    typical: u64,
    /// It is in [`Hub::to_ask`](super::Hub).
    asks_soon: bool,
}

/// What may be due in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MayBeDue {
    Nothing,
    /// Nothing but what was tried before: it waits for an instance that may be given such. What arrives does not wait for it.
    Tried,
    Any,
}

/// A lease operation under way.
#[derive(Debug)]
pub(super) struct LeaseUnderway {
    destination: Name,
    instance: InstanceId,
    /// Which of them were asked for in trouble.
    pick: Option<Pick>,
    limit: u32,
    changes: u64,
}

/// How a lease operation was asked for.
#[derive(Clone, Copy, Debug)]
struct AskedWhen {
    op: OpId,
    /// Nothing became due since.
    current: bool,
}

impl Destination {
    fn new() -> Self {
        Self {
            delivered: Delivered::default(),
            streak: Streak::default(),
            open: BTreeSet::new(),
            work: MayBeDue::Any,
            changes: 0,
            next_due: None,
            timer: None,
            takers: Takers::default(),
            joined: BTreeSet::new(),
            asks: 0,
            typical: 0,
            asks_soon: false,
        }
    }

    /// Whether something may be due that goes before what arrives. Retries that nobody may take for now do not.
    pub(super) fn has_due(&self, now: Wall) -> bool {
        self.work == MayBeDue::Any || self.next_due.is_some_and(|due| due <= now)
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
            self.begin();
            self.ask_due();
        }
        let routing = Arc::clone(&self.routing);
        for name in before.paused.difference(&routing.paused) {
            self.on_work(name);
        }
        for name in routing.paused.difference(&before.paused) {
            self.return_waiting(name);
        }
    }

    /// Leases of earlier runs are armed anew. Where other servers share the store nobody is known to be gone for good: there a
    /// lease is adopted where its client comes, or it lapses; and all begins once the clocks are compared.
    fn begin(&mut self) {
        // Canary: what a live server keeps is not a starting one's.
        if !self.setup.shares || crate::canary::is("takeover") {
            self.ask_held(HeldFor::Start, None);
        }
        self.read_clock();
    }

    /// Of a paused destination nothing waits for room: it would hold up those of others.
    fn return_waiting(&mut self, name: &Name) {
        let joined = self.destinations.get(name).into_iter().flat_map(|destination| &destination.joined);
        let waiting: Vec<DeliveryId> = joined.flat_map(|id| self.waiting_at(&(*id, name.clone()))).collect();
        self.unwanted.extend(waiting);
    }

    pub(super) fn on_delivered_so_far(&mut self, counts: Vec<(Name, u64)>) {
        for (name, delivered) in counts {
            self.destination(&name).delivered.begin(delivered);
        }
    }

    /// Whoever says so may be anybody: a name that nobody knows yet is no reason to remember it. If it is one, looking tells.
    pub(super) fn on_woken(&mut self, destination: &Name) {
        if self.destinations.contains_key(destination) {
            self.on_arrival(destination);
        }
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
        match self.destinations.entry(name.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                self.appeared.push(name.clone());
                new.insert(Destination::new())
            }
        }
    }

    /// Drops the entry of a destination that no route leads to any more and nothing was ever delivered to.
    pub(super) fn forget_destination(&mut self, name: &Name) {
        let unknown = !self.routed.contains(name)
            && self.destinations.get(name).is_some_and(|destination| {
                let idle = destination.asks == 0 && destination.timer.is_none();
                idle && destination.open.is_empty()
                    && destination.delivered.is_none()
                    && destination.joined.is_empty()
                    && destination.takers.is_empty()
            });
        if unknown {
            self.destinations.remove(name);
        }
    }

    /// Something is due in the store.
    pub(super) fn on_work(&mut self, name: &Name) {
        let destination = self.destination(name);
        destination.work = MayBeDue::Any;
        destination.changes += 1;
        self.ask_soon(name);
    }

    /// Something becomes due later, at this moment as all servers have it.
    pub(super) fn on_scheduled(&mut self, name: &Name, due: Wall) {
        let due = self.clocks.own(due);
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
    pub(super) fn ask_soon(&mut self, name: &Name) {
        let Some(destination) = self.destinations.get_mut(name) else { return };
        if destination.work != MayBeDue::Nothing && !std::mem::replace(&mut destination.asks_soon, true) {
            self.to_ask.push_back(name.clone());
        }
    }

    /// Asks the store for deliveries as long as something may be due and somebody has credit for it.
    pub(super) fn ask_for_due(&mut self, name: &Name) {
        if let Some(destination) = self.destinations.get_mut(name) {
            destination.asks_soon = false;
        }
        if self.stopping || self.failed || !self.started || self.routing.paused.contains(name) {
            return;
        }
        if !self.clocks.may_lease() {
            return;
        }
        let few = self.undecided.few();
        if few != Partitions::all(few.count()) {
            self.undecided.keep_back(name);
        }
        if few.is_empty() {
            return;
        }
        // Each turn takes one out of the takers, who are known instances: see `check_invariants`.
        loop {
            let Some(destination) = self.destinations.get(name) else { return };
            if destination.work == MayBeDue::Nothing || destination.asks >= limits::LEASE_ASKS_MAX {
                return;
            }
            let Some(instance) = self.next_asker(name) else { return };
            self.ask_for(name, instance, few);
        }
    }

    /// Who is given a delivery next: one that takes any, else one to whom large bodies are on their way, as long as few wait
    /// for them to have left.
    fn next_asker(&self, name: &Name) -> Option<InstanceId> {
        let asks = |rank: Rank, id: InstanceId| rank.takes_any || !self.parked.is_full(&(id, name.clone()));
        let destination = self.destinations.get(name)?;
        match destination.work {
            MayBeDue::Tried => destination.takers.first_of_tried(asks),
            MayBeDue::Any | MayBeDue::Nothing => destination.takers.first(asks),
        }
    }

    /// Asks for as many deliveries as `id` has credit for, of these partitions.
    fn ask_for(&mut self, name: &Name, id: InstanceId, partitions: Partitions) {
        let now = self.now;
        // As many as fit if they are like those before them. More would be leased and wait, while others could take them.
        let typical = self.destination(name).typical;
        let fitting = usize::try_from(self.room.fitting(id, typical)).unwrap_or(usize::MAX);
        // It is asked for small ones, and what is large is parked.
        let fitting = if self.is_crowded(&(id, name.clone())) { usize::MAX } else { fitting };
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let Some(served) = instance.served.get_mut(name) else { return };
        let pick = served.circuit.pick(served.slots.offered(), now.mono);
        let most = limits::LEASE_BATCH_MAX.min(instance.granted.left()).min(fitting).max(1);
        let limit = if served.circuit.is_one_at_a_time() { 1 } else { (served.free() as usize).min(most) as u32 };
        instance.granted.take(limit as usize);
        served.slots.ask();
        let tried_max = served.tried_max(limit);
        let order = match pick {
            Some(Pick::Newest) => LeaseOrder::Newest,
            Some(Pick::FewestTries) => LeaseOrder::FewestTries,
            // Canary: deliveries that wait for their first try must not stand behind all retries, nor the other way round.
            None if crate::canary::is("no_shares") => LeaseOrder::Shared { tried: limit },
            None => LeaseOrder::Shared { tried: served.slots.share_of_tried(limit, served.allowed()).min(tried_max) },
        };
        served.circuit.on_asked();
        let open = served.circuit.is_open();
        instance.asked_last = Some(name.clone());
        let nonce = self.nonce;
        let destination = self.destination(name);
        if open {
            destination.open.insert(id);
        }
        destination.asks += 1;
        let changes = destination.changes;
        let ask = LeaseUnderway { destination: name.clone(), instance: id, pick, limit, changes };
        let lease = LeaseAsk {
            destination: name.clone(),
            instance: id,
            nonce,
            until: self.shared_now() + self.setup.lease,
            now: self.shared_now(),
            limit,
            tried_max,
            order,
            partitions,
        };
        let op = self.ops.lease(ask, lease);
        self.ask_store(op);
        self.rerank_served(id);
    }

    pub(super) fn on_leased(&mut self, op: OpId, ask: LeaseUnderway, result: Result<Leased, StoreError>) {
        let LeaseUnderway { destination: name, instance: id, pick, limit, changes } = ask;
        let destination = self.destination(&name);
        destination.asks -= 1;
        let current = destination.changes == changes;
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.granted.give_back(limit as usize);
            if instance.may_leave() {
                self.emptied.insert(id);
            }
            if let Some(served) = instance.served.get_mut(&name) {
                served.slots.answered();
            }
        }
        if result.as_ref().is_ok_and(|leased| leased.unsure) {
            self.look_for_strays();
        }
        match result {
            Ok(leased) => self.on_lease_batch(&name, id, pick, AskedWhen { op, current }, leased),
            Err(error) => {
                if error.is_unknown() {
                    self.look_for_strays();
                }
                if let Some(served) = self.served_mut(id, &name) {
                    served.circuit.on_ask_failed();
                }
                self.destination(&name).work = MayBeDue::Nothing;
                self.on_scheduled(&name, self.shared_now() + limits::STORE_RETRY);
            }
        }
        self.rerank_all(id);
        self.ask_soon(&name);
    }

    fn on_lease_batch(&mut self, name: &Name, id: InstanceId, pick: Option<Pick>, asked: AskedWhen, leased: Leased) {
        let AskedWhen { op, current } = asked;
        let none = leased.deliveries.is_empty();
        let now = self.now.mono;
        let mut permit = Permit::All;
        if let Some(served) = self.served_mut(id, name) {
            served.circuit.on_backlog(leased.backlog, now);
            permit = served.circuit.permit(now);
            if none {
                // Nothing was due: its place is kept, for another pause would come on top.
                served.circuit.on_ask_failed();
            } else if matches!(permit, Permit::All | Permit::Probing) {
                served.slots.turn();
                if let Some(pick) = pick {
                    served.circuit.on_picked(pick);
                }
            }
        }
        if let Some(count) = std::num::NonZeroU64::new(leased.deliveries.len() as u64) {
            let bytes: u64 = leased.deliveries.iter().map(|delivery| delivery.body_bytes).sum();
            self.destination(name).typical = bytes / count;
        }
        for delivery in leased.deliveries {
            self.hold_leased(op, id, delivery, permit);
        }
        self.grant_next_suspect(id, name);
        match leased.end {
            LeaseEnd::Drained { next_due } => {
                if current {
                    self.destination(name).work = MayBeDue::Nothing;
                }
                if let Some(due) = next_due {
                    self.on_scheduled(name, due);
                }
            }
            LeaseEnd::Tried { next_due } => {
                let destination = self.destination(name);
                if current || destination.work == MayBeDue::Nothing {
                    destination.work = MayBeDue::Tried;
                }
                if let Some(due) = next_due {
                    self.on_scheduled(name, due);
                }
            }
            LeaseEnd::More => {}
        }
    }

    fn served_mut(&mut self, id: InstanceId, name: &Name) -> Option<&mut Service> {
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
        let idle = self
            .destinations
            .get(name)
            .is_some_and(|known| known.work == MayBeDue::Nothing && known.next_due.is_none());
        if let Some(served) = self.served_mut(id, name).filter(|_| idle) {
            served.circuit.on_nothing_waits();
        }
    }
}
