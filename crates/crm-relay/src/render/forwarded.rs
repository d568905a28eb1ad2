//! What `dev` says of webhooks that it forwards: a line each; of a target that is away one line when it goes and one when
//! it is back.

use std::collections::BTreeMap;

use clap::ValueEnum;
use relay_client::config::Destination;
use relay_core::{
    client::Forward,
    delivery::outcome::{Class, Outcome},
    name::Name,
    pretty::BodyFields,
};
use relay_server::api::AnswerDto;
use tokio::time::Instant;

use super::{
    answer, body, human_duration, style, time,
    visible::{visible, visible_bytes},
    wrap,
};

/// Below a line's time.
const MARGIN: &str = "         ";
/// Characters of a path and query in a line: what is left of it, but not less and not more.
const PATH: std::ops::RangeInclusive<usize> = 12..=60;
/// Places of an id that no other one of a store has.
const ID_PLACES: usize = 22;

/// How much of a webhook is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Show {
    /// One line
    Line,
    /// One line, and the body below it: JSON, XML and forms in lines, gzip inflated
    Body,
}

/// Tells of what was forwarded.
pub(crate) struct Teller {
    show: Show,
    /// Host and port of each target: its path may hold a secret.
    targets: BTreeMap<Name, String>,
    /// Targets that are away, and since when.
    away: BTreeMap<Name, Instant>,
}

impl Teller {
    /// For these targets.
    pub(crate) fn new(show: Show, destinations: &[Destination]) -> Self {
        let target = |destination: &Destination| {
            let url = destination.url.uri();
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let place = format!("{}{port}", url.host().unwrap_or_default());
            (destination.name.clone(), place)
        };
        Self { show, targets: destinations.iter().map(target).collect(), away: BTreeMap::new() }
    }

    /// The lines about one try; none where it says nothing new.
    pub(crate) fn tell(&mut self, forward: &Forward, outcome: &Outcome) -> Option<String> {
        let target = self.targets.get(&forward.destination).cloned().unwrap_or_default();
        if outcome.class == Class::Unreachable {
            if self.away.contains_key(&forward.destination) {
                return None;
            }
            self.away.insert(forward.destination.clone(), Instant::now());
            let why = visible(outcome.error.as_deref().unwrap_or("no answer")).into_owned();
            let text = style::bad(format!("{} {target} is away: {why}", now()));
            let next = style::dim(format!("{MARGIN}webhooks wait here and arrive once it answers; nothing is lost"));
            return Some(format!("{}\n{next}", wrap::results(&text)));
        }
        let mut lines = Vec::new();
        if let Some(since) = self.away.remove(&forward.destination) {
            let span = human_duration(since.elapsed());
            lines.push(style::good(format!("{} {target} answers again after {span}", now())));
        }
        lines.push(line(forward, outcome, &target));
        if outcome.class != Class::Delivered {
            let id = forward.delivery.to_string();
            let short = id.get(..ID_PLACES).unwrap_or(&id);
            lines.extend(why(outcome).map(|why| style::dim(wrap::results(&format!("{MARGIN}{why}")))));
            lines.push(style::dim(format!("{MARGIN}why, and when again: crm-relay delivery show {short}")));
        }
        if self.show == Show::Body {
            let fields = forward.headers.iter();
            let fields =
                fields.filter_map(|(name, value)| Some((str::from_utf8(name).ok()?, str::from_utf8(value).ok()?)));
            let shown = body::lines(&forward.body, BodyFields::of(fields), body::SHOWN_MAX);
            lines.extend(shown.into_iter().map(|line| format!("{MARGIN}{line}")));
        }
        Some(lines.join("\n"))
    }
}

fn now() -> String {
    time::clock(time::now())
}

/// What the target said with its refusal, else what went wrong; nothing where that says no more than the status.
fn why(outcome: &Outcome) -> Option<String> {
    let said = answer::gist(outcome.answer.as_deref().map(AnswerDto::from).as_ref());
    let words = if said.is_empty() { visible(outcome.error.as_deref()?).into_owned() } else { said };
    let status = outcome.status.and_then(|status| http::StatusCode::from_u16(status).ok());
    let is_told =
        status.is_some_and(|status| words == status.to_string() || Some(&*words) == status.canonical_reason());
    (!is_told).then_some(words)
}

/// `12:00:05 200 POST /orders?x=1 12 ms  shop -> localhost:3000  evt_0192f3c2-7d4e-7a31`
fn line(forward: &Forward, outcome: &Outcome, target: &str) -> String {
    let answer = outcome.status.map_or_else(|| outcome.class.as_str().to_owned(), |status| status.to_string());
    let query =
        forward.query.as_deref().map_or_else(String::new, |query| format!("?{}", String::from_utf8_lossy(query)));
    let path = format!("{}{query}", String::from_utf8_lossy(&forward.rest));
    let event = forward.event.to_string();
    let event = event.get(..ID_PLACES).unwrap_or(&event);
    let method = visible_bytes(&forward.method, *PATH.end());
    let about = format!("{} ms  {} -> {target}", outcome.duration.as_millis(), forward.source);
    let others = MARGIN.len() + answer.len() + method.len() + about.chars().count() + event.len() + 8;
    let room = style::screen().saturating_sub(others).clamp(*PATH.start(), *PATH.end());
    let path = if path.is_empty() { "/".to_owned() } else { visible_bytes(path.as_bytes(), room) };
    let answer = if outcome.class == Class::Delivered { style::good(answer) } else { style::bad(answer) };
    wrap::results(&format!(
        "{} {answer} {} {path} {about}  {}",
        style::dim(now()),
        style::bold(method),
        style::dim(event)
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use relay_core::delivery::answer::Answer;

    use super::*;

    #[test]
    fn a_failure_says_why_where_its_status_does_not() {
        let failed = |status, error: Option<&str>, body: Option<&str>| Outcome {
            class: Class::Rejected,
            status,
            retry_after: None,
            duration: Duration::ZERO,
            error: error.map(Into::into),
            answer: body.map(|body| Answer { body: Some(body.into()), ..Answer::default() }).and_then(Answer::shared),
        };
        let words = |status, error, body| why(&failed(status, error, body));
        let said = words(Some(422), Some("422 Unprocessable Entity"), Some("{\"error\": \"email is\\u001b missing\"}"));
        assert_eq!(said.as_deref(), Some("email is\\u{1b} missing"));
        assert_eq!(words(Some(500), Some("500 Internal Server Error"), None), None);
        assert_eq!(words(None, Some("no answer within 25 s"), None).as_deref(), Some("no answer within 25 s"));
    }
}
