//! A socket whose incoming bytes are judged before the HTTP library reads them.
//!
//! What comes first is read in a small piece, judged, and copied into the library's buffer as far as it may go on; the rest is
//! held back here, and what a connection that waits holds back is where others can take it from (`Seated::waits_with`). So a head
//! that is not whole touches no buffer of the library. Behind a whole request that buffer is there, and what follows is read
//! straight into it while it is small. The bytes of a large body are read into one that grows with it and stays as large: as many
//! may do that as there is memory for.

use std::{
    io,
    mem::MaybeUninit,
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
    framing::{Framing, Stop},
    rewrite::Rewrite,
    stand_in::stand_in,
};
use crate::ingress::{
    flaw::Flaw,
    patience::{HEAD_TIME_MAX, Patience},
};

/// How much is read at once, but of a large body: not quite what the library reads first, for its buffer doubles with each read
/// that fills it.
const PIECE_BYTES: usize = 8 * 1024 - 1;
/// What the library reads first, and again where little comes.
const SMALL_BUFFER_BYTES: usize = 8 * 1024;
/// Bytes the library may buffer per connection: a whole head with room for a good part of a body behind it.
pub(super) const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How much is dropped at once of what nobody reads.
const LINGER_PIECE_BYTES: usize = 16 * 1024;
/// How long is read and dropped behind an answer that came before the end of its request, as long as something comes: a socket
/// closed with unread bytes is reset, and a sender that writes first and reads then would never see the answer (RFC 9112,
/// section 9.6). As long as half a head may take.
const LINGER: Duration = HEAD_TIME_MAX;
/// And how long without a byte.
const LINGER_SILENT: Duration = Duration::from_secs(1);
/// What is read so in each turn, and how long one is: whoever sends what nobody wants does not take the way of those who are
/// waited for.
const LINGER_TURN_BYTES: usize = 256 * 1024;
const LINGER_TURN: Duration = Duration::from_millis(16);
/// How long an answer may still wait to be taken once the server stops.
const STOP_WRITE: Duration = Duration::from_secs(1);

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
    /// What is held is put aside, where it may be taken away.
    is_aside: bool,
    /// The last piece was a whole one of a body that goes on: there is more to read than a piece.
    is_large: bool,
    /// The library has had a whole head, and its buffer has been large enough: it is there.
    has_buffer: bool,
    switch: Arc<Switch>,
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

/// What is left of the time and the turn in which a request that was answered already is read and dropped.
#[derive(Debug)]
struct Linger {
    until: Instant,
    silent_until: Instant,
    turn_until: Instant,
    turn_bytes: usize,
}

impl Linger {
    fn begin(now: Instant) -> Self {
        Self {
            until: now + LINGER,
            silent_until: now + LINGER_SILENT,
            turn_until: now + LINGER_TURN,
            turn_bytes: LINGER_TURN_BYTES,
        }
    }
}

/// Tells a [`Guarded`] socket how the request that asked for another protocol was answered, and that the server stops.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    decision: AtomicU8,
    waker: AtomicWaker,
    closing: AtomicBool,
}

const NOT_DECIDED: u8 = 0;
const STAYS_HTTP: u8 = 1;
const BECOMES_RAW: u8 = 2;

impl Switch {
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
    pub(crate) fn new(socket: S, switch: Arc<Switch>, seat: Arc<Seated>, patience: Patience) -> Self {
        Self {
            socket,
            framing: Framing::default(),
            mode: Mode::Judging,
            held: BytesMut::new(),
            passed: 0,
            unjudged: false,
            is_aside: false,
            is_large: false,
            has_buffer: false,
            switch,
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
        if !self.held.is_empty() {
            self.poll_read_held(cx)
        } else if self.may_read_in_place(buf.remaining()) {
            self.poll_read_in_place(cx, buf)
        } else {
            self.poll_read_piece(cx, buf)
        }
    }

    /// Whether what comes next goes straight into the reader's buffer, which has so much room.
    fn may_read_in_place(&self, room: usize) -> bool {
        let is_there = self.has_buffer && room <= SMALL_BUFFER_BYTES && self.framing.is_between_requests();
        is_there || (self.is_large && self.seat.may_read_ahead((BUFFER_BYTES_MAX - PIECE_BYTES) as u64))
    }

    /// Reads a piece, and gives the reader what of it may go on.
    fn poll_read_piece(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
        let most = buf.remaining().min(PIECE_BYTES);
        let mut piece = ReadBuf::uninit(&mut piece[..most]);
        if Pin::new(&mut self.socket).poll_read(cx, &mut piece)?.is_pending() {
            return self.poll_patience(cx);
        }
        let new = piece.filled();
        let stop = self.take_in(new, |pass| buf.put_slice(&new[..pass]));
        self.is_large = new.len() == most && !self.framing.is_between_requests();
        self.obey(stop);
        Poll::Ready(Ok(()))
    }

    /// Reads the next bytes into the reader's own buffer and judges them there: what may not go on is held.
    fn poll_read_in_place(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if Pin::new(&mut self.socket).poll_read(cx, buf)?.is_pending() {
            return self.poll_patience(cx);
        }
        let mut passed = 0;
        let most = buf.capacity() - before;
        let new = &buf.filled()[before..];
        let is_full = new.len() == most;
        let stop = self.take_in(new, |pass| passed = pass);
        buf.set_filled(before + passed);
        self.is_large = (self.is_large || is_full) && !self.framing.is_between_requests();
        // Filled, it doubles.
        self.has_buffer &= !is_full;
        self.obey(stop);
        Poll::Ready(Ok(()))
    }

    /// Judges what was read while nothing is held: what may not go on yet is held then. None: the peer says no more.
    fn take_in(&mut self, new: &[u8], pass: impl FnOnce(usize)) -> Option<Stop> {
        if new.is_empty() {
            self.mode = Mode::Ended;
            return None;
        }
        self.idle_until = None;
        let judged = self.framing.judge(new);
        self.held.extend_from_slice(&new[judged.pass..]);
        self.passed = 0;
        pass(judged.pass);
        if judged.pass > 0 {
            self.has_buffer = true;
            self.head_until = None;
            self.seat.works();
        }
        judged.stop
    }

    /// Reads on behind what is held: an incomplete head.
    fn poll_read_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
        let mut piece = ReadBuf::uninit(&mut piece);
        if Pin::new(&mut self.socket).poll_read(cx, &mut piece)?.is_pending() {
            return self.poll_patience(cx);
        }
        if piece.filled().is_empty() {
            self.mode = Mode::Ended;
            self.held.clear();
        } else {
            self.held.extend_from_slice(piece.filled());
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
        self.held.extend_from_slice(stand_in(flaw).as_bytes());
        self.passed = self.held.len();
        self.mode = Mode::Ended;
    }

    /// Waits, as long as the peer may take for what it is at: ready when something is to be read here. A body's time is
    /// watched by whoever reads it.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.framing.is_between_requests() {
            return Poll::Pending;
        }
        let is_idle = self.held.is_empty();
        if self.waits(cx) {
            return Poll::Ready(Ok(()));
        }
        if is_idle && self.head_until.is_none() {
            let until = *self.idle_until.get_or_insert_with(|| Instant::now() + self.seat.idle(self.patience.idle));
            ready!(self.reading.poll(cx, until));
            self.mode = Mode::Ended;
        } else {
            let until = *self.head_until.get_or_insert_with(|| Instant::now() + self.patience.head);
            ready!(self.reading.poll(cx, until));
            self.comes_back();
            if self.held.is_empty() {
                self.mode = Mode::Ended;
            } else {
                self.refuse(Flaw::Slow);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Puts aside what is held, until [`Self::comes_back`]; whether it has to end instead.
    fn waits(&mut self, cx: &Context<'_>) -> bool {
        self.is_aside = !self.held.is_empty();
        let ends = self.seat.waits_with(cx, std::mem::take(&mut self.held), self.untaken);
        if ends {
            self.is_aside = false;
            self.end();
        }
        ends
    }

    /// Has what was put aside again, or ends, if it was taken away.
    fn comes_back(&mut self) {
        if std::mem::take(&mut self.is_aside) {
            match self.seat.takes_back() {
                Some(held) => self.held = held,
                None => self.end(),
            }
        }
    }

    /// Its room is needed, or its memory: nothing more is read, and nothing of what was is answered.
    fn end(&mut self) {
        self.held = BytesMut::new();
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
                if self.switch.is_closing() {
                    until = until.min(Instant::now() + STOP_WRITE.min(self.patience.write));
                    self.taken_until = Some(until);
                }
                if !self.waits(cx) {
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
        this.comes_back();
        let before = buf.filled().len();
        loop {
            if this.passed > 0 {
                let now = this.passed.min(buf.remaining());
                buf.put_slice(&this.held[..now]);
                this.held.advance(now);
                this.passed -= now;
                if this.held.is_empty() {
                    // A head may have made it large.
                    this.held = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Ended => return Poll::Ready(Ok(())),
                Mode::Raw if this.held.is_empty() => return Pin::new(&mut this.socket).poll_read(cx, buf),
                Mode::Raw => this.passed = this.held.len(),
                Mode::Undecided => {
                    if ready!(this.switch.poll(cx)) == BECOMES_RAW {
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
        this.comes_back();
        let poll = Pin::new(&mut this.socket).poll_write(cx, buf);
        this.watch_write(cx, buf.len(), poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.comes_back();
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
        this.comes_back();
        let Some(linger) = &mut this.lingering else {
            ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
            if this.mode == Mode::Raw || (this.framing.is_between_requests() && this.held.is_empty()) {
                return Poll::Ready(Ok(()));
            }
            this.lingering = Some(Linger::begin(Instant::now()));
            return Pin::new(this).poll_shutdown(cx);
        };
        if this.switch.is_closing() {
            linger.until = linger.until.min(Instant::now() + STOP_WRITE);
        }
        let mut piece = [0; LINGER_PIECE_BYTES];
        loop {
            if this.seat.waits(cx) {
                // Its answer is on its way, and others need its place.
                return Poll::Ready(Ok(()));
            }
            if linger.turn_bytes == 0 {
                ready!(this.reading.poll(cx, linger.turn_until.min(linger.until)));
                let now = Instant::now();
                if now >= linger.until {
                    return Poll::Ready(Ok(()));
                }
                *linger = Linger { until: linger.until, ..Linger::begin(now) };
            }
            let mut buf = ReadBuf::new(&mut piece);
            if Pin::new(&mut this.socket).poll_read(cx, &mut buf)?.is_pending() {
                return this.reading.poll(cx, linger.silent_until.min(linger.until)).map(Ok);
            }
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            linger.silent_until = Instant::now() + LINGER_SILENT;
            linger.turn_bytes = linger.turn_bytes.saturating_sub(buf.filled().len());
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
