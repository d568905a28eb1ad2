//! Public keys that a server must have, whoever signed its certificate.
//!
//! **Source** RFC 7469, section 2.4: SHA-256 over the `SubjectPublicKeyInfo`.

use std::{fmt, str::FromStr, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::certificate::Certificate;

/// SHA-256 of a public key, written `sha256/` and base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin([u8; 32]);

/// Verifies as `inner` does, and that the key is one of these.
#[derive(Debug)]
pub(super) struct Pinned {
    inner: Arc<dyn ServerCertVerifier>,
    pins: Vec<Pin>,
}

impl Pin {
    /// That of a certificate's key; none of what is no certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let key = digest(&SHA256, &Certificate::read(certificate)?.key);
        Some(Self(key.as_ref().try_into().expect("SHA-256 has 32 bytes")))
    }
}

impl FromStr for Pin {
    type Err = String;

    /// As it is shown, and as curl writes it (`sha256//`); what is none says what would be right.
    fn from_str(text: &str) -> Result<Self, String> {
        let want = || {
            "want sha256/ and 44 characters of base64: the SHA-256 of the server's public key (SubjectPublicKeyInfo)"
                .to_owned()
        };
        let encoded = text.strip_prefix("sha256/").ok_or_else(want)?;
        let read = |encoded: &str| STANDARD.decode(encoded).ok()?.try_into().ok().map(Self);
        // A slash may be the first character of the base64, too.
        read(encoded).or_else(|| read(encoded.strip_prefix('/')?)).ok_or_else(want)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", STANDARD.encode(self.0))
    }
}

impl Pinned {
    pub(super) fn new(inner: Arc<dyn ServerCertVerifier>, pins: &[Pin]) -> Self {
        Self { inner, pins: pins.to_vec() }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, now)?;
        if Pin::of(end_entity).is_some_and(|pin| self.pins.contains(&pin)) {
            return Ok(verified);
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
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
    use rcgen::{CertificateParams, KeyPair};
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::*;
    use crate::tls::verifier;

    fn made(key: &KeyPair) -> CertificateDer<'static> {
        CertificateParams::new(vec!["relay.test".to_owned()]).unwrap().self_signed(key).unwrap().der().clone()
    }

    /// One key of 64 has a pin that begins like the second slash of curl's.
    #[test]
    fn a_pin_is_read_as_it_is_written_whatever_it_begins_with() {
        for first in [0, 0xfc, 0xff] {
            let pin = Pin([first; 32]);
            let shown = pin.to_string();
            assert_eq!(shown.parse(), Ok(pin), "{shown}");
            assert_eq!(shown.replacen('/', "//", 1).parse(), Ok(pin), "as curl writes it");
        }
        assert!("sha256///".parse::<Pin>().is_err() && "sha256/".parse::<Pin>().is_err());
    }

    /// S30: a pin comes beside what is checked anyway, and stays with the key over renewals.
    #[test]
    fn a_pin_is_of_the_key_and_not_of_the_certificate() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let [first, renewed, foreign] = [made(&key), made(&key), made(&other)];
        let pin = Pin::of(&first).unwrap();
        assert_eq!((Pin::of(&renewed), pin.to_string().parse()), (Some(pin), Ok(pin)));
        let verified = |certificate: &CertificateDer<'static>, pins: &[Pin]| {
            let extra = [first.clone(), renewed.clone(), foreign.clone()];
            let verifier = verifier(&extra, pins, &Arc::new(default_provider())).unwrap();
            verifier.verify_server_cert(certificate, &[], &"relay.test".try_into().unwrap(), &[], UnixTime::now())
        };
        assert!(verified(&first, &[pin]).is_ok() && verified(&renewed, &[pin]).is_ok());
        assert!(verified(&foreign, &[]).is_ok(), "it is trusted");
        assert!(verified(&foreign, &[pin]).is_err());
        assert!(verified(&foreign, &[pin, Pin::of(&foreign).unwrap()]).is_ok(), "one of several");
    }
}
