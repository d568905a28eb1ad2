//! Runs the server: from its plan to its end.

use std::{io, net::SocketAddr, sync::Arc};

use relay_server::{Config, Outside, Reloader, Server, StartError, registry::RegistryError};
use relay_store::{
    private,
    seam::Upkeep as _,
    sqlite::{Options, SqliteStore},
};

use crate::{
    config::{fault::Faults, server::Plan},
    credentials::{self, Kept},
    descriptors,
    exit::{Exit, Failure, Outcome, reason},
    farewell,
    hints::{self, Facts},
    opening,
    output::show,
    reload::{self, Fixed, Read},
    render::{style, wrap},
    runtime::block_on_beside_writer,
    signals,
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
    // Before there are threads.
    let (inherited, notifier) = (systemd::inherited()?, Notifier::of_environment());
    let printer = telemetry::start(&logging)?;
    for note in &notes {
        tracing::warn!(event = "configuration", "{note}");
    }
    block_on_beside_writer(async {
        let (stop, hangups) = signals::attend()?;
        let outside = Outside { stopping: farewell::of_server(), lost_lines: printer.lost(), inherited };
        let (server, kept) = start(plan, outside).await?;
        if style::is_terminal() {
            show(&wrap::results(&hints::server(&Facts::of(&server, &kept))));
        }
        let (reloader, pulse, serving) = (server.reloader(), server.pulse(), serving(&server));
        notifier.ready(&serving);
        let take_over = async |plan: Plan| take_over(&reloader, &plan).await;
        let told = (notifier.clone(), serving);
        let stopped = async {
            stop.asked().await;
            notifier.stopping();
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

/// What it does, for the service manager.
fn serving(server: &Server) -> String {
    format!("taking webhooks at {}", server.public_addr())
}

/// Takes over what the configuration file declares by now.
async fn take_over(reloader: &Reloader, plan: &Plan) {
    if let Err(error) = reloader.reload(plan.declared()).await {
        tracing::error!(event = "reload_failed", %error, "what the configuration file declares is not in use");
    }
}

/// Opens the store, completes the secrets and starts the server.
///
/// # Errors
/// In words for whoever started it.
pub(crate) async fn start(plan: Plan, outside: Outside) -> Result<(Server, Kept), Failure> {
    descriptors::raise_limit();
    let store = opening::open(Options { disk_reserve: plan.disk_reserve(), ..Options::new(plan.data_dir()) })?;
    start_over(plan, store, outside).await
}

/// The same where somebody tries things out, in a directory of a project: no file for a full disk, and nothing that
/// would be committed with the project.
///
/// # Errors
/// As [`start`].
pub(crate) async fn start_in_project(plan: Plan, outside: Outside) -> Result<(Server, Kept), Failure> {
    descriptors::raise_limit();
    let disk_reserve = plan.disk_reserve();
    let store = opening::open(Options { disk_reserve, ballast: false, ..Options::new(plan.data_dir()) })?;
    let ignore = plan.data_dir().join(".gitignore");
    if !ignore.exists() {
        let written = private::replace(&ignore, b"*\n");
        written.map_err(|error| credentials::not_writable(plan.data_dir(), &error))?;
    }
    start_over(plan, store, outside).await
}

/// The store comes first: it takes the lock, so that two starts at once do not both make up secrets.
async fn start_over(plan: Plan, store: SqliteStore, outside: Outside) -> Result<(Server, Kept), Failure> {
    let data_dir = plan.data_dir().clone();
    let mut kept = credentials::complete(&data_dir, plan.given.clone())?;
    kept.public_url = plan.public_url();
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
    let asked = Asked::of(&config);
    let server = Server::start(config, Arc::new(store), outside).await.map_err(|error| start_failed(error, &asked))?;
    Ok((server, kept))
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
    data_dir: std::path::PathBuf,
}

impl Asked {
    fn of(config: &Config) -> Self {
        Self { admin: config.admin_listen, data_dir: config.data_dir.clone() }
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
            Failure::new(Exit::StoreFailed, format!("the store in {} failed: {error}", asked.data_dir.display()))
        }
        StartError::Registry(error @ RegistryError::Damaged { .. }) => {
            Failure::new(Exit::StoreFailed, error.to_string())
        }
        StartError::CaFile(error) => Failure::new(Exit::Configuration, error.to_string()),
        StartError::Certificate(error) => Failure::new(Exit::Configuration, error.to_string()),
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
