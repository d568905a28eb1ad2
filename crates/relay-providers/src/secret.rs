//! Secrets: kept out of `Debug`, compared in constant time, judged when given.

use std::fmt;

use aws_lc_rs::{constant_time, digest};

/// Shortest secret that may be given.
const GIVEN_BYTES_MIN: usize = 16;
/// Longest secret that may be given.
const GIVEN_BYTES_MAX: usize = 256;

/// Values that stand in somebody's example and must not guard anything, in lower case.
const SAMPLES: [&str; 12] = [
    "0123456789abcdef",
    "1234567890123456",
    "changemechangeme",
    "change-me-please",
    "development-api-key",
    "replace-with-your-key",
    "secret-api-key-123",
    "test-api-key-123",
    "your-api-key-here",
    "your-secret-api-key",
    "your-secret-key-here",
    "your-secure-api-key",
];

/// A secret's bytes; `Debug` prints none of them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// What is wrong with a secret that an operator gave: 16 to 256 printable ASCII characters without spaces at its ends,
/// and not one that stands in an example. The text never holds the value.
pub fn secret_fault(value: &str) -> Option<&'static str> {
    if !(GIVEN_BYTES_MIN..=GIVEN_BYTES_MAX).contains(&value.len()) {
        return Some("must be 16 to 256 characters long");
    }
    if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) || value.trim() != value {
        return Some("must be printable ASCII without spaces at its ends");
    }
    let same = value.bytes().all(|byte| byte == value.as_bytes()[0]);
    if same || is_worn(value) || SAMPLES.contains(&value.to_ascii_lowercase().as_str()) {
        return Some("is a value everybody can guess; make one with: openssl rand -hex 32");
    }
    None
}

/// Whether hardly anything is left of it without the words and rows of digits that everybody tries first.
fn is_worn(value: &str) -> bool {
    const WORN: [&str; 10] = [
        "password",
        "passwort",
        "passw0rd",
        "changeme",
        "qwerty",
        "letmein",
        "welcome",
        "123456789",
        "12345678",
        "1234",
    ];
    const LEFT_MIN: usize = 6;
    let left = WORN.iter().fold(value.to_ascii_lowercase(), |left, worn| left.replace(worn, ""));
    left.bytes().filter(u8::is_ascii_alphanumeric).count() < LEFT_MIN && left.len() < value.len()
}

/// SHA-256 of a key or token: the only form in which one is stored. A fast hash is right for random values of 256 bits.
pub fn secret_digest(value: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, value).as_ref());
    bytes
}

/// The bytes that hex digits of either case stand for.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some((digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?) as u8)).collect()
}

/// Two lower-case hex digits a byte.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Whether both are equal, in a time that depends on their lengths alone.
pub(crate) fn equal(left: &[u8], right: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_secret_is_long_printable_and_no_sample() {
        assert_eq!(secret_fault("crk_b3VyIG93biBwcmVmaXg"), None);
        assert_eq!(secret_fault("It's a Secret to Everybody"), None);
        for bad in [
            "",
            "short",
            " leading-space-here",
            "naïve-secret-value",
            "aaaaaaaaaaaaaaaaaaaa",
            "Your-API-Key-Here",
            "password12345678",
            "Passwort-1234-1234",
        ] {
            assert!(secret_fault(bad).is_some(), "{bad}");
        }
        assert!(secret_fault(&"x1".repeat(129)).is_some());
    }

    #[test]
    fn debug_of_a_secret_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("crk_canary")), "Secret(redacted)");
    }
}
