//! What an operator decides about a client, already checked.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use relay_core::name::Name;

use crate::Resigner;

/// Configuration of a client. Defaults stand in `relay_core::limits`.
#[derive(Clone)]
pub struct Config {
    /// Base URL of the server, `/connect` not yet appended; scheme `wss` or `ws`.
    pub relay_url: http::Uri,
    /// Token.
    pub token: String,
    /// What it serves; at least one.
    pub destinations: Vec<Destination>,
    /// `CLIENT_BUFFER`.
    pub buffer_bytes: u64,
    /// Proxy for the connection to the server: `RELAY_PROXY`, else `HTTPS_PROXY`/`HTTP_PROXY` unless `NO_PROXY` matches.
    pub proxy: Option<http::Uri>,
    /// Extra roots for the server's certificate, PEM.
    pub ca_file: Option<PathBuf>,
    /// Health and metrics of the client; off by default.
    pub listen: Option<SocketAddr>,
    /// `SHUTDOWN_GRACE`; larger than every forward timeout.
    pub shutdown_grace: Duration,
    /// `HEALTH_CHECK_INTERVAL`: one INFO summary line.
    pub summary_interval: Duration,
    /// A name for people: the host name.
    pub label: String,
}

/// One destination and its local target. The URL never leaves the client.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its name.
    pub name: Name,
    /// `http://` or `https://`; may carry a path and a query.
    pub url: http::Uri,
    /// `CONCURRENCY`.
    pub concurrency: u32,
    /// `FORWARD_TIMEOUT`.
    pub forward_timeout: Duration,
    /// Extra roots for the target's certificate, PEM.
    pub ca_file: Option<PathBuf>,
    /// Signs what is forwarded, in place of the sender's `webhook-*`.
    pub resign: Option<Resigner>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("relay_url", &self.relay_url)
            .field("token", &"redacted")
            .field("destinations", &self.destinations)
            .finish_non_exhaustive()
    }
}
