//! A real Redis: in a directory of its own, on a socket in it, with every commit on the disk before it is answered.
//!
//! It ends with this process, however that ends: a shell starts it and waits for the end of its standard input, which only this
//! process holds. Where it ends by itself the shell does too, so that whoever reads what it says is not left waiting.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use relay_store::redis::Address;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

#[path = "bound.rs"]
pub(crate) mod bound;
#[path = "port.rs"]
mod port;

pub(crate) use self::port::free_port;

/// Starts a server, says its process, and ends with it: when nobody holds the other end any more, or by itself.
const KEEPER: &str = r#"
exec 3<&0
"$@" 3<&- &
server=$!
echo "process $server"
{ cat <&3; kill -9 "$server"; } >/dev/null 2>&1 &
end=$!
exec 3<&-
wait "$server" 2>/dev/null
kill "$end" 2>/dev/null
"#;

/// How long a server may take to answer a stranger: longer than anything that is asked of it.
pub(crate) const ANSWERS_WITHIN: Duration = Duration::from_secs(90);
/// How long, in milliseconds, a replica may take to have what its primary has.
const FOLLOWS_WITHIN: &[u8] = b"60000";

/// Of this build; a unit test is not told where that is.
const TARGET_TMPDIR: &str = match option_env!("CARGO_TARGET_TMPDIR") {
    Some(dir) => dir,
    None => concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tmp"),
};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// The system's: Redis 7.0 on Debian 12.
    Installed,
    /// Redis 8.
    Redis8,
    /// Valkey 9.
    Valkey9,
}

impl Server {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Installed, Self::Redis8, Self::Valkey9];

    fn program(self) -> PathBuf {
        let brought = |name| Path::new(TARGET_TMPDIR).with_file_name("vendors").join("servers").join(name);
        match self {
            Self::Installed => "redis-server".into(),
            Self::Redis8 => brought("redis-8"),
            Self::Valkey9 => brought("valkey-9"),
        }
    }
}

/// A Redis that is running.
pub(crate) struct Node {
    server: Server,
    dir: TempDir,
    arguments: Vec<String>,
    running: Option<Running>,
}

struct Running {
    server: Pid,
    keeper: Child,
    /// Ends the keeper.
    held: Option<ChildStdin>,
}

impl Node {
    /// One that is empty.
    pub(crate) fn start() -> Self {
        Self::with(Server::Installed, Vec::new())
    }

    /// One that is empty, and one that follows it.
    pub(crate) fn with_replica(server: Server) -> (Self, Self) {
        let port = free_port().to_string();
        let listens = vec![("port".into(), port.clone()), ("repl-diskless-sync-delay".into(), "0".into())];
        let primary = Self::with(server, listens);
        let replica = Self::with(server, vec![("replicaof".into(), format!("127.0.0.1 {port}"))]);
        // Answered once the other has it.
        let has = primary.ask_all(&[&[b"SET", b"follows", b"1"], &[b"WAIT", b"1", FOLLOWS_WITHIN]]);
        assert_eq!(has, "+OK\r\n:1\r\n", "the replica does not follow");
        if server != Server::Installed {
            // One that has just been sent everything rewrites its file, and until that is done says of nothing that it is on its disk.
            let has = primary.ask_all(&[&[b"SET", b"follows", b"1"], &[b"WAITAOF", b"1", b"1", FOLLOWS_WITHIN]]);
            assert_eq!(has, "+OK\r\n*2\r\n:1\r\n:1\r\n", "the replica does not write");
        }
        // Not before: without a replica it would not have taken that.
        primary.ask(&[b"CONFIG", b"SET", b"min-replicas-to-write", b"1"]);
        (primary, replica)
    }

    /// One that is empty, with these settings beside or in the place of the usual ones.
    pub(crate) fn with(server: Server, settings: Vec<(String, String)>) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let arguments = arguments(dir.path(), settings);
        Self::run(server, dir, arguments)
    }

    /// A sentinel with these lines in its file, into which it writes what it finds out.
    pub(crate) fn sentinel(server: Server, lines: &[String]) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let (socket, file) = (socket(dir.path()), dir.path().join("sentinel.conf"));
        let lines = lines.join("\n");
        let text = format!("dir {}\nunixsocket {}\n{lines}\n", dir.path().display(), socket.display());
        std::fs::write(&file, text).expect("it can be written");
        let arguments = vec![file.to_string_lossy().into_owned(), "--sentinel".to_owned()];
        Self::run(server, dir, arguments)
    }

    fn run(server: Server, dir: TempDir, arguments: Vec<String>) -> Self {
        let running = Some(Running::start(server, &arguments));
        Self { server, dir, arguments, running }
    }

    /// It does nothing any more, and keeps its connections.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.as_ref().expect("it is running");
        kill_process(running.server, signal).expect("it is there");
    }

    /// The one of this process, for tests that leave it alone.
    pub(crate) fn shared(server: Server) -> &'static Self {
        static NODES: [LazyLock<Node>; 3] = [
            LazyLock::new(|| Node::with(Server::Installed, Vec::new())),
            LazyLock::new(|| Node::with(Server::Redis8, Vec::new())),
            LazyLock::new(|| Node::with(Server::Valkey9, Vec::new())),
        ];
        bound::begin();
        &NODES[server as usize]
    }

    /// Where it is.
    pub(crate) fn address(&self) -> Address {
        Address::Unix(socket(self.dir.path()))
    }

    /// Asks it something past the store, as a stranger does. Gives its answer as it comes on the wire.
    pub(crate) fn ask(&self, command: &[&[u8]]) -> String {
        self.ask_all(&[command])
    }

    /// The same for several on one connection.
    pub(crate) fn ask_all(&self, commands: &[&[&[u8]]]) -> String {
        String::from_utf8_lossy(&self.ask_raw(commands)).into_owned()
    }

    /// The same where answers are bytes. A sentinel that gives a node another part closes all its connections: what is asked then is asked once
    /// more.
    pub(crate) fn ask_raw(&self, commands: &[&[&[u8]]]) -> Vec<u8> {
        let mut resets = 0;
        loop {
            match self.asked(commands) {
                Ok(answer) => return answer,
                Err(error)
                    if resets < 3 && matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) =>
                {
                    resets += 1;
                }
                Err(error) => panic!("no answer to {}: {error}", words(commands)),
            }
        }
    }

    fn asked(&self, commands: &[&[&[u8]]]) -> io::Result<Vec<u8>> {
        let _waits = bound::Waits::until(format!("{} to answer {}", self.socket().display(), words(commands)));
        let mut stream = UnixStream::connect(self.socket())?;
        // One that is held, or that waits for others, is not waited for without end.
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        stream.set_write_timeout(Some(ANSWERS_WITHIN))?;
        let mut sent = Vec::new();
        for command in commands {
            sent.extend(format!("*{}\r\n", command.len()).bytes());
            for part in *command {
                sent.extend(format!("${}\r\n", part.len()).bytes());
                sent.extend(*part);
                sent.extend(b"\r\n");
            }
        }
        let is_sentinel = self.arguments.iter().any(|argument| argument == "--sentinel");
        if !is_sentinel {
            sent.extend(b"*1\r\n$4\r\nQUIT\r\n");
        }
        stream.write_all(&sent)?;
        if is_sentinel {
            // It knows no QUIT, and nothing that it would have to wait for.
            stream.shutdown(Shutdown::Write)?;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if is_sentinel {
            return Ok(answer);
        }
        // Closed before it said so: by somebody else.
        answer.strip_suffix(b"+OK\r\n").map(<[u8]>::to_vec).ok_or_else(|| ErrorKind::ConnectionReset.into())
    }

    /// What it holds, as a digest.
    pub(crate) fn digest(&self) -> String {
        self.ask(&[b"DEBUG", b"DIGEST"])
    }

    /// Flips a bit of a string, as a disk does.
    pub(crate) fn flip(&self, key: &[u8], at: usize, bit: u8) {
        let place = (8 * at + usize::from(7 - bit)).to_string();
        let was = self.ask(&[b"GETBIT", key, place.as_bytes()]);
        self.ask(&[b"SETBIT", key, place.as_bytes(), if was == ":0\r\n" { b"1" } else { b"0" }]);
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(self.dir.path())
    }

    /// Whether it was not stopped.
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Kills it.
    pub(crate) fn stop(&mut self) {
        self.running = None;
    }

    /// What it has on its disk, once it is stopped.
    pub(crate) fn on_disk(&self) -> PathBuf {
        self.dir.path().join("appendonlydir")
    }

    /// Kills it and starts it again on the same directory.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.running = Some(Running::start(self.server, &self.arguments));
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("redis.sock")
}

/// The usual settings, and these behind them.
fn arguments(dir: &Path, more: Vec<(String, String)>) -> Vec<String> {
    let (socket, dir) = (socket(dir).to_string_lossy().into_owned(), dir.to_string_lossy().into_owned());
    let usual = [
        ("port", "0"),
        ("unixsocket", &socket),
        ("dir", &dir),
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("no-appendfsync-on-rewrite", "no"),
        ("maxmemory-policy", "noeviction"),
        ("save", ""),
        ("enable-debug-command", "local"),
    ];
    let mut arguments: Vec<String> =
        usual.iter().flat_map(|(setting, value)| [format!("--{setting}"), (*value).to_owned()]).collect();
    for (setting, value) in more {
        arguments.push(format!("--{setting}"));
        arguments.extend(value.split(' ').map(str::to_owned));
    }
    arguments
}

impl Running {
    fn start(server: Server, arguments: &[String]) -> Self {
        let program = server.program();
        let _waits = bound::Waits::until(format!("{} {} to start", program.display(), arguments.join(" ")));
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&program).args(arguments);
        let keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut keeper = keeper.spawn().expect("there is a shell");
        let held = keeper.stdin.take();
        let mut lines = BufReader::new(keeper.stdout.take().expect("it is piped")).lines();
        let mut said = String::new();
        let (mut server, mut is_ready) = (None, false);
        loop {
            let Some(Ok(line)) = lines.next() else {
                drop(held);
                let error = keeper.wait_with_output().map(|output| output.stderr).unwrap_or_default();
                let error = String::from_utf8_lossy(&error).into_owned();
                panic!(
                    "{} does not start (`make setup` installs it; Debian: apt-get install redis-server): {said}{error}",
                    program.display()
                );
            };
            if let Some(number) = line.strip_prefix("process ") {
                server = number.parse().ok().and_then(Pid::from_raw);
            }
            // Two write here, in any order.
            is_ready |= line.contains("eady to accept connections") || line.contains("Sentinel ID is");
            if is_ready && server.is_some() {
                break;
            }
            said.push_str(&line);
            said.push('\n');
        }
        // What it says further is not of interest, but has to go somewhere.
        thread::spawn(move || lines.for_each(drop));
        Self { server: server.expect("its process is said before"), keeper, held }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already: all the better.
        let _ = kill_process(self.server, Signal::KILL);
        drop(self.held.take());
        drop(self.keeper.wait());
    }
}

/// How commands begin, as somebody types them.
fn words(commands: &[&[&[u8]]]) -> String {
    let word = |word: &&[u8]| String::from_utf8_lossy(&word[..word.len().min(40)]).into_owned();
    let command = |command: &&[&[u8]]| command.iter().take(4).map(word).collect::<Vec<_>>().join(" ");
    commands.iter().take(4).map(command).collect::<Vec<_>>().join("; ")
}

/// A name that no other test has.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
