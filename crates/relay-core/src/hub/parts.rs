//! What is gathered for the store, by the part of it that it is about.
//!
//! Parts of a store may be away each by itself: in a cluster each is at one of several nodes. What is asked of one part is done or
//! not, and waits, by itself, whatever becomes of the others.
//!
//! **Invariant:** no operation that names several ids mixes parts.

use std::collections::VecDeque;

use crate::{
    id::{DeliveryId, Partition},
    storage::Extend,
};

/// One of the parts of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part(u16);

impl Part {
    /// Where this is, of so many.
    pub(super) const fn of(partition: Partition, parts: u16) -> Self {
        Self(partition.number() % parts)
    }

    /// All of so many.
    pub(super) fn all(parts: u16) -> impl Iterator<Item = Self> {
        (0..parts).map(Self)
    }

    /// Its number, below that of the parts.
    pub(super) const fn number(self) -> u16 {
        self.0
    }
}

/// What is about one delivery.
pub(super) trait OfDelivery {
    /// Which.
    fn delivery(&self) -> DeliveryId;
}

impl OfDelivery for Extend {
    fn delivery(&self) -> DeliveryId {
        self.id
    }
}

/// A line for each part, in the order in which it came.
#[derive(Debug)]
pub(super) struct ByPart<T> {
    /// At least one.
    lines: Vec<VecDeque<T>>,
    /// In all of them.
    len: usize,
}

impl<T: OfDelivery> ByPart<T> {
    /// Nothing, of a store of so many parts.
    pub(super) fn new(parts: u16) -> Self {
        Self { lines: (0..parts.max(1)).map(|_| VecDeque::new()).collect(), len: 0 }
    }

    /// Which part a delivery is in.
    pub(super) fn part_of(&self, id: DeliveryId) -> Part {
        Part::of(id.partition(), self.lines.len() as u16)
    }

    /// This is gathered.
    pub(super) fn push(&mut self, one: T) {
        let part = self.part_of(one.delivery());
        self.line(part).push_back(one);
        self.len += 1;
    }

    /// How much there is.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How much there is of one part.
    pub(super) fn len_of(&self, part: Part) -> usize {
        self.lines[usize::from(part.0)].len()
    }

    /// All there is.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.lines.iter().flatten()
    }

    /// Parts of which there is anything, the first first.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        self.lines.iter().zip(0..).filter(|(line, _)| !line.is_empty()).map(|(_, part)| Part(part))
    }

    /// Takes at most so many of a part, the first first.
    pub(super) fn take_of(&mut self, part: Part, most: usize) -> Vec<T> {
        let line = self.line(part);
        let taken: Vec<T> = line.drain(..line.len().min(most)).collect();
        self.len -= taken.len();
        taken
    }

    /// Takes at most so many of the first part of which there is anything; nothing where there is nothing at all.
    pub(super) fn take(&mut self, most: usize) -> Vec<T> {
        let first = self.parts().next();
        first.map_or_else(Vec::new, |part| self.take_of(part, most))
    }

    /// The same as long as they fit.
    pub(super) fn take_while(&mut self, mut fits: impl FnMut(&T) -> bool) -> Vec<T> {
        let Some(part) = self.parts().next() else { return Vec::new() };
        let most = self.lines[usize::from(part.0)].iter().take_while(|one| fits(one)).count();
        self.take_of(part, most)
    }

    fn line(&mut self, part: Part) -> &mut VecDeque<T> {
        &mut self.lines[usize::from(part.0)]
    }
}

impl<T: OfDelivery> std::iter::Extend<T> for ByPart<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, more: I) {
        more.into_iter().for_each(|one| self.push(one));
    }
}
