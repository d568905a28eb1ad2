//! The public listener over real sockets, with the hub behind it.

mod agreement;
mod answers;
mod behind;
mod contention;
mod crowds;
mod decoded;
mod fixture;
mod fixtures;
mod heads;
mod logs;
mod proxied;
mod secured;
mod sockets;
mod webhooks;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use relay_net::{
    origin::Origin,
    serve::{Bounds, Listening},
    sites::Hosts,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{Patience, Prefix, Settings, listener::serve};
use crate::budget::Budget;
use behind::{Aside, Behind};

/// Nothing here takes this long; a test that would hang fails instead.
const STUCK: Duration = Duration::from_secs(60);
/// The key of the source `default`.
const KEY: &str = "key-of-the-test-suite";
/// `MAX_BODY_BYTES` of the tests.
const BODY_BYTES_MAX: u64 = 100_000;

/// A listener, and what is behind it.
struct Relay {
    backend: Arc<Behind>,
    budget: Arc<Budget>,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Relay {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::behind(change, |listener| listener, true).await
    }

    /// One whose hub stands still: what it is given waits.
    async fn still(change: impl FnOnce(&mut Settings)) -> Self {
        Self::behind(change, |listener| listener, false).await
    }

    /// One whose peers come from addresses of the documentation's network, each from the next.
    async fn among_strangers(change: impl FnOnce(&mut Settings)) -> Self {
        Self::among(|last| std::net::Ipv4Addr::new(192, 0, 2, last).into(), change).await
    }

    /// One whose peers come from these addresses, one after the other.
    async fn among(whence: fn(u8) -> IpAddr, change: impl FnOnce(&mut Settings)) -> Self {
        Self::behind(change, |listener| Strangers { listener, whence, accepted: AtomicU8::new(0) }, true).await
    }

    async fn behind<L: Listening<Socket = TcpStream> + Sync>(
        change: impl FnOnce(&mut Settings),
        put_before: impl FnOnce(TcpListener) -> L,
        runs: bool,
    ) -> Self {
        let mut settings = Settings {
            body_bytes_max: BODY_BYTES_MAX,
            budget: Budget::new(1_000_000),
            dedupe_window: Duration::from_mins(1),
            cors_origins: Vec::new(),
            public_url: None,
            prefix: Prefix::default(),
            allowed_hosts: Hosts::default(),
            proxies: Arc::default(),
            proxy_protocol: false,
            connections: Bounds::of(100),
            patience: Patience::default(),
            tls: None,
        };
        change(&mut settings);
        let budget = Arc::clone(&settings.budget);
        let backend = Arc::new(Behind::still().await);
        if runs {
            backend.run();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (books, with) = ((settings, backend.books()), Some(backend.backend.clone()));
        let served = tokio::spawn(serve(put_before(listener), books, with, Aside, stop.clone()));
        Self { backend, budget, address, stop, served }
    }

    async fn connect(&self) -> Socket {
        Socket { stream: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
    }

    /// Sends one request on a socket of its own.
    async fn ask(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut socket = self.connect().await;
        socket.send(request).await;
        socket.reply().await
    }
}

/// Sockets that seem to come from everywhere.
struct Strangers {
    listener: TcpListener,
    whence: fn(u8) -> IpAddr,
    accepted: AtomicU8,
}

impl Listening for Strangers {
    type Socket = TcpStream;

    async fn accept(&self) -> std::io::Result<(TcpStream, Origin)> {
        let (socket, peer) = self.listener.accept().await?;
        let last = self.accepted.fetch_add(1, Ordering::Relaxed);
        Ok((socket, Origin::of(((self.whence)(last), peer.port()).into())))
    }

    fn close(self) -> Vec<(TcpStream, Origin)> {
        self.listener.close()
    }
}

/// A request with the key and a body.
fn request(line: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("{line} HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
}

/// The sender's end of a connection.
struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Socket {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A server that refuses early may close before it has read everything.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    async fn reply(&mut self) -> Reply {
        let head = self.until_empty_line().await;
        let field = |name: &str| field_of(&head, name).map(str::to_owned);
        let length: usize = field("content-length").map_or(0, |length| length.parse().unwrap());
        let body = self.exactly(length).await;
        Reply { status: head[9..12].parse().unwrap(), head, body }
    }

    /// The head alone, of an answer that has no body although it names a length.
    async fn head(&mut self) -> String {
        self.until_empty_line().await
    }

    async fn exactly(&mut self, length: usize) -> String {
        while self.read.len() < length {
            assert!(self.more().await, "closed within an answer");
        }
        String::from_utf8(self.read.drain(..length).collect()).unwrap()
    }

    async fn until_empty_line(&mut self) -> String {
        loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                return self.exactly(at + 4).await;
            }
            assert!(self.more().await, "closed before an answer: {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    /// Whether the server closed and said nothing more.
    async fn is_closed(&mut self) -> bool {
        !self.more().await && self.read.is_empty()
    }

    async fn more(&mut self) -> bool {
        let mut piece = [0; 4096];
        match timeout(STUCK, self.stream.read(&mut piece)).await.expect("the server does nothing") {
            Ok(read) => {
                self.read.extend_from_slice(&piece[..read]);
                read > 0
            }
            Err(_) => false,
        }
    }
}

impl Reply {
    fn field(&self, name: &str) -> Option<&str> {
        field_of(&self.head, name)
    }

    fn code(&self) -> Option<String> {
        let document: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        Some(document.get("code")?.as_str()?.to_owned())
    }
}

fn field_of<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(named, _)| *named == name).map(|(_, value)| value)
}
