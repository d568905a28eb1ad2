//! `crm-relay destination`.

use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use super::{
    listing::{Column, View, list, pretty, text},
    shared_options::{self, Common, print},
};
use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Outcome},
    render::{human_duration, style, table},
};

/// Targets behind the firewall; their URLs are known only to clients.
#[derive(Debug, Args)]
pub(crate) struct DestinationArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List destinations
    List,
    /// Show a destination
    Show {
        /// Its name
        name: String,
    },
    /// Hand out nothing more of it; what comes in waits
    Pause {
        /// Its name
        name: String,
    },
    /// Go on
    Resume {
        /// Its name
        name: String,
    },
}

const COLUMNS: &[Column] = &[
    ("name", |destination| text(destination, "name")),
    ("status", status),
    ("clients", |destination| text(destination, "clients")),
    ("waiting", |destination| count(destination, &["ready", "scheduled"])),
    ("leased", |destination| count(destination, &["leased"])),
    ("delivered", |destination| count(destination, &["delivered"])),
    ("dead", |destination| count(destination, &["dead", "expired"])),
];

const PATH: &str = "/api/v1/destinations";

/// The list of destinations; `status` shows it too.
pub(super) const VIEW: View = View { path: PATH, columns: COLUMNS, nothing: "no destinations" };

impl DestinationArgs {
    pub(super) fn run(self) -> Outcome {
        shared_options::block_on(async {
            let layers = self.common.layers()?;
            let json = self.common.json;
            match self.verb {
                Verb::List => list(&Api::reading(&layers).await?, &VIEW, Vec::new(), None, json).await?,
                Verb::Show { name } => {
                    let found = Api::reading(&layers).await?.get(&path(&name)).await?;
                    print(&if json { pretty(&found) } else { in_words(&found) })?;
                }
                Verb::Pause { name } => {
                    Api::running(&layers).await?.call(Method::POST, &format!("{}/pause", path(&name)), None).await?;
                    anstream::eprintln!("destination {name} is paused");
                }
                Verb::Resume { name } => {
                    Api::running(&layers).await?.call(Method::POST, &format!("{}/resume", path(&name)), None).await?;
                    anstream::eprintln!("destination {name} goes on");
                }
            }
            Ok(Exit::Done)
        })
    }
}

fn path(name: &str) -> String {
    format!("{PATH}/{}", encode(name))
}

/// `up`, `paused`, `no client`, `target down`.
fn status(destination: &Value) -> String {
    let is = |field: &str| destination.get(field).and_then(Value::as_bool).unwrap_or(false);
    if is("paused") {
        style::warn("paused")
    } else if destination.get("clients").and_then(Value::as_u64).unwrap_or(0) == 0 {
        style::bad("no client")
    } else if is("circuit_open") {
        style::bad("target down")
    } else {
        style::good("up")
    }
}

/// The sum of some states' counts.
fn count(destination: &Value, states: &[&str]) -> String {
    let counts = destination.get("deliveries").unwrap_or(destination);
    let sum: u64 = states.iter().filter_map(|state| counts.get(*state)).filter_map(Value::as_u64).sum();
    sum.to_string()
}

fn in_words(destination: &Value) -> String {
    let age = destination.get("oldest_due_age_ms").and_then(Value::as_u64);
    let age = age.map_or_else(|| "-".to_owned(), |ms| human_duration(Duration::from_millis(ms)));
    let about = table::fields(&[
        ("destination", style::bold(text(destination, "name"))),
        ("status", status(destination)),
        ("sources", text(destination, "sources")),
        ("waiting", count(destination, &["ready", "scheduled"])),
        ("leased", count(destination, &["leased"])),
        ("delivered", count(destination, &["delivered"])),
        ("dead", count(destination, &["dead", "expired"])),
        ("oldest due since", age),
        ("next expires", text(destination, "next_expiry_at")),
    ]);
    let clients = destination.get("instances").and_then(Value::as_array);
    let rows: Vec<Vec<String>> = clients.into_iter().flatten().map(client).collect();
    if rows.is_empty() {
        return about;
    }
    let headings = ["client", "instance", "peer", "token", "held", "slots", "target"];
    format!("{about}\n\n{}", table::table(&headings, &rows))
}

fn client(client: &Value) -> Vec<String> {
    let target = match (client.get("circuit_open").and_then(Value::as_bool), text(client, "error").as_str()) {
        (Some(true), "-") => style::bad("down"),
        (Some(true), error) => style::bad(format!("down: {error}")),
        _ => style::good("up"),
    };
    let mut cells: Vec<String> =
        ["label", "instance", "peer", "token", "held", "slots"].map(|field| text(client, field)).into();
    cells.push(target);
    cells
}
