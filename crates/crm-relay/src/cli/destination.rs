//! `crm-relay destination`.

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
    render::style,
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
                    print(&pretty(&Api::reading(&layers).await?.get(&path(&name)).await?))?;
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
