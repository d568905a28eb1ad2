//! What one command does past the hub, outside a [job](crate::jobs): the hub hears of it, also where nobody knows whether it was done, before
//! whoever gave the command does.
//!
//! It does not go through the hub as its own operations do: a command waits for its store for seconds, with lines of the audit log, and a hub that
//! stops has no answer of others to wait for.

use relay_core::{
    jobs::ForHub,
    storage::{AuditEntry, Replay, Replayed, Step, Stepped, StoreError},
};
use relay_store::seam::{Queue, Upkeep};

use super::{Event, Handle};
use crate::again;

impl Handle {
    /// Stores new deliveries of an old event.
    ///
    /// # Errors
    /// Those of [`again::until_answered`].
    pub(crate) async fn replay(
        &self,
        queue: &dyn Queue,
        replay: Replay,
        audit: Vec<AuditEntry>,
    ) -> Result<Replayed, StoreError> {
        let stored = again::until_answered(|_| queue.replay(replay.clone(), audit.clone())).await;
        self.hear(ForHub::of_replay(&replay), stored).await
    }

    /// Does the only step of a command.
    ///
    /// # Errors
    /// Those of [`again::until_answered`].
    pub(crate) async fn step(&self, upkeep: &dyn Upkeep, step: Step) -> Result<Stepped, StoreError> {
        let stepped = again::until_answered(|_| upkeep.step(step.clone())).await;
        // Elsewhere: it was done, and nobody said so.
        self.hear(ForHub::of_any(&step), stepped).await
    }

    /// Tells the hub of what was done, or may be.
    async fn hear<T>(&self, told: ForHub, done: Result<T, StoreError>) -> Result<T, StoreError> {
        if done.as_ref().err().is_none_or(StoreError::is_unknown) && !told.is_empty() {
            self.tell(Event::Changed(told)).await;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use relay_core::{
        delivery::{self, Delivery, State},
        id::IdMint,
        time::Wall,
    };
    use relay_store::memory::{MemoryStore, Trouble};

    use super::*;
    use crate::jobs::tests::dead;

    /// A replay whose answer is lost wakes its destination, whoever was told that nobody knows; one that was not done wakes nobody.
    #[tokio::test(start_paused = true)]
    async fn the_hub_hears_of_what_may_be_done() {
        let (store, mut mint, now) = (MemoryStore::new(), IdMint::new(0, 1), Wall::from_micros(1_000_000));
        let id = dead(&store, &mut mint, now).await;
        let ended = store.delivery(id).unwrap();
        let made = Delivery { id: mint.delivery(now).beside(ended.event), state: State::Ready, reason: None, ..ended };
        for (error, hears) in [(None, true), (Some(StoreError::Unknown), true), (Some(StoreError::Away), false)] {
            let trouble = error.clone().into_iter();
            store.set_trouble(
                trouble.flat_map(|error| [(Trouble::Replay, error.clone()), (Trouble::Step, error)]).collect(),
            );
            let (hub, mut inlet) = Handle::new();
            let replayed = hub.replay(&store, Replay::anyway(vec![made.clone()]), Vec::new()).await;
            let cancelled = delivery::cancel(&made, now + Duration::from_secs(1));
            let step = Step { before: 0, settle: vec![cancelled], ..Step::look(mint.job(now)) };
            let stepped = hub.step(&store, step).await;
            assert_eq!((replayed.err(), stepped.err()), (error.clone(), error.clone()));
            drop(hub);
            let mut heard = Vec::new();
            while let Some(Event::Changed(told)) = inlet.event().await {
                heard.push((told.touched, told.woken.len()));
            }
            let expected = [(vec![], 1), (vec![made.id], 0)];
            assert_eq!(heard, if hears { expected.to_vec() } else { Vec::new() }, "{error:?}");
        }
    }
}
