//! Talks to the admin API of a server: over its socket, or over TCP with a token.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use relay_core::fault::Retry;
use relay_net::dial::{DialError, Peer, Stream};
use relay_server::{Offline, api::ProblemDto};
use relay_store::sqlite::{OpenError, SqliteStore};
use rustls::ClientConfig;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    config::{self, data_dirs, layers::Layers, looked_in, secret::Secret, target},
    credentials,
    exit::{Exit, Failure, reason},
    next_step, opening,
    output::say,
    place,
    render::{style, visible::visible},
    tls,
};

/// Bytes of an answer: a page of events with their headers fits many times over.
const ANSWER_BYTES_MAX: usize = 2 << 30;

/// Bytes of words that say no.
const REFUSAL_BYTES_MAX: usize = 1 << 20;
/// A stream from which nothing comes for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The way to a server's admin API.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Socket(PathBuf),
    Tcp(Remote),
    /// No server runs: the store itself, opened by this command.
    Store {
        dir: PathBuf,
        offline: Arc<Offline>,
    },
}

/// What a command that only reads has to do with.
pub(crate) enum Found {
    /// A server.
    Server(Api),
    /// The store of one that is away.
    Store { dir: PathBuf, store: Arc<SqliteStore> },
    /// Neither.
    Nothing,
}

impl Found {
    /// Asks the server where one answers; else looks into the directory that `choose` takes. A server that is just
    /// starting is waited for.
    ///
    /// # Errors
    /// Those of [`Api::find`], and that the store can be read by nobody.
    pub(crate) async fn server_or_store(
        layers: &Layers,
        choose: impl Fn(Vec<PathBuf>) -> Option<PathBuf>,
    ) -> Result<Self, Failure> {
        const TRY_EVERY: Duration = Duration::from_millis(50);
        const WAIT_MAX: Duration = Duration::from_secs(5);
        let began = tokio::time::Instant::now();
        loop {
            if let Some(api) = Api::find(layers).await? {
                return Ok(Self::Server(api));
            }
            let Some(dir) = choose(data_dirs(layers)) else { return Ok(Self::Nothing) };
            match opening::to_look(&dir, &config::ciphers(layers)?) {
                Ok(store) => return Ok(Self::Store { dir, store: Arc::new(store) }),
                Err(error) if error.retry() == Retry::Backoff && began.elapsed() < WAIT_MAX => {
                    tokio::time::sleep(TRY_EVERY).await;
                }
                Err(error @ OpenError::InUse { .. }) => {
                    return Err(Failure::unreachable(format!(
                        "{error}, and does not answer at {}: perhaps it is still starting. Ask again, or see its log",
                        place::admin_socket(&dir).display()
                    )));
                }
                Err(error) => return Err(opening::failed(&error)),
            }
        }
    }
}

/// A server elsewhere, or one that is reached as if it were.
#[derive(Clone, Debug)]
struct Remote {
    /// May carry a path, where a proxy has the admin API below one.
    url: Uri,
    token: Option<Secret>,
    /// For https.
    tls: Option<Arc<ClientConfig>>,
}

/// The task that keeps a connection going.
type Driver = JoinHandle<hyper::Result<()>>;

/// An answer that is taken as it comes.
pub(crate) struct Arriving {
    body: Incoming,
    driver: Driver,
}

impl Arriving {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// In words, why no more come.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let frame = timeout(SILENCE_MAX, self.body.frame()).await;
            match frame.map_err(|_| format!("nothing came for {} s", SILENCE_MAX.as_secs()))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(error.to_string()),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What was answered.
struct Answer {
    status: StatusCode,
    body: Bytes,
}

impl Answer {
    /// Whether this is how the public listener says that nothing is there: the admin API has other words for it.
    fn is_of_intake(&self) -> bool {
        let problem: ProblemDto = serde_json::from_slice(&self.body).unwrap_or_default();
        self.status == StatusCode::NOT_FOUND && problem.code == "not_found"
    }
}

impl Api {
    /// Finds the server: `ADMIN_URL` if given, else the socket of the data directory, else that of `dev`.
    /// `None`: no server runs on this machine.
    ///
    /// # Errors
    /// `ADMIN_URL` is not one, or TLS cannot be set up for it.
    pub(crate) async fn find(layers: &Layers) -> Result<Option<Self>, Failure> {
        if let Some(text) = layers.text("ADMIN_URL") {
            let url = target::admin_url(&text).map_err(|want| Failure::usage(format!("ADMIN_URL {text}: {want}")))?;
            let kept = || credentials::find_in(&own_dirs(layers), "ADMIN_TOKEN");
            let token = token_for(&url, layers.text("ADMIN_TOKEN"), kept)?;
            let tls = (url.scheme_str() == Some("https")).then(|| tls::config(layers)).transpose()?;
            if tls.is_none() && token.is_some() && !target::is_loopback(&url) {
                say(&style::warn(format!("the admin token goes to {url} unencrypted; use https://")));
            }
            return Ok(Some(Self { way: Way::Tcp(Remote { url, token, tls }) }));
        }
        for dir in data_dirs(layers) {
            let socket = place::admin_socket(&dir);
            if UnixStream::connect(&socket).await.is_ok() {
                return Ok(Some(Self { way: Way::Socket(socket) }));
            }
        }
        Ok(None)
    }

    /// The one at this address, without a token.
    pub(crate) fn at(address: std::net::SocketAddr) -> Self {
        let authority = place::on_this_machine(&address.to_string());
        let url = format!("http://{authority}/").parse().unwrap_or_else(|_| Uri::from_static("http://localhost/"));
        Self { way: Way::Tcp(Remote { url, token: None, tls: None }) }
    }

    /// As [`Api::find`], for commands that only read: with no server running they look into the data directory themselves.
    ///
    /// # Errors
    /// There is neither a server nor a store.
    pub(crate) async fn reading(layers: &Layers) -> Result<Self, Failure> {
        let holds_database = |dirs: Vec<PathBuf>| dirs.into_iter().find(|dir| place::holds_database(dir));
        let (dir, store) = match Found::server_or_store(layers, holds_database).await? {
            Found::Server(api) => return Ok(api),
            Found::Store { dir, store } => (dir, store),
            Found::Nothing => return Self::running(layers).await,
        };
        let offline = Offline::open(store, config::server::policy(layers.path.as_deref()));
        let offline = offline.await.map_err(|error| Failure::new(Exit::StoreFailed, error.to_string()))?;
        Ok(Self { way: Way::Store { dir, offline: Arc::new(offline) } })
    }

    /// As [`Api::find`], for commands that need a running server.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn running(layers: &Layers) -> Result<Self, Failure> {
        if let Some(api) = Self::find(layers).await? {
            return Ok(api);
        }
        let is_there = |dir: &PathBuf| dir.symlink_metadata().is_ok();
        let mut there = data_dirs(layers).into_iter().filter(is_there);
        let closed = there.find(|dir| is_closed(&place::admin_socket(dir)));
        if let Some(dir) = closed {
            return Err(Failure::unreachable(format!(
                "{} is another user's, and so is the server of it, if there is one. Ask as that user: \
                 sudo -u crm-relay crm-relay ...; or say where another one is: --data-dir DIR or --admin-url URL",
                dir.display()
            )));
        }
        Err(Failure::unreachable(format!(
            "no server runs here (looked in {}). Start one: crm-relay server; or say where it is: --data-dir DIR or \
             --admin-url URL",
            looked_in(layers)
        )))
    }

    /// Whether the server is on this machine, reached over its socket.
    pub(crate) const fn is_here(&self) -> bool {
        match &self.way {
            Way::Socket(_) => true,
            Way::Tcp(_) | Way::Store { .. } => false,
        }
    }

    /// The host that an `ADMIN_URL` names, if it is another machine's.
    pub(crate) fn elsewhere(&self) -> Option<&str> {
        match &self.way {
            Way::Tcp(remote) if !target::is_loopback(&remote.url) => remote.url.host(),
            Way::Tcp(_) | Way::Socket(_) | Way::Store { .. } => None,
        }
    }

    /// Whether it was shown a token.
    fn shows_token(&self) -> bool {
        matches!(&self.way, Way::Tcp(remote) if remote.token.is_some())
    }

    /// The data directory that this command reads itself, because no server runs.
    pub(crate) fn offline(&self) -> Option<&Path> {
        match &self.way {
            Way::Store { dir, .. } => Some(dir),
            Way::Socket(_) | Way::Tcp(_) => None,
        }
    }

    /// Reads.
    ///
    /// # Errors
    /// The server is away, says no, or answers something else.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(&self.done(Method::GET, path, None).await?)
    }

    /// Asks for something, with all that it takes.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        ask: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(&self.done(method, path, Some(json(ask))).await?)
    }

    /// Asks for something that takes nothing beside its path.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub(crate) async fn order<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(&self.done(Method::POST, path, None).await?)
    }

    /// Has something deleted.
    ///
    /// # Errors
    /// The server is away, or says no.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.done(Method::DELETE, path, None).await.map(drop)
    }

    /// Reads bytes as they are.
    ///
    /// # Errors
    /// The server is away, or says no.
    pub(crate) async fn bytes(&self, path: &str) -> Result<Bytes, Failure> {
        self.done(Method::GET, path, None).await
    }

    /// The body of an answer that says yes.
    async fn done(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Bytes, Failure> {
        let answer = self.exchange(method, path, body).await?;
        if answer.status.is_success() { Ok(answer.body) } else { Err(self.refusal(&answer, path)) }
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|error| {
            Failure::unreachable(format!(
                "{self} answered something else than was asked for ({error}); server and command may be of different \
                 versions: crm-relay --version on both machines"
            ))
        })
    }

    /// Reads an answer whatever its status.
    ///
    /// # Errors
    /// The server is away.
    pub(crate) async fn peek(&self, path: &str) -> Result<(StatusCode, Value), Failure> {
        let answer = self.exchange(Method::GET, path, None).await?;
        if answer.is_of_intake() {
            return Err(self.refusal(&answer, path));
        }
        Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Answer, Failure> {
        let mut request = request_of(method, path, body)?;
        match &self.way {
            Way::Store { offline, .. } => {
                let (status, body) = offline.get(path).await;
                Ok(Answer { status, body })
            }
            Way::Socket(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|error| self.away(&reason(&error)))?;
                self.perform(stream, request).await
            }
            Way::Tcp(remote) => {
                remote.address(&mut request, path)?;
                let stream = remote.open().await.map_err(|why| self.away(&why))?;
                self.perform(stream, request).await
            }
        }
    }

    /// Asks for an answer that is taken as it comes.
    ///
    /// # Errors
    /// The server is away, or says no.
    pub(crate) async fn stream(&self, path: &str, ask: &impl Serialize) -> Result<Arriving, Failure> {
        let request = request_of(Method::POST, path, Some(json(ask)))?;
        let (response, driver) = match &self.way {
            Way::Store { .. } => return Err(self.away("nothing is streamed without a server")),
            Way::Socket(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|error| self.away(&reason(&error)))?;
                self.send(stream, request).await?
            }
            Way::Tcp(remote) => {
                let mut request = request;
                remote.address(&mut request, path)?;
                let stream = remote.open().await.map_err(|why| self.away(&why))?;
                self.send(stream, request).await?
            }
        };
        let status = response.status();
        let mut arriving = Arriving { body: response.into_body(), driver };
        if status.is_success() {
            return Ok(arriving);
        }
        let body = Limited::new(&mut arriving.body, REFUSAL_BYTES_MAX).collect().await;
        let body = body.map_err(|error| self.away(&error.to_string()))?.to_bytes();
        Err(self.refusal(&Answer { status, body }, path))
    }

    async fn perform<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<Answer, Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (response, driver) = self.send(stream, request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| self.away(&error.to_string()))?.to_bytes();
        driver.abort();
        Ok(Answer { status, body })
    }

    async fn send<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<(Response<Incoming>, Driver), Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let broken = |error: hyper::Error| self.away(&error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok((response, driver))
    }

    fn away(&self, why: &str) -> Failure {
        Failure::unreachable(format!("cannot reach the server at {self}: {why}. Does it run? crm-relay server"))
    }

    /// The words of a problem document, with what to do where we know it.
    fn refusal(&self, answer: &Answer, path: &str) -> Failure {
        if answer.is_of_intake() {
            return Failure::unreachable(format!(
                "{self} is where a server takes webhooks in; its admin API is another listener, ADMIN_LISTEN of that server \
                 (port 8081 unless set): --admin-url http://HOST:8081"
            ));
        }
        let problem: ProblemDto = serde_json::from_slice(&answer.body).unwrap_or_default();
        let words = [&problem.detail, &problem.title].into_iter().find(|words| !words.is_empty()).map_or_else(
            || format!("{self} answered {}: is that the admin API of crm-relay?", answer.status.as_u16()),
            |words| visible(words).into_owned(),
        );
        let words = match next_step::after(&problem.code, &words, path) {
            Some(step) => format!("{words}; {step}"),
            None => words,
        };
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::new(
                Exit::TokenRefused,
                format!(
                    "{self} {}. It is ADMIN_TOKEN in DATA_DIR/credentials of that server: --admin-token @FILE",
                    if self.shows_token() { "refused the admin token" } else { "wants its admin token" }
                ),
            ),
            StatusCode::BAD_REQUEST => Failure::usage(words),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::INTERNAL_SERVER_ERROR => {
                Failure::new(Exit::StoreFailed, words)
            }
            _ => Failure::no(words),
        }
    }
}

/// Whether it cannot even be seen whether there is such a file.
fn is_closed(path: &Path) -> bool {
    matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::PermissionDenied)
}

/// The token for the admin API at `url`: one that was given goes where it is told to. The one that is kept on this machine is
/// that of a server here, and another host has no use for it but a bad one.
fn token_for(
    url: &Uri,
    given: Option<String>,
    kept: impl FnOnce() -> Result<Option<Secret>, Failure>,
) -> Result<Option<Secret>, Failure> {
    match given {
        Some(token) => Ok(Some(Secret::new(token))),
        None if target::is_loopback(url) => kept(),
        None => Ok(None),
    }
}

/// Data directories of this user: the token of a service does not go wherever an `ADMIN_URL` leads.
fn own_dirs(layers: &Layers) -> Vec<PathBuf> {
    data_dirs(layers).into_iter().filter(|dir| dir != Path::new(place::SERVICE_DATA_DIR)).collect()
}

impl Remote {
    /// Puts host, path and token into a request for `path`.
    fn address(&self, request: &mut Request<Full<Bytes>>, path: &str) -> Result<(), Failure> {
        let full = format!("{}{path}", self.url.path().trim_end_matches('/'));
        *request.uri_mut() = full.parse().map_err(|_| Failure::usage(format!("not a path: {full}")))?;
        let headers = request.headers_mut();
        let authority = self.url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        if let Ok(value) = HeaderValue::from_str(authority) {
            headers.insert(header::HOST, value);
        }
        if let Some(token) = &self.token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value = value.map_err(|_| Failure::usage("ADMIN_TOKEN: not a token"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(())
    }

    /// A connection, encrypted before anything is said where the URL says so.
    async fn open(&self) -> Result<Stream, String> {
        let peer = Peer {
            host: self.url.host().unwrap_or_default().to_owned(),
            port: self.url.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 }),
            proxy: None,
            tls: self.tls.clone(),
        };
        peer.dial().await.map_err(|error| match error {
            DialError::Connect { source, .. } => reason(&source),
            error @ (DialError::Tunnel(_) | DialError::Socks(_) | DialError::Silent(_)) => error.to_string(),
            DialError::Encrypt { source, .. } => tls::explain(&source).unwrap_or_else(|| reason(&source)),
        })
    }
}

impl std::fmt::Display for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.way {
            Way::Socket(path) => path.display().fmt(f),
            Way::Tcp(remote) => remote.url.fmt(f),
            Way::Store { dir, .. } => dir.display().fmt(f),
        }
    }
}

/// What is asked, as it is sent.
fn json(ask: &impl Serialize) -> Bytes {
    serde_json::to_vec(ask).expect("what is asked has string keys, strings and numbers only").into()
}

fn request_of(method: Method, path: &str, body: Option<Bytes>) -> Result<Request<Full<Bytes>>, Failure> {
    let has_body = body.is_some();
    let mut request = Request::new(Full::new(body.unwrap_or_default()));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|_| Failure::usage(format!("not a path: {path}")))?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("crm-relay"));
    if let Some(user) = user() {
        headers.insert("relay-user", user);
    }
    if has_body {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(request)
}

/// Who runs this command, for the audit log: what the system told the shell, and behind `sudo` who called that.
fn user() -> Option<HeaderValue> {
    let user = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(config::environment);
    user.filter(|user| !user.is_empty()).and_then(|user| HeaderValue::from_str(&user).ok())
}

/// A path with its query.
pub(crate) fn query(path: &str, parameters: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut out = path.to_owned();
    for (index, (name, value)) in parameters.into_iter().enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        out.push_str(&encode(&value));
    }
    out
}

/// Percent-encodes a value for a path segment or a query.
pub(crate) fn encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S39: the admin token of this machine's server goes to no other host, over whatever; one that was given goes where it is
    /// told to.
    #[test]
    fn a_token_of_this_machine_stays_on_it() {
        let kept = || Ok(Some(Secret::new("kept".to_owned())));
        let shown = |url: &str, given: Option<&str>| {
            let token = token_for(&url.parse().unwrap(), given.map(str::to_owned), kept).unwrap();
            token.map(|token| token.expose().to_owned())
        };
        for here in ["http://127.0.0.1:8081", "http://localhost:8081", "https://[::1]:8081"] {
            assert_eq!(shown(here, None).as_deref(), Some("kept"), "{here}");
        }
        for there in ["http://192.0.2.1:8081", "https://relay.example.com", "http://localhost.example.com"] {
            assert_eq!(shown(there, None), None, "{there}");
            assert_eq!(shown(there, Some("given")).as_deref(), Some("given"), "{there}");
        }
    }

    #[test]
    fn odd_characters_cannot_leave_their_place_in_a_query() {
        let path = query("/api/v1/events", [("source", "a&b=c d/é".to_owned()), ("limit", "5".to_owned())]);
        assert_eq!(path, "/api/v1/events?source=a%26b%3Dc%20d%2F%C3%A9&limit=5");
    }
}
