//! Indexes, compared with the rows that they are made of, and made again where they differ.

use std::time::Duration;

use relay_core::{id::EventId, time::Wall};

use super::{
    Core,
    backlog::Urgency,
    client::Command,
    commit::ROWS_MAX,
    keys::{Keys, pattern},
    place::Place,
    reply::{Fault, Replies, Reply},
    rows,
    scripts::Script,
};

/// Looked through at once.
const SCAN: i64 = 1_000;

/// A body whose script did not run for so long is nobody's: an append is asked for again for seconds only.
const ORPHAN_AFTER: Duration = Duration::from_hours(1);

/// What a comparison came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Deliveries and events that were looked at.
    pub rows: u64,
    /// Places in indexes that were missing, and are there again.
    pub mended: u64,
    /// Bodies that were set, and whose script never ran: they are gone.
    pub orphans: u64,
}

impl Core {
    /// Compares all rows with the indexes that they should stand in. It goes on beside whatever else is done.
    pub(super) async fn mend(&self) -> Result<Mended, Fault> {
        let mut all = Mended::default();
        for keys in self.space.partitions() {
            let deliveries = self.ids_below(keys.deliveries()).await?;
            for ids in deliveries.chunks(ROWS_MAX) {
                let mut arguments = vec![ids.len().to_string().into_bytes()];
                arguments.extend(ids.iter().map(|id| id.to_be_bytes().to_vec()));
                arguments.push(b"0".to_vec());
                all.join(self.mend_these(keys, ids.len(), arguments).await?);
            }
            let before = self.time().await? - ORPHAN_AFTER;
            let events = self.ids_below(keys.events()).await?;
            for ids in events.chunks(ROWS_MAX) {
                all.join(self.mend_events(keys, ids, before).await?);
            }
        }
        Ok(all)
    }

    async fn mend_events(&self, keys: &Keys, ids: &[u128], orphans_before: Wall) -> Result<Mended, Fault> {
        let ids: Vec<EventId> = ids.iter().copied().map(EventId::from_u128).collect();
        let fronts = self.fronts(&ids).await?;
        let found: Vec<_> = ids.iter().zip(fronts).filter_map(|(id, front)| Some((id.as_u128(), front?))).collect();
        let mut arguments = vec![b"0".to_vec(), found.len().to_string().into_bytes()];
        for (id, front) in &found {
            arguments.push(id.to_be_bytes().to_vec());
            arguments.push(front.head.event.source.as_str().as_bytes().to_vec());
            arguments.push(Place::of_id(*id).to_string().into_bytes());
            let is_old = EventId::from_u128(*id).minted_at() < orphans_before;
            arguments.push(u8::from(is_old).to_string().into_bytes());
        }
        self.mend_these(keys, found.len(), arguments).await
    }

    async fn mend_these(&self, keys: &Keys, rows: usize, arguments: Vec<Vec<u8>>) -> Result<Mended, Fault> {
        let call = Script::Mend.call(&keys.written(Vec::new()), arguments);
        let mut answers = Replies::new(self.commits.one(Urgency::Upkeep, call).await?.many()?);
        let mut count = || Ok::<_, Fault>(answers.next()?.number()?.max(0) as u64);
        Ok(Mended { rows: rows as u64, mended: count()?, orphans: count()? })
    }

    /// What time it is at Redis.
    async fn time(&self) -> Result<Wall, Fault> {
        let mut parts = Replies::new(self.reads.one(Command::new("TIME")).await?.many()?);
        let (seconds, micros) = (parts.next()?.number()?, parts.next()?.number()?);
        Ok(Wall::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros)))
    }

    /// Ids of all keys that begin so, in their order.
    async fn ids_below(&self, begin: Vec<u8>) -> Result<Vec<u128>, Fault> {
        let mut ids = Vec::new();
        let mut cursor = b"0".to_vec();
        loop {
            let scan = Command::new("SCAN").arg(&cursor).arg("MATCH").arg(pattern(&begin));
            let mut replies = Replies::new(self.reads.one(scan.arg("COUNT").number(SCAN)).await?.many()?);
            cursor = replies.next()?.bytes()?;
            for key in replies.next()?.many()?.into_iter().map(Reply::bytes) {
                ids.extend(key?.strip_prefix(&begin[..]).and_then(|id| rows::id(id).ok()));
            }
            if cursor == b"0" {
                break;
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }
}

impl Mended {
    fn join(&mut self, other: Self) {
        self.rows += other.rows;
        self.mended += other.mended;
        self.orphans += other.orphans;
    }
}
