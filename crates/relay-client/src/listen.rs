//! The client's own listener: `/livez`, `/readyz`, `/health`, `/metrics`.

mod asked;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use relay_core::{limits, lines::Kind, time::Mono};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::asked::Names;
use crate::status::Status;

/// Connections served at once; for one more, the one ends that has waited longest for its peer.
const CONNECTIONS_MAX: usize = 64;
/// How long a request's head may take, and so an idle connection stay open.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may take for its answer: a connection that is not read, or in drops, must not hold its place for good.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Makes the answer to a request.
type Answer = fn(&str, &Status) -> Response<Full<Bytes>>;

/// What every connection is answered with.
#[derive(Clone)]
struct Office {
    answer: Answer,
    names: Arc<Names>,
    status: Arc<Status>,
}

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, names: Names, status: Arc<Status>) -> Infallible {
    serve_by(Office { answer, names: Arc::new(names), status }, listener).await
}

async fn serve_by(office: Office, listener: TcpListener) -> Infallible {
    if let Ok(addr) = listener.local_addr() {
        tracing::info!(event = "listening", name = "client", %addr, "health and metrics of the client");
    }
    let mut acceptor = Acceptor { listener, began: Instant::now(), lines: Kind::default() };
    let mut places = Places::default();
    let mut connections = FuturesUnordered::new();
    loop {
        // Cancel safety: an accept that is dropped has taken nothing, and at most its pause was cut short. Who is here comes
        // before who arrives, so that a request that has come is answered and not displaced.
        tokio::select! {
            biased;
            Some(number) = connections.next() => places.leave(number),
            stream = acceptor.accept() => {
                let (number, place) = places.take();
                connections.push(seated(number, place, stream, office.clone()));
            }
        }
    }
}

/// Who is served, and since when each waits for its peer.
#[derive(Debug, Default)]
struct Places {
    taken: BTreeMap<u64, Arc<Place>>,
    next: u64,
    turns: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Place {
    /// Counts who began to wait.
    turns: Arc<AtomicU64>,
    /// When this one did.
    turn: AtomicU64,
    gone: CancellationToken,
}

impl Places {
    /// A place; where all are taken, that of the one that has waited longest.
    fn take(&mut self) -> (u64, Arc<Place>) {
        if self.taken.len() >= CONNECTIONS_MAX {
            let longest =
                self.taken.iter().min_by_key(|(_, place)| place.turn.load(Relaxed)).map(|(number, _)| *number);
            if let Some(place) = longest.and_then(|number| self.taken.remove(&number)) {
                place.gone.cancel();
            }
        }
        let place = Place { turns: Arc::clone(&self.turns), turn: AtomicU64::new(0), gone: CancellationToken::new() };
        place.waits();
        let (number, place) = (self.next, Arc::new(place));
        self.next += 1;
        self.taken.insert(number, Arc::clone(&place));
        (number, place)
    }

    fn leave(&mut self, number: u64) {
        self.taken.remove(&number);
    }
}

impl Place {
    /// From now on.
    fn waits(&self) {
        self.turn.store(self.turns.fetch_add(1, Relaxed), Relaxed);
    }
}

/// A connection that may have to give up its place.
async fn seated(number: u64, place: Arc<Place>, stream: TcpStream, office: Office) -> u64 {
    // None: it had to. Its peer has had its chance.
    let _gone = place.gone.run_until_cancelled(contained(stream, office, &place)).await;
    number
}

/// Goes on whatever accepting meets: to be out of descriptors passes.
struct Acceptor {
    listener: TcpListener,
    began: Instant,
    lines: Kind,
}

impl Acceptor {
    async fn accept(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    self.complain(&error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn complain(&mut self, error: &io::Error) {
        // However often accepting fails.
        let now = Mono::default() + self.began.elapsed();
        if let Some(left_out) = self.lines.may_tell(limits::LINES_OF_STRANGERS, now) {
            tracing::warn!(
                event = "accept_failed",
                listener = "client",
                %error,
                left_out,
                "cannot accept connections, those that are open go on; too many open files: raise the limit (LimitNOFILE=)"
            );
        }
    }
}

/// One connection. Strangers reach this code, so a panic in it ends the connection and not the client.
async fn contained(stream: TcpStream, office: Office, place: &Place) {
    let status = Arc::clone(&office.status);
    if AssertUnwindSafe(connection(stream, office, place)).catch_unwind().await.is_err() {
        status.panicked();
        tracing::error!(
            event = "connection_panicked",
            listener = "client",
            "a connection's task panicked; only this connection is lost"
        );
    }
}

async fn connection(stream: TcpStream, office: Office, place: &Place) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = match office.names.may_ask(&request) {
            Ok(()) => (office.answer)(request.uri().path(), &office.status),
            Err((status, why)) => refused(status, why),
        };
        place.waits();
        async move { Ok::<_, Infallible>(response) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    server.max_headers(limits::HEADERS_MAX).max_buf_size(limits::HEAD_BYTES_MAX);
    // A scraper that breaks off is its own affair.
    let _ = server.serve_connection(TokioIo::new(Impatient::new(stream, WRITE_TIMEOUT)), service).await;
}

/// A stream whose writes fail once the peer has not taken all there is for so long.
#[derive(Debug)]
struct Impatient<S> {
    stream: S,
    patience: Duration,
    /// Since a write had to wait. Only a flush ends it, which comes when everything is written.
    waiting: Option<Pin<Box<Sleep>>>,
    /// The last byte that was read.
    last: u8,
}

impl<S> Impatient<S> {
    const fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, waiting: None, last: 0 }
    }

    fn watch<T>(&mut self, poll: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let patience = self.patience;
        if poll.is_pending() {
            self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        }
        if self.waiting.as_mut().is_some_and(|waiting| waiting.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        poll
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        // A line that ends without a carriage return is malformed, and no head may hold a NUL: so it is answered 400. Bodies
        // are not read here.
        for byte in &mut buf.filled_mut()[before..] {
            let is_bare = *byte == b'\n' && self.last != b'\r';
            self.last = *byte;
            if is_bare {
                *byte = 0;
            }
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(poll, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        if poll.is_ready() {
            self.waiting = None;
        }
        self.watch(poll, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(poll, cx)
    }
}

fn answer(path: &str, status: &Status) -> Response<Full<Bytes>> {
    match path {
        "/livez" => text(StatusCode::OK, "alive\n"),
        "/readyz" if status.is_connected() => text(StatusCode::OK, "connected\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not connected\n"),
        "/health" => typed(StatusCode::OK, "application/json", format!("{}\n", status.health())),
        "/metrics" => match status.metrics() {
            Ok(page) => typed(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", page),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// A refusal ends its connection: nobody has to find out where the next request would begin.
fn refused(status: StatusCode, why: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(status, why);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body.to_owned())
}

fn typed(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;
