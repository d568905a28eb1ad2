//! `crm-relay health`.

use clap::Args;
use serde::Deserialize;

use super::{listing::text, shared_options::Common};
use crate::{
    admin_client::Api,
    config::{
        client,
        layers::{Flags, Layers},
        settings::Process,
    },
    exit::{Exit, Failure, Outcome},
    output::{pretty, print, tell},
    render::style,
    runtime::block_on,
};

/// Health of the server; exit 0 while it is ready, 1 while not. For container health checks.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    common: Common,
    #[arg(help = "Of the client on this machine, over its CLIENT_LISTEN", long)]
    client: bool,
    /// Exit 1 also while it is ready and degraded: for monitoring
    #[arg(long)]
    strict: bool,
}

/// What servers and clients both say of themselves.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Health {
    status: Option<String>,
    reasons: Vec<String>,
    hints: Vec<String>,
}

impl HealthArgs {
    pub(super) fn run(self) -> Outcome {
        block_on(async {
            let api = if self.client { self.client_api()? } else { Api::running(&self.common.layers()?).await? };
            let (status, _) = api.peek("/readyz").await.map_err(|failure| self.away(failure, &api))?;
            let is_ready = status.is_success();
            let path = if self.client { "/health" } else { "/api/v1/status" };
            let (_, told) = api.peek(path).await?;
            let health = Health::deserialize(&told).unwrap_or_default();
            if self.common.json {
                print(&pretty(&told))?;
            } else {
                let word = if is_ready { style::good("ready") } else { style::bad("not ready") };
                print(&match &health.status {
                    Some(known) => format!("{word}, {}", text(known)),
                    None => word,
                })?;
                for reason in &health.reasons {
                    tell(&style::warn(format!("! {}", text(reason))))?;
                }
                for hint in &health.hints {
                    tell(&format!("? {}", text(hint)))?;
                }
            }
            let is_well = is_ready && (!self.strict || health.status.as_deref() == Some("ok"));
            Ok(if is_well { Exit::Done } else { Exit::No })
        })
    }

    /// A client is started by another command than a server.
    fn away(&self, failure: Failure, api: &Api) -> Failure {
        if self.client {
            Failure::unreachable(format!("no client answers at {api}: start it with CLIENT_LISTEN at this address"))
        } else {
            failure
        }
    }

    fn client_api(&self) -> Result<Api, Failure> {
        let env = &crate::config::environment;
        let layers = Layers::collect(Process::Client, self.common.config.as_deref(), &Flags::new(), env);
        match client::listen(&layers, "CLIENT_LISTEN") {
            Some(address) => Ok(Api::at(address)),
            None => Err(Failure::usage(
                "the client has no health listener: start it with CLIENT_LISTEN=127.0.0.1:8082 and set that here too",
            )),
        }
    }
}
