//! A listener's side of TLS: the handshake, and the certificate that is shown in it, which may be another by the next one.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{self, Ticketer, sign::any_supported_type},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{Acceptor, ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, server::TlsStream};

use super::Identity;

/// The only protocol that is offered: HTTP/2 is not spoken (RFC 7301).
pub(super) const ALPN: &[u8] = b"http/1.1";
/// What an authority offers alone that checks whose a name is (RFC 8737).
const PROVING_ALPN: &[u8] = b"acme-tls/1";
/// What the first byte of a TLS connection is: a record of a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// A connection whose handshake is through.
pub type Stream = TlsStream<TcpStream>;

/// Speaks TLS 1.2 or 1.3 as a server, with the certificate that was shown last.
pub struct Server {
    config: Arc<ServerConfig>,
    shown: Arc<ShownHosts>,
    /// For authorities that check whose a name is.
    proving: Arc<ServerConfig>,
    proofs: Arc<Proofs>,
}

/// Which certificates are shown to whom.
#[derive(Clone, Copy, Debug)]
pub struct Shows<'a> {
    /// To who names no host, or one that none is for: he finds out.
    pub fallback: &'a Identity,
    /// To who asks for a host of theirs; of two for one host, the one that stands before.
    pub named: &'a [Identity],
    /// The same, for hosts that none of those is for, by its name or with a star.
    pub last: &'a [Identity],
}

/// Why a connection has come to no TLS.
#[derive(Debug)]
pub enum Unshaken {
    /// Its peer speaks no TLS, but something else: what it says is still to be read.
    Plain(TcpStream),
    /// Its peer was an authority, and has what it looked for.
    Proven,
    /// The handshake failed, took too long, or its peer has gone.
    Failed(io::Error),
}

impl Server {
    /// Shows the first of these identities from now on, and each of the others to who asks for a host of it.
    ///
    /// # Errors
    /// The TLS library takes none of its own defaults.
    pub fn new(first: &Identity, others: &[Identity]) -> Result<Arc<Self>, rustls::Error> {
        let named = [std::slice::from_ref(first), others].concat();
        let shown = Arc::new(ShownHosts(RwLock::new(Hosts::of(&Shows { fallback: first, named: &named, last: &[] }))));
        let mut config = configured(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>, ALPN)?;
        // What a peer needs to come back sooner is kept by him: nothing of it grows here.
        config.ticketer = Ticketer::new()?;
        let proofs = Arc::new(Proofs::default());
        let proving = configured(Arc::clone(&proofs) as Arc<dyn ResolvesServerCert>, PROVING_ALPN)?;
        Ok(Arc::new(Self { config: Arc::new(config), shown, proving: Arc::new(proving), proofs }))
    }

    /// Shows this certificate to an authority that checks whose this host is, until [`Self::forget_challenges`].
    ///
    /// It is no [`Identity`]: what it says to the authority is an extension that nobody else may pass over (RFC 8737, section 3).
    ///
    /// # Errors
    /// The key is of a kind that TLS has no use for.
    pub fn challenge(
        &self,
        host: &str,
        certificate: CertificateDer<'static>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<(), rustls::Error> {
        let proof = CertifiedKey::new(vec![certificate], any_supported_type(key)?);
        self.proofs.lock().insert(host.to_ascii_lowercase(), Arc::new(proof));
        self.proofs.are_any.store(true, Ordering::Release);
        Ok(())
    }

    /// There is nothing to be shown to authorities any more.
    pub fn forget_challenges(&self) {
        self.proofs.are_any.store(false, Ordering::Release);
        self.proofs.lock().clear();
    }

    /// What it shows, by whoever shows it too.
    pub(super) fn shown(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(&self.shown) as Arc<dyn ResolvesServerCert>
    }

    /// Shows others in every handshake from now on; connections that are open stay.
    pub fn show(&self, shows: &Shows<'_>) {
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Hosts::of(shows);
    }

    /// The handshake, within this time from the first byte awaited. Dropped, the connection is closed.
    ///
    /// # Errors
    /// [`Unshaken`].
    pub async fn accept(&self, socket: TcpStream, within: Duration) -> Result<Stream, Unshaken> {
        let too_slow = || Unshaken::Failed(io::ErrorKind::TimedOut.into());
        let shaken = async {
            let socket = begins_with_handshake(socket).await?;
            if self.proofs.are_any.load(Ordering::Acquire) {
                return Box::pin(self.accept_or_prove(socket)).await;
            }
            TlsAcceptor::from(Arc::clone(&self.config)).accept(socket).await.map_err(Unshaken::Failed)
        };
        timeout(within, shaken).await.unwrap_or_else(|_| Err(too_slow()))
    }

    /// The same while an authority is expected, which says by what it offers that it is one.
    async fn accept_or_prove(&self, socket: TcpStream) -> Result<Stream, Unshaken> {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), socket).await.map_err(Unshaken::Failed)?;
        let proves = begun.client_hello().alpn().is_some_and(|mut offered| offered.any(|word| word == PROVING_ALPN));
        let config = if proves { &self.proving } else { &self.config };
        let mut stream = begun.into_stream(Arc::clone(config)).await.map_err(Unshaken::Failed)?;
        if proves {
            // It has seen all that it came for; whether it hears the goodbye is its affair.
            let _ = stream.shutdown().await;
            return Err(Unshaken::Proven);
        }
        Ok(stream)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// TLS 1.2 or 1.3, which offers this protocol alone.
fn configured(resolver: Arc<dyn ResolvesServerCert>, alpn: &[u8]) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

/// What is shown to authorities, by host.
#[derive(Debug, Default)]
struct Proofs {
    shown: Mutex<BTreeMap<String, Arc<CertifiedKey>>>,
    /// There are some.
    are_any: AtomicBool,
}

impl Proofs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<CertifiedKey>>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Proofs {
    fn resolve(&self, asked: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.lock().get(&asked.server_name()?.to_ascii_lowercase()).cloned()
    }
}

/// The certificates of the next handshake.
#[derive(Debug)]
struct ShownHosts(RwLock<Hosts>);

impl ResolvesServerCert for ShownHosts {
    fn resolve(&self, asked: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let hosts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(hosts.find(asked.server_name())))
    }
}

/// Which certificate is shown to whom.
#[derive(Debug)]
struct Hosts {
    /// To who names no host, or one that no certificate is for: he finds out.
    fallback: Arc<CertifiedKey>,
    /// By host, in lower case; empty where there is but one certificate.
    named: BTreeMap<String, Arc<CertifiedKey>>,
}

impl Hosts {
    fn of(Shows { fallback, named, last }: &Shows<'_>) -> Self {
        let mut hosts = Self { fallback: Arc::clone(fallback.key()), named: BTreeMap::new() };
        if named.len() + last.len() < 2 {
            return hosts;
        }
        for identity in *named {
            for host in identity.hosts() {
                hosts.named.entry(host.clone()).or_insert_with(|| Arc::clone(identity.key()));
            }
        }
        for identity in *last {
            for host in identity.hosts() {
                if hosts.named(host).is_none() {
                    hosts.named.insert(host.clone(), Arc::clone(identity.key()));
                }
            }
        }
        hosts
    }

    fn find(&self, asked: Option<&str>) -> &Arc<CertifiedKey> {
        let named = |asked: &str| self.named(&asked.to_ascii_lowercase());
        asked.filter(|_| !self.named.is_empty()).and_then(named).unwrap_or(&self.fallback)
    }

    /// The one that is for a host, in lower case.
    fn named(&self, host: &str) -> Option<&Arc<CertifiedKey>> {
        let wild = || self.named.get(&format!("*.{}", host.split_once('.')?.1));
        self.named.get(host).or_else(wild)
    }
}

/// Whoever has gone before he said anything looked whether the port is open.
pub(super) async fn begins_with_handshake(socket: TcpStream) -> Result<TcpStream, Unshaken> {
    let mut first = [0];
    match socket.peek(&mut first).await.map_err(Unshaken::Failed)? {
        0 => Err(Unshaken::Failed(io::ErrorKind::UnexpectedEof.into())),
        _ if first[0] != HANDSHAKE => Err(Unshaken::Plain(socket)),
        _ => Ok(socket),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::{
        DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        pki_types::{ServerName, UnixTime},
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::trusting;

    const WITHIN: Duration = Duration::from_secs(5);

    fn made() -> (Identity, CertificateDer<'static>) {
        made_for(&["relay.test"])
    }

    fn made_for(hosts: &[&str]) -> (Identity, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let certificate = CertificateParams::new(hosts).unwrap().self_signed(&key).unwrap();
        let (pem, key) = (certificate.pem(), key.serialize_pem());
        let identity = Identity::of((pem.as_bytes(), Path::new("a")), (key.as_bytes(), Path::new("b"))).unwrap();
        (identity, certificate.der().clone())
    }

    /// What an authority looks for, with the extension that only it takes.
    fn proof_for(host: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(&[7; 32])];
        (params.self_signed(&key).unwrap().der().clone(), key.into())
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
        let server = Server::new(&first, &[]).unwrap();
        let mut open = Vec::new();
        for (identity, der) in [(&first, first_der), (&second, second_der)] {
            server.show(&Shows { fallback: identity, named: &[], last: &[] });
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

    /// Each host has its certificate; who asks for none that there is gets the first.
    #[tokio::test]
    async fn each_host_is_shown_its_certificate() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let first = made_for(&["relay.test"]);
        let others = [made_for(&["hooks.test", "*.hooks.test"]), made_for(&["a.hooks.test", "relay.test"])];
        let server = Server::new(&first.0, &others.each_ref().map(|(identity, _)| identity.clone())).unwrap();
        for (asked, wanted) in [
            ("relay.test", &first.1),
            ("hooks.test", &others[0].1),
            ("HOOKS.test", &others[0].1),
            ("b.hooks.test", &others[0].1),
            ("a.hooks.test", &others[1].1),
            ("b.a.hooks.test", &first.1),
            ("other.test", &first.1),
            ("192.0.2.7", &first.1),
        ] {
            let trusted = [first.1.clone(), others[0].1.clone(), others[1].1.clone()];
            let mut config = (*trusting(&trusted).unwrap()).clone();
            config.dangerous().set_certificate_verifier(Arc::new(Whatever));
            let (here, there) = pair(&listener).await;
            let connector = TlsConnector::from(Arc::new(config));
            let name = ServerName::try_from(asked).unwrap();
            let (peer, shaken) = tokio::join!(connector.connect(name, here), server.accept(there, WITHIN));
            let (peer, _shaken) = (peer.unwrap(), shaken.unwrap());
            let shown = peer.get_ref().1.peer_certificates().unwrap();
            assert_eq!(&shown[0], wanted, "{asked}");
        }
    }

    /// What stands where one is still to come gives way to another that is for the host, by its name or with a star.
    #[test]
    fn what_is_shown_last_takes_no_host_from_another() {
        let [waits, wild, own] =
            [&["a.test", "b.test", "c.test"][..], &["*.test"], &["b.test"]].map(|of| made_for(of).0);
        let key = |hosts: &Hosts, asked| Arc::as_ptr(hosts.find(Some(asked)));
        let is = |identity: &Identity| Arc::as_ptr(identity.key());
        let named = [own.clone()];
        let hosts = Hosts::of(&Shows { fallback: &own, named: &named, last: std::slice::from_ref(&waits) });
        assert_eq!(["a.test", "b.test", "x.test"].map(|asked| key(&hosts, asked)), [is(&waits), is(&own), is(&own)]);
        let named = [wild.clone()];
        let hosts = Hosts::of(&Shows { fallback: &wild, named: &named, last: std::slice::from_ref(&waits) });
        assert_eq!(["a.test", "b.test"].map(|asked| key(&hosts, asked)), [is(&wild), is(&wild)]);
        let named = [wild, waits.clone()];
        let hosts = Hosts::of(&Shows { fallback: &waits, named: &named, last: &[] });
        assert_eq!(key(&hosts, "a.test"), is(&waits), "the name itself is nearer than a star");
    }

    /// Takes any certificate: what is shown is looked at afterwards.
    #[derive(Debug)]
    struct Whatever;

    impl ServerCertVerifier for Whatever {
        fn verify_server_cert(
            &self,
            _shown: &CertificateDer<'_>,
            _others: &[CertificateDer<'_>],
            _name: &ServerName<'_>,
            _ocsp: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }

    /// RFC 8737: while an authority is expected it is shown its own certificate and nothing is spoken with it; others are served
    /// meanwhile, and afterwards it is nobody.
    #[tokio::test]
    async fn an_authority_is_shown_what_it_looks_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ((shown, der), (proof, key)) = (made(), proof_for("relay.test"));
        let server = Server::new(&shown, &[]).unwrap();
        let come = async |alpn: &[u8], host: &'static str| {
            let mut config = (*trusting(std::slice::from_ref(&der)).unwrap()).clone();
            config.dangerous().set_certificate_verifier(Arc::new(Whatever));
            config.alpn_protocols = vec![alpn.to_vec()];
            let (here, there) = pair(&listener).await;
            let connector = TlsConnector::from(Arc::new(config));
            let name = ServerName::try_from(host).unwrap();
            let (peer, shaken) = tokio::join!(connector.connect(name, here), server.accept(there, WITHIN));
            let shown = peer.ok().map(|peer| peer.get_ref().1.peer_certificates().unwrap()[0].clone());
            (shown, shaken)
        };
        assert!(matches!(come(PROVING_ALPN, "relay.test").await, (None, Err(Unshaken::Failed(_)))));
        server.challenge("Relay.test", proof.clone(), &key).unwrap();
        let (found, shaken) = come(PROVING_ALPN, "relay.test").await;
        assert!(matches!(shaken, Err(Unshaken::Proven)), "nothing is spoken");
        assert_eq!(found, Some(proof));
        assert!(matches!(come(PROVING_ALPN, "other.test").await, (None, Err(Unshaken::Failed(_)))));
        let (found, shaken) = come(ALPN, "relay.test").await;
        assert!(shaken.is_ok());
        assert_eq!(found.as_ref(), Some(&der));
        server.forget_challenges();
        assert!(matches!(come(PROVING_ALPN, "relay.test").await, (None, Err(Unshaken::Failed(_)))));
    }

    #[tokio::test]
    async fn whoever_speaks_no_tls_is_told_from_who_says_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new(&made().0, &[]).unwrap();
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
