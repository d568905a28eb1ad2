//! Request targets and methods: what both ends refuse, so that no webhook leads out of the path that a target was given.
//!
//! **Source** RFC 3986 section 5.2.4 for dot segments; the rest is what servers are known to make of a path before they
//! look for these: they decode `%2f` and `%5c`, drop `;parameters`, end it at a NUL, decode twice.

use crate::limits;

/// Whether some program may read a dot segment (`.` or `..`) in this path, however it is written.
pub fn has_dot_segment(path: &[u8]) -> bool {
    // Every way to write a dot holds one, or a percent sign, or is no ASCII.
    if !path.iter().any(|byte| matches!(byte, b'.' | b'%' | 0x80..)) {
        return false;
    }
    let mut read = path.to_vec();
    for _ in 0..limits::PATH_DECODINGS_MAX {
        if read.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dots) {
            return true;
        }
        let decoded = decoded(&read);
        if decoded == read {
            return false;
        }
        read = decoded;
    }
    true
}

/// Whether these bytes may stand in the query of a request line. RFC 3986 has fewer: senders leave out escaping `{ } " < > |`
/// and what is no ASCII. Byte for byte, they are unambiguous.
pub fn is_query(query: &[u8]) -> bool {
    query.iter().all(|byte| matches!(byte, 0x21..=0x7e | 0x80..) && *byte != b'#')
}

/// Whether a request with this method may be a webhook: not one that asks a proxy for a tunnel, asks for the request's own
/// head back, or begins another protocol.
pub fn is_method_of_webhooks(method: &[u8]) -> bool {
    ![b"CONNECT".as_slice(), b"TRACE", b"TRACK", b"PRI"].iter().any(|other| method.eq_ignore_ascii_case(other))
}

/// One or two dots, before whatever a program takes for the end of the segment.
fn is_dots(segment: &[u8]) -> bool {
    let end = segment.iter().position(|byte| matches!(byte, b';' | b'?' | b'#')).unwrap_or(segment.len());
    let until_nul = segment[..end].split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    let mut without_nul = segment[..end].iter().filter(|byte| **byte > b' ');
    matches!(until_nul, b"." | b"..")
        || (without_nul.clone().count() <= 2
            && without_nul.clone().count() > 0
            && without_nul.all(|byte| *byte == b'.'))
}

/// With `%2e`, `%u002e` and the overlong forms of UTF-8 (`%c0%ae`) read as programs read them.
pub(crate) fn decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, behind @ ..] = rest {
        let hex = |digits: &[u8]| {
            let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u32::from_str_radix(text, 16).ok()
        };
        let read = match (first, behind) {
            (b'%', [b'u' | b'U', a, b, c, d, ..]) => {
                hex(&[*a, *b, *c, *d]).filter(|code| *code < 0x80).map(|code| (code, 6))
            }
            (b'%', [a, b, ..]) => hex(&[*a, *b]).map(|code| (code, 3)),
            (0xc0 | 0xc1, [second @ 0x80..=0xbf, ..]) => {
                Some(((u32::from(*first) & 1) << 6 | (u32::from(*second) & 0x3f), 2))
            }
            _ => None,
        };
        let (byte, length) = read.map_or((*first, 1), |(code, length)| (code as u8, length));
        out.push(byte);
        rest = &rest[length..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S18: whatever a program behind may read as a way out of its base path.
    #[test]
    fn dot_segments_are_seen_however_they_are_written() {
        for path in [
            "/..",
            "/.",
            "/a/..",
            "/../a",
            "/%2e%2E",
            "/.%2e/b",
            "/a/%2e/b",
            "/a\\..\\b",
            "/./",
            "/..%2fx",
            "/..%2Fx",
            "/%2e%2e%2fx",
            "/a%2f..%2f..%2fx",
            "/..%5cx",
            "/%2e%2e%5cx",
            "/..;/x",
            "/..;a=b/x",
            "/.;/x",
            "/%2e%2e;x/y",
            "/..%3b/x",
            "/..%00/x",
            "/.%00./x",
            "/..%00x/y",
            "/..%20/x",
            "/..%09/x",
            "/..%3fx",
            "/..%23x",
            "/..%252fx",
            "/%252e%252e/x",
            "/%25252e%25252e/x",
            "/..%255cx",
            "/%c0%ae%c0%ae/x",
            "/..%c0%afx",
            "/..%c1%9cx",
            "/%u002e%u002e/x",
            "/..%u002fx",
            "/x/..",
            "..",
        ] {
            assert!(has_dot_segment(path.as_bytes()), "{path}");
        }
        assert!(has_dot_segment(format!("/%{}2e", "25".repeat(20)).as_bytes()), "encoded without end");
        for path in [
            "",
            "/",
            "/a/b",
            "/...",
            "/a..",
            "/..a",
            "/.a",
            "/%2ea",
            "/%2",
            "/%",
            "/a.b",
            "/a%2Fb//c",
            "/%zz",
            "/100%25",
            "/;..",
            "/a;../b",
            "/%00",
            "/ü",
            "/v1.2/x.y",
            "/%u12",
            "/.well-known/x",
            "/..%u2025x",
            "/a%20.%20b",
        ] {
            assert!(!has_dot_segment(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_query_is_anything_that_a_request_line_can_hold() {
        assert!(is_query(b"q={\"a\":1}&x=<b>&name=J\xfcrgen|^`%zz"));
        for query in [b"a b".as_slice(), b"a#b", b"a\r\nb", b"a\x7f", b"\0"] {
            assert!(!is_query(query), "{query:?}");
        }
    }

    #[test]
    fn methods_that_mean_something_else_are_no_webhooks() {
        for method in ["CONNECT", "connect", "TRACE", "PRI", "TRACK"] {
            assert!(!is_method_of_webhooks(method.as_bytes()), "{method}");
        }
        assert!(["POST", "QUERY", "PROPFIND"].iter().all(|method| is_method_of_webhooks(method.as_bytes())));
    }
}
