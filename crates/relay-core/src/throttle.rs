//! How often something may be tried: a bucket of tokens for each key, such as an address.
//!
//! **Invariant:** what is kept is bounded, however many keys there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    time::Duration,
};

use crate::{limits, time::Mono};

/// How often: so many at once, and one more each time this long has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// Between two in the long run.
    pub every: Duration,
}

/// The units of time in which rates are written.
const UNITS: [(&str, Duration); 3] =
    [("s", Duration::from_secs(1)), ("min", Duration::from_mins(1)), ("h", Duration::from_hours(1))];

impl Rate {
    /// So many in that time: all of them may come at once.
    pub fn of(times: u32, within: Duration) -> Self {
        Self { burst: times, every: within / times.max(1) }
    }
}

impl FromStr for Rate {
    type Err = String;

    /// `100/s`, `600/min` or `5000/h`; what is none of them says what would be right.
    fn from_str(text: &str) -> Result<Self, String> {
        let most = limits::REQUEST_RATE_MAX;
        let want = || format!("want a rate like 100/s, 600/min or 5000/h, of 1 to {most}");
        let (times, unit) = text.split_once('/').ok_or_else(want)?;
        let unit = match unit.trim() {
            "m" => "min",
            unit => unit,
        };
        let (_, within) = UNITS.into_iter().find(|(word, _)| *word == unit).ok_or_else(want)?;
        let times = Some(times.trim()).filter(|times| times.bytes().all(|byte| byte.is_ascii_digit()));
        let times = times.and_then(|times| times.parse().ok()).filter(|times| (1..=most).contains(times));
        times.map(|times| Self::of(times, within)).ok_or_else(want)
    }
}

impl fmt::Display for Rate {
    /// As it would be written; of one that was not read from a text, the nearest that can be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.every * self.burst;
        let distance = |(_, within): &(&str, Duration)| within.abs_diff(whole);
        let nearest = UNITS.into_iter().min_by_key(distance).map_or("s", |(word, _)| word);
        write!(f, "{}/{nearest}", self.burst)
    }
}

/// Buckets by key. A key that was not charged for long enough has a full one, and is not kept.
#[derive(Clone, Debug)]
pub struct Throttle<K> {
    /// When the bucket of a key is full again, and at which rate it fills: at another one it is another bucket.
    full_at: BTreeMap<K, (Mono, Rate)>,
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
        let missing = self.missing(key, rate, now);
        let wait = (missing + rate.every).saturating_sub(rate.every * rate.burst);
        (wait > Duration::ZERO).then_some(wait)
    }

    /// Takes a token from the key's bucket; how long to wait for one, if it holds none.
    pub fn take(&mut self, key: &K, rate: Rate, now: Mono) -> Option<Duration> {
        let wait = self.wait(key, rate, now);
        if wait.is_none() {
            self.charge(key, rate, now);
        }
        wait
    }

    /// Takes a token from the key's bucket, if it holds one.
    pub fn charge(&mut self, key: &K, rate: Rate, now: Mono) {
        if self.wait(key, rate, now).is_some() {
            return;
        }
        let full_at = now + self.missing(key, rate, now) + rate.every;
        match self.full_at.get(key) {
            Some((before, _)) => drop(self.next.remove(&(*before, key.clone()))),
            None => self.make_room(now),
        }
        self.full_at.insert(key.clone(), (full_at, rate));
        self.next.insert((full_at, key.clone()));
    }

    /// Puts a token back that was taken from the key's bucket; a full one stays full.
    pub fn give_back(&mut self, key: &K, rate: Rate, now: Mono) {
        let missing = self.missing(key, rate, now);
        let Some((before, _)) = self.full_at.get(key).copied().filter(|_| missing > Duration::ZERO) else { return };
        self.next.remove(&(before, key.clone()));
        self.full_at.remove(key);
        let left = missing.saturating_sub(rate.every);
        if left > Duration::ZERO {
            self.full_at.insert(key.clone(), (now + left, rate));
            self.next.insert((now + left, key.clone()));
        }
    }

    /// Of how many keys it is known that their buckets are not full.
    pub fn len(&self) -> usize {
        self.full_at.len()
    }

    /// Whether everybody has a full bucket, as far as is known.
    pub fn is_empty(&self) -> bool {
        self.full_at.is_empty()
    }

    /// Forgets whoever has a full bucket again.
    pub fn settle(&mut self, now: Mono) {
        while self.next.first().is_some_and(|(full_at, _)| *full_at <= now) {
            self.forget_next();
        }
    }

    /// Forgets so many of those who are next to have a full one.
    pub fn forget(&mut self, keys: usize) {
        (0..keys).for_each(|_| self.forget_next());
    }

    fn forget_next(&mut self) {
        if let Some((_, key)) = self.next.pop_first() {
            self.full_at.remove(&key);
        }
    }

    /// How long it takes until the key's bucket is full.
    fn missing(&self, key: &K, rate: Rate, now: Mono) -> Duration {
        let kept = self.full_at.get(key).filter(|(_, at)| *at == rate);
        kept.map_or(Duration::ZERO, |(full_at, _)| full_at.since(now))
    }

    /// Forgets who is as good as unknown; if that is nobody, whoever would be next. What is forgotten was put there once, so
    /// that it costs no more than that, however many keys there are.
    fn make_room(&mut self, now: Mono) {
        self.settle(now);
        self.forget((self.len() + 1).saturating_sub(self.keys_max));
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

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut throttle = Throttle::new(100);
        throttle.give_back(&"a", RATE, at(0));
        assert_eq!(let_through(&mut throttle, "a", at(0)), 3, "a full one stays full");
        throttle.give_back(&"a", RATE, at(0));
        assert_eq!(let_through(&mut throttle, "a", at(0)), 1);
        (0..5).for_each(|_| throttle.give_back(&"a", RATE, at(5)));
        assert!(throttle.is_empty() && throttle.next.is_empty());
        assert_eq!(let_through(&mut throttle, "a", at(5)), 3);
    }

    /// Who is given another rate is not held to what it owes at the one of before.
    #[test]
    fn another_rate_is_another_bucket() {
        let mut throttle = Throttle::new(100);
        let slow = Rate::of(5, Duration::from_hours(1));
        assert_eq!((0..9).filter(|_| throttle.take(&"a", slow, at(0)).is_none()).count(), 5);
        assert_eq!(throttle.wait(&"a", Rate::of(100, Duration::from_secs(1)), at(1)), None);
        assert_eq!(let_through(&mut throttle, "a", at(1)), 3);
        assert_eq!(throttle.next.len(), 1);
    }

    #[test]
    fn a_rate_is_written_as_it_is_read() {
        for text in ["1/s", "100/s", "100000/s", "7/min", "600/min", "1/h", "5000/h", "99999/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        assert_eq!("10 / m".parse(), Ok(Rate { burst: 10, every: Duration::from_secs(6) }));
        for text in
            ["", "10", "10/", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "10/day", "100001/s", "10/s/s", "4294967296/s"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    /// S36: over a day no more come than the rate says, and a burst beside it; no fewer, where as many ask.
    #[test]
    fn a_rate_is_kept_to_over_a_day() {
        for (text, day) in [("3/s", 259_200), ("7/min", 10_080), ("5000/h", 120_000)] {
            let (rate, mut throttle) = (text.parse::<Rate>().unwrap(), Throttle::new(10));
            let (mut now, mut taken) = (at(0), 0_u64);
            while now < at(86_400) {
                match throttle.take(&"a", rate, now) {
                    // The clock has whole microseconds.
                    Some(wait) => now = now + wait + Duration::from_micros(1),
                    None => taken += 1,
                }
            }
            let most = day + u64::from(rate.burst);
            assert!((most - day / 100..=most + 1 + day / 100).contains(&taken), "{text}: {taken}");
        }
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
        assert!(by_time.iter().all(|(key, full_at)| throttle.full_at[key].0 == *full_at) && by_time.len() == 3);
    }
}
