//! What traces cost: the same ingest untraced, and with every webhook told to a collector, in turns.

use std::time::Duration;

use crate::{Settings, load, process, report::Report};

/// Enough for the writer never to wait.
const SOCKETS: usize = 64;

/// Row `ingest_64_traced`, against the one that traces nothing.
pub(crate) async fn measure(settings: &Settings, report: &mut Report) {
    let (mut rates, mut ratios) = (vec![], vec![]);
    for _ in 0..settings.rounds {
        let span = Duration::from_secs(settings.seconds);
        let dir = tempfile::tempdir().expect("a directory");
        // It reads what comes and answers 2xx, as a collector does.
        let (_collector, addr) = process::ceiling();
        let url = format!("http://{addr}");
        let more = [("TRACES_URL", url.as_str()), ("TRACES_SAMPLED", "1")];
        let [untraced, traced] = load::without_and_with(&more, dir.path(), SOCKETS, span).await;
        rates.push(traced);
        ratios.push(traced / untraced);
    }
    report.add("ingest_64_traced", &rates, "events/s", Some(&ratios));
}
