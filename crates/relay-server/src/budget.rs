//! `MAX_INFLIGHT_BYTES`: memory for bodies coming in, queued and going out, reserved before it is used.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use bytes::Bytes;
use relay_core::limits;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// A number of bytes that may be held in memory at once. A part of it is kept for those who are entitled to it.
#[derive(Debug)]
pub struct Budget {
    max: u64,
    kept: u64,
    used: AtomicU64,
    /// Those that wait for bytes; nobody else is told when some are given back.
    waiting: AtomicUsize,
    freed: Notify,
}

impl Budget {
    /// A budget of `max` bytes.
    pub fn new(max: u64) -> Arc<Self> {
        let kept = max / limits::BUDGET_KEPT_SHARE;
        Arc::new(Self { max, kept, used: AtomicU64::new(0), waiting: AtomicUsize::new(0), freed: Notify::new() })
    }

    /// Bytes reserved at present.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Its size.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// An empty reservation, to be grown; entitled, up to the last byte.
    pub fn open(self: &Arc<Self>, entitled: bool) -> Reservation {
        let max = if entitled { self.max } else { self.max - self.kept };
        Reservation { budget: Arc::clone(self), bytes: 0, max }
    }

    /// Bytes that `reservation` lacks to grow by `more`.
    pub(crate) fn lacking(&self, reservation: &Reservation, more: u64) -> u64 {
        self.used().saturating_add(more).saturating_sub(reservation.max)
    }
}

/// Bytes of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
    /// How far it may fill the budget.
    max: u64,
}

impl Reservation {
    /// Reserves `more` bytes on top; `false`, and nothing changed, if the budget does not have them.
    #[must_use]
    pub fn grow(&mut self, more: u64) -> bool {
        let max = self.max;
        let fits = |used: u64| used.checked_add(more).filter(|sum| *sum <= max);
        let grown = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if grown {
            self.bytes += more;
        }
        grown
    }

    /// The same, waiting until `until` for others to give back; `make_room` is called before each wait. Cancel-safe.
    pub(crate) async fn grow_until(&mut self, more: u64, until: Instant, make_room: impl Fn(&Self)) -> bool {
        let _waiting = Waiting::new(Arc::clone(&self.budget));
        loop {
            // Before the try: whatever is given back from now on is heard of.
            let budget = Arc::clone(&self.budget);
            let freed = budget.freed.notified();
            if self.grow(more) {
                return true;
            }
            make_room(self);
            if timeout_at(until, freed).await.is_err() {
                return self.grow(more);
            }
        }
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ties it to a body: it ends with the last clone of the result.
    pub fn hold(self, body: Vec<u8>) -> Bytes {
        Bytes::from_owner(Held { body, _reservation: self })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::SeqCst);
        if self.budget.waiting.load(Ordering::SeqCst) > 0 {
            self.budget.freed.notify_waiters();
        }
    }
}

/// One that waits for bytes to be given back.
struct Waiting(Arc<Budget>);

impl Waiting {
    fn new(budget: Arc<Budget>) -> Self {
        budget.waiting.fetch_add(1, Ordering::SeqCst);
        Self(budget)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Held {
    body: Vec<u8>,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_body_gives_its_bytes_back_with_its_last_clone() {
        let budget = Budget::new(10);
        let mut reservation = budget.open(true);
        assert!(reservation.grow(8) && !budget.open(true).grow(3));
        let body = reservation.hold(b"12345678".to_vec());
        let part = body.slice(2..3);
        drop(body);
        assert_eq!(budget.used(), 8);
        drop(part);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_reservation_that_cannot_grow_stays_as_it_is() {
        let budget = Budget::new(10);
        let mut reservation = budget.open(true);
        assert!(reservation.grow(6) && !reservation.grow(5) && !reservation.grow(u64::MAX));
        assert!(reservation.grow(4));
        assert_eq!((reservation.bytes(), budget.used()), (10, 10));
    }

    /// I16, S36: the last part is for those who are entitled to it.
    #[test]
    fn a_part_is_kept_for_the_entitled() {
        let budget = Budget::new(160);
        let mut stranger = budget.open(false);
        assert!(stranger.grow(150) && !stranger.grow(1));
        assert_eq!(budget.lacking(&stranger, 1), 1);
        let mut entitled = budget.open(true);
        assert!(entitled.grow(10) && !entitled.grow(1));
    }

    #[tokio::test]
    async fn whoever_waits_has_what_is_given_back() {
        let budget = Budget::new(10);
        let (mut first, mut second) = (budget.open(true), budget.open(true));
        assert!(first.grow(10));
        let far = Instant::now() + Duration::from_mins(1);
        let waits = second.grow_until(5, far, |_| {});
        tokio::pin!(waits);
        assert!(futures_util::FutureExt::now_or_never(waits.as_mut()).is_none());
        drop(first);
        assert!(waits.await);
        assert_eq!((budget.used(), budget.waiting.load(Ordering::Relaxed)), (5, 0));
        let near = Instant::now() + Duration::from_millis(10);
        assert!(!budget.open(true).grow_until(6, near, |_| {}).await);
    }
}
