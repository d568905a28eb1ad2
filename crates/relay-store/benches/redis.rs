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

use std::{
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use relay_core::{
    delivery::{Delivery, State},
    event::Event,
    id::{IdMint, InstanceId},
    name::Name,
    storage::{Append, Change, Dedupe, LeaseAsk, LeaseOrder},
    time::Wall,
};
use relay_store::{
    redis::{Options, RedisStore},
    seam::Queue as _,
};

use node::Node;

const TTL: Duration = Duration::from_hours(24);
const BODY: [u8; 1024] = [b'x'; 1024];
const CALLERS: usize = 64;

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
    let body = String::from_utf8(BODY.to_vec()).expect("it is text");
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
        let before = spent(node);
        let mut held = Vec::new();
        work.drain(&mut held).await;
        costs.push(cost("lease", before, spent(node), held.len()));
        let before = spent(node);
        for held in held.chunks(CALLERS) {
            let changes = held.iter().map(|held| delivered(held, work.now())).collect();
            store.settle(changes).await.expect("settles");
        }
        costs.push(cost("settle", before, spent(node), held.len()));
    }
    rate
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
            };
            let leased = self.store.lease(ask).await.expect("leases").deliveries;
            if leased.is_empty() {
                return;
            }
            held.extend(leased);
        }
    }

    fn appending(&self, keyed: bool) -> Append {
        let now = self.now();
        let mut mint = self.mint.lock().expect("no caller panics");
        let header = |name: &'static str, value: &'static str| (Bytes::from(name), Bytes::from(value));
        let event = Event {
            id: mint.event(now),
            source: name("stripe"),
            method: Bytes::from_static(b"POST"),
            path: Bytes::from_static(b"/webhook/stripe"),
            query: None,
            headers: vec![
                header("host", "relay.example.com"),
                header("content-type", "application/json"),
                header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
                header(
                    "stripe-signature",
                    "t=1492774577,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd",
                ),
            ],
            body: Bytes::from_static(&BODY),
            body_sha256: [7; 32],
            received_at: now,
            name: None,
            key: None,
        };
        let delivery = Delivery::ready(mint.delivery(now).beside(event.id), &event, name("crm"), false, now, TTL);
        let mut key = [0; 32];
        key[..16].copy_from_slice(&event.id.as_u128().to_be_bytes());
        let dedupe = keyed.then(|| Dedupe { key, until: now + TTL });
        Append { event: Arc::new(event), deliveries: vec![delivery], dedupe, deadline: Wall::MAX }
    }
}

fn delivered(before: &Delivery, now: Wall) -> Change {
    let version = before.version + 1;
    let next = Delivery { version, state: State::Delivered, lease: None, changed_at: now, ..before.clone() };
    Change { before: before.clone(), next, archive: None }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}
