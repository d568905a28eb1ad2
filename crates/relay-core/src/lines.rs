//! How many log lines of a kind are written: so many in a span of time, and a count of those that were left out.
//!
//! **Invariant:** nothing is left out without being counted, and a count is told with the next line of its kind or by
//! [`LogLines::left_out`].

use std::{borrow::Borrow, collections::BTreeMap, time::Duration};

use crate::time::Mono;

/// How many, in which span. It begins with the first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Lines.
    pub most: u32,
    /// In this time.
    pub span: Duration,
}

/// The lines of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogShare {
    since: Option<Mono>,
    said: u32,
    left_out: u64,
}

/// The lines of many kinds. Whoever uses it says what bounds their number.
#[derive(Clone, Debug)]
pub struct LogLines<K> {
    kinds: BTreeMap<K, LogShare>,
}

impl LogShare {
    /// Whether a line may be written, and how many like it were left out before. `None`: it is left out too.
    pub fn may_tell(&mut self, share: Share, now: Mono) -> Option<u64> {
        if self.since.is_none_or(|since| now.since(since) >= share.span) {
            (self.since, self.said) = (Some(now), 0);
        }
        if self.said >= share.most {
            self.left_out += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }

    /// How many were left out since the last line.
    pub fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

impl<K: Ord> LogLines<K> {
    /// See [`LogShare::may_tell`].
    pub fn may_tell<Q: Ord + ToOwned<Owned = K> + ?Sized>(&mut self, kind: &Q, share: Share, now: Mono) -> Option<u64>
    where
        K: Borrow<Q>,
    {
        if !self.kinds.contains_key(kind) {
            self.kinds.insert(kind.to_owned(), LogShare::default());
        }
        self.kinds.get_mut(kind)?.may_tell(share, now)
    }

    /// Kinds of which lines were left out that no line has told of since, and how many: told now.
    pub fn left_out(&mut self) -> impl Iterator<Item = (&K, u64)> {
        let counts = self.kinds.iter_mut().map(|(kind, lines)| (kind, lines.take_left_out()));
        counts.filter(|(_, left_out)| *left_out > 0)
    }
}

impl<K> Default for LogLines<K> {
    fn default() -> Self {
        Self { kinds: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Share = Share { most: 3, span: Duration::from_secs(1) };

    fn at(millis: u64) -> Mono {
        Mono::from_micros(millis * 1_000)
    }

    /// S27
    #[test]
    fn lines_beyond_the_share_are_counted_and_told_later() {
        let mut lines = LogLines::<String>::default();
        assert_eq!((0..1000).filter_map(|_| lines.may_tell("a", SHARE, at(500))).collect::<Vec<_>>(), [0, 0, 0]);
        assert_eq!(lines.may_tell("b", SHARE, at(500)), Some(0), "another kind");
        assert_eq!(lines.may_tell("a", SHARE, at(1_499)), None);
        assert_eq!(lines.may_tell("a", SHARE, at(1_500)), Some(998));
        assert_eq!(lines.may_tell("a", SHARE, at(1_500)), Some(0));
        assert_eq!(lines.left_out().count(), 0);
    }

    #[test]
    fn what_has_no_follower_is_told_all_the_same() {
        let mut lines = LogLines::<&str>::default();
        assert_eq!((0..5).filter_map(|_| lines.may_tell(&"a", SHARE, at(0))).count(), 3);
        assert_eq!(lines.left_out().map(|(kind, count)| (*kind, count)).collect::<Vec<_>>(), [("a", 2)]);
        assert_eq!(lines.left_out().count(), 0, "once");
    }

    /// A moment before the last one, as a clock of somebody else may give it, neither panics nor opens the tap.
    #[test]
    fn time_that_goes_back_opens_nothing() {
        let mut kind = LogShare::default();
        assert_eq!((0..9).filter_map(|_| kind.may_tell(SHARE, at(5_000))).count(), 3);
        assert_eq!(kind.may_tell(SHARE, at(1)), None);
    }
}
