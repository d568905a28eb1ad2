//! How many deliveries a destination has in which states.

use relay_core::delivery::State;
use relay_store::seam::DestinationStats;

/// Deliveries of a destination in one state.
pub(crate) fn count(stats: &DestinationStats, state: State) -> u64 {
    stats.states[state as usize - 1]
}

/// Deliveries of a destination that are on their way.
pub(crate) fn open(stats: &DestinationStats) -> u64 {
    State::ALL.into_iter().filter(|state| state.is_open()).map(|state| count(stats, state)).sum()
}

/// Deliveries of a destination that nobody has at the moment.
pub(crate) fn waiting(stats: &DestinationStats) -> u64 {
    count(stats, State::Ready) + count(stats, State::Scheduled)
}
