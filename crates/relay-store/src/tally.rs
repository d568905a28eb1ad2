//! What is counted of one source, and of one destination, where a store counts in values.

use std::collections::BTreeMap;

use relay_core::{name::Name, time::Wall};

use crate::seam::{DestinationStats, SourceStats};

/// See [`SourceStats`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceTally {
    pub(crate) accepted: u64,
    pub(crate) stored: u64,
    pub(crate) retired: u64,
    pub(crate) duplicates: u64,
}

/// See [`DestinationStats`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DestinationTally {
    pub(crate) created: u64,
    pub(crate) states: [u64; 7],
    pub(crate) retired: u64,
    pub(crate) lost: u64,
    pub(crate) outcomes: [u64; 5],
    pub(crate) retried: u64,
}

/// What waits first at a destination: by its due time, and by the end of its TTL.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct First {
    pub(crate) due: Option<Wall>,
    pub(crate) expiry: Option<Wall>,
}

/// Counters of sources as shown.
pub(crate) fn shown_sources(sources: &BTreeMap<Name, SourceTally>) -> Vec<SourceStats> {
    let shown = |(source, tally): (&Name, &SourceTally)| SourceStats {
        source: source.clone(),
        accepted: tally.accepted,
        stored: tally.stored,
        retired: tally.retired,
        duplicates: tally.duplicates,
    };
    sources.iter().map(shown).collect()
}

/// Counters of destinations as shown, beside what waits first there.
pub(crate) fn shown_destinations(
    destinations: &BTreeMap<Name, DestinationTally>,
    first: impl Fn(&Name) -> First,
) -> Vec<DestinationStats> {
    let shown = |(destination, tally): (&Name, &DestinationTally)| {
        let First { due, expiry } = first(destination);
        DestinationStats {
            destination: destination.clone(),
            created: tally.created,
            states: tally.states,
            retired: tally.retired,
            lost: tally.lost,
            outcomes: tally.outcomes,
            retried: tally.retried,
            oldest_due: due,
            next_expiry: expiry,
        }
    };
    destinations.iter().map(shown).collect()
}
