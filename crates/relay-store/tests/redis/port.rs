//! A port that nobody has, for a server that does not say which one it took.

use std::{
    net::Ipv4Addr,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
};

use tokio::net::TcpSocket;

/// Below those that systems give to whoever connects: one of these would be taken between here and there, under load by chance alone.
const FIRST: u16 = 18_000;
const COUNT: u16 = 14_000;

/// Each time another; where it begins differs between processes that test at the same time, and what one has had no other takes.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(process::id() * 61 % u32::from(COUNT)).expect("it is less than a count");
    let numbers = (0..COUNT).map(|_| NEXT.fetch_add(1, Ordering::Relaxed) % COUNT);
    let mut ports = numbers.map(|number| FIRST + (begin + number) % COUNT);
    ports.find(|port| is_free(*port) && claim(*port)).expect("one of so many is free")
}

/// Whether nobody listens there. This does not listen either: a process that another thread starts this moment has a copy of the socket
/// until it is another program, and would keep the port from whom it is for.
fn is_free(port: u16) -> bool {
    let probe = TcpSocket::new_v4().expect("a socket");
    probe.set_reuseaddr(true).is_ok() && probe.bind((Ipv4Addr::UNSPECIFIED, port).into()).is_ok()
}

/// Takes it for this process until that ends, as far as other tests are concerned.
fn claim(port: u16) -> bool {
    static CLAIMED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let name = SocketAddr::from_abstract_name(format!("crm-relay-test-port-{port}")).expect("it is short");
    let claimed = UnixListener::bind_addr(&name);
    claimed.map(|claimed| CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).push(claimed)).is_ok()
}
