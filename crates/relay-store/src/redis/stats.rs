//! Counters as shown.

use std::collections::BTreeMap;

use futures_util::future::{join, join_all};
use relay_core::{name::Name, storage::StoreError};

use super::{
    Core,
    backlog::Urgency,
    check::{self, Heard},
    client::Command,
    counters::Counters,
    node::Node,
    reply::Reply,
    settle::again,
};
use crate::{
    seam::Stats,
    tally::{First, shown_destinations, shown_sources},
};

impl Core {
    /// Asks each Redis how it is, and how much memory it uses. Where it does not answer, what was heard last stands.
    pub(super) async fn look(&self) {
        let (owners, others) = (self.nodes.owners(), self.nodes.unreached_without_parts());
        let looked = join_all(owners.iter().map(|(node, places)| self.look_at_node(node, places)));
        // Keys that move ahead of their slot are asked for there.
        let tried =
            join_all(others.iter().map(|node| node.reads.ask_again(vec![Command::new("INFO").arg("replication")])));
        let (_, tried) = join(looked, tried).await;
        for fault in tried.into_iter().filter_map(Result::err) {
            tracing::debug!(?fault, "a primary that has no part is not reached yet");
        }
    }

    async fn look_at_node(&self, node: &Node, places: &[usize]) {
        let mut asked = check::asks().to_vec();
        let asks_state = self.nodes.is_cluster() && node.standing.asks_state();
        asked.extend(asks_state.then(|| Command::new("CLUSTER").arg("INFO")));
        let Ok(replies) = node.reads.ask_again(asked).await else { return };
        let mut replies = replies.into_iter();
        if let Some((info, settings)) = replies.next().zip(replies.next()) {
            let heard = Heard::new(info, settings);
            node.room.heard(&heard);
            if heard.is_replica() {
                node.primary.doubt();
            }
            node.standing.heard(&heard, &self.options, node.primary.steady_since());
        }
        if let Some(Reply::Bytes(info)) = replies.next() {
            node.standing.is_down(String::from_utf8_lossy(&info).contains("cluster_state:fail"));
        }
        let partition = places.iter().find_map(|place| self.space.partitions().get(*place));
        if let Some(keys) = partition.filter(|_| self.nodes.is_cluster() && node.standing.is_in_trouble()) {
            // Nothing is leased there meanwhile, and it may be that nothing else is committed.
            let come_of = node.commits.all(Urgency::Other, vec![again(keys)]).await;
            tracing::debug!(?come_of, "whether commits come about again is tried");
        }
    }

    /// The counters; of partitions that are away, as they were last read.
    pub(super) async fn stats(&self) -> Result<Stats, StoreError> {
        self.look().await;
        let (counted, away) = self.counters_last_read().await?;
        let parts: Vec<_> = self.some_of_parts(&counted, |place| !away.contains(&place)).collect();
        let waiting = self.first_waiting(&parts).await?;
        let mut all = Counters::default();
        for (place, mut counters) in counted.into_iter().enumerate() {
            if !away.contains(&place) && !counters.are_whole() {
                self.newest(place, &mut counters).await?;
            }
            all.join(counters);
        }
        Ok(self.shown(&all, &waiting))
    }

    pub(super) fn shown(&self, counters: &Counters, waiting: &BTreeMap<Name, First>) -> Stats {
        Stats {
            sources: shown_sources(&counters.sources),
            destinations: shown_destinations(&counters.destinations, |name| {
                waiting.get(name).copied().unwrap_or_default()
            }),
            disk_free_bytes: None,
            store_bytes: self.nodes.used(),
            full: self.nodes.is_full(),
            id_floor: counters.floor.unwrap_or_default(),
            latest: counters.latest.unwrap_or_default(),
            damaged: self.damage.count(),
        }
    }
}
