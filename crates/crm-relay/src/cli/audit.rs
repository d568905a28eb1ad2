//! `crm-relay audit`.

use clap::Args;
use serde_json::Value;

use super::{listing::text, shared_options::Common};
use crate::{
    admin_client::Api,
    exit::{Exit, Outcome},
    output::{pretty, print, tell},
    render::{style, table},
    runtime::block_on,
};

/// Recounts every event and delivery and compares with the counters; exit 1 if anything is missing.
///
/// What a restored store cannot know of the time since its backup is said, and is no reason for exit 1.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    common: Common,
}

const EVENTS: [&str; 4] = ["source", "accepted", "stored", "retired"];
const DELIVERIES: [&str; 11] = [
    "destination",
    "created",
    "ready",
    "scheduled",
    "leased",
    "delivered",
    "dead",
    "expired",
    "cancelled",
    "retired",
    "lost",
];

/// The same for a narrow terminal: `open` are the ready, scheduled and leased ones.
const NARROW: [&str; 9] =
    ["destination", "created", "open", "delivered", "dead", "expired", "cancelled", "retired", "lost"];

impl AuditArgs {
    pub(super) fn run(self) -> Outcome {
        block_on(async {
            let layers = self.common.layers()?;
            let report = Api::reading(&layers).await?.get("/api/v1/audit").await?;
            let is_ok = report.get("ok").and_then(Value::as_bool).unwrap_or(false);
            if self.common.json {
                print(&pretty(&report))?;
            } else {
                print(&section(&report, "events", &EVENTS))?;
                // All states want 100 places; those that are still open say as much in one column.
                let is_narrow = style::is_terminal() && style::screen() < 100 && !self.common.wide;
                let columns = if is_narrow { &NARROW[..] } else { &DELIVERIES[..] };
                print(&format!("\n{}\n", section(&report, "deliveries", columns)))?;
                let unknown = unknown(&report);
                let verdict = if !is_ok {
                    style::bad("the sums do not hold: see crm-relay store check")
                } else if unknown.is_empty() {
                    style::good("both sums hold: nothing is missing")
                } else {
                    style::good("both sums hold: nothing of what is known here is missing")
                };
                tell(&verdict)?;
                unknown.iter().try_for_each(|line| tell(&style::warn(line)))?;
            }
            Ok(if is_ok { Exit::Done } else { Exit::No })
        })
    }
}

/// What nobody can tell, because a backup was put in the place of what was.
fn unknown(report: &Value) -> Vec<String> {
    let gaps = report.get("unknown").and_then(Value::as_array);
    let line = |gap: &Value| {
        let at_most = gap.get("events").and_then(Value::as_u64).map_or_else(
            || "how much was accepted then, nobody knows".to_owned(),
            |events| format!("at most {events} events were accepted then"),
        );
        format!("unknown: {} to {}, from a backup to its restore; {at_most}", text(gap, "since"), text(gap, "until"))
    };
    gaps.into_iter().flatten().map(line).collect()
}

fn section(report: &Value, name: &str, columns: &[&str]) -> String {
    let rows = report.get(name).and_then(Value::as_array);
    let rows: Vec<Vec<String>> =
        rows.into_iter().flatten().map(|row| columns.iter().map(|column| cell(row, column)).collect()).collect();
    table::table(columns, &rows)
}

fn cell(row: &Value, column: &str) -> String {
    if column != "open" {
        return text(row, column);
    }
    let open = ["ready", "scheduled", "leased"].iter().filter_map(|state| row.get(*state)?.as_u64());
    open.sum::<u64>().to_string()
}
