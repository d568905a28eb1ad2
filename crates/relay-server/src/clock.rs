//! The server's clock: wall time that never jumps while the process runs.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use relay_core::time::{Mono, Now, Wall};

/// A clock set back by less is one that was put right.
const WORTH_A_WORD: Duration = Duration::from_secs(1);

/// Start wall clock + monotonic time passed: setting the system's clock neither stalls nor bursts anything.
///
/// It starts at the latest moment stored if the system's clock stands before that, for what is stored is due by the
/// clock of an earlier run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started_wall: Wall,
    /// What the system's clock said at the start.
    started_system: Wall,
    started: Instant,
}

impl Clock {
    /// Reads the system's clock, for the only time.
    pub fn start(at_least: Wall) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::start_at(Wall::MIN + since_epoch, at_least)
    }

    fn start_at(system: Wall, at_least: Wall) -> Self {
        let behind = at_least.since(system);
        if behind >= WORTH_A_WORD {
            tracing::warn!(
                event = "clock_set_back",
                behind_ms = behind.as_millis() as u64,
                "the system's clock stands before what is stored; times go on from there. If the clock is wrong, set it and \
                 restart; if it is right, it once was ahead: restart when it has caught up, or begin a new DATA_DIR once \
                 this one is empty"
            );
        }
        Self { started_wall: system.max(at_least), started_system: system, started: Instant::now() }
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

    /// The time by the system's clock of the start, also where that was set back: what others signed is compared with it.
    pub fn system(&self) -> Wall {
        self.started_system + self.started.elapsed()
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
        let clock = Clock::start(Wall::MIN);
        let now = clock.now();
        assert_eq!(now.wall.since(clock.started_wall), now.mono.since(Mono::default()));
        assert!(clock.instant(now.mono) <= Instant::now());
    }

    /// I10: a system clock that was set back while the server was down stalls nothing, and signatures are still compared
    /// with what it says now.
    #[test]
    fn it_never_starts_before_what_is_stored() {
        let (system, day) = (Wall::from_micros(1_700_000_000_000_000), Duration::from_hours(24));
        let clock = Clock::start_at(system, system + day);
        assert!(clock.wall() >= system + day);
        assert!(clock.system() < system + day);
        let clock = Clock::start_at(system, system - day);
        assert!(clock.wall() < system + day);
    }
}
