//! What waits for a client's socket: messages in their order, and few bytes of them.
//!
//! **Invariant:** what waits here and in front of the wire is little ([`limits::SESSION_QUEUE_BYTES`]): on a slow link the
//! machine goes on choosing what goes next, and a heartbeat or a confirmation never waits behind megabytes.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use relay_core::{limits, wire::message::Message};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{
        Notify,
        mpsc::{self, error::TrySendError},
    },
    time::timeout,
};

/// Messages that wait for one socket at most, however small.
pub(crate) const MESSAGES_MAX: usize = 64;

/// The hub's end.
#[derive(Debug)]
pub(crate) struct Outbox {
    messages: mpsc::Sender<Message>,
    /// `None`: whoever reads is in this process, and its memory is ours.
    queued: Option<Arc<Queued>>,
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct Inbox {
    messages: mpsc::Receiver<Message>,
    queued: Arc<Queued>,
}

#[derive(Debug, Default)]
struct Queued {
    bytes: AtomicUsize,
    fewer: Notify,
}

/// Room for one message.
pub(crate) struct Place<'a> {
    permit: mpsc::Permit<'a, Message>,
    queued: Option<&'a Queued>,
}

impl Outbox {
    /// Both ends of a socket's queue.
    pub(crate) fn new() -> (Self, Inbox) {
        let (messages, taken) = mpsc::channel(MESSAGES_MAX);
        let queued = Arc::new(Queued::default());
        (Self { messages, queued: Some(Arc::clone(&queued)) }, Inbox { messages: taken, queued })
    }

    /// The queue of a client in this process.
    pub(crate) fn attached(messages: mpsc::Sender<Message>) -> Self {
        Self { messages, queued: None }
    }

    /// Room for a message, of whatever size; `Full` while enough waits.
    pub(crate) fn try_reserve(&self) -> Result<Place<'_>, TrySendError<()>> {
        if self.queued.as_ref().is_some_and(|queued| queued.is_full()) && !self.messages.is_closed() {
            return Err(TrySendError::Full(()));
        }
        Ok(Place { permit: self.messages.try_reserve()?, queued: self.queued.as_deref() })
    }

    /// Completes when there may be room, or when nobody takes anything any more.
    pub(crate) fn space(&self) -> impl Future<Output = ()> + Send + use<> {
        let (messages, queued) = (self.messages.clone(), self.queued.clone());
        async move {
            if let Some(queued) = queued {
                while queued.is_full() && !messages.is_closed() {
                    queued.fewer.notified().await;
                }
            }
            // A permit or an error, either way: look again. The permit goes back unused.
            drop(messages.reserve_owned().await);
        }
    }
}

impl Place<'_> {
    pub(crate) fn send(self, message: Message) {
        if let Some(queued) = self.queued {
            queued.bytes.fetch_add(message.encoded_len(), Ordering::Relaxed);
        }
        self.permit.send(message);
    }
}

impl Inbox {
    /// What waits, in order; 0 once the hub has let go of the socket and all of it was taken.
    pub(crate) async fn recv_many(&mut self, batch: &mut Vec<Message>) -> usize {
        self.messages.recv_many(batch, MESSAGES_MAX).await
    }

    /// A message of so many bytes does not wait any more.
    pub(crate) fn took(&self, bytes: usize) {
        self.queued.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.queued.fewer.notify_one();
    }
}

impl Drop for Inbox {
    /// Nobody waits for room that would never come.
    fn drop(&mut self) {
        self.messages.close();
        self.queued.fewer.notify_one();
    }
}

impl Queued {
    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= limits::SESSION_QUEUE_BYTES
    }
}

/// A stream that counts what its peer takes.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
}

/// How much a peer has taken.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    taken: AtomicU64,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S) -> (Self, Arc<Pace>) {
        let pace = Arc::new(Pace::default());
        (Self { stream, pace: Arc::clone(&pace) }, pace)
    }
}

impl Pace {
    /// Does `work` as long as its peer takes something, however little, at least every `patience`. `None`: it stopped taking
    /// anything.
    pub(crate) async fn keep<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            let before = self.taken.load(Ordering::Relaxed);
            match timeout(patience, work.as_mut()).await {
                Ok(done) => return Some(done),
                Err(_) if self.taken.load(Ordering::Relaxed) == before => return None,
                Err(_) => {}
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(taken)) = poll {
            self.pace.taken.fetch_add(taken as u64, Ordering::Relaxed);
        }
        poll
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
    use futures_util::FutureExt as _;
    use relay_core::wire::message::Chunk;

    use super::*;

    fn piece() -> Message {
        let data = vec![0; limits::CHUNK_BYTES].into();
        Message::Chunk(Chunk { lease: None, offset: 1, data })
    }

    /// I8, I19: few bytes wait for a slow socket, and the hub hears as soon as there is room again.
    #[tokio::test]
    async fn few_bytes_wait_in_front_of_a_socket() {
        let (outbox, mut inbox) = Outbox::new();
        let mut waiting = 0;
        while let Ok(place) = outbox.try_reserve() {
            place.send(piece());
            waiting += limits::CHUNK_BYTES;
        }
        assert_eq!(waiting, limits::SESSION_QUEUE_BYTES);
        let mut space = Box::pin(outbox.space());
        assert!(space.as_mut().now_or_never().is_none());
        let mut batch = Vec::new();
        inbox.recv_many(&mut batch).await;
        assert!(space.as_mut().now_or_never().is_none(), "taken from the queue, and not written yet");
        inbox.took(batch[0].encoded_len());
        space.await;
        assert!(outbox.try_reserve().is_ok());
    }

    /// Small messages wait by their number.
    #[test]
    fn many_small_messages_do_not_wait_either() {
        let (outbox, _inbox) = Outbox::new();
        let sent =
            std::iter::from_fn(|| outbox.try_reserve().ok()).map(|place| place.send(Message::Extend(<_>::default())));
        assert_eq!(sent.count(), MESSAGES_MAX);
    }

    /// A writer that ends while the hub waits for room leaves no wait behind.
    #[tokio::test]
    async fn nobody_waits_for_a_writer_that_has_ended() {
        let (outbox, inbox) = Outbox::new();
        while let Ok(place) = outbox.try_reserve() {
            place.send(piece());
        }
        let space = tokio::spawn(outbox.space());
        tokio::task::yield_now().await;
        drop(inbox);
        space.await.unwrap();
        assert!(matches!(outbox.try_reserve(), Err(TrySendError::Closed(()))));
    }
}
