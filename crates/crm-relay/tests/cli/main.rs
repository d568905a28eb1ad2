//! Golden transcripts: what people see of the command line, with everything that changes from run to run taken out.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its place has failed")]

mod redact;

use std::{
    fs::{self, File},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use redact::redact;
use tempfile::TempDir;

#[test]
fn faults_of_a_configuration_are_listed_all_at_once() {
    let place = Place::new();
    place.write("crm-relay.toml", "servre_port = 80\nmax_body_bytes = \"plenty\"\n\n[[route]]\nsource = \"default\"\n");
    let env = [("MESSAGE_TTL", "7 fortnights"), ("API_KEY", "changeme"), ("REDIS_URL", "redis://localhost")];
    let output = place.run(&["config", "check"], &env);
    assert_eq!(output.status.code(), Some(78));
    insta::assert_snapshot!(place.transcript(&output));
}

#[test]
fn a_configuration_is_printed_with_the_origin_of_every_value() {
    let place = Place::new();
    place.write("crm-relay.toml", "message_ttl = \"7d\"\n");
    let env = [("API_KEY", "a-key-that-is-not-shown"), ("RELAY_URL", "https://relay.example.com")];
    insta::assert_snapshot!(place.transcript(&place.run(&["config", "print"], &env)));
}

#[test]
fn a_command_without_a_server_says_where_it_looked() {
    let place = Place::new();
    let output = place.run(&["status"], &[]);
    assert_eq!(output.status.code(), Some(69));
    insta::assert_snapshot!(place.transcript(&output));
}

/// S27: a log shows where the generated secrets are, and none of them.
#[test]
fn the_first_start_of_a_server_logs_paths_and_no_secrets() {
    let place = Place::new();
    let server = place.server();
    let credentials = fs::read_to_string(place.path("data/credentials")).unwrap();
    let log = place.read("server.log");
    for secret in credentials.lines().filter_map(|line| line.split_once('=')).map(|(_, value)| value) {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    drop(server);
    insta::assert_snapshot!(place.redact(&log));
}

#[test]
fn a_second_client_is_announced_on_both_sides() {
    let place = Place::new();
    let _server = place.server();
    let _first = place.client("first");
    place.wait_for("server.log", "clients=1");
    let _second = place.client("second");
    place.wait_for("server.log", "clients=2");
    place.wait_for("second.log", "destination_shared");
    place.wait_for("first.log", "destination_shared");
    let lines = |name: &str, wanted: &[&str]| {
        let log = place.redact(&place.read(name));
        let found: Vec<&str> = log.lines().filter(|line| wanted.iter().any(|word| line.contains(word))).collect();
        found.join("\n")
    };
    insta::assert_snapshot!(format!(
        "--- server\n{}\n--- first client\n{}\n--- second client\n{}",
        lines("server.log", &["client_joined"]),
        lines("first.log", &["connected", "destination_"]),
        lines("second.log", &["connected", "destination_"]),
    ));
}

#[test]
fn a_dead_letter_is_listed_shown_and_counted() {
    let place = Place::new();
    let _server = place.server();
    let _receiver = place.start("receiver", &["receive", "--listen", "127.0.0.1:0", "--status", "500"], &[]);
    let target = place.after("receiver.log", "http://");
    let _client = place.start(
        "client",
        &["client", "--to", &target],
        &[("RELAY_URL", &place.server_url()), ("RELAY_TOKEN", &place.secret("RELAY_TOKEN"))],
    );
    place.wait_for("server.log", "client_joined");
    place.write("body.json", r#"{"hello":"world"}"#);
    let sent = place.cli(&["send", "--body", "body.json"]);
    let event = String::from_utf8(sent.stdout).unwrap();
    place.wait_for("server.log", "delivery_dead");
    // The server's look at its clients may be a second old.
    wait_until("the client in the status", || {
        let status = String::from_utf8(place.cli(&["status"]).stdout).unwrap();
        status.contains("\tup\t1\t") && status.contains("dead or expired  1")
    });
    let text = [
        place.transcript(&place.cli(&["dead", "list"])),
        place.transcript(&place.cli(&["event", "show", event.trim()])),
        place.transcript(&place.cli(&["status"])),
        place.transcript(&place.cli(&["audit"])),
        place.transcript(&place.cli(&["dead", "purge", "--all"])),
        place.transcript(&place.cli(&["dead", "purge", "--all", "--yes"])),
    ];
    insta::assert_snapshot!(text.join("\n"));
}

/// A directory in which commands run, with no environment but what a test gives.
struct Place {
    dir: TempDir,
}

/// A process that is killed when dropped.
struct Running(Child);

impl Place {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn command(&self, args: &[&str], env: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crm-relay"));
        command.args(args).current_dir(self.dir.path()).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        self.command(args, env).output().unwrap()
    }

    /// A command against the server of this place.
    fn cli(&self, args: &[&str]) -> Output {
        self.run(args, &[("DATA_DIR", "data")])
    }

    fn start(&self, name: &str, args: &[&str], env: &[(&str, &str)]) -> Running {
        let log = File::create(self.path(&format!("{name}.log"))).unwrap();
        let mut command = self.command(args, env);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Running(command.spawn().unwrap())
    }

    fn server(&self) -> Running {
        let env = [
            ("DATA_DIR", "data"),
            ("SERVER_HOST", "127.0.0.1"),
            ("SERVER_PORT", "0"),
            ("ADMIN_LISTEN", "127.0.0.1:0"),
            ("DISK_RESERVE", "1MiB"),
            ("MAX_RETRIES", "0"),
            ("HEALTH_CHECK_INTERVAL", "1d"),
        ];
        let server = self.start("server", &["server"], &env);
        wait_until("run.json", || self.path("data/run.json").exists());
        server
    }

    fn client(&self, name: &str) -> Running {
        let (url, token) = (self.server_url(), self.secret("RELAY_TOKEN"));
        self.start(name, &["client", "--to", "9"], &[("RELAY_URL", &url), ("RELAY_TOKEN", &token)])
    }

    fn server_url(&self) -> String {
        let run: serde_json::Value = serde_json::from_str(&self.read("data/run.json")).unwrap();
        format!("http://{}", run["public"].as_str().unwrap())
    }

    fn secret(&self, name: &str) -> String {
        let credentials = self.read("data/credentials");
        let line = credentials.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap().to_owned()
    }

    fn wait_for(&self, log: &str, text: &str) {
        wait_until(&format!("{text:?} in {log}"), || self.read(log).contains(text));
    }

    /// The URL that a log names first.
    fn after(&self, log: &str, start: &str) -> String {
        self.wait_for(log, start);
        let text = self.read(log);
        let rest = &text[text.find(start).unwrap()..];
        rest.split([' ', ',', '\n']).next().unwrap().to_owned()
    }

    /// What a command printed and how it ended.
    fn transcript(&self, output: &Output) -> String {
        let text = format!(
            "{}{}[exit {}]\n",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            output.status.code().unwrap_or(-1),
        );
        self.redact(&text)
    }

    fn redact(&self, text: &str) -> String {
        redact(text, self.dir.path())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks again until it is so; a minute is far more than anything here takes.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}
