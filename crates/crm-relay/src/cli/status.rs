//! `crm-relay status`: one screen on a terminal, drawn again and again with `--watch`; all of it elsewhere.

mod screen;
mod watch;

use clap::Args;
use relay_server::api::{BackupDto, MissedDto, ServerDto, StatusDto, came_from};

use self::screen::{Beside, Size};
use super::{
    destination,
    listing::{ago, list, text, when},
    shared_options::Common,
};
use crate::{
    admin_client::Api,
    exit::{Exit, Failure, Outcome},
    output::{pretty, print, tell},
    render::{style, table, time},
    runtime::block_on,
};

/// Requests that found nothing are shown in so many lines; JSON has all that are kept.
const MISSED_SHOWN: usize = 10;

/// What the server does right now: totals, destinations, clients, and what is wrong.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Draw it again each second, until Ctrl-C
    #[arg(long, conflicts_with_all = ["json", "wide"])]
    watch: bool,
    #[command(flatten)]
    common: Common,
}

impl StatusArgs {
    pub(super) fn run(self) -> Outcome {
        block_on(async {
            let layers = self.common.layers()?;
            if self.watch {
                return watch::run(&layers).await;
            }
            let api = Api::reading(&layers).await?;
            let status: StatusDto = api.get("/api/v1/status").await?;
            if self.common.json {
                print(&pretty(&status))?;
                return Ok(Exit::Done);
            }
            if style::is_terminal() && !self.common.wide {
                print(&one_screen(&api, &status))?;
                return Ok(Exit::Done);
            }
            let totals = &status.health.totals;
            let mut fields = vec![
                ("server", server(&api, &status)),
                ("received", text(&totals.webhooks_received)),
                ("last webhook", ago(status.last_received_at.as_deref())),
                ("delivered", text(&totals.webhooks_processed)),
                ("dead or expired", text(&totals.webhooks_failed)),
                ("waiting", text(&totals.queue_depth)),
                ("store", store(&status)),
            ];
            fields.extend(status.health.relay.as_ref().map(|relay| ("relay", text(relay))));
            fields.extend(status.backup.as_ref().map(|backup| ("newest backup", copied(backup))));
            print(&table::fields(&fields))?;
            for reason in status.health.reasons.iter().flatten() {
                tell(&style::warn(format!("! {}", text(reason))))?;
            }
            for hint in &status.hints {
                tell(&format!("? {}", text(hint)))?;
            }
            print("")?;
            list(&api, &destination::DESTINATIONS.view, Vec::new(), None, self.common.form()).await?;
            if let Some(servers) = servers(&status.servers) {
                print(&format!("\n{servers}"))?;
            }
            missed(&status.missed)?;
            Ok(Exit::Done)
        })
    }
}

/// What fits the terminal, above the line where the next command is typed.
fn one_screen(api: &Api, status: &StatusDto) -> String {
    let size = Size { columns: style::screen(), rows: style::rows().saturating_sub(1) };
    let beside = Beside { server: &server(api, status), rates: None, now: time::now() };
    screen::lines(status, &beside, size).join("\n")
}

/// The other servers on the same store; `None`: there are none.
fn servers(servers: &[ServerDto]) -> Option<String> {
    if servers.is_empty() {
        return None;
    }
    let row = |server: &ServerDto| {
        let configuration = if server.same_configuration { "the same" } else { "another" };
        let ServerDto { run, name, address, version, clients, .. } = server;
        let name = if name.is_empty() { text(run) } else { text(name) };
        vec![name, text(address), text(version), text(clients), configuration.to_owned()]
    };
    let rows: Vec<Vec<String>> = servers.iter().map(row).collect();
    let headings = ["server", "address", "version", "clients", "configuration"];
    Some(format!("other servers on the same store:\n{}", table::table(&headings, &rows)))
}

/// The latest requests that found nothing: where a webhook went that does not arrive.
fn missed(missed: &[MissedDto]) -> Result<(), Failure> {
    if missed.is_empty() {
        return Ok(());
    }
    print("\nrequests to a path or source that there is none of, the latest first:")?;
    let row = |request: &MissedDto| {
        let MissedDto { at, status, method, path, peer, proxy } = request;
        let from = came_from(peer.as_deref(), proxy.as_deref());
        vec![when(at), text(status), text(method), text(path), text(&from)]
    };
    let rows: Vec<Vec<String>> = missed.iter().take(MISSED_SHOWN).map(row).collect();
    print(&table::table(&["at", "status", "method", "path", "from"], &rows))?;
    match missed.len().checked_sub(MISSED_SHOWN) {
        Some(more @ 1..) => print(&format!("and {more} more: crm-relay status --json")),
        _ => Ok(()),
    }
}

/// Where what is stored is, and when a webhook counts as stored there.
fn store(status: &StatusDto) -> String {
    let store = &status.health.store;
    // An earlier version does not say.
    let profile = if store.profile.is_empty() { &store.durability } else { &store.profile };
    let takes = if store.commits { "" } else { ", takes nothing" };
    let sealed = store.sealed_with.map_or_else(String::new, |number| format!(", sealed with key {number}"));
    format!("{}, {}{sealed}{takes}", text(&store.backend), text(profile))
}

/// When the store was last copied, and where to.
fn copied(backup: &BackupDto) -> String {
    match (&backup.newest_at, &backup.path) {
        (Some(at), Some(path)) => format!("{}, {}", ago(Some(at)), text(path)),
        _ => format!("none yet in {}", text(&backup.dir)),
    }
}

/// How it is; or that it does not run, and whose figures these are.
fn server(api: &Api, status: &StatusDto) -> String {
    if let Some(dir) = api.offline() {
        return style::warn(format!("does not run; this is its store in {}", dir.display()));
    }
    screen::server(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_servers_are_listed_if_there_are_any() {
        assert_eq!(servers(&[]), None);
        let server = |name: &str, same_configuration| ServerDto {
            run: "00ff".into(),
            name: name.into(),
            address: "192.0.2.1:80".into(),
            version: "1.0.0".into(),
            clients: 2,
            clock_ahead_ms: None,
            same_configuration,
        };
        let listed = servers(&[server("b", true), server("", false)]).unwrap();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = listed.lines().skip(2).map(words).collect();
        assert_eq!(lines, ["b 192.0.2.1:80 1.0.0 2 the same", "00ff 192.0.2.1:80 1.0.0 2 another"]);
    }
}
