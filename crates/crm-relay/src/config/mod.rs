//! Configuration: file < environment < flags, every fault reported at once.
//!
//! [`settings`] is the table of all settings; [`layers`] collects their values, [`raw`] reads the file, and [`server`]
//! and [`client`] build what the two processes take, which cannot hold a bad combination.

pub(crate) mod client;
pub(crate) mod fault;
pub(crate) mod layers;
pub(crate) mod misspelt;
pub(crate) mod proxy;
pub(crate) mod quantity;
pub(crate) mod raw;
pub(crate) mod secret;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod target;

use std::path::PathBuf;

use self::{
    layers::Layers,
    settings::{Process, Value},
};

/// The data directory: as given, else `$STATE_DIRECTORY` (set by systemd), else one below the working directory.
pub(crate) fn data_dir(layers: &Layers) -> PathBuf {
    match (layers.text("DATA_DIR"), layers.process) {
        (Some(given), _) => PathBuf::from(given),
        (None, Process::Dev) => PathBuf::from(DEV_DATA_DIR),
        (None, Process::Server | Process::Client | Process::Command) => match state_directory() {
            Some(path) => path,
            None => PathBuf::from("./crm-relay-data"),
        },
    }
}

/// Where `dev` keeps its things unless told otherwise.
pub(crate) const DEV_DATA_DIR: &str = "./crm-relay-dev";

/// Where the service keeps them: what `StateDirectory=crm-relay` makes.
pub(crate) const SERVICE_DATA_DIR: &str = "/var/lib/crm-relay";

/// A variable of the process's environment; one that is not UTF-8 counts as garbled text, so that its check names it.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The names of all variables of the process's environment.
pub(crate) fn environment_names() -> impl Iterator<Item = String> {
    std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned())
}

/// How the process logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logging {
    /// JSON instead of text.
    pub(crate) json: bool,
    /// Least severity.
    pub(crate) level: String,
    /// Without the hub's lines about single destinations and deliveries: somebody tells of them in words.
    pub(crate) hides_notices: bool,
}

impl Logging {
    /// From the settings.
    pub(crate) fn from_layers(layers: &Layers) -> Self {
        Self {
            json: layers.value("LOG_FORMAT") == Some(Value::Text("json".to_owned())),
            level: layers.text("LOG_LEVEL").unwrap_or_else(|| "info".to_owned()),
            hides_notices: false,
        }
    }
}

fn state_directory() -> Option<PathBuf> {
    // systemd separates several with colons; the first is ours.
    let value = environment("STATE_DIRECTORY").filter(|value| !value.is_empty())?;
    value.split(':').next().map(PathBuf::from)
}

#[cfg(test)]
mod tests;
