//! File descriptors: each connection takes one, and many systems give a process few unless it asks.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// With fewer than this a busy server may have to let senders wait.
const PLENTY: u64 = 4_096;

/// Raises the soft limit of open files to the hard one, as every process may, and says so if that is still few.
pub(crate) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = current == maximum || setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let limit = if raised { maximum } else { current };
    if let Some(limit) = limit.filter(|limit| *limit < PLENTY) {
        tracing::warn!(
            event = "few_descriptors",
            limit,
            "few open files are allowed (ulimit -n): connections above that wait or fail; in systemd units: LimitNOFILE=65536"
        );
    }
}
