//! What the core asks for, asked of a queue. Here alone an answer is made of what a store says.

use std::future::Future;

use relay_core::{
    jobs::{JobOp, JobStored, RetentionOp, RetentionStored},
    storage::{Answered, Append, AppendError, Ask, Asked, AuditEntry, Receipt, Replay, StoreOp, Stored},
};

use super::{Archive, Queue, Upkeep};
use crate::Later;

/// Performs one operation of the core.
pub fn perform(queue: &dyn Queue, op: StoreOp) -> Later<Stored> {
    match op {
        StoreOp::Append(asked) => {
            let appended = append_all(queue, vec![asked]);
            Box::pin(async move { appended.await.pop().expect("one answer for each that was asked") })
        }
        StoreOp::Lease(asked) => answer(asked, |ask| queue.lease(ask), Stored::Lease),
        StoreOp::Bodies(asked) => answer(asked, |of| queue.bodies(of), Stored::Bodies),
        StoreOp::Extend(asked) => answer(asked, |batch| queue.extend(batch), Stored::Extend),
        StoreOp::Settle(asked) => answer(asked, |batch| queue.settle(batch), Stored::Settle),
        StoreOp::Replay(asked) => {
            let resent = |replay: Replay| {
                let audit = AuditEntry::of_resend(&replay.made);
                queue.replay(replay, audit.into_iter().collect())
            };
            answer(asked, resent, Stored::Replay)
        }
        StoreOp::Find(asked) => answer(asked, |ids| queue.find(ids), Stored::Find),
        StoreOp::Due(asked) => answer(asked, |ask| queue.due(ask), Stored::Due),
        StoreOp::Held(asked) => answer(asked, |ask| queue.held(ask), Stored::Held),
        StoreOp::Presence(asked) => answer(asked, |mine| queue.presence(mine), Stored::Presence),
        StoreOp::Clock(asked) => answer(asked, |_| queue.clock(), Stored::Clock),
    }
}

/// The trades that a job needs.
#[derive(Clone, Copy)]
pub struct Trades<'a> {
    /// To read those that are named.
    pub queue: &'a dyn Queue,
    /// To read pages.
    pub archive: &'a dyn Archive,
    /// For its steps.
    pub upkeep: &'a dyn Upkeep,
}

impl<'a> Trades<'a> {
    /// All of one store.
    pub fn of(store: &'a dyn super::Store) -> Self {
        Self { queue: store, archive: store, upkeep: store }
    }
}

/// Performs one operation of a job.
pub fn perform_job(store: Trades<'_>, op: JobOp) -> Later<JobStored> {
    let Trades { queue, archive, upkeep } = store;
    match op {
        JobOp::Page(asked) => answer(asked, |ask| archive.browse_deliveries(ask.filter, ask.page), JobStored::Page),
        JobOp::Events(asked) => answer(asked, |ask| archive.browse_events(ask.filter, ask.page), JobStored::Events),
        JobOp::Find(asked) => answer(asked, |ids| queue.find(ids), JobStored::Find),
        JobOp::Step(asked) => answer(asked, |step| upkeep.step(*step), JobStored::Step),
    }
}

/// Performs one operation of retention.
pub fn perform_retention(upkeep: &dyn Upkeep, op: RetentionOp) -> Later<RetentionStored> {
    match op {
        RetentionOp::Over(asked) => answer(asked, |ask| upkeep.over(ask), RetentionStored::Over),
        RetentionOp::Retire(asked) => answer(asked, |retire| upkeep.retire(retire), RetentionStored::Retire),
    }
}

/// Performs many appends of one source together. One answer for each; a store that gives fewer has failed for the rest.
pub fn append_all(queue: &dyn Queue, asked: Vec<Asked<Box<Append>>>) -> Later<Vec<Stored>> {
    let (batch, receipts): (Vec<Append>, Vec<Receipt<Box<Append>>>) =
        asked.into_iter().map(Asked::take).map(|(append, receipt)| (*append, receipt)).unzip();
    let later = queue.append(batch);
    Box::pin(async move {
        let mut answers = later.await.into_iter();
        let mut answer = || answers.next().unwrap_or(Err(AppendError::Unavailable));
        receipts.into_iter().map(|receipt| Stored::Append(receipt.answered(answer()))).collect()
    })
}

fn answer<A: Ask + 'static, L: Future<Output = A::Answer> + Send + 'static, S: 'static>(
    asked: Asked<A>,
    ask: impl FnOnce(A) -> L,
    stored: fn(Answered<A>) -> S,
) -> Later<S> {
    let (what, receipt) = asked.take();
    let later = ask(what);
    Box::pin(async move { stored(receipt.answered(later.await)) })
}
