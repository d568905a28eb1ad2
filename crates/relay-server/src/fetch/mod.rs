//! Fetches what lives at a URL of a provider: keys and certificates that its requests are checked with, confirmations; and sends
//! what an operator is told (`post.rs`).
//!
//! **Invariant:** https with a certificate that holds, no redirects, a bounded answer in a bounded time, and never an
//! address inside the operator's network: strangers have a say in when and what is fetched.

mod address;
mod keyring;
mod names;
mod post;
mod proxy;
mod shelf;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use relay_core::limits;
use relay_net::{
    dial::{self, encrypt},
    shortage::Shortage,
    tls::{self, TlsError},
};
use rustls::{ClientConfig, pki_types::CertificateDer};
use tokio::{net::TcpStream, time::timeout};

pub(crate) use address::may_be_public;
pub(crate) use keyring::Keyring;
pub use names::Names;
pub(crate) use post::{Asked, Post};
pub use proxy::ProxyChoice;

/// Whom keys and certificates are fetched from: a port that is no other service's.
const PORT: u16 = 443;
/// Bytes of the answer's head and of what is buffered of its body.
const BUFFER_BYTES: usize = 64 * 1024;

/// How keys and certificates of providers are fetched.
#[derive(Clone, Debug, Default)]
pub struct Fetching {
    /// `RELAY_CA_FILE`: authorities beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Which proxy leads to a URL.
    pub proxy: ProxyChoice,
    /// Hosts whose address is known: neither looked up nor judged. Tests name servers of their own here; no setting does.
    pub pinned: BTreeMap<String, SocketAddr>,
    /// Who knows the addresses of all others, which are judged.
    pub names: Names,
}

/// `RELAY_CA_FILE` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read certificates from RELAY_CA_FILE {}: {what}", .file.display())]
pub struct CaFileError {
    file: PathBuf,
    what: String,
}

/// What was to be fetched was not: from which host, and why. Shown to operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host}: {why}")]
pub(crate) struct Unfetched {
    /// From whom; the rest of the URL is the sender's.
    pub(crate) host: String,
    /// Why not.
    pub(crate) why: String,
    /// It is this machine that lacks something.
    pub(crate) is_ours: bool,
    /// What was answered, if that is why.
    pub(crate) status: Option<StatusCode>,
}

/// What an exchange came to nothing of.
#[derive(Debug)]
struct Failed {
    why: String,
    is_ours: bool,
    /// Somebody was reached, and it is his TLS or HTTP that does not hold.
    is_theirs: bool,
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self { why, is_ours: false, is_theirs: false }
    }
}

impl From<&str> for Failed {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

impl Failed {
    /// At a step that takes a descriptor, a port or memory of this machine.
    fn at(what: &str, error: &io::Error) -> Self {
        Self { why: format!("{what}: {error}"), is_ours: Shortage::of(error).is_some(), is_theirs: false }
    }

    /// At what whoever was reached says.
    fn of_peer(why: String) -> Self {
        Self { why, is_ours: false, is_theirs: true }
    }
}

/// Fetches; one try each.
#[derive(Debug, Default)]
pub(crate) struct Fetcher {
    fetching: Fetching,
    roots: Vec<CertificateDer<'static>>,
    /// Made with the first fetch: a server that never fetches needs no roots.
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

/// Where a URL leads.
struct Target {
    host: String,
    path: String,
}

impl Fetcher {
    /// A fetcher.
    ///
    /// # Errors
    /// When `RELAY_CA_FILE` does not read.
    pub(crate) fn new(fetching: Fetching) -> Result<Self, CaFileError> {
        let roots = fetching.ca_file.as_deref().map_or_else(|| Ok(Vec::new()), certificates)?;
        Ok(Self { fetching, roots, tls: OnceLock::new() })
    }

    /// What is at `url`.
    ///
    /// # Errors
    /// Why not, for the operator.
    pub(crate) async fn get(&self, url: &str) -> Result<Bytes, Unfetched> {
        let no_host = |why: &str| Unfetched { host: "no host".into(), why: why.into(), is_ours: false, status: None };
        let target = Target::of(url).map_err(no_host)?;
        let fetched = match timeout(limits::FETCH_TIMEOUT, self.exchange(&target)).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("no whole answer within {} s", limits::FETCH_TIMEOUT.as_secs()).into()),
        };
        fetched.map_err(|Failed { why, is_ours, .. }| Unfetched { host: target.host, why, is_ours, status: None })
    }

    async fn exchange(&self, target: &Target) -> Result<Bytes, Failed> {
        let tls = self.tls.get_or_init(|| self.make_tls()).clone()?;
        let url = proxy::url(&target.host).ok_or("not a URL")?;
        let stream = self.connect(&url, &target.host, PORT, false).await?;
        let stream = encrypt(stream, &target.host, tls).await.map_err(|error| format!("TLS: {error}"))?;
        let said = |error: hyper::Error| format!("no HTTP answer: {error}");
        let connection = http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream));
        let (mut sender, connection) = connection.await.map_err(said)?;
        let request = Request::get(target.path.as_str())
            .header(header::HOST, &*proxy::authority(&target.host))
            .header(header::USER_AGENT, HeaderValue::from_static(concat!("crm-relay/", env!("CARGO_PKG_VERSION"))))
            .header(header::ACCEPT, HeaderValue::from_static("*/*"))
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(said)?;
            if response.status() != StatusCode::OK {
                return Err(format!("status {}; want 200, and redirects are not followed", response.status().as_u16()));
            }
            let body = Limited::new(response.into_body(), limits::FETCHED_BYTES_MAX).collect().await;
            let body = body.map_err(|error| format!("no whole body of at most 64 KiB: {error}"))?;
            Ok(body.to_bytes())
        };
        Ok(beside(exchange, connection).await?)
    }

    /// A byte stream to a port of the host of `url`, at an address of the public internet unless others are allowed.
    async fn connect(&self, url: &Uri, host: &str, port: u16, allow_private: bool) -> Result<TcpStream, Failed> {
        let said = |error: io::Error| Failed::at("cannot connect", &error);
        if let Some(address) = self.fetching.pinned.get(host) {
            return dial::tcp_to(vec![*address]).await.map_err(said);
        }
        match self.fetching.proxy.of_url(url) {
            None => dial::tcp_to(self.found(host, port, allow_private).await?).await.map_err(said),
            Some(proxy) if dial::takes_addresses_alone(&proxy) => {
                let found = self.found(host, port, allow_private).await?;
                let hosts: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
                proxy::tunnel(&proxy, &hosts, port).await
            }
            // The proxy looks the name up; an address of its own network must not be asked for by number or bare name.
            Some(proxy) => {
                let may = may_be_public(host) || allow_private;
                if may { proxy::tunnel(&proxy, &[host.to_owned()], port).await } else { Err(NOT_PUBLIC.into()) }
            }
        }
    }

    /// The addresses of a host, if all of them may be dialled: one bad address is enough, for who answers like that has something else
    /// in mind.
    async fn found(&self, host: &str, port: u16, allow_private: bool) -> Result<Vec<SocketAddr>, Failed> {
        // A resolver without a descriptor says that the name is not known.
        let unknown = |error: io::Error| Failed::at("cannot resolve the name", &Shortage::now().unwrap_or(error));
        let found = self.fetching.names.of(host, port).await.map_err(unknown)?;
        let may = !found.is_empty() && (allow_private || found.iter().all(|found| address::is_public(found.ip())));
        if may { Ok(found) } else { Err(NOT_PUBLIC.into()) }
    }

    /// TLS that trusts what the operating system trusts, and `RELAY_CA_FILE` too.
    fn make_tls(&self) -> Result<Arc<ClientConfig>, String> {
        tls::trusting(&self.roots).map_err(|error| format!("no root certificates: {error}"))
    }
}

const NOT_PUBLIC: &str = "its address is not one of the public internet";

impl Target {
    fn of(url: &str) -> Result<Self, &'static str> {
        let url: Uri = url.parse().map_err(|_| "not a URL")?;
        if url.scheme_str() != Some("https") {
            return Err("not https");
        }
        let authority = url.authority().ok_or("not a URL")?;
        if authority.as_str().contains('@') || authority.port_u16().is_some_and(|port| port != PORT) {
            return Err("a URL with a login or a port of its own");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err("no host");
        }
        let path = url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        Ok(Self { host, path })
    }
}

/// Drives a connection for as long as the exchange over it takes. Its own end is no end of the exchange, which may still
/// have something to read.
async fn beside<T>(exchange: impl Future<Output = T>, connection: impl Future<Output = Result<(), hyper::Error>>) -> T {
    let connection = connection.then(|_| std::future::pending::<T>());
    tokio::select! {
        done = exchange => done,
        never = connection => never,
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, CaFileError> {
    tls::certificates_in(file).map_err(|error| CaFileError {
        file: file.to_owned(),
        what: match error {
            TlsError::CaFile { source, .. } => source.to_string(),
            TlsError::Certificates { source, .. } => source.to_string(),
            TlsError::Rustls(error) => error.to_string(),
        },
    })
}
