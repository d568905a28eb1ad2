//! How much of what comes to each source is refused.

use std::collections::{BTreeMap, VecDeque};

use crate::{limits, name::Name, time::Mono};

/// What came to the sources lately. Bounded by their number: strangers make none.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    sources: BTreeMap<Name, VecDeque<Sample>>,
}

/// What came to a source, counted from some start on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    /// To which.
    pub source: Name,
    /// Refused.
    pub refused: u64,
    /// Accepted.
    pub accepted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Mono,
    refused: u64,
    accepted: u64,
}

impl Shares {
    /// Takes the counts of all sources, and gives what came within [`limits::REFUSED_WITHIN`] to those of which most is refused:
    /// [`limits::REFUSED_LEAST`] at least, and no less than is accepted. Counts that were set back count from there.
    pub fn look(&mut self, counts: Vec<Came>, now: Mono) -> Vec<Came> {
        self.sources.retain(|source, _| counts.iter().any(|came| came.source == *source));
        counts.into_iter().filter_map(|came| self.take(came, now)).collect()
    }

    fn take(&mut self, came: Came, now: Mono) -> Option<Came> {
        let samples = self.sources.entry(came.source.clone()).or_default();
        if samples.back().is_some_and(|last| came.refused < last.refused || came.accepted < last.accepted) {
            samples.clear();
        }
        if samples.back().is_none_or(|last| now.since(last.at) >= limits::REFUSED_WITHIN / limits::REFUSED_SAMPLES) {
            samples.push_back(Sample { at: now, refused: came.refused, accepted: came.accepted });
        }
        while samples.get(1).is_some_and(|second| now.since(second.at) >= limits::REFUSED_WITHIN) {
            samples.pop_front();
        }
        let first = samples.front()?;
        let (refused, accepted) = (came.refused - first.refused, came.accepted - first.accepted);
        let is_much = refused >= limits::REFUSED_LEAST && refused >= accepted;
        is_much.then_some(Came { source: came.source, refused, accepted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(refused: u64, accepted: u64) -> Came {
        Came { source: "shop".parse().unwrap(), refused, accepted }
    }

    /// At second `now`, with so many refused and accepted of late.
    fn lately(shares: &mut Shares, now: u64, refused: u64, accepted: u64) -> Option<(u64, u64)> {
        let found = shares.look(vec![came(refused, accepted)], Mono::from_micros(now * 1_000_000));
        found.first().map(|came| (came.refused, came.accepted))
    }

    #[test]
    fn a_source_that_refuses_most_is_found_and_one_stray_request_is_not() {
        let mut shares = Shares::default();
        assert_eq!(lately(&mut shares, 0, 5_000, 0), None, "what was refused before is none of it");
        assert_eq!(lately(&mut shares, 5, 5_009, 0), None);
        assert_eq!(lately(&mut shares, 10, 5_010, 0), Some((10, 0)));
        assert_eq!(lately(&mut shares, 15, 5_010, 10), Some((10, 10)));
        assert_eq!(lately(&mut shares, 20, 5_010, 11), None, "most is accepted");
        assert_eq!(lately(&mut shares, 25, 5_100, 11), Some((100, 11)));
    }

    #[test]
    fn it_is_over_a_few_minutes_after_the_last_one() {
        let mut shares = Shares::default();
        assert_eq!(lately(&mut shares, 0, 0, 0), None);
        let found: Vec<u64> =
            (0..200).map(|look| look * 5).filter(|now| lately(&mut shares, *now, 50.min(*now), 0).is_some()).collect();
        assert_eq!(found.first(), Some(&10));
        assert!((340..=380).contains(found.last().unwrap()), "{found:?}");
        assert!(shares.sources.values().all(|samples| samples.len() <= limits::REFUSED_SAMPLES as usize + 1));
    }

    #[test]
    fn counts_that_are_set_back_and_sources_that_are_gone_start_anew() {
        let mut shares = Shares::default();
        lately(&mut shares, 0, 100, 100);
        assert_eq!(lately(&mut shares, 5, 3, 3), None);
        assert_eq!(lately(&mut shares, 10, 13, 3), Some((10, 0)));
        assert_eq!(shares.look(Vec::new(), Mono::from_micros(0)), []);
        assert!(shares.sources.is_empty());
    }
}
