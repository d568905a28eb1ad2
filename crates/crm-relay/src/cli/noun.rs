//! A noun of the command line: options that find the server, then a verb.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{listing::Form, shared_options::Common};
use crate::{
    admin_client::Api,
    config::layers::Layers,
    exit::{Exit, Failure, Outcome},
    output::{pretty, print},
    runtime::block_on,
};

/// The arguments of `crm-relay NOUN`.
#[derive(Debug, Args)]
pub(crate) struct Noun<V: Subcommand> {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: V,
}

/// What can be done with a noun.
pub(crate) trait Verb: Subcommand {
    /// Does it.
    ///
    /// # Errors
    /// Those of the admin API, and words that make no sense.
    async fn run(self, asked: &Asked) -> Outcome;
}

/// Whom to ask, and how to tell the answer.
pub(crate) struct Asked {
    /// The settings that concern commands.
    pub(crate) layers: Layers,
    /// How to tell it.
    pub(crate) form: Form,
}

impl<V: Verb> Noun<V> {
    /// Runs the verb.
    ///
    /// # Errors
    /// Those of the verb, and faults of the settings.
    pub(crate) fn run(self) -> Outcome {
        block_on(async {
            let asked = Asked { layers: self.common.layers()?, form: self.common.form() };
            self.verb.run(&asked).await
        })
    }
}

impl Asked {
    /// JSON, not words.
    pub(crate) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// The server, or the data directory where none runs.
    ///
    /// # Errors
    /// There is neither.
    pub(crate) async fn reading(&self) -> Result<Api, Failure> {
        Api::reading(&self.layers).await
    }

    /// The server.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn running(&self) -> Result<Api, Failure> {
        Api::running(&self.layers).await
    }

    /// Prints what was found.
    ///
    /// # Errors
    /// Standard output is gone.
    pub(crate) fn tell<T: Serialize>(&self, found: &T, in_words: impl FnOnce(&T) -> String) -> Outcome {
        print(&if self.is_json() { pretty(found) } else { in_words(found) })?;
        Ok(Exit::Done)
    }
}
