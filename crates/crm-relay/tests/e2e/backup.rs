//! Backups of a running server: who writes them, what they cost, and what ends them.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    process::{Process, Server, run, wait_for},
    sender::Sender,
};

/// A server with so much in its store that a copy does not fit into what waits between it and a command.
async fn filled(dir: &std::path::Path) -> Server {
    let server = Server::start(dir, &[("SHUTDOWN_GRACE", "20s")]);
    let sender = Sender::new();
    for _ in 0..40 {
        sender.post(&server.url("/webhook"), "x".repeat(1 << 20)).await.unwrap().event();
    }
    server
}

/// Asks for a backup over the admin socket and takes nothing of it but its beginning.
fn stalled(server: &Server) -> UnixStream {
    let mut socket = UnixStream::connect(server.data_dir().join("admin.sock")).unwrap();
    let body = "{}";
    write!(
        socket,
        "POST /api/v1/store/backup HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut head = [0; 15];
    socket.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    socket
}

/// I18, S39: the command writes the copy, for its owner alone whatever the umask; it restores, says what nobody can know,
/// and that there are no credentials in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_travels_to_the_command_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = filled(dir.path()).await;
    let into = dir.path().join("copies/first");
    let into_text = into.to_str().unwrap();
    let refused = server.cli(&["store", "backup", into_text]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("mkdir -p"), "{told}");
    fs::create_dir(dir.path().join("copies")).unwrap();
    let data = server.data_dir();
    let made = Command::new("sh")
        .args(["-c", "umask 000; exec \"$0\" store backup \"$1\" --data-dir \"$2\" --json"])
        .args([env!("CARGO_BIN_EXE_crm-relay"), into_text, data.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["events"], 40);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&into), 0o700);
    for name in ["store.db", "manifest.json"] {
        assert_eq!(mode(&into.join(name)), 0o600, "{name}");
    }
    let again = server.cli(&["store", "backup", into_text]);
    assert_eq!(again.status.code(), Some(1));
    assert!(into.join("manifest.json").exists(), "what is there is not touched");

    // The same from elsewhere, with a token.
    let remote = dir.path().join("copies/remote");
    let url = format!("http://{}", server.admin);
    let args = ["store", "backup", remote.to_str().unwrap(), "--admin-url", &url];
    let made = run(dir.path(), &args, &[("ADMIN_TOKEN", crate::process::ADMIN_TOKEN)]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    Sender::new().post(&server.url("/webhook"), "after").await.unwrap().event();
    server.process.signal("TERM");
    assert!(server.process.wait().success());
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(data.join(name));
    }
    let restored = server.cli(&["store", "restore", into_text]);
    let told = String::from_utf8_lossy(&restored.stdout).into_owned();
    assert!(restored.status.success() && told.contains("at most 1 events"), "{told}");
    assert!(told.contains("no credentials") && told.contains("401"), "{told}");
    let unknown = server.json(&["audit"])["unknown"].clone();
    assert_eq!(unknown[0]["events"], 1, "{unknown}");
    server.restart();
    server.audit();
}

/// I18: the drill. A machine is lost, with what came after the newest copy that the server took; the copy is restored elsewhere. What
/// lies between is named as unknown: without its ledger by its span alone, with it by how many events it may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_machine_is_restored_from_the_copy_that_the_server_took() {
    let dir = tempfile::tempdir().unwrap();
    let mut lost = filled(dir.path()).await;
    lost.process.signal("TERM");
    assert!(lost.process.wait().success());
    let copies = dir.path().join("copies");
    fs::create_dir(&copies).unwrap();
    fs::set_permissions(&copies, fs::Permissions::from_mode(0o700)).unwrap();
    // It is due: there is none.
    let mut lost = Server::start(dir.path(), &[("BACKUP_DIR", copies.to_str().unwrap())]);
    let taken = wait_for("the server to copy its store", || {
        let status = lost.json(&["status"]);
        status["backup"]["path"].as_str().map(str::to_owned)
    });
    for _ in 0..3 {
        Sender::new().post(&lost.url("/webhook"), "after the copy").await.unwrap().event();
    }
    lost.process.kill();
    for (left, ledger) in [("nothing", None), ("ledger", Some(lost.data_dir().join("ledger")))] {
        let machine = dir.path().join(left);
        fs::create_dir(&machine).unwrap();
        let mut elsewhere = Server::start(&machine, &[]);
        elsewhere.process.kill();
        let data = elsewhere.data_dir();
        fs::remove_dir_all(&data).unwrap();
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        if let Some(ledger) = &ledger {
            fs::copy(ledger, data.join("ledger")).unwrap();
        }
        let restored = elsewhere.cli(&["store", "restore", &taken]);
        let told = String::from_utf8_lossy(&restored.stdout).into_owned();
        assert!(restored.status.success() && told.contains("holds 40 events again"), "{told}");
        assert_eq!(told.contains("at most 3 events"), ledger.is_some(), "{told}");
        elsewhere.restart();
        elsewhere.audit();
        let unknown = &elsewhere.json(&["audit"])["unknown"];
        let events = unknown[0]["events"].as_u64();
        assert_eq!((unknown.as_array().unwrap().len(), events), (1, ledger.map(|_| 3)), "{unknown}");
        Sender::new().post(&elsewhere.url("/webhook"), "it goes on").await.unwrap().event();
    }
}

/// I22: a stop ends a backup that nobody takes, at once and well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = filled(dir.path()).await;
    let mut socket = stalled(&server);
    let second = server.cli(&["store", "backup", dir.path().join("second").to_str().unwrap()]);
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(told.contains("another backup") && told.contains("nothing of it is left"), "{told}");
    assert!(!dir.path().join("second").exists());
    let began = Instant::now();
    server.process.signal("TERM");
    let status = server.process.wait();
    assert_eq!(status.code(), Some(0), "{}", server.process.log());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // Whoever reads on finds an end that is none of a copy.
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest);
    assert!(!rest.windows(8).any(|window| window == b"\"sha256\""));
}

/// I1, I18 under F1: a server that is killed while a backup is taken has lost nothing; the next backup is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_during_a_backup_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = filled(dir.path()).await;
    let socket = stalled(&server);
    Sender::new().post(&server.url("/webhook"), "meanwhile").await.unwrap().event();
    server.process.kill();
    drop(socket);
    server.restart();
    server.audit();
    let into = dir.path().join("backup");
    let made = server.json(&["store", "backup", into.to_str().unwrap()]);
    assert_eq!(made["events"], 41);
    let restored = run(dir.path(), &["store", "restore", "backup", "--data-dir", "restored"], &[]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let audit = run(dir.path(), &["audit", "--json", "--data-dir", "restored"], &[]);
    let audit: serde_json::Value = serde_json::from_slice(&audit.stdout).unwrap();
    assert_eq!((&audit["ok"], &audit["events"][0]["stored"]), (&true.into(), &41.into()), "{audit:#}");
}

/// I17 under F3: an error of the disk that a backup meets is one of the store: nothing is acknowledged any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_error_in_a_backup_stops_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = filled(dir.path()).await;
    let database = server.data_dir().join("store.db");
    let trace = dir.path().join("strace.log");
    let mut strace = Command::new("strace")
        .args(["-f", "-q", "-e", "trace=pread64", "-e", "inject=pread64:error=EIO", "-P"])
        // Not the log: what moves it into the database would meet the error before the backup does.
        .args([database.as_os_str(), "-o".as_ref(), trace.as_os_str(), "-p".as_ref()])
        .arg(server.process.pid().to_string())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("strace is installed by `make test`");
    wait_for("strace to attach", || crate::faults::traced(server.process.pid()).then_some(()));
    let into = dir.path().join("backup");
    let failed = server.cli(&["store", "backup", into.to_str().unwrap()]);
    // The server may be gone before it has answered.
    assert!(matches!(failed.status.code(), Some(74 | 69)), "{}", String::from_utf8_lossy(&failed.stderr));
    assert!(!into.exists());
    assert_eq!(server.process.wait().code(), Some(74), "{}", server.process.log());
    strace.wait().unwrap();
}

/// S39: a data directory that others may write is refused, with what mends it; no link in one is followed.
#[test]
fn a_data_dir_that_others_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = run(dir.path(), &["server", "--data-dir", data.to_str().unwrap()], &[]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{told}");
    assert!(told.contains("chmod go-w"), "{told}");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let victim = dir.path().join("victim");
    for name in ["store.db", "store.lock", "ledger", "credentials"] {
        fs::write(&victim, "precious").unwrap();
        let link = data.join(name);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        let refused = run(dir.path(), &["server", "--data-dir", data.to_str().unwrap(), "--server-port", "0"], &[]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{name}: {told}");
        assert!(told.contains("symbolic link"), "{name}: {told}");
        assert_eq!(fs::read(&victim).unwrap(), b"precious", "{name}");
        fs::remove_file(&link).unwrap();
    }
    for name in ["run.new", "run.json", "credentials.new", "admin.sock.new", "ballast"] {
        let _ = fs::remove_file(data.join(name));
        std::os::unix::fs::symlink(&victim, data.join(name)).unwrap();
    }
    let server = Server::start(dir.path(), &[]);
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    for entry in fs::read_dir(server.data_dir()).unwrap() {
        let entry = entry.unwrap();
        let found = entry.metadata().unwrap();
        assert!(found.is_symlink() || found.permissions().mode() & 0o777 == 0o600, "{entry:?}");
    }
}

/// What somebody tries out in a project is not committed with it, and takes no room for a full disk.
#[test]
fn dev_keeps_its_directory_out_of_the_project() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("ADMIN_LISTEN", "off"), ("SERVER_PORT", "0")];
    let mut dev = Process::start(&dir.path().join("dev.log"), &["dev", "--data-dir", "data"], &env);
    let data = dir.path().join("data");
    wait_for("dev to serve", || {
        assert!(dev.is_running(), "{}", dev.log());
        data.join("run.json").exists().then_some(())
    });
    assert_eq!(fs::read_to_string(data.join(".gitignore")).unwrap(), "*\n");
    assert!(!data.join("ballast").exists());
}
