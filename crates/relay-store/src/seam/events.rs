//! Which events, and how they are listed.

use std::sync::Arc;

use relay_core::{delivery::Delivery, event::Event, name::Name};

use super::Range;

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
