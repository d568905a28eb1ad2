//! Resident memory of idle processes.

use std::time::Duration;

use crate::{
    process::{self, client},
    report::Report,
};

/// Rows `rss_server_idle` and `rss_client_idle`.
pub(crate) fn measure(report: &mut Report) {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, addr, _) = process::server(dir.path());
    let client = client(addr, "127.0.0.1:9".parse().expect("an address"), 8);
    std::thread::sleep(Duration::from_secs(2));
    report.add("rss_server_idle", &[server.rss_mb()], "MB", None);
    report.add("rss_client_idle", &[client.rss_mb()], "MB", None);
    client.stop();
    server.stop();
}
