//! Reading events: whole, and what stands in front of their bodies.

use std::sync::Arc;

use bytes::Bytes;
use relay_core::{
    delivery::Delivery,
    event::Event,
    id::{DeliveryId, EventId},
    storage::BodyOf,
};

use super::{
    Core,
    client::Command,
    event::{self, Front, HEAD_GUESS},
    replays::{self, Replays},
    reply::{Fault, Replies},
    routed::Value,
};
use crate::record::RecordError;

/// What stands where an event should.
pub(super) enum Seen<T> {
    /// It reads.
    Whole(T),
    /// It does not, and is named.
    Damaged,
    /// Nothing does.
    Gone,
}

impl<T> Seen<T> {
    /// What reads.
    pub(super) fn whole(self) -> Option<T> {
        match self {
            Self::Whole(found) => Some(found),
            Self::Damaged | Self::Gone => None,
        }
    }
}

impl Core {
    /// One event with its body.
    pub(super) async fn event(&self, id: EventId) -> Result<Option<Arc<Event>>, Fault> {
        let get = Command::new("GET").arg(self.space.of_event(id).event(id));
        let Some(value) = self.nodes.one(get).await?.maybe_bytes()? else { return Ok(None) };
        self.damage.told(&id, event::read(id, &Bytes::from(value), self.ciphers())).map(Some)
    }

    /// Events of leased deliveries, in order; `None` for those that are gone or do not read.
    pub(super) async fn bodies(&self, of: &[BodyOf]) -> Result<Vec<Option<Arc<Event>>>, Fault> {
        let get = |of: &BodyOf| Command::new("GET").arg(self.space.of_event(of.event).event(of.event));
        let replies = self.nodes.readable(of.iter().map(get).collect()).await?;
        let mut events = Vec::with_capacity(of.len());
        for (of, reply) in of.iter().zip(replies) {
            let value = reply.maybe_bytes()?.map(Bytes::from);
            events.push(
                value.and_then(|value| self.damage.passed(&of.event, event::read(of.event, &value, self.ciphers()))),
            );
        }
        Ok(events)
    }

    /// What stands in front of the bodies of these, in order; `None` for those that are gone or do not read.
    pub(super) async fn fronts(&self, ids: &[EventId]) -> Result<Vec<Option<Front>>, Fault> {
        Ok(self.seen(ids).await?.into_iter().map(Seen::whole).collect())
    }

    /// The same, where it matters what the others are.
    pub(super) async fn seen(&self, ids: &[EventId]) -> Result<Vec<Seen<Front>>, Fault> {
        let mut fronts: Vec<Seen<Front>> = ids.iter().map(|_| Seen::Gone).collect();
        let mut wanted: Vec<(usize, usize)> = (0..ids.len()).map(|at| (at, HEAD_GUESS)).collect();
        // A head that is longer than was guessed says how long it is.
        while !wanted.is_empty() {
            let get = |(at, length): &(usize, usize)| {
                let key = self.space.of_event(ids[*at]).event(ids[*at]);
                Command::new("GETRANGE").arg(key).number(0).number(*length as i64 - 1)
            };
            let values = self.nodes.values(wanted.iter().map(get).collect()).await?;
            let mut longer = Vec::new();
            for ((at, length), value) in wanted.into_iter().zip(values) {
                let value = match value {
                    Value::Bytes(bytes) if !bytes.is_empty() => Bytes::from(bytes),
                    Value::Bytes(_) | Value::Nothing => continue,
                    Value::Strange => {
                        self.damage.name(&ids[at], &RecordError::Field("its type"));
                        fronts[at] = Seen::Damaged;
                        continue;
                    }
                };
                match self.front(ids[at], &value, length) {
                    Ok(front) => fronts[at] = front,
                    Err(needs) => longer.push((at, needs)),
                }
            }
            wanted = longer;
        }
        Ok(fronts)
    }

    /// What stands in front of a body, of so many bytes that were asked for; else how many it takes.
    fn front(&self, id: EventId, value: &Bytes, asked: usize) -> Result<Seen<Front>, usize> {
        match self.damage.passed(&id, event::read_front(id, value, self.ciphers())) {
            Some(Ok(front)) => Ok(Seen::Whole(front)),
            Some(Err(needs)) if value.len() >= asked && needs > asked => Err(needs),
            Some(Err(_)) => {
                self.damage.name(&id, &RecordError::Short);
                Ok(Seen::Damaged)
            }
            None => Ok(Seen::Damaged),
        }
    }

    /// What names deliveries that were made of an event later; what does not hold is named.
    pub(super) fn replays(&self, event: EventId, bytes: &[u8]) -> Replays {
        let found = replays::read(event, bytes);
        if let Err(error) = &found.whole {
            self.damage.name(&format_args!("what was made of {event} later"), error);
        }
        found
    }

    /// What names the later deliveries of these, in order; `None` where it does not hold, which is named.
    pub(super) async fn named_later(&self, events: &[EventId]) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let get = |event: &EventId| Command::new("GET").arg(self.space.of_event(*event).replays(*event));
        let values = self.nodes.values(events.iter().map(get).collect()).await?;
        let named = |(event, value): (&EventId, Value)| match value {
            Value::Bytes(bytes) => self.replays(*event, &bytes).whole.is_ok().then_some(bytes),
            Value::Nothing => Some(Vec::new()),
            Value::Strange => {
                self.damage.name(&format_args!("what was made of {event} later"), &RecordError::Field("its type"));
                None
            }
        };
        Ok(events.iter().zip(values).map(named).collect())
    }

    /// Ids of the deliveries of an event, those made later behind the first; some may be gone.
    pub(super) async fn ids_of(&self, event: EventId, front: &Front) -> Result<Vec<DeliveryId>, Fault> {
        let get = Command::new("GET").arg(self.space.of_event(event).replays(event));
        let later = self.nodes.readable(vec![get]).await?.pop().ok_or(Fault::Away)?.maybe_bytes()?.unwrap_or_default();
        Ok(front.deliveries.iter().copied().chain(self.replays(event, &later).ids).collect())
    }

    /// The deliveries of an event, in the order of their ids; none if it is gone.
    pub(super) async fn of_event(&self, event: EventId) -> Result<Vec<Delivery>, Fault> {
        let Some(front) = self.fronts(&[event]).await?.pop().flatten() else { return Ok(Vec::new()) };
        let mut found = self.found(&self.ids_of(event, &front).await?).await?;
        found.sort_by_key(|found| found.id);
        Ok(found)
    }

    /// The deliveries of many events, each in the order of their ids.
    pub(super) async fn of_events(&self, events: &[(EventId, Front)]) -> Result<Vec<Vec<Delivery>>, Fault> {
        let get = |(id, _): &(EventId, Front)| Command::new("GET").arg(self.space.of_event(*id).replays(*id));
        let mut later = Replies::new(self.nodes.readable(events.iter().map(get).collect()).await?);
        let mut ids: Vec<(usize, DeliveryId)> = Vec::new();
        for (at, (event, front)) in events.iter().enumerate() {
            ids.extend(front.deliveries.iter().map(|id| (at, *id)));
            let later = later.next()?.maybe_bytes()?.unwrap_or_default();
            ids.extend(self.replays(*event, &later).ids.into_iter().map(|id| (at, id)));
        }
        let wanted: Vec<DeliveryId> = ids.iter().map(|(_, id)| *id).collect();
        let mut all: Vec<Vec<Delivery>> = events.iter().map(|_| Vec::new()).collect();
        for ((at, _), found) in ids.into_iter().zip(self.find(&wanted).await?) {
            all[at].extend(found);
        }
        for of in &mut all {
            of.sort_by_key(|found| found.id);
        }
        Ok(all)
    }
}
