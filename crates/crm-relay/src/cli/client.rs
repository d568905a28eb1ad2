//! `crm-relay client`.

use std::path::PathBuf;

use clap::Args;
use relay_client::Config;

use super::setting_flags::{OfClient, SettingFlags};
use crate::{
    config::{
        self, Logging, client,
        fault::Faults,
        layers::{Flags, Layers},
        misspelt,
        settings::Process,
    },
    exit::Outcome,
    reload::{Ground, Read},
};

/// The relay client: connects outbound to the server and forwards each webhook to a local endpoint.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientArgs {
    /// Configuration file [default: ./crm-relay.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingFlags<OfClient>,
}

impl ClientArgs {
    pub(super) fn run(self) -> Outcome {
        let found = self.read(&self.settings.given, Faults::default())?;
        crate::client::run(found, move || {
            let (given, faults) = self.settings.again();
            self.read(&given, faults)
        })
    }

    fn read(&self, given: &Flags, faults: Faults) -> Result<Read<Config>, Faults> {
        let mut layers = Layers::collect(Process::Client, self.config.as_deref(), given, &config::environment);
        layers.faults = faults.and(layers.faults);
        layers.notes.extend(misspelt::notes(config::environment_names()));
        let logging = Logging::from_layers(&layers);
        let ground = Ground { settings: layers.values(), file: layers.written() };
        let (config, notes) = client::config(layers, &config::environment)?;
        Ok(Read { config, notes, logging, ground })
    }
}
