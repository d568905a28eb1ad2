//! Decisions that the store could not take for now: they wait, and are taken again a piece at a time.
//!
//! Each part of the store has its own: what waits for one that is away is asked for again by itself, and keeps nothing of the others.
//!
//! **Invariant:** while any wait, one piece of them is under way or a timer is set; never all of them at once, for a store in
//! trouble is not helped by one operation that is larger than all before.

use std::collections::BTreeSet;

use super::{
    ConnId, Hub,
    parts::{ByPart, Part},
    settle::{Why, Work},
    timers::Timer,
};
use crate::{id::DeliveryId, limits, name::Name, partitions::Partitions};

/// What waits.
#[derive(Debug)]
pub(super) struct Undecided {
    works: ByPart<Work>,
    /// Look-ups of one operation, for each part: fewer where it reads slowly.
    pieces: Vec<usize>,
    /// The timer is set.
    armed: bool,
    /// Destinations that are not leased from, or not from all parts, until fewer wait.
    kept_back: BTreeSet<Name>,
}

impl Undecided {
    /// Nothing, of a store of so many parts.
    pub(super) fn new(parts: u16) -> Self {
        let pieces = vec![limits::PAGE_MAX as usize; usize::from(parts.max(1))];
        Self { works: ByPart::new(parts), pieces, armed: false, kept_back: BTreeSet::new() }
    }

    /// Those that wait.
    pub(super) fn works(&self) -> impl Iterator<Item = &Work> {
        self.works.iter()
    }

    /// How many records of a part one operation looks up.
    pub(super) fn piece(&self, part: Part) -> usize {
        self.pieces[usize::from(part.number())]
    }

    /// Whether so many wait for a part that there had better be no more.
    pub(super) fn are_many(&self, part: Part) -> bool {
        self.works.len_of(part) > limits::UNDECIDED_MAX
    }

    /// Parts for which few enough wait.
    pub(super) fn few(&self) -> Partitions {
        let many = self.works.parts().filter(|part| self.are_many(*part));
        many.fold(Partitions::all(self.pieces.len() as u16), |few, part| few.without(part.number()))
    }

    /// This destination is leased from, or from more, once fewer wait.
    pub(super) fn keep_back(&mut self, name: &Name) {
        self.kept_back.insert(name.clone());
    }

    /// So many of a part at a time were too many.
    pub(super) fn on_too_slow(&mut self, part: Part, count: usize) {
        let piece = &mut self.pieces[usize::from(part.number())];
        *piece = (*piece).min(count / 2).max(1);
    }

    /// So many of a part at a time were read. A little more may be, until that takes too long once more.
    pub(super) fn on_found(&mut self, part: Part, count: usize) {
        let piece = &mut self.pieces[usize::from(part.number())];
        if count >= *piece {
            *piece = (*piece + *piece / 8 + 1).min(limits::PAGE_MAX as usize);
        }
    }
}

impl Hub {
    /// The store could not: these are decided on again after a pause.
    pub(super) fn decide_later(&mut self, works: Vec<Work>) {
        let adopts = |work: &Work| if let Why::Adopt { conn, .. } = work.why { Some((conn, work.id)) } else { None };
        let adopting: Vec<(ConnId, DeliveryId)> = works.iter().filter_map(adopts).collect();
        for work in works {
            // Whoever starts next ends what has expired.
            if self.stopping && work.why.may_be_left() {
                self.finish(&work);
            } else {
                self.undecided.works.push(Work { again: 0, ..work });
            }
        }
        self.retry_later();
        for (conn, id) in adopting {
            self.adopts_later(conn, id);
        }
    }

    /// This part of the store can: its next piece at once.
    pub(super) fn decide_more(&mut self, part: Part) {
        let (were_many, piece) = (self.undecided.are_many(part), self.undecided.piece(part));
        self.finds.extend(self.undecided.works.take_of(part, piece));
        if were_many && !self.undecided.are_many(part) {
            // There may be work in a part that they were not asked for last.
            for name in std::mem::take(&mut self.undecided.kept_back) {
                self.on_work(&name);
            }
        }
    }

    pub(super) fn on_retry(&mut self) {
        self.undecided.armed = false;
        let waiting: Vec<Part> = self.undecided.works.parts().collect();
        for part in waiting {
            self.decide_more(part);
        }
        self.retry_later();
    }

    /// Stops trying to end what has expired.
    pub(super) fn leave_expired(&mut self) {
        let waiting: Vec<Part> = self.undecided.works.parts().collect();
        for work in
            waiting.into_iter().flat_map(|part| self.undecided.works.take_of(part, usize::MAX)).collect::<Vec<_>>()
        {
            if work.why.may_be_left() {
                self.finish(&work);
            } else {
                self.undecided.works.push(work);
            }
        }
    }

    fn retry_later(&mut self) {
        if !self.undecided.works.is_empty() && !std::mem::replace(&mut self.undecided.armed, true) {
            self.arm(limits::STORE_RETRY, Timer::Retry);
        }
    }
}
