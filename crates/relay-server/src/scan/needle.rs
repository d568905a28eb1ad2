//! What is looked for in events, and whether one has it.

use std::{borrow::Cow, fmt, io::Read};

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use memchr::memmem::Finder;
use relay_core::{event::Event, limits};

use super::json_path::JsonPath;

/// What is looked for, at most.
pub(crate) const TEXT_BYTES_MAX: usize = 1024;
/// A compressed body is decoded to this length, at most.
const DECODED_MAX: u64 = 4 << 20;

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) enum Needle {
    /// A text, as it is, in the body, the query or the value of a header.
    Text(Text),
    /// What stands at a place of a JSON body.
    Json(JsonPath),
}

/// A text, which a body may have as JSON escapes it.
#[derive(Clone)]
pub(crate) struct Text(Box<Finder<'static>>);

/// Whether an event has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Has {
    Yes,
    No,
    /// Nobody knows: not all of its body could be read.
    Unread,
}

impl Needle {
    /// Whether this event has it. What is decoded for that is taken from `budget`.
    pub(crate) fn is_in(&self, event: &Event, budget: &mut usize) -> Has {
        if let Self::Text(text) = self
            && event.headers.iter().map(|(_, value)| value).chain(&event.query).any(|value| text.is_in(value))
        {
            return Has::Yes;
        }
        let body = &event.body[..];
        let Some(coding) = Coding::of(event) else { return Has::Unread };
        let (decoded, is_whole) = match coding {
            Coding::Identity => return self.is_in_body(body, event),
            coding => coding.decoded(body, looked_through_max(body)),
        };
        *budget = budget.saturating_sub(decoded.len());
        match self.is_in_body(&decoded, event) {
            Has::No if !is_whole => Has::Unread,
            has => has,
        }
    }

    fn is_in_body(&self, body: &[u8], event: &Event) -> Has {
        let has = match self {
            Self::Text(text) => text.is_in(body) || text.is_in_escaped(body),
            Self::Json(path) => match path.is_in(json_of(body)) {
                Ok(has) => has,
                Err(_) if is_meant_as_json(body, event) => return Has::Unread,
                Err(_) => false,
            },
        };
        if has { Has::Yes } else { Has::No }
    }
}

/// The body of an event as its sender had it, if it can be read whole and is no longer than that.
pub(crate) fn body_of(event: &Event, bytes_max: usize) -> Option<Cow<'_, [u8]>> {
    let (body, is_whole) = match Coding::of(event)? {
        Coding::Identity => (Cow::Borrowed(&event.body[..]), true),
        coding => {
            let (decoded, is_whole) = coding.decoded(&event.body, DECODED_MAX);
            (Cow::Owned(decoded), is_whole)
        }
    };
    (is_whole && body.len() <= bytes_max).then_some(body)
}

/// The same without the mark that some put in front of JSON.
pub(crate) fn json_of(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// What kind of thing is looked for; never what, nor where, which may be somebody's name.
impl fmt::Display for Needle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "a text",
            Self::Json(_) => "a place of JSON",
        })
    }
}

impl Text {
    /// `None`: it is empty, or longer than [`TEXT_BYTES_MAX`].
    pub(crate) fn new(text: &str) -> Option<Self> {
        (1..=TEXT_BYTES_MAX).contains(&text.len()).then(|| Self(Box::new(Finder::new(text).into_owned())))
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.find(bytes).is_some()
    }

    /// In whatever way its sender escapes: what JSON knows of that is undone.
    fn is_in_escaped(&self, bytes: &[u8]) -> bool {
        memchr::memchr(b'\\', bytes).is_some() && self.is_in(&unescaped(bytes))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text")
    }
}

/// The same bytes with what JSON escapes as it is meant; what is no escape stays.
fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = &rest[at..];
        let (char, length) = match escape.get(1) {
            Some(b'"') => ('"', 2),
            Some(b'\\') => ('\\', 2),
            Some(b'/') => ('/', 2),
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(b'u') => coded(escape).unwrap_or(('\\', 1)),
            _ => ('\\', 1),
        };
        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &escape[length..];
    }
    out.extend_from_slice(rest);
    out
}

/// The character of `\uXXXX`, or of two of them, and how long that is.
fn coded(escape: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = escape.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let first = unit(0)?;
    if let Some(char) = char::from_u32(first.into()) {
        return Some((char, 6));
    }
    char::decode_utf16([first, unit(6)?]).next()?.ok().map(|char| (char, 12))
}

/// How a body is compressed.
enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Coding {
    /// `None`: in a way that is not read, or in several.
    fn of(event: &Event) -> Option<Self> {
        let mut codings = event.headers.iter().filter(|(name, _)| &name[..] == b"content-encoding");
        let Some((_, coding)) = codings.next() else { return Some(Self::Identity) };
        let coding = coding.trim_ascii().to_ascii_lowercase();
        match &coding[..] {
            _ if codings.next().is_some() => None,
            b"" | b"identity" => Some(Self::Identity),
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            _ => None,
        }
    }
}

impl Coding {
    /// A body without it as far as it goes, but for what is behind so many bytes, and whether that is all.
    fn decoded(&self, body: &[u8], end: u64) -> (Vec<u8>, bool) {
        match self {
            Self::Identity => (body.to_vec(), true),
            Self::Gzip => decoded(MultiGzDecoder::new(body), end),
            Self::Deflate => {
                let mut decoder = ZlibDecoder::new(body);
                let (decoded, is_whole) = decoded(&mut decoder, end);
                (decoded, is_whole && decoder.into_inner().is_empty())
            }
        }
    }
}

/// How far a compressed body is looked through: a bomb that is sent again and again is to cost little each time (S12).
fn looked_through_max(body: &[u8]) -> u64 {
    limits::DECODED_FREE_BYTES.max(body.len() as u64 * limits::DECODED_RATIO_MAX).min(DECODED_MAX)
}

/// What is decoded as far as it goes, to this length at most, and whether that is all.
fn decoded(decoder: impl Read, end: u64) -> (Vec<u8>, bool) {
    // All its room at once: one that grew would be there twice for a moment. What is not written to takes no memory.
    let mut out = Vec::with_capacity(end as usize + 1);
    // One more tells whether there is more.
    let read = decoder.take(end + 1).read_to_end(&mut out);
    (out, matches!(read, Ok(length) if length as u64 <= end))
}

/// Its sender says that it is JSON, or it begins so.
fn is_meant_as_json(body: &[u8], event: &Event) -> bool {
    let mut types = event.headers.iter().filter(|(name, _)| &name[..] == b"content-type");
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
        || types.any(|(_, value)| value.to_ascii_lowercase().windows(4).any(|part| part == b"json"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use bytes::Bytes;
    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };
    use relay_core::{id::IdMint, time::Wall};

    use super::*;
    use crate::tests;

    fn event(body: impl Into<Bytes>, headers: &[(&'static str, &'static str)]) -> Event {
        let at = Wall::from_micros(1_700_000_000_000_000);
        Event {
            query: Some("user=ada%40example.com".into()),
            headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            body: body.into(),
            ..tests::event(&mut IdMint::new(0, 7), at, "shop")
        }
    }

    fn text(text: &str) -> Needle {
        Needle::Text(Text::new(text).unwrap())
    }

    fn has(needle: &Needle, event: &Event) -> Has {
        let mut budget = usize::MAX;
        needle.is_in(event, &mut budget)
    }

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_text_is_found_however_json_escapes_it_and_beside_the_body() {
        for body in [
            r#"{"who":"J\u00f6rg \ud83d\ude00","mail":"ada\u002Bx@example.com","url":"https:\/\/example.com","said":"\"no\"\tC:\\u"}"#,
            r#"{"who":"J\u00F6rg \uD83D\uDE00","mail":"ada+x@example.com","url":"https://example.com","said":"\"no\"\u0009C:\u005cu"}"#,
        ] {
            for wanted in ["Jörg", "Jörg 😀", "ada+x@example.com", "https://example.com", "\"no\"\tC:\\u", "who"] {
                assert_eq!(has(&text(wanted), &event(body, &[])), Has::Yes, "{wanted}");
            }
        }
        let plain = event("Jörg at https://example.com, 100\\% \\u12 \\ud83d", &[("x-github-delivery", "72d3162e")]);
        for wanted in ["Jörg", "https://example.com", "72d3162e", "ada%40", "100\\%", "\\u12 \\ud83d"] {
            assert_eq!(has(&text(wanted), &plain), Has::Yes, "{wanted}");
        }
        for wanted in ["jörg", "x-github-delivery", "Jorg"] {
            assert_eq!(has(&text(wanted), &plain), Has::No, "{wanted}");
        }
        assert!(Text::new("").is_none() && Text::new(&"a".repeat(TEXT_BYTES_MAX + 1)).is_none());
    }

    #[test]
    fn what_is_compressed_is_read_and_what_cannot_be_is_not_taken_for_read() {
        let path = Needle::Json("$.a=cus".parse().unwrap());
        let coded = |body: Vec<u8>, coding| event(body, &[("content-encoding", coding)]);
        let json = br#"{"a":"cus"}"#;
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(json).unwrap();
        let zlib = zlib.finish().unwrap();
        for whole in [coded(gzip(json), "gzip"), coded(zlib.clone(), "deflate")] {
            assert_eq!((has(&text("cus"), &whole), has(&path, &whole)), (Has::Yes, Has::Yes));
            assert_eq!(has(&text("other"), &whole), Has::No);
        }
        let members = coded([gzip(b"{\"a\":"), gzip(b"\"cus\"}")].concat(), "gzip");
        assert_eq!((has(&text("cus"), &members), has(&path, &members)), (Has::Yes, Has::Yes));
        let bomb = coded(gzip(&vec![b' '; DECODED_MAX as usize + 1]), "gzip");
        let behind = coded([gzip(b"one"), b"cus".to_vec()].concat(), "gzip");
        let behind_zlib = coded([zlib, b"x".to_vec()].concat(), "deflate");
        assert_eq!(has(&text("other"), &behind_zlib), Has::Unread);
        for unread in [bomb, behind, coded(b"?".to_vec(), "br"), coded(b"no gzip".to_vec(), "gzip")] {
            assert_eq!(has(&text("cus"), &unread), Has::Unread);
            assert_ne!(has(&path, &unread), Has::Yes);
        }
        let mut budget = 20;
        text("other").is_in(&coded(gzip(json), "gzip"), &mut budget);
        assert_eq!(budget, 20 - json.len(), "what was decoded is told");
    }

    /// S12: what is small and would become very much larger is read no further than a hundred times what was sent, or a MiB.
    #[test]
    fn a_bomb_is_read_as_far_as_its_size_allows() {
        let gzip = |length: u64| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&vec![b' '; length as usize]).unwrap();
            encoder.write_all(b"cus").unwrap();
            encoder.finish().unwrap()
        };
        let bomb = gzip(3 << 20);
        assert!((bomb.len() as u64 * limits::DECODED_RATIO_MAX) < limits::DECODED_FREE_BYTES, "{}", bomb.len());
        let coded = |body: Vec<u8>| event(body, &[("content-encoding", "gzip")]);
        let mut budget = usize::MAX;
        assert_eq!(text("cus").is_in(&coded(bomb), &mut budget), Has::Unread);
        assert_eq!(usize::MAX - budget, limits::DECODED_FREE_BYTES as usize + 1);
        assert_eq!(has(&text("cus"), &coded(gzip(1 << 19))), Has::Yes);
        let padded = [gzip(3 << 20), gzip(0), vec![0; 40_000]].concat();
        assert_eq!(has(&text("cus"), &coded(padded)), Has::Yes, "of 43 KB so much may come");
    }

    #[test]
    fn what_is_meant_as_json_and_is_none_is_not_taken_for_read() {
        let path = Needle::Json("$.a=cus".parse().unwrap());
        assert_eq!(has(&path, &event("a=cus", &[])), Has::No);
        assert_eq!(has(&path, &event("{\"a\":", &[])), Has::Unread);
        assert_eq!(has(&path, &event("\u{0}{", &[("content-type", "application/JSON; charset=utf-16")])), Has::Unread);
        assert_eq!(has(&path, &event("\u{feff}{\"a\":\"cus\"}", &[])), Has::Yes);
    }

    #[test]
    fn what_is_looked_for_is_not_told() {
        let (text, path) = (text("ada"), Needle::Json("$.ada=ada".parse().unwrap()));
        assert_eq!((text.to_string(), path.to_string()), ("a text".to_owned(), "a place of JSON".to_owned()));
        assert!(!format!("{text:?}").contains("ada"));
    }
}
