//! Spans that were measured, and what most of them were.

use std::time::Duration;

/// What so many waits came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Waits {
    /// How many there were a second.
    pub(crate) per_second: f64,
    /// Half of them were no longer.
    pub(crate) p50: Duration,
    /// All but the slowest hundredth were no longer.
    pub(crate) p99: Duration,
}

impl Waits {
    /// Of these, all within `within`; `None`: there were none.
    pub(crate) fn of(mut spans: Vec<Duration>, within: Duration) -> Option<Self> {
        spans.sort_unstable();
        let at = |hundredths: usize| spans.get((spans.len() * hundredths / 100).min(spans.len() - 1)).copied();
        if spans.is_empty() || within.is_zero() {
            return None;
        }
        Some(Self { per_second: spans.len() as f64 / within.as_secs_f64(), p50: at(50)?, p99: at(99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_and_all_but_a_hundredth_are_told_of_any_number() {
        let ms = Duration::from_millis;
        let waits = Waits::of((1..=100).rev().map(ms).collect(), ms(2_000)).unwrap();
        assert_eq!(waits, Waits { per_second: 50.0, p50: ms(51), p99: ms(100) });
        assert_eq!(Waits::of(vec![ms(7)], ms(1_000)).unwrap(), Waits { per_second: 1.0, p50: ms(7), p99: ms(7) });
        assert_eq!(Waits::of(Vec::new(), ms(1_000)), None);
    }
}
