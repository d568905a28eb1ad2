//! What an event keeps of a request's head: all of its fields for the check, then only those that are forwarded.

use bytes::{Bytes, BytesMut};
use http::request::Parts;

use super::rules::{self, is_forwarded};

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
    pub(super) fn copy(head: &Parts) -> Self {
        let Parts { method, uri, headers, .. } = head;
        let (method, path, query) = (method.as_str(), uri.path().as_bytes(), rules::query(head));
        let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let mut all = BytesMut::with_capacity(method.len() + path.len() + query.map_or(0, <[u8]>::len) + fields);
        let mut keep = |part: &[u8]| {
            all.extend_from_slice(part);
            all.split().freeze()
        };
        Self {
            method: keep(method.as_bytes()),
            path: keep(path),
            query: query.map(&mut keep),
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

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(lines: &[(&'static str, &'static str)]) -> Parts {
        let request = Request::post("/webhook/s/a%2Fb?");
        let request = lines.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn cleaned(lines: &[(&'static str, &'static str)], strip: &[usize]) -> Vec<String> {
        let head = head(lines);
        let mut raw = Raw::copy(&head);
        raw.clean(&rules::named_in_connection(&head.headers, &[]).unwrap(), strip);
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
        let all = Raw::copy(&head(&lines)).headers;
        let key = all.iter().position(|(name, _)| name == "x-api-key").unwrap();
        assert_eq!(cleaned(&lines, &[key]), ["x-a=1", "x-a= 3 ", "x-b=2"]);
    }
}
