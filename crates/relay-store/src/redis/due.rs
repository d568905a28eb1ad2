//! What has work to do, and what is leased.

use std::collections::{BTreeMap, BTreeSet};

use relay_core::{
    delivery::Delivery,
    id::DeliveryId,
    name::Name,
    storage::{DestinationDue, Due, DueAsk, HeldAsk, HeldOf},
    time::Wall,
};

use super::{
    Core, audit,
    client::Command,
    counters::Counters,
    keys::{Key, Keys},
    reply::{Fault, Replies, Reply},
    row, rows, text,
};
use crate::tally::First;

/// Leases looked at for one page.
const HELD_LOOK: usize = 1_024;

/// Members of a set that are read at a time, at most, where those in front of them do not read.
pub(super) const PAGE: usize = 4_096;
/// Pages that one call reads, at most: what a stranger put into a set keeps nobody for ever, nor does it fill the memory.
pub(super) const PAGES_MAX: usize = 64;

/// How far a set is read.
struct Reading<'a> {
    set: &'a Key,
    read: usize,
    /// The score of the last that was read.
    last: Wall,
    is_over: bool,
}

impl<'a> Reading<'a> {
    fn new(set: &'a Key) -> Self {
        Self { set, read: 0, last: Wall::MIN, is_over: false }
    }

    /// What was read of it, of so many that were asked for: deliveries with their scores.
    fn take(&mut self, members: Vec<(Vec<u8>, Wall)>, asked: usize) -> impl Iterator<Item = (Wall, DeliveryId)> {
        self.read += members.len();
        self.last = members.last().map_or(self.last, |(_, score)| *score);
        self.is_over = members.len() < asked;
        let id = |member: &[u8]| rows::ids(member).next().map(DeliveryId::from_u128);
        members.into_iter().filter_map(move |(member, score)| Some((score, id(&member)?)))
    }
}

/// The earlier of two moments that need not be there.
fn earlier(one: Option<Wall>, other: Option<Wall>) -> Option<Wall> {
    one.into_iter().chain(other).min()
}

impl Core {
    /// Some partitions with what is counted there.
    pub(super) fn some_of_parts<'a>(
        &'a self,
        counted: &'a [Counters],
        are: impl Fn(usize) -> bool,
    ) -> impl Iterator<Item = (&'a Keys, &'a Counters)> {
        let all = self.space.partitions().iter().zip(counted).enumerate();
        all.filter(move |(place, _)| are(*place)).map(|(_, part)| part)
    }

    /// What waits first at each destination, of those partitions.
    pub(super) async fn first_waiting(&self, parts: &[(&Keys, &Counters)]) -> Result<BTreeMap<Name, First>, Fault> {
        let mut asked = Vec::new();
        let mut of = Vec::new();
        for (keys, counters) in parts {
            for name in counters.waiting() {
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
        let mut replies = Replies::new(self.nodes.readable(asked).await?);
        let mut firsts: BTreeMap<Name, First> = BTreeMap::new();
        let mut in_streams = Vec::new();
        for name in of {
            let first = firsts.entry(name.clone()).or_default();
            for _ in 0..2 {
                first.due = earlier(first.due, score_of_first(replies.next()?)?);
            }
            first.expiry = earlier(first.expiry, score_of_first(replies.next()?)?);
            for (place, id) in audit::entries(replies.next()?)? {
                let id = DeliveryId::from_u128(rows::id(&id).unwrap_or_default());
                in_streams.push((name.clone(), id, place.moment()));
            }
        }
        let ids: Vec<DeliveryId> = in_streams.iter().map(|(_, id, _)| *id).collect();
        for ((name, _, put), due) in in_streams.into_iter().zip(self.dues(&ids).await?) {
            let first = firsts.entry(name).or_default();
            // Whose row cannot be asked is looked at when it would have been due, for others wait behind it.
            first.due = earlier(first.due, due.or(Some(put)));
        }
        Ok(firsts)
    }

    /// Due times of these, from their headers.
    async fn dues(&self, ids: &[DeliveryId]) -> Result<Vec<Option<Wall>>, Fault> {
        let get = |id: &DeliveryId| {
            let key = self.space.of_delivery(*id).delivery(*id);
            Command::new("GETRANGE").arg(key).number(row::DUE_AT).number(row::DUE_AT + text::MOMENT as i64 - 1)
        };
        let replies = self.nodes.readable(ids.iter().map(get).collect()).await?;
        let moment = |reply: Reply| Ok(reply.maybe_bytes()?.and_then(|text| text::read_moment(&text)));
        replies.into_iter().map(moment).collect()
    }

    /// What has work to do.
    pub(super) async fn due(&self, ask: DueAsk) -> Result<Due, Fault> {
        self.scrubs.look_after(ask.partitions);
        // What is away waits; of all else it is told.
        let (counted, away) = self.counters_last_read().await?;
        let there: Vec<(&Keys, &Counters)> = self.some_of_parts(&counted, |place| !away.contains(&place)).collect();
        let mut due = Due::default();
        for (destination, first) in self.first_waiting(&there).await? {
            if first.due.is_none() {
                continue;
            }
            let of = counted.iter().filter_map(|counters| counters.destinations.get(&destination));
            let delivered = of.map(|tally| tally.outcomes[0]).sum();
            due.destinations.push(DestinationDue { destination, next_due: first.due, delivered });
        }
        let limit = ask.limit as usize;
        let mut asked = Vec::new();
        // What cannot be ended where it is fills no page that others wait for.
        let ends = |place: usize| !away.contains(&place) && self.nodes.takes_commits(place);
        let is_asked = |place: usize| self.space.is_one_of(ask.partitions, place) && ends(place);
        for (keys, counters) in self.some_of_parts(&counted, is_asked) {
            asked.extend(counters.waiting().map(|name| keys.expiries(name)));
        }
        due.expired = self.earliest(&asked, ask.now, limit).await?;
        if let Some(by) = ask.lapsed_by {
            let lapsed_in = self.space.some(ask.lapsed_in).filter(|(place, _)| ends(*place));
            let leases: Vec<Key> = lapsed_in.map(|(_, keys)| keys.leases()).collect();
            due.lapsed = self.earliest(&leases, by, limit).await?;
        }
        Ok(due)
    }

    /// The earliest of several sets, whose members begin with an id, by score and then by id. Those that do not read are passed over, page
    /// by page; behind [`PAGES_MAX`] of them the rest is for another call.
    async fn earliest(&self, sets: &[Key], by: Wall, limit: usize) -> Result<Vec<Delivery>, Fault> {
        let mut readings: Vec<Reading<'_>> = sets.iter().map(Reading::new).collect();
        let (mut waiting, mut found) = (BTreeSet::new(), Vec::new());
        let mut count = limit.clamp(1, PAGE);
        for _ in 0..PAGES_MAX {
            let mut open: Vec<&mut Reading<'_>> = readings.iter_mut().filter(|reading| !reading.is_over).collect();
            let asked = open.iter().map(|reading| until_behind(reading.set.clone(), by, reading.read, count)).collect();
            for (reading, reply) in open.iter_mut().zip(self.nodes.readable(asked).await?) {
                waiting.extend(reading.take(scored(reply)?, count));
            }
            // Up to there nothing comes that would be earlier.
            let known = open.iter().filter(|reading| !reading.is_over).map(|reading| reading.last).min();
            while found.len() < limit {
                let is_known = |(score, _): &&(Wall, DeliveryId)| known.is_none_or(|known| *score <= known);
                let next: Vec<_> = waiting.iter().take_while(is_known).take(limit - found.len()).copied().collect();
                if next.is_empty() {
                    break;
                }
                for one in &next {
                    waiting.remove(one);
                }
                found.extend(self.found(&next.into_iter().map(|(_, id)| id).collect::<Vec<_>>()).await?);
            }
            if found.len() >= limit || known.is_none() {
                break;
            }
            count = (2 * count).min(PAGE);
        }
        Ok(found)
    }

    /// Leased deliveries behind an id. All leases there are in those partitions are looked through, for they are few.
    pub(super) async fn held(&self, ask: HeldAsk) -> Result<Vec<Delivery>, Fault> {
        let all = |keys: &Keys| Command::new("ZRANGE").arg(keys.leases()).number(0).number(-1);
        let mut ids = Vec::new();
        let wanted = self.space.some(ask.partitions).map(|(_, keys)| all(keys));
        for reply in self.nodes.readable(wanted.collect()).await? {
            for member in reply.many()? {
                let member = member.bytes()?;
                let mut parts = rows::ids(&member);
                let (Some(id), Some(instance)) = (parts.next(), parts.next()) else { continue };
                let is_wanted = !matches!(ask.of, HeldOf::Instance(wanted) if wanted.as_u128() != instance);
                let id = DeliveryId::from_u128(id);
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

/// Members until then, the earliest first, behind so many.
pub(super) fn until_behind(set: Vec<u8>, by: Wall, behind: usize, limit: usize) -> Command {
    let range = Command::new("ZRANGEBYSCORE").arg(set).arg("-inf").arg(text::moment(by)).arg("WITHSCORES");
    range.arg("LIMIT").number(behind as i64).number(limit as i64)
}

fn score_of_first(reply: Reply) -> Result<Option<Wall>, Fault> {
    Ok(scored(reply)?.first().map(|(_, score)| *score))
}

/// Members with their scores, which are moments.
pub(super) fn scored(reply: Reply) -> Result<Vec<(Vec<u8>, Wall)>, Fault> {
    let mut parts = reply.many()?.into_iter();
    let mut members = Vec::new();
    while let (Some(member), Some(score)) = (parts.next(), parts.next()) {
        members.push((member.bytes()?, moment_of(&score.bytes()?)));
    }
    Ok(members)
}

/// The moment that a score says. Of one that a stranger gave (a fraction, an infinity, what no number of ours can hold) the nearest
/// that there is: it is put right by its row, and hides nothing else meanwhile.
fn moment_of(score: &[u8]) -> Wall {
    let text = std::str::from_utf8(score).unwrap_or_default();
    let whole = || text.parse::<i64>().ok();
    let rounded = || text.parse::<f64>().ok().filter(|score| !score.is_nan()).map(|score| score as i64);
    whole().or_else(rounded).map_or(Wall::MIN, Wall::from_micros).max(Wall::MIN)
}
