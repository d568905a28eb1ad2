//! The way to a node, which can be shut for some: what comes from them, and what goes to them, waits then, as in a network that is
//! parted, and passes once it is open again. It can be shut one way alone: they are heard, and hear nothing. Who comes is known by the
//! address that he comes from.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// For whom, and which way.
type Shut = BTreeSet<(IpAddr, Way)>;

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// From somebody to the node.
    In,
    /// From the node to somebody.
    Out,
}

/// A way to a node. Gone when dropped.
pub(crate) struct Gate {
    /// Where it begins.
    pub(crate) port: u16,
    shut_for: watch::Sender<Shut>,
    task: JoinHandle<()>,
}

/// An address of this machine that somebody comes from.
pub(crate) fn from(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

impl Gate {
    /// To this port of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
        let begins = listener.local_addr().expect("it listens").port();
        let (shut_for, shut) = watch::channel(BTreeSet::new());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, peer)) = listener.accept().await {
                // An end that is not a good one is the peers' to tell.
                let shut = shut.clone();
                connections.spawn(async move { drop(pass(socket, peer.ip(), port, shut).await) });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port: begins, shut_for, task }
    }

    /// Nobody who comes from there passes any more, and nobody else who did not before.
    pub(crate) fn shut(&self, for_whom: impl IntoIterator<Item = IpAddr>) {
        let both = for_whom.into_iter().flat_map(|whom| [(whom, Way::In), (whom, Way::Out)]);
        self.shut_for.send_modify(|shut| shut.extend(both));
    }

    /// Those who come from there are heard, and hear nothing any more.
    pub(crate) fn mute(&self, for_whom: impl IntoIterator<Item = IpAddr>) {
        self.shut_for.send_modify(|shut| shut.extend(for_whom.into_iter().map(|whom| (whom, Way::Out))));
    }

    /// Those who come from there hear the node, and are not heard any more.
    pub(crate) fn ignore(&self, for_whom: impl IntoIterator<Item = IpAddr>) {
        self.shut_for.send_modify(|shut| shut.extend(for_whom.into_iter().map(|whom| (whom, Way::In))));
    }

    /// Everybody passes.
    pub(crate) fn open(&self) {
        self.shut_for.send_replace(BTreeSet::new());
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(peer: TcpStream, whose: IpAddr, to: u16, mut shut: watch::Receiver<Shut>) -> io::Result<()> {
    if shut.wait_for(|shut| !shut.contains(&(whose, Way::In))).await.is_err() {
        return Ok(());
    }
    let node = TcpStream::connect(("127.0.0.1", to)).await?;
    let (from_peer, to_peer) = peer.into_split();
    let (from_node, to_node) = node.into_split();
    tokio::select! {
        done = copy(from_peer, to_node, (whose, Way::In), shut.clone()) => done,
        done = copy(from_node, to_peer, (whose, Way::Out), shut) => done,
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    which: (IpAddr, Way),
    mut shut: watch::Receiver<Shut>,
) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await?;
        if shut.wait_for(|shut| !shut.contains(&which)).await.is_err() || read == 0 {
            return Ok(());
        }
        to.write_all(&bytes[..read]).await?;
    }
}
