//! Why a server does not start.

use std::{fmt, io, path::PathBuf};

use relay_core::{
    fault::{Fault, Retry},
    storage::StoreError,
};
use relay_net::tls::{AuthoritiesError, IdentityError};

use crate::{config::Difference, fetch::CaFileError, registry::RegistryError};

/// Settings that one line names.
const SHOWN: usize = 8;

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener could not be bound.
    #[error("cannot listen on {addr}: {source}. {}", bind_advice(.source))]
    Bind {
        /// Where.
        addr: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file below the data directory could not be written.
    #[error("cannot write {}: {source}. Give the directory to the user that runs the relay", .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file with further certificate authorities cannot be used.
    #[error(transparent)]
    CaFile(#[from] CaFileError),
    /// What the public listener is to show of itself cannot be shown.
    #[error(transparent)]
    Certificate(#[from] IdentityError),
    /// The authorities of the clients' certificates cannot be used.
    #[error(transparent)]
    Clients(#[from] AuthoritiesError),
    /// The registry did not read, or the configuration file declares what cannot be.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Other servers run on the store, and share another configuration.
    #[error("other servers run on this store with another configuration: {0}")]
    Differs(Disagreement),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StartError {
    /// Who has to change something.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Bind { .. }
            | Self::Write { .. }
            | Self::CaFile(_)
            | Self::Certificate(_)
            | Self::Clients(_)
            | Self::Differs(_) => Fault::Operator,
            Self::Registry(error) => error.fault(),
            Self::Store(error) => error.fault(),
        }
    }

    /// Whether starting again may succeed.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Bind { .. } => Retry::Backoff,
            Self::Write { .. } | Self::CaFile(_) | Self::Certificate(_) | Self::Clients(_) | Self::Differs(_) => {
                Retry::Never
            }
            Self::Registry(error) => error.retry(),
            Self::Store(error) => error.retry(),
        }
    }
}

/// Servers that differ from what this one is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// In what.
    pub differences: Vec<Difference>,
    /// With whom.
    pub servers: Vec<String>,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&listed(&self.differences))?;
        write!(f, " (theirs: {})", self.servers.join(", "))
    }
}

/// Differences, in words.
pub(crate) fn listed(differences: &[Difference]) -> String {
    let shown = differences.iter().take(SHOWN);
    let shown = shown.map(|found| format!("{} is {} here and {} there", found.setting, found.mine, found.theirs));
    let more = differences.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("{more} more"));
    shown.chain(more).collect::<Vec<_>>().join("; ")
}

fn bind_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "Another program listens there: stop it, or choose another port",
        io::ErrorKind::PermissionDenied => "Ports below 1024 need the capability CAP_NET_BIND_SERVICE: choose another",
        io::ErrorKind::AddrNotAvailable => "This machine has no such address",
        _ => "Choose another address",
    }
}
