//! Where something stands in a listing.

use std::fmt;

use relay_core::{id::COUNTER_MASK, time::Wall};

use super::text;

/// An entry of a stream: a millisecond, and a number within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// When, roughly.
    pub(super) ms: u64,
    /// Among those of that millisecond.
    pub(super) number: u64,
}

impl Place {
    /// Before all others.
    pub(super) const FIRST: Self = Self { ms: 0, number: 0 };
    /// Behind all others.
    pub(super) const LAST: Self = Self { ms: u64::MAX, number: u64::MAX };

    /// That of an id: its millisecond, then counter and the first of its random bits, so that two servers do not meet there. In
    /// the order of ids; scripts reckon the same.
    pub(super) fn of_id(id: u128) -> Self {
        let (counter, random) = ((id >> 64) & COUNTER_MASK as u128, (id >> 22) & 0xff_ffff_ffff);
        Self { ms: (id >> 80) as u64, number: ((counter << 40) | random) as u64 }
    }

    /// From an entry's name.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let (ms, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, number: number.parse().ok()? })
    }

    /// The one behind it; `None` behind the last.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::LAST => None,
            Self { ms, number: u64::MAX } => Some(Self { ms: ms + 1, number: 0 }),
            Self { ms, number } => Some(Self { ms, number: number + 1 }),
        }
    }

    /// Its millisecond as a moment. A stranger's entry may name one that no clock ever shows: the latest that there is.
    pub(super) fn moment(self) -> Wall {
        Wall::from_micros(i64::try_from(self.ms.saturating_mul(1_000)).unwrap_or(i64::MAX))
    }

    /// The one before it.
    pub(super) fn before(self) -> Option<Self> {
        match self {
            Self::FIRST => None,
            Self { ms, number: 0 } => Some(Self { ms: ms - 1, number: u64::MAX }),
            Self { ms, number } => Some(Self { ms, number: number - 1 }),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

/// A width that every entry's name fits in.
pub(super) const ENTRY: usize = 2 * text::MOMENT + 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// I24: a stranger may put an entry at any place: those behind it are reckoned with, and end.
    #[test]
    fn the_last_place_is_one_like_any_other() {
        assert_eq!(Place::LAST.next(), None);
        assert_eq!(Place { ms: 7, number: u64::MAX }.next(), Some(Place { ms: 8, number: 0 }));
        assert_eq!(Place::FIRST.next().and_then(Place::before), Some(Place::FIRST));
        assert_eq!(Place { ms: 7, number: 3 }.moment(), Wall::from_micros(7_000));
        for ms in [i64::MAX as u64 / 1_000 + 1, i64::MAX as u64, u64::MAX] {
            assert_eq!(Place { ms, number: 0 }.moment(), Wall::from_micros(i64::MAX), "{ms}");
        }
    }
}
