//! Accepting connections while the system has none to give: to be out of descriptors or memory passes, and ends nothing.

use std::{future::Future, io, net::SocketAddr, os::fd::AsFd as _, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::{Instant, sleep},
};

use crate::{limits, origin::Origin};

/// Pause after an accept that failed for want of file descriptors or memory: others have to end first.
const PAUSE: Duration = Duration::from_millis(50);

/// A listening socket.
pub trait Listening: Send + 'static {
    /// What it gives.
    type Socket: Send + 'static;

    /// The next connection, and where it comes from. Cancel-safe.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Socket, Origin)>> + Send;

    /// Answers nobody who begins to connect from now on, and completes what others have begun; a peer that is not answered asks again
    /// in a second. Gives whether it does: not where others go on with the socket, nor where the system cannot.
    fn refuse_new(&self) -> bool {
        false
    }

    /// Listens no more, and gives those that the system has connected by then, unless somebody else goes on with them: their peers
    /// were told that somebody is there.
    fn close(self) -> Vec<(Self::Socket, Origin)>
    where
        Self: Sized;
}

impl Listening for TcpListener {
    type Socket = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Origin)> {
        Self::accept(self).await.map(|(socket, peer)| (socket, Origin::of(peer)))
    }

    #[cfg(target_os = "linux")]
    fn refuse_new(&self) -> bool {
        socket2::SockRef::from(self).attach_filter(&no_beginning()).is_ok()
    }

    fn close(self) -> Vec<(TcpStream, Origin)> {
        let mut rest = Vec::new();
        // It does not block, as it did not before. Between the last look and its end nobody comes who began after `refuse_new`.
        let Ok(listener) = self.into_std() else { return rest };
        while rest.len() < limits::BACKLOG_MAX {
            match listener.accept() {
                Ok((socket, peer)) => {
                    let socket = socket.set_nonblocking(true).and_then(|()| Self::Socket::from_std(socket));
                    rest.extend(socket.map(|socket| (socket, Origin::of(peer))));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => return rest,
            }
        }
        rest
    }
}

/// A TCP socket that is this process's alone, or one that others go on with: another process that was handed it too, or another
/// part of this one.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    is_shared: bool,
}

impl Listener {
    /// Nobody listens there once this does not.
    pub const fn own(socket: TcpListener) -> Self {
        Self { socket, is_shared: false }
    }

    /// Whoever waits in its queue when this listens no more is left there, for those who go on.
    pub const fn shared(socket: TcpListener) -> Self {
        Self { socket, is_shared: true }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The same socket once more, for a part of this process that ends before this does.
    ///
    /// # Errors
    /// The system gives no further descriptor.
    pub fn twin(&self) -> io::Result<Self> {
        let twin = self.socket.as_fd().try_clone_to_owned()?;
        TcpListener::from_std(twin.into()).map(Self::shared)
    }
}

impl Listening for Listener {
    type Socket = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Origin)> {
        Listening::accept(&self.socket).await
    }

    fn refuse_new(&self) -> bool {
        !self.is_shared && Listening::refuse_new(&self.socket)
    }

    fn close(self) -> Vec<(TcpStream, Origin)> {
        if self.is_shared { Vec::new() } else { Listening::close(self.socket) }
    }
}

impl Listening for UnixListener {
    type Socket = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Origin)> {
        let (socket, _) = Self::accept(self).await?;
        // Its mode says the same, but for the moment in which it is made.
        let uid = socket.peer_cred()?.uid();
        if uid != 0 && uid != rustix::process::geteuid().as_raw() {
            tracing::warn!(event = "socket_refused", uid, "another user connected to the admin socket");
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok((socket, Origin::of_user(Some(uid))))
    }

    /// Operators on this machine see that nobody is there, and are not told of a webhook's fate.
    fn close(self) -> Vec<(UnixStream, Origin)> {
        Vec::new()
    }
}

/// A listening socket that goes on whatever accepting meets.
pub(super) struct Acceptor<L> {
    listener: L,
    name: &'static str,
    failures: u64,
    said: Option<Instant>,
}

impl<L: Listening> Acceptor<L> {
    pub(super) fn new(listener: L, name: &'static str) -> Self {
        Self { listener, name, failures: 0, said: None }
    }

    /// The next connection, however long that takes. Cancel-safe: what is dropped has taken nothing, and at most cuts a
    /// pause short.
    pub(super) async fn accept(&mut self) -> (L::Socket, Origin) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.complain(&error);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// See [`Listening::refuse_new`].
    pub(super) fn refuse_new(&self) -> bool {
        self.listener.refuse_new()
    }

    /// See [`Listening::close`].
    pub(super) fn close(self) -> Vec<(L::Socket, Origin)> {
        self.listener.close()
    }

    fn complain(&mut self, error: &io::Error) {
        self.failures += 1;
        // However often accepting fails.
        if self.said.is_some_and(|said| said.elapsed() < limits::ACCEPT_SAID_EVERY) {
            return;
        }
        self.said = Some(Instant::now());
        tracing::warn!(
            event = "accept_failed",
            listener = self.name,
            failures = self.failures,
            %error,
            "cannot accept connections, those that are open go on; too many open files: raise the limit (LimitNOFILE=)"
        );
    }
}

/// Drops each segment that begins a connection (SYN without ACK), and lets all others through. Sockets that are accepted have it from
/// their listener, and are past that segment. In classic BPF; the segment begins with its TCP header (RFC 9293 section 3.1).
#[cfg(target_os = "linux")]
fn no_beginning() -> [socket2::SockFilter; 5] {
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let (flags, syn, ack) = (13, 0x02, 0x10);
    let step = socket2::SockFilter::new;
    [
        step(LOAD_BYTE, 0, 0, flags),
        step(AND, 0, 0, syn | ack),
        step(JUMP_IF_EQUAL, 0, 1, syn),
        step(RETURN, 0, 0, 0),
        step(RETURN, 0, 0, u32::MAX),
    ]
}

/// Whether an error of `accept` is that of one connection. Any other (descriptors, memory) needs others to end first.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Refuses a few times before it gives a connection.
    struct Refusing(AtomicU64);

    impl Listening for Refusing {
        type Socket = ();

        async fn accept(&self) -> io::Result<((), Origin)> {
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
            let error = if left.is_multiple_of(2) {
                rustix::io::Errno::MFILE.raw_os_error()
            } else {
                rustix::io::Errno::CONNABORTED.raw_os_error()
            };
            if left == 0 { Ok(((), Origin::local())) } else { Err(io::Error::from_raw_os_error(error)) }
        }

        fn close(self) -> Vec<((), Origin)> {
            Vec::new()
        }
    }

    #[tokio::test]
    async fn only_what_is_not_of_one_connection_is_counted_and_waited_for() {
        let mut acceptor = Acceptor::new(Refusing(AtomicU64::new(6)), "public");
        let began = Instant::now();
        acceptor.accept().await;
        assert_eq!(acceptor.failures, 3);
        assert!(began.elapsed() >= 3 * PAUSE);
    }
}
