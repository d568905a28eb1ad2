//! How far back one looks.

use std::time::Duration;

use relay_core::time::Wall;

/// How far back a list looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week.
    Week,
    /// As far as anything is kept.
    #[default]
    Ever,
}

impl Since {
    /// All there are, the shortest first.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Ever];

    /// Its word in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Ever => "ever",
        }
    }

    /// The one of that word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|since| since.as_str() == word)
    }

    /// From when on, as of now.
    pub fn from(self, now: Wall) -> Option<Wall> {
        const HOUR: u64 = 3_600;
        let back = |hours: u64| Some(now - Duration::from_secs(hours * HOUR));
        match self {
            Self::Hour => back(1),
            Self::Day => back(24),
            Self::Week => back(7 * 24),
            Self::Ever => None,
        }
    }
}
