//! Whom TLS trusts: the authorities of the operating system, and those that the configuration names; and a certificate that
//! is itself named.
//!
//! Plain `openssl req -x509` makes a certificate that calls itself an authority and serves as the server's own, with a common
//! name and no other; `openssl x509 -req` makes one of the first version, and one that an authority signed may be named without
//! it. Verifiers refuse all of these; but whoever names that very certificate as trusted means just that.

use std::{cmp::Ordering, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::ParsedCertificate,
};

use super::certificate::Certificate;

/// Verifies as `inner` does, and lets pass what is named, for its own names and in its own time.
#[derive(Debug)]
pub(super) struct Named {
    inner: Arc<dyn ServerCertVerifier>,
    pinned: Vec<Pinned>,
    provider: Arc<CryptoProvider>,
}

/// One certificate that is trusted as it stands.
#[derive(Debug)]
struct Pinned {
    der: CertificateDer<'static>,
    certificate: Certificate,
}

impl Named {
    /// Over what `inner` trusts. What does not read as a certificate is not refused here; it matches nothing.
    pub(super) fn new(
        inner: Arc<dyn ServerCertVerifier>,
        named: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Self {
        let pinned =
            |der: &CertificateDer<'static>| Some(Pinned { der: der.clone(), certificate: Certificate::read(der)? });
        Self { inner, pinned: named.iter().filter_map(pinned).collect(), provider: Arc::clone(provider) }
    }

    fn find(&self, der: &CertificateDer<'_>) -> Option<&Pinned> {
        self.pinned.iter().find(|pinned| pinned.der == *der)
    }
}

impl Pinned {
    fn verify(&self, name: &ServerName<'_>, now: UnixTime) -> Result<ServerCertVerified, Error> {
        let Self { der, certificate } = self;
        match certificate.age(now) {
            Ordering::Less => return Err(CertificateError::NotValidYet.into()),
            Ordering::Greater => return Err(CertificateError::Expired.into()),
            Ordering::Equal => {}
        }
        if certificate.has_alt_names {
            verify_server_name(&ParsedCertificate::try_from(der)?, name)?;
        } else if !certificate.is_common_name(name) {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(ServerCertVerified::assertion())
    }
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
        match self.find(end_entity) {
            Some(pinned) => pinned.verify(name, now),
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
        // The library reads no certificate of the first version, so its key is taken out for it.
        if let Some(pinned) = self.find(certificate).filter(|pinned| pinned.certificate.is_first_version) {
            let key = SubjectPublicKeyInfoDer::from(&pinned.certificate.key[..]);
            let algorithms = &self.provider.signature_verification_algorithms;
            return verify_tls13_signature_with_raw_key(message, &key, signed, algorithms);
        }
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
    use rustls::{RootCertStore, client::WebPkiServerVerifier, crypto::aws_lc_rs};

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
            let early = certificate(is_ca, (2099, 1, 1));
            let long_ago = UnixTime::since_unix_epoch(Duration::from_secs(1_500_000_000));
            let early =
                verifier(&early).verify_server_cert(&early, &[], &name("relay.test"), &[], long_ago).unwrap_err();
            assert_eq!(early, CertificateError::NotValidYet.into());
            let other = certificate(ca(), (2099, 1, 1));
            assert!(
                verify(&named, &other, &name("relay.test")).is_err(),
                "of another certificate nobody said anything"
            );
        }
    }
    /// S30: what an authority signed needs no authority where it is named itself, and where there is no other name the common
    /// one counts.
    #[test]
    fn a_named_certificate_needs_no_authority_and_no_second_name() {
        let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let authority = CertificateParams::new(vec!["somebody.test".to_owned()]).unwrap();
        let authority = rcgen::Issuer::new(authority, authority_key);
        let signed =
            CertificateParams::new(vec!["relay.test".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        assert_eq!(verify(signed.der(), signed.der(), &name("relay.test")), Ok(()));
        assert!(verify(signed.der(), signed.der(), &name("somebody.test")).is_err());

        let common = |names: Vec<String>| {
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, "relay.test");
            params.self_signed(&key).unwrap().der().clone()
        };
        let alone = common(Vec::new());
        assert_eq!(verify(&alone, &alone, &name("relay.test")), Ok(()));
        assert_eq!(verify(&alone, &alone, &name("other.test")), Err(CertificateError::NotValidForName.into()));
        let beside = common(vec!["other.test".to_owned()]);
        assert!(verify(&beside, &beside, &name("relay.test")).is_err(), "beside others the common name means nothing");
        assert_eq!(verify(&beside, &beside, &name("other.test")), Ok(()));
    }
}
