//! Lines: what waits for room at one client and destination, and how many bodies are out.

use std::collections::VecDeque;

use super::{Pair, Short, taken::Bulk};
use crate::{id::DeliveryId, time::Mono};

/// Names a line: bodies of one kind for one client and destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LineId {
    pub(super) pair: Pair,
    pub(super) bulk: Bulk,
}

/// The lines of both kinds at a client and destination.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) small: Line,
    pub(super) large: Line,
}

/// What waits for room in one line, and how many bodies are out.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) waiting: VecDeque<Waiting>,
    /// In which set its first is.
    pub(super) at: Short,
    /// Bodies that its client holds or is about to get.
    pub(super) out: usize,
    /// Those of them that have not left whole.
    pub(super) unsent: usize,
    /// When the last of them left.
    pub(super) left_at: Mono,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) place: u64,
    pub(super) id: DeliveryId,
    pub(super) body: u64,
    /// Its client has a part of it, and has had room for it since.
    pub(super) again: bool,
}

impl Lines {
    pub(super) fn of(&mut self, bulk: Bulk) -> &mut Line {
        match bulk {
            Bulk::Small => &mut self.small,
            Bulk::Large => &mut self.large,
        }
    }

    pub(super) fn are_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.out == 0 && self.unsent == 0
    }
}
