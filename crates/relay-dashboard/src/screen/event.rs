//! One event: what it is, what became of it, and why.

use std::time::Duration;

use askama::Template;
use relay_core::{
    delivery::{Attempt, Delivery},
    event::Event,
    id::EventId,
    name::Name,
    time::Wall,
};

use super::{Outcome, choice::Choice};
use crate::{
    body::{BodyLines, Preview, View},
    filters,
    page::{Page, Tab},
    script::Script,
    text as t,
};

/// Characters of a method and path that stand for an event without a name.
const PATH_CHARS_MAX: usize = 120;
/// Characters of a header's value, a query or an error that are shown.
const VALUE_CHARS_MAX: usize = 2_000;
/// Tries of a delivery that are shown, the newest of them.
const TRIES_MAX: usize = 30;

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "event.html")]
pub struct EventPage {
    /// The frame.
    pub page: Page,
    /// The event.
    pub event: EventFacts,
}

/// What is known of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFacts {
    /// Its id.
    pub id: EventId,
    /// Its name, or how it was asked for.
    pub what: String,
    /// When it was received.
    pub at: Wall,
    /// Where.
    pub source: Name,
    /// The named key that proved it.
    pub key: Option<Name>,
    /// As it was received.
    pub method: String,
    /// As it was received; with its query, if the viewer may see payloads.
    pub path: String,
    /// Length of its body.
    pub size: u64,
    /// Digest of its body, in hex.
    pub sha256: String,
    /// Names of its headers, and their values.
    pub headers: Vec<Header>,
    /// Its body.
    pub body: Payload,
    /// Its deliveries, the newest first.
    pub deliveries: Vec<DeliveryFacts>,
    /// There are older ones.
    pub more: bool,
    /// Where it can be replayed to: the destinations that routes of its source lead to.
    pub routed: Vec<Name>,
}

/// A header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value; none: the viewer may not see it.
    pub value: Option<String>,
}

/// A body, as far as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The viewer may not see it: the model does not hold it.
    Withheld,
    /// It is gone with all else that was received.
    Erased,
    /// It has no byte.
    Empty,
    /// It is shown, in this view.
    Shown(Preview, View),
}

/// What is known of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryFacts {
    /// Where it stands.
    pub outcome: Outcome,
    /// Tries that counted.
    pub attempts: u32,
    /// Leases that were lost.
    pub losses: u32,
    /// Made by a replay.
    pub replay: bool,
    /// When its TTL ends, if it is open.
    pub expires_at: Option<Wall>,
    /// When it may be tried, if it waits for that.
    pub due_at: Option<Wall>,
    /// All tries, the newest first.
    pub tries: Vec<Try>,
    /// Earlier tries that are not among those.
    pub earlier: usize,
}

/// One try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// The first is 1.
    pub number: u32,
    /// When it was reported.
    pub at: Wall,
    /// Of the answer.
    pub status: Option<u16>,
    /// How long it took.
    pub took: Duration,
    /// What it came to.
    pub class: &'static str,
    /// It counted against the route's retries.
    pub counted: bool,
    /// It was delivered.
    pub good: bool,
    /// What went wrong.
    pub error: Option<String>,
    /// What the target said.
    pub answer: Option<String>,
}

impl EventFacts {
    /// Of an event as it is stored, with its beginning of a body, if the viewer may see payloads. `body_bytes` is how long that is as a
    /// whole.
    pub fn of(event: &Event, body_bytes: u64, view: View, payloads: bool) -> Self {
        if !event.is_erased() {
            return Self::stored(event, body_bytes, view, payloads);
        }
        let (method, none) = (t::ERASED.to_owned(), String::new());
        let shown = Self::stored(event, body_bytes, view, false);
        Self { method, path: none.clone(), sha256: none, body: Payload::Erased, ..shown }
    }

    fn stored(event: &Event, body_bytes: u64, view: View, payloads: bool) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let query = event.query.as_deref().filter(|_| payloads);
        let path = query.map_or_else(|| text(&event.path), |query| format!("{}?{}", text(&event.path), text(query)));
        let headers = event.headers.iter();
        let headers =
            headers.map(|(name, value)| Header { name: text(name), value: payloads.then(|| cut(&text(value))) });
        let body = match (payloads, body_bytes) {
            (false, _) => Payload::Withheld,
            (true, 0) => Payload::Empty,
            (true, of) => Payload::Shown(Preview::new(&event.body, of, view), view),
        };
        Self {
            id: event.id,
            what: what(event),
            at: event.received_at,
            source: event.source.clone(),
            key: event.key.clone(),
            method: text(&event.method),
            path: cut(&path),
            size: body_bytes,
            sha256: hex(&event.body_sha256),
            headers: headers.collect(),
            body,
            deliveries: Vec::new(),
            more: false,
            routed: Vec::new(),
        }
    }

    /// The same with what became of it; `more`: there are older deliveries.
    #[must_use]
    pub fn with(self, deliveries: Vec<DeliveryFacts>, more: bool) -> Self {
        Self { deliveries, more, ..self }
    }

    /// The same with where it can be replayed to.
    #[must_use]
    pub fn routed(self, routed: Vec<Name>) -> Self {
        let routed = if self.body == Payload::Erased { Vec::new() } else { routed };
        Self { routed, ..self }
    }

    pub(super) fn of_routes(&self) -> Vec<Choice<'_>> {
        let every = Choice { value: "", words: t::EVERY_DESTINATION, chosen: false };
        let to = |name| Choice { value: Name::as_str(name), words: Name::as_str(name), chosen: false };
        let every = (self.routed.len() > 1).then_some(every);
        every.into_iter().chain(self.routed.iter().map(to)).collect()
    }
}

impl DeliveryFacts {
    pub(super) const fn is_redrivable(&self) -> bool {
        self.outcome.state.is_dead_letter()
    }

    pub(super) const fn is_open(&self) -> bool {
        self.outcome.state.is_open()
    }

    /// Of a delivery as it is stored, with all its tries, the oldest first.
    pub fn of(delivery: &Delivery, history: &[Attempt]) -> Self {
        let tries: Vec<Try> = history.iter().rev().take(TRIES_MAX).map(Try::of).collect();
        let is_open = delivery.state.is_open();
        Self {
            outcome: Outcome::of(delivery),
            attempts: delivery.attempts,
            losses: delivery.losses,
            replay: delivery.replay,
            expires_at: is_open.then_some(delivery.expires_at),
            due_at: (delivery.state == relay_core::delivery::State::Scheduled).then_some(delivery.due_at),
            earlier: history.len() - tries.len(),
            tries,
        }
    }
}

impl Try {
    fn of(attempt: &Attempt) -> Self {
        Self {
            number: attempt.number,
            at: attempt.at,
            status: attempt.status,
            took: Duration::from_millis(attempt.duration_ms),
            class: attempt.class.as_str(),
            counted: attempt.counted,
            good: attempt.class == relay_core::delivery::outcome::Class::Delivered,
            error: attempt.error.as_deref().map(cut),
            answer: attempt.answer.as_deref().and_then(|answer| answer.body.as_deref().map(cut)),
        }
    }
}

impl EventPage {
    const TAB: Tab = Tab::Events;
    const SCRIPT: Script = Script::Acts;
}

/// The name of an event, or how it was asked for; and whether it was erased.
pub(super) fn what(event: &Event) -> String {
    match (&event.name, event.is_erased()) {
        (Some(name), false) => return name.to_string(),
        (Some(name), true) => return format!("{name} ({})", t::ERASED),
        (None, true) => return t::ERASED.to_owned(),
        (None, false) => {}
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{} {}", text(&event.method), text(&event.path)).chars().take(PATH_CHARS_MAX).collect()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn cut(text: &str) -> String {
    text.char_indices().nth(VALUE_CHARS_MAX).map_or_else(|| text.to_owned(), |(end, _)| format!("{}…", &text[..end]))
}
