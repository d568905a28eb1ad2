//! What sources refused lately: for operators, in memory only.
//!
//! **Invariant:** nothing of a request is kept but where it came from; the details are the verifiers' words, which hold no
//! secret and no payload.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use relay_core::{
    limits,
    lines::LogLines,
    time::{Mono, Wall},
};
use relay_net::origin::Origin;

use crate::api;

/// One refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptRefusal {
    /// Which check failed: the reason it is counted under.
    pub(crate) check: &'static str,
    /// What was wrong and what would be right.
    pub(crate) detail: String,
    /// When.
    pub(crate) at: Wall,
    /// From where.
    pub(crate) origin: Origin,
}

/// A request that found no source, or nothing at all: most likely a URL that was mistyped at a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missed {
    /// When.
    pub(crate) at: Wall,
    /// Its method, visible.
    pub(crate) method: String,
    /// Its path without the query, the beginning of it, visible.
    pub(crate) path: String,
    /// From where.
    pub(crate) origin: Origin,
    /// What it was answered.
    pub(crate) status: u16,
}

/// How many of a kind were refused since the first that was no hour before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How many.
    pub(crate) count: u64,
    /// When the first.
    pub(crate) first: Wall,
    /// When the latest.
    pub(crate) last: Wall,
    /// From where that one.
    pub(crate) origin: Origin,
}

/// The latest refusals of each source, what found none, and the log lines about them.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    missed: Mutex<VecDeque<Missed>>,
    sources: Mutex<BTreeMap<String, Lately>>,
}

#[derive(Debug, Default)]
struct Lately {
    refused: VecDeque<KeptRefusal>,
    /// How many, by check: as many kinds as there are checks.
    tallies: BTreeMap<&'static str, Tally>,
    /// Lines about it, by reason: as many kinds as there are checks.
    lines: LogLines<&'static str>,
}

impl Missed {
    /// What is kept of a request's words: a limited number of bytes, everything but plain ASCII written as `\xNN`.
    pub(crate) fn visible(bytes: &[u8]) -> String {
        let begin = &bytes[..bytes.len().min(limits::MISS_PATH_BYTES)];
        let more = if begin.len() < bytes.len() { "..." } else { "" };
        let text: String = begin.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
        text + more
    }
}

impl Refusals {
    /// Keeps a refusal of a source that exists.
    pub(crate) fn keep(&self, source: &str, refused: KeptRefusal) {
        let mut sources = self.lock();
        let lately = of(&mut sources, source);
        lately.count(refused.check, refused.at, refused.origin);
        if lately.refused.len() == limits::REFUSALS_KEPT {
            lately.refused.pop_front();
        }
        lately.refused.push_back(refused);
    }

    /// Counts what was not let in at an entrance.
    pub(crate) fn count(&self, entrance: &str, kind: &'static str, at: Wall, origin: Origin) {
        of(&mut self.lock(), entrance).count(kind, at, origin);
    }

    /// What was refused at a source or an entrance within the last hour, by check.
    pub(crate) fn tallies(&self, of: &str, now: Wall) -> Vec<(&'static str, Tally)> {
        let sources = self.lock();
        let tallies = sources.get(of).into_iter().flat_map(|lately| &lately.tallies);
        let shown = tallies.filter(|(_, tally)| now.since(tally.last) <= limits::REFUSALS_SHOWN);
        shown.map(|(check, tally)| (*check, *tally)).collect()
    }

    /// Keeps a request that found nothing.
    pub(crate) fn miss(&self, missed: Missed) {
        let mut kept = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == limits::MISSES_KEPT {
            kept.pop_front();
        }
        kept.push_back(missed);
    }

    /// The latest requests that found nothing, the newest first.
    pub(crate) fn missed(&self) -> Vec<Missed> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }

    /// The latest refusals of a source, the newest first.
    pub(crate) fn of(&self, source: &str) -> Vec<KeptRefusal> {
        let sources = self.lock();
        sources.get(source).map_or_else(Vec::new, |lately| lately.refused.iter().rev().cloned().collect())
    }

    /// Whether a line about this may be written, and how many were left out before it: one a minute for each source and
    /// reason, for strangers can cause as many as they like.
    pub(crate) fn may_tell(&self, source: &str, reason: &'static str, now: Mono) -> Option<u64> {
        let mut sources = self.lock();
        of(&mut sources, source).lines.may_tell(&reason, limits::LINES_OF_STRANGERS, now)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Lately>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lately {
    fn count(&mut self, check: &'static str, at: Wall, origin: Origin) {
        let tally = self.tallies.entry(check).or_insert(Tally { count: 0, first: at, last: at, origin });
        if at.since(tally.last) > limits::REFUSALS_SHOWN {
            (tally.count, tally.first) = (0, at);
        }
        *tally = Tally { count: tally.count + 1, last: at, origin, ..*tally };
    }
}

/// From where something came, for people; nothing of what came by a file alone.
pub(crate) fn came_from(origin: &Origin) -> Option<String> {
    let peer = origin.ip().map(|ip| ip.to_string());
    api::came_from(peer.as_deref(), origin.proxy().as_deref())
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

    /// Strangers choose methods and paths: few are kept, short, and nothing in them moves a terminal.
    #[test]
    fn the_last_fifty_misses_are_kept_short_and_visible() {
        let refusals = Refusals::default();
        for number in 0..200_i64 {
            let path = Missed::visible(format!("/{number}\u{9b}2J\u{1b}{}", "x".repeat(8_000)).as_bytes());
            refusals.miss(Missed { at: at(number), method: "POST".into(), path, origin: Origin::local(), status: 404 });
        }
        let missed = refusals.missed();
        assert_eq!((missed.len(), missed[0].at, missed[49].at), (50, at(199), at(150)));
        assert!(
            missed[0].path.starts_with("/199\\xc2\\x9b2J\\x1bxx") && missed[0].path.len() < 90,
            "{}",
            missed[0].path
        );
    }

    #[test]
    fn the_last_twenty_of_each_source_are_kept() {
        let refusals = Refusals::default();
        for number in 0..50 {
            let (detail, origin) = (number.to_string(), Origin::local());
            let refused = KeptRefusal { check: "wrong_key", detail, at: at(number), origin };
            refusals.keep("a", refused);
        }
        let kept = refusals.of("a");
        assert_eq!((kept.len(), &kept[0].detail[..], &kept[19].detail[..]), (20, "49", "30"));
        assert!(refusals.of("b").is_empty());
    }

    /// What was refused is counted for as long as it goes on, and not shown for good.
    #[test]
    fn refusals_are_counted_until_there_was_none_for_an_hour() {
        let (refusals, minute) = (Refusals::default(), 60_000_000);
        let refuse = |check, minutes: i64| {
            let (detail, origin) = (String::new(), Origin::local());
            let refused = KeptRefusal { check, detail, at: at(minutes * minute), origin };
            refusals.keep("a", refused);
        };
        let shown = |minutes: i64| {
            let tallies = refusals.tallies("a", at(minutes * minute)).into_iter();
            tallies.map(|(check, tally)| (check, tally.count)).collect::<Vec<_>>()
        };
        (0..100).for_each(|minutes| refuse("wrong_key", minutes));
        refuse("stale", 70);
        assert_eq!(shown(100), [("stale", 1), ("wrong_key", 100)], "more than are kept");
        assert_eq!(shown(140), [("wrong_key", 100)]);
        assert_eq!(shown(160), []);
        refuse("wrong_key", 160);
        assert_eq!(shown(160), [("wrong_key", 1)], "what was put right long ago is another story");
        assert!(refusals.tallies("b", at(0)).is_empty());
    }

    /// S27: nobody fills the log.
    #[test]
    fn one_line_a_minute_for_each_source_and_reason() {
        let refusals = Refusals::default();
        let seconds = |seconds: u64| Mono::from_micros(seconds * 1_000_000);
        assert_eq!(refusals.may_tell("a", "wrong_key", seconds(0)), Some(0));
        for second in 1..=3 {
            assert_eq!(refusals.may_tell("a", "wrong_key", seconds(second)), None);
        }
        assert_eq!(refusals.may_tell("a", "bad_signature", seconds(4)), Some(0), "another reason");
        assert_eq!(refusals.may_tell("b", "wrong_key", seconds(4)), Some(0), "another source");
        assert_eq!(refusals.may_tell("a", "wrong_key", seconds(60)), Some(3), "says what was left out");
    }
}
