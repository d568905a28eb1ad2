//! A target that takes everything, and knows when it came.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet, time::Instant};

use crate::exit::{Failure, reason};

/// Between two looks of whoever waits for a webhook.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Sink {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Arrivals>,
    _serving: JoinSet<()>,
}

/// What came.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    count: AtomicU64,
    /// By the number in each one's query when it came: one that came twice, when it came first.
    first: Mutex<BTreeMap<u64, Instant>>,
}

impl Arrivals {
    /// How many came, each once.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn note(&self, number: u64) {
        let at = Instant::now();
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.entry(number).or_insert(at);
        self.count.store(first.len() as u64, Ordering::Relaxed);
    }
}

impl Sink {
    /// Starts one at any free port of the loopback address.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn start() -> Result<Self, Failure> {
        let refuse = |error| Failure::unreachable(format!("cannot listen on 127.0.0.1: {}", reason(&error)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        let seen = Arc::<Arrivals>::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&seen)));
        Ok(Self { address, seen, _serving: serving })
    }

    /// What came so far, and what will.
    pub(crate) fn seen(&self) -> Arc<Arrivals> {
        Arc::clone(&self.seen)
    }

    /// Waits until so many came, and no longer than this; whether they did.
    pub(crate) async fn wait_for(&self, count: u64, at_most: Duration) -> bool {
        let start = Instant::now();
        while self.seen.count() < count && start.elapsed() < at_most {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.seen.count() >= count
    }

    /// Number and time of all that came.
    pub(crate) fn arrivals(&self) -> BTreeMap<u64, Instant> {
        self.seen.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(listener: TcpListener, seen: Arc<Arrivals>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of descriptors: soon there are some.
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        let _slower = socket.set_nodelay(true);
        let seen = Arc::clone(&seen);
        connections.spawn(async move {
            let service = service_fn(move |request| take(request, Arc::clone(&seen)));
            // A client that goes away is no fault.
            let _gone = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn take(request: Request<Incoming>, seen: Arc<Arrivals>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let number = request.uri().query().and_then(|query| query.parse().ok());
    if request.into_body().collect().await.is_ok() {
        seen.note(number.unwrap_or(0));
    }
    Ok(Response::new(Empty::new()))
}
