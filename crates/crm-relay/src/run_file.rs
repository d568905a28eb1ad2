//! `DATA_DIR/run.json`: where a serving server listens.

use std::{fs, path::Path};

use serde::Deserialize;

/// What a serving server says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct RunFile {
    /// Its process.
    pub(crate) pid: u32,
    /// Its public listener.
    pub(crate) public: String,
    /// Its admin listener, if it has one.
    #[serde(default)]
    pub(crate) admin: Option<String>,
}

impl RunFile {
    /// Reads it; `None`: no server ever served there, or the file is damaged.
    pub(crate) fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(data_dir.join("run.json")).ok()?).ok()
    }

    /// The public listener as a URL that works on this machine.
    pub(crate) fn public_url(&self) -> String {
        format!("http://{}", on_this_machine(&self.public))
    }
}

/// An address as a program on the same machine reaches it: "any address" is the loopback one.
pub(crate) fn on_this_machine(address: &str) -> String {
    match address.parse::<std::net::SocketAddr>() {
        Ok(parsed) if parsed.ip().is_unspecified() => format!("127.0.0.1:{}", parsed.port()),
        _ => address.to_owned(),
    }
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
