//! Accepts connections and serves each until it ends, come what may.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::FutureExt as _;
use http::{HeaderValue, StatusCode, header};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    Settings,
    cors::Cors,
    flaw::Flaw,
    guarded::{Gate, Guarded},
    intake,
    path::{self, Place},
    seam::{Backend, Body},
    webhook::{Door, UNKNOWN},
};
use crate::{accept::Acceptor, origin::Origin};

/// Bytes the HTTP library may buffer per connection: a whole head with room for a good part of a body behind it.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Serves the public listener until `stop`; then accepts no more, finishes the requests at hand, and returns when the last
/// connection has ended. Whoever called bounds that wait by dropping the future.
pub async fn serve<B: Backend>(listener: TcpListener, backend: Arc<B>, settings: Settings, stop: CancellationToken) {
    let connections = Arc::new(Semaphore::new(settings.connections_max.min(Semaphore::MAX_PERMITS)));
    let cors = Cors::new(&settings.cors_origins);
    let door = Arc::new(Door { backend, settings, cors, stop: stop.clone() });
    let closing = Arc::new(Closing::default());
    // Dropped with this future, and then it ends the connections that are left.
    let mut tasks = JoinSet::new();
    let mut acceptor = Acceptor::new(listener, "public");
    loop {
        // Cancel safety: see `Acceptor::accept`; a permit that was not used goes back.
        let ((socket, origin), permit) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = tasks.join_next() => continue,
            accepted = accept(&mut acceptor, &connections) => accepted,
        };
        let (door, closing) = (Arc::clone(&door), Arc::clone(&closing));
        tasks.spawn(async move {
            let _permit = permit;
            let backend = Arc::clone(&door.backend);
            contained(connection(door, socket, origin, &closing), &*backend).await;
        });
    }
    drop(acceptor);
    closing.begin();
    while tasks.join_next().await.is_some() {}
}

/// Tells the connections that no request may follow the one at hand.
///
/// A connection's task looks at the flag whenever it runs, and at the token, whose lock all connections share, only once
/// to be woken by it and once more when the flag is set.
#[derive(Debug, Default)]
struct Closing {
    begun: AtomicBool,
    token: CancellationToken,
}

impl Closing {
    fn begin(&self) {
        // The flag first: whoever the token wakes finds it set.
        self.begun.store(true, Ordering::Release);
        self.token.cancel();
    }

    fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }
}

/// The next connection, once there is room for one.
async fn accept(
    acceptor: &mut Acceptor<TcpListener>,
    connections: &Arc<Semaphore>,
) -> ((TcpStream, Origin), OwnedSemaphorePermit) {
    let permit = Arc::clone(connections).acquire_owned().await.expect("the semaphore is never closed");
    (acceptor.accept().await, permit)
}

/// Runs one connection; a panic in it ends it alone. Strangers reach this code, so a panic must not stop the process.
async fn contained<B: Backend>(connection: impl Future<Output = ()>, backend: &B) {
    if AssertUnwindSafe(connection).catch_unwind().await.is_err() {
        tracing::error!(event = "connection_panicked", "a connection's task panicked; only this connection is lost");
        backend.panicked();
    }
}

async fn connection<B: Backend>(door: Arc<Door<B>>, socket: TcpStream, origin: Origin, closing: &Closing) {
    // Best effort: without it answers only come later.
    let _ = socket.set_nodelay(true);
    crate::connect::prepare(&socket);
    let gate = Arc::new(Gate::default());
    let guarded = Guarded::new(socket, Arc::clone(&gate), door.settings.patience);
    let service = service_fn(|request| {
        // It is handed from one future to the next: a pointer, not a copy in each.
        let request = Box::new(request);
        let (door, gate) = (Arc::clone(&door), Arc::clone(&gate));
        async move { Ok::<_, Infallible>(answer(&door, &gate, origin, request).await) }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            // A sender may close its side once it has sent everything, and still wants its answer.
            .half_close(true)
            .pipeline_flush(true)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(guarded), service)
            .with_upgrades()
    );
    let mut told = std::pin::pin!(closing.token.cancelled());
    let (mut registered, mut graceful) = (false, false);
    let ended = poll_fn(|cx| {
        if !graceful && (!registered || closing.has_begun()) {
            registered = true;
            if told.as_mut().poll(cx).is_ready() {
                graceful = true;
                gate.close();
                connection.as_mut().graceful_shutdown();
            }
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Answers one request. The gate learns of every request that asks for another protocol.
async fn answer<B: Backend>(
    door: &Door<B>,
    gate: &Gate,
    origin: Origin,
    request: Box<Request<Incoming>>,
) -> Response<Body> {
    let asks_upgrade = request.headers().contains_key(header::UPGRADE);
    let response = route(door, origin, request).await;
    if asks_upgrade {
        gate.decide(response.status() == StatusCode::SWITCHING_PROTOCOLS);
    }
    response
}

async fn route<B: Backend>(door: &Door<B>, origin: Origin, request: Box<Request<Incoming>>) -> Response<Body> {
    let uri = request.uri().clone();
    if let Some(flaw) = Flaw::of(&uri) {
        let problem = flaw.problem();
        door.backend.refused(UNKNOWN, problem.code.as_str());
        return problem.respond();
    }
    match path::place(uri.path()) {
        Place::Elsewhere => {
            let ends = intake::is_given_up(request.headers(), request.body());
            let mut response = door.backend.other(*request, origin).await;
            if ends && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
        place @ (Place::Source(_) | Place::DotSegments) => door.answer(place, origin, request).await,
    }
}
