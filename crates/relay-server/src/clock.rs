//! The server's clocks: one for schedules, which never jumps while the process runs, and one for what others signed.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use relay_core::{
    limits,
    storage::Apart,
    time::{Mono, Now, Wall},
};

/// A clock set back by less is one that was put right.
const WORTH_A_WORD: Duration = Duration::from_secs(1);

/// Two clocks with two names.
///
/// - **Schedules** ([`Self::now`], [`Self::wall`]): the wall clock at the start + monotonic time passed. Setting the system's
///   clock neither stalls nor bursts anything. It starts at the latest moment stored if the system's clock stands before
///   that, for what is stored is due by the clock of an earlier run. Where servers share a store and this one is found to be off,
///   it is put right by so much (`put_right`): what is stored, removed or due is so by the time that all have. The hub,
///   which finds that, goes by it as it was (`own`).
/// - **The present** ([`Self::present`]): what the system's clock says now. What others signed or dated is judged by it, for
///   they look at theirs: it follows corrections, and has gone on while the machine slept.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started_wall: Wall,
    started: Instant,
    /// Added to what it would be by these two, in microseconds. One for each clock that was started, and all its copies.
    right: &'static AtomicI64,
    /// The system's clock.
    present: fn() -> Wall,
    /// How far the two were apart at the start.
    apart_at_start: Drift,
}

/// How far the present is from the time that schedules follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// By how much.
    pub by: Duration,
    /// The system's clock is ahead; otherwise it is behind.
    pub ahead: bool,
    /// It was so at the start already, and has been told then.
    pub from_start: bool,
}

impl Clock {
    /// Reads the system's clock, the only time that schedules depend on it.
    pub fn start(at_least: Wall) -> Self {
        Self::start_with(system, at_least)
    }

    fn start_with(present: fn() -> Wall, at_least: Wall) -> Self {
        let system = present();
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
        #[expect(clippy::disallowed_methods, reason = "the one place of the server that asks")]
        let started = Instant::now();
        let apart_at_start = Drift { by: behind, ahead: false, from_start: true };
        let right = Box::leak(Box::default());
        Self { started_wall: system.max(at_least), started, right, present, apart_at_start }
    }

    /// Schedules begin at this moment, whatever the system's clock says: it is that of others.
    pub(crate) fn start_at(moment: Wall) -> Self {
        Self::start_with(system, Wall::MIN).set(moment)
    }

    fn set(self, moment: Wall) -> Self {
        let system = self.started_wall;
        let ahead = system > moment;
        let by = system.since(moment).max(moment.since(system));
        if by >= WORTH_A_WORD {
            tracing::warn!(
                event = "clock_of_others",
                by_ms = by.as_millis() as u64,
                ahead,
                "the system's clock is not that of the store and of the other servers on it; times go by theirs"
            );
        }
        Self { started_wall: moment, apart_at_start: Drift { by, ahead, from_start: true }, ..self }
    }

    /// Both clocks of schedules now.
    pub fn now(&self) -> Now {
        let Now { wall, mono } = self.own();
        let right = self.right.load(Ordering::Relaxed);
        Now { wall: Wall::from_micros(wall.as_micros().saturating_add(right)), mono }
    }

    /// The wall clock of schedules now.
    pub fn wall(&self) -> Wall {
        self.now().wall
    }

    /// Both as they would be had nobody put them right: they do not jump.
    pub(crate) fn own(&self) -> Now {
        let passed = self.started.elapsed();
        Now { wall: self.started_wall + passed, mono: Mono::default() + passed }
    }

    /// From now on it goes as that of the other servers, from which it was found to be so far.
    pub(crate) fn put_right(&self, apart: Option<Apart>) {
        let right = apart.map_or(0, |Apart { by, ahead }| {
            let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            if ahead { -by } else { by }
        });
        self.right.store(right, Ordering::Relaxed);
    }

    /// The present, as the system's clock has it: what others signed or dated is compared with it.
    pub fn present(&self) -> Wall {
        (self.present)()
    }

    /// How far the present is from the time of schedules, if that is more than a machine's clock drifts by itself: the clock
    /// was set, or the machine slept.
    pub fn drift(&self) -> Option<Drift> {
        let (wall, present) = (self.own().wall, self.present());
        let ahead = present > wall;
        let by = present.since(wall).max(wall.since(present));
        let start = self.apart_at_start;
        let from_start = start.ahead == ahead && by.abs_diff(start.by) < limits::CLOCK_DRIFT_MAX;
        (by >= limits::CLOCK_DRIFT_MAX).then_some(Drift { by, ahead, from_start })
    }

    /// The moment at which [`Self::now`] gives that monotonic time, for timers.
    pub fn instant(&self, at: Mono) -> Instant {
        self.started + at.since(Mono::default())
    }
}

/// What the system's clock says.
#[expect(clippy::disallowed_methods, reason = "the one place of the server that asks")]
fn system() -> Wall {
    Wall::MIN + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// RFC 3339 in UTC with microseconds: `2026-11-23T18:25:44.000123Z`.
pub fn rfc3339(at: Wall) -> String {
    match jiff::Timestamp::from_microsecond(at.as_micros()) {
        Ok(timestamp) => format!("{timestamp:.6}"),
        Err(_) => format!("{:.6}", jiff::Timestamp::MAX),
    }
}

/// A span for people, in its largest unit: `14 min`.
pub(crate) fn rough(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

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
        assert!(clock.instant(now.mono) <= clock.instant(clock.now().mono));
    }

    const START: Wall = Wall::from_micros(1_700_000_000_000_000);
    const DAY: Duration = Duration::from_hours(24);

    /// I10: a system clock that was set back while the server was down stalls nothing, and signatures are still compared
    /// with what it says now.
    #[test]
    fn it_never_starts_before_what_is_stored() {
        let clock = Clock::start_with(|| START, START + DAY);
        assert!(clock.wall() >= START + DAY);
        assert_eq!(clock.present(), START);
        let clock = Clock::start_with(|| START, START - DAY);
        assert!(clock.wall() < START + DAY);
    }

    /// F6, I10, S28: the clock is set while the server runs. Schedules go on, what others signed is compared with the clock as
    /// it is now, and the difference is known.
    #[test]
    fn a_step_moves_the_present_and_no_schedule() {
        static AHEAD: AtomicI64 = AtomicI64::new(0);
        let set = |seconds: i64| AHEAD.store(seconds, Ordering::Relaxed);
        let clock = Clock::start_with(
            || Wall::from_micros(START.as_micros() + AHEAD.load(Ordering::Relaxed) * 1_000_000),
            Wall::MIN,
        );
        assert_eq!(clock.drift(), None);
        set(3_600);
        assert_eq!(clock.present(), START + Duration::from_hours(1));
        assert!(clock.wall() < START + Duration::from_mins(1));
        let drift = clock.drift().unwrap();
        assert!(drift.ahead && !drift.from_start && drift.by > Duration::from_mins(59), "{drift:?}");
        set(-86_400);
        let drift = clock.drift().unwrap();
        assert!(!drift.ahead && !drift.from_start && drift.by >= DAY, "{drift:?}");
        set(59);
        assert_eq!(clock.drift(), None, "what a clock does by itself is not worth a word");
    }

    /// Where servers share a store, its clock counts and not the system's.
    #[test]
    fn it_starts_where_the_others_are() {
        for moment in [START - DAY, START + DAY] {
            let clock = Clock::start_with(|| START, Wall::MIN).set(moment);
            assert!(clock.wall() >= moment && clock.wall() < moment + Duration::from_mins(1));
            assert!(clock.drift().unwrap().from_start);
        }
    }

    /// I10: whose clock is found to be off goes by that of the others in all that it stores, and by its own in what it times.
    #[test]
    fn it_is_put_right_for_all_that_have_it() {
        let clock = Clock::start_with(|| START, Wall::MIN);
        let copy = clock;
        for (ahead, wanted) in [(true, START - DAY), (false, START + DAY)] {
            clock.put_right(Some(Apart { by: DAY, ahead }));
            assert!(copy.wall() >= wanted && copy.wall() < wanted + Duration::from_mins(1));
            assert!(copy.own().wall >= START && copy.own().wall < START + Duration::from_mins(1));
            assert_eq!(copy.drift(), None, "it is not the system's clock that moved");
        }
        clock.put_right(None);
        assert!(copy.wall() < START + Duration::from_mins(1));
    }

    /// What the start has told is not told again, until it changes.
    #[test]
    fn a_difference_of_the_start_is_known_as_such() {
        let clock = Clock::start_with(|| START, START + DAY);
        assert!(clock.drift().unwrap().from_start);
    }
}
