//! A socket whose incoming bytes are judged before the HTTP library reads them.
//!
//! The usual case costs one pass over each head and no copy: bytes are read straight into the library's buffer and judged
//! there. Only what may not go on yet is held back here.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use futures_util::task::AtomicWaker;
use relay_core::limits;
use relay_net::serve::Seated;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::{
    flaw::{Flaw, HEAD_TIME_MAX},
    framing::{Framing, Stop},
    target::Rewrite,
};

/// How much is read at once while a head is not complete.
const PIECE_BYTES: usize = 4 * 1024;
/// How long, and how much, is read and dropped behind an answer that came before the end of its request: a socket closed
/// with unread bytes is reset, and the sender would never see the answer.
const LINGER: Duration = Duration::from_secs(1);
/// How long an answer may still wait to be taken once the server stops.
const STOP_WRITE: Duration = Duration::from_secs(1);
/// See [`LINGER`].
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long each side may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a request head, from its first byte (from the start of the connection for the first).
    pub head: Duration,
    /// Between an answer and the next request; less where connections are few.
    pub idle: Duration,
    /// For a body: this long for any, and without a byte; and at least 1 KiB/s beyond.
    pub body: Duration,
    /// To take any byte of an answer, and any answer; and at least 1 KiB/s beyond.
    pub write: Duration,
    /// For the commit: this one is the sender's patience with us. Platforms give up after 3 s and more; a `503` that they
    /// see is better than an answer that they do not.
    pub commit: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: HEAD_TIME_MAX,
            idle: Duration::from_mins(1),
            body: Duration::from_secs(30),
            write: Duration::from_secs(30),
            commit: limits::COMMIT_WITHIN,
        }
    }
}

/// A socket whose incoming bytes are judged before anybody reads them.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    socket: S,
    framing: Framing,
    mode: Mode,
    /// Bytes read and not handed on: the first `passed` of them may go on.
    held: BytesMut,
    passed: usize,
    /// What is held behind that has not been judged yet.
    unjudged: bool,
    gate: Arc<Gate>,
    seat: Arc<Seated>,
    patience: Patience,
    head_until: Option<Instant>,
    idle_until: Option<Instant>,
    /// By when the peer has to take what it has not taken of an answer, and how much that is.
    taken_until: Option<Instant>,
    untaken: usize,
    /// Reads on once the answer is taken.
    reader: Option<Waker>,
    reading: Alarm,
    writing: Alarm,
    lingering: Option<Linger>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Bytes are judged.
    Judging,
    /// The answer to an upgrade decides.
    Undecided,
    /// Another protocol: nothing is judged, and its own heartbeats watch the peer.
    Raw,
    /// Nothing more goes on, whatever comes.
    Ended,
}

#[derive(Debug)]
struct Linger {
    until: Instant,
    bytes_left: usize,
}

/// Tells a [`Guarded`] socket how the request that asked for another protocol was answered, and that the server stops.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    decision: AtomicU8,
    waker: AtomicWaker,
    closing: AtomicBool,
}

const NOT_DECIDED: u8 = 0;
const STAYS_HTTP: u8 = 1;
const BECOMES_RAW: u8 = 2;

impl Gate {
    /// Must follow every request with an `Upgrade` field, and none without.
    pub(crate) fn decide(&self, switched: bool) {
        self.decision.store(if switched { BECOMES_RAW } else { STAYS_HTTP }, Ordering::Release);
        self.waker.wake();
    }

    /// The server stops: nobody is waited for long to take an answer. Whoever says so polls the socket afterwards.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<u8> {
        self.waker.register(cx.waker());
        match self.decision.swap(NOT_DECIDED, Ordering::AcqRel) {
            NOT_DECIDED => Poll::Pending,
            decided => Poll::Ready(decided),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    pub(crate) fn new(socket: S, gate: Arc<Gate>, seat: Arc<Seated>, patience: Patience) -> Self {
        Self {
            socket,
            framing: Framing::default(),
            mode: Mode::Judging,
            held: BytesMut::new(),
            passed: 0,
            unjudged: false,
            gate,
            seat,
            patience,
            head_until: Some(Instant::now() + patience.head),
            idle_until: None,
            taken_until: None,
            untaken: 0,
            reader: None,
            reading: Alarm::default(),
            writing: Alarm::default(),
            lingering: None,
        }
    }

    /// Goes on by one step: what came is judged, or more is read.
    fn poll_judged(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.taken_until.is_some() && self.framing.is_between_requests() {
            // What was answered is to be taken first.
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.unjudged {
            self.unjudged = false;
            self.judge_held();
            return Poll::Ready(Ok(()));
        }
        if self.held.is_empty() { self.poll_read_in_place(cx, buf) } else { self.poll_read_held(cx) }
    }

    /// Reads into the reader's own buffer and judges there; what may not go on is moved to `held`.
    fn poll_read_in_place(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if Pin::new(&mut self.socket).poll_read(cx, buf)?.is_pending() {
            return self.poll_patience(cx);
        }
        let new = &buf.filled()[before..];
        if new.is_empty() {
            self.mode = Mode::Ended;
            return Poll::Ready(Ok(()));
        }
        self.idle_until = None;
        let judged = self.framing.judge(new);
        self.held.extend_from_slice(&new[judged.pass..]);
        buf.set_filled(before + judged.pass);
        if judged.pass > 0 {
            self.head_until = None;
            self.seat.works();
        }
        self.passed = 0;
        self.obey(judged.stop);
        Poll::Ready(Ok(()))
    }

    /// Reads on behind what is held: an incomplete head.
    fn poll_read_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0; PIECE_BYTES];
        let mut buf = ReadBuf::new(&mut piece);
        if Pin::new(&mut self.socket).poll_read(cx, &mut buf)?.is_pending() {
            return self.poll_patience(cx);
        }
        if buf.filled().is_empty() {
            self.mode = Mode::Ended;
            self.held.clear();
        } else {
            self.held.extend_from_slice(buf.filled());
            self.judge_held();
        }
        Poll::Ready(Ok(()))
    }

    /// Judges what is held and has not passed yet.
    fn judge_held(&mut self) {
        let judged = self.framing.judge(&self.held[self.passed..]);
        self.passed += judged.pass;
        if judged.pass > 0 {
            self.head_until = None;
            self.seat.works();
        }
        self.obey(judged.stop);
    }

    /// Puts another target into the head that is next, and lets it pass.
    fn rewrite(&mut self, head: usize, target: Rewrite) {
        let behind = self.held.split_off(self.passed);
        let put = target.target(&behind);
        self.held.reserve(behind.len() + put.len());
        self.held.extend_from_slice(&behind[..target.from]);
        self.held.extend_from_slice(&put);
        self.held.extend_from_slice(&behind[target.to..]);
        self.passed += head - (target.to - target.from) + put.len();
        self.head_until = None;
        self.seat.works();
    }

    fn obey(&mut self, stop: Option<Stop>) {
        match stop {
            None => {}
            Some(Stop::Undecided) => self.mode = Mode::Undecided,
            Some(Stop::Enough) => self.unjudged = true,
            Some(Stop::Rewrite { head, target }) => {
                self.rewrite(head, target);
                self.unjudged = true;
            }
            Some(Stop::Flawed(flaw)) => self.refuse(flaw),
            // To the reader the body ends too early, which is all it needs to store nothing.
            Some(Stop::BrokenBody) => {
                self.held.truncate(self.passed);
                self.mode = Mode::Ended;
            }
        }
    }

    fn refuse(&mut self, flaw: Flaw) {
        self.held.truncate(self.passed);
        self.held.extend_from_slice(flaw.stand_in().as_bytes());
        self.passed = self.held.len();
        self.mode = Mode::Ended;
    }

    /// Waits, as long as the peer may take for what it is at: ready when something is to be read here. A body's time is
    /// watched by whoever reads it.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.framing.is_between_requests() {
            return Poll::Pending;
        }
        if self.seat.waits(cx, self.held.len() + self.untaken) {
            self.end();
            return Poll::Ready(Ok(()));
        }
        if self.held.is_empty() && self.head_until.is_none() {
            let until = *self.idle_until.get_or_insert_with(|| Instant::now() + self.seat.idle(self.patience.idle));
            ready!(self.reading.poll(cx, until));
            self.mode = Mode::Ended;
        } else {
            let until = *self.head_until.get_or_insert_with(|| Instant::now() + self.patience.head);
            ready!(self.reading.poll(cx, until));
            if self.held.is_empty() {
                self.mode = Mode::Ended;
            } else {
                self.refuse(Flaw::Slow);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Its room is needed, or its memory: nothing more is read, and nothing of what was is answered.
    fn end(&mut self) {
        self.held.clear();
        self.passed = 0;
        self.mode = Mode::Ended;
    }

    /// An answer that nobody takes, or one byte at a time, must not hold a connection for ever.
    fn watch_write(
        &mut self,
        cx: &mut Context<'_>,
        offered: usize,
        poll: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.mode == Mode::Raw {
            return poll;
        }
        match poll {
            Poll::Ready(Ok(taken)) if taken < offered => {
                self.untaken = offered - taken;
                if let Some(until) = &mut self.taken_until {
                    let earned = Duration::from_millis(taken as u64 * 1_000 / limits::ANSWER_BYTES_PER_SECOND_MIN);
                    *until = (*until + earned).min(Instant::now() + self.patience.write);
                }
                poll
            }
            Poll::Ready(_) => {
                self.untaken = 0;
                if self.taken_until.take().is_some() {
                    self.seat.works();
                    if let Some(reader) = self.reader.take() {
                        reader.wake();
                    }
                }
                poll
            }
            Poll::Pending => {
                self.untaken = offered;
                let mut until = *self.taken_until.get_or_insert_with(|| Instant::now() + self.patience.write);
                if self.gate.is_closing() {
                    until = until.min(Instant::now() + STOP_WRITE.min(self.patience.write));
                    self.taken_until = Some(until);
                }
                if !self.seat.waits(cx, self.held.len() + self.untaken) {
                    ready!(self.writing.poll(cx, until));
                }
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        loop {
            if this.passed > 0 {
                let now = this.passed.min(buf.remaining());
                buf.put_slice(&this.held[..now]);
                this.held.advance(now);
                this.passed -= now;
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Ended => return Poll::Ready(Ok(())),
                Mode::Raw if this.held.is_empty() => return Pin::new(&mut this.socket).poll_read(cx, buf),
                Mode::Raw => this.passed = this.held.len(),
                Mode::Undecided => {
                    if ready!(this.gate.poll(cx)) == BECOMES_RAW {
                        this.mode = Mode::Raw;
                        this.seat.works();
                    } else {
                        this.mode = Mode::Judging;
                        this.framing.http_goes_on();
                        this.judge_held();
                    }
                }
                Mode::Judging => {
                    ready!(this.poll_judged(cx, buf))?;
                    if buf.filled().len() > before {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.socket).poll_write(cx, buf);
        this.watch_write(cx, buf.len(), poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.socket).poll_write_vectored(cx, bufs);
        this.watch_write(cx, bufs.iter().map(|buf| buf.len()).sum(), poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    /// Says goodbye; with a request left unread, reads and drops it for a while, so that the sender gets its answer.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(linger) = &mut this.lingering else {
            ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
            if this.mode == Mode::Raw || (this.framing.is_between_requests() && this.held.is_empty()) {
                return Poll::Ready(Ok(()));
            }
            this.lingering = Some(Linger { until: Instant::now() + LINGER, bytes_left: LINGER_BYTES_MAX });
            return Pin::new(this).poll_shutdown(cx);
        };
        let mut piece = [0; PIECE_BYTES];
        loop {
            let mut buf = ReadBuf::new(&mut piece);
            if Pin::new(&mut this.socket).poll_read(cx, &mut buf)?.is_pending() {
                if this.seat.waits(cx, 0) {
                    // Its answer is on its way, and others need its place.
                    return Poll::Ready(Ok(()));
                }
                return this.reading.poll(cx, linger.until).map(Ok);
            }
            linger.bytes_left = linger.bytes_left.saturating_sub(buf.filled().len());
            if buf.filled().is_empty() || linger.bytes_left == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// A timer that is armed only by waiting, and moved only when it rings too early: most waits never touch the runtime's
/// timers.
#[derive(Debug, Default)]
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready at `until`.
    fn poll(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if sleep.deadline() > until {
            sleep.as_mut().reset(until);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
        Poll::Pending
    }
}
