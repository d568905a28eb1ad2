//! A cluster of real nodes, each a process of its own: primaries with the slots evenly among them, and replicas; between them gates, where
//! any of them is to be parted from the others.

use std::{net::IpAddr, sync::LazyLock, thread, time::Duration};

use relay_store::redis::{Address, Cluster, Deployment};

use crate::{
    gate::{self, Gate},
    node::{Node, Server, free_port},
    replicated::until,
};

/// Slots of any cluster.
const SLOTS: usize = 16_384;
/// A node is taken for failed that was not heard for so long, in milliseconds.
const NODE_TIMEOUT: &str = "2000";

/// All of them.
pub(crate) struct Clustered {
    pub(crate) nodes: Vec<Node>,
    /// Where they are found.
    pub(crate) ports: Vec<u16>,
    buses: Vec<u16>,
    /// On the way to each of them, for whoever asks, and for the other nodes. None where nobody is parted.
    gates: Vec<[Gate; 2]>,
    /// The first have slots, the others follow them in turn.
    primaries: usize,
    is_tls: bool,
}

impl Clustered {
    /// So many primaries, each with so many replicas.
    pub(crate) fn start(
        server: Server,
        (primaries, replicas): (usize, usize),
        settings: &[(String, String)],
        is_tls: bool,
    ) -> Self {
        let listen: Vec<[u16; 2]> = (0..primaries * (1 + replicas)).map(|_| [free_port(), free_port()]).collect();
        let start = |ports: &[u16; 2]| Node::with(server, of_node(*ports, replicas, settings, is_tls));
        let nodes = listen.iter().map(start).collect();
        Self::of(nodes, &listen, primaries, Vec::new(), is_tls)
    }

    /// The same with gates between them.
    pub(crate) async fn start_with_gates(server: Server, (primaries, replicas): (usize, usize)) -> Self {
        let (mut nodes, mut gates, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..primaries * (1 + replicas) {
            let listens = [free_port(), free_port()];
            let to = [Gate::to(listens[0]).await, Gate::to(listens[1]).await];
            let more = [
                ("bind-source-addr", of(at).to_string()),
                ("cluster-announce-ip", "127.0.0.1".to_owned()),
                ("cluster-announce-port", to[0].port.to_string()),
                ("cluster-announce-bus-port", to[1].port.to_string()),
            ];
            let more = more.map(|(name, value)| (name.to_owned(), value));
            nodes.push(Node::with(server, of_node(listens, replicas, &more, false)));
            found.push([to[0].port, to[1].port]);
            gates.push(to);
        }
        Self::of(nodes, &found, primaries, gates, false)
    }

    fn of(nodes: Vec<Node>, found: &[[u16; 2]], primaries: usize, gates: Vec<[Gate; 2]>, is_tls: bool) -> Self {
        let (ports, buses) = found.iter().map(|[port, bus]| (*port, *bus)).unzip();
        let all = Self { nodes, ports, buses, gates, primaries, is_tls };
        all.form();
        all.is_whole();
        all
    }

    /// The one of this process, for tests that leave it alone: three primaries.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: LazyLock<Clustered> = LazyLock::new(|| Clustered::start(Server::Installed, (3, 0), &[], false));
        &SHARED
    }

    fn form(&self) {
        for (at, node) in self.nodes.iter().enumerate() {
            let epoch = (at + 1).to_string();
            assert_eq!(node.ask(&[b"CLUSTER", b"SET-CONFIG-EPOCH", epoch.as_bytes()]), "+OK\r\n");
            self.meet(at, 0);
        }
        for at in 0..self.primaries {
            let (first, last) = (SLOTS * at / self.primaries, SLOTS * (at + 1) / self.primaries - 1);
            let (first, last) = (first.to_string(), last.to_string());
            let added = self.nodes[at].ask(&[b"CLUSTER", b"ADDSLOTSRANGE", first.as_bytes(), last.as_bytes()]);
            assert_eq!(added, "+OK\r\n");
        }
        for at in self.primaries..self.nodes.len() {
            let id = self.id(at % self.primaries);
            until("a replica to know its primary", || {
                let said = self.nodes[at].ask(&[b"CLUSTER", b"REPLICATE", id.as_bytes()]);
                (said == "+OK\r\n").then_some(())
            });
        }
    }

    /// Introduces a node to another.
    fn meet(&self, at: usize, other: usize) {
        if at != other {
            let (port, bus) = (self.ports[other].to_string(), self.buses[other].to_string());
            let meet: [&[u8]; 5] = [b"CLUSTER", b"MEET", b"127.0.0.1", port.as_bytes(), bus.as_bytes()];
            assert_eq!(self.nodes[at].ask(&meet), "+OK\r\n");
        }
    }

    /// What a node is called by the others.
    pub(crate) fn id(&self, at: usize) -> String {
        let answer = self.nodes[at].ask(&[b"CLUSTER", b"MYID"]);
        answer.split("\r\n").nth(1).expect("it has one").to_owned()
    }

    /// How a store is told of it.
    pub(crate) fn deployment(&self, address: impl Fn(u16) -> Address) -> Deployment {
        let at = self.ports.iter().map(|port| address(*port)).collect();
        Deployment::Cluster(Cluster { at, elsewhere: std::collections::BTreeMap::new() })
    }

    /// The same without TLS.
    pub(crate) fn plain(&self) -> Deployment {
        assert!(!self.is_tls);
        self.deployment(|port| Address::Tcp { host: "127.0.0.1".into(), port })
    }

    /// Whether a node says that of its replication.
    pub(crate) fn says(&self, at: usize, what: &str) -> bool {
        self.nodes[at].ask(&[b"INFO", b"replication"]).contains(what)
    }

    /// Nodes that run.
    fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].is_running())
    }

    /// Which node has a slot, by what those that run say, if they agree.
    pub(crate) fn owner(&self, slot: u16) -> Option<usize> {
        let mut said = self.running().map(|at| self.owner_by(at, slot));
        let first = said.next()??;
        said.all(|other| other == Some(first)).then_some(first)
    }

    /// The same by one of them.
    pub(crate) fn owner_by(&self, at: usize, slot: u16) -> Option<usize> {
        let told = self.nodes[at].ask(&[b"CLUSTER", b"NODES"]);
        let has = |run: &str| {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let within = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
            within.is_some_and(|(first, last)| (first..=last).contains(&slot))
        };
        let line = told.lines().find(|line| line.split_whitespace().skip(8).any(has))?;
        let port: u16 = line.split([':', '@']).nth(1)?.parse().ok()?;
        self.ports.iter().position(|known| *known == port)
    }

    /// Waits until all that run know of each other, nothing is wrong, and every replica follows.
    pub(crate) fn is_whole(&self) {
        until("the cluster to be whole", || {
            let is_well = |at: usize| {
                let info = self.nodes[at].ask(&[b"CLUSTER", b"INFO"]);
                let nodes = self.nodes[at].ask(&[b"CLUSTER", b"NODES"]);
                let follows = self.says(at, "role:master") || self.says(at, "master_link_status:up");
                let known = nodes.matches("connected").count() - nodes.matches("disconnected").count();
                let is_known =
                    known >= self.running().count() && !nodes.contains("fail") && !nodes.contains("handshake");
                info.contains("cluster_state:ok") && is_known && follows
            };
            self.running().all(is_well).then_some(())
        });
        until("replicas to be online", || {
            let of = |at: usize| self.nodes[at].ask(&[b"INFO", b"replication"]).matches("state=online").count();
            let online: usize = self.running().map(of).sum();
            (online + self.primaries == self.running().count()).then_some(())
        });
    }
}

impl Clustered {
    /// Moves a slot to another primary key by key, as `redis-cli` does, with so long a pause behind each few.
    pub(crate) fn move_slot(&self, slot: u16, to: usize, pause: Duration) {
        let from = self.begin_move(slot, to);
        self.end_move(slot, (from, to), pause);
    }

    fn set_slot(&self, at: usize, slot: u16, state: &str, of: usize) {
        let (number, id) = (slot.to_string(), self.id(of));
        let command: [&[u8]; 5] = [b"CLUSTER", b"SETSLOT", number.as_bytes(), state.as_bytes(), id.as_bytes()];
        assert_eq!(self.nodes[at].ask(&command), "+OK\r\n");
    }

    /// Its keys may go from now on; gives from where.
    pub(crate) fn begin_move(&self, slot: u16, to: usize) -> usize {
        let from = self.owner(slot).expect("all agree");
        self.set_slot(to, slot, "IMPORTING", from);
        self.set_slot(from, slot, "MIGRATING", to);
        from
    }

    /// Some keys go.
    pub(crate) fn move_keys(&self, keys: &[Vec<u8>], (from, to): (usize, usize)) {
        let port = self.ports[to].to_string();
        let mut command: Vec<&[u8]> =
            vec![b"MIGRATE", b"127.0.0.1", port.as_bytes(), b"", b"0", b"60000", b"REPLACE", b"KEYS"];
        command.extend(keys.iter().map(Vec::as_slice));
        let moved = self.nodes[from].ask(&command);
        assert!(moved == "+OK\r\n" || moved == "+NOKEY\r\n", "{moved}");
    }

    /// The rest of its keys goes, and then the slot.
    pub(crate) fn end_move(&self, slot: u16, (from, to): (usize, usize), pause: Duration) {
        let number = slot.to_string();
        loop {
            let some = self.nodes[from].ask_raw(&[&[b"CLUSTER", b"GETKEYSINSLOT", number.as_bytes(), b"20"]]);
            let keys = bulks(&some);
            if keys.is_empty() {
                break;
            }
            self.move_keys(&keys, (from, to));
            thread::sleep(pause);
        }
        self.set_slot(to, slot, "NODE", to);
        self.set_slot(from, slot, "NODE", to);
        until("all to know of it", || (self.owner(slot) == Some(to)).then_some(()));
    }

    /// The same in one step, where nodes can.
    pub(crate) fn move_slot_at_once(&self, slot: u16, to: usize) {
        let from = self.owner(slot).expect("all agree");
        let (number, id) = (slot.to_string(), self.id(to));
        let moves: [&[u8]; 7] =
            [b"CLUSTER", b"MIGRATESLOTS", b"SLOTSRANGE", number.as_bytes(), number.as_bytes(), b"NODE", id.as_bytes()];
        assert_eq!(self.nodes[from].ask(&moves), "+OK\r\n");
        until("the slot to be moved", || (self.owner(slot) == Some(to)).then_some(()));
    }

    /// Has a replica take its primary's place: in agreement with it, or without (`FORCE`), or without anybody's (`TAKEOVER`).
    pub(crate) fn fail_over(&self, replica: usize, how: Option<&str>) {
        let mut command: Vec<&[u8]> = vec![b"CLUSTER", b"FAILOVER"];
        command.extend(how.map(str::as_bytes));
        assert_eq!(self.nodes[replica].ask(&command), "+OK\r\n");
    }

    /// No other node hears this one, nor it them. Whoever is no node does.
    pub(crate) fn part(&self, node: usize) {
        self.between(node, Gate::shut, Gate::shut);
    }

    /// This one hears the others, and none hears it.
    pub(crate) fn mute(&self, node: usize) {
        self.between(node, Gate::mute, Gate::ignore);
    }

    /// Everybody hears everybody.
    pub(crate) fn join(&self) {
        self.gates.iter().flatten().for_each(Gate::open);
    }

    /// What is to happen at the gates of a node for the others, and at those of the others for it.
    fn between(&self, node: usize, at_its: impl Fn(&Gate, Vec<IpAddr>), at_theirs: impl Fn(&Gate, Vec<IpAddr>)) {
        assert!(!self.gates.is_empty(), "they are started with gates");
        for (other, gates) in self.gates.iter().enumerate() {
            for gate in gates {
                if other == node {
                    at_its(gate, (0..self.gates.len()).filter(|at| *at != node).map(of).collect());
                } else {
                    at_theirs(gate, vec![of(node)]);
                }
            }
        }
    }

    /// A replica of that primary.
    pub(crate) fn replica_of(&self, primary: usize) -> usize {
        let port = format!("master_port:{}\r\n", self.ports[primary]);
        let found = self.running().find(|at| self.says(*at, "role:slave") && self.says(*at, &port));
        found.expect("one follows it")
    }
}

/// The strings of an array.
fn bulks(answer: &[u8]) -> Vec<Vec<u8>> {
    let line = |at: usize| {
        let end = answer[at..].windows(2).position(|two| two == b"\r\n").expect("a line ends") + at;
        let number = std::str::from_utf8(&answer[at + 1..end]).ok().and_then(|text| text.parse::<usize>().ok());
        (number.expect("a number stands there"), end + 2)
    };
    let (count, mut at) = line(0);
    let mut all = Vec::new();
    for _ in 0..count {
        let (length, begin) = line(at);
        all.push(answer[begin..begin + length].to_vec());
        at = begin + length + 2;
    }
    all
}

/// Where a node comes from that stands behind gates.
fn of(at: usize) -> IpAddr {
    gate::from(31 + u8::try_from(at).expect("there are few"))
}

fn of_node([port, bus]: [u16; 2], replicas: usize, more: &[(String, String)], is_tls: bool) -> Vec<(String, String)> {
    let least = usize::from(replicas > 0).to_string();
    let (port, bus) = (port.to_string(), bus.to_string());
    let mut all = vec![
        (if is_tls { "tls-port" } else { "port" }, &*port),
        ("cluster-port", &*bus),
        ("bind", "127.0.0.1"),
        ("cluster-enabled", "yes"),
        ("cluster-node-timeout", NODE_TIMEOUT),
        ("cluster-require-full-coverage", "no"),
        ("repl-diskless-sync-delay", "0"),
        ("repl-ping-replica-period", "1"),
        ("min-replicas-to-write", &*least),
    ];
    all.extend(is_tls.then_some(("tls-cluster", "yes")));
    let all = all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    all.chain(more.iter().cloned()).collect()
}
