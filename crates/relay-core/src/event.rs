//! An event: one stored request, immutable.

use std::sync::Arc;

use bytes::Bytes;

use crate::{id::EventId, limits, name::Name, time::Wall};

/// One request as it was received and stored; never changed afterwards.
///
/// **Shape** Everything that must reach the destination unchanged is kept as raw bytes. Headers are those that are
/// forwarded: hop-by-hop headers, inbound `Relay-*` and the header that proved an API key are gone before an event is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id; the time in it is about [`Self::received_at`].
    pub id: EventId,
    /// The source that took it in.
    pub source: Name,
    /// HTTP method, as received.
    pub method: Bytes,
    /// Raw path, as received and still percent-encoded: `/webhook/stripe/a%2Fb`.
    pub path: Bytes,
    /// Raw query without the `?`; `None` if there was no `?`.
    pub query: Option<Bytes>,
    /// Name and value of each header field, values byte for byte, repetitions in their order. Names in lower case.
    pub headers: Vec<(Bytes, Bytes)>,
    /// The body, byte for byte, content coding included.
    pub body: Bytes,
    /// SHA-256 of [`Self::body`].
    pub body_sha256: [u8; 32],
    /// When the request was complete.
    pub received_at: Wall,
    /// What happened, in the platform's words, as [`event_name`] lets it through: `invoice.paid`. It proves nothing.
    pub name: Option<Arc<str>>,
    /// The key that proved it, at a source with several.
    pub key: Option<Name>,
}

/// What stands in the place of each byte of an event that was erased.
pub const ERASED: u8 = 0;

/// A text as the name of an event: none if it is empty, too long or holds control characters.
pub fn event_name(text: &str) -> Option<&str> {
    let holds = (1..=limits::EVENT_NAME_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
    holds.then_some(text)
}

impl Event {
    /// The part of the path behind `/webhook` or `/webhook/{source}`: empty, or starting with `/`.
    pub fn rest(&self) -> &[u8] {
        let Some(behind) = self.path.strip_prefix(b"/webhook".as_slice()) else { return b"" };
        let Some(named) = behind.strip_prefix(b"/".as_slice()) else { return b"" };
        match named.iter().position(|b| *b == b'/') {
            Some(end) => &named[end..],
            None => b"",
        }
    }

    /// Whether an operator had it erased: what was received is written over, byte by byte, with [`ERASED`]. No method begins with that.
    pub fn is_erased(&self) -> bool {
        self.method.first() == Some(&ERASED)
    }

    /// The same [erased](Self::is_erased), with this digest of a body of as many bytes: id, source, name, key, time, names of headers and all
    /// lengths are what they were.
    #[must_use]
    pub fn erased(&self, body_bytes: usize, digest: impl FnOnce(&[u8]) -> [u8; 32]) -> Self {
        let over = |bytes: &Bytes| Bytes::from(vec![ERASED; bytes.len()]);
        let body = Bytes::from(vec![ERASED; body_bytes]);
        Self {
            method: over(&self.method),
            path: over(&self.path),
            query: self.query.as_ref().map(over),
            headers: self.headers.iter().map(|(name, value)| (name.clone(), over(value))).collect(),
            body_sha256: digest(&body),
            body,
            ..self.clone()
        }
    }

    /// Bytes it holds in memory, near enough for budgets: body, headers, path and query.
    pub fn size(&self) -> u64 {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let query = self.query.as_ref().map_or(0, Bytes::len);
        (self.body.len() + headers + self.path.len() + query) as u64
    }
}
