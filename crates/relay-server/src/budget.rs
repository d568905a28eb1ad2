//! `MAX_INFLIGHT_BYTES`: memory for bodies coming in, queued and going out, reserved before it is used.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;

/// A number of bytes that may be held in memory at once.
#[derive(Debug)]
pub struct Budget {
    max: u64,
    used: AtomicU64,
}

impl Budget {
    /// A budget of `max` bytes.
    pub fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicU64::new(0) })
    }

    /// Bytes reserved at present.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Its size.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// An empty reservation, to be grown.
    pub fn open(self: &Arc<Self>) -> Reservation {
        Reservation { budget: Arc::clone(self), bytes: 0 }
    }

    /// Reserves `bytes`, or nothing.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let mut reservation = self.open();
        reservation.grow(bytes).then_some(reservation)
    }
}

/// Bytes of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    /// Reserves `more` bytes on top; `false`, and nothing changed, if the budget does not have them.
    #[must_use]
    pub fn grow(&mut self, more: u64) -> bool {
        let max = self.budget.max;
        let fits = |used: u64| used.checked_add(more).filter(|sum| *sum <= max);
        let grown = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if grown {
            self.bytes += more;
        }
        grown
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
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
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
    use super::*;

    #[test]
    fn a_body_gives_its_bytes_back_with_its_last_clone() {
        let budget = Budget::new(10);
        let reservation = budget.reserve(8).unwrap();
        assert!(budget.reserve(3).is_none());
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
        let mut reservation = budget.reserve(6).unwrap();
        assert!(!reservation.grow(5) && !reservation.grow(u64::MAX));
        assert!(reservation.grow(4));
        assert_eq!((reservation.bytes(), budget.used()), (10, 10));
    }
}
