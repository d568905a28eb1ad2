//! Clocks: how those of servers that share a store go.
//!
//! Each server reckons with a clock of its own, which does not jump. Leases that are judged by one that is off are taken
//! twice, so all compare theirs with the store's, and tell each other what they found.

use std::time::Duration;

use crate::{
    limits,
    time::{Now, Wall},
};

/// What the store's clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockAsk;

/// How the clock of a run was found to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// By so many microseconds it was ahead of the store's; below zero it was behind.
    pub ahead: i64,
    /// What it may be off by either way: the way to the store takes time.
    pub within: Duration,
}

/// How far a clock is from the one that the servers keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apart {
    /// By how much.
    pub by: Duration,
    /// It is ahead; otherwise it is behind.
    pub ahead: bool,
}

impl Reading {
    /// The store said `store` between these two moments.
    pub fn between(asked: Now, store: Wall, answered: Now) -> Self {
        let within = answered.mono.since(asked.mono) / 2;
        let own = asked.wall + within;
        Self { ahead: own.as_micros().saturating_sub(store.as_micros()), within }
    }

    /// The clock that most of them keep; where as many keep each, the one nearest to the store's. `None`: nobody knows.
    ///
    /// Whoever knows of the same readings finds the same.
    pub fn of_most(readings: &[Self]) -> Option<Self> {
        let keep = |one: &Self| readings.iter().filter(|other| one.apart_from(other).is_none()).count();
        let nearest = |one: &Self| (std::cmp::Reverse(one.ahead.unsigned_abs()), one.ahead);
        readings.iter().copied().max_by_key(|one| (keep(one), nearest(one)))
    }

    /// How far it is from another, if that is [more](limits::CLOCKS_APART) than both may be off by.
    pub fn apart_from(&self, other: &Self) -> Option<Apart> {
        let by = Duration::from_micros(self.ahead.abs_diff(other.ahead));
        let sure = by > limits::CLOCKS_APART + self.within + other.within;
        sure.then_some(Apart { by, ahead: self.ahead > other.ahead })
    }
}

impl Apart {
    /// One that is so many microseconds ahead, or behind below zero; `None`: it is not off.
    pub fn of(ahead: i64) -> Option<Self> {
        (ahead != 0).then_some(Self { by: Duration::from_micros(ahead.unsigned_abs()), ahead: ahead > 0 })
    }

    /// By so many microseconds it is ahead; below zero it is behind.
    pub fn ahead(self) -> i64 {
        let by = i64::try_from(self.by.as_micros()).unwrap_or(i64::MAX);
        if self.ahead { by } else { -by }
    }

    /// The moment that the servers have when a clock that is so far off has this one.
    pub fn put_right(self, at: Wall) -> Wall {
        if self.ahead { at - self.by } else { at + self.by }
    }
}

/// Where the clock of a run starts: with that of the runs which are live, so that it is the same; the first one with the
/// store's, and never before what is stored.
pub fn start_at(store: Wall, latest: Wall, others: &[Reading]) -> Wall {
    match Reading::of_most(others) {
        Some(Reading { ahead, .. }) => Wall::from_micros(store.as_micros().saturating_add(ahead)),
        None => store.max(latest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Mono;

    const HOUR: i64 = 3_600_000_000;

    fn reading(ahead: i64) -> Reading {
        Reading { ahead, within: Duration::from_millis(1) }
    }

    #[test]
    fn a_reading_is_of_the_middle_of_the_way() {
        let at =
            |second| Now { wall: Wall::MIN + Duration::from_secs(second), mono: Mono::from_micros(second * 1_000_000) };
        let found = Reading::between(at(10), Wall::MIN + Duration::from_secs(7), at(14));
        assert_eq!(found, Reading { ahead: 5_000_000, within: Duration::from_secs(2) });
    }

    #[test]
    fn the_clock_of_most_is_kept() {
        let clocks = [HOUR, HOUR + 900_000, 0].map(reading);
        assert_eq!(Reading::of_most(&clocks).map(|most| most.ahead), Some(HOUR));
        assert_eq!(clocks[2].apart_from(&clocks[0]).map(|apart| apart.ahead), Some(false));
        assert_eq!(clocks[1].apart_from(&clocks[0]), None);
    }

    #[test]
    fn of_two_the_one_near_the_stores_is_kept_whoever_asks() {
        for off in [-HOUR, HOUR] {
            let clocks = [off, 2_000].map(reading);
            for order in [[0, 1], [1, 0]] {
                let most = Reading::of_most(&order.map(|at| clocks[at])).expect("two are known");
                assert_eq!(most.ahead, 2_000);
            }
        }
        assert_eq!(Reading::of_most(&[]), None);
    }

    #[test]
    fn nothing_is_sure_within_what_a_reading_may_be_off_by() {
        let vague = Reading { ahead: 4_000_000, within: Duration::from_secs(4) };
        assert_eq!(vague.apart_from(&reading(0)), None);
        let apart = reading(HOUR).apart_from(&reading(0)).expect("an hour is sure");
        assert_eq!(apart.put_right(Wall::from_micros(HOUR + 5)), Wall::from_micros(5));
    }

    /// I10: a run begins where the others are, however far that is from the store's clock.
    #[test]
    fn a_run_starts_on_the_clock_of_those_that_are_live() {
        let (store, latest) = (Wall::from_micros(100), Wall::from_micros(900));
        assert_eq!(start_at(store, latest, &[]), latest);
        assert_eq!(start_at(latest, store, &[]), latest);
        assert_eq!(start_at(store, latest, &[reading(HOUR)]), Wall::from_micros(100 + HOUR));
    }
}
