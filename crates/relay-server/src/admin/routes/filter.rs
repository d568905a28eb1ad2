//! Filters and pages, as they stand in queries and bodies.

use relay_core::{
    delivery::{Reason, State},
    time::Wall,
};
use relay_store::seam::{DeliveryFilter, EventFilter, Page, Range};
use serde::Deserialize;

use super::cursor::Order;
use crate::admin::{name, problem::AdminError};

/// Items of a page unless asked for otherwise.
const LIMIT: u32 = 50;
/// Most items of a page.
const LIMIT_MAX: u32 = 1000;

/// The query of a listing of events or deliveries.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    pub(super) event: Option<String>,
    pub(super) source: Option<String>,
    pub(super) destination: Option<String>,
    /// States, separated by commas.
    pub(super) state: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) since: Option<String>,
    pub(super) until: Option<String>,
    pub(super) cursor: Option<String>,
    pub(super) limit: Option<u32>,
}

impl Listing {
    pub(super) fn page(&self, order: Order) -> Result<Page, AdminError> {
        page(order, self.cursor.as_deref(), self.limit)
    }

    pub(super) fn events(&self) -> Result<EventFilter, AdminError> {
        if self.event.is_some() || self.destination.is_some() || self.state.is_some() || self.reason.is_some() {
            return Err(AdminError::Invalid("events are filtered by source, since and until only".into()));
        }
        Ok(EventFilter {
            source: self.source.as_deref().map(name).transpose()?,
            range: self.range()?,
            oldest_first: false,
        })
    }

    pub(super) fn deliveries(&self) -> Result<DeliveryFilter, AdminError> {
        let states = self.state.iter().flat_map(|states| states.split(',')).map(state).collect::<Result<_, _>>()?;
        let event = self.event.as_deref().map(str::parse).transpose();
        Ok(DeliveryFilter {
            event: event.map_err(|error: relay_core::id::IdError| AdminError::Invalid(error.to_string()))?,
            source: self.source.as_deref().map(name).transpose()?,
            destination: self.destination.as_deref().map(name).transpose()?,
            states,
            reason: self.reason.as_deref().map(reason).transpose()?,
            range: self.range()?,
        })
    }

    fn range(&self) -> Result<Range, AdminError> {
        range(self.since.as_deref(), self.until.as_deref())
    }
}

pub(super) fn page(order: Order, cursor: Option<&str>, limit: Option<u32>) -> Result<Page, AdminError> {
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(AdminError::Invalid(format!("limit is {limit}; want 1 to {LIMIT_MAX}")));
    }
    Ok(Page { cursor: order.read(cursor)?, limit })
}

pub(super) fn range(since: Option<&str>, until: Option<&str>) -> Result<Range, AdminError> {
    Ok(Range {
        since: since.map(|text| time("since", text)).transpose()?,
        until: until.map(|text| time("until", text)).transpose()?,
    })
}

pub(super) fn time(field: &str, text: &str) -> Result<Wall, AdminError> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    let wrong = |_| AdminError::Invalid(format!("{field} is {text:?}; want a time like 2026-11-23T18:00:00Z"));
    Ok(Wall::from_micros(parsed.map_err(wrong)?.as_microsecond()))
}

fn state(text: &str) -> Result<State, AdminError> {
    let known = State::ALL.map(State::as_str).join(", ");
    let found = State::ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| AdminError::Invalid(format!("no state {text:?}; known: {known}")))
}

fn reason(text: &str) -> Result<Reason, AdminError> {
    let known = Reason::ALL.map(Reason::as_str).join(", ");
    let found = Reason::ALL.into_iter().find(|reason| reason.as_str() == text);
    found.ok_or_else(|| AdminError::Invalid(format!("no reason {text:?}; known: {known}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_what_would_be_right() {
        let listing = Listing { state: Some("ready,gone".into()), ..Listing::default() };
        let error = listing.deliveries().unwrap_err().to_string();
        assert!(error.starts_with("no state \"gone\"; known: ready, scheduled"), "{error}");
        let listing = Listing { since: Some("yesterday".into()), ..Listing::default() };
        assert!(listing.events().unwrap_err().to_string().contains("2026-11-23T18:00:00Z"));
        let listing = Listing { limit: Some(0), ..Listing::default() };
        assert!(listing.page(Order::Events).unwrap_err().to_string().contains("1 to 1000"));
    }

    #[test]
    fn a_time_is_read_to_the_microsecond() {
        assert_eq!(time("since", "1970-01-01T00:00:01.000002Z").unwrap(), Wall::from_micros(1_000_002));
    }
}
