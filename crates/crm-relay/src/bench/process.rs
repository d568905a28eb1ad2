//! The relay that is measured: this program, as a server and as a client, in processes of their own.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::{
    config::secret::Secret,
    credentials,
    exit::{Exit, Failure, reason},
    place::RunFile,
};

/// How long a server may take to be there.
const START_WITHIN: Duration = Duration::from_secs(20);
/// How long one may take to close its store.
const STOP_WITHIN: Duration = Duration::from_secs(3);
/// How long one that was killed is waited for: a disk that hangs holds it.
const END_WITHIN: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What of its last words is told.
const WORDS_MAX: usize = 2_000;

/// A child process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Spawned {
    child: Child,
    /// What it said to the end.
    said: PathBuf,
}

/// A server that listens on the loopback address alone, with a data directory of its own.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    process: Spawned,
    dir: PathBuf,
    /// Where it takes webhooks.
    pub(crate) public: SocketAddr,
    /// What it takes them with.
    pub(crate) api_key: Secret,
    token: Secret,
}

impl Spawned {
    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts this program in a directory, with these settings and no others, whatever stands in the environment or in files.
    fn start(dir: &Path, name: &str, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        let failed = |error| Failure::new(Exit::StoreFailed, format!("cannot start a {name}: {}", reason(&error)));
        let said = dir.join(format!("{name}.log"));
        let program = std::env::current_exe().map_err(failed)?;
        let log = fs::File::create(&said).map_err(failed)?;
        let mut command = Command::new(program);
        command.arg(name).current_dir(dir).env_clear().envs(settings.iter().copied()).env("LOG_LEVEL", "error");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok(Self { child: command.spawn().map_err(failed)?, said })
    }

    /// How it ended, if it has.
    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Why it ended by itself.
    fn failure(&self, name: &str, status: ExitStatus) -> Failure {
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        let last: String = said.trim().chars().take(WORDS_MAX).collect();
        let exit = match status.code() {
            Some(78) => Exit::Configuration,
            Some(74) => Exit::StoreFailed,
            _ => Exit::Unreachable,
        };
        Failure::new(exit, format!("the {name} that was to be measured has ended ({status}): {last}"))
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        for _ in 0..END_WITHIN.as_millis() / LOOK_EVERY.as_millis() {
            if self.ended().is_some() {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl ServerProcess {
    /// Starts one in `dir`, which it makes.
    ///
    /// # Errors
    /// It does not start, or not soon.
    pub(crate) async fn start(dir: &Path) -> Result<Self, Failure> {
        fs::create_dir(dir).map_err(|error| credentials::not_writable(dir, &error))?;
        let data = dir.join("data");
        let at = data.display().to_string();
        let settings =
            [("DATA_DIR", &*at), ("SERVER_HOST", "127.0.0.1"), ("SERVER_PORT", "0"), ("ADMIN_LISTEN", "off")];
        let mut process = Spawned::start(dir, "server", &settings)?;
        let start = Instant::now();
        let public = loop {
            if let Some(public) = RunFile::read(&data).and_then(|run| run.public.parse().ok()) {
                break public;
            }
            if let Some(status) = process.ended() {
                return Err(process.failure("server", status));
            }
            if start.elapsed() > START_WITHIN {
                let text =
                    format!("the server did not start within {} s: is the disk very slow?", START_WITHIN.as_secs());
                return Err(Failure::unreachable(text));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let secret = |name| {
            let missing = || Failure::new(Exit::StoreFailed, format!("the server made no {name}"));
            credentials::find(&data, name)?.ok_or_else(missing)
        };
        let (api_key, token) = (secret("API_KEY")?, secret("RELAY_TOKEN")?);
        Ok(Self { process, dir: dir.to_owned(), public, api_key, token })
    }

    /// A client of it that forwards to `target`.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn client(&self, target: SocketAddr, concurrency: u32) -> Result<Spawned, Failure> {
        let (url, target) = (format!("http://{}", self.public), format!("http://{target}/"));
        let settings = [
            ("RELAY_URL", &*url),
            ("RELAY_TOKEN", self.token.expose()),
            ("LOCAL_WEBHOOK_URL", &*target),
            ("CONCURRENCY", &concurrency.to_string()),
        ];
        Spawned::start(&self.dir, "client", &settings)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Bytes that it has given to the disk since it started, in whole pages of the kernel's cache; `None` where the kernel does not say.
    pub(crate) fn written(&self) -> Option<u64> {
        let io = fs::read_to_string(format!("/proc/{}/io", self.pid())).ok()?;
        io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
    }

    /// Has it close its store, and removes that. Bytes that it took.
    pub(crate) async fn stop(mut self) -> u64 {
        let _gone = kill_process(Pid::from_child(&self.process.child), Signal::TERM);
        let start = Instant::now();
        while self.process.ended().is_none() && start.elapsed() < STOP_WITHIN {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let Self { process, dir, .. } = self;
        drop(process);
        let names = ["store.db", "store.db-wal"];
        let kept = names.map(|name| fs::metadata(dir.join("data").join(name)).map_or(0, |found| found.len()));
        // What is left goes with the directory around it.
        let _left = fs::remove_dir_all(&dir);
        kept.iter().sum()
    }
}
