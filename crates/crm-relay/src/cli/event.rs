//! `crm-relay event`.

mod erase;
mod export;
mod marked;
mod scan;
mod tail;

use std::io::Write as _;

use clap::Subcommand;
use relay_core::{delivery::State, pretty::BodyFields};
use relay_server::api::{EventDto, HeaderDto};

use self::{erase::Erase, export::Export, scan::Sought, tail::Tail};
use super::{
    collection::not_empty,
    delivery,
    filter::{Received, given},
    listing::{Column, Form, Paging, View, list, state, text, when},
    noun::{self, Asked},
    replay::Replay,
};
use crate::{
    admin_client::encode,
    exit::{Exit, Outcome},
    render::{body, style, table},
};

/// In the place of what was received.
const ERASED: &str = "erased";
/// A larger body is not fetched to be shown.
const BODY_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List events, newest first
    ///
    /// --key finds what its sender calls so: by the Idempotency-Key that it came with (each API key may have used it), or the id that the platform
    /// gives its webhook. That is known for as long as repeats are (`DEDUPE_WINDOW`), at sources whose platform sends an id that it never gives twice.
    ///
    /// --mark finds those that have a value which their source declares as a mark (source update --mark), and says between which moments that is
    /// all of them.
    ///
    /// --contains and --json-path look through the events themselves, the newest first: 20,000 or for five seconds, then they say how far they
    /// came. --cursor goes on from there, --all to the end (Ctrl-C ends it with what was found). A text is looked for as it is, in body, query
    /// and values of headers; a server looks through them for one at a time.
    List {
        #[command(flatten)]
        received: Received,
        /// Those that their sender calls so
        #[arg(long, value_name = "ID", requires = "source", conflicts_with_all = ["pattern", "since", "until", "cursor", "all", "limit", "contains", "json_path"])]
        key: Option<String>,
        /// That have this value at a mark of their source
        #[arg(long, value_name = "NAME=VALUE", value_parser = marked::sought, requires = "source", conflicts_with_all = ["key", "pattern", "since", "until", "contains", "json_path"])]
        mark: Option<(String, String)>,
        #[command(flatten)]
        sought: Sought,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show an event with its headers and deliveries
    Show {
        /// Its id, evt_...
        #[arg(value_parser = not_empty())]
        id: String,
        /// Write the body, byte for byte, and nothing else
        #[arg(long)]
        body: bool,
    },
    /// Tell events as they come, and what becomes of them
    ///
    /// A line for each event, and one for each of its deliveries that has ended or fails; until Ctrl-C. With --json each line is a
    /// document: {"event": ...} or {"delivery": ...}. While the server is away it waits, and goes on where it was.
    Tail(Tail),
    /// Write events with their bodies, a JSON document a line, the newest first
    ///
    /// Each line is what show prints with --json, and the body in base64. Where a line has a cursor, --cursor goes on behind it: cut off what
    /// stands behind the last one that has, or leave out ids that come twice. A body that was retired meanwhile ends it.
    Export(Export),
    /// Erase what was received of events, and what was answered to them
    ///
    /// Bodies, paths, queries, values of headers and answers of targets are written over, in the store and in each backup that is made from then
    /// on; they do not come back. What stays is that an event came: its id, source, name, time, the names of its headers, lengths, and how its
    /// deliveries ended, so that all that is counted is as it was. Nothing of it can be replayed or redriven. Backups that were made
    /// before have it, and so has whoever took it.
    Erase(Erase),
    /// Deliver old events again, as new deliveries with Relay-Replay: true
    ///
    /// Of several ids each is replayed by itself: what is refused is said, the others are replayed all the same, and the
    /// command exits with 1 (with 2 if none of them is an id).
    Replay(Replay),
}

const COLUMNS: &[Column<EventDto>] = &[
    ("id", |event| text(&event.id)),
    ("received", |event| when(&event.received_at)),
    ("source", |event| text(&event.source)),
    ("name", |event| text(&event.name)),
    ("request", request),
    ("bytes", |event| text(&event.body_size)),
    ("deliveries", deliveries),
];

const VIEW: View<EventDto> =
    View { path: "/api/v1/events", columns: COLUMNS, nothing: "no events. Send one: crm-relay send" };

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List { received, key, mark, sought, paging } => {
                if let Some(mark) = mark {
                    return marked::run(asked, received.source().unwrap_or_default(), mark, &paging).await;
                }
                let mut parameters = received.parameters()?;
                if let Some(sought) = sought.parameter() {
                    parameters.push(sought);
                    return scan::run(asked, parameters, &paging).await;
                }
                let paging = if key.is_some() { None } else { Some(&paging) };
                parameters.extend(given([("key", key)]));
                list(&asked.reading().await?, &VIEW, parameters, paging, asked.form).await?;
                Ok(Exit::Done)
            }
            Self::Show { id, body } => show(asked, &id, body).await,
            Self::Export(export) => export.run(asked).await,
            Self::Tail(tail) => tail.run(asked).await,
            Self::Erase(erase) => erase.run(asked).await,
            Self::Replay(replay) => replay.run(asked).await,
        }
    }
}

async fn show(asked: &Asked, id: &str, body: bool) -> Outcome {
    let api = asked.reading().await?;
    let path = format!("/api/v1/events/{}", encode(id));
    if body {
        let bytes = api.bytes(&format!("{path}/body")).await?;
        let mut out = std::io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()?;
        return Ok(Exit::Done);
    }
    let event: EventDto = api.get(&path).await?;
    // On a terminal somebody wants to see it; a script asks for it with --body.
    let is_fetched = !asked.is_json() && style::is_terminal() && !event.erased;
    let is_shown = is_fetched && event.body_size <= BODY_BYTES_MAX;
    let bytes =
        if is_shown { Some(api.bytes(&format!("/api/v1/events/{}/body", encode(&event.id))).await?) } else { None };
    asked.tell(&event, |event| in_words(event, bytes.as_deref(), asked.form))
}

/// `POST /webhook/shop`.
fn request(event: &EventDto) -> String {
    if event.erased { ERASED.to_owned() } else { format!("{} {}", text(&event.method), text(&event.path)) }
}

/// The body below what is known of it, or how to get it.
fn body_of(event: &EventDto, bytes: Option<&[u8]>, form: Form) -> String {
    if event.erased {
        return style::dim("what was received is erased; who did it: crm-relay audit-log --action event.erase");
    }
    let raw = format!("crm-relay event show {} --body", text(&event.id));
    let Some(bytes) = bytes else { return style::dim(format!("the body: {raw}")) };
    let fields = event.headers.iter().map(|header| (header.name(), header.value()));
    let max = if form == Form::Wide { usize::MAX } else { body::SHOWN_MAX };
    let lines = body::lines(bytes, BodyFields::of(fields), max);
    let lines: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
    format!("{}\n{}\n{}", style::bold("body"), lines.join("\n"), style::dim(format!("as it came: {raw}")))
}

fn in_words(event: &EventDto, bytes: Option<&[u8]>, form: Form) -> String {
    let query = event.query.as_ref().map_or_else(String::new, |query| format!("?{}", text(query)));
    let mut about = vec![
        ("event", style::bold(text(&event.id))),
        ("source", text(&event.source)),
        ("name", text(&event.name)),
        ("received", text(&event.received_at)),
        ("request", format!("{}{query}", request(event))),
        ("body", format!("{} bytes", event.body_size)),
        ("sha256", if event.erased { ERASED.to_owned() } else { text(&event.body_sha256) }),
        ("proved by", event.key.as_ref().map_or_else(|| "-".to_owned(), |key| format!("key {}", text(key)))),
    ];
    about.extend(event.url.as_ref().map(|url| ("page", text(url))));
    let about = table::fields(&about);
    let header = |header: &HeaderDto| {
        format!("  {} {}\n", style::dim(format!("{}:", text(header.name()))), text(header.value()))
    };
    let headers: String = event.headers.iter().map(header).collect();
    let rows: Vec<Vec<String>> = event.deliveries.iter().map(|found| delivery::VIEW.row(found)).collect();
    let deliveries = table::table(&delivery::VIEW.headings(), &rows);
    format!("{about}\n\nheaders\n{headers}\n{deliveries}\n\n{}", body_of(event, bytes, form))
}

/// `2 delivered, 1 dead`.
fn deliveries(event: &EventDto) -> String {
    let mut counted: Vec<(State, usize)> = Vec::new();
    for found in &event.deliveries {
        match counted.iter_mut().find(|(known, _)| *known == found.state) {
            Some((_, count)) => *count += 1,
            None => counted.push((found.state, 1)),
        }
    }
    let one = |(of, count): &(State, usize)| {
        if *count == 1 { state(*of) } else { format!("{count} {}", state(*of)) }
    };
    let parts: Vec<String> = counted.iter().map(one).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads it in a terminal opens it in a browser, where it is known what the dashboard's URL is.
    #[test]
    fn an_event_in_words_leads_to_its_page() {
        let page = "https://ops.example/relay/events/evt_1";
        let shown = |url: Option<&str>| {
            let event = serde_json::json!({
                "id": "evt_1", "source": "shop", "name": null, "key": null, "method": "POST", "path": "/", "query": null, "headers": [],
                "body_size": 0, "body_sha256": "", "received_at": "2026-11-28T18:25:44Z", "deliveries": [], "url": url,
            });
            in_words(&serde_json::from_value(event).expect("an event"), None, Form::Words)
        };
        assert!(shown(Some(page)).contains(page));
        assert!(!shown(None).contains("page"));
    }
}
