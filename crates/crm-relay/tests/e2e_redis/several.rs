//! Several servers on one Redis, each with a way of its own to it, behind one front.

use std::net::SocketAddr;

use crate::{
    front::Front,
    process::{Process, Server, client, wait_for},
    store::Redis,
    target::Target,
    way::Way,
};

/// What all their keys begin with.
const STREAM_NAME: &str = "several";

/// Servers that share a store.
pub(crate) struct Several {
    pub(crate) servers: Vec<Server>,
    /// Of each to the Redis.
    pub(crate) ways: Vec<Way>,
    /// Before all of them.
    pub(crate) front: Front,
    pub(crate) redis: Redis,
    pub(crate) dir: tempfile::TempDir,
}

impl Several {
    /// Three of them, with these settings beside the usual ones.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let redis = Redis::start(&[]);
        let (mut servers, mut ways) = (Vec::new(), Vec::new());
        for name in ["a", "b", "c"] {
            let way = Way::to(redis.port).await;
            let url = way.url();
            let home = dir.path().join(name);
            std::fs::create_dir(&home).unwrap();
            let of_store = [("REDIS_URL", url.as_str()), ("STREAM_NAME", STREAM_NAME), ("LEASE", "60s")];
            servers.push(Server::start(&home, &[&of_store[..], settings].concat()));
            ways.push(way);
        }
        let front = Front::start(servers.iter().map(|server| server.public).collect()).await;
        let all = Self { servers, ways, front, redis, dir };
        all.hear_of_each_other();
        all
    }

    /// Until each knows of the others.
    pub(crate) fn hear_of_each_other(&self) {
        let others = self.servers.len() - 1;
        for server in &self.servers {
            let heard = || server.json(&["status"])["servers"].as_array().is_some_and(|known| known.len() == others);
            wait_for("servers to hear of each other", || heard().then_some(()));
        }
    }

    /// A client at this address, whose tries come to a path of the target that is its own.
    pub(crate) fn client(&self, name: &str, at: SocketAddr, target: &Target, more: &[(&str, &str)]) -> Process {
        client(self.dir.path(), name, at, &[("default", target.url(&format!("/{name}")))], more)
    }

    /// Leases that stand, by what the Redis has of them.
    pub(crate) fn leases(&self) -> u64 {
        let keys = format!("{STREAM_NAME}:*:leases");
        let script = b"local n = 0 for _, key in ipairs(redis.call('KEYS', ARGV[1])) do n = n + redis.call('ZCARD', key) end return n";
        let answer = self.redis.node.ask(&[b"EVAL", script, b"0", keys.as_bytes()]);
        answer.trim_start_matches(':').trim().parse().unwrap()
    }

    /// Until nothing is on its way any more; then counts everything again.
    pub(crate) fn settle(&self) {
        wait_for("the queue to empty", || (self.servers[0].queue_depth() == 0).then_some(()));
        self.servers[0].audit();
    }
}
