//! Which deliveries.

use super::{Page, Range};
use crate::{
    delivery::{Delivery, Reason, State},
    id::EventId,
    name::Name,
};

/// Which deliveries. The combinations a store must serve at constant cost: `event` alone; `destination` with or without
/// one state; states alone; `reason` with or without `destination` (states dead and expired); `source` with any of them is
/// a filter on top and may scan, at most 10,000 rows a page. Each with a time range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Of this event.
    pub event: Option<EventId>,
    /// Of this source.
    pub source: Option<Name>,
    /// Of this destination.
    pub destination: Option<Name>,
    /// In one of these states; empty: in any.
    pub states: Vec<State>,
    /// Ended for this reason.
    pub reason: Option<Reason>,
    /// Made in this range (dead letters: ended in this range).
    pub range: Range,
}

impl DeliveryFilter {
    /// Whether a delivery is one of those.
    pub fn matches(&self, found: &Delivery) -> bool {
        let at = if self.comes_by_end() { found.changed_at } else { found.id.minted_at() };
        self.event.is_none_or(|event| found.event == event)
            && self.source.as_ref().is_none_or(|source| found.source == *source)
            && self.destination.as_ref().is_none_or(|destination| found.destination == *destination)
            && (self.states.is_empty() || self.states.contains(&found.state))
            && self.reason.is_none_or(|reason| found.reason == Some(reason))
            && self.range.contains(at)
    }

    /// Whether the deliveries come, and are ranged, by when they ended: whoever looks for dead letters of a time means
    /// those that ended then. All others come by when they were made. The newest is first either way.
    pub fn comes_by_end(&self) -> bool {
        let only_ended_badly = self.states.iter().all(|state| state.is_dead_letter());
        self.range != Range::default()
            && self.event.is_none()
            && (self.reason.is_some() || (only_ended_badly && !self.states.is_empty()))
    }
}

/// A page of the deliveries that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageAsk {
    /// Which.
    pub filter: DeliveryFilter,
    /// Where it starts and how long it is.
    pub page: Page,
}
