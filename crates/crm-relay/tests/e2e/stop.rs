//! I22: SIGTERM under load loses nothing and causes no duplicate.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Command,
};

use crate::{
    process::{API_KEY, Process, RELAY_TOKEN, Server, client, wait_for},
    target::{Reply, Target},
    torture::Load,
};

/// I22, I9: a server and a client are stopped in turn under load; no event is lost, none arrives twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_loses_and_duplicates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(204)).await;
    let mut server = Server::start(dir.path(), &[]);
    let targets = [("default", target.url("/"))];
    let mut first = client(dir.path(), "first", server.public, &targets, &[]);
    let _second = client(dir.path(), "second", server.public, &targets, &[]);
    let load = Load::start(&server.url("/webhook"));

    for round in 0..3 {
        let enough = target.count() + 100;
        wait_for("the load to flow", || (target.count() >= enough).then_some(()));
        first.signal("TERM");
        let status = first.wait();
        assert!(status.success(), "the client ended with {status}: {}", first.log());
        server.process.signal("TERM");
        let status = server.process.wait();
        assert!(status.success(), "the server ended with {status}: {}", server.process.log());
        server.restart();
        first = client(dir.path(), &format!("first-{round}"), server.public, &targets, &[]);
    }

    let history = load.stop().await;
    wait_for("every acknowledged event to arrive", || (history.missing(&target.delivered()) == 0).then_some(()));
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    server.audit();
    let findings = history.check(&target.arrivals());
    assert_eq!(findings.duplicates, 0, "I22: a graceful stop causes no duplicate");
}

/// I22: the second signal ends the process at once, although a forward still hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_client_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::hang()).await;
    let server = Server::start(dir.path(), &[]);
    let mut client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    crate::sender::Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    wait_for("the forward to begin", || (target.count() == 1).then_some(()));
    client.signal("TERM");
    wait_for("the client to say that it stops", || client.log().to_lowercase().contains("stopping").then_some(()));
    assert!(client.is_running());
    client.signal("TERM");
    let status = client.wait();
    assert!(!status.success());
}

/// I22: a server that is to stop says so to balancers at once and takes webhooks for `STOP_DELAY`, also those of who connects only then; a second
/// signal ends the delay, and what follows is the stop of always.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_stop_takes_webhooks_and_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[("STOP_DELAY", "1h")]);
    server.process.signal("TERM");
    wait_for("the server to say that it stops", || server.process.log().contains("stop_delayed").then_some(()));
    let asked = crate::sender::Sender::new().send(http::Method::GET, &server.url("/readyz"), &[], "").await;
    let ready = asked.unwrap();
    assert_eq!((ready.status, &ready.body[..]), (503, &b"shutting_down\n"[..]));
    for _ in 0..3 {
        crate::sender::Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    }
    assert!(server.process.is_running());
    server.process.signal("TERM");
    assert_eq!(server.process.wait().code(), Some(0), "{}", server.process.log());
}

/// I22: strangers who upload, have sent half a head or have never said anything do not hold a server up: uploads are told, and
/// the process ends with 0.
#[test]
fn strangers_do_not_hold_a_stop_up() {
    let dir = tempfile::tempdir().unwrap();
    // Less than the patience for heads and bodies: to wait for one of them is to exceed the grace.
    let mut server = Server::start(dir.path(), &[("SHUTDOWN_GRACE", "8s")]);
    let secret = ["source", "create", "hub", "--provider", "github", "--set", "secret=0123456789abcdef"];
    assert!(server.cli(&secret).status.success());
    let connect = |bytes: &str| {
        let mut socket = TcpStream::connect(server.public).unwrap();
        socket.write_all(bytes.as_bytes()).unwrap();
        socket
    };
    let key = format!("POST /webhook HTTP/1.1\r\nhost: h\r\nx-api-key: {API_KEY}\r\n");
    let signed = format!("POST /webhook/hub HTTP/1.1\r\nhost: h\r\nx-hub-signature-256: sha256={}\r\n", "0".repeat(64));
    let uploads = [
        &format!("{signed}content-length: 1000\r\n\r\nabc"),
        &format!("{signed}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        &format!("{key}content-length: 1000\r\n\r\nabc"),
        &format!("{key}expect: 100-continue\r\ncontent-length: 1000\r\n\r\n"),
    ]
    .map(|bytes| connect(bytes));
    let _others = ["", "POST /webhook HTTP/1.1\r\nhost"].map(connect);
    // One answer behind the others on a listener of one worker or more: what was sent before is being read by now.
    let mut last = connect("GET /readyz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    last.read_to_end(&mut Vec::new()).unwrap();
    server.process.signal("TERM");
    let status = server.process.wait();
    assert_eq!(status.code(), Some(0), "{}", server.process.log());
    for mut upload in uploads {
        let mut told = String::new();
        upload.read_to_string(&mut told).unwrap();
        assert!(told.contains("HTTP/1.1 503 ") && told.contains("\"code\":\"shutting_down\""), "{told}");
    }
}

/// I22: a name that no resolver answers holds no process up.
#[test]
fn a_name_that_is_looked_up_does_not_hold_a_stop_up() {
    let dir = tempfile::tempdir().unwrap();
    let (mut client, _writer) = looking_up(dir.path());
    client.signal("TERM");
    let status = client.wait();
    assert_eq!(status.code(), Some(0), "{}", client.log());
}

/// A client whose look-up of the server's name never ends: what the resolver reads on the way is a pipe that is not written
/// to while its writer, given too, stays open.
fn looking_up(dir: &Path) -> (Process, File) {
    let pipe = dir.join("aliases");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let aliases = ("HOSTALIASES", pipe.to_str().unwrap());
    let env = [aliases, ("RELAY_URL", "https://relay"), ("RELAY_TOKEN", RELAY_TOKEN), ("LOCAL_WEBHOOK_URL", "3000")];
    let client = Process::start(&dir.join("client.log"), &["client"], &env);
    let not_waiting = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    // Opens only once somebody reads.
    let writer =
        wait_for("the name to be looked up", || File::options().write(true).custom_flags(not_waiting).open(&pipe).ok());
    (client, writer)
}
