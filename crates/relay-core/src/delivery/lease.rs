//! The lease: how it is taken, given back and lost.

use super::{Delivery, Lease, Reason, State, Token};
use crate::{id::InstanceId, limits, storage::Change, time::Wall};

/// The record of a waiting delivery under a new lease: what a store writes when it leases, and what the hub appends when
/// a client has credit for an event at once.
pub fn leased(before: &Delivery, instance: InstanceId, nonce: u64, now: Wall, until: Wall) -> Delivery {
    let mut next = before.next(State::Leased, now);
    next.token = Token { counter: before.token.counter + 1, nonce };
    next.lease = Some(Lease { instance, keeper: nonce, since: now, until });
    next
}

/// Ends the lease `token` without a try: back to ready, in its old place in line, and nothing is counted. Past its TTL it
/// expires. `None` if that lease is over already.
pub fn hand_back(before: &Delivery, token: Token, now: Wall) -> Option<Change> {
    if !before.is_held_under(token) {
        return None;
    }
    let mut next = before.back_to_ready(now);
    if cfg!(feature = "canary_loss_on_hand_back") {
        next.losses += 1; // Canary: a hand-back must count nothing.
    }
    Some(Change { before: before.clone(), next, archive: None })
}

/// The same where its body may have reached its client, and nothing was heard of it: the next try has another number.
pub fn end_unheard(before: &Delivery, token: Token, now: Wall) -> Option<Change> {
    let mut change = hand_back(before, token, now)?;
    if !cfg!(feature = "canary_copies_alike") {
        change.next.unheard = before.unheard.saturating_add(1); // Canary: no copy has the number of an earlier one.
    }
    Some(change)
}

/// Ends the lease `token` as lost: counted, and behind everything that is due by now. `None` if that lease is over
/// already.
pub fn lose(before: &Delivery, token: Token, now: Wall) -> Option<Change> {
    if !before.is_held_under(token) {
        return None;
    }
    let mut next = before.back_to_ready(now);
    next.due_at = now;
    next.add_loss();
    Some(Change { before: before.clone(), next, archive: None })
}

/// Counts the loss of an earlier lease that [ended unheard](end_unheard): its end has come and its instance did not resume. A delivery
/// that somebody else holds by then stays held. `None` if it has ended, or was redriven since: losses start anew then.
///
/// `ready_at`: that of the delivery when the lease was released.
pub fn count_loss(before: &Delivery, ready_at: Wall, now: Wall) -> Option<Change> {
    if !before.state.is_open() || before.ready_at != ready_at {
        return None;
    }
    let mut next = before.next(before.state, now);
    next.lease = before.lease;
    next.changed_at = before.changed_at;
    next.unheard = before.unheard.saturating_sub(1);
    next.add_loss();
    if next.state == State::Dead {
        next.changed_at = now;
    }
    Some(Change { before: before.clone(), next, archive: None })
}

impl Delivery {
    /// Whether `token` is the fence of its present lease.
    pub fn is_held_under(&self, token: Token) -> bool {
        // Canary: a stale token must not pass.
        self.state == State::Leased && (self.token == token || cfg!(feature = "canary_no_fence"))
    }

    fn back_to_ready(&self, now: Wall) -> Self {
        if now < self.expires_at {
            return self.next(State::Ready, now);
        }
        Self { reason: Some(Reason::Expired), ..self.next(State::Expired, now) }
    }

    /// One loss more; the last one ends a delivery that nobody holds.
    fn add_loss(&mut self) {
        self.losses += 1;
        if self.losses >= limits::LOSSES_MAX && matches!(self.state, State::Ready | State::Scheduled) {
            self.state = State::Dead;
            self.reason = Some(Reason::LostLeases);
        }
    }
}
