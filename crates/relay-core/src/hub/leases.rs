//! Leases: granted, extended, released, lost.
//!
//! A lease ends in one of these ways: its report arrives; its client hands it back; its instance stays away for
//! [`limits::RESUME_GRACE`], and no Hello is arriving that may be its (released, and lost once its end has come without it); its end comes while nobody
//! extends it (lost). Where several servers share the store, a loss waits until none of them has its instance. Leases of an earlier run of the server are re-armed to their stored end, at least the grace; if
//! their instance does not come by then they are handed back, for a crash of the server counts nothing.

use std::{sync::Arc, time::Duration};

use super::{
    HeldFor, Hub, Output,
    held::{Held, Sent},
    instances::Instance,
    room::Pair,
    settle::{Reported, Why},
};
use crate::{
    circuit::{Permit, Switched, Tried},
    delivery::{Delivery, State},
    event::Event,
    id::{DeliveryId, InstanceId},
    limits,
    name::Name,
    outbox::{Outbox, Piece},
    storage::{OpId, StoreError},
    time::{Mono, Wall},
    wire::{codec::lease_ref, message::LeaseRef},
};

/// A released lease whose end has not come yet.
#[derive(Debug)]
pub(super) struct PendingLoss {
    pub(super) instance: InstanceId,
    /// When the delivery became ready: a redrive since makes the loss void.
    pub(super) ready_at: Wall,
    /// When its lease ended first.
    since: Option<Mono>,
}

impl Hub {
    /// A delivery was stored already leased, against credit that was set aside.
    pub(super) fn hold_reserved(&mut self, op: OpId, id: InstanceId, delivery: Delivery, event: &Arc<Event>) {
        let delivery_id = delivery.id;
        let touched = self.was_touched_since(op, delivery_id);
        let name = delivery.destination.clone();
        let served = self.instances.get(&id).and_then(|instance| instance.served.get(&name));
        let opened = served.is_some_and(|served| served.circuit.is_open());
        let (lined_at, size) = (self.now.mono, event.size());
        let event = Some((Arc::clone(event), size));
        let held = Held::new(id, delivery, false, &self.clocks);
        self.register(Held { borrowed: true, sent: Sent::Queued, event, lined_at, ..held });
        self.room.line_up(id, size);
        if opened {
            // Meanwhile; it has arrived like one that was not leased.
            self.unwanted.push(delivery_id);
            self.on_arrival(&name);
        } else if touched {
            self.unwanted.push(delivery_id);
        } else {
            self.grant_or_return(delivery_id);
        }
    }

    /// The store leased a delivery for an instance, whose circuit lets out so much by now: it may have opened since the
    /// store was asked.
    pub(super) fn hold_leased(&mut self, op: OpId, id: InstanceId, delivery: Delivery, permit: Permit) {
        let delivery_id = delivery.id;
        // Another server has ended that lease meanwhile.
        self.drop_held(delivery_id);
        let suspect = delivery.is_suspect();
        let name = delivery.destination.clone();
        let pair = (id, name.clone());
        let touched = self.was_touched_since(op, delivery_id);
        // If touched, it may be somebody's no more: handed back, and leased again if it is not over. So is what was asked for
        // before its destination was paused, or its client left.
        let serves = !self.stopping && self.instances.get(&id).is_some_and(|instance| instance.serves(&name));
        let goes = matches!(permit, Permit::All | Permit::Probing) && !touched && serves;
        let goes = goes && !self.routing.paused.contains(&name);
        let parks = goes && permit == Permit::All && !suspect && !self.has_slot_for(&pair, &delivery);
        if parks {
            self.park(&pair, &delivery);
        } else {
            self.take_slot(id, &delivery);
        }
        let held = Held::new(id, delivery, permit == Permit::Probing, &self.clocks);
        self.register(held);
        if !goes {
            return self.unwanted.push(delivery_id);
        }
        if parks {
            return;
        }
        if !suspect {
            return self.wait_for_room(delivery_id);
        }
        if let Some(served) = self.instances.get_mut(&id).and_then(|instance| instance.served.get_mut(&name)) {
            served.slots.wait_alone(delivery_id);
        }
    }

    /// Sends out the next waiting suspect if its instance holds nothing else of the destination.
    pub(super) fn grant_next_suspect(&mut self, id: InstanceId, name: &Name) {
        let served = self.instances.get_mut(&id).and_then(|instance| instance.served.get_mut(name));
        if let Some(next) = served.and_then(|served| served.slots.next_alone()) {
            self.wait_for_room(next);
        }
    }

    /// Puts a lease's grant in line, or hands the lease back if its instance is away, leaving, or we are; or if it came
    /// back meanwhile with less than the store was asked for (I21).
    pub(super) fn grant_or_return(&mut self, id: DeliveryId) {
        let Some(held) = self.held.get(&id) else { return };
        let conn = self.instances.get(&held.instance).filter(|instance| self.takes(instance, held));
        let session =
            conn.and_then(|instance| instance.conn).and_then(|conn| Some((conn, self.sessions.get_mut(&conn)?)));
        match (session, &held.event) {
            (Some((conn, session)), Some((event, _))) => {
                let event = Arc::clone(event);
                // What has begun to leave has said it.
                let trace = held.trace.or_else(|| self.setup.traces?.trace_of(event.id, &event.headers));
                match held.rest {
                    None => session.outbox.push_grant(&held.delivery, event, self.public_url.clone(), trace),
                    Some(rest) => session.outbox.push_rest(&held.delivery, event, rest.offset),
                }
                if session.outbox.wants_signal() {
                    self.outputs.push_back(Output::Transmit(conn));
                }
                if let Some(held) = self.held.get_mut(&id) {
                    held.trace = trace;
                }
            }
            // Not at once: what it frees may be for the next one that cannot be granted, and so on.
            _ => self.unwanted.push(id),
        }
    }

    /// Whether its instance takes it, as far as is known by now.
    pub(super) fn is_granted(&self, held: &Held) -> bool {
        self.instances.get(&held.instance).is_some_and(|instance| self.takes(instance, held))
    }

    fn takes(&self, instance: &Instance, held: &Held) -> bool {
        let served = instance.served.get(&held.delivery.destination);
        !self.stopping && instance.takes_new() && served.is_some_and(|served| served.slots.suffice())
    }

    /// Hands back what could not be granted.
    pub(super) fn return_unwanted(&mut self) {
        while let Some(id) = self.unwanted.pop() {
            self.release_begun(id);
            self.hand_back(id);
        }
    }

    /// A piece of a grant has left.
    pub(super) fn on_piece_sent(&mut self, Piece { id, bytes, done }: Piece) {
        let Some(held) = self.held.get_mut(&id) else { return };
        held.sent = Sent::Begun;
        self.room.took(held.instance, bytes as u64);
        if !done {
            return;
        }
        held.sent = Sent::Done;
        // Canary: what has left this machine is not at its client yet.
        let early = crate::canary::is("cap_from_queue");
        self.cap_from_now(id, if early { Duration::ZERO } else { limits::TRANSFER_TAIL });
        let Some(held) = self.held.get_mut(&id) else { return };
        if let Some((_, size)) = held.event.take() {
            let (pair, body, borrowed) = (held.pair(), held.delivery.body_bytes, held.borrowed);
            self.room.unline(pair.0, size);
            self.let_go(&pair, body, size, borrowed);
        }
    }

    /// An event is on its way out no longer.
    pub(super) fn let_go(&mut self, pair: &Pair, body: u64, size: u64, borrowed: bool) {
        if borrowed {
            self.room.returned(pair, body, size);
        } else {
            self.room.left(pair, body, size);
        }
        self.parked.wake();
    }

    /// What is leased there and has no room, or no slot, yet.
    pub(super) fn waiting_at(&self, pair: &Pair) -> Vec<DeliveryId> {
        let mut waiting = self.room.waiting(pair);
        waiting.extend(self.parked.at(pair));
        waiting
    }

    /// A client names a lease, which it does once it has the whole body: from now on it has `FORWARD_TIMEOUT`.
    pub(super) fn on_named(&mut self, id: DeliveryId) {
        let Some(held) = self.held.get_mut(&id) else { return };
        // A body that has not left whole is not there whole, whatever its client says.
        if held.sent == Sent::Done {
            held.sent = Sent::Named;
            self.cap_from_now(id, Duration::ZERO);
        }
        self.extend(id);
    }

    /// Bounds a lease by what its instance says of its forwards.
    fn cap_from_now(&mut self, id: DeliveryId, tail: Duration) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let served = self.instances.get(&held.instance).and_then(|i| i.served.get(&held.delivery.destination));
        // Canary: how long a forward may take is its client's to say.
        let served = served.filter(|_| !crate::canary::is("default_cap"));
        let timeout = served.map_or(limits::FORWARD_TIMEOUT, |served| served.forward_timeout);
        held.cap = Some(self.now.wall + tail + timeout + limits::LEASE_OVERTIME);
    }

    /// What is left of a grant will not be sent.
    pub(super) fn drop_body(&mut self, held: &mut Held) {
        let Some((_, size)) = held.event.take() else { return };
        self.room.unline(held.instance, size);
        self.let_go(&held.pair(), held.delivery.body_bytes, size, held.borrowed);
        if let Some(outbox) = self.outbox_of(held.instance) {
            outbox.cancel_grant(held.delivery.id);
        }
    }

    /// What waits to be sent to an instance, while it has a socket.
    pub(super) fn outbox_of(&mut self, id: InstanceId) -> Option<&mut Outbox> {
        let conn = self.instances.get(&id)?.conn?;
        Some(&mut self.sessions.get_mut(&conn)?.outbox)
    }

    /// A client reported the outcome of a try. Slot and bytes are free at once; the confirmation waits for the commit.
    pub(super) fn on_report(&mut self, mut report: Box<Reported>) {
        let (instance, (id, token)) = (report.instance, report.lease);
        let holds = self.held.get(&id).is_some_and(|held| {
            // Canary: a stale token must not pass.
            held.instance == instance && (held.delivery.token == token || crate::canary::is("no_fence"))
        });
        if !holds {
            return self.look_up(id, Why::Report(report));
        }
        let Some(held) = self.held.get(&id) else { return };
        let (event, name, probe) = (held.delivery.event, held.delivery.destination.clone(), held.probe);
        let speaks = held.delivery.attempts == 0;
        let tried = Tried { event, speaks, outcome: &report.outcome, probe };
        let retry = held.delivery.tries > 0;
        report.charges = self.feed_circuit(instance, &name, &tried);
        if let Some(served) = self.instances.get_mut(&instance).and_then(|instance| instance.served.get_mut(&name)) {
            served.durations.on_outcome(retry, &report.outcome);
        }
        if let Some(held) = self.unregister(id) {
            report.trace = held.trace;
            self.decide(id, Why::Report(report), &held.delivery);
        }
    }

    /// Tells the circuit of a try. Gives whether a failure may count against its event: where so many have failed since the
    /// last delivery that a circuit may open, none does any more, whichever client tried it.
    fn feed_circuit(&mut self, id: InstanceId, name: &Name, tried: &Tried<'_>) -> bool {
        let (now, pause_max) = (self.now.mono, self.setup.circuit_pause_max);
        let streak = &mut self.destination(name).streak;
        streak.on_try(tried);
        let outage = streak.is_full() && !crate::canary::is("charged_while_open");
        let Some(served) = self.instances.get_mut(&id).and_then(|instance| instance.served.get_mut(name)) else {
            return false;
        };
        let (change, charges) = served.circuit.on_outcome(tried, now, served.slots.offered(), pause_max);
        let goes_on = change == Switched::Same && served.circuit.permit(now) == Permit::All;
        let error = served.circuit.open_error().unwrap_or_default().to_owned();
        let instance = id;
        match change {
            Switched::Opened => {
                // Of what was leased while it was closed only what is on its way goes out.
                self.unwanted.extend(self.waiting_at(&(id, name.clone())));
                self.notice(super::Notice::DestinationDown { destination: name.clone(), instance, error });
            }
            Switched::Closed => self.notice(super::Notice::DestinationUp { destination: name.clone(), instance }),
            Switched::Same => {}
        }
        if !goes_on {
            self.arm_probe(id, name);
        }
        if change != Switched::Same {
            // Its client may be at another server the next moment.
            self.say_presence();
        }
        charges && !outage
    }

    /// A lease's end has come.
    pub(super) fn on_lease_end(&mut self, id: DeliveryId) {
        let Some(held) = self.held.get(&id) else { return };
        if self.loaded_at.is_none() {
            return self.postpone(id);
        }
        let live = self.instances.get(&held.instance).is_some_and(|instance| instance.conn.is_some());
        let (token, claim) = (held.delivery.token, held.delivery.claim());
        let tail_over = held.cap.is_some_and(|cap| cap <= self.now.wall);
        match held.sent {
            // Its client does not have it whole yet, so nobody but us can extend it.
            Sent::Reading | Sent::Queued | Sent::Begun if live => return self.extend(id),
            Sent::Done if live && !tail_over => return self.extend(id),
            // Its heartbeat is under way, and names it for all that is known.
            Sent::Named if live && !tail_over && self.is_amid(held.instance) => return self.extend(id),
            Sent::Waiting | Sent::Reading | Sent::Queued => return self.hand_back(id),
            // Its instance may be about to name it.
            Sent::Done | Sent::Named if !live && !tail_over && self.may_be_resumed(held) => return self.postpone(id),
            Sent::Begun | Sent::Done | Sent::Named if held.rearmed => {
                let instance = held.instance;
                self.hand_back(id);
                return self.forget_instance(instance);
            }
            // It may be elsewhere, with what it holds.
            Sent::Begun | Sent::Done | Sent::Named if !live && self.setup.shares => return self.release_absent(id),
            Sent::Begun | Sent::Done | Sent::Named => {}
        }
        if !live && self.ends_late(id) {
            return;
        }
        let Some(held) = self.held.get(&id) else { return };
        let (instance, retry) = (held.instance, held.delivery.tries > 0);
        let name = held.delivery.destination.clone();
        if let Some(served) = self.instances.get_mut(&instance).and_then(|instance| instance.served.get_mut(&name))
            && retry
        {
            served.durations.on_lost(served.forward_timeout);
        }
        if let Some(held) = self.unregister(id) {
            self.on_held_gone(&held);
            self.release_at(instance, vec![lease_ref((id, token))]);
            self.decide(id, Why::Lose(claim), &held.delivery);
        }
    }

    /// Whether a Hello is arriving that may name a lease.
    fn may_be_resumed(&self, held: &Held) -> bool {
        let until = if held.rearmed {
            self.resumes_until(None, self.loaded_at.unwrap_or_default())
        } else {
            self.instance_resumes_until(held.instance)
        };
        until.is_some()
    }

    /// Gives the instance of a lease its time to come back: nobody is welcomed before all leases of an earlier run are known.
    pub(super) fn postpone(&mut self, id: DeliveryId) {
        let until = self.now.wall + limits::RESUME_GRACE;
        let Some(held) = self.held.get_mut(&id) else { return };
        self.ends.remove(&(held.until, id));
        self.ends.insert((until, id));
        held.until = until;
    }

    /// Ends a lease of which nothing was heard: without a try, unless its body may be at its client.
    pub(super) fn hand_back(&mut self, id: DeliveryId) {
        let Some(held) = self.held.get(&id) else { return };
        let claim = held.delivery.claim();
        let may_be_there = held.sent >= Sent::Done || held.rearmed;
        self.end_lease(id, if may_be_there { Why::Unheard(claim) } else { Why::HandBack(claim) });
    }

    /// Ends a lease that its client gives back: it has begun nothing.
    pub(super) fn take_back(&mut self, id: DeliveryId) {
        if let Some(claim) = self.held.get(&id).map(|held| held.delivery.claim()) {
            self.end_lease(id, Why::HandBack(claim));
        }
    }

    fn end_lease(&mut self, id: DeliveryId, why: Why) {
        if self.ends_late(id) {
            return;
        }
        if let Some(held) = self.unregister(id) {
            self.on_held_gone(&held);
            self.decide(id, why, &held.delivery);
        }
    }

    /// Releases a lease whose instance stays away. It counts as lost when its end comes and the instance has not.
    pub(super) fn release_absent(&mut self, id: DeliveryId) {
        if self.ends_late(id) {
            return;
        }
        let Some(held) = self.held.get(&id) else { return };
        if held.sent >= Sent::Done && !held.rearmed {
            let (until, instance, ready_at) = (held.until, held.instance, held.delivery.ready_at);
            // By then another server that has its instance has said so.
            let until = if self.setup.shares { until + limits::PRESENCE_KNOWN } else { until };
            self.expect_loss(until, id, PendingLoss { instance, ready_at, since: None });
            self.releasing.insert(id);
        }
        self.hand_back(id);
    }

    fn expect_loss(&mut self, until: Wall, id: DeliveryId, loss: PendingLoss) {
        if let Some(absent) = self.instances.get_mut(&loss.instance) {
            absent.losses.insert((until, id));
        }
        self.losses.insert((until, id), loss);
    }

    /// The end of a lease that was released earlier has come, and its instance has not.
    pub(super) fn on_loss_due(&mut self, until: Wall, id: DeliveryId) {
        let Some(loss) = self.losses.remove(&(until, id)) else { return };
        let since = loss.since.unwrap_or(self.now.mono);
        let token = self.instances.get_mut(&loss.instance).map(|instance| {
            instance.losses.remove(&(until, id));
            instance.token.clone()
        });
        if token.is_some_and(|token| self.resumes_until(Some(&token), since).is_some()) {
            // It is saying that it is back, and nothing is lost if it is.
            let until = self.now.wall + limits::RESUME_GRACE;
            return self.expect_loss(until, id, PendingLoss { since: Some(since), ..loss });
        }
        if self.setup.shares && self.releasing.contains(&id) {
            return self.expect_loss(self.now.wall + limits::STORE_RETRY, id, loss);
        }
        self.forget_if_old(loss.instance);
        if self.setup.shares {
            return self.judge_loss(id, loss);
        }
        self.look_up(id, Why::CountLoss(loss.ready_at));
    }

    /// Its instance came back in time: nothing is lost.
    pub(super) fn forgive_losses(&mut self, id: InstanceId) {
        self.others.forgive(id);
        let Some(instance) = self.instances.get_mut(&id) else { return };
        for key in std::mem::take(&mut instance.losses) {
            self.losses.remove(&key);
        }
    }

    /// Of one delivery nothing is lost.
    pub(super) fn forgive_loss(&mut self, id: DeliveryId) {
        let of = |(key, loss): (&(Wall, DeliveryId), &PendingLoss)| (key.1 == id).then_some((*key, loss.instance));
        let keys: Vec<_> = self.losses.iter().filter_map(of).collect();
        for (key, instance) in keys {
            self.losses.remove(&key);
            if let Some(instance) = self.instances.get_mut(&instance) {
                instance.losses.remove(&key);
            }
        }
    }

    /// A probe that ends without an outcome makes room for the next.
    pub(super) fn on_held_gone(&mut self, held: &Held) {
        if !held.probe {
            return;
        }
        let (now, name) = (self.now.mono, &held.delivery.destination);
        let pause_max = self.setup.circuit_pause_max;
        if let Some(served) = self.instances.get_mut(&held.instance).and_then(|i| i.served.get_mut(name)) {
            if held.sent <= Sent::Queued {
                // It never left: the next one goes out in its place.
                served.circuit.on_ask_failed();
            } else {
                served.circuit.on_probe_gone(now, pause_max);
            }
        }
        self.arm_probe(held.instance, name);
        self.rerank(held.instance, name);
        self.ask_soon(name);
    }

    /// Drops a lease that this record, now stored, knows nothing of any more; keeps the record of one that stands.
    pub(super) fn drop_if_over(&mut self, record: &Delivery) {
        let Some(held) = self.held.get_mut(&record.id) else { return };
        if record.version < held.delivery.version {
            return;
        }
        // Of a lease that another server keeps by now nothing is decided here.
        if record.state == State::Leased && record.claim() == held.delivery.claim() {
            held.delivery.clone_from(record);
            return;
        }
        self.drop_held(record.id);
    }

    /// A lease is somebody else's, or nobody's: its client is told.
    pub(super) fn drop_held(&mut self, id: DeliveryId) {
        if let Some(held) = self.unregister(id) {
            self.on_held_gone(&held);
            self.release_at(held.instance, vec![lease_ref((id, held.delivery.token))]);
        }
    }

    pub(super) fn on_touched(&mut self, id: DeliveryId) {
        if self.held.contains_key(&id) {
            self.look_up(id, Why::Look);
        } else if self.first_bringing().is_some() {
            self.touched.insert(id, self.ops.last());
        }
    }

    /// Whether somebody else changed it after this operation was asked for: what that brings may be over.
    fn was_touched_since(&mut self, op: OpId, id: DeliveryId) -> bool {
        self.touched.remove(&id).is_some_and(|at| op <= at)
    }

    /// Forgets what was touched before anything that is under way was asked for: that brings what is so by now.
    pub(super) fn forget_touched(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        match self.first_bringing() {
            None => self.touched.clear(),
            Some(first) => self.touched.retain(|_, at| *at >= first),
        }
    }

    /// Tells a client that the rest of a grant that has begun to leave does not come.
    pub(super) fn release_begun(&mut self, id: DeliveryId) {
        let Some(held) = self.held.get(&id).filter(|held| held.sent == Sent::Begun) else { return };
        let (instance, lease) = (held.instance, lease_ref((id, held.delivery.token)));
        self.release_at(instance, vec![lease]);
    }

    /// Tells a client that leases are no longer its own.
    pub(super) fn release_at(&mut self, instance: InstanceId, leases: Vec<LeaseRef>) {
        let Some(conn) = self.instances.get(&instance).and_then(|instance| instance.conn) else { return };
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if session.outbox.push_released(leases) {
            self.signal(conn);
        } else {
            self.misbehaved(conn, "does not read what it is sent");
        }
    }

    /// A page of what an earlier run had leased.
    pub(super) fn on_held_page(&mut self, what_for: HeldFor, result: Result<Vec<Delivery>, StoreError>) {
        match what_for {
            HeldFor::Start => {}
            HeldFor::Strays(part) => return self.on_strays_page(part, result.ok()),
            HeldFor::Claim(conn, part) => return self.on_claim_page(conn, part, result),
        }
        let Ok(page) = result else {
            return self.arm(limits::STORE_RETRY, super::timers::Timer::Load);
        };
        let last = page.last().map(|delivery| delivery.id);
        for delivery in page {
            // Nobody is welcomed before all is read, so none of these is a lease of this run.
            if !self.held.contains_key(&delivery.id) {
                self.rearm(delivery);
            }
        }
        // A page may be short because the store passed over a damaged record: only an empty one is the end.
        if last.is_some() {
            self.ask_held(HeldFor::Start, last);
        } else {
            self.on_loaded();
        }
    }

    pub(super) fn rearm(&mut self, delivery: Delivery) {
        let Some(lease) = delivery.lease else { return };
        let until = self.clocks.own(lease.until).max(self.now.wall + limits::RESUME_GRACE);
        self.instances.entry(lease.instance).or_insert_with(Instance::unseen);
        self.take_slot(lease.instance, &delivery);
        let instance = lease.instance;
        self.room.hold(&(instance, delivery.destination.clone()), delivery.body_bytes);
        self.register(Held {
            delivery,
            instance,
            until,
            // Set by its instance's Hello: nothing here knows how long it may forward.
            cap: None,
            sent: Sent::Done,
            event: None,
            borrowed: false,
            lined_at: Mono::default(),
            rest: None,
            probe: false,
            rearmed: true,
            in_doubt: false,
            trace: None,
            place: 0,
        });
    }
}
