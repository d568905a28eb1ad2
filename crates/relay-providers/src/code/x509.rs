//! Public keys out of certificates and PEM, and RSA signatures.
//!
//! A certificate is trusted for where it was fetched from, over TLS at a host that is pinned: its chain and its dates
//! are not looked at, as the platforms prescribe no check of them.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{
        RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaParameters,
        RsaPublicKeyComponents, UnparsedPublicKey,
    },
};
use x509_parser::{
    certificate::X509CertificateParser,
    nom::Parser as _,
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION},
    prelude::FromDer as _,
    x509::SubjectPublicKeyInfo,
};

use crate::{
    SignError,
    armour::{decode, unarmoured},
    scheme::PrivateKey,
};

/// Largest document that is read.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of an uncompressed P-256 point.
const POINT_BYTES: usize = 65;

/// With which hash an RSA signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
}

/// A public RSA key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RsaKey {
    /// `RSAPublicKey` in DER.
    Der(Vec<u8>),
    /// Modulus and exponent.
    Components(Vec<u8>, Vec<u8>),
}

impl RsaKey {
    /// The key of the first certificate in a PEM document.
    pub(crate) fn of_certificate(pem: &[u8]) -> Option<Self> {
        // A document of a stranger's choice may be large.
        rsa(&unarmoured(Some(pem).filter(|pem| pem.len() <= DOCUMENT_BYTES_MAX)?, "CERTIFICATE")?)
    }

    /// Whether the signature is this key's for the message (PKCS #1 v1.5, 2048 bits or more).
    pub(crate) fn verifies(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        let parameters: &'static RsaParameters = match hash {
            Hash::Sha1 => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        match self {
            Self::Der(der) => UnparsedPublicKey::new(parameters, der).verify(message, signature).is_ok(),
            Self::Components(n, e) => RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok(),
        }
    }
}

/// An RSA signature with SHA-256 (PKCS #1 v1.5).
pub(crate) fn rsa_sign(key: &PrivateKey, message: &[u8]) -> Result<Vec<u8>, SignError> {
    let key = KeyPair::from_pkcs8(key.document()).or_else(|_| KeyPair::from_der(key.document()));
    let key = key.map_err(|_| SignError::Key)?;
    let mut signature = vec![0; key.public_modulus_len()];
    let signed = key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
    signed.map(|()| signature).map_err(|_| SignError::Key)
}

/// The point of a P-256 public key, out of PEM with its lines or without, or bare base64.
pub(crate) fn p256_point(text: &str) -> Option<Vec<u8>> {
    let der = unarmoured(text.as_bytes(), "PUBLIC KEY").or_else(|| decode(text))?;
    let (_, spki) = SubjectPublicKeyInfo::from_der(&der).ok()?;
    let curve = spki.algorithm.parameters.as_ref()?.as_oid().ok()?;
    let key = whole_bytes(&spki)?;
    let is_p256 = spki.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == OID_EC_P256;
    (is_p256 && key.len() == POINT_BYTES && key[0] == 4).then(|| key.to_vec())
}

/// The key of a certificate. Its extensions are not taken apart: nobody asks for them.
fn rsa(der: &[u8]) -> Option<RsaKey> {
    let (_, certificate) = X509CertificateParser::new().with_deep_parse_extensions(false).parse(der).ok()?;
    let spki = certificate.public_key();
    let is_rsa = spki.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION;
    whole_bytes(spki).filter(|_| is_rsa).map(|key| RsaKey::Der(key.to_vec()))
}

/// The bits of a key: keys are whole bytes.
fn whole_bytes<'a>(spki: &'a SubjectPublicKeyInfo<'_>) -> Option<&'a [u8]> {
    (spki.subject_public_key.unused_bits == 0).then_some(&*spki.subject_public_key.data)
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    /// P-256, from eBay's published test data.
    const POINT: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZhhxXKtR+TOvtDbgTPCkSof02qgBB7IsYOyf76ilExJ/upAa/vKIKheOoCyOpcLmi4t0b4uepb7LLjmMr90FUg==";

    const CERTIFICATE: &str = include_str!("../../../../fixtures/providers/keys/rsa.crt.pem");

    #[test]
    fn a_point_is_found_with_armour_and_without() {
        let bare = p256_point(POINT).expect("a P-256 key");
        assert_eq!((bare.len(), bare[0]), (65, 4));
        for armoured in [
            format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &POINT[..64], &POINT[64..]),
            format!("-----BEGIN PUBLIC KEY-----{POINT}-----END PUBLIC KEY-----"),
        ] {
            assert_eq!(p256_point(&armoured), Some(bare.clone()), "{armoured}");
        }
    }

    #[test]
    fn no_prefix_and_no_flipped_bit_of_a_key_makes_a_panic() {
        let der = decode(POINT).expect("base64");
        for length in 0..der.len() {
            assert_eq!(p256_point(&STANDARD.encode(&der[..length])), None, "{length}");
        }
        for bit in 0..der.len() * 8 {
            let mut changed = der.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            p256_point(&STANDARD.encode(&changed));
        }
    }

    #[test]
    fn a_certificates_key_checks_what_its_private_key_signs() {
        let key = PrivateKey::read(include_str!("../../../../fixtures/providers/keys/rsa.key.pem")).expect("a key");
        let public = RsaKey::of_certificate(CERTIFICATE.as_bytes()).expect("a certificate");
        let signature = rsa_sign(&key, b"message").expect("an RSA key signs");
        assert!(public.verifies(Hash::Sha256, b"message", &signature));
        assert!(!public.verifies(Hash::Sha1, b"message", &signature));
        assert!(!public.verifies(Hash::Sha256, b"massage", &signature));
        assert!(!public.verifies(Hash::Sha256, b"message", &[]));
        assert_eq!(rsa_sign(&PrivateKey::read(POINT).expect("base64"), b"message"), Err(SignError::Key));
    }

    #[test]
    fn no_prefix_and_no_flipped_bit_of_a_certificate_makes_a_panic() {
        let der = unarmoured(CERTIFICATE.as_bytes(), "CERTIFICATE").expect("PEM");
        for length in 0..der.len() {
            assert_eq!(rsa(&der[..length]), None, "{length}");
        }
        for bit in 0..der.len() * 8 {
            let mut changed = der.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let key = rsa(&changed);
            assert!(key.is_none_or(|key| !key.verifies(Hash::Sha256, b"", &[0; 256])));
        }
    }

    #[test]
    fn lengths_that_lie_are_no_element() {
        for der in [
            &[][..],
            &[0x30],
            &[0x30, 0x80],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x83, 0xff, 0xff, 0xff],
            &[0x30, 5, 1],
        ] {
            assert_eq!((rsa(der), p256_point(&STANDARD.encode(der))), (None, None), "{der:?}");
        }
    }

    /// The stack is not the document's to fill, wherever in a certificate the nesting stands.
    #[test]
    fn elements_within_elements_without_end_are_no_certificate() {
        let nested = |tag: u8| {
            (0..15_000).fold(Vec::new(), |inner: Vec<u8>, _| {
                let length = inner.len() as u32;
                [&[tag, 0x83], &length.to_be_bytes()[1..], &inner].concat()
            })
        };
        let der = unarmoured(CERTIFICATE.as_bytes(), "CERTIFICATE").expect("PEM");
        for tag in [0x30, 0x31, 0xa0, 0xa3, 0x24] {
            let nested = nested(tag);
            assert_eq!((rsa(&nested), p256_point(&STANDARD.encode(&nested))), (None, None));
            for place in (0..der.len()).step_by(41) {
                let mut changed = der.clone();
                changed.splice(place.., nested.iter().copied().take(60_000));
                // Only what stands behind the key can be anything.
                let _ = rsa(&changed);
            }
        }
    }

    #[test]
    fn what_stands_around_a_certificate_does_not_matter() {
        let plain = RsaKey::of_certificate(CERTIFICATE.as_bytes());
        assert!(plain.is_some());
        let dressed = format!("\u{feff}Bag Attributes: x\r\n{}\r\nmore", CERTIFICATE.replace('\n', "\r\n"));
        assert_eq!(RsaKey::of_certificate(dressed.as_bytes()), plain);
        assert_eq!(RsaKey::of_certificate(format!("{CERTIFICATE}{CERTIFICATE}").as_bytes()), plain);
    }

    #[test]
    fn what_is_no_certificate_has_no_key() {
        let armour = |base64: &str| format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----");
        for pem in ["", "<html>", &armour(""), &armour("MAA="), &armour("!!!!"), &armour(POINT), &"x".repeat(70_000)] {
            assert_eq!(RsaKey::of_certificate(pem.as_bytes()), None);
        }
    }
}
