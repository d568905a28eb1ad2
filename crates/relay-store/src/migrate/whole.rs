//! An event with all that belongs to it.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::try_join_all;
use relay_core::{
    delivery::{Attempt, Delivery},
    event::Event,
    id::{DeliveryId, EventId},
    storage::{Dedupe, EventRow},
    time::Wall,
};

use super::{End, MigrateError, patiently};
use crate::{Store, cipher::Ciphers, copy::Digest, record};

/// Bodies of so many bytes are held at a time, unless a single one has more.
const BODIES_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// An event with all that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Whole {
    pub(super) event: Arc<Event>,
    pub(super) dedupe: Option<Dedupe>,
    /// In the order of their ids.
    pub(super) deliveries: Vec<Tried>,
}

/// A delivery with its attempts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tried {
    pub(super) delivery: Delivery,
    /// Those before the latest, which is in its record.
    pub(super) earlier: Vec<Attempt>,
}

/// Events with their deliveries of which bodies, attempts and keys are to be read yet.
pub(super) type Of = Vec<(EventId, Vec<Delivery>)>;

/// The rows of a page in groups, so that the bodies of each can be held.
pub(super) fn groups(rows: Vec<EventRow>) -> Vec<Of> {
    let (mut groups, mut bytes): (Vec<Of>, u64) = (Vec::new(), 0);
    for row in rows {
        bytes += row.body_bytes;
        if groups.is_empty() || bytes > BODIES_BYTES_MAX {
            groups.push(Vec::new());
            bytes = row.body_bytes;
        }
        let mut deliveries = row.deliveries;
        deliveries.sort_by_key(|delivery| delivery.id);
        groups.last_mut().expect("one was put there").push((row.event.id, deliveries));
    }
    groups
}

/// Reads them whole.
pub(super) async fn read(end: End, store: &dyn Store, of: Of) -> Result<Vec<Whole>, MigrateError> {
    let ids: Vec<EventId> = of.iter().map(|(event, _)| *event).collect();
    let keys = patiently(end, || store.keys(ids.clone())).await?;
    let wholes = of.into_iter().zip(keys).map(async |((event, deliveries), dedupe)| {
        let found = patiently(end, || store.event(event)).await?;
        let event = found.ok_or_else(|| MigrateError::Damaged(format!("{event} is listed, and does not read")))?;
        let deliveries = try_join_all(deliveries.into_iter().map(|delivery| tried(end, store, delivery))).await?;
        Ok(Whole { event, dedupe, deliveries })
    });
    try_join_all(wholes).await
}

async fn tried(end: End, store: &dyn Store, delivery: Delivery) -> Result<Tried, MigrateError> {
    let tries = u64::from(delivery.tries) + u64::from(delivery.earlier);
    let mut earlier = Vec::new();
    if tries > 1 {
        earlier = patiently(end, || store.attempts(delivery.id)).await?;
        if delivery.last.is_some() {
            earlier.pop();
        }
    }
    Ok(Tried { delivery, earlier })
}

/// Ids of one store and what they are in the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Renamed {
    pub(super) events: BTreeMap<EventId, EventId>,
    pub(super) deliveries: BTreeMap<DeliveryId, DeliveryId>,
}

impl Renamed {
    /// And these, out of their texts; what is none is of no kind that is moved.
    pub(super) fn read(&mut self, texts: &BTreeMap<String, String>) {
        for (old, new) in texts {
            match (old.parse::<EventId>(), old.parse::<DeliveryId>()) {
                (Ok(old), _) => self.events.extend(new.parse().map(|new| (old, new))),
                (_, Ok(old)) => self.deliveries.extend(new.parse().map(|new| (old, new))),
                (Err(_), Err(_)) => {}
            }
        }
    }

    /// All of them, as texts.
    pub(super) fn texts(&self) -> Vec<(String, String)> {
        let events = self.events.iter().map(|(old, new)| (old.to_string(), new.to_string()));
        let deliveries = self.deliveries.iter().map(|(old, new)| (old.to_string(), new.to_string()));
        deliveries.chain(events).collect()
    }

    pub(super) fn event(&self, id: EventId) -> EventId {
        self.events.get(&id).copied().unwrap_or(id)
    }

    pub(super) fn delivery(&self, id: DeliveryId) -> DeliveryId {
        self.deliveries.get(&id).copied().unwrap_or(id)
    }
}

impl Whole {
    /// The same under these ids.
    pub(super) fn renamed(mut self, renamed: &Renamed) -> Self {
        let id = renamed.event(self.event.id);
        if id != self.event.id {
            self.event = Arc::new(Event { id, ..Arc::unwrap_or_clone(self.event) });
        }
        for Tried { delivery, .. } in &mut self.deliveries {
            (delivery.id, delivery.event) = (renamed.delivery(delivery.id), id);
        }
        self.deliveries.sort_by_key(|tried| tried.delivery.id);
        self
    }

    /// The same at this moment: a key whose time is over by then is none.
    pub(super) fn known_at(mut self, now: Wall) -> Self {
        self.dedupe = self.dedupe.filter(|dedupe| dedupe.until > now);
        self
    }

    /// Takes all of it into a digest.
    pub(super) fn digest(&self, digest: &mut Digest) {
        let mut bytes = Vec::with_capacity(1024);
        let clear = Ciphers::default();
        record::encode_event(&self.event, 0, None, &clear, &mut bytes);
        text(self.event.source.as_str(), &mut bytes);
        if let Some(Dedupe { key, until }) = &self.dedupe {
            bytes.extend(key);
            bytes.extend(until.as_micros().to_be_bytes());
        }
        for Tried { delivery, earlier } in &self.deliveries {
            record::encode_delivery(delivery, 0, 0, &clear, &mut bytes);
            text(delivery.source.as_str(), &mut bytes);
            text(delivery.destination.as_str(), &mut bytes);
            for attempt in earlier {
                record::encode_attempt(attempt, delivery.id.sequence(), &clear, &mut bytes);
            }
        }
        digest.update(&bytes);
        digest.update(&self.event.body);
    }
}

fn text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend((text.len() as u32).to_be_bytes());
    bytes.extend(text.bytes());
}
