//! What is removed, and what is forgotten by time alone.
//!
//! A removal cannot be made again, and scripts compute no checksum: all that one is decided on is read and found sealed first, and
//! the script removes what still is the same.

use std::time::Duration;

use bytes::Bytes;
use relay_core::{
    id::{DeliveryId, EventId, JobId},
    name::Name,
    storage::{Ended, Forget, Retire, Retired},
    time::Wall,
};

use super::{
    Core,
    acknowledged::YOUNG,
    audit,
    backlog::Urgency,
    client::Command,
    commit::ROWS_MAX,
    due::{PAGE, PAGES_MAX},
    event::Front,
    events::Seen,
    keys::{Key, Keys},
    reply::Fault,
    row, rows,
    scripts::Script,
    text,
};

/// Events without a delivery, and marks, that one call forgets.
const FORGET_MAX: usize = ROWS_MAX;
/// So often what changed while it was looked at is looked at again.
pub(super) const LOOKS_MAX: usize = 4;

/// Whoever acknowledged it goes by another clock than what is stored: up to so much older it counts as young.
const AS_YOUNG: Duration = Duration::from_mins(5);

/// What scripts say of a removal: nothing was done, for something is other than it was read.
const AGAIN: i64 = 3;

/// A removal with all that it is decided on.
pub(super) struct Removal {
    ended: Ended,
    row: Vec<u8>,
    event: Decided,
    /// It was acknowledged so lately that whoever misses it has to be told.
    is_young: bool,
}

/// How an event was found whose delivery is to be removed.
#[derive(Clone)]
enum Decided {
    /// With this front, and these names of later deliveries. Without a front: it is gone.
    On { front: Bytes, replays: Vec<u8> },
    /// Something in front of it is damaged: it stays.
    Kept,
}

impl Core {
    /// Removes what retention is over for. Of other partitions something may be gone where one cannot be reached: it is passed over when it
    /// is asked for again. What is forgotten by time alone in a partition that is away is forgotten in a later round.
    pub(super) async fn retire(&self, retire: &Retire) -> Result<Retired, Fault> {
        self.life.check()?;
        let mut retired = Retired { taken: retire.ended.len() as u32, ..Retired::default() };
        let (mut is_begun, mut failed) = (false, None);
        for (place, keys) in self.space.partitions().iter().enumerate() {
            let here: Vec<Ended> =
                retire.ended.iter().filter(|ended| self.space.place(ended.id.partition()) == place).copied().collect();
            let forgets = self.space.is_one_of(retire.forget.partitions, place) && self.nodes.takes_commits(place);
            let done =
                self.retire_in(keys, &here, forgets.then_some(&retire.forget), &mut is_begun, &mut retired).await;
            self.goes_on_behind(done, &mut failed, is_begun)?;
        }
        if retire.forget.partitions.hold_first() && self.nodes.takes_commits(self.space.registry_place()) {
            let trimmed = self.trim_all(self.space.registry_audit(), retire.forget.audit_before).await;
            self.goes_on_behind(trimmed, &mut failed, is_begun)?;
        }
        failed.map_or(Ok(retired), |fault: Fault| Err(fault.behind(is_begun)))
    }

    /// In a cluster what fails in one partition keeps nothing in others, and is told at the end. Where one node has all of them, so it is for
    /// all.
    fn goes_on_behind(&self, done: Result<(), Fault>, failed: &mut Option<Fault>, is_begun: bool) -> Result<(), Fault> {
        match done {
            Err(fault) if !self.nodes.is_cluster() => Err(fault.behind(is_begun)),
            Err(fault) => {
                failed.get_or_insert(fault);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// The same in one partition; `is_begun`: something was done that may have changed something.
    async fn retire_in(
        &self,
        keys: &Keys,
        ended: &[Ended],
        forget: Option<&Forget>,
        is_begun: &mut bool,
        retired: &mut Retired,
    ) -> Result<(), Fault> {
        for chunk in ended.chunks(ROWS_MAX) {
            for answer in self.remove(keys, chunk).await? {
                retired.deliveries += u64::from(answer > 0);
                retired.events += u64::from(answer > 1);
            }
            *is_begun = true;
        }
        if let Some(forget) = forget {
            retired.events += self.forget(keys, forget, is_begun, &mut retired.more).await?;
            self.trim_all(keys.audit(), forget.audit_before).await?;
        }
        Ok(())
    }

    /// Removes these of one partition, 64 at most: for each 0 passed over, 1 removed, 2 its event went along.
    pub(super) async fn remove(&self, keys: &Keys, ended: &[Ended]) -> Result<Vec<i64>, Fault> {
        let mut answers = vec![0; ended.len()];
        let mut left: Vec<usize> = (0..ended.len()).collect();
        let mut is_begun = false;
        for _ in 0..LOOKS_MAX {
            let asked: Vec<Ended> = left.iter().map(|at| ended[*at]).collect();
            let removals = self.removals(&asked).await.map_err(|fault| fault.behind(is_begun))?;
            let (places, removals): (Vec<usize>, Vec<Removal>) =
                left.into_iter().zip(removals).filter_map(|(at, removal)| Some((at, removal?))).unzip();
            let mut arguments = Vec::new();
            removal_arguments(&removals, &mut arguments);
            let mut written = keys.written(Vec::new());
            written.extend(removals.iter().map(|removal| keys.attempts(removal.ended.id)));
            let call = Script::Retire.call(&written, arguments);
            let replies = self.nodes.commit(Urgency::Upkeep, call).await.map_err(|fault| fault.behind(is_begun))?;
            is_begun = true;
            left = Vec::new();
            for (at, answer) in places.into_iter().zip(replies.many()?) {
                match answer.number()? {
                    AGAIN => left.push(at),
                    answer => answers[at] = answer,
                }
            }
            self.acknowledged.forget(removed(ended, &answers));
            if left.is_empty() {
                return Ok(answers);
            }
        }
        Err(Fault::Unknown)
    }

    /// What these are decided on; `None` for those that are not so any more, or do not read: they stay.
    pub(super) async fn removals(&self, ended: &[Ended]) -> Result<Vec<Option<Removal>>, Fault> {
        let Some(first) = ended.first() else { return Ok(Vec::new()) };
        let get = |ended: &Ended| Command::new("GET").arg(self.space.of_delivery(ended.id).delivery(ended.id));
        let latest = Command::new("HGET").arg(self.space.of_delivery(first.id).counters()).arg("latest");
        let mut found = self.nodes.readable(ended.iter().map(get).chain([latest]).collect()).await?;
        // By the clock of those who store.
        let latest = found.pop().ok_or(Fault::Away)?.maybe_bytes()?;
        let latest = latest.and_then(|text| text::read_moment(text::once(&text)?));
        let mut standing = Vec::with_capacity(ended.len());
        for (ended, reply) in ended.iter().zip(found) {
            let bytes = reply.maybe_bytes()?;
            let read = bytes.and_then(|bytes| Some((self.row(ended.id, &bytes)?, bytes)));
            standing.push(read.filter(|(found, _)| ended.is_of(found)).map(|(found, bytes)| (found.event, bytes)));
        }
        let mut events: Vec<EventId> = standing.iter().flatten().map(|(event, _)| *event).collect();
        events.sort_unstable();
        events.dedup();
        let decided = self.decided(&events).await?;
        let removal = |(ended, standing): (&Ended, Option<(EventId, Vec<u8>)>)| {
            let (event, row) = standing?;
            let at = events.binary_search(&event).ok()?;
            let is_young = latest.is_none_or(|latest| latest.since(ended.id.minted_at()) < YOUNG + AS_YOUNG);
            Some(Removal { ended: *ended, row, event: decided[at].clone(), is_young })
        };
        Ok(ended.iter().zip(standing).map(removal).collect())
    }

    /// How these events are found.
    async fn decided(&self, events: &[EventId]) -> Result<Vec<Decided>, Fault> {
        let named = self.named_later(events).await?;
        let decided = |(seen, replays): (Seen<Front>, Option<Vec<u8>>)| match (seen, replays) {
            (Seen::Whole(Front { sealed, .. }), Some(replays)) => Decided::On { front: sealed, replays },
            (Seen::Gone, Some(replays)) => Decided::On { front: Bytes::new(), replays },
            (Seen::Whole(_) | Seen::Gone, None) | (Seen::Damaged, _) => Decided::Kept,
        };
        Ok(self.seen(events).await?.into_iter().zip(named).map(decided).collect())
    }

    /// Forgets what is over by time alone; gives how many events went.
    async fn forget(&self, keys: &Keys, forget: &Forget, is_begun: &mut bool, more: &mut bool) -> Result<u64, Fault> {
        let lone = self.lone_before(keys, forget.unrouted_before, more).await?;
        let jobs = self.jobs_before(keys, forget.jobs_before, more).await?;
        if lone.is_empty() && jobs.is_empty() {
            return Ok(0);
        }
        let mut arguments = vec![lone.len().to_string().into_bytes()];
        for (id, source, front) in lone {
            arguments.extend([
                id.as_u128().to_be_bytes().to_vec(),
                source.as_str().as_bytes().to_vec(),
                front.to_vec(),
            ]);
        }
        arguments.push(jobs.len().to_string().into_bytes());
        let mut written = keys.written(Vec::new());
        for job in jobs {
            arguments.push(job.as_u128().to_be_bytes().to_vec());
            written.push(keys.mark(job));
        }
        let call = Script::Forget.call(&written, arguments);
        let gone = self.nodes.commit(Urgency::Upkeep, call).await?.number()?;
        *is_begun = true;
        Ok(gone.max(0) as u64)
    }

    /// Events without a delivery from before, with their sources and fronts. Those that do not read are passed over, page by page; behind
    /// [`PAGES_MAX`] of them the rest is for another call.
    async fn lone_before(&self, keys: &Keys, at: Wall, more: &mut bool) -> Result<Vec<(EventId, Name, Bytes)>, Fault> {
        let (mut behind, mut count, mut lone) = (0, FORGET_MAX, Vec::new());
        for _ in 0..PAGES_MAX {
            let events = self.nodes.readable(vec![before(keys.lone(), at, behind, count)]).await?;
            let events = events.into_iter().next().ok_or(Fault::Away)?.many()?;
            let is_all = events.len() < count;
            behind += events.len();
            let mut ids = Vec::new();
            for event in events {
                ids.extend(rows::ids(&event.bytes()?).map(EventId::from_u128));
            }
            let later = self.named_later(&ids).await?;
            for ((id, front), later) in ids.iter().zip(self.fronts(&ids).await?).zip(later) {
                // The score is under no seal, and what has a delivery by now stands there until the next round.
                let is_lone = |front: &Front| front.deliveries.is_empty() && front.head.event.received_at < at;
                let front = front.filter(|front| is_lone(front) && later.is_some_and(|later| later.is_empty()));
                lone.extend(front.map(|front| (*id, front.head.event.source, front.sealed)));
            }
            if lone.len() >= FORGET_MAX || is_all {
                break;
            }
            count = (2 * count).min(PAGE);
        }
        *more |= lone.len() >= FORGET_MAX;
        lone.truncate(FORGET_MAX);
        Ok(lone)
    }

    /// Jobs that were begun before, by their own ids: a score is under no seal. Those that stand there too early are passed over, likewise.
    async fn jobs_before(&self, keys: &Keys, at: Wall, more: &mut bool) -> Result<Vec<JobId>, Fault> {
        let (mut behind, mut count, mut jobs) = (0, FORGET_MAX, Vec::new());
        for _ in 0..PAGES_MAX {
            let members = self.nodes.readable(vec![before(keys.marks(), at, behind, count)]).await?;
            let members = members.into_iter().next().ok_or(Fault::Away)?.many()?;
            let is_all = members.len() < count;
            behind += members.len();
            for member in members {
                let job = rows::id(&member.bytes()?).map(JobId::from_u128);
                jobs.extend(job.ok().filter(|job| job.minted_at() < at));
            }
            if jobs.len() >= FORGET_MAX || is_all {
                break;
            }
            count = (2 * count).min(PAGE);
        }
        *more |= jobs.len() >= FORGET_MAX;
        jobs.truncate(FORGET_MAX);
        Ok(jobs)
    }

    async fn trim_all(&self, log: Key, before: Wall) -> Result<(), Fault> {
        if let Some(trim) = self.trim(log, before).await? {
            self.nodes.commit(Urgency::Upkeep, trim).await?;
        }
        Ok(())
    }

    /// Takes lines of the audit log from before, if there are any.
    async fn trim(&self, log: Key, before: Wall) -> Result<Option<Command>, Fault> {
        let oldest = Command::new("XRANGE").arg(&log).arg("-").arg("+").arg("COUNT").number(1);
        let oldest = audit::place_of_first(self.nodes.one(oldest).await?)?;
        let before = before.as_millis();
        let trim = || Command::new("XTRIM").arg(&log).arg("MINID").arg(before.to_string());
        Ok(oldest.filter(|oldest| oldest.ms < before).map(|_| trim()))
    }
}

/// Those of a set that stand before a moment, in milliseconds, behind so many.
fn before(key: Key, at: Wall, behind: usize, count: usize) -> Command {
    let range = Command::new("ZRANGEBYSCORE").arg(key).arg("-inf").arg(format!("({}", at.as_millis()));
    range.arg("LIMIT").number(behind as i64).number(count as i64)
}

/// Those of them that were removed, by what the script says of each.
fn removed(ended: &[Ended], answers: &[i64]) -> impl Iterator<Item = DeliveryId> {
    ended.iter().zip(answers).filter(|(_, answer)| **answer > 0).map(|(ended, _)| ended.id)
}

/// What scripts are told of removals.
pub(super) fn removal_arguments(removals: &[Removal], arguments: &mut Vec<Vec<u8>>) {
    arguments.push(removals.len().to_string().into_bytes());
    for Removal { ended, row, event, is_young } in removals {
        arguments.push(ended.id.as_u128().to_be_bytes().to_vec());
        arguments.push(ended.version.to_be_bytes().to_vec());
        arguments.push(vec![row::digit(ended.state)]);
        arguments.push(row.clone());
        arguments.extend(match event {
            Decided::On { front, replays } => [b"w".to_vec(), front.to_vec(), replays.clone()],
            Decided::Kept => [b"k".to_vec(), Vec::new(), Vec::new()],
        });
        arguments.push(u8::from(*is_young).to_string().into_bytes());
    }
}
