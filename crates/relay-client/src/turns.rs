//! A stream that gives way: after so many bytes in one turn its task comes last in line, however much more there is.
//!
//! What a target sends in small pieces (interim answers, chunks of one byte) costs far more to take apart than to send. All
//! forwards and the session share one task; with this below each connection none of them holds up the others, and deadlines
//! are looked at between turns.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use relay_core::limits;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};

use crate::heads::Heads;

/// Bytes written in one turn: a write costs no more than copying, so that it may be longer than a read.
const WRITE_BYTES: usize = 16 * limits::TARGET_TURN_BYTES;
/// How the first two bytes of a TLS alert look to somebody who did not ask for TLS: alert, TLS.
const TLS_ALERT: [u8; 2] = [21, 3];
/// How a server of HTTP/2 begins, whatever it was asked (RFC 9113 section 3.4): a frame of settings, behind three bytes of
/// its length, without flags, of the stream 0.
const SETTINGS: [u8; 6] = [4, 0, 0, 0, 0, 0];
/// Bytes of a stream that tell what it speaks.
const OPENING_BYTES: usize = 3 + SETTINGS.len();

/// See the module.
#[derive(Debug)]
pub(crate) struct InTurns<S> {
    stream: Take<S>,
    readable: usize,
    writable: usize,
    heard: Arc<Heard>,
}

/// What came from a peer, and whether it was told all, for whoever uses the stream through a library.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Came>);

#[derive(Debug, Default)]
struct Came {
    /// Bytes that came since the request began.
    bytes: usize,
    /// Among them, until the answer's own is complete.
    heads: Heads,
    /// The first bytes of the stream, and how many of them are there.
    opening: [u8; OPENING_BYTES],
    opened: usize,
    /// How far the request is.
    told: Told,
}

/// How much of a request has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    /// Some of it was written.
    Some,
    /// All of it, as far as this end can see.
    All,
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
        let mut came = self.came();
        (came.bytes, came.heads, came.told) = (0, Heads::begin(), Told::Nothing);
    }

    /// Its answer is there, or never will be.
    pub(crate) fn end(&self) {
        self.came().heads.end();
    }

    /// Whether nothing came since [`Self::begin`].
    pub(crate) fn is_silent(&self) -> bool {
        self.bytes() == 0
    }

    /// Bytes that came since [`Self::begin`].
    pub(crate) fn bytes(&self) -> usize {
        self.came().bytes
    }

    /// Interim answers that came since [`Self::begin`].
    pub(crate) fn interim(&self) -> usize {
        self.came().heads.interim()
    }

    /// Whether the answer is one of HTTP/1.0, whose connections end with it unless it says otherwise.
    pub(crate) fn is_of_1_0(&self) -> bool {
        self.came().heads.minor() == Some(0)
    }

    /// Whether the answer's head has more lines than were handed on.
    pub(crate) fn is_cut(&self) -> bool {
        self.came().heads.is_cut()
    }

    /// Whether the peer began like one that speaks TLS and was not asked in TLS.
    pub(crate) fn is_tls_alert(&self) -> bool {
        let came = self.came();
        came.opened >= TLS_ALERT.len() && came.opening.starts_with(&TLS_ALERT)
    }

    /// Whether the peer began like one that speaks HTTP/2 and nothing else.
    pub(crate) fn is_http2(&self) -> bool {
        let came = self.came();
        came.opened == OPENING_BYTES && came.opening.ends_with(&SETTINGS)
    }

    /// Whether the request that began last has left whole: the library flushes what it writes once nothing of it is left, and
    /// takes a body of one piece in together with its head.
    pub(crate) fn was_told_all(&self) -> bool {
        self.came().told == Told::All
    }

    fn wrote(&self, bytes: usize) {
        if bytes > 0 {
            self.came().told = Told::Some;
        }
    }

    fn flushed(&self) {
        let mut came = self.came();
        if came.told == Told::Some {
            came.told = Told::All;
        }
    }

    fn add(&self, read: &mut [u8]) {
        let mut came = self.came();
        let came = &mut *came;
        came.bytes += read.len();
        came.heads.read(read);
        for (place, byte) in came.opening[came.opened..].iter_mut().zip(read) {
            *place = *byte;
            came.opened += 1;
        }
    }

    fn came(&self) -> MutexGuard<'_, Came> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
                let read = &mut buf.filled_mut()[before..];
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
            Poll::Ready(Ok(written)) => {
                this.writable -= written.min(part.len());
                this.heard.wrote(written);
            }
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
            Poll::Ready(Ok(written)) => {
                this.writable -= written.min(all);
                this.heard.wrote(written);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => this.writable = WRITE_BYTES,
        }
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(self.stream.get_mut()).poll_flush(cx);
        if matches!(poll, Poll::Ready(Ok(()))) {
            self.heard.flushed();
        }
        poll
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
    fn what_came_is_told_apart_by_requests() {
        let heard = Heard::default();
        heard.begin();
        assert!(heard.is_silent());
        heard.add(&mut b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n".to_owned());
        assert_eq!((heard.interim(), heard.is_of_1_0(), heard.is_silent()), (1, true, false));
        heard.begin();
        assert_eq!((heard.interim(), heard.is_of_1_0(), heard.is_silent()), (0, false, true));
    }

    #[tokio::test]
    async fn a_request_has_left_once_all_of_it_is_flushed() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut stream = InTurns::new(near);
        let heard = stream.heard();
        heard.begin();
        stream.flush().await.unwrap();
        assert!(!heard.was_told_all(), "there was nothing to be flushed yet");
        let mut got = [0; 6];
        let (wrote, read) = tokio::join!(stream.write_all(b"abcdef"), far.read_exact(&mut got));
        wrote.unwrap();
        read.unwrap();
        assert!(!heard.was_told_all());
        stream.flush().await.unwrap();
        assert!(heard.was_told_all());
        heard.begin();
        assert!(!heard.was_told_all());
    }

    #[test]
    fn the_opening_tells_what_is_spoken() {
        let heard = |bytes: &[u8]| {
            let heard = Heard::default();
            bytes.to_owned().chunks_mut(4).for_each(|piece| heard.add(piece));
            (heard.is_tls_alert(), heard.is_http2())
        };
        assert_eq!(heard(b"\x15\x03\x03\x00\x02\x02\x46"), (true, false));
        assert_eq!(heard(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64"), (false, true));
        for other in [&b"HTTP/1.1 200 OK\r\n"[..], b"", b"\x15\x04", b"\0\0\0\x04\0\0\0\0", b"\0\0\x08\x07\0\0\0\0\0\0"]
        {
            assert_eq!(heard(other), (false, false));
        }
    }
}
