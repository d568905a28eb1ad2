//! Counters as shown.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use relay_core::{name::Name, storage::StoreError};

use super::{
    Core,
    check::{self, Heard},
    counters::Counters,
    node::Node,
};
use crate::{
    seam::{Memory, Stats},
    tally::{First, shown_destinations, shown_sources},
};

/// Fewer events say little about how much one takes.
const EVENTS_THAT_TELL: u64 = 1_000;

impl Core {
    /// Asks each Redis how it is, and how much memory it uses. Where it does not answer, what was heard last stands.
    pub(super) async fn look(&self) {
        join_all(self.nodes.owners().iter().map(|(node, _)| self.look_at_node(node))).await;
    }

    async fn look_at_node(&self, node: &Node) {
        let Ok(replies) = node.reads.ask(check::asks().to_vec()).await else { return };
        let mut replies = replies.into_iter();
        if let Some((info, settings)) = replies.next().zip(replies.next()) {
            let heard = Heard::new(info, settings);
            node.room.heard(&heard);
            if heard.is_replica() {
                node.primary.doubt();
            }
            node.standing.heard(&heard, &self.options, node.primary.steady_since());
        }
    }

    /// The counters.
    pub(super) async fn stats(&self) -> Result<Stats, StoreError> {
        self.look().await;
        let counted = self.counters().await?;
        let parts: Vec<_> = self.some_of_parts(&counted, |_| true).collect();
        let waiting = self.first_waiting(&parts).await?;
        Ok(self.shown(&self.counted().await?, &waiting))
    }

    /// What each event takes is what all of them take, with all that belongs to them.
    fn memory(&self, counters: &Counters) -> Memory {
        let (used, stored) = (self.nodes.used(), counters.sources.values().map(|tally| tally.stored).sum::<u64>());
        // What stands there anyhow is not what a few events take.
        let each = used.checked_div(stored).filter(|_| stored >= EVENTS_THAT_TELL);
        let bytes_a_day = self.pace.a_day().zip(each).map(|(a_day, each)| a_day.saturating_mul(each));
        Memory { used, bound: self.nodes.bound(), bytes_a_day }
    }

    pub(super) fn shown(&self, counters: &Counters, waiting: &BTreeMap<Name, First>) -> Stats {
        Stats {
            sources: shown_sources(&counters.sources),
            destinations: shown_destinations(&counters.destinations, |name| {
                waiting.get(name).copied().unwrap_or_default()
            }),
            disk_free_bytes: None,
            store_bytes: self.nodes.used(),
            memory: Some(self.memory(counters)),
            full: self.nodes.is_full(),
            id_floor: counters.floor.unwrap_or_default(),
            latest: counters.latest.unwrap_or_default(),
            damaged: self.damage.count(),
        }
    }
}
