//! A primary, two replicas and three sentinels, each a process of its own; between them gates, so that any of them can be parted from
//! any other.

use std::{net::IpAddr, time::Duration};

use tokio::time::Instant;

use crate::{
    gate::{self, Gate},
    node::{Node, Server, bound::Waits, free_port},
};

/// What sentinels call the primary.
pub(crate) const MASTER: &str = "main";
/// Nodes, and sentinels.
const COUNT: usize = 3;
/// A sentinel takes a primary for gone that it has not heard for so long.
pub(crate) const DOWN_AFTER: Duration = Duration::from_millis(1_500);
/// A test calls it a failure when something does not happen for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// All of them.
pub(crate) struct Replicated {
    pub(crate) nodes: Vec<Node>,
    pub(crate) gates: Vec<Gate>,
    pub(crate) sentinels: Vec<Node>,
    sentinel_ports: Vec<u16>,
}

/// What all nodes are set to beside the usual, and all sentinels.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) nodes: Vec<(String, String)>,
    pub(crate) sentinels: Vec<String>,
    /// They listen with TLS alone.
    pub(crate) is_tls: bool,
}

impl Replicated {
    /// The first node is the primary.
    pub(crate) async fn start(server: Server, settings: &Settings) -> Self {
        let ports: Vec<u16> = (0..COUNT).map(|_| free_port()).collect();
        let mut gates = Vec::new();
        for port in &ports {
            gates.push(Gate::to(*port).await);
        }
        let nodes: Vec<Node> = (0..COUNT).map(|at| Node::with(server, of_node(at, &ports, &gates, settings))).collect();
        let sentinel_ports: Vec<u16> = (0..COUNT).map(|_| free_port()).collect();
        let lines = |at: usize| of_sentinel(at, sentinel_ports[at], gates[0].port, settings);
        let sentinels: Vec<Node> = (0..COUNT).map(|at| Node::sentinel(server, &lines(at))).collect();
        let all = Self { nodes, gates, sentinels, sentinel_ports };
        all.is_whole();
        all
    }

    /// Ports of the sentinels.
    pub(crate) fn sentinel_ports(&self) -> &[u16] {
        &self.sentinel_ports
    }

    /// Which node most sentinels take for the primary.
    pub(crate) fn primary(&self) -> Option<usize> {
        let named: Vec<usize> = self
            .sentinels
            .iter()
            .filter(|sentinel| sentinel.is_running())
            .filter_map(|sentinel| self.named_by(sentinel))
            .collect();
        let is_most = |at: &usize| named.iter().filter(|other| *other == at).count() > COUNT / 2;
        named.iter().copied().find(is_most)
    }

    fn named_by(&self, sentinel: &Node) -> Option<usize> {
        let told = sentinel.ask(&[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", MASTER.as_bytes()]);
        let port = told.split("\r\n").nth(4)?.parse::<u16>().ok()?;
        self.gates.iter().position(|gate| gate.port == port)
    }

    /// Waits until another one than that is the primary, and says which.
    pub(crate) fn another_than(&self, before: usize) -> usize {
        until("a failover", || self.primary().filter(|now| *now != before && self.says(*now, "role:master")))
    }

    /// Waits until every sentinel knows every node and every other sentinel, and both replicas follow.
    pub(crate) fn is_whole(&self) {
        until("the sentinels to know all", || {
            let knows = |sentinel: &Node| {
                let about = sentinel.ask(&[b"SENTINEL", b"MASTER", MASTER.as_bytes()]);
                let has = |field: &str| about.contains(&format!("{field}\r\n$1\r\n{}\r\n", COUNT - 1));
                has("num-slaves") && has("num-other-sentinels") && !about.contains("failover_in_progress")
            };
            let primary = self.primary()?;
            let info = self.nodes[primary].ask(&[b"INFO", b"replication"]);
            let online = info.matches("state=online").count();
            (self.sentinels.iter().all(knows) && info.contains("role:master") && online == COUNT - 1).then_some(())
        });
    }

    /// Whether a node says that of its replication.
    pub(crate) fn says(&self, node: usize, what: &str) -> bool {
        self.nodes[node].ask(&[b"INFO", b"replication"]).contains(what)
    }

    /// Has a sentinel begin a failover, though nothing is wrong.
    pub(crate) fn fail_over(&self) {
        until("a sentinel to begin a failover", || {
            let said = self.sentinels[0].ask(&[b"SENTINEL", b"FAILOVER", MASTER.as_bytes()]);
            said.starts_with("+OK").then_some(())
        });
    }

    /// Where the nodes but this one come from.
    pub(crate) fn other_nodes(node: usize) -> impl Iterator<Item = IpAddr> {
        (0..COUNT).filter(move |at| *at != node).map(|at| gate::from(of(at, NODES_FROM)))
    }

    /// Where the sentinels come from.
    pub(crate) fn all_sentinels() -> impl Iterator<Item = IpAddr> {
        (0..COUNT).map(|at| gate::from(of(at, SENTINELS_FROM)))
    }
}

const NODES_FROM: u8 = 11;
const SENTINELS_FROM: u8 = 21;

fn of(at: usize, from: u8) -> u8 {
    from + u8::try_from(at).expect("there are few")
}

fn of_node(at: usize, ports: &[u16], gates: &[Gate], settings: &Settings) -> Vec<(String, String)> {
    let plain = if settings.is_tls { "tls-port" } else { "port" };
    let mut all = vec![
        (plain, ports[at].to_string()),
        ("bind", "127.0.0.1".to_owned()),
        ("bind-source-addr", gate::from(of(at, NODES_FROM)).to_string()),
        ("replica-announce-ip", "127.0.0.1".to_owned()),
        ("replica-announce-port", gates[at].port.to_string()),
        ("repl-diskless-sync-delay", "0".to_owned()),
        ("repl-ping-replica-period", "1".to_owned()),
        ("repl-timeout", "4".to_owned()),
        ("min-replicas-to-write", "1".to_owned()),
    ];
    if at > 0 {
        all.push(("replicaof", format!("127.0.0.1 {}", gates[0].port)));
    }
    let all = all.into_iter().map(|(name, value)| (name.to_owned(), value));
    all.chain(settings.nodes.iter().cloned()).collect()
}

fn of_sentinel(at: usize, port: u16, primary: u16, settings: &Settings) -> Vec<String> {
    let listens = if settings.is_tls { format!("port 0\ntls-port {port}") } else { format!("port {port}") };
    let mut lines = vec![
        listens,
        "bind 127.0.0.1".to_owned(),
        format!("bind-source-addr {}", gate::from(of(at, SENTINELS_FROM))),
        "sentinel announce-ip 127.0.0.1".to_owned(),
        format!("sentinel monitor {MASTER} 127.0.0.1 {primary} 2"),
        format!("sentinel down-after-milliseconds {MASTER} {}", DOWN_AFTER.as_millis()),
        format!("sentinel failover-timeout {MASTER} 4000"),
        format!("sentinel parallel-syncs {MASTER} 2"),
    ];
    lines.extend(settings.sentinels.iter().cloned());
    lines
}

/// Asks again until something is there.
pub(crate) fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let _waits = Waits::until(what);
    let since = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(since.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
