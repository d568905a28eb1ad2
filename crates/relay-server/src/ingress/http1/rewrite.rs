//! Request targets that the HTTP library behind would refuse or keep, rewritten for it: in absolute form, or with bytes in the
//! query that senders leave raw, or before a version that it does not know.
//!
//! The path and the query of an event are those of the sender, byte for byte: what is escaped here for the way through the
//! library is undone by [`sent_query`].

use http::Uri;

use crate::ingress::rules::split;

/// The authority of a target whose query is escaped. No request of a sender has one behind the guard: targets in absolute
/// form lose theirs.
const ESCAPED: &str = "raw";
/// The version that any of HTTP/1 above it is read as: RFC 9110 section 2.5.
const VERSION: &[u8] = b" HTTP/1.1";
/// Begins an escaped byte, and is escaped itself.
const ESCAPE: u8 = b'^';

/// A target to be rewritten: where it stands in its head, where its path begins, and up to where it is replaced: its end, or
/// that of the version behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rewrite {
    pub(super) from: usize,
    pub(super) path: usize,
    pub(super) end: usize,
    pub(super) to: usize,
}

impl Rewrite {
    /// What stands in its place.
    pub(super) fn target(&self, head: &[u8]) -> Vec<u8> {
        let (path, query) = split(&head[self.path..self.end]);
        let path = if path.is_empty() { b"/" } else { path };
        let mut target = Vec::with_capacity(self.to - self.from + 16);
        let is_escaped = query.is_some_and(|query| !is_plain(query));
        if is_escaped {
            target.extend_from_slice(b"http://");
            target.extend_from_slice(ESCAPED.as_bytes());
        }
        target.extend_from_slice(path);
        if let Some(query) = query {
            target.push(b'?');
            if is_escaped { escape(query, &mut target) } else { target.extend_from_slice(query) }
        }
        if self.to > self.end {
            target.extend_from_slice(VERSION);
        }
        target
    }
}

/// Whether the library takes a query as it is.
pub(super) fn is_plain(query: &[u8]) -> bool {
    !query.iter().any(|byte| is_odd(*byte)) && (query.is_ascii() || std::str::from_utf8(query).is_ok())
}

const fn is_odd(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>')
}

fn escape(query: &[u8], into: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in query {
        if is_odd(*byte) || *byte >= 0x80 || *byte == ESCAPE {
            into.extend([ESCAPE, DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        } else {
            into.push(*byte);
        }
    }
}

/// The query as its sender wrote it, if it was escaped for the way through the library.
pub(super) fn sent_query(target: &Uri) -> Option<Vec<u8>> {
    if target.authority()?.as_str() != ESCAPED {
        return None;
    }
    let query = target.query()?.as_bytes();
    let mut raw = Vec::with_capacity(query.len());
    let mut rest = query;
    while let [first, behind @ ..] = rest {
        let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or_default() as u8;
        rest = if let (&ESCAPE, [high, low, behind @ ..]) = (first, behind) {
            raw.push(digit(high) << 4 | digit(low));
            behind
        } else {
            raw.push(*first);
            behind
        };
    }
    Some(raw)
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;
    use relay_core::target::is_query;

    use super::*;
    use crate::ingress::{http1::received, rules};

    fn rewritten(target: &[u8], path: usize) -> Vec<u8> {
        Rewrite { from: 0, path, end: target.len(), to: target.len() }.target(target)
    }

    #[test]
    fn an_absolute_target_becomes_its_path() {
        assert_eq!(rewritten(b"http://a/webhook?x", 8), b"/webhook?x");
        assert_eq!(rewritten(b"http://a", 8), b"/");
        assert_eq!(rewritten(b"http://a?x=1", 8), b"/?x=1");
    }

    proptest! {
        /// I3: whatever stands in a query comes out of the library as it was.
        #[test]
        fn a_query_comes_back_byte_for_byte(
            query in prop::collection::vec(any::<u8>().prop_filter("in a query", |byte| is_query(&[*byte])), 0..200),
        ) {
            let target = [b"/webhook?".as_slice(), &query].concat();
            let uri: Uri = Uri::try_from(&rewritten(&target, 0)[..]).unwrap();
            let mut request = Request::builder().uri(uri).body(()).unwrap();
            received(&mut request).unwrap();
            let (head, ()) = request.into_parts();
            prop_assert_eq!(rules::query(&head), Some(&query[..]));
            prop_assert_eq!((head.uri.path(), head.uri.authority()), ("/webhook", None));
        }
    }
}
