//! Whom balancers bring, as they say before anything else on a connection (the PROXY protocol): at whichever listeners ask that of them.

use std::{io, sync::Arc, time::Duration};

use relay_net::{
    origin::{Address, Origin},
    proxies::Proxies,
    proxy_protocol::{self, Missing, Said},
    serve::{Closing, Seated, Wanted},
};
use tokio::net::TcpStream;

use super::{
    porch::{Books, UNKNOWN},
    seat::unless_given_up,
};

/// What is counted and told of a connection that begins with something else.
const KIND: &str = "no_proxy_header";

/// A listener on which each connection begins with the word of a trusted proxy; whoever comes without is not heard.
#[derive(Clone)]
pub(crate) struct Introductions {
    proxies: Arc<Proxies>,
    books: Books,
    listener: &'static str,
    within: Duration,
}

/// Whom a proxy brings on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Introduced {
    /// Somebody who has a place, from there.
    In(Origin),
    /// Somebody whose address has all the connections that one may have.
    WithoutShare(Origin),
}

impl Introductions {
    /// For the listener of this name, each within this time.
    pub(crate) const fn new(listener: &'static str, proxies: Arc<Proxies>, books: Books, within: Duration) -> Self {
        Self { proxies, books, listener, within }
    }

    /// The proxies that are heard.
    pub(crate) fn proxies(&self) -> Arc<Proxies> {
        Arc::clone(&self.proxies)
    }

    /// Hears whom a proxy brings; none if that is nobody, or the connection has to give way meanwhile. `full` is asked for places in the
    /// share of whom it brings.
    pub(crate) async fn hear(
        &self,
        socket: &mut TcpStream,
        origin: Origin,
        seat: &Seated,
        closing: &Closing,
        full: impl Fn(Wanted) -> usize,
    ) -> Option<Introduced> {
        let brought = self.word(socket, origin, seat, closing).await?;
        if brought.address == Address::Proxy {
            return Some(Introduced::In(brought));
        }
        // Who waits for a share gives way like one that has said nothing.
        let has_share = unless_given_up(seat, closing, seat.brings(brought.address, full)).await?;
        Some(if has_share { Introduced::In(brought) } else { Introduced::WithoutShare(brought) })
    }

    async fn word(&self, socket: &mut TcpStream, origin: Origin, seat: &Seated, closing: &Closing) -> Option<Origin> {
        if !origin.ip().is_some_and(|ip| self.proxies.trust(ip)) {
            self.no_word(origin, "another address than TRUSTED_PROXIES has");
            return None;
        }
        let taken = proxy_protocol::take(socket, self.within);
        // Cancel safety: whoever has said nothing yet has asked for nothing.
        match unless_given_up(seat, closing, taken).await? {
            Ok(Said::From(from)) => Some(self.proxies.connected(origin.brought(from.ip(), Some(from.port())))),
            Ok(Said::Nobody) => Some(self.proxies.for_itself(origin)),
            // Whoever looks whether the port is open.
            Err(Missing::Failed(error)) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(Missing::Failed(error)) => {
                tracing::debug!(%error, "a proxy said nothing before its connection");
                None
            }
            Err(Missing::Another) => {
                self.no_word(origin, "something else than a header of the PROXY protocol");
                None
            }
        }
    }

    /// Counts a connection that is closed since no trusted proxy said whom it brings, and tells that there are such.
    fn no_word(&self, origin: Origin, came: &'static str) {
        self.books.metrics.refused(UNKNOWN, KIND);
        // No source has such a name.
        let of_listener = format!("/{}", self.listener);
        if let Some(left_out) = self.books.refusals.may_tell(&of_listener, KIND, self.books.clock.now().mono) {
            tracing::warn!(
                event = KIND,
                listener = self.listener,
                peer = origin.shown(),
                came,
                left_out,
                "closed: where PROXY_PROTOCOL names a listener, each of its connections begins with the word of a trusted proxy"
            );
        }
    }
}
