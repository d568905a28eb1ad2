//! Points in time, passed in by whoever drives the core.
//!
//! **Invariant:** nothing in this crate reads a clock. `Wall` and `Mono` are plain integers, so states that hold them
//! print, compare and snapshot.

use std::{fmt, ops, time::Duration};

/// A point on the wall clock: microseconds since 1970-01-01T00:00:00Z.
///
/// While a process runs, its wall time is *start wall clock + monotonic time passed*, so a clock that is set back or
/// ahead neither stalls nor bursts anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(i64);

/// A point on the monotonic clock: microseconds since some start that only this process knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(u64);

/// Both clocks at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For what is stored or shown.
    pub wall: Wall,
    /// For what this process waits for.
    pub mono: Mono,
}

impl Wall {
    /// Earlier than every event.
    pub const MIN: Self = Self(0);
    /// Later than every event.
    pub const MAX: Self = Self(i64::MAX);

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch, rounded down; 0 for anything earlier.
    pub const fn as_millis(self) -> u64 {
        if self.0 < 0 { 0 } else { self.0 as u64 / 1_000 }
    }

    /// The span from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

impl Mono {
    /// From microseconds since the process's own start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the process's own start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The span from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl ops::Add<Duration> for Wall {
    type Output = Self;

    /// Saturates at [`Wall::MAX`].
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span).min(i64::MAX as u64) as i64))
    }
}

impl ops::Sub<Duration> for Wall {
    type Output = Self;

    /// Saturates at the smallest value.
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span).min(i64::MAX as u64) as i64))
    }
}

impl ops::Add<Duration> for Mono {
    type Output = Self;

    /// Saturates at the largest value.
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }
}

impl ops::Add<Duration> for Now {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self { wall: self.wall + span, mono: self.mono + span }
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
