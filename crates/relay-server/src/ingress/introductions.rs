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
    /// Somebody whose address has all the connections that one may have: that is counted and told.
    WithoutShare,
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
        if has_share {
            return Some(Introduced::In(brought));
        }
        self.books.no_share(self.listener, brought);
        Some(Introduced::WithoutShare)
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

#[cfg(test)]
mod tests {
    use relay_core::time::Wall;
    use relay_net::{
        proxies::{Behind, Field},
        serve::{self, Bounds, Connections, Serve},
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::timeout,
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{clock::Clock, tests::Lines};

    /// Answers a byte to whoever is brought and has a place, and is at work for him until he goes.
    struct Hall(Introductions);

    impl Serve<TcpStream> for Hall {
        async fn connection(&self, mut socket: TcpStream, origin: Origin, seat: Arc<Seated>, closing: &Closing) {
            let heard = self.0.hear(&mut socket, origin, &seat, closing, |_| 0).await;
            let Some(Introduced::In(_)) = heard else { return };
            seat.works();
            let _ = socket.write_all(b"!").await;
            let _ = socket.read(&mut [0]).await;
        }

        fn panicked(&self) {}
    }

    /// S36: at any listener whoever is brought by an address that has its share is closed, which is counted, and told once a minute.
    #[tokio::test]
    async fn whoever_has_no_share_is_counted_and_told_at_any_listener() {
        const STUCK: Duration = Duration::from_secs(60);
        let (lines, _guard) = Lines::listen();
        let books = Books { clock: Clock::start(Wall::default()), metrics: Arc::default(), refusals: Arc::default() };
        let trusted = ["127.0.0.1".parse().unwrap()].into_iter().collect();
        let proxies = Arc::new(Proxies { trusted, field: Field::XForwardedFor });
        let hall = Hall(Introductions::new("clients", Arc::clone(&proxies), books.clone(), STUCK));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let connections = Connections::new(Bounds { address: 1, ..Bounds::of(16) });
        let stop = CancellationToken::new();
        let served = serve::serve(Behind::new(listener, proxies), "clients", connections, Arc::new(hall), stop.clone());
        let served = tokio::spawn(served);
        let brought = async |last: u8| {
            let mut socket = TcpStream::connect(at).await.unwrap();
            let word = format!("PROXY TCP4 203.0.113.{last} 127.0.0.1 1 2\r\n");
            socket.write_all(word.as_bytes()).await.unwrap();
            let read = timeout(STUCK, socket.read(&mut [0])).await.expect("it is answered, or closed");
            (socket, read.is_ok_and(|read| read == 1))
        };
        let first = brought(1).await;
        assert!(first.1);
        for _ in 0..2 {
            assert!(!brought(1).await.1, "that address has its share");
        }
        assert!(brought(2).await.1, "another has not");
        assert_eq!(books.metrics.refused_of(UNKNOWN).into_iter().collect::<Vec<_>>(), [("store_unavailable", 2)]);
        let written = lines.written();
        assert_eq!(lines.of("share_full"), 1, "{written}");
        assert!(written.contains("listener=\"clients\"") && written.contains("203.0.113.1"), "{written}");
        drop(first);
        stop.cancel();
        timeout(STUCK, served).await.expect("the listener ends").unwrap();
    }
}
