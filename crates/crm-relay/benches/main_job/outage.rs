//! Trouble that lasts: webhooks that fail for good among healthy ones, and a target that fails everything, while server and
//! client are restarted.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    Settings,
    choosy::{CONCURRENCY, Choosy, TAKES},
    load,
    process::{self, Process, client},
    report::Report,
};

/// Webhooks whose handler fails.
const SICK: u64 = 300;
/// Webhooks that an outage begins with; two more come every second.
const FIRST: u64 = 20;
/// From then on the circuit is open.
const OPENING: Duration = Duration::from_secs(10);
/// How long after the healing something may still be missing before this gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// The first number of those that the target takes.
const HEALTHY: u64 = 1_000_000;

/// Rows `sick_among_healthy`: how late the slowest of the healthy webhooks arrives, one every second, while 300 wait whose
/// handler answers 500; and `sick_dead`: after how many seconds all of those were dead letters.
pub(crate) async fn sick(settings: &Settings, report: &mut Report) {
    let dir = tempfile::tempdir().expect("a directory");
    let target = Choosy::start(|number, _| if number >= HEALTHY { 200 } else { 500 }).await;
    let (server, addr, _) = process::server(dir.path());
    let client = client(addr, target.addr, CONCURRENCY);
    let mut socket = load::Socket::open(addr).await;
    let start = Instant::now();
    let (mut sent, mut dead) = (Vec::new(), f64::INFINITY);
    for second in 0..settings.outage {
        tokio::time::sleep_until((start + Duration::from_secs(second)).into()).await;
        if second == 5 {
            load::send(addr, 8, SICK).await;
        }
        sent.push((HEALTHY + second, Instant::now()));
        socket.exchange_numbered(HEALTHY + second).await;
        if dead.is_infinite() && count(dir.path(), "dead").await == SICK {
            dead = start.elapsed().as_secs_f64() - 5.0;
        }
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let late = target.look(|seen| {
        let late = |(number, at): &(u64, Instant)| Some(seen.arrived.get(number)?.duration_since(*at));
        sent.iter().map(|sent| late(sent).map_or(f64::INFINITY, |late| late.as_secs_f64() * 1e3)).fold(0.0, f64::max)
    });
    report.add("sick_among_healthy", &[late], "ms", None);
    report.add("sick_dead", &[dead], "s", None);
    drop((client, server));
}

/// Rows of a target that answers 500 and 404 to everything, while server and client are restarted twice each, one time in order
/// and one time killed: `outage_tries`, tries a second once the circuit is open; `outage_crowded`, tries that were not alone
/// then; `outage_dead`, dead letters; `outage_healed`, seconds from the healing until everything is delivered.
pub(crate) async fn restarts(settings: &Settings, report: &mut Report) {
    let dir = tempfile::tempdir().expect("a directory");
    let well = Arc::new(AtomicBool::new(false));
    let heals = Arc::clone(&well);
    let target = Choosy::start(move |_, event| match (heals.load(Ordering::Relaxed), event % 2) {
        (true, _) => 200,
        (false, 0) => 500,
        (false, _) => 404,
    })
    .await;
    let mut relay = Relay::start(dir.path(), target.addr);
    load::send(relay.addr, 8, FIRST).await;
    let (start, mut sent) = (Instant::now(), FIRST);
    for second in 1..settings.outage {
        tokio::time::sleep_until((start + Duration::from_secs(second)).into()).await;
        if second % (settings.outage / 5) == 0 {
            relay.restart(dir.path(), target.addr, second / (settings.outage / 5));
        }
        load::send(relay.addr, 1, 2).await;
        sent += 2;
    }
    let (tries, crowded) = target.look(|seen| {
        let open = |at: &&Instant| **at > start + OPENING;
        (seen.begun.iter().filter(open).count(), seen.crowded.iter().filter(open).count())
    });
    well.store(true, Ordering::Relaxed);
    let healed = Instant::now();
    while target.look(|seen| seen.delivered() as u64) < sent && healed.elapsed() < PATIENCE {
        tokio::time::sleep(TAKES).await;
    }
    let took = healed.elapsed().as_secs_f64();
    let dead = count(dir.path(), "dead").await;
    report.add("outage_tries", &[tries as f64 / ((settings.outage as f64) - OPENING.as_secs_f64())], "tries/s", None);
    report.add("outage_crowded", &[crowded as f64], "tries", None);
    report.add("outage_dead", &[dead as f64], "letters", None);
    report.add("outage_healed", &[took], "s", None);
}

async fn count(dir: &Path, state: &'static str) -> u64 {
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || process::count(&dir, state)).await.expect("it ends in order")
}

/// A server at a port that it keeps, and its client.
struct Relay {
    addr: SocketAddr,
    server: Option<Process>,
    client: Option<Process>,
}

impl Relay {
    fn start(dir: &Path, target: SocketAddr) -> Self {
        let (server, addr, _) = process::server(dir);
        Self { addr, server: Some(server), client: Some(client(addr, target, CONCURRENCY)) }
    }

    /// The server is killed, the client is killed, the server is stopped, the client is stopped; each begins again at once.
    fn restart(&mut self, dir: &Path, target: SocketAddr, turn: u64) {
        let ends = if turn % 2 == 1 { &mut self.server } else { &mut self.client };
        if let Some(process) = ends.take()
            && turn > 2
        {
            process.stop();
        }
        match turn % 2 {
            1 => self.server = Some(process::server_at(dir, None, self.addr.port()).0),
            _ => self.client = Some(client(self.addr, target, CONCURRENCY)),
        }
    }
}
