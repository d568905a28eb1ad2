//! Where something stands in a listing.

use std::fmt;

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
        let (counter, random) = ((id >> 64) & 0xfff, (id >> 22) & 0xff_ffff_ffff);
        Self { ms: (id >> 80) as u64, number: ((counter << 40) | random) as u64 }
    }

    /// From an entry's name.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let (ms, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, number: number.parse().ok()? })
    }

    /// The one behind it.
    pub(super) fn next(self) -> Self {
        match self {
            Self { ms, number: u64::MAX } => Self { ms: ms.saturating_add(1), number: 0 },
            Self { ms, number } => Self { ms, number: number + 1 },
        }
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
