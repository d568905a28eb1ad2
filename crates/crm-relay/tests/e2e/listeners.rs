//! Every listener is asked the same hostile things: the public one, plain and over TLS, that of clients, the one that sends others to TLS,
//! the admin API's on TCP and on its socket, and a client's own.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use relay_net::dial::encrypt;
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    fixture::{Fixture, fixtures},
    process::{ADMIN_TOKEN, PATIENCE, Process, Server, client, wait_for},
};

/// The key that the fixtures show, and the largest body that they may.
const KEY: &str = "key-of-the-test-suite";
const BODY_BYTES_MAX: &str = "100000";
/// What may be answered behind a request whose connection stays.
const AGAIN: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// More than any listener takes here but the two public ones, where so many take no place from anybody.
const CROWD: usize = 150;

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A listener, and how it is reached.
struct Listener {
    kind: Kind,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Clients,
    Redirect,
    Admin,
    /// A client's own.
    Own,
}

#[derive(Clone, Debug)]
enum Way {
    Tcp(SocketAddr),
    Tls(SocketAddr, Arc<ClientConfig>),
    Unix(PathBuf),
}

/// A server without TLS and a client of it, a server with TLS, and what is shown to that.
struct House {
    plain: Server,
    secured: Server,
    client: Process,
    shown: Arc<ClientConfig>,
    _dir: tempfile::TempDir,
}

/// Settings of a server with TLS and all its listeners, by the files that [`certify`] has written.
fn of_tls(dir: &Path) -> Vec<(&'static str, String)> {
    let file = |name: &str| dir.join(name).display().to_string();
    vec![
        ("TLS_CERT_FILE", file("tls.pem")),
        ("TLS_KEY_FILE", file("tls.key")),
        ("CLIENTS_LISTEN", "127.0.0.1:0".to_owned()),
        ("CLIENTS_CA_FILE", file("ca.pem")),
        ("REDIRECT_LISTEN", "127.0.0.1:0".to_owned()),
        ("PUBLIC_URL", "https://relay.test".to_owned()),
    ]
}

/// Where a server listens.
fn listening(server: &Server, name: &str) -> SocketAddr {
    let run = fs::read(server.data_dir().join("run.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&run).unwrap()[name].as_str().unwrap().parse().unwrap()
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (below, shown) = (|name: &str| dir.path().join(name), certify(dir.path()));
        for name in ["plain", "secured"] {
            fs::create_dir(below(name)).unwrap();
        }
        let of_fixtures = [("API_KEY", KEY), ("MAX_BODY_BYTES", BODY_BYTES_MAX)];
        let plain = Server::start(&below("plain"), &of_fixtures);
        let to = [("default", "http://127.0.0.1:9".to_owned())];
        let client = client(dir.path(), "client", plain.public, &to, &[("CLIENT_LISTEN", "127.0.0.1:0")]);
        let of_tls = of_tls(dir.path());
        let of_tls: Vec<_> = of_tls.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut secured = Server::start(&below("secured"), &[&of_fixtures[..], &of_tls].concat());
        secured.process.signal("TERM");
        secured.process.wait();
        // So that a crowd need not be large.
        secured.restart_under(&["sh", "-c", "ulimit -n 512; exec \"$0\" \"$@\""]);
        Self { plain, secured, client, shown, _dir: dir }
    }

    fn listeners(&self) -> Vec<Listener> {
        let at = |name: &str| listening(&self.secured, name);
        let tls = |at| Way::Tls(at, Arc::clone(&self.shown));
        let own = wait_for("the client to listen", || {
            let log = self.client.log();
            let line = log.lines().find(|line| line.contains("event=\"listening\""))?;
            line.split("addr=").nth(1)?.split_whitespace().next()?.trim_matches('"').parse().ok()
        });
        [
            (Kind::Public, Way::Tcp(self.plain.public)),
            (Kind::Public, tls(self.secured.public)),
            (Kind::Clients, tls(at("clients"))),
            (Kind::Redirect, Way::Tcp(at("redirect"))),
            (Kind::Admin, Way::Tcp(self.secured.admin)),
            (Kind::Admin, Way::Unix(self.secured.data_dir().join("admin.sock"))),
            (Kind::Own, Way::Tcp(own)),
        ]
        .map(|(kind, way)| Listener { kind, way })
        .into()
    }

    fn stored(&self) -> usize {
        let stored = |server: &Server| server.json(&["event", "list", "--all"])["items"].as_array().unwrap().len();
        stored(&self.plain) + stored(&self.secured)
    }
}

/// Writes an authority, and an RSA certificate for `localhost` by it; gives who trusts the one and shows another.
fn certify(dir: &Path) -> Arc<ClientConfig> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let issue =
        |key: &KeyPair| CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(key, &issuer).unwrap();
    let of_server = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    fs::write(dir.join("tls.pem"), issue(&of_server).pem()).unwrap();
    fs::write(dir.join("tls.key"), of_server.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let of_client = KeyPair::generate().unwrap();
    let shown = vec![issue(&of_client).der().clone()];
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    Arc::new(config.with_client_auth_cert(shown, PrivateKeyDer::from(of_client)).unwrap())
}

impl Way {
    async fn dial(&self) -> Box<dyn Socket> {
        match self {
            Self::Tcp(at) => Box::new(TcpStream::connect(at).await.unwrap()),
            Self::Tls(at, shown) => {
                let tcp = TcpStream::connect(at).await.unwrap();
                Box::new(encrypt(tcp, "localhost", Arc::clone(shown)).await.unwrap())
            }
            Self::Unix(at) => Box::new(UnixStream::connect(at).await.unwrap()),
        }
    }

    /// All that is said to these bytes, until the connection is closed.
    async fn says(&self, bytes: &[u8]) -> String {
        let (mut reads, mut writes) = split(self.dial().await);
        let mut said = Vec::new();
        let talk = async {
            // Whoever is closed in the middle cannot say the rest, and may not hear the end.
            let write = async {
                let _ = writes.write_all(bytes).await;
                let _ = writes.flush().await;
            };
            let _ = tokio::join!(reads.read_to_end(&mut said), write);
        };
        timeout(PATIENCE, talk).await.expect("it closes the connection");
        String::from_utf8_lossy(&said).into_owned()
    }

    /// A connection on which this much was said.
    async fn begun(&self, bytes: &[u8]) -> Box<dyn Socket> {
        let mut socket = self.dial().await;
        socket.write_all(bytes).await.unwrap();
        socket.flush().await.unwrap();
        socket
    }
}

impl Listener {
    /// The same request, as this listener is asked.
    fn asked(&self, fixture: &Fixture) -> String {
        let asked = String::from_utf8(fixture.bytes.clone()).unwrap();
        match self.kind {
            Kind::Public | Kind::Clients | Kind::Redirect => asked,
            Kind::Admin => asked
                .replace("POST /webhook", "POST /api/v1/dead/purge")
                .replace("Host: relay.test", "Host: localhost")
                .replace(&format!("X-API-Key: {KEY}"), &format!("Authorization: Bearer {ADMIN_TOKEN}")),
            Kind::Own => {
                let asked = asked
                    .replace("POST /webhook", "GET /livez")
                    .replace("POST http", "GET http")
                    .replace("Host: relay.test", "Host: localhost");
                // It takes no bodies: what is wrong with a request is to be something else.
                if is_of_body(fixture) {
                    return asked;
                }
                asked.replace("Content-Length: 5", "X-Length: 5").replace("\r\n\r\nhello", "\r\n\r\n")
            }
        }
    }

    /// Sees what is answered to a request of the fixtures with another one behind it.
    async fn judges(&self, fixture: &Fixture) {
        let said = self.way.says(format!("{}{AGAIN}", self.asked(fixture)).as_bytes()).await;
        let status = |at: usize| said[at..].get("HTTP/1.1 ".len()..)?.get(..3)?.parse().ok();
        let answers: Vec<u16> = said.match_indices("HTTP/1.").filter_map(|(at, _)| status(at)).collect();
        let at = format!("{} at {:?} {:?}: {said}", fixture.name, self.kind, self.way);
        let refused = matches!(answers[..], [400..=599]);
        match self.kind {
            _ if is_of_head(fixture) && self.kind != Kind::Own => {
                assert_eq!(answers, [fixture.status], "{at}");
                assert!(said.contains(fixture.code.as_deref().unwrap()), "{at}");
            }
            Kind::Public => {
                assert_eq!(answers.first(), Some(&fixture.status), "{at}");
                assert!(
                    fixture.connection == "any" || answers.len() == 1 + usize::from(fixture.connection == "open"),
                    "{at}"
                );
            }
            Kind::Clients => assert_eq!(answers, [404], "{at}"),
            Kind::Redirect => assert_eq!(answers, [308], "{at}"),
            Kind::Admin if fixture.name.starts_with("s5") => assert!(matches!(answers[..], [400..=499]), "{at}"),
            Kind::Admin => assert!(matches!(answers.first(), Some(400..=499)), "{at}"),
            Kind::Own if is_of_head(fixture) || is_of_body(fixture) => assert!(refused || said.is_empty(), "{at}"),
            Kind::Own => assert!(matches!(answers[..], [200 | 404, 200] | [200]), "{at}"),
        }
    }
}

/// Whether a request is refused for its head, so that what is behind it is no request.
fn is_of_head(fixture: &Fixture) -> bool {
    fixture.connection == "closed" && matches!(fixture.status, 400 | 414 | 431 | 501) && !fixture.name.starts_with("s5")
}

/// Whether it is about the body, or about how long that is.
fn is_of_body(fixture: &Fixture) -> bool {
    ["s0_chunked", "s1_", "s2_", "s3_", "s4_", "s5_", "s8_chunks", "s8_length"]
        .iter()
        .any(|row| fixture.name.starts_with(row))
}

/// S1, S2, S3, S4, S5, S6, S7, S8, S10: what two readers may understand differently is refused at every listener, and nothing behind it is
/// taken for a request. S9: half a head is given up at each, and whoever is silent gives way to who asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_listener_refuses_the_same_and_waits_for_nobody() {
    let house = House::new();
    let (listeners, fixtures) = (house.listeners(), fixtures());
    let halves: Vec<JoinHandle<String>> = listeners.iter().map(|listener| half_a_head(listener.way.clone())).collect();
    let judged = listeners.iter().map(async |listener| {
        for fixture in &fixtures {
            listener.judges(fixture).await;
        }
    });
    join_all(judged).await;
    let taken = fixtures.iter().filter(|fixture| fixture.status == 202).count();
    assert_eq!(house.stored(), 2 * taken, "what the public listeners took, and nothing else");

    // S7, S25: nor is anything said under somebody else's name.
    for listener in &listeners {
        let foreign = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
        let said = listener.way.says(foreign.as_bytes()).await;
        let wanted = match (listener.kind, &listener.way) {
            // Nobody who is a web page gets to the socket.
            (Kind::Admin, Way::Unix(_)) => "200",
            (Kind::Admin | Kind::Own, _) => "421",
            (Kind::Redirect, _) => "308",
            (Kind::Public | Kind::Clients, _) => "404",
        };
        assert_eq!(&said[9..12], wanted, "{:?} {:?}: {said}", listener.kind, listener.way);
    }

    for (half, listener) in halves.into_iter().zip(&listeners) {
        let said = half.await.unwrap();
        // What is merely idle is closed without a word, and much later. A client's own listener has none for either, and one time for both.
        let is_told = if listener.kind == Kind::Own { said.is_empty() } else { said.starts_with("HTTP/1.1 408 ") };
        assert!(is_told, "{:?} {:?}: {said}", listener.kind, listener.way);
    }
    for listener in &listeners {
        crowd(listener).await;
    }
}

/// Begins a head, and tells what is said when it is given up.
fn half_a_head(way: Way) -> JoinHandle<String> {
    tokio::spawn(async move {
        let mut socket = way.begun(b"GET /livez HTTP/1.1\r\nHost: local").await;
        let mut said = Vec::new();
        let _ = timeout(PATIENCE, socket.read_to_end(&mut said)).await.expect("it is given up");
        String::from_utf8_lossy(&said).into_owned()
    })
}

/// Sees that more silent connections than there are places keep out nobody.
async fn crowd(listener: &Listener) {
    let raw = match &listener.way {
        Way::Tcp(at) | Way::Tls(at, _) => Way::Tcp(*at),
        Way::Unix(at) => Way::Unix(at.clone()),
    };
    let mut silent = Vec::new();
    for _ in 0..CROWD {
        silent.push(raw.dial().await);
    }
    let said = listener.way.says(AGAIN.as_bytes()).await;
    assert!(matches!(&said[9..12], "200" | "308" | "404"), "{:?} {:?}: {said}", listener.kind, listener.way);
}

/// The first words of a handshake of TLS up to 1.2 that offers these suites, and nothing that a server could take amiss (RFC 5246,
/// section 7.4.1.2).
fn hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let words = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let sized = |bytes: Vec<u8>| [words(&[bytes.len() as u16]), bytes].concat();
    let extension = |kind: u16, bytes: Vec<u8>| [words(&[kind]), sized(bytes)].concat();
    let groups = extension(10, sized(words(&[0x001d, 0x0017])));
    let signatures = extension(13, sized(words(&[0x0804, 0x0401, 0x0201])));
    let extensions = sized([groups, extension(11, vec![1, 0]), signatures, extension(23, Vec::new())].concat());
    let body = [words(&[version]), vec![7; 32], vec![0], sized(words(suites)), vec![1, 0], extensions].concat();
    let message = [&[1, 0][..], &sized(body)].concat();
    [&[22, 3, 1][..], &sized(message)].concat()
}

/// The kind of the first record that is answered to these words, and what an alert says.
fn answered(at: SocketAddr, words: &[u8]) -> (u8, u8) {
    let mut socket = std::net::TcpStream::connect(at).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(words).unwrap();
    let mut record = [0; 7];
    socket.read_exact(&mut record).unwrap();
    (record[0], record[6])
}

/// A whole exchange of TLS: how its handshake was made, and whether data could have been sent before it.
fn exchanged(at: SocketAddr, config: &Arc<ClientConfig>) -> (HandshakeKind, bool) {
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let early = tls.early_data().is_some();
    let mut socket = std::net::TcpStream::connect(at).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    stream.write_all(AGAIN.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 "), "{said}");
    (tls.handshake_kind().unwrap(), early)
}

/// S10, S30: at the listeners with TLS no version before 1.2 is spoken, no suite of CBC or with an exchange of keys by RSA, nothing is
/// taken before the end of a handshake, and who offers HTTP/2 alone gets none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_old_of_tls_is_spoken() {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    const HANDSHAKE_FAILURE: u8 = 40;
    const PROTOCOL_VERSION: u8 = 70;
    let house = House::new();
    for listener in house.listeners() {
        let Way::Tls(at, shown) = &listener.way else { continue };
        // ECDHE_RSA with AES_128_GCM_SHA256, the same with CBC_SHA and CBC_SHA256, and RSA with AES_GCM, CBC_SHA.
        let (good, cbc, rsa) = ([0xc02f], [0xc013, 0xc014, 0xc027], [0x009c, 0x009d, 0x002f, 0x0035]);
        assert_eq!(answered(*at, &hello(0x0303, &good)).0, HANDSHAKE, "what is good goes on");
        for old in [0x0302, 0x0301, 0x0300] {
            let words = hello(old, &[&good[..], &cbc].concat());
            assert_eq!(answered(*at, &words), (ALERT, PROTOCOL_VERSION), "{old:x}");
        }
        for weak in [&cbc[..], &rsa] {
            assert_eq!(answered(*at, &hello(0x0303, weak)), (ALERT, HANDSHAKE_FAILURE), "{weak:x?}");
        }

        let mut hasty = ClientConfig::clone(shown);
        hasty.enable_early_data = true;
        let hasty = Arc::new(hasty);
        assert_eq!(exchanged(*at, &hasty), (HandshakeKind::Full, false));
        // Clients' certificates are judged each time.
        let again = if listener.kind == Kind::Public { HandshakeKind::Resumed } else { HandshakeKind::Full };
        assert_eq!(exchanged(*at, &hasty), (again, false), "{:?}", listener.kind);

        let mut modern = ClientConfig::clone(shown);
        modern.alpn_protocols = vec![b"h2".to_vec()];
        let shaken = encrypt(TcpStream::connect(at).await.unwrap(), "localhost", Arc::new(modern)).await;
        assert!(shaken.is_err(), "{:?}", listener.kind);
        let mut both = ClientConfig::clone(shown);
        both.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let said = Way::Tls(*at, Arc::new(both)).says(AGAIN.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 "), "{said}");
    }
}

/// Behind a balancer that says this first, the head of what is answered to a request, over TLS if something is shown.
async fn brought(
    at: SocketAddr,
    word: &str,
    shown: Option<&Arc<ClientConfig>>,
    request: &str,
) -> std::io::Result<String> {
    let mut tcp = TcpStream::connect(at).await?;
    tcp.write_all(word.as_bytes()).await?;
    let mut socket: Box<dyn Socket> = match shown {
        Some(shown) => Box::new(encrypt(tcp, "localhost", Arc::clone(shown)).await?),
        None => Box::new(tcp),
    };
    socket.write_all(request.as_bytes()).await?;
    socket.flush().await?;
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    let head = async {
        while !said.windows(4).any(|four| four == b"\r\n\r\n") {
            match socket.read(&mut piece).await? {
                0 => break,
                read => said.extend_from_slice(&piece[..read]),
            }
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    };
    timeout(PATIENCE, head).await.expect("it is answered, or closed")
}

/// S15, S23: a balancer that passes TCP on says at each listener that is told to hear it whom it brings; who comes otherwise is closed, and
/// guesses are counted by whom it brings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_says_at_every_listener_whom_it_brings() {
    let dir = tempfile::tempdir().unwrap();
    let (shown, of_tls) = (certify(dir.path()), of_tls(dir.path()));
    let mut settings: Vec<_> = of_tls.iter().map(|(name, value)| (*name, value.as_str())).collect();
    settings.extend([("TRUSTED_PROXIES", "127.0.0.1"), ("PROXY_PROTOCOL", "public,clients,redirect")]);
    let server = Server::start(dir.path(), &settings);
    let (clients, redirect) = (listening(&server, "clients"), listening(&server, "redirect"));
    let from = |last: u8| format!("PROXY TCP4 203.0.113.{last} 127.0.0.1 4711 443\r\n");
    for (at, shown, wanted) in
        [(server.public, Some(&shown), "200"), (clients, Some(&shown), "404"), (redirect, None, "308")]
    {
        let said = brought(at, &from(9), shown, AGAIN).await.unwrap();
        assert_eq!(&said[9..12], wanted, "{said}");
        let unheard = brought(at, "", shown, AGAIN).await;
        assert!(unheard.as_ref().is_err() || unheard.as_ref().is_ok_and(String::is_empty), "{unheard:?}");
    }
    for listener in ["public", "clients", "redirect"] {
        let told = format!(r#"event="no_proxy_header" listener="{listener}""#);
        wait_for("the log to say so", || server.process.log().contains(&told).then_some(()));
    }

    let joins = "GET /connect HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nRelay-Protocol: 1\r\nAuthorization: Bearer made-up-and-wrong\r\n\r\n";
    let guess = async |last: u8| brought(clients, &from(last), Some(&shown), joins).await.unwrap()[9..12].to_owned();
    assert_eq!(guess(9).await, "401");
    // Another guess is given each 12 s: on a slow machine that may be between two of these.
    let mut is_shut_out = false;
    for other in 10..40 {
        let [before, beside, after] = [guess(9).await, guess(other).await, guess(9).await];
        assert_eq!(beside, "401", "who guesses is no other than 9");
        is_shut_out = [before, after] == ["429", "429"];
        if is_shut_out {
            break;
        }
    }
    assert!(is_shut_out, "whoever guesses is not looked at any more");
    let told = r#"entrance="connect" token="wrong" peer="203.0.113.9:4711""#;
    wait_for("the log to say from where", || server.process.log().contains(told).then_some(()));
}
