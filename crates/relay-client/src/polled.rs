//! A stream to the server that is carried by requests and their answers, where something in between cuts `WebSockets`.
//!
//! **Invariant:** both ways are streams of bytes, and each request says where in them it is. One that came to nothing is asked
//! again from there: nothing is lost, nothing is doubled. Nothing is spawned; whoever reads or writes drives the requests.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use relay_core::limits;
use relay_net::dial::{Peer, Stream};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, ReadHalf, WriteHalf},
    time::{Instant, sleep, timeout},
};

/// Names a session: given with the answer that begins it.
pub(crate) const SESSION: HeaderName = HeaderName::from_static("relay-session");
/// Where in this client's stream the body of a request begins, and how far the server has taken it.
const UP: HeaderName = HeaderName::from_static("relay-up");
/// Where in the server's stream this client is, and the body of the answer begins.
const DOWN: HeaderName = HeaderName::from_static("relay-down");
/// The field that every answer of a server has here.
const PROTOCOL: &str = "relay-protocol";
/// Between a request that failed and the next.
const PAUSE: Duration = Duration::from_millis(500);
/// How long requests may fail before the session counts as lost: another resumes what it held.
const FAILING_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection for one request may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Polled {
    near: DuplexStream,
    /// Carries what goes through `near`; gives why it does so no more.
    asking: Option<Pin<Box<dyn Future<Output = String> + Send>>>,
    why: Option<String>,
}

/// How the requests of a session are made.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    /// Where to.
    pub(crate) peer: Peer,
    /// The path there, and the name it goes by.
    pub(crate) path: Uri,
    pub(crate) host: HeaderValue,
    pub(crate) token: HeaderValue,
    /// What every request says besides.
    pub(crate) fields: HeaderMap,
}

/// What was answered.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A connection for requests, one after the other.
pub(crate) struct Http {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Pin<Box<http1::Connection<TokioIo<Stream>, Full<Bytes>>>>,
}

impl Polled {
    /// The stream of the session that these requests name.
    pub(crate) fn new(asking: Asking, http: Option<Http>) -> Self {
        let (near, far) = tokio::io::duplex(limits::POLL_BYTES_MAX);
        let (said, heard) = tokio::io::split(far);
        let carried = async move {
            // Cancel safety: whichever ends first ends the session.
            tokio::select! {
                why = say(&asking, said) => why,
                why = hear(&asking, http, heard) => why,
            }
        };
        Self { near, asking: Some(Box::pin(carried)), why: None }
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(asking) = &mut self.asking
            && let Poll::Ready(why) = asking.as_mut().poll(cx)
        {
            (self.asking, self.why) = (None, Some(why));
        }
    }
}

impl std::fmt::Debug for Polled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Polled").field("why", &self.why).finish_non_exhaustive()
    }
}

/// Carries what this client says, until the session is over.
async fn say(asking: &Asking, mut said: ReadHalf<DuplexStream>) -> String {
    let (mut at, mut http, mut bytes) = (0_u64, None, BytesMut::with_capacity(limits::POLL_BYTES_MAX));
    loop {
        bytes.clear();
        if said.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            // Nothing more is said, and the answers to what was may still come.
            std::future::pending::<()>().await;
        }
        let body = Bytes::copy_from_slice(&bytes);
        if let Err(why) = asking.insist(&mut http, (UP, at), body).await {
            return why;
        }
        at += bytes.len() as u64;
    }
}

/// Carries what the server says, until the session is over.
async fn hear(asking: &Asking, mut http: Option<Http>, mut heard: WriteHalf<DuplexStream>) -> String {
    let mut at = 0_u64;
    loop {
        let answered = match asking.insist(&mut http, (DOWN, at), Bytes::new()).await {
            Ok(answered) => answered,
            Err(why) => return why,
        };
        if heard.write_all(&answered.body).await.is_err() {
            return "nobody reads what the server says".into();
        }
        at += answered.body.len() as u64;
    }
}

impl Asking {
    /// Asks until there is an answer of the server's; again where there was none.
    async fn insist(
        &self,
        http: &mut Option<Http>,
        (field, at): (HeaderName, u64),
        body: Bytes,
    ) -> Result<Answered, String> {
        let mut failing = None;
        loop {
            let was_kept = http.is_some();
            let fields = [(field.clone(), HeaderValue::from(at))];
            let why = match timeout(limits::POLL_IDLE, self.ask_on(http, fields.into(), body.clone())).await {
                Ok(Ok(answered)) if is_answer(&answered, &field, at, body.len()) => return Ok(answered),
                Ok(Ok(answered)) if is_refusal(&answered) => {
                    return Err(format!("the server ended the session: it answered {}", answered.status));
                }
                Ok(Ok(answered)) => format!("{} answered {}", self.peer, answered.status),
                // A kept connection may have ended meanwhile.
                Ok(Err(_)) if was_kept => continue,
                Ok(Err(why)) => why,
                Err(_) => return Err(format!("{} did not answer in time", self.peer)),
            };
            *http = None;
            if failing.get_or_insert_with(Instant::now).elapsed() >= FAILING_WITHIN {
                return Err(why);
            }
            sleep(PAUSE).await;
        }
    }

    async fn ask_on(
        &self,
        http: &mut Option<Http>,
        fields: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Result<Answered, String> {
        let mut on = match http.take() {
            Some(http) => http,
            None => self.connect().await?,
        };
        let (answered, is_open) = self.ask(&mut on, fields, body).await?;
        *http = is_open.then_some(on);
        Ok(answered)
    }

    /// A new connection.
    async fn connect(&self) -> Result<Http, String> {
        let deadline = Instant::now() + CONNECT_WITHIN;
        let stream = self.peer.dial_until(deadline).await.map_err(|error| error.to_string())?;
        Http::on(stream).await
    }

    /// One request, and whether its connection stays open.
    pub(crate) async fn ask(
        &self,
        http: &mut Http,
        fields: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Result<(Answered, bool), String> {
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut()) = (Method::POST, self.path.clone());
        let headers = request.headers_mut();
        *headers = self.fields.clone();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::AUTHORIZATION, self.token.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.extend(fields);
        http.ask(request).await
    }
}

impl Http {
    /// On a connection.
    pub(crate) async fn on(stream: Stream) -> Result<Self, String> {
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        Ok(Self { sender, driver: Box::pin(driver) })
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<(Answered, bool), String> {
        let Self { sender, driver } = self;
        let asked = async {
            sender.ready().await.map_err(|error| error.to_string())?;
            let (head, body) = sender.send_request(request).await.map_err(|error| error.to_string())?.into_parts();
            let body = Limited::new(body, limits::POLL_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>(Answered { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        let mut asked = std::pin::pin!(asked);
        // Cancel safety: a request that is given up takes its connection along.
        tokio::select! {
            biased;
            answered = &mut asked => Ok((answered?, true)),
            // What it had read by then is still there.
            _ = driver => Ok((asked.await?, false)),
        }
    }
}

/// Whether the server has done what was asked.
fn is_answer(answered: &Answered, field: &HeaderName, at: u64, said: usize) -> bool {
    let place = answered.headers.get(field).and_then(|place| place.to_str().ok()?.parse::<u64>().ok());
    let is_there = if *field == UP { place >= Some(at + said as u64) } else { place == Some(at) };
    answered.status == StatusCode::OK && answered.headers.contains_key(PROTOCOL) && is_there
}

/// Whether the server, and nobody in between, says that this session does not go on.
fn is_refusal(answered: &Answered) -> bool {
    let passes = matches!(
        answered.status,
        StatusCode::OK | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    answered.headers.contains_key(PROTOCOL) && !passes
}

/// Asks once, within this time, on a connection of its own.
pub(crate) async fn first(
    asking: &Asking,
    within: Duration,
    stream: Stream,
) -> Result<(Answered, Option<Http>), String> {
    let asked = async {
        let mut http = Http::on(stream).await?;
        let (answered, is_open) = asking.ask(&mut http, Vec::new(), Bytes::new()).await?;
        Ok((answered, is_open.then_some(http)))
    };
    timeout(within, asked).await.unwrap_or_else(|_| Err(format!("{} did not answer in time", asking.peer)))
}

impl AsyncRead for Polled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.drive(cx);
        let before = buf.filled().len();
        let read = Pin::new(&mut self.near).poll_read(cx, buf);
        match (&read, &self.why) {
            (Poll::Ready(Ok(())), Some(why)) if buf.filled().len() == before && buf.remaining() > 0 => {
                Poll::Ready(Err(io::Error::other(why.clone())))
            }
            _ => read,
        }
    }
}

impl AsyncWrite for Polled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.near).poll_write(cx, bytes);
        self.drive(cx);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.drive(cx);
        Pin::new(&mut self.near).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.drive(cx);
        Pin::new(&mut self.near).poll_shutdown(cx)
    }
}
