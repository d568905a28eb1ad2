//! What the store does on a Redis beside what that Redis does by itself: `redis-benchmark -c 64 XADD` of the same bytes, on the same
//! server with the same fsync, in pairs that take turns; of each row the median ratio, and what an operation costs Redis in processor
//! time and bytes of its append-only file.
//!
//! `make bench-redis`, or `cargo bench -p relay-store --bench redis`; `ROUNDS` (5) pairs of `EVENTS` (10,000) each. Ends by itself.
//! Needs `redis-server` and `redis-benchmark` (`make setup`).

#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::print_stdout, reason = "a benchmark tells its figures")]

#[path = "../tests/redis/node.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod node;
mod webhook;

use std::{
    process::Command,
    sync::{Arc, Mutex},
    time::Instant,
};

use relay_core::{
    delivery::Delivery,
    id::{IdMint, InstanceId},
    partitions::Partitions,
    storage::{Append, LeaseAsk, LeaseOrder},
    time::Wall,
};
use relay_store::{
    redis::{Options, RedisStore},
    seam::Queue as _,
};

use node::Node;
use webhook::{BODY, TTL, delivered, name};

const CALLERS: usize = 64;
/// What stands in front of the body of an event, with its record, its ids and its names.
const HEAD_BYTES: usize = 560;

fn main() {
    let number = |name: &str, usual: usize| std::env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    let (rounds, events) = (number("ROUNDS", 5), number("EVENTS", 10_000));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average before the start: {}", load.trim());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let mut costs = Vec::new();
    for (name, keyed, partitions) in
        [("redis_store_64", false, 1), ("redis_store_64_keyed", true, 1), ("redis_store_64_p16", false, 16)]
    {
        let mut ratios = Vec::new();
        for _ in 0..rounds {
            let node = Node::start();
            let bare = bare(&node, events);
            node.ask(&[b"FLUSHALL"]);
            let ours = runtime.block_on(ours(&node, events, keyed, partitions, &mut costs));
            println!("{name:<22} {ours:>7.0}/s beside {bare:>7.0}/s of XADD: {:.2}", ours / bare);
            ratios.push(ours / bare);
        }
        println!("{name:<22} {:.2} (median of {rounds} pairs)", median(&mut ratios));
    }
    for what in ["append", "lease", "settle"] {
        let of = |pick: fn(&Cost) -> f64| {
            let mut all: Vec<f64> = costs.iter().filter(|cost| cost.what == what).map(pick).collect();
            median(&mut all)
        };
        println!(
            "{what:<22} {:>5.1} us of Redis, {:>6.0} bytes of its file",
            of(|cost| cost.micros),
            of(|cost| cost.bytes)
        );
    }
}

fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What Redis does by itself, a second.
fn bare(node: &Node, events: usize) -> f64 {
    // The head of the event beside its body: what any store of it has to take.
    let body = "x".repeat(BODY.len() + HEAD_BYTES);
    let mut bench = Command::new("redis-benchmark");
    bench.arg("-s").arg(node.socket()).args(["-c", &CALLERS.to_string(), "-n", &events.to_string(), "--csv"]);
    let output = bench.args(["XADD", "bare", "*", "body", &body]).output().expect("redis-benchmark is there");
    let text = String::from_utf8(output.stdout).expect("it is text");
    // "command","rps",...
    let line = text.lines().last().expect("a line of figures");
    let rate = line.rsplit("\",\"").nth(6).expect("the rate");
    rate.trim_matches('"').parse().expect("a number")
}

/// What an operation cost Redis, each of what it was done to.
struct Cost {
    what: &'static str,
    micros: f64,
    bytes: f64,
}

/// Processor time of Redis in microseconds, and bytes of its file.
fn spent(node: &Node) -> (f64, f64) {
    let info = node.ask_all(&[&[b"INFO", b"cpu"], &[b"INFO", b"persistence"]]);
    let number = |name: &str| {
        let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0)
    };
    ((number("used_cpu_user_main_thread") + number("used_cpu_sys_main_thread")) * 1e6, number("aof_current_size"))
}

async fn ours(node: &Node, events: usize, keyed: bool, partitions: usize, costs: &mut Vec<Cost>) -> f64 {
    let store = Arc::new(RedisStore::open(Options { partitions, ..Options::new(node.address()) }));
    store.begin().await.expect("it is fit for it");
    let work = Arc::new(Work::new(Arc::clone(&store)));
    // Connections and scripts are there.
    work.append_all(CALLERS, keyed).await;
    work.drain(&mut Vec::new()).await;
    let before = spent(node);
    let began = Instant::now();
    work.append_all(events, keyed).await;
    let rate = events as f64 / began.elapsed().as_secs_f64();
    if !keyed && partitions == 1 {
        costs.push(cost("append", before, spent(node), events));
        node.ask(&[b"CONFIG", b"RESETSTAT"]);
        let before = spent(node);
        let mut held = Vec::new();
        work.drain(&mut held).await;
        costs.push(cost("lease", before, spent(node), held.len()));
        println!("{}", inside(node));
        let before = spent(node);
        for held in held.chunks(CALLERS) {
            let changes = held.iter().map(|held| delivered(held.clone(), work.now())).collect();
            store.settle(changes).await.expect("settles");
        }
        costs.push(cost("settle", before, spent(node), held.len()));
    }
    rate
}

/// Where the time of a lease goes, by what Redis counts of the commands that its script calls.
fn inside(node: &Node) -> String {
    let stats = node.ask(&[b"INFO", b"commandstats"]);
    let commands = stats.lines().filter_map(|line| {
        let (name, said) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let field =
            |name: &str| said.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
        Some((name, field("calls")?, field("usec")?))
    });
    let mut commands: Vec<(&str, f64, f64)> = commands.collect();
    let script = commands.iter().position(|(name, ..)| *name == "evalsha").map(|at| commands.remove(at));
    let Some((_, calls, all)) = script else { return "no script ran".to_owned() };
    commands.retain(|(name, ..)| !matches!(*name, "info" | "config|resetstat" | "multi" | "exec"));
    commands.sort_by(|(.., one), (.., other)| other.total_cmp(one));
    let within: f64 = commands.iter().map(|(.., usec)| usec).sum();
    let most = commands.iter().take(6);
    let most = most.map(|(name, of_it, usec)| format!(", {name} {:.0} ({:.1} calls)", usec / calls, of_it / calls));
    let most = most.collect::<Vec<String>>().concat();
    format!("a lease of {CALLERS}: {:.0} us, of which Lua {:.0}{most}", all / calls, (all - within) / calls)
}

fn cost(what: &'static str, before: (f64, f64), after: (f64, f64), count: usize) -> Cost {
    Cost { what, micros: (after.0 - before.0) / count as f64, bytes: (after.1 - before.1) / count as f64 }
}

struct Work {
    store: Arc<RedisStore>,
    mint: Mutex<IdMint>,
    started: (Instant, Wall),
}

impl Work {
    fn new(store: Arc<RedisStore>) -> Self {
        let started = (Instant::now(), Wall::from_micros(1_800_000_000_000_000));
        Self { store, mint: Mutex::new(IdMint::new(0, 1)), started }
    }

    fn now(&self) -> Wall {
        self.started.1 + self.started.0.elapsed()
    }

    async fn append_all(self: &Arc<Self>, events: usize, keyed: bool) {
        let caller = |caller: usize| {
            let work = Arc::clone(self);
            let share = events / CALLERS + usize::from(caller < events % CALLERS);
            tokio::spawn(async move {
                for _ in 0..share {
                    let answers = work.store.append(vec![work.appending(keyed)]).await;
                    assert!(answers.into_iter().all(|answer| answer.is_ok_and(|found| found.is_stored())));
                }
            })
        };
        let callers: Vec<_> = (0..CALLERS).map(caller).collect();
        for caller in callers {
            caller.await.expect("no caller panics");
        }
    }

    /// Leases all there is.
    async fn drain(&self, held: &mut Vec<Delivery>) {
        loop {
            let now = self.now();
            let ask = LeaseAsk {
                destination: name("crm"),
                instance: InstanceId::from_u128(1),
                nonce: 1,
                until: now + TTL,
                now,
                limit: CALLERS as u32,
                tried_max: u32::MAX,
                order: LeaseOrder::Shared { tried: 0 },
                partitions: Partitions::ALL,
            };
            let leased = self.store.lease(ask).await.expect("leases").deliveries;
            if leased.is_empty() {
                return;
            }
            held.extend(leased);
        }
    }

    fn appending(&self, keyed: bool) -> Append {
        let mut mint = self.mint.lock().expect("no caller panics");
        webhook::append(&mut mint, self.now(), keyed)
    }
}
