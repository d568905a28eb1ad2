//! The last hour, by the minute: as bars, and as the same numbers in words.

use std::fmt::Write as _;

use relay_core::time::Wall;

use crate::{show, text as t};

/// How high the highest bar is drawn.
const HEIGHT: u64 = 48;
/// Minutes that are read out together.
const TOGETHER: usize = 10;

/// What came and went in it, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hour {
    /// Since when it is known, where that is no whole hour.
    pub known_since: Option<Wall>,
    /// Events that were accepted in each minute, the oldest first; the last one is under way. `None`: nobody looked.
    pub minutes: Vec<Option<u64>>,
    /// Deliveries that targets took.
    pub delivered: u64,
    /// Deliveries that ended without success.
    pub dead: u64,
    /// Requests that sources refused.
    pub refused: u64,
}

impl Hour {
    pub(super) fn accepted(&self) -> u64 {
        self.minutes.iter().flatten().sum()
    }

    fn most(&self) -> u64 {
        self.minutes.iter().flatten().copied().max().unwrap_or_default()
    }

    /// A bar for each minute that is known, a line where nothing came; where nobody looked there is nothing.
    pub(super) fn bars(&self) -> String {
        let (most, mut path) = (self.most().max(1), String::new());
        for (at, count) in self.minutes.iter().enumerate().filter_map(|(at, count)| Some((at * 10, (*count)?))) {
            let high = if count == 0 { 1 } else { (count.saturating_mul(HEIGHT) / most).max(3) };
            let _ = write!(path, "M{at} {HEIGHT}v-{high}h8v{high}z");
        }
        path
    }

    /// How wide and high that is drawn.
    pub(super) fn extent(&self) -> String {
        format!("0 0 {} {HEIGHT}", self.minutes.len().max(1) * 10)
    }

    /// The bar of the fullest minute, in words.
    pub(super) fn peak(&self) -> String {
        t::peak(self.most())
    }

    /// The numbers for whoever does not see bars.
    pub(super) fn read(&self) -> String {
        let tens = self.minutes.chunks(TOGETHER).map(|ten| match ten.iter().flatten().count() {
            0 => t::NOT_KNOWN.to_owned(),
            _ => show::count(ten.iter().flatten().sum()),
        });
        t::by_tens(&tens.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_that_nobody_looked_at_is_drawn_and_read_otherwise_than_an_empty_one() {
        let mut minutes = vec![None; 10];
        minutes.extend([Some(0), None, Some(12), Some(1_000)]);
        let hour = Hour { minutes, ..Hour::default() };
        assert_eq!(hour.bars(), "M100 48v-1h8v1zM120 48v-3h8v3zM130 48v-48h8v48z");
        assert_eq!((hour.extent().as_str(), hour.accepted()), ("0 0 140 48", 1_012));
        assert!(hour.read().ends_with("not known, 1,012."), "{}", hour.read());
        assert_eq!(Hour::default().bars(), "");
        let full = Hour { minutes: vec![Some(u64::MAX / 60); 60], ..Hour::default() };
        assert!(full.bars().len() < 1_500);
    }
}
