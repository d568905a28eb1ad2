//! Settling, steps of jobs, replays, removals: what the core decided.

use relay_core::{
    delivery::{Attempt, Delivery},
    id::{DeliveryId, EventId},
    storage::{AuditEntry, Change, Changed, Ended, Forget, Replay, Replayed, Retire, Retired, Step, Stepped},
};

use super::{
    Core, audit,
    backlog::Urgency,
    client::Command,
    commit::ROWS_MAX,
    keys::{Key, Keys},
    mark,
    place::Place,
    reply::{Fault, Replies, Reply},
    row::{self, Decided},
    rows,
    scripts::Script,
    text,
};
use crate::record;

/// Events without a delivery, and marks, that one call forgets.
const FORGET_MAX: i64 = ROWS_MAX as i64;

impl Core {
    /// Applies changes whose record is the one decided on; one answer for each.
    pub(super) async fn settle(&self, batch: Vec<Change>) -> Result<Vec<Changed>, Fault> {
        self.life.check()?;
        let mut answers: Vec<Option<Changed>> = vec![None; batch.len()];
        let mut asked = Vec::new();
        for (place, keys) in self.space.partitions().iter().enumerate() {
            let here: Vec<usize> =
                (0..batch.len()).filter(|at| self.space.place(batch[*at].next.id.partition()) == place).collect();
            let calls: Vec<Command> = here
                .chunks(ROWS_MAX)
                .map(|chunk| settle_call(keys, &chunk.iter().map(|at| &batch[*at]).collect::<Vec<_>>()))
                .collect();
            if !calls.is_empty() {
                asked.push((here, self.commits.all(Urgency::Settle, calls)));
            }
        }
        for (here, replies) in asked {
            let mut places = here.into_iter();
            for reply in replies.await? {
                for answer in reply.many()? {
                    let at = places.next().ok_or(Fault::Unknown)?;
                    answers[at] = Some(self.changed(batch[at].next.id, answer)?);
                }
            }
        }
        answers.into_iter().map(|answer| answer.ok_or(Fault::Unknown)).collect()
    }

    fn changed(&self, id: DeliveryId, answer: Reply) -> Result<Changed, Fault> {
        Ok(match answer {
            Reply::Number(1) => Changed::Applied,
            Reply::Number(_) => Changed::Conflict(None),
            stored => Changed::Conflict(self.row(id, &stored.bytes()?).map(Box::new)),
        })
    }

    /// Stores new deliveries of old events.
    pub(super) async fn replay(&self, replay: Replay, audit: &[AuditEntry]) -> Result<Replayed, Fault> {
        self.life.check()?;
        if self.room.is_full() {
            return Err(Fault::Full);
        }
        let mut answers = vec![false; replay.made.len()];
        for (place, keys) in self.space.partitions().iter().enumerate() {
            let here: Vec<usize> = (0..replay.made.len())
                .filter(|at| self.space.place(replay.made[*at].event.partition()) == place)
                .collect();
            if here.is_empty() {
                continue;
            }
            let made: Vec<&Delivery> = here.iter().map(|at| &replay.made[*at]).collect();
            let call = replay_call(keys, &made, replay.decided_on, audit);
            let mut replies = Replies::new(self.commits.one(Urgency::Other, call).await?.many()?);
            if replies.next()?.number()? == 0 {
                return Ok(Replayed::Elsewise(self.pairs(Replies::new(replies.next()?.many()?))?));
            }
            for at in here {
                answers[at] = replies.next()?.number()? != 0;
            }
        }
        Ok(Replayed::Stored(answers))
    }

    /// One step of a job, where there is one partition. Over several its mark would be in another slot than what it changes.
    pub(super) async fn step(&self, step: Step) -> Result<Stepped, Fault> {
        self.life.check()?;
        if step.adds() && self.room.is_full() {
            return Err(Fault::Full);
        }
        let home = self.space.of_job(step.job);
        let key = home.mark(step.job);
        let stored = self.reads.one(Command::new("GET").arg(&key)).await?.maybe_bytes()?;
        let before = self.damage.told(&step.job, mark::read(step.job, stored.as_deref()))?;
        if before.steps != step.before {
            return Ok(Stepped::Elsewhere(before));
        }
        let reply = self.commits.one(Urgency::Upkeep, step_call(home, &key, &step, &before)).await?;
        let mut replies = Replies::new(reply.many()?);
        if replies.next()?.number()? == 0 {
            let stored = replies.next()?.bytes()?;
            let stored = Some(&stored[..]).filter(|stored| !stored.is_empty());
            return Ok(Stepped::Elsewhere(self.damage.told(&step.job, mark::read(step.job, stored))?));
        }
        let changed = replies.next()?.number()?.max(0) as u64;
        let mark = step.mark(&before, changed.saturating_sub(before.changed));
        let changes = step.settle.iter().zip(replies.next()?.many()?);
        let settled = changes.map(|(change, answer)| self.changed(change.next.id, answer)).collect::<Result<_, _>>()?;
        let done = |reply: Reply| -> Result<Vec<bool>, Fault> {
            reply.many()?.into_iter().map(|answer| Ok(answer.number()? != 0)).collect()
        };
        Ok(Stepped::Done { mark, settled, retired: done(replies.next()?)?, made: done(replies.next()?)? })
    }

    /// Removes what retention is over for. Of the first partitions something may be gone when a later one cannot be reached: it
    /// is passed over when it is asked for again.
    pub(super) async fn retire(&self, retire: &Retire) -> Result<Retired, Fault> {
        self.life.check()?;
        let mut retired = Retired { taken: retire.ended.len() as u32, ..Retired::default() };
        for (place, keys) in self.space.partitions().iter().enumerate() {
            let here: Vec<Ended> =
                retire.ended.iter().filter(|ended| self.space.place(ended.id.partition()) == place).copied().collect();
            let mut calls: Vec<(Counts, Command)> =
                here.chunks(ROWS_MAX).map(|chunk| (Counts::Removed, retire_call(keys, chunk))).collect();
            calls.extend(self.forget_calls(keys, &retire.forget, &mut retired.more).await?);
            if calls.is_empty() {
                continue;
            }
            let (counts, calls): (Vec<Counts>, Vec<Command>) = calls.into_iter().unzip();
            for (counts, reply) in counts.into_iter().zip(self.commits.all(Urgency::Upkeep, calls).await?) {
                counts.count(reply, &mut retired)?;
            }
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
        let before = |key: Key, at: u64| {
            let range = Command::new("ZRANGEBYSCORE").arg(key).arg("-inf").arg(format!("({at}"));
            range.arg("LIMIT").number(0).number(FORGET_MAX)
        };
        let asked = vec![
            before(keys.lone(), forget.unrouted_before.as_millis()),
            before(keys.marks(), forget.jobs_before.as_millis()),
            Command::new("XRANGE").arg(keys.audit()).arg("-").arg("+").arg("COUNT").number(1),
        ];
        let mut replies = Replies::new(self.reads.ask(asked).await?);
        let (events, jobs) = (replies.next()?.many()?, replies.next()?.many()?);
        *more |= events.len() as i64 == FORGET_MAX || jobs.len() as i64 == FORGET_MAX;
        let mut ids = Vec::new();
        for event in events {
            ids.push(EventId::from_u128(rows::id(&event.bytes()?)?));
        }
        let mut lone = Vec::new();
        for (id, front) in ids.iter().zip(self.fronts(&ids).await?) {
            lone.extend(front.map(|front| (*id, front.head.event.source)));
        }
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
        let oldest = audit::place_of_first(replies.next()?)?;
        let audit_before = forget.audit_before.as_millis();
        if oldest.is_some_and(|oldest| oldest.ms < audit_before) {
            let trim = Command::new("XTRIM").arg(keys.audit()).arg("MINID").arg(audit_before.to_string());
            calls.push((Counts::Nothing, trim));
        }
        Ok(calls)
    }
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

fn change_arguments(change: &Change, audit: Option<AuditEntry>, arguments: &mut Vec<Vec<u8>>) {
    let Decided { state, version, fence } = Decided::on(&change.before);
    let archive = change.archive.as_ref().map(|attempt| {
        let mut out = Vec::new();
        record::encode_attempt(attempt, &mut out);
        out
    });
    let is_new = |attempt: &&Attempt| change.before.last.as_ref() != Some(*attempt);
    let tried = change.next.last.as_ref().filter(is_new);
    let (line, place) = audit.map_or_else(Default::default, |entry| (audit::write(&entry), audit::place(&entry)));
    arguments.extend([
        change.next.id.as_u128().to_be_bytes().to_vec(),
        state.to_vec(),
        version.to_vec(),
        fence.to_vec(),
        row::write(&change.next),
        archive.unwrap_or_default(),
        line,
        place.into_bytes(),
        tried.map(|attempt| (attempt.class as u8).to_string()).unwrap_or_default().into_bytes(),
        u8::from(tried.is_some_and(|attempt| attempt.number > 1)).to_string().into_bytes(),
    ]);
}

fn settle_call(keys: &Keys, changes: &[&Change]) -> Command {
    let mut arguments = vec![changes.len().to_string().into_bytes()];
    let mut destinations = Vec::new();
    for change in changes {
        change_arguments(change, AuditEntry::of_redrive(change), &mut arguments);
        destinations.push(&change.next.destination);
    }
    Script::Settle.call(&keys.written(destinations), arguments)
}

fn ended_arguments(ended: &[Ended], arguments: &mut Vec<Vec<u8>>) {
    arguments.push(ended.len().to_string().into_bytes());
    for ended in ended {
        arguments.push(ended.id.as_u128().to_be_bytes().to_vec());
        arguments.push(ended.version.to_be_bytes().to_vec());
        arguments.push(vec![row::digit(ended.state)]);
    }
}

fn retire_call(keys: &Keys, ended: &[Ended]) -> Command {
    let mut arguments = Vec::new();
    ended_arguments(ended, &mut arguments);
    Script::Retire.call(&keys.written(Vec::new()), arguments)
}

fn made_arguments(made: &[&Delivery], arguments: &mut Vec<Vec<u8>>) {
    arguments.push(made.len().to_string().into_bytes());
    for made in made {
        let id = made.id.as_u128();
        arguments.push(id.to_be_bytes().to_vec());
        arguments.push(row::write(made));
        arguments.push(Place::of_id(id).to_string().into_bytes());
        arguments.push(text::sequence(made.id.sequence()).into_bytes());
    }
}

fn replay_call(keys: &Keys, made: &[&Delivery], decided_on: Option<u32>, audit: &[AuditEntry]) -> Command {
    let mut arguments = vec![
        decided_on.map(|count| count.to_string()).unwrap_or_default().into_bytes(),
        audit.len().to_string().into_bytes(),
    ];
    for entry in audit {
        arguments.extend([audit::write(entry), audit::place(entry).into_bytes()]);
    }
    made_arguments(made, &mut arguments);
    Script::Replay.call(&keys.written(made.iter().map(|made| &made.destination).collect()), arguments)
}

fn step_call(keys: &Keys, mark_key: &Key, step: &Step, before: &relay_core::storage::Mark) -> Command {
    let (line, place) =
        step.audit.as_ref().map_or_else(Default::default, |entry| (audit::write(entry), audit::place(entry)));
    let mut arguments = vec![
        step.before.to_string().into_bytes(),
        step.job.as_u128().to_be_bytes().to_vec(),
        step.job.minted_at().as_millis().to_string().into_bytes(),
        mark::write(step.job, &step.mark(before, 0)),
        line,
        place.into_bytes(),
        step.settle.len().to_string().into_bytes(),
    ];
    for change in &step.settle {
        change_arguments(change, None, &mut arguments);
    }
    ended_arguments(&step.retire, &mut arguments);
    made_arguments(&step.make.iter().collect::<Vec<_>>(), &mut arguments);
    let settled = step.settle.iter().map(|change| &change.next.destination);
    let mut written = keys.written(settled.chain(step.make.iter().map(|made| &made.destination)).collect());
    written.insert(2, mark_key.clone());
    Script::Step.call(&written, arguments)
}
