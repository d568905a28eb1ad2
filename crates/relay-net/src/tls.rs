//! One way to set up TLS, and to read the certificates that it trusts.

mod certificate;
mod clients;
mod identity;
mod named;
mod pem;
mod pin;
mod presented;
mod server;

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig,
    client::danger::ServerCertVerifier,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::CertificateDer,
};
use rustls_platform_verifier::Verifier;

pub use clients::{Authorities, AuthoritiesError, Clients};
pub use identity::{Identity, IdentityError};
pub use pem::{CertificatesFault, KeyFault, certificates, private_key};
pub use pin::Pin;
pub use presented::Presented;
pub use server::{Server, Shows, Stream, Unshaken};

use named::Named;
use pin::Pinned;

/// Why TLS cannot be set up. Found at start, before anything is dialled.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file with extra roots cannot be read.
    #[error("failed to read certificates from {file}")]
    CaFile {
        /// Which file.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file with extra roots does not hold what it should.
    #[error("failed to read certificates from {file}")]
    Certificates {
        /// Which file.
        file: String,
        /// What it holds.
        #[source]
        source: CertificatesFault,
    },
    /// The roots were refused by the TLS library.
    #[error("failed to set up TLS")]
    Rustls(#[from] rustls::Error),
}

/// TLS 1.2 or 1.3 that trusts what the operating system trusts, and the certificates of `ca_file` too: as authorities, and
/// each as what it is.
///
/// # Errors
/// [`TlsError`]: no roots, or a file that holds none.
pub fn client(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    presenting(ca_file, &[], None)
}

/// The same, which talks only to who has one of these keys besides, with none of them to anybody it trusts; and shows a certificate of
/// its own to who asks for one.
///
/// # Errors
/// [`TlsError`]: no roots, or a file that holds none.
pub fn presenting(
    ca_file: Option<&Path>,
    pins: &[Pin],
    presented: Option<Arc<Presented>>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let extra = ca_file.map_or_else(|| Ok(Vec::new()), certificates_in)?;
    Ok(configured(&extra, pins, presented)?)
}

/// The same with certificates that were read before.
///
/// # Errors
/// No roots, or none that the TLS library takes.
pub fn trusting(extra: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, rustls::Error> {
    configured(extra, &[], None)
}

fn configured(
    extra: &[CertificateDer<'static>],
    pins: &[Pin],
    presented: Option<Arc<Presented>>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(extra, pins, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(Arc::new(match presented {
        None => config.with_no_client_auth(),
        Some(presented) => config.with_client_cert_resolver(presented),
    }))
}

fn verifier(
    extra: &[CertificateDer<'static>],
    pins: &[Pin],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    let verifier = if extra.is_empty() {
        Verifier::new(Arc::clone(provider))?
    } else {
        Verifier::new_with_extra_roots(extra.iter().cloned(), Arc::clone(provider))?
    };
    let verifier = Arc::new(Named::new(Arc::new(verifier), extra, provider));
    Ok(if pins.is_empty() { verifier } else { Arc::new(Pinned::new(verifier, pins)) })
}

/// The certificates in a file.
///
/// # Errors
/// It cannot be read, or holds something else.
pub fn certificates_in(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let name = || file.display().to_string();
    let bytes = std::fs::read(file).map_err(|source| TlsError::CaFile { file: name(), source })?;
    certificates(&bytes).map_err(|source| TlsError::Certificates { file: name(), source })
}
