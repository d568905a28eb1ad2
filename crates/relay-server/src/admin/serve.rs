//! Serves the admin API: how many may ask at once, how long a head may take to arrive, and what ends with the server.

use std::{sync::Arc, time::Duration};

use axum::Router;
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    accept::{Acceptor, Listening},
    origin::Origin,
};

/// Connections at once: far more than operators and scrapers need.
const CONNECTIONS_MAX: u64 = 256;
/// Of the descriptors that the process may open, each admin listener takes one in this many: what the public listener
/// leaves is for the store and the clients as well.
const DESCRIPTORS_SHARE: u64 = 16;
/// How long a request's head may take, from the connection or the answer before it on.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer under way may still take once the server stops. Commands go on without their connection.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until `stop`, then returns when the last connection has ended. Dropped, it ends them all.
pub(crate) async fn serve<L>(listener: L, name: &'static str, router: Router, stop: CancellationToken)
where
    L: Listening,
    L::Socket: AsyncRead + AsyncWrite + Unpin,
{
    let mut acceptor = Acceptor::new(listener, name);
    let room = Arc::new(Semaphore::new(connections_max()));
    let mut connections = JoinSet::new();
    loop {
        // Cancel safety: see `Acceptor::accept`; a permit that was not used goes back.
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            ((socket, origin), permit) = accept(&mut acceptor, &room) => {
                connections.spawn(connection(socket, origin, router.clone(), stop.clone(), permit));
            }
        }
    }
    drop(acceptor);
    while connections.join_next().await.is_some() {}
}

fn connections_max() -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    (descriptors / DESCRIPTORS_SHARE).clamp(1, CONNECTIONS_MAX) as usize
}

async fn accept<L: Listening>(
    acceptor: &mut Acceptor<L>,
    room: &Arc<Semaphore>,
) -> ((L::Socket, Origin), OwnedSemaphorePermit) {
    let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
    (acceptor.accept().await, permit)
}

async fn connection<S>(
    socket: S,
    origin: Origin,
    router: Router,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    // Handlers and middleware find there whom they answer.
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(origin);
        router.clone().oneshot(request)
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(socket), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // A connection that never asked anything would wait for its first request.
            timeout(STOP_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the admin API ended early");
    }
}
