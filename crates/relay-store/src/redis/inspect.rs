//! Reading everything, for `store check`: each row and each event to its last byte, what is counted beside what is there, and how much
//! stands in each index. Nothing is changed but the tally of the recount; it goes on beside whatever else is done.

use std::collections::BTreeSet;

use bytes::Bytes;
use relay_core::{
    id::{DeliveryId, EventId},
    storage::{Page, StoreError},
};

use super::{
    Core, beside::Beside, client::Command, event, events::Seen, index::Kind, mend::Mended, reply::Fault, scan::At,
};
use crate::{
    record::{Head, RecordError},
    seam::{AuditFilter, DocumentKind},
    watch::Watch,
};

/// Keys that are looked for at a time.
const KEYS_AT_ONCE: i64 = 256;
/// Bodies of so many bytes are read at a time, unless a single one has more.
const BODIES_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Lines of the audit log that are read at a time.
const LINES_AT_ONCE: u32 = 1_000;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// Events.
    pub events: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// What does not read, or leads nowhere, each in words: it cannot be made again.
    pub faults: Vec<String>,
    /// What does not stand where it should, or is counted otherwise, each in words: [`mend`](super::RedisStore::mend) puts it right.
    pub apart: Vec<String>,
    /// All of it was read; else somebody asked for an early end, and what is found so far is not all there may be.
    pub is_whole: bool,
}

impl Inspected {
    /// All is as it should be, as far as all was read.
    pub fn is_healthy(&self) -> bool {
        self.is_whole && self.faults.is_empty() && self.apart.is_empty()
    }
}

impl Core {
    /// Reads all of it; ends early, with what it has by then, where that is asked for.
    pub(super) async fn inspect(&self, watch: &Watch) -> Result<Inspected, StoreError> {
        let counters = self.counted().await?;
        let events: u64 = counters.sources.values().map(|tally| tally.stored).sum();
        watch.expect(events + counters.destinations.values().flat_map(|tally| tally.states).sum::<u64>());
        let mut inspected = Inspected::default();
        let mut at = Some(At::default());
        while let Some(here) = at {
            let (next, keys) = self.scan_keys(&here, KEYS_AT_ONCE).await?;
            at = next;
            let (mut events, mut deliveries, mut others) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
            for key in keys {
                let Some(within) = self.space.partitions().iter().find_map(|keys| keys.within(&key)) else { continue };
                match Kind::of(within) {
                    Kind::Event(id) => drop(events.insert(EventId::from_u128(id))),
                    Kind::Delivery(id) => drop(deliveries.insert(DeliveryId::from_u128(id))),
                    Kind::Other => others.extend(Beside::of(within).map(|beside| (beside, key.clone()))),
                    Kind::Index(_) | Kind::Strange => {}
                }
            }
            watch.add((events.len() + deliveries.len()) as u64);
            self.inspect_deliveries(deliveries, &mut inspected).await?;
            self.inspect_events(events, &mut inspected).await?;
            self.read_beside(others).await?;
            if watch.is_stopped() {
                return Ok(self.with_damage(inspected));
            }
        }
        self.inspect_registry(watch).await?;
        self.inspect_indexes(&mut inspected).await?;
        inspected.is_whole = !watch.is_stopped();
        Ok(self.with_damage(inspected))
    }

    /// What did not read, whoever met it.
    fn with_damage(&self, mut inspected: Inspected) -> Inspected {
        inspected.faults.extend(self.damage.names());
        inspected
    }

    /// Documents of all kinds and all lines of the audit log: those that do not read are named.
    async fn inspect_registry(&self, watch: &Watch) -> Result<(), Fault> {
        for kind in DocumentKind::ALL {
            for stored in self.documents(kind).await? {
                // What does not open is named.
                self.open_or_none(stored)?;
            }
        }
        let mut page = Page { cursor: None, limit: LINES_AT_ONCE };
        while !watch.is_stopped() {
            page.cursor = self.browse_audit(&AuditFilter::default(), &page).await?.next;
            if page.cursor.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn inspect_deliveries(&self, ids: BTreeSet<DeliveryId>, inspected: &mut Inspected) -> Result<(), Fault> {
        let ids: Vec<DeliveryId> = ids.into_iter().collect();
        let found = self.found(&ids).await?;
        let exists = |event: EventId| Command::new("EXISTS").arg(self.space.of_event(event).event(event));
        let there = self.nodes.ask(found.iter().map(|found| exists(found.event)).collect()).await?;
        for (found, there) in found.iter().zip(there) {
            if there.number()? == 0 {
                inspected.faults.push(format!("{}: its event {} is gone", found.id, found.event));
            }
        }
        Ok(())
    }

    /// Front first: it says how long the body is.
    async fn inspect_events(&self, ids: BTreeSet<EventId>, inspected: &mut Inspected) -> Result<(), Fault> {
        let ids: Vec<EventId> = ids.into_iter().collect();
        let (mut group, mut bytes) = (Vec::new(), 0);
        for (id, front) in ids.iter().zip(self.seen(&ids).await?) {
            let Seen::Whole(front) = front else { continue };
            bytes += front.head.body_bytes;
            if bytes > BODIES_BYTES_MAX && !group.is_empty() {
                self.inspect_bodies(&std::mem::take(&mut group), inspected).await?;
                bytes = front.head.body_bytes;
            }
            group.push(*id);
        }
        self.inspect_bodies(&group, inspected).await
    }

    async fn inspect_bodies(&self, ids: &[EventId], inspected: &mut Inspected) -> Result<(), Fault> {
        let get = |id: &EventId| Command::new("GET").arg(self.space.of_event(*id).event(*id));
        let values = self.nodes.readable(ids.iter().map(get).collect()).await?;
        for (id, value) in ids.iter().zip(values) {
            // It may have been retired since.
            let Some(value) = value.maybe_bytes()?.map(Bytes::from) else { continue };
            let read = self.damage.passed(id, event::read(*id, &value, self.ciphers()));
            if read.is_some_and(|event| !Head::holds_digest(&event)) {
                self.damage.name(id, &RecordError::Body);
            }
            inspected.events += 1;
        }
        Ok(())
    }

    /// How much stands in each, at one moment for each partition, and which.
    async fn inspect_indexes(&self, inspected: &mut Inspected) -> Result<(), StoreError> {
        for place in 0..self.space.partitions().len() {
            let glance = self.glance(place).await.map_err(StoreError::from)?;
            let said = |(index, by): (String, i64)| match by {
                1.. => format!("partition {place}, {index}: {by} too many"),
                _ => format!("partition {place}, {index}: {} too few", -by),
            };
            inspected.apart.extend(glance.apart.into_iter().map(said));
        }
        // As many as there should be may be others than there should be.
        let Mended { mended, strays, orphans, aside, kept, .. } = self.look_through().await?;
        for (count, what) in [
            (mended, "places in indexes are missing"),
            (strays, "entries of indexes lead nowhere, or elsewhere"),
            (orphans, "bodies are nobody's"),
            (aside, "keys are of another type"),
            (kept, "keys are to expire"),
        ] {
            inspected.apart.extend((count > 0).then(|| format!("{count} {what}")));
        }
        let recount = self.recount().await?;
        let counted = |stats: &crate::seam::Stats| (stats.sources.clone(), stats.destinations.clone());
        if counted(&recount.counted) != counted(&recount.kept) {
            inspected.apart.push("counters are not what is stored: crm-relay audit says by how much".to_owned());
        }
        let states = recount.counted.destinations.iter().flat_map(|of| of.states);
        inspected.deliveries = states.sum();
        Ok(())
    }
}
