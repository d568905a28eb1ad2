//! The events: a list that follows, and beside it the one that is open.

use std::time::Duration;

use askama::Template;
use relay_core::{delivery::Delivery, event::Event, id::EventId, name::Name, time::Wall};

use super::{
    EventFacts, Outcome,
    choice::{self, Choice},
    event::what,
};
use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    since::Since,
    text as t,
    url::{Site, Url},
};

/// Deliveries of an event that a line shows.
const OUTCOMES_MAX: usize = 3;

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "events.html")]
pub struct Events {
    /// The frame.
    pub page: Page,
    /// Which events.
    pub filter: EventsFilter,
    /// The sources that there are.
    pub sources: Vec<Name>,
    /// The lines.
    pub list: EventList,
    /// The event that is open beside them.
    pub open: Option<EventFacts>,
    /// What is wrong with the filter.
    pub fault: Option<String>,
    /// What is looked for was looked for as what a sender calls an event too.
    pub asked: Option<SendersAsked>,
    /// How far one looked through the events themselves, where that was asked for.
    pub looked: Option<LookedThrough>,
    /// Between which moments these are all that have a value, where a mark of their source led to them.
    pub marked: Option<MarkedBetween>,
}

/// Of which sources it was asked what a sender calls its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendersAsked {
    /// That is known for so long.
    pub memory: Duration,
    /// So many sources were asked.
    pub sources: usize,
    /// Of so many.
    pub of: usize,
}

/// How far one looked through the events themselves, from the newest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookedThrough {
    /// So many were read.
    pub read: u64,
    /// Into so many of those nobody could look.
    pub unread: u64,
    /// So many are stored; `None`: only some of those are looked through.
    pub of: Option<u64>,
    /// When the last came that was read.
    pub reached: Option<Wall>,
}

/// Which events were looked through for a mark, by when they were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkedBetween {
    /// From then on; `None`: all that are kept.
    pub from: Option<Wall>,
    /// Before then; `None`: none is yet.
    pub to: Option<Wall>,
    /// So many that the mark leads to do not read.
    pub unread: u64,
}

/// The lines alone: what a list that follows asks for.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "part/event_lines.html")]
pub struct EventLines<'a> {
    /// The frame.
    pub page: &'a Page,
    /// Which events.
    pub filter: &'a EventsFilter,
    /// The lines.
    pub list: &'a EventList,
}

/// Which events, and which one is open: all of it stands in the URL (R3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsFilter {
    /// Of this source.
    pub source: Option<String>,
    /// Received since then.
    pub since: Since,
    /// An id of ours or of a sender's, or a pattern of names, as it was typed.
    pub find: Option<String>,
    /// It is looked for in the events themselves: bodies, queries, values of headers.
    pub inside: bool,
    /// Goes on behind a page.
    pub cursor: Option<String>,
    /// The event that is open.
    pub open: Option<EventId>,
}

/// A page of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventList {
    /// The newest first.
    pub lines: Vec<EventLine>,
    /// Where the next page goes on.
    pub next: Option<String>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLine {
    /// Its id.
    pub id: EventId,
    /// When it was received.
    pub at: Wall,
    /// Where.
    pub source: Name,
    /// Its name, or what was asked for.
    pub what: String,
    /// Length of its body.
    pub size: u64,
    /// What became of it, the newest first.
    pub outcomes: Vec<Outcome>,
    /// Deliveries that are not among those.
    pub more: usize,
}

impl EventLine {
    /// Of an event as it is stored.
    pub fn of(event: &Event, body_bytes: u64, deliveries: &[Delivery]) -> Self {
        let outcomes: Vec<Outcome> = deliveries.iter().take(OUTCOMES_MAX).map(Outcome::of).collect();
        Self {
            id: event.id,
            at: event.received_at,
            source: event.source.clone(),
            what: what(event),
            size: body_bytes,
            more: deliveries.len() - outcomes.len(),
            outcomes,
        }
    }
}

impl Events {
    const TAB: Tab = Tab::Events;
    const SCRIPT: Script = Script::Live;

    fn of_sources(&self) -> Vec<Choice<'_>> {
        choice::names(t::ANY_SOURCE, &self.sources, self.filter.source.as_deref())
    }

    /// What comes may be one of these.
    fn follows(&self) -> bool {
        self.looked.is_none() && self.marked.is_none()
    }

    fn of_spans(&self) -> Vec<Choice<'static>> {
        choice::spans(self.filter.since)
    }
}

impl EventsFilter {
    /// The list without one that is open, from its newest.
    pub fn url(&self, site: &Site) -> Url {
        let since = (self.since != Since::default()).then_some(self.since.as_str());
        let url = site.events().with_some("source", self.source.as_deref()).with_some("since", since);
        let inside = (self.inside && self.find.is_some()).then_some("bodies");
        url.with_some("q", self.find.as_deref()).with_some("in", inside)
    }

    /// The same, looked for in the events themselves.
    pub fn inside(&self, site: &Site) -> Url {
        Self { inside: true, cursor: None, open: None, ..self.clone() }.url(site)
    }

    /// The same list with an event open; its page where the list would have to be looked for once more.
    pub fn open(&self, site: &Site, id: &EventId) -> Url {
        if self.inside {
            return site.event(id);
        }
        self.here(site).with("open", &id.to_string())
    }

    /// The same page of the list, with none open.
    pub fn here(&self, site: &Site) -> Url {
        self.url(site).with_some("cursor", self.cursor.as_deref())
    }

    /// The page behind this one.
    pub fn next(&self, site: &Site, cursor: &str) -> Url {
        self.url(site).with("cursor", cursor)
    }

    fn may_look_inside(&self) -> bool {
        self.find.is_some() && !self.inside
    }

    fn is_narrow(&self) -> bool {
        self.source.is_some() || self.find.is_some() || self.since != Since::Ever
    }

    fn has_open(&self, id: &EventId) -> bool {
        self.open == Some(*id)
    }
}
