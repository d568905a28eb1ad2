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
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{SignError, scheme::PrivateKey};

/// Largest document that is read.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const BIT_STRING: u8 = 0x03;
const VERSION: u8 = 0xa0;
/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1, 1.2.840.10045.3.1.7
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
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
        rsa(certificate_spki(&unarmoured(pem, "CERTIFICATE")?)?)
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
    let (oid, parameters, key) = spki(&der)?;
    let (tag, curve, rest) = element(parameters)?;
    let is_p256 = oid == EC_PUBLIC_KEY && (tag, curve) == (OBJECT_ID, P256) && rest.is_empty();
    (is_p256 && key.len() == POINT_BYTES && key[0] == 4).then(|| key.to_vec())
}

/// What stands between the first `-----BEGIN label-----` and its end, decoded.
fn unarmoured(pem: &[u8], label: &str) -> Option<Vec<u8>> {
    if pem.len() > DOCUMENT_BYTES_MAX {
        return None;
    }
    let (_, rest) = str::from_utf8(pem).ok()?.split_once(&format!("-----BEGIN {label}-----"))?;
    let (base64, _) = rest.split_once(&format!("-----END {label}-----"))?;
    decode(base64)
}

fn decode(base64: &str) -> Option<Vec<u8>> {
    let compact: Vec<u8> = base64.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(compact).ok()
}

/// `Certificate ::= SEQUENCE { tbs SEQUENCE { [0] version, serial, algorithm, issuer, validity, subject, spki, .. }, .. }`
fn certificate_spki(der: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = sequence(der)?;
    let (mut fields, _) = sequence(certificate)?;
    if let (VERSION, _, rest) = element(fields)? {
        fields = rest;
    }
    // Serial number, signature algorithm, issuer, validity and subject stand before the key.
    for _ in 0..5 {
        (_, _, fields) = element(fields)?;
    }
    Some(fields)
}

fn rsa(der: &[u8]) -> Option<RsaKey> {
    let (oid, _, key) = spki(der)?;
    (oid == RSA_ENCRYPTION).then(|| RsaKey::Der(key.to_vec()))
}

/// `SubjectPublicKeyInfo ::= SEQUENCE { SEQUENCE { algorithm, parameters }, BIT STRING }`
fn spki(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (spki, _) = sequence(der)?;
    let (algorithm, rest) = sequence(spki)?;
    let (OBJECT_ID, oid, parameters) = element(algorithm)? else { return None };
    let (BIT_STRING, bits, _) = element(rest)? else { return None };
    let (0, key) = bits.split_first().map(|(unused, key)| (*unused, key))? else { return None };
    Some((oid, parameters, key))
}

fn sequence(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (SEQUENCE, content, rest) = element(der)? else { return None };
    Some((content, rest))
}

/// Tag, content and what follows. Lengths are definite, as DER has them.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
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
            certificate_spki(&changed);
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
            certificate_spki(&der[..length]).and_then(rsa);
        }
        for bit in 0..der.len() * 8 {
            let mut changed = der.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let key = certificate_spki(&changed).and_then(rsa);
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
            assert_eq!(element(der), None, "{der:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_key() {
        let armour = |base64: &str| format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----");
        for pem in ["", "<html>", &armour(""), &armour("MAA="), &armour("!!!!"), &armour(POINT), &"x".repeat(70_000)] {
            assert_eq!(RsaKey::of_certificate(pem.as_bytes()), None);
        }
    }
}
