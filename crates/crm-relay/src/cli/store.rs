//! `crm-relay store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::shared_options::Common;
use crate::{exit::Outcome, store};

/// Backup, restore and check of the embedded store.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a consistent copy, while the server goes on working
    Backup {
        /// A directory that does not exist yet
        directory: PathBuf,
    },
    /// Put a copy into a data directory that holds no store; the server must not run
    Restore {
        /// The directory of the copy
        directory: PathBuf,
    },
    /// Read everything, recount, compare; the server must not run
    Check {
        /// Go on after a loss that was found: it is named in the audit log
        #[arg(long)]
        accept_loss: bool,
    },
}

impl StoreArgs {
    pub(super) fn run(self) -> Outcome {
        let layers = self.common.layers()?;
        match self.verb {
            Verb::Backup { directory } => store::backup(&layers, self.common.json, &directory),
            Verb::Restore { directory } => store::restore(&layers, self.common.json, &directory),
            Verb::Check { accept_loss } => store::check(&layers, self.common.json, accept_loss),
        }
    }
}
