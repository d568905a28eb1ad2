//! Stands between a store and its Redis, and breaks a connection where an answer comes, which is lost.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU32, Ordering},
    },
};

use relay_store::redis::Address;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
};

/// The way to a Redis, on which answers can be lost.
pub(crate) struct Proxy {
    dir: TempDir,
    /// Answers until the one that is lost; below 0: none is.
    until: Arc<AtomicI32>,
    lost: Arc<AtomicU32>,
}

impl Proxy {
    /// To this Redis.
    pub(crate) fn to(redis: PathBuf) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let listener = UnixListener::bind(socket(dir.path())).expect("it listens");
        let (until, lost) = (Arc::new(AtomicI32::new(-1)), Arc::new(AtomicU32::new(0)));
        let (left, count) = (Arc::clone(&until), Arc::clone(&lost));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (redis, left, count) = (redis.clone(), Arc::clone(&left), Arc::clone(&count));
                tokio::spawn(async move { pass(client, &redis, left, count).await });
            }
        });
        Self { dir, until, lost }
    }

    pub(crate) fn address(&self) -> Address {
        Address::Unix(socket(self.dir.path()))
    }

    /// The answer behind so many is lost, with its connection.
    pub(crate) fn lose_behind(&self, answers: i32) {
        self.until.store(answers, Ordering::SeqCst);
    }

    /// How many were.
    pub(crate) fn lost(&self) -> u32 {
        self.lost.load(Ordering::SeqCst)
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("proxy.sock")
}

async fn pass(client: UnixStream, redis: &Path, until: Arc<AtomicI32>, lost: Arc<AtomicU32>) -> io::Result<()> {
    let redis = UnixStream::connect(redis).await?;
    let (from_client, to_client) = client.into_split();
    let (from_redis, to_redis) = redis.into_split();
    tokio::select! {
        done = copy(from_client, to_redis, || false) => done,
        done = copy(from_redis, to_client, || {
            let is_lost = until.fetch_sub(1, Ordering::SeqCst) == 0;
            lost.fetch_add(is_lost.into(), Ordering::SeqCst);
            is_lost
        }) => done,
    }
}

/// Until the end, or until `ends` says so of bytes that have come: what Redis answers is done.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, ends: impl Fn() -> bool) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 || ends() {
            return Ok(());
        }
        to.write_all(&bytes[..read]).await?;
    }
}
