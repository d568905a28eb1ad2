//! A stream that gives way: after so many bytes in one turn its task comes last in line, however much more there is.
//!
//! What a target sends in small pieces (interim answers, chunks of one byte) costs far more to take apart than to send. All
//! forwards and the session share one task; with this below each connection none of them holds up the others, and deadlines
//! are looked at between turns.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use relay_core::limits;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};

/// Bytes written in one turn: a write costs no more than copying, so that it may be longer than a read.
const WRITE_BYTES: usize = 16 * limits::TARGET_TURN_BYTES;
/// How the first two bytes of a TLS alert look to somebody who did not ask for TLS: alert, TLS.
const TLS_ALERT: [u8; 2] = [21, 3];
/// Marks that the first bytes of a stream were seen.
const OPENED: u64 = 1 << 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct InTurns<S> {
    stream: Take<S>,
    readable: usize,
    writable: usize,
    heard: Arc<Heard>,
}

/// What came from a peer, for whoever uses the stream through a library.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Bytes that came since the request began.
    bytes: AtomicUsize,
    /// Empty lines among them: each ends a head.
    heads: AtomicUsize,
    /// Whether heads are counted: until the answer's own is complete.
    is_counting: AtomicBool,
    opening: AtomicU64,
}

impl<S: AsyncRead> InTurns<S> {
    pub(crate) fn new(stream: S) -> Self {
        let heard = Arc::default();
        Self { stream: stream.take(0), readable: limits::TARGET_TURN_BYTES, writable: WRITE_BYTES, heard }
    }

    pub(crate) fn heard(&self) -> Arc<Heard> {
        self.heard.clone()
    }
}

impl Heard {
    /// Another request begins.
    pub(crate) fn begin(&self) {
        self.bytes.store(0, Relaxed);
        self.heads.store(0, Relaxed);
        self.is_counting.store(true, Relaxed);
    }

    /// Its answer is there, or never will be.
    pub(crate) fn end(&self) {
        self.is_counting.store(false, Relaxed);
    }

    /// Whether nothing came since [`Self::begin`].
    pub(crate) fn is_silent(&self) -> bool {
        self.bytes.load(Relaxed) == 0
    }

    /// Heads that came since [`Self::begin`], as long as none of them was the answer's.
    pub(crate) fn heads(&self) -> usize {
        self.heads.load(Relaxed)
    }

    /// Whether the peer began like one that speaks TLS and was not asked in TLS.
    pub(crate) fn is_tls_alert(&self) -> bool {
        self.opening.load(Relaxed) == OPENED | u64::from(u16::from_be_bytes(TLS_ALERT))
    }

    fn add(&self, read: &[u8]) {
        self.bytes.fetch_add(read.len(), Relaxed);
        if self.is_counting.load(Relaxed) {
            let ends = read.windows(2).zip(read.windows(3).map(Some).chain([None]));
            let ends = ends.filter(|(two, three)| **two == *b"\n\n" || three.is_some_and(|three| *three == *b"\n\r\n"));
            self.heads.fetch_add(ends.count(), Relaxed);
        }
        if self.opening.load(Relaxed) == 0
            && let [first, second, ..] = read
        {
            self.opening.store(OPENED | u64::from(u16::from_be_bytes([*first, *second])), Relaxed);
        }
    }
}

/// Ends the turn: whoever waits goes first.
fn give_way<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl<S: AsyncRead + Unpin> AsyncRead for InTurns<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.readable == 0 {
            this.readable = limits::TARGET_TURN_BYTES;
            return give_way(cx);
        }
        let before = buf.filled().len();
        this.stream.set_limit(this.readable as u64);
        let poll = Pin::new(&mut this.stream).poll_read(cx, buf);
        match poll {
            Poll::Pending => this.readable = limits::TARGET_TURN_BYTES,
            Poll::Ready(_) => {
                let read = &buf.filled()[before..];
                this.readable -= read.len();
                this.heard.add(read);
            }
        }
        poll
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for InTurns<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.writable == 0 {
            this.writable = WRITE_BYTES;
            return give_way(cx);
        }
        let part = &buf[..buf.len().min(this.writable)];
        let poll = Pin::new(this.stream.get_mut()).poll_write(cx, part);
        match poll {
            Poll::Ready(Ok(written)) => this.writable -= written.min(part.len()),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => this.writable = WRITE_BYTES,
        }
        poll
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: usize = bufs.iter().map(|buf| buf.len()).sum();
        if all > self.writable {
            // A turn's worth at a time: its first piece that holds anything.
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
            return self.poll_write(cx, first);
        }
        let this = &mut *self;
        let poll = Pin::new(this.stream.get_mut()).poll_write_vectored(cx, bufs);
        match poll {
            Poll::Ready(Ok(written)) => this.writable -= written.min(all),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => this.writable = WRITE_BYTES,
        }
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// I15: one turn reads so much and no more, then others have theirs; nothing is lost between turns.
    #[test]
    fn a_turn_ends_however_much_there_is() {
        let all = vec![b'a'; 3 * limits::TARGET_TURN_BYTES];
        let mut stream = InTurns::new(&all[..]);
        let mut cx = Context::from_waker(Waker::noop());
        let (mut turns, mut read) = (1, 0);
        let mut room = vec![0; 64 * 1024];
        while read < all.len() {
            let mut buf = ReadBuf::new(&mut room);
            match Pin::new(&mut stream).poll_read(&mut cx, &mut buf) {
                Poll::Ready(result) => {
                    result.unwrap();
                    assert!(buf.filled().len() <= limits::TARGET_TURN_BYTES);
                    read += buf.filled().len();
                }
                Poll::Pending => turns += 1,
            }
        }
        assert_eq!((turns, read, stream.heard().is_silent()), (3, all.len(), false));
    }

    #[tokio::test]
    async fn what_is_written_arrives_whole() {
        let (near, mut far) = tokio::io::duplex(1000);
        let all: Vec<u8> = (0..2 * WRITE_BYTES).map(|n| n as u8).collect();
        let mut stream = InTurns::new(near);
        let write = async {
            stream.write_all(&all).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let ((), read) = tokio::join!(write, far.read_to_end(&mut got));
        read.unwrap();
        assert!(got == all);
    }

    #[test]
    fn heads_are_counted_until_the_answer_is_there() {
        let heard = Heard::default();
        heard.add(b"\r\n\r\n");
        assert_eq!((heard.heads(), heard.is_silent()), (0, false));
        heard.begin();
        assert!(heard.is_silent());
        heard.add(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\na: b\n\nHTTP/1.1 200 OK\r\n");
        assert_eq!(heard.heads(), 2);
        heard.end();
        heard.add(b"\n\n\n\n");
        assert_eq!(heard.heads(), 2);
    }

    #[test]
    fn the_opening_tells_tls() {
        let heard = |bytes: &[u8]| {
            let heard = Heard::default();
            heard.add(bytes);
            heard.is_tls_alert()
        };
        assert!(heard(b"\x15\x03\x03\x00\x02\x02\x46"));
        assert!(!heard(b"HTTP/1.1 200 OK\r\n") && !heard(b"") && !heard(b"\x15\x04"));
    }
}
