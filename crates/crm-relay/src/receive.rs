//! The test receiver: an HTTP endpoint that shows what arrives and answers as it is told.

mod request_line;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioTimer;
use relay_net::{
    origin::Origin,
    serve::{self, Bounds, Closing, Connections, Impatient, Seated, Serve},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::{
    exit::{Failure, reason},
    output::show,
    render::{request, style, time},
};
use request_line::{RequestLines, Untold};

/// Largest body it takes; more is answered 413.
const BODY_BYTES_MAX: usize = 1 << 30;
/// Fields of a head.
const FIELDS_MAX: usize = 2 * relay_core::limits::HEADERS_MAX;

/// How long nothing of a body may come, and how long an answer may take to be taken: longer than a slow sender pauses, and one
/// that is gone holds no connection for good. Heads, and what stands idle between two, the HTTP library bounds by half a minute.
const SILENCE_MAX: Duration = Duration::from_mins(2);

/// How the receiver answers.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    /// With this status.
    pub(crate) status: StatusCode,
    /// After this long.
    pub(crate) delay: Duration,
    /// The first so many with 500.
    pub(crate) fail_first: u64,
    /// Prints nothing per request.
    pub(crate) quiet: bool,
}

/// A bound receiver.
pub(crate) struct Receiver {
    listener: TcpListener,
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    behaviour: Behaviour,
    seen: AtomicU64,
}

impl Receiver {
    /// Binds its port.
    ///
    /// # Errors
    /// The port is taken or not allowed.
    pub(crate) async fn bind(address: SocketAddr, behaviour: Behaviour) -> Result<Self, Failure> {
        let refuse = |error: std::io::Error| {
            Failure::unreachable(format!(
                "cannot listen on {address}: {}. Choose another port: --listen 127.0.0.1:0 takes any",
                reason(&error)
            ))
        };
        let listener = TcpListener::bind(address).await.map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        Ok(Self { listener, address, state: Arc::new(State { behaviour, seen: AtomicU64::new(0) }) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests came so far, also after the receiver is gone.
    pub(crate) fn counter(&self) -> Counter {
        Counter(Arc::clone(&self.state))
    }

    /// Serves for ever. Cancel safe: dropping it stops it.
    pub(crate) async fn serve(self) {
        let connections = Connections::new(Bounds::public());
        serve::serve(self.listener, "receiver", connections, self.state, CancellationToken::new()).await;
    }
}

/// Counts the requests of a receiver.
pub(crate) struct Counter(Arc<State>);

impl Counter {
    /// So far.
    pub(crate) fn seen(&self) -> u64 {
        self.0.seen.load(Ordering::Relaxed)
    }
}

impl Serve<TcpStream> for State {
    async fn connection(&self, socket: TcpStream, _origin: Origin, seat: Arc<Seated>, closing: &Closing) {
        // Without it small answers would wait for the peer's acknowledgement; only slower if it cannot be set.
        let _slower = socket.set_nodelay(true);
        // It is waited for as long as the HTTP library does.
        seat.works();
        let socket = Impatient::new(socket, SILENCE_MAX);
        let (socket, beside) = RequestLines::new(socket);
        let service = service_fn(|request| answer(request, beside.next(), self));
        let mut builder = http1::Builder::new();
        // A webhook may have as many fields as the relay takes, and the relay adds its own.
        builder.timer(TokioTimer::new()).max_headers(FIELDS_MAX);
        closing.drive(&builder, socket, || {}, service).await;
    }

    /// The line about it says all there is.
    fn panicked(&self) {}
}

async fn answer(
    request: Request<Incoming>,
    untold: Untold,
    state: &State,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_last = untold.is_last;
    let mut response = take(request, untold, state).await;
    if is_last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// A body, or what is answered without it.
async fn whole<B>(body: B) -> Result<Bytes, StatusCode>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = Limited::new(body, BODY_BYTES_MAX);
    let mut read = BytesMut::new();
    loop {
        match tokio::time::timeout(SILENCE_MAX, body.frame()).await {
            Ok(None) => return Ok(read.freeze()),
            Ok(Some(Ok(frame))) => read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Ok(Some(Err(error))) if error.is::<LengthLimitError>() => return Err(StatusCode::PAYLOAD_TOO_LARGE),
            Ok(Some(Err(_))) => return Err(StatusCode::BAD_REQUEST),
            Err(_) => return Err(StatusCode::REQUEST_TIMEOUT),
        }
    }
}

async fn take(request: Request<Incoming>, untold: Untold, state: &State) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = match whole(body).await {
        Ok(body) => body,
        Err(status) => return empty(status),
    };
    let number = state.seen.fetch_add(1, Ordering::Relaxed) + 1;
    let behaviour = &state.behaviour;
    let status = if number <= behaviour.fail_first { StatusCode::INTERNAL_SERVER_ERROR } else { behaviour.status };
    if !behaviour.quiet {
        let known = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        show(&request::describe(&request::Seen {
            clock: &time::clock(time::now()),
            number,
            method: &head.method,
            target: untold.target.as_deref().unwrap_or(known.as_bytes()),
            headers: &head.headers,
            body: &body,
            status,
        }));
    }
    if !behaviour.delay.is_zero() {
        tokio::time::sleep(behaviour.delay).await;
    }
    empty(status)
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// What is said when it starts.
pub(crate) fn greeting(address: SocketAddr, behaviour: &Behaviour) -> String {
    let first = match behaviour.fail_first {
        0 => String::new(),
        n => format!(" 500 to the first {n}, then"),
    };
    let delay = if behaviour.delay.is_zero() {
        String::new()
    } else {
        format!(" after {}", time::human_duration(behaviour.delay))
    };
    let url = style::copy(format!("http://{address}/"));
    format!("receiving at {url}, answering{first} {}{delay}", behaviour.status)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use http_body_util::{Empty, StreamBody};
    use hyper::body::Frame;

    use super::*;

    /// A sender that stops in the middle of a body is told so; one that pauses is waited for.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_is_given_up() {
        let piece = |pause: Duration| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))
        };
        let slow = futures_util::stream::iter([SILENCE_MAX / 2; 5]).then(piece);
        assert_eq!(whole(StreamBody::new(Box::pin(slow))).await, Ok(Bytes::from_static(b"xxxxx")));
        let gone = futures_util::stream::iter([Duration::ZERO, SILENCE_MAX * 2]).then(piece);
        assert_eq!(whole(StreamBody::new(Box::pin(gone))).await, Err(StatusCode::REQUEST_TIMEOUT));
        assert_eq!(whole(Empty::new()).await, Ok(Bytes::new()));
    }
}
