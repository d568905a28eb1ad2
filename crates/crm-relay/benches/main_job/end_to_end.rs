//! Accepted, sent to a client process, forwarded to a target, durably done.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::{
    Settings, load,
    process::{self, client},
    report::Report,
};

/// Accepted but not forwarded events, above which the load waits: the backlog stays short, so that what is accepted is
/// what is forwarded.
const BACKLOG_MAX: u64 = 4096;

/// Slots of the client.
const CONCURRENCY: u32 = 128;

/// A target in this process that counts, and measures how old its requests are.
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) count: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Target {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let addr = listener.local_addr().expect("bound");
        let count = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&count);
        let task = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let _ = socket.set_nodelay(true);
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    let service = service_fn(|request| take(request, Arc::clone(&counter)));
                    // A client that closes its socket is no fault.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Self { addr, count, task }
    }

    /// How many arrived.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Arrivals a second, over `span` behind the warm-up.
    async fn rate(&self, span: Duration) -> f64 {
        tokio::time::sleep(load::WARM_UP).await;
        let (before, start) = (self.count(), Instant::now());
        tokio::time::sleep(span).await;
        (self.count() - before) as f64 / start.elapsed().as_secs_f64()
    }

    /// Waits until `count` have arrived.
    pub(crate) async fn wait_for(&self, count: u64, patience: Duration) {
        let start = Instant::now();
        while self.count() < count {
            assert!(start.elapsed() < patience, "{} of {count} arrived within {patience:?}", self.count());
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(request: Request<Incoming>, counter: Arc<AtomicU64>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    counter.fetch_add(1, Ordering::Relaxed);
    Ok(Response::new(Full::default()))
}

/// Row `end_to_end`.
pub(crate) async fn throughput(settings: &Settings, report: &mut Report) {
    let (mut rates, mut ratios) = (vec![], vec![]);
    for _ in 0..settings.rounds {
        let span = Duration::from_secs(settings.seconds);
        let bare = {
            let (_process, addr) = process::ceiling();
            load::run(addr, 256, span, None).await
        };
        let rate = forwarded(&[], span).await;
        rates.push(rate);
        ratios.push(rate / bare.rate);
    }
    report.add("end_to_end", &rates, "events/s", Some(&ratios));
}

/// What a server with these settings takes in and its client forwards, a second.
pub(crate) async fn forwarded(settings: &[(&str, &str)], span: Duration) -> f64 {
    let dir = tempfile::tempdir().expect("a directory");
    let target = Target::start().await;
    let (server, addr) = process::server_set(dir.path(), settings);
    let client = client(addr, target.addr, CONCURRENCY);
    load::send(addr, 1, 1).await;
    target.wait_for(1, Duration::from_secs(10)).await;
    let accepted = Arc::new(AtomicU64::new(1));
    let (forwarded, seen) = (Arc::clone(&target.count), Arc::clone(&accepted));
    let pause = move || {
        // Asked before each request: counts it as accepted unless the load has to wait.
        let full = seen.load(Ordering::Relaxed).saturating_sub(forwarded.load(Ordering::Relaxed)) >= BACKLOG_MAX;
        if !full {
            seen.fetch_add(1, Ordering::Relaxed);
        }
        full
    };
    let forwarding = target.rate(span);
    let (_, rate) = tokio::join!(load::run(addr, 256, span, Some(Arc::new(pause))), forwarding);
    client.stop();
    server.stop();
    rate
}

/// Rows `latency_p50` and `latency_p99`: from sending a webhook to its arrival at the target, at 1,000 a second, less
/// what the same request takes straight to the target.
pub(crate) async fn latency(report: &mut Report) {
    let dir = tempfile::tempdir().expect("a directory");
    let target = Stamps::start().await;
    let (server, addr, _) = process::server(dir.path());
    let client = client(addr, target.addr, CONCURRENCY);
    load::send(addr, 1, 1).await;
    target.next().await;
    let (mut p50, mut p99) = (vec![], vec![]);
    for _ in 0..5 {
        let straight = target.paced(target.addr).await;
        let relayed = target.paced(addr).await;
        let added = |quantile| {
            let (ours, bare) = (relayed.value_at_quantile(quantile), straight.value_at_quantile(quantile));
            ours.saturating_sub(bare) as f64 / 1e3
        };
        p50.push(added(0.5));
        p99.push(added(0.99));
    }
    client.stop();
    server.stop();
    report.add("latency_p50", &p50, "ms", None);
    report.add("latency_p99", &p99, "ms", None);
}

/// A target that says when each request arrived. Requests carry their number in the query.
pub(crate) struct Stamps {
    pub(crate) addr: SocketAddr,
    arrivals: tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<(u64, Instant)>>,
}

impl Stamps {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let addr = listener.local_addr().expect("bound");
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let _ = socket.set_nodelay(true);
                let sender = sender.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let sender = sender.clone();
                        async move {
                            let number = request.uri().query().and_then(|query| query.parse().ok()).unwrap_or(0);
                            let _ = sender.send((number, Instant::now()));
                            let _ = request.into_body().collect().await;
                            Ok::<_, Infallible>(
                                Response::builder().status(202).body(Full::<Bytes>::default()).expect("plain"),
                            )
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Self { addr, arrivals: tokio::sync::Mutex::new(receiver) }
    }

    /// The next arrival: its number, and when it came.
    pub(crate) async fn next(&self) -> (u64, Instant) {
        self.arrivals.lock().await.recv().await.expect("the target runs")
    }

    /// 3,000 requests at 1,000 a second to `addr`; microseconds from sending to arrival here.
    pub(crate) async fn paced(&self, addr: SocketAddr) -> hdrhistogram::Histogram<u64> {
        const COUNT: u64 = 3_000;
        let sent = Arc::new(std::sync::Mutex::new(vec![None; COUNT as usize + 1]));
        let next = Arc::new(AtomicU64::new(1));
        let start = Instant::now();
        let senders: Vec<_> = (0..16)
            .map(|_| {
                let (sent, next) = (Arc::clone(&sent), Arc::clone(&next));
                tokio::spawn(async move {
                    let mut socket = load::Socket::open(addr).await;
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number > COUNT {
                            return;
                        }
                        let due = start + Duration::from_micros(number * 1_000);
                        tokio::time::sleep_until(due.into()).await;
                        sent.lock().expect("not poisoned")[number as usize] = Some(Instant::now());
                        socket.exchange_numbered(number).await;
                    }
                })
            })
            .collect();
        let mut latency = load::histogram();
        for _ in 0..COUNT {
            let (number, arrived) =
                tokio::time::timeout(Duration::from_secs(20), self.next()).await.expect("it arrives");
            let sent = sent.lock().expect("not poisoned")[number as usize].expect("sent before it arrived");
            latency.saturating_record((arrived - sent).as_micros() as u64);
        }
        for sender in senders {
            sender.await.expect("a sender ends in order");
        }
        latency
    }
}
