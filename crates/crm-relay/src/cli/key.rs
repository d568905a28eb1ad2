//! `crm-relay key`.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{
    listing::{Column, View, list, pretty, text, when},
    shared_options::{self, Common, print},
    token::{show_secret, status},
};
use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Outcome},
    render::table,
};

/// API keys of senders.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a key; it is shown this once
    Create {
        /// Of which source
        source: String,
        /// Its name: who uses it
        name: String,
    },
    /// List keys
    List {
        /// Of this source only
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
    },
    /// Show a key, not its secret
    Show {
        /// Of which source
        source: String,
        /// Its name
        name: String,
    },
    /// Make a key worthless, at once
    #[command(alias = "delete")]
    Revoke {
        /// Of which source
        source: String,
        /// Its name
        name: String,
    },
}

const COLUMNS: &[Column] = &[
    ("source", |key| text(key, "source")),
    ("name", |key| text(key, "name")),
    ("begins", |key| text(key, "prefix")),
    ("status", status),
    ("created", |key| when(key, "created_at")),
];

const PATH: &str = "/api/v1/keys";

const VIEW: View = View { path: PATH, columns: COLUMNS, nothing: "no keys beside API_KEY" };

impl KeyArgs {
    pub(super) fn run(self) -> Outcome {
        shared_options::block_on(async {
            let layers = self.common.layers()?;
            let json = self.common.json;
            match self.verb {
                Verb::List { source } => {
                    let parameters = source.map(|source| ("source", source)).into_iter().collect();
                    list(&Api::reading(&layers).await?, &VIEW, parameters, None, json).await?;
                }
                Verb::Show { source, name } => {
                    let key = Api::reading(&layers).await?.get(&path(&source, &name)).await?;
                    print(&if json { pretty(&key) } else { in_words(&key) })?;
                }
                Verb::Create { source, name } => {
                    let body = json!({"source": source, "name": name});
                    let made = Api::running(&layers).await?.call(Method::POST, PATH, Some(&body)).await?;
                    show_secret(&made, "key", json)?;
                }
                Verb::Revoke { source, name } => {
                    Api::running(&layers).await?.call(Method::DELETE, &path(&source, &name), None).await?;
                    anstream::eprintln!("key {source}/{name} is revoked");
                }
            }
            Ok(Exit::Done)
        })
    }
}

fn path(source: &str, name: &str) -> String {
    format!("{PATH}/{}/{}", encode(source), encode(name))
}

fn in_words(key: &Value) -> String {
    table::fields(&[
        ("key", format!("{}/{}", text(key, "source"), text(key, "name"))),
        ("begins", text(key, "prefix")),
        ("status", status(key)),
        ("created", text(key, "created_at")),
        ("revoked", text(key, "revoked_at")),
    ])
}
