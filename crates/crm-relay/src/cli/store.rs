//! `crm-relay store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::shared_options::Common;
use crate::{
    config,
    exit::{Failure, Outcome, reason},
    migrate::{self, StoreAt, What},
    redis_store::{self, Mending},
    rekey, store,
};

/// Backup, restore and check of the store, and a move to another one.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
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
        /// Go on without what does not read: it is taken out, and named in the audit log
        #[arg(long)]
        accept_loss: bool,
        /// In a Redis: put what is missing or astray in its indexes back in its place
        #[arg(long, conflicts_with = "accept_loss")]
        repair: bool,
    },
    /// Seal with the newest key what is clear or sealed with an older one, while the server goes on working
    Rekey,
    /// Move everything into an empty store, from a data directory to a Redis or back; no server may run
    Migrate {
        /// A data directory, or redis://host:port with the other settings as a server has them
        #[arg(long, value_name = "DIR|URL")]
        from: String,
        /// The same, and nothing in it
        #[arg(long, value_name = "DIR|URL")]
        to: String,
        /// Say what would be moved, and move nothing
        #[arg(long)]
        dry_run: bool,
        /// Give up a move that is not over: the store that it is from may be served again
        #[arg(long, conflicts_with = "dry_run")]
        abandon: bool,
    },
}

impl StoreArgs {
    pub(super) fn run(self) -> Outcome {
        let layers = self.common.layers()?;
        match self.verb.clone() {
            Verb::Backup { .. } | Verb::Restore { .. } if self.common.redis(None)?.is_some() => {
                Err(redis_store::no_copy())
            }
            Verb::Backup { directory } => store::backup(&layers, self.common.json, &directory),
            Verb::Restore { directory } => store::restore(&layers, self.common.json, &directory),
            Verb::Check { accept_loss, repair } => match self.common.redis(None)? {
                Some(options) => redis_store::check(&options, self.common.json, Mending { repair, accept_loss }),
                None if repair => Err(Failure::usage("--repair is for a store in a Redis: set REDIS_URL")),
                None => store::check(&layers, self.common.json, accept_loss),
            },
            Verb::Rekey => rekey::run(&layers, self.common.redis(None)?.is_some(), self.common.json),
            Verb::Migrate { from, to, dry_run, abandon } => {
                let what = match (dry_run, abandon) {
                    (true, _) => What::DryRun,
                    (_, true) => What::Abandon,
                    _ => What::Move,
                };
                migrate::run(&self.place(&from)?, &self.place(&to)?, what, self.common.json)
            }
        }
    }

    fn place(&self, text: &str) -> Result<StoreAt, Failure> {
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("redis://") || lower.starts_with("rediss://") || lower.contains("://") {
            let options = self.common.redis(Some(text))?;
            return options
                .map(|options| StoreAt::Redis(Box::new(options)))
                .ok_or_else(|| Failure::usage("want a URL"));
        }
        let dir = std::path::absolute(text).map_err(|error| Failure::usage(format!("{text}: {}", reason(&error))))?;
        Ok(StoreAt::Directory(dir, config::ciphers(&self.common.layers()?)?))
    }
}
