//! A constant load, and whether what a server and a client take stays the same under it: memory, open files, the time of an answer, and
//! what waits.
//!
//! `SOAK_SECONDS=n` and `RATE=n` (by `make soak SECONDS=n RATE=n`) say how long, and how many webhooks a second; unless told, it is
//! a minute. `make test` leaves it out. The test keeps what it has sent, to compare: about 1.5 KiB of its own memory a webhook.

mod figures;

use std::{
    fs,
    time::{Duration, Instant},
};

use self::figures::{Sample, Verdict, percentile, verdicts};
use crate::{
    bound,
    process::{Process, Server, client, wait_for},
    target::{Reply, Target},
    torture::Load,
};

/// It lasts so long, unless told otherwise.
const SECONDS: u64 = 60;
/// Webhooks a second, unless told otherwise.
const RATE: u32 = 200;
/// So many samples, where they are not closer than a second.
const SAMPLES: u64 = 120;

/// I5, I19: under a constant load nothing grows, nothing is lost and nothing waits at its end.
#[ignore = "it takes minutes to tell: make soak"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_constant_load_leaves_everything_flat() {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = given("SOAK_SECONDS").unwrap_or(SECONDS);
    let rate = given("RATE").map_or(RATE, |rate| u32::try_from(rate).unwrap());
    bound::within(Duration::from_secs(2 * seconds) + Duration::from_mins(5));
    eprintln!("soak: {rate} webhooks a second for {seconds} s");
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(200)).await;
    let server = Server::start(dir.path(), &[]);
    let client = client(dir.path(), "client", server.public, &[("default", target.url("/hook"))], &[]);
    let load = Load::steady(&server.url("/webhook"), rate);

    let (since, run) = (Instant::now(), Duration::from_secs(seconds));
    let every = Duration::from_secs((seconds / SAMPLES).clamp(1, 30));
    let mut samples = Vec::new();
    eprintln!("{}", Sample::HEAD);
    while since.elapsed() < run {
        // The pace of the samples; nothing rests on it.
        tokio::time::sleep(every).await;
        let sample = sample(since, &server, &client, load.answers());
        eprintln!("{sample}");
        samples.push(sample);
    }

    let took = since.elapsed();
    let history = load.stop().await;
    wait_for("every acknowledged event to arrive", || (history.missing(&target.delivered()) == 0).then_some(()));
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    server.audit();
    let findings = history.check(&target.arrivals());
    let sent = findings.acknowledged as f64 / took.as_secs_f64();
    eprintln!(
        "soak: {} acknowledged ({sent:.1} a second), {} refused or not answered, {} delivered, 0 lost, {} duplicates; nothing waits, audit is well",
        findings.acknowledged, history.unknown, findings.delivered, findings.duplicates
    );
    assert_eq!((history.unknown, findings.duplicates), (0, 0), "nothing disturbs it");
    let verdicts = verdicts(&samples, rate);
    for verdict in &verdicts {
        eprintln!("soak: {verdict}");
    }
    assert!(verdicts.iter().all(Verdict::is_flat), "not all is flat");
}

fn sample(since: Instant, server: &Server, client: &Process, mut answers: Vec<Duration>) -> Sample {
    answers.sort_unstable();
    Sample {
        at: since.elapsed(),
        server_kib: resident(&server.process),
        client_kib: resident(client),
        server_files: open_files(&server.process),
        client_files: open_files(client),
        p50: percentile(&answers, 50),
        p99: percentile(&answers, 99),
        waiting: server.queue_depth(),
    }
}

/// Resident memory in KiB.
fn resident(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn open_files(process: &Process) -> u64 {
    fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap().count() as u64
}
