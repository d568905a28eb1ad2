//! The binary as processes that a test starts, kills and restarts.

use std::{
    fs::File,
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    bound::{self, Waits},
    clock, store,
};

/// Secrets of the tests: 16 and more printable ASCII characters, as the settings want them.
pub(crate) const API_KEY: &str = "crk_0123456789abcdef0123456789abcdef";
pub(crate) const RELAY_TOKEN: &str = "crt_0123456789abcdef0123456789abcdef";
pub(crate) const ADMIN_TOKEN: &str = "cra_0123456789abcdef0123456789abcdef";

/// How long a test waits for something that must happen before it calls it a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A process of the binary; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `crm-relay ARGS` with only the given environment; stdout and stderr go to `log`.
    pub(crate) fn start(log: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_under(&[], log, args, env)
    }

    /// The same behind another command, like `strace -f ...`.
    pub(crate) fn start_under(wrapper: &[&str], log: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        bound::begin();
        let out = File::options().create(true).append(true).open(log).unwrap();
        let mut command = binary(wrapper);
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(env.iter().copied())
            .current_dir(log.parent().unwrap())
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        Self { child: command.spawn().unwrap(), log: log.to_path_buf() }
    }

    /// One that was started otherwise, with its output in `log`.
    pub(crate) fn of(child: Child, log: PathBuf) -> Self {
        Self { child, log }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        clock::forget(self.pid());
    }

    /// Sends a signal by name: `TERM`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for("the process to end", || self.child.try_wait().unwrap())
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// All it printed so far.
    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut log) = File::open(&self.log) {
            log.read_to_string(&mut text).unwrap();
        }
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        clock::forget(self.pid());
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- {} (last lines)", self.log.display());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn binary(wrapper: &[&str]) -> Command {
    let program = env!("CARGO_BIN_EXE_crm-relay");
    match wrapper {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

/// `crm-relay ARGS` with only the given environment, in a directory.
pub(crate) fn binary_in(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = binary(&[]);
    command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs(env.iter().copied()).current_dir(dir).stdin(Stdio::null());
    command
}

/// Runs `crm-relay ARGS` to its end.
pub(crate) fn run(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let _waits = Waits::until(format!("crm-relay {} to end", args.join(" ")));
    binary_in(dir, args, env).output().unwrap()
}

/// Waits until `ready` gives something, without resting on time: it asks again until [`PATIENCE`] is over.
pub(crate) fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let _waits = Waits::until(what);
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A relay server on its own data directory. Keeps its public port over restarts, so that clients find it again.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    dir: PathBuf,
    settings: Vec<(String, String)>,
}

impl Server {
    /// Starts a server in `dir` and waits until it is ready.
    pub(crate) fn start(dir: &Path, settings: &[(&str, &str)]) -> Self {
        let settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (process, public, admin) = launch(&[], &[], dir, &settings, 0);
        Self { process, public, admin, dir: dir.to_path_buf(), settings }
    }

    /// Starts it again on the same port, after its process has ended.
    pub(crate) fn restart(&mut self) {
        self.restart_under(&[]);
    }

    /// The same behind another command.
    pub(crate) fn restart_under(&mut self, wrapper: &[&str]) {
        self.restart_with(wrapper, &[]);
    }

    /// The same with these options.
    pub(crate) fn restart_with(&mut self, wrapper: &[&str], options: &[&str]) {
        let (process, public, admin) = launch(wrapper, options, &self.dir, &self.settings, self.public.port());
        (self.process, self.public, self.admin) = (process, public, admin);
    }

    /// The same until somebody listens: on a full disk it announces itself once there is room.
    pub(crate) fn restart_unannounced(&mut self, wrapper: &[&str]) {
        let (mut process, _) = begin(wrapper, &[], &self.dir, &self.settings, self.public.port());
        wait_for("the server to listen", || {
            assert!(process.is_running(), "the server ended: {}", process.log());
            std::net::TcpStream::connect(self.public).ok()
        });
        self.process = process;
    }

    /// Adds or replaces a setting for the next restart.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Its data directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where webhooks go: `http://ADDR/PATH`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.public)
    }

    /// Runs a command of the CLI against it.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        let data_dir = self.data_dir();
        run(&self.dir, args, &[("DATA_DIR", data_dir.to_str().unwrap())])
    }

    /// Runs a command with `--json` that must succeed, and gives what it printed.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let output = self.cli(&args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Deliveries ready, scheduled or leased.
    pub(crate) fn queue_depth(&self) -> u64 {
        self.json(&["health"])["queue_depth"].as_u64().unwrap()
    }

    /// I5: counts everything again and compares.
    pub(crate) fn audit(&self) {
        let output = self.cli(&["audit", "--json"]);
        assert!(output.status.success(), "audit: {}", String::from_utf8_lossy(&output.stdout));
    }
}

fn launch(
    wrapper: &[&str],
    options: &[&str],
    dir: &Path,
    settings: &[(String, String)],
    port: u16,
) -> (Process, SocketAddr, SocketAddr) {
    let (mut process, announced) = begin(wrapper, options, dir, settings, port);
    let run: Value = wait_for("the server to announce itself", || {
        assert!(process.is_running(), "the server ended: {}", process.log());
        serde_json::from_slice(&std::fs::read(&announced).ok()?).ok()
    });
    let addr = |name: &str| run[name].as_str().unwrap().parse().unwrap();
    (process, addr("public"), addr("admin"))
}

/// Starts it; gives where it will say where it listens.
fn begin(
    wrapper: &[&str],
    options: &[&str],
    dir: &Path,
    settings: &[(String, String)],
    port: u16,
) -> (Process, PathBuf) {
    let data = dir.join("data");
    // It is to have the same again when it is restarted.
    let port = if port == 0 { store::free_port() } else { port };
    let port = port.to_string();
    let mut env = vec![
        ("DATA_DIR", data.to_str().unwrap()),
        ("SERVER_HOST", "127.0.0.1"),
        ("SERVER_PORT", &port),
        ("ADMIN_LISTEN", "127.0.0.1:0"),
        ("API_KEY", API_KEY),
        ("RELAY_TOKEN", RELAY_TOKEN),
        ("ADMIN_TOKEN", ADMIN_TOKEN),
        ("DISK_RESERVE", "1MiB"),
    ];
    let of_store = store::settings(dir);
    env.extend(of_store.iter().map(|(name, value)| (*name, value.as_str())));
    for (name, value) in settings {
        env.retain(|(known, _)| *known != name.as_str());
        env.push((name, value));
    }
    let announced = data.join("run.json");
    let _ = std::fs::remove_file(&announced);
    let args: Vec<&str> = ["server"].iter().chain(options).copied().collect();
    let process = Process::start_under(wrapper, &dir.join("server.log"), &args, &env);
    (process, announced)
}

/// A relay client with one local target per destination.
pub(crate) fn client(
    dir: &Path,
    name: &str,
    server: SocketAddr,
    targets: &[(&str, String)],
    more: &[(&str, &str)],
) -> Process {
    let relay_url = format!("http://{server}");
    let to = targets.iter().map(|(name, url)| format!("{name}={url}")).collect::<Vec<_>>().join(",");
    let mut env = vec![("RELAY_URL", relay_url.as_str()), ("RELAY_TOKEN", RELAY_TOKEN), ("LOCAL_WEBHOOK_URL", &to)];
    env.extend(more.iter().copied());
    Process::start(&dir.join(format!("{name}.log")), &["client"], &env)
}
