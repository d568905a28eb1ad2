//! TLS of the commands: what the operating system trusts, and `RELAY_CA_FILE`.

use std::{error::Error as _, path::PathBuf, sync::Arc};

use relay_net::tls;
use rustls::ClientConfig;

use crate::{
    config::layers::Layers,
    exit::{Exit, Failure},
};

/// Whom the commands trust.
///
/// # Errors
/// `RELAY_CA_FILE` cannot be read, or there are no roots at all.
pub(crate) fn config(layers: &Layers) -> Result<Arc<ClientConfig>, Failure> {
    let ca_file = layers.text("RELAY_CA_FILE").map(PathBuf::from);
    tls::client(ca_file.as_deref()).map_err(|error| {
        let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
        Failure::new(Exit::Configuration, format!("cannot use TLS: {error}{cause}"))
    })
}
