//! What has work to do, and what is leased.

use std::collections::BTreeMap;

use relay_core::{
    delivery::Delivery,
    id::{DeliveryId, InstanceId},
    name::Name,
    storage::{DestinationDue, Due, DueAsk, Held, HeldAsk},
    time::Wall,
};

use super::{
    Core, audit,
    client::Command,
    counters::Counters,
    keys::Keys,
    reply::{Fault, Replies, Reply},
    row, rows, text,
};

/// Leases looked at for one page.
const HELD_LOOK: usize = 1_024;

/// What waits first at a destination: by its due time, and by the end of its TTL.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct First {
    pub(super) due: Option<Wall>,
    pub(super) expiry: Option<Wall>,
}

/// The earlier of two moments that need not be there.
fn earlier(one: Option<Wall>, other: Option<Wall>) -> Option<Wall> {
    one.into_iter().chain(other).min()
}

impl Core {
    /// What waits first at each destination, of all partitions.
    pub(super) async fn first_waiting(&self, counted: &[Counters]) -> Result<BTreeMap<Name, First>, Fault> {
        let mut asked = Vec::new();
        let mut of = Vec::new();
        for (keys, counters) in self.space.partitions().iter().zip(counted) {
            for (name, _) in counters.destinations.iter().filter(|(_, tally)| tally.states[..2].iter().sum::<u64>() > 0)
            {
                let cursor = counters.cursors.get(name).map_or("0-0", String::as_str);
                asked.extend([
                    first_of(keys.back(name)),
                    first_of(keys.due(name)),
                    first_of(keys.expiries(name)),
                    Command::new("XRANGE")
                        .arg(keys.ready(name))
                        .arg(format!("({cursor}"))
                        .arg("+")
                        .arg("COUNT")
                        .number(1),
                ]);
                of.push(name.clone());
            }
        }
        let mut replies = Replies::new(self.reads.ask(asked).await?);
        let mut firsts: BTreeMap<Name, First> = BTreeMap::new();
        let mut in_streams = Vec::new();
        for name in of {
            let first = firsts.entry(name.clone()).or_default();
            for _ in 0..2 {
                first.due = earlier(first.due, score_of_first(replies.next()?)?);
            }
            first.expiry = earlier(first.expiry, score_of_first(replies.next()?)?);
            for (_, id) in audit::entries(replies.next()?)? {
                in_streams.push((name.clone(), DeliveryId::from_u128(rows::id(&id)?)));
            }
        }
        let ids: Vec<DeliveryId> = in_streams.iter().map(|(_, id)| *id).collect();
        for ((name, _), due) in in_streams.into_iter().zip(self.dues(&ids).await?) {
            let first = firsts.entry(name).or_default();
            first.due = earlier(first.due, due);
        }
        Ok(firsts)
    }

    /// Due times of these, from their headers.
    async fn dues(&self, ids: &[DeliveryId]) -> Result<Vec<Option<Wall>>, Fault> {
        let get = |id: &DeliveryId| {
            let key = self.space.of_delivery(*id).delivery(*id);
            Command::new("GETRANGE").arg(key).number(row::DUE_AT).number(row::DUE_AT + text::MOMENT as i64 - 1)
        };
        let replies = self.reads.ask(ids.iter().map(get).collect()).await?;
        replies.into_iter().map(|reply| Ok(text::read_moment(&reply.bytes()?))).collect()
    }

    /// What has work to do.
    pub(super) async fn due(&self, ask: DueAsk) -> Result<Due, Fault> {
        let counted = self.counters().await?;
        let mut due = Due::default();
        for (destination, first) in self.first_waiting(&counted).await? {
            if first.due.is_none() {
                continue;
            }
            let of = counted.iter().filter_map(|counters| counters.destinations.get(&destination));
            let delivered = of.map(|tally| tally.outcomes[0]).sum();
            due.destinations.push(DestinationDue { destination, next_due: first.due, delivered });
        }
        let limit = ask.limit as usize;
        let mut asked = Vec::new();
        for (keys, counters) in self.space.some(ask.partitions).map(|(place, keys)| (keys, &counted[place])) {
            let waiting = counters.destinations.iter().filter(|(_, tally)| tally.states[..2].iter().sum::<u64>() > 0);
            asked.extend(waiting.map(|(name, _)| until(keys.expiries(name), ask.now, limit)));
        }
        due.expired = self.earliest(asked, limit, |member| member).await?;
        if let Some(by) = ask.lapsed_by {
            let leases = self.space.some(ask.partitions).map(|(_, keys)| until(keys.leases(), by, limit)).collect();
            due.lapsed = self.earliest(leases, limit, |member| &member[..member.len().min(16)]).await?;
        }
        Ok(due)
    }

    /// The earliest of several sets, by score and then by id.
    async fn earliest(
        &self,
        asked: Vec<Command>,
        limit: usize,
        id_of: impl Fn(&[u8]) -> &[u8],
    ) -> Result<Vec<Delivery>, Fault> {
        let mut found = Vec::new();
        for reply in self.reads.ask(asked).await? {
            for (member, score) in scored(reply)? {
                found.push((score, DeliveryId::from_u128(rows::id(id_of(&member))?)));
            }
        }
        found.sort_unstable();
        found.truncate(limit);
        let ids: Vec<DeliveryId> = found.into_iter().map(|(_, id)| id).collect();
        self.found(&ids).await
    }

    /// Leased deliveries behind an id. All leases there are are looked through, for they are few.
    pub(super) async fn held(&self, ask: HeldAsk) -> Result<Vec<Delivery>, Fault> {
        let all = |keys: &Keys| Command::new("ZRANGE").arg(keys.leases()).number(0).number(-1);
        let mut ids = Vec::new();
        for reply in self.reads.ask(self.space.partitions().iter().map(all).collect()).await? {
            for member in reply.many()? {
                let member = member.bytes()?;
                let (id, instance) = member.split_at_checked(16).ok_or_else(|| Fault::Damaged("a lease".into()))?;
                let instance = InstanceId::from_u128(rows::id(instance)?);
                let is_wanted = !matches!(ask.of, Held::Instance(wanted) if wanted != instance);
                let id = DeliveryId::from_u128(rows::id(id)?);
                if is_wanted && ask.after.is_none_or(|after| id > after) {
                    ids.push(id);
                }
            }
        }
        ids.sort_unstable();
        let mut held = Vec::new();
        for ids in ids.chunks(HELD_LOOK) {
            let wanted = |found: &Delivery| found.lease.is_some_and(|lease| ask.of.holds(&lease));
            held.extend(self.found(ids).await?.into_iter().filter(wanted));
            if held.len() >= ask.limit as usize {
                break;
            }
        }
        held.truncate(ask.limit as usize);
        Ok(held)
    }
}

fn first_of(set: Vec<u8>) -> Command {
    Command::new("ZRANGE").arg(set).number(0).number(0).arg("WITHSCORES")
}

/// Members until then, the earliest first.
pub(super) fn until(set: Vec<u8>, by: Wall, limit: usize) -> Command {
    let range = Command::new("ZRANGEBYSCORE").arg(set).arg("-inf").arg(text::moment(by)).arg("WITHSCORES");
    range.arg("LIMIT").number(0).number(limit as i64)
}

fn score_of_first(reply: Reply) -> Result<Option<Wall>, Fault> {
    Ok(scored(reply)?.first().map(|(_, score)| *score))
}

/// Members with their scores, which are moments.
pub(super) fn scored(reply: Reply) -> Result<Vec<(Vec<u8>, Wall)>, Fault> {
    let mut parts = reply.many()?.into_iter();
    let mut members = Vec::new();
    while let (Some(member), Some(score)) = (parts.next(), parts.next()) {
        members.push((member.bytes()?, Wall::from_micros(score.number()?)));
    }
    Ok(members)
}
