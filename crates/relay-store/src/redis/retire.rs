//! What is removed, and what is forgotten by time alone.

use relay_core::{
    id::EventId,
    name::Name,
    storage::{Ended, Forget, Retire, Retired},
    time::Wall,
};

use super::{
    Core, audit,
    backlog::Urgency,
    client::Command,
    commit::ROWS_MAX,
    keys::{Key, Keys},
    reply::{Fault, Reply},
    row, rows,
    scripts::Script,
};

/// Events without a delivery, and marks, that one call forgets.
const FORGET_MAX: usize = ROWS_MAX;

impl Core {
    /// Removes what retention is over for. Of the first partitions something may be gone when a later one cannot be reached: it
    /// is passed over when it is asked for again.
    pub(super) async fn retire(&self, retire: &Retire) -> Result<Retired, Fault> {
        self.life.check()?;
        self.acknowledged.forget(&retire.ended);
        let mut retired = Retired { taken: retire.ended.len() as u32, ..Retired::default() };
        for (place, keys) in self.space.partitions().iter().enumerate() {
            let here: Vec<Ended> =
                retire.ended.iter().filter(|ended| self.space.place(ended.id.partition()) == place).copied().collect();
            let mut calls: Vec<(Counts, Command)> =
                here.chunks(ROWS_MAX).map(|chunk| (Counts::Removed, retire_call(keys, chunk))).collect();
            if self.space.is_one_of(retire.forget.partitions, place) {
                calls.extend(self.forget_calls(keys, &retire.forget, &mut retired.more).await?);
            }
            if calls.is_empty() {
                continue;
            }
            let (counts, calls): (Vec<Counts>, Vec<Command>) = calls.into_iter().unzip();
            let replies = self.commits.all(Urgency::Upkeep, calls).await;
            let replies = replies.map_err(|fault| fault.behind(retired.deliveries + retired.events > 0))?;
            for (counts, reply) in counts.into_iter().zip(replies) {
                counts.count(reply, &mut retired)?;
            }
        }
        if retire.forget.partitions.hold_first()
            && let Some(trim) = self.trim(self.space.registry_audit(), retire.forget.audit_before).await?
        {
            self.commits.one(Urgency::Upkeep, trim).await?;
        }
        Ok(retired)
    }

    /// What is over by time alone.
    async fn forget_calls(
        &self,
        keys: &Keys,
        forget: &Forget,
        more: &mut bool,
    ) -> Result<Vec<(Counts, Command)>, Fault> {
        let lone = self.lone_before(keys, forget.unrouted_before, more).await?;
        let jobs = before(keys.marks(), forget.jobs_before, FORGET_MAX);
        let jobs = self.reads.readable(vec![jobs]).await?.pop().ok_or(Fault::Away)?.many()?;
        *more |= jobs.len() == FORGET_MAX;
        let mut calls = Vec::new();
        if !lone.is_empty() || !jobs.is_empty() {
            let mut arguments = vec![lone.len().to_string().into_bytes()];
            for (id, source) in lone {
                arguments.extend([id.as_u128().to_be_bytes().to_vec(), source.as_str().as_bytes().to_vec()]);
            }
            arguments.push(jobs.len().to_string().into_bytes());
            arguments.extend(jobs.into_iter().map(Reply::bytes).collect::<Result<Vec<_>, _>>()?);
            calls.push((Counts::Events, Script::Forget.call(&keys.written(Vec::new()), arguments)));
        }
        let trim = self.trim(keys.audit(), forget.audit_before).await?;
        calls.extend(trim.map(|trim| (Counts::Nothing, trim)));
        Ok(calls)
    }

    /// Events without a delivery from before, with their sources. Those that do not read are passed over, however many they are.
    async fn lone_before(&self, keys: &Keys, at: Wall, more: &mut bool) -> Result<Vec<(EventId, Name)>, Fault> {
        let mut count = FORGET_MAX;
        loop {
            let events = self.reads.readable(vec![before(keys.lone(), at, count)]).await?;
            let events = events.into_iter().next().ok_or(Fault::Away)?.many()?;
            let is_all = events.len() < count;
            let mut ids = Vec::new();
            for event in events {
                ids.extend(rows::ids(&event.bytes()?).map(EventId::from_u128));
            }
            let mut lone = Vec::new();
            for (id, front) in ids.iter().zip(self.fronts(&ids).await?) {
                lone.extend(front.map(|front| (*id, front.head.event.source)));
            }
            if lone.len() >= FORGET_MAX || is_all {
                *more |= lone.len() >= FORGET_MAX;
                lone.truncate(FORGET_MAX);
                return Ok(lone);
            }
            count *= 2;
        }
    }

    /// Takes lines of the audit log from before, if there are any.
    async fn trim(&self, log: Key, before: Wall) -> Result<Option<Command>, Fault> {
        let oldest = Command::new("XRANGE").arg(&log).arg("-").arg("+").arg("COUNT").number(1);
        let oldest = audit::place_of_first(self.reads.one(oldest).await?)?;
        let before = before.as_millis();
        let trim = || Command::new("XTRIM").arg(&log).arg("MINID").arg(before.to_string());
        Ok(oldest.filter(|oldest| oldest.ms < before).map(|_| trim()))
    }
}

/// Those of a set that stand before a moment, in milliseconds.
fn before(key: Key, at: Wall, count: usize) -> Command {
    let range = Command::new("ZRANGEBYSCORE").arg(key).arg("-inf").arg(format!("({}", at.as_millis()));
    range.arg("LIMIT").number(0).number(count as i64)
}

/// What the answer to a call of retention counts.
enum Counts {
    Removed,
    Events,
    Nothing,
}

impl Counts {
    fn count(self, reply: Reply, retired: &mut Retired) -> Result<(), Fault> {
        match self {
            Self::Removed => {
                for answer in reply.many()? {
                    let answer = answer.number()?;
                    retired.deliveries += u64::from(answer > 0);
                    retired.events += u64::from(answer > 1);
                }
            }
            Self::Events => retired.events += reply.number()?.max(0) as u64,
            Self::Nothing => {}
        }
        Ok(())
    }
}

/// What scripts are told of removals.
pub(super) fn ended_arguments(ended: &[Ended], arguments: &mut Vec<Vec<u8>>) {
    arguments.push(ended.len().to_string().into_bytes());
    for ended in ended {
        arguments.push(ended.id.as_u128().to_be_bytes().to_vec());
        arguments.push(ended.version.to_be_bytes().to_vec());
        arguments.push(vec![row::digit(ended.state)]);
    }
}

/// Removes these.
pub(super) fn retire_call(keys: &Keys, ended: &[Ended]) -> Command {
    let mut arguments = Vec::new();
    ended_arguments(ended, &mut arguments);
    Script::Retire.call(&keys.written(Vec::new()), arguments)
}
