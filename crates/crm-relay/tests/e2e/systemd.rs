//! What systemd has of the program, without systemd: its notifications, its watchdog, its sockets.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::{
    faults::traced,
    process::{ADMIN_TOKEN, API_KEY, PATIENCE, Process, RELAY_TOKEN, Server, client, wait_for},
    sender::Sender,
};

/// Where systemd listens.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn beside(dir: &Path) -> Self {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path: path.display().to_string() }
    }

    /// The next thing it is told.
    fn hears(&self) -> String {
        let mut bytes = [0; 512];
        let length = self.socket.recv(&mut bytes).expect("the process tells something");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// The same, the watchdog left out.
    fn hears_beside_the_watchdog(&self) -> String {
        std::iter::repeat_with(|| self.hears()).find(|told| told != "WATCHDOG=1").unwrap()
    }

    /// How many things it was told that it has not heard yet.
    fn unheard(&self) -> usize {
        self.socket.set_nonblocking(true).unwrap();
        let count = std::iter::from_fn(|| self.socket.recv(&mut [0; 512]).ok()).count();
        self.socket.set_nonblocking(false).unwrap();
        count
    }
}

/// I22, I24: systemd hears of each change, and its watchdog for as long as the store commits: not while a commit hangs, though
/// the rest of the server answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watchdog_hears_of_a_server_as_long_as_its_store_commits() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager::beside(dir.path());
    let settings = [("NOTIFY_SOCKET", manager.path.as_str()), ("WATCHDOG_USEC", "300000")];
    let mut server = Server::start(dir.path(), &settings);
    assert_eq!(manager.hears(), format!("READY=1\nSTATUS=taking webhooks at {}", server.public));
    assert_eq!((manager.hears(), manager.hears()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
    server.process.signal("HUP");
    assert!(manager.hears_beside_the_watchdog().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(manager.hears_beside_the_watchdog().starts_with("READY=1\n"));

    let sender = Sender::new();
    let url = server.url("/webhook");
    sender.post(&url, "before").await.unwrap().event();
    let trace = dir.path().join("strace.log");
    let mut strace = Command::new("strace")
        .args(["-f", "-q", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=60000000"])
        .args(["-o", trace.to_str().unwrap(), "-p", &server.process.pid().to_string()])
        .spawn()
        .expect("strace is installed by `make test`");
    wait_for("strace to attach", || traced(server.process.pid()).then_some(()));
    // Each is told after two and a half seconds that nothing was committed. By the first the watchdog hears nothing more.
    assert_eq!(sender.post(&url, "hangs").await.unwrap().code(), "store_unavailable");
    manager.unheard();
    assert_eq!(sender.post(&url, "hangs too").await.unwrap().status, 503);
    let alive = sender.send(http::Method::GET, &server.url("/livez"), &[], Vec::new()).await.unwrap();
    assert_eq!((alive.status, manager.unheard()), (200, 0));
    strace.kill().unwrap();
    strace.wait().unwrap();
    assert_eq!(manager.hears(), "WATCHDOG=1");

    server.process.signal("TERM");
    assert!(manager.hears_beside_the_watchdog().starts_with("STOPPING=1\n"));
    assert!(server.process.wait().success());
}

/// I22: the same of a client, which is ready before its server is.
#[test]
fn systemd_hears_of_a_client() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager::beside(dir.path());
    let more = [("NOTIFY_SOCKET", manager.path.as_str()), ("WATCHDOG_USEC", "300000")];
    let nobody: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let mut client = client(dir.path(), "client", nobody, &[("default", "3000".to_owned())], &more);
    assert!(manager.hears().starts_with("READY=1\n"));
    assert_eq!(manager.hears(), "WATCHDOG=1");
    client.signal("HUP");
    assert!(manager.hears_beside_the_watchdog().starts_with("RELOADING=1\n"));
    assert!(manager.hears_beside_the_watchdog().starts_with("READY=1\n"));
    client.signal("TERM");
    assert!(manager.hears_beside_the_watchdog().starts_with("STOPPING=1\n"));
    assert!(client.wait().success());
}

/// A server that finds its sockets at the descriptors 3 and 4, as systemd hands them over.
fn start_with(dir: &Path, sockets: [&TcpListener; 2], names: &str) -> Process {
    let given = |socket: &TcpListener| Stdio::from(OwnedFd::from(socket.try_clone().unwrap()));
    let log = dir.join("server.log");
    let out = File::options().create(true).append(true).open(&log).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"export LISTEN_PID=$$; exec "$@" 3<&0 4<&1 </dev/null >&2"#, "sh"])
        .args([env!("CARGO_BIN_EXE_crm-relay"), "server"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs([("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", names)])
        .envs([("API_KEY", API_KEY), ("RELAY_TOKEN", RELAY_TOKEN), ("ADMIN_TOKEN", ADMIN_TOKEN)])
        // Nobody binds these: a port that is in use would end it.
        .envs([("DATA_DIR", "data"), ("DISK_RESERVE", "1MiB"), ("SERVER_PORT", "1"), ("ADMIN_LISTEN", "127.0.0.1:2")])
        .current_dir(dir)
        .stdin(given(sockets[0]))
        .stdout(given(sockets[1]))
        .stderr(out);
    Process::of(command.spawn().unwrap(), log)
}

/// What senders met who connect anew for each webhook.
#[derive(Default)]
struct Met {
    over: AtomicBool,
    refused: AtomicU64,
    accepted: AtomicU64,
}

impl Met {
    fn send(&self, to: SocketAddr) {
        while !self.over.load(Ordering::Relaxed) {
            match post(to) {
                None => self.refused.fetch_add(1, Ordering::Relaxed),
                Some(answer) => self.accepted.fetch_add(u64::from(answer.contains(" 202 ")), Ordering::Relaxed),
            };
        }
    }
}

/// One webhook on a connection of its own; `None`: nobody listens.
fn post(to: SocketAddr) -> Option<String> {
    let mut socket = TcpStream::connect(to).ok()?;
    let head = format!("POST /webhook HTTP/1.1\r\nhost: h\r\nx-api-key: {API_KEY}\r\nconnection: close\r\n");
    let mut answer = Vec::new();
    // A server that stops may close it without an answer: the sender sends again.
    let _ = socket.write_all(format!("{head}content-length: 2\r\n\r\n{{}}").as_bytes());
    let _ = socket.read_to_end(&mut answer);
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// I22: behind a socket that is not its own a server is replaced and nobody is refused: who comes meanwhile waits.
#[test]
fn a_restart_behind_an_inherited_socket_refuses_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let [public, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let to = public.local_addr().unwrap();
    let met = Arc::new(Met::default());
    let mut server = start_with(dir.path(), [&public, &admin], "public:admin");
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let met = Arc::clone(&met);
            thread::spawn(move || met.send(to))
        })
        .collect();
    for _ in 0..3 {
        let enough = met.accepted.load(Ordering::Relaxed) + 50;
        wait_for("webhooks to be taken", || (met.accepted.load(Ordering::Relaxed) >= enough).then_some(()));
        server.signal("TERM");
        assert!(server.wait().success(), "{}", server.log());
        // Nobody is there, and this one is not refused.
        let waiting = thread::spawn(move || post(to));
        server = start_with(dir.path(), [&public, &admin], "public:admin");
        assert!(waiting.join().unwrap().unwrap().starts_with("HTTP/1.1 202 "));
    }
    met.over.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().unwrap();
    }
    assert_eq!(met.refused.load(Ordering::Relaxed), 0);
    let run: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("data/run.json")).unwrap()).unwrap();
    let addresses = [&run["public"], &run["admin"]].map(|addr| addr.as_str().unwrap().to_owned());
    assert_eq!(addresses, [to.to_string(), admin.local_addr().unwrap().to_string()]);
}

#[test]
fn a_socket_that_is_not_understood_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let [public, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    for (names, said) in [("public:crm-relay-server.socket", "neither public nor admin"), ("admin:admin", "twice")] {
        let mut server = start_with(dir.path(), [&public, &admin], names);
        assert_eq!(server.wait().code(), Some(78), "{}", server.log());
        assert!(server.log().contains(said), "{}", server.log());
    }
}
