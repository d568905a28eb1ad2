//! How much a source takes in a day of UTC: events, and bytes of their bodies.
//!
//! What reaches the quota is still taken, whatever its size: else a body larger than what is left would be refused while smaller
//! ones are taken, and one larger than the whole quota for ever.

use std::time::Duration;

use crate::{limits, time::Wall};

const DAY: Duration = Duration::from_hours(24);
/// The units in which amounts of bytes are written, the largest first; in powers of two, as everywhere.
const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// What may come in a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// So many events; `None`: any number.
    pub events: Option<u64>,
    /// So many bytes of bodies; `None`: any number.
    pub bytes: Option<u64>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Events that were stored.
    Events,
    /// Bytes of their bodies.
    Bytes,
}

/// There is nothing left of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Which one.
    pub measure: Measure,
    /// How much it is.
    pub quota: u64,
    /// How long until there may be: until the next day, or a moment.
    pub wait: Duration,
    /// What is left is held by what is being stored, and not used up yet.
    pub is_held: bool,
    /// It is used up, and nobody was told so on this day.
    pub is_first: bool,
}

/// Four fifths of a quota are used, for the first time on this day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near {
    /// Which one.
    pub measure: Measure,
    /// How much of it.
    pub used: u64,
    /// How much it is.
    pub quota: u64,
}

/// What a source took on a day, and what is held of it for events that are being stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// Days since the epoch.
    number: i64,
    /// By [`Measure`].
    used: [u64; 2],
    /// The same, whatever day it is.
    held: [u64; 2],
    is_near_told: [bool; 2],
    is_over_told: [bool; 2],
}

impl Quota {
    /// Whether anything may come.
    pub const fn is_none(&self) -> bool {
        self.events.is_none() && self.bytes.is_none()
    }

    /// What is bounded, and by how much.
    pub fn bounds(&self) -> impl Iterator<Item = (Measure, u64)> {
        Measure::ALL.into_iter().zip([self.events, self.bytes]).filter_map(|(measure, quota)| Some((measure, quota?)))
    }
}

impl Measure {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Events, Self::Bytes];

    /// Its word, in logs, metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Bytes => "bytes",
        }
    }
}

impl Day {
    /// Of the day with this number since the epoch, on which so many events and bytes were taken.
    pub fn new(number: i64, events: u64, bytes: u64) -> Self {
        Self { number, used: [events, bytes], ..Self::default() }
    }

    /// The number of the day that it is.
    pub fn number(now: Wall) -> i64 {
        now.as_micros().div_euclid(DAY.as_micros() as i64)
    }

    /// How long until the next one.
    pub fn left(now: Wall) -> Duration {
        DAY.saturating_sub(Duration::from_micros(now.as_micros().rem_euclid(DAY.as_micros() as i64) as u64))
    }

    /// What was taken by now on the day that it is.
    pub fn used(&self, measure: Measure, now: Wall) -> u64 {
        if self.number == Self::number(now) { self.used[measure as usize] } else { 0 }
    }

    /// Whether something is being stored.
    pub fn is_held(&self) -> bool {
        self.held != [0; 2]
    }

    /// Whether anything more may come.
    ///
    /// # Errors
    /// A quota is used up, or held.
    pub fn check(&mut self, quota: &Quota, now: Wall) -> Result<(), Over> {
        self.turn(now);
        let spoken_for = |measure: Measure| self.used[measure as usize].saturating_add(self.held[measure as usize]);
        let over = quota.bounds().find(|(measure, quota)| spoken_for(*measure) >= *quota);
        let Some((measure, quota)) = over else { return Ok(()) };
        let is_held = self.used[measure as usize] < quota;
        let is_first = !is_held && !std::mem::replace(&mut self.is_over_told[measure as usize], true);
        let wait = if is_held { limits::QUOTA_HELD.min(Self::left(now)) } else { Self::left(now) };
        Err(Over { measure, quota, wait, is_held, is_first })
    }

    /// Holds an event with so many bytes until it is [counted](Self::count) or [released](Self::release): however many are stored at a
    /// time, they are not more than may come.
    ///
    /// # Errors
    /// A quota is used up, or held; nothing is held then.
    pub fn hold(&mut self, quota: &Quota, bytes: u64, now: Wall) -> Result<(), Over> {
        self.check(quota, now)?;
        for (held, more) in self.held.iter_mut().zip([1, bytes]) {
            *held = held.saturating_add(more);
        }
        Ok(())
    }

    /// An event that was held is not stored, was stored before, or nobody knows.
    pub fn release(&mut self, bytes: u64) {
        for (held, less) in self.held.iter_mut().zip([1, bytes]) {
            *held = held.saturating_sub(less);
        }
    }

    /// An event that was held is stored: on the day on which something was held last, so that one clock alone decides what day it is.
    /// What is nearly used up by that, once a day.
    pub fn count(&mut self, quota: &Quota, bytes: u64) -> impl Iterator<Item = Near> + use<> {
        self.release(bytes);
        for (used, more) in self.used.iter_mut().zip([1, bytes]) {
            *used = used.saturating_add(more);
        }
        let mut told = [None; 2];
        for (measure, quota) in quota.bounds() {
            let (at, used) = (measure as usize, self.used[measure as usize]);
            if is_near(used, quota) && !std::mem::replace(&mut self.is_near_told[at], true) {
                told[at] = Some(Near { measure, used, quota });
            }
        }
        told.into_iter().flatten()
    }

    /// Another day begins with nothing taken; so does one that a clock was set back to.
    fn turn(&mut self, now: Wall) {
        if self.number != Self::number(now) {
            *self = Self { held: self.held, ..Self::new(Self::number(now), 0, 0) };
        }
    }
}

/// Whether four fifths of a quota are used.
pub const fn is_near(used: u64, quota: u64) -> bool {
    used as u128 * 5 >= quota as u128 * 4
}

/// Reads an amount of bytes: `500MiB`, `5 GiB`, or plain bytes.
///
/// # Errors
/// What would be right.
pub fn bytes(text: &str) -> Result<u64, String> {
    let want = || "want an amount like 500MiB or 5GiB, in whole numbers".to_owned();
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.trim().to_ascii_lowercase();
    let is_unit = |name: &str| {
        let (whole, first) = (name.to_ascii_lowercase(), name[..1].to_ascii_lowercase());
        unit == whole
            || (name != "B" && (unit == first || unit == format!("{first}b")))
            || (name == "B" && unit.is_empty())
    };
    let (_, factor) = UNITS.into_iter().find(|(name, _)| is_unit(name)).ok_or_else(want)?;
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(|bytes| *bytes > 0).ok_or_else(want)
}

/// An amount of bytes as one would write it.
pub fn show_bytes(bytes: u64) -> String {
    let unit = UNITS.into_iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
    let (name, factor) = unit.unwrap_or(("B", 1));
    if factor == 1 { bytes.to_string() } else { format!("{}{name}", bytes / factor) }
}

/// Reads a number of events.
///
/// # Errors
/// What would be right.
pub fn events(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    number.filter(|events| *events > 0).ok_or_else(|| "want a whole number of events, like 100000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64, seconds: u64) -> Wall {
        Wall::from_micros(day * DAY.as_micros() as i64) + Duration::from_secs(seconds)
    }

    /// Holds and counts one.
    fn near(day: &mut Day, quota: &Quota, bytes: u64, now: Wall) -> Result<Vec<(Measure, u64)>, Measure> {
        day.hold(quota, bytes, now).map_err(|over| over.measure)?;
        Ok(day.count(quota, bytes).map(|near| (near.measure, near.used)).collect())
    }

    /// S36: a day's quota is told of at four fifths and at its end, once each, and is whole again at midnight.
    #[test]
    fn a_quota_lasts_a_day() {
        let quota = Quota { events: Some(5), bytes: Some(1_000) };
        let mut day = Day::default();
        for _ in 0..3 {
            assert_eq!(near(&mut day, &quota, 10, at(9, 0)), Ok(vec![]));
        }
        assert_eq!(near(&mut day, &quota, 10, at(9, 0)), Ok(vec![(Measure::Events, 4)]));
        assert_eq!(near(&mut day, &quota, 10, at(9, 0)), Ok(vec![]), "it was told");
        for is_first in [true, false] {
            let wait = Duration::from_secs(86_390);
            let over = Over { measure: Measure::Events, quota: 5, wait, is_held: false, is_first };
            assert_eq!(day.check(&quota, at(9, 10)), Err(over));
        }
        assert_eq!((day.used(Measure::Bytes, at(9, 10)), day.used(Measure::Bytes, at(10, 0))), (50, 0));
        // One as large as the whole of it is taken, and is the last one.
        assert_eq!(near(&mut day, &quota, 5_000, at(10, 0)), Ok(vec![(Measure::Bytes, 5_000)]));
        assert_eq!(near(&mut day, &quota, 1, at(10, 0)), Err(Measure::Bytes));
        assert_eq!(near(&mut day, &quota, 1, at(8, 0)), Ok(vec![]), "a clock that was set back");
    }

    /// S36: what is being stored is spoken for, and what is not stored takes nothing.
    #[test]
    fn what_is_held_is_nobody_elses_until_it_is_counted_or_released() {
        let quota = Quota { events: Some(2), bytes: Some(1_000) };
        let mut day = Day::default();
        for _ in 0..2 {
            day.hold(&quota, 10, at(9, 0)).unwrap();
        }
        let held = |wait| Err(Over { measure: Measure::Events, quota: 2, wait, is_held: true, is_first: false });
        assert_eq!(day.hold(&quota, 10, at(9, 0)), held(limits::QUOTA_HELD));
        assert_eq!((day.used(Measure::Events, at(9, 0)), day.is_held()), (0, true));
        day.release(10);
        day.hold(&quota, 10, at(9, 1)).unwrap();
        assert_eq!(day.count(&quota, 10).count(), 0);
        // Over midnight what is held stays held, and counts on the day of what came last.
        let [late, today] = [at(9, 86_399), at(10, 0)];
        assert_eq!(day.hold(&quota, 10, late), held(Duration::from_secs(1)));
        day.hold(&quota, 10, today).unwrap();
        assert!(day.hold(&quota, 10, today).is_err());
        assert_eq!(day.count(&quota, 10).count(), 0);
        day.release(10);
        assert_eq!((day.used(Measure::Events, today), day.used(Measure::Bytes, today), day.is_held()), (1, 10, false));
    }

    #[test]
    fn nothing_is_counted_to_its_end_without_a_quota() {
        let mut day = Day::new(9, u64::MAX, u64::MAX);
        assert_eq!(near(&mut day, &Quota::default(), u64::MAX, at(9, 0)), Ok(vec![]));
        assert_eq!(day.used(Measure::Bytes, at(9, 0)), u64::MAX);
    }

    #[test]
    fn an_amount_is_written_as_it_is_read() {
        for (text, amount, shown) in [
            ("500MiB", 500 << 20, "500MiB"),
            ("5 gb", 5 << 30, "5GiB"),
            ("2048k", 2 << 20, "2MiB"),
            ("1000", 1_000, "1000"),
            ("3B", 3, "3"),
        ] {
            assert_eq!((bytes(text), show_bytes(amount).as_str()), (Ok(amount), shown), "{text}");
            assert_eq!(bytes(shown), Ok(amount));
        }
        for text in ["", "0", "MiB", "1.5GiB", "-1", "5 apples", "99999999999TiB", "1k5", "+5"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(events(" 100000 "), Ok(100_000));
        for text in ["", "0", "-1", "+5", "1k", "1.5"] {
            assert!(events(text).is_err(), "{text}");
        }
    }
}
