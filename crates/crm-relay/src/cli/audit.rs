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
/// What is known to be lost, or cannot be known (after a restore, an accepted loss, a ledger that was cut), is said, and is
/// no reason for exit 1.
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
                let missing = missing(&report);
                tell(&verdict(&report, is_ok, missing.is_empty()))?;
                missing.iter().try_for_each(|line| tell(&style::warn(line)))?;
            }
            Ok(if is_ok { Exit::Done } else { Exit::No })
        })
    }
}

fn verdict(report: &Value, is_ok: bool, is_all: bool) -> String {
    let damaged = report.get("damaged").and_then(Value::as_u64).unwrap_or(0);
    if damaged > 0 {
        let records = if damaged == 1 { "1 record is" } else { &format!("{damaged} records are") };
        style::bad(format!(
            "{records} damaged: counted above, and of no use. The log names each (event=record_damaged); stop the server and \
             run: crm-relay store check"
        ))
    } else if !is_ok {
        style::bad("the sums do not hold: see crm-relay store check")
    } else if is_all {
        style::good("both sums hold: nothing is missing")
    } else {
        style::good("both sums hold for what is here")
    }
}

/// What is missing, or may be, although the sums hold.
fn missing(report: &Value) -> Vec<String> {
    let rows = |name| report.get(name).and_then(Value::as_array).into_iter().flatten();
    let number = |of: &Value, name| of.get(name).and_then(Value::as_u64);
    let gaps = rows("unknown").map(|gap| {
        let span = match text(gap, "since") {
            since if since.starts_with("1970-") => format!("before {}", text(gap, "until")),
            since => format!("{since} to {}", text(gap, "until")),
        };
        let events =
            number(gap, "events").map(|events| if events == 1 { "1 event".into() } else { format!("{events} events") });
        match (text(gap, "why").as_str(), events) {
            ("accepted", Some(events)) => format!("lost: {span}, accepted by store check: {events}"),
            ("accepted", None) => {
                format!("lost: {span}, accepted by store check: how much, nobody knows, for its ledger could not tell")
            }
            ("unvouched", _) => {
                format!(
                    "unknown: {span}, the ledger could not vouch for it when the server started; {}",
                    of_commits(gap)
                )
            }
            (_, Some(events)) => {
                format!("unknown: {span}, from a backup to its restore; at most {events} were accepted then")
            }
            (_, None) => {
                format!("unknown: {span}, from a backup to its restore; how much was accepted then, nobody knows")
            }
        }
    });
    let lost = rows("deliveries").filter_map(|row| {
        let lost = number(row, "lost").filter(|lost| *lost > 0)?;
        Some(format!("lost: deliveries to {}, accepted by store check: {lost}", text(row, "destination")))
    });
    gaps.chain(lost).collect()
}

fn of_commits(gap: &Value) -> String {
    match gap.get("commits").and_then(Value::as_u64) {
        Some(1) => "its last commit may be missing".to_owned(),
        Some(commits) => format!("its last {commits} commits may be missing"),
        None => "how much may be missing, nobody knows".to_owned(),
    }
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
