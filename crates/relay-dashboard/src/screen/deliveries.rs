//! The deliveries: what waits where, what ended how. A line leads to its event.

use askama::Template;
use relay_core::{
    delivery::{Delivery, Reason, State},
    name::Name,
    time::Wall,
};

use super::{
    Outcome,
    choice::{self, Choice},
};
use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    since::Since,
    text as t,
    url::{Site, Url},
};

/// Characters of an error that a line shows.
const ERROR_CHARS_MAX: usize = 200;

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "deliveries.html")]
pub struct Deliveries {
    /// The frame.
    pub page: Page,
    /// Which deliveries.
    pub filter: DeliveriesFilter,
    /// The destinations that there are.
    pub destinations: Vec<Name>,
    /// The sources that there are.
    pub sources: Vec<Name>,
    /// The lines.
    pub list: DeliveryList,
    /// What is wrong with the filter.
    pub fault: Option<String>,
}

/// The lines alone.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "part/delivery_lines.html")]
pub struct DeliveryLines<'a> {
    /// The frame.
    pub page: &'a Page,
    /// The lines.
    pub list: &'a DeliveryList,
}

/// Which deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveriesFilter {
    /// To this destination.
    pub destination: Option<String>,
    /// Of this source.
    pub source: Option<String>,
    /// In this state.
    pub state: Option<State>,
    /// Ended for this reason.
    pub reason: Option<Reason>,
    /// Made, or of those that ended so ended, since then.
    pub since: Since,
}

/// A page of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryList {
    /// The newest first.
    pub lines: Vec<DeliveryLine>,
    /// Where the next page goes on.
    pub next: Option<String>,
}

/// One delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryLine {
    /// Where it stands.
    pub outcome: Outcome,
    /// From this source.
    pub source: Name,
    /// When it was made.
    pub made_at: Wall,
    /// When it last changed.
    pub changed_at: Wall,
    /// What went wrong last.
    pub error: Option<String>,
}

impl DeliveryLine {
    /// Of a delivery as it is stored.
    pub fn of(delivery: &Delivery) -> Self {
        let error = delivery.last.as_ref().and_then(|last| last.error.as_deref());
        Self {
            outcome: Outcome::of(delivery),
            source: delivery.source.clone(),
            made_at: delivery.made_at,
            changed_at: delivery.changed_at,
            error: error.map(|error| error.chars().take(ERROR_CHARS_MAX).collect()),
        }
    }

    /// When something is to happen with it, of one that waits for that; else when something last did.
    fn next_at(&self) -> Wall {
        if self.outcome.state == State::Scheduled { self.outcome.due_at } else { self.changed_at }
    }
}

impl Deliveries {
    const TAB: Tab = Tab::Deliveries;
    const SCRIPT: Script = Script::Live;

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

    fn of_states(&self) -> Vec<Choice<'static>> {
        let any = Choice { value: "", words: t::ANY_STATE, chosen: self.filter.state.is_none() };
        let state = |state: State| Choice {
            value: state.as_str(),
            words: t::state(state),
            chosen: self.filter.state == Some(state),
        };
        std::iter::once(any).chain(State::ALL.into_iter().map(state)).collect()
    }
}

impl DeliveriesFilter {
    /// The list from its newest.
    pub fn url(&self, site: &Site) -> Url {
        let state = self.state.map(State::as_str);
        let since = (self.since != Since::default()).then_some(self.since.as_str());
        let url = site.deliveries().with_some("destination", self.destination.as_deref());
        let url = url.with_some("source", self.source.as_deref()).with_some("state", state);
        url.with_some("reason", self.reason.map(Reason::as_str)).with_some("since", since)
    }

    fn next(&self, site: &Site, cursor: &str) -> Url {
        self.url(site).with("cursor", cursor)
    }

    fn is_narrow(&self) -> bool {
        *self != Self::default()
    }
}
