//! A closed-loop load generator: each socket sends its next request when the answer to the last is there.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::process::{self, API_KEY};

/// 1 KiB of JSON, as a platform would send.
pub(crate) fn body() -> String {
    let head = r#"{"object":"page","entry":[{"id":"1","time":1700000000,"text":""#;
    let tail = r#""}]}"#;
    format!("{head}{}{tail}", "a".repeat(1024 - head.len() - tail.len()))
}

/// A whole POST with the headers a platform sends.
pub(crate) fn request(addr: SocketAddr) -> Vec<u8> {
    let body = body();
    format!(
        "POST /webhook HTTP/1.1\r\nhost: {addr}\r\nx-api-key: {API_KEY}\r\ncontent-type: application/json\r\n\
         user-agent: platform-webhooks/1.0\r\nx-delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958\r\nx-event: page\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What one run came to.
pub(crate) struct Measured {
    /// Answers 202 a second.
    pub(crate) rate: f64,
    /// Microseconds from request to answer.
    pub(crate) latency: Histogram<u64>,
}

/// Not measured: sockets connect, caches fill, and a server's first commits are those of an empty store.
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);

/// Sends from `sockets` sockets for [`WARM_UP`] and then for `span`, and measures the latter. While `pause_while` is true
/// nothing is sent.
pub(crate) async fn run(
    addr: SocketAddr,
    sockets: usize,
    span: Duration,
    pause_while: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
) -> Measured {
    run_as(addr, sockets, span, pause_while, false).await
}

/// What a server takes a second without these settings, and then with them, each on a store of its own below `dir`.
pub(crate) async fn without_and_with(more: &[(&str, &str)], dir: &Path, sockets: usize, span: Duration) -> [f64; 2] {
    let mut rate_of = [0.0; 2];
    for (at, more) in [&[][..], more].into_iter().enumerate() {
        let (server, addr) = process::server_set(&dir.join(at.to_string()), more);
        rate_of[at] = run(addr, sockets, span, None).await.rate;
        server.stop();
    }
    rate_of
}

/// The same; with `keyed` each request has an `Idempotency-Key` of its own.
pub(crate) async fn run_as(
    addr: SocketAddr,
    sockets: usize,
    span: Duration,
    pause_while: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    keyed: bool,
) -> Measured {
    let run = Arc::new(Run {
        from: Instant::now() + WARM_UP,
        stop: AtomicBool::new(false),
        answered: AtomicU64::new(0),
        keys: keyed.then(AtomicU64::default),
    });
    let tasks: Vec<_> =
        (0..sockets).map(|_| tokio::spawn(one_socket(addr, Arc::clone(&run), pause_while.clone()))).collect();
    tokio::time::sleep_until(run.from.into()).await;
    let (start, before) = (Instant::now(), run.answered.load(Ordering::Relaxed));
    tokio::time::sleep(span).await;
    let rate = (run.answered.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
    run.stop.store(true, Ordering::Relaxed);
    let mut latency = histogram();
    for task in tasks {
        latency.add(task.await.expect("a socket's task ends in order")).expect("the same bounds");
    }
    Measured { rate, latency }
}

/// Sends `count` requests in all from `sockets` sockets.
pub(crate) async fn send(addr: SocketAddr, sockets: usize, count: u64) {
    send_to(addr, "/webhook", sockets, count).await;
}

/// The same to this path.
pub(crate) async fn send_to(addr: SocketAddr, path: &'static str, sockets: usize, count: u64) {
    let left = Arc::new(AtomicU64::new(count));
    let tasks: Vec<_> = (0..sockets)
        .map(|_| {
            let left = Arc::clone(&left);
            tokio::spawn(async move {
                let mut socket = Socket::open(addr).await;
                socket.address_to(path);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                    socket.exchange().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a socket's task ends in order");
    }
}

/// Microseconds, up to a minute.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("valid bounds")
}

/// What the sockets of a run share.
struct Run {
    /// From when on latencies count.
    from: Instant,
    stop: AtomicBool,
    answered: AtomicU64,
    /// The next key, where each request has one.
    keys: Option<AtomicU64>,
}

async fn one_socket(
    addr: SocketAddr,
    run: Arc<Run>,
    pause_while: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
) -> Histogram<u64> {
    let mut latency = histogram();
    let mut socket = Socket::open(addr).await;
    while !run.stop.load(Ordering::Relaxed) {
        if pause_while.as_ref().is_some_and(|pause| pause()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        if let Some(keys) = &run.keys {
            socket.key_with(keys.fetch_add(1, Ordering::Relaxed));
        }
        let start = Instant::now();
        socket.exchange().await;
        if start >= run.from {
            latency.saturating_record(start.elapsed().as_micros() as u64);
        }
        run.answered.fetch_add(1, Ordering::Relaxed);
    }
    latency
}

/// A kept-alive socket that repeats one request.
pub(crate) struct Socket {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Socket {
    /// Connects.
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, request: request(addr), buffer: vec![0; 4096] }
    }

    /// Requests go to this path from now on.
    pub(crate) fn address_to(&mut self, path: &str) {
        self.request = [format!("POST {path} ").as_bytes(), &self.request["POST /webhook ".len()..]].concat();
    }

    /// The next request has this key: in the place of the platform's own number, which is as long.
    fn key_with(&mut self, key: u64) {
        const NUMBER: &[u8] = b"x-delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958";
        const KEY: &str = "idempotency-key: ";
        let at = |what: &[u8], request: &[u8]| request.windows(what.len()).position(|bytes| bytes == what);
        let from =
            at(NUMBER, &self.request).or_else(|| at(KEY.as_bytes(), &self.request)).expect("one of both is there");
        let line = format!("{KEY}{key:0width$}", width = NUMBER.len() - KEY.len());
        self.request[from..from + NUMBER.len()].copy_from_slice(line.as_bytes());
    }

    /// One exchange with a number in the query.
    pub(crate) async fn exchange_numbered(&mut self, number: u64) {
        let plain = self.request.clone();
        self.address_to(&format!("/webhook?{number}"));
        self.exchange().await;
        self.request = plain;
    }

    /// Sends the request and reads its answer, which must be 202.
    pub(crate) async fn exchange(&mut self) {
        self.stream.write_all(&self.request).await.expect("the server takes it");
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await.expect("an answer");
            assert!(read > 0, "the server closed the socket: {}", String::from_utf8_lossy(&self.buffer[..filled]));
            filled += read;
            if let Some(length) = whole(&self.buffer[..filled]) {
                assert_eq!(length, filled, "one answer per request");
                assert!(
                    self.buffer.starts_with(b"HTTP/1.1 202"),
                    "{}",
                    String::from_utf8_lossy(&self.buffer[..filled])
                );
                return;
            }
        }
    }
}

/// Length of the answer, once it is whole.
pub(crate) fn whole(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    })?;
    (answer.len() >= head + length).then_some(head + length)
}
