//! What the core asks for, asked of a queue.

use relay_core::storage::{AppendError, StoreAnswer, StoreOp};

use super::Queue;
use crate::Later;

/// Performs one operation of the core.
pub fn perform(queue: &dyn Queue, op: StoreOp) -> Later<StoreAnswer> {
    macro_rules! answer {
        ($kind:ident, $asked:expr) => {{
            let asked = $asked;
            Box::pin(async move { StoreAnswer::$kind(asked.await) })
        }};
    }
    match op {
        StoreOp::Append(append) => {
            let asked = queue.append(vec![*append]);
            Box::pin(async move { StoreAnswer::Append(asked.await.pop().unwrap_or(Err(AppendError::Unavailable))) })
        }
        StoreOp::Lease(ask) => answer!(Lease, queue.lease(ask)),
        StoreOp::Extend(batch) => answer!(Extend, queue.extend(batch)),
        StoreOp::Settle(batch) => answer!(Settle, queue.settle(batch)),
        StoreOp::Replay(made) => answer!(Replay, queue.replay(made, Vec::new())),
        StoreOp::Find(ids) => answer!(Find, queue.find(ids)),
        StoreOp::Due { now, limit } => answer!(Due, queue.due(now, limit)),
        StoreOp::Held { after, limit } => answer!(Held, queue.held(after, limit)),
    }
}
