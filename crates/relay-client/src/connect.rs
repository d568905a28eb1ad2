//! Byte streams to the server and to targets: TCP, and TLS over it. The command line reaches a remote admin API this way
//! too.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use relay_providers::CertificatesFault;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, InvalidMessage,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName},
};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use crate::trust::Named;

/// A byte stream, encrypted or not.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// After this long without traffic the kernel starts to ask whether the peer is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);

/// How long an address is tried alone before the next one of the same name is tried beside it (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Whose certificate it is, and so where its authority is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The relay server's.
    Server,
    /// A target's.
    Target,
}

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

/// TLS 1.2 or 1.3 that trusts what the operating system trusts, and the certificates of `ca_file` too: as authorities, and
/// each as what it is.
///
/// # Errors
/// [`TlsError`]: no roots, or a file that holds none.
pub fn tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    let extra = ca_file.map_or_else(|| Ok(Vec::new()), certificates)?;
    let verifier = if extra.is_empty() {
        Verifier::new(provider.clone())?
    } else {
        Verifier::new_with_extra_roots(extra.iter().cloned(), provider.clone())?
    };
    let verifier = Named::new(Arc::new(verifier), &extra, &provider);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let name = || file.display().to_string();
    let bytes = std::fs::read(file).map_err(|source| TlsError::CaFile { file: name(), source })?;
    let found =
        relay_providers::certificates(&bytes).map_err(|source| TlsError::Certificates { file: name(), source })?;
    Ok(found.into_iter().map(CertificateDer::from).collect())
}

/// A TCP connection, tuned for small messages that must not wait, to the first address of `host` that takes it.
///
/// # Errors
/// Those of the network.
pub async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = first_of(addresses(bare(host), port).await?).await?;
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_AFTER);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// The addresses of a host, IPv4 and IPv6 by turns in the resolver's order. `localhost` is this machine by both, whatever a
/// resolver knows (RFC 6761 section 6.3): a server under development may listen at either.
async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if is_localhost(host) {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.take(ADDRESSES_MAX).collect();
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let by_turns = std::iter::from_fn(|| Some([first.next(), second.next()])).take(ADDRESSES_MAX);
    Ok(by_turns.flatten().flatten().collect())
}

fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_below =
        |name: &str| name.len() > 10 && name.as_bytes()[name.len() - 10..].eq_ignore_ascii_case(b".localhost");
    host.eq_ignore_ascii_case("localhost") || is_below(host)
}

/// The first address to which a connection comes about: each has a moment alone, and an earlier one may still win.
async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut left = addresses.into_iter();
    let mut tries = FuturesUnordered::new();
    let mut failed = None;
    loop {
        tries.extend(left.next().map(TcpStream::connect));
        // Cancel safety: connections under way stay in `tries`.
        tokio::select! {
            done = tries.next() => match done {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failed = failed.or(Some(error)),
                None => break,
            },
            () = tokio::time::sleep(STAGGER), if left.len() > 0 => {}
        }
    }
    Err(failed.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "failed to lookup address information: none")))
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

/// Whether an answer in plain HTTP says that the port speaks TLS: the words of nginx, Go's server, Apache, and Tomcat.
pub(crate) fn wants_tls(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    [
        "plain http request was sent to https port",
        "http request to an https server",
        "speaking plain http to an ssl-enabled server port",
        "combination of host and port requires tls",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// What went wrong on the way to `peer`, in words that say where to look.
pub fn explain(error: &io::Error, peer: &str, whose: Whose) -> String {
    if let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        return explain_tls(error, peer, whose);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("connection refused by {peer}; is anything listening there?"),
        io::ErrorKind::TimedOut => format!("no answer from {peer}"),
        io::ErrorKind::ConnectionReset => format!("connection reset by {peer}"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => format!("no route to {peer}"),
        io::ErrorKind::UnexpectedEof => {
            format!("{peer} closed the connection during the TLS handshake; does it speak TLS? if not, use http://")
        }
        io::ErrorKind::InvalidData => format!("TLS with {peer} failed: {error}"),
        _ if error.to_string().contains("lookup") => format!("cannot resolve the name in {peer}: {error}"),
        _ => format!("cannot connect to {peer}: {error}"),
    }
}

fn explain_tls(error: &rustls::Error, peer: &str, whose: Whose) -> String {
    let file = match whose {
        Whose::Server => "RELAY_CA_FILE",
        Whose::Target => "ca_file of its [destination.NAME]",
    };
    match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!("{peer} speaks no TLS, but plain HTTP as it seems; use http://")
        }
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_),
        ) => {
            format!(
                "the certificate of {peer} is not trusted ({error}): give that of its authority, or itself, as a PEM file in {file}"
            )
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "the certificate of {peer} is another host's ({error}): use a name that it holds, or a certificate with this one as subjectAltName"
        ),
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("the certificate of {peer} has expired ({error}); is the clock of this machine right?")
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => format!("the certificate of {peer} is not valid yet ({error}); is the clock of this machine right?"),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) | rustls::Error::PeerIncompatible(_) => {
            format!("{peer} does not speak TLS 1.2 or 1.3 as this client does: {error}")
        }
        _ => format!("TLS with {peer} failed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn localhost_is_known_in_every_spelling() {
        for host in ["localhost", "LocalHost", "localhost.", "app.localhost", "a.b.LOCALHOST"] {
            assert!(is_localhost(host), "{host}");
        }
        for host in ["localhost.example.com", "notlocalhost", ".localhost", "127.0.0.1", "ä-localhost", ""] {
            assert!(!is_localhost(host), "{host}");
        }
    }

    /// A server under development listens at one of both addresses, and nobody knows which.
    #[tokio::test]
    async fn localhost_is_reached_at_either_address() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let stream = tcp("localhost", listener.local_addr().unwrap().port()).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
        }
    }

    #[tokio::test]
    async fn an_address_that_is_not_there_does_not_hide_the_next() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = first_of(vec![gone, there.local_addr().unwrap()]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there.local_addr().unwrap());
        let refused = first_of(vec![gone]).await.unwrap_err();
        assert!(explain(&refused, "h:1", Whose::Target).contains("refused"), "{refused}");
        assert!(first_of(Vec::new()).await.is_err());
    }

    #[test]
    fn a_failed_handshake_names_the_way_out() {
        let explain =
            |error: rustls::Error, whose| explain(&io::Error::new(io::ErrorKind::InvalidData, error), "h:1", whose);
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(explain(unknown(), Whose::Server).contains("RELAY_CA_FILE"));
        assert!(explain(unknown(), Whose::Target).contains("ca_file"));
        let plain = explain(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType), Whose::Server);
        assert!(plain.contains("plain HTTP") && plain.contains("http://"), "{plain}");
    }
}
