//! Serves the admin API: how many may ask at once, how long a head may take to arrive, and what ends with the server.

use std::{sync::Arc, time::Duration};

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Connections at once: far more than operators and scrapers need, far fewer than the process may open.
const CONNECTIONS_MAX: usize = 256;
/// How long a request's head may take, from the connection or the answer before it on.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer under way may still take once the server stops. Commands go on without their connection.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until `stop`, then returns when the last connection has ended. Dropped, it ends them all.
pub(crate) async fn serve<L: Listener>(mut listener: L, router: Router, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Cancel safety: an accept that is dropped has taken nothing, and a permit that was not used goes back.
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (socket, permit) = accept(&mut listener, &room) => {
                connections.spawn(connection(socket, router.clone(), stop.clone(), permit));
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept<L: Listener>(listener: &mut L, room: &Arc<Semaphore>) -> (L::Io, OwnedSemaphorePermit) {
    let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
    (listener.accept().await.0, permit)
}

async fn connection<S>(socket: S, router: Router, stop: CancellationToken, _permit: OwnedSemaphorePermit)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin,
{
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router))
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
