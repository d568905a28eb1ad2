//! Where things live on this machine: data directories, what lies in them by which name, and where a server listens.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Where `dev` keeps its things unless told otherwise.
pub(crate) const DEV_DATA_DIR: &str = "./crm-relay-dev";

/// Where the service keeps them: what `StateDirectory=crm-relay` makes.
pub(crate) const SERVICE_DATA_DIR: &str = "/var/lib/crm-relay";

/// The data directory of who is told none: `$STATE_DIRECTORY` (set by systemd), else one below the working directory.
pub(crate) fn usual_data_dir(of_dev: bool) -> PathBuf {
    if of_dev {
        return PathBuf::from(DEV_DATA_DIR);
    }
    state_directory().unwrap_or_else(|| PathBuf::from("./crm-relay-data"))
}

/// Directories that were looked into, in words.
pub(crate) fn in_words(dirs: &[PathBuf]) -> String {
    let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    match dirs.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => dirs.concat(),
    }
}

/// The secrets that nobody gave.
pub(crate) fn credentials(data_dir: &Path) -> PathBuf {
    data_dir.join("credentials")
}

/// The socket of the admin API.
pub(crate) fn admin_socket(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.sock")
}

/// Whether the path of that socket is one that the system takes.
///
/// # Errors
/// What would be right.
pub(crate) fn fits_a_socket(data_dir: &Path) -> Result<(), String> {
    /// Bytes of a socket's path on Linux, its end included.
    const SOCKET_PATH_BYTES: usize = 108;
    let spare = SOCKET_PATH_BYTES - "/admin.sock.new\0".len();
    let length = data_dir.as_os_str().len();
    if length <= spare {
        return Ok(());
    }
    Err(format!(
        "{length} bytes long; a socket is made in it, whose path the system limits: choose one of at most {spare}"
    ))
}

/// Whether a store can be read there.
pub(crate) fn holds_database(data_dir: &Path) -> bool {
    fs::metadata(data_dir.join("store.db")).is_ok_and(|found| found.len() > 0)
}

/// Whether a store is there, or what is left of one.
pub(crate) fn holds_store(data_dir: &Path) -> bool {
    holds_database(data_dir) || data_dir.join("ledger").exists()
}

/// What a serving server says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct RunFile {
    /// Its process.
    pub(crate) pid: u32,
    /// Its public listener.
    pub(crate) public: String,
    /// It speaks TLS.
    #[serde(default)]
    pub(crate) tls: bool,
    /// A name under which it is asked, where it is under some alone.
    #[serde(default)]
    pub(crate) host: Option<String>,
    /// `PUBLIC_URL`, if it knows that.
    #[serde(default)]
    pub(crate) url: Option<String>,
    /// It hears nobody whom no proxy brings by the PROXY protocol.
    #[serde(default)]
    pub(crate) proxy_protocol: bool,
    /// Its admin listener, if it has one.
    #[serde(default)]
    pub(crate) admin: Option<String>,
}

impl RunFile {
    /// Reads it; `None`: no server ever served there, or the file is damaged.
    pub(crate) fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(data_dir.join("run.json")).ok()?).ok()
    }

    /// The public listener as a URL that works on this machine: with TLS it is the one that its certificate has the name of.
    pub(crate) fn public_url(&self) -> String {
        match self.only_url() {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => url_on_this_machine(&self.public, self.tls),
        }
    }

    /// `PUBLIC_URL`, where its certificate has the name in that, and not the one of this machine.
    pub(crate) fn only_url(&self) -> Option<&str> {
        self.url.as_deref().filter(|_| self.tls)
    }
}

/// The URL of a listener as a program on the same machine reaches it.
pub(crate) fn url_on_this_machine(address: &str, tls: bool) -> String {
    format!("{}://{}", if tls { "https" } else { "http" }, on_this_machine(address))
}

/// An address as a program on the same machine reaches it: "any address" is the loopback one.
pub(crate) fn on_this_machine(address: &str) -> String {
    match address.parse::<std::net::SocketAddr>() {
        Ok(parsed) if parsed.ip().is_unspecified() => format!("127.0.0.1:{}", parsed.port()),
        _ => address.to_owned(),
    }
}

fn state_directory() -> Option<PathBuf> {
    // systemd separates several with colons; the first is ours.
    let value = std::env::var_os("STATE_DIRECTORY")?.to_string_lossy().into_owned();
    value.split(':').next().filter(|_| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_reached_over_loopback() {
        assert_eq!(on_this_machine("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(on_this_machine("[::]:8080"), "127.0.0.1:8080");
        assert_eq!(on_this_machine("192.0.2.1:8080"), "192.0.2.1:8080");
    }
}
