//! The processes under measurement.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub(crate) const API_KEY: &str = "crk_0123456789abcdef0123456789abcdef";
pub(crate) const RELAY_TOKEN: &str = "crt_0123456789abcdef0123456789abcdef";
pub(crate) const ADMIN_TOKEN: &str = "cra_0123456789abcdef0123456789abcdef";

/// The program under measurement: the one of this build, or another that `PROGRAM` names, for pairs.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_crm-relay").into(), PathBuf::from)
}

/// A child process; killed when dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Resident memory in MB (10^6 bytes).
    pub(crate) fn rss_mb(&self) -> f64 {
        self.memory_mb("VmRSS:")
    }

    /// The most resident memory that it ever had, in MB.
    pub(crate) fn peak_rss_mb(&self) -> f64 {
        self.memory_mb("VmHWM:")
    }

    /// Bytes that it has given to the disk since it started, in KB: what the kernel counts for whole pages of its cache.
    pub(crate) fn written_kb(&self) -> f64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).expect("it runs");
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("Linux says so");
        line.parse::<f64>().expect("a number") / 1e3
    }

    fn memory_mb(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(field)).expect("Linux says so");
        let kib: f64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number");
        kib * 1024.0 / 1e6
    }

    /// Stops it in order.
    pub(crate) fn stop(mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the ceiling.
pub(crate) fn ceiling() -> (Process, SocketAddr) {
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program).arg("--ceiling").stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("its address");
    (Process { child }, line.trim().parse().expect("an address"))
}

/// Starts a relay server in `dir`; gives its public address and how long it took to be ready.
pub(crate) fn server(dir: &Path) -> (Process, SocketAddr, Duration) {
    server_with(dir, None)
}

/// The same with a configuration file.
pub(crate) fn server_with(dir: &Path, config: Option<&Path>) -> (Process, SocketAddr, Duration) {
    server_at(dir, config, 0)
}

/// The same with these settings.
pub(crate) fn server_set(dir: &Path, more: &[(&str, &str)]) -> (Process, SocketAddr) {
    let (process, addr, _) = started(dir, None, 0, more);
    (process, addr)
}

/// The same at this port of the loopback address; 0: any.
pub(crate) fn server_at(dir: &Path, config: Option<&Path>, port: u16) -> (Process, SocketAddr, Duration) {
    started(dir, config, port, &[])
}

fn started(dir: &Path, config: Option<&Path>, port: u16, more: &[(&str, &str)]) -> (Process, SocketAddr, Duration) {
    let announced = dir.join("run.json");
    let _ = std::fs::remove_file(&announced);
    let start = Instant::now();
    let child = Command::new(program())
        .arg("server")
        .env_clear()
        .envs([
            ("DATA_DIR", dir.to_str().expect("a plain path")),
            ("SERVER_HOST", "127.0.0.1"),
            ("SERVER_PORT", &port.to_string()),
            ("ADMIN_LISTEN", "127.0.0.1:0"),
            ("API_KEY", API_KEY),
            ("RELAY_TOKEN", RELAY_TOKEN),
            ("ADMIN_TOKEN", ADMIN_TOKEN),
            ("LOG_LEVEL", "error"),
        ])
        .envs(more.iter().copied())
        .envs(config.map(|config| ("CRM_RELAY_CONFIG", config)))
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut process = Process { child };
    loop {
        if let Ok(text) = std::fs::read(&announced)
            && let Ok(run) = serde_json::from_slice::<serde_json::Value>(&text)
        {
            let public = run["public"].as_str().and_then(|text| text.parse().ok()).expect("an address");
            return (process, public, start.elapsed());
        }
        assert!(process.child.try_wait().expect("it can be asked").is_none(), "the server ended");
        assert!(start.elapsed() < Duration::from_secs(120), "the server did not come up");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How many deliveries the server of `dir` has in this state.
pub(crate) fn count(dir: &Path, state: &str) -> u64 {
    let output = Command::new(program())
        .args(["status", "--json", "--data-dir"])
        .arg(dir)
        .env_clear()
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .stderr(Stdio::inherit())
        .output()
        .expect("it starts");
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let destinations = status["destinations"].as_array().expect("its destinations");
    destinations.iter().filter_map(|destination| destination["deliveries"][state].as_u64()).sum()
}

/// Starts a relay client that forwards to `target`.
pub(crate) fn client(server: SocketAddr, target: SocketAddr, concurrency: u32) -> Process {
    client_to(server, &format!("http://{target}/"), concurrency)
}

/// The same for several destinations: `NAME=URL,...`.
pub(crate) fn client_to(server: SocketAddr, targets: &str, concurrency: u32) -> Process {
    let child = Command::new(program())
        .arg("client")
        .env_clear()
        .envs([
            ("RELAY_URL", format!("http://{server}")),
            ("RELAY_TOKEN", RELAY_TOKEN.to_owned()),
            ("LOCAL_WEBHOOK_URL", targets.to_owned()),
            ("CONCURRENCY", concurrency.to_string()),
            ("LOG_LEVEL", "error".to_owned()),
        ])
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    Process { child }
}
