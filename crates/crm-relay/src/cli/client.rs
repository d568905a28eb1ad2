//! `crm-relay client`.

use std::path::PathBuf;

use clap::Args;

use super::setting_flags::{OfClient, SettingFlags};
use crate::{
    config::{self, Logging, client, layers::Layers, settings::Process},
    exit::Outcome,
};

/// The relay client: connects outbound to the server and forwards each webhook to a local endpoint.
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    /// Configuration file [default: ./crm-relay.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingFlags<OfClient>,
}

impl ClientArgs {
    pub(super) fn run(self) -> Outcome {
        let layers =
            Layers::collect(Process::Client, self.config.as_deref(), &self.settings.given, &config::environment);
        let logging = Logging::from_layers(&layers);
        let (config, notes) = client::config(layers, &config::environment)?;
        crate::client::run(config, &notes, &logging)
    }
}
