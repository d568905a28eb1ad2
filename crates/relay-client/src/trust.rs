//! Whom TLS trusts: the authorities of the operating system, and those that the configuration names; and a certificate that
//! is itself named.
//!
//! Plain `openssl req -x509` makes a certificate that calls itself an authority and serves as the server's own. Verifiers
//! refuse to see an authority at the end of a chain; but whoever names that very certificate as trusted means just that.

use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// Verifies as `inner` does, and lets pass what is named, for its own names and in its own time.
#[derive(Debug)]
pub(crate) struct Named {
    inner: Arc<dyn ServerCertVerifier>,
    named: Vec<Pinned>,
}

/// One certificate that is trusted as it stands.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    /// Trusts nothing but it.
    alone: Arc<WebPkiServerVerifier>,
}

impl Named {
    /// Over what `inner` trusts. A certificate that no chain can begin with is not refused here; it matches nothing.
    pub(crate) fn new(
        inner: Arc<dyn ServerCertVerifier>,
        named: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Self {
        let named = named.iter().filter_map(|certificate| Pinned::new(certificate, provider)).collect();
        Self { inner, named }
    }
}

impl Pinned {
    fn new(certificate: &CertificateDer<'static>, provider: &Arc<CryptoProvider>) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).ok()?;
        let alone = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build().ok()?;
        Some(Self { certificate: certificate.clone(), alone })
    }

    fn verify(&self, name: &ServerName<'_>, ocsp: &[u8], now: UnixTime) -> Result<ServerCertVerified, Error> {
        match self.alone.verify_server_cert(&self.certificate, &[], name, ocsp, now) {
            // The library looks at the time first and at the name last, and stops in between at an authority. A test holds
            // that order.
            Err(error) if is_authority_at_the_end(&error) => {
                verify_server_name(&ParsedCertificate::try_from(&self.certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }
}

/// `CaUsedAsEndEntity` of the library that rustls verifies with; rustls has no variant for it.
fn is_authority_at_the_end(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(rustls::CertificateError::Other(other))
        if format!("{other:?}").contains("CaUsedAsEndEntity"))
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.named.iter().find(|pinned| pinned.certificate == *end_entity) {
            Some(pinned) => pinned.verify(name, ocsp, now),
            None => self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use rustls::{CertificateError, crypto::aws_lc_rs};

    use super::*;

    fn certificate(is_ca: IsCa, until: (i32, u8, u8)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["relay.test".to_owned()]).unwrap();
        params.is_ca = is_ca;
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    /// Trusts `named`, and somebody else who matters not.
    fn verifier(named: &CertificateDer<'static>) -> Named {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let other = certificate(IsCa::Ca(BasicConstraints::Unconstrained), (2099, 1, 1));
        let mut roots = RootCertStore::empty();
        roots.add(other).unwrap();
        let inner = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
        Named::new(inner, std::slice::from_ref(named), &provider)
    }

    fn name(text: &'static str) -> ServerName<'static> {
        ServerName::try_from(text).unwrap()
    }

    fn verify(named: &CertificateDer<'static>, shown: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        verifier(named).verify_server_cert(shown, &[], name, &[], now).map(drop)
    }

    /// S30: a certificate that is named is trusted, an authority or not, but for its own names and in its own time only.
    #[test]
    fn a_named_certificate_is_trusted_for_its_names_and_in_its_time() {
        let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
        for is_ca in [ca(), IsCa::NoCa, IsCa::ExplicitNoCa] {
            let named = certificate(is_ca, (2099, 1, 1));
            assert_eq!(verify(&named, &named, &name("relay.test")), Ok(()), "{is_ca:?}");
            let wrong_name = verify(&named, &named, &name("other.test")).unwrap_err();
            assert!(
                matches!(
                    &wrong_name,
                    Error::InvalidCertificate(
                        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
                    )
                ),
                "{wrong_name:?}"
            );
            let old = certificate(is_ca, (2021, 1, 1));
            let expired = verify(&old, &old, &name("relay.test")).unwrap_err();
            assert!(
                matches!(
                    &expired,
                    Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })
                ),
                "{expired:?}"
            );
            let other = certificate(ca(), (2099, 1, 1));
            assert!(
                verify(&named, &other, &name("relay.test")).is_err(),
                "of another certificate nobody said anything"
            );
        }
    }
}
