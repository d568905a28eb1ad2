//! What retention is over for.

use relay_core::{delivery::Delivery, id::DeliveryId, storage::OverAsk, time::Wall};

use super::{
    Core, audit,
    client::Command,
    due,
    keys::Key,
    reply::{Fault, Replies, Reply},
    rows,
};

/// Where deliveries stand by their end.
enum Kept {
    /// Delivered or cancelled: in order of their end.
    Done,
    /// Dead or expired: by their end.
    Ended,
}

/// Those of one destination in one partition, and how far they were read.
struct EndedRows {
    kept: Kept,
    key: Key,
    /// Entry behind which it goes on, of a stream.
    behind: Option<String>,
    /// How many were read, of a set.
    read: usize,
    is_over: bool,
}

impl Core {
    /// Ended deliveries that retention is over for: the heads of the streams and sets that have them by their end. Those that do not
    /// read are passed over, however many they are. About as many are read as are asked for, however many destinations there are. Of
    /// partitions that are away, or where nothing is committed, none: there none could be removed.
    pub(super) async fn over(&self, ask: OverAsk) -> Result<Vec<Delivery>, Fault> {
        let limit = ask.limit as usize;
        let mut shelves = self.shelves_over(&ask).await?;
        let mut over: Vec<Delivery> = Vec::new();
        while over.len() < limit && shelves.iter().any(|shelf| !shelf.is_over) {
            let left = limit - over.len();
            let open = shelves.iter().filter(|shelf| !shelf.is_over).count();
            let each = left.div_ceil(open);
            let asked: Vec<&mut EndedRows> = shelves.iter_mut().filter(|shelf| !shelf.is_over).take(left).collect();
            let commands = asked.iter().map(|shelf| shelf.ask(&ask, each)).collect();
            let mut replies = Replies::new(self.nodes.readable(commands).await?);
            let mut ids = Vec::new();
            for shelf in asked {
                ids.extend(shelf.take(replies.next()?, each)?);
            }
            over.extend(self.found(&ids).await?.into_iter().filter(|found| ask.holds(found)));
        }
        over.sort_by_key(|found| found.changed_at);
        over.truncate(limit);
        Ok(over)
    }

    /// Those in which retention is over for something.
    async fn shelves_over(&self, ask: &OverAsk) -> Result<Vec<EndedRows>, Fault> {
        let (counted, away) = self.counters_last_read().await?;
        let is_asked = |place: usize| {
            self.space.is_one_of(ask.partitions, place) && !away.contains(&place) && self.nodes.takes_commits(place)
        };
        let mut shelves = Vec::new();
        for (keys, counters) in self.some_of_parts(&counted, is_asked) {
            for destination in counters.destinations.keys() {
                shelves.push(EndedRows::new(Kept::Done, keys.done(destination)));
                shelves.push(EndedRows::new(Kept::Ended, keys.ended(destination)));
            }
        }
        let first = shelves.iter().map(|shelf| shelf.ask(ask, 1)).collect();
        let mut over = Vec::new();
        for (shelf, first) in shelves.into_iter().zip(self.nodes.readable(first).await?) {
            if first.many().is_ok_and(|first| !first.is_empty()) {
                over.push(shelf);
            }
        }
        Ok(over)
    }
}

impl EndedRows {
    fn new(kept: Kept, key: Key) -> Self {
        Self { kept, key, behind: None, read: 0, is_over: false }
    }

    /// Asks for so many more of those whose time is over.
    fn ask(&self, ask: &OverAsk, count: usize) -> Command {
        match self.kept {
            Kept::Done => {
                let from = self.behind.as_ref().map_or_else(|| "-".to_owned(), |entry| format!("({entry}"));
                let range = Command::new("XRANGE").arg(&self.key).arg(from).arg(millis(ask.delivered_before));
                range.arg("COUNT").number(count as i64)
            }
            Kept::Ended => due::until_behind(self.key.clone(), ask.dead_before, self.read, count),
        }
    }

    /// What was read, of so many that were asked for. What a stranger put there is no id, and counts for how many there are.
    fn take(&mut self, reply: Reply, asked: usize) -> Result<Vec<DeliveryId>, Fault> {
        let ids: Vec<Vec<u8>> = match self.kept {
            Kept::Done => {
                let entries = audit::entries(reply)?;
                self.behind = entries.last().map(|(place, _)| place.to_string()).or(self.behind.take());
                entries.into_iter().map(|(_, id)| id).collect()
            }
            Kept::Ended => due::scored(reply)?.into_iter().map(|(id, _)| id).collect(),
        };
        self.read += ids.len();
        self.is_over = ids.len() < asked;
        Ok(ids.iter().map(|id| DeliveryId::from_u128(rows::id(id).unwrap_or_default())).collect())
    }
}

fn millis(at: Wall) -> String {
    at.as_millis().to_string()
}
