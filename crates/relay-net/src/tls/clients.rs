//! A listener that takes only who shows a certificate of its own: whose authorities those are, and which of them are revoked.

use std::{
    fmt, io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, CertificateRevocationListDer},
    server::{
        NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{
    pem::{self, CertificatesFault},
    pin::Pin,
    server::{ALPN, Server, Stream, Unshaken, begins_with_handshake},
};

/// The authorities that sign clients' certificates, and their lists of what they have revoked.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    roots: Vec<CertificateDer<'static>>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
}

/// Why a file names nobody who may sign for clients, with the way out.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It cannot be read.
    #[error("failed to read {file}: {source}")]
    File {
        /// Which.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{file}: {source}")]
    Certificates {
        /// Which.
        file: String,
        /// What it holds.
        source: CertificatesFault,
    },
    /// A list of revoked certificates is none.
    #[error("{file}: its X509 CRL {number} does not read; copy it anew, whole, from line BEGIN to line END")]
    List {
        /// Which.
        file: String,
        /// The how-manieth, from 1.
        number: usize,
    },
    /// The TLS library takes none of its own defaults.
    #[error("failed to set up TLS")]
    Rustls(#[from] rustls::Error),
    /// No handshake can be judged by them.
    #[error("{file}: {source}")]
    Unusable {
        /// Which.
        file: String,
        /// Why.
        source: VerifierBuilderError,
    },
}

impl Authorities {
    /// Reads a file: certificates of authorities, and blocks `X509 CRL` beside them.
    ///
    /// # Errors
    /// [`AuthoritiesError`].
    pub fn in_file(file: &Path) -> Result<Self, AuthoritiesError> {
        let name = || file.display().to_string();
        let bytes = std::fs::read(file).map_err(|source| AuthoritiesError::File { file: name(), source })?;
        let roots =
            pem::certificates(&bytes).map_err(|source| AuthoritiesError::Certificates { file: name(), source })?;
        let revoked = pem::revocations(&bytes).map_err(|number| AuthoritiesError::List { file: name(), number })?;
        let found = Self { roots, revoked };
        found.verifier().map_err(|source| AuthoritiesError::Unusable { file: name(), source })?;
        Ok(found)
    }

    /// Judges the certificates of clients. One that a list names is refused, also by a list that is out of date; of whose authority there
    /// is no list, nothing is known to be revoked.
    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
        let mut roots = RootCertStore::empty();
        // What cannot sign anything makes none trusted: without any the builder refuses.
        roots.add_parsable_certificates(self.roots.iter().cloned());
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(aws_lc_rs::default_provider()));
        builder.with_crls(self.revoked.iter().cloned()).allow_unknown_revocation_status().build()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({}, {} lists)", self.roots.len(), self.revoked.len())
    }
}

/// Speaks TLS 1.2 or 1.3 with clients that show a certificate of these authorities, and with nobody else.
pub struct Clients {
    config: RwLock<Arc<ServerConfig>>,
    shown: Arc<dyn ResolvesServerCert>,
}

impl Clients {
    /// Shows what `server` shows, also when that is another.
    ///
    /// # Errors
    /// [`AuthoritiesError::Unusable`], [`AuthoritiesError::Rustls`].
    pub fn beside(server: &Server, authorities: &Authorities) -> Result<Self, AuthoritiesError> {
        let shown = server.shown();
        let config = RwLock::new(configured(authorities, Arc::clone(&shown))?);
        Ok(Self { config, shown })
    }

    /// Goes by other authorities from the next handshake on; connections that are open stay.
    ///
    /// # Errors
    /// As [`Self::beside`]: those of before are gone by.
    pub fn trust(&self, authorities: &Authorities) -> Result<(), AuthoritiesError> {
        let config = configured(authorities, Arc::clone(&self.shown))?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// The handshake, within this time, and the key of whom it is with. Dropped, the connection is closed.
    ///
    /// # Errors
    /// [`Unshaken`], also for who shows no certificate, or one that is not trusted, not valid now, or revoked.
    pub async fn accept(&self, socket: TcpStream, within: Duration) -> Result<(Stream, Pin), Unshaken> {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        let shaken = async {
            let socket = begins_with_handshake(socket).await?;
            let stream = TlsAcceptor::from(config).accept(socket).await.map_err(Unshaken::Failed)?;
            let (_, session) = stream.get_ref();
            let key = session.peer_certificates().and_then(<[_]>::first).and_then(Pin::of);
            key.map(|key| (stream, key)).ok_or_else(|| Unshaken::Failed(io::ErrorKind::InvalidData.into()))
        };
        timeout(within, shaken).await.unwrap_or_else(|_| Err(Unshaken::Failed(io::ErrorKind::TimedOut.into())))
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

fn configured(
    authorities: &Authorities,
    shown: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, AuthoritiesError> {
    let unusable = |source| AuthoritiesError::Unusable { file: "authorities of clients".to_owned(), source };
    let verifier = authorities.verifier().map_err(unusable)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A session that is resumed is not judged again, and its certificate may be revoked by then.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
        KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
    };
    use rustls::{
        ClientConfig, SupportedProtocolVersion,
        pki_types::{PrivateKeyDer, ServerName},
        version::{TLS12, TLS13},
    };
    use tokio::{io::AsyncReadExt as _, net::TcpListener};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::Identity;

    const WITHIN: Duration = Duration::from_secs(5);

    /// An authority, and its certificate in PEM.
    fn authority() -> (Issuer<'static, KeyPair>, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        (Issuer::new(params, key), pem)
    }

    type Shown = (CertificateDer<'static>, PrivateKeyDer<'static>);

    /// A certificate of a client with this number.
    fn issued(by: &Issuer<'static, KeyPair>, serial: u64, expired: bool) -> Shown {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        if expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        (params.signed_by(&key, by).unwrap().der().clone(), key.into())
    }

    fn revoking(by: &Issuer<'static, KeyPair>, serial: u64) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2024, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(by).unwrap().pem().unwrap()
    }

    /// S30: who shows no certificate, one of another authority, one that has ended or one that is revoked gets through no handshake and
    /// hears no word; who shows a good one does, and is known by its key. Nothing is resumed that would not be judged again.
    #[tokio::test]
    async fn only_who_shows_a_good_certificate_gets_through() {
        let dir = tempfile::tempdir().unwrap();
        let (of_clients, pem) = authority();
        let (of_others, _) = authority();
        let file = dir.path().join("clients.pem");
        std::fs::write(&file, format!("{pem}{}", revoking(&of_clients, 3))).unwrap();
        let own = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["relay.test".to_owned()]).unwrap().self_signed(&own).unwrap();
        let (cert_pem, key_pem) = (certificate.pem(), own.serialize_pem());
        let identity = Identity::of((cert_pem.as_bytes(), Path::new("a")), (key_pem.as_bytes(), Path::new("b")));
        let server = Server::new(&identity.unwrap(), &[]).unwrap();
        let clients = Clients::beside(&server, &Authorities::in_file(&file).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = issued(&of_clients, 1, false);
        for version in [&TLS12, &TLS13] {
            for (shown, gets_through) in [
                (Some(&good), true),
                (None, false),
                (Some(&issued(&of_others, 1, false)), false),
                (Some(&issued(&of_clients, 2, true)), false),
                (Some(&issued(&of_clients, 3, false)), false),
                (Some(&issued(&of_clients, 4, false)), true),
            ] {
                let config = dialling(certificate.der(), shown, version);
                let (here, there) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
                let name = ServerName::try_from("relay.test").unwrap();
                let dialled = async {
                    // With TLS 1.3 the dialler is through before it is judged.
                    let mut stream = TlsConnector::from(config).connect(name, here.unwrap()).await.ok()?;
                    stream.read_u8().await.ok()
                };
                let judged = async {
                    let (mut stream, key) = clients.accept(there.unwrap().0, WITHIN).await.ok()?;
                    tokio::io::AsyncWriteExt::write_all(&mut stream, b"!").await.unwrap();
                    tokio::io::AsyncWriteExt::shutdown(&mut stream).await.unwrap();
                    Some(key)
                };
                let (heard, key) = tokio::join!(dialled, judged);
                let wanted = shown.filter(|_| gets_through).and_then(|(der, _)| Pin::of(der));
                assert_eq!((heard.is_some(), key), (gets_through, wanted), "{version:?} {gets_through}");
            }
        }
        // Another list is gone by from the next handshake on, and what is none changes nothing.
        std::fs::write(&file, format!("{pem}{}", revoking(&of_clients, 1))).unwrap();
        clients.trust(&Authorities::in_file(&file).unwrap()).unwrap();
        let (here, there) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let connector = TlsConnector::from(dialling(certificate.der(), Some(&good), &TLS13));
        let name = ServerName::try_from("relay.test").unwrap();
        let (_, judged) =
            tokio::join!(connector.connect(name, here.unwrap()), clients.accept(there.unwrap().0, WITHIN));
        assert!(judged.is_err(), "it is revoked by now");
    }

    fn dialling(
        server: &CertificateDer<'static>,
        shown: Option<&Shown>,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(server.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match shown {
            None => config.with_no_client_auth(),
            Some((der, key)) => config.with_client_auth_cert(vec![der.clone()], key.clone_key()).unwrap(),
        })
    }

    #[test]
    fn a_file_that_names_no_authority_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clients.pem");
        let (of_clients, pem) = authority();
        let list = revoking(&of_clients, 1);
        for (text, words) in [
            (list.clone(), "holds X509 CRL and no certificate"),
            (format!("{pem}{}", list.replace("-----END X509 CRL-----", "")), "X509 CRL 1 does not read"),
            (format!("{pem}-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"), "clients.pem"),
        ] {
            std::fs::write(&file, &text).unwrap();
            let error = Authorities::in_file(&file).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        std::fs::write(&file, format!("{pem}{list}{pem}")).unwrap();
        assert!(Authorities::in_file(&file).is_ok());
    }
}
