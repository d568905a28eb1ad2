//! Filters and pages, as they stand in queries and bodies.

use std::collections::BTreeSet;

use relay_core::{
    delivery::{Reason, State as DeliveryState},
    glob::GlobError,
    name::Name,
    time::Wall,
};
use relay_store::seam::{DeliveryFilter, EventFilter, Page, Range};
use serde::Deserialize;

use super::cursor::Order;
use crate::{
    admin::{name, problem::AdminError},
    registry::{RegistryError, listed},
    state::State,
};

/// Items of a page unless asked for otherwise.
const LIMIT: u32 = 50;
/// Most items of a page.
pub(in crate::admin) const LIMIT_MAX: u32 = 1000;

/// The query of a listing of events or deliveries.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listing {
    pub(crate) event: Option<String>,
    pub(crate) source: Option<String>,
    /// What its sender calls an event.
    pub(crate) key: Option<String>,
    /// A pattern of events' names.
    pub(crate) name: Option<String>,
    pub(crate) destination: Option<String>,
    /// States, separated by commas.
    pub(crate) state: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) since: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) cursor: Option<String>,
    pub(crate) limit: Option<u32>,
}

impl Listing {
    pub(crate) fn page(&self, order: Order) -> Result<Page, AdminError> {
        page(order, self.cursor.as_deref(), self.limit)
    }

    pub(crate) fn events(&self) -> Result<EventFilter, AdminError> {
        if self.event.is_some() || self.destination.is_some() || self.state.is_some() || self.reason.is_some() {
            return Err(AdminError::Invalid("events are filtered by source, key, name, since and until only".into()));
        }
        let glob = self.name.as_deref().map(str::parse).transpose();
        Ok(EventFilter {
            source: self.source.as_deref().map(name).transpose()?,
            name: glob.map_err(|error: GlobError| AdminError::Invalid(format!("name: {error}")))?,
            range: self.range()?,
            oldest_first: false,
        })
    }

    /// The source and the key of the events that are asked for, if they are by a key.
    pub(crate) fn by_key(&self) -> Result<Option<(Name, &str)>, AdminError> {
        let Some(key) = self.key.as_deref() else { return Ok(None) };
        let Some(source) = self.source.as_deref() else {
            let text = "key wants the source too: senders of different sources may call their events alike";
            return Err(AdminError::Invalid(text.into()));
        };
        let Self { event, name: pattern, destination, state, reason, since, until, cursor, .. } = self;
        let others = [event, pattern, destination, state, reason, since, until, cursor];
        if others.iter().any(|other| other.is_some()) || self.limit.is_some() {
            let text = "key leads to the events of a source that have it: want the source beside it, and nothing else";
            return Err(AdminError::Invalid(text.into()));
        }
        if key.is_empty() {
            return Err(AdminError::Invalid("key is empty; want what the sender calls the event".into()));
        }
        Ok(Some((name(source)?, key)))
    }

    pub(crate) fn deliveries(&self) -> Result<DeliveryFilter, AdminError> {
        if self.name.is_some() || self.key.is_some() {
            return Err(AdminError::Invalid("only events are filtered by name, and found by key".into()));
        }
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

pub(crate) fn page(order: Order, cursor: Option<&str>, limit: Option<u32>) -> Result<Page, AdminError> {
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(AdminError::Invalid(format!("limit is {limit}; want 1 to {LIMIT_MAX}")));
    }
    Ok(Page { cursor: order.read(cursor)?, limit })
}

pub(crate) fn range(since: Option<&str>, until: Option<&str>) -> Result<Range, AdminError> {
    Ok(Range {
        since: since.map(|text| time("since", text)).transpose()?,
        until: until.map(|text| time("until", text)).transpose()?,
    })
}

pub(crate) fn time(field: &str, text: &str) -> Result<Wall, AdminError> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    let wrong = |_| AdminError::Invalid(format!("{field} is {text:?}; want a time like 2026-11-23T18:00:00Z"));
    Ok(Wall::from_micros(parsed.map_err(wrong)?.as_microsecond()))
}

/// A name that there is none of selects nothing: whoever mistyped it is told that, and not that there is nothing.
///
/// # Errors
/// `Unknown`, with the names that there are.
pub(crate) async fn known(state: &State, source: Option<&Name>, destination: Option<&Name>) -> Result<(), AdminError> {
    if source.is_none() && destination.is_none() {
        return Ok(());
    }
    let (stats, directory) = (state.upkeep.stats().await?, state.registry.directory());
    // What is left of it may be there without it.
    let stored = stats.sources.iter().map(|stats| stats.source.clone());
    is_known("source", source, &directory.sources.keys().cloned().chain(stored).collect())?;
    let stored = stats.destinations.iter().map(|stats| stats.destination.clone());
    is_known("destination", destination, &directory.destination_names().into_iter().chain(stored).collect())
}

fn is_known(kind: &'static str, name: Option<&Name>, names: &BTreeSet<Name>) -> Result<(), AdminError> {
    match name.filter(|name| !names.contains(*name)) {
        None => Ok(()),
        Some(name) => Err(RegistryError::Unknown { kind, name: name.to_string(), known: listed(names) }.into()),
    }
}

fn state(text: &str) -> Result<DeliveryState, AdminError> {
    let known = DeliveryState::ALL.map(DeliveryState::as_str).join(", ");
    let wanted = word(text);
    let found = DeliveryState::ALL.into_iter().find(|state| state.as_str() == wanted);
    found.ok_or_else(|| AdminError::Invalid(format!("no state {text:?}; known: {known}")))
}

/// A word of ours as people write it: `lost leases`, `Refused`.
fn word(text: &str) -> String {
    text.trim().to_ascii_lowercase().replace([' ', '-'], "_")
}

fn reason(text: &str) -> Result<Reason, AdminError> {
    let known = Reason::ALL.map(Reason::as_str).join(", ");
    let wanted = word(text);
    let found = Reason::ALL.into_iter().find(|reason| reason.as_str() == wanted);
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
    fn a_key_is_of_a_source_and_beside_no_other_filter() {
        let asked = Listing { source: Some("shop".into()), key: Some("order-1".into()), ..Listing::default() };
        assert!(asked.by_key().unwrap().is_some() && Listing::default().by_key().unwrap().is_none());
        let some = || Some("x".to_owned());
        for wrong in [
            Listing { source: None, ..asked.clone() },
            Listing { state: some(), ..asked.clone() },
            Listing { name: some(), ..asked.clone() },
            Listing { cursor: some(), ..asked.clone() },
            Listing { limit: Some(5), ..asked.clone() },
            Listing { key: Some(String::new()), ..asked.clone() },
        ] {
            assert!(matches!(wrong.by_key(), Err(AdminError::Invalid(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_time_is_read_to_the_microsecond() {
        assert_eq!(time("since", "1970-01-01T00:00:01.000002Z").unwrap(), Wall::from_micros(1_000_002));
    }
}
