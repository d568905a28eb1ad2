//! The one loop behind every listener: accepts connections, gives each its place, and serves it until it ends, come what
//! may.

mod accept;
mod connections;
mod impatient;

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::FutureExt as _;
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::HttpService};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{limits, origin::Origin};

pub use accept::{Listener, Listening};
pub use connections::{Bounds, Connections, Seated, Wanted};
pub use impatient::Impatient;

use accept::Acceptor;

/// What a listener does with its connections.
pub trait Serve<S>: Send + Sync + 'static {
    /// One connection from its first byte to its end.
    fn connection(
        &self,
        socket: S,
        origin: Origin,
        seat: Arc<Seated>,
        closing: &Closing,
    ) -> impl Future<Output = ()> + Send;

    /// Counts a panic of one connection's task.
    fn panicked(&self);

    /// There is no room for more connections, and none waits that could end. Says how many are going to end now.
    fn full(&self, _wanted: Wanted) -> usize {
        0
    }

    /// A connection gets no place: its address has its share.
    fn refused(&self, _origin: Origin) {}

    /// Says so on it, where there are few at a time; else it is reset.
    fn turn_away(&self, _socket: S) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Serves until `stop`; then accepts no more, but for those that are connected by then and in whom a request may be on its way; has
/// connections finish what is at hand, and returns when the last one has ended. Whoever called bounds that wait by dropping the
/// future.
pub async fn serve<L: Listening>(
    listener: L,
    name: &'static str,
    connections: Arc<Connections>,
    serving: Arc<impl Serve<L::Socket>>,
    stop: CancellationToken,
) {
    let mut acceptor = Acceptor::new(listener, name);
    let mut hall = Hall::new(name, connections, serving);
    loop {
        // Cancel safety: see `Acceptor::accept`.
        let (socket, origin) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = hall.tasks.join_next() => continue,
            accepted = acceptor.accept() => accepted,
        };
        hall.admit(socket, origin, stop.cancelled()).await;
    }
    if acceptor.refuse_new() {
        hall.admit_begun(&mut acceptor).await;
    }
    for (socket, origin) in acceptor.close() {
        hall.admit(socket, origin, std::future::ready(())).await;
    }
    hall.close().await;
}

/// The connections of a listener.
struct Hall<T> {
    name: &'static str,
    connections: Arc<Connections>,
    serving: Arc<T>,
    closing: Arc<Closing>,
    /// Dropped with this, and then it ends the connections that are left.
    tasks: JoinSet<()>,
    /// Those whose address has its share: what is at work there may give way in a moment.
    antechamber: Arc<Semaphore>,
}

impl<T> Hall<T> {
    fn new(name: &'static str, connections: Arc<Connections>, serving: Arc<T>) -> Self {
        let antechamber = Arc::new(Semaphore::new(limits::TURNED_AWAY_MAX));
        Self { name, connections, serving, closing: Arc::default(), tasks: JoinSet::new(), antechamber }
    }

    /// Serves a connection, once there is a place for it, unless `given_up` comes before.
    async fn admit<S: Send + 'static>(&mut self, socket: S, origin: Origin, given_up: impl Future<Output = ()>)
    where
        T: Serve<S>,
    {
        let (name, serving, closing) = (self.name, Arc::clone(&self.serving), Arc::clone(&self.closing));
        // Cancel safety: at a stop the socket is closed unserved if it has to wait.
        let seat = tokio::select! {
            biased;
            seat = self.connections.seat(origin, |wanted| serving.full(wanted)) => seat,
            () = given_up => return,
        };
        if let Some(seat) = seat {
            self.tasks.spawn(async move { contained(&*serving, name, socket, origin, seat, &closing).await });
        } else if let Ok(place) = Arc::clone(&self.antechamber).try_acquire_owned() {
            let connections = Arc::clone(&self.connections);
            self.tasks.spawn(async move {
                // Cancel safety: who waits has taken nothing. At a stop his socket is closed unserved.
                let seat = tokio::select! {
                    biased;
                    () = closing.begun() => return,
                    seat = timeout(limits::PLACE_WAIT, connections.seat_in_share(origin, |wanted| serving.full(wanted))) => seat,
                };
                let Ok(seat) = seat else {
                    serving.refused(origin);
                    let _ = timeout(limits::TURNED_AWAY_WITHIN, serving.turn_away(socket)).await;
                    return;
                };
                drop(place);
                contained(&*serving, name, socket, origin, seat, &closing).await;
            });
        } else {
            serving.refused(origin);
        }
    }

    /// Admits those who had begun to connect when nobody new was answered any more.
    async fn admit_begun<L: Listening>(&mut self, acceptor: &mut Acceptor<L>)
    where
        T: Serve<L::Socket>,
    {
        let mut over = pin!(sleep(limits::HANDSHAKE_WITHIN));
        loop {
            // Cancel safety: see `Acceptor::accept`.
            let (socket, origin) = tokio::select! {
                biased;
                () = &mut over => return,
                accepted = acceptor.accept() => accepted,
            };
            self.admit(socket, origin, std::future::ready(())).await;
        }
    }

    /// Has all of them finish what is at hand, or on its way to them, and completes when the last one has ended.
    async fn close(mut self) {
        let all_over = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(limits::FIRST_WORD_WITHIN, all_over).await.is_ok() {
            return;
        }
        self.closing.begin();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// One connection, come what may.
async fn contained<S>(
    serving: &impl Serve<S>,
    name: &'static str,
    socket: S,
    origin: Origin,
    seat: Seated,
    closing: &Closing,
) {
    let connection = serving.connection(socket, origin, Arc::new(seat), closing);
    // Strangers reach this code, so a panic in it ends one connection and not the process.
    if AssertUnwindSafe(connection).catch_unwind().await.is_err() {
        serving.panicked();
        tracing::error!(
            event = "connection_panicked",
            listener = name,
            "a connection's task panicked; only this connection is lost"
        );
    }
}

/// Tells the connections that no request may follow the one at hand.
///
/// A connection's task looks at the flag whenever it runs, and at the token, whose lock all connections share, only once
/// to be woken by it and once more when the flag is set.
#[derive(Debug, Default)]
pub struct Closing {
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

    /// Completes once it has begun.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// Speaks HTTP/1 on a socket until its peer, its service or this ends it; `told` is called when this does.
    pub async fn drive<S, B>(
        &self,
        builder: &http1::Builder,
        socket: S,
        told_to_end: impl Fn() + Send,
        service: impl HttpService<Incoming, ResBody = B, Error = Infallible, Future: Send> + Send,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service).with_upgrades());
        let mut told = pin!(self.token.cancelled());
        let (mut registered, mut graceful) = (false, false);
        let ended = poll_fn(|cx| {
            if !graceful && (!registered || self.has_begun()) {
                registered = true;
                if told.as_mut().poll(cx).is_ready() {
                    graceful = true;
                    told_to_end();
                    connection.as_mut().graceful_shutdown();
                }
            }
            connection.as_mut().poll(cx)
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::{
        io::{ErrorKind, Read as _, Write as _},
        net,
        sync::atomic::AtomicUsize,
        time::Duration,
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// Says each byte again.
    struct Echo;

    impl Serve<TcpStream> for Echo {
        async fn connection(&self, mut socket: TcpStream, _: Origin, _: Arc<Seated>, _: &Closing) {
            let mut byte = [0];
            if socket.read_exact(&mut byte).await.is_ok() {
                socket.write_all(&byte).await.unwrap();
            }
        }

        fn panicked(&self) {}
    }

    /// Connects as fast as it can until nobody listens. Gives whether everybody who was connected was answered.
    fn knock(addr: net::SocketAddr, answered: &AtomicUsize) -> std::io::Result<()> {
        loop {
            let mut socket = match net::TcpStream::connect_timeout(&addr, Duration::from_secs(10)) {
                Ok(socket) => socket,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(()),
                Err(error) => return Err(error),
            };
            let mut byte = [0];
            socket.write_all(b"1")?;
            socket.read_exact(&mut byte)?;
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Listens, and closes while others connect. Gives what became of those.
    async fn close_under_load() -> Vec<std::io::Result<()>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, answered) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let connections = Connections::new(Bounds::of(1_000));
        let serving = tokio::spawn(serve(Listener::own(listener), "test", connections, Arc::new(Echo), stop.clone()));
        let knocking = (0..4).map(|_| {
            let answered = Arc::clone(&answered);
            tokio::task::spawn_blocking(move || knock(addr, &answered))
        });
        let knocking: Vec<_> = knocking.collect();
        while answered.load(Ordering::Relaxed) < 20 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        serving.await.unwrap();
        futures_util::future::join_all(knocking).await.into_iter().map(|knocked| knocked.unwrap()).collect()
    }

    /// I22: whoever was told that somebody is there is answered, however late before the end he came.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_listener_that_closes_resets_nobody() {
        for _ in 0..6 {
            let closed = futures_util::future::join_all((0..30).map(|_| close_under_load())).await;
            for knocked in closed.into_iter().flatten() {
                assert!(knocked.is_ok(), "{knocked:?}");
            }
        }
    }
}
