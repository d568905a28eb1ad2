//! Runs the server: from its plan to its end.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use relay_core::{limits, storage::StoreError, time::Wall};
use relay_server::{
    Bound, Config, Cry, Outcry, Outside, Reloader, Server, StartError, Waiting, claim, clock::Clock,
    registry::RegistryError, shared_secrets,
};
use relay_store::{
    Store, private, redis,
    sqlite::{Occupied, Options, SqliteStore},
};

use crate::{
    config::{fault::Faults, server::Plan},
    credentials::{self, Kept},
    descriptors,
    exit::{Exit, Failure, Outcome, reason},
    farewell,
    hints::{self, Facts},
    migrate, opening,
    output::show,
    reload::{self, Fixed, Read},
    render::{style, wrap},
    runtime::block_on_beside_writer,
    signals::{self, Stop},
    systemd::{self, Notifier},
    telemetry,
};

/// Runs until stopped; `read` gives the configuration anew.
///
/// # Errors
/// It could not start, or the store failed.
pub(crate) fn run(
    found: Read<Plan>,
    read: impl Fn() -> Result<Read<Plan>, Faults> + Clone + Send + 'static,
) -> Outcome {
    let Read { config: plan, notes, logging, ground } = found;
    let stop_delay = plan.stop_delay();
    // Before there are threads.
    let (inherited, notifier) = (systemd::inherited()?, Notifier::of_environment());
    let printer = telemetry::start(&logging)?;
    for note in &notes {
        tracing::warn!(event = "configuration", "{note}");
    }
    block_on_beside_writer(async {
        let (stop, hangups) = signals::attend()?;
        let outside = Outside { stopping: farewell::of_server(), lost_lines: printer.lost(), inherited };
        let outcry = Outcry::of(plan.declared());
        let started = match Box::pin(start(plan, outside, &stop)).await {
            Ok(Some(started)) => started,
            Ok(None) => return Ok(Exit::Done),
            Err(failure) => {
                cry(&outcry, &failure).await;
                return Err(failure);
            }
        };
        let Started { server, kept, occupied: _occupied } = started;
        if style::is_terminal() {
            show(&wrap::results(&hints::server(&Facts::of(&server, &kept))));
        }
        let (reloader, pulse, serving) = (server.reloader(), server.pulse(), serving(&server));
        notifier.ready(&serving);
        let take_over = async |plan: Plan| take_over(&reloader, &plan).await;
        let told = (notifier.clone(), serving);
        let unready = server.unready();
        let stopped = async {
            stop.clone().asked().await;
            notifier.stopping();
            if !stop_delay.is_zero() {
                unready();
                tracing::info!(event = "stop_delayed", delay_ms = stop_delay.as_millis() as u64);
                stop.delay(stop_delay).await;
            }
        };
        let ended = tokio::select! {
            outcome = server.run(stopped) => end(outcome),
            never = reload::serve(hangups, read, ground, Fixed::All, take_over, told) => match never {},
            never = notifier.keep_watchdog(|| pulse.beat()) => match never {},
        };
        farewell::last(&ended);
        ended
    })
}

/// Tells everybody that the store does not open: who looks after alerts has not begun.
async fn cry(outcry: &Outcry, failure: &Failure) {
    if matches!(failure.exit, Exit::StoreFailed | Exit::NewerVersion) {
        let words = format!("the server does not start, and nothing is taken in: {}", failure.text);
        outcry.tell(Cry::Ends, &words, Duration::ZERO).await;
    }
}

/// Opens the embedded store. One that takes long is told: it may be read as a whole, or have a long log, or a slow disk.
async fn open(options: Options, outcry: &Outcry, told_after: Duration) -> Result<SqliteStore, Failure> {
    let dir = options.dir.display().to_string();
    let ended = |error| Failure::new(Exit::StoreFailed, format!("the thread that opens the store ended: {error}"));
    let mut opening = tokio::task::spawn_blocking(move || opening::open(options));
    tokio::select! {
        opened = &mut opening => return opened.map_err(ended)?,
        () = tokio::time::sleep(told_after) => {}
    }
    let words = format!(
        "the store in {dir} has been opening for {} s, and nothing is taken in until it is open; if an earlier run failed, everything in it is \
         read first",
        told_after.as_secs()
    );
    tracing::warn!(event = "store_opening", dir, "{words}");
    // Nothing waits for whoever is told.
    let outcry = outcry.clone();
    drop(tokio::spawn(async move { outcry.tell(Cry::Opens, &words, Duration::ZERO).await }));
    opening.await.map_err(ended)?
}

/// What it does, for the service manager.
fn serving(server: &Server) -> String {
    server.public_addr().map_or_else(String::new, |addr| format!("taking webhooks at {addr}"))
}

/// Takes over what the configuration file declares by now.
async fn take_over(reloader: &Reloader, plan: &Plan) {
    if let Err(error) = reloader.reload(plan.declared()).await {
        tracing::error!(event = "reload_failed", %error, "what the configuration file declares is not in use");
    }
}

/// A server that has started.
pub(crate) struct Started {
    /// The server.
    pub(crate) server: Server,
    /// Its secrets.
    pub(crate) kept: Kept,
    /// Keeps others out of its data directory, where no store does.
    pub(crate) occupied: Option<Occupied>,
}

/// Opens the store, completes the secrets and starts the server. `None`: it was to stop before its store was there.
///
/// # Errors
/// In words for whoever started it.
pub(crate) async fn start(plan: Plan, outside: Outside, stop: &Stop) -> Result<Option<Started>, Failure> {
    descriptors::raise_limit();
    if let Some(options) = plan.redis().cloned() {
        return Box::pin(start_on_redis(plan, options, outside, stop)).await;
    }
    let options =
        Options { disk_reserve: plan.disk_reserve(), ciphers: plan.ciphers().clone(), ..Options::new(plan.data_dir()) };
    let store = open(options, &Outcry::of(plan.declared()), limits::OPENING_TOLD_AFTER).await?;
    start_over(plan, Arc::new(store), None, outside).await.map(Some)
}

/// The same where somebody tries things out, in a directory of a project: no file for a full disk, and nothing that
/// would be committed with the project.
///
/// # Errors
/// As [`start`].
pub(crate) async fn start_in_project(plan: Plan, outside: Outside, stop: &Stop) -> Result<Option<Started>, Failure> {
    descriptors::raise_limit();
    if let Some(options) = plan.redis().cloned() {
        return Box::pin(start_on_redis(plan, options, outside, stop)).await;
    }
    let disk_reserve = plan.disk_reserve();
    let store = opening::open(Options {
        disk_reserve,
        ballast: false,
        ciphers: plan.ciphers().clone(),
        ..Options::new(plan.data_dir())
    })?;
    let ignore = plan.data_dir().join(".gitignore");
    if !ignore.exists() {
        let written = private::replace(&ignore, b"*\n");
        written.map_err(|error| credentials::not_writable(plan.data_dir(), &error))?;
    }
    start_over(plan, Arc::new(store), None, outside).await.map(Some)
}

/// The same on a Redis. It listens before that is there, and says so to who asks.
async fn start_on_redis(
    plan: Plan,
    options: redis::Options,
    mut outside: Outside,
    stop: &Stop,
) -> Result<Option<Started>, Failure> {
    let occupied = opening::beside_redis(plan.data_dir(), plan.ciphers()).await?;
    let at = options.address.to_string();
    let asked = Asked::of(plan.declared(), Some(at.clone()));
    let waiting = Waiting::begin(plan.declared(), std::mem::take(&mut outside.inherited))
        .await
        .map_err(|error| start_failed(error, &asked))?;
    let remembers_in = Some(plan.data_dir().join("redis-acknowledged"));
    let store = opening::redis(redis::Options { remembers_in, ..options });
    tokio::select! {
        begun = opening::begin(&store, &at, opening::REDIS_WITHIN) => begun?,
        () = stop.clone().asked() => return Ok(None),
    }
    let beside = Beside { bound: waiting.end().await, occupied, at };
    start_over(plan, Arc::new(store), Some(beside), outside).await.map(Some)
}

/// One on a Redis that nobody reaches, for the client of its own process. `None`: as [`start`].
///
/// # Errors
/// As [`start`].
pub(crate) async fn start_nowhere(
    plan: Plan,
    options: redis::Options,
    outside: Outside,
    stop: &Stop,
) -> Result<Option<Started>, Failure> {
    descriptors::raise_limit();
    let occupied = opening::beside_redis(plan.data_dir(), plan.ciphers()).await?;
    let at = options.address.to_string();
    let remembers_in = Some(plan.data_dir().join("redis-acknowledged"));
    let store = opening::redis(redis::Options { remembers_in, ..options });
    tokio::select! {
        begun = opening::begin(&store, &at, opening::REDIS_WITHIN) => begun?,
        () = stop.clone().asked() => return Ok(None),
    }
    let beside = Beside { bound: Bound::nowhere(), occupied, at };
    start_over(plan, Arc::new(store), Some(beside), outside).await.map(Some)
}

/// What a server has whose store is in a Redis.
struct Beside {
    bound: Bound,
    occupied: Occupied,
    /// Where the Redis is.
    at: String,
}

/// The store comes first: it takes the lock, so that two starts at once do not both make up secrets.
async fn start_over(
    plan: Plan,
    store: Arc<dyn Store>,
    beside: Option<Beside>,
    outside: Outside,
) -> Result<Started, Failure> {
    let at = beside.as_ref().map_or_else(|| plan.data_dir().display().to_string(), |beside| beside.at.clone());
    migrate::refuse_moved(&*store, &at).await?;
    let mut kept = secrets(&plan, &*store).await?;
    kept.public_url = plan.public_url();
    for secret in &kept.elsewhere {
        let (name, at) = (&secret.name, secret.whereabouts());
        tracing::info!(event = "credentials_elsewhere", name, "it is {at}; this one knows it by its digest");
    }
    if !kept.generated.is_empty() {
        let path = kept.path.display().to_string();
        let generated = kept.generated.join(",");
        // A store that has taken webhooks in had others: it was restored, or the file is lost.
        let is_old = store.stats().await.is_ok_and(|stats| stats.sources.iter().any(|source| source.accepted > 0));
        if is_old || kept.had_others {
            tracing::warn!(
                event = "credentials",
                path,
                generated,
                "credentials of this store are gone, and new ones were made: senders and clients with the old ones get \
                 401. Put the old file back and start again, or give them the new ones"
            );
        } else {
            tracing::info!(event = "credentials", path, generated);
        }
    }
    let config = plan.complete(kept.credentials.clone());
    let asked = Asked::of(&config, beside.as_ref().map(|beside| beside.at.clone()));
    let (started, occupied) = match beside {
        Some(Beside { bound, occupied, .. }) => {
            (Box::pin(Server::start_on(bound, config, Arc::clone(&store), outside)).await, Some(occupied))
        }
        None => (Box::pin(Server::start(config, Arc::clone(&store), outside)).await, None),
    };
    let server = started.map_err(|error| start_failed(error, &asked))?;
    // Whoever began to move it since the first look sees from now on that this server is there, and waits until it is gone.
    migrate::refuse_moved(&*store, &at).await?;
    Ok(Started { server, kept, occupied })
}

/// All secrets of a server. Where others share its store those that were made first are everybody's.
async fn secrets(plan: &Plan, store: &dyn Store) -> Result<Kept, Failure> {
    let (data_dir, given) = (plan.data_dir(), || plan.given.clone());
    if !store.promises().several_owners {
        return credentials::complete(data_dir, given());
    }
    let failed = |error: RegistryError| {
        let is_later = matches!(error, RegistryError::Later { .. });
        let exit = if is_later { Exit::NewerVersion } else { Exit::Unreachable };
        Failure::new(exit, format!("what the servers on this store share could not be read: {error}"))
    };
    let now = Clock::start(Wall::MIN).wall();
    loop {
        let shared = shared_secrets(store).await.map_err(failed)?;
        let kept = credentials::propose(data_dir, given(), &shared)?;
        let mut is_late = false;
        for secret in kept.to_share(&plan.declared().server) {
            is_late |= claim(store, &secret, now).await.map_err(failed)?.is_some();
        }
        // Else another server was faster, and what it has is shared by now: that is not made a second time.
        if !is_late {
            credentials::keep(data_dir, &kept)?;
            return Ok(kept);
        }
    }
}

/// How the end of a server ends the process.
///
/// # Errors
/// It did not end well.
pub(crate) fn end(outcome: relay_server::Outcome) -> Outcome {
    match outcome {
        relay_server::Outcome::Stopped => Ok(Exit::Done),
        relay_server::Outcome::GraceExceeded => Err(Failure::new(
            Exit::OverGrace,
            "stopped, but something took longer than SHUTDOWN_GRACE; nothing is lost, it is delivered after the next start",
        )),
        relay_server::Outcome::StoreFailed(why) => Err(Failure::new(
            Exit::StoreFailed,
            format!("the store has failed: {why}. Nothing was acknowledged since; mend the disk and start again"),
        )),
        relay_server::Outcome::TaskFailed(failure) => {
            Err(Failure::new(Exit::StoreFailed, format!("stopped: {failure}. This is a bug; start again")))
        }
    }
}

/// What was to be bound, to say which option chooses another address.
struct Asked {
    admin: Option<SocketAddr>,
    /// Where its store is.
    store: String,
}

impl Asked {
    fn of(config: &Config, redis: Option<String>) -> Self {
        let store = redis.map_or_else(|| config.data_dir.display().to_string(), |at| format!("the Redis at {at}"));
        Self { admin: config.admin_listen, store }
    }
}

fn start_failed(error: StartError, asked: &Asked) -> Failure {
    match error {
        StartError::Bind { addr, source } => {
            let is_admin = asked.admin.is_some_and(|admin| admin.to_string() == addr);
            Failure::unreachable(cannot_listen(&addr, &source, is_admin))
        }
        StartError::Write { path, source } => credentials::not_writable(&path, &source),
        StartError::Registry(RegistryError::Store(error)) | StartError::Store(error) => {
            let is_away = matches!(error, StoreError::Away | StoreError::Unknown);
            let exit = if is_away { Exit::Unreachable } else { Exit::StoreFailed };
            Failure::new(exit, format!("the store in {} failed: {error}", asked.store))
        }
        StartError::Registry(error @ RegistryError::Damaged { .. }) => {
            Failure::new(Exit::StoreFailed, error.to_string())
        }
        StartError::Registry(error @ RegistryError::Later { .. }) => {
            Failure::new(Exit::NewerVersion, error.to_string())
        }
        error @ StartError::Differs(_) => Failure::new(
            Exit::Configuration,
            format!(
                "{error}. Give all servers the same settings, file and secrets; or start this one once with --accept-config: what it has \
                 is shared then, and the others say so until they have it too"
            ),
        ),
        StartError::CaFile(error) => Failure::new(Exit::Configuration, error.to_string()),
        StartError::Certificate(error) => Failure::new(Exit::Configuration, error.to_string()),
        StartError::Clients(error) => Failure::new(Exit::Configuration, error.to_string()),
        StartError::Registry(error) => Failure::new(Exit::Configuration, error.to_string()),
    }
}

fn cannot_listen(addr: &str, error: &io::Error, is_admin: bool) -> String {
    let other = if is_admin {
        "--admin-listen 127.0.0.1:0 takes any, off leaves only the socket"
    } else {
        "--server-port 0 takes any"
    };
    let port = addr.rsplit_once(':').map_or(addr, |(_, port)| port);
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "port {port} is in use ({addr}). Stop the program that listens there, or choose another port: {other}"
            )
        }
        io::ErrorKind::PermissionDenied => format!(
            "cannot listen on {addr}: permission denied. Ports below 1024 need CAP_NET_BIND_SERVICE; choose another port: {other}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("cannot listen on {addr}: this machine has no such address. 0.0.0.0 takes all it has")
        }
        _ => format!("cannot listen on {addr}: {}. Choose another port: {other}", reason(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;
    use crate::config::{
        layers::{Flags, Layers},
        server::plan,
        settings::Process,
    };

    /// I17: a store that is read as a whole since it failed takes long to open, and that is told meanwhile.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_store_that_takes_long_to_open_is_told_meanwhile() {
        let place = tempfile::tempdir().unwrap();
        let (data, told) = (place.path().join("data"), place.path().join("told"));
        let options = || Options { disk_reserve: 0, ballast: false, ..Options::new(&data) };
        drop(SqliteStore::open(options()).unwrap());
        // Reading why it failed waits until somebody writes it.
        let suspect = data.join("suspect");
        assert!(Command::new("mkfifo").arg(&suspect).status().unwrap().success());
        let file = place.path().join("crm-relay.toml");
        fs::write(&file, format!("[alert.ops]\ncommand = [\"/usr/bin/tee\", {told:?}]\n")).unwrap();
        let data_dir = data.display().to_string();
        let environment = move |name: &str| (name == "DATA_DIR").then(|| data_dir.clone());
        let plan = plan(Layers::collect(Process::Server, Some(&file), &Flags::new(), &environment)).unwrap();
        let outcry = Outcry::of(plan.declared());
        let (opened, ()) = tokio::join!(open(options(), &outcry, Duration::ZERO), async {
            while !fs::read_to_string(&told).is_ok_and(|told| told.contains("has been opening for")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            fs::write(&suspect, "its disk").unwrap();
        });
        assert!(opened.is_ok());
    }
}
