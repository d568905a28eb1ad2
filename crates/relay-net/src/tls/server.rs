//! A listener's side of TLS: the handshake, and the certificate that is shown in it, which may be another by the next one.

use std::{
    fmt, io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{self, Ticketer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::Identity;

/// The only protocol that is offered: HTTP/2 is not spoken (RFC 7301).
const ALPN: &[u8] = b"http/1.1";
/// What the first byte of a TLS connection is: a record of a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// A connection whose handshake is through.
pub type Stream = TlsStream<TcpStream>;

/// Speaks TLS 1.2 or 1.3 as a server, with the certificate that was shown last.
pub struct Server {
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
}

/// Why a connection has come to no TLS.
#[derive(Debug)]
pub enum Unshaken {
    /// Its peer speaks no TLS, but something else: what it says is still to be read.
    Plain(TcpStream),
    /// The handshake failed, took too long, or its peer has gone.
    Failed(io::Error),
}

impl Server {
    /// Shows this identity from now on.
    ///
    /// # Errors
    /// The TLS library takes none of its own defaults.
    pub fn new(identity: &Identity) -> Result<Arc<Self>, rustls::Error> {
        let shown = Arc::new(Shown(RwLock::new(Arc::clone(identity.key()))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // What a peer needs to come back sooner is kept by him: nothing of it grows here.
        config.ticketer = Ticketer::new()?;
        Ok(Arc::new(Self { acceptor: TlsAcceptor::from(Arc::new(config)), shown }))
    }

    /// Shows another one in every handshake from now on; connections that are open stay.
    pub fn show(&self, identity: &Identity) {
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(identity.key());
    }

    /// The handshake, within this time from the first byte awaited. Dropped, the connection is closed.
    ///
    /// # Errors
    /// [`Unshaken`].
    pub async fn accept(&self, socket: TcpStream, within: Duration) -> Result<Stream, Unshaken> {
        let too_slow = || Unshaken::Failed(io::ErrorKind::TimedOut.into());
        let mut first = [0];
        let shaken = async {
            match socket.peek(&mut first).await {
                Ok(0) => Err(Unshaken::Failed(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) if first[0] != HANDSHAKE => Err(Unshaken::Plain(socket)),
                Ok(_) => self.acceptor.accept(socket).await.map_err(Unshaken::Failed),
                Err(error) => Err(Unshaken::Failed(error)),
            }
        };
        timeout(within, shaken).await.unwrap_or_else(|_| Err(too_slow()))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// The certificate of the next handshake, whatever name is asked for: whoever comes by another finds out.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _asked: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::{CertificateDer, ServerName};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::trusting;

    const WITHIN: Duration = Duration::from_secs(5);

    fn made() -> (Identity, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["relay.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (pem, key) = (certificate.pem(), key.serialize_pem());
        let identity = Identity::of((pem.as_bytes(), Path::new("a")), (key.as_bytes(), Path::new("b"))).unwrap();
        (identity, certificate.der().clone())
    }

    /// The two ends of one connection.
    async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let (here, there) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (here.unwrap(), there.unwrap().0)
    }

    #[tokio::test]
    async fn the_next_handshake_shows_the_certificate_of_the_day() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ((first, first_der), (second, second_der)) = (made(), made());
        let server = Server::new(&first).unwrap();
        let mut open = Vec::new();
        for (identity, der) in [(&first, first_der), (&second, second_der)] {
            server.show(identity);
            let connector = TlsConnector::from(trusting(std::slice::from_ref(&der)).unwrap());
            let (here, there) = pair(&listener).await;
            let name = ServerName::try_from("relay.test").unwrap();
            let (peer, shaken) = tokio::join!(connector.connect(name, here), server.accept(there, WITHIN));
            open.push((peer.expect("it is trusted"), shaken.expect("it is shaken")));
        }
        for (peer, shaken) in &mut open {
            shaken.write_all(b"still here").await.unwrap();
            shaken.flush().await.unwrap();
            let mut said = [0; 10];
            peer.read_exact(&mut said).await.unwrap();
            assert_eq!(&said, b"still here", "an open connection stays");
        }
    }

    #[tokio::test]
    async fn whoever_speaks_no_tls_is_told_from_who_says_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new(&made().0).unwrap();
        let (mut here, there) = pair(&listener).await;
        here.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let Err(Unshaken::Plain(mut there)) = server.accept(there, WITHIN).await else { panic!("it is plain") };
        let mut said = [0; 18];
        there.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"GET / HTTP/1.1\r\n\r\n", "nothing of it was taken");
        let (_silent, there) = pair(&listener).await;
        let shaken = server.accept(there, Duration::from_millis(20)).await;
        assert!(matches!(shaken, Err(Unshaken::Failed(error)) if error.kind() == io::ErrorKind::TimedOut));
        let (mut here, there) = pair(&listener).await;
        here.write_all(&[HANDSHAKE, 3, 1, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff]).await.unwrap();
        assert!(matches!(server.accept(there, WITHIN).await, Err(Unshaken::Failed(_))), "nor a hostile one");
    }
}
