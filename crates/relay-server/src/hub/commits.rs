//! What the store was asked to commit and has not said done yet: whether it commits at all.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use relay_core::{
    storage::{OpId, Stored},
    time::Mono,
};

const NONE: u64 = u64::MAX;

/// Since when the oldest commit has been under way that says whether the store commits, for whoever asks about health. Cheap to clone.
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
    /// The store has several parts, and each commits by itself.
    is_of_parts: bool,
    /// When a commit came about last.
    came: Option<Mono>,
}

/// Whether this says that a commit came about. A lease of nothing need not have been one.
pub(super) fn has_committed(stored: &Stored) -> bool {
    match stored {
        Stored::Append(one) => one.answer.is_ok(),
        Stored::Lease(one) => one.answer.as_ref().is_ok_and(|leased| !leased.deliveries.is_empty()),
        Stored::Extend(one) => one.answer.is_ok(),
        Stored::Settle(one) => one.answer.is_ok(),
        Stored::Replay(one) => one.answer.is_ok(),
        // On a quiet server there is nothing else.
        Stored::Presence(one) => one.answer.is_ok(),
        Stored::Bodies(_) | Stored::Find(_) | Stored::Due(_) | Stored::Held(_) | Stored::Clock(_) => false,
    }
}

impl Commits {
    /// None under way yet; `oldest` is told of them. Of a store of several parts one that waits says nothing of the others: those that were
    /// under way when another came about are passed over.
    pub(super) fn new(oldest: OldestCommit, is_of_parts: bool) -> Self {
        Self { oldest, is_of_parts, ..Self::default() }
    }

    /// The store was asked.
    pub(super) fn begin(&mut self, op: OpId, now: Mono) {
        self.begun.insert(op, now);
        self.tell();
    }

    /// The store has answered, and a commit came about or did not: one that is waited for here, or one that only shows that some do.
    pub(super) fn end(&mut self, op: OpId, has_come: bool, now: Mono) {
        let was_waited_for = self.begun.remove(&op).is_some();
        let shows_some = has_come && self.is_of_parts;
        if shows_some {
            self.came = Some(now);
        }
        if was_waited_for || shows_some {
            self.tell();
        }
    }

    fn tell(&self) {
        let counts = |since: &&Mono| self.came.is_none_or(|came| **since >= came);
        let oldest = self.begun.values().find(counts).map_or(NONE, |since| since.as_micros());
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
        let mut commits = Commits::new(oldest.clone(), false);
        let at = |seconds: u64| Mono::from_micros(seconds * 1_000_000);
        let age = || oldest.age(at(10)).map(|age| age.as_secs());
        assert_eq!(age(), None);
        for second in 1..4 {
            commits.begin(OpId(second), at(second));
        }
        assert_eq!(age(), Some(9));
        commits.end(OpId(2), true, at(4));
        commits.end(OpId(77), true, at(4));
        assert_eq!(age(), Some(9));
        commits.end(OpId(1), false, at(5));
        assert_eq!(age(), Some(7));
        commits.end(OpId(3), true, at(6));
        assert_eq!(age(), None);
    }

    /// I24: a part that is away does not make the others look as if they did not commit; where none does, that is seen.
    #[test]
    fn a_part_that_waits_says_nothing_of_the_others() {
        let oldest = OldestCommit::default();
        let mut commits = Commits::new(oldest.clone(), true);
        let at = |seconds: u64| Mono::from_micros(seconds * 1_000_000);
        let age = || oldest.age(at(10)).map(|age| age.as_secs());
        commits.begin(OpId(1), at(1));
        commits.begin(OpId(2), at(2));
        commits.end(OpId(2), false, at(3));
        assert_eq!(age(), Some(9), "the other did not come about");
        commits.begin(OpId(3), at(3));
        commits.end(OpId(3), true, at(4));
        assert_eq!(age(), None, "the store commits");
        commits.begin(OpId(4), at(5));
        assert_eq!(age(), Some(5), "nothing has come about since");
        commits.end(OpId(1), false, at(6));
        assert_eq!(age(), Some(5));
        commits.end(OpId(77), false, at(7));
        assert_eq!(age(), Some(5), "what was not waited for did not come about either");
        commits.end(OpId(78), true, at(8));
        assert_eq!(age(), None, "a quiet server says that it is there, and that is committed");
    }
}
