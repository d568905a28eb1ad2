//! `crm-relay delivery`.

use clap::Subcommand;
use serde_json::Value;

use super::{
    bulk::{self, Bulk, Pacing, Selection},
    collection::not_empty,
    destination,
    filter::{Along, given},
    listing::{self, Column, Paging, Range, View, last, list, route_of, state, text, when},
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

const COLUMNS: &[Column] = &[
    ("id", |delivery| text(delivery, "id")),
    ("destination", |delivery| text(delivery, "destination")),
    ("state", state),
    ("tries", |delivery| text(delivery, "tries")),
    ("age", |delivery| when(delivery, "ready_at")),
    ("due", due),
    ("last try", last),
];

const VIEW: View = View { path: "/api/v1/deliveries", columns: COLUMNS, nothing: "no deliveries" };

const CANCEL: Bulk = Bulk {
    path: "/api/v1/deliveries/cancel",
    command: "crm-relay delivery cancel",
    verb: "cancel",
    done: "cancelled",
    takes: "open",
    list: "crm-relay delivery list --state ready,scheduled,leased",
};

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List { along, state, event, range, paging } => {
                let mut parameters = along.parameters();
                parameters.extend(given([("state", state), ("event", event)]));
                parameters.extend(range.parameters(time::now())?);
                list(&asked.reading().await?, &VIEW, parameters, Some(&paging), asked.form).await?;
                Ok(Exit::Done)
            }
            Self::Show { id } => show(asked, VIEW.path, &id).await,
            Self::Cancel(selection) => bulk::run(asked, &CANCEL, selection, Pacing::default()).await,
        }
    }
}

/// Headings of a list of deliveries.
pub(super) fn headings() -> Vec<&'static str> {
    COLUMNS.iter().map(|(heading, _)| *heading).collect()
}

/// A row of it.
pub(super) fn row(delivery: &Value) -> Vec<String> {
    COLUMNS.iter().map(|(_, show)| show(delivery)).collect()
}

/// Shows one delivery; `dead show` does the same, below a path where `last` is a dead letter.
pub(super) async fn show(asked: &Asked, path: &str, id: &str) -> Outcome {
    let api = asked.reading().await?;
    let delivery = api.get(&format!("{path}/{}", encode(id))).await?;
    // Whoever looks at one that waits wants to know for what. Without a server nothing is on its way.
    let held_up = if is_open(&delivery) && !asked.is_json() && api.offline().is_none() {
        let destination = api.get(&format!("/api/v1/destinations/{}", encode(&text(&delivery, "destination")))).await;
        destination.ok().and_then(|destination| destination::held_up(&destination))
    } else {
        None
    };
    asked.tell(&delivery, |delivery| in_words(delivery, held_up))
}

fn in_words(delivery: &Value, held_up: Option<String>) -> String {
    let mut pairs = vec![
        ("delivery", style::bold(text(delivery, "id"))),
        ("event", text(delivery, "event_id")),
        ("route", route_of(delivery)),
        ("state", state(delivery)),
        (
            "tries",
            format!(
                "{} ({} counted, {} leases lost)",
                text(delivery, "tries"),
                text(delivery, "attempts"),
                text(delivery, "losses")
            ),
        ),
        ("ready", text(delivery, "ready_at")),
        ("last try", last(delivery)),
    ];
    pairs.extend(held_up.map(|why| ("held up", why)));
    if is_open(delivery) {
        pairs.push(("due", text(delivery, "due_at")));
        pairs.push(("expires", text(delivery, "expires_at")));
    } else {
        pairs.push(("ended", text(delivery, "changed_at")));
    }
    if delivery.get("reason").is_some_and(|reason| !reason.is_null()) {
        pairs.insert(4, ("reason", text(delivery, "reason")));
    }
    let about = table::fields(&pairs);
    let attempts = delivery.get("history").and_then(Value::as_array);
    let attempts: Vec<&Value> = attempts.into_iter().flatten().collect();
    let rows: Vec<Vec<String>> = attempts.iter().map(|item| attempt(item)).collect();
    if rows.is_empty() {
        return about;
    }
    let tries = table::table(&["try", "at", "answer", "ms"], &rows);
    // The latest that has words stands for all: those before it mostly said the same, and --json has each.
    let said = attempts.iter().rev().map(|item| (item, answer::lines(item))).find(|(_, lines)| !lines.is_empty());
    let said = said.map_or_else(String::new, |(item, lines)| {
        let heading = style::dim(format!("answer to try {}", text(item, "number")));
        format!("\n\n{heading}\n{}", lines.join("\n"))
    });
    format!("{about}\n\n{tries}{said}")
}

/// When it may be tried next: `in 55s`, `now`, or `late by 3m`; what has ended is never due again, and one that is being
/// tried is not late.
fn due(delivery: &Value) -> String {
    let state = delivery.get("state").and_then(Value::as_str);
    match delivery.get("due_at").and_then(Value::as_str).filter(|_| is_open(delivery)) {
        None => "-".to_owned(),
        Some(_) if state == Some("leased") && style::is_terminal() => "now".to_owned(),
        Some(at) if style::is_terminal() => time::due(at, time::now()),
        Some(_) => text(delivery, "due_at"),
    }
}

fn is_open(delivery: &Value) -> bool {
    matches!(delivery.get("state").and_then(Value::as_str), Some("ready" | "scheduled" | "leased"))
}

fn attempt(item: &Value) -> Vec<String> {
    let answer = listing::answer(item).unwrap_or_else(|| text(item, "error"));
    vec![text(item, "number"), text(item, "at"), answer, text(item, "duration_ms")]
}
