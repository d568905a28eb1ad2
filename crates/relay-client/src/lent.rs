//! A stream for a handshake: it comes back from a library that drops it, and its answer is one of HTTP/1.1.
//!
//! The WebSocket library knows no other version, which proxies and old servers refuse with. And an answer other than an upgrade ends the handshake, and the WebSocket library keeps of its body what came together with
//! the head. The rest, often all of it, waits in the socket.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::heads::Heads;

/// See the module.
#[derive(Debug)]
pub(crate) struct Lent<S> {
    /// Until it is dropped.
    stream: Option<S>,
    place: Weak<Mutex<Option<S>>>,
    heads: Heads,
    /// Bytes that were read.
    came: u64,
    /// Bytes that were written.
    left: u64,
}

/// Where a dropped [`Lent`] leaves its stream, as long as somebody asks.
#[derive(Debug)]
pub(crate) struct Returned<S>(Arc<Mutex<Option<S>>>);

impl<S> Lent<S> {
    pub(crate) fn new(stream: S) -> (Self, Returned<S>) {
        let place = Arc::new(Mutex::new(None));
        (
            Self { stream: Some(stream), place: Arc::downgrade(&place), heads: Heads::begin(), came: 0, left: 0 },
            Returned(place),
        )
    }

    /// One of which no answer is read: it is a session's from its first byte.
    pub(crate) fn opened(stream: S) -> Self {
        let (mut lent, _) = Self::new(stream);
        lent.heads.end();
        lent
    }

    /// Bytes that have come so far.
    pub(crate) const fn came(&self) -> u64 {
        self.came
    }

    /// Bytes that have left so far, as far as anybody can see from here.
    pub(crate) const fn left(&self) -> u64 {
        self.left
    }

    fn count(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.left += bytes as u64;
        }
        written
    }

    fn stream(&mut self) -> io::Result<Pin<&mut S>>
    where
        S: Unpin,
    {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S> Returned<S> {
    /// The stream, if it was dropped.
    pub(crate) fn take(self) -> Option<S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        if let Some(place) = self.place.upgrade() {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = self.stream()?.poll_read(cx, buf);
        let read = &mut buf.filled_mut()[before..];
        self.came += read.len() as u64;
        self.heads.read(read);
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write(cx, buf);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write_vectored(cx, bufs);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(S::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}
