//! `crm-relay audit`.

use clap::Args;
use relay_server::api::{AuditDeliveriesDto, AuditDto, AuditEventsDto, GapDto};

use super::{
    listing::{Column, text},
    shared_options::Common,
};
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

const EVENTS: &[Column<AuditEventsDto>] = &[
    ("source", |row| text(&row.source)),
    ("accepted", |row| text(&row.accepted)),
    ("stored", |row| text(&row.stored)),
    ("retired", |row| text(&row.retired)),
];

const DELIVERIES: &[Column<AuditDeliveriesDto>] = &[
    ("destination", |row| text(&row.destination)),
    ("created", |row| text(&row.created)),
    ("ready", |row| text(&row.ready)),
    ("scheduled", |row| text(&row.scheduled)),
    ("leased", |row| text(&row.leased)),
    ("open", |row| text(&(row.ready + row.scheduled + row.leased))),
    ("delivered", |row| text(&row.delivered)),
    ("dead", |row| text(&row.dead)),
    ("expired", |row| text(&row.expired)),
    ("cancelled", |row| text(&row.cancelled)),
    ("retired", |row| text(&row.retired)),
    ("lost", |row| text(&row.lost)),
];

/// What a narrow terminal has no room for: `open` are all of them.
const STILL_OPEN: [&str; 3] = ["ready", "scheduled", "leased"];

impl AuditArgs {
    pub(super) fn run(self) -> Outcome {
        block_on(async {
            let layers = self.common.layers()?;
            let report: AuditDto = Api::reading(&layers).await?.get("/api/v1/audit").await?;
            if self.common.json {
                print(&pretty(&report))?;
            } else {
                print(&section(&report.events, EVENTS, &[]))?;
                // All states want 100 places; those that are still open say as much in one column.
                let is_narrow = style::is_terminal() && style::screen() < 100 && !self.common.wide;
                let left_out = if is_narrow { &STILL_OPEN[..] } else { &["open"] };
                print(&format!("\n{}\n", section(&report.deliveries, DELIVERIES, left_out)))?;
                let missing = missing(&report);
                tell(&verdict(&report, missing.is_empty()))?;
                missing.iter().try_for_each(|line| tell(&style::warn(line)))?;
            }
            Ok(if report.ok { Exit::Done } else { Exit::No })
        })
    }
}

fn verdict(report: &AuditDto, is_all: bool) -> String {
    let damaged = report.damaged;
    if damaged > 0 {
        let records = if damaged == 1 { "1 record is" } else { &format!("{damaged} records are") };
        style::bad(format!(
            "{records} damaged: counted above, and of no use. The log names each (event=record_damaged); stop the server and \
             run: crm-relay store check"
        ))
    } else if !report.ok {
        style::bad("the sums do not hold: see crm-relay store check")
    } else if is_all {
        style::good("both sums hold: nothing is missing")
    } else {
        style::good("both sums hold for what is here")
    }
}

/// What is missing, or may be, although the sums hold.
fn missing(report: &AuditDto) -> Vec<String> {
    let lost =
        report.deliveries.iter().filter(|row| row.lost > 0).map(|row| {
            format!("lost: deliveries to {}, accepted by store check: {}", text(&row.destination), row.lost)
        });
    report.unknown.iter().map(unknown).chain(lost).collect()
}

fn unknown(gap: &GapDto) -> String {
    let (since, until) = (text(&gap.since), text(&gap.until));
    let span = if since.starts_with("1970-") { format!("before {until}") } else { format!("{since} to {until}") };
    let events = gap.events.map(|events| if events == 1 { "1 event".into() } else { format!("{events} events") });
    match (gap.why.as_str(), events) {
        ("accepted", Some(events)) => format!("lost: {span}, accepted by store check: {events}"),
        ("accepted", None) => {
            format!("lost: {span}, accepted by store check: how much, nobody knows, for its ledger could not tell")
        }
        ("unvouched", _) => {
            format!(
                "unknown: {span}, the ledger could not vouch for it when the server started; {}",
                of_commits(gap.commits)
            )
        }
        (_, Some(events)) => {
            format!("unknown: {span}, from a backup to its restore; at most {events} were accepted then")
        }
        (_, None) => {
            format!("unknown: {span}, from a backup to its restore; how much was accepted then, nobody knows")
        }
    }
}

fn of_commits(commits: Option<u64>) -> String {
    match commits {
        Some(1) => "its last commit may be missing".to_owned(),
        Some(commits) => format!("its last {commits} commits may be missing"),
        None => "how much may be missing, nobody knows".to_owned(),
    }
}

fn section<T>(rows: &[T], columns: &[Column<T>], left_out: &[&str]) -> String {
    let columns: Vec<_> = columns.iter().filter(|(heading, _)| !left_out.contains(heading)).collect();
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    let row = |row: &T| columns.iter().map(|(_, show)| show(row)).collect();
    table::table(&headings, &rows.iter().map(row).collect::<Vec<Vec<String>>>())
}
