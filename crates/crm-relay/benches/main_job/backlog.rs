//! A long backlog: what it costs to hold, to start on, and to drain.

use std::time::{Duration, Instant};

use crate::{
    Settings,
    end_to_end::Target,
    load,
    process::{self, client},
    report::Report,
};

/// Rows `ready_with_backlog`, `rss_server_backlog` (with nobody to send to), `drain` and `rss_server_drain` (the peak).
pub(crate) async fn measure(settings: &Settings, report: &mut Report) {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, addr, _) = process::server(dir.path());
    load::send(addr, 256, settings.backlog).await;
    drop(server);

    let mut ready = Vec::new();
    for _ in 0..settings.rounds {
        let (_server, _, span) = process::server(dir.path());
        ready.push(span.as_secs_f64());
    }
    report.add("ready_with_backlog", &ready, "s", None);

    let (server, addr, _) = process::server(dir.path());
    tokio::time::sleep(Duration::from_secs(2)).await;
    report.add("rss_server_backlog", &[server.rss_mb()], "MB", None);

    let target = Target::start().await;
    let start = Instant::now();
    let client = client(addr, target.addr, 128);
    target.wait_for(settings.backlog, Duration::from_secs(600)).await;
    let rate = settings.backlog as f64 / start.elapsed().as_secs_f64();
    let ratio = report.value("end_to_end").map(|end_to_end| vec![rate / end_to_end]);
    report.add("drain", &[rate], "events/s", ratio.as_deref());
    report.add("rss_server_drain", &[server.peak_rss_mb()], "MB", None);
    client.stop();
    server.stop();
}
