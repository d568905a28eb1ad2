//! What can be wrong with a request before anybody reads what it asks for: its framing and its size.

use crate::error::{Code, Problem};

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

impl Flaw {
    /// Every flaw, in their order.
    pub(super) const ALL: [Self; 22] = [
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
