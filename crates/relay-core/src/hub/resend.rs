//! Repeats that make deliveries: of what was delivered, from a platform that never tries again by itself, it is somebody who
//! pressed Resend and wants it delivered again; of what was purged in part, it is that part once more.
//!
//! How often that was done is counted in the event's own deliveries, so that a restart does not begin anew.

use std::sync::Arc;

use super::{Answer, Hub, NotStored, Notice, Ticket};
use crate::{
    delivery::{self, Delivery},
    event::Event,
    id::EventId,
    name::Name,
    routing::Route,
    storage::{Replay, Replayed, StoreError},
};

/// New deliveries of an event, under way to the store.
#[derive(Debug)]
pub(super) struct Resent {
    event: EventId,
    /// What was sent.
    repeat: Arc<Event>,
    destinations: Vec<Name>,
    /// Deliveries that are left of it, of which some may have to be redriven: set where others are replaced.
    left: Option<Vec<Delivery>>,
}

impl Hub {
    /// Makes a new delivery along each route that may have one and has none under way, and answers once they are durable.
    /// Repeats that come in the meantime are the same press of the button.
    ///
    /// **Order** `repeat` has the body of `first`, which was delivered.
    pub(super) fn resend_then_answer(
        &mut self,
        ticket: Ticket,
        answer: Answer,
        (first, repeat): (EventId, &Arc<Event>),
        deliveries: &[Delivery],
    ) {
        let now = self.shared_now();
        let over = |destination: &Name| delivery::is_over(deliveries, destination);
        let may = |destination: &Name| delivery::may_be_resent(deliveries, destination, now);
        let made = self.deliveries_along(first, repeat, repeat.body.len() as u64, |name| over(name) && may(name));
        let routes = self.routing.routes.get(&repeat.source).map_or(&[][..], Vec::as_slice);
        if made.is_empty() && routes.iter().any(|route| over(&route.destination)) {
            self.notice(Notice::ResentTooOften { event: first });
        }
        self.store_then_answer((ticket, answer), (first, repeat), made, deliveries.len(), None);
    }

    /// Makes a new delivery along each route that has none left, redrives what has ended, and answers once both are durable:
    /// a purge forgets what is there, and refuses nothing that comes (I20).
    pub(super) fn replace_then_answer(
        &mut self,
        ticket: Ticket,
        answer: Answer,
        (first, repeat): (EventId, &Arc<Event>),
        left: Vec<Delivery>,
    ) {
        // The body is that of the first, whatever the repeat carries.
        let body_bytes = left.first().map_or(repeat.body.len() as u64, |left| left.body_bytes);
        let lacks = |destination: &Name| !left.iter().any(|left| left.destination == *destination);
        let made = self.deliveries_along(first, repeat, body_bytes, lacks);
        self.store_then_answer((ticket, answer), (first, repeat), made, left.len(), Some(left));
    }

    fn deliveries_along(
        &mut self,
        first: EventId,
        repeat: &Event,
        body_bytes: u64,
        wanted: impl Fn(&Name) -> bool,
    ) -> Vec<Delivery> {
        let now = self.shared_now();
        let routing = Arc::clone(&self.routing);
        let routes = routing.routes.get(&repeat.source).map_or(&[][..], Vec::as_slice);
        let make = |route: &Route| {
            let ready =
                Delivery::ready(self.ids.delivery(now), repeat, route.destination.clone(), true, now, route.ttl);
            Delivery { id: ready.id.beside(first), event: first, body_bytes, ..ready }
        };
        routes.iter().filter(|route| wanted(&route.destination)).map(make).collect()
    }

    /// Repeats that come while it is under way are answered with it. Decided on when the event had so many deliveries.
    fn store_then_answer(
        &mut self,
        (ticket, answer): (Ticket, Answer),
        (first, repeat): (EventId, &Arc<Event>),
        made: Vec<Delivery>,
        known: usize,
        left: Option<Vec<Delivery>>,
    ) {
        if let Some(waiting) = self.accepts.resending.get_mut(&first) {
            waiting.push((ticket, answer));
            return;
        }
        if made.is_empty() {
            self.redrive_then_answer(ticket, answer, left.unwrap_or_default());
            return;
        }
        self.accepts.resending.insert(first, vec![(ticket, answer)]);
        let destinations = made.iter().map(|delivery| delivery.destination.clone()).collect();
        // Canary: one press at two servers is one.
        let known = Some(known).filter(|_| !crate::canary::is("pressed_twice"));
        let decided_on = known.and_then(|known| u32::try_from(known).ok());
        let resent = Resent { event: first, repeat: Arc::clone(repeat), destinations, left };
        let op = self.ops.replay(resent, Replay { made, decided_on });
        self.ask_store(op);
    }

    /// The new deliveries are durable, or are not going to be.
    pub(super) fn on_resent(&mut self, resent: &Resent, result: Result<Replayed, StoreError>) {
        let failure = match result {
            Ok(Replayed::Elsewise(now)) => return self.decide_resend_again(resent, &now),
            Ok(Replayed::Stored(stored)) => {
                self.on_resend_stored(resent, &stored);
                // The event was purged meanwhile: sent once more, it is a new one.
                stored.contains(&false).then_some(Answer::NotStored(NotStored::Gone))
            }
            Err(error) => Some(Answer::from(&error)),
        };
        for (ticket, answer) in self.accepts.resending.remove(&resent.event).unwrap_or_default() {
            match &failure {
                Some(failure) => self.answer(ticket, failure.clone()),
                None => self.redrive_then_answer(ticket, answer, resent.left.clone().unwrap_or_default()),
            }
        }
    }

    /// Somebody else made deliveries of the event meanwhile, or removed some: it is decided on what it has now.
    fn decide_resend_again(&mut self, resent: &Resent, now: &[Delivery]) {
        let of = (resent.event, &resent.repeat);
        for (ticket, answer) in self.accepts.resending.remove(&resent.event).unwrap_or_default() {
            if resent.left.is_some() {
                self.replace_then_answer(ticket, answer, of, now.to_vec());
            } else if delivery::is_delivered(now) {
                self.resend_then_answer(ticket, answer, of, now);
            } else {
                self.redrive_then_answer(ticket, answer, now.to_vec());
            }
        }
    }

    fn on_resend_stored(&mut self, resent: &Resent, stored: &[bool]) {
        let stored: Vec<&Name> =
            resent.destinations.iter().zip(stored).filter(|(_, stored)| **stored).map(|(name, _)| name).collect();
        for destination in &stored {
            self.on_arrival(destination);
        }
        if stored.is_empty() {
            return;
        }
        let (event, destinations) = (resent.event, stored.len());
        let by_hand = resent.left.is_none();
        self.notice(if by_hand {
            Notice::Resent { event, destinations }
        } else {
            Notice::Replaced { event, destinations }
        });
    }
}
