//! `crm-relay status`.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::{
    destination,
    listing::{ago, each, list, text, when},
    shared_options::Common,
};
use crate::{
    admin_client::Api,
    exit::{Exit, Failure, Outcome},
    output::{pretty, print, tell},
    render::{human_duration, style, table},
    runtime::block_on,
};

/// Requests that found nothing are shown in so many lines; JSON has all that are kept.
const MISSED_SHOWN: usize = 10;

/// What the server does right now: totals, destinations, clients, and what is wrong.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    common: Common,
}

impl StatusArgs {
    pub(super) fn run(self) -> Outcome {
        block_on(async {
            let layers = self.common.layers()?;
            let api = Api::reading(&layers).await?;
            let status = api.get("/api/v1/status").await?;
            if self.common.json {
                print(&pretty(&status))?;
                return Ok(Exit::Done);
            }
            print(&table::fields(&[
                ("server", server(&api, &status)),
                ("received", text(&status, "webhooks_received")),
                ("last webhook", ago(&status, "last_received_at")),
                ("delivered", text(&status, "webhooks_processed")),
                ("dead or expired", text(&status, "webhooks_failed")),
                ("waiting", text(&status, "queue_depth")),
            ]))?;
            for reason in each(&status, "reasons") {
                tell(&style::warn(format!("! {reason}")))?;
            }
            for hint in each(&status, "hints") {
                tell(&format!("? {hint}"))?;
            }
            print("")?;
            list(&api, &destination::DESTINATIONS.view, Vec::new(), None, self.common.form()).await?;
            missed(&status)?;
            Ok(Exit::Done)
        })
    }
}

/// The latest requests that found nothing: where a webhook went that does not arrive.
fn missed(status: &Value) -> Result<(), Failure> {
    let missed = status.get("missed").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if missed.is_empty() {
        return Ok(());
    }
    print("\nrequests to a path or source that there is none of, the latest first:")?;
    let row = |request: &Value| {
        let cell = |field| text(request, field);
        vec![when(request, "at"), cell("status"), cell("method"), cell("path"), cell("peer")]
    };
    let rows: Vec<Vec<String>> = missed.iter().take(MISSED_SHOWN).map(row).collect();
    print(&table::table(&["at", "status", "method", "path", "from"], &rows))?;
    match missed.len().checked_sub(MISSED_SHOWN) {
        Some(more @ 1..) => print(&format!("and {more} more: crm-relay status --json")),
        _ => Ok(()),
    }
}

/// How it is; or that it does not run, and whose figures these are.
fn server(api: &Api, status: &Value) -> String {
    if let Some(dir) = api.offline() {
        return style::warn(format!("does not run; this is its store in {}", dir.display()));
    }
    let state = match text(status, "status").as_str() {
        "ok" => style::good("ok"),
        other => style::bad(other),
    };
    let up = Duration::from_millis(status.get("uptime_ms").and_then(Value::as_u64).unwrap_or(0));
    let more = format!("version {}, up {}, at {}", text(status, "version"), human_duration(up), text(status, "public"));
    format!("{state}, {}", style::dim(more))
}
