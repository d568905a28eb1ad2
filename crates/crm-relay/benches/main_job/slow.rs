//! Senders that hold sockets and say little.

use std::{net::SocketAddr, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{Settings, load, process, report::Report};

/// Sockets that are held open, where the limit of open files allows that many.
const SLOW: u64 = 2_000;
/// Sockets that send as they should.
const NORMAL: usize = 16;
/// The server cuts a half head off after ten seconds: it is measured for less.
const SPAN_MAX: u64 = 5;

/// Row `slow_senders_p99`: the slowest hundredth of normal requests while slow sockets are held, against the same without.
pub(crate) async fn measure(settings: &Settings, report: &mut Report) {
    let slow = SLOW.min(descriptors().saturating_sub(100));
    if slow < SLOW {
        println!("slow_senders_p99: {slow} slow sockets instead of {SLOW}; raise the limit of open files (ulimit -Hn)");
    }
    let span = Duration::from_secs(settings.seconds.min(SPAN_MAX));
    let (mut tails, mut ratios) = (vec![], vec![]);
    for _ in 0..settings.rounds {
        let dir = tempfile::tempdir().expect("a directory");
        let (server, addr, _) = process::server(dir.path());
        let bare = load::run(addr, NORMAL, span, None).await.latency.value_at_quantile(0.99);
        let held = hold(addr, slow).await;
        let ours = load::run(addr, NORMAL, span, None).await.latency.value_at_quantile(0.99);
        let open = held.iter().filter(|socket| is_open(socket)).count();
        assert_eq!(open, held.len(), "the server cut slow sockets off before the end");
        drop(held);
        server.stop();
        tails.push(ours as f64 / 1e3);
        ratios.push(ours as f64 / bare as f64);
    }
    report.add("slow_senders_p99", &tails, "ms", Some(&ratios));
}

/// Opens sockets, every other one with half a head, the rest with a head and the first byte of its body.
async fn hold(addr: SocketAddr, count: u64) -> Vec<TcpStream> {
    let request = load::request(addr);
    let head = request.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let mut held = Vec::new();
    for number in 0..count {
        let mut socket = TcpStream::connect(addr).await.expect("the server listens");
        let sent = if number % 2 == 0 { head / 2 } else { head + 1 };
        socket.write_all(&request[..sent]).await.expect("the server takes it");
        held.push(socket);
    }
    held
}

fn is_open(socket: &TcpStream) -> bool {
    matches!(socket.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Open files that this process may have, after asking for as many as it may.
fn descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    (if raised { maximum } else { current }).unwrap_or(u64::MAX)
}
