//! Looking: what has work to do that nobody announced, what has expired, and which leases have lapsed that others kept.
//!
//! Where several servers share the store, each looks after some of its [`Partitions`], and ends what has expired or lapsed there.
//!
//! **Invariant:** at most one look is under way or set for later, and no delivery is being ended twice at a time.

use std::collections::BTreeSet;

use super::{Hub, settle::Why, timers::Timer};
use crate::{
    delivery,
    id::DeliveryId,
    limits,
    partitions::Partitions,
    storage::{Due, DueAsk, StoreError},
    time::{Mono, Wall},
};

/// When the store is looked at, and what of that is not done yet.
#[derive(Debug, Default)]
pub(super) struct Looking {
    /// When the timer goes off.
    next: Option<Mono>,
    /// Deliveries whose end by TTL, or whose lease's end, is not decided yet.
    pub(super) ending: BTreeSet<DeliveryId>,
    /// There are more behind them.
    more: bool,
    /// The next look is at what the others look after, too.
    farther: bool,
}

impl Hub {
    /// The partitions that this server looks after, by the runs that it hears of: all of them with one owner, and none until it has
    /// heard of the others, or heard that there are none, and once it is stopping.
    pub fn partitions(&self) -> Partitions {
        let count = self.setup.partitions;
        if !self.setup.shares {
            Partitions::ALL
        } else if self.others.have_been_heard() && !self.stopping {
            Partitions::looked_after_by(self.nonce, &self.runs(), count)
        } else {
            Partitions::none(count)
        }
    }

    /// Asks what has work to do.
    pub(super) fn ask_due(&mut self) {
        self.looking.next = None;
        if !self.failed && !self.stopping && self.clocks.are_compared() {
            let (now, partitions) = (self.shared_now(), self.partitions());
            let (lapsed_by, lapsed_in) = self.lapses_to_ask_for(now, partitions);
            let op = self.ops.due(DueAsk { partitions, lapsed_by, lapsed_in, ..DueAsk::at(now, limits::PAGE_MAX) });
            self.ask_store(op);
        }
    }

    /// Leases that had ended by when, and in which partitions: with one owner none, for its own ends are known to it. With several
    /// every second look is farther, at what the others look after too: a server that has died is known for a while, and what has
    /// lapsed there waits for nobody.
    fn lapses_to_ask_for(&mut self, now: Wall, mine: Partitions) -> (Option<Wall>, Partitions) {
        if !self.setup.shares {
            return (None, mine);
        }
        let farther = self.looking.farther;
        self.looking.farther = !farther;
        let lapsed_by = delivery::lapsed_by(now);
        if farther {
            let all = if mine.is_empty() { mine } else { Partitions::all(self.setup.partitions) };
            (Some(lapsed_by - limits::LAPSE_SEEN_BY_OTHERS), all)
        } else {
            (Some(lapsed_by), mine)
        }
    }

    pub(super) fn on_due(&mut self, asked_at: Wall, result: Result<Due, StoreError>) {
        let Ok(due) = result else { return self.look_after(limits::DUE_EVERY) };
        for waiting in due.destinations {
            if self.setup.counts_others() {
                self.destination(&waiting.destination).delivered.on_count(waiting.delivered, asked_at);
            }
            if let Some(next_due) = waiting.next_due {
                self.on_scheduled(&waiting.destination, next_due);
            }
        }
        self.looking.more = due.expired.len().max(due.lapsed.len()) >= limits::PAGE_MAX as usize;
        self.look_after(limits::DUE_EVERY);
        if self.stopping {
            return;
        }
        for record in due.expired {
            // One that the store is about to end, or has no room to, is not ended once more.
            let new = self.looking.ending.insert(record.id);
            if new || crate::canary::is("expired_again") {
                self.decide(record.id, Why::Expire, &record);
            }
        }
        for record in due.lapsed {
            // Of one that is held here the end is known here.
            if !self.held.contains_key(&record.id) && self.looking.ending.insert(record.id) {
                self.decide(record.id, Why::Lapse, &record);
            }
        }
    }

    /// The end of one that had expired, or of its lease, is decided, or it has another.
    pub(super) fn on_end_decided(&mut self, id: DeliveryId) {
        self.looking.ending.remove(&id);
        if self.looking.ending.is_empty() && self.looking.more {
            let soon = self.now.mono + limits::EXPIRE_PAUSE;
            // No timer: a look is under way.
            if self.looking.next.is_some_and(|next| soon < next) {
                self.look_after(limits::EXPIRE_PAUSE);
            }
        }
    }

    fn look_after(&mut self, pause: std::time::Duration) {
        if let Some(before) = self.looking.next.take() {
            self.timers.remove(&(before, Timer::Poll));
        }
        self.looking.next = Some(self.now.mono + pause);
        self.arm(pause, Timer::Poll);
    }
}
