//! The way to a server tried step by step, for whoever wants to know at which one it ends.
//!
//! The same steps as [`Dialer::dial`] takes, with the same configuration; a session that opens says nothing and is closed.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
};

use relay_core::client::DialFailure;
use relay_net::dial::{self, DialError, Peer, Stream};
use tokio::{net::TcpStream, time::Instant};
use tokio_util::either::Either;

use super::{DIAL_TIMEOUT, Dialer, words};
use crate::unreached::{Whose, explain};

/// Addresses that are named.
const ADDRESSES_SHOWN: usize = 4;

/// A step on the way to a server, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The name of the server, or of the proxy, has an address.
    Name,
    /// The proxy leads to the server.
    Proxy,
    /// The server takes a connection.
    Connection,
    /// It is encrypted, and the server's certificate is one that is trusted.
    Tls,
    /// A relay server of this version opens a session.
    Session,
    /// A WebSocket carries it. Where that fails, requests do: it costs latency, and nothing else.
    Transport,
    /// It takes the token.
    Token,
}

/// What came of the steps that were tried, in their order: the last one may have failed, and what follows was not tried.
pub type Steps = Vec<(Step, Result<String, String>)>;

impl Step {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Proxy => "proxy",
            Self::Connection => "connection",
            Self::Tls => "tls",
            Self::Session => "session",
            Self::Transport => "transport",
            Self::Token => "token",
        }
    }
}

impl Dialer {
    /// Tries each step, within the time of one attempt.
    pub async fn probe(&self) -> Steps {
        let mut steps = Steps::new();
        // What failed stands in them.
        let _tried = self.probe_into(&mut steps).await;
        steps
    }

    /// `None`: a step failed.
    async fn probe_into(&self, steps: &mut Steps) -> Option<()> {
        let deadline = Instant::now() + DIAL_TIMEOUT;
        let (host, port) = self.peer.proxy.as_ref().map_or((self.peer.host.as_str(), self.peer.port), dial::place);
        if !is_address(host) {
            let found = within(deadline, host, dial::lookup(host, port)).await;
            let found = found.map(|found| format!("{host} is {}", shown(&found)));
            push(steps, Step::Name, found)?;
        }
        let step = if self.peer.proxy.is_some() { Step::Proxy } else { Step::Connection };
        let plain = Peer { tls: None, ..self.peer.clone() };
        let (tcp, said) = match plain.dial_until(deadline).await {
            Ok(Either::Left(tcp)) => (Some(tcp), Ok(self.connected(host, port))),
            Ok(Either::Right(_)) => (None, Err("it is encrypted already".to_owned())),
            Err(error) => (None, Err(explained(&error))),
        };
        push(steps, step, said)?;
        let stream = match &self.peer.tls {
            None => Either::Left(tcp?),
            Some(_) => self.encrypted(tcp?, deadline, steps).await?,
        };
        self.session(stream, deadline, steps).await
    }

    fn connected(&self, host: &str, port: u16) -> String {
        match self.peer.proxy {
            Some(_) => format!("the proxy {host}:{port} leads to {}", self.peer),
            None => format!("{} takes connections", self.peer),
        }
    }

    async fn encrypted(&self, tcp: TcpStream, deadline: Instant, steps: &mut Steps) -> Option<Stream> {
        let config = self.peer.tls.clone()?;
        let encrypted = tokio::time::timeout_at(deadline, dial::encrypt(tcp, &self.peer.host, config)).await;
        let encrypted = match encrypted {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(explained(&DialError::Encrypt { peer: self.peer.to_string(), source })),
            Err(_) => Err(explained(&DialError::Silent(self.peer.to_string()))),
        };
        let said = encrypted.as_ref().map(|stream| format!("{}, with a certificate that is trusted", version(stream)));
        push(steps, Step::Tls, said.map_err(Clone::clone))?;
        encrypted.ok()
    }

    async fn session(&self, stream: Stream, deadline: Instant, steps: &mut Steps) -> Option<()> {
        let opened = tokio::time::timeout_at(deadline, self.open(stream)).await;
        let opened =
            opened.unwrap_or_else(|_| Err(DialFailure::Failed(format!("no answer from {}", self.peer)).into()));
        let (opened, carried) = match opened {
            Ok(transport) => (Ok(transport), Ok("a WebSocket carries it".to_owned())),
            Err(unopened) if self.choice().asked_for_websocket() || !(unopened.is_cut || unopened.is_silent) => {
                (Err(unopened.failure), Ok(String::new()))
            }
            Err(unopened) => match self.poll().await {
                Err(DialFailure::Failed(_)) => (Err(unopened.failure), Ok(String::new())),
                polled => {
                    (polled, Err(format!("requests carry it (long-poll), no WebSocket: {}", words(&unopened.failure))))
                }
            },
        };
        let is_server = || Ok(format!("{} is a relay server of this version", self.peer));
        match opened {
            Ok(transport) => {
                transport.close(VecDeque::new()).await;
                push(steps, Step::Session, is_server())?;
                // It goes on either way.
                let _ = push(steps, Step::Transport, carried);
                push(steps, Step::Token, Ok("the server takes it".to_owned()))
            }
            Err(DialFailure::TokenRefused) => {
                push(steps, Step::Session, is_server())?;
                push(
                    steps,
                    Step::Token,
                    Err("the server does not know it: it is mistyped, revoked or another server's".into()),
                )
            }
            Err(DialFailure::VersionRefused) => {
                push(steps, Step::Session, Err("the server speaks another version of the protocol".to_owned()))
            }
            Err(DialFailure::Later { why, .. } | DialFailure::Failed(why)) => push(steps, Step::Session, Err(why)),
        }
    }
}

/// `None`: it failed.
fn push(steps: &mut Steps, step: Step, came: Result<String, String>) -> Option<()> {
    let went = came.is_ok();
    steps.push((step, came));
    went.then_some(())
}

fn explained(error: &DialError) -> String {
    explain(error, Whose::Server)
}

async fn within<T>(deadline: Instant, host: &str, step: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout_at(deadline, step).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(source)) => Err(explained(&DialError::Connect { peer: host.to_owned(), source })),
        Err(_) => Err(format!("the resolver does not answer for {host}")),
    }
}

fn is_address(host: &str) -> bool {
    host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

fn shown(found: &[SocketAddr]) -> String {
    let mut addresses: Vec<String> = found.iter().map(|found| found.ip().to_string()).collect();
    addresses.dedup();
    let more = addresses.len().saturating_sub(ADDRESSES_SHOWN);
    addresses.truncate(ADDRESSES_SHOWN);
    addresses.extend((more > 0).then(|| format!("{more} more")));
    addresses.join(", ")
}

fn version(stream: &Stream) -> &'static str {
    let Either::Right(tls) = stream else { return "not encrypted" };
    match tls.get_ref().1.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(_) | None => "TLS 1.2",
    }
}
