//! Targets that take some webhooks and fail others: what such a backlog drains at, and what stands behind it.
//!
//! The rows of outages (`outage.rs`) have the same target.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
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

/// How long a handler takes.
pub(crate) const TAKES: Duration = Duration::from_millis(20);
/// Slots of the client.
pub(crate) const CONCURRENCY: u32 = 8;
/// Retries of the standard policy: 1, 2 and 4 seconds, a tenth more at most.
const RETRIES: Duration = Duration::from_millis(7_700);
/// No try for so long, and a drain is over.
const STILL: Duration = Duration::from_secs(6);
/// Webhooks that wait with 403 before the healthy ones.
const SICK: u64 = 5_000;
/// Healthy ones, two seconds apart.
const HEALTHY: u64 = 30;
/// The first number of the healthy ones.
const FIRST_HEALTHY: u64 = 1_000_000;

/// What a target answers to the webhook of this number and event.
type Answer = dyn Fn(u64, u64) -> u16 + Send + Sync;

/// A target that counts what it answered to which event.
pub(crate) struct Choosy {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
pub(crate) struct Seen {
    tries: u64,
    /// Of each event: first try, last try, how many, delivered.
    events: BTreeMap<u64, (Instant, Instant, u32, bool)>,
    last: Option<Instant>,
    last_success: Option<(Instant, u64)>,
    /// When each numbered webhook came first.
    pub(crate) arrived: BTreeMap<u64, Instant>,
    under_way: u32,
    /// When each try began that began while others were under way.
    pub(crate) crowded: Vec<Instant>,
    /// When each try began.
    pub(crate) begun: Vec<Instant>,
}

impl Seen {
    fn begins(&mut self, number: u64, at: Instant) {
        self.arrived.entry(number).or_insert(at);
        self.begun.push(at);
        if self.under_way > 0 {
            self.crowded.push(at);
        }
        self.under_way += 1;
    }

    /// Events that were delivered.
    pub(crate) fn delivered(&self) -> usize {
        self.events.values().filter(|event| event.3).count()
    }
}

impl Choosy {
    pub(crate) async fn start(answer: impl Fn(u64, u64) -> u16 + Send + Sync + 'static) -> Self {
        let answer: Arc<Answer> = Arc::new(answer);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let addr = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let _ = socket.set_nodelay(true);
                let (seen, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                tokio::spawn(async move {
                    let service = service_fn(move |request| take(request, Arc::clone(&seen), Arc::clone(&answer)));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Self { addr, seen }
    }

    pub(crate) fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        at(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until nothing comes any more.
    async fn wait(&self, patience: Duration) {
        let start = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let still = self.look(|seen| seen.last.is_some_and(|last| last.elapsed() > STILL));
            if still || start.elapsed() > patience {
                return;
            }
        }
    }
}

async fn take(
    request: Request<Incoming>,
    seen: Arc<Mutex<Seen>>,
    answer: Arc<Answer>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let number = request.uri().query().and_then(|query| query.parse().ok()).unwrap_or(0);
    let id = request.headers().get("relay-event-id").map(|id| id.as_bytes().to_vec()).unwrap_or_default();
    let event = id
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let _ = request.into_body().collect().await;
    let begun = Instant::now();
    seen.lock().unwrap_or_else(PoisonError::into_inner).begins(number, begun);
    tokio::time::sleep(TAKES).await;
    let status = answer(number, event);
    let now = Instant::now();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.tries += 1;
    seen.under_way -= 1;
    seen.last = Some(now);
    let entry = seen.events.entry(event).or_insert((begun, begun, 0, false));
    (entry.1, entry.2, entry.3) = (begun, entry.2 + 1, entry.3 || status == 200);
    if status == 200 {
        seen.last_success = Some((now, seen.tries));
    }
    Ok(Response::builder().status(status).body(Full::default()).expect("plain"))
}

/// Sends a backlog, then lets a client drain it; gives the target, and answers a second until the last success.
async fn drain(count: u64, answer: fn(u64, u64) -> u16) -> (Choosy, f64) {
    let dir = tempfile::tempdir().expect("a directory");
    let target = Choosy::start(answer).await;
    let (server, addr, _) = process::server(dir.path());
    load::send(addr, 64, count).await;
    let start = Instant::now();
    let client = client(addr, target.addr, CONCURRENCY);
    target.wait(Duration::from_secs(900)).await;
    let (end, tries) = target.look(|seen| seen.last_success).expect("something succeeds");
    client.stop();
    server.stop();
    (target, tries as f64 / (end - start).as_secs_f64())
}

/// 41 % of the tries succeed, whichever event it is.
fn by_chance(_: u64, _: u64) -> u16 {
    static THROWN: AtomicU64 = AtomicU64::new(1);
    let thrown = THROWN.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (thrown ^ (thrown >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33;
    if mixed % 100 < 41 { 200 } else { [500, 403, 422][(mixed % 3) as usize] }
}

/// Row `partial_drain`: a target that answers 41 % of the tries with 200, the rest with 500, 403 and 422. The value is
/// deliveries a second; the ratio is that of answers a second to those of a target that takes everything, until the last success:
/// what the successes allow.
pub(crate) async fn partial(settings: &Settings, report: &mut Report) {
    let (_, whole) = drain(settings.choosy, |_, _| 200).await;
    let (target, rate) = drain(settings.choosy, by_chance).await;
    let (losers, most, delivered) = target.look(|seen| {
        let lost = seen.events.values().filter(|event| !event.3);
        let most = lost.clone().map(|event| event.2).max().unwrap_or(0);
        (lost.count(), most, seen.delivered())
    });
    println!("partial_drain: {delivered} delivered, {losers} lost after {most} tries at most");
    report.add("partial_drain", &[rate * 0.41], "events/s", Some(&[rate / whole]));
}

/// Rows `refused_drain`: 30 % of the events are answered 422 for good; deliveries a second, the ratio as above. And
/// `refused_dead`: seconds from the first to the last try of the slowest of them, beside those that its retries take.
pub(crate) async fn refused(settings: &Settings, report: &mut Report) {
    let (_, whole) = drain(settings.choosy, |_, _| 200).await;
    let (target, rate) = drain(settings.choosy, |_, event| if event % 100 < 30 { 422 } else { 200 }).await;
    let share = target.look(|seen| seen.delivered() as f64 / seen.last_success.map_or(1, |(_, tries)| tries) as f64);
    let slowest = target.look(|seen| {
        seen.events.values().filter(|event| !event.3).map(|event| event.1 - event.0).max().unwrap_or_default()
    });
    report.add("refused_drain", &[rate * share], "events/s", Some(&[rate / whole]));
    report.add("refused_dead", &[slowest.saturating_sub(RETRIES).as_secs_f64()], "s", None);
}

/// Row `fresh_behind_sick`: 5,000 webhooks wait that are answered 403; how late the slowest healthy one arrives, one every two
/// seconds.
pub(crate) async fn fresh(settings: &Settings, report: &mut Report) {
    let dir = tempfile::tempdir().expect("a directory");
    let target = Choosy::start(|number, _| if number >= FIRST_HEALTHY { 200 } else { 403 }).await;
    let (server, addr, _) = process::server(dir.path());
    load::send(addr, 64, SICK.min(settings.choosy)).await;
    let client = client(addr, target.addr, CONCURRENCY);
    tokio::time::sleep(Duration::from_secs(15)).await;
    let mut socket = load::Socket::open(addr).await;
    let mut sent = Vec::new();
    for number in FIRST_HEALTHY..FIRST_HEALTHY + HEALTHY {
        sent.push((number, Instant::now()));
        socket.exchange_numbered(number).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let late = target.look(|seen| {
        let late = |(number, at): &(u64, Instant)| Some(seen.arrived.get(number)?.duration_since(*at));
        sent.iter().map(|sent| late(sent).map_or(f64::INFINITY, |late| late.as_secs_f64() * 1e3)).fold(0.0, f64::max)
    });
    report.add("fresh_behind_sick", &[late], "ms", None);
    drop((client, server));
}
