//! The client endpoint: `GET /connect` and the upgrade to a WebSocket, or `POST /connect/poll` where something cuts those.

mod account;
mod coming;
mod holder;
mod pipe;
mod poll;
mod session;

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use relay_core::{
    hub::Serves,
    limits,
    name::Name,
    wire::{self, message::Message},
};
use relay_net::{origin::Origin, tls::Pin};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    error::{Code, Problem},
    guesses::{Entrance, Guesses, bearer},
    hub::{Allowance, Event, Handle, Socket},
    outbox::{self, Outbox},
    registry::{Registry, STATIC_TOKEN, uses::TokenUse},
    secret,
    supervise::{Supervisor, TaskKind},
};
use account::Account;
use holder::Holder;
use poll::Polls;
use session::Open;

/// Bytes that a client chooses for its Sec-WebSocket-Key.
const NONCE_BYTES: usize = 16;
/// How long the HTTP upgrade itself may take.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// The field that names the version of the session's protocol. Every answer of this room has it: by it a client knows that
/// a refusal is the server's, and not that of something in between. What the listener refuses before (503, what is no HTTP)
/// does not have it, and ends no client.
const PROTOCOL: &str = "relay-protocol";

/// Lets clients in.
#[derive(Clone)]
pub(crate) struct Gate {
    hub: Handle,
    registry: Arc<Registry>,
    static_token: [u8; 32],
    supervisor: Supervisor,
    guesses: Arc<Guesses>,
    account: Arc<Account>,
    polls: Arc<Polls>,
}

/// What the session of a client that is let in begins with.
struct Admitted {
    holder: Holder,
    accept: HeaderValue,
    place: TokenUse,
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
        static_token: [u8; 32],
        supervisor: Supervisor,
        guesses: Arc<Guesses>,
    ) -> Self {
        let account = Account::new(limits::SESSIONS_BYTES_MAX);
        Self { hub, registry, static_token, supervisor, guesses, account, polls: Arc::default() }
    }

    /// Answers `GET /connect`: with an upgrade, or with the reason why not.
    /// `key`: that of the certificate which the client has shown, where it was asked for one.
    pub(crate) async fn connect(
        &self,
        mut request: Request<Incoming>,
        origin: Origin,
        key: Option<Pin>,
    ) -> Response<Full<Bytes>> {
        let accept = match self.admit(request.method(), request.headers(), (origin, key)).await {
            Ok(Admitted { holder, accept, place }) => {
                let upgrade = hyper::upgrade::on(&mut request);
                let (gate, peer) = (self.clone(), origin.shown().unwrap_or_default());
                self.supervisor.spawn(TaskKind::Session, "session", async move {
                    let _place = place;
                    match timeout(UPGRADE_TIMEOUT, upgrade).await {
                        Ok(Ok(upgraded)) => gate.serve(TokioIo::new(upgraded), holder, peer).await,
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

    async fn admit(
        &self,
        method: &Method,
        headers: &HeaderMap,
        (origin, key): (Origin, Option<Pin>),
    ) -> Result<Admitted, Problem> {
        if method != Method::GET {
            let problem = Problem::new(Code::MethodNotAllowed, "clients connect with GET and an upgrade to websocket");
            return Err(problem.allowing(&["GET"]));
        }
        let holder = self.let_in(headers, origin, key).await?;
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
        let place = self.place(&holder.token, origin)?;
        Ok(Admitted { holder, accept, place })
    }

    /// Who wants a session, if one may begin and both sides speak the same version.
    async fn let_in(&self, headers: &HeaderMap, origin: Origin, key: Option<Pin>) -> Result<Holder, Problem> {
        if self.supervisor.is_stopping() {
            return Err(Problem::new(Code::ShuttingDown, "the server is about to stop; come back later").closing());
        }
        let holder = self.identify(headers, origin, key).await?;
        let version = headers.get(PROTOCOL).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
        if version != Some(wire::VERSION) {
            let detail = "this server speaks Relay-Protocol 1; bring client and server to the same version";
            return Err(Problem::new(Code::UpgradeRequired, detail));
        }
        Ok(holder)
    }

    /// Takes note of a client whose certificate is none that is taken where clients show one.
    pub(crate) fn no_certificate(&self, origin: Origin, error: &std::io::Error) {
        if let Some(left_out) = self.guesses.may_tell(Entrance::Connect, "client_certificate") {
            let peer = origin.shown();
            tracing::warn!(event = "client_certificate_refused", peer, %error, left_out, "a client was not let in");
        }
    }

    /// A place among the sessions of a token.
    fn place(&self, token: &Name, origin: Origin) -> Result<TokenUse, Problem> {
        let place = self.registry.uses().place(token);
        if place.is_none()
            && let Some(left_out) = self.guesses.no_place(origin)
        {
            let (peer, open) = (origin.shown(), limits::SESSIONS_PER_TOKEN_MAX);
            tracing::warn!(event = "sessions_full", %token, open, peer, left_out, "a token has too many sessions open");
        }
        place.ok_or_else(|| Problem::too_many_sessions(token))
    }

    /// Who asks, by the token.
    async fn identify(&self, headers: &HeaderMap, origin: Origin, key: Option<Pin>) -> Result<Holder, Problem> {
        let (entrance, refused) = (Entrance::Connect, Problem::new(Code::NotGenuine, NO_TOKEN));
        if !headers.contains_key(header::AUTHORIZATION) {
            self.guesses.missing(entrance, origin);
            return Err(refused);
        }
        let token = bearer(headers);
        self.guesses.may_try(entrance, origin, token).map_err(Problem::too_many_tokens)?;
        if let Some((token, holder)) = token.and_then(|token| Some((token, self.holder(token)?))) {
            if !self.fits(&holder, key) {
                // The token is right, so nobody guesses here; whoever shows it without its key may have found it.
                self.guesses.other_key(entrance, origin, &holder.token);
                return Err(Problem::new(Code::KeyRefused, if key.is_some() { OTHER_KEY } else { NO_KEY }));
            }
            self.guesses.right(entrance, origin, token);
            return Ok(holder);
        }
        self.guesses.wrong(entrance, origin, token).await;
        Err(refused)
    }

    /// Whether a token may be shown by whoever has this key: it names none, or this one.
    fn fits(&self, holder: &Holder, key: Option<Pin>) -> bool {
        let directory = self.registry.directory();
        let token = directory.tokens.get(&holder.token).map(|entry| &entry.document);
        token.is_none_or(|token| token.may_come_with(key))
    }

    /// Whose token it is. Every token is compared, so the time taken does not tell which one matched.
    fn holder(&self, token: &[u8]) -> Option<Holder> {
        let digest = secret::sha256(token);
        let (mut found, now) = (None, self.registry.now());
        for entry in self.registry.directory().tokens.values() {
            let known = &entry.document;
            // Not `any`: every one of them takes its time.
            if known.digests(now).fold(false, |found, valid| secret::same(valid, &digest) | found) {
                found = Some(Holder { token: known.name.clone(), serves: known.serves(), digest });
            }
        }
        if secret::same(&self.static_token, &digest) {
            found = Some(Holder { token: static_token_name(), serves: Serves::All, digest });
        }
        found
    }
}

const NO_TOKEN: &str = "the token is missing, unknown or revoked; on the server: crm-relay token list";

const OTHER_KEY: &str = "the token is for the holder of another key than that of this client's certificate (RELAY_CERT_FILE); on the \
                         server: crm-relay token show NAME";

const NO_KEY: &str = "the token is for the holder of a key, and this client shows no certificate here: it needs RELAY_CERT_FILE, and \
                      the address of CLIENTS_LISTEN";

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
