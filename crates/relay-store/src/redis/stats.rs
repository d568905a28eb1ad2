//! Counters as shown, and the recount that checks them.

use std::collections::BTreeMap;

use relay_core::{name::Name, storage::StoreError};

use super::{
    Core,
    client::Command,
    counters::Counters,
    due::First,
    listing::{Shelf, Walk},
    reply::Fault,
};
use crate::seam::{DestinationStats, Recount, SourceStats, Stats};

impl Core {
    /// Asks Redis how much memory it uses. Where it does not answer, what was heard last stands.
    pub(super) async fn look_at_room(&self) {
        if let Ok(info) = self.reads.one(Command::new("INFO").arg("memory")).await {
            self.room.heard(info);
        }
    }

    /// The counters.
    pub(super) async fn stats(&self) -> Result<Stats, StoreError> {
        self.look_at_room().await;
        let waiting = self.first_waiting(&self.counters().await?).await?;
        Ok(self.shown(&self.counted().await?, &waiting))
    }

    fn shown(&self, counters: &Counters, waiting: &BTreeMap<Name, First>) -> Stats {
        let sources = counters.sources.iter().map(|(source, tally)| SourceStats {
            source: source.clone(),
            accepted: tally.accepted,
            stored: tally.stored,
            retired: tally.retired,
            duplicates: tally.duplicates,
        });
        let destinations = counters.destinations.iter().map(|(destination, tally)| {
            let first = waiting.get(destination).copied().unwrap_or_default();
            DestinationStats {
                destination: destination.clone(),
                created: tally.created,
                states: tally.states,
                retired: tally.retired,
                lost: 0,
                outcomes: tally.outcomes,
                retried: tally.retried,
                oldest_due: first.due,
                next_expiry: first.expiry,
            }
        });
        Stats {
            sources: sources.collect(),
            destinations: destinations.collect(),
            disk_free_bytes: None,
            store_bytes: self.room.used(),
            full: self.room.is_full(),
            id_floor: counters.floor,
            latest: counters.latest,
            damaged: self.damage.count(),
        }
    }

    /// Counts what is stored, where nothing is written meanwhile. What only a counter knows (retired, duplicates, outcomes) is taken over.
    pub(super) async fn recount(&self) -> Result<Recount, StoreError> {
        let kept = self.counted().await?;
        let waiting = self.first_waiting(&self.counters().await?).await?;
        let mut counted = kept.clone();
        for tally in counted.sources.values_mut() {
            (tally.stored, tally.accepted) = (0, tally.retired);
        }
        for tally in counted.destinations.values_mut() {
            (tally.states, tally.created) = ([0; 7], tally.retired);
        }
        self.count_events(&mut counted).await?;
        self.count_deliveries(&mut counted).await?;
        self.look_at_room().await;
        let (counted, kept) = (self.shown(&counted, &waiting), self.shown(&kept, &waiting));
        Ok(Recount { counted, kept, gaps: Vec::new(), damaged: self.damage.count() })
    }

    async fn count_events(&self, counted: &mut Counters) -> Result<(), Fault> {
        for (source, tally) in &mut counted.sources {
            let shelves = self.space.partitions().iter().map(|keys| Shelf::Stream(keys.source(source))).collect();
            let mut walk = Walk::new(shelves);
            while let Some(ids) = self.next_of(&mut walk).await? {
                let there = self.events_there(&ids).await?;
                tally.stored += there;
                tally.accepted += there;
            }
        }
        Ok(())
    }

    async fn events_there(&self, ids: &[u128]) -> Result<u64, Fault> {
        let exists = |id: &u128| {
            let id = relay_core::id::EventId::from_u128(*id);
            Command::new("EXISTS").arg(self.space.of_event(id).event(id))
        };
        let replies = self.reads.ask(ids.iter().map(exists).collect()).await?;
        replies.into_iter().map(|reply| Ok(reply.number()?.max(0) as u64)).sum()
    }

    async fn count_deliveries(&self, counted: &mut Counters) -> Result<(), Fault> {
        for (destination, tally) in &mut counted.destinations {
            let shelves = self
                .space
                .partitions()
                .iter()
                .flat_map(|keys| [Shelf::Stream(keys.log(destination)), Shelf::Made(keys.made(destination))]);
            let mut walk = Walk::new(shelves.collect());
            while let Some(ids) = self.next_of(&mut walk).await? {
                let ids: Vec<_> = ids.into_iter().map(relay_core::id::DeliveryId::from_u128).collect();
                for found in self.found(&ids).await? {
                    tally.states[found.state as usize - 1] += 1;
                    tally.created += 1;
                }
            }
        }
        Ok(())
    }
}
