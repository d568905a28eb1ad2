//! What the core asks for, asked of a queue. Here alone an answer is made of what a store says.

use std::future::Future;

use relay_core::storage::{Answered, Append, AppendError, Ask, Asked, Receipt, StoreOp, Stored};

use super::{AuditEntry, Queue};
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
            let resent = |made: Vec<_>| {
                let audit = AuditEntry::of_resend(&made);
                queue.replay(made, audit.into_iter().collect())
            };
            answer(asked, resent, Stored::Replay)
        }
        StoreOp::Find(asked) => answer(asked, |ids| queue.find(ids), Stored::Find),
        StoreOp::Due(asked) => answer(asked, |ask| queue.due(ask.now, ask.limit), Stored::Due),
        StoreOp::Held(asked) => answer(asked, |ask| queue.held(ask.after, ask.limit), Stored::Held),
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

fn answer<A: Ask + 'static, L: Future<Output = A::Answer> + Send + 'static>(
    asked: Asked<A>,
    ask: impl FnOnce(A) -> L,
    stored: fn(Answered<A>) -> Stored,
) -> Later<Stored> {
    let (what, receipt) = asked.take();
    let later = ask(what);
    Box::pin(async move { stored(receipt.answered(later.await)) })
}
