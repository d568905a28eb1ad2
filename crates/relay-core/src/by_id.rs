//! A table of deliveries by id, for what is looked up many times for each of them.
//!
//! **Invariant:** nobody can go through it, so the order that a hash gives is never seen.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use crate::{id::DeliveryId, limits};

/// Odd, and its bits are without a pattern: those of the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// What is known of deliveries, by their ids.
#[derive(Debug)]
pub(crate) struct ById<V>(HashMap<DeliveryId, V, BuildHasherDefault<IdHasher>>);

/// Ids are minted by servers, with a random tail: whoever else names one only looks it up, and cannot fill a table with those
/// that fall together.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl<V> ById<V> {
    pub(crate) fn get(&self, id: &DeliveryId) -> Option<&V> {
        self.0.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &DeliveryId) -> Option<&mut V> {
        self.0.get_mut(id)
    }

    pub(crate) fn contains_key(&self, id: &DeliveryId) -> bool {
        self.0.contains_key(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What was there before.
    pub(crate) fn insert(&mut self, id: DeliveryId, value: V) -> Option<V> {
        self.0.insert(id, value)
    }

    /// Takes one out. Of the memory for many that are gone most is given back.
    pub(crate) fn remove(&mut self, id: &DeliveryId) -> Option<V> {
        let removed = self.0.remove(id);
        let slots = self.0.capacity();
        if slots > limits::TABLE_PLACES_KEPT && self.0.len() < slots / 8 {
            self.0.shrink_to(slots / 4);
        }
        removed
    }
}

impl<V> Default for ById<V> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128((*byte).into());
        }
    }

    fn write_u128(&mut self, bits: u128) {
        let mixed = self.0 ^ (bits >> 64) as u64 ^ bits as u64;
        let product = u128::from(mixed) * u128::from(SPREAD);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::IdMint, time::Wall};

    /// What went in is found until it is taken out, and the memory for many does not stay.
    #[test]
    fn what_went_in_is_found_and_memory_comes_back() {
        let mut mint = IdMint::new(0, 7);
        let mut ids: Vec<_> = (0..100_000).map(|_| mint.delivery(Wall::from_micros(1_000_000))).collect();
        let mut table = ById::default();
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(table.insert(*id, number), None);
        }
        let kept = ids.split_off(ids.len() - 10);
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(table.remove(id), Some(number));
            assert!(!table.contains_key(id));
        }
        assert_eq!(table.len(), kept.len());
        assert!(kept.iter().all(|id| table.get(id).is_some()));
        assert!(table.0.capacity() < 4 * limits::TABLE_PLACES_KEPT, "{} slots", table.0.capacity());
    }

    /// Ids of one moment and one partition, which differ in few bits, do not fall together.
    #[test]
    fn ids_that_are_alike_are_spread() {
        let slots = |shift: u32| {
            let hash = |number: u128| {
                let mut hasher = IdHasher::default();
                hasher.write_u128(0x0123_4567_89ab_7000_8000_0000_0000_0000 ^ number << shift);
                hasher.finish()
            };
            let seen: std::collections::BTreeSet<u64> = (0..1024).map(|number| hash(number) % 4096).collect();
            seen.len()
        };
        for shift in [0, 14, 32, 64, 80] {
            assert!(
                slots(shift) > 512,
                "of 1,024 ids that differ from bit {shift} on {} have a slot alone",
                slots(shift)
            );
        }
    }
}
