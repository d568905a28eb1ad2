//! Decisions that the store could not take for now: they wait, and are taken again a piece at a time.
//!
//! **Invariant:** while any wait, one piece of them is under way or a timer is set; never all of them at once, for a store in
//! trouble is not helped by one operation that is larger than all before.

use std::collections::{BTreeSet, VecDeque};

use super::{Hub, settle::Work, timers::Timer};
use crate::{limits, name::Name};

/// What waits.
#[derive(Debug)]
pub(super) struct Undecided {
    works: VecDeque<Work>,
    /// Look-ups of one operation: fewer where the store reads slowly.
    piece: usize,
    /// The timer is set.
    armed: bool,
    /// Destinations that are not leased from until fewer wait.
    kept_back: BTreeSet<Name>,
}

impl Default for Undecided {
    fn default() -> Self {
        let piece = limits::PAGE_MAX as usize;
        Self { works: VecDeque::new(), piece, armed: false, kept_back: BTreeSet::new() }
    }
}

impl Undecided {
    /// Those that wait.
    pub(super) fn works(&self) -> impl Iterator<Item = &Work> {
        self.works.iter()
    }

    /// How many records one operation looks up.
    pub(super) fn piece(&self) -> usize {
        self.piece
    }

    /// Whether so many wait that there had better be no more.
    pub(super) fn are_many(&self) -> bool {
        self.works.len() > limits::UNDECIDED_MAX
    }

    /// This destination is leased from once fewer wait.
    pub(super) fn keep_back(&mut self, name: &Name) {
        self.kept_back.insert(name.clone());
    }

    /// So many at a time were too many.
    pub(super) fn on_too_slow(&mut self, count: usize) {
        self.piece = self.piece.min(count / 2).max(1);
    }

    /// So many at a time were read. A little more may be, until that takes too long once more.
    pub(super) fn on_found(&mut self, count: usize) {
        if count >= self.piece {
            self.piece = (self.piece + self.piece / 8 + 1).min(limits::PAGE_MAX as usize);
        }
    }
}

impl Hub {
    /// The store could not: these are decided on again after a pause.
    pub(super) fn decide_later(&mut self, works: Vec<Work>) {
        for work in works {
            // Whoever starts next ends what has expired.
            if self.stopping && work.why.may_be_left() {
                self.finish(&work);
            } else {
                self.undecided.works.push_back(Work { again: 0, ..work });
            }
        }
        self.retry_later();
    }

    /// The store can: the next piece at once.
    pub(super) fn decide_more(&mut self) {
        let count = self.undecided.works.len().min(self.undecided.piece);
        self.finds.extend(self.undecided.works.drain(..count));
        if !self.undecided.are_many() {
            for name in std::mem::take(&mut self.undecided.kept_back) {
                self.ask_soon(&name);
            }
        }
    }

    pub(super) fn on_retry(&mut self) {
        self.undecided.armed = false;
        self.decide_more();
        self.retry_later();
    }

    /// Stops trying to end what has expired.
    pub(super) fn leave_expired(&mut self) {
        for work in std::mem::take(&mut self.undecided.works) {
            if work.why.may_be_left() {
                self.finish(&work);
            } else {
                self.undecided.works.push_back(work);
            }
        }
    }

    fn retry_later(&mut self) {
        if !self.undecided.works.is_empty() && !std::mem::replace(&mut self.undecided.armed, true) {
            self.arm(limits::STORE_RETRY, Timer::Retry);
        }
    }
}
