//! `application/x-www-form-urlencoded`, as queries and forms are written.

use crate::secret;

/// Pairs that are looked at; more than any platform sends.
const PAIRS_MAX: usize = 4_096;

/// Decoded names and values.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Every pair, for signatures that cover all of them; nothing if they are more than any platform sends.
pub(crate) fn all(encoded: &[u8]) -> Option<Pairs> {
    let count = encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).take(PAIRS_MAX + 1).count();
    (count <= PAIRS_MAX).then(|| pairs(encoded).collect())
}

/// Decoded names and values, in order.
pub(crate) fn pairs(encoded: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).take(PAIRS_MAX).map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (decode(&pair[..at]), decode(pair.get(at + 1..).unwrap_or_default()))
    })
}

/// Decoded names, all of them.
pub(crate) fn names(encoded: &[u8]) -> Vec<Vec<u8>> {
    let name = |pair: &[u8]| decode(pair.split(|byte| *byte == b'=').next().unwrap_or_default());
    encoded.split(|byte| *byte == b'&').map(name).collect()
}

/// The first value of that name.
pub(crate) fn value(encoded: &[u8], name: &str) -> Option<Vec<u8>> {
    pairs(encoded).find(|(other, _)| other == name.as_bytes()).map(|(_, value)| value)
}

/// The bytes that an encoded text stands for; escapes that are none stay as they are.
pub(crate) fn decode(encoded: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut at = 0;
    while at < encoded.len() {
        let escape = || str::from_utf8(encoded.get(at + 1..at + 3)?).ok().and_then(secret::from_hex);
        match encoded[at] {
            b'%' if let Some(byte) = escape() => {
                decoded.extend(byte);
                at += 2;
            }
            b'+' => decoded.push(b' '),
            other => decoded.push(other),
        }
        at += 1;
    }
    decoded
}

/// The text with everything escaped that is not a letter, a digit or one of `-._~`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            encoded.push('%');
            encoded.push_str(&secret::to_hex(&[*byte]).to_ascii_uppercase());
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_hostile_escapes_stay() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(encode(&bytes).as_bytes()), bytes);
        for (encoded, decoded) in [("a+b%2Bc%2F%3D%26d", "a b+c/=&d"), ("%", "%"), ("%4", "%4"), ("%zz", "%zz")] {
            assert_eq!(decode(encoded.as_bytes()), decoded.as_bytes(), "{encoded}");
        }
    }

    #[test]
    fn pairs_keep_their_order_and_empty_values_count() {
        let found: Vec<_> = pairs(b"b=1&&a&a=&=x").collect();
        let expected = [("b", "1"), ("a", ""), ("a", ""), ("", "x")];
        assert_eq!(found, expected.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())));
    }
}
