//! What sources refused lately: for operators, in memory only.
//!
//! **Invariant:** nothing of a request is kept but where it came from; the details are the verifiers' words, which hold no
//! secret and no payload.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use relay_core::{limits, time::Wall};

/// Microseconds in which one line is written per source and reason.
const MINUTE: i64 = 60_000_000;

/// One refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which check failed: the reason it is counted under.
    pub check: &'static str,
    /// What was wrong and what would be right.
    pub detail: String,
    /// When.
    pub at: Wall,
    /// From where.
    pub peer: Option<IpAddr>,
}

/// The latest refusals of each source, and the log lines about them.
#[derive(Debug, Default)]
pub struct Refusals {
    sources: Mutex<BTreeMap<String, Lately>>,
}

#[derive(Debug, Default)]
struct Lately {
    refused: VecDeque<Refused>,
    /// The minute of the last line about a reason, and how many were left out since.
    told: BTreeMap<&'static str, (i64, u64)>,
}

impl Refusals {
    /// Keeps a refusal of a source that exists.
    pub fn keep(&self, source: &str, refused: Refused) {
        let mut sources = self.lock();
        let lately = &mut of(&mut sources, source).refused;
        if lately.len() == limits::REFUSALS_KEPT {
            lately.pop_front();
        }
        lately.push_back(refused);
    }

    /// The latest refusals of a source, the newest first.
    pub fn of(&self, source: &str) -> Vec<Refused> {
        let sources = self.lock();
        sources.get(source).map_or_else(Vec::new, |lately| lately.refused.iter().rev().cloned().collect())
    }

    /// Whether a line about this may be written, and how many were left out before it: one a minute for each source and
    /// reason, for strangers can cause as many as they like.
    pub(crate) fn may_tell(&self, source: &str, reason: &'static str, now: Wall) -> Option<u64> {
        let mut sources = self.lock();
        let minute = now.as_micros() / MINUTE;
        let (told, left_out) = of(&mut sources, source).told.entry(reason).or_insert((i64::MIN, 0));
        if *told == minute {
            *left_out += 1;
            return None;
        }
        *told = minute;
        Some(std::mem::take(left_out))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Lately>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of<'a>(sources: &'a mut BTreeMap<String, Lately>, source: &str) -> &'a mut Lately {
    if !sources.contains_key(source) {
        sources.insert(source.to_owned(), Lately::default());
    }
    sources.get_mut(source).expect("it was put there above if it was missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Wall {
        Wall::from_micros(micros)
    }

    #[test]
    fn the_last_twenty_of_each_source_are_kept() {
        let refusals = Refusals::default();
        for number in 0..50 {
            let refused = Refused { check: "wrong_key", detail: number.to_string(), at: at(number), peer: None };
            refusals.keep("a", refused);
        }
        let kept = refusals.of("a");
        assert_eq!((kept.len(), &kept[0].detail[..], &kept[19].detail[..]), (20, "49", "30"));
        assert!(refusals.of("b").is_empty());
    }

    /// S27: nobody fills the log.
    #[test]
    fn one_line_a_minute_for_each_source_and_reason() {
        let refusals = Refusals::default();
        assert_eq!(refusals.may_tell("a", "wrong_key", at(0)), Some(0));
        for micros in 1..=3 {
            assert_eq!(refusals.may_tell("a", "wrong_key", at(micros)), None);
        }
        assert_eq!(refusals.may_tell("a", "bad_signature", at(4)), Some(0), "another reason");
        assert_eq!(refusals.may_tell("b", "wrong_key", at(4)), Some(0), "another source");
        assert_eq!(refusals.may_tell("a", "wrong_key", at(MINUTE)), Some(3), "says what was left out");
    }
}
