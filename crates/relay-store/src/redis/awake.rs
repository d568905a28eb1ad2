//! How much time has passed while this process ran. What it stood still for (a signal, a machine that was paused or moved, a clock that
//! jumped) makes nobody late who goes on as soon as it does: to him it is a moment.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// So long a process that runs is not without a sign of that: of its loops one comes round each second, and somebody asks how it is
/// every five.
const SIGN_WITHIN: Duration = Duration::from_secs(6);
/// Times that it stood still which are remembered: what is judged by them goes round in seconds.
const REMEMBERED: usize = 8;

/// When this process ran.
#[derive(Debug, Default)]
pub(super) struct Awake(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    last: Option<Instant>,
    /// Until when it stood still, and for how long.
    stood: VecDeque<(Instant, Duration)>,
}

impl Awake {
    /// How long it has run since that moment.
    pub(super) fn since(&self, moment: Instant) -> Duration {
        self.since_at(moment, Instant::now())
    }

    /// A sign that it runs, which is now.
    pub(super) fn runs_at(&self, now: Instant) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Several say so at once.
        let last = *seen.last.get_or_insert(now);
        seen.last = Some(last.max(now));
        let stood = now.saturating_duration_since(last).saturating_sub(SIGN_WITHIN);
        if !stood.is_zero() {
            seen.stood.push_back((now, stood));
            if seen.stood.len() > REMEMBERED {
                seen.stood.pop_front();
            }
        }
    }

    /// The same as of now.
    pub(super) fn since_at(&self, moment: Instant, now: Instant) -> Duration {
        self.runs_at(now);
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stood: Duration = seen.stood.iter().filter(|(until, _)| *until > moment).map(|(_, stood)| *stood).sum();
        now.saturating_duration_since(moment).saturating_sub(stood)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F6, I24: an hour that nobody lived through is no hour, and what comes behind it counts.
    #[test]
    fn what_it_stood_still_for_has_not_passed() {
        let (awake, begin, second) = (Awake::default(), Instant::now(), Duration::from_secs(1));
        assert_eq!(awake.since_at(begin, begin), Duration::ZERO);
        for at in 1..=5 {
            awake.runs_at(begin + at * second);
        }
        let hour = begin + 3600 * second;
        assert_eq!(awake.since_at(begin, hour), 5 * second + SIGN_WITHIN, "it may have run until then");
        assert_eq!(awake.since_at(begin, hour + second), 6 * second + SIGN_WITHIN);
        assert_eq!(awake.since_at(hour, hour + 2 * second), 2 * second, "that was before");
        // Again and again.
        let mut now = hour;
        for _ in 0..2 * REMEMBERED {
            now += 3600 * second;
            let before = now;
            awake.runs_at(now);
            assert!(awake.since_at(before, now) <= SIGN_WITHIN);
        }
        // Whoever asks seldom hears all the same of what does not come round.
        let from = now;
        for _ in 0..5 {
            now += 60 * second;
            awake.runs_at(now);
        }
        assert_eq!(awake.since_at(from, now), 5 * SIGN_WITHIN);
    }
}
