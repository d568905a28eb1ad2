//! The bytes of one session that is polled, between its requests and its task.
//!
//! **Invariant:** each way is one stream of bytes, and everything is told by its place in that stream. A request that comes twice
//! puts nothing in twice, and an answer that was lost is given again from where its client says that it is.

use std::{
    sync::{
        Mutex as Latch, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::FutureExt as _;
use relay_core::limits;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf},
    sync::{Mutex, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// See the module.
pub(super) struct Pipe {
    up: Mutex<Up>,
    down: Mutex<Down>,
    /// Which request waits for what is said: the latest.
    turn: watch::Sender<u64>,
    /// Requests that are being answered.
    at_work: AtomicUsize,
    /// When one was last.
    used: Latch<Instant>,
    over: CancellationToken,
}

/// What the client says.
struct Up {
    /// How much of it has gone on.
    taken: u64,
    to: WriteHalf<DuplexStream>,
}

/// What the server says.
struct Down {
    /// How much of it the client has.
    had: u64,
    /// What it may not have yet.
    kept: BytesMut,
    from: ReadHalf<DuplexStream>,
    /// No more is said.
    is_last: bool,
}

/// Why bytes do not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The session is over.
    Over,
    /// The client is at a place where this stream is not: bytes between are nowhere.
    Gap,
}

/// A request that is being answered: the session is not idle.
pub(super) struct AtWork<'a>(&'a Pipe);

impl Pipe {
    /// Between a client and the other end of `stream`.
    pub(super) fn new(stream: DuplexStream) -> Self {
        let (from, to) = tokio::io::split(stream);
        Self {
            up: Mutex::new(Up { taken: 0, to }),
            down: Mutex::new(Down { had: 0, kept: BytesMut::new(), from, is_last: false }),
            turn: watch::Sender::new(0),
            at_work: AtomicUsize::new(0),
            used: Latch::new(Instant::now()),
            over: CancellationToken::new(),
        }
    }

    /// As long as what this gives lives, a request is being answered.
    pub(super) fn works(&self) -> AtWork<'_> {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork(self)
    }

    /// Takes what the client says at a place of its stream; what was taken before is left out. Cancel-safe: as far as it came.
    ///
    /// # Errors
    /// [`Broken`].
    pub(super) async fn put(&self, at: u64, bytes: &[u8]) -> Result<(), Broken> {
        let put = async {
            let mut up = self.up.lock().await;
            let known = up.taken.checked_sub(at).ok_or(Broken::Gap)?;
            let mut new = bytes.get(usize::try_from(known).unwrap_or(usize::MAX)..).unwrap_or_default();
            while !new.is_empty() {
                let taken = up.to.write(new).await.map_err(|_| Broken::Over)?;
                up.taken += taken as u64;
                new = &new[taken..];
            }
            Ok(())
        };
        self.over.run_until_cancelled(put).await.unwrap_or(Err(Broken::Over))
    }

    /// How much of what the client said has been taken.
    pub(super) async fn taken(&self) -> u64 {
        self.up.lock().await.taken
    }

    /// What the server says from that place of its stream on, which the client has come to: at once, or as soon as there is
    /// something; nothing where there is nothing for so long, or another request asks. Cancel-safe.
    ///
    /// # Errors
    /// [`Broken`]; [`Broken::Over`] once the client has had everything.
    pub(super) async fn get(&self, from: u64, within: Duration) -> Result<Bytes, Broken> {
        let mut turns = self.turn.subscribe();
        let mut mine = 0;
        self.turn.send_modify(|turn| {
            *turn += 1;
            mine = *turn;
        });
        // Cancel safety: what was read is kept.
        tokio::select! {
            biased;
            () = self.over.cancelled() => Err(Broken::Over),
            _ = turns.wait_for(|turn| *turn != mine) => Ok(Bytes::new()),
            said = timeout(within, self.said(from)) => said.unwrap_or(Ok(Bytes::new())),
        }
    }

    async fn said(&self, at: u64) -> Result<Bytes, Broken> {
        let mut down = self.down.lock().await;
        let down = &mut *down;
        let had = at.checked_sub(down.had).and_then(|had| usize::try_from(had).ok());
        let had = had.filter(|had| *had <= down.kept.len()).ok_or(Broken::Gap)?;
        down.kept.advance(had);
        down.had = at;
        if down.kept.is_empty() {
            down.more().await;
        }
        while !down.is_last && down.kept.len() < limits::POLL_BYTES_MAX && down.more().now_or_never().is_some() {}
        if down.kept.is_empty() {
            self.over.cancel();
            return Err(Broken::Over);
        }
        Ok(Bytes::copy_from_slice(&down.kept))
    }

    /// Completes when no request has come for too long.
    pub(super) async fn is_unused(&self, stopping: &CancellationToken) {
        loop {
            let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
            let patience = if stopping.is_cancelled() { limits::POLL_IDLE_AT_STOP } else { limits::POLL_IDLE };
            let is_at_work = self.at_work.load(Ordering::Relaxed) > 0;
            if !is_at_work && used.elapsed() >= patience {
                return;
            }
            let until = if is_at_work { Instant::now() + patience } else { used + patience };
            tokio::select! {
                () = sleep_until(until) => {}
                () = stopping.cancelled(), if !stopping.is_cancelled() => {}
            }
        }
    }

    /// Ends it: nothing more goes on either way, and the task of the session finds its stream at an end.
    pub(super) async fn end(&self) {
        self.over.cancel();
        // The other end sees this as the end of what the client says.
        let _ = self.up.lock().await.to.shutdown().await;
    }

    /// Completes when it is over, or when so long has passed.
    pub(super) async fn is_over(&self, within: Duration) {
        tokio::select! {
            () = self.over.cancelled() => {}
            () = sleep(within) => {}
        }
    }
}

impl Down {
    /// Reads what there is. Cancel-safe.
    async fn more(&mut self) {
        let room = limits::POLL_BYTES_MAX.saturating_sub(self.kept.len());
        let read = (&mut self.from).take(room as u64).read_buf(&mut self.kept).await;
        self.is_last = read.unwrap_or(0) == 0;
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (Pipe, DuplexStream) {
        let (near, far) = tokio::io::duplex(limits::POLL_BYTES_MAX);
        (Pipe::new(far), near)
    }

    const SHORT: Duration = Duration::from_millis(1);

    /// I8: a request whose answer was lost is made again, whole or cut in another way.
    #[tokio::test]
    async fn what_comes_twice_goes_on_once() {
        let (pipe, mut near) = pipe();
        pipe.put(0, b"abc").await.unwrap();
        pipe.put(0, b"abc").await.unwrap();
        pipe.put(1, b"bcde").await.unwrap();
        assert_eq!(pipe.taken().await, 5);
        assert_eq!(pipe.put(6, b"g").await, Err(Broken::Gap));
        assert_eq!(pipe.put(u64::MAX, b"g").await, Err(Broken::Gap));
        let mut came = [0; 5];
        near.read_exact(&mut came).await.unwrap();
        assert_eq!(&came, b"abcde");
    }

    /// I8: what was said is kept until its client says that it has it.
    #[tokio::test]
    async fn an_answer_that_was_lost_is_given_again() {
        let (pipe, mut near) = pipe();
        near.write_all(b"abc").await.unwrap();
        assert_eq!(pipe.get(0, SHORT).await.unwrap(), "abc");
        near.write_all(b"de").await.unwrap();
        assert_eq!(pipe.get(0, SHORT).await.unwrap(), "abcde");
        assert_eq!(pipe.get(2, SHORT).await.unwrap(), "cde");
        assert_eq!(pipe.get(1, SHORT).await, Err(Broken::Gap), "it said that it has that");
        assert_eq!(pipe.get(6, SHORT).await, Err(Broken::Gap), "nobody has said that yet");
        assert_eq!(pipe.get(5, SHORT).await.unwrap(), "");
    }

    /// S11: what nobody fetches stays in front of the pipe.
    #[tokio::test]
    async fn little_waits_in_a_pipe() {
        let (pipe, mut near) = pipe();
        let said = vec![7; 8 * limits::POLL_BYTES_MAX];
        let mut written = 0;
        while let Some(wrote) = near.write(&said[written..]).now_or_never() {
            written += wrote.unwrap();
            let _ = pipe.get(0, SHORT).now_or_never();
        }
        assert!(written <= 2 * limits::POLL_BYTES_MAX, "{written}");
        assert_eq!(pipe.get(0, SHORT).await.unwrap().len(), limits::POLL_BYTES_MAX);
    }

    #[tokio::test]
    async fn the_latest_request_is_the_one_that_waits() {
        let (pipe, mut near) = pipe();
        let mut former = Box::pin(pipe.get(0, Duration::from_mins(1)));
        assert!(former.as_mut().now_or_never().is_none());
        let mut latter = Box::pin(pipe.get(0, Duration::from_mins(1)));
        assert!(latter.as_mut().now_or_never().is_none());
        assert_eq!(former.await.unwrap(), "");
        near.write_all(b"abc").await.unwrap();
        assert_eq!(latter.await.unwrap(), "abc");
    }

    /// I21: what was said last is still fetched, and then it is over.
    #[tokio::test]
    async fn a_session_is_over_once_all_of_it_was_fetched() {
        let (pipe, mut near) = pipe();
        near.write_all(b"bye").await.unwrap();
        drop(near);
        assert_eq!(pipe.get(0, SHORT).await.unwrap(), "bye");
        assert_eq!(pipe.get(0, SHORT).await.unwrap(), "bye");
        assert_eq!(pipe.get(3, SHORT).await, Err(Broken::Over));
        pipe.is_over(Duration::from_mins(1)).await;
        assert_eq!(pipe.put(0, b"a").await, Err(Broken::Over));
    }

    /// I8, I19: its leases do not wait longer for a client that is gone than those of a silent socket; at a stop hardly at all.
    #[tokio::test(start_paused = true)]
    async fn a_session_that_nobody_asks_after_ends() {
        let (pipe, mut near) = pipe();
        let (began, stopping) = (Instant::now(), CancellationToken::new());
        let at_work = pipe.works();
        let mut unused = Box::pin(pipe.is_unused(&stopping));
        assert!(timeout(3 * limits::POLL_IDLE, unused.as_mut()).await.is_err(), "a request waits");
        drop(at_work);
        unused.await;
        assert!(began.elapsed() >= 4 * limits::POLL_IDLE);
        stopping.cancel();
        drop(pipe.works());
        timeout(2 * limits::POLL_IDLE_AT_STOP, pipe.is_unused(&stopping)).await.unwrap();
        pipe.end().await;
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
    }
}
