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
    /// Ended deliveries that retention is over for: the heads of the streams and sets that have them by their end.
    pub(super) async fn over(&self, ask: OverAsk) -> Result<Vec<Delivery>, Fault> {
        let limit = ask.limit as usize;
        let mut asked = Vec::new();
        let counted = self.counters().await?;
        for (keys, counters) in self.space.some(ask.partitions).map(|(place, keys)| (keys, &counted[place])) {
            for destination in counters.destinations.keys() {
                let last = format!("{}", ask.delivered_before.as_millis());
                let done = Command::new("XRANGE").arg(keys.done(destination)).arg("-").arg(last);
                asked.push(done.arg("COUNT").number(limit as i64));
                asked.push(due::until(keys.ended(destination), ask.dead_before, limit));
            }
        }
        let mut replies = Replies::new(self.reads.ask(asked).await?);
        let mut ids = Vec::new();
        while !replies.is_over() {
            let done = audit::entries(replies.next()?)?.into_iter().map(|(_, id)| id);
            let ended = due::scored(replies.next()?)?.into_iter().map(|(id, _)| id);
            for id in done.chain(ended) {
                ids.push(DeliveryId::from_u128(rows::id(&id)?));
            }
        }
        let mut over = self.found(&ids).await?;
        over.retain(|found| ask.holds(found));
        over.sort_by_key(|found| found.changed_at);
        over.truncate(limit);
        Ok(over)
    }
}
