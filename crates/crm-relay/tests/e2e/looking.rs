//! Commands that look into a data directory while its server is away: they never keep a server from starting.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use crate::{
    process::{Server, run, wait_for},
    sender::Sender,
};

/// A server with something in its store.
async fn filled(dir: &std::path::Path) -> Server {
    let server = Server::start(dir, &[]);
    let sender = Sender::new();
    for _ in 0..100 {
        sender.post(&server.url("/webhook"), "x".repeat(30_000)).await.unwrap().event();
    }
    server
}

/// I18: whatever looks while the server is killed and started, every start succeeds, and nobody who looks hears of a fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_keeps_no_server_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = filled(dir.path()).await;
    let data = server.data_dir();
    let backups = dir.path().join("backups");
    std::fs::create_dir(&backups).unwrap();
    let env = [("DATA_DIR", data.to_str().unwrap())];
    let (stop, looked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for args in [&["status"][..], &["audit"], &["event", "list"], &["store", "backup"]] {
            let (dir, backups, looked, stop) = (dir.path(), &backups, &looked, &stop);
            scope.spawn(move || {
                for round in 0.. {
                    let into = backups.join(round.to_string());
                    let mut args = args.to_vec();
                    if args[0] == "store" {
                        args.push(into.to_str().unwrap());
                    }
                    let output = run(dir, &args, &env);
                    let told = String::from_utf8_lossy(&output.stderr).into_owned();
                    looked.fetch_add(1, Ordering::Relaxed);
                    // One who has just asked a server that is killed hears that.
                    assert!(matches!(output.status.code(), Some(0 | 69)), "{args:?}: {told}");
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        for _ in 0..8 {
            server.process.kill();
            let before = looked.load(Ordering::Relaxed);
            wait_for("commands to look", || (looked.load(Ordering::Relaxed) > before + 1).then_some(()));
            server.restart();
        }
        stop.store(true, Ordering::Relaxed);
    });
    server.audit();
    let log = server.process.log();
    assert!(!log.contains("ERROR"), "{log}");
}

/// A command that only reads changes nothing, and several may do so at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_looks_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = filled(dir.path()).await;
    server.process.kill();
    let data = server.data_dir();
    let content = || {
        let read = |name: &str| std::fs::read(data.join(name)).unwrap();
        ["store.db", "store.db-wal", "ledger", "store.lock"].map(read)
    };
    let before = content();
    for args in [&["status"][..], &["audit"], &["delivery", "list"], &["source", "list"], &["store", "backup", "copy"]]
    {
        let output = server.cli(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(content() == before, "{args:?} has changed something");
    }
    server.restart();
    server.audit();
}

/// A check reads for long; a server that is started meanwhile need not wait for it, and one that runs is not read beside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_gives_way_to_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = filled(dir.path()).await;
    let refused = server.cli(&["store", "check"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(69), "{told}");
    let data = server.data_dir();
    let env = [("DATA_DIR", data.to_str().unwrap())];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let output = run(dir.path(), &["store", "check"], &env);
                let told = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(matches!(output.status.code(), Some(0 | 69)), "{told}");
            }
        });
        for _ in 0..6 {
            server.process.kill();
            server.restart();
        }
        stop.store(true, Ordering::Relaxed);
    });
    server.audit();
}
