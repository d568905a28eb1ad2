//! Which events, and how they are listed.

use std::sync::Arc;

use super::{Page, Range};
use crate::{delivery::Delivery, event::Event, glob::Glob, name::Name, time::Wall};

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this source only.
    pub source: Option<Name>,
    /// Received in this range.
    pub range: Range,
    /// Of a name that this matches; one without a name has the empty one. A page may be short, with a cursor to go on from.
    pub name: Option<Glob>,
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

/// An event with its body, as one of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeEvent {
    /// The event.
    pub event: Arc<Event>,
    /// Where a page goes on that begins behind it.
    pub cursor: String,
}

/// A page of events with their bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WholePage {
    /// Its events.
    pub items: Vec<WholeEvent>,
    /// So many stand there too and do not read.
    pub passed: u64,
    /// Cursor of the next page; `None` on the last.
    pub next: Option<String>,
}

/// How many events of a name are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameCount {
    /// The name; `None`: all those that the source has no number for, because too many came before them.
    pub name: Option<Arc<str>>,
    /// So many.
    pub events: u64,
    /// The minute of the latest.
    pub last: Wall,
}

/// The names of a source's events, those with the most events first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameCounts {
    /// Events without a name are not among them.
    pub names: Vec<NameCount>,
    /// There are more events from before that minute, which were not counted.
    pub since: Option<Wall>,
}
