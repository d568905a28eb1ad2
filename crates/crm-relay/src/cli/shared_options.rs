//! What many commands share: their options, and the way they print.

use std::{future::Future, io::Write as _, num::NonZeroUsize, path::PathBuf};

use clap::Args;

use super::{listing::Form, setting_flags::secret_value};
use crate::{
    config::{
        self, DEV_DATA_DIR, SERVICE_DATA_DIR,
        layers::{Flags, Layers},
        settings::Process,
    },
    exit::{Exit, Failure},
    render::{visible::safe, wrap},
};

/// Options of every command that talks to a server.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Common {
    /// Configuration file [default: ./crm-relay.toml, if there is one]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Finding the server")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory of the server on this machine [default: the first of ./crm-relay-data, ./crm-relay-dev and
    /// /var/lib/crm-relay in which one runs]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Finding the server")]
    pub(crate) data_dir: Option<String>,
    #[arg(
        help = "Admin API of a server elsewhere, with ADMIN_TOKEN",
        long,
        value_name = "URL",
        global = true,
        help_heading = "Finding the server"
    )]
    pub(crate) admin_url: Option<String>,
    /// Token of that admin API: @FILE, or - for standard input
    #[arg(
        long,
        value_name = "TOKEN|@FILE|-",
        global = true,
        help_heading = "Finding the server",
        allow_hyphen_values = true
    )]
    pub(crate) admin_token: Option<String>,
    /// Print JSON
    #[arg(long, global = true, display_order = 900)]
    pub(crate) json: bool,
    /// Shorten nothing to fit the terminal
    #[arg(long, global = true, display_order = 901, conflicts_with = "json", hide_short_help = true)]
    pub(crate) wide: bool,
}

impl Common {
    /// How to tell what was found.
    pub(crate) const fn form(&self) -> Form {
        match (self.json, self.wide) {
            (true, _) => Form::Json,
            (false, true) => Form::Wide,
            (false, false) => Form::Words,
        }
    }

    /// The settings that concern commands.
    ///
    /// # Errors
    /// Faults in them.
    pub(crate) fn layers(&self) -> Result<Layers, Failure> {
        let mut flags = Flags::new();
        flags.extend(self.data_dir.clone().map(|dir| ("DATA_DIR", dir)));
        flags.extend(self.admin_url.clone().map(|url| ("ADMIN_URL", url)));
        if let Some(token) = &self.admin_token {
            let token = secret_value(token).map_err(|why| Failure::usage(format!("--admin-token: {why}")))?;
            flags.insert("ADMIN_TOKEN", token);
        }
        let layers = Layers::collect(Process::Command, self.config.as_deref(), &flags, &config::environment);
        if layers.faults.0.is_empty() { Ok(layers) } else { Err(layers.faults.into()) }
    }
}

/// Where a server on this machine may keep its things: where it is said to, else the usual places, the nearest first.
pub(crate) fn data_dirs(layers: &Layers) -> Vec<PathBuf> {
    let mut dirs = vec![config::data_dir(layers)];
    if layers.given("DATA_DIR").is_none() {
        dirs.extend([DEV_DATA_DIR, SERVICE_DATA_DIR].map(PathBuf::from));
    }
    dirs
}

/// The same in words.
pub(crate) fn looked_in(layers: &Layers) -> String {
    let dirs: Vec<String> = data_dirs(layers).iter().map(|dir| dir.display().to_string()).collect();
    match dirs.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => dirs.concat(),
    }
}

/// `K=V` and `K=@FILE` options.
///
/// # Errors
/// No `=`, or a file that cannot be read.
pub(crate) fn parameters(given: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let pair = |text: &String| {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage("--set: want NAME=VALUE, NAME=@FILE, or NAME=- for standard input"))?;
        let value = secret_value(value).map_err(|why| Failure::usage(format!("--set {}: {why}", name.trim())))?;
        Ok((name.trim().to_owned(), value))
    };
    given.iter().map(pair).collect()
}

/// Prints a result. Lines and colours are ours; nothing else in it steers the terminal.
///
/// # Errors
/// Standard output is gone.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{}", safe(text))?;
    Ok(out.flush()?)
}

/// Prints sentences: on a terminal they are broken between words.
///
/// # Errors
/// Standard output is gone.
pub(crate) fn tell(text: &str) -> Result<(), Failure> {
    print(&wrap::results(text))
}

/// Says something beside the result.
pub(crate) fn say(text: &str) {
    anstream::eprintln!("{}", safe(&wrap::beside(text)));
}

/// Runs a command's future to its end.
///
/// # Errors
/// Those of the future, and no threads.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    run_on(tokio::runtime::Builder::new_multi_thread().enable_all(), future)
}

/// Runs a server's future to its end, beside a store whose writer is a thread of its own.
///
/// One worker fewer than there are cores: on two cores, two workers and the writer take turns at being pushed aside, and
/// the commit that all senders wait for comes later (`make bench`, rows `ingest_64` and `ingest_256`).
///
/// # Errors
/// Those of the future, and no threads.
pub(crate) fn block_on_beside_writer<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = cores.saturating_sub(1).max(1);
    run_on(tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(workers), future)
}

fn run_on<T>(
    builder: &mut tokio::runtime::Builder,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime =
        builder.build().map_err(|error| Failure::new(Exit::StoreFailed, format!("cannot start threads: {error}")))?;
    let ended = runtime.block_on(future);
    // All that had to end in its order has ended with the future. What is left are threads that wait for the system, such as
    // for a name that no resolver answers: they cannot be told to stop, and nobody wants their answer.
    runtime.shutdown_background();
    ended
}
