//! Configuration: file < environment < flags, every fault reported at once.
//!
//! [`settings`] is the table of all settings, [`kind`] what values they take; `layers` collects their values, `raw` reads the file, and `server`
//! and `client` build what the two processes take, which cannot hold a bad combination.

mod alert;
pub(crate) mod client;
mod encryption;
pub(crate) mod fault;
mod key_file;
pub mod kind;
pub(crate) mod layers;
mod lists;
pub(crate) mod misspelt;
pub(crate) mod proxy;
pub(crate) mod raw;
mod redis;
mod redis_url;
pub(crate) mod secret;
pub(crate) mod server;
pub mod settings;
pub(crate) mod target;
pub(crate) mod template;
pub(crate) mod text_file;
mod tls;
mod traces;
mod typed;

use std::path::PathBuf;

use self::{kind::Value, layers::Layers, settings::Process};
use crate::place;

pub(crate) use self::encryption::for_command as ciphers;

/// The Redis that the settings name; `None`: none. Faults are noted.
pub(crate) fn redis_options(layers: &mut Layers) -> Option<relay_store::redis::Options> {
    redis::options(layers)
}

/// The data directory: as given, else the usual one.
pub(crate) fn data_dir(layers: &Layers) -> PathBuf {
    layers.text("DATA_DIR").map_or_else(|| place::usual_data_dir(layers.process == Process::Dev), PathBuf::from)
}

/// Where a server on this machine may keep its things: where it is said to, else the usual places, the nearest first.
pub(crate) fn data_dirs(layers: &Layers) -> Vec<PathBuf> {
    let mut dirs = vec![data_dir(layers)];
    if layers.given("DATA_DIR").is_none() {
        dirs.extend([place::DEV_DATA_DIR, place::SERVICE_DATA_DIR].map(PathBuf::from));
    }
    dirs
}

/// The same in words.
pub(crate) fn looked_in(layers: &Layers) -> String {
    place::in_words(&data_dirs(layers))
}

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

#[cfg(test)]
mod manglings;
#[cfg(test)]
mod tests;
