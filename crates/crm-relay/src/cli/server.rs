//! `crm-relay server`.

use std::path::PathBuf;

use clap::Args;

use super::setting_flags::{OfServer, SettingFlags};
use crate::{
    config::{
        self, Logging,
        fault::Faults,
        layers::{Flags, Layers},
        misspelt,
        server::{self, Plan},
        settings::Process,
    },
    exit::Outcome,
    reload::{Ground, Read},
};

/// The relay server: takes webhooks in at a public address, stores each durably, hands them to clients.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    /// Configuration file [default: ./crm-relay.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where other servers on its store are configured otherwise: share what this one has from now on, and start
    #[arg(long)]
    accept_config: bool,
    #[command(flatten)]
    settings: SettingFlags<OfServer>,
}

impl ServerArgs {
    pub(super) fn run(self) -> Outcome {
        let found = self.read(&self.settings.given, Faults::default())?;
        crate::server::run(found, move || {
            let (given, faults) = self.settings.again();
            self.read(&given, faults)
        })
    }

    fn read(&self, given: &Flags, faults: Faults) -> Result<Read<Plan>, Faults> {
        let mut layers = Layers::collect(Process::Server, self.config.as_deref(), given, &config::environment);
        layers.faults = faults.and(layers.faults);
        layers.notes.extend(misspelt::notes(config::environment_names()));
        let logging = Logging::from_layers(&layers);
        let ground = Ground { settings: layers.values(), file: layers.written() };
        let plan = server::plan(layers)?.accepted(self.accept_config);
        Ok(Read { notes: plan.notes.clone(), config: plan, logging, ground })
    }
}
