//! How often something may be tried: a bucket of tokens for each key, such as an address.
//!
//! **Invariant:** what is kept is bounded, however many keys there are.

use std::{collections::BTreeMap, time::Duration};

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
    keys_max: usize,
}

impl<K: Ord + Clone> Throttle<K> {
    /// Full buckets for everybody; of at most so many keys it is known that theirs are not.
    pub const fn new(keys_max: usize) -> Self {
        Self { full_at: BTreeMap::new(), keys_max }
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
        if !self.full_at.contains_key(key) {
            self.make_room(now);
        }
        let full_at = self.full_at.entry(key.clone()).or_insert(now);
        *full_at = (*full_at).max(now) + rate.every;
    }

    /// Forgets who is as good as unknown; if that is nobody, whoever would be next.
    fn make_room(&mut self, now: Mono) {
        if self.full_at.len() < self.keys_max {
            return;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= self.keys_max {
            let next = self.full_at.iter().min_by_key(|(_, full_at)| **full_at).map(|(key, _)| key.clone());
            next.map(|key| self.full_at.remove(&key));
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
        assert_eq!(throttle.full_at.len(), 10);
        assert!(throttle.wait(&u64::MAX, RATE, at(0)).is_some());
    }
}
