//! How many lines of one kind a log takes.

use std::time::Duration;

use tokio::time::Instant;

/// Lets so many lines of one kind pass in a span, and counts those that it left out.
#[derive(Debug)]
pub(crate) struct Limit {
    most: u32,
    span: Duration,
    since: Option<Instant>,
    said: u32,
    left_out: u64,
}

impl Limit {
    pub(crate) const fn new(most: u32, span: Duration) -> Self {
        Self { most, span, since: None, said: 0, left_out: 0 }
    }

    /// Whether a line may be written: how many like it were left out before. `None`: it is left out too.
    pub(crate) fn allows(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= self.span) {
            (self.since, self.said) = (Some(now), 0);
        }
        if self.said >= self.most {
            self.left_out += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }

    /// How many were left out since the last line.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted_and_told_later() {
        let (mut limit, begun) = (Limit::new(3, Duration::from_secs(1)), Instant::now());
        assert_eq!((0..1000).filter_map(|_| limit.allows(begun)).sum::<u64>(), 0);
        assert_eq!(limit.allows(begun + Duration::from_millis(999)), None);
        assert_eq!(limit.allows(begun + Duration::from_secs(1)), Some(998));
        assert_eq!((limit.allows(begun + Duration::from_secs(1)), limit.take_left_out()), (Some(0), 0));
    }
}
