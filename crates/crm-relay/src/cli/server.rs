//! `crm-relay server`.

use std::path::PathBuf;

use clap::Args;

use super::setting_flags::{OfServer, SettingFlags};
use crate::{
    config::{self, Logging, layers::Layers, server, settings::Process},
    exit::Outcome,
};

/// The relay server: takes webhooks in at a public address, stores each durably, hands them to clients.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Configuration file [default: ./crm-relay.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingFlags<OfServer>,
}

impl ServerArgs {
    pub(super) fn run(self) -> Outcome {
        let layers =
            Layers::collect(Process::Server, self.config.as_deref(), &self.settings.given, &config::environment);
        let logging = Logging::from_layers(&layers);
        crate::server::run(server::plan(layers)?, &logging)
    }
}
