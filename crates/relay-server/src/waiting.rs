//! Listening before there is a store: the process says that it lives, and takes nothing.

use std::{
    io,
    net::{self, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use relay_core::time::Wall;
use relay_net::{serve::Listener, tls::IdentityError};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, acme,
    budget::{self, Budget},
    certificate::{Certificate, Kept},
    clients::Trusted,
    clock::Clock,
    error::{Code, Problem},
    front::text,
    ingress::{self, Body, Books, Elsewhere, Origin},
    start_error::StartError,
};

/// So long nobody is answered: a store that is there is there by then, and whoever has come meanwhile is served by who has it.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// What a server listens at, bound and not yet served.
pub struct Bound {
    /// `None`: neither senders nor clients reach it.
    pub(crate) public: Option<Listener>,
    pub(crate) admin: Option<Listener>,
    /// Where everybody is sent elsewhere.
    pub(crate) redirect: Option<Listener>,
    /// For clients alone, and whom it takes.
    pub(crate) clients: Option<(Listener, Trusted)>,
    /// What the public listener shows of itself.
    pub(crate) shown: Option<(Certificate, Kept)>,
}

/// Sockets that listen already, each in the place of one that would be bound: whoever connects while no server runs waits in
/// their queues, and so does who has come when this one ends.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For senders and clients, instead of [`Config::listen`].
    pub public: Option<net::TcpListener>,
    /// For operators, instead of [`Config::admin_listen`].
    pub admin: Option<net::TcpListener>,
}

impl Bound {
    /// Binds what a server of this configuration listens at, but for what it has inherited.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is bound then.
    pub async fn to(config: &Config, inherited: Inherited) -> Result<Self, StartError> {
        let mut pairs = config.tls.clone();
        if let Some(acme) = &config.acme {
            let prepared = acme::prepare(&config.data_dir, &acme.domains);
            pairs.insert(0, prepared.map_err(|source| StartError::Write { path: config.data_dir.clone(), source })?);
        }
        let shown = if pairs.is_empty() { None } else { Some(Certificate::open(pairs, config.acme.is_some())?) };
        let public = match inherited.public {
            Some(listener) => taken(listener)?,
            None => bind(config.listen).await?,
        };
        let admin = match (inherited.admin, config.admin_listen) {
            (Some(listener), _) => Some(taken(listener)?),
            (None, Some(addr)) => Some(bind(addr).await?),
            (None, None) => None,
        };
        let redirect = match config.redirect_listen {
            Some(addr) => Some(bind(addr).await?),
            None => None,
        };
        let clients = match (&config.clients, &shown) {
            (Some(clients), Some((certificate, _))) => {
                let trusted = Trusted::open(&clients.ca_file, &certificate.server())?;
                Some((bind(clients.addr).await?, trusted))
            }
            (Some(_), None) => return Err(IdentityError::nothing().into()),
            (None, _) => None,
        };
        Ok(Self { public: Some(public), admin, redirect, clients, shown })
    }

    /// For a server that nobody reaches: it serves a client of its own process, beside others that listen.
    pub const fn nowhere() -> Self {
        Self { public: None, admin: None, redirect: None, clients: None, shown: None }
    }
}

async fn bind(addr: SocketAddr) -> Result<Listener, StartError> {
    let bound = TcpListener::bind(addr).await;
    bound.map(Listener::own).map_err(|source| StartError::Bind { addr: addr.to_string(), source })
}

/// One that listens already, and goes on when this process does not.
fn taken(listener: net::TcpListener) -> Result<Listener, StartError> {
    let addr = listener.local_addr().map_or_else(|_| "an inherited socket".to_owned(), |addr| addr.to_string());
    let nonblocking = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
    nonblocking.map(Listener::shared).map_err(|source| StartError::Bind { addr, source })
}

/// A public listener that waits for its store: after a second in which whoever comes waits with it, `/livez` is 200, all else 503 with
/// `Retry-After`. Dropped, it ends at once.
pub struct Waiting {
    bound: Bound,
    serving: Serving,
}

/// Ends with whoever has it.
struct Serving {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Waiting {
    /// Begins to answer.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn begin(config: &Config, inherited: Inherited) -> Result<Self, StartError> {
        let bound = Bound::to(config, inherited).await?;
        let failed = |source| StartError::Bind { addr: config.listen.to_string(), source };
        let public = bound.public.as_ref().ok_or_else(|| failed(io::ErrorKind::NotConnected.into()))?;
        let twin = public.twin().map_err(failed)?;
        let budget = Budget::new(budget::intake_bytes(config.inflight_bytes_max));
        let tls = bound.shown.as_ref().map(|(certificate, _)| certificate.server());
        let settings = ingress::Settings::new(config, budget, tls);
        let stop = CancellationToken::new();
        let clock = Clock::start(Wall::MIN);
        let books = Books { clock, metrics: Arc::default(), refusals: Arc::default() };
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            // Cancel safety: neither has anything to lose.
            tokio::select! {
                () = sleep(SILENT_FOR) => ingress::serve(twin, (settings, books), None, Nobody, stopped).await,
                () = stopped.cancelled() => {}
            }
        });
        Ok(Self { bound, serving: Serving { stop, task } })
    }

    /// Ends it with the requests at hand; who comes from now on waits for whoever serves what is bound.
    pub async fn end(mut self) -> Bound {
        self.serving.stop.cancel();
        // However it ended: it has.
        let _ended = (&mut self.serving.task).await;
        self.bound
    }
}

/// What answers on the public listener before there is a store.
struct Nobody;

impl Elsewhere for Nobody {
    async fn answer(&self, request: Request<Incoming>, _origin: Origin) -> Response<Body> {
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            _ => Problem::new(Code::StoreUnavailable, "the relay's store is not there yet").respond(),
        }
    }
}

#[cfg(test)]
mod tests {
    use relay_store::memory::MemoryStore;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;
    use crate::{Outside, Server};

    async fn ask(addr: SocketAddr, head: &str) -> String {
        ask_on(TcpStream::connect(addr).await.unwrap(), head).await
    }

    async fn ask_on(mut socket: TcpStream, head: &str) -> String {
        let request = format!("{head} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let mut answer = String::new();
        // Where nobody is there any more there is no answer.
        let _ = socket.write_all(request.as_bytes()).await;
        let _ = socket.read_to_string(&mut answer).await;
        answer
    }

    /// A connection that nobody has accepted: the system has, and this thread does nothing else meanwhile.
    fn connected(addr: SocketAddr) -> TcpStream {
        let socket = net::TcpStream::connect(addr).unwrap();
        socket.set_nonblocking(true).unwrap();
        TcpStream::from_std(socket).unwrap()
    }

    /// I24: before there is a store the process lives and is not ready; senders are told to come again, and clients, at the
    /// address that the server goes on with.
    #[tokio::test]
    async fn a_server_without_a_store_lives_and_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::sample(dir.path().to_owned());
        let waiting = Waiting::begin(&config, Inherited::default()).await.unwrap();
        let addr = waiting.bound.public.as_ref().unwrap().local_addr().unwrap();
        assert!(ask(addr, "GET /livez").await.starts_with("HTTP/1.1 200"));
        assert!(ask(addr, "GET /readyz").await.starts_with("HTTP/1.1 503"));
        for head in ["POST /webhook", "POST /webhook/nobody", "GET /connect", "GET /health"] {
            let answer = ask(addr, head).await.to_ascii_lowercase();
            let is_told = answer.contains("retry-after:") && answer.contains("store_unavailable");
            assert!(answer.starts_with("http/1.1 503") && is_told, "{head}: {answer}");
        }
        // Connected before it ends, and not accepted: nothing else has run since.
        let silent = connected(addr);
        let bound = waiting.end().await;
        // It waits in the socket's queue.
        let early = tokio::spawn(async move { ask(addr, "GET /readyz").await });
        let server = Server::start_on(bound, config, Arc::new(MemoryStore::new()), Outside::default()).await.unwrap();
        assert_eq!(server.public_addr(), Some(addr));
        assert!(early.await.unwrap().starts_with("HTTP/1.1 200"));
        assert!(ask_on(silent, "GET /readyz").await.starts_with("HTTP/1.1 200"));
        server.run(std::future::ready(())).await;
    }

    /// I22: who waits in the queue of a socket that was handed over is left to the next server, however long he says nothing; in that
    /// of one's own nobody is left.
    #[tokio::test]
    async fn whoever_waits_in_a_socket_that_was_handed_over_is_served_by_the_next_server() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let handed = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = handed.local_addr().unwrap();
        let start = async |dir: &tempfile::TempDir| {
            let inherited = Inherited { public: Some(handed.try_clone().unwrap()), admin: None };
            let outside = Outside { inherited, ..Outside::default() };
            Server::start(Config::sample(dir.path().to_owned()), Arc::new(MemoryStore::new()), outside).await.unwrap()
        };
        let server = start(&first).await;
        // Nothing of it runs before it is told to stop.
        let waiting = [(); 3].map(|()| connected(addr));
        server.run(std::future::ready(())).await;
        let server = start(&second).await;
        for socket in waiting {
            assert!(ask_on(socket, "GET /readyz").await.starts_with("HTTP/1.1 200"));
        }
        server.run(std::future::ready(())).await;

        let server =
            Server::start(Config::sample(first.path().to_owned()), Arc::new(MemoryStore::new()), Outside::default());
        let server = server.await.unwrap();
        let waits = connected(server.public_addr().unwrap());
        server.run(std::future::ready(())).await;
        assert_eq!(ask_on(waits, "GET /readyz").await, "", "nobody comes after it");
    }
}
