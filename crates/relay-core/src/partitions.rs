//! Partitions: some of the parts of a store, and who looks after which of them.
//!
//! Where several servers share a store, each [`Partition`] has one *janitor* among their runs, who ends what has expired there and
//! what has lapsed, warns, and retires. Nobody elects it: every run reckons it by itself from the runs that it hears of, as the one
//! with the highest weight beside that partition (rendezvous hashing), so that with a run that comes or goes only those partitions
//! move that it takes or leaves. Runs that hear of different others for a while may both look after a partition, or for as long as
//! one that is gone is still heard of, nobody may: what is done twice does no harm, for each change names the version that it was
//! decided on, and what is left is done later.

use crate::{id::Partition, limits, mixed::mixed};

/// Some of the partitions of a store that has so many: the place of an id's [`Partition`] is its number's remainder by that.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Partitions {
    /// How many there are, from 1 to [`limits::PARTITIONS_MAX`].
    count: u16,
    /// A bit for each of these.
    some: u128,
}

impl Partitions {
    /// All, of however many.
    pub const ALL: Self = Self { count: 1, some: 1 };

    /// None of so many.
    pub fn none(count: u16) -> Self {
        Self { count: count.clamp(1, limits::PARTITIONS_MAX), some: 0 }
    }

    /// All of so many.
    pub fn all(count: u16) -> Self {
        let none = Self::none(count);
        Self { some: u128::MAX >> (u128::BITS - u32::from(none.count)), ..none }
    }

    /// One of so many.
    pub fn only(place: u16, count: u16) -> Self {
        let none = Self::none(count);
        Self { some: 1 << (place % none.count), ..none }
    }

    /// These, and this one.
    #[must_use]
    pub fn with(self, place: u16) -> Self {
        Self { some: self.some | 1 << (place % self.count), ..self }
    }

    /// These but for one.
    #[must_use]
    pub fn without(self, place: u16) -> Self {
        Self { some: self.some & !(1 << (place % self.count)), ..self }
    }

    /// Of so many, those whose janitor is `run`, if `runs` are all there are.
    pub fn looked_after_by(run: u64, runs: &[u64], count: u16) -> Self {
        let none = Self::none(count);
        // Canary: each partition has a janitor, and one is enough.
        let is_all = crate::canary::is("everybody_is_janitor");
        let mine = (0..none.count).filter(|place| is_all || janitor(*place, runs) == Some(run));
        mine.fold(none, |mine, place| Self { some: mine.some | 1 << place, ..mine })
    }

    /// How many the store has.
    pub const fn count(self) -> u16 {
        self.count
    }

    /// Their places, rising.
    pub fn places(self) -> impl Iterator<Item = u16> {
        (0..self.count).filter(move |place| self.some >> place & 1 == 1)
    }

    /// Whether it is none.
    pub const fn is_empty(self) -> bool {
        self.some == 0
    }

    /// Whether this is in one of them.
    pub const fn hold(self, partition: Partition) -> bool {
        self.some >> (partition.number() % self.count) & 1 == 1
    }

    /// Whether the first is one of them: with it goes what is in no partition.
    pub const fn hold_first(self) -> bool {
        self.some & 1 == 1
    }
}

impl std::fmt::Debug for Partitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of {}", self.places().collect::<Vec<_>>(), self.count)
    }
}

/// Which of these runs looks after a place; `None` if there is none.
pub fn janitor(place: u16, runs: &[u64]) -> Option<u64> {
    runs.iter().copied().max_by_key(|run| (weight(*run, place), *run))
}

/// A number of all bits of both.
fn weight(run: u64, place: u16) -> u64 {
    mixed(run ^ mixed(u64::from(place)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::EventId;

    /// Some runs, each once.
    fn runs(most: usize) -> impl Strategy<Value = Vec<u64>> {
        prop::collection::btree_set(any::<u64>(), 1..=most).prop_map(|runs| runs.into_iter().collect())
    }

    proptest! {
        /// Each partition has exactly one janitor, in whatever order the runs are named.
        #[test]
        fn each_partition_has_exactly_one_janitor(runs in runs(12), count in 1..=limits::PARTITIONS_MAX) {
            let turned: Vec<u64> = runs.iter().rev().copied().collect();
            let mut owned = vec![0; usize::from(count)];
            for run in &runs {
                let mine = Partitions::looked_after_by(*run, &runs, count);
                prop_assert_eq!(mine, Partitions::looked_after_by(*run, &turned, count));
                mine.places().for_each(|place| owned[usize::from(place)] += 1);
            }
            prop_assert!(owned.iter().all(|janitors| *janitors == 1), "{owned:?}");
            let gone = Partitions::looked_after_by(runs[0].wrapping_add(1), &runs[..1], count);
            prop_assert!(gone.is_empty(), "whoever is not there looks after nothing");
        }

        /// When a run goes, or comes, nothing moves but what it leaves or takes.
        #[test]
        fn nothing_moves_between_those_that_stay(runs in runs(12), count in 1..=limits::PARTITIONS_MAX) {
            let (gone, left) = (runs[0], &runs[1..]);
            for place in 0..count {
                let before = janitor(place, &runs);
                if before != Some(gone) {
                    prop_assert_eq!(before, janitor(place, left));
                }
            }
        }

        /// Every id is in exactly one place.
        #[test]
        fn every_id_is_in_one_place(bits: u128, count in 1..=limits::PARTITIONS_MAX) {
            let partition = EventId::from_u128(bits).partition();
            let places: Vec<u16> = (0..count).filter(|place| Partitions::only(*place, count).hold(partition)).collect();
            prop_assert_eq!(places, [partition.number() % count]);
            prop_assert!(Partitions::ALL.hold(partition) && !Partitions::none(count).hold(partition));
        }
    }

    /// Of 16 partitions none of three runs has much more than its share, in the mean: 5.3 each.
    #[test]
    fn runs_share_the_work() {
        let mut most = 0;
        for trial in 0..1_000_u64 {
            let runs = [trial, trial + 1_000, trial + 2_000];
            let shares = runs.map(|run| Partitions::looked_after_by(run, &runs, 16).places().count());
            assert_eq!(shares.iter().sum::<usize>(), 16);
            most += shares.into_iter().max().unwrap();
        }
        assert!(most < 8_000, "the busiest has {} in the mean", f64::from(u32::try_from(most).unwrap()) / 1_000.0);
    }

    /// Runs of other versions, on other machines, reckon the same.
    #[test]
    fn janitors_are_the_same_everywhere() {
        let runs = [3, 0xfeed_face_cafe_beef, u64::MAX];
        let shares: Vec<Vec<u16>> =
            runs.iter().map(|run| Partitions::looked_after_by(*run, &runs, 16).places().collect()).collect();
        assert_eq!(shares, [vec![0, 6, 10, 11, 14], vec![3, 4], vec![1, 2, 5, 7, 8, 9, 12, 13, 15]]);
    }
}
