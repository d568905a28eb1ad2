//! Byte streams to the server and to targets: TCP, and TLS over it. The command line reaches a remote admin API this way
//! too.

use std::{io, path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

/// A byte stream, encrypted or not.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// After this long without traffic the kernel starts to ask whether the peer is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);

/// Why TLS cannot be set up. Found at start, before anything is dialled.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file with extra roots cannot be read, or is not PEM.
    #[error("failed to read certificates from {file}")]
    CaFile {
        /// Which file.
        file: String,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The file with extra roots holds none.
    #[error("no certificate in {0}")]
    NoCertificate(String),
    /// The roots were refused by the TLS library.
    #[error("failed to set up TLS")]
    Rustls(#[from] rustls::Error),
}

impl TlsError {
    /// Who has to change something: whoever runs the client.
    pub const fn fault(&self) -> relay_core::fault::Fault {
        relay_core::fault::Fault::Operator
    }

    /// Whether trying again helps: not before files change.
    pub const fn retry(&self) -> relay_core::fault::Retry {
        relay_core::fault::Retry::Never
    }
}

/// TLS 1.2 or 1.3 that trusts what the operating system trusts, and the certificates of `ca_file` too.
///
/// # Errors
/// [`TlsError`]: no roots, or a file that holds none.
pub fn tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    let extra = ca_file.map_or_else(|| Ok(Vec::new()), certificates)?;
    let verifier = if extra.is_empty() {
        Verifier::new(provider.clone())?
    } else {
        Verifier::new_with_extra_roots(extra, provider.clone())?
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let name = || file.display().to_string();
    let read = |source| TlsError::CaFile { file: name(), source };
    let found: Vec<_> = CertificateDer::pem_file_iter(file).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    if found.is_empty() { Err(TlsError::NoCertificate(name())) } else { Ok(found) }
}

/// A TCP connection, tuned for small messages that must not wait.
///
/// # Errors
/// Those of the network.
pub async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((bare(host), port)).await?;
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_AFTER);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// TLS over a TCP connection, for `host`.
///
/// # Errors
/// Those of the network, and a certificate that is not trusted or not `host`'s.
pub async fn encrypt(stream: TcpStream, host: &str, config: Arc<ClientConfig>) -> io::Result<Stream> {
    let name = ServerName::try_from(bare(host).to_owned())
        .map_err(|error: InvalidDnsNameError| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(Either::Right(Box::new(TlsConnector::from(config).connect(name, stream).await?)))
}

/// A host without the brackets that a URL puts around an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// What went wrong on the way to `peer`, in words that say where to look.
pub fn explain(error: &io::Error, peer: &str) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("connection refused by {peer}; is anything listening there?"),
        io::ErrorKind::TimedOut => format!("no answer from {peer}"),
        io::ErrorKind::ConnectionReset => format!("connection reset by {peer}"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => format!("no route to {peer}"),
        io::ErrorKind::UnexpectedEof => {
            format!("{peer} closed the connection during the TLS handshake; does it speak TLS?")
        }
        io::ErrorKind::InvalidData => format!("TLS with {peer} failed: {error}"),
        _ if error.to_string().contains("lookup") => format!("cannot resolve the name in {peer}: {error}"),
        _ => format!("cannot connect to {peer}: {error}"),
    }
}
