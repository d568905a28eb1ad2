//! What waits for a client's socket: messages in their order, and few bytes of them.
//!
//! **Invariant:** what waits here and in front of the wire is little: [`limits::SESSION_QUEUE_BYTES`], and no more than leaves
//! in [`limits::SESSION_QUEUE_TIME`] at the pace of the link. On a slow one the machine goes on choosing what goes next, and a
//! heartbeat, a confirmation or a small webhook never waits behind megabytes.

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
    net::TcpStream,
    sync::{
        Notify,
        mpsc::{self, error::TrySendError},
    },
    time::{Instant, timeout},
};

/// Messages that wait for one socket at most, however small.
pub(crate) const MESSAGES_MAX: usize = 64;

/// Readies a socket that may become a session's.
pub(crate) fn prepare(socket: &TcpStream) {
    // Best effort: without it a session on a slow link is slower to say what matters.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(limits::SESSION_UNSENT_BYTES);
}

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
    /// What has left lately.
    passing: Option<Passing>,
}

/// What leaves within [`limits::SESSION_QUEUE_TIME`]: the pace of the link, where the writer waits for it. What is reckoned with
/// doubles or halves at most each time. It grows only with what has left, for the system takes some at once, and is not told
/// by a few small messages that were taken quickly.
#[derive(Clone, Copy, Debug)]
struct Passing {
    since: Instant,
    bytes: usize,
    /// How long the writer waited.
    busy: Duration,
}

#[derive(Debug)]
struct Queued {
    bytes: AtomicUsize,
    /// How many may be: what the link takes in a moment, as far as its pace is known.
    room: AtomicUsize,
    fewer: Notify,
}

/// Room for one message.
pub(crate) struct Permit<'a> {
    permit: mpsc::Permit<'a, Message>,
    queued: Option<&'a Queued>,
}

impl Outbox {
    /// Both ends of a socket's queue.
    pub(crate) fn new() -> (Self, Inbox) {
        let (messages, taken) = mpsc::channel(MESSAGES_MAX);
        let queued = Arc::new(Queued {
            bytes: AtomicUsize::new(0),
            // Little, until it shows that the link takes more.
            room: AtomicUsize::new(limits::SESSION_UNSENT_BYTES as usize),
            fewer: Notify::new(),
        });
        (Self { messages, queued: Some(Arc::clone(&queued)) }, Inbox { messages: taken, queued, passing: None })
    }

    /// The queue of a client in this process.
    pub(crate) fn attached(messages: mpsc::Sender<Message>) -> Self {
        Self { messages, queued: None }
    }

    /// Room for a message, of whatever size; `Full` while enough waits.
    pub(crate) fn try_reserve(&self) -> Result<Permit<'_>, TrySendError<()>> {
        if self.queued.as_ref().is_some_and(|queued| queued.is_full()) && !self.messages.is_closed() {
            return Err(TrySendError::Full(()));
        }
        Ok(Permit { permit: self.messages.try_reserve()?, queued: self.queued.as_deref() })
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

impl Permit<'_> {
    /// Bytes of a body that the message may carry.
    pub(crate) fn piece_bytes(&self) -> usize {
        self.queued.map_or(limits::CHUNK_BYTES, |queued| queued.room().min(limits::CHUNK_BYTES))
    }

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

    /// Whether the link is so slow that what goes next is better chosen once what went before has left.
    pub(crate) fn is_slow(&self) -> bool {
        self.queued.room() < limits::CHUNK_BYTES
    }

    /// So many bytes have left in a write that took so long and is over now.
    pub(crate) fn left(&mut self, bytes: usize, took: Duration, now: Instant) {
        let passing = self.passing.get_or_insert(Passing { since: now - took, bytes: 0, busy: Duration::ZERO });
        passing.bytes += bytes;
        passing.busy += took;
        let elapsed = now.duration_since(passing.since);
        if elapsed < limits::SESSION_QUEUE_TIME {
            return;
        }
        let Passing { bytes, busy, .. } = *passing;
        self.passing = None;
        let room = self.queued.room();
        let fits = (bytes as f64 * limits::SESSION_QUEUE_TIME.as_secs_f64() / elapsed.as_secs_f64()) as usize;
        let wanted = if fits >= room {
            room * 2
        } else if busy * 2 >= elapsed {
            fits.max(room / 2)
        } else {
            // Little was to be said: that says nothing of the link.
            room
        };
        let wanted = wanted.clamp(limits::PIECE_BYTES_MIN, limits::SESSION_QUEUE_BYTES);
        self.queued.room.store(wanted, Ordering::Relaxed);
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
    fn room(&self) -> usize {
        self.room.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.room()
    }
}

/// A stream that counts what its peer takes.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
}

/// How much a peer has taken, and how much came of it.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    taken: AtomicU64,
    came: AtomicU64,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S) -> (Self, Arc<Pace>) {
        let pace = Arc::new(Pace::default());
        (Self { stream, pace: Arc::clone(&pace) }, pace)
    }
}

impl Pace {
    /// Bytes that were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Bytes that have come.
    pub(crate) fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

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
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.pace.came.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        poll
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

    /// Fills the queue; gives how many bytes of bodies that took.
    fn filled(outbox: &Outbox) -> usize {
        let mut waiting = 0;
        while let Ok(permit) = outbox.try_reserve() {
            let data = vec![0; permit.piece_bytes()];
            waiting += data.len();
            permit.send(Message::Chunk(Chunk { lease: None, offset: 1, data: data.into() }));
        }
        waiting
    }

    /// I8, I19: few bytes wait for a socket, and the hub hears as soon as there is room again.
    #[tokio::test]
    async fn few_bytes_wait_in_front_of_a_socket() {
        let (outbox, mut inbox) = Outbox::new();
        assert_eq!(
            filled(&outbox),
            limits::SESSION_UNSENT_BYTES as usize,
            "little, while nothing is known of the link"
        );
        let mut space = Box::pin(outbox.space());
        assert!(space.as_mut().now_or_never().is_none());
        let mut batch = Vec::new();
        inbox.recv_many(&mut batch).await;
        assert!(space.as_mut().now_or_never().is_none(), "taken from the queue, and not written yet");
        inbox.took(batch[0].encoded_len());
        space.await;
        assert!(outbox.try_reserve().is_ok());
    }

    /// I15: what waits leaves within a moment, however fast or slow the link is.
    #[test]
    fn what_waits_follows_the_pace_of_the_link() {
        let (outbox, mut inbox) = Outbox::new();
        let mut now = Instant::now();
        let mut pass = |inbox: &mut Inbox, bytes_per_second: u32, span: Duration| {
            let until = now + span;
            while now < until {
                let bytes = inbox.queued.room().min(limits::CHUNK_BYTES);
                let took = Duration::from_secs(1) * bytes as u32 / bytes_per_second;
                now += took;
                inbox.left(bytes, took, now);
            }
        };
        let filled = |inbox: &Inbox| {
            let filled = filled(&outbox);
            inbox.queued.bytes.store(0, Ordering::Relaxed);
            filled
        };
        pass(&mut inbox, 100_000_000, Duration::from_secs(3));
        assert!(!inbox.is_slow());
        assert_eq!(filled(&inbox), limits::SESSION_QUEUE_BYTES);
        pass(&mut inbox, 64 * 1024, Duration::from_secs(20));
        assert!(inbox.is_slow());
        let fits = filled(&inbox);
        assert!((8 * 1024..=32 * 1024).contains(&fits), "{fits} bytes are not a quarter of a second");
        pass(&mut inbox, 500, Duration::from_secs(100));
        assert_eq!(filled(&inbox), limits::PIECE_BYTES_MIN);
        pass(&mut inbox, 100_000_000, Duration::from_secs(3));
        assert_eq!(filled(&inbox), limits::SESSION_QUEUE_BYTES, "a link that recovers");
    }

    /// I15: what the system takes at once, and small messages that it takes quickly for hours, are no fast link.
    #[test]
    fn what_is_taken_at_once_is_no_pace() {
        let (_outbox, mut inbox) = Outbox::new();
        let (mut now, at_first) = (Instant::now(), inbox.queued.room());
        for _ in 0..1_000 {
            now += Duration::from_secs(15);
            inbox.left(100, Duration::from_micros(50), now);
        }
        assert_eq!(inbox.queued.room(), at_first);
        for _ in 0..8 {
            now += Duration::from_micros(50);
            inbox.left(at_first, Duration::from_micros(50), now);
        }
        assert_eq!(inbox.queued.room(), at_first, "a burst into an empty socket");
        for _ in 0..4 {
            let bytes = inbox.queued.room().min(limits::CHUNK_BYTES);
            now += Duration::from_secs(8);
            inbox.left(bytes, Duration::from_secs(8), now);
        }
        assert_eq!(inbox.queued.room(), limits::PIECE_BYTES_MIN);
    }

    /// Small messages wait by their number.
    #[test]
    fn many_small_messages_do_not_wait_either() {
        let (outbox, _inbox) = Outbox::new();
        let sent =
            std::iter::from_fn(|| outbox.try_reserve().ok()).map(|permit| permit.send(Message::Extend(<_>::default())));
        assert_eq!(sent.count(), MESSAGES_MAX);
    }

    /// A writer that ends while the hub waits for room leaves no wait behind.
    #[tokio::test]
    async fn nobody_waits_for_a_writer_that_has_ended() {
        let (outbox, inbox) = Outbox::new();
        filled(&outbox);
        let space = tokio::spawn(outbox.space());
        tokio::task::yield_now().await;
        drop(inbox);
        space.await.unwrap();
        assert!(matches!(outbox.try_reserve(), Err(TrySendError::Closed(()))));
    }
}
