//! `crm-relay dev`.

use std::{io::IsTerminal as _, path::PathBuf};

use clap::Args;

use super::setting_flags::{OfDev, SettingFlags};
use crate::{
    config::{self, Logging, client, layers::Layers, misspelt, server, settings::Process},
    exit::Outcome,
    render::forwarded::Show,
};

/// Server and client in one process, with a data directory of its own. Without --to it shows what arrives.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Configuration file [default: ./crm-relay.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to show of a webhook that is forwarded [default: line; without --to the whole request]
    #[arg(long, value_name = "WHAT", value_enum)]
    show: Option<Show>,
    #[command(flatten)]
    settings: SettingFlags<OfDev>,
}

impl DevArgs {
    pub(super) fn run(self) -> Outcome {
        let mut layers =
            Layers::collect(Process::Dev, self.config.as_deref(), &self.settings.given, &config::environment);
        layers.notes.extend(misspelt::notes(config::environment_names()));
        let mut logging = Logging::from_layers(&layers);
        // On a terminal the requests are what people want to see; the log speaks up when something is wrong.
        if std::io::stderr().is_terminal() && layers.given("LOG_LEVEL").is_none() {
            // What the client's tries come to is said in words.
            "warn".clone_into(&mut logging.level);
            logging.hides_notices = true;
        }
        let joined = client::joined(&mut layers);
        crate::dev::run(server::plan(layers)?, joined, self.show, &logging)
    }
}
