//! Accepting: a verified request becomes an event with its deliveries, and is answered once that is durable.
//!
//! A delivery whose destination has credit at hand and nothing older due is stored already leased, and its body goes out
//! from memory after the commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{Accepting, Answer, Hub, NotStored, Notice, Output, Ticket, settle::Why, timers::Timer};
use crate::{
    delivery::{self, Delivery},
    event::Event,
    fault::Retry,
    id::{DeliveryId, EventId, InstanceId, Partition},
    limits,
    name::Name,
    storage::{Append, AppendError, Appended, Dedupe, OpId},
    time::Wall,
};

/// Requests that wait.
#[derive(Debug, Default)]
pub(super) struct Accepts {
    /// Appends under way, and those that are asked for again.
    appending: usize,
    /// Those that are asked for again before long.
    again: Vec<Pending>,
    /// See [`Pending::unsure`].
    unsure: BTreeSet<OpId>,
    /// Repeats that redrive deliveries of their first: answered when these are durable.
    redriving: BTreeMap<Ticket, (Answer, usize)>,
    /// Repeats of events that are delivered again: answered when that is durable.
    pub(super) resending: BTreeMap<EventId, Vec<(Ticket, Answer)>>,
}

/// An append under way.
#[derive(Debug)]
pub(super) struct Pending {
    ticket: Ticket,
    event: Arc<Event>,
    dedupe: Option<Dedupe>,
    deadline: Wall,
    /// See [`Accepting::resend`].
    resend: bool,
    /// When its deliveries were made.
    made_at: Wall,
    /// Deliveries that are stored already leased.
    leased: Vec<(InstanceId, Delivery)>,
    /// The others: their ids, destinations and TTLs.
    waiting: Vec<(DeliveryId, Name, Duration)>,
    /// The first operation that was asked for, once the store did not answer one: it may be stored.
    unsure: Option<OpId>,
}

impl Accepts {
    /// Tickets that wait for redrives and resends, for an answer that ends their waiting.
    pub(super) fn take_waiting(&mut self) -> Vec<Ticket> {
        let redriving = std::mem::take(&mut self.redriving).into_keys();
        let resending = std::mem::take(&mut self.resending).into_values().flatten().map(|(ticket, _)| ticket);
        redriving.chain(resending).collect()
    }

    /// What a repeat was to redrive was purged meanwhile, perhaps with its event: sent once more, it is a new one.
    pub(super) fn is_gone(&mut self, ticket: Ticket) {
        if let Some((answer, _)) = self.redriving.get_mut(&ticket) {
            *answer = Answer::NotStored(NotStored::Gone);
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.appending == 0 && self.redriving.is_empty() && self.resending.is_empty()
    }
}

impl Pending {
    /// What was asked for, once more.
    fn append(&self) -> Append {
        let ready = |(id, to, ttl): &(DeliveryId, Name, Duration)| {
            Delivery::ready(*id, &self.event, to.clone(), false, self.made_at, *ttl)
        };
        let leased = self.leased.iter().map(|(_, delivery)| delivery.clone());
        Append {
            event: Arc::clone(&self.event),
            deliveries: leased.chain(self.waiting.iter().map(ready)).collect(),
            dedupe: self.dedupe.clone(),
            deadline: self.deadline,
        }
    }
}

impl Hub {
    pub(super) fn on_accept(&mut self, ticket: Ticket, request: Accepting) {
        if let Err(refusal) = self.may_accept(&request.source) {
            self.outputs.push_back(Output::Answer(ticket, refusal));
            return;
        }
        if !self.clocks.are_compared() {
            return self.wait_for_clock(ticket, request);
        }
        let request = self.dated_as_elsewhere(request);
        let now = self.shared_now();
        let Accepting { dedupe, deadline, resend, .. } = &request;
        let (dedupe, deadline, resend) = (dedupe.clone(), *deadline, *resend);
        let event = Arc::new(self.event_of(request));
        let mut leased = Vec::new();
        let mut waiting = Vec::new();
        let routing = Arc::clone(&self.routing);
        let routes = routing.routes.get(&event.source).map_or(&[][..], Vec::as_slice);
        let mut deliveries = Vec::with_capacity(routes.len());
        for route in routes {
            let id = self.ids.delivery(now);
            let ready = Delivery::ready(id, &event, route.destination.clone(), false, now, route.ttl);
            if let Some(instance) = self.reserve_for(&ready, event.size()) {
                let until = now + self.setup.lease;
                let delivery = delivery::leased(&ready, instance, self.nonce, now, until);
                deliveries.push(delivery.clone());
                // Most sources have one route: no room for four of what is large.
                leased.reserve_exact(1);
                leased.push((instance, delivery));
            } else {
                waiting.push((id, route.destination.clone(), route.ttl));
                deliveries.push(ready);
            }
        }
        if crate::canary::is("ack_before_commit") {
            // Canary: an answer must not outrun the commit it depends on.
            let (event, received_at) = (event.id, event.received_at);
            self.outputs.push_back(Output::Answer(
                ticket,
                Answer::Accepted { event, received_at, repeat: false, differs: false },
            ));
        }
        self.accepts.appending += 1;
        let append = Append { event: Arc::clone(&event), deliveries, dedupe: dedupe.clone(), deadline };
        let made_at = now;
        let pending = Pending { ticket, event, dedupe, deadline, resend, made_at, leased, waiting, unsure: None };
        let op = self.ops.append(pending, Box::new(append));
        self.ask_store(op);
    }

    fn may_accept(&self, source: &Name) -> Result<(), Answer> {
        if self.stopping {
            return Err(Answer::Stopping);
        }
        if self.failed {
            return Err(Answer::NotStored(NotStored::Failed));
        }
        if self.routing.routes.get(source).is_none_or(Vec::is_empty) {
            return Err(Answer::NotStored(NotStored::Unrouted));
        }
        if self.accepts.appending >= limits::APPENDS_MAX { Err(Answer::Busy) } else { Ok(()) }
    }

    /// The same with its moments as all servers have them.
    fn dated_as_elsewhere(&self, request: Accepting) -> Accepting {
        if self.clock_shift().is_none() {
            return request;
        }
        let shared = |at| self.clocks.shared(at);
        let dedupe = request.dedupe.map(|dedupe| Dedupe { until: shared(dedupe.until), ..dedupe });
        let (received_at, deadline) = (shared(request.received_at), shared(request.deadline));
        Accepting { received_at, dedupe, deadline, ..request }
    }

    fn event_of(&mut self, request: Accepting) -> Event {
        let now = self.shared_now();
        // A key and its event are in one place, so that a store can take both in one step.
        let id = match &request.dedupe {
            Some(dedupe) => self.ids.event_in(Partition::of_digest(&dedupe.key), now),
            None => self.ids.event(now),
        };
        Event {
            id,
            source: request.source,
            method: request.method,
            path: request.path,
            query: request.query,
            headers: request.headers,
            body: request.body,
            body_sha256: request.body_sha256,
            received_at: request.received_at,
            name: request.name,
            key: request.key,
        }
    }

    pub(super) fn on_appended(&mut self, op: OpId, pending: Pending, result: Result<Appended, AppendError>) {
        let result = match result {
            // Canary: what may not be stored must not be acknowledged.
            Err(error) if is_soon(error.retry()) && error.is_unknown() && crate::canary::is("unknown_accepted") => {
                Ok(Appended::as_asked(pending.event.id))
            }
            // Canary: what may be stored must not be refused as if it were not.
            Err(error) if is_soon(error.retry()) && error.is_unknown() && crate::canary::is("unknown_is_no") => {
                self.accepts.appending -= 1;
                return self.give_up_append(pending, Answer::NotStored(NotStored::Away));
            }
            Err(error) if is_soon(error.retry()) && !self.failed => {
                return self.on_undecided(op, pending, error.is_unknown());
            }
            other => other,
        };
        self.accepts.appending -= 1;
        // Granted is what was not touched since the first time that it may have been stored.
        let op = pending.unsure.unwrap_or(op);
        if result.is_ok()
            && let Some(first) = pending.unsure
        {
            self.accepts.unsure.remove(&first);
        }
        match result {
            Ok(Appended::Stored { event, deliveries }) => self.on_event_stored(op, pending, event, &deliveries),
            Ok(Appended::Repeat { first, received_at, differs, deliveries, gone }) => {
                self.undo_reservations(&pending);
                if differs {
                    self.notice(Notice::RepeatDiffers { event: first });
                }
                let answer = Answer::Accepted { event: first, received_at, repeat: true, differs };
                if pending.resend && !differs && delivery::is_delivered(&deliveries) {
                    self.resend_then_answer(pending.ticket, answer, (first, &pending.event), &deliveries);
                // Canary: what was purged in part must not be acknowledged and dropped.
                } else if gone && !crate::canary::is("purged_is_swallowed") {
                    self.replace_then_answer(pending.ticket, answer, (first, &pending.event), deliveries);
                } else {
                    self.redrive_then_answer(pending.ticket, answer, deliveries);
                }
            }
            Err(error) => self.give_up_append(pending, Answer::from(&error)),
        }
    }

    /// It was not stored, or may be: it is asked for again, as it can be then.
    fn on_undecided(&mut self, op: OpId, pending: Pending, is_unknown: bool) {
        if is_unknown {
            let unsure = Some(pending.unsure.unwrap_or(op));
            return self.append_again(Pending { unsure, ..pending });
        }
        let pending = self.without_reservations(pending);
        let pending = self.in_another_partition(pending);
        self.append_again(pending);
    }

    /// The same stored as ready, for nobody knows when it is: its slot, its credit and its room are for what can be stored meanwhile. What
    /// may be stored already leased keeps them.
    fn without_reservations(&mut self, mut pending: Pending) -> Pending {
        if pending.unsure.is_some() {
            return pending;
        }
        for (instance, delivery) in std::mem::take(&mut pending.leased) {
            self.unreserve(instance, &delivery, pending.event.size());
            let ttl = delivery.expires_at.since(pending.made_at);
            pending.waiting.push((delivery.id, delivery.destination, ttl));
        }
        pending
    }

    /// The same in another partition, for its own is away: another may be there. What may be stored stays where it is, and so does what has
    /// a key, for its repeats look for it there.
    fn in_another_partition(&mut self, mut pending: Pending) -> Pending {
        if self.setup.partitions < 2 || pending.dedupe.is_some() || pending.unsure.is_some() {
            return pending;
        }
        let id = self.ids.event(self.shared_now());
        pending.event = Arc::new(Event { id, ..Event::clone(&pending.event) });
        for (_, delivery) in &mut pending.leased {
            (delivery.event, delivery.id) = (id, delivery.id.beside(id));
        }
        for (made, ..) in &mut pending.waiting {
            *made = made.beside(id);
        }
        pending
    }

    /// Asks for it once more before long: the store was away, or did not say whether it is stored (I2).
    fn append_again(&mut self, pending: Pending) {
        self.accepts.unsure.extend(pending.unsure);
        if self.accepts.again.is_empty() {
            self.arm(limits::APPEND_AGAIN, Timer::Appends);
        }
        self.accepts.again.push(pending);
    }

    /// The timer for that went off.
    pub(super) fn on_appends_due(&mut self) {
        for pending in std::mem::take(&mut self.accepts.again) {
            if pending.deadline <= self.shared_now() {
                self.accepts.appending -= 1;
                self.give_up_append(pending, Answer::NotStored(NotStored::Away));
            } else {
                let append = Box::new(pending.append());
                let op = self.ops.append(pending, append);
                self.ask_store(op);
            }
        }
    }

    /// The store has failed for good: nobody asks again.
    pub(super) fn give_up_appends(&mut self) {
        for pending in std::mem::take(&mut self.accepts.again) {
            self.accepts.appending -= 1;
            self.give_up_append(pending, Answer::Unavailable);
        }
    }

    /// The sender is told no. If it may be stored all the same, what was stored already leased is handed back.
    fn give_up_append(&mut self, pending: Pending, answer: Answer) {
        self.undo_reservations(&pending);
        let Some(first) = pending.unsure else { return self.answer(pending.ticket, answer) };
        self.accepts.unsure.remove(&first);
        self.answer(pending.ticket, Answer::Unavailable);
        if self.failed {
            return;
        }
        for (_, delivery) in pending.leased {
            self.look_up(delivery.id, Why::HandBack(delivery.claim()));
        }
    }

    /// The first store operation that may bring a lease: under way, or unanswered.
    pub(super) fn first_bringing(&self) -> Option<OpId> {
        self.ops.first_bringing().into_iter().chain(self.accepts.unsure.first().copied()).min()
    }

    /// It is stored under this id, with these deliveries unless they are those that were asked for.
    fn on_event_stored(&mut self, op: OpId, pending: Pending, id: EventId, stored: &[Delivery]) {
        let Pending { ticket, mut event, leased, waiting, .. } = pending;
        let received_at = event.received_at;
        self.answer(ticket, Answer::Accepted { event: id, received_at, repeat: false, differs: false });
        if id != event.id {
            event = Arc::new(Event { id, ..Event::clone(&event) });
        }
        for (instance, delivery) in leased {
            // A route leads to a destination once.
            let stands =
                |found: &&Delivery| found.destination == delivery.destination && found.is_held_under(delivery.token);
            if stored.is_empty() {
                self.hold_reserved(op, instance, delivery, &event);
            } else if let Some(found) = stored.iter().find(stands) {
                self.hold_reserved(op, instance, found.clone(), &event);
            } else {
                // Somebody else has ended that lease already.
                self.unreserve(instance, &delivery, event.size());
                self.on_arrival(&delivery.destination);
            }
        }
        for (_, destination, _) in waiting {
            self.on_arrival(&destination);
        }
    }

    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        if !crate::canary::is("ack_before_commit") {
            self.outputs.push_back(Output::Answer(ticket, answer));
        }
    }

    fn undo_reservations(&mut self, pending: &Pending) {
        for (instance, delivery) in &pending.leased {
            self.unreserve(*instance, delivery, pending.event.size());
        }
    }

    pub(super) fn redrive_then_answer(&mut self, ticket: Ticket, answer: Answer, deliveries: Vec<Delivery>) {
        let ended: Vec<_> = deliveries.into_iter().filter(|record| record.state.is_dead_letter()).collect();
        if ended.is_empty() {
            self.answer(ticket, answer);
            return;
        }
        self.accepts.redriving.insert(ticket, (answer, ended.len()));
        for record in ended {
            self.decide(record.id, Why::Redrive(ticket), &record);
        }
    }

    /// One of a repeat's redrives is durable, or was not needed any more.
    pub(super) fn on_redriven(&mut self, ticket: Ticket) {
        let Some((_, left)) = self.accepts.redriving.get_mut(&ticket) else { return };
        *left -= 1;
        if *left == 0
            && let Some((answer, _)) = self.accepts.redriving.remove(&ticket)
        {
            self.answer(ticket, answer);
        }
    }

    /// The TTL of a delivery that becomes ready again.
    pub(super) fn ttl_of(&self, record: &Delivery) -> Duration {
        self.routing.route(&record.source, &record.destination).map_or(self.routing.standard_ttl, |route| route.ttl)
    }
}

/// Whether the same call may succeed while its sender waits.
fn is_soon(retry: Retry) -> bool {
    retry == Retry::Backoff
}
