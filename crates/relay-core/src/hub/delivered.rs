//! Delivered: how many deliveries a destination has got, as far as it is known here, and when the last of them.
//!
//! A try that failed as *busy* is charged once its destination has taken another event since. With one owner the count tells.
//! Where several servers share the store, the counts of two of them leapfrog: there the moment tells, which is never later than
//! it was, and no mark is higher than what was really delivered.

use crate::{delivery::Delivery, time::Wall};

/// What is known of one destination.
#[derive(Debug)]
pub(super) struct Delivered {
    /// So many at least. With one owner exactly.
    count: u64,
    /// Since then at least one.
    since: Wall,
    /// What the store said last, and when it was asked.
    seen: Option<(u64, Wall)>,
}

impl Default for Delivered {
    fn default() -> Self {
        Self { count: 0, since: Wall::MIN, seen: None }
    }
}

impl Delivered {
    /// Whether nothing ever was.
    pub(super) fn is_none(&self) -> bool {
        self.count == 0 && self.since == Wall::MIN
    }

    /// The store's count, before anything is delivered.
    pub(super) fn begin(&mut self, count: u64) {
        self.count = count;
    }

    /// A delivery of ours is durable, which was decided then.
    pub(super) fn on_own(&mut self, shares: bool, at: Wall) {
        // Another server's is in the store's count alone, and then so is ours.
        self.count += u64::from(!shares);
        self.since = self.since.max(at);
    }

    /// The store's count when it was asked.
    pub(super) fn on_count(&mut self, count: u64, asked_at: Wall) {
        if let Some((before, at)) = self.seen.replace((count, asked_at))
            && count > before
        {
            self.since = self.since.max(at);
        }
        self.count = self.count.max(count);
    }

    /// The count to settle a try of this delivery by: above its mark if something was delivered since that was set.
    pub(super) fn count_for(&self, shares: bool, before: &Delivery) -> u64 {
        let marked = before.mark.zip(before.last.as_ref());
        match marked.filter(|_| shares) {
            None => self.count,
            Some((mark, last)) if self.since > last.at => self.count.max(mark + 1),
            Some((mark, _)) => self.count.min(mark),
        }
    }
}
