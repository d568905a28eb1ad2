//! Signatures as a request presents them: found in its fields, cut out, decoded.

use std::borrow::Cow;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use super::{Encoding, Style};
use crate::{Refusal, secret};

/// Items of one field that are looked at; a field is bounded by the size of a request's head already.
const ITEMS_MAX: usize = 64;

/// What one field, or several of a family, present.
pub(super) struct Presented<'a> {
    /// Signatures that are kept at most.
    max: usize,
    /// Decoded signatures.
    pub(super) signatures: Vec<Vec<u8>>,
    /// The timestamp, where it stands in the same field.
    pub(super) stamp: Option<&'a [u8]>,
}

impl<'a> Presented<'a> {
    pub(super) fn at_most(max: usize) -> Self {
        Self { max, signatures: Vec::new(), stamp: None }
    }

    /// Adds what `value` presents. Signatures that cannot be read are passed over: another may be good.
    pub(super) fn add(
        &mut self,
        value: &'a [u8],
        style: Style,
        own_prefix: &str,
        encoding: Encoding,
        place: &str,
    ) -> Result<(), Refusal> {
        match style {
            Style::Raw => self.add_signature(Some(value), encoding),
            Style::Prefix(prefix) => self.add_signature(value.strip_prefix(prefix.as_bytes()), encoding),
            Style::Authentication(scheme) => self.add_signature(behind_scheme(value, scheme), encoding),
            Style::Named => self.add_signature(value.strip_prefix(own_prefix.as_bytes()), encoding),
            Style::List { separator, prefix } => {
                for item in items(value, separator) {
                    self.add_signature(item.strip_prefix(prefix.as_bytes()), encoding);
                }
            }
            Style::Pairs { separator, signature, stamp } => {
                for item in items(value, separator) {
                    let Some((key, value)) = pair(item) else { continue };
                    if key == signature.as_bytes() {
                        self.add_signature(Some(value), encoding);
                    } else if key == stamp.as_bytes() {
                        self.set_stamp(value, place)?;
                    }
                }
            }
            Style::Positional { separator } => {
                let mut items = items(value, separator);
                if let Some(stamp) = items.next() {
                    self.set_stamp(stamp, place)?;
                }
                items.for_each(|item| self.add_signature(Some(item), encoding));
            }
        }
        Ok(())
    }

    fn add_signature(&mut self, encoded: Option<&[u8]>, encoding: Encoding) {
        if self.signatures.len() < self.max {
            self.signatures.extend(encoded.and_then(|encoded| encoding.decode(encoded)));
        }
    }

    fn set_stamp(&mut self, value: &'a [u8], place: &str) -> Result<(), Refusal> {
        if self.stamp.is_some_and(|stamp| stamp != value) {
            return Err(Refusal::new("malformed_signature", format!("{place} holds two different timestamps")));
        }
        self.stamp = Some(value);
        Ok(())
    }
}

fn items(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    value.split(move |byte| *byte == separator).map(<[u8]>::trim_ascii).take(ITEMS_MAX)
}

fn behind_scheme<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let (name, credentials) = value.split_at_checked(scheme.len())?;
    let is_it = name.eq_ignore_ascii_case(scheme.as_bytes()) && credentials.first() == Some(&b' ');
    is_it.then(|| credentials.trim_ascii())
}

fn pair(item: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = item.iter().position(|byte| *byte == b'=')?;
    Some((&item[..at], &item[at + 1..]))
}

/// A field with one signature, as a sender writes it.
pub(super) fn present(style: Style, own_prefix: &str, signature: &str, stamp: &str) -> String {
    match style {
        Style::Raw => signature.to_owned(),
        Style::Prefix(prefix) | Style::List { prefix, .. } => format!("{prefix}{signature}"),
        Style::Authentication(scheme) => format!("{scheme} {signature}"),
        Style::Named => format!("{own_prefix}{signature}"),
        Style::Pairs { separator, signature: key, stamp: stamp_key } => {
            format!("{stamp_key}={stamp}{}{key}={signature}", char::from(separator))
        }
        Style::Positional { separator } => format!("{stamp}{}{signature}", char::from(separator)),
    }
}

/// What a field should look like.
pub(super) fn shape(style: Style, own_prefix: &str, encoding: Encoding) -> String {
    let name = encoding.name();
    let separated = |separator: u8| match separator {
        b' ' => "spaces".to_owned(),
        other => format!("{:?}", char::from(other)),
    };
    match style {
        Style::Raw => name.to_owned(),
        Style::Prefix(prefix) => format!("{prefix}SIGNATURE in {name}"),
        Style::Authentication(scheme) => format!("{scheme} and the secret"),
        Style::Named if own_prefix.is_empty() => name.to_owned(),
        Style::Named => format!("{own_prefix}SIGNATURE in {name}"),
        Style::List { separator, prefix } => {
            format!("{prefix}SIGNATURE in {name}, several with {} between", separated(separator))
        }
        Style::Pairs { separator, signature, stamp } => {
            let separator = char::from(separator);
            if stamp.is_empty() {
                format!("{signature}=SIGNATURE in {name}")
            } else {
                format!("{stamp}=TIME{separator}{signature}=SIGNATURE in {name}")
            }
        }
        Style::Positional { separator } => format!("TIME{}SIGNATURE in {name}", char::from(separator)),
    }
}

impl Encoding {
    pub(crate) fn decode(self, encoded: &[u8]) -> Option<Vec<u8>> {
        let bytes = match self {
            Self::Hex => secret::from_hex(str::from_utf8(encoded).ok()?)?,
            Self::Base64 => STANDARD.decode(encoded).ok()?,
            Self::Base64Url => URL_SAFE_NO_PAD.decode(encoded).ok()?,
            Self::Text => encoded.to_vec(),
        };
        (!bytes.is_empty()).then_some(bytes)
    }

    pub(crate) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => secret::to_hex(bytes),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 => "base64",
            Self::Base64Url => "URL-safe base64 without padding",
            Self::Text => "text",
        }
    }
}

/// Decodes the percent-escapes of characters that a URI may hold as they are, and no others.
pub(super) fn decode_reserved(url: &str) -> Cow<'_, str> {
    const ESCAPES: [(&str, char); 12] = [
        ("3A", ':'),
        ("2F", '/'),
        ("3F", '?'),
        ("40", '@'),
        ("21", '!'),
        ("24", '$'),
        ("27", '\''),
        ("28", '('),
        ("29", ')'),
        ("2A", '*'),
        ("2C", ','),
        ("3B", ';'),
    ];
    if !url.contains('%') {
        return Cow::Borrowed(url);
    }
    let mut parts = url.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let known = ESCAPES.iter().find(|(code, _)| part.get(..2).is_some_and(|hex| hex.eq_ignore_ascii_case(code)));
        if let Some((_, character)) = known {
            decoded.push(*character);
            decoded.push_str(&part[2..]);
        } else {
            decoded.push('%');
            decoded.push_str(part);
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_twelve_escapes_are_decoded() {
        assert_eq!(decode_reserved("https://h/a%3Ab%3ac%20d%26?x=%2F%zz%"), "https://h/a:b:c%20d%26?x=/%zz%");
        assert_eq!(decode_reserved("https://h/%é"), "https://h/%é");
        assert_eq!(decode_reserved("https://h/%253A"), "https://h/%253A", "what is decoded is not decoded again");
    }
}
