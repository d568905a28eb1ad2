//! `crm-relay doctor`.

use clap::Args;

use super::{collection::not_empty, shared_options::Common};
use crate::{
    config::{
        self,
        layers::{Flags, Layers},
        settings::Process,
    },
    doctor,
    exit::Outcome,
};

/// Why does nothing arrive? Each hop of a webhook's way in a line, server, source, route, client and target, and beside what is wrong
/// what mends it. Exit 1 if anything is.
///
/// Where the settings are a client's, the way to the server and to the targets is tried with them. Where they name a Redis, that is looked
/// at too.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Of webhooks to this source only
    #[arg(value_name = "SOURCE", value_parser = not_empty())]
    source: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl DoctorArgs {
    pub(super) fn run(self) -> Outcome {
        let common = self.common;
        let of_client = Layers::collect(Process::Client, common.config.as_deref(), &Flags::new(), &config::environment);
        doctor::run(doctor::Asked {
            redis: common.redis(None)?,
            layers: common.layers()?,
            of_client,
            source: self.source,
            json: common.json,
        })
    }
}
