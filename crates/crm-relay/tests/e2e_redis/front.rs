//! A small TCP front before several servers: each connection goes to one that takes it, and nothing is sent twice.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// While no server takes a connection, all are asked so often again before it is given up.
const ROUNDS: usize = 20;
/// Between two rounds.
const ROUND: Duration = Duration::from_millis(50);

/// A running front. Stops when dropped.
pub(crate) struct Front {
    pub(crate) addr: SocketAddr,
    greetings: Arc<Mutex<Vec<Greeting>>>,
    first: Arc<Mutex<Option<SocketAddr>>>,
    task: JoinHandle<()>,
}

/// A client that said Hello through the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeting {
    /// To which server.
    pub(crate) server: SocketAddr,
    /// When.
    pub(crate) hello: Instant,
    /// When it had its Welcome, if it had one.
    pub(crate) welcome: Option<Instant>,
}

impl Front {
    /// Before these servers, which may be gone and come back.
    pub(crate) async fn start(servers: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let greetings = Arc::new(Mutex::new(Vec::new()));
        let (servers, said) = (Arc::new(servers), Arc::clone(&greetings));
        let (turn, first) = (Arc::new(AtomicUsize::new(0)), Arc::<Mutex<Option<SocketAddr>>>::default());
        let lead = Arc::clone(&first);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (mut servers, turn, said) = (servers.to_vec(), Arc::clone(&turn), Arc::clone(&said));
                if let Some(only) = *lock(&lead) {
                    servers = vec![only];
                }
                // An end that is not a good one is the peers' to tell.
                connections.spawn(async move { drop(pass(socket, &servers, &turn, &said).await) });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { addr, greetings, first, task }
    }

    /// From now on it leads to this one alone; or to all.
    pub(crate) fn lead_to(&self, only: Option<SocketAddr>) {
        *lock(&self.first) = only;
    }

    /// Where something is at it: `http://ADDR/PATH`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// All that said Hello so far.
    pub(crate) fn greetings(&self) -> Vec<Greeting> {
        lock(&self.greetings).clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    mut peer: TcpStream,
    servers: &[SocketAddr],
    turn: &AtomicUsize,
    said: &Mutex<Vec<Greeting>>,
) -> io::Result<()> {
    let mut first = vec![0; 64 * 1024];
    let read = peer.read(&mut first).await?;
    first.truncate(read);
    let Some(mut server) = one_that_takes(servers, turn).await else { return Ok(()) };
    server.write_all(&first).await?;
    if first.starts_with(b"GET /connect") {
        return watch(peer, server, said).await;
    }
    let (addr, began) = (server.peer_addr()?, Instant::now());
    let passed = copy_bidirectional(&mut peer, &mut server).await;
    if !passed.as_ref().is_ok_and(|(_, answered)| *answered > 0) {
        eprintln!("{addr} ended a connection without a word after {:?}: {passed:?}", began.elapsed());
    }
    passed.map(drop)
}

/// A connection to the next one in turn that takes it.
async fn one_that_takes(servers: &[SocketAddr], turn: &AtomicUsize) -> Option<TcpStream> {
    for _ in 0..ROUNDS {
        let first = turn.fetch_add(1, Ordering::Relaxed);
        for at in 0..servers.len() {
            if let Ok(server) = TcpStream::connect(servers[(first + at) % servers.len()]).await {
                return Some(server);
            }
        }
        tokio::time::sleep(ROUND).await;
    }
    None
}

/// Passes a session on and takes down when its Hello went, and when the first word of the server came after that.
async fn watch(peer: TcpStream, server: TcpStream, said: &Mutex<Vec<Greeting>>) -> io::Result<()> {
    let addr = server.peer_addr()?;
    let (mut from_peer, mut to_peer) = peer.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut upgrade = vec![0; 64 * 1024];
    let read = from_server.read(&mut upgrade).await?;
    to_peer.write_all(&upgrade[..read]).await?;
    let is_session = upgrade.starts_with(b"HTTP/1.1 101");
    let mut hello = vec![0; 64 * 1024];
    let read = from_peer.read(&mut hello).await?;
    let mut place = None;
    if is_session && read > 0 {
        let mut said = lock(said);
        place = Some(said.len());
        said.push(Greeting { server: addr, hello: Instant::now(), welcome: None });
    }
    to_server.write_all(&hello[..read]).await?;
    let to = async { tokio::io::copy(&mut from_peer, &mut to_server).await.map(drop) };
    let back = async {
        let mut welcome = vec![0; 64 * 1024];
        let read = from_server.read(&mut welcome).await?;
        if let Some(place) = place.filter(|_| read > 0) {
            lock(said)[place].welcome = Some(Instant::now());
        }
        to_peer.write_all(&welcome[..read]).await?;
        tokio::io::copy(&mut from_server, &mut to_peer).await.map(drop)
    };
    tokio::select! {
        done = to => done,
        done = back => done,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
