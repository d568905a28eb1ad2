//! The audit's recount, for however many ask: one at a time, and the store rests in between.
//!
//! It walks everything that is stored, and whoever may look may ask for it. Who asks while one runs gets what the next one counts, as do
//! all others who came by then: what was stored before he asked is in it.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use relay_core::{
    storage::StoreError,
    time::{Mono, Wall},
};
use relay_store::seam::{Recount, Upkeep};
use tokio::{sync::Mutex, time::sleep};

use crate::{api::AuditDto, clock::Clock};

/// Between two of them the store rests as long as the one before took, and no longer than this.
const REST_MAX: Duration = Duration::from_mins(1);

/// Who counts anew.
pub(crate) struct Recounts {
    upkeep: Arc<dyn Upkeep>,
    clock: Clock,
    /// How many have asked.
    asked: AtomicU64,
    /// When the last one ended, and whether all of it agreed.
    done: std::sync::Mutex<Option<(Wall, bool)>>,
    latest: Mutex<Latest>,
}

/// The last one.
#[derive(Default)]
struct Latest {
    /// It is for those who were no later than this.
    up_to: u64,
    counted: Option<Result<Arc<Recount>, StoreError>>,
    /// When the next may begin.
    rested_at: Mono,
}

/// A walk through the store, which rests when it ends: also when nobody waits for it any more.
struct Walk<'a> {
    latest: &'a mut Latest,
    clock: Clock,
    began: Mono,
}

impl Recounts {
    pub(crate) fn new(upkeep: Arc<dyn Upkeep>, clock: Clock) -> Self {
        Self { upkeep, clock, asked: AtomicU64::new(0), done: std::sync::Mutex::default(), latest: Mutex::default() }
    }

    /// When this server last counted, and whether all of it agreed.
    pub(crate) fn done(&self) -> Option<(Wall, bool)> {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is stored, counted after this was asked for.
    ///
    /// Cancel safety: who goes away while it counts for others has the next of them begin anew, after the rest.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn recount(&self) -> Result<Arc<Recount>, StoreError> {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut latest = self.latest.lock().await;
        if let Some(counted) = latest.counted.as_ref().filter(|_| latest.up_to >= mine) {
            return counted.clone();
        }
        sleep(latest.rested_at.since(self.clock.now().mono)).await;
        let up_to = self.asked.load(Ordering::SeqCst);
        let walk = Walk { latest: &mut latest, clock: self.clock, began: self.clock.now().mono };
        let counted = self.upkeep.recount().await.map(Arc::new);
        // Within the walk: the rest is as long as all of it.
        if let Ok(counted) = &counted {
            let done = Some((self.clock.wall(), AuditDto::new(counted).ok));
            *self.done.lock().unwrap_or_else(PoisonError::into_inner) = done;
        }
        drop(walk);
        (latest.up_to, latest.counted) = (up_to, Some(counted.clone()));
        counted
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        let now = self.clock.now().mono;
        self.latest.rested_at = now + now.since(self.began).min(REST_MAX);
    }
}

#[cfg(test)]
mod tests {
    use relay_store::memory::MemoryStore;

    use super::*;

    /// However many ask at once, two are counted: one for the first, and one for all who came while that ran.
    #[tokio::test(start_paused = true)]
    async fn who_asks_together_is_answered_together() {
        let recounts = Recounts::new(Arc::new(MemoryStore::new()), Clock::start(Wall::MIN));
        let all = futures_util::future::join_all((0..100).map(|_| recounts.recount())).await;
        let mut counted: Vec<*const Recount> = all.iter().map(|one| Arc::as_ptr(one.as_ref().unwrap())).collect();
        counted.dedup();
        assert!(counted.len() <= 2, "{} counts", counted.len());
        assert!(recounts.done().is_some_and(|(_, agrees)| agrees));
        let (one, other) = (recounts.recount().await.unwrap(), recounts.recount().await.unwrap());
        assert!(!Arc::ptr_eq(&one, &other), "who comes later is counted for anew");
    }
}
