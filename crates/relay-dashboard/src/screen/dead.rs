//! The dead letters: what died, is it one fault, and what is done about it.

use askama::Template;
use relay_core::{
    delivery::{Reason, alike::Alike},
    id::DeliveryId,
    name::Name,
    time::Wall,
};

use super::{
    Circuit,
    choice::{self, Choice},
};
use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    show,
    since::Since,
    text as t,
    url::{Site, Url},
    viewer::Role,
};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "dead.html")]
pub struct Dead {
    /// The frame.
    pub page: Page,
    /// Which dead letters.
    pub filter: DeadFilter,
    /// The destinations that there are.
    pub destinations: Vec<Name>,
    /// The sources that there are.
    pub sources: Vec<Name>,
    /// In groups.
    pub groups: DeadGroups,
    /// What is wrong with the filter.
    pub fault: Option<String>,
}

/// Which dead letters: all of it stands in the URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// Of this destination.
    pub destination: Option<String>,
    /// Of this source.
    pub source: Option<String>,
    /// Ended for this reason.
    pub reason: Option<Reason>,
    /// Ended since then.
    pub since: Since,
}

/// The newest dead letters, in groups that failed alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadGroups {
    /// The largest first.
    pub lines: Vec<GroupLine>,
    /// So many dead letters were looked at.
    pub looked_at: u64,
    /// So many of them are in no group that is shown.
    pub others: u64,
    /// There are no older ones.
    pub is_all: bool,
}

/// Dead letters that failed alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLine {
    /// Names the group for a command.
    pub key: String,
    /// What they have in common.
    pub alike: Alike,
    /// How many there are.
    pub count: u64,
    /// When the first of them ended.
    pub oldest: Wall,
    /// When the last of them ended.
    pub newest: Wall,
    /// The latest of them.
    pub example: DeliveryId,
    /// Whether tries get through where they go.
    pub circuit: Circuit,
}

impl Dead {
    const TAB: Tab = Tab::Dead;
    const SCRIPT: Script = Script::Dead;

    fn of_destinations(&self) -> Vec<Choice<'_>> {
        choice::names(t::ANY_DESTINATION, &self.destinations, self.filter.destination.as_deref())
    }

    fn of_sources(&self) -> Vec<Choice<'_>> {
        choice::names(t::ANY_SOURCE, &self.sources, self.filter.source.as_deref())
    }

    fn of_reasons(&self) -> Vec<Choice<'static>> {
        choice::reasons(self.filter.reason)
    }

    fn of_spans(&self) -> Vec<Choice<'static>> {
        choice::spans(self.filter.since)
    }

    fn may_purge(&self) -> bool {
        self.page.viewer.as_ref().is_some_and(|viewer| viewer.role == Role::Admin)
    }

    /// From when on, for a command about the same.
    fn since(&self) -> String {
        self.filter.since.from(self.page.now).map(show::iso).unwrap_or_default()
    }
}

impl DeadFilter {
    /// The page of it.
    pub fn url(&self, site: &Site) -> Url {
        let since = (self.since != Since::default()).then_some(self.since.as_str());
        let url = site.dead().with_some("destination", self.destination.as_deref());
        let url = url.with_some("source", self.source.as_deref()).with_some("reason", self.reason.map(Reason::as_str));
        url.with_some("since", since)
    }

    fn is_narrow(&self) -> bool {
        *self != Self::default()
    }

    fn reason_word(&self) -> &'static str {
        self.reason.map_or("", Reason::as_str)
    }
}

impl DeadGroups {
    fn count(&self) -> u64 {
        self.lines.iter().map(|line| line.count).sum::<u64>() + self.others
    }
}

impl GroupLine {
    /// How they ended: `rejected, 500`.
    fn why(&self) -> String {
        let why = self.alike.reason.map(t::reason).unwrap_or_default();
        self.alike.status.map_or_else(|| why.to_owned(), |status| format!("{why}, {status}"))
    }
}
