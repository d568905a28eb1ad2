//! Steps of jobs.

use std::mem::take;

use relay_core::{
    id::Partition,
    storage::{Changed, Mark, Replay, Replayed, Step, Stepped},
};

use super::{
    Core, audit,
    backlog::Urgency,
    client::Command,
    keys::Keys,
    mark,
    replay::made_arguments,
    reply::{Fault, Replies, Reply},
    retire::{LOOKS_MAX, Removal, removal_arguments},
    scripts::Script,
    settle::{change_arguments, redriven},
};
use crate::cipher::Ciphers;

impl Core {
    /// One step of a job: whole or not at all, where all of it is in the partition of its mark.
    pub(super) async fn step(&self, step: Step) -> Result<Stepped, Fault> {
        self.life.check()?;
        if step.adds() && self.nodes.is_full() {
            return Err(Fault::Full);
        }
        let home = self.space.of_job(step.job);
        let key = home.mark(step.job);
        let stored = self.nodes.one(Command::new("GET").arg(&key)).await?.maybe_bytes()?;
        let before = self.damage.told(&step.job, mark::read(step.job, stored.as_deref()))?;
        if before.steps != step.before {
            self.confirm([step.job.partition()]).await?;
            return Ok(Stepped::Elsewhere(before));
        }
        let here = |event: Partition| self.space.place(event) == self.space.place(step.job.partition());
        if step.settle.iter().all(|change| here(change.next.id.partition()))
            && step.retire.iter().all(|ended| here(ended.id.partition()))
            && step.make.iter().all(|made| here(made.event.partition()))
            && step.erase.is_empty()
        {
            return self.step_here(home, &step, (&before, stored.as_deref().unwrap_or_default()), 0).await;
        }
        let stored = stored.unwrap_or_default();
        self.step_apart(step, (&before, &stored)).await
    }

    /// A step in one partition. Where something that it removes has changed since it was read, that is read again, and nothing is done.
    async fn step_here(
        &self,
        home: &Keys,
        step: &Step,
        (before, stored): (&Mark, &[u8]),
        elsewhere: usize,
    ) -> Result<Stepped, Fault> {
        for _ in 0..LOOKS_MAX {
            let removals = self.removals(&step.retire).await?;
            let is_there: Vec<bool> = removals.iter().map(Option::is_some).collect();
            let removals: Vec<Removal> = removals.into_iter().flatten().collect();
            let call = step_call(home, step, (before, stored), &removals, self.ciphers(), elsewhere);
            let reply = self.nodes.commit(Urgency::Upkeep, call).await?;
            if let Some(stepped) = self.stepped(step, before, &is_there, reply)? {
                self.hints.made_due(&mut redriven(&step.settle).chain(step.make.iter().map(|made| &made.destination)));
                return Ok(stepped);
            }
        }
        Err(Fault::Away)
    }

    /// A step over several partitions: what it does first, each as for itself, then the mark. What was changed or removed before this
    /// process died is so, and not among the changes that the mark counts. Its line of the audit log comes before all of it, once more
    /// where it is asked for again: nothing is done that is not written there.
    async fn step_apart(&self, mut step: Step, (before, stored): (&Mark, &[u8])) -> Result<Stepped, Fault> {
        if let Some(line) = step.audit.take() {
            self.audit(&[line]).await?;
        }
        let (settle, retire, make) = (take(&mut step.settle), take(&mut step.retire), take(&mut step.make));
        let settled = self.apply(Urgency::Upkeep, &settle, false).await?;
        let mut retired = Vec::new();
        for ended in &retire {
            let answers = self.remove(self.space.of_delivery(ended.id), &[*ended]).await;
            let answers = answers.map_err(|fault| fault.behind(true))?;
            retired.push(answers.into_iter().next().ok_or(Fault::Unknown)? > 0);
        }
        let made = if make.is_empty() {
            Vec::new()
        } else {
            match self.replay(Replay::anyway(make), &[]).await.map_err(|fault| fault.behind(true))? {
                Replayed::Stored(made) => made,
                Replayed::Elsewise(_) => return Err(Fault::Unknown),
            }
        };
        let mut erased = Vec::with_capacity(step.erase.len());
        for event in &step.erase {
            erased.push(self.erase(*event).await.map_err(|fault| fault.behind(true))?);
        }
        let done = settled.iter().filter(|changed| **changed == Changed::Applied).count()
            + retired.iter().chain(&made).filter(|done| **done).count();
        let home = self.space.of_job(step.job);
        let done = step.changed(done, &erased) as usize;
        let stepped = self.step_here(home, &step, (before, stored), done).await;
        match stepped.map_err(|fault| fault.behind(true))? {
            Stepped::Done { mark, .. } => Ok(Stepped::Done { mark, settled, retired, made, erased }),
            elsewhere @ Stepped::Elsewhere(_) => Ok(elsewhere),
        }
    }

    /// What came of it; nothing: something is to be read again.
    fn stepped(&self, step: &Step, before: &Mark, is_there: &[bool], reply: Reply) -> Result<Option<Stepped>, Fault> {
        let mut replies = Replies::new(reply.many()?);
        match replies.next()?.number()? {
            0 => {
                let stored = replies.next()?.bytes()?;
                let stored = Some(&stored[..]).filter(|stored| !stored.is_empty());
                let mark = self.damage.told(&step.job, mark::read(step.job, stored))?;
                return Ok(Some(Stepped::Elsewhere(mark)));
            }
            2 => return Ok(None),
            _ => {}
        }
        let changed = replies.next()?.number()?.max(0) as u64;
        let mark = step.mark(before, changed.saturating_sub(before.changed));
        let changes = step.settle.iter().zip(replies.next()?.many()?);
        let settled = changes.map(|(change, answer)| self.changed(change.next.id, answer)).collect::<Result<_, _>>()?;
        let done = |reply: Reply| -> Result<Vec<bool>, Fault> {
            reply.many()?.into_iter().map(|answer| Ok(answer.number()? != 0)).collect()
        };
        let mut removed = done(replies.next()?)?.into_iter();
        let retired: Vec<bool> = is_there.iter().map(|is_there| *is_there && removed.next().unwrap_or(false)).collect();
        self.acknowledged
            .forget(step.retire.iter().zip(&retired).filter(|(_, gone)| **gone).map(|(ended, _)| ended.id));
        Ok(Some(Stepped::Done { mark, settled, retired, made: done(replies.next()?)?, erased: Vec::new() }))
    }
}

fn step_call(
    keys: &Keys,
    step: &Step,
    (before, stored): (&Mark, &[u8]),
    removals: &[Removal],
    ciphers: &Ciphers,
    elsewhere: usize,
) -> Command {
    let (line, place) =
        step.audit.as_ref().map_or_else(Default::default, |entry| (audit::write(entry), audit::place(entry)));
    let mark = step.mark(before, 0);
    let mut arguments = vec![
        stored.to_vec(),
        mark::steps(&mark),
        before.changed.to_string().into_bytes(),
        step.job.as_u128().to_be_bytes().to_vec(),
        step.job.minted_at().as_millis().to_string().into_bytes(),
        mark::write(step.job, &mark),
        elsewhere.to_string().into_bytes(),
        line,
        place.into_bytes(),
        step.settle.len().to_string().into_bytes(),
    ];
    for change in &step.settle {
        change_arguments(change, None, ciphers, &mut arguments);
    }
    removal_arguments(removals, &mut arguments);
    made_arguments(&step.make.iter().collect::<Vec<_>>(), ciphers, &mut arguments);
    let settled = step.settle.iter().map(|change| &change.next.destination);
    let mut written = keys.written(settled.chain(step.make.iter().map(|made| &made.destination)).collect());
    written.insert(2, keys.mark(step.job));
    let archived = step.settle.iter().filter(|change| change.archive.is_some()).map(|change| change.next.id);
    written.extend(archived.chain(step.retire.iter().map(|ended| ended.id)).map(|id| keys.attempts(id)));
    Script::Step.call(&written, arguments)
}
