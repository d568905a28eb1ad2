//! `crm-relay delivery`.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    bulk::{self, Bulk, Selection},
    listing::{Column, Paging, Range, View, last, list, pretty, state, text, when},
    shared_options::{self, Common, print},
};
use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Failure, Outcome},
    render::{style, table},
};

/// Events on their way to destinations.
#[derive(Debug, Args)]
pub(crate) struct DeliveryArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List deliveries, newest first
    List {
        /// To this destination only
        #[arg(long, value_name = "NAME")]
        destination: Option<String>,
        /// From this source only
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
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
        id: String,
    },
    /// Give up open deliveries for good
    Cancel(Selection),
}

const COLUMNS: &[Column] = &[
    ("id", |delivery| text(delivery, "id")),
    ("destination", |delivery| text(delivery, "destination")),
    ("state", state),
    ("tries", |delivery| text(delivery, "tries")),
    ("due", due),
    ("last try", last),
];

const VIEW: View = View { path: "/api/v1/deliveries", columns: COLUMNS, nothing: "no deliveries" };

impl DeliveryArgs {
    pub(super) fn run(self) -> Outcome {
        shared_options::block_on(async {
            let layers = self.common.layers()?;
            let json = self.common.json;
            match self.verb {
                Verb::List { destination, source, state, event, range, paging } => {
                    let api = Api::reading(&layers).await?;
                    let mut parameters = range.parameters(SystemTime::now())?;
                    let filters =
                        [("destination", destination), ("source", source), ("state", state), ("event", event)];
                    parameters.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?))));
                    list(&api, &VIEW, parameters, Some(&paging), json).await?;
                    Ok(Exit::Done)
                }
                Verb::Show { id } => {
                    show(&Api::reading(&layers).await?, &id, json).await?;
                    Ok(Exit::Done)
                }
                Verb::Cancel(selection) => {
                    let api = Api::running(&layers).await?;
                    bulk::run(
                        &api,
                        &Bulk { path: "/api/v1/deliveries/cancel", verb: "cancel", done: "cancelled", takes: "open" },
                        &selection,
                        json,
                    )
                    .await
                }
            }
        })
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

/// Shows one delivery; `dead show` does the same.
pub(super) async fn show(api: &Api, id: &str, json: bool) -> Result<(), Failure> {
    let delivery = api.get(&format!("/api/v1/deliveries/{}", encode(id))).await?;
    if json {
        return print(&pretty(&delivery));
    }
    let mut pairs = vec![
        ("delivery", style::bold(text(&delivery, "id"))),
        ("event", text(&delivery, "event_id")),
        ("route", super::route_of(&delivery)),
        ("state", state(&delivery)),
        (
            "tries",
            format!(
                "{} ({} counted, {} leases lost)",
                text(&delivery, "tries"),
                text(&delivery, "attempts"),
                text(&delivery, "losses")
            ),
        ),
        ("ready", text(&delivery, "ready_at")),
        ("last try", last(&delivery)),
    ];
    if is_open(&delivery) {
        pairs.push(("due", text(&delivery, "due_at")));
        pairs.push(("expires", text(&delivery, "expires_at")));
    } else {
        pairs.push(("ended", text(&delivery, "changed_at")));
    }
    if delivery.get("reason").is_some_and(|reason| !reason.is_null()) {
        pairs.insert(4, ("reason", text(&delivery, "reason")));
    }
    print(&table::fields(&pairs))?;
    let none = Vec::new();
    let attempts = delivery.get("history").and_then(Value::as_array);
    let rows: Vec<Vec<String>> = attempts.unwrap_or(&none).iter().map(attempt).collect();
    if rows.is_empty() { Ok(()) } else { print(&format!("\n{}", table::table(&["try", "at", "answer", "ms"], &rows))) }
}

/// When it may be tried next; what has ended is never due again.
fn due(delivery: &Value) -> String {
    if is_open(delivery) { when(delivery, "due_at") } else { "-".to_owned() }
}

fn is_open(delivery: &Value) -> bool {
    matches!(delivery.get("state").and_then(Value::as_str), Some("ready" | "scheduled" | "leased"))
}

fn attempt(item: &Value) -> Vec<String> {
    let answer = match item.get("status").and_then(Value::as_u64) {
        Some(status) => format!("HTTP {status}"),
        None => text(item, "error"),
    };
    vec![text(item, "number"), text(item, "at"), answer, text(item, "duration_ms")]
}
