//! How fast a pass of the scrub goes: a small share of the time, as long as that brings it round within a day.

use std::time::Duration;

/// A pass is to end within this, so that what rots is found within a day.
const PASS_MAX: Duration = Duration::from_hours(20);
/// Rest between two steps, in times the length of the step: one percent of the time is for the scrub.
const REST_FACTOR: u32 = 99;
/// Where that is too little for all there is: ten percent, and a pass takes as long as it takes.
const REST_FACTOR_MIN: u32 = 9;
const REST_MIN: Duration = Duration::from_millis(200);

/// What a pass has done so far, in this run.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    rows: u64,
    busy: Duration,
    elapsed: Duration,
}

impl Pace {
    /// How long to rest behind a step that read so many rows in that time, of `all` that there are.
    pub(crate) fn rest(&mut self, rows: u64, took: Duration, all: u64) -> Duration {
        self.rows += rows;
        self.busy += took;
        let rest = (took * self.factor(all)).max(REST_MIN);
        self.elapsed += took + rest;
        rest
    }

    fn factor(&self, all: u64) -> u32 {
        let left = all.saturating_sub(self.rows);
        let busy = self.busy.as_secs_f64() / self.rows.max(1) as f64 * left as f64;
        let time = PASS_MAX.saturating_sub(self.elapsed).as_secs_f64();
        // Nothing is left: nothing hurries.
        let factor = if busy > 0.0 { time / busy - 1.0 } else { f64::INFINITY };
        factor.clamp(f64::from(REST_FACTOR_MIN), f64::from(REST_FACTOR)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a pass takes over so many rows, and how much of that it reads.
    fn pass(all: u64, row: Duration) -> (Duration, Duration) {
        let mut pace = Pace::default();
        let (mut elapsed, mut busy, mut read) = (Duration::ZERO, Duration::ZERO, 0);
        while read < all {
            let rows = (20_000_000 / row.as_nanos() as u64).min(2_000).min(all - read);
            let took = row * rows as u32;
            elapsed += took + pace.rest(rows, took, all);
            (busy, read) = (busy + took, read + rows);
        }
        (elapsed, busy)
    }

    /// I18: ten million webhooks with their deliveries are read within a day, by a hundredth of the time where that is enough, and
    /// never by more than a tenth.
    #[test]
    fn a_pass_over_all_there_is_ends_within_a_day() {
        let day = Duration::from_hours(24);
        for (all, row, percent) in [(1_000, 10, 1), (20_000_000, 10, 1), (20_000_000, 100, 3), (20_000_000, 300, 9)] {
            let (elapsed, busy) = pass(all, Duration::from_micros(row));
            assert!(elapsed < day, "{all} rows of {row} us: {elapsed:?}");
            assert!(busy * 100 <= elapsed * percent, "{all} rows of {row} us: {busy:?} of {elapsed:?}");
        }
        let (elapsed, busy) = pass(20_000_000, Duration::from_millis(2));
        assert!(elapsed > day && busy * 10 <= elapsed, "{busy:?} of {elapsed:?}");
    }
}
