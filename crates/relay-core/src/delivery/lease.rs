//! The lease: how it is taken, given back and lost.

use super::{Change, Delivery, Lease, Reason, State, Token};
use crate::{id::InstanceId, limits, time::Wall};

/// A lease as whoever ends it knows it. Its fence alone does not tell: that stays when another run [adopts](adopt) the lease, and
/// from then on that one alone ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its fence.
    pub token: Token,
    /// The run that keeps it.
    pub keeper: u64,
}

impl Claim {
    /// Of a lease that is kept by the run that took it.
    pub const fn by_taker(token: Token) -> Self {
        Self { token, keeper: token.nonce }
    }
}

/// The record of a waiting delivery under a new lease: what a store writes when it leases, and what the hub appends when
/// a client has credit for an event at once.
pub fn leased(before: &Delivery, instance: InstanceId, nonce: u64, now: Wall, until: Wall) -> Delivery {
    let mut next = before.next(State::Leased, now);
    next.token = Token { counter: before.token.counter + 1, nonce };
    next.lease = Some(Lease { instance, keeper: nonce, since: now, until });
    next
}

/// The record with a later end of its lease: what a store writes when it extends. The same record if the end is no later; `None` if
/// that lease is over, or somebody else keeps it by now.
pub fn extended(before: &Delivery, claim: Claim, until: Wall) -> Option<Delivery> {
    let mut next = before.clone();
    let lease = next.lease.as_mut().filter(|_| before.is_claimed(claim))?;
    if lease.until < until {
        lease.until = until;
        next.version += 1;
    }
    Some(next)
}

/// The same lease, kept by this run from now on, and until then at least: its client has come there and names it. The fence stays,
/// for that is what the client holds. `None` if that lease is over, or of another instance, or all that already.
pub fn adopt(before: &Delivery, token: Token, by: Lease, now: Wall) -> Option<Change> {
    let lease = before.lease.filter(|lease| lease.instance == by.instance)?;
    let is_so = lease.keeper == by.keeper && lease.until >= by.until;
    if is_so || !before.is_held_under(token) {
        return None;
    }
    // Canary: who adopts a lease keeps it from then on.
    let keeper = if crate::canary::is("adopt_without_keeper") { lease.keeper } else { by.keeper };
    let mut next = before.next(State::Leased, now);
    next.lease = Some(Lease { keeper, until: lease.until.max(by.until), ..lease });
    next.changed_at = before.changed_at;
    Some(Change { before: before.clone(), next, archive: None })
}

/// Ends a lease whose end has passed [so long ago](limits::LAPSE_AFTER) that nobody speaks for it any more, whoever kept it.
/// Nothing is counted; its body may be at its client. `None` if it is over, or was extended.
pub fn lapse(before: &Delivery, now: Wall) -> Option<Change> {
    let lease = before.lease.filter(|lease| lease.until <= lapsed_by(now))?;
    end_unheard(before, Claim { token: before.token, keeper: lease.keeper }, now)
}

/// A lease lapses whose end came by then.
pub fn lapsed_by(now: Wall) -> Wall {
    // Canary: a lease is its client's until its end.
    if crate::canary::is("lapse_early") { now + limits::LEASE / 2 } else { now - limits::LAPSE_AFTER }
}

/// Ends a lease without a try: back to ready, in its old place in line, and nothing is counted. Past its TTL it
/// expires. `None` if that lease is over already, or somebody else keeps it by now.
pub fn hand_back(before: &Delivery, claim: Claim, now: Wall) -> Option<Change> {
    if !before.is_claimed(claim) {
        return None;
    }
    let mut next = before.back_to_ready(now);
    if crate::canary::is("loss_on_hand_back") {
        next.losses += 1; // Canary: a hand-back must count nothing.
    }
    Some(Change { before: before.clone(), next, archive: None })
}

/// The same where its body may have reached its client, and nothing was heard of it: the next try has another number.
pub fn end_unheard(before: &Delivery, claim: Claim, now: Wall) -> Option<Change> {
    let mut change = hand_back(before, claim, now)?;
    if !crate::canary::is("copies_alike") {
        change.next.unheard = before.unheard.saturating_add(1); // Canary: no copy has the number of an earlier one.
    }
    Some(change)
}

/// Ends a lease as lost: counted, and behind everything that is due by now. `None` if that lease is over already, or somebody
/// else keeps it by now.
pub fn lose(before: &Delivery, claim: Claim, now: Wall) -> Option<Change> {
    if !before.is_claimed(claim) {
        return None;
    }
    let mut next = before.back_to_ready(now);
    next.due_at = now;
    next.add_loss();
    Some(Change { before: before.clone(), next, archive: None })
}

/// Counts the loss of an earlier lease that [ended unheard](end_unheard): its end has come and its instance did not resume. A delivery
/// that somebody else holds by then stays held. `None` if it has ended, or was redriven since: losses start anew then. So too if
/// none is unheard that is not counted: an answer that was lost had counted it.
///
/// `ready_at`: that of the delivery when the lease was released.
pub fn count_loss(before: &Delivery, ready_at: Wall, now: Wall) -> Option<Change> {
    if !before.state.is_open() || before.ready_at != ready_at || before.unheard == 0 {
        return None;
    }
    let mut next = before.next(before.state, now);
    next.lease = before.lease;
    next.changed_at = before.changed_at;
    next.unheard = before.unheard - 1;
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
        self.state == State::Leased && (self.token == token || crate::canary::is("no_fence"))
    }

    /// Whether `token` can have been the fence of its present lease or of one before: of the present one the whole token is known, of
    /// those before it the counter alone.
    pub fn may_have_given(&self, token: Token) -> bool {
        (1..self.token.counter).contains(&token.counter) || token.counter > 0 && token == self.token
    }

    /// What is known of its present lease by whoever keeps it.
    pub fn claim(&self) -> Claim {
        Claim { token: self.token, keeper: self.lease.map_or(self.token.nonce, |lease| lease.keeper) }
    }

    /// Whether its present lease is that one, and kept by the same run still.
    fn is_claimed(&self, claim: Claim) -> bool {
        self.is_held_under(claim.token) && self.lease.is_some_and(|lease| lease.keeper == claim.keeper)
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
