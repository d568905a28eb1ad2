//! The relay that is measured: this program, as a server and as a client, in processes of their own.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
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
/// Bytes of its last words that are told.
const WORDS_MAX: u64 = 2_000;
/// How long whoever does not answer may take to have ended, if that is why.
const DEATH_WITHIN: Duration = Duration::from_secs(1);

/// A child process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Spawned {
    child: Child,
    name: &'static str,
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
    fn start(dir: &Path, name: &'static str, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        let failed = |error| Failure::new(Exit::StoreFailed, format!("cannot start a {name}: {}", reason(&error)));
        let said = dir.join(format!("{name}.log"));
        let program = std::env::current_exe().map_err(failed)?;
        let log = File::create(&said).map_err(failed)?;
        let mut command = Command::new(program);
        command.arg(name).current_dir(dir).env_clear().envs(settings.iter().copied()).env("LOG_LEVEL", "error");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok(Self { child: command.spawn().map_err(failed)?, name, said })
    }

    /// How it ended, if it has.
    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Why it ended by itself.
    fn failure(&self, status: ExitStatus) -> Failure {
        let last = last_words(&self.said).unwrap_or_default();
        let last = if last.is_empty() { "it said nothing" } else { &last };
        let exit = match status.code() {
            Some(78) => Exit::Configuration,
            Some(74) => Exit::StoreFailed,
            _ => Exit::Unreachable,
        };
        Failure::new(exit, format!("the {} that was to be measured has ended ({status}): {last}", self.name))
    }
}

/// What comes of a part, as long as the processes live with which it is measured.
///
/// # Errors
/// The part's, or why one of them has ended.
pub(crate) async fn watched<T>(
    part: impl Future<Output = Result<T, Failure>>,
    processes: &mut [&mut Spawned],
) -> Result<T, Failure> {
    let failed = tokio::select! {
        failure = death(processes) => return Err(failure),
        done = part => match done {
            Ok(done) => return Ok(done),
            Err(failed) => failed,
        },
    };
    // Whoever waits for an answer may know before us that none will come.
    Err(tokio::time::timeout(DEATH_WITHIN, death(processes)).await.unwrap_or(failed))
}

/// Bytes that a process has given to the disk since it started, in whole pages of the kernel's cache; `None` where the kernel does not say.
pub(crate) fn written(pid: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
}

/// Waits until one of them has ended; why it has. Cancel safe.
async fn death(processes: &mut [&mut Spawned]) -> Failure {
    loop {
        for process in &mut *processes {
            if let Some(status) = process.ended() {
                return process.failure(status);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The end of a log.
fn last_words(said: &Path) -> io::Result<String> {
    let mut file = File::open(said)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(WORDS_MAX)))?;
    let mut last = Vec::new();
    file.take(WORDS_MAX).read_to_end(&mut last)?;
    Ok(String::from_utf8_lossy(&last).trim().to_owned())
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
        // Below the directory that it is started in.
        let settings =
            [("DATA_DIR", "data"), ("SERVER_HOST", "127.0.0.1"), ("SERVER_PORT", "0"), ("ADMIN_LISTEN", "off")];
        let mut process = Spawned::start(dir, "server", &settings)?;
        let start = Instant::now();
        let public = loop {
            if let Some(public) = RunFile::read(&data).and_then(|run| run.public.parse().ok()) {
                break public;
            }
            if let Some(status) = process.ended() {
                return Err(process.failure(status));
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

    /// The same, to be watched.
    pub(crate) fn process(&mut self) -> &mut Spawned {
        &mut self.process
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_its_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, format!("{}\nthe reason\n", "a line\n".repeat(1_000))).unwrap();
        let told = last_words(&log).unwrap();
        assert!(told.ends_with("a line\n\nthe reason") && told.len() <= WORDS_MAX as usize, "{told}");
        assert!(last_words(&dir.path().join("none")).is_err());
    }
}
