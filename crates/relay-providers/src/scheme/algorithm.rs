//! What turns a key and a message into a signature, or tells whether one is good.

use aws_lc_rs::{
    digest, hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
        UnparsedPublicKey,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::Algorithm;
use crate::{
    SignError,
    parameters::Parameters,
    secret::{self, Secret},
};

/// Bytes of a P-256 `SubjectPublicKeyInfo` before the point.
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of an uncompressed P-256 point.
const POINT_BYTES: usize = 65;
const SEED_BYTES: usize = 32;

impl Algorithm {
    /// Whether one of `presented` is the signature of the concatenated `parts`. Whatever is secret is compared in
    /// constant time, and each is looked at, match or no match.
    pub(super) fn verify(self, key: &Secret, parts: &[&[u8]], presented: &[Vec<u8>]) -> bool {
        match self {
            Self::HmacSha1 | Self::HmacSha256 | Self::HmacSha384 | Self::HmacSha512 | Self::Sha256 => {
                let valid = self.mac(key, parts);
                any(presented, |signature| secret::equal(signature, &valid))
            }
            Self::Ed25519 => {
                let public = UnparsedPublicKey::new(&ED25519, key.expose());
                let message = parts.concat();
                any(presented, |signature| public.verify(&message, signature).is_ok())
            }
            Self::EcdsaP256 => {
                let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.expose());
                let message = parts.concat();
                any(presented, |signature| public.verify(&message, signature).is_ok())
            }
            Self::Equal => {
                // Digests make the comparison independent of the lengths too.
                let valid = secret::secret_digest(key.expose());
                any(presented, |token| secret::equal(&secret::secret_digest(token), &valid))
            }
        }
    }

    /// The signature of the concatenated `parts`, for algorithms whose key both makes and checks it.
    pub(crate) fn mac(self, key: &Secret, parts: &[&[u8]]) -> Vec<u8> {
        let algorithm = match self {
            Self::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha384 => hmac::HMAC_SHA384,
            Self::HmacSha512 => hmac::HMAC_SHA512,
            Self::Sha256 => {
                let mut context = digest::Context::new(&digest::SHA256);
                for part in parts {
                    context.update(part);
                }
                return context.finish().as_ref().to_vec();
            }
            Self::Equal | Self::Ed25519 | Self::EcdsaP256 => return key.expose().to_vec(),
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key.expose()));
        for part in parts {
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }

    /// Whether the key that checks cannot sign.
    pub(super) fn is_asymmetric(self) -> bool {
        matches!(self, Self::Ed25519 | Self::EcdsaP256)
    }
}

/// No early end: the position of a match must not show in the time.
fn any(presented: &[Vec<u8>], mut is_good: impl FnMut(&[u8]) -> bool) -> bool {
    presented.iter().fold(false, |found, signature| is_good(signature) | found)
}

/// The point in a P-256 `SubjectPublicKeyInfo`.
pub(super) fn p256_point(der: &[u8]) -> Option<&[u8]> {
    let point = der.strip_prefix(&SPKI_P256)?;
    (point.len() == POINT_BYTES && point[0] == 4).then_some(point)
}

/// A private key, to act as a provider whose sources know the public one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PrivateKey(Secret);

impl PrivateKey {
    /// The one that a source's parameters give to act as the provider with, if any.
    pub(crate) fn given(parameters: &mut Parameters<'_>) -> Option<Self> {
        let text = parameters.one("signing_key");
        if text.is_empty() {
            return None;
        }
        let key = Self::read(text);
        if key.is_none() {
            parameters.fault(
                "signing_key",
                "must be a private key: PKCS#8 in PEM or base64, or an Ed25519 seed in hex or base64",
            );
        }
        key
    }

    /// A PKCS#8 document in PEM or base64, or an Ed25519 seed in hex, base64 or after `whsk_`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix("whsk_").unwrap_or(text);
        if text.len() == 2 * SEED_BYTES
            && let Some(seed) = secret::from_hex(text)
        {
            return Some(Self(Secret::new(seed)));
        }
        let base64: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        let mut bytes = STANDARD.decode(base64).ok()?;
        if bytes.len() == 2 * SEED_BYTES {
            // Some write the public key behind the seed.
            bytes.truncate(SEED_BYTES);
        }
        Some(Self(Secret::new(bytes)))
    }

    pub(super) fn sign(&self, algorithm: Algorithm, parts: &[&[u8]]) -> Result<Vec<u8>, SignError> {
        let message = parts.concat();
        if algorithm == Algorithm::EcdsaP256 {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, self.0.expose());
            let pair = pair.map_err(|_| SignError::Key)?;
            let signature = pair.sign(&SystemRandom::new(), &message).map_err(|_| SignError::Key)?;
            return Ok(signature.as_ref().to_vec());
        }
        Ok(self.ed25519().ok_or(SignError::Key)?.sign(&message).as_ref().to_vec())
    }

    /// The key as it was given, decoded.
    pub(crate) fn document(&self) -> &[u8] {
        self.0.expose()
    }

    fn ed25519(&self) -> Option<Ed25519KeyPair> {
        let bytes = self.0.expose();
        let pair = if bytes.len() == SEED_BYTES {
            Ed25519KeyPair::from_seed_unchecked(bytes)
        } else {
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes)
        };
        pair.ok()
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}
