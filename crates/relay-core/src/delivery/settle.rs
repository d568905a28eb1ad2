//! Settling: what a reported try makes of its delivery.

use std::time::Duration;

use super::{
    Attempt, Change, Delivery, Reason, State, Token,
    outcome::{Class, Outcome},
    retry::RetryPolicy,
};
use crate::{limits, time::Wall};

/// What a settlement depends on beside the record and the outcome.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The route's policy.
    pub retry: &'a RetryPolicy,
    /// `RETRY_AFTER_MAX`.
    pub retry_after_max: Duration,
    /// Longest delay after a try that did not count.
    pub uncounted_delay_max: Duration,
    /// How many deliveries were ever delivered at the destination, durably.
    pub delivered: u64,
    /// A failure may count against its event: the circuit is closed. What is *refused* counts anyway.
    pub charges: bool,
    /// Random, from -1 to 1: shifts the delay by up to 10 %.
    pub jitter: f64,
}

/// Settles the try made under the lease `token`. `None` if there is nothing to change: the try is settled already, the
/// failure is stale, or the delivery was cancelled.
///
/// A success is taken under a stale token too, also by a dead or expired delivery: the destination did get the event. A token
/// that cannot have been given out yet is no stale one.
pub fn settle(before: &Delivery, token: Token, outcome: &Outcome, terms: &Terms<'_>, now: Wall) -> Option<Change> {
    if !before.may_have_given(token) {
        return None;
    }
    match outcome.class {
        Class::Delivered => match before.state {
            State::Ready | State::Scheduled | State::Leased | State::Dead | State::Expired => {
                Some(delivered(before, outcome, now))
            }
            State::Delivered | State::Cancelled => None,
        },
        Class::Rejected | Class::Busy | Class::Unreachable | Class::Refused => {
            before.is_held_under(token).then(|| failed(before, outcome, terms, now))
        }
    }
}

fn delivered(before: &Delivery, outcome: &Outcome, now: Wall) -> Change {
    let mut next = before.next(State::Delivered, now);
    next.tries += 1;
    next.attempts += 1;
    next.last = Some(attempt(before, outcome, true, now));
    Change { before: before.clone(), next, archive: before.archived() }
}

fn failed(before: &Delivery, outcome: &Outcome, terms: &Terms<'_>, now: Wall) -> Change {
    let counted = counts(before, outcome, terms);
    let mut next = before.next(State::Scheduled, now);
    next.tries += 1;
    next.attempts += u32::from(counted);
    next.mark = Some(terms.delivered);
    next.last = Some(attempt(before, outcome, counted, now));
    if now >= before.expires_at {
        next.state = State::Expired;
        next.reason = Some(Reason::Expired);
    } else if counted && next.attempts > terms.retry.max_retries {
        next.state = State::Dead;
        next.reason = Some(match outcome.class {
            Class::Refused => Reason::Refused,
            Class::Delivered | Class::Rejected => Reason::Rejected,
            Class::Busy | Class::Unreachable => Reason::Busy,
        });
    } else {
        next.due_at = now + delay(&next, counted, outcome, terms);
    }
    Change { before: before.clone(), next, archive: before.archived() }
}

/// Whether a failure counts against the route's retries.
fn counts(before: &Delivery, outcome: &Outcome, terms: &Terms<'_>) -> bool {
    // The destination served another event meanwhile: it is this one that hangs it, not an outage.
    let served_others = before.mark.is_some_and(|mark| terms.delivered > mark);
    match outcome.class {
        Class::Delivered | Class::Refused => true,
        Class::Rejected => terms.charges,
        Class::Busy => match outcome.status {
            None => terms.charges && served_others,
            Some(429) => false,
            Some(_) => terms.charges && served_others && before.tries + 1 >= limits::SPOKEN_BUSY_TRIES,
        },
        // Canary: an outage must be free.
        Class::Unreachable => crate::canary::is("outage_charged"),
    }
}

/// The delay after a failed try. What did not count must not make the retries that do count come later: an outage of days
/// would push them beyond the TTL.
fn delay(next: &Delivery, counted: bool, outcome: &Outcome, terms: &Terms<'_>) -> Duration {
    let (n, bound) = if counted { (next.attempts, Duration::MAX) } else { (next.tries, terms.uncounted_delay_max) };
    // Canary: an outage must not postpone what comes after it.
    let n = if crate::canary::is("delay_by_tries") { next.tries } else { n };
    // However short a route's delays are, a destination that cannot is not asked more often than an open circuit asks.
    let least = if counted { Duration::ZERO } else { limits::CIRCUIT_PAUSE_FIRST };
    let planned = terms.retry.schedule.delay(n).max(least).min(bound);
    let factor = 1.0 + limits::RETRY_JITTER * terms.jitter.clamp(-1.0, 1.0);
    let spread = Duration::try_from_secs_f64(planned.as_secs_f64() * factor).unwrap_or(Duration::MAX).min(bound);
    let asked = outcome.retry_after.filter(|_| outcome.class.heeds_retry_after()).unwrap_or_default();
    let asked = asked.min(terms.retry_after_max);
    spread.max(asked)
}

fn attempt(before: &Delivery, outcome: &Outcome, counted: bool, now: Wall) -> Attempt {
    Attempt {
        number: before.next_attempt(),
        at: now,
        duration_ms: u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX),
        status: outcome.status,
        class: outcome.class,
        counted,
        error: outcome.error.as_deref().map(|text| text[..text.floor_char_boundary(limits::WORDS_BYTES_MAX)].into()),
        answer: outcome.answer.clone(),
    }
}
