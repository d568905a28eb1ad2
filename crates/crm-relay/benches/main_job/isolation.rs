//! One destination whose target hangs, beside one that is well.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::{
    Settings,
    end_to_end::Stamps,
    load,
    process::{self, API_KEY},
    report::Report,
};

/// Webhooks that wait for the target that hangs: more than its slots hold.
const STUCK: u64 = 256;
/// Slots of each destination.
const CONCURRENCY: u32 = 32;

/// Row `isolation_p99`: the slowest hundredth of deliveries to one destination while another hangs; ratio against the same
/// without.
pub(crate) async fn measure(settings: &Settings, report: &mut Report) {
    let (mut tails, mut ratios) = (vec![], vec![]);
    for _ in 0..settings.rounds {
        let dir = tempfile::tempdir().expect("a directory");
        let well = Stamps::start().await;
        // Connections are taken by the system; nobody reads them or answers.
        let hanging = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let hung = hanging.local_addr().expect("bound");
        let config = dir.path().join("relay.toml");
        std::fs::write(&config, CONFIG.replace("KEY", API_KEY)).expect("the directory is there");
        let (server, addr, _) = process::server_with(dir.path(), Some(&config));
        let targets = format!("default=http://{}/,stuck=http://{hung}/", well.addr);
        let client = process::client_to(addr, &targets, CONCURRENCY);
        load::send(addr, 1, 1).await;
        well.next().await;
        let alone = well.paced(addr).await.value_at_quantile(0.99);
        load::send_to(addr, "/webhook/stuck", 8, STUCK).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let beside = well.paced(addr).await.value_at_quantile(0.99);
        // At once: what hangs would be waited for.
        drop((client, server));
        tails.push(beside as f64 / 1e3);
        ratios.push(beside as f64 / alone as f64);
    }
    report.add("isolation_p99", &tails, "ms", Some(&ratios));
}

const CONFIG: &str = r#"
[source.stuck]
provider = "api-key"
key = "KEY"

[[route]]
source = "stuck"
destination = "stuck"
"#;
