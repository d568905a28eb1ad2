//! When a failed delivery is tried again.

use std::time::Duration;

use crate::limits;

/// The delays that the Standard Webhooks specification recommends: about 75 h in all.
///
/// **Source** <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>, "retries".
pub const STANDARD_WEBHOOKS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];

/// Retry policy of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Counted tries after the first, before the delivery is dead.
    pub max_retries: u32,
    /// The delays between tries.
    pub schedule: Schedule,
}

/// The delays between tries.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// `delay x multiplier^(n-1)`. What n counts is the caller's: counted attempts after a try that counted, failed tries in
    /// a row after one that did not (see [`settle`](super::settle())).
    Exponential {
        /// After the first failed try.
        delay: Duration,
        /// Factor for each further one; at least 1.
        multiplier: f64,
    },
    /// The n-th delay of the list, the last one for all further n.
    Listed(Vec<Duration>),
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: limits::MAX_RETRIES,
            schedule: Schedule::Exponential { delay: limits::RETRY_DELAY, multiplier: limits::RETRY_MULTIPLIER },
        }
    }
}

impl Schedule {
    /// The `n`-th delay, `n` from 1, before jitter. Zero for an empty list.
    pub fn delay(&self, n: u32) -> Duration {
        match self {
            Self::Exponential { delay, multiplier } => {
                if delay.is_zero() {
                    return Duration::ZERO; // Times an infinite factor it would be no number.
                }
                let factor = multiplier.max(1.0).powi(n.saturating_sub(1).min(1_000) as i32);
                Duration::try_from_secs_f64(delay.as_secs_f64() * factor).unwrap_or(Duration::MAX)
            }
            Self::Listed(delays) => {
                let at = (n.saturating_sub(1) as usize).min(delays.len().saturating_sub(1));
                delays.get(at).copied().unwrap_or_default()
            }
        }
    }
}

impl RetryPolicy {
    /// All delays between the first try and the last that counts, before jitter. A policy whose span is longer than its
    /// route's TTL never comes to its end: a fault in the configuration.
    pub fn span(&self) -> Duration {
        let listed = if let Schedule::Listed(delays) = &self.schedule { delays.len() as u32 } else { 0 };
        // A growing delay leaves every TTL behind within a few steps; one that stays the same needs no steps.
        let mut span = Duration::ZERO;
        let mut last = Duration::ZERO;
        for n in 1..=self.max_retries {
            let delay = self.schedule.delay(n);
            if n > listed.max(64) && delay == last {
                return span.saturating_add(delay.saturating_mul(self.max_retries - n + 1));
            }
            span = span.saturating_add(delay);
            if span == Duration::MAX {
                break;
            }
            last = delay;
        }
        span
    }
}
