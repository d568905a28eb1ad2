//! The counters behind [`Stats`](crate::seam::Stats), moved in the same step as what they count.

use std::collections::BTreeMap;

use relay_core::{
    delivery::{Delivery, State},
    name::Name,
};

use crate::tally::{DestinationTally, SourceTally};

/// Everything that is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) sources: BTreeMap<Name, SourceTally>,
    pub(super) destinations: BTreeMap<Name, DestinationTally>,
}

impl Counters {
    pub(super) fn source(&mut self, source: &Name) -> &mut SourceTally {
        self.sources.entry(source.clone()).or_default()
    }

    pub(super) fn destination(&mut self, destination: &Name) -> &mut DestinationTally {
        self.destinations.entry(destination.clone()).or_default()
    }

    /// A delivery came into being.
    pub(super) fn created(&mut self, delivery: &Delivery) {
        let tally = self.destination(&delivery.destination);
        tally.created += 1;
        tally.states[slot(delivery.state)] += 1;
    }

    /// A delivery changed. A try is new when `last` is another one than before.
    pub(super) fn changed(&mut self, before: &Delivery, next: &Delivery) {
        let tally = self.destination(&next.destination);
        tally.states[slot(before.state)] -= 1;
        tally.states[slot(next.state)] += 1;
        if let Some(attempt) = next.last.as_ref().filter(|attempt| before.last.as_ref() != Some(attempt)) {
            tally.outcomes[attempt.class as usize - 1] += 1;
            tally.retried += u64::from(attempt.number > 1);
        }
    }

    /// A delivery was removed by retention or purge.
    pub(super) fn retired(&mut self, delivery: &Delivery) {
        let tally = self.destination(&delivery.destination);
        tally.states[slot(delivery.state)] -= 1;
        tally.retired += 1;
    }
}

/// Where a state stands in [`State::ALL`].
pub(super) fn slot(state: State) -> usize {
    state as usize - 1
}
