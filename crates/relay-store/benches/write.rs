//! What the thread that writes costs per event, in processor time and pages: counts, so that a busy machine may run it too.
//!
//! `cargo bench -p relay-store --bench write`; `EVENTS=n` sets how many events each row takes (20,000), `ONLY=text` picks
//! rows. Ends by itself within a minute. Linux only: the figures come from `/proc`.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::print_stdout, reason = "a benchmark tells its figures")]

mod webhook;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use relay_core::{
    delivery::{Lease, State, Token},
    id::{EventId, IdMint, InstanceId},
    jobs::{Retention, Rules},
    limits,
    partitions::Partitions,
    storage::{Append, Changed, Indexed, LeaseAsk, LeaseOrder, MarkedEvent, Marker, Marking},
    time::Wall,
};
use relay_store::{
    seam::{Queue as _, Upkeep as _, perform_retention},
    sqlite::{Options, SqliteStore},
};

use webhook::{TTL, delivered, name};

/// Deliveries that one lease takes in the row `drain`.
const LEASE: u32 = 64;

/// What one row does.
#[derive(Clone, Copy, PartialEq)]
enum Job {
    /// Appends of deliveries that wait.
    Append,
    /// The same, as many in one call as there are callers elsewhere: so many events in each commit.
    Commit,
    /// Appends with a dedupe key each.
    Keyed,
    /// Appends of deliveries that are leased already, each settled when it is stored.
    Direct,
    /// Leases and settlements of what waits.
    Drain,
    /// Like `Direct`, while four times as many that ended before are retired.
    Retire,
    /// Like `Direct`, while what is stored is marked by eight values.
    Mark,
}

fn main() {
    let events: usize = std::env::var("EVENTS").map_or(20_000, |text| text.parse().expect("a number of events"));
    let only = std::env::var("ONLY").unwrap_or_default();
    println!(
        "{:<12} {:>8} {:>8} {:>6} {:>6} {:>8} {:>8}",
        "row", "ev/s", "us/ev", "user", "ev/c", "frames/c", "WAL B/ev"
    );
    for (name, job, callers) in [
        ("commit_1", Job::Commit, 1),
        ("commit_24", Job::Commit, 24),
        ("commit_83", Job::Commit, 83),
        ("append_1", Job::Append, 1),
        ("append_64", Job::Append, 64),
        ("append_256", Job::Append, 256),
        ("keyed_64", Job::Keyed, 64),
        ("keyed_256", Job::Keyed, 256),
        ("direct_64", Job::Direct, 64),
        ("direct_256", Job::Direct, 256),
        ("drain", Job::Drain, 256),
        ("retire_64", Job::Retire, 64),
        ("retire_256", Job::Retire, 256),
        ("mark_64", Job::Mark, 64),
        ("mark_256", Job::Mark, 256),
    ] {
        if name.contains(&only) {
            row(name, job, callers, if callers == 1 { events / 10 } else { events });
        }
    }
}

fn row(name: &str, job: Job, callers: usize, events: usize) {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Arc::new(SqliteStore::open(Options::new(dir.path())).expect("opens"));
        let work = Arc::new(Work::new(Arc::clone(&store)));
        // The measured part begins with as many events stored as it will add, in pages that are in use.
        let (first, times) = match job {
            Job::Drain => (Job::Append, 1),
            Job::Retire => (Job::Direct, 4),
            Job::Mark => (Job::Direct, 1),
            other => (other, 1),
        };
        work.run(first, callers, times * events).await;
        let before = Counts::read(dir.path());
        let began = Instant::now();
        let retiring = (job == Job::Retire).then(|| tokio::spawn(retire(Arc::clone(&store), work.now())));
        let marking = (job == Job::Mark).then(|| tokio::spawn(Arc::clone(&work).mark()));
        work.run(job, callers, events).await;
        let span = began.elapsed();
        Counts::read(dir.path()).since(&before).print(name, events as f64, span);
        if let Some(retiring) = retiring {
            let retired = (times + 1) * events - delivered_now(&store).await;
            retiring.abort();
            println!("{:<12} {:.2} retired for each event stored meanwhile", "", retired as f64 / events as f64);
        }
        if let Some(marking) = marking {
            marking.abort();
            let left = work.unmarked.lock().expect("no caller panics").len();
            println!("{:<12} {:.2} marked for each event stored meanwhile", "", 1.0 - left as f64 / events as f64);
        }
        store.close().await;
    });
}

struct Work {
    store: Arc<SqliteStore>,
    mint: Mutex<IdMint>,
    /// Stored, and to be marked.
    unmarked: Mutex<Vec<EventId>>,
    started: (Instant, Wall),
}

impl Work {
    fn new(store: Arc<SqliteStore>) -> Self {
        let started = (Instant::now(), Wall::from_micros(1_800_000_000_000_000));
        Self { store, mint: Mutex::new(IdMint::new(0, 1)), unmarked: Mutex::default(), started }
    }

    fn now(&self) -> Wall {
        self.started.1 + self.started.0.elapsed()
    }

    async fn run(self: &Arc<Self>, job: Job, callers: usize, events: usize) {
        match job {
            Job::Drain => return self.drain(events).await,
            Job::Commit => return self.commit(callers, events).await,
            Job::Append | Job::Keyed | Job::Direct | Job::Retire | Job::Mark => {}
        }
        let tasks: Vec<_> = (0..callers)
            .map(|caller| {
                let work = Arc::clone(self);
                let share = events / callers + usize::from(caller < events % callers);
                tokio::spawn(async move {
                    for _ in 0..share {
                        work.one(job).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no caller panics");
        }
    }

    async fn one(&self, job: Job) {
        let append = self.append(job);
        let before = append.deliveries[0].clone();
        let answers = self.store.append(vec![append]).await;
        assert!(answers.into_iter().all(|answer| answer.is_ok_and(|found| found.is_stored())));
        if job == Job::Mark {
            self.unmarked.lock().expect("no caller panics").push(before.event);
        }
        if matches!(job, Job::Direct | Job::Retire | Job::Mark) {
            let answers = self.store.settle(vec![delivered(before, self.now())]).await;
            assert_eq!(answers, Ok(vec![Changed::Applied]));
        }
    }

    /// Marks what is stored, in commits as the server makes them, and rests as long.
    async fn mark(self: Arc<Self>) {
        let (source, mut number) = (name("stripe"), 0u64);
        let markers = [1, 2, 3, 4, 5, 6, 7, 8].map(|slot| Marker { slot, definition: 1 });
        loop {
            let begun = Instant::now();
            let some: Vec<EventId> = {
                let mut unmarked = self.unmarked.lock().expect("no caller panics");
                let count = unmarked.len().min(limits::MARKS_A_COMMIT / markers.len());
                unmarked.drain(..count).collect()
            };
            let mut values = || {
                let mut value = [0; 32];
                number += 1;
                value[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
                value
            };
            let mut event = |id| MarkedEvent { id, values: markers.map(|marker| (marker.slot, values())).to_vec() };
            let reach = |marker| Indexed { source: source.clone(), marker, from: Wall::MIN, to: self.started.1 };
            let events = some.into_iter().map(&mut event).collect();
            let marking = Marking { source: source.clone(), events, reach: markers.map(reach).to_vec() };
            self.store.mark(marking).await.expect("marks");
            tokio::time::sleep(begun.elapsed().max(Duration::from_millis(1))).await;
        }
    }

    async fn commit(&self, together: usize, events: usize) {
        for _ in 0..events / together {
            let appends = (0..together).map(|_| self.append(Job::Commit)).collect();
            let answers = self.store.append(appends).await;
            assert!(answers.into_iter().all(|answer| answer.is_ok_and(|found| found.is_stored())));
        }
    }

    /// Each settlement is asked for together with the next lease, as the hub does.
    async fn drain(&self, events: usize) {
        let mut left = events;
        let mut settled = Vec::new();
        while left > 0 || !settled.is_empty() {
            let now = self.now();
            let ask = LeaseAsk {
                destination: name("crm"),
                instance: InstanceId::from_u128(1),
                nonce: 1,
                until: now + TTL,
                now,
                limit: LEASE.min(left as u32),
                tried_max: u32::MAX,
                order: LeaseOrder::Shared { tried: 0 },
                partitions: Partitions::ALL,
            };
            let asked = (!settled.is_empty()).then(|| self.store.settle(std::mem::take(&mut settled)));
            let leased = self.store.lease(ask).await.expect("leases").deliveries;
            if let Some(asked) = asked {
                asked.await.expect("settles");
            }
            left -= leased.len();
            settled = leased.into_iter().map(|held| delivered(held, now)).collect();
        }
    }

    fn append(&self, job: Job) -> Append {
        let now = self.now();
        let mut mint = self.mint.lock().expect("no caller panics");
        let mut append = webhook::append(&mut mint, now, job == Job::Keyed);
        if matches!(job, Job::Direct | Job::Retire | Job::Mark) {
            let delivery = &mut append.deliveries[0];
            delivery.state = State::Leased;
            delivery.token = Token { counter: 1, nonce: 4 };
            delivery.lease =
                Some(Lease { instance: InstanceId::from_u128(1), keeper: 1, since: now, until: now + TTL });
        }
        append
    }
}

/// Removes what ended before, step by step, as the server does.
async fn retire(store: Arc<SqliteStore>, before: Wall) {
    let mut retention = Retention::new(Rules {
        now: before,
        delivered_before: before,
        dead_before: before,
        partitions: Partitions::ALL,
    });
    while let Some(op) = retention.poll() {
        retention.handle(perform_retention(&*store, op).await);
    }
    retention.outcome().expect("it is over").1.expect("retires");
}

/// How many delivered ones are stored.
async fn delivered_now(store: &SqliteStore) -> usize {
    let stats = store.stats().await.expect("stats");
    stats.destinations.iter().map(|counters| counters.states[State::Delivered as usize - 1]).sum::<u64>() as usize
}

/// What the writing thread has done so far.
#[derive(Clone, Copy)]
struct Counts {
    cpu: f64,
    user: f64,
    system: f64,
    written: f64,
    commits: f64,
    page: f64,
}

impl Counts {
    fn read(dir: &Path) -> Self {
        let thread = writer();
        let text = |file: &str| fs::read_to_string(thread.join(file)).expect("proc is readable");
        let number = |text: &str| text.parse::<f64>().expect("a number");
        let stat = text("stat");
        let stat: Vec<&str> = stat.rsplit(')').next().expect("a last part").split_whitespace().collect();
        let io = text("io");
        let of_io = |key| number(io.lines().find_map(|line| line.strip_prefix(key)).expect("a line").trim());
        let ledger = fs::read(dir.join("ledger")).expect("the ledger is there");
        let commit = |at: usize| u64::from_le_bytes(ledger[at + 24..at + 32].try_into().expect("eight bytes"));
        let header = fs::read(dir.join("store.db")).expect("the database is there");
        Self {
            cpu: number(text("schedstat").split(' ').next().expect("a first number")) / 1e3,
            user: number(stat[11]),
            system: number(stat[12]),
            written: of_io("wchar:"),
            commits: commit(0).max(commit(512)) as f64,
            page: f64::from(u16::from_be_bytes([header[16], header[17]])),
        }
    }

    fn since(self, before: &Self) -> Self {
        Self {
            cpu: self.cpu - before.cpu,
            user: self.user - before.user,
            system: self.system - before.system,
            written: self.written - before.written,
            commits: self.commits - before.commits,
            page: self.page,
        }
    }

    fn print(self, name: &str, events: f64, span: Duration) {
        let pages = self.written / self.page;
        let user = self.user / (self.user + self.system).max(1.0);
        println!(
            "{name:<12} {:>8.0} {:>8.2} {:>5.0}% {:>6.1} {:>9.1} {:>8.0}",
            events / span.as_secs_f64(),
            self.cpu / events,
            user * 100.0,
            events / self.commits,
            pages / self.commits,
            self.written / events,
        );
    }
}

/// The writing thread's directory below `/proc`.
fn writer() -> PathBuf {
    let tasks = fs::read_dir("/proc/self/task").expect("proc is there").map(|entry| entry.expect("readable").path());
    let is_writer =
        |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "store-write");
    tasks.filter(is_writer).last().expect("the store has a writer")
}
