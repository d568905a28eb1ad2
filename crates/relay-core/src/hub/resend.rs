//! Resends: a repeat of what was delivered, from a platform that never tries again by itself, is somebody who pressed
//! Resend, and wants it delivered again.
//!
//! How often that was done is counted in the event's own deliveries, so that a restart does not begin anew.

use super::{Answer, Hub, NotStored, Notice, Ticket};
use crate::{
    delivery::{self, Delivery},
    event::Event,
    id::EventId,
    name::Name,
    storage::StoreError,
};

/// New deliveries of a delivered event, under way to the store.
#[derive(Debug)]
pub(super) struct Resent {
    event: EventId,
    destinations: Vec<Name>,
}

impl Hub {
    /// Makes a new delivery along each route that may have one, and answers once they are durable. Repeats that come in the
    /// meantime are the same press of the button.
    ///
    /// **Order** `repeat` has the body of `first`, all of whose `deliveries` are done.
    pub(super) fn resend_then_answer(
        &mut self,
        ticket: Ticket,
        answer: Answer,
        (first, repeat): (EventId, &Event),
        deliveries: &[Delivery],
    ) {
        if let Some(waiting) = self.accepts.resending.get_mut(&first) {
            waiting.push((ticket, answer));
            return;
        }
        let now = self.now.wall;
        let routing = std::sync::Arc::clone(&self.routing);
        let routes = routing.routes.get(&repeat.source).map_or(&[][..], Vec::as_slice);
        let mut made = Vec::new();
        for route in routes.iter().filter(|route| delivery::may_be_resent(deliveries, &route.destination, now)) {
            let id = self.ids.delivery(now);
            let ready = Delivery::ready(id, repeat, route.destination.clone(), true, now, route.ttl);
            made.push(Delivery { event: first, ..ready });
        }
        if made.is_empty() {
            if !routes.is_empty() {
                self.notice(Notice::ResentTooOften { event: first });
            }
            self.answer(ticket, answer);
            return;
        }
        self.accepts.resending.insert(first, vec![(ticket, answer)]);
        let destinations = made.iter().map(|delivery| delivery.destination.clone()).collect();
        let op = self.ops.replay(Resent { event: first, destinations }, made);
        self.ask_store(op);
    }

    /// The new deliveries are durable, or are not going to be.
    pub(super) fn on_resent(&mut self, resent: &Resent, result: Result<Vec<bool>, StoreError>) {
        let failure = match result {
            Ok(stored) => {
                self.on_resend_stored(resent, &stored);
                // The event was purged meanwhile: sent once more, it is a new one.
                stored.contains(&false).then_some(Answer::NotStored(NotStored::Gone))
            }
            Err(StoreError::Full) => Some(Answer::Full),
            // Sent once more, it finds what was stored: the new deliveries are the event's own.
            Err(_) => Some(Answer::Unavailable),
        };
        for (ticket, answer) in self.accepts.resending.remove(&resent.event).unwrap_or_default() {
            self.answer(ticket, failure.clone().unwrap_or(answer));
        }
    }

    fn on_resend_stored(&mut self, resent: &Resent, stored: &[bool]) {
        let stored: Vec<&Name> =
            resent.destinations.iter().zip(stored).filter(|(_, stored)| **stored).map(|(name, _)| name).collect();
        for destination in &stored {
            self.on_arrival(destination);
        }
        if !stored.is_empty() {
            self.notice(Notice::Resent { event: resent.event, destinations: stored.len() });
        }
    }
}
