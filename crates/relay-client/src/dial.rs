//! Dialling the server: TCP, perhaps a proxy's tunnel, perhaps TLS, then the WebSocket handshake with the token.

mod choice;
mod probe;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use relay_core::{
    client::DialFailure,
    wire::{self, codec},
};
use relay_net::{
    dial::{DialError, Peer, Stream},
    tls::{self, IdentityError, TlsError},
};
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{self, client::IntoClientRequest as _},
};

pub use probe::{Step, Steps};

use choice::Choice;

use crate::{
    config::{Config, IdentityFiles},
    lent::{Lent, Returned},
    polled::{self, Asking, Polled},
    retry_after,
    transport::{self, Carried, Transport},
    unreached::{Whose, explain, explain_alert, wants_tls},
};

/// From the first packet to the open session.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer other than an upgrade that are read for its words.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;
/// How long the rest of such an answer is waited for.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);
/// Pause when a server says 503 without saying for how long.
const LATER_UNSAID: Duration = Duration::from_secs(1);

/// The field that names the version of the protocol: in a client's request, and in every answer of a server's `/connect`.
const PROTOCOL: &str = "relay-protocol";

/// Why requests were tried, where no answer said so.
const SILENT_WEBSOCKETS: &str = "nothing was heard on one WebSocket after the other";

/// Dials one server.
#[derive(Clone)]
pub struct Dialer {
    url: Uri,
    peer: Peer,
    token: HeaderValue,
    choice: Arc<Mutex<Choice>>,
}

/// A WebSocket that did not open.
struct Unopened {
    failure: DialFailure,
    /// Somebody in between does not let an upgrade through, as far as the answer tells.
    is_cut: bool,
    /// It broke off or hung, and nobody said why.
    is_silent: bool,
}

impl From<DialFailure> for Unopened {
    fn from(failure: DialFailure) -> Self {
        Self { failure, is_cut: false, is_silent: false }
    }
}

/// Why no dialer can be made of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum DialerError {
    /// `RELAY_URL` has no host, or cannot take `/connect`.
    #[error("relay_url is not the URL of a server: {0}")]
    Url(Uri),
    /// The token cannot stand in a header.
    #[error("token holds bytes that no header can carry")]
    Token,
    /// TLS cannot be set up.
    #[error("failed to set up TLS for the server")]
    Tls(#[from] TlsError),
    /// The client's own certificate does not read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl DialerError {
    /// Who has to change something: whoever runs the client.
    pub const fn fault(&self) -> relay_core::fault::Fault {
        relay_core::fault::Fault::Operator
    }

    /// Whether trying again helps: never.
    pub const fn retry(&self) -> relay_core::fault::Retry {
        relay_core::fault::Retry::Never
    }
}

impl Dialer {
    /// A dialer for the server, token, proxy and roots of `config`.
    ///
    /// # Errors
    /// [`DialerError`]: the configuration cannot work.
    pub fn new(config: &Config) -> Result<Self, DialerError> {
        let encrypted = matches!(config.relay_url.scheme_str(), Some("wss" | "https"));
        let url =
            connect_url(&config.relay_url, encrypted).ok_or_else(|| DialerError::Url(config.relay_url.clone()))?;
        let host = url.host().unwrap_or_default().to_owned();
        let port = url.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let mut token = HeaderValue::from_str(&format!("Bearer {}", config.token)).map_err(|_| DialerError::Token)?;
        token.set_sensitive(true);
        let presented = config.identity.as_ref().map(IdentityFiles::presented).transpose()?;
        let tls = || tls::presenting(config.ca_file.as_deref(), &config.pins, presented);
        let tls = if encrypted { Some(tls()?) } else { None };
        let peer = Peer { host, port, proxy: config.proxy.clone(), tls };
        let choice = Arc::new(Mutex::new(Choice::new(config.carrier)));
        Ok(Self { url, peer, token, choice })
    }

    /// One attempt.
    ///
    /// # Errors
    /// [`DialFailure`], as the session machine takes it.
    pub async fn dial(&self) -> Result<Transport, DialFailure> {
        if self.choice().polls() {
            let polled = self.poll().await;
            if polled.is_err() {
                self.choice().lost_polls();
            }
            return polled;
        }
        // WebSockets that open and then say nothing open again: requests go first, and where those do not come through either, they did no harm.
        if self.choice().opens_in_vain()
            && let Ok(transport) = self.poll().await
        {
            let is_new = self.choice().polled();
            return Ok(if is_new { transport.since(SILENT_WEBSOCKETS.to_owned()) } else { transport });
        }
        let Unopened { failure, is_cut, is_silent } = match self.dial_socket().await {
            Ok(transport) => return Ok(transport),
            Err(unopened) => unopened,
        };
        if is_silent {
            self.choice().fell_silent();
        }
        if !self.choice().may_poll(is_cut) {
            return Err(failure);
        }
        match self.poll().await {
            Ok(transport) if self.choice().polled() => Ok(transport.since(words(&failure))),
            Ok(transport) => Ok(transport),
            Err(refused @ (DialFailure::TokenRefused | DialFailure::VersionRefused)) => Err(refused),
            Err(other) => Err(match failure {
                DialFailure::Failed(why) if why != words(&other) => DialFailure::Failed(format!(
                    "{why}; requests in its place (long-poll) do not come through either: {}",
                    words(&other)
                )),
                failure => failure,
            }),
        }
    }

    /// Completes with a WebSocket once one opens, where sessions are polled since none did: tried now and then.
    pub(crate) async fn again(self) -> Transport {
        loop {
            let pause = self.choice().again();
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
            if let Ok(transport) = self.dial_socket().await {
                return transport;
            }
        }
    }

    /// Takes note of a session on a WebSocket that has ended: whether anything was heard of a server on it.
    pub(crate) fn ended(&self, has_heard: bool) {
        if has_heard { self.choice().stands() } else { self.choice().opened_in_vain() }
    }

    /// Takes note of a session by requests on which nothing was heard: they do not come through, or not to one and the same server.
    pub(crate) fn polled_in_vain(&self) {
        self.choice().lost_polls();
    }

    fn choice(&self) -> MutexGuard<'_, Choice> {
        self.choice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn silent(who: &str) -> DialFailure {
        DialFailure::Failed(format!("no answer from {who} within {} s", DIAL_TIMEOUT.as_secs()))
    }

    async fn connect(&self, deadline: tokio::time::Instant) -> Result<Stream, DialFailure> {
        self.peer.dial_until(deadline).await.map_err(|error| match error {
            DialError::Silent(who) => Self::silent(&who),
            error => DialFailure::Failed(explain(&error, Whose::Server)),
        })
    }

    /// One attempt with a WebSocket.
    async fn dial_socket(&self) -> Result<Transport, Unopened> {
        let deadline = tokio::time::Instant::now() + DIAL_TIMEOUT;
        let stream = self.connect(deadline).await?;
        let opened = tokio::time::timeout_at(deadline, self.open(stream)).await;
        let silent = || Unopened { is_silent: true, ..Self::silent(&self.peer.to_string()).into() };
        opened.unwrap_or_else(|_| Err(silent()))
    }

    /// One attempt with requests.
    async fn poll(&self) -> Result<Transport, DialFailure> {
        let stream = self.connect(tokio::time::Instant::now() + DIAL_TIMEOUT).await?;
        let failed = |why: String| DialFailure::Failed(format!("{} took no request: {why}", self.peer));
        let mut asking = self.asking().ok_or_else(|| failed("its URL cannot be polled".into()))?;
        let (answered, http) = polled::first(&asking, DIAL_TIMEOUT, stream).await.map_err(failed)?;
        let session = answered.headers.get(polled::SESSION).filter(|_| answered.status == StatusCode::OK);
        let Some(session) = session.filter(|_| answered.headers.contains_key(PROTOCOL)) else {
            return Err(self.refused(answered.status, &answered.headers, &answered.body));
        };
        asking.fields.insert(polled::SESSION, session.clone());
        Ok(Transport::polled(Polled::new(asking, http)).await)
    }

    /// What the requests of a session are like.
    fn asking(&self) -> Option<Asking> {
        let path = format!("{}/poll", self.url.path()).parse().ok()?;
        let host = HeaderValue::from_str(self.url.authority()?.as_str()).ok()?;
        let fields = HeaderMap::from_iter([(HeaderName::from_static(PROTOCOL), HeaderValue::from(wire::VERSION))]);
        Some(Asking { peer: self.peer.clone(), path, host, token: self.token.clone(), fields })
    }

    /// Opens a session on a connection.
    async fn open(&self, stream: Stream) -> Result<Transport, Unopened> {
        let mut request =
            self.url.clone().into_client_request().map_err(|error| DialFailure::Failed(error.to_string()))?;
        request.headers_mut().insert(header::AUTHORIZATION, self.token.clone());
        request.headers_mut().insert(PROTOCOL, HeaderValue::from(wire::VERSION));
        let (stream, returned) = Lent::new(Carried::Left(stream));
        match client_async_with_config(request, stream, Some(transport::socket_config())).await {
            Ok((socket, _)) => Ok(Transport::socket(socket)),
            Err(tungstenite::Error::Http(response)) => {
                let (head, came) = response.into_parts();
                let body = read_on(returned, &head.headers, came.unwrap_or_default()).await;
                let is_cut = is_cut(head.status, &head.headers, &body);
                let is_silent = is_away(head.status, &head.headers, &body);
                let failure = self.refused(head.status, &head.headers, &body);
                Err(Unopened { failure, is_cut, is_silent })
            }
            Err(error) if self.peer.tls.is_none() && is_garbage(&error) => Err(DialFailure::Failed(format!(
                "{} did not open a session, what it says is no HTTP; if it speaks TLS there, use https:// ({error})",
                self.peer
            ))
            .into()),
            Err(error) if self.peer.tls.is_none() && is_broken_off(&error) => {
                let failure = DialFailure::Failed(format!(
                    "{} broke off before it opened a session; if it speaks TLS there, use https:// ({error})",
                    self.peer
                ));
                Err(Unopened { failure, is_cut: false, is_silent: true })
            }
            // With TLS 1.3 what is said of our certificate comes behind a handshake that has ended well.
            Err(error) => {
                let is_silent = matches!(error, tungstenite::Error::Io(_) | tungstenite::Error::Protocol(_));
                let failure = DialFailure::Failed(
                    explain_alert(&error, &self.peer.to_string(), Whose::Server)
                        .unwrap_or_else(|| format!("{} did not open a session: {error}", self.peer)),
                );
                Err(Unopened { failure, is_cut: false, is_silent })
            }
        }
    }

    /// What an answer other than an upgrade means. Proxies, portals and firewalls answer too: only one that names the
    /// protocol is a relay server's, and may end a client for good.
    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> DialFailure {
        let is_ours = headers.contains_key(PROTOCOL);
        match status {
            StatusCode::UNAUTHORIZED if is_ours => DialFailure::TokenRefused,
            StatusCode::UPGRADE_REQUIRED if is_ours => DialFailure::VersionRefused,
            StatusCode::BAD_REQUEST if wants_tls(body) => {
                DialFailure::Failed(format!("{} speaks TLS there; use https://", self.peer))
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => DialFailure::Later {
                after: retry_after::of(headers).unwrap_or(LATER_UNSAID),
                why: self.answered(status, is_ours, body),
            },
            StatusCode::NOT_FOUND => DialFailure::Failed(match detail(body) {
                Some(detail) => format!("no session at {} (404): {detail}", self.url),
                None => format!("no crm-relay server at {} (404)", self.url),
            }),
            _ => DialFailure::Failed(self.answered(status, is_ours, body)),
        }
    }

    /// The answer in words, with those of whoever gave it.
    fn answered(&self, status: StatusCode, is_ours: bool, body: &[u8]) -> String {
        let answered = format!("{} answered {status} instead of opening a session", self.peer);
        match detail(body) {
            Some(detail) => format!("{answered}: {detail}"),
            None if is_ours => answered,
            None => format!(
                "{answered}, and not as a relay server does: is there a proxy or a portal in between, or a load balancer that has no server?"
            ),
        }
    }
}

/// Whether an answer is that of something in between to an upgrade, or the server's to a request whose upgrade was taken off on
/// the way. The server's own refusals are what they say, those of its listener without the protocol as well: they are told by a problem.
fn is_cut(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    if headers.contains_key(PROTOCOL) {
        return status == StatusCode::BAD_REQUEST;
    }
    status != StatusCode::NOT_FOUND && !wants_tls(body) && detail(body).is_none() && !is_away(status, headers, body)
}

/// Whether it is that of a balancer whose server is away, or of one that has enough: one alone says nothing of the way.
fn is_away(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    let is_other = !headers.contains_key(PROTOCOL) && detail(body).is_none();
    is_other && (status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS)
}

/// A failure as it is told.
fn words(failure: &DialFailure) -> String {
    match failure {
        DialFailure::Failed(why) | DialFailure::Later { why, .. } => why.clone(),
        DialFailure::TokenRefused => "the token was refused".into(),
        DialFailure::VersionRefused => "the version was refused".into(),
    }
}

/// The body of a refusal: what came with its head, and so much of the rest as tells what is to be known of it.
async fn read_on(returned: Returned<Carried>, headers: &HeaderMap, mut body: Vec<u8>) -> Vec<u8> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse().ok());
    let enough = length.unwrap_or(REFUSAL_BYTES_MAX).min(REFUSAL_BYTES_MAX);
    let Some(mut stream) = returned.take() else { return body };
    let reading = async {
        while body.len() < enough && detail(&body).is_none() && !wants_tls(&body) {
            match stream.read_buf(&mut body).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    };
    // Without the rest, what came has to do.
    let _ = tokio::time::timeout(REFUSAL_WAIT, reading).await;
    body
}

/// The `detail` of a problem document (RFC 9457): on one line, and not all of a long one.
/// What stands around the document is the frame of its chunk.
fn detail(body: &[u8]) -> Option<String> {
    let begin = body.iter().position(|byte| *byte == b'{')?;
    let document = serde_json::Deserializer::from_slice(&body[begin..]).into_iter::<Problem>().next()?.ok()?;
    let detail = document.detail.trim();
    (!detail.is_empty()).then(|| codec::plain(detail))
}

/// As much of a problem document as is told.
#[derive(serde::Deserialize)]
struct Problem {
    detail: String,
}

/// Whether what came is no HTTP at all.
fn is_garbage(error: &tungstenite::Error) -> bool {
    matches!(
        error,
        tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::HttparseError(_) | tungstenite::error::ProtocolError::WrongHttpVersion
        ) | tungstenite::Error::HttpFormat(_)
    )
}

/// Some servers that want TLS hang up on plain words.
fn is_broken_off(error: &tungstenite::Error) -> bool {
    match error {
        tungstenite::Error::Io(error) => {
            matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof)
        }
        tungstenite::Error::Protocol(error) => {
            matches!(error, tungstenite::error::ProtocolError::HandshakeIncomplete)
        }
        _ => false,
    }
}

/// The base URL with `/connect` appended, in the schemes of WebSocket.
fn connect_url(base: &Uri, encrypted: bool) -> Option<Uri> {
    let authority = base.authority().filter(|authority| !authority.host().is_empty())?;
    let path = base.path().trim_end_matches('/');
    let path = path.strip_suffix("/connect").unwrap_or(path);
    let scheme = if encrypted { "wss" } else { "ws" };
    Uri::builder().scheme(scheme).authority(authority.clone()).path_and_query(format!("{path}/connect")).build().ok()
}

#[cfg(test)]
mod tests;
