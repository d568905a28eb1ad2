//! A look that many want at once, and that costs something: one takes it for all.

use std::time::Duration;

use relay_core::time::Mono;
use tokio::sync::Mutex;

/// What was seen last, and until when that is good enough for whoever asks.
///
/// **Invariant:** one look is under way at a time, and who waited for it gets what it saw, however long it took and whether or not it failed.
#[derive(Debug)]
pub(crate) struct SharedLook<T> {
    fresh_for: Duration,
    /// With the moment at which it ended: who asked meanwhile has waited for just that.
    seen: Mutex<Option<(Mono, T)>>,
}

impl<T: Clone> SharedLook<T> {
    /// Nothing is seen yet; what will be is good for so long.
    pub(crate) fn fresh_for(fresh_for: Duration) -> Self {
        Self { fresh_for, seen: Mutex::new(None) }
    }

    /// What was seen lately, or what is seen now.
    ///
    /// Cancel safety: a look that nobody waits for any more ends, and is taken by the next who asks.
    pub(crate) async fn at<F: Future<Output = T>>(&self, now: impl Fn() -> Mono, look: impl FnOnce() -> F) -> T {
        let mut last = self.seen.lock().await;
        if let Some((at, seen)) = &*last
            && now().since(*at) < self.fresh_for
        {
            return seen.clone();
        }
        let seen = look().await;
        *last = Some((now(), seen.clone()));
        seen
    }

    /// The next look is a fresh one.
    #[cfg(test)]
    pub(crate) async fn forget(&self) {
        *self.seen.lock().await = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;
    use tokio::time::{Instant, advance, sleep};

    use super::*;

    /// I24: fifty who ask at once of a store that takes two seconds to answer, or to fail, wait for one look, and not one behind the other.
    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_wait_for_one_look() {
        for wanted in [Ok(7), Err("away")] {
            let (look, looks, began) =
                (SharedLook::fresh_for(Duration::from_millis(500)), AtomicU32::new(0), Instant::now());
            let now = || Mono::from_micros(began.elapsed().as_micros() as u64);
            let slow = async || {
                looks.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_secs(2)).await;
                wanted
            };
            let seen = join_all((0..50).map(|_| look.at(now, slow))).await;
            assert_eq!((seen, looks.load(Ordering::Relaxed)), (vec![wanted; 50], 1));
            assert_eq!(began.elapsed(), Duration::from_secs(2));
            advance(Duration::from_millis(499)).await;
            assert_eq!(look.at(now, slow).await, wanted);
            assert_eq!(looks.load(Ordering::Relaxed), 1, "it is fresh");
            advance(Duration::from_millis(1)).await;
            assert_eq!(look.at(now, slow).await, wanted);
            assert_eq!(looks.load(Ordering::Relaxed), 2);
        }
    }
}
