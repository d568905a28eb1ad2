//! `crm-relay dead`: dead letters, the expired ones among them.

use clap::Subcommand;

use super::{
    bulk::{self, Bulk, Selection},
    delivery,
    filter::Ended,
    listing::{Column, Paging, View, last, list, state, text, when},
    noun::{self, Asked},
};
use crate::exit::{Exit, Outcome};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List dead letters, the latest first
    List {
        #[command(flatten)]
        filter: Ended,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a dead letter with its attempts
    Show {
        /// Its id, dlv_...
        id: String,
    },
    /// Deliver again: attempts and TTL start anew
    Redrive(Selection),
    /// Remove for good, before their retention ends
    Purge(Selection),
}

const COLUMNS: &[Column] = &[
    ("id", |delivery| text(delivery, "id")),
    ("source", |delivery| text(delivery, "source")),
    ("destination", |delivery| text(delivery, "destination")),
    ("state", state),
    ("reason", |delivery| text(delivery, "reason")),
    ("tries", |delivery| text(delivery, "tries")),
    ("ended", |delivery| when(delivery, "changed_at")),
    ("last try", last),
];

const VIEW: View = View { path: "/api/v1/dead", columns: COLUMNS, nothing: "no dead letters" };

const REDRIVE: Bulk =
    Bulk { path: "/api/v1/dead/redrive", verb: "redrive", done: "redriven", takes: "dead and expired" };

const PURGE: Bulk = Bulk { path: "/api/v1/dead/purge", verb: "purge", done: "purged", takes: "dead and expired" };

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List { filter, paging } => {
                list(&asked.reading().await?, &VIEW, filter.parameters()?, Some(&paging), asked.json).await?;
                Ok(Exit::Done)
            }
            Self::Show { id } => delivery::show(asked, &id).await,
            Self::Redrive(selection) => bulk::run(asked, &REDRIVE, selection).await,
            Self::Purge(selection) => bulk::run(asked, &PURGE, selection).await,
        }
    }
}
