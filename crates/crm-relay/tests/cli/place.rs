//! Where a test of the command line runs: a directory, and the processes in it.

use std::{
    fs::{self, File},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::redact::redact;

/// A directory in which commands run, with no environment but what a test gives.
pub(crate) struct Place {
    dir: TempDir,
}

/// A process that is killed when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn command(&self, args: &[&str], env: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crm-relay"));
        command.args(args).current_dir(self.dir.path()).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        self.command(args, env).output().unwrap()
    }

    /// A command against the server of this place.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.run(args, &[("DATA_DIR", "data")])
    }

    pub(crate) fn start(&self, name: &str, args: &[&str], env: &[(&str, &str)]) -> Running {
        let log = File::create(self.path(&format!("{name}.log"))).unwrap();
        let mut command = self.command(args, env);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Running(command.spawn().unwrap())
    }

    pub(crate) fn server(&self) -> Running {
        self.server_with(&[])
    }

    /// A server with further settings.
    pub(crate) fn server_with(&self, more: &[(&str, &str)]) -> Running {
        let mut env = vec![
            ("DATA_DIR", "data"),
            ("SERVER_HOST", "127.0.0.1"),
            ("SERVER_PORT", "0"),
            ("ADMIN_LISTEN", "127.0.0.1:0"),
            ("DISK_RESERVE", "1MiB"),
            ("MAX_RETRIES", "0"),
            ("HEALTH_CHECK_INTERVAL", "1d"),
        ];
        env.extend(more);
        let server = self.start("server", &["server"], &env);
        wait_until("run.json", || self.path("data/run.json").exists());
        server
    }

    pub(crate) fn client(&self, name: &str) -> Running {
        self.client_to(name, "9")
    }

    /// A client that forwards to this target.
    pub(crate) fn client_to(&self, name: &str, target: &str) -> Running {
        let (url, token) = (self.server_url(), self.secret("RELAY_TOKEN"));
        self.start(name, &["client", "--to", target], &[("RELAY_URL", &url), ("RELAY_TOKEN", &token)])
    }

    /// A receiver that answers as told, and its URL.
    pub(crate) fn receiver(&self, options: &[&str]) -> (Running, String) {
        let args = [&["receive", "--listen", "127.0.0.1:0"], options].concat();
        let receiver = self.start("receiver", &args, &[]);
        (receiver, self.after("receiver.log", "http://"))
    }

    /// What a command prints with `--json`.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = self.cli(&[args, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{args:?}: {output:?}"))
    }

    /// Sends one webhook; its event's id.
    pub(crate) fn send(&self) -> String {
        String::from_utf8(self.cli(&["send"]).stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn server_url(&self) -> String {
        let run: serde_json::Value = serde_json::from_str(&self.read("data/run.json")).unwrap();
        format!("http://{}", run["public"].as_str().unwrap())
    }

    pub(crate) fn secret(&self, name: &str) -> String {
        let credentials = self.read("data/credentials");
        let line = credentials.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap().to_owned()
    }

    pub(crate) fn wait_for(&self, log: &str, text: &str) {
        wait_until(&format!("{text:?} in {log}"), || self.read(log).contains(text));
    }

    /// The URL that a log names first.
    pub(crate) fn after(&self, log: &str, start: &str) -> String {
        self.wait_for(log, start);
        let text = self.read(log);
        let rest = &text[text.find(start).unwrap()..];
        rest.split([' ', ',', '\n']).next().unwrap().to_owned()
    }

    /// What a command printed and how it ended.
    pub(crate) fn transcript(&self, output: &Output) -> String {
        let text = format!(
            "{}{}[exit {}]\n",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            output.status.code().unwrap_or(-1),
        );
        self.redact(&text)
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        redact(text, self.dir.path())
    }
}

impl Running {
    /// Asks it to stop; how it ended.
    pub(crate) fn terminate(self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.ended()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// The letter of how it is: `T` stands still.
    pub(crate) fn state(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap();
        state.trim()[..1].to_owned()
    }

    /// How it ended by itself.
    pub(crate) fn ended(mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }

    /// Whether it has a handler for a signal by now.
    pub(crate) fn catches(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() >> (signal.as_raw() - 1) & 1 == 1
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks again until it is so; a minute is far more than anything here takes.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}
