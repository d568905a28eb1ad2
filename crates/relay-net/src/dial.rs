//! Connections to where a host and a port lead: straight or through a proxy, HTTP or SOCKS, encrypted or not.

mod socks;
mod tunnel;

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http::Uri;
use rustls::{
    ClientConfig,
    pki_types::{InvalidDnsNameError, ServerName},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use crate::shortage::Shortage;

pub use socks::SocksError;
pub use tunnel::TunnelError;

/// A byte stream, encrypted or not.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// The port of an HTTP proxy whose URL names none.
const PROXY_PORT: u16 = 80;
/// After this long without traffic the kernel starts to ask whether the peer is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);

/// How long an address is tried alone before the next one of the same name is tried beside it (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Whom a connection leads to, and on which way.
#[derive(Clone)]
pub struct Peer {
    /// To which host; an IPv6 address with brackets or without.
    pub host: String,
    /// To which of its ports.
    pub port: u16,
    /// Through this proxy.
    pub proxy: Option<Uri>,
    /// Encrypted so.
    pub tls: Option<Arc<ClientConfig>>,
}

/// At which step a connection did not come about.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody took it at this place: the target or the proxy.
    #[error("cannot connect to {peer}")]
    Connect {
        /// Where.
        peer: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The proxy opened no tunnel.
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
    /// The proxy led nowhere.
    #[error(transparent)]
    Socks(#[from] SocksError),
    /// Somebody on the way said nothing until the deadline.
    #[error("no answer from {0}")]
    Silent(String),
    /// It could not be encrypted.
    #[error("TLS with {peer} failed")]
    Encrypt {
        /// With whom.
        peer: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl DialError {
    /// What this machine lacked for it; none if it was the peer's fault, or the way's.
    pub fn shortage(&self) -> Option<Shortage> {
        match self {
            Self::Connect { source, .. } | Self::Encrypt { source, .. } => Shortage::of(source),
            Self::Tunnel(_) | Self::Socks(_) | Self::Silent(_) => None,
        }
    }
}

impl Peer {
    /// A connection to it, however long that takes. Cancel-safe.
    ///
    /// # Errors
    /// [`DialError`]: at which step it ended.
    pub async fn dial(&self) -> Result<Stream, DialError> {
        self.dial_in(None).await
    }

    /// The same until a deadline, so that it is known who was waited for. Cancel-safe.
    ///
    /// # Errors
    /// [`DialError`]: at which step it ended.
    pub async fn dial_until(&self, deadline: Instant) -> Result<Stream, DialError> {
        self.dial_in(Some(deadline)).await
    }

    async fn dial_in(&self, deadline: Option<Instant>) -> Result<Stream, DialError> {
        let tcp = match &self.proxy {
            None => connected(&self.host, self.port, self.to_string(), deadline).await?,
            Some(proxy) => {
                let known = until(deadline, &self.to_string(), self.known_to(proxy)).await?;
                let hosts = known.map_err(|source| DialError::Connect { peer: self.to_string(), source })?;
                through(proxy, &hosts, self.port, deadline).await?
            }
        };
        let Some(config) = &self.tls else { return Ok(Either::Left(tcp)) };
        let peer = self.to_string();
        let encrypted = until(deadline, &peer, encrypt(tcp, &self.host, Arc::clone(config))).await?;
        encrypted.map_err(|source| DialError::Encrypt { peer, source })
    }

    /// The host as its proxy is told of it: by its addresses where the proxy is to look up no names.
    async fn known_to(&self, proxy: &Uri) -> io::Result<Vec<String>> {
        if !takes_addresses_alone(proxy) {
            return Ok(vec![self.host.clone()]);
        }
        let found = addresses(bare(&self.host), self.port).await?;
        Ok(found.iter().map(|address| address.ip().to_string()).collect())
    }
}

/// Where a proxy listens.
pub fn place(proxy: &Uri) -> (&str, u16) {
    let usual = if socks::looks_up(proxy).is_some() { socks::PORT } else { PROXY_PORT };
    (proxy.host().unwrap_or_default(), proxy.port_u16().unwrap_or(usual))
}

/// Whether a proxy is to be told addresses, and no names: `socks5://`.
pub fn takes_addresses_alone(proxy: &Uri) -> bool {
    socks::looks_up(proxy) == Some(false)
}

/// A connection through a proxy to a port of one of these hosts, with the login of the proxy's URL: the first to which it leads. A
/// refusal says nothing of the next one, which may be of the kind of address that the proxy has a way to. Cancel-safe.
///
/// # Errors
/// Of the first host: at which step it ended.
pub async fn through(
    proxy: &Uri,
    hosts: &[String],
    port: u16,
    deadline: Option<Instant>,
) -> Result<TcpStream, DialError> {
    let (at, at_port) = place(proxy);
    let named = format!("the proxy {at}:{at_port}");
    let mut refused = None;
    for host in hosts {
        let mut tcp = connected(at, at_port, named.clone(), deadline).await?;
        match until(deadline, &named, lead(&mut tcp, proxy, host, port)).await? {
            Ok(()) => return Ok(tcp),
            Err(error @ DialError::Socks(SocksError::Refused { .. })) => refused = refused.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| {
        let source = io::Error::new(io::ErrorKind::NotFound, "no address is known of it");
        DialError::Connect { peer: format!("the host behind {named}"), source }
    }))
}

async fn connected(host: &str, port: u16, peer: String, deadline: Option<Instant>) -> Result<TcpStream, DialError> {
    until(deadline, &peer, tcp(host, port)).await?.map_err(|source| DialError::Connect { peer, source })
}

/// Has the proxy behind `stream` lead to a port of a host.
async fn lead(stream: &mut TcpStream, proxy: &Uri, host: &str, port: u16) -> Result<(), DialError> {
    match socks::looks_up(proxy) {
        Some(_) => Ok(socks::lead(stream, proxy, (bare(host), port)).await?),
        None if host.contains(':') => Ok(tunnel::tunnel(stream, proxy, &format!("[{}]:{port}", bare(host))).await?),
        None => Ok(tunnel::tunnel(stream, proxy, &format!("{host}:{port}")).await?),
    }
}

/// A step with this peer, until the deadline if there is one.
async fn until<T>(deadline: Option<Instant>, peer: &str, step: impl Future<Output = T>) -> Result<T, DialError> {
    match deadline {
        None => Ok(step.await),
        Some(deadline) => timeout_at(deadline, step).await.map_err(|_| DialError::Silent(peer.to_owned())),
    }
}

impl fmt::Debug for Peer {
    /// The URL of a proxy may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (proxied, encrypted) = (self.proxy.is_some(), self.tls.is_some());
        write!(f, "Peer({self}, proxied: {proxied}, encrypted: {encrypted})")
    }
}

impl fmt::Display for Peer {
    /// `host:port`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A TCP connection, tuned for small messages that must not wait, to the first address of `host` that takes it.
///
/// # Errors
/// Those of the network.
pub async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    tcp_to(addresses(bare(host), port).await?).await
}

/// The same to the first of these addresses.
///
/// # Errors
/// Those of the network.
pub async fn tcp_to(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let stream = first_of(addresses).await?;
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_AFTER);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// The addresses that [`tcp`] tries.
///
/// # Errors
/// The resolver does not know the name, or does not answer.
pub async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    addresses(bare(host), port).await
}

/// The addresses of a host, IPv4 and IPv6 by turns in the resolver's order. `localhost` is this machine by both, whatever a
/// resolver knows (RFC 6761 section 6.3): a server under development may listen at either.
async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if is_localhost(host) {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    // A resolver without a descriptor says that the name is not known.
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| Shortage::now().unwrap_or(error))?;
    let found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
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
        tries.extend(left.next().map(connect));
        // Cancel safety: connections under way stay in `tries`.
        tokio::select! {
            done = tries.next() => match done {
                Some(Ok(stream)) => return Ok(stream),
                // What is lacking here says more than what an address answers.
                Some(Err(error)) if failed.is_none() || Shortage::of(&error).is_some() => failed = Some(error),
                Some(Err(_)) => {}
                None => break,
            },
            () = tokio::time::sleep(STAGGER), if left.len() > 0 => {}
        }
    }
    Err(failed.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "failed to lookup address information: none")))
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await.map_err(|error| Shortage::told_apart(error, address))
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

    /// Of a proxy that takes the connection and then says nothing, it is the proxy that is named, and not who is behind it.
    #[tokio::test]
    async fn whoever_is_waited_for_in_vain_is_named() {
        let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = hangs.local_addr().unwrap();
        let peer = |host: &str, port, proxy| Peer { host: host.to_owned(), port, proxy, tls: None };
        let proxied = peer("relay.example.com", 443, Some(format!("http://u:p@{address}").parse().unwrap()));
        let encrypted =
            Peer { tls: Some(crate::tls::trusting(&[]).unwrap()), ..peer("127.0.0.1", address.port(), None) };
        for (peer, named) in [(proxied, format!("the proxy {address}")), (encrypted, address.to_string())] {
            let dialled = peer.dial_until(Instant::now() + Duration::from_millis(200)).await;
            assert_eq!(dialled.err().unwrap().to_string(), format!("no answer from {named}"));
        }
    }

    /// A proxy that has no way to the first address of a host may have one to the next.
    #[tokio::test]
    async fn a_proxy_is_told_the_next_address_once_it_refuses_one() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy: Uri = format!("socks5://{}", listener.local_addr().unwrap()).parse().unwrap();
        let proxying = async {
            let mut asked = Vec::new();
            for reply in [3, 0] {
                let (mut socket, _) = listener.accept().await.unwrap();
                socket.read_exact(&mut [0; 3]).await.unwrap();
                socket.write_all(b"\x05\x00").await.unwrap();
                let mut request = vec![0; if reply == 0 { 10 } else { 22 }];
                socket.read_exact(&mut request).await.unwrap();
                socket.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                asked.push((request[3], socket));
            }
            asked
        };
        let hosts = ["2001:db8::1".to_owned(), "192.0.2.7".to_owned()];
        let (led, asked) = tokio::join!(through(&proxy, &hosts, 443, None), proxying);
        assert!(led.is_ok(), "{:?}", led.err());
        assert_eq!(asked.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [4, 1]);
        let nowhere = through(&proxy, &[], 443, None).await.unwrap_err();
        assert!(matches!(nowhere, DialError::Connect { .. }), "{nowhere}");
    }

    #[tokio::test]
    async fn an_address_that_is_not_there_does_not_hide_the_next() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = first_of(vec![gone, there.local_addr().unwrap()]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there.local_addr().unwrap());
        let refused = first_of(vec![gone]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(first_of(Vec::new()).await.is_err());
    }
}
