//! A real Redis: in a directory of its own, on a socket in it, with every commit on the disk before it is answered.
//!
//! It ends with this process, however that ends: a shell starts it and waits for the end of its standard input, which only this
//! process holds.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use relay_store::redis::Address;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Starts a Redis in `$1`, says its process, and ends it when nobody holds the other end any more.
const KEEPER: &str = r#"
dir=$1; shift
redis-server "$@" &
server=$!
echo "process $server"
cat >/dev/null
kill -9 "$server" 2>/dev/null
wait "$server" 2>/dev/null
"#;

/// A Redis that is running.
pub(crate) struct Node {
    dir: TempDir,
    running: Option<Running>,
}

struct Running {
    server: Pid,
    keeper: Child,
    /// Ends the keeper.
    held: Option<ChildStdin>,
}

impl Node {
    /// One that is empty.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let running = Some(Running::start(dir.path()));
        Self { dir, running }
    }

    /// The one of this process, for tests that leave it alone.
    pub(crate) fn shared() -> &'static Self {
        static NODE: LazyLock<Node> = LazyLock::new(Node::start);
        &NODE
    }

    /// Where it is.
    pub(crate) fn address(&self) -> Address {
        Address::Unix(socket(self.dir.path()))
    }

    /// Kills it and starts it again on the same directory.
    pub(crate) fn restart(&mut self) {
        // It is over before the next one begins.
        drop(self.running.take());
        self.running = Some(Running::start(self.dir.path()));
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("redis.sock")
}

impl Running {
    fn start(dir: &Path) -> Self {
        let socket = socket(dir);
        let settings = [
            ("port", "0"),
            ("unixsocket", &socket.to_string_lossy()),
            ("dir", &dir.to_string_lossy()),
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("no-appendfsync-on-rewrite", "no"),
            ("maxmemory-policy", "noeviction"),
            ("save", ""),
        ];
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(dir);
        for (setting, value) in settings {
            keeper.arg(format!("--{setting}")).arg(value);
        }
        let keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut keeper = keeper.spawn().expect("there is a shell");
        let held = keeper.stdin.take();
        let mut lines = BufReader::new(keeper.stdout.take().expect("it is piped")).lines();
        let mut said = String::new();
        let mut server = None;
        loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("no redis-server (Debian: apt-get install redis-server; scripts/setup does that): {said}");
            };
            if let Some(number) = line.strip_prefix("process ") {
                server = number.parse().ok().and_then(Pid::from_raw);
            }
            if line.contains("eady to accept connections") {
                break;
            }
            said.push_str(&line);
            said.push('\n');
            // A shell that found no server waits for its input all the same.
            if !is_alive(server) {
                drop(held);
                let error = keeper.wait_with_output().map(|output| output.stderr).unwrap_or_default();
                panic!("redis-server does not start: {said}{}", String::from_utf8_lossy(&error));
            }
        }
        // What it says further is not of interest, but has to go somewhere.
        thread::spawn(move || lines.for_each(drop));
        Self { server: server.expect("its process is said first"), keeper, held }
    }
}

fn is_alive(server: Option<Pid>) -> bool {
    server.is_none_or(|server| rustix::process::test_kill_process(server).is_ok())
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already: all the better.
        let _ = kill_process(self.server, Signal::KILL);
        drop(self.held.take());
        drop(self.keeper.wait());
    }
}

/// A name that no other test has.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
