//! Faults injected into the real system calls of the server with strace: no 2xx after the fault.

use std::process::Command;

use crate::{
    process::{Server, client, wait_for},
    sender::Sender,
    target::{Reply, Target},
};

/// I17 under F3: after a failed fsync, at whichever of the first calls, the server never acknowledges again and ends
/// with 74; what it acknowledged before is there after the restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledgement_follows_a_failed_fsync() {
    for call in [1, 2, 3, 7, 20] {
        survive("fsync,fdatasync", "EIO", call).await;
    }
}

/// I17 under F3: the same for writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledgement_follows_a_failed_write() {
    for call in [1, 5, 12, 40] {
        survive("pwrite64", "EIO", call).await;
    }
}

async fn survive(calls: &str, error: &str, when: u32) {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let inject = format!("inject={calls}:error={error}:when={when}+");
    let trace = dir.path().join("strace.log");
    // Attached only once the server serves, so that `when` counts the calls of accepting.
    let mut strace = Command::new("strace")
        .args(["-f", "-q", "-e", &format!("trace={calls}"), "-e", &inject, "-o", trace.to_str().unwrap(), "-p"])
        .arg(server.process.pid().to_string())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("strace is installed by `make test`");
    wait_for("strace to attach", || traced(server.process.pid()).then_some(()));

    let sender = Sender::new();
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    while refused < 20 && server.process.is_running() {
        match sender.post(&server.url("/webhook"), format!("body {}", acknowledged.len())).await {
            Some(told) if told.status == 202 => {
                assert_eq!(refused, 0, "I17: a 2xx after a refusal, {calls} {error} at call {when}");
                acknowledged.push(told.event());
            }
            Some(told) => {
                assert_eq!(told.status, 503, "{told:?}");
                refused += 1;
            }
            None => refused += 1,
        }
        assert!(acknowledged.len() < 1000, "the fault never came: {calls} {error} at call {when}");
    }
    let status = server.process.wait();
    strace.wait().unwrap();
    assert_eq!(status.code(), Some(74), "{}", server.process.log());

    server.restart();
    let target = Target::start(|_| Reply::status(200)).await;
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    wait_for("what was acknowledged to arrive", || {
        let delivered = target.delivered();
        acknowledged.iter().all(|event| delivered.contains_key(event)).then_some(())
    });
    server.audit();
}

/// Whether every thread of a process is being traced.
fn traced(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.filter_map(Result::ok).all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    })
}
