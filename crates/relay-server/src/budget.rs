//! `MAX_INFLIGHT_BYTES`: memory for bodies coming in, queued and going out, reserved before it is used.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use relay_core::limits;
use tokio::{
    sync::{Notify, futures::Notified},
    time::{Instant, timeout_at},
};

/// How long one who waits for bytes looks away at most: others may have made room that it was not told of.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Of `MAX_INFLIGHT_BYTES`, what is for bodies that come in; the other half is for those that go out.
pub const fn intake_bytes(inflight_bytes_max: u64) -> u64 {
    inflight_bytes_max - inflight_bytes_max / 2
}

/// The largest body that comes in where so much is in flight at most: with the largest head, it has all of what is for those
/// that come in.
pub const fn body_bytes_max(inflight_bytes_max: u64) -> u64 {
    const HEAD_SHARE_MIN: u64 = 8;
    let intake = intake_bytes(inflight_bytes_max);
    let (head, share) = (limits::HEAD_BYTES_MAX as u64, intake / HEAD_SHARE_MIN);
    intake - if head < share { head } else { share }
}

/// The least `MAX_INFLIGHT_BYTES` with which a body of that size comes in.
pub const fn inflight_bytes_min(body_bytes: u64) -> u64 {
    2 * (body_bytes + limits::HEAD_BYTES_MAX as u64)
}

/// A number of bytes that may be held in memory at once. A part of it is kept for those who are entitled to it.
#[derive(Debug)]
pub struct Budget {
    max: u64,
    kept: u64,
    used: AtomicU64,
    /// Bytes that are waited for, over all who wait; where there are none, nobody is told when some are given back.
    wanted: AtomicU64,
    /// One who waits at a time is told, and tells the next one if there is something left; those who are entitled to the last
    /// part do not stand behind those who are not.
    freed: [Notify; 2],
    /// One of those who wait for their turn, so many, is told as well.
    turn: Notify,
    wait_for_turn: AtomicUsize,
}

impl Budget {
    /// A budget of `max` bytes.
    pub fn new(max: u64) -> Arc<Self> {
        let kept = max / limits::BUDGET_KEPT_SHARE;
        Arc::new(Self {
            max,
            kept,
            used: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            freed: Default::default(),
            turn: Notify::new(),
            wait_for_turn: AtomicUsize::new(0),
        })
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
        Reservation { budget: Arc::clone(self), bytes: 0, max: self.part(entitled) }
    }

    /// Whether what becomes so large may fill it to the last byte: what is small, and what has no room otherwise.
    pub(crate) fn entitles(&self, bytes: u64) -> bool {
        bytes <= limits::SMALL_BODY_BYTES || bytes > self.part(false)
    }

    /// How far it is filled by who is entitled, and by who is not.
    pub(crate) fn part(&self, entitled: bool) -> u64 {
        if entitled { self.max } else { self.max - self.kept }
    }

    /// Whoever waits for his turn holds this, and is told when some bytes are given back.
    pub(crate) fn wait_for_turn(self: &Arc<Self>) -> InLine {
        self.wait_for_turn.fetch_add(1, Ordering::SeqCst);
        InLine(Arc::clone(self))
    }

    /// Tells one who waits for his turn to look.
    pub(crate) fn look_again(&self) {
        if self.wait_for_turn.load(Ordering::SeqCst) > 0 {
            self.turn.notify_one();
        }
    }

    /// Bytes that have to be given back for all who wait to have what they want, as far as this reservation may fill it.
    pub(crate) fn lacking(&self, reservation: &Reservation) -> u64 {
        self.used().saturating_add(self.wanted.load(Ordering::Relaxed)).saturating_sub(reservation.max)
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        if bytes > 0 && self.wanted.load(Ordering::SeqCst) > 0 {
            self.freed.iter().for_each(Notify::notify_one);
        }
        if bytes > 0 {
            self.look_again();
        }
    }
}

/// One that waits for its turn.
#[derive(Debug)]
pub(crate) struct InLine(Arc<Budget>);

impl InLine {
    /// Some bytes were given back, or somebody left.
    pub(crate) fn told(&self) -> Notified<'_> {
        self.0.turn.notified()
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.0.wait_for_turn.fetch_sub(1, Ordering::SeqCst);
        // It may have been told for another.
        self.0.look_again();
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
        let budget = Arc::clone(&self.budget);
        let freed = &budget.freed[usize::from(self.max == budget.max)];
        let _waiting = Waiting::new(Arc::clone(&budget), more);
        loop {
            // Before the try: whatever is given back from now on is heard of.
            let told = freed.notified();
            if self.grow(more) {
                // There may be more; if not, the next one waits on.
                freed.notify_one();
                return true;
            }
            make_room(self);
            let now = Instant::now();
            // Nothing was given back in time: look again all the same.
            let _ = timeout_at(until.min(now + LOOK_AGAIN), told).await;
            if now >= until {
                return self.grow(more);
            }
        }
    }

    /// How far it may fill the budget, now that it is known how large it becomes.
    pub(crate) fn becomes(&mut self, bytes: u64) {
        self.max = self.budget.part(self.budget.entitles(bytes));
    }

    /// Gives back what it holds beyond so many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let more = self.bytes.saturating_sub(bytes);
        self.bytes -= more;
        self.budget.give_back(more);
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ties it to a body: it ends with the last clone of the result.
    pub fn hold(self, body: Vec<u8>) -> Bytes {
        Bytes::from_owner(Charged { body, _reservation: self })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// One that waits for bytes to be given back, and how many.
struct Waiting(Arc<Budget>, u64);

impl Waiting {
    fn new(budget: Arc<Budget>, wanted: u64) -> Self {
        budget.wanted.fetch_add(wanted, Ordering::SeqCst);
        Self(budget, wanted)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.wanted.fetch_sub(self.1, Ordering::SeqCst);
    }
}

/// A body whose memory counts until its last clone is gone.
struct Charged {
    body: Vec<u8>,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(budget.lacking(&stranger), 0, "nobody waits");
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
        assert_eq!((budget.used(), budget.wanted.load(Ordering::Relaxed)), (5, 0));
        let near = Instant::now() + Duration::from_millis(10);
        assert!(!budget.open(true).grow_until(6, near, |_| {}).await);
    }

    /// Whoever is told that there is something passes on what it leaves.
    #[tokio::test(start_paused = true)]
    async fn one_who_gives_back_much_serves_all_who_wait() {
        let budget = Budget::new(160);
        let mut first = budget.open(true);
        assert!(first.grow(155));
        let began = Instant::now();
        let until = began + Duration::from_secs(9);
        let waiting = [true, false, true, false].map(|entitled| {
            let mut reservation = budget.open(entitled);
            async move { reservation.grow_until(30, until, |_| {}).await.then_some(reservation) }
        });
        let give_back = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        let (served, ()) = tokio::join!(futures_util::future::join_all(waiting), give_back);
        assert!(served.iter().all(Option::is_some));
        assert_eq!((began.elapsed(), budget.used()), (Duration::ZERO, 120), "nobody had to look again");
    }
}
