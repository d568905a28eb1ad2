//! Where the servers of these tests have their store: in one Redis, each under a name of its own.

use std::{path::Path, sync::LazyLock};

pub(crate) use crate::node::free_port;
use crate::node::{Node, Server};

/// A Redis with a port.
pub(crate) struct Redis {
    pub(crate) node: Node,
    pub(crate) port: u16,
}

impl Redis {
    /// One that is empty, with these settings beside the usual ones.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        Self::at(free_port(), settings)
    }

    /// The same at this port.
    pub(crate) fn at(port: u16, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = std::iter::once(("port".to_owned(), port.to_string())).chain(settings).collect();
        Self { node: Node::with(Server::Installed, settings), port }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// So often the torture kills somebody, unless told otherwise.
pub(crate) const KILLS: u64 = 10;

/// What a server is told besides whose clock is hurried: two seconds of it are thirty milliseconds, which a busy Redis takes.
pub(crate) const HURRIED: [(&str, &str); 1] = [("REDIS_TIMEOUT", "1m")];

/// What a server in `dir` is told of it; the same over its restarts. What a server held that was killed is leased again once that
/// is over, since nobody knows that it is gone for good: a short LEASE lets tests go on.
pub(crate) fn settings(dir: &Path) -> Vec<(&'static str, String)> {
    static REDIS: LazyLock<Redis> = LazyLock::new(|| Redis::start(&[]));
    let name = dir.file_name().expect("a directory has a name").to_string_lossy().into_owned();
    vec![("REDIS_URL", REDIS.url()), ("STREAM_NAME", format!("test{name}")), ("LEASE", "5s".to_owned())]
}
