//! A log that cannot be written, or that nobody reads: the relay goes on as if there were none.

use std::{
    fs::File,
    io::{PipeReader, PipeWriter, Write as _},
    path::Path,
    process::Stdio,
    time::Duration,
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::{
    process::{API_KEY, PATIENCE, Process, RELAY_TOKEN, binary_in, run, wait_for},
    sender::Sender,
    target::{Reply, Target},
};

/// Where its log goes.
#[derive(Clone, Copy, Debug)]
enum Log {
    /// Onto a full disk.
    Full,
    /// To a reader that is gone.
    Closed,
    /// To a reader that reads nothing.
    Stalled,
}

/// A process whose output goes there; a stalled reader comes with it.
fn start(log: Log, dir: &Path, args: &[&str], env: &[(&str, &str)]) -> (Process, Option<PipeReader>) {
    let mut command = binary_in(dir, args, env);
    let reader = match log {
        Log::Full => {
            let full = File::options().write(true).open("/dev/full").unwrap();
            command.stdout(full.try_clone().unwrap()).stderr(full);
            None
        }
        Log::Closed | Log::Stalled => {
            let (reader, mut writer) = std::io::pipe().unwrap();
            if matches!(log, Log::Stalled) {
                fill(&mut writer);
            }
            command.stdout(writer.try_clone().unwrap()).stderr(writer);
            matches!(log, Log::Stalled).then_some(reader)
        }
    };
    (Process::of(command.stdin(Stdio::null()).spawn().unwrap(), dir.join("nothing.log")), reader)
}

/// Writes to a pipe until it is full.
fn fill(pipe: &mut PipeWriter) {
    let flags = fcntl_getfl(&*pipe).unwrap();
    fcntl_setfl(&*pipe, flags | OFlags::NONBLOCK).unwrap();
    while pipe.write_all(&[b'\n'; 512]).is_ok() {}
    fcntl_setfl(&*pipe, flags).unwrap();
}

/// What `data` announced: where the public listener is.
fn public(data: &Path) -> std::net::SocketAddr {
    let run: serde_json::Value = wait_for("the server to announce itself", || {
        serde_json::from_slice(&std::fs::read(data.join("run.json")).ok()?).ok()
    });
    run["public"].as_str().unwrap().parse().unwrap()
}

/// What a server is started with that keeps its things in `data`.
fn of_server(data: &Path) -> Vec<(&'static str, &str)> {
    vec![
        ("DATA_DIR", data.to_str().unwrap()),
        ("SERVER_HOST", "127.0.0.1"),
        ("SERVER_PORT", "0"),
        ("ADMIN_LISTEN", "off"),
        ("API_KEY", API_KEY),
        ("RELAY_TOKEN", RELAY_TOKEN),
        ("DISK_RESERVE", "1MiB"),
        ("LOG_LEVEL", "trace"),
        ("RETRY_DELAY", "10ms"),
        ("MAX_RETRIES", "1"),
    ]
}

/// F3, I16, I24: whatever becomes of their logs, a server takes webhooks, a client forwards them, and both end as they should.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_ends_nothing() {
    for log in [Log::Full, Log::Closed] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let (mut server, _) = start(log, dir.path(), &["server"], &of_server(&data));
        let server_url = format!("http://{}", public(&data));
        let target = Target::start(|seen| Reply::status(if *seen.body == *b"bad" { 422 } else { 200 })).await;
        let to = target.url("/");
        let env = [
            ("RELAY_URL", server_url.as_str()),
            ("RELAY_TOKEN", RELAY_TOKEN),
            ("LOCAL_WEBHOOK_URL", &to),
            ("LOG_LEVEL", "trace"),
        ];
        let (mut client, _) = start(log, dir.path(), &["client"], &env);
        let sender = Sender::new();
        let url = format!("{server_url}/webhook");
        // A refused sender, a delivery that dies, a client that leaves: each has its line.
        assert_eq!(sender.post(&format!("{server_url}/webhook/nobody"), "x").await.unwrap().status, 404);
        for body in ["bad", "good", "bad", "good"] {
            sender.post(&url, body).await.unwrap().event();
        }
        wait_for("all to be tried", || (target.count() >= 6).then_some(()));
        client.signal("TERM");
        assert_eq!(client.wait().code(), Some(0), "{log:?}: the client");
        sender.post(&url, "after").await.unwrap().event();
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0), "{log:?}: the server");
        let audit = run(dir.path(), &["audit"], &[("DATA_DIR", data.to_str().unwrap())]);
        assert!(audit.status.success());
    }
}

/// The same for `dev`, which shows each webhook too, and for its built-in receiver.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_goes_on_when_nobody_reads_what_it_shows() {
    for log in [Log::Full, Log::Closed, Log::Stalled] {
        let dir = tempfile::tempdir().unwrap();
        let env = [("SERVER_PORT", "0"), ("API_KEY", API_KEY), ("DISK_RESERVE", "1MiB")];
        let (mut dev, reader) = start(log, dir.path(), &["dev"], &env);
        let data = dir.path().join("crm-relay-dev");
        let url = format!("http://{}/webhook", public(&data));
        let sender = Sender::new();
        for _ in 0..20 {
            sender.post(&url, "x".repeat(4_000)).await.unwrap().event();
        }
        let status = || run(dir.path(), &["health", "--json"], &[("DATA_DIR", data.to_str().unwrap())]);
        wait_for("all to be delivered", || {
            let health: serde_json::Value = serde_json::from_slice(&status().stdout).ok()?;
            (health["queue_depth"] == 0).then_some(())
        });
        dev.signal("TERM");
        assert_eq!(dev.wait().code(), Some(0), "{log:?}");
        drop(reader);
    }
}

/// I15, I22: a log whose reader stalls stops neither webhooks nor the end of the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_reader_stalls_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (mut server, reader) = start(Log::Stalled, dir.path(), &["server"], &of_server(&data));
    let server_url = format!("http://{}", public(&data));
    let sender = Sender::new();
    for _ in 0..20 {
        sender.post(&format!("{server_url}/webhook"), "x").await.unwrap().event();
        assert_eq!(sender.post(&format!("{server_url}/webhook/nobody"), "x").await.unwrap().status, 404);
    }
    let url = format!("{server_url}/readyz");
    let ready = sender.send(http::Method::GET, &url, &[], Vec::new());
    assert_eq!(tokio::time::timeout(PATIENCE, ready).await.unwrap().unwrap().status, 200);
    let asked = std::time::Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    drop(reader);
}

/// What ends a process that cannot start is said where it can be, and its code is the documented one where it cannot.
#[test]
fn a_process_that_cannot_start_says_so_or_ends_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("DATA_DIR", "data"), ("API_KEY", "short")];
    let said = run(dir.path(), &["server"], &env);
    assert_eq!(said.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&said.stderr).contains("API_KEY"));
    for log in [Log::Full, Log::Closed] {
        assert_eq!(start(log, dir.path(), &["server"], &env).0.wait().code(), Some(78), "{log:?}");
        // A result that nobody reads, or that cannot be written.
        let wants = if matches!(log, Log::Full) { 74 } else { 0 };
        assert_eq!(start(log, dir.path(), &["provider", "list"], &[]).0.wait().code(), Some(wants), "{log:?}");
    }
}
