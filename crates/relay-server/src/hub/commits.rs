//! What the store was asked to commit and has not said done yet: whether it commits at all.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use relay_core::{storage::OpId, time::Mono};

const NONE: u64 = u64::MAX;

/// Since when the oldest commit has been under way, for whoever asks about health. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct OldestCommit(Arc<AtomicU64>);

impl Default for OldestCommit {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(NONE)))
    }
}

impl OldestCommit {
    /// How long it has been under way; none is, if none.
    pub(crate) fn age(&self, now: Mono) -> Option<Duration> {
        let since = self.0.load(Ordering::Relaxed);
        (since != NONE).then(|| now.since(Mono::from_micros(since)))
    }
}

/// The commits under way, as the driver keeps them.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// Numbers rise with time, so the first is the oldest.
    begun: BTreeMap<OpId, Mono>,
    oldest: OldestCommit,
}

impl Commits {
    /// None under way yet; `oldest` is told of them.
    pub(super) fn new(oldest: OldestCommit) -> Self {
        Self { begun: BTreeMap::new(), oldest }
    }

    /// The store was asked.
    pub(super) fn begin(&mut self, op: OpId, now: Mono) {
        self.begun.insert(op, now);
        self.tell();
    }

    /// The store has answered; nothing happens if this was no commit.
    pub(super) fn end(&mut self, op: OpId) {
        if self.begun.remove(&op).is_some() {
            self.tell();
        }
    }

    fn tell(&self) {
        let oldest = self.begun.values().next().map_or(NONE, |since| since.as_micros());
        self.oldest.0.store(oldest, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I24
    #[test]
    fn the_oldest_commit_is_known_whatever_order_they_end_in() {
        let oldest = OldestCommit::default();
        let mut commits = Commits::new(oldest.clone());
        let at = |seconds: u64| Mono::from_micros(seconds * 1_000_000);
        let age = || oldest.age(at(10)).map(|age| age.as_secs());
        assert_eq!(age(), None);
        for second in 1..4 {
            commits.begin(OpId(second), at(second));
        }
        assert_eq!(age(), Some(9));
        commits.end(OpId(2));
        commits.end(OpId(77));
        assert_eq!(age(), Some(9));
        commits.end(OpId(1));
        assert_eq!(age(), Some(7));
        commits.end(OpId(3));
        assert_eq!(age(), None);
    }
}
