//! `crm-relay status`.

use clap::Args;
use serde_json::Value;

use super::{
    destination,
    listing::{list, pretty, text},
    shared_options::{self, Common, print},
};
use crate::{
    admin_client::Api,
    exit::{Exit, Outcome},
    render::{style, table},
};

/// What the server does right now: totals, destinations, clients, and what is wrong.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    common: Common,
}

impl StatusArgs {
    pub(super) fn run(self) -> Outcome {
        shared_options::block_on(async {
            let layers = self.common.layers()?;
            let api = Api::reading(&layers).await?;
            let status = api.get("/api/v1/status").await?;
            if self.common.json {
                print(&pretty(&status))?;
                return Ok(Exit::Done);
            }
            let state = match text(&status, "status").as_str() {
                "ok" => style::good("ok"),
                other => style::bad(other),
            };
            print(&table::fields(&[
                ("server", format!("{state} {}", style::dim(format!("version {}", text(&status, "version"))))),
                ("received", text(&status, "webhooks_received")),
                ("delivered", text(&status, "webhooks_processed")),
                ("dead or expired", text(&status, "webhooks_failed")),
                ("waiting", text(&status, "queue_depth")),
            ]))?;
            for reason in status.get("reasons").and_then(Value::as_array).into_iter().flatten() {
                print(&style::warn(format!("! {}", reason.as_str().unwrap_or_default())))?;
            }
            print("")?;
            list(&api, &destination::VIEW, Vec::new(), None, false).await?;
            Ok(Exit::Done)
        })
    }
}
