//! A socket whose request lines the HTTP library can read, whatever stands in their queries.
//!
//! The relay takes and forwards queries byte for byte (I3), and senders leave more in them than a URI may hold. Such a line
//! goes to the library without its query, and what stood there is told beside it. Where one request ends and the next begins
//! is known from Content-Length; behind any other framing nothing is looked at, and the connection ends with that request.

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use relay_core::target::is_query;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once of what may be a head.
const PIECE_BYTES: usize = 8 * 1024;
/// Bytes of a head that are looked at; the library refuses longer ones by itself.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// What the library is not told of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Untold {
    /// Its target, where that is another than the library has.
    pub(super) target: Option<Bytes>,
    /// Nothing behind this request is looked at: no other may follow it.
    pub(super) is_last: bool,
}

/// What the library is not told, request by request.
#[derive(Clone, Debug, Default)]
pub(super) struct Beside(Arc<Mutex<VecDeque<Untold>>>);

impl Beside {
    /// Of the next request that the library hands out.
    pub(super) fn next(&self) -> Untold {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or_default()
    }

    fn put(&self, untold: Untold) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(untold);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct RequestLines<S> {
    socket: S,
    at: At,
    /// Read and not handed on: the first `passed` bytes of it may go on.
    held: BytesMut,
    passed: usize,
    /// Bytes of a head that were looked at for its end.
    looked: usize,
    beside: Beside,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In front of a head, or in it.
    Head,
    /// In a body of which so much is to come.
    Body(u64),
    /// Nothing is looked at any more.
    Past,
}

impl<S> RequestLines<S> {
    pub(super) fn new(socket: S) -> (Self, Beside) {
        let beside = Beside::default();
        (Self { socket, at: At::Head, held: BytesMut::new(), passed: 0, looked: 0, beside: beside.clone() }, beside)
    }

    /// Lets what is held go on as far as it may.
    fn judge(&mut self) {
        match self.at {
            At::Head => {
                // Empty lines in front of a head are none of it.
                self.passed = self.held.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                if self.passed > 0 {
                    return;
                }
                let end = head_end(&self.held, self.looked);
                let new = &self.held[std::mem::replace(&mut self.looked, self.held.len())..];
                match end {
                    Some(end) => self.pass_head(end),
                    // No head, whatever follows: TLS, say. The library refuses it at once.
                    None if self.held.len() > HEAD_BYTES_MAX || !new.iter().copied().all(is_of_head) => {
                        self.at = At::Past;
                        self.passed = self.held.len();
                    }
                    None => {}
                }
            }
            At::Body(left) => {
                let here = left.min(self.held.len() as u64);
                self.passed = here as usize;
                self.at = if here == left { At::Head } else { At::Body(left - here) };
            }
            At::Past => self.passed = self.held.len(),
        }
    }

    fn pass_head(&mut self, end: usize) {
        self.looked = 0;
        let head = self.held.split_to(end);
        self.at = match length(&head) {
            Some(0) => At::Head,
            Some(length) => At::Body(length),
            None => At::Past,
        };
        let raw = raw_query(&head);
        let target = raw.as_ref().map(|(target, _)| Bytes::copy_from_slice(&head[target.clone()]));
        self.beside.put(Untold { target, is_last: self.at == At::Past });
        let behind = std::mem::take(&mut self.held);
        self.held.reserve(head.len() + behind.len());
        match raw {
            Some((target, query)) => {
                self.held.extend_from_slice(&head[..query]);
                self.held.extend_from_slice(&head[target.end..]);
            }
            None => self.held.extend_from_slice(&head),
        }
        self.passed = self.held.len();
        self.held.extend_from_slice(&behind);
    }
}

/// Where a head ends, of which so much was looked at before: behind its empty line.
fn head_end(bytes: &[u8], looked: usize) -> Option<usize> {
    let begin = looked.saturating_sub(2);
    let rest = &bytes[begin..];
    let line_ends = rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let mut ends = line_ends.filter_map(|end| {
        let behind = &rest[end..];
        let empty = [&b"\n"[..], b"\r\n"].into_iter().find(|line| behind.starts_with(line))?;
        Some(begin + end + empty.len())
    });
    ends.next()
}

/// Whether a byte may stand in a head.
fn is_of_head(byte: u8) -> bool {
    !byte.is_ascii_control() || matches!(byte, b'\r' | b'\n' | b'\t')
}

/// How long the body behind a head is; none where Content-Length alone does not say so.
fn length(head: &[u8]) -> Option<u64> {
    let mut length = None;
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = &line[..colon];
        if name.eq_ignore_ascii_case(b"transfer-encoding") || name.eq_ignore_ascii_case(b"upgrade") {
            return None;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(&line[colon + 1..]).ok()?.trim();
            if length.is_some() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            length = Some(digits.parse().ok()?);
        }
    }
    Some(length.unwrap_or(0))
}

/// Where a target stands, and where its query begins, if the query is one that senders write and no URI holds.
fn raw_query(head: &[u8]) -> Option<(Range<usize>, usize)> {
    let line = head[..head.iter().position(|byte| *byte == b'\n')?].trim_ascii_end();
    let first = line.iter().position(|byte| *byte == b' ')? + 1;
    let last = line.iter().rposition(|byte| *byte == b' ')?;
    let query = first + head.get(first..last)?.iter().position(|byte| *byte == b'?')?;
    let odd = head[query + 1..last].iter().any(|byte| matches!(byte, b'"' | b'<' | b'>' | 0x80..));
    (odd && is_query(&head[query + 1..last])).then_some((first..last, query))
}

impl<S: AsyncRead + Unpin> AsyncRead for RequestLines<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.passed == 0 && !this.held.is_empty() {
                this.judge();
            }
            if this.passed > 0 {
                let part = this.passed.min(buf.remaining());
                buf.put_slice(&this.held[..part]);
                this.held.advance(part);
                this.passed -= part;
                return Poll::Ready(Ok(()));
            }
            if this.held.is_empty() && this.at != At::Head {
                return this.poll_body(cx, buf);
            }
            let mut piece = [0; PIECE_BYTES];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                // What is held is no whole head: the library says so.
                this.at = At::Past;
                if this.held.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
            this.held.extend_from_slice(piece.filled());
        }
    }
}

impl<S: AsyncRead + Unpin> RequestLines<S> {
    /// Reads what is not looked at straight into the library's buffer.
    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        let read = (buf.filled().len() - before) as u64;
        if let At::Body(left) = self.at {
            let here = left.min(read);
            self.at = if here == left { At::Head } else { At::Body(left - here) };
            let end = before + here as usize;
            self.held.extend_from_slice(&buf.filled()[end..]);
            buf.set_filled(end);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RequestLines<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What the library reads, and what it is not told of each request, however the bytes come.
    async fn check(sent: &[u8], read: &[u8], untold: &[(Option<&'static [u8]>, bool)]) {
        for size in [1, 7, sent.len()] {
            let (mut lines, beside) = RequestLines::new(Pieces(sent, size));
            let mut got = Vec::new();
            lines.read_to_end(&mut got).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(read), "in pieces of {size}");
            for (target, is_last) in untold {
                let want = Untold { target: target.map(Bytes::from_static), is_last: *is_last };
                assert_eq!(beside.next(), want, "in pieces of {size}");
            }
            assert_eq!(beside.next(), Untold::default());
        }
    }

    /// Gives so many bytes at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl AsyncRead for Pieces<'_> {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let size = self.1.min(self.0.len()).min(buf.remaining());
            buf.put_slice(&self.0[..size]);
            self.0 = &self.0[size..];
            Poll::Ready(Ok(()))
        }
    }

    /// I3: the query alone is left out, of every request of a connection; bodies that look like heads stay as they are.
    #[tokio::test]
    async fn a_query_that_no_uri_holds_is_told_beside_its_request() {
        check(
            b"POST /a?{\"b\":1} HTTP/1.1\r\ncontent-length: 24\r\n\r\nGET /?\"\" HTTP/1.1\r\nh: 1\r\r\n\
              \r\n\nGET /b?plain=1 HTTP/1.1\r\nx: y\r\n\r\nGET /c?J\xfcrgen HTTP/1.1\nx: y\n\n",
            b"POST /a HTTP/1.1\r\ncontent-length: 24\r\n\r\nGET /?\"\" HTTP/1.1\r\nh: 1\r\r\n\
              \r\n\nGET /b?plain=1 HTTP/1.1\r\nx: y\r\n\r\nGET /c HTTP/1.1\nx: y\n\n",
            &[(Some(b"/a?{\"b\":1}"), false), (None, false), (Some(b"/c?J\xfcrgen"), false)],
        )
        .await;
    }

    #[tokio::test]
    async fn what_is_no_query_stays_for_the_library_to_refuse() {
        for line in ["GET /\" HTTP/1.1", "GET /?\"#a HTTP/1.1", "GET /?\" b HTTP/1.1", "GET /?\"", "\"?<"] {
            let sent = format!("{line}\r\nx: y\r\n\r\n");
            check(sent.as_bytes(), sent.as_bytes(), &[(None, false)]).await;
        }
        let half = b"GET /?\" HTTP/1.1\r\nx: y\r\n";
        check(half, half, &[]).await;
    }

    /// Who speaks TLS hears at once that it is not spoken here: what is no head is not held back.
    #[tokio::test]
    async fn what_is_no_head_goes_on_at_once() {
        let hello = b"\x16\x03\x01\x02\x00\x01";
        let (ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(hello).await.unwrap();
        let (mut lines, _) = RequestLines::new(ours);
        let mut first = [0; 6];
        lines.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, hello);
    }

    #[tokio::test]
    async fn behind_another_framing_nothing_is_looked_at() {
        for field in ["transfer-encoding: chunked", "content-length: 1\r\nContent-Length: 1", "content-length: +1"] {
            let rest = format!(" HTTP/1.1\r\n{field}\r\n\r\nGET /?\" HTTP/1.1\r\n\r\n");
            let (sent, read) = (format!("POST /?<{rest}"), format!("POST /{rest}"));
            check(sent.as_bytes(), read.as_bytes(), &[(Some(b"/?<"), true)]).await;
        }
    }
}
