//! A server on a Redis: ingest beside what that Redis does by itself (`redis-benchmark -c 64 XADD` of the same bytes, on the same
//! server with the same fsync), with dedupe keys, the whole way beside that of the embedded store, and the tail under each durability.
//! Pairs take turns.

use std::{net::TcpListener, process::Command, time::Duration};

use crate::{
    Settings, end_to_end,
    load::{self, Measured},
    node::{Node, Server},
    process,
    report::Report,
};

/// Senders of `redis-benchmark`.
const SENDERS: usize = 64;
/// What it sends in one go: bounded in count, and a second or so.
const SENT: usize = 20_000;
/// What stands in front of the body of an event, with its record, its ids and its names.
const HEAD_BYTES: usize = 560;

/// Rows `redis_ingest_64`, `redis_ingest_256`, `redis_keyed_64`, `redis_end_to_end`, and `redis_p99_*`.
pub(crate) async fn measure(settings: &Settings, report: &mut Report) {
    let span = Duration::from_secs(settings.seconds);
    for (name, sockets, keyed) in
        [("redis_ingest_64", 64, false), ("redis_ingest_256", 256, false), ("redis_keyed_64", 64, true)]
    {
        let (mut rates, mut ratios) = (vec![], vec![]);
        for _ in 0..settings.rounds {
            let node = Listening::start(Server::Installed, &[]);
            let bare = node.bare();
            node.node.ask(&[b"FLUSHALL"]);
            let ours = node.ingested("fsync", sockets, span, keyed).await.rate;
            rates.push(ours);
            ratios.push(ours / bare);
        }
        report.add(name, &rates, "events/s", Some(&ratios));
    }
    let (mut rates, mut ratios) = (vec![], vec![]);
    for _ in 0..settings.rounds {
        let embedded = end_to_end::forwarded(&[], span).await;
        let node = Listening::start(Server::Installed, &[]);
        let ours = end_to_end::forwarded(&[("REDIS_URL", &node.url())], span).await;
        rates.push(ours);
        ratios.push(ours / embedded);
    }
    report.add("redis_end_to_end", &rates, "events/s", Some(&ratios));
    tails(settings, span, report).await;
}

/// Milliseconds to the answer, of 64 senders, under each durability. All on Redis 8, since one of them needs it.
async fn tails(settings: &Settings, span: Duration, report: &mut Report) {
    for durability in ["everysec", "fsync", "replicated", "fsync-replicated"] {
        let mut tails = vec![];
        for _ in 0..settings.rounds {
            let fsync = if durability == "everysec" { "everysec" } else { "always" };
            let node = Listening::start(Server::Redis8, &[("appendfsync", fsync)]);
            let _replica = durability.contains("replicated").then(|| node.followed());
            let measured = node.ingested(durability, SENDERS, span, false).await;
            tails.push(measured.latency.value_at_quantile(0.99) as f64 / 1e3);
        }
        report.add(&format!("redis_p99_{durability}"), &tails, "ms", None);
    }
}

/// A Redis with a port.
struct Listening {
    node: Node,
    server: Server,
    port: u16,
}

impl Listening {
    fn start(server: Server, settings: &[(&str, &str)]) -> Self {
        // Nobody else asks for a port of the system between here and there, but by chance.
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let port = free.expect("there is a free port").port();
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let more = [("port".to_owned(), port.to_string()), ("repl-diskless-sync-delay".to_owned(), "0".to_owned())];
        Self { node: Node::with(server, settings.chain(more).collect()), server, port }
    }

    /// One that follows it, and is waited for.
    fn followed(&self) -> Node {
        let replica = Node::with(self.server, vec![("replicaof".into(), format!("127.0.0.1 {}", self.port))]);
        self.node.ask_all(&[&[b"SET", b"follows", b"1"], &[b"WAIT", b"1", b"0"]]);
        self.node.ask(&[b"CONFIG", b"SET", b"min-replicas-to-write", b"1"]);
        self.node.ask(&[b"DEL", b"follows"]);
        replica
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What it does by itself, a second.
    fn bare(&self) -> f64 {
        let body = "x".repeat(load::body().len() + HEAD_BYTES);
        let mut bench = Command::new("redis-benchmark");
        bench.args(["-p", &self.port.to_string(), "-c", &SENDERS.to_string(), "-n", &SENT.to_string(), "--csv"]);
        let output = bench.args(["XADD", "bare", "*", "body", &body]).output().expect("redis-benchmark is there");
        let text = String::from_utf8(output.stdout).expect("it is text");
        // "command","rps",...
        let line = text.lines().last().expect("a line of figures");
        let rate = line.rsplit("\",\"").nth(6).expect("the rate");
        rate.trim_matches('"').parse().expect("a number")
    }

    /// What a server on it takes in.
    async fn ingested(&self, durability: &str, sockets: usize, span: Duration, keyed: bool) -> Measured {
        let dir = tempfile::tempdir().expect("a directory");
        let url = self.url();
        let more = [("REDIS_URL", url.as_str()), ("REDIS_DURABILITY", durability)];
        let (server, addr) = process::server_set(dir.path(), &more);
        let measured = load::run_as(addr, sockets, span, None, keyed).await;
        server.stop();
        measured
    }
}
