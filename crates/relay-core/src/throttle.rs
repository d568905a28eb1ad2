//! How often something may be tried: a bucket of tokens for each key, such as an address.
//!
//! **Invariant:** what is kept is bounded, however many keys there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::time::Mono;

/// How often: so many at once, and one more each time this long has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// Between two in the long run.
    pub every: Duration,
}

/// Buckets by key. A key that was not charged for long enough has a full one, and is not kept.
#[derive(Clone, Debug)]
pub struct Throttle<K> {
    /// When the bucket of a key is full again.
    full_at: BTreeMap<K, Mono>,
    /// The same by time: who is to be forgotten next is the first.
    next: BTreeSet<(Mono, K)>,
    keys_max: usize,
}

impl<K: Ord + Clone> Throttle<K> {
    /// Full buckets for everybody; of at most so many keys it is known that theirs are not.
    pub const fn new(keys_max: usize) -> Self {
        Self { full_at: BTreeMap::new(), next: BTreeSet::new(), keys_max }
    }

    /// How long this key has to wait until its bucket holds a token; nothing, if it holds one now.
    pub fn wait(&self, key: &K, rate: Rate, now: Mono) -> Option<Duration> {
        let missing = self.full_at.get(key).map_or(Duration::ZERO, |full_at| full_at.since(now));
        let wait = (missing + rate.every).saturating_sub(rate.every * rate.burst);
        (wait > Duration::ZERO).then_some(wait)
    }

    /// Takes a token from the key's bucket, if it holds one.
    pub fn charge(&mut self, key: &K, rate: Rate, now: Mono) {
        if self.wait(key, rate, now).is_some() {
            return;
        }
        let before = self.full_at.get(key).copied();
        match before {
            Some(before) => drop(self.next.remove(&(before, key.clone()))),
            None => self.make_room(now),
        }
        let full_at = before.unwrap_or(now).max(now) + rate.every;
        self.full_at.insert(key.clone(), full_at);
        self.next.insert((full_at, key.clone()));
    }

    /// Forgets who is as good as unknown; if that is nobody, whoever would be next. What is forgotten was put there once, so
    /// that it costs no more than that, however many keys there are.
    fn make_room(&mut self, now: Mono) {
        while let Some((full_at, _)) = self.next.first()
            && (*full_at <= now || self.full_at.len() >= self.keys_max)
            && let Some((_, key)) = self.next.pop_first()
        {
            self.full_at.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(10) };

    fn at(seconds: u64) -> Mono {
        Mono::from_micros(seconds * 1_000_000)
    }

    /// How many of ten tries at this moment find a token.
    fn let_through(throttle: &mut Throttle<&'static str>, key: &'static str, now: Mono) -> usize {
        (0..10)
            .filter(|_| {
                let free = throttle.wait(&key, RATE, now).is_none();
                throttle.charge(&key, RATE, now);
                free
            })
            .count()
    }

    /// S23
    #[test]
    fn a_key_has_its_burst_and_then_one_at_a_time() {
        let mut throttle = Throttle::new(100);
        assert_eq!(let_through(&mut throttle, "a", at(0)), 3);
        assert_eq!(throttle.wait(&"a", RATE, at(0)), Some(Duration::from_secs(10)));
        assert_eq!(throttle.wait(&"a", RATE, at(9)), Some(Duration::from_secs(1)));
        assert_eq!(let_through(&mut throttle, "b", at(1)), 3, "another key");
        assert_eq!(let_through(&mut throttle, "a", at(10)), 1, "tries without a token cost none");
        assert_eq!(let_through(&mut throttle, "a", at(1_000)), 3, "no more than a burst is saved up");
    }

    /// However many keys come, no more are kept; the busiest stay.
    #[test]
    fn keys_without_number_do_not_fill_the_memory() {
        let mut throttle = Throttle::new(10);
        (0..3).for_each(|_| throttle.charge(&u64::MAX, RATE, at(0)));
        (0..1_000).for_each(|key| throttle.charge(&key, RATE, at(0)));
        assert_eq!((throttle.full_at.len(), throttle.next.len()), (10, 10));
        assert!(throttle.wait(&u64::MAX, RATE, at(0)).is_some());
    }

    /// Who has a full bucket again is forgotten with the next new key, and the order is that of the buckets.
    #[test]
    fn what_is_known_is_in_order_of_time() {
        let mut throttle = Throttle::new(3);
        for (key, seconds) in [("a", 0), ("b", 1), ("a", 2), ("c", 3)] {
            throttle.charge(&key, RATE, at(seconds));
        }
        throttle.charge(&"d", RATE, at(4));
        assert_eq!(throttle.full_at.keys().copied().collect::<Vec<_>>(), ["a", "c", "d"], "b is full next");
        throttle.charge(&"e", RATE, at(13));
        assert_eq!(throttle.full_at.keys().copied().collect::<Vec<_>>(), ["a", "d", "e"], "c is full again");
        let by_time: Vec<_> = throttle.next.iter().map(|(full_at, key)| (*key, *full_at)).collect();
        assert!(by_time.iter().all(|(key, full_at)| throttle.full_at[key] == *full_at) && by_time.len() == 3);
    }
}
