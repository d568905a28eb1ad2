//! Keys and tokens: how they are made, kept and compared.
//!
//! A generated secret is a prefix and 256 random bits. What is kept is its SHA-256: a fast hash is right for something
//! nobody can guess. Comparing takes the same time wherever two digests differ.

use aws_lc_rs::{constant_time, digest, rand};
pub use relay_providers::{ADMIN_PREFIX, KEY_PREFIX, TOKEN_PREFIX};

/// Characters of a secret that are kept and shown, so that people can tell secrets apart.
const SHOWN: usize = 12;

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoRandomness;

/// A new secret: `prefix` and 256 random bits in hex.
///
/// # Errors
/// [`NoRandomness`] when the system's source of random bytes fails.
pub fn generate(prefix: &str) -> Result<String, NoRandomness> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(format!("{prefix}{}", hex(&bytes)))
}

/// Whether a secret has the form of a generated token: nobody guesses those.
pub(crate) fn is_generated(secret: &[u8]) -> bool {
    [KEY_PREFIX, TOKEN_PREFIX, ADMIN_PREFIX].into_iter().any(|prefix| is_generated_as(prefix, secret))
}

/// Whether a secret has the form of those that are generated with this prefix.
pub(crate) fn is_generated_as(prefix: &str, secret: &[u8]) -> bool {
    let bits = secret.strip_prefix(prefix.as_bytes());
    bits.is_some_and(|bits| bits.len() == 64 && bits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// SHA-256 of a secret.
pub fn sha256(secret: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, secret);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Whether two digests are the same, in a time that does not tell where they differ.
pub fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}

/// The part of a secret that may be shown.
pub(crate) fn shown(secret: &str) -> String {
    secret.chars().take(SHOWN).collect()
}

/// In lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Back from hex; `None` unless it is 32 bytes.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S21: 256 random bits behind a prefix, kept as SHA-256.
    #[test]
    fn a_generated_secret_has_its_prefix_and_256_bits() {
        let first = generate(KEY_PREFIX).unwrap();
        let second = generate(KEY_PREFIX).unwrap();
        assert!(first.starts_with("crk_") && first.len() == 4 + 64);
        assert_ne!(first, second);
        assert!(is_generated(generate(TOKEN_PREFIX).unwrap().as_bytes()) && !is_generated(b"crt_chosen-by-hand"));
        assert!(same(&sha256(first.as_bytes()), &sha256(first.as_bytes())));
        assert!(!same(&sha256(first.as_bytes()), &sha256(second.as_bytes())));
    }

    #[test]
    fn hex_survives_the_way_back_and_refuses_anything_else() {
        let digest = sha256(b"a");
        assert_eq!(unhex(&hex(&digest)), Some(digest));
        assert_eq!(unhex("zz"), None);
        assert_eq!(unhex(&"g".repeat(64)), None);
        assert_eq!(unhex(&"é".repeat(32)), None);
    }
}
