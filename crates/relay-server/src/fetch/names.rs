//! Who knows the addresses of names.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::net::lookup_host;

/// The system's resolver by default.
#[derive(Clone, Default)]
pub struct Names(Option<Arc<Lookup>>);

/// Takes a host.
type Lookup = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

impl Names {
    /// Asks `lookup` instead. Tests have names of their own here; no setting does.
    pub fn new(lookup: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(lookup)))
    }

    /// All addresses of a host, with a port.
    ///
    /// # Errors
    /// Those of the resolver.
    pub(super) async fn of(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match &self.0 {
            None => Ok(lookup_host((host, port)).await?.collect()),
            Some(lookup) => Ok(lookup(host).into_iter().map(|address| (address, port).into()).collect()),
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Names(given)" } else { "Names(system)" })
    }
}
