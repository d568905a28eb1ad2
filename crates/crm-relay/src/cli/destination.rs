//! `crm-relay destination`.

use std::time::Duration;

use clap::Subcommand;
use http::Method;
use serde_json::Value;

use super::{
    collection::{Collection, Named},
    listing::{Column, View, text, when},
    noun::{self, Asked},
};
use crate::{
    exit::{Exit, Outcome},
    output::say,
    render::{human_duration, style, table, time},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List destinations
    List,
    /// Show a destination
    Show(Named),
    /// Hand out nothing more of it; what comes in waits
    Pause(Named),
    /// Go on
    Resume(Named),
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

/// The destinations; `status` lists them too.
pub(super) const DESTINATIONS: Collection =
    Collection { view: View { path: "/api/v1/destinations", columns: COLUMNS, nothing: "no destinations" }, in_words };

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List => DESTINATIONS.list(asked, Vec::new()).await,
            Self::Show(named) => DESTINATIONS.show(asked, &[&named.name]).await,
            Self::Pause(named) => switch(asked, &named.name, "pause", "is paused").await,
            Self::Resume(named) => switch(asked, &named.name, "resume", "goes on").await,
        }
    }
}

async fn switch(asked: &Asked, name: &str, to: &str, done: &str) -> Outcome {
    let path = format!("{}/{to}", DESTINATIONS.path(&[name]));
    asked.running().await?.call(Method::POST, &path, None).await?;
    say(&format!("destination {name} {done}"));
    Ok(Exit::Done)
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

/// Why nothing goes there at the moment, and what to type; `None`: it is up.
pub(super) fn held_up(destination: &Value) -> Option<String> {
    let name = text(destination, "name");
    let status = status(destination);
    let step = match anstream::adapter::strip_str(&status).to_string().as_str() {
        "paused" => format!("to go on: crm-relay destination resume {name}"),
        "no client" => "start one where the target is: crm-relay client".to_owned(),
        "target down" => format!("what it answers: crm-relay destination show {name}"),
        _ => return None,
    };
    Some(format!("{status}; {step}"))
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
        ("oldest due for", age),
        ("next expires", text(destination, "next_expiry_at")),
    ]);
    let clients = destination.get("instances").and_then(Value::as_array);
    let rows: Vec<Vec<String>> = clients.into_iter().flatten().map(client).collect();
    if rows.is_empty() {
        return about;
    }
    let headings = ["client", "instance", "peer", "token", "held", "slots", "target"];
    format!("{about}\n\n{}", table::wrapped(&headings, &rows))
}

/// `down since 3m, next try in 12s: connection refused`.
fn down(client: &Value) -> String {
    let since = match client.get("open_since").filter(|since| since.is_string()) {
        Some(_) => format!(" since {}", when(client, "open_since")),
        None => String::new(),
    };
    let next = match client.get("next_try_at").and_then(Value::as_str) {
        Some(at) if style::is_terminal() => format!("next try {}", time::due(at, time::now())),
        Some(at) => format!("next try {at}"),
        None => "a try is under way".to_owned(),
    };
    match text(client, "error").as_str() {
        "-" => format!("down{since}, {next}"),
        error => format!("down{since}, {next}: {error}"),
    }
}

fn client(client: &Value) -> Vec<String> {
    let target = match client.get("circuit_open").and_then(Value::as_bool) {
        Some(true) => style::bad(down(client)),
        Some(false) | None => style::good("up"),
    };
    let mut cells: Vec<String> =
        ["label", "instance", "peer", "token", "held", "slots"].map(|field| text(client, field)).into();
    cells.push(target);
    cells
}
