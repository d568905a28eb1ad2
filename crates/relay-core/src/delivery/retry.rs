//! When a failed delivery is tried again.

use std::time::Duration;

use crate::limits;

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
    /// `delay x multiplier^(n-1)` after the n-th consecutive failed try.
    Exponential {
        /// After the first failed try.
        delay: Duration,
        /// Factor for each further one; at least 1.
        multiplier: f64,
    },
    /// The n-th delay of the list after the n-th failed try, the last one for all further.
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
