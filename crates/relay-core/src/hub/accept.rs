//! Accepting: a verified request becomes an event with its deliveries, and is answered once that is durable.
//!
//! A delivery whose destination has credit at hand and nothing older due is stored already leased, and its body goes out
//! from memory after the commit.

use std::{collections::BTreeMap, sync::Arc};

use super::{Accepting, Answer, Hub, Notice, Op, OpId, Output, Ticket, settle::Why};
use crate::{
    delivery::{self, Delivery, State},
    event::Event,
    id::{EventId, InstanceId},
    limits,
    name::Name,
    storage::{Append, AppendError, Appended, StoreOp},
};

/// Requests that wait.
#[derive(Debug, Default)]
pub(super) struct Accepts {
    /// Appends under way.
    appending: usize,
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
    /// See [`Accepting::resend`].
    resend: bool,
    /// Deliveries that are stored already leased.
    leased: Vec<(InstanceId, Delivery)>,
    /// Destinations of the others.
    waiting: Vec<Name>,
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
            *answer = Answer::Unavailable;
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.appending == 0 && self.redriving.is_empty() && self.resending.is_empty()
    }
}

impl Hub {
    pub(super) fn on_accept(&mut self, ticket: Ticket, request: Accepting) {
        if let Err(refusal) = self.may_accept(&request.source) {
            self.outputs.push_back(Output::Answer(ticket, refusal));
            return;
        }
        let Accepting { dedupe, deadline, resend, .. } = &request;
        let (dedupe, deadline, resend) = (dedupe.clone(), *deadline, *resend);
        let event = Arc::new(self.event_of(request));
        let mut leased = Vec::new();
        let mut waiting = Vec::new();
        let mut deliveries = Vec::new();
        let routing = Arc::clone(&self.routing);
        for route in routing.routes.get(&event.source).into_iter().flatten() {
            let id = self.ids.delivery(self.now.wall);
            let ready = Delivery::ready(id, &event, route.destination.clone(), false, self.now.wall, route.ttl);
            if let Some(instance) = self.reserve_for(&ready, event.size()) {
                let until = self.now.wall + self.setup.lease;
                let delivery = delivery::leased(&ready, instance, self.nonce, self.now.wall, until);
                deliveries.push(delivery.clone());
                leased.push((instance, delivery));
            } else {
                waiting.push(route.destination.clone());
                deliveries.push(ready);
            }
        }
        if cfg!(feature = "canary_ack_before_commit") {
            // Canary: an answer must not outrun the commit it depends on.
            let (event, received_at) = (event.id, event.received_at);
            self.outputs.push_back(Output::Answer(
                ticket,
                Answer::Accepted { event, received_at, repeat: false, differs: false },
            ));
        }
        self.accepts.appending += 1;
        let append = Append { event: Arc::clone(&event), deliveries, dedupe, deadline };
        let pending = Pending { ticket, event, resend, leased, waiting };
        self.ask_store(Op::Append(Box::new(pending)), StoreOp::Append(Box::new(append)));
    }

    fn may_accept(&self, source: &Name) -> Result<(), Answer> {
        if self.stopping {
            return Err(Answer::Stopping);
        }
        if self.failed || self.routing.routes.get(source).is_none_or(Vec::is_empty) {
            return Err(Answer::Unavailable);
        }
        if self.accepts.appending >= limits::APPENDS_MAX { Err(Answer::Busy) } else { Ok(()) }
    }

    fn event_of(&mut self, request: Accepting) -> Event {
        Event {
            id: self.ids.event(self.now.wall),
            source: request.source,
            method: request.method,
            path: request.path,
            query: request.query,
            headers: request.headers,
            body: request.body,
            body_sha256: request.body_sha256,
            received_at: request.received_at,
        }
    }

    pub(super) fn on_appended(&mut self, op: OpId, pending: Pending, result: Result<Appended, AppendError>) {
        self.accepts.appending -= 1;
        match result {
            Ok(Appended::Stored) => self.on_event_stored(op, pending),
            Ok(Appended::Repeat { first, received_at, differs, deliveries }) => {
                self.undo_reservations(&pending);
                if differs {
                    self.notice(Notice::RepeatDiffers { event: first });
                }
                let answer = Answer::Accepted { event: first, received_at, repeat: true, differs };
                if pending.resend && !differs && delivery::is_done(&deliveries) {
                    self.resend_then_answer(pending.ticket, answer, (first, &pending.event), &deliveries);
                } else {
                    self.redrive_then_answer(pending.ticket, answer, deliveries);
                }
            }
            Err(error) => {
                self.undo_reservations(&pending);
                let answer = match error {
                    AppendError::TooLate => Answer::Busy,
                    AppendError::Damaged => Answer::Unavailable,
                    AppendError::Full => Answer::Full,
                    AppendError::Unavailable => {
                        self.on_store_failed();
                        Answer::Unavailable
                    }
                };
                self.answer(pending.ticket, answer);
            }
        }
    }

    fn on_event_stored(&mut self, op: OpId, pending: Pending) {
        let Pending { ticket, event, leased, waiting, .. } = pending;
        let (id, received_at) = (event.id, event.received_at);
        self.answer(ticket, Answer::Accepted { event: id, received_at, repeat: false, differs: false });
        for (instance, delivery) in leased {
            self.hold_reserved(op, instance, delivery, &event);
        }
        for destination in waiting {
            self.on_arrival(&destination);
        }
    }

    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        if !cfg!(feature = "canary_ack_before_commit") {
            self.outputs.push_back(Output::Answer(ticket, answer));
        }
    }

    fn undo_reservations(&mut self, pending: &Pending) {
        for (instance, delivery) in &pending.leased {
            self.unreserve(*instance, delivery, pending.event.size());
        }
    }

    fn redrive_then_answer(&mut self, ticket: Ticket, answer: Answer, deliveries: Vec<Delivery>) {
        let ended: Vec<_> =
            deliveries.into_iter().filter(|record| matches!(record.state, State::Dead | State::Expired)).collect();
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
    pub(super) fn ttl_of(&self, record: &Delivery) -> std::time::Duration {
        self.routing.route(&record.source, &record.destination).map_or(self.routing.standard_ttl, |route| route.ttl)
    }
}
