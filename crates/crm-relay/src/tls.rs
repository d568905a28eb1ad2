//! TLS of the commands: what the operating system trusts, and `RELAY_CA_FILE`.

use std::{error::Error, io, path::PathBuf, sync::Arc};

use relay_net::tls;
use rustls::{CertificateError, ClientConfig, InvalidMessage};

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

/// In words, why TLS with a port came to nothing, and what would be right; `None`: it was something else.
pub(crate) fn explain(error: &(dyn Error + 'static)) -> Option<String> {
    Some(match error_of(error)? {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "this port speaks no TLS, but plain HTTP as it seems; use http://".to_owned()
        }
        // Another authority would not make it another's.
        refused @ rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => refused.to_string(),
        refused @ rustls::Error::InvalidCertificate(_) => {
            format!("{refused} (RELAY_CA_FILE names further authorities)")
        }
        other => format!("TLS failed: {other}"),
    })
}

/// What TLS says, wherever it stands in a chain of causes: errors of IO keep what they are made of beside their cause.
fn error_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(here) = cause {
        if let Some(found) = here.downcast_ref() {
            return Some(found);
        }
        cause = match here.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => here.source(),
        };
    }
    None
}
