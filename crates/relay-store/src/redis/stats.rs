//! Counters as shown.

use std::collections::BTreeMap;

use relay_core::{name::Name, storage::StoreError};

use super::{Core, client::Command, counters::Counters, due::First};
use crate::seam::{DestinationStats, SourceStats, Stats};

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

    pub(super) fn shown(&self, counters: &Counters, waiting: &BTreeMap<Name, First>) -> Stats {
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
                lost: tally.lost,
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
}
