//! The status as one screen: what is wrong first, then as much of the rest as there is room for, and of what is left out how much it is
//! and what shows it.

use std::time::{Duration, SystemTime};

use relay_server::api::{MissedDto, ServerDto, SourceCountsDto, StatusDto, came_from};

use super::super::{destination, listing::text};
use crate::render::{human_duration, style, table, time};

/// How large a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// How many a second lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) received: f64,
    pub(super) delivered: f64,
}

/// What is on a screen beside the status itself.
pub(super) struct Beside<'a> {
    /// How the server is, and which.
    pub(super) server: &'a str,
    /// Where somebody watches.
    pub(super) rates: Option<Rates>,
    pub(super) now: SystemTime,
}

/// A part of a screen, which may be shown in part.
struct Section {
    lines: Vec<String>,
    /// Lines that are shown as long as there is any room.
    least: usize,
    /// What shows the rest.
    more: &'static str,
}

/// Lines that fit a terminal of this size, whatever there is to tell.
pub(super) fn lines(status: &StatusDto, beside: &Beside<'_>, size: Size) -> Vec<String> {
    let head = head(status, beside);
    let sections = [
        reasons(status, size.columns),
        destinations(status, size.columns),
        sources(status, size.columns),
        servers(&status.servers, size.columns),
        hints(status, size.columns),
        missed(&status.missed, beside.now, size.columns),
    ];
    let mut lines = head;
    let room = size.rows.saturating_sub(lines.len());
    lines.extend(fitted(sections.into_iter().filter(|section| !section.lines.is_empty()).collect(), room));
    lines.truncate(size.rows);
    lines.iter().map(|line| table::cut(line, size.columns)).collect()
}

/// Sections below each other, each with a blank line before it, in so many lines: the least of each in their order, then more of them
/// in that order.
fn fitted(sections: Vec<Section>, room: usize) -> Vec<String> {
    let (mut left, mut shown) = (room, Vec::new());
    for section in &sections {
        let least = section.least.min(section.lines.len());
        let fits = left > least;
        shown.push(if fits { least } else { 0 });
        left -= if fits { least + 1 } else { 0 };
    }
    for (section, shown) in sections.iter().zip(&mut shown).filter(|(_, shown)| **shown > 0) {
        let more = (section.lines.len() - *shown).min(left);
        *shown += more;
        left -= more;
    }
    let told = sections.into_iter().zip(shown).filter(|(_, shown)| *shown > 0);
    told.flat_map(|(section, shown)| std::iter::once(String::new()).chain(section.in_part(shown))).collect()
}

impl Section {
    /// So many of its lines; the last says how many there are more.
    fn in_part(self, shown: usize) -> Vec<String> {
        let all = self.lines.len();
        if shown >= all {
            return self.lines;
        }
        let mut lines: Vec<String> = self.lines.into_iter().take(shown.saturating_sub(1)).collect();
        lines.push(style::dim(format!("and {} more: {}", all - lines.len(), self.more)));
        lines
    }
}

fn head(status: &StatusDto, beside: &Beside<'_>) -> Vec<String> {
    let totals = &status.health.totals;
    let last = status.last_received_at.as_deref().map(|at| time::short(at, beside.now));
    let last = last.map_or_else(|| "no webhook yet".to_owned(), |ago| format!("last webhook {ago} ago"));
    let copied = status.backup.as_ref().map(|backup| match &backup.newest_at {
        Some(at) => format!("backup {} ago", time::short(at, beside.now)),
        None => "no backup yet".to_owned(),
    });
    let rate = |of: fn(&Rates) -> f64| {
        beside.rates.as_ref().map_or_else(String::new, |rates| style::dim(format!(" ({:.1}/s)", of(rates))))
    };
    let dead = text(&totals.webhooks_failed);
    let dead = if totals.webhooks_failed > 0 { style::bad(dead) } else { dead };
    let mut counted = vec![
        format!("received {}{}", text(&totals.webhooks_received), rate(|rates| rates.received)),
        format!("delivered {}{}", text(&totals.webhooks_processed), rate(|rates| rates.delivered)),
        format!("waiting {}", text(&totals.queue_depth)),
        format!("dead {dead}"),
    ];
    counted.extend(copied.into_iter().chain(status.health.relay.as_ref().map(text)).map(style::dim));
    vec![format!("{}  {}", beside.server, style::dim(last)), counted.join("  ")]
}

/// Each in as many lines as it needs: its end says what to do.
fn reasons(status: &StatusDto, columns: usize) -> Section {
    let lines = status.health.reasons.iter().flatten();
    let lines = lines.flat_map(|reason| marked("!", &text(reason), columns, style::warn)).collect();
    Section { lines, least: 6, more: "crm-relay doctor" }
}

fn hints(status: &StatusDto, columns: usize) -> Section {
    let lines = status.hints.iter().flat_map(|hint| marked("?", &text(hint), columns, |line| line)).collect();
    Section { lines, least: 2, more: "crm-relay doctor" }
}

/// A sentence behind a mark, below which it goes on.
fn marked(mark: &str, sentence: &str, columns: usize, style: fn(String) -> String) -> Vec<String> {
    let parts = table::broken(sentence, columns.saturating_sub(2)).into_iter().enumerate();
    parts.map(|(at, part)| style(format!("{} {part}", if at == 0 { mark } else { " " }))).collect()
}

/// Those in trouble first, then those where most waits.
fn destinations(status: &StatusDto, columns: usize) -> Section {
    let view = &destination::DESTINATIONS.view;
    let mut all: Vec<_> = status.destinations.iter().collect();
    all.sort_by_key(|destination| std::cmp::Reverse(destination::urgency(destination)));
    let rows: Vec<Vec<String>> = all.into_iter().map(|destination| view.row(destination)).collect();
    tabled(&view.headings(), &rows, columns, "crm-relay destination list")
}

fn sources(status: &StatusDto, columns: usize) -> Section {
    let mut all: Vec<&SourceCountsDto> = status.sources.iter().collect();
    all.sort_by_key(|source| std::cmp::Reverse(source.accepted));
    let row = |source: &&SourceCountsDto| {
        let SourceCountsDto { name, accepted, stored, duplicates, .. } = source;
        vec![text(name), text(accepted), text(stored), text(duplicates)]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    tabled(&["source", "accepted", "stored", "sent again"], &rows, columns, "crm-relay source list")
}

fn servers(servers: &[ServerDto], columns: usize) -> Section {
    let row = |server: &ServerDto| {
        let name = if server.name.is_empty() { text(&server.run) } else { text(&server.name) };
        let alike = if server.same_configuration { "the same".to_owned() } else { style::warn("another") };
        vec![name, text(&server.address), text(&server.version), text(&server.clients), alike]
    };
    let rows: Vec<Vec<String>> = servers.iter().map(row).collect();
    let headings = ["other server", "address", "version", "clients", "configuration"];
    tabled(&headings, &rows, columns, "crm-relay status --json")
}

fn missed(missed: &[MissedDto], now: SystemTime, columns: usize) -> Section {
    let row = |request: &MissedDto| {
        let MissedDto { at, status, method, path, peer, proxy } = request;
        let from = came_from(peer.as_deref(), proxy.as_deref());
        vec![time::short(at, now), text(status), text(method), text(path), text(&from)]
    };
    let rows: Vec<Vec<String>> = missed.iter().map(row).collect();
    tabled(&["found nothing", "status", "method", "path", "from"], &rows, columns, "crm-relay status --json")
}

/// At least its heading, a row, and how many there are more.
fn tabled(headings: &[&str], rows: &[Vec<String>], columns: usize, more: &'static str) -> Section {
    let lines = if rows.is_empty() { Vec::new() } else { table::within(headings, rows, columns) };
    Section { lines, least: 3, more }
}

/// How the server is: which version, for how long, where.
pub(super) fn server(status: &StatusDto) -> String {
    let state = match status.health.status.as_str() {
        "ok" => style::good("ok"),
        other => style::bad(text(other)),
    };
    let up = human_duration(Duration::from_millis(status.uptime_ms));
    let (version, public) = (text(&status.health.version), text(&status.public));
    format!("{state}, {}", style::dim(format!("version {version}, up {up}, at {public}")))
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use serde_json::{Value, json};

    use super::*;

    fn destination(name: &str, waiting: u64, dead: u64) -> Value {
        json!({
            "name": name, "paused": false, "sources": ["default"], "created": 9,
            "deliveries": {"ready": waiting, "scheduled": 0, "leased": 0, "delivered": 4, "dead": dead, "expired": 0, "cancelled": 0},
            "oldest_due_age_ms": null, "next_expiry_at": null, "clients": 1, "circuit_open": false, "instances": [],
        })
    }

    fn status(reasons: usize, destinations: usize, name: &str) -> StatusDto {
        let reason = |n| {
            format!(
                "destination {name}{n}: no client for 14 min, 212 waiting, first expires in 9 h; start one where the \
                                  target is: crm-relay client --to {name}{n}=URL"
            )
        };
        let missed = json!({"at": "2026-11-30T04:00:00Z", "method": "POST", "path": format!("/webhook/{name}"), "peer": "192.0.2.1", "status": 404});
        serde_json::from_value(json!({
            "status": if reasons > 0 { "degraded" } else { "ok" }, "version": "1.0.0",
            "store": {"backend": "sqlite", "durability": "", "survives_kill": true, "survives_power_loss": true},
            "webhooks_received": 1204, "webhooks_processed": 1100, "webhooks_failed": 3, "webhooks_retried": 0, "queue_depth": 12,
            "reasons": (0..reasons).map(reason).collect::<Vec<_>>(),
            "pid": 1, "public": "0.0.0.0:8080", "tls": false, "admin": null, "public_url": null, "uptime_ms": 7_200_000,
            "last_received_at": null, "store_bytes": 1, "disk_free_bytes": null, "full": false,
            "sources": (0..destinations).map(|n| json!({"name": format!("{name}{n}"), "accepted": n, "stored": n, "retired": 0, "duplicates": 0})).collect::<Vec<_>>(),
            "destinations": (0..destinations).map(|n| destination(&format!("{name}{n}"), n as u64, 0)).collect::<Vec<_>>(),
            "missed": vec![missed; 2 * destinations], "hints": vec!["a hint that is worth a look"; reasons],
        }))
        .unwrap()
    }

    fn drawn(status: &StatusDto, columns: usize, rows: usize) -> Vec<String> {
        let server = server(status);
        let beside = Beside { server: &server, rates: Some(Rates::default()), now: SystemTime::UNIX_EPOCH };
        let lines = lines(status, &beside, Size { columns, rows });
        lines.iter().map(|line| strip_str(line).to_string()).collect()
    }

    /// Whatever there is to tell, it is one screen.
    #[test]
    fn every_state_fits_every_terminal() {
        let name = "n".repeat(60);
        for (reasons, destinations) in [(0, 0), (1, 1), (40, 40), (0, 400), (3, 2)] {
            for name in ["crm", &name] {
                let status = status(reasons, destinations, name);
                for (columns, rows) in [(80, 24), (80, 23), (200, 60), (40, 10), (20, 3), (80, 1)] {
                    let lines = drawn(&status, columns, rows);
                    assert!(lines.len() <= rows, "{} lines in {rows}: {lines:#?}", lines.len());
                    let wide: Vec<&String> = lines.iter().filter(|line| line.chars().count() > columns).collect();
                    assert!(wide.is_empty(), "{columns}: {wide:#?}");
                }
            }
        }
    }

    /// What is wrong stands first, and what is left out is counted.
    #[test]
    fn trouble_comes_first_and_nothing_is_left_out_in_silence() {
        let mut status = status(12, 30, "crm");
        status.destinations[7].clients = 0;
        let lines = drawn(&status, 80, 24);
        assert!(lines[0].starts_with("degraded, version 1.0.0, up 2 h"), "{lines:#?}");
        assert!(
            lines[1].starts_with("received 1204 (0.0/s)  delivered 1100 (0.0/s)  waiting 12  dead 3"),
            "{lines:#?}"
        );
        assert!(lines[3].starts_with("! destination crm0: no client for 14 min"), "{lines:#?}");
        let first = lines.iter().position(|line| line.starts_with("NAME")).unwrap();
        assert!(
            lines[first + 1].starts_with("crm7   no client") || lines[first + 1].starts_with("crm7  no client"),
            "{lines:#?}"
        );
        let more: Vec<&String> = lines.iter().filter(|line| line.contains(" more: crm-relay ")).collect();
        assert!(more.len() >= 3, "{lines:#?}");
    }
}
