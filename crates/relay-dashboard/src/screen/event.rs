//! One event: what it is, what became of it, and why.

use std::time::Duration;

use askama::Template;
use relay_core::{
    delivery::{Attempt, Delivery},
    event::Event,
    id::EventId,
    name::Name,
    pretty::BodyFields,
    secret_field::{is_secret, masked_query},
    time::Wall,
};

use super::{Outcome, choice::Choice};
use crate::{
    body::{BodyLines, Look, Preview, Room, View},
    curl, filters,
    page::{Page, Tab},
    proof::Proof,
    script::Script,
    text as t,
    url::Url,
};

/// Characters of a method and path that stand for an event without a name.
const PATH_CHARS_MAX: usize = 120;
/// Characters of a header's value, a query or an error that are shown.
const VALUE_CHARS_MAX: usize = 2_000;
/// Characters of a header's value that are shown beside a list.
const PANE_CHARS_MAX: usize = 160;
/// Headers that are shown beside a list.
const PANE_HEADERS_MAX: usize = 30;
/// Tries of a delivery that are shown, the newest of them.
const TRIES_MAX: usize = 30;

/// What became of an event alone: what a page that follows it asks for.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "part/became.html")]
pub struct EventBecame<'a> {
    /// The frame.
    pub page: &'a Page,
    /// What became of it.
    pub became: &'a Became,
}

/// The command that sends an event again alone: what is copied.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "part/curl.html")]
pub struct EventCurl<'a> {
    /// Its lines.
    pub command: &'a [String],
}

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
    /// What its proof comes to now; none: it was not judged again.
    pub proof: Option<Proof>,
    /// As it was received.
    pub method: String,
    /// As it was received; with its query, if the viewer may see payloads: without what is a secret there, but where that is asked for.
    pub path: String,
    /// Values that are secrets, in its headers and its query; none, if the viewer may not see payloads.
    pub secrets: usize,
    /// Length of its body.
    pub size: u64,
    /// Digest of its body, in hex.
    pub sha256: String,
    /// Names of its headers, and their values.
    pub headers: Vec<Header>,
    /// Headers that are not among those.
    pub more_headers: usize,
    /// Its body.
    pub body: Payload,
    /// How that is looked at.
    pub look: Look,
    /// What became of it.
    pub became: Became,
    /// Where it can be replayed to: the destinations that routes of its source lead to.
    pub routed: Vec<Name>,
}

/// What became of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Became {
    /// Its deliveries, the newest first.
    pub deliveries: Vec<DeliveryFacts>,
    /// There are older ones.
    pub more: bool,
}

/// A header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value; none: the viewer may not see it, or did not ask for it.
    pub value: Option<String>,
    /// It is a secret of its sender, by its name, and shown to whoever asks for it.
    pub is_masked: bool,
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
    /// A part of it is shown.
    Shown(Preview),
    /// It is within the command that sends it again.
    Command(Vec<String>),
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
    pub fn of(event: &Event, body_bytes: u64, look: Look, payloads: bool) -> Self {
        if !event.is_erased() {
            return Self::stored(event, body_bytes, look, payloads);
        }
        let (method, none) = (t::ERASED.to_owned(), String::new());
        let shown = Self::stored(event, body_bytes, look, false);
        Self { method, path: none.clone(), sha256: none, body: Payload::Erased, ..shown }
    }

    fn stored(event: &Event, body_bytes: u64, look: Look, payloads: bool) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let query = event.query.as_deref().filter(|_| payloads);
        let (masked, in_query) = query.map(masked_query).unzip();
        let query = if look.reveals { query.map(text) } else { masked.as_deref().map(text) };
        let path = query.map_or_else(|| text(&event.path), |query| format!("{}?{query}", text(&event.path)));
        let in_headers = event.headers.iter().filter(|(name, value)| payloads && is_secret(name, value)).count();
        let (headers_max, chars_max) = match look.room {
            Room::Page => (usize::MAX, VALUE_CHARS_MAX),
            Room::Pane => (PANE_HEADERS_MAX, PANE_CHARS_MAX),
        };
        let value = |value: &[u8]| payloads.then(|| cut_at(&text(value), chars_max));
        let headers = event.headers.iter().take(headers_max);
        let header = |name: &[u8], of: &[u8]| {
            let is_masked = payloads && !look.reveals && is_secret(name, of);
            Header { name: cut_at(&text(name), chars_max), value: value(of).filter(|_| !is_masked), is_masked }
        };
        let headers = headers.map(|(name, of)| header(name, of));
        let body = if payloads { Payload::of(event, body_bytes, look) } else { Payload::Withheld };
        Self {
            id: event.id,
            what: what(event),
            at: event.received_at,
            source: event.source.clone(),
            key: event.key.clone(),
            proof: None,
            method: text(&event.method),
            path: cut(&path),
            secrets: in_headers + in_query.unwrap_or(0),
            size: body_bytes,
            sha256: hex(&event.body_sha256),
            headers: headers.collect(),
            more_headers: event.headers.len().saturating_sub(headers_max),
            body,
            look,
            became: Became::default(),
            routed: Vec::new(),
        }
    }

    /// The same with what became of it.
    #[must_use]
    pub fn with(self, became: Became) -> Self {
        Self { became, ..self }
    }

    /// The same, judged again.
    #[must_use]
    pub fn judged(self, proof: Proof) -> Self {
        Self { proof: Some(proof), ..self }
    }

    /// The same with where it can be replayed to.
    #[must_use]
    pub fn routed(self, routed: Vec<Name>) -> Self {
        let routed = if self.body == Payload::Erased { Vec::new() } else { routed };
        Self { routed, ..self }
    }

    /// It has a page of its own.
    pub(super) const fn is_alone(&self) -> bool {
        matches!(self.look.room, Room::Page)
    }

    /// How many values are masked.
    pub(super) const fn masked(&self) -> usize {
        if self.look.reveals { 0 } else { self.secrets }
    }

    /// The same page with them.
    pub(super) fn revealed(&self, page: &Page) -> Url {
        self.look.view.url(&page.site.event(&self.id)).with("reveal", "1")
    }

    pub(super) fn has_headers(&self) -> usize {
        self.headers.len() + self.more_headers
    }

    /// There are views of it.
    pub(super) const fn is_seen(&self) -> bool {
        matches!(self.body, Payload::Empty | Payload::Shown(_) | Payload::Command(_))
    }

    pub(super) fn of_routes(&self) -> Vec<Choice<'_>> {
        let every = Choice { value: "", words: t::EVERY_DESTINATION, chosen: false };
        let to = |name| Choice { value: Name::as_str(name), words: Name::as_str(name), chosen: false };
        let every = (self.routed.len() > 1).then_some(every);
        every.into_iter().chain(self.routed.iter().map(to)).collect()
    }
}

impl Payload {
    fn of(event: &Event, body_bytes: u64, look: Look) -> Self {
        if look.view == View::Curl {
            return Self::Command(curl::command(event, body_bytes, look));
        }
        if body_bytes == 0 {
            return Self::Empty;
        }
        let text = |bytes| str::from_utf8(bytes).unwrap_or_default();
        let about = BodyFields::of(event.headers.iter().map(|(name, value)| (text(name), text(value))));
        Self::Shown(Preview::new(&event.body, body_bytes, about, look))
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
    const SCRIPT: Script = Script::Live;
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
    cut_at(text, VALUE_CHARS_MAX)
}

fn cut_at(text: &str, chars_max: usize) -> String {
    text.char_indices().nth(chars_max).map_or_else(|| text.to_owned(), |(end, _)| format!("{}…", &text[..end]))
}
