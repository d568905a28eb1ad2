//! `crm-relay token`.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{
    listing::{Column, View, list, pretty, text, when},
    shared_options::{self, Common, print},
};
use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Failure, Outcome},
    render::{style, table},
};

/// Tokens of clients.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token; it is shown this once
    Create {
        /// Its name: which client uses it
        name: String,
        /// Destinations it may serve; without one: all
        #[arg(long = "destination", value_name = "NAME")]
        destinations: Vec<String>,
    },
    /// List tokens
    List,
    /// Show a token, not its secret
    Show {
        /// Its name
        name: String,
    },
    /// Let a token serve other destinations
    Update {
        /// Its name
        name: String,
        /// Destinations it may serve; without one: all
        #[arg(long = "destination", value_name = "NAME")]
        destinations: Vec<String>,
    },
    /// Make a token worthless; its clients are cut off within seconds
    #[command(alias = "delete")]
    Revoke {
        /// Its name
        name: String,
    },
}

const COLUMNS: &[Column] = &[
    ("name", |token| text(token, "name")),
    ("begins", |token| text(token, "prefix")),
    ("destinations", destinations),
    ("status", status),
    ("created", |token| when(token, "created_at")),
];

const PATH: &str = "/api/v1/tokens";

const VIEW: View = View { path: PATH, columns: COLUMNS, nothing: "no tokens beside RELAY_TOKEN" };

impl TokenArgs {
    pub(super) fn run(self) -> Outcome {
        shared_options::block_on(async {
            let layers = self.common.layers()?;
            let json = self.common.json;
            match self.verb {
                Verb::List => list(&Api::reading(&layers).await?, &VIEW, Vec::new(), None, json).await?,
                Verb::Show { name } => {
                    show(&Api::reading(&layers).await?.get(&path(&name)).await?, json)?;
                }
                Verb::Create { name, destinations } => {
                    let body = json!({"name": name, "destinations": some(destinations)});
                    let made = Api::running(&layers).await?.call(Method::POST, PATH, Some(&body)).await?;
                    show_secret(&made, "token", json)?;
                }
                Verb::Update { name, destinations } => {
                    let body = json!({"destinations": some(destinations)});
                    let api = Api::running(&layers).await?;
                    show(&api.call(Method::PATCH, &path(&name), Some(&body)).await?, json)?;
                }
                Verb::Revoke { name } => {
                    Api::running(&layers).await?.call(Method::DELETE, &path(&name), None).await?;
                    anstream::eprintln!("token {name} is revoked");
                }
            }
            Ok(Exit::Done)
        })
    }
}

/// A secret that is shown this once: alone on stdout, so that a script can take it.
pub(super) fn show_secret(made: &Value, field: &str, json: bool) -> Result<(), Failure> {
    if json {
        return print(&pretty(made));
    }
    let secret = made.get(field).or_else(|| made.get("secret")).and_then(Value::as_str).unwrap_or_default();
    anstream::eprintln!("{}", style::dim(format!("the {field} is shown this once:")));
    print(secret)
}

/// `valid` or `revoked`.
pub(super) fn status(item: &Value) -> String {
    let is_revoked = item.get("revoked_at").is_some_and(|at| !at.is_null());
    if is_revoked { style::bad("revoked") } else { style::good("valid") }
}

fn some(destinations: Vec<String>) -> Option<Vec<String>> {
    if destinations.is_empty() { None } else { Some(destinations) }
}

fn path(name: &str) -> String {
    format!("{PATH}/{}", encode(name))
}

fn show(token: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return print(&pretty(token));
    }
    print(&table::fields(&[
        ("token", style::bold(text(token, "name"))),
        ("begins", text(token, "prefix")),
        ("destinations", destinations(token)),
        ("status", status(token)),
        ("created", text(token, "created_at")),
        ("revoked", text(token, "revoked_at")),
    ]))
}

fn destinations(token: &Value) -> String {
    match text(token, "destinations").as_str() {
        "-" => "all".to_owned(),
        some => some.to_owned(),
    }
}
