//! `crm-relay dead`: dead letters, the expired ones among them.

use std::time::SystemTime;

use clap::{Args, Subcommand};

use super::{
    bulk::{self, Bulk, Selection},
    delivery,
    listing::{Column, Paging, Range, View, last, list, state, text, when},
    shared_options::{self, Common},
};
use crate::{
    admin_client::Api,
    exit::{Exit, Outcome},
};

/// Deliveries that ended without success: dead and expired ones.
#[derive(Debug, Args)]
pub(crate) struct DeadArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List dead letters, the latest first
    List {
        /// To this destination only
        #[arg(long, value_name = "NAME")]
        destination: Option<String>,
        /// From this source only
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        #[arg(
            help = "That ended for this reason only: rejected, busy, lost_leases, expired",
            long,
            value_name = "REASON"
        )]
        reason: Option<String>,
        #[command(flatten)]
        range: Range,
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

impl DeadArgs {
    pub(super) fn run(self) -> Outcome {
        shared_options::block_on(async {
            let layers = self.common.layers()?;
            let json = self.common.json;
            match self.verb {
                Verb::List { destination, source, reason, range, paging } => {
                    let api = Api::reading(&layers).await?;
                    let mut parameters = range.parameters(SystemTime::now())?;
                    let filters = [("destination", destination), ("source", source), ("reason", reason)];
                    parameters.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?))));
                    list(&api, &VIEW, parameters, Some(&paging), json).await?;
                    Ok(Exit::Done)
                }
                Verb::Show { id } => {
                    delivery::show(&Api::reading(&layers).await?, &id, json).await?;
                    Ok(Exit::Done)
                }
                Verb::Redrive(selection) => {
                    let bulk = Bulk {
                        path: "/api/v1/dead/redrive",
                        verb: "redrive",
                        done: "redriven",
                        takes: "dead and expired",
                    };
                    bulk::run(&Api::running(&layers).await?, &bulk, &selection, json).await
                }
                Verb::Purge(selection) => {
                    let bulk =
                        Bulk { path: "/api/v1/dead/purge", verb: "purge", done: "purged", takes: "dead and expired" };
                    bulk::run(&Api::running(&layers).await?, &bulk, &selection, json).await
                }
            }
        })
    }
}
