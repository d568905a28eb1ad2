//! The client's own listener: `/livez`, `/readyz`, `/health`, `/metrics`.

mod asked;

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioTimer;
use relay_core::limits;
use relay_net::{
    origin::Origin,
    serve::{self, Bounds, Closing, Connections, Impatient, Seated, Serve},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
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
    // Nobody has a share of it, or a place that is kept: whoever reaches it may look at all it shows.
    let bounds = Bounds { reserve: 0, address: CONNECTIONS_MAX, ..Bounds::of(CONNECTIONS_MAX) };
    serve::serve(listener, "client", Connections::new(bounds), Arc::new(office), CancellationToken::new()).await;
    unreachable!("nobody tells it to stop")
}

impl Serve<TcpStream> for Office {
    async fn connection(&self, stream: TcpStream, _origin: Origin, seat: Arc<Seated>, closing: &Closing) {
        let service = service_fn(|request: Request<Incoming>| {
            let response = match self.names.may_ask(&request) {
                Ok(()) => (self.answer)(request.uri().path(), &self.status),
                Err((status, why)) => refused(status, why),
            };
            // It has waited long enough to say this: the next wait is another one.
            seat.works();
            async move { Ok::<_, Infallible>(response) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        builder.max_headers(limits::HEADERS_MAX).max_buf_size(limits::HEAD_BYTES_MAX);
        let stream = Impatient::new(stream, WRITE_TIMEOUT).giving_way(Arc::clone(&seat));
        let stream = StrictLines { stream, last: 0 };
        closing.drive(&builder, stream, || {}, service).await;
    }

    fn panicked(&self) {
        self.status.panicked();
    }
}

/// A stream of heads in which a line that ends without a carriage return is malformed. No head may hold a NUL, so it is given
/// one there, and is answered 400. Bodies are not read here.
#[derive(Debug)]
struct StrictLines<S> {
    stream: S,
    /// The last byte that was read.
    last: u8,
}

impl<S: AsyncRead + Unpin> AsyncRead for StrictLines<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
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

impl<S: AsyncWrite + Unpin> AsyncWrite for StrictLines<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn answer(path: &str, status: &Status) -> Response<Full<Bytes>> {
    match path {
        "/livez" => text(StatusCode::OK, "alive\n"),
        "/readyz" if status.is_connected() => text(StatusCode::OK, "connected\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not connected\n"),
        "/health" => match serde_json::to_string(&status.health()) {
            Ok(health) => typed(StatusCode::OK, "application/json", health + "\n"),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "health cannot be written\n"),
        },
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
