//! The way of one server to its Redis, which can be cut: what is on it then waits, as in a network that is parted, and goes on
//! once it is whole again.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A way to a Redis. Gone when dropped.
pub(crate) struct Way {
    port: u16,
    open: watch::Sender<bool>,
    /// Nobody on it hears hints.
    is_deaf: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Way {
    /// To the Redis at this port of this machine.
    pub(crate) async fn to(redis: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, is_open) = watch::channel(true);
        let is_deaf = Arc::new(AtomicBool::new(false));
        let deaf = Arc::clone(&is_deaf);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (open, deaf) = (is_open.clone(), Arc::clone(&deaf));
                // An end that is not a good one is the peers' to tell.
                connections.spawn(async move { drop(pass(socket, redis, open, deaf).await) });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port, open, is_deaf, task }
    }

    /// Where a server finds its Redis.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Nothing passes any more.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Everything passes again, what has waited first.
    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }

    /// From the next connection on nobody hears hints.
    pub(crate) fn deafen(&self) {
        self.is_deaf.store(true, Ordering::SeqCst);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(server: TcpStream, redis: u16, open: watch::Receiver<bool>, deaf: Arc<AtomicBool>) -> io::Result<()> {
    let redis = TcpStream::connect(("127.0.0.1", redis)).await?;
    let (from_server, to_server) = server.into_split();
    let (from_redis, to_redis) = redis.into_split();
    let listens = move |bytes: &[u8]| deaf.load(Ordering::SeqCst) && bytes.windows(9).any(|word| word == b"SUBSCRIBE");
    tokio::select! {
        done = copy(from_server, to_redis, open.clone(), listens) => done,
        done = copy(from_redis, to_server, open, |_| false) => done,
    }
}

/// Until the end, or until bytes come that `ends` does not let pass.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut open: watch::Receiver<bool>,
    ends: impl Fn(&[u8]) -> bool,
) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await?;
        if open.wait_for(|is_open| *is_open).await.is_err() || read == 0 || ends(&bytes[..read]) {
            return Ok(());
        }
        to.write_all(&bytes[..read]).await?;
    }
}
