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
        misspelt, server,
        settings::Process,
    },
    exit::{Failure, Outcome},
    reload::{Ground, Read},
};

/// The relay client: connects outbound to the server and forwards each webhook to a local endpoint.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientArgs {
    /// Configuration file [default: ./crm-relay.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take webhooks out of the Redis that servers have their store in, and need no server: --url and --token have no meaning then.
    /// Configured as those servers are (--config), and only where whoever reaches that Redis is trusted
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    #[command(flatten)]
    settings: SettingFlags<OfClient>,
}

impl ClientArgs {
    pub(super) fn run(self) -> Outcome {
        if let Some(url) = &self.redis {
            return self.run_beside(url);
        }
        let found = self.read(&self.settings.given, Faults::default())?;
        crate::client::run(found, move || {
            let (given, faults) = self.settings.again();
            self.read(&given, faults)
        })
    }

    /// Both halves have their settings of the same file and environment.
    fn run_beside(&self, url: &str) -> Outcome {
        let config = self.config.as_deref();
        let mut of_client = Layers::collect(Process::Client, config, &self.settings.given, &config::environment);
        let joined = client::beside(&mut of_client);
        let given = Flags::from([("REDIS_URL", url.to_owned())]);
        let mut of_server = Layers::collect(Process::Server, config, &given, &config::environment);
        of_server.faults = std::mem::take(&mut of_client.faults).and(of_server.faults);
        // What is the other half's is no other process's here.
        of_server.notes = misspelt::notes(config::environment_names());
        let logging = Logging::from_layers(&of_client);
        let plan = server::plan(of_server)?;
        let redis = plan.redis().cloned().ok_or_else(|| Failure::usage("--redis: want a URL"))?;
        crate::beside::run(plan, redis, joined, &logging)
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
