//! What a request must be in any version of HTTP, and what of it goes on: rules over its method, its target, its fields and
//! the length of its body.
//!
//! Whoever reads a version's bytes asks them of each part as it comes, so that nothing is read behind what breaks one; the rest
//! is asked of the `Parts` of the whole. Where RFC 9110 leaves a choice between tolerating and refusing, they refuse.
//!
//! **Source** RFC 9110, section 7.6.1 for hop-by-hop fields; RFC 3986 for targets and hosts.
//!
//! **Invariant:** nothing here knows how a version writes what it says.

use bytes::Bytes;
use http::{HeaderMap, header, request::Parts};
use relay_core::target::is_query;

use super::flaw::Flaw;
use crate::error::{Code, Problem};

/// Fields that are about one hop only, and never forwarded, beside `Proxy-*`; `Host` is the target's, `Content-Length` is made anew.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The query of a request as its sender wrote it, where a `Uri` holds no such bytes: stands among the extensions of its head.
#[derive(Clone, Debug)]
pub(crate) struct SentQuery(pub(crate) Bytes);

/// Whether a byte may stand in a method, or in the name of a field.
pub(super) const fn is_token(byte: u8) -> bool {
    is_of(byte, TOKEN)
}

/// Whether a byte may stand in a field value.
pub(super) const fn is_value(byte: u8) -> bool {
    is_of(byte, VALUE)
}

/// Whether each of these bytes may. All are looked at, whatever stands among them: so many are looked at at once.
pub(super) fn are_values(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |found, byte| found | u8::from((*byte < b' ' && *byte != b'\t') || *byte == 0x7f)) == 0
}

/// Looks at a target that is a path with an optional query; gives the query.
///
/// # Errors
/// [`Flaw::Path`] or [`Flaw::Query`], whichever holds a byte that may not stand there.
pub(super) fn path_and_query(target: &[u8]) -> Result<Option<&[u8]>, Flaw> {
    let (path, query) = split(target);
    if !path.iter().all(|byte| is_of(*byte, PATH)) || std::str::from_utf8(path).is_err() {
        return Err(Flaw::Path);
    }
    if !query.is_none_or(is_query) {
        return Err(Flaw::Query);
    }
    Ok(query)
}

/// The path and the query of a target.
pub(super) fn split(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

/// The query of a request as its sender wrote it.
pub(super) fn query(head: &Parts) -> Option<&[u8]> {
    let query = head.uri.query()?.as_bytes();
    Some(head.extensions.get::<SentQuery>().map_or(query, |SentQuery(sent)| sent))
}

/// A name or an address, with an optional port. Names are those of DNS; what a program may decode, split or cut off is none.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if value[at] == b':' => (&value[..at], &value[at + 1..]),
        _ => (value, b"".as_slice()),
    };
    let is_port = port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    let is_host = match host {
        [b'[', address @ .., b']'] => !address.is_empty() && address.iter().all(|byte| is_of(*byte, ADDRESS)),
        name => !name.is_empty() && name.iter().all(|byte| is_of(*byte, HOST)),
    };
    is_port && is_host
}

/// Whether two hosts in lower case are the same, `port` (as in `:80`) being that which the scheme has anyway.
pub(super) fn are_same_host(host: &[u8], other: &[u8], port: &str) -> bool {
    without(host, port) == without(other, port)
}

/// How many bytes a body has, as its sender says. Bounded by `i64::MAX`: nobody means more, and nobody behind this has to think
/// about overflow.
///
/// # Errors
/// [`Flaw::LengthInvalid`] unless it is digits and nothing else.
pub(super) fn length(value: &[u8]) -> Result<u64, Flaw> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Flaw::LengthInvalid);
    }
    let add = |sum: i64, digit: &u8| sum.checked_mul(10)?.checked_add(i64::from(digit - b'0'));
    value.iter().try_fold(0, add).map(i64::cast_unsigned).ok_or(Flaw::LengthInvalid)
}

/// Whether a field goes on to a target: it belongs neither to one hop, nor to the relay, and `Connection` does not name it.
pub(super) fn is_forwarded(name: &[u8], connection: &[String]) -> bool {
    let fixed = HOP_BY_HOP.iter().any(|known| known.as_bytes() == name);
    let prefixed = name.starts_with(b"proxy-") || name.starts_with(b"relay-");
    !fixed && !prefixed && !connection.iter().any(|named| named.as_bytes() == name)
}

/// The fields that `Connection` names, in lower case.
///
/// # Errors
/// A problem if it names one that the source's provider reads, or that says what the body is: a proxy in between would
/// have dropped it, and the webhook with it.
pub(super) fn named_in_connection(headers: &HeaderMap, read: &[String]) -> Result<Vec<String>, Problem> {
    let mut named = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.is_empty() || option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive")
            {
                continue;
            }
            let option = String::from_utf8_lossy(option).to_ascii_lowercase();
            if is_protected(&option, read) {
                return Err(Problem::new(Code::Malformed, "Connection names a header field that must be forwarded"));
            }
            named.push(option);
        }
    }
    Ok(named)
}

fn is_protected(name: &str, read: &[String]) -> bool {
    matches!(name, "content-type" | "content-length" | "content-encoding")
        || name.starts_with("webhook-")
        || name.contains("signature")
        || read.iter().any(|protected| protected == name)
}

/// A host without the port that its scheme has anyway.
fn without<'a>(host: &'a [u8], port: &str) -> &'a [u8] {
    host.strip_suffix(port.as_bytes()).or_else(|| host.strip_suffix(b":")).unwrap_or(host)
}

const TOKEN: u8 = 1;
const PATH: u8 = 2;
const ADDRESS: u8 = 4;
const VALUE: u8 = 8;
const HOST: u8 = 16;

/// Which bytes may stand where: one look instead of a chain of comparisons.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        let mut class = 0;
        if byte.is_ascii_alphanumeric() {
            class |= TOKEN | HOST;
        }
        if matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~') {
            class |= TOKEN;
        }
        if matches!(byte, b'-' | b'.' | b'_' | b'~') {
            class |= HOST;
        }
        if byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.') {
            class |= ADDRESS;
        }
        if matches!(byte, 0x21..=0x7e | 0x80..) && !matches!(byte, b'#' | b'<' | b'>' | b'`' | b'?') {
            class |= PATH;
        }
        if matches!(byte, b'\t' | 0x20..=0x7e | 0x80..) {
            class |= VALUE;
        }
        table[index] = class;
        index += 1;
    }
    table
}

const fn is_of(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn values_are_of_bytes_that_may_stand_in_one() {
        for byte in 0..=u8::MAX {
            assert_eq!(are_values(&[b'a', byte, b'b']), is_value(byte), "{byte}");
        }
        assert!(are_values(b""));
    }

    /// S7: what is no host is refused, however some program behind would read it.
    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        for host in
            ["a", "a:8080", "a.example:", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]:80", "xn--4ca", "A_b-c~", "a."]
        {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":80",
            "a,b",
            "[::1",
            "::1",
            "a%00b",
            "a%41",
            "a b",
            "a@b",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "[]",
            "[a]b",
            "a:80:80",
            "a:80a",
            "a:123456",
            "[::1]x",
            "\u{e9}",
            "a;b",
            "a'b",
            "a(b)",
            "[::1%25eth0]",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    /// RFC 9112 section 3.2.2: a target in absolute form names its host once more.
    #[test]
    fn a_host_is_the_same_with_the_port_of_its_scheme() {
        for other in ["a", "a:80", "a:"] {
            assert!(are_same_host(b"a", other.as_bytes(), ":80") && are_same_host(other.as_bytes(), b"a", ":80"));
        }
        for other in ["b", "a:443", "a:8080", "a.", "a::80"] {
            assert!(!are_same_host(b"a", other.as_bytes(), ":80"), "{other}");
        }
    }

    /// S3: a length has one reading.
    #[test]
    fn a_length_is_digits_that_fit() {
        assert_eq!((length(b"0"), length(b"012")), (Ok(0), Ok(12)));
        assert_eq!(length(b"9223372036854775807"), Ok(i64::MAX as u64));
        for value in ["", "9223372036854775808", "+5", "-5", "5 ", "5,5", "0x5", "\u{665}"] {
            assert_eq!(length(value.as_bytes()), Err(Flaw::LengthInvalid), "{value}");
        }
    }

    fn connection(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (header::CONNECTION, HeaderValue::from_static(value))).collect()
    }

    /// S13
    #[test]
    fn connection_must_not_name_what_the_provider_reads() {
        let read = ["x-custom".to_owned()];
        for named in ["X-Hub-Signature-256", "content-type", "webhook-id", "x-custom", "close, Content-Length"] {
            assert_eq!(named_in_connection(&connection(&[named]), &read).unwrap_err().code, Code::Malformed, "{named}");
        }
        let lines = connection(&["close", "Upgrade, x-other"]);
        assert_eq!(named_in_connection(&lines, &read), Ok(vec!["upgrade".to_owned(), "x-other".to_owned()]));
    }
}
