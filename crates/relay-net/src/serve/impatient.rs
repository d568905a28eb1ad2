//! A socket that waits for its peer for a while, not for good.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::Seated;

/// A stream whose writes fail (`TimedOut`) once the peer has not taken all there is for so long, and that ends, if it gives way,
/// where its peer is waited for and another needs its place. How long a read may take is for the reader to say: it knows what
/// it waits for.
#[derive(Debug)]
pub struct Impatient<S> {
    stream: S,
    seat: Option<Arc<Seated>>,
    patience: Duration,
    /// Since a write had to wait. Only a flush ends it, which comes when everything is written: a peer that takes a byte
    /// now and then is no better than one that takes none.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    /// Bounds writes by `patience`.
    pub const fn new(stream: S, patience: Duration) -> Self {
        Self { stream, seat: None, patience, waiting: None }
    }

    /// Ends where this seat is needed and its peer is waited for. Whoever works meanwhile says so ([`Seated::works`]).
    #[must_use]
    pub fn giving_way(mut self, seat: Arc<Seated>) -> Self {
        self.seat = Some(seat);
        self
    }

    /// Whether its peer, which is waited for, has to make room.
    fn gives_way(&self, cx: &Context<'_>) -> bool {
        self.seat.as_ref().is_some_and(|seat| seat.waits(cx))
    }

    fn watch<T>(&mut self, poll: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let patience = self.patience;
        if poll.is_pending() {
            self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        }
        let is_over = self.waiting.as_mut().is_some_and(|waiting| waiting.as_mut().poll(cx).is_ready());
        if is_over || (poll.is_pending() && self.gives_way(cx)) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        poll
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if poll.is_pending() && self.gives_way(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(poll, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        if poll.is_ready() {
            self.waiting = None;
        }
        self.watch(poll, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(poll, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A peer that asks and asks and reads nothing holds its place for a while, not for good.
    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_given_up() {
        let (near, _far) = tokio::io::duplex(16);
        let mut stream = Impatient::new(near, Duration::from_secs(10));
        assert_eq!(stream.write_all(&[0; 100]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    /// The same for one that takes a byte now and then.
    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_taken_in_drops_is_given_up() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut stream = Impatient::new(near, Duration::from_secs(10));
        let drops = async {
            loop {
                far.read_u8().await.unwrap();
                sleep(Duration::from_millis(100)).await;
            }
        };
        let written = tokio::select! {
            written = async { loop { stream.write_all(&[0; 1_000]).await?; } } => written,
            never = drops => never,
        };
        let written: io::Result<()> = written;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    /// What was taken whole has nothing to do with the next answer.
    #[tokio::test]
    async fn an_answer_that_is_taken_whole_leaves_the_next_one_all_its_time() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut stream = Impatient::new(near, Duration::from_mins(1));
        let (written, read) =
            tokio::join!(stream.write_all(&[0; 100]), async { far.read_exact(&mut [0; 100]).await.map(drop) });
        written.and(read).unwrap();
        assert!(stream.waiting.is_some(), "it had to wait");
        stream.flush().await.unwrap();
        assert!(stream.waiting.is_none());
    }
}
