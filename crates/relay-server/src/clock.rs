//! The server's clock: wall time that never jumps while the process runs.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use relay_core::time::{Mono, Now, Wall};

/// Start wall clock + monotonic time passed: setting the system's clock neither stalls nor bursts anything.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started_wall: Wall,
    started: Instant,
}

impl Clock {
    /// Reads the wall clock, for the only time.
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started_wall: Wall::MIN + since_epoch, started: Instant::now() }
    }

    /// Both clocks now.
    pub fn now(&self) -> Now {
        let passed = self.started.elapsed();
        Now { wall: self.started_wall + passed, mono: Mono::default() + passed }
    }

    /// The wall clock now.
    pub fn wall(&self) -> Wall {
        self.started_wall + self.started.elapsed()
    }

    /// The moment at which [`Self::now`] gives that monotonic time, for timers.
    pub fn instant(&self, at: Mono) -> Instant {
        self.started + at.since(Mono::default())
    }
}

/// RFC 3339 in UTC with microseconds: `2026-11-23T18:25:44.000123Z`.
pub fn rfc3339(at: Wall) -> String {
    match jiff::Timestamp::from_microsecond(at.as_micros()) {
        Ok(timestamp) => format!("{timestamp:.6}"),
        Err(_) => format!("{:.6}", jiff::Timestamp::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_six_digits_in_utc() {
        assert_eq!(rfc3339(Wall::from_micros(1_700_000_000_000_123)), "2023-11-14T22:13:20.000123Z");
        assert_eq!(rfc3339(Wall::from_micros(0)), "1970-01-01T00:00:00.000000Z");
        assert!(rfc3339(Wall::MAX).ends_with('Z'));
    }

    #[test]
    fn wall_and_monotonic_time_run_together() {
        let clock = Clock::start();
        let now = clock.now();
        assert_eq!(now.wall.since(clock.started_wall), now.mono.since(Mono::default()));
        assert!(clock.instant(now.mono) <= Instant::now());
    }
}
