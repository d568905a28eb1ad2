//! Which events, and how they are listed.

use std::sync::Arc;

use super::{Page, Range};
use crate::{delivery::Delivery, event::Event, name::Name};

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this source only.
    pub source: Option<Name>,
    /// Received in this range.
    pub range: Range,
    /// The oldest first, not the newest. A cursor goes on in the order of its page.
    pub oldest_first: bool,
}

/// A page of the events that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsAsk {
    /// Which.
    pub filter: EventFilter,
    /// Where it starts and how long it is.
    pub page: Page,
}

/// An event without its body and headers' values, for listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The event; its `body` is empty here.
    pub event: Arc<Event>,
    /// Length of its body.
    pub body_bytes: u64,
    /// Its deliveries.
    pub deliveries: Vec<Delivery>,
}
