//! What retention is over for.

use relay_core::{delivery::Delivery, id::DeliveryId, storage::OverAsk};

use super::{
    Core, audit,
    client::Command,
    due,
    reply::{Fault, Replies},
    rows,
};

impl Core {
    /// Ended deliveries that retention is over for: the heads of the streams and sets that have them by their end. Those that do not
    /// read are passed over, however many they are.
    pub(super) async fn over(&self, ask: OverAsk) -> Result<Vec<Delivery>, Fault> {
        let limit = ask.limit as usize;
        let mut count = limit;
        loop {
            let heads = self.heads(&ask, count).await?;
            let is_all = heads.iter().all(|ids| ids.len() < count);
            let mut over = self.found(&heads.concat()).await?;
            over.retain(|found| ask.holds(found));
            if over.len() >= limit || is_all {
                over.sort_by_key(|found| found.changed_at);
                over.truncate(limit);
                return Ok(over);
            }
            count *= 2;
        }
    }

    /// The first of each stream and set.
    async fn heads(&self, ask: &OverAsk, count: usize) -> Result<Vec<Vec<DeliveryId>>, Fault> {
        let mut asked = Vec::new();
        let counted = self.counters().await?;
        for (keys, counters) in self.space.some(ask.partitions).map(|(place, keys)| (keys, &counted[place])) {
            for destination in counters.destinations.keys() {
                let last = format!("{}", ask.delivered_before.as_millis());
                let done = Command::new("XRANGE").arg(keys.done(destination)).arg("-").arg(last);
                asked.push(done.arg("COUNT").number(count as i64));
                asked.push(due::until(keys.ended(destination), ask.dead_before, count));
            }
        }
        let mut replies = Replies::new(self.reads.readable(asked).await?);
        let mut heads = Vec::new();
        while !replies.is_over() {
            let done = audit::entries(replies.next()?)?.into_iter().map(|(_, id)| id).collect::<Vec<_>>();
            let ended = due::scored(replies.next()?)?.into_iter().map(|(id, _)| id).collect();
            for ids in [done, ended] {
                // What a stranger put there is no id, and counts for how many there are.
                heads.push(ids.iter().map(|id| DeliveryId::from_u128(rows::id(id).unwrap_or_default())).collect());
            }
        }
        Ok(heads)
    }
}
