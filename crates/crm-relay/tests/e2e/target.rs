//! The local endpoint behind the firewall: a real HTTP server that keeps a journal and answers as a test wants.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::bound;

/// One request that arrived whole.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) method: String,
    pub(crate) path_and_query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The status it was answered with.
    pub(crate) status: u16,
}

impl Arrival {
    /// A header's first value as text; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `Relay-Event-Id`.
    pub(crate) fn event(&self) -> &str {
        self.header("relay-event-id")
    }

    /// SHA-256 of its body.
    pub(crate) fn sha256(&self) -> Vec<u8> {
        digest(&SHA256, &self.body).as_ref().to_vec()
    }
}

/// How a target answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    pub(crate) delay: Duration,
    /// Never answers.
    pub(crate) hang: bool,
}

impl Reply {
    /// Answers at once with this status.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Takes the request and never answers.
    pub(crate) fn hang() -> Self {
        Self { hang: true, ..Self::default() }
    }
}

type Rule = Arc<dyn Fn(&Arrival) -> Reply + Send + Sync>;

/// A running target. Stops when dropped.
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    journal: Arc<Mutex<Vec<Arrival>>>,
    rule: Arc<Mutex<Rule>>,
    task: tokio::task::JoinHandle<()>,
}

impl Target {
    /// Starts one that answers by `rule`.
    pub(crate) async fn start(rule: impl Fn(&Arrival) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), rule).await
    }

    /// The same at a given address.
    pub(crate) async fn start_at(addr: SocketAddr, rule: impl Fn(&Arrival) -> Reply + Send + Sync + 'static) -> Self {
        bound::begin();
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let journal = Arc::new(Mutex::new(Vec::new()));
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Arc::new(rule)));
        let task = tokio::spawn(serve(listener, Arc::clone(&journal), Arc::clone(&rule)));
        Self { addr, journal, rule, task }
    }

    /// Its URL with this path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Answers by another rule from now on.
    pub(crate) fn answer(&self, rule: impl Fn(&Arrival) -> Reply + Send + Sync + 'static) {
        *lock(&self.rule) = Arc::new(rule);
    }

    /// Refuses connections, and cuts those it has, until [`Self::up`].
    pub(crate) async fn down(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Is there again, at the same address and with the same journal.
    pub(crate) async fn up(&mut self) {
        let listener = TcpListener::bind(self.addr).await.unwrap();
        self.task = tokio::spawn(serve(listener, Arc::clone(&self.journal), Arc::clone(&self.rule)));
    }

    /// All that arrived so far, in order.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.journal).clone()
    }

    /// How many arrived so far.
    pub(crate) fn count(&self) -> usize {
        lock(&self.journal).len()
    }

    /// How often each event was answered with 2xx.
    pub(crate) fn delivered(&self) -> HashMap<String, u32> {
        let mut times = HashMap::new();
        for arrival in lock(&self.journal).iter().filter(|arrival| (200..300).contains(&arrival.status)) {
            *times.entry(arrival.event().to_owned()).or_insert(0) += 1;
        }
        times
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, journal: Arc<Mutex<Vec<Arrival>>>, rule: Arc<Mutex<Rule>>) {
    let mut sockets = tokio::task::JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (journal, rule) = (Arc::clone(&journal), Arc::clone(&rule));
        sockets.spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&journal), Arc::clone(&rule)));
            // A relay that is killed leaves a broken socket behind: nothing to do about it here.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
        while sockets.try_join_next().is_some() {}
    }
}

async fn answer(
    request: Request<Incoming>,
    journal: Arc<Mutex<Vec<Arrival>>>,
    rule: Arc<Mutex<Rule>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let mut arrival = Arrival {
        method: head.method.to_string(),
        path_and_query: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers,
        body: body.collect().await?.to_bytes(),
        status: 0,
    };
    let rule = Arc::clone(&*lock(&rule));
    let reply = rule(&arrival);
    arrival.status = if reply.hang { 0 } else { reply.status };
    lock(&journal).push(arrival);
    if reply.hang {
        std::future::pending::<Infallible>().await;
    }
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(reply.body)).unwrap())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
