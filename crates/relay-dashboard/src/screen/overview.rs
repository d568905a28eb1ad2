//! The overview: is all well, and if not, where does one look?

use std::time::Duration;

use askama::Template;
use relay_core::{alert::Kind, name::Name, time::Wall};

use super::Hour;
use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    sums::{DeliveriesSum, EventsSum},
    text as t,
    url::{Site, Url},
};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "overview.html")]
pub struct Overview {
    /// The frame.
    pub page: Page,
    /// How things are.
    pub now: Situation,
}

/// What of it is live.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "part/overview_live.html")]
pub struct OverviewLive<'a> {
    /// The frame.
    pub page: &'a Page,
    /// How things are.
    pub now: &'a Situation,
}

/// How things are, from counters alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Situation {
    /// What is not as it should be.
    pub reasons: Vec<Reason>,
    /// What came and went lately.
    pub hour: Hour,
    /// By name.
    pub sources: Vec<SourceLine>,
    /// By name.
    pub destinations: Vec<DestinationLine>,
    /// Sources and destinations that are not among those.
    pub left_out: u64,
    /// Of all sources.
    pub events: EventsSum,
    /// Of all destinations.
    pub deliveries: DeliveriesSum,
    /// When everything was last counted anew, and whether it agreed with these.
    pub recounted: Option<(Wall, bool)>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// In words.
    pub words: String,
    /// What kind: that tells what mends it.
    pub kind: Kind,
    /// Where one looks.
    pub url: Url,
    /// Nothing is lost yet, and nothing stands still.
    pub mild: bool,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// Its name.
    pub name: Name,
    /// Of its newest event that is kept.
    pub last_at: Option<Wall>,
    /// Events that it accepted in the latest whole minute, if that is known.
    pub a_minute: Option<u64>,
    /// Events that were ever accepted.
    pub accepted: u64,
    /// Webhooks that were sent again.
    pub duplicates: u64,
    /// Requests that were refused since the server started.
    pub refused: u64,
    /// It is deleted: what is left are its events.
    pub is_deleted: bool,
    /// It takes nothing: why.
    pub stopped: Option<String>,
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationLine {
    /// Its name.
    pub name: Name,
    /// Clients that serve it.
    pub clients: u64,
    /// Deliveries that are ready, scheduled or leased.
    pub waiting: u64,
    /// How long the oldest has been due.
    pub oldest: Option<Duration>,
    /// Dead and expired ones.
    pub dead: u64,
    /// Whether tries get through.
    pub circuit: Circuit,
    /// An operator paused it.
    pub paused: bool,
}

/// Whether tries get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// Nobody serves it.
    Idle,
    /// They do.
    Closed,
    /// They do not: one is made at a time.
    Open,
}

impl Overview {
    const TAB: Tab = Tab::Overview;
    const SCRIPT: Script = Script::Live;
}

impl Reason {
    fn cure(&self) -> &'static str {
        t::cure(self.kind)
    }
}

impl SourceLine {
    /// Its page; of one that is deleted its events, which are what is left.
    fn url(&self, site: &Site) -> Url {
        let name = self.name.as_str();
        if self.is_deleted { site.events().with("source", name) } else { site.source(name) }
    }
}

impl Situation {
    fn is_lossless(&self) -> bool {
        self.events.holds() && self.deliveries.holds() && self.deliveries.lost == 0
    }
}
