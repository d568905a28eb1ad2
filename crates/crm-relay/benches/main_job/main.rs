//! `make bench`: the main job against a bare hyper server, side by side in one run on the same cores.
//!
//! Every row is the median of several interleaved rounds (ceiling, ours, ceiling, ours, ...); ratios are taken within a
//! round, so that a noisy machine moves both sides. Load is bounded in count and time. Rows go to the terminal and to
//! `target/bench/main-job.json`.
//!
//! `ROUNDS` (5), `SECONDS` (3), `BACKLOG` (1000000) and `CHOOSY` (20000: the backlog of a target that takes a part of it)
//! shorten or lengthen the run; `ROWS` picks parts of `ingest`, `sealed` (against the clear store), `traced` (against an untraced one), `viewed` (against nobody at the dashboard), `end_to_end`, `latency`, `memory`, `keys`, `slow`, `isolation`,
//! `partial_drain`, `refused_drain`, `fresh_behind_sick` and `backlog`; `sick_among_healthy` and `outage`, ten minutes each
//! (`OUTAGE`, in seconds), and `redis` (`make bench-redis`) run only where they are named. `PROGRAM` measures another build than this one, for pairs. What limits each row: `docs/internals/performance.md`.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its rows")]

mod backlog;
mod ceiling;
mod choosy;
mod end_to_end;
mod ingest;
mod isolation;
mod keys;
mod load;
mod memory;
#[path = "../../../relay-store/tests/redis/node.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod node;
mod outage;
mod process;
mod redis;
mod report;
mod sealed;
mod slow;
mod traced;
mod viewed;

use report::Report;

/// As the relay has it: the ceiling, the load and the target run in this program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // The ceiling runs as a process of its own, from this same program.
    if std::env::args().nth(1).as_deref() == Some("--ceiling") {
        return ceiling::serve();
    }
    let settings = Settings::from_env();
    let mut report = Report::default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores; load average before the start: {}", load.trim());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        if settings.wants("ingest") {
            ingest::measure(&settings, &mut report).await;
        }
        if settings.wants("sealed") {
            sealed::measure(&settings, &mut report).await;
        }
        if settings.wants("traced") {
            traced::measure(&settings, &mut report).await;
        }
        if settings.wants("viewed") {
            viewed::measure(&settings, &mut report).await;
        }
        if settings.wants("end_to_end") {
            end_to_end::throughput(&settings, &mut report).await;
        }
        if settings.wants("latency") {
            end_to_end::latency(&mut report).await;
        }
        if settings.wants("memory") {
            memory::measure(&mut report);
        }
        if settings.wants("keys") {
            keys::measure(&mut report);
        }
        if settings.wants("slow") {
            slow::measure(&settings, &mut report).await;
        }
        if settings.wants("isolation") {
            isolation::measure(&settings, &mut report).await;
        }
        if settings.wants("partial_drain") {
            choosy::partial(&settings, &mut report).await;
        }
        if settings.wants("refused_drain") {
            choosy::refused(&settings, &mut report).await;
        }
        if settings.wants("fresh_behind_sick") {
            choosy::fresh(&settings, &mut report).await;
        }
        if settings.names("sick_among_healthy") {
            outage::sick(&settings, &mut report).await;
        }
        if settings.names("outage") {
            outage::restarts(&settings, &mut report).await;
        }
        if settings.names("redis") {
            redis::measure(&settings, &mut report).await;
        }
        if settings.wants("backlog") {
            backlog::measure(&settings, &mut report).await;
        }
    });
    report.binary_size();
    report.print();
    report.write();
}

/// How long the run is and what it covers.
pub(crate) struct Settings {
    rounds: usize,
    seconds: u64,
    backlog: u64,
    choosy: u64,
    outage: u64,
    rows: Option<String>,
}

impl Settings {
    fn from_env() -> Self {
        let number =
            |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(default);
        Self {
            rounds: number("ROUNDS", 5).max(1) as usize,
            seconds: number("SECONDS", 3).max(1),
            backlog: number("BACKLOG", 1_000_000).max(1),
            choosy: number("CHOOSY", 20_000).max(100),
            outage: number("OUTAGE", 600).max(60),
            rows: std::env::var("ROWS").ok(),
        }
    }

    /// Whether this part runs: it is named, or nothing is.
    fn wants(&self, part: &str) -> bool {
        self.rows.is_none() || self.names(part)
    }

    fn names(&self, part: &str) -> bool {
        self.rows.as_ref().is_some_and(|rows| rows.split(',').any(|row| row == part))
    }
}
