//! Bodies: read for what is leased as there is room for them, and then put in line for their clients.

use std::sync::Arc;

use super::{
    Hub,
    held::{Held, Sent},
    parts::{ByPart, OfDelivery},
    room::{Pair, most_of},
    settle::Why,
    timers::Timer,
};
use crate::{
    delivery::Token,
    event::Event,
    fault::Retry,
    id::DeliveryId,
    limits,
    storage::{BodyOf, StoreError, StoreOp},
};

/// Bodies that are to be read.
#[derive(Debug)]
pub(super) struct Bodies {
    /// Small ones, gathered until the outputs are drained: they are read before large ones.
    small: ByPart<BodyRead>,
    /// The others.
    large: ByPart<BodyRead>,
    /// The store could not for now.
    again: Vec<BodyRead>,
}

impl Bodies {
    /// None, of a store of so many parts.
    pub(super) fn new(parts: u16) -> Self {
        Self { small: ByPart::new(parts), large: ByPart::new(parts), again: Vec::new() }
    }
}

/// A body that is read, under the lease that it is read for. It has its room whatever becomes of that.
#[derive(Debug)]
pub(super) struct BodyRead {
    pub(super) of: BodyOf,
    token: Token,
    pair: Pair,
    body: u64,
}

impl OfDelivery for BodyRead {
    fn delivery(&self) -> DeliveryId {
        self.of.delivery
    }
}

impl BodyRead {
    /// Bytes that it has room for.
    fn size(&self) -> u64 {
        most_of(self.body)
    }
}

impl Hub {
    /// A lease waits for room for its body, or is handed back if its client takes nothing any more.
    pub(super) fn wait_for_room(&mut self, id: DeliveryId) {
        let Some(held) = self.held.get(&id) else { return };
        if !self.is_granted(held) {
            return self.unwanted.push(id);
        }
        let (pair, body) = (held.pair(), held.delivery.body_bytes);
        if self.room.goes_at_once(&pair, body) {
            self.read_body(pair, id);
        } else {
            self.room.wait(&pair, id, body);
        }
    }

    /// Has the bodies read for which there is room.
    pub(super) fn fill_room(&mut self) {
        while let Some((pair, id)) = self.room.next() {
            self.read_body(pair.clone(), id);
            if !self.room.has_small_waiting(&pair) {
                self.rerank(pair.0, &pair.1);
                self.ask_soon(&pair.1);
            }
        }
    }

    /// There is room for this body.
    fn read_body(&mut self, pair: Pair, id: DeliveryId) {
        let Some(held) = self.held.get_mut(&id) else {
            debug_assert!(false, "{id} waits for room and is not held");
            return;
        };
        match &mut held.rest {
            Some(rest) => rest.reading = true,
            None => held.sent = Sent::Reading,
        }
        let of = BodyOf { delivery: id, event: held.delivery.event };
        let (token, body) = (held.delivery.token, held.delivery.body_bytes);
        self.want_body(BodyRead { of, token, pair, body });
    }

    fn want_body(&mut self, reading: BodyRead) {
        let is_large = self.room.is_large(reading.body);
        let line = if is_large { &mut self.bodies.large } else { &mut self.bodies.small };
        line.push(reading);
    }

    /// The next bodies to ask for: few enough that others are read between them.
    pub(super) fn read_bodies(&mut self) -> Option<StoreOp> {
        let (mut bytes, mut count) = (0, 0);
        let line = if self.bodies.small.is_empty() { &mut self.bodies.large } else { &mut self.bodies.small };
        let reading = line.take_while(|next| {
            (bytes, count) = (bytes + next.size(), count + 1);
            count == 1 || count <= limits::BODIES_READ_MAX && bytes <= limits::BODIES_READ_BYTES
        });
        (!reading.is_empty()).then(|| self.ops.bodies(reading))
    }

    pub(super) fn on_bodies(&mut self, reading: Vec<BodyRead>, result: Result<Vec<Option<Arc<Event>>>, StoreError>) {
        let events = match result {
            Ok(events) => events,
            Err(error) => return self.on_not_read(reading, &error),
        };
        debug_assert_eq!(reading.len(), events.len(), "one answer per body");
        for (one, event) in reading.iter().zip(events) {
            self.on_body(one, event);
        }
    }

    /// The store could not for now: they are read again before long. Where only a part of it is away, others may have the place of those
    /// that have not begun to leave: these are handed back, which is stored once that part is there.
    fn on_not_read(&mut self, reading: Vec<BodyRead>, error: &StoreError) {
        let is_away = error.retry() == Retry::Backoff && !error.wants_less();
        let hands_back = self.setup.parts > 1 && is_away;
        let has_begun = |one: &BodyRead| self.held.get(&one.of.delivery).is_some_and(|held| held.rest.is_some());
        let (given_up, again): (Vec<_>, Vec<_>) = reading.into_iter().partition(|one| hands_back && !has_begun(one));
        if self.bodies.again.is_empty() && !self.failed && !again.is_empty() {
            self.arm(limits::STORE_RETRY, Timer::Bodies);
        }
        self.bodies.again.extend(again);
        for one in &given_up {
            self.on_body(one, None);
        }
    }

    /// The timer for that went off.
    pub(super) fn on_bodies_due(&mut self) {
        for one in std::mem::take(&mut self.bodies.again) {
            if self.is_read_for(&one) {
                self.want_body(one);
            } else {
                self.room.left(&one.pair, one.body, one.size());
            }
        }
    }

    /// A body is here, or will not be: then its lease is handed back, and the store leases it no more.
    fn on_body(&mut self, one: &BodyRead, event: Option<Arc<Event>>) {
        let (id, BodyRead { pair, body, .. }) = (one.of.delivery, one);
        let stands = self.is_read_for(one);
        let is_erased = event.as_ref().is_some_and(|event| event.is_erased());
        if let Some(held) = self.held.get(&id).filter(|_| stands && is_erased) {
            let record = held.delivery.clone();
            self.room.left(pair, *body, one.size());
            self.parked.wake();
            // Made by a replay that met the erasure: its lease ends with it.
            return self.decide(id, Why::Erased, &record);
        }
        let Some(event) = event.filter(|_| stands) else {
            self.room.left(pair, *body, one.size());
            self.parked.wake();
            if stands {
                self.unwanted.push(id);
            }
            return;
        };
        let needed = event.size().min(one.size());
        self.room.came(pair, *body, needed);
        let served = self.instances.get(&pair.0).and_then(|instance| instance.served.get(&pair.1));
        let opened = served.is_some_and(|served| served.circuit.is_open());
        let Some(held) = self.held.get_mut(&id) else { return };
        (held.event, held.lined_at) = (Some((event, needed)), self.now.mono);
        let begun = held.rest.is_some();
        if !begun {
            held.sent = Sent::Queued;
        }
        // Meanwhile: nothing goes out there but a probe, and the rest of what has begun to.
        let goes = !opened || held.probe || begun;
        self.room.line_up(pair.0, needed);
        if goes {
            self.grant_or_return(id);
        } else {
            self.unwanted.push(id);
        }
        if let Some(held) = self.held.get_mut(&id) {
            held.rest = None;
        }
    }

    /// Whether the lease still stands that a body is read for.
    fn is_read_for(&self, one: &BodyRead) -> bool {
        let is_read = |held: &Held| held.sent == Sent::Reading || held.rest.is_some_and(|rest| rest.reading);
        self.held.get(&one.of.delivery).is_some_and(|held| is_read(held) && held.delivery.token == one.token)
    }
}
