//! Why a server does not start.

use std::{io, path::PathBuf};

use relay_core::{
    fault::{Fault, Retry},
    storage::StoreError,
};
use relay_net::tls::IdentityError;

use crate::{fetch::CaFileError, registry::RegistryError};

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
    /// The registry did not read, or the configuration file declares what cannot be.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StartError {
    /// Who has to change something.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Bind { .. } | Self::Write { .. } | Self::CaFile(_) | Self::Certificate(_) => Fault::Operator,
            Self::Registry(error) => error.fault(),
            Self::Store(_) => Fault::Resource,
        }
    }

    /// Whether starting again may succeed.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Bind { .. } => Retry::Backoff,
            Self::Write { .. } | Self::CaFile(_) | Self::Certificate(_) | Self::Store(_) => Retry::Never,
            Self::Registry(error) => error.retry(),
        }
    }
}

fn bind_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "Another program listens there: stop it, or choose another port",
        io::ErrorKind::PermissionDenied => "Ports below 1024 need the capability CAP_NET_BIND_SERVICE: choose another",
        io::ErrorKind::AddrNotAvailable => "This machine has no such address",
        _ => "Choose another address",
    }
}
