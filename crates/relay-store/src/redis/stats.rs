//! Counters as shown.

use std::collections::BTreeMap;

use relay_core::{name::Name, storage::StoreError};

use super::{
    Core,
    check::{self, Heard},
    counters::Counters,
};
use crate::{
    seam::Stats,
    tally::{First, shown_destinations, shown_sources},
};

impl Core {
    /// Asks Redis how it is, and how much memory it uses. Where it does not answer, what was heard last stands.
    pub(super) async fn look(&self) {
        let Ok(replies) = self.reads.ask_leniently(check::asks().to_vec()).await else { return };
        let mut replies = replies.into_iter();
        if let Some((info, settings)) = replies.next().zip(replies.next()) {
            let heard = Heard::new(info, settings);
            self.room.heard(&heard);
            if heard.is_replica() {
                self.primary.doubt();
            }
            self.standing.heard(&heard, &self.options, self.primary.steady_since());
        }
    }

    /// The counters.
    pub(super) async fn stats(&self) -> Result<Stats, StoreError> {
        self.look().await;
        let waiting = self.first_waiting(&self.counters().await?).await?;
        Ok(self.shown(&self.counted().await?, &waiting))
    }

    pub(super) fn shown(&self, counters: &Counters, waiting: &BTreeMap<Name, First>) -> Stats {
        Stats {
            sources: shown_sources(&counters.sources),
            destinations: shown_destinations(&counters.destinations, |name| {
                waiting.get(name).copied().unwrap_or_default()
            }),
            disk_free_bytes: None,
            store_bytes: self.room.used(),
            full: self.room.is_full(),
            id_floor: counters.floor.unwrap_or_default(),
            latest: counters.latest.unwrap_or_default(),
            damaged: self.damage.count(),
        }
    }
}
