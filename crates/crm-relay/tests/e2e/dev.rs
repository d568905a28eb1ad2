//! `dev`: server and client in one process, and each half takes the other with it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use crate::{
    faults::traced,
    port::free_port,
    process::{API_KEY, Process, wait_for},
    sender::Sender,
};

/// `dev` in a directory, on any port.
fn dev(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Process {
    let usual = [("SERVER_PORT", "0"), ("API_KEY", API_KEY), ("DISK_RESERVE", "1MiB")];
    let env: Vec<(&str, &str)> = usual.into_iter().chain(env.iter().copied()).collect();
    Process::start(&dir.join("dev.log"), &[&["dev"], args].concat(), &env)
}

/// Where its public listener is, once it serves.
fn public(dir: &Path) -> SocketAddr {
    let run: serde_json::Value = wait_for("dev to announce itself", || {
        serde_json::from_slice(&std::fs::read(dir.join("crm-relay-dev/run.json")).ok()?).ok()
    });
    run["public"].as_str().unwrap().parse().unwrap()
}

/// I17 under F3: the client of a server whose store has failed does not keep the process alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_ends_with_74_when_its_store_fails() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = dev(dir.path(), &[], &[]);
    let url = format!("http://{}/webhook", public(dir.path()));
    let mut strace = Command::new("strace")
        .args([
            "-f",
            "-q",
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            "inject=fsync,fdatasync:error=EIO",
            "-o",
            "/dev/null",
            "-p",
        ])
        .arg(process.pid().to_string())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("strace is installed by `make test`");
    wait_for("strace to attach", || traced(process.pid()).then_some(()));
    let told = Sender::new().post(&url, "lost with the disk").await;
    assert!(told.is_none_or(|told| told.status == 503), "nothing is acknowledged");
    assert_eq!(process.wait().code(), Some(74), "{}", process.log());
    strace.wait().unwrap();
}

/// A client that cannot start ends the server that was started for it, before anything was promised.
#[test]
fn dev_ends_at_once_when_its_client_cannot_start() {
    let dir = tempfile::tempdir().unwrap();
    // What comes through a pipe is not looked at before: it can be read once only.
    let pipe = dir.path().join("ca.pem");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = std::thread::spawn(move || std::fs::write(pipe, "no certificate").unwrap());
    let declared = "[destination.default]\nurl = \"https://localhost:1/\"\nca_file = \"ca.pem\"\n";
    std::fs::write(dir.path().join("crm-relay.toml"), declared).unwrap();
    let mut process = dev(dir.path(), &[], &[]);
    assert_eq!(process.wait().code(), Some(78), "{}", process.log());
    writer.join().unwrap();
    let log = process.log();
    assert!(log.contains("target of destination default") && !log.contains("post to"), "{log}");
    assert!(!dir.path().join("crm-relay-dev/run.json").exists(), "it does not say that it runs");
}

/// What `dev` has otherwise than `server` is a default of the process: the file says more. A taken admin port, which
/// nobody asked for, is nobody's hindrance.
#[test]
fn dev_listens_where_the_file_says_and_at_any_admin_port() {
    let dir = tempfile::tempdir().unwrap();
    let _taken = TcpListener::bind("127.0.0.1:8081");
    let first = dev(dir.path(), &[], &[]);
    assert!(public(dir.path()).ip().is_loopback(), "what is tried out stays on this machine");
    drop(first);
    std::fs::remove_file(dir.path().join("crm-relay-dev/run.json")).unwrap();
    std::fs::write(dir.path().join("crm-relay.toml"), "server_host = \"0.0.0.0\"\n").unwrap();
    let _second = dev(dir.path(), &[], &[]);
    assert!(public(dir.path()).ip().is_unspecified(), "the file's word");
}

/// `dev --to` says in a line what became of each webhook, once that a target is away, and once that it is back; a hangup
/// of a service ends nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_tells_of_each_webhook_in_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let place = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let process = dev(dir.path(), &["--to", &format!("{place}/hook?token=not-to-be-shown"), "--show", "body"], &[]);
    let url = format!("http://{}/webhook/default/a?x=1", public(dir.path()));
    let sender = Sender::new();
    sender.post(&url, "{\"order\":1}").await.unwrap().event();
    wait_for("word of the target", || process.log().contains(&format!("{place} is away: ")).then_some(()));
    process.signal("HUP");
    wait_for("word of the hangup", || process.log().contains("hangup").then_some(()));

    let receiver = Process::start(&dir.path().join("receiver.log"), &["receive", "--listen", &place.to_string()], &[]);
    wait_for("the line of the webhook", || process.log().contains(" 200 POST /a?x=1 ").then_some(()));
    let log = process.log();
    assert_eq!(log.matches("is away").count(), 1, "{log}");
    assert!(log.contains("answers again after") && log.contains("\"order\": 1"), "{log}");
    assert!(!log.contains("token=not-to-be-shown ") && !log.contains("forward_failed"), "{log}");
    drop(receiver);
}

/// I3: what the relay takes its own receiver takes: queries with bytes that senders leave raw and no URI holds.
#[test]
fn the_receiver_of_dev_takes_whatever_the_relay_takes() {
    let dir = tempfile::tempdir().unwrap();
    let process = dev(dir.path(), &[], &[]);
    for query in [b"q={\"a\":1}".as_slice(), b"plain=1", b"x=<b>&n=J\xfcrgen", b"{}|^`%zz"] {
        let fields = format!(" HTTP/1.1\r\nHost: a\r\nX-API-Key: {API_KEY}\r\nContent-Length: 2\r\n\r\nhi");
        let mut sender = TcpStream::connect(public(dir.path())).unwrap();
        sender.write_all(&[b"POST /webhook?", query, fields.as_bytes()].concat()).unwrap();
        let mut answer = [0; 12];
        sender.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 202");
        let line = format!(" POST /?{} -> 200", String::from_utf8_lossy(query));
        wait_for("the receiver's line", || process.log().contains(&line).then_some(()));
    }
}
