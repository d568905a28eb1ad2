//! Every test has an end: one that has not come to its own within [`ENDS_WITHIN`] ends the process that it runs in, which says its name
//! and what is waited for. Nobody can end a thread from without, and a suite that waits for ever has no name in any log.
//!
//! Rust's harness runs each test in a thread of its name. It is watched from the first part of these suites that it starts ([`begin`])
//! until its thread ends, whatever it waits for: a timer of its own would not come round where a thread blocks. What takes its size from
//! the environment says how long that may take ([`within`]). `TEST_SECONDS` says it for all, for machines that are slower than others.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write as _},
    process::{self, Command},
    sync::{
        Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;

/// How long a test may take: several times as long as the longest takes on a machine that is busy.
const ENDS_WITHIN: Duration = Duration::from_mins(5);
/// How often it is looked whether one takes longer.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How the process ends then: as the harness does where a test has failed.
const FAILED: i32 = 101;
/// What names of threads begin with that are none of a test: of a program that is not one, of runtimes, and of nobody in particular.
const OTHER_THREADS: [&str; 3] = ["main", "tokio-", NAMELESS];
const NAMELESS: &str = "a thread without a name";

/// What runs, and what waits in it, in the order in which they began.
static RUNNING: Mutex<Running> = Mutex::new(Running { tests: BTreeMap::new(), waits: BTreeMap::new() });
static NEXT: AtomicU64 = AtomicU64::new(0);

struct Running {
    tests: BTreeMap<u64, Test>,
    waits: BTreeMap<u64, Wait>,
}

struct Test {
    name: String,
    since: Instant,
    within: Duration,
}

struct Wait {
    thread: String,
    what: String,
    since: Instant,
}

thread_local! {
    static WATCHED: Watched = Watched::begin();
}

/// The test of a thread, for as long as that is there.
struct Watched(u64);

impl Watched {
    fn begin() -> Self {
        static WATCH: Once = Once::new();
        let (name, number) = (name(), NEXT.fetch_add(1, Ordering::Relaxed));
        if !OTHER_THREADS.iter().any(|other| name.starts_with(other)) {
            running().tests.insert(number, Test { name, since: Instant::now(), within: usual() });
            WATCH.call_once(|| drop(thread::spawn(watch)));
        }
        Self(number)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        running().tests.remove(&self.0);
    }
}

/// The test of this thread is watched from now on, if it was not.
pub(crate) fn begin() {
    WATCHED.with(|_| {});
}

/// The test of this thread may take so long, from its begin on.
pub(crate) fn within(most: Duration) {
    WATCHED.with(|watched| {
        if let Some(test) = running().tests.get_mut(&watched.0) {
            test.within = most.max(usual());
        }
    });
}

/// Something is waited for, until this is dropped.
pub(crate) struct Waits(u64);

impl Waits {
    /// For this.
    pub(crate) fn until(what: impl Into<String>) -> Self {
        begin();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        running().waits.insert(number, Wait { thread: name(), what: what.into(), since: Instant::now() });
        Self(number)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        running().waits.remove(&self.0);
    }
}

fn usual() -> Duration {
    let given = env::var("TEST_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    given.map_or(ENDS_WITHIN, Duration::from_secs)
}

fn name() -> String {
    thread::current().name().unwrap_or(NAMELESS).to_owned()
}

fn running() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch() {
    loop {
        thread::sleep(LOOK_EVERY);
        let Some(said) = overdue() else { continue };
        // Not by a macro: what those say in a thread of a test is kept until that has ended.
        let _gone = io::stderr().write_all(said.as_bytes());
        end_children();
        end();
    }
}

/// What is to be said of tests that have not ended in time, if there are any.
fn overdue() -> Option<String> {
    let running = running();
    let late = |test: &&Test| test.since.elapsed() > test.within;
    let late: Vec<String> = running.tests.values().filter(late).map(|test| test.name.clone()).collect();
    if late.is_empty() {
        return None;
    }
    let wait = |wait: &Wait| format!("  {} has waited {:?} for {}\n", wait.thread, wait.since.elapsed(), wait.what);
    let waits: String = running.waits.values().map(wait).collect();
    let waits = if waits.is_empty() { "  nothing that is known is waited for\n".to_owned() } else { waits };
    Some(format!("\n{} has not ended in time, so this run ends:\n{waits}", late.join(", ")))
}

/// What this process has started goes with it; but for shells, which end what they keep once their input is closed.
fn end_children() {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return };
    let children = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    for child in children.flat_map(|children| children.split_whitespace().map(str::to_owned).collect::<Vec<_>>()) {
        let is_shell = fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name == "sh\n");
        if !is_shell {
            // Gone already: all the better.
            let _gone = Command::new("kill").args(["-9", &child]).status();
        }
    }
}

#[expect(clippy::disallowed_methods, clippy::exit, reason = "a test that hangs cannot be ended alone")]
fn end() {
    process::exit(FAILED);
}
