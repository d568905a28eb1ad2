//! How long tries at one service have lately taken: whether what comes back after a failure holds its slot for long.
//!
//! **Invariant:** what has failed quickly, or no slower than the destination takes what it takes, is not slow.

use std::time::Duration;

use crate::{
    delivery::outcome::{Class, Outcome},
    limits,
};

/// Averages in which each try counts for a part, so that some twenty tries ago is forgotten.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Durations {
    /// Of retries, and of first tries that failed: they come back as retries. What that takes is known before the first
    /// of them does.
    failing: Option<Duration>,
    /// Of what was delivered: what is usual here.
    delivered: Option<Duration>,
}

impl Durations {
    /// A try ended.
    pub(super) fn on_outcome(&mut self, retry: bool, outcome: &Outcome) {
        let delivered = outcome.class == Class::Delivered;
        if delivered {
            count(&mut self.delivered, outcome.duration);
        }
        if retry || !delivered {
            count(&mut self.failing, outcome.duration);
        }
    }

    /// A retry took this long, and nothing came of it.
    pub(super) fn on_lost(&mut self, took: Duration) {
        count(&mut self.failing, took);
    }

    /// Whether retries are slow: longer than a moment, and than what is delivered takes here.
    pub(super) fn is_slow(&self) -> bool {
        let usual = self.delivered.unwrap_or_default().saturating_mul(2);
        self.failing.is_some_and(|failing| failing > limits::SLOW_RETRY.max(usual))
    }
}

fn count(average: &mut Option<Duration>, took: Duration) {
    // Its client says it.
    let took = took.min(limits::FORWARD_TIMEOUT_MAX);
    let before = average.unwrap_or(took);
    *average = Some((before * (limits::DURATION_WEIGHT - 1) + took) / limits::DURATION_WEIGHT);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(class: Class, millis: u64) -> Outcome {
        let duration = Duration::from_millis(millis);
        Outcome { class, status: None, retry_after: None, duration, error: None, answer: None }
    }

    /// I15: known by the first failure, forgotten by retries that are quick again.
    #[test]
    fn retries_are_slow_from_the_first_failure_until_they_are_quick_again() {
        let mut known = Durations::default();
        known.on_outcome(false, &of(Class::Delivered, 20));
        assert!(!known.is_slow(), "nothing has failed");
        known.on_outcome(false, &of(Class::Busy, 25_000));
        assert!(known.is_slow());
        let quick = (0..30).position(|_| {
            known.on_outcome(true, &of(Class::Delivered, 20));
            !known.is_slow()
        });
        assert!(quick.is_some_and(|quick| (5..20).contains(&quick)), "{quick:?}");
    }

    /// I15: where all takes long, what comes back takes no longer than the rest.
    #[test]
    fn what_takes_as_long_as_the_rest_is_not_slow() {
        let mut known = Durations::default();
        for _ in 0..50 {
            known.on_outcome(false, &of(Class::Delivered, 2_000));
            known.on_outcome(true, &of(Class::Rejected, 3_000));
        }
        assert!(!known.is_slow());
        for _ in 0..10 {
            known.on_outcome(true, &of(Class::Busy, 25_000));
        }
        assert!(known.is_slow());
    }

    #[test]
    fn no_duration_that_a_client_says_is_too_long() {
        let mut known = Durations::default();
        for _ in 0..3 {
            known.on_outcome(true, &Outcome { duration: Duration::MAX, ..of(Class::Busy, 0) });
            known.on_outcome(true, &Outcome { duration: Duration::MAX, ..of(Class::Delivered, 0) });
        }
        assert!(!known.is_slow());
    }
}
