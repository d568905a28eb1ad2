//! Reads request heads more strictly than the HTTP library behind it does, one pass over the bytes, resumable.
//!
//! **Source** RFC 9112; where it leaves a choice between tolerating and refusing, this refuses: what two parsers may read
//! differently is how requests are smuggled.

use std::ops::Range;

use relay_core::limits;

use super::rewrite::{self, Rewrite};
use crate::ingress::{
    flaw::Flaw,
    rules::{self, is_host, is_token},
};

/// The head of one request, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Where the line begins that is not complete yet.
    line: usize,
    /// Up to where its end was searched for.
    searched: usize,
    started: bool,
    http_1_0: bool,
    fields: usize,
    host: Option<Vec<u8>>,
    /// Of a target in absolute form: its scheme's port, and its authority.
    authority: Option<(&'static str, Vec<u8>)>,
    rewrite: Option<Rewrite>,
    upgrade: bool,
    length: Option<u64>,
    coding: Option<Coding>,
}

/// A head that is complete and has no flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Complete {
    /// Its bytes, the empty line included.
    pub(super) len: usize,
    /// How its body is framed.
    pub(super) body: Framed,
    /// It asks for another protocol: what follows is not HTTP if the answer is 101.
    pub(super) upgrade: bool,
    /// Its target has to be rewritten for the library behind.
    pub(super) rewrite: Option<Rewrite>,
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framed {
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    Other,
}

impl Head {
    /// Reads on. `input` starts with the head's first byte on every call, and has grown since the one before.
    ///
    /// # Errors
    /// A [`Flaw`] as soon as the bytes at hand show it.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<Option<Complete>, Flaw> {
        while let Some(at) = memchr::memchr(b'\n', &input[self.searched..]) {
            let end = self.searched + at;
            if end >= limits::HEAD_BYTES_MAX {
                return Err(self.oversized());
            }
            let Some(line) = input[self.line..end].strip_suffix(b"\r") else { return Err(Flaw::LineEnd) };
            let begin = self.line;
            self.line = end + 1;
            self.searched = end + 1;
            if !self.started {
                // Empty lines before a request are tolerated: RFC 9112 section 2.2.
                if !line.is_empty() {
                    self.request_line(line, begin)?;
                }
            } else if line.is_empty() {
                return self.complete(end + 1).map(Some);
            } else {
                self.field(line)?;
            }
        }
        self.searched = input.len();
        if input.len() > limits::HEAD_BYTES_MAX { Err(self.oversized()) } else { Ok(None) }
    }

    fn oversized(&self) -> Flaw {
        if self.started { Flaw::HeadTooLarge } else { Flaw::UriTooLong }
    }

    /// Reads the first line, which begins there in its head.
    fn request_line(&mut self, line: &[u8], begin: usize) -> Result<(), Flaw> {
        self.started = true;
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Flaw::RequestLine);
        };
        if method.is_empty() || target.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
            return Err(Flaw::RequestLine);
        }
        if target.len() > limits::URI_BYTES_MAX {
            return Err(Flaw::UriTooLong);
        }
        let minor = match minor(version) {
            Some(minor) => minor,
            None if version.rsplit(|byte| *byte == b' ').next().is_some_and(|last| minor(last).is_some()) => {
                return Err(Flaw::Space);
            }
            None => return Err(Flaw::Version),
        };
        let from = begin + method.len() + 1;
        let asterisk = target == b"*" && method == b"OPTIONS";
        if !asterisk {
            self.target(target, from)?;
        }
        self.http_1_0 = minor == 0;
        if minor > 1 {
            let end = from + target.len();
            let as_it_is = Rewrite { from, path: from, end, to: end };
            let rewrite = self.rewrite.unwrap_or(as_it_is);
            self.rewrite = Some(Rewrite { to: end + 1 + version.len(), ..rewrite });
        }
        Ok(())
    }

    /// A path with an optional query, in absolute form too: RFC 9112 section 3.2.2 has every server take that.
    fn target(&mut self, target: &[u8], from: usize) -> Result<(), Flaw> {
        let mut path = 0;
        if target[0] != b'/' {
            let (port, authority) = absolute(target).ok_or(Flaw::Target)?;
            path = authority.end;
            self.authority = Some((port, target[authority].to_ascii_lowercase()));
        }
        let query = rules::path_and_query(&target[path..])?;
        if path > 0 || !query.is_none_or(rewrite::is_plain) {
            let end = from + target.len();
            self.rewrite = Some(Rewrite { from, path: from + path, end, to: end });
        }
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Flaw> {
        self.fields += 1;
        if self.fields > limits::HEADERS_MAX {
            return Err(Flaw::TooManyFields);
        }
        if matches!(line[0], b' ' | b'\t') {
            return Err(Flaw::Folded);
        }
        let colon = line.iter().position(|byte| !is_token(*byte)).ok_or(Flaw::FieldName)?;
        if colon == 0 || line[colon] != b':' {
            return Err(Flaw::FieldName);
        }
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !rules::are_values(value) {
            return Err(Flaw::FieldValue);
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value.trim_ascii()),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.length(value.trim_ascii()),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.coding(value.trim_ascii()),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Flaw> {
        if self.host.is_some() {
            return Err(Flaw::HostRepeated);
        }
        self.host = Some(if self.authority.is_some() { value.to_ascii_lowercase() } else { Vec::new() });
        if is_host(value) { Ok(()) } else { Err(Flaw::HostInvalid) }
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Flaw> {
        if self.length.is_some() {
            return Err(Flaw::LengthRepeated);
        }
        self.length = Some(rules::length(value)?);
        Ok(())
    }

    fn coding(&mut self, value: &[u8]) -> Result<(), Flaw> {
        if self.coding.is_some() {
            return Err(Flaw::CodingInvalid);
        }
        let mut codings = value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        if !codings.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked")) {
            return Err(Flaw::CodingInvalid);
        }
        let mut others = codings.peekable();
        let coding = if others.peek().is_some() { Coding::Other } else { Coding::Chunked };
        if !others.all(is_other_coding) {
            return Err(Flaw::CodingInvalid);
        }
        self.coding = Some(coding);
        Ok(())
    }

    fn complete(&self, len: usize) -> Result<Complete, Flaw> {
        match (&self.host, &self.authority) {
            (None, _) if !self.http_1_0 => return Err(Flaw::HostMissing),
            (Some(host), Some((port, authority))) if !rules::are_same_host(host, authority, port) => {
                return Err(Flaw::Target);
            }
            _ => {}
        }
        let body = match (self.coding, self.length) {
            (Some(_), Some(_)) => return Err(Flaw::LengthAndCoding),
            (Some(_), None) if self.http_1_0 => return Err(Flaw::CodingInvalid),
            (Some(Coding::Other), None) => return Err(Flaw::CodingUnsupported),
            (Some(Coding::Chunked), None) => Framed::Chunked,
            (None, length) => Framed::Length(length.unwrap_or(0)),
        };
        Ok(Complete { len, body, upgrade: self.upgrade, rewrite: self.rewrite })
    }
}

/// The minor version of HTTP/1.
fn minor(version: &[u8]) -> Option<u8> {
    match version.strip_prefix(b"HTTP/1.") {
        Some([digit @ b'0'..=b'9']) => Some(digit - b'0'),
        _ => None,
    }
}

/// The scheme's port and the authority of a target in absolute form.
fn absolute(target: &[u8]) -> Option<(&'static str, Range<usize>)> {
    let is_scheme =
        |scheme: &str| target.get(..scheme.len()).is_some_and(|has| has.eq_ignore_ascii_case(scheme.as_bytes()));
    let (port, from) = if is_scheme("http://") {
        (":80", 7)
    } else if is_scheme("https://") {
        (":443", 8)
    } else {
        return None;
    };
    let length = target[from..].iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(target.len() - from);
    let authority = from..from + length;
    is_host(&target[authority.clone()]).then_some((port, authority))
}

/// A registered coding that may stand before `chunked` and that is not taken here.
fn is_other_coding(coding: &[u8]) -> bool {
    [b"gzip".as_slice(), b"x-gzip", b"compress", b"x-compress", b"deflate"]
        .iter()
        .any(|known| coding.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(head: &str) -> Result<Option<Complete>, Flaw> {
        Head::default().read(head.as_bytes())
    }

    fn with(fields: &str) -> Result<Option<Complete>, Flaw> {
        read(&format!("POST /webhook HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    }

    #[test]
    fn a_plain_head_is_complete_at_its_empty_line() {
        let head = "POST /webhook?a=b HTTP/1.1\r\nHost: a:8080\r\nContent-Length: 12\r\n\r\nhello";
        let complete = Complete { len: head.len() - 5, body: Framed::Length(12), upgrade: false, rewrite: None };
        assert_eq!(read(head), Ok(Some(complete)));
        assert_eq!(with("transfer-encoding:Chunked \r\n").unwrap().unwrap().body, Framed::Chunked);
        assert!(with("Upgrade: websocket\r\n").unwrap().unwrap().upgrade);
    }

    #[test]
    fn a_head_may_come_byte_by_byte() {
        let bytes = b"\r\nGET / HTTP/1.0\r\nX-A:  b\t\r\n\r\n";
        let mut head = Head::default();
        for end in 0..bytes.len() {
            assert_eq!(head.read(&bytes[..end]), Ok(None));
        }
        assert_eq!(head.read(bytes).unwrap().unwrap().len, bytes.len());
    }

    /// S1, S2, S3, S4: a body's length can be read in one way only.
    #[test]
    fn framing_that_can_be_read_in_two_ways_is_refused() {
        for (fields, flaw) in [
            ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", Flaw::LengthAndCoding),
            ("Transfer-Encoding: xchunked\r\n", Flaw::CodingInvalid),
            ("Transfer-Encoding: chunked, identity\r\n", Flaw::CodingInvalid),
            ("Transfer-Encoding: chunked, chunked\r\n", Flaw::CodingInvalid),
            ("Transfer-Encoding: identity\r\n", Flaw::CodingInvalid),
            ("Transfer-Encoding:\r\n", Flaw::CodingInvalid),
            ("Transfer-Encoding : chunked\r\n", Flaw::FieldName),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Flaw::CodingInvalid),
            ("Transfer-Encoding: gzip, chunked\r\n", Flaw::CodingUnsupported),
            ("Content-Length: 4\r\nContent-Length: 5\r\n", Flaw::LengthRepeated),
            ("Content-Length: 4\r\nContent-Length: 4\r\n", Flaw::LengthRepeated),
            ("Content-Length: +5\r\n", Flaw::LengthInvalid),
            ("Content-Length: 5, 5\r\n", Flaw::LengthInvalid),
            ("Content-Length: 0x5\r\n", Flaw::LengthInvalid),
            ("Content-Length: \r\n", Flaw::LengthInvalid),
            ("Content-Length: 18446744073709551616\r\n", Flaw::LengthInvalid),
        ] {
            assert_eq!(with(fields), Err(flaw), "{fields:?}");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(read(old), Err(Flaw::CodingInvalid));
    }

    /// S6, S7: lines, values, targets and hosts are what RFC 9112 says.
    #[test]
    fn lines_that_a_lenient_parser_would_mend_are_refused() {
        for (head, flaw) in [
            ("GET / HTTP/1.1\nHost: a\n\n", Flaw::LineEnd),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", Flaw::LineEnd),
            ("GET / HTTP/1.1\r\n\r\n", Flaw::HostMissing),
            ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Flaw::HostRepeated),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Flaw::HostInvalid),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Flaw::FieldValue),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Flaw::FieldValue),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", Flaw::Folded),
            ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Flaw::FieldName),
            ("GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", Flaw::FieldName),
            ("POST http://evil/a HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Target),
            ("POST http://a:81/a HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Target),
            ("POST http://a:80/a HTTP/1.1\r\nHost: a:8080\r\n\r\n", Flaw::Target),
            ("POST http://u@a/a HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Target),
            ("POST http:///a HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Target),
            ("POST ftp://a/a HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Target),
            ("POST http://a/a HTTP/1.1\r\n\r\n", Flaw::HostMissing),
            ("GET /?a#b HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Query),
            ("GET /\u{fffd}?\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Query),
            ("GET /<a> HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Path),
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Space),
            ("GET /a?q=b c d HTTP/1.2\r\nHost: a\r\n\r\n", Flaw::Space),
            ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", Flaw::Version),
            ("GET / HTTP/1.\r\nHost: a\r\n\r\n", Flaw::Version),
            ("GET / http/1.1\r\nHost: a\r\n\r\n", Flaw::Version),
            ("CONNECT evil:443 HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Target),
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Path),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::RequestLine),
            ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Flaw::Version),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Flaw::Version),
            ("GET /\r\nHost: a\r\n\r\n", Flaw::RequestLine),
        ] {
            assert_eq!(read(head), Err(flaw), "{head:?}");
        }
    }

    /// RFC 9112 section 3.2.2: every server takes the absolute form; the authority is that of Host.
    #[test]
    fn an_absolute_target_is_taken_if_it_names_the_host() {
        for (target, host, want) in [
            ("http://a/webhook?x=1", "a", "/webhook?x=1"),
            ("HTTP://A:80/webhook", "a", "/webhook"),
            ("https://a/webhook", "a:443", "/webhook"),
            ("http://[::1]:8080/webhook", "[::1]:8080", "/webhook"),
            ("http://a", "a", "/"),
            ("http://a?x={\"<", "a", "http://raw/?x={^22^3C"),
            ("/webhook?{\"a\"}", "a", "http://raw/webhook?{^22a^22}"),
        ] {
            let head = format!("\r\nPOST {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let complete = read(&head).unwrap().unwrap();
            let rewritten = complete.rewrite.unwrap().target(head.as_bytes());
            assert_eq!(String::from_utf8(rewritten).unwrap(), want, "{target}");
        }
        assert_eq!(with("").unwrap().unwrap().rewrite, None);
    }

    /// RFC 9110 section 2.5: a request of a higher minor version is read as one of the highest that is known, framing included.
    #[test]
    fn a_higher_minor_version_is_read_as_the_highest_known() {
        for (line, want) in [
            ("POST /webhook?x=1 HTTP/1.2", "POST /webhook?x=1 HTTP/1.1"),
            ("POST http://a/webhook HTTP/1.9", "POST /webhook HTTP/1.1"),
            ("POST /webhook?{\"<\"} HTTP/1.3", "POST http://raw/webhook?{^22^3C^22} HTTP/1.1"),
            ("OPTIONS * HTTP/1.2", "OPTIONS * HTTP/1.1"),
        ] {
            let head = format!("\r\n{line}\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            let complete = read(&head).unwrap().unwrap();
            assert_eq!(complete.body, Framed::Chunked);
            let rewrite = complete.rewrite.unwrap();
            let mut put = head.clone().into_bytes();
            put.splice(rewrite.from..rewrite.to, rewrite.target(head.as_bytes()));
            assert_eq!(String::from_utf8(put).unwrap().lines().nth(1), Some(want));
        }
        assert_eq!(read("POST / HTTP/1.2\r\n\r\n"), Err(Flaw::HostMissing));
    }

    /// S8: sizes.
    #[test]
    fn heads_above_the_limits_are_refused() {
        assert!(with(&"X: y\r\n".repeat(limits::HEADERS_MAX - 1)).is_ok());
        assert_eq!(with(&"X: y\r\n".repeat(limits::HEADERS_MAX)), Err(Flaw::TooManyFields));
        let long = "x".repeat(limits::HEAD_BYTES_MAX);
        assert_eq!(with(&format!("X: {long}\r\n")), Err(Flaw::HeadTooLarge));
        assert_eq!(read(&format!("GET / HTTP/1.1\r\nX: {long}")), Err(Flaw::HeadTooLarge));
        assert_eq!(read(&format!("GET /{long}")), Err(Flaw::UriTooLong));
        let uri = "x".repeat(limits::URI_BYTES_MAX - 1);
        assert!(read(&format!("GET /{uri} HTTP/1.1\r\nHost: a\r\n\r\n")).is_ok());
        assert_eq!(read(&format!("GET /x{uri} HTTP/1.1\r\nHost: a\r\n\r\n")), Err(Flaw::UriTooLong));
    }

    /// A head of plausible lines, some with a byte put in their middle.
    fn plausible_head() -> impl Strategy<Value = Vec<u8>> {
        let target = "(http://a(:80)?)?/[!-~]{0,12}(\\?[!-~\u{e9}]{0,6})?";
        let line =
            ("(GET|POST|OPTIONS|b-c)", target, "HTTP/1\\.[0129]").prop_map(|(m, t, v)| format!("{m} {t} {v}\r\n"));
        let field =
            "(Host|Content-Length|Transfer-Encoding|X-[!-~]{1,6}): ?(chunked|[0-9]{1,4}|[ -~\u{e9}\t]{0,10})\r\n";
        let smudge = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
        (line, prop::collection::vec(field, 0..5), smudge).prop_map(|(line, fields, smudge)| {
            let mut head = format!("{line}Host: a\r\n{}\r\n", fields.concat()).into_bytes();
            if let Some((at, byte)) = smudge {
                let at = at.index(head.len());
                head[at] = byte;
            }
            head
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        /// What this takes, the parser behind it takes too, ending at the same byte: it never answers on its own.
        #[test]
        fn a_head_that_is_taken_is_taken_by_the_parser_behind(head in plausible_head()) {
            let Ok(Some(mut complete)) = Head::default().read(&head) else { return Ok(()) };
            let mut head = head;
            if let Some(rewrite) = complete.rewrite {
                let target = rewrite.target(&head);
                complete.len = complete.len - (rewrite.to - rewrite.from) + target.len();
                head.splice(rewrite.from..rewrite.to, target);
            }
            let mut fields = [httparse::EMPTY_HEADER; limits::HEADERS_MAX];
            let mut parsed = httparse::Request::new(&mut fields);
            prop_assert_eq!(parsed.parse(&head), Ok(httparse::Status::Complete(complete.len)));
            let target = parsed.path.unwrap_or_default();
            let uri = target.parse::<http::Uri>().map(|uri| uri.to_string());
            prop_assert_eq!(uri.ok(), Some(target.to_owned()));
        }

        #[test]
        fn no_bytes_make_the_scan_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Head::default().read(&bytes);
        }
    }
}
