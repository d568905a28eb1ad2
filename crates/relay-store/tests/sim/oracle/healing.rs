//! When all is well again: what waits is tried before long, and arrives.

use std::time::Duration;

use relay_core::{
    delivery::{Delivery, State},
    limits,
    time::Wall,
};
use relay_store::memory::MemoryStore;

use super::Oracle;
use crate::{load::POISON, several::CLOCKS_APART};

/// What waits is at its target so long after it is due in a healed world, even if a lease of it has to end first, and
/// everything else at its destination comes before it over a link that was slow.
const HOPE: Duration = Duration::from_mins(30);

/// What that may be off by: presences come every few seconds, over a store and a network that are slow.
const HEARD: Duration = Duration::from_secs(15);

impl Oracle {
    /// Everything is well from now on.
    pub(crate) fn healed(&mut self, store: &MemoryStore, wall: Wall) {
        let scheduled = |found: &&Delivery| found.state == State::Scheduled && self.steady_clock;
        let scheduled: Vec<Delivery> = store.deliveries().iter().filter(scheduled).cloned().collect();
        for found in &scheduled {
            let key = (found.id, found.token);
            let heard = self.heard.iter().filter(|((_, heard), _)| *heard == key);
            let asked = heard.map(|(_, heard)| heard.retry_after).max().unwrap_or_default();
            // Its attempts counted under its route, also if that is removed by now.
            let most = self.retries(&found.source, &found.destination).max(found.attempts);
            let counted = self.longest_delay(found, most);
            let longest = counted.max(limits::UNCOUNTED_DELAY_MAX).max(asked.min(limits::RETRY_AFTER_MAX));
            let wait = found.due_at.since(wall);
            let apart = if self.owners.several() { CLOCKS_APART } else { Duration::from_millis(1) };
            let soon = wait <= longest + apart;
            self.check(soon, "I19", || format!("{} waits {wait:?} after all is well: {found:?}", found.id));
        }
        self.hopeful =
            store.deliveries().iter().filter(|found| self.is_hopeful(found, wall)).map(|found| found.id).collect();
        let waiting = store.deliveries().into_iter();
        let due =
            waiting.filter(|found| matches!(found.state, State::Ready | State::Scheduled) && found.due_at <= wall);
        self.awaiting = due.map(|found| found.destination).collect();
    }

    /// Whether nothing can keep it from its target any more before its TTL ends.
    fn is_hopeful(&self, found: &Delivery, wall: Wall) -> bool {
        let poisoned = self.events.get(&found.event).is_some_and(|event| event.body.starts_with(POISON));
        let waits = found.lease.map_or(found.due_at, |lease| lease.until).max(found.due_at).max(wall);
        self.steady_clock && found.state.is_open() && !poisoned && waits + HOPE < found.expires_at
    }

    /// A server whose clock is off is all that is left: it waits until the others are gone for sure, and so do its clients.
    pub(crate) fn is_left_alone(&mut self) {
        self.first_try_within += 2 * limits::PRESENCE_GONE + limits::LAPSE_AFTER + limits::RECONNECT_PAUSE_MAX + HEARD;
    }

    /// I19: so long after healing, every destination with due work must have seen a try.
    pub(crate) fn check_progress(&mut self, healed_for: Duration) {
        let within = self.first_try_within;
        if !self.awaiting.is_empty() && healed_for > within {
            let what = format!("no try at {:?} within {within:?} after healing", self.awaiting);
            self.broken("I19", what);
        }
    }
}
