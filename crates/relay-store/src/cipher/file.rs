//! Keys as an operator writes them down: a line each, a number and 32 bytes in hexadecimal or base64.

use std::{collections::BTreeMap, num::NonZeroU32};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Ciphers, KEY_BYTES};

/// Most keys that a file has: more than anybody rotates through before the old ones leave it.
const KEYS_MAX: usize = 16;

/// Why a file has no keys; nothing of one is in it. It answers neither whose fault it is nor whether again: whoever wrote the file mends the
/// line that is named, every time, and the same text is refused the same way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// It has nothing but blanks and comments.
    #[error("holds no key; want a line like: 1 KEY, where KEY is what openssl rand -base64 32 prints")]
    Empty,
    /// A line is not a number and a key.
    #[error("line {0} is not a number and a key; want: 1 KEY, where KEY is what openssl rand -base64 32 prints")]
    Line(usize),
    /// A number is none, or too high.
    #[error("line {0} begins with no number from 1 to 4294967295")]
    Number(usize),
    /// A key is not 32 bytes.
    #[error("the key in line {line} is {found}; want 32 bytes in base64 (44 characters) or hexadecimal (64)")]
    Key {
        /// Where.
        line: usize,
        /// What stands there.
        found: &'static str,
    },
    /// A key that anybody guesses.
    #[error("the key in line {0} is one byte repeated; want random ones: openssl rand -base64 32")]
    Weak(usize),
    /// A number, or a key, stands there twice.
    #[error("line {0} has the number or the key of an earlier line")]
    Twice(usize),
    /// There are too many.
    #[error("holds more than {KEYS_MAX} keys; take out those that crm-relay store rekey has made needless")]
    TooMany,
}

impl Ciphers {
    /// Reads the text of such a file. Blank lines and what begins with # are passed over.
    ///
    /// # Errors
    /// See [`KeysError`]; nothing of a key is told.
    pub fn read(text: &str) -> Result<Self, KeysError> {
        let mut keys: BTreeMap<NonZeroU32, [u8; KEY_BYTES]> = BTreeMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let mut words = text.split_whitespace();
            let (Some(number), Some(key), None) = (words.next(), words.next(), words.next()) else {
                return Err(KeysError::Line(line));
            };
            let number = number.parse().map_err(|_| KeysError::Number(line))?;
            let key = key_of(key).map_err(|found| KeysError::Key { line, found })?;
            if key.iter().all(|byte| *byte == key[0]) {
                return Err(KeysError::Weak(line));
            }
            if keys.values().any(|known| *known == key) || keys.insert(number, key).is_some() {
                return Err(KeysError::Twice(line));
            }
        }
        match keys.len() {
            0 => Err(KeysError::Empty),
            count if count > KEYS_MAX => Err(KeysError::TooMany),
            _ => Ok(Self::of(keys)),
        }
    }
}

fn key_of(text: &str) -> Result<[u8; KEY_BYTES], &'static str> {
    let bytes = if text.len() == 2 * KEY_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let pairs = (0..KEY_BYTES).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16));
        pairs.collect::<Result<Vec<_>, _>>().map_err(|_| "no hexadecimal")?
    } else {
        STANDARD.decode(text).map_err(|_| "neither base64 nor hexadecimal")?
    };
    <[u8; KEY_BYTES]>::try_from(bytes).map_err(|bytes| if bytes.len() < KEY_BYTES { "too short" } else { "too long" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64(byte: u8) -> String {
        STANDARD.encode([byte, 255].repeat(16))
    }

    /// S32: the keys are those that were written down, whichever way; what is none is named without being told.
    #[test]
    fn keys_are_read_and_what_is_none_is_named() {
        let hexadecimal = (0..32).map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().concat();
        let text = format!("# of 2026\n\n 7 {}\r\n2\t{hexadecimal}\n", base64(9));
        let read = Ciphers::read(&text).unwrap();
        assert_eq!((read.numbers().collect::<Vec<_>>(), read.newest_number()), (vec![2, 7], 7));
        let again = Ciphers::read(&format!("2 {}", STANDARD.encode((0..32).collect::<Vec<u8>>()))).unwrap();
        assert_eq!(read.find(2).unwrap().unwrap().fingerprint(), again.find(2).unwrap().unwrap().fingerprint());
        let many = (1..=17).map(|number| format!("{number} {}\n", base64(number))).collect::<Vec<_>>().concat();
        for (text, want) in [
            ("# none\n".to_owned(), KeysError::Empty),
            (base64(1), KeysError::Line(1)),
            (format!("\n1 {} x", base64(1)), KeysError::Line(2)),
            (format!("0 {}", base64(1)), KeysError::Number(1)),
            (format!("x {}", base64(1)), KeysError::Number(1)),
            ("1 c2hvcnQ=".to_owned(), KeysError::Key { line: 1, found: "too short" }),
            ("1 no-base64!".to_owned(), KeysError::Key { line: 1, found: "neither base64 nor hexadecimal" }),
            (format!("1 {}", STANDARD.encode([1; 33])), KeysError::Key { line: 1, found: "too long" }),
            (format!("1 {}", "0".repeat(64)), KeysError::Weak(1)),
            (format!("1 {0}\n1 {1}", base64(1), base64(2)), KeysError::Twice(2)),
            (format!("1 {0}\n2 {0}", base64(1)), KeysError::Twice(2)),
            (many, KeysError::TooMany),
        ] {
            let error = Ciphers::read(&text).unwrap_err();
            assert!(!error.to_string().contains(&base64(1)), "{error}");
            assert_eq!(error, want);
        }
    }
}
