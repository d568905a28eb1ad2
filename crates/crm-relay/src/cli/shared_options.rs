//! What many commands share: their options.

use std::path::PathBuf;

use clap::Args;
use relay_providers::{Parameter, providers};
use relay_store::redis;

use super::{listing::Form, setting_flags::warn_of_bare};
use crate::{
    config::{
        self,
        layers::{Flags, Layers, is_of_redis},
        settings::Process,
        text_file,
    },
    exit::Failure,
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
            warn_of_bare("--admin-token", token, Some("ADMIN_TOKEN"));
            let token = text_file::argument(token).map_err(|why| Failure::usage(format!("--admin-token: {why}")))?;
            flags.insert("ADMIN_TOKEN", token);
        }
        let layers = Layers::collect(Process::Command, self.config.as_deref(), &flags, &config::environment);
        if layers.faults.0.is_empty() { Ok(layers) } else { Err(layers.faults.into()) }
    }

    /// The Redis that the settings of a server name, or the one at this URL with what else they say; `None`: they name none.
    ///
    /// # Errors
    /// Faults in them.
    pub(crate) fn redis(&self, url: Option<&str>) -> Result<Option<redis::Options>, Failure> {
        let mut flags = Flags::new();
        flags.extend(self.data_dir.clone().map(|dir| ("DATA_DIR", dir)));
        flags.extend(url.map(|url| ("REDIS_URL", url.to_owned())));
        let mut layers = Layers::collect(Process::Server, self.config.as_deref(), &flags, &config::environment);
        // What else is wrong is for the server to say.
        layers.faults.0.retain(|fault| is_of_redis(&fault.name) || fault.name == "ENCRYPTION_KEY_FILE");
        let options = config::redis_options(&mut layers);
        if layers.faults.0.is_empty() { Ok(options) } else { Err(layers.faults.into()) }
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
        let is_named = |parameter: &Parameter| parameter.name == name.trim() && (parameter.secret || parameter.key);
        if name.trim() == "secret" || providers().iter().any(|provider| provider.parameters.iter().any(is_named)) {
            warn_of_bare(&format!("--set {}", name.trim()), value, None);
        }
        let value =
            text_file::argument(value).map_err(|why| Failure::usage(format!("--set {}: {why}", name.trim())))?;
        Ok((name.trim().to_owned(), value))
    };
    given.iter().map(pair).collect()
}
