//! One open line to the server: a WebSocket, or a pair of channels to a hub in the same process.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{Sink as _, Stream as _, StreamExt as _};
use relay_core::{
    limits,
    wire::{codec, message::Message},
};
use relay_net::dial::Stream;
use tokio::sync::mpsc;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self,
        protocol::{Role, WebSocketConfig},
    },
};
use tokio_util::{either::Either, sync::PollSender};

use crate::{lent::Lent, polled::Polled};

/// Bytes that are gathered before a write, when there is more to say.
const WRITE_BUFFER_BYTES: usize = 128 * 1024;

/// Bytes that are read at once: the library clears so many before each read, also before one that finds nothing.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// What a server says that has no better reason.
const SESSION_CLOSED: &str = "the server closed the session";

/// An open line to a server. [`Transport::memory`] makes one without a socket.
#[derive(Debug)]
pub struct Transport(Kind);

/// What carries a session's bytes: a connection that was upgraded, or requests.
pub(crate) type Carried = Either<Stream, Polled>;

#[derive(Debug)]
enum Kind {
    Socket(Box<WebSocketStream<Lent<Carried>>>, Passed),
    Memory(PollSender<Message>, mpsc::Receiver<Message>),
}

/// What has passed over a socket.
#[derive(Debug)]
struct Passed {
    /// Bytes that came as pings and pongs: a proxy may send them for a dead server.
    control: u64,
    /// Bytes that came as anything else and were noticed so far.
    noticed: u64,
    /// Bytes that left and were noticed so far.
    left: u64,
    /// Bytes that had come when it began.
    began: u64,
    /// It is carried by requests.
    polled: bool,
    /// Why, where that is new.
    why: Option<String>,
}

/// Bytes of a control frame of a server beside its payload.
const CONTROL_HEAD_BYTES: u64 = 2;

/// Limits of the WebSocket: a server cannot make a client buffer more than one message, nor more than so many answers to
/// its pings.
pub(crate) fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(limits::SOCKET_WRITE_BUFFER_MAX)
        .max_message_size(Some(limits::MESSAGE_BYTES_MAX))
        .max_frame_size(Some(limits::MESSAGE_BYTES_MAX))
}

impl Transport {
    /// A line to a hub in the same process: what goes to the server, and what comes from it.
    pub fn memory(to_server: mpsc::Sender<Message>, from_server: mpsc::Receiver<Message>) -> Self {
        Self(Kind::Memory(PollSender::new(to_server), from_server))
    }

    pub(crate) fn socket(socket: WebSocketStream<Lent<Carried>>) -> Self {
        Self::carried(socket, false)
    }

    /// A session that is carried by requests.
    pub(crate) async fn polled(polled: Polled) -> Self {
        let stream = Lent::opened(Either::Right(polled));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(socket_config())).await;
        Self::carried(socket, true)
    }

    /// The same, and why it is so.
    pub(crate) fn since(mut self, said: String) -> Self {
        if let Kind::Socket(_, Passed { why, .. }) = &mut self.0 {
            *why = Some(said);
        }
        self
    }

    /// Whether it is carried by requests.
    pub(crate) fn is_polled(&self) -> bool {
        matches!(&self.0, Kind::Socket(_, Passed { polled: true, .. }))
    }

    /// Why it is carried by requests since now; told once.
    pub(crate) fn why_polled(&mut self) -> Option<String> {
        let Kind::Socket(_, passed) = &mut self.0 else { return None };
        passed.why.take()
    }

    /// Whether anything has come of a session.
    pub(crate) fn has_heard(&self) -> bool {
        let Kind::Socket(socket, passed) = &self.0 else { return true };
        socket.get_ref().came() > passed.began
    }

    fn carried(socket: WebSocketStream<Lent<Carried>>, polled: bool) -> Self {
        let came = socket.get_ref().came();
        let passed =
            Passed { control: 0, noticed: came, left: socket.get_ref().left(), began: came, polled, why: None };
        Self(Kind::Socket(Box::new(socket), passed))
    }

    /// The next message; an error, in words, means that the line is dead.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, String>> {
        let (socket, passed) = match &mut self.0 {
            Kind::Socket(socket, passed) => (socket, passed),
            Kind::Memory(_, receiver) => return receiver.poll_recv(cx).map(|got| got.ok_or_else(closed)),
        };
        loop {
            let bytes = match ready!(Pin::new(&mut *socket).poll_next(cx)) {
                Some(Ok(tungstenite::Message::Binary(bytes))) => bytes,
                // The library answers pings; they are no sign that the server still works.
                Some(Ok(tungstenite::Message::Ping(payload) | tungstenite::Message::Pong(payload))) => {
                    passed.control += CONTROL_HEAD_BYTES + payload.len() as u64;
                    continue;
                }
                Some(Ok(tungstenite::Message::Text(_) | tungstenite::Message::Frame(_))) => {
                    return Poll::Ready(Err("the server sent a message that is not binary".into()));
                }
                Some(Ok(tungstenite::Message::Close(Some(frame)))) if !frame.reason.is_empty() => {
                    return Poll::Ready(Err(ended_by_server(&frame.reason)));
                }
                Some(Ok(tungstenite::Message::Close(_))) | None => return Poll::Ready(Err(closed())),
                Some(Err(error)) => return Poll::Ready(Err(error.to_string())),
            };
            let len = bytes.len();
            match codec::decode(bytes) {
                // A client keeps the whole message as long as it keeps any part of it.
                Ok(Some(Message::Grant(_))) if len > limits::GRANT_MESSAGE_BYTES_MAX => {
                    return Poll::Ready(Err(format!("the server broke the protocol: a grant of {len} bytes")));
                }
                Ok(Some(message)) => return Poll::Ready(Ok(message)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(format!("the server broke the protocol: {error}"))),
            }
        }
    }

    /// Whether more of a message has come since this was asked last, once [`Self::poll_recv`] has nothing whole.
    pub(crate) fn has_more(&mut self) -> bool {
        let Kind::Socket(socket, passed) = &mut self.0 else { return false };
        // Part of a ping counts until the rest has come: a hundred bytes once, for its end takes them off again.
        let said = socket.get_ref().came().saturating_sub(passed.control);
        let more = said > passed.noticed;
        passed.noticed = passed.noticed.max(said);
        more
    }

    /// Whether more has left since this was asked last.
    pub(crate) fn has_taken(&mut self) -> bool {
        let Kind::Socket(socket, passed) = &mut self.0 else { return false };
        let left = socket.get_ref().left();
        std::mem::replace(&mut passed.left, left) < left
    }

    /// Sends all of `outbox`, in few writes. `Pending` means that the peer takes no more for now.
    pub(crate) fn poll_send(
        &mut self,
        outbox: &mut VecDeque<Message>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), String>> {
        match &mut self.0 {
            Kind::Socket(socket, _) => {
                let mut socket = Pin::new(&mut **socket);
                while !outbox.is_empty() {
                    ready!(socket.as_mut().poll_ready(cx)).map_err(|error| error.to_string())?;
                    let Some(message) = outbox.pop_front() else { break };
                    let bytes = tungstenite::Message::Binary(codec::encode(message));
                    socket.as_mut().start_send(bytes).map_err(|error| error.to_string())?;
                }
                socket.poll_flush(cx).map_err(|error| error.to_string())
            }
            Kind::Memory(sender, _) => {
                while !outbox.is_empty() {
                    ready!(sender.poll_reserve(cx)).map_err(|_| closed())?;
                    let Some(message) = outbox.pop_front() else { break };
                    sender.send_item(message).map_err(|_| closed())?;
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Sends what is left and closes, within a few seconds; a peer that does not take it loses it.
    pub(crate) async fn close(mut self, mut outbox: VecDeque<Message>) {
        let farewell = async {
            let sent = std::future::poll_fn(|cx| self.poll_send(&mut outbox, cx)).await;
            if let (Ok(()), Kind::Socket(socket, _)) = (sent, &mut self.0) {
                // Reading on until the peer closes too: a socket closed with unread bytes may take what was sent with it.
                let _ = socket.close(None).await;
                while socket.next().await.is_some_and(|frame| frame.is_ok()) {}
            }
        };
        let _ = tokio::time::timeout(limits::LAST_WORDS_WITHIN, farewell).await;
    }
}

/// Its last words, once.
fn ended_by_server(reason: &str) -> String {
    let reason = codec::plain(reason);
    if reason == SESSION_CLOSED { reason } else { format!("{SESSION_CLOSED}: {reason}") }
}

fn closed() -> String {
    "the server closed the connection".into()
}
