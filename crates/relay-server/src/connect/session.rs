//! One socket of a client, from its upgrade to its end.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use relay_core::{hub::ConnId, limits, wire::codec};
use relay_store::seam::DocumentKind;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message as Frame,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    Gate,
    account::Share,
    coming::{Came, Coming},
    holder::Holder,
};
use crate::{
    guesses::Entrance,
    hub::{Allowance, Event, Socket},
    outbox::{self, Inbox, Outbox, Paced},
    registry::STATIC_TOKEN,
    supervise::TaskKind,
};

/// Bytes of one WebSocket frame (S11).
const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that are read at once: what clients say is short, and many may be connected.
const READ_BUFFER_BYTES: usize = 16 * 1024;
/// Bytes that the WebSocket gathers before it writes.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes that wait in the WebSocket's own write buffer at most (S11): what is gathered, one message more, and pongs.
const WRITE_BUFFER_MAX: usize =
    WRITE_BUFFER_BYTES + limits::MESSAGE_BYTES_MAX + 2 * limits::SESSION_PONGS_BYTES_MAX as usize;
/// How long a peer may take nothing at all of what is written to it; by then its heartbeats have failed as well. One that
/// takes a little lives: a link is slow for as long as it likes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(45);
/// How long the peer's own goodbye is waited for, so that closing does not cut off what it has not read yet.
const LINGER: Duration = Duration::from_secs(1);

/// What a client hears that comes with a token which was changed meanwhile.
const CHANGED: &str = "its token was revoked or changed";

/// How a socket came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The hub has nothing more to say.
    ByHub,
    /// The peer closed it, or the network did.
    ByPeer,
    /// What came was not of our protocol.
    Garbled,
    /// The peer takes nothing.
    Stuck,
    /// All sessions kept too much memory together, and it kept most.
    GaveWay,
    /// The secret that let it in was replaced.
    Replaced,
    /// It should have ended, and its peer took too long.
    Overdue,
}

impl Gate {
    /// Whether a client is still who it was when its token was found: let in, and to the same destinations.
    fn is_still(&self, holder: &Holder) -> bool {
        let directory = self.registry.directory();
        holder.token.as_str() == STATIC_TOKEN || holder.is_in(&directory, self.registry.now())
    }

    /// One socket from its upgrade to its end.
    pub(super) async fn serve<S>(&self, stream: S, holder: Holder, peer: String)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin,
    {
        let hub = &self.hub;
        let config = WebSocketConfig::default()
            .max_message_size(Some(limits::MESSAGE_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX))
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_write_buffer_size(WRITE_BUFFER_MAX);
        let (stream, pace) = Paced::new(stream);
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        let (mut sink, mut frames) = socket.split();
        let (outbox, inbox) = Outbox::new();
        let (hangup, hung_up) = oneshot::channel();
        let conn = hub.next_conn();
        let share = self.account.share(conn, pace);
        let Holder { token, serves, digest } = holder.clone();
        let mut let_in = self.registry.sessions().open(conn, &token, digest);
        self.registry.uses().token(&token, self.registry.now());
        if let Some((since, by)) = holder.proof(&self.registry.directory()) {
            self.registry.uses().proved(DocumentKind::Token, &token, since, by, self.registry.now());
        }
        let event = Event::Opened { conn, token, serves, peer, socket: Socket { outbox, hangup } };
        if !hub.tell(event).await {
            return;
        }
        let open = Open { gate: self, conn };
        let why = Mutex::new("the server closed the session");
        // Revoked, replaced, or made to serve something else, between the check and now: the hub may have heard of that before
        // it heard of this socket, which has said nothing yet (I21).
        if !self.is_still(&holder) {
            open.close().await;
            return say_goodbye(&mut sink, &mut frames, CHANGED).await;
        }
        // Cancel safety: whichever ends first ends the socket; nothing is read or written after that.
        let ended = tokio::select! {
            // In this order, so that the reason is known when the writer ends for it: "revoked" must not read "closed".
            biased;
            () = overdue(hung_up, &why) => Ended::Overdue,
            () = let_in.replaced() => Ended::Replaced,
            () = share.gave_way() => Ended::GaveWay,
            ended = self.read(&mut frames, &share, conn) => ended,
            ended = write(&mut sink, inbox, &share) => ended,
        };
        self.registry.uses().token(&holder.token, self.registry.now());
        open.close().await;
        if ended == Ended::GaveWay
            && let Some(left_out) = self.guesses.may_tell(Entrance::Connect, "session_heavy")
        {
            let what = "sessions kept too much memory together; the one that kept most was ended";
            tracing::warn!(event = "session_heavy", conn = conn.0, token = %holder.token, left_out, "{what}");
        }
        if matches!(ended, Ended::ByHub | Ended::Replaced) {
            let reason = if ended == Ended::Replaced {
                "its token was replaced by a new one"
            } else {
                *why.lock().unwrap_or_else(PoisonError::into_inner)
            };
            say_goodbye(&mut sink, &mut frames, reason).await;
        }
        tracing::debug!(conn = conn.0, ?ended, "a session's socket ended");
    }

    async fn read(
        &self,
        frames: &mut (impl Stream<Item = Result<Frame, WsError>> + Unpin),
        share: &Share,
        conn: ConnId,
    ) -> Ended {
        let (allowance, mut coming) = (Allowance::new(), Coming::new(frames, share));
        while let Some(came) = coming.next().await {
            let Came::Whole(frame) = came else {
                if !self.hub.tell(Event::Heard(conn)).await {
                    return Ended::ByHub;
                }
                continue;
            };
            match frame {
                Frame::Binary(bytes) => match codec::decode(bytes) {
                    Ok(Some(message)) => {
                        let said = allowance.take(message).await;
                        if !self.hub.tell(Event::Received(conn, said)).await {
                            return Ended::ByHub;
                        }
                    }
                    // A message of a later version.
                    Ok(None) => {}
                    Err(error) => {
                        // Whoever has a token can do this as often as he likes.
                        if let Some(left_out) = self.guesses.may_tell(Entrance::Connect, "client_misbehaved") {
                            let what = "a client sent what is no message";
                            tracing::warn!(event = "client_misbehaved", conn = conn.0, %error, left_out, "{what}");
                        }
                        return Ended::Garbled;
                    }
                },
                // The WebSocket answers it by itself.
                Frame::Ping(payload) if !share.answers(payload.len()) => return Ended::Stuck,
                Frame::Ping(_) | Frame::Pong(_) => {}
                Frame::Close(_) => return Ended::ByPeer,
                Frame::Text(_) | Frame::Frame(_) => return Ended::Garbled,
            }
        }
        Ended::ByPeer
    }
}

/// A session that the hub was told of. It is told of the end too, also where the session's task panics: its leases wait for
/// that (I8).
pub(super) struct Open<'a> {
    pub(super) gate: &'a Gate,
    pub(super) conn: ConnId,
}

impl Open<'_> {
    pub(super) async fn close(self) {
        let Self { gate, conn } = &self;
        gate.hub.tell(Event::Closed(*conn)).await;
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let (hub, conn) = (self.gate.hub.clone(), self.conn);
        // A server that stops drops its sessions, and has told the hub itself.
        if !std::thread::panicking() {
            return;
        }
        self.gate.supervisor.spawn(TaskKind::Session, "session-closed", async move {
            hub.tell(Event::Closed(conn)).await;
            Ok(())
        });
    }
}

/// Writes what the hub gives, and flushes when there is no more for the moment.
async fn write(sink: &mut (impl Sink<Frame, Error = WsError> + Unpin), mut inbox: Inbox, share: &Share) -> Ended {
    let mut batch = Vec::with_capacity(outbox::MESSAGES_MAX);
    while inbox.recv_many(&mut batch).await > 0 {
        let (began, mut all) = (Instant::now(), 0);
        let written = share.pace().keep(WRITE_TIMEOUT, async {
            for message in batch.drain(..) {
                // As many as the hub counted when it was put in line.
                let message = codec::encode(message);
                let bytes = message.len();
                all += bytes;
                share.gives(bytes);
                sink.feed(Frame::Binary(message)).await?;
                if inbox.is_slow() {
                    sink.flush().await?;
                }
                inbox.took(bytes);
            }
            sink.flush().await?;
            inbox.left(all, began.elapsed(), Instant::now());
            Ok::<(), WsError>(())
        });
        match written.await {
            Some(Ok(())) => {}
            Some(Err(_)) => return Ended::ByPeer,
            None => return Ended::Stuck,
        }
    }
    Ended::ByHub
}

/// Says why the socket is closed, and waits a moment for the peer to do the same.
async fn say_goodbye(
    sink: &mut (impl Sink<Frame, Error = WsError> + Unpin),
    frames: &mut (impl Stream<Item = Result<Frame, WsError>> + Unpin),
    reason: &'static str,
) {
    let frame = CloseFrame { code: CloseCode::Away, reason: reason.into() };
    // The peer may be gone; then there is nobody to say goodbye to.
    let goodbye = async {
        let _ = sink.send(Frame::Close(Some(frame))).await;
        while frames.next().await.is_some_and(|frame| frame.is_ok()) {}
    };
    let _ = timeout(LINGER, goodbye).await;
}

/// Completes when the hub wanted the socket closed and its peer did not take what was left in time (I21).
async fn overdue(hung_up: oneshot::Receiver<&'static str>, why: &Mutex<&'static str>) {
    match hung_up.await {
        Ok(reason) => {
            *why.lock().unwrap_or_else(PoisonError::into_inner) = reason;
            tokio::time::sleep(limits::LAST_WORDS_WITHIN).await;
        }
        // The hub has ended with the server. What it said last may still go out, and no more.
        Err(_) => tokio::time::sleep(limits::LAST_WORDS_WITHIN).await,
    }
}

#[cfg(test)]
mod tests;
