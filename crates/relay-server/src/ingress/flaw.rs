//! What can be wrong with a request before anybody reads what it asks for: its framing and its size.

use std::time::Duration;

use hyper::Uri;

use crate::error::{Code, Problem};

/// How long a request head may take to arrive, from its first byte.
pub(super) const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// A flaw in a request's head or framing; the connection ends with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    RequestLine,
    Version,
    Space,
    Target,
    Path,
    Query,
    UriTooLong,
    HeadTooLarge,
    TooManyFields,
    LineEnd,
    FieldName,
    FieldValue,
    Folded,
    HostMissing,
    HostRepeated,
    HostInvalid,
    LengthInvalid,
    LengthRepeated,
    LengthAndCoding,
    CodingInvalid,
    CodingUnsupported,
    Slow,
}

/// The authority of the request that stands in for a flawed one. No request of a sender has one: the scanner refuses
/// targets that do not start with `/`.
const STAND_IN: &str = "flawed";

impl Flaw {
    const ALL: [Self; 22] = [
        Self::RequestLine,
        Self::Version,
        Self::Space,
        Self::Target,
        Self::Path,
        Self::Query,
        Self::UriTooLong,
        Self::HeadTooLarge,
        Self::TooManyFields,
        Self::LineEnd,
        Self::FieldName,
        Self::FieldValue,
        Self::Folded,
        Self::HostMissing,
        Self::HostRepeated,
        Self::HostInvalid,
        Self::LengthInvalid,
        Self::LengthRepeated,
        Self::LengthAndCoding,
        Self::CodingInvalid,
        Self::CodingUnsupported,
        Self::Slow,
    ];

    /// The request that is handed on in place of the flawed one, so that its answer keeps its place behind the answers of
    /// the requests before it.
    pub(super) fn stand_in(self) -> String {
        format!("POST http://{STAND_IN}/{} HTTP/1.1\r\nhost: {STAND_IN}\r\nconnection: close\r\n\r\n", self as u8)
    }

    /// The flaw that a request stands for, if it is a stand-in.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        if uri.authority()?.as_str() != STAND_IN {
            return None;
        }
        let index: usize = uri.path().get(1..)?.parse().ok()?;
        Self::ALL.get(index).copied()
    }

    /// What the sender is told.
    pub(crate) const fn problem(self) -> Problem {
        let (code, detail) = match self {
            Self::RequestLine => (Code::Malformed, "the request line is not METHOD SP TARGET SP VERSION"),
            Self::Version => (Code::Malformed, "the version is not one of HTTP/1"),
            Self::Space => (Code::Malformed, "the request target holds a space; in a URL it is %20"),
            Self::Target => {
                (Code::Malformed, "the request target is not a path with an optional query, or names another host")
            }
            Self::Path => (
                Code::Malformed,
                "the path holds what has to be percent-encoded there: # < > `, a control character, or no UTF-8",
            ),
            Self::Query => {
                (Code::Malformed, "the query holds what has to be percent-encoded there: # or a control character")
            }
            Self::UriTooLong => (Code::UriTooLong, "path and query are longer than 8 KiB"),
            Self::HeadTooLarge => (Code::HeadersTooLarge, "the request head is larger than 32 KiB"),
            Self::TooManyFields => (Code::HeadersTooLarge, "there are more than 100 header fields"),
            Self::LineEnd => (Code::Malformed, "a line of the head does not end with CR LF"),
            Self::FieldName => (Code::Malformed, "a header line has no valid field name before its colon"),
            Self::FieldValue => (Code::Malformed, "a header value holds a control character"),
            Self::Folded => (Code::Malformed, "a header line starts with white space"),
            Self::HostMissing => (Code::Malformed, "the Host header is missing"),
            Self::HostRepeated => (Code::Malformed, "there is more than one Host header"),
            Self::HostInvalid => (Code::Malformed, "the Host header is not a host with an optional port"),
            Self::LengthInvalid => (Code::Malformed, "Content-Length is not a number of bytes"),
            Self::LengthRepeated => (Code::Malformed, "there is more than one Content-Length"),
            Self::LengthAndCoding => (Code::Malformed, "Content-Length and Transfer-Encoding are both present"),
            Self::CodingInvalid => (Code::Malformed, "Transfer-Encoding is not just: chunked, in HTTP/1.1"),
            Self::CodingUnsupported => (Code::NotImplemented, "the only transfer coding taken is chunked"),
            Self::Slow => (Code::Timeout, "the request head did not arrive in 10 s"),
        };
        Problem::new(code, detail).closing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flaw_is_known_again_from_its_stand_in() {
        for flaw in Flaw::ALL {
            let head = flaw.stand_in();
            let uri: Uri = head.split(' ').nth(1).unwrap().parse().unwrap();
            assert_eq!(Flaw::of(&uri), Some(flaw));
        }
        assert_eq!(Flaw::of(&Uri::from_static("/flawed/3")), None);
        assert_eq!(Flaw::of(&Uri::from_static("http://elsewhere/3")), None);
    }
}
