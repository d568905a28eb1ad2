//! The listener of clients alone: whoever has no certificate of one of their authorities never gets to ask anything.
//!
//! **Invariant:** nothing is read of a request before its peer's certificate was judged.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use relay_net::{
    origin::Origin,
    proxies::Behind,
    serve::{self, Bounds, Closing, Connections, Listening, Seated, Serve},
    tls::{self, Authorities, AuthoritiesError, Pin, Unshaken},
};
use tokio::{net::TcpStream, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    connect::Gate,
    error::{Code, Problem},
    ingress::{
        Answers, Body, Books, CONNECT, Connection, Flaw, Introduced, Introductions, NO_SESSIONS, POLL, Patience,
        unless_given_up,
    },
    outbox,
};

/// What the listener is called.
pub(crate) const NAME: &str = "clients";
/// How soon other authorities, and lists of what they have revoked, are gone by.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What is found another is read once more after this: it may be half written, and lists of what is revoked stand last.
const SETTLED: Duration = Duration::from_secs(1);
/// What requests of nobody's are counted under.
const UNKNOWN: &str = "unknown";

/// Whom a listener of clients takes, kept in step with its file.
#[derive(Clone, Debug)]
pub(crate) struct Trusted {
    file: PathBuf,
    in_use: Authorities,
    tls: Arc<tls::Clients>,
}

impl Trusted {
    /// Reads the file; what is shown to clients is what `shown` shows.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn open(file: &Path, shown: &tls::Server) -> Result<Self, AuthoritiesError> {
        let in_use = Authorities::in_file(file)?;
        let tls = Arc::new(tls::Clients::beside(shown, &in_use)?);
        Ok(Self { file: file.to_owned(), in_use, tls })
    }

    /// Who judges their certificates.
    pub(crate) fn tls(&self) -> Arc<tls::Clients> {
        Arc::clone(&self.tls)
    }

    /// Keeps it in step with its file for as long as it is polled. What is wrong with that is said once, and those of before are gone by.
    pub(crate) async fn keep(mut self) {
        let mut refused = None;
        loop {
            sleep(LOOK_EVERY).await;
            let mut found = self.look().await;
            if found.as_ref().is_ok_and(|found| *found != self.in_use) {
                sleep(SETTLED).await;
                let again = self.look().await;
                if again.as_ref().ok() != found.as_ref().ok() {
                    continue;
                }
                found = again;
            }
            self.take(found, &mut refused);
        }
    }

    /// What the file says now. A file system that is away holds up this task alone.
    async fn look(&self) -> Result<Authorities, AuthoritiesError> {
        let (file, name) = (self.file.clone(), self.file.display().to_string());
        let looked = tokio::task::spawn_blocking(move || Authorities::in_file(&file)).await;
        looked.unwrap_or_else(|error| Err(AuthoritiesError::File { file: name, source: error.into() }))
    }

    fn take(&mut self, found: Result<Authorities, AuthoritiesError>, refused: &mut Option<String>) {
        let file = self.file.display();
        let taken = match found {
            Ok(found) if found == self.in_use => Ok(false),
            Ok(found) => self.tls.trust(&found).map(|()| {
                self.in_use = found;
                true
            }),
            Err(error) => Err(error),
        };
        match taken {
            Ok(is_new) => {
                *refused = None;
                if is_new {
                    tracing::info!(event = "client_authorities_replaced", %file);
                }
            }
            Err(error) => {
                let error = error.to_string();
                if refused.as_ref() != Some(&error) {
                    tracing::warn!(event = "client_authorities_refused", %file, error, "those of before are gone by");
                    *refused = Some(error);
                }
            }
        }
    }
}

/// Serves until `stop`, then returns when the last connection has ended; sessions go on elsewhere.
pub(crate) async fn serve(
    listener: impl Listening<Socket = TcpStream> + Sync,
    gatehouse: Gatehouse,
    stop: CancellationToken,
) {
    let connections = Connections::new(Bounds::clients());
    // Only where they say whom they bring: TLS ends here, so that no field of theirs could.
    let proxies = gatehouse.introductions.as_ref().map(Introductions::proxies).unwrap_or_default();
    serve::serve(Behind::new(listener, proxies), NAME, connections, Arc::new(gatehouse), stop).await;
}

/// What answers clients there.
pub(crate) struct Gatehouse {
    pub(crate) tls: Arc<tls::Clients>,
    pub(crate) gate: Gate,
    pub(crate) books: Books,
    /// None: whoever comes is heard.
    pub(crate) introductions: Option<Introductions>,
}

impl Serve<TcpStream> for Gatehouse {
    async fn connection(&self, mut socket: TcpStream, mut origin: Origin, seat: Arc<Seated>, closing: &Closing) {
        // Best effort: without it answers only come later.
        let _ = socket.set_nodelay(true);
        outbox::prepare(&socket);
        if let Some(introductions) = &self.introductions {
            let heard = introductions.hear(&mut socket, origin, &seat, closing, |_| 0).await;
            let Some(Introduced::In(brought)) = heard else { return };
            origin = brought;
        }
        let patience = Patience::default();
        // Cancel safety: whoever has not shaken hands yet has asked for nothing.
        let shaking = self.tls.accept(socket, patience.handshake);
        let Some(shaken) = unless_given_up(&seat, closing, shaking).await else { return };
        let (socket, key) = match shaken {
            Ok(shaken) => shaken,
            Err(unshaken) => return self.refuse(unshaken, origin),
        };
        let origin = Origin { tls: true, ..origin };
        let connection = Connection { socket, seat: Arc::clone(&seat), patience, answers: Answers::Short };
        connection.drive(closing, |request| self.answer(&seat, origin, key, request)).await;
    }

    fn panicked(&self) {
        self.books.metrics.panicked();
    }

    fn refused(&self, origin: Origin) {
        self.books.no_share(NAME, origin);
    }
}

impl Gatehouse {
    /// Counts a handshake that came to nothing: without a certificate, or with one that is not trusted, not valid now, or revoked.
    fn refuse(&self, unshaken: Unshaken, origin: Origin) {
        match unshaken {
            Unshaken::Plain(_) => self.books.metrics.refused(UNKNOWN, "no_tls"),
            Unshaken::Proven => {}
            // Whoever looks whether the port is open, or has gone.
            Unshaken::Failed(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Unshaken::Failed(error) => {
                self.books.metrics.refused(UNKNOWN, "client_certificate");
                self.gate.no_certificate(origin, &error);
            }
        }
    }

    async fn answer(
        &self,
        seat: &Seated,
        origin: Origin,
        key: Pin,
        request: Result<Box<Request<Incoming>>, Flaw>,
    ) -> Response<Body> {
        let request = match request {
            Ok(request) => *request,
            Err(flaw) => return flaw.problem().respond(),
        };
        if request.uri().path() == POLL {
            return self.gate.poll(request, origin, Some(key)).await;
        }
        if request.uri().path() != CONNECT {
            return Problem::new(Code::NotFound, "this listener takes clients at /connect, and nothing else")
                .closing()
                .respond();
        }
        let response = self.gate.connect(request, origin, Some(key)).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS && !seat.begin_session() {
            return NO_SESSIONS.respond();
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use relay_net::tls::Identity;
    use rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName},
    };
    use tokio::{
        io::AsyncReadExt as _,
        net::TcpListener,
        time::{resume, timeout},
    };
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tests::Lines;

    /// Nothing here takes this long.
    const STUCK: Duration = Duration::from_secs(60);

    /// An authority with its certificate, and that in PEM.
    fn authority() -> (Issuer<'static, KeyPair>, CertificateDer<'static>, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let made = params.self_signed(&key).unwrap();
        let (der, pem) = (made.der().clone(), made.pem());
        (Issuer::new(params, key), der, pem)
    }

    fn issued(by: &Issuer<'static, KeyPair>) -> (KeyPair, rcgen::Certificate) {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, by).unwrap();
        (key, made)
    }

    /// Whether a client gets through that shows a certificate of this authority.
    async fn is_taken(tls: &tls::Clients, trusted: &CertificateDer<'static>, by: &Issuer<'static, KeyPair>) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let (key, shown) = issued(by);
        let config = config.with_client_auth_cert(vec![shown.der().clone()], key.into()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let comes = async {
            let name = ServerName::try_from("localhost").unwrap();
            let socket = TcpStream::connect(address).await.unwrap();
            // In TLS 1.3 it hears of its refusal only when it reads.
            let Ok(mut socket) = TlsConnector::from(Arc::new(config)).connect(name, socket).await else { return };
            let _ = socket.read(&mut [0]).await;
        };
        let accepts = async { tls.accept(listener.accept().await.unwrap().0, STUCK).await.is_ok() };
        timeout(STUCK, async { tokio::join!(accepts, comes).0 }).await.expect("it is judged")
    }

    /// S30, S31: other authorities are gone by although nobody tells; half a file, and one that still changes, are not, and what is wrong
    /// is told once.
    #[tokio::test(start_paused = true)]
    async fn another_list_of_authorities_is_gone_by_once_it_is_whole() {
        let (lines, _guard) = Lines::listen();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clients-ca.pem");
        let ((old, old_der, old_pem), (new, _, new_pem)) = (authority(), authority());
        let (key, shown) = issued(&old);
        let (certificate, key) = (shown.pem(), key.serialize_pem());
        let identity = Identity::of((certificate.as_bytes(), &file), (key.as_bytes(), &file)).unwrap();
        fs::write(&file, &old_pem).unwrap();
        let trusted = Trusted::open(&file, &tls::Server::new(&identity, &[]).unwrap()).unwrap();
        let tls = trusted.tls();
        let kept = tokio::spawn(trusted.keep());
        // A look that is under way holds the clock.
        let passes = async |time: Duration| sleep(time).await;

        // Never at the moment of a look, which are at tens of seconds.
        passes(LOOK_EVERY * 3 + SETTLED * 3).await;
        assert_eq!(lines.written(), "", "the same is nothing new");
        fs::write(&file, &new_pem[..new_pem.len() / 2]).unwrap();
        passes(LOOK_EVERY * 3).await;
        assert_eq!(lines.of("client_authorities_refused"), 1, "{}", lines.written());
        fs::write(&file, format!("{old_pem}{new_pem}")).unwrap();
        passes(SETTLED * 15 / 2).await;
        assert_eq!(lines.of("client_authorities_replaced"), 0, "it may be half written");
        fs::write(&file, &new_pem).unwrap();
        passes(SETTLED).await;
        assert_eq!(lines.of("client_authorities_replaced"), 0, "it was");
        passes(LOOK_EVERY + SETTLED * 2).await;
        assert_eq!((lines.of("client_authorities_replaced"), lines.of("client_authorities_refused")), (1, 1));
        kept.abort();

        resume();
        assert!(is_taken(&tls, &old_der, &new).await);
        assert!(!is_taken(&tls, &old_der, &old).await);
    }
}
