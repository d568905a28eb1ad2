//! Durable ingest against the ceiling, by number of sockets, and what each event costs the disk.

use std::time::Duration;

use crate::{Settings, load, process, report::Report};

/// Rows `ingest_1` to `ingest_256`, `written_1` to `written_256` and `ingest_256_p99`.
pub(crate) async fn measure(settings: &Settings, report: &mut Report) {
    for sockets in [1, 4, 8, 16, 64, 256] {
        let (mut rates, mut ratios, mut tails, mut tail_ratios) = (vec![], vec![], vec![], vec![]);
        let mut written = vec![];
        for _ in 0..settings.rounds {
            let span = Duration::from_secs(settings.seconds);
            let bare = {
                let (_process, addr) = process::ceiling();
                load::run(addr, sockets, span, None).await
            };
            let dir = tempfile::tempdir().expect("a directory");
            let (server, addr, _) = process::server(dir.path());
            let before = server.written_kb();
            let ours = load::run(addr, sockets, span, None).await;
            written.push((server.written_kb() - before) / process::count(dir.path(), "ready") as f64);
            server.stop();
            rates.push(ours.rate);
            ratios.push(ours.rate / bare.rate);
            let (tail, bare_tail) = (ours.latency.value_at_quantile(0.99), bare.latency.value_at_quantile(0.99));
            tails.push(tail as f64 / 1e3);
            tail_ratios.push(tail as f64 / bare_tail as f64);
        }
        report.add(&format!("ingest_{sockets}"), &rates, "events/s", Some(&ratios));
        report.add(&format!("written_{sockets}"), &written, "KB/event", None);
        if sockets == 256 {
            report.add("ingest_256_p99", &tails, "ms", Some(&tail_ratios));
        }
    }
}
