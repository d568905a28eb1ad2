//! Header fields of an event: all of them for the check, then only those that are forwarded.
//!
//! **Source** RFC 9110 section 7.6.1 for hop-by-hop fields.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Uri, header};

use super::http1;
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

/// What an event keeps of a request besides its body. All of it shares one allocation of its own, so that it does not
/// hold on to the connection's read buffer.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) method: Bytes,
    pub(super) path: Bytes,
    pub(super) query: Option<Bytes>,
    /// Every field, names in lower case, repetitions in their order.
    pub(super) headers: Vec<(Bytes, Bytes)>,
}

impl Raw {
    /// Copies a request's head.
    pub(super) fn copy(method: &str, uri: &Uri, headers: &HeaderMap) -> Self {
        let (path, query) = (uri.path().as_bytes(), http1::query(uri));
        let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let mut all =
            BytesMut::with_capacity(method.len() + path.len() + query.as_ref().map_or(0, |query| query.len()) + fields);
        let mut keep = |part: &[u8]| {
            all.extend_from_slice(part);
            all.split().freeze()
        };
        Self {
            method: keep(method.as_bytes()),
            path: keep(path),
            query: query.as_deref().map(&mut keep),
            headers: headers
                .iter()
                .map(|(name, value)| (keep(name.as_str().as_bytes()), keep(value.as_bytes())))
                .collect(),
        }
    }

    /// Bytes it holds.
    pub(super) fn size(&self) -> u64 {
        let fields: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        (self.method.len() + self.path.len() + self.query.as_ref().map_or(0, Bytes::len) + fields) as u64
    }

    /// Drops what is not forwarded: hop-by-hop fields and those that `Connection` names, inbound `Relay-*`, and the
    /// fields at the indexes `strip`, which proved a key.
    pub(super) fn clean(&mut self, connection: &[String], strip: &[usize]) {
        let mut index = 0;
        self.headers.retain(|(name, _)| {
            let stripped = strip.contains(&index);
            index += 1;
            !stripped && is_forwarded(name, connection)
        });
    }
}

fn is_forwarded(name: &[u8], connection: &[String]) -> bool {
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

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn cleaned(lines: &[(&'static str, &'static str)], strip: &[usize]) -> Vec<String> {
        let headers = headers(lines);
        let mut raw = Raw::copy("POST", &Uri::from_static("/webhook/s/a%2Fb?"), &headers);
        raw.clean(&named_in_connection(&headers, &[]).unwrap(), strip);
        assert_eq!((&raw.path[..], raw.query.as_deref()), (b"/webhook/s/a%2Fb".as_slice(), Some(b"".as_slice())));
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        raw.headers.iter().map(|(name, value)| format!("{}={}", text(name), text(value))).collect()
    }

    /// S13, S14, I3: what belongs to one hop or to the relay goes, the rest stays as it is, repetitions in order.
    #[test]
    fn hop_by_hop_and_relay_fields_are_dropped_and_the_rest_is_kept() {
        let lines = [
            ("host", "a"),
            ("x-a", "1"),
            ("connection", "close, X-Hop ,keep-alive"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("proxy-authorization", "x"),
            ("http2-settings", "x"),
            ("upgrade", "h2c"),
            ("relay-event-id", "evt_x"),
            ("x-api-key", "secret"),
            ("x-b", "2"),
            ("x-a", " 3 "),
        ];
        let all = Raw::copy("POST", &Uri::from_static("/webhook"), &headers(&lines)).headers;
        let key = all.iter().position(|(name, _)| name == "x-api-key").unwrap();
        assert_eq!(cleaned(&lines, &[key]), ["x-a=1", "x-a= 3 ", "x-b=2"]);
    }

    /// S13
    #[test]
    fn connection_must_not_name_what_the_provider_reads() {
        let read = ["x-custom".to_owned()];
        for named in ["X-Hub-Signature-256", "content-type", "webhook-id", "x-custom", "close, Content-Length"] {
            let lines = headers(&[("connection", named)]);
            assert_eq!(named_in_connection(&lines, &read).unwrap_err().code, Code::Malformed, "{named}");
        }
        let lines = headers(&[("connection", "close"), ("connection", "Upgrade, x-other")]);
        assert_eq!(named_in_connection(&lines, &read), Ok(vec!["upgrade".to_owned(), "x-other".to_owned()]));
    }
}
