//! `crm-relay key`.

use clap::{Args, Subcommand};
use relay_server::api::{KeyAsk, KeyDto};

use super::{
    collection::{Collection, not_empty},
    filter::given,
    listing::{Column, View, text, when},
    noun::{self, Asked},
    token::{show_secret, status},
};
use crate::{
    exit::{Exit, Outcome},
    output::say,
    render::table,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a key; it is shown this once
    Create {
        /// Of which source
        #[arg(value_parser = not_empty())]
        source: String,
        /// Its name: who uses it
        #[arg(value_parser = not_empty())]
        name: String,
    },
    /// List keys
    List {
        /// Of this source only
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
    },
    /// Show a key, not its secret
    Show(Which),
    /// Make a key worthless, at once
    #[command(alias = "delete")]
    Revoke(Which),
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Of which source
    #[arg(value_parser = not_empty())]
    source: String,
    /// Its name
    #[arg(value_parser = not_empty())]
    name: String,
}

const COLUMNS: &[Column<KeyDto>] = &[
    ("source", |key| text(&key.source)),
    ("name", |key| text(&key.name)),
    ("begins", |key| text(&key.prefix)),
    ("status", |key| status(key.revoked_at.as_deref())),
    ("created", |key| when(&key.created_at)),
];

const KEYS: Collection<KeyDto> =
    Collection { view: View { path: "/api/v1/keys", columns: COLUMNS, nothing: "no keys beside API_KEY" }, in_words };

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List { source } => KEYS.list(asked, given([("source", source)])).await,
            Self::Show(Which { source, name }) => KEYS.show(asked, &[&source, &name]).await,
            Self::Create { source, name } => {
                let made = KEYS.create(asked, &KeyAsk { source, name }).await?;
                let remedy = format!("crm-relay key revoke {} {}", text(&made.source), text(&made.name));
                show_secret(asked, &made, ("key", made.key.as_ref()), &remedy)
            }
            Self::Revoke(Which { source, name }) => {
                KEYS.delete(&asked.running().await?, &[&source, &name]).await?;
                say(&format!("key {source}/{name} is revoked"));
                Ok(Exit::Done)
            }
        }
    }
}

fn in_words(key: &KeyDto) -> String {
    table::fields(&[
        ("key", format!("{}/{}", text(&key.source), text(&key.name))),
        ("begins", text(&key.prefix)),
        ("status", status(key.revoked_at.as_deref())),
        ("created", text(&key.created_at)),
        ("revoked", text(&key.revoked_at)),
    ])
}
