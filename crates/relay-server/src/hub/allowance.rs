//! What one session may have waiting for the hub, so that it fills neither the queue nor a turn.

use std::sync::Arc;

use relay_core::{limits, wire::message::Message};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A session's share of the hub's queue. Whoever reads its socket waits while it is used up; nobody else does.
#[derive(Debug)]
pub(crate) struct Allowance(Arc<Semaphore>);

/// A message on its way to the hub. Its part of the allowance comes back when it is handled, or dropped.
#[derive(Debug)]
pub(crate) struct Said {
    /// The message.
    pub(crate) message: Message,
    /// What it costs to handle.
    pub(crate) weight: u32,
    /// Its part of the allowance.
    pub(super) part: Option<OwnedSemaphorePermit>,
}

impl Allowance {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(limits::SESSION_WAITING_WEIGHT as usize)))
    }

    /// Waits until the session may have this message waiting too. One that weighs more than all goes alone.
    pub(crate) async fn take(&self, message: Message) -> Said {
        let weight = message.weight();
        let most = weight.min(limits::SESSION_WAITING_WEIGHT);
        // There is nearly always enough, and then a message costs no wait.
        let part = match Arc::clone(&self.0).try_acquire_many_owned(most) {
            Ok(part) => Some(part),
            // Nobody closes it.
            Err(_) => Arc::clone(&self.0).acquire_many_owned(most).await.ok(),
        };
        Said { message, weight, part }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use relay_core::wire::message::{LeaseRef, Release};

    use super::*;

    fn release(leases: usize) -> Message {
        Message::Release(Release { leases: vec![LeaseRef::default(); leases] })
    }

    /// S11: a session has little waiting for the hub, by what it names, and its next message waits until that is handled.
    #[test]
    fn what_names_much_waits_alone() {
        let allowance = Allowance::new();
        let heavy = allowance.take(release(limits::LEASES_PER_MESSAGE)).now_or_never().expect("nothing waits yet");
        let mut next = Box::pin(allowance.take(release(0)));
        assert!(next.as_mut().now_or_never().is_none(), "all of it is taken");
        drop(heavy);
        assert!(next.as_mut().now_or_never().is_some());
        assert!(Allowance::new().take(release(0)).now_or_never().is_some(), "another session does not wait");
    }

    /// S11: and by its number, so that one session leaves room in the queue.
    #[test]
    fn many_small_messages_leave_room_for_others() {
        let allowance = Allowance::new();
        let waiting: Vec<Said> = std::iter::from_fn(|| allowance.take(release(0)).now_or_never()).collect();
        assert_eq!(waiting.len(), limits::SESSION_WAITING_WEIGHT as usize);
        assert!(waiting.len() <= crate::hub::QUEUE / 2);
    }
}
