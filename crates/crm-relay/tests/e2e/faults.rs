//! Faults injected into the real system calls of the server with strace: no 2xx after the fault.

use std::{
    process::{Child, Command},
    time::Duration,
};

use crate::{
    process::{Process, Server, client, wait_for},
    sender::{Sender, Told},
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

/// I16: a disk that fills up is refused with 503 and left again by itself, without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_left_again_by_itself() {
    const GIB: u64 = 1 << 30;
    let dir = tempfile::tempdir().unwrap();
    let stat = rustix::fs::statvfs(dir.path()).unwrap();
    let free = stat.f_bavail * stat.f_frsize;
    assert!(free > 8 * GIB, "this test wants 8 GiB of free disk to reserve and release; it writes none of it");
    let reserve = (free - 2 * GIB).to_string();
    let mut server = Server::start(dir.path(), &[("DISK_RESERVE", &reserve)]);
    let sender = Sender::new();
    let url = server.url("/webhook");
    sender.post(&url, "before").await.unwrap().event();

    let hog = std::fs::File::create(dir.path().join("hog")).unwrap();
    rustix::fs::fallocate(&hog, rustix::fs::FallocateFlags::empty(), 0, 4 * GIB).unwrap();
    let told = answered_with(&sender, &url, 503).await;
    assert_eq!(told.code(), "store_full");
    assert!(told.headers.contains_key("retry-after"));

    // A restart on the full disk changes nothing of that.
    server.process.signal("TERM");
    assert!(server.process.wait().success());
    server.restart();
    assert_eq!(answered_with(&sender, &url, 503).await.code(), "store_full");

    // Room for settling is kept: what was accepted before is delivered while the disk is full.
    let target = Target::start(|_| Reply::status(200)).await;
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    wait_for("delivery on a full disk", || (target.count() >= 1).then_some(()));
    wait_for("settling on a full disk", || (server.queue_depth() == 0).then_some(()));

    std::fs::remove_file(dir.path().join("hog")).unwrap();
    drop(hog);
    answered_with(&sender, &url, 202).await;
    server.audit();
}

/// I24, I2: a disk that does not answer makes the server not ready, with the reason, and it is ready again once the disk is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_is_seen_by_who_asks() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let sender = Sender::new();
    let url = server.url("/readyz");
    let becomes = async |status| {
        while sender.send(http::Method::GET, &url, &[], Vec::new()).await.unwrap().status != status {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    sender.post(&server.url("/webhook"), "before").await.unwrap().event();
    becomes(200).await;
    let trace = dir.path().join("strace.log");
    let mut strace = Command::new("strace")
        .args(["-f", "-q", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=60000000"])
        .args(["-o", trace.to_str().unwrap(), "-p", &server.process.pid().to_string()])
        .spawn()
        .expect("strace is installed by `make test`");
    wait_for("strace to attach", || traced(server.process.pid()).then_some(()));
    let told = sender.post(&server.url("/webhook"), "hangs").await.unwrap();
    assert_eq!((told.status, told.code().as_str()), (503, "store_unavailable"));
    becomes(503).await;
    let health: serde_json::Value = serde_json::from_slice(&server.cli(&["health", "--json"]).stdout).unwrap();
    let reason = health["reasons"][0].as_str().unwrap();
    assert!(health["status"] == "degraded" && reason.starts_with("no commit for "), "{health:#}");
    strace.kill().unwrap();
    strace.wait().unwrap();
    becomes(200).await;
    answered_with(&sender, &server.url("/webhook"), 202).await;
    server.audit();
}

/// I16 under F3: a quota that is used up is a full disk, not a broken one, and is left again by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_quota_is_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let sender = Sender::new();
    let url = server.url("/webhook");
    sender.post(&url, "before").await.unwrap().event();
    let strace = without_room(&server, "EDQUOT", &["store.db-wal", "room.probe"]);
    assert_eq!(answered_with(&sender, &url, 503).await.code(), "store_full");
    end(strace);
    assert!(server.process.is_running(), "{}", server.process.log());
    answered_with(&sender, &url, 202).await;
    server.audit();
}

/// I16 under F3: a file system that copies what it overwrites may have no room for the ledger alone. Nobody hears 2xx, and it
/// is left again by itself; an error of the disk there ends the process for good (I17).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_without_room_is_a_full_disk() {
    for (error, is_final) in [("ENOSPC", false), ("EDQUOT", false), ("EIO", true)] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::start(dir.path(), &[]);
        let sender = Sender::new();
        let url = server.url("/webhook");
        sender.post(&url, "before").await.unwrap().event();
        let strace = without_room(&server, error, &["ledger"]);
        if is_final {
            // Its answer, if it comes to one, is no yes.
            assert!(sender.post(&url, "{}").await.is_none_or(|told| told.status == 503));
            assert_eq!(server.process.wait().code(), Some(74), "{}", server.process.log());
            end(strace);
            continue;
        }
        for _ in 0..3 {
            assert_eq!(sender.post(&url, "{}").await.unwrap().status, 503, "{error}");
        }
        end(strace);
        assert!(server.process.is_running(), "{}", server.process.log());
        answered_with(&sender, &url, 202).await;
        server.audit();
    }
}

/// I16 under F3: a server starts on a disk without a single free block, and announces itself once there is one.
#[test]
fn a_server_starts_where_not_even_its_announcement_finds_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    server.process.signal("TERM");
    assert!(server.process.wait().success());
    let (trace, file) = (dir.path().join("strace.log"), server.data_dir().join("run.new"));
    let (trace, file) = (trace.to_str().unwrap(), file.to_str().unwrap());
    // The first write of each of its threads.
    let inject = "inject=write:error=ENOSPC:when=1";
    // Comes back once `run.json` is there.
    server.restart_under(&["strace", "-D", "-f", "-q", "-o", trace, "-P", file, "-e", "trace=write", "-e", inject]);
    let refused = std::fs::read_to_string(trace).unwrap();
    assert!(refused.contains("ENOSPC"), "{refused}");
    assert!(server.process.log().contains("not_announced"), "{}", server.process.log());
    server.audit();
    server.process.signal("TERM");
    assert!(server.process.wait().success());
    assert!(!server.data_dir().join("run.json").exists() && !server.data_dir().join("run.new").exists());
}

/// I16 under F3: a disk that is too full for a new store is called that, and no damage.
#[test]
fn a_first_start_on_a_full_disk_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let file = |name| data.join(name).to_str().unwrap().to_owned();
    let (index, probe) = (file("store.db-shm"), file("room.probe"));
    let strace = ["strace", "-D", "-f", "-q", "-o", "/dev/null", "-P", &index, "-P", &probe];
    let inject = ["-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC"];
    let env = [("DATA_DIR", data.to_str().unwrap()), ("SERVER_PORT", "0"), ("ADMIN_LISTEN", "off")];
    let wrapper: Vec<&str> = strace.into_iter().chain(inject).collect();
    let mut server = Process::start_under(&wrapper, &dir.path().join("server.log"), &["server"], &env);
    assert_eq!(server.wait().code(), Some(74), "{}", server.log());
    let log = server.log();
    assert!(log.contains("no space left") && !log.contains("damaged"), "{log}");
    let mut server = Process::start(&dir.path().join("server.log"), &["server"], &env);
    wait_for("a start with room", || data.join("run.json").exists().then_some(()));
    server.signal("TERM");
    assert!(server.wait().success(), "{}", server.log());
}

/// Lets the server's writes into these files of its data directory fail, until [`end`].
fn without_room(server: &Server, error: &str, files: &[&str]) -> Child {
    let log = server.data_dir().with_extension("strace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-q", "-e", "trace=pwrite64", "-e", &format!("inject=pwrite64:error={error}"), "-o"]).arg(log);
    for file in files {
        strace.arg("-P").arg(server.data_dir().join(file));
    }
    strace.args(["-p", &server.process.pid().to_string()]).stderr(std::process::Stdio::null());
    let strace = strace.spawn().expect("strace is installed by `make test`");
    wait_for("strace to attach", || traced(server.process.pid()).then_some(()));
    strace
}

fn end(mut strace: Child) {
    // It has ended by itself where the server has.
    drop(Command::new("kill").args(["-INT", &strace.id().to_string()]).stderr(std::process::Stdio::null()).status());
    strace.wait().unwrap();
}

/// Posts until an answer has this status.
async fn answered_with(sender: &Sender, url: &str, status: u16) -> Told {
    for _ in 0..600 {
        let told = sender.post(url, "{}").await.unwrap();
        if told.status == status {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never answered with {status}");
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
pub(crate) fn traced(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.filter_map(Result::ok).all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    })
}
