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
    last: Mutex<Option<Seen<T>>>,
}

#[derive(Debug)]
struct Seen<T> {
    began: Mono,
    /// Who asked meanwhile has waited for just that.
    ended: Mono,
    what: T,
}

impl<T: Clone> SharedLook<T> {
    /// Nothing is seen yet; what will be is good for so long.
    pub(crate) fn fresh_for(fresh_for: Duration) -> Self {
        Self { fresh_for, last: Mutex::new(None) }
    }

    /// What was seen lately, or what is seen now.
    ///
    /// Cancel safety: a look that nobody waits for any more ends, and is taken by the next who asks.
    pub(crate) async fn at<F: Future<Output = T>>(&self, now: impl Fn() -> Mono, look: impl FnOnce() -> F) -> T {
        self.unless(|seen, now| now.since(seen.ended) < self.fresh_for, now, look).await
    }

    /// What was seen by a look that began no earlier than this is asked: those who ask while one is under way share the next.
    ///
    /// Cancel safety: as [`Self::at`].
    pub(crate) async fn begun_since<F: Future<Output = T>>(
        &self,
        now: impl Fn() -> Mono,
        look: impl FnOnce() -> F,
    ) -> T {
        let asked = now();
        self.unless(|seen, _| seen.began >= asked, now, look).await
    }

    async fn unless<F: Future<Output = T>>(
        &self,
        is_good: impl FnOnce(&Seen<T>, Mono) -> bool,
        now: impl Fn() -> Mono,
        look: impl FnOnce() -> F,
    ) -> T {
        let mut last = self.last.lock().await;
        if let Some(seen) = &*last
            && is_good(seen, now())
        {
            return seen.what.clone();
        }
        let began = now();
        let what = look().await;
        *last = Some(Seen { began, ended: now(), what: what.clone() });
        what
    }

    /// The next look is a fresh one.
    #[cfg(test)]
    pub(crate) async fn forget(&self) {
        *self.last.lock().await = None;
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

    /// I24: whoever wants to know how it is when he asks gets no look that began before; those who wait for one share the next.
    #[tokio::test(start_paused = true)]
    async fn who_asks_how_it_is_now_is_shown_nothing_older() {
        let (look, looks, began) = (SharedLook::fresh_for(Duration::from_mins(1)), AtomicU32::new(0), Instant::now());
        let now = || Mono::from_micros(began.elapsed().as_micros() as u64);
        let slow = async || {
            sleep(Duration::from_secs(2)).await;
            looks.fetch_add(1, Ordering::Relaxed)
        };
        let late = async || {
            sleep(Duration::from_secs(1)).await;
            look.begun_since(now, slow).await
        };
        let (first, others) = tokio::join!(look.at(now, slow), join_all((0..50).map(|_| late())));
        assert_eq!((first, others), (0, vec![1; 50]));
        assert_eq!(look.at(now, slow).await, 1, "strangers are shown that one");
        advance(Duration::from_secs(1)).await;
        assert_eq!(look.begun_since(now, slow).await, 2);
    }
}
