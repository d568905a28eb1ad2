//! What the newest rows of a partition say, where its counters do not read: which ids were minted, and when something happened last.
//!
//! **Invariant:** only what reads counts: an entry of an index, or a header, may name a moment decades ahead.

use std::collections::BTreeSet;

use relay_core::{
    delivery::Delivery,
    id::{DeliveryId, EventId},
};

use super::{
    Core,
    client::Command,
    counters::Counters,
    keys::{Key, Keys},
    reply::{Fault, Reply},
    rows,
};

/// So many of each index are looked at: some may not read.
const EACH: i64 = 8;
/// Rows that are read at once.
const CHUNK: usize = 256;

impl Core {
    /// Counters of one partition; where they do not all read, with what the newest rows say.
    pub(super) async fn counters_of(&self, place: usize) -> Result<Counters, Fault> {
        let keys = &self.space.partitions()[place];
        let mut counters = Counters::read(self.nodes.one(Command::new("HGETALL").arg(keys.counters())).await?)?;
        if !counters.are_whole() {
            self.newest(place, &mut counters).await?;
        }
        Ok(counters)
    }

    /// Raises highest sequence and latest moment to what the newest rows say of the sources and destinations that these counters know.
    pub(super) async fn newest(&self, place: usize, counters: &mut Counters) -> Result<(), Fault> {
        let keys = &self.space.partitions()[place];
        let events = self.newest_in(of_sources(keys, counters)).await?;
        let deliveries = self.newest_in(of_destinations(keys, counters)).await?;
        for ids in events.chunks(CHUNK) {
            let ids: Vec<EventId> = ids.iter().copied().map(EventId::from_u128).collect();
            for front in self.fronts(&ids).await?.into_iter().flatten() {
                let event = &front.head.event;
                counters.raise(event.id.sequence(), event.received_at);
            }
        }
        for ids in deliveries.chunks(CHUNK) {
            let ids: Vec<DeliveryId> = ids.iter().copied().map(DeliveryId::from_u128).collect();
            for Delivery { id, changed_at, .. } in self.found(&ids).await? {
                counters.raise(id.sequence(), changed_at);
            }
        }
        Ok(())
    }

    /// Ids in the answers to these, each once.
    async fn newest_in(&self, asked: Vec<Command>) -> Result<Vec<u128>, Fault> {
        let mut ids = BTreeSet::new();
        for reply in self.nodes.readable(asked).await? {
            ids.extend(reply.many()?.into_iter().filter_map(id_in));
        }
        Ok(ids.into_iter().collect())
    }
}

/// The id in an entry of a stream, or in front of a member.
fn id_in(found: Reply) -> Option<u128> {
    let member = match found {
        Reply::Bytes(member) => member,
        Reply::Many(parts) => parts.into_iter().nth(1)?.many().ok()?.into_iter().nth(1)?.bytes().ok()?,
        Reply::Nil | Reply::Number(_) | Reply::Refused { .. } => return None,
    };
    rows::ids(&member).next()
}

fn of_sources(keys: &Keys, counters: &Counters) -> Vec<Command> {
    counters.sources.keys().map(|name| last_entries(keys.source(name))).collect()
}

fn of_destinations(keys: &Keys, counters: &Counters) -> Vec<Command> {
    let mut asked = vec![last_members(keys.leases())];
    for name in counters.destinations.keys() {
        asked.extend([keys.log(name), keys.ready(name), keys.done(name)].map(last_entries));
        asked.extend([keys.made(name), keys.back(name), keys.due(name), keys.ended(name)].map(last_members));
    }
    asked
}

fn last_entries(stream: Key) -> Command {
    Command::new("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").number(EACH)
}

fn last_members(set: Key) -> Command {
    Command::new("ZRANGE").arg(set).number(0).number(EACH - 1).arg("REV")
}
