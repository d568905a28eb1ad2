//! `crm-relay delivery`.

use clap::Subcommand;
use relay_core::delivery::State;
use relay_server::api::{AttemptDto, DeliveryDto, DestinationDto};

use super::{
    bulk::{self, Bulk, Pacing, Selection},
    collection::not_empty,
    destination::{DESTINATIONS, held_up},
    filter::{Along, given},
    ids,
    listing::{Column, Paging, Range, View, answered, last, list, route_of, state, text, when},
    noun::{self, Asked},
};
use crate::{
    admin_client::encode,
    exit::{Exit, Outcome},
    render::{answer, style, table, time},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List deliveries, newest first
    List {
        #[command(flatten)]
        along: Along,
        /// In this state only: ready, scheduled, leased, delivered, dead, expired, cancelled
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Of this event only
        #[arg(long, value_name = "ID")]
        event: Option<String>,
        #[command(flatten)]
        range: Range,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a delivery with its attempts
    Show {
        /// Its id, dlv_...
        #[arg(value_parser = not_empty())]
        id: String,
    },
    /// Give up open deliveries for good; what was redriven goes back to the dead letters
    Cancel(Selection),
}

const COLUMNS: &[Column<DeliveryDto>] = &[
    ("id", |delivery| text(&delivery.id)),
    ("destination", |delivery| text(&delivery.destination)),
    ("state", |delivery| state(delivery.state)),
    ("tries", |delivery| text(&delivery.tries)),
    ("age", |delivery| when(&delivery.ready_at)),
    ("due", due),
    ("last try", |delivery| last(delivery.last.as_ref())),
];

/// The deliveries; an event lists its own too.
pub(super) const VIEW: View<DeliveryDto> =
    View { path: "/api/v1/deliveries", columns: COLUMNS, nothing: "no deliveries" };

const CANCEL: Bulk = Bulk {
    path: "/api/v1/deliveries/cancel",
    command: "crm-relay delivery cancel",
    verb: "cancel",
    done: "cancelled",
    takes: "open",
    list: "crm-relay delivery list --state ready,scheduled,leased",
    newest: "/api/v1/deliveries?state=ready,scheduled,leased&limit=1",
};

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List { along, state, event, range, paging } => {
                let api = asked.reading().await?;
                let event = match event {
                    Some(id) => Some(ids::event(&api, &id).await),
                    None => None,
                };
                let mut parameters = along.parameters();
                parameters.extend(given([("state", state), ("event", event)]));
                parameters.extend(range.parameters(time::now())?);
                list(&api, &VIEW, parameters, Some(&paging), asked.form).await?;
                Ok(Exit::Done)
            }
            Self::Show { id } => show(asked, VIEW.path, &id).await,
            Self::Cancel(selection) => bulk::run(asked, &CANCEL, selection, Pacing::default()).await,
        }
    }
}

/// Shows one delivery; `dead show` does the same, below a path where `last` is a dead letter.
pub(super) async fn show(asked: &Asked, path: &str, id: &str) -> Outcome {
    let api = asked.reading().await?;
    let delivery: DeliveryDto = api.get(&format!("{path}/{}", encode(id))).await?;
    // Whoever looks at one that waits wants to know for what. Without a server nothing is on its way.
    let held_up = if delivery.state.is_open() && !asked.is_json() && api.offline().is_none() {
        let found: Result<DestinationDto, _> = api.get(&DESTINATIONS.path(&[&delivery.destination])).await;
        found.ok().and_then(|found| held_up(&found))
    } else {
        None
    };
    asked.tell(&delivery, |delivery| in_words(delivery, held_up))
}

fn in_words(delivery: &DeliveryDto, held_up: Option<String>) -> String {
    let DeliveryDto { tries, attempts, losses, .. } = delivery;
    let mut pairs = vec![
        ("delivery", style::bold(text(&delivery.id))),
        ("event", text(&delivery.event_id)),
        ("route", route_of(&delivery.source, &delivery.destination)),
        ("state", state(delivery.state)),
        ("tries", format!("{tries} ({attempts} counted, {losses} leases lost)")),
        ("ready", text(&delivery.ready_at)),
        ("last try", last(delivery.last.as_ref())),
    ];
    pairs.extend(held_up.map(|why| ("held up", why)));
    if delivery.state.is_open() {
        pairs.push(("due", text(&delivery.due_at)));
        pairs.push(("expires", text(&delivery.expires_at)));
    } else {
        pairs.push(("ended", text(&delivery.changed_at)));
    }
    if delivery.reason.is_some() {
        pairs.insert(4, ("reason", text(&delivery.reason)));
    }
    pairs.extend(delivery.url.as_ref().map(|url| ("page", text(url))));
    let about = table::fields(&pairs);
    let attempts = delivery.history.as_deref().unwrap_or_default();
    if attempts.is_empty() {
        return about;
    }
    let rows: Vec<Vec<String>> = attempts.iter().map(attempt).collect();
    let tries = table::table(&["try", "at", "answer", "ms"], &rows);
    // The latest that has words stands for all: those before it mostly said the same, and --json has each.
    let lines = |item: &AttemptDto| Some((item.number, answer::lines(item.answer.as_ref())));
    let said = attempts.iter().rev().filter_map(lines).find(|(_, lines)| !lines.is_empty());
    let said = said.map_or_else(String::new, |(number, lines)| {
        let heading = style::dim(format!("answer to try {number}"));
        format!("\n\n{heading}\n{}", lines.join("\n"))
    });
    format!("{about}\n\n{tries}{said}")
}

/// When it may be tried next: `in 55s`, `now`, or `late by 3m`; what has ended is never due again, and one that is being
/// tried is not late.
fn due(delivery: &DeliveryDto) -> String {
    if !delivery.state.is_open() {
        "-".to_owned()
    } else if !style::is_terminal() {
        text(&delivery.due_at)
    } else if delivery.state == State::Leased {
        "now".to_owned()
    } else {
        time::due(&delivery.due_at, time::now())
    }
}

fn attempt(item: &AttemptDto) -> Vec<String> {
    let answer = match item.status {
        Some(status) => answered(status, &answer::gist(item.answer.as_ref())),
        None => text(&item.error),
    };
    vec![text(&item.number), text(&item.at), answer, text(&item.duration_ms)]
}
