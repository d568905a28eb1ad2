//! How often a message is tried to be sent.

use std::time::Duration;

use crate::limits;

/// How long to wait after so many tries that failed, from 1; `None`: it is given up. Doubling, so that somebody who was away for a
/// minute hears of it a minute later, and one who is away for hours is not called every minute.
pub fn pause_after(failed: u32) -> Option<Duration> {
    if failed >= limits::ALERT_TRIES_MAX {
        return None;
    }
    let doublings = failed.saturating_sub(1).min(16);
    Some((limits::ALERT_RETRY_FIRST * (1 << doublings)).min(limits::ALERT_RETRY_MAX))
}
