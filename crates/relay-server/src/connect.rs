//! The client endpoint: `GET /connect`, the upgrade to a WebSocket, and the loops that move its messages.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use relay_core::{
    hub::{ConnId, Serves},
    limits,
    name::Name,
    time::Wall,
    wire::{self, codec, message::Message},
};
use relay_store::seam::DocumentKind;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message as Frame,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    directory::Directory,
    error::{Code, Problem},
    guesses::{Entrance, Guesses, bearer},
    hub::{Allowance, Event, Handle, Socket},
    origin::Origin,
    outbox::{self, Inbox, Outbox, Pace, Paced},
    registry::{
        Registry, STATIC_TOKEN, secret,
        uses::{Place, Proof},
    },
    supervise::{Supervisor, TaskKind},
};

/// Bytes that a client chooses for its Sec-WebSocket-Key.
const NONCE_BYTES: usize = 16;
/// Bytes of one WebSocket frame (S11).
const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that are read at once: what clients say is short, and many may be connected.
const READ_BUFFER_BYTES: usize = 16 * 1024;
/// Bytes that the WebSocket gathers before it writes.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes that wait in the WebSocket's own write buffer at most (S11).
const WRITE_BUFFER_MAX: usize = 8 * 1024 * 1024;
/// How long the HTTP upgrade itself may take.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may take nothing at all of what is written to it; by then its heartbeats have failed as well. One that
/// takes a little lives: a link is slow for as long as it likes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(45);
/// How long the peer's own goodbye is waited for, so that closing does not cut off what it has not read yet.
const LINGER: Duration = Duration::from_secs(1);

/// The field that names the version of the session's protocol. Every answer of `/connect` has it: by it a client knows that
/// a refusal is the server's, and not that of something in between.
const PROTOCOL: &str = "relay-protocol";

/// Lets clients in.
#[derive(Clone)]
pub(crate) struct Gate {
    hub: Handle,
    registry: Arc<Registry>,
    static_token: [u8; 32],
    supervisor: Supervisor,
    guesses: Arc<Guesses>,
}

/// Who a client is, once its token was found.
#[derive(Clone)]
struct Principal {
    token: Name,
    serves: Serves,
    /// SHA-256 of the secret that it showed.
    digest: [u8; 32],
}

impl Principal {
    /// Whether the token is there, is not revoked, and serves what it served.
    fn is_in(&self, directory: &Directory, now: Wall) -> bool {
        self.is_known(directory, now)
            && directory.tokens.get(&self.token).is_some_and(|entry| entry.document.serves() == self.serves)
    }

    /// Whether its secret lets in.
    fn is_known(&self, directory: &Directory, now: Wall) -> bool {
        let token = directory.tokens.get(&self.token).map(|entry| &entry.document);
        token.is_some_and(|token| token.digests(now).any(|digest| secret::same(digest, &self.digest)))
    }

    /// Which of two secrets it showed, and since when there are two.
    fn proof(&self, directory: &Directory) -> Option<(Wall, Proof)> {
        let token = &directory.tokens.get(&self.token)?.document;
        let by = if token.sha256 == self.digest { Proof::New } else { Proof::Old };
        Some((token.rotation.as_ref()?.since, by))
    }
}

/// What the session of a client that is let in begins with.
struct Admitted {
    principal: Principal,
    accept: HeaderValue,
    place: Place,
}

/// Both ends of a session inside one process: `crm-relay dev` joins its client this way.
#[derive(Debug)]
pub struct Attached {
    /// What the client says.
    pub to_server: mpsc::Sender<Message>,
    /// What the server says; ends when the server hangs up.
    pub from_server: mpsc::Receiver<Message>,
}

impl Gate {
    pub(crate) fn new(
        hub: Handle,
        registry: Arc<Registry>,
        relay_token: &str,
        supervisor: Supervisor,
        guesses: Arc<Guesses>,
    ) -> Self {
        Self { hub, registry, static_token: secret::sha256(relay_token.as_bytes()), supervisor, guesses }
    }

    /// Answers `GET /connect`: with an upgrade, or with the reason why not.
    pub(crate) async fn connect(&self, mut request: Request<Incoming>, origin: Origin) -> Response<Full<Bytes>> {
        let accept = match self.admit(request.method(), request.headers(), origin).await {
            Ok(Admitted { principal, accept, place }) => {
                let upgrade = hyper::upgrade::on(&mut request);
                let (gate, peer) = (self.clone(), origin.peer.map_or_else(String::new, |peer| peer.to_string()));
                self.supervisor.spawn(TaskKind::Session, "session", async move {
                    let _place = place;
                    match timeout(UPGRADE_TIMEOUT, upgrade).await {
                        Ok(Ok(upgraded)) => gate.serve(TokioIo::new(upgraded), principal, peer).await,
                        Ok(Err(error)) => tracing::debug!(%error, "the upgrade of a client failed"),
                        Err(_) => tracing::debug!("the upgrade of a client took too long"),
                    }
                    Ok(())
                });
                accept
            }
            Err(problem) => return respond(&problem),
        };
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        headers.insert(PROTOCOL, HeaderValue::from(wire::VERSION));
        response
    }

    /// Joins a client of the same process, without a socket and without a token.
    pub(crate) fn attach(&self) -> Attached {
        let (to_server, mut from_client) = mpsc::channel(outbox::MESSAGES_MAX);
        let (outbox, from_server) = mpsc::channel(outbox::MESSAGES_MAX);
        let gate = self.clone();
        self.supervisor.spawn(TaskKind::Session, "session-attached", async move {
            let hub = &gate.hub;
            let conn = hub.next_conn();
            let (hangup, mut hung_up) = oneshot::channel();
            let event = Event::Opened {
                conn,
                token: static_token_name(),
                serves: Serves::All,
                peer: "this process".into(),
                socket: Socket { outbox: Outbox::attached(outbox), hangup },
            };
            if !hub.tell(event).await {
                return Ok(());
            }
            let open = Open { gate: &gate, conn };
            let allowance = Allowance::new();
            let read = async {
                while let Some(message) = from_client.recv().await {
                    let said = allowance.take(message).await;
                    hub.tell(Event::Received(conn, said)).await;
                }
            };
            // Cancel safety: whichever ends first ends the session; nothing is read after that.
            tokio::select! {
                () = read => {}
                _ = &mut hung_up => {}
            }
            open.close().await;
            Ok(())
        });
        Attached { to_server, from_server }
    }

    /// Whether the server stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.supervisor.is_stopping()
    }

    async fn admit(&self, method: &Method, headers: &HeaderMap, origin: Origin) -> Result<Admitted, Problem> {
        if method != Method::GET {
            let problem = Problem::new(Code::MethodNotAllowed, "clients connect with GET and an upgrade to websocket");
            return Err(problem.allowing(&["GET"]));
        }
        if self.supervisor.is_stopping() {
            return Err(Problem::new(Code::ShuttingDown, "the server is about to stop; come back later").closing());
        }
        let principal = self.identify(headers, origin).await?;
        let version = headers.get(PROTOCOL).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
        if version != Some(wire::VERSION) {
            let detail = "this server speaks Relay-Protocol 1; bring client and server to the same version";
            return Err(Problem::new(Code::UpgradeRequired, detail));
        }
        let names = |field, wanted: &str| {
            let values = headers.get_all(field).into_iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
        };
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| {
            names(header::UPGRADE, "websocket")
                && names(header::CONNECTION, "upgrade")
                && names(header::SEC_WEBSOCKET_VERSION, "13")
        });
        let key = key.ok_or_else(|| {
            Problem::new(Code::Malformed, "want an upgrade to websocket, version 13, with a Sec-WebSocket-Key")
        })?;
        let is_key = STANDARD.decode(key.as_bytes()).is_ok_and(|nonce| nonce.len() == NONCE_BYTES);
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok().filter(|_| is_key);
        let accept = accept.ok_or_else(|| {
            Problem::new(Code::Malformed, "the Sec-WebSocket-Key is not one: want 16 bytes in base64 (RFC 6455, 4.2.1)")
        })?;
        let place = self.place(&principal.token, origin)?;
        Ok(Admitted { principal, accept, place })
    }

    /// A place among the sessions of a token.
    fn place(&self, token: &Name, origin: Origin) -> Result<Place, Problem> {
        let place = self.registry.uses().place(token);
        if place.is_none()
            && let Some(left_out) = self.guesses.no_place(origin)
        {
            let (peer, open) = (origin.peer.map(|peer| peer.to_string()), limits::SESSIONS_PER_TOKEN_MAX);
            tracing::warn!(event = "sessions_full", %token, open, peer, left_out, "a token has too many sessions open");
        }
        place.ok_or_else(|| Problem::too_many_sessions(token))
    }

    /// Whether a client is still who it was when its token was found: let in, and to the same destinations.
    fn is_still(&self, principal: &Principal) -> bool {
        let directory = self.registry.directory();
        principal.token.as_str() == STATIC_TOKEN || principal.is_in(&directory, self.registry.now())
    }

    /// Completes when the secret that let a client in was replaced by another. Of a token that is revoked or serves less the
    /// hub hears first.
    async fn replaced(&self, principal: &Principal) {
        let mut changes = self.registry.changes();
        let is_replaced = || {
            let (directory, now) = (self.registry.directory(), self.registry.now());
            let token = directory.tokens.get(&principal.token);
            token.is_some_and(|entry| entry.document.revoked_at.is_none()) && !principal.is_known(&directory, now)
        };
        // The static token is no document.
        while principal.token.as_str() == STATIC_TOKEN || !is_replaced() {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// One socket from its upgrade to its end.
    async fn serve<S>(&self, stream: S, principal: Principal, peer: String)
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
        let Principal { token, serves, digest } = principal.clone();
        let _open = self.registry.uses().session(conn, &token, digest);
        if let Some((since, by)) = principal.proof(&self.registry.directory()) {
            self.registry.uses().proved(DocumentKind::Token, &token, since, by, self.registry.now());
        }
        let event = Event::Opened { conn, token: token.clone(), serves, peer, socket: Socket { outbox, hangup } };
        if !hub.tell(event).await {
            return;
        }
        let open = Open { gate: self, conn };
        // Revoked, or made to serve something else, between the check and now: the hub may have heard of that before it heard
        // of this socket (I21).
        if !self.is_still(&principal) {
            hub.tell(Event::Revoked(token)).await;
        }
        let why = Mutex::new("the server closed the session");
        // Cancel safety: whichever ends first ends the socket; nothing is read or written after that.
        let ended = tokio::select! {
            // In this order, so that the reason is known when the writer ends for it: "revoked" must not read "closed".
            biased;
            () = overdue(hung_up, &why) => Ended::Overdue,
            () = self.replaced(&principal) => Ended::Replaced,
            ended = self.read(&mut frames, &pace, conn) => ended,
            ended = write(&mut sink, inbox, &pace) => ended,
        };
        open.close().await;
        if matches!(ended, Ended::ByHub | Ended::Replaced) {
            let reason = if ended == Ended::Replaced {
                "its token was replaced by a new one"
            } else {
                *why.lock().unwrap_or_else(PoisonError::into_inner)
            };
            let frame = CloseFrame { code: CloseCode::Away, reason: reason.into() };
            // The peer may be gone; then there is nobody to say goodbye to.
            let goodbye = async {
                let _ = sink.send(Frame::Close(Some(frame))).await;
                while frames.next().await.is_some_and(|frame| frame.is_ok()) {}
            };
            let _ = timeout(LINGER, goodbye).await;
        }
        tracing::debug!(conn = conn.0, ?ended, "a session's socket ended");
    }

    /// Who asks, by the token.
    async fn identify(&self, headers: &HeaderMap, origin: Origin) -> Result<Principal, Problem> {
        let (entrance, refused) = (Entrance::Connect, Problem::new(Code::NotGenuine, NO_TOKEN));
        if !headers.contains_key(header::AUTHORIZATION) {
            self.guesses.missing(entrance, origin);
            return Err(refused);
        }
        let token = bearer(headers);
        self.guesses.may_try(entrance, origin, token).map_err(Problem::too_many_tokens)?;
        if let Some((token, principal)) = token.and_then(|token| Some((token, self.principal(token)?))) {
            self.guesses.right(entrance, origin, token);
            return Ok(principal);
        }
        self.guesses.wrong(entrance, origin, token).await;
        Err(refused)
    }

    /// Whose token it is. Every token is compared, so the time taken does not tell which one matched.
    fn principal(&self, token: &[u8]) -> Option<Principal> {
        let digest = secret::sha256(token);
        let (mut found, now) = (None, self.registry.now());
        for entry in self.registry.directory().tokens.values() {
            let known = &entry.document;
            // Not `any`: every one of them takes its time.
            if known.digests(now).fold(false, |found, valid| secret::same(valid, &digest) | found) {
                found = Some(Principal { token: known.name.clone(), serves: known.serves(), digest });
            }
        }
        if secret::same(&self.static_token, &digest) {
            found = Some(Principal { token: static_token_name(), serves: Serves::All, digest });
        }
        found
    }
}

const NO_TOKEN: &str = "the token is missing, unknown or revoked; on the server: crm-relay token list";

fn static_token_name() -> Name {
    STATIC_TOKEN.parse().expect("a constant in the form of a name")
}

fn respond(problem: &Problem) -> Response<Full<Bytes>> {
    let mut response = problem.respond();
    let headers = response.headers_mut();
    headers.insert(PROTOCOL, HeaderValue::from(wire::VERSION));
    if problem.code == Code::UpgradeRequired {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    response
}

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
    /// The secret that let it in was replaced.
    Replaced,
    /// It should have ended, and its peer took too long.
    Overdue,
}

/// What comes of a client.
enum Came {
    Whole(Frame),
    /// More of a message.
    Part,
}

/// What comes of a client, frame by frame, and that something does while a message takes its time.
struct Coming<'a, S> {
    frames: &'a mut S,
    pace: &'a Pace,
    /// Bytes of pings and pongs: something in between may send them for a dead client.
    control: u64,
    /// Bytes of anything else that were noticed so far.
    noticed: u64,
    /// When something was told last.
    told: Instant,
}

/// Bytes of a control frame of a client beside its payload.
const CONTROL_HEAD_BYTES: u64 = 6;

impl<'a, S: Stream<Item = Result<Frame, WsError>> + Unpin> Coming<'a, S> {
    fn new(frames: &'a mut S, pace: &'a Pace) -> Self {
        Self { frames, pace, control: 0, noticed: 0, told: Instant::now() }
    }

    /// `None`: nothing more comes. Cancel-safe.
    async fn next(&mut self) -> Option<Came> {
        poll_fn(|cx| match self.frames.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Frame::Ping(payload) | Frame::Pong(payload) = &frame {
                    self.control += CONTROL_HEAD_BYTES + payload.len() as u64;
                } else {
                    (self.noticed, self.told) = (self.said(), Instant::now());
                }
                Poll::Ready(Some(Came::Whole(frame)))
            }
            Poll::Ready(Some(Err(_)) | None) => Poll::Ready(None),
            Poll::Pending if self.has_more() => Poll::Ready(Some(Came::Part)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Whether more of a message has come, told now and then.
    fn has_more(&mut self) -> bool {
        if self.said() <= self.noticed || self.told.elapsed() < limits::HEARD_EVERY {
            return false;
        }
        (self.noticed, self.told) = (self.said(), Instant::now());
        true
    }

    fn said(&self) -> u64 {
        self.pace.came().saturating_sub(self.control)
    }
}

impl Gate {
    async fn read(
        &self,
        frames: &mut (impl Stream<Item = Result<Frame, WsError>> + Unpin),
        pace: &Pace,
        conn: ConnId,
    ) -> Ended {
        let (allowance, mut coming) = (Allowance::new(), Coming::new(frames, pace));
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
struct Open<'a> {
    gate: &'a Gate,
    conn: ConnId,
}

impl Open<'_> {
    async fn close(self) {
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
async fn write(sink: &mut (impl Sink<Frame, Error = WsError> + Unpin), mut inbox: Inbox, pace: &Pace) -> Ended {
    let mut batch = Vec::with_capacity(outbox::MESSAGES_MAX);
    while inbox.recv_many(&mut batch).await > 0 {
        let (began, mut all) = (Instant::now(), 0);
        let written = pace.keep(WRITE_TIMEOUT, async {
            for message in batch.drain(..) {
                let bytes = message.encoded_len();
                all += bytes;
                sink.feed(Frame::Binary(codec::encode(message))).await?;
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
mod tests {
    use std::{
        pin::Pin,
        task::{Context, ready},
    };

    use relay_core::wire::message::{Chunk, Extend};
    use tokio::{
        io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
        time::{Sleep, sleep},
    };

    use super::*;
    use crate::{
        directory::Versioned,
        registry::document::{Digest, Rotation, Token},
    };

    /// A peer that takes so many bytes at a time, with a pause after them, and sends none.
    struct Drip {
        bytes: usize,
        pause: Duration,
        next: Pin<Box<Sleep>>,
    }

    impl AsyncRead for Drip {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Drip {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
            if self.bytes == 0 {
                return Poll::Pending;
            }
            ready!(self.next.as_mut().poll(cx));
            let pause = self.pause;
            self.next.as_mut().reset(Instant::now() + pause);
            Poll::Ready(Ok(buf.len().min(self.bytes)))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// I21: a token that may serve less by the time its socket is upgraded is found out, as a revoked one is.
    #[test]
    fn a_client_is_compared_with_its_token_as_it_is_now() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let token = |destinations: Option<&[&str]>, revoked_at| Token {
            name: name("office"),
            sha256: [0; 32],
            prefix: String::new(),
            destinations: destinations.map(|names| names.iter().map(ToString::to_string).collect()),
            rotation: None,
            created_at: Wall::MIN,
            revoked_at,
        };
        let serves = token(Some(&["crm", "erp"]), None).serves();
        let principal = Principal { token: name("office"), serves, digest: [0; 32] };
        let among = |document| {
            let mut directory = Directory::default();
            directory.tokens.insert(name("office"), Versioned { document, version: 1 });
            principal.is_in(&directory, Wall::MIN)
        };
        assert!(among(token(Some(&["erp", "crm"]), None)));
        assert!(!among(token(Some(&["erp"]), None)), "narrowed");
        assert!(!among(token(None, None)), "widened: its client comes back and hears so");
        assert!(!among(token(Some(&["crm", "erp"]), Some(1))), "revoked");
        assert!(!principal.is_in(&Directory::default(), Wall::MIN), "gone");

        // I21: an old secret lets in until its time is over, a replaced one no more.
        let rotated = |until: Option<i64>| {
            let old = Digest { sha256: [0; 32], prefix: String::new() };
            let rotation = Some(Rotation { old, since: Wall::MIN, until });
            Token { sha256: [1; 32], rotation, ..token(Some(&["crm", "erp"]), None) }
        };
        assert!(among(rotated(None)) && among(rotated(Some(1))));
        assert!(!among(rotated(Some(0))), "its time is over");
        assert!(!among(Token { rotation: None, ..rotated(None) }), "finished");
    }

    /// A peer whose first word is the end of whoever reads it.
    struct Poison;

    impl AsyncRead for Poison {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
            panic!("a bug")
        }
    }

    impl AsyncWrite for Poison {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// I8: the hub hears of the end of a session whose task panicked, and takes its leases back.
    #[tokio::test]
    async fn a_session_that_panics_is_closed() {
        let admin = crate::offline::tests::admin(Arc::new(relay_store::memory::MemoryStore::new())).await;
        let (hub, mut inlet) = Handle::new();
        let (registry, supervisor) = (Arc::clone(&admin.registry), admin.supervisor.clone());
        let gate = Gate::new(hub, registry, "a-token", supervisor.clone(), Arc::clone(&admin.guesses));
        supervisor.spawn(TaskKind::Session, "session", async move {
            let principal = Principal { token: static_token_name(), serves: Serves::All, digest: [0; 32] };
            gate.serve(Poison, principal, String::new()).await;
            Ok(())
        });
        let Some(Event::Opened { conn, socket: _socket, .. }) = inlet.event().await else {
            panic!("it is opened first")
        };
        assert!(matches!(inlet.event().await, Some(Event::Closed(closed)) if closed == conn));
    }

    /// S11: a session that floods has its allowance waiting for the hub and no more, and others are heard meanwhile.
    #[tokio::test(start_paused = true)]
    async fn a_session_that_floods_waits_by_itself() {
        let admin = crate::offline::tests::admin(Arc::new(relay_store::memory::MemoryStore::new())).await;
        let (hub, mut inlet) = Handle::new();
        let (registry, supervisor) = (Arc::clone(&admin.registry), admin.supervisor.clone());
        let gate = Gate::new(hub, registry, "a-token", supervisor.clone(), Arc::clone(&admin.guesses));
        let (near, far) = tokio::io::duplex(1 << 16);
        let floods = gate.clone();
        supervisor.spawn(TaskKind::Session, "session", async move {
            let principal = Principal { token: static_token_name(), serves: Serves::All, digest: [0; 32] };
            floods.serve(near, principal, String::new()).await;
            Ok(())
        });
        let mut peer = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        tokio::spawn(async move {
            let heartbeat = || Frame::Binary(codec::encode(Message::Extend(Extend::default())));
            while peer.send(heartbeat()).await.is_ok() {}
        });
        let Some(Event::Opened { conn, socket: _socket, .. }) = inlet.event().await else {
            panic!("it is opened first")
        };
        let mut waiting = Vec::new();
        while let Ok(Some(event)) = timeout(Duration::from_secs(1), inlet.event()).await {
            assert!(matches!(event, Event::Received(said_on, _) if said_on == conn));
            waiting.push(event);
        }
        assert_eq!(waiting.len(), limits::SESSION_WAITING_WEIGHT as usize);

        let other = gate.attach();
        let Some(Event::Opened { socket: _other_socket, .. }) = inlet.event().await else {
            panic!("another is let in")
        };
        for _ in 0..2 * limits::SESSION_WAITING_WEIGHT {
            let Ok(()) = other.to_server.try_send(Message::Extend(Extend::default())) else { break };
        }
        let heard = timeout(Duration::from_secs(1), inlet.event()).await;
        assert!(matches!(heard, Ok(Some(Event::Received(said_on, _))) if said_on != conn), "and is heard");

        waiting.clear();
        let mut again = timeout(Duration::from_secs(1), inlet.event()).await;
        while matches!(again, Ok(Some(Event::Received(said_on, _))) if said_on != conn) {
            again = timeout(Duration::from_secs(1), inlet.event()).await;
        }
        assert!(matches!(again, Ok(Some(Event::Received(..)))), "what was handled makes room");
    }

    /// How writing a chunk of a body to such a peer ends.
    async fn written_to(bytes_per_second: usize) -> Ended {
        let (outbox, inbox) = Outbox::new();
        let place = outbox.try_reserve().expect("nothing waits");
        let data = vec![0; limits::CHUNK_BYTES].into();
        place.send(Message::Chunk(Chunk { lease: None, offset: 0, data }));
        drop(outbox);
        let (stream, pace) = Paced::new(Drip {
            bytes: bytes_per_second,
            pause: Duration::from_secs(1),
            next: Box::pin(sleep(Duration::ZERO)),
        });
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        write(&mut socket, inbox, &pace).await
    }

    /// I15: on a link of 64 KiB/s a small webhook that comes while a body of megabytes is on its way leaves within a second or
    /// so, not behind all that was chosen before it came.
    #[tokio::test(start_paused = true)]
    async fn little_is_in_front_of_what_comes_next_on_a_slow_link() {
        const BYTES_PER_SECOND: usize = 64 * 1024;
        let (outbox, inbox) = Outbox::new();
        // A sixteenth of a second at a time.
        let drip = Drip {
            bytes: BYTES_PER_SECOND / 16,
            pause: Duration::from_secs(1) / 16,
            next: Box::pin(sleep(Duration::ZERO)),
        };
        let (stream, pace) = Paced::new(drip);
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let queued = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&queued);
        let feed = async {
            // As the hub's driver does: whenever there is room, the next piece.
            loop {
                while let Ok(place) = outbox.try_reserve() {
                    let data = vec![0; place.piece_bytes()];
                    count.fetch_add(data.len(), std::sync::atomic::Ordering::Relaxed);
                    place.send(Message::Chunk(Chunk { lease: None, offset: 0, data: data.into() }));
                }
                outbox.space().await;
            }
        };
        let taken = Arc::clone(&pace);
        let looks = async {
            sleep(Duration::from_secs(20)).await;
            for _ in 0..100 {
                sleep(Duration::from_millis(137)).await;
                let chosen = queued.load(std::sync::atomic::Ordering::Relaxed);
                let in_front = chosen.saturating_sub(taken.taken() as usize);
                assert!(in_front <= BYTES_PER_SECOND, "{in_front} bytes would go first");
            }
        };
        let writes = Box::pin(write(&mut socket, inbox, &pace));
        tokio::select! {
            () = feed => unreachable!(),
            ended = writes => panic!("{ended:?}"),
            () = looks => {}
        }
        assert!(pace.taken() as usize > 25 * BYTES_PER_SECOND, "and the link is busy: {}", pace.taken());
    }

    /// S11, I19: what comes of a client in drops is told about once a second, and pings are not.
    #[tokio::test(start_paused = true)]
    async fn part_of_a_message_is_a_sign_of_life() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let (stream, pace) = Paced::new(near);
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let peer = tokio::spawn(async move {
            // A binary message of a hundred bytes, masked with zeros, one a second; pings all the while would show nothing.
            let message = [&[0x82, 0x80 | 0x64, 0, 0, 0, 0][..], &[7; 100]].concat();
            for byte in message {
                sleep(Duration::from_secs(1)).await;
                far.write_all(&[byte]).await.unwrap();
            }
            for _ in 0..100 {
                sleep(Duration::from_secs(1)).await;
                far.write_all(&[0x89, 0x80 | 3, 0, 0, 0, 0, 1, 2, 3]).await.unwrap();
            }
        });
        let (mut parts, mut pings, mut whole, mut after) = (0, 0, 0, 0);
        let mut coming = Coming::new(&mut socket, &pace);
        while let Some(came) = coming.next().await {
            match came {
                Came::Part if whole == 0 => parts += 1,
                Came::Part => after += 1,
                Came::Whole(Frame::Ping(_)) => pings += 1,
                Came::Whole(_) => whole += 1,
            }
        }
        peer.await.unwrap();
        assert!((90..=106).contains(&parts), "{parts}");
        assert_eq!((whole, pings, after), (1, 100, 0));
    }

    /// I19: a link may be slow for as long as it likes; a peer that takes nothing is given up.
    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_little_is_not_stuck() {
        let began = Instant::now();
        assert_eq!(written_to(500).await, Ended::ByHub);
        assert!(began.elapsed() > 2 * WRITE_TIMEOUT, "or it was no slow link");
        assert_eq!(written_to(0).await, Ended::Stuck);
    }
}
