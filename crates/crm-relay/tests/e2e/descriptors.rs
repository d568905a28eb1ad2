//! Out of file descriptors: what is open goes on, what waits is served later.

use std::{
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::{
    process::{ADMIN_TOKEN, API_KEY, Process, RELAY_TOKEN, Server, client, wait_for},
    target::{Reply, Target},
};

/// As all below are taken by then, the next descriptor is refused (EMFILE).
const NONE_LEFT: u64 = 4;

/// Sets the soft limit of open files of a running process, and gives the former one.
fn limit(process: &Process, descriptors: u64) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard = line.split_whitespace().nth(4).unwrap();
    let limit = Rlimit { current: Some(descriptors), maximum: hard.parse().ok() };
    let former = prlimit(Pid::from_raw(process.pid().cast_signed()), Resource::Nofile, limit).unwrap();
    former.current.unwrap()
}

/// Writes a request.
fn ask(socket: &mut impl std::io::Write, method: &str, path: &str, fields: &str, body: &str) {
    let length = body.len();
    write!(socket, "{method} {path} HTTP/1.1\r\nhost: h\r\n{fields}content-length: {length}\r\n\r\n{body}").unwrap();
}

/// Reads one answer to its end, and gives its status.
fn status(socket: &mut impl std::io::Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).unwrap();
    head.split(' ').nth(1).unwrap().to_owned()
}

/// One kept-alive socket at each listener.
struct Sockets {
    public: TcpStream,
    admin: TcpStream,
    admin_socket: UnixStream,
    health: TcpStream,
}

impl Sockets {
    fn connect(server: &Server, health: SocketAddr) -> Self {
        Self {
            public: TcpStream::connect(server.public).unwrap(),
            admin: TcpStream::connect(server.admin).unwrap(),
            admin_socket: UnixStream::connect(server.data_dir().join("admin.sock")).unwrap(),
            health: TcpStream::connect(health).unwrap(),
        }
    }

    fn ask(&mut self) {
        ask(&mut self.public, "POST", "/webhook", &format!("x-api-key: {API_KEY}\r\n"), "{}");
        ask(&mut self.admin, "GET", "/health", &format!("authorization: Bearer {ADMIN_TOKEN}\r\n"), "");
        ask(&mut self.admin_socket, "GET", "/health", "", "");
        ask(&mut self.health, "GET", "/livez", "", "");
    }

    fn are_answered(&mut self) {
        assert_eq!(status(&mut self.public), "202");
        assert_eq!(status(&mut self.admin), "200");
        assert_eq!(status(&mut self.admin_socket), "200");
        assert_eq!(status(&mut self.health), "200");
    }
}

fn accept_failures(process: &Process, listener: &str) -> usize {
    let log = process.log();
    let lines = log.lines().filter(|line| line.contains("event=\"accept_failed\""));
    lines.filter(|line| line.contains(&format!("listener=\"{listener}\""))).count()
}

/// I19: a server and a client without a descriptor left say so once, serve the sockets they have, and serve those that
/// waited as soon as there are descriptors again. Nothing that was accepted meanwhile is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_descriptors_open_sockets_go_on_and_new_ones_wait() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(200)).await;
    let server = Server::start(dir.path(), &[]);
    let more = [("CLIENT_LISTEN", "127.0.0.1:0")];
    let behind = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &more);
    let health: SocketAddr = wait_for("the client to listen", || {
        let log = behind.log();
        let line = log.lines().find(|line| line.contains("event=\"listening\""))?;
        line.split_whitespace().find_map(|word| word.strip_prefix("addr="))?.parse().ok()
    });
    let mut open = Sockets::connect(&server, health);
    open.ask();
    open.are_answered();
    wait_for("the first webhook to arrive", || (target.count() == 1).then_some(()));

    let former = [&server.process, &behind].map(|process| limit(process, NONE_LEFT));
    let mut waiting: Vec<Sockets> = (0..5).map(|_| Sockets::connect(&server, health)).collect();
    waiting.iter_mut().for_each(Sockets::ask);
    let listeners = [
        (&server.process, "public"),
        (&server.process, "admin"),
        (&server.process, "admin-socket"),
        (&behind, "client"),
    ];
    for (process, listener) in listeners {
        wait_for("the failed accept to be told", || (accept_failures(process, listener) > 0).then_some(()));
    }
    for _ in 0..50 {
        open.ask();
        open.are_answered();
    }

    for (process, former) in [&server.process, &behind].into_iter().zip(former) {
        limit(process, former);
    }
    waiting.iter_mut().for_each(Sockets::are_answered);
    wait_for("all to arrive", || (target.delivered().len() == 56).then_some(()));
    for (process, listener) in listeners {
        assert_eq!(accept_failures(process, listener), 1, "{listener}: once a minute");
    }
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    server.audit();
}

/// A client takes a descriptor for each request at a target: it raises its soft limit as the server does, and says so where
/// that is few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_raises_its_limit_and_says_if_that_is_few() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Reply::status(200)).await;
    let server = Server::start(dir.path(), &[]);
    let (url, to) = (format!("http://{}", server.public), target.url("/"));
    let env = [("RELAY_URL", url.as_str()), ("RELAY_TOKEN", RELAY_TOKEN), ("LOCAL_WEBHOOK_URL", &to)];
    let few = ["sh", "-c", "ulimit -Sn 40; ulimit -Hn 120; exec \"$0\" \"$@\""];
    let behind = Process::start_under(&few, &dir.path().join("few.log"), &["client"], &env);
    wait_for("the client to say so", || behind.log().contains("event=\"few_descriptors\" limit=120").then_some(()));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", behind.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("120"), "{line}");
}

/// I10: a client with fewer descriptors than slots blames itself, not the target: no try is charged, no circuit opens, all arrive
/// once, and its log and its health say what is short and what helps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_descriptors_does_not_blame_the_target() {
    const WEBHOOKS: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let delay = std::time::Duration::from_millis(50);
    let target = Target::start(move |_| Reply { delay, ..Reply::status(200) }).await;
    let server = Server::start(dir.path(), &[]);
    let (url, to) = (format!("http://{}", server.public), target.url("/"));
    let env = [
        ("RELAY_URL", url.as_str()),
        ("RELAY_TOKEN", RELAY_TOKEN),
        ("LOCAL_WEBHOOK_URL", &to),
        ("CONCURRENCY", "64"),
        ("CLIENT_LISTEN", "127.0.0.1:0"),
        // Kept connections that are too old are closed as often.
        ("HEALTH_CHECK_INTERVAL", "1s"),
    ];
    let few = ["sh", "-c", "ulimit -n 24; exec \"$0\" \"$@\""];
    for _ in 0..WEBHOOKS {
        let mut sender = TcpStream::connect(server.public).unwrap();
        ask(&mut sender, "POST", "/webhook", &format!("x-api-key: {API_KEY}\r\n"), "{}");
        assert_eq!(status(&mut sender), "202");
    }
    let behind = Process::start_under(&few, &dir.path().join("few.log"), &["client"], &env);
    let health: SocketAddr = wait_for("the client to listen", || {
        let log = behind.log();
        let line = log.lines().find(|line| line.contains("event=\"listening\""))?;
        line.split_whitespace().find_map(|word| word.strip_prefix("addr="))?.parse().ok()
    });
    wait_for("all to arrive", || (target.delivered().len() == WEBHOOKS).then_some(()));
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    assert_eq!(target.count(), WEBHOOKS, "each once");
    let said = behind.log();
    assert!(said.contains("event=\"own_shortage\"") && said.contains("LimitNOFILE="), "{said}");
    assert!(!said.contains("forward_failed"), "{said}");
    assert!(!server.process.log().contains("destination_down"));
    let mut asks = TcpStream::connect(health).unwrap();
    ask(&mut asks, "GET", "/health", "connection: close\r\n", "");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut asks, &mut answer).unwrap();
    assert!(answer.contains("degraded") && answer.contains("lacks open files"), "{answer}");
    server.audit();
}

/// I17: a store whose files cannot be opened for want of descriptors is not called damaged, and nobody is told to put back a
/// backup.
#[test]
fn too_few_descriptors_to_open_the_store_are_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    server.process.signal("TERM");
    server.process.wait();
    let (data, mut refused) = (server.data_dir(), 0);
    let env = [
        ("DATA_DIR", data.to_str().unwrap()),
        ("SERVER_HOST", "127.0.0.1"),
        ("SERVER_PORT", "0"),
        ("ADMIN_LISTEN", "off"),
    ];
    for limit in 8..28 {
        let few = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        let log = dir.path().join(format!("few-{limit}.log"));
        let mut process = Process::start_under(&["sh", "-c", &few], &log, &["server"], &env);
        wait_for("it to end or to serve", || {
            (!process.is_running() || process.log().contains("event=\"listening\"")).then_some(())
        });
        refused += usize::from(!process.is_running());
        process.kill();
        let said = process.log();
        assert!(!said.contains("is damaged") && !said.contains("backup"), "{limit}: {said}");
    }
    assert!(refused > 1, "some of these are too few");
}
