//! A stream that puts the target of a webhook into a request line by itself, where the HTTP library cannot.
//!
//! The library takes what a URI may hold. Senders leave more than that raw in a query, and their webhook is forwarded byte for
//! byte (I3): its request goes to the library with a stand-in, and its first line is replaced when it is written.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The target that a request has in truth: among its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawTarget(pub(crate) Bytes);

/// Tells a [`RequestLine`] what the next request's target is.
#[derive(Clone, Debug, Default)]
pub(crate) struct NextTarget(Arc<Mutex<Option<Bytes>>>);

impl NextTarget {
    /// Of the request that is handed to the library next, and is the only one under way. `None`: it has it itself.
    pub(crate) fn is(&self, target: Option<RawTarget>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = target.map(|target| target.0);
    }

    fn take(&self) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct RequestLine<S> {
    stream: S,
    next: NextTarget,
    /// A line that is being written, and the length of the one it stands for.
    line: Option<(Bytes, usize)>,
}

impl<S> RequestLine<S> {
    pub(crate) fn new(stream: S) -> (Self, NextTarget) {
        let next = NextTarget::default();
        (Self { stream, next: next.clone(), line: None }, next)
    }
}

impl<S: AsyncWrite + Unpin> RequestLine<S> {
    /// Writes the line that stands for the first one of these bytes, if another shall. Gives how many bytes that were.
    fn poll_line(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<Option<usize>>> {
        if self.line.is_none()
            && let Some(target) = self.next.take()
        {
            let line =
                replaced(buf, &target).ok_or_else(|| io::Error::other("a request does not begin with its line"))?;
            self.line = Some(line);
        }
        let Some((line, length)) = &mut self.line else { return Poll::Ready(Ok(None)) };
        while !line.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, line))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            line.advance(written);
        }
        let length = *length;
        self.line = None;
        Poll::Ready(Ok(Some(length)))
    }
}

/// The first line of a request with another target, and its length as it was.
fn replaced(request: &[u8], target: &[u8]) -> Option<(Bytes, usize)> {
    let length = request.iter().position(|byte| *byte == b'\n')? + 1;
    let mut parts = request[..length].splitn(3, |byte| *byte == b' ');
    let (method, _, version) = (parts.next()?, parts.next()?, parts.next()?);
    Some(([method, target, version].join(&b' ').into(), length))
}

impl<S: AsyncRead + Unpin> AsyncRead for RequestLine<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RequestLine<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(self.poll_line(cx, buf))? {
            Some(length) => Poll::Ready(Ok(length)),
            None => Pin::new(&mut self.stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        match ready!(self.poll_line(cx, first))? {
            Some(length) => Poll::Ready(Ok(length)),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// However little the stream takes at a time, the first line is another and all else is as it was.
    #[tokio::test]
    async fn one_line_is_replaced_and_nothing_else() {
        for capacity in [1, 3, 4096] {
            let (ours, mut theirs) = tokio::io::duplex(capacity);
            let (mut stream, next) = RequestLine::new(ours);
            let reading = tokio::spawn(async move {
                let mut all = Vec::new();
                theirs.read_to_end(&mut all).await.unwrap();
                all
            });
            let request = b"POST / HTTP/1.1\r\nhost: h\r\n\r\nGET / HTTP/1.1\r\n";
            next.is(Some(RawTarget(Bytes::from_static(b"/a?{\"\xfc"))));
            stream.write_all(request).await.unwrap();
            next.is(None);
            stream.write_all(request).await.unwrap();
            stream.shutdown().await.unwrap();
            drop(stream);
            let first = b"POST /a?{\"\xfc HTTP/1.1\r\nhost: h\r\n\r\nGET / HTTP/1.1\r\n";
            assert_eq!(reading.await.unwrap(), [&first[..], &request[..]].concat());
        }
    }
}
