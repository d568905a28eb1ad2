//! Ends that do not come from a report, and the way back from them.

use std::time::Duration;

use super::{Change, Delivery, Reason, State};
use crate::time::Wall;

/// Ends a waiting delivery whose TTL has passed. `None` if it is leased (its lease decides then), has ended, or still
/// has time.
pub fn expire(before: &Delivery, now: Wall) -> Option<Change> {
    let waits = matches!(before.state, State::Ready | State::Scheduled);
    (waits && now >= before.expires_at).then(|| {
        let mut next = before.next(State::Expired, now);
        next.reason = Some(Reason::Expired);
        Change { before: before.clone(), next, archive: None }
    })
}

/// Ends an open delivery on an operator's word. The report of a leased one comes too late.
///
/// **Order** Only for an open delivery: see [`State::is_open`].
pub fn cancel(before: &Delivery, now: Wall) -> Change {
    debug_assert!(before.state.is_open(), "cancel is for open deliveries, this is {}", before.state.as_str());
    let mut next = before.next(State::Cancelled, now);
    if let Some(reason) = before.redriven_from {
        next.state = if reason == Reason::Expired { State::Expired } else { State::Dead };
        next.reason = Some(reason);
    }
    Change { before: before.clone(), next, archive: None }
}

/// Ends for good what may still go out, now or after a redrive, because its event is to be erased. `None`: it will not.
pub fn give_up(before: &Delivery, now: Wall) -> Option<Change> {
    (!is_over_for_good(before.state)).then(|| {
        let mut next = before.next(State::Cancelled, now);
        next.redriven_from = None;
        Change { before: before.clone(), next, archive: None }
    })
}

/// Whether nothing brings a delivery in this state back.
pub const fn is_over_for_good(state: State) -> bool {
    matches!(state, State::Delivered | State::Cancelled)
}

/// Brings a dead or expired delivery back to ready: attempts, losses and TTL start anew, numbers of attempt records go on.
///
/// **Order** Only for [dead letters](State::is_dead_letter).
pub fn redrive(before: &Delivery, now: Wall, ttl: Duration) -> Change {
    debug_assert!(
        before.state.is_dead_letter(),
        "redrive is for dead and expired deliveries, this is {}",
        before.state.as_str()
    );
    let mut next = before.next(State::Ready, now);
    next.earlier = before.earlier.saturating_add(before.gone_out());
    next.attempts = 0;
    next.tries = 0;
    next.losses = 0;
    next.unheard = 0;
    next.mark = None;
    next.redriven_from = before.reason;
    next.ready_at = now;
    next.due_at = now;
    next.expires_at = now + ttl;
    next.last = None;
    Change { before: before.clone(), next, archive: before.archived() }
}

impl Delivery {
    /// The same, just made ready, but due only then and with its TTL from then on: many are to come at a rate.
    #[must_use]
    pub fn due_from(mut self, due: Wall) -> Self {
        debug_assert!(self.state == State::Ready && self.tries == 0, "only what was just made ready");
        if due > self.ready_at {
            let ttl = self.expires_at.since(self.ready_at);
            self.state = State::Scheduled;
            (self.ready_at, self.due_at, self.expires_at) = (due, due, due + ttl);
        }
        self
    }

    /// This record one version on, in `state` and without lease or reason.
    pub(super) fn next(&self, state: State, now: Wall) -> Self {
        Self { version: self.version + 1, state, reason: None, lease: None, changed_at: now, ..self.clone() }
    }
}
