//! How much came and went, minute by minute, for a day: in memory, from counters that are read anyway.
//!
//! **Invariant:** nothing is read for it, and it takes the same room whatever comes: a day of minutes, and the first 256 sources. Minutes
//! that nobody looked at are not known: they are never told as minutes in which nothing came, and what came in them is in no other. It begins
//! anew with the server, and while the machine sleeps no minute passes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use relay_core::{
    name::Name,
    time::{Mono, Now, Wall},
};
use relay_store::seam::{SourceStats, Stats};

use crate::metrics::{Metrics, UNKNOWN_SOURCE};

/// Minutes that are kept.
pub(crate) const MINUTES_MAX: usize = 24 * 60;
/// Sources that are counted each.
const NAMED_MAX: usize = 256;
/// One of them.
const MINUTE: Duration = Duration::from_mins(1);

/// Counts what moves, at each look at the counters.
#[derive(Debug, Default)]
pub(crate) struct Trend {
    metrics: Arc<Metrics>,
    ring: Mutex<Ring>,
}

/// Some minutes, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// When the first of them began.
    pub(crate) since: Wall,
    /// When the server began, if that is later.
    pub(crate) known_since: Option<Wall>,
    /// The last one is under way. `None`: nobody looked.
    pub(crate) minutes: Vec<Option<Flow>>,
}

/// What moved, of all sources and destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Events that were accepted.
    pub(crate) accepted: u64,
    /// Deliveries that targets took.
    pub(crate) delivered: u64,
    /// Deliveries that this server ended without success.
    pub(crate) ended: u64,
    /// Requests that sources refused at this server.
    pub(crate) refused: u64,
}

#[derive(Debug, Default)]
struct Ring {
    /// The counters as they were last seen.
    seen: Option<Flow>,
    /// When that was.
    noted: Option<Mono>,
    /// Those that were looked at, by their number since the start.
    minutes: VecDeque<(u64, Flow)>,
    sources: BTreeMap<Name, SourceFlow>,
}

/// What one source accepted.
#[derive(Debug, Default)]
struct SourceFlow {
    seen: u64,
    minute: u64,
    in_minute: u64,
    in_minute_before: u64,
}

impl Trend {
    /// Of the store's counters, and of what this process counts.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, ring: Mutex::default() }
    }

    /// The counters as a look saw them that began then and is done at that time. The first look is what later ones are compared with.
    pub(crate) fn note(&self, stats: &Stats, began: Mono, at: Mono) {
        let refused = self.metrics.refused_by_source();
        let counted = Flow {
            accepted: stats.sources.iter().map(|stats| stats.accepted).sum(),
            delivered: stats.destinations.iter().map(|stats| stats.outcomes[0]).sum(),
            ended: self.metrics.ended_so_far(),
            refused: refused.iter().filter(|(source, _)| *source != UNKNOWN_SOURCE).map(|(_, count)| count).sum(),
        };
        self.lock().note(counted, &stats.sources, began, at);
    }

    /// The latest minutes.
    pub(crate) fn latest(&self, minutes: usize, now: Now) -> Stretch {
        let (ring, last) = (self.lock(), minute(now.mono));
        let known: BTreeMap<u64, Flow> = ring.minutes.iter().copied().collect();
        let back = minutes.min(MINUTES_MAX) as u64;
        let of = |ago| last.checked_sub(ago).and_then(|minute| known.get(&minute).copied());
        let ago = |span: Duration| now.wall - span;
        let run = now.mono.since(Mono::default());
        let since = run.saturating_sub(MINUTE * last as u32) + MINUTE * (back.saturating_sub(1)) as u32;
        let minutes = (0..back).rev().map(of).collect();
        Stretch { since: ago(since), known_since: (run < since).then(|| ago(run)), minutes }
    }

    /// What a source accepted in the latest whole minute; none where that is not known.
    pub(crate) fn a_minute(&self, source: &Name, at: Mono) -> Option<u64> {
        let (ring, before) = (self.lock(), minute(at).checked_sub(1)?);
        ring.minutes.iter().rev().take(2).find(|(minute, _)| *minute == before)?;
        let of = ring.sources.get(source)?;
        Some(match of.minute {
            minute if minute == before => of.in_minute,
            minute if minute == before + 1 => of.in_minute_before,
            _ => 0,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn note(&mut self, counted: Flow, sources: &[SourceStats], began: Mono, at: Mono) {
        // Looks run beside each other: what was read before the last one was noted may be older than that, and the difference would count twice.
        if self.noted.is_some_and(|noted| began < noted) {
            return;
        }
        let (before, minute) = (self.noted.replace(at), minute(at));
        let is_first = self.seen.is_none();
        let moved = counted.since(&self.seen.replace(counted).unwrap_or(counted));
        // What moved while nobody looked did so in nobody knows which minute.
        let is_known = before.is_none_or(|before| at.since(before) <= MINUTE);
        match self.minutes.back_mut().filter(|(at, _)| *at >= minute) {
            _ if !is_known => {}
            Some((_, of)) => *of = of.and(moved),
            None => self.minutes.push_back((minute, moved)),
        }
        while self.minutes.front().is_some_and(|(at, _)| at + MINUTES_MAX as u64 <= minute) {
            self.minutes.pop_front();
        }
        let is_cut = sources.len() > NAMED_MAX;
        for stats in sources.iter().take(NAMED_MAX) {
            // Of one that came into sight just now it is not known when its events came.
            let seen = if is_first || is_cut { stats.accepted } else { 0 };
            let of = self.sources.entry(stats.source.clone()).or_insert(SourceFlow { seen, ..SourceFlow::default() });
            of.note(stats.accepted, minute, is_known);
        }
        if self.sources.len() > NAMED_MAX {
            self.sources.retain(|_, of| of.minute == minute);
        }
    }
}

impl SourceFlow {
    fn note(&mut self, accepted: u64, minute: u64, is_known: bool) {
        if self.minute < minute {
            self.in_minute_before = if self.minute + 1 == minute { self.in_minute } else { 0 };
            (self.minute, self.in_minute) = (minute, 0);
        }
        let moved = accepted.saturating_sub(std::mem::replace(&mut self.seen, accepted));
        self.in_minute += if is_known { moved } else { 0 };
    }
}

impl Flow {
    /// What came since; of a store that was restored, or emptied, nothing.
    fn since(self, before: &Self) -> Self {
        Self {
            accepted: self.accepted.saturating_sub(before.accepted),
            delivered: self.delivered.saturating_sub(before.delivered),
            ended: self.ended.saturating_sub(before.ended),
            refused: self.refused.saturating_sub(before.refused),
        }
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            delivered: self.delivered + other.delivered,
            ended: self.ended + other.ended,
            refused: self.refused + other.refused,
        }
    }
}

/// The number of a minute since the start.
fn minute(at: Mono) -> u64 {
    at.since(Mono::default()).as_secs() / MINUTE.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Mono {
        Mono::default() + Duration::from_secs(seconds)
    }

    fn accepted(counts: &[(&str, u64)]) -> Stats {
        let stats = |(source, accepted): &(&str, u64)| SourceStats {
            source: name(source),
            accepted: *accepted,
            stored: *accepted,
            retired: 0,
            duplicates: 0,
        };
        Stats { sources: counts.iter().map(stats).collect(), ..Stats::default() }
    }

    fn now(seconds: u64) -> Now {
        Now { wall: Wall::from_micros(1_000_000_000_000_000) + Duration::from_secs(seconds), mono: at(seconds) }
    }

    fn shown(trend: &Trend, minutes: usize, seconds: u64) -> Vec<Option<u64>> {
        trend.latest(minutes, now(seconds)).minutes.into_iter().map(|one| one.map(|moved| moved.accepted)).collect()
    }

    #[test]
    fn what_came_before_the_start_is_in_no_minute_and_minutes_without_a_look_are_not_known() {
        let trend = Trend::default();
        trend.note(&accepted(&[("a", 1000)]), at(0), at(0));
        trend.note(&accepted(&[("a", 1007)]), at(30), at(30));
        trend.note(&accepted(&[("a", 1007)]), at(60), at(60));
        trend.note(&accepted(&[("a", 1009)]), at(185), at(185));
        // What came in two minutes without a look is of none of them, nor of the one in which somebody looked again.
        assert_eq!(shown(&trend, 6, 186), [None, None, Some(7), Some(0), None, None]);
        let span = trend.latest(6, now(186));
        assert_eq!((span.since, span.known_since), (now(0).wall - Duration::from_mins(2), Some(now(0).wall)));
        assert_eq!(trend.latest(2, now(186)).known_since, None);
        // The store was put back to where it was: that is no negative number, and counting goes on from there.
        trend.note(&accepted(&[("a", 500)]), at(186), at(186));
        trend.note(&accepted(&[("a", 501)]), at(187), at(187));
        assert_eq!(shown(&trend, 1, 187), [Some(1)]);
    }

    /// The more likely the slower the store is: of two looks the one that began first may be noted last.
    #[test]
    fn what_an_older_look_saw_is_not_counted_again() {
        let trend = Trend::default();
        trend.note(&accepted(&[("a", 0)]), at(60), at(60));
        trend.note(&accepted(&[("a", 10)]), at(62), at(63));
        trend.note(&accepted(&[("a", 5)]), at(61), at(64));
        trend.note(&accepted(&[("a", 10)]), at(65), at(65));
        assert_eq!(shown(&trend, 1, 66), [Some(10)]);
        trend.note(&accepted(&[("a", 10)]), at(120), at(120));
        assert_eq!(trend.a_minute(&name("a"), at(120)), Some(10));
    }

    #[test]
    fn a_source_has_what_it_accepted_in_the_latest_whole_minute() {
        let trend = Trend::default();
        trend.note(&accepted(&[("a", 40)]), at(0), at(0));
        assert_eq!(trend.a_minute(&name("a"), at(59)), None, "there is no whole minute yet");
        trend.note(&accepted(&[("a", 45), ("b", 2)]), at(59), at(59));
        trend.note(&accepted(&[("a", 46), ("b", 2)]), at(61), at(61));
        assert_eq!(["a", "b", "c"].map(|source| trend.a_minute(&name(source), at(61))), [Some(5), Some(2), None]);
        trend.note(&accepted(&[("a", 46), ("b", 2)]), at(121), at(121));
        assert_eq!(["a", "b"].map(|source| trend.a_minute(&name(source), at(121))), [Some(1), Some(0)]);
        assert_eq!(trend.a_minute(&name("a"), at(400)), None, "nobody looked");
    }

    /// A day of looks, four a second at a thousand sources, takes no more room than that.
    #[test]
    fn it_is_bounded_whatever_comes() {
        let trend = Trend::default();
        let names: Vec<String> = (0..1000).map(|number| format!("s{number}")).collect();
        for minute in 0..2000 {
            let shown = names.iter().skip(minute % 700).take(300).map(|name| (name.as_str(), minute as u64));
            trend.note(&accepted(&shown.collect::<Vec<_>>()), at(minute as u64 * 60), at(minute as u64 * 60));
        }
        let ring = trend.lock();
        assert_eq!(ring.minutes.len(), MINUTES_MAX);
        assert!(ring.sources.len() <= NAMED_MAX, "{}", ring.sources.len());
        drop(ring);
        assert_eq!(trend.latest(usize::MAX, now(0)).minutes.len(), MINUTES_MAX);
    }

    #[test]
    fn refusals_of_strangers_at_no_source_are_not_in_it() {
        let metrics = Arc::new(Metrics::default());
        let trend = Trend::new(Arc::clone(&metrics));
        trend.note(&Stats::default(), at(0), at(0));
        metrics.refused(UNKNOWN_SOURCE, "not_found");
        metrics.refused("a", "bad_signature");
        metrics.ended(&name("crm"), relay_core::delivery::Reason::Rejected);
        trend.note(&Stats::default(), at(1), at(1));
        assert_eq!(trend.latest(1, now(1)).minutes, [Some(Flow { refused: 1, ended: 1, ..Flow::default() })]);
    }
}
