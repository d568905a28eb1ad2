use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};
use relay_core::{
    limits,
    name::Name,
    time::{Mono, Wall},
};
use relay_net::origin::Address;
use relay_store::memory::MemoryStore;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use self::key_server::{KeyServer, ok};
use super::{Fetcher, Fetching, Keyring, ProxyChoice, Unfetched};
use crate::clock::Clock;

#[path = "../../tests/key_server/mod.rs"]
mod key_server;

const STRANGER: Address = Address::V4(Ipv4Addr::new(192, 0, 2, 7));
const HOST: &str = "keys.example.com";

/// A key server that knows `/key`, and a keyring that knows where it is.
struct Bench {
    server: KeyServer,
    fetching: Fetching,
    keyring: Arc<Keyring>,
    store: Arc<MemoryStore>,
    _dir: TempDir,
}

impl Bench {
    async fn start() -> Self {
        Self::with(|fetching, _| fetching).await
    }

    async fn with(change: impl FnOnce(Fetching, &KeyServer) -> Fetching) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = KeyServer::start(dir.path(), HOST, Arc::new(answer)).await;
        let mut fetching = Fetching { ca_file: Some(server.ca_file.clone()), ..Fetching::default() };
        fetching.pinned.insert(HOST.to_owned(), server.addr);
        let fetching = change(fetching, &server);
        let store = Arc::new(MemoryStore::new());
        let keyring = Self::keyring(&fetching, Arc::clone(&store));
        Self { server, fetching, keyring, store, _dir: dir }
    }

    fn keyring(fetching: &Fetching, store: Arc<MemoryStore>) -> Arc<Keyring> {
        Keyring::new(Fetcher::new(fetching.clone()).unwrap(), Clock::start(Wall::MIN), store)
    }

    /// The keyring of the next start.
    fn restart(&mut self) {
        self.keyring = Self::keyring(&self.fetching, Arc::clone(&self.store));
    }

    async fn key(&self, path: &str) -> Result<bytes::Bytes, Unfetched> {
        self.keyring.key(&source(), STRANGER, &format!("https://{HOST}{path}")).await
    }
}

fn answer(path: &str) -> Option<Vec<u8>> {
    match path {
        "/hang" => None,
        "/moved" => Some(b"HTTP/1.1 302 Found\r\nLocation: /key\r\nContent-Length: 0\r\n\r\n".to_vec()),
        gone if gone.starts_with("/gone") => Some(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
        "/large" => Some(ok(&vec![b'x'; limits::FETCHED_BYTES_MAX + 1])),
        "/largest" => Some(ok(&vec![b'x'; limits::FETCHED_BYTES_MAX])),
        "/endless" => Some([b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &vec![b'x'; 1_000_000]].concat()),
        "/short" => Some(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab".to_vec()),
        _ => Some(ok(path.as_bytes())),
    }
}

fn source() -> Name {
    "sns".parse().unwrap()
}

#[tokio::test]
async fn a_key_is_fetched_once_and_kept() {
    let bench = Bench::start().await;
    for _ in 0..3 {
        assert_eq!(bench.key("/key?a=1").await.unwrap(), "/key?a=1");
    }
    assert_eq!(bench.server.asked(), ["/key?a=1"]);
}

#[tokio::test]
async fn those_who_want_the_same_key_at_once_wait_for_one_fetch() {
    let bench = Bench::start().await;
    let keys = futures_util::future::join_all((0..20).map(|_| bench.key("/key"))).await;
    assert!(keys.iter().all(|key| key.as_deref() == Ok(b"/key".as_slice())));
    assert_eq!(bench.server.asked().len(), 1);
}

/// S19: neither redirects nor other answers, sizes and half bodies are taken for a key.
#[tokio::test]
async fn only_a_whole_answer_of_bounded_size_is_a_key() {
    let bench = Bench::start().await;
    assert_eq!(bench.key("/largest").await.unwrap().len(), limits::FETCHED_BYTES_MAX);
    let fetcher = Fetcher::new(bench.fetching.clone()).unwrap();
    for (path, words) in [
        ("/moved", "status 302"),
        ("/gone", "status 404"),
        ("/large", "64 KiB"),
        ("/endless", "64 KiB"),
        ("/short", "no whole body"),
    ] {
        let error = fetcher.get(&format!("https://{HOST}{path}")).await.unwrap_err();
        assert!(error.host == HOST && error.why.contains(words), "{path}: {error}");
    }
    assert!(!bench.server.asked().contains(&"/key".to_owned()), "the redirect was followed");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_soon() {
    let bench = Bench::start().await;
    let began = tokio::time::Instant::now();
    let error = bench.key("/hang").await.unwrap_err();
    assert!(error.why.contains("within 2 s") && began.elapsed() < Duration::from_secs(10), "{error}");
}

/// S16: what strangers name is never an address of the operator's own network, however it is written.
#[tokio::test]
async fn nothing_but_https_to_a_public_address_is_dialled() {
    let fetcher = Fetcher::new(Fetching::default()).unwrap();
    for url in [
        "https://127.0.0.1/key",
        "https://localhost/key",
        "https://[::1]/key",
        "https://[::ffff:127.0.0.1]/key",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://0.0.0.0/",
    ] {
        assert!(fetcher.get(url).await.unwrap_err().why.contains("public internet"), "{url}");
    }
    for (url, words) in [
        ("http://example.com/key", "not https"),
        ("https://example.com:8443/key", "port"),
        ("https://user@example.com/key", "login"),
        ("https:///key", "URL"),
        ("\u{1}", "URL"),
    ] {
        let error = fetcher.get(url).await.unwrap_err();
        assert!(error.why.contains(words), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_no_answer() {
    let bench = Bench::with(|fetching, _| Fetching { ca_file: None, ..fetching }).await;
    let error = bench.key("/key").await.unwrap_err();
    assert!(error.why.contains("TLS") || error.why.contains("root certificates"), "{error}");
    assert!(bench.server.asked().is_empty());
}

/// What is kept is asked for again once a minute at most, and stays where nothing new comes of it.
#[tokio::test]
async fn what_is_kept_is_renewed_seldom() {
    let bench = Bench::start().await;
    let url = format!("https://{HOST}/key");
    assert_eq!(bench.keyring.renewed(&source(), &url, &"old".into()).await, None, "nothing is kept yet");
    bench.key("/key").await.unwrap();
    assert_eq!(bench.keyring.renewed(&source(), &url, &"old".into()).await.as_deref(), Some(&b"/key"[..]));
    for _ in 0..3 {
        assert_eq!(bench.keyring.renewed(&source(), &url, &"/key".into()).await, None);
    }
    assert_eq!(bench.server.asked(), ["/key", "/key"]);
    assert_eq!(bench.key("/key").await.unwrap(), "/key");
}

/// Strangers choose what is fetched: they cannot make the relay fetch without end, and spend nobody's share but theirs.
#[tokio::test]
async fn an_address_has_few_keys_a_minute_that_are_not_there() {
    let bench = Bench::start().await;
    let gone = |address: Address, number: u32| {
        let (keyring, url) = (Arc::clone(&bench.keyring), format!("https://{HOST}/gone{number}"));
        async move { keyring.key_at(&source(), address, &url, Mono::default()).await.unwrap_err().host == HOST }
    };
    for number in 0..20 {
        assert_eq!(gone(STRANGER, number).await, number < limits::FETCHES_PER_ADDRESS, "{number}");
    }
    let url = format!("https://{HOST}/key");
    let platform = Address::V4(Ipv4Addr::new(198, 51, 100, 1));
    // No time passes, which would bring something back.
    let at_once = async |url: &str| bench.keyring.key_at(&source(), platform, url, Mono::default()).await.is_ok();
    assert!(at_once(&url).await, "the platform goes on");
    for number in 1..20 {
        let url = format!("https://{HOST}/other{number}");
        assert!(at_once(&url).await, "what is there costs nothing: {number}");
    }
    let mut asked = 0;
    for number in 300..400 {
        asked += u32::from(gone(Address::V6(number.into()), number).await);
    }
    let wider = limits::FETCHES_PER_ADDRESS * relay_net::limits::WIDER_NETWORK_SHARES as u32;
    assert_eq!(asked, wider, "all addresses of one /48 together");
    for number in 100..200 {
        asked += u32::from(gone(Address::V6(u64::from(number) << 16), number).await);
    }
    // Beside what was good there is a reserve.
    let left = limits::FETCHES_PER_MINUTE + limits::FETCHES_RESERVE - limits::FETCHES_PER_ADDRESS;
    assert_eq!(asked, left, "all strangers together");
    assert!(bench.key("/key").await.is_ok(), "what is known is still there");
    let other: Name = "other".parse().unwrap();
    assert!(bench.keyring.key(&other, STRANGER, &format!("https://{HOST}/30")).await.is_ok(), "another source goes on");
}

/// S16: behind a proxy on this machine nobody has an address of his own. Strangers who make up keys five times as often as the
/// platform's webhooks come, and have spent all there is before, do not keep its new key away for long.
#[tokio::test]
async fn strangers_without_an_address_keep_no_new_key_away() {
    let bench = Bench::start().await;
    bench.keyring.kept.lock().unwrap().rng = StdRng::seed_from_u64(7);
    let asked = |path: String, at: Duration| {
        let (keyring, url) = (Arc::clone(&bench.keyring), format!("https://{HOST}{path}"));
        async move { keyring.key_at(&source(), Address::Local, &url, Mono::default() + at).await }
    };
    let is_asked = |fetched: Result<bytes::Bytes, Unfetched>| fetched.is_err_and(|why| why.host == HOST);
    let mut spent = 0;
    for number in 0..100 {
        spent += u32::from(is_asked(asked(format!("/gone{number}"), Duration::ZERO).await));
    }
    assert_eq!(spent, limits::FETCHES_PER_MINUTE);
    let mut came_at = None;
    let mut fetched = 0;
    for fifth in 1..=900 {
        let at = Duration::from_millis(200 * fifth);
        fetched += u32::from(is_asked(asked(format!("/gone-{fifth}"), at).await));
        let between = at + Duration::from_millis(100);
        if fifth % 5 == 0 && came_at.is_none() && asked("/key".into(), between).await.is_ok() {
            came_at = Some(between);
        }
    }
    assert!(came_at.is_some_and(|at| at < Duration::from_mins(2)), "{came_at:?}");
    let most = 4 * (limits::FETCHES_PER_MINUTE + limits::FETCHES_RESERVE);
    assert!(fetched <= most, "strangers have {fetched} fetched in three minutes");
}

/// What was good is no stranger's to keep from anybody by a restart.
#[tokio::test]
async fn a_restart_knows_the_keys_that_were_fetched() {
    let mut bench = Bench::start().await;
    assert!(bench.key("/key").await.is_ok());
    for number in 0..limits::KEYS_MAX {
        assert!(bench.key(&format!("/key{number}")).await.is_ok());
    }
    let before = bench.server.asked().len();
    bench.restart();
    let last = limits::KEYS_MAX - 1;
    assert_eq!(bench.key(&format!("/key{last}")).await.unwrap(), format!("/key{last}"));
    assert_eq!(bench.server.asked().len(), before, "it was not asked for again");
    assert!(bench.key("/key").await.is_ok());
    assert_eq!(bench.server.asked().len(), before + 1, "the oldest made room");
}

/// A failure is remembered for a while, a key for a day; what was good once may be fetched again however often others were
/// asked for.
#[tokio::test]
async fn keys_and_failures_are_forgotten_in_time() {
    let bench = Bench::start().await;
    let at = |path: &'static str, now: Mono| {
        let (keyring, url) = (Arc::clone(&bench.keyring), format!("https://{HOST}{path}"));
        async move { keyring.key_at(&source(), STRANGER, &url, now).await.is_ok() }
    };
    let start = Mono::default();
    assert!(at("/key", start).await);
    for _ in 0..3 {
        assert!(!at("/gone", start).await);
    }
    assert_eq!(bench.server.asked(), ["/key", "/gone"]);
    let later = start + limits::KEY_FAILURE_KEPT;
    assert!(!at("/gone", later).await);
    assert_eq!(bench.server.asked().len(), 3, "tried again");
    let next_day = start + limits::KEY_KEPT;
    for number in 0..=limits::FETCHES_PER_ADDRESS {
        let url = format!("https://{HOST}/gone{number}");
        drop(bench.keyring.key_at(&source(), STRANGER, &url, next_day).await);
    }
    assert!(!at("/8", next_day).await, "no more this minute");
    assert!(at("/key", next_day).await);
    assert_eq!(bench.server.asked().iter().filter(|path| **path == "/key").count(), 2, "fetched anew");
}

/// Who gives up waiting leaves nothing behind that the next one would wait for.
#[tokio::test]
async fn a_fetch_that_nobody_waits_for_is_given_up() {
    use futures_util::FutureExt as _;

    let bench = Bench::start().await;
    assert!(bench.key("/key").now_or_never().is_none(), "it takes a while");
    assert!(bench.key("/key").await.is_ok());
}

/// The keyring is bounded, and what is worth least goes first.
#[tokio::test]
async fn strangers_do_not_fill_the_keyring() {
    let bench = Bench::start().await;
    assert!(bench.key("/key").await.is_ok());
    for number in 0..limits::KEYS_MAX + 20 {
        let source: Name = format!("s{number}").parse().unwrap();
        drop(bench.keyring.key(&source, STRANGER, "https://127.0.0.1/").await);
        drop(bench.keyring.key(&source, STRANGER, &format!("https://127.0.0.1/{number}")).await);
    }
    let before = bench.server.asked().len();
    assert!(bench.key("/key").await.is_ok());
    assert_eq!(bench.server.asked().len(), before, "it is still known");
    assert!(bench.keyring.kept.lock().unwrap().entries.len() <= limits::KEYS_MAX);
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_tunnel_and_never_for_an_address_inside() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://us%40er:pw@{}", proxy.local_addr().unwrap());
    let bench = Bench::with(|fetching, _| {
        let proxy = ProxyChoice::new(move |_| url.parse().ok());
        Fetching { proxy, pinned: BTreeMap::default(), ..fetching }
    })
    .await;
    let target = bench.server.addr;
    let asked = tokio::spawn(async move {
        let (mut socket, _) = proxy.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        socket.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
        let mut server = TcpStream::connect(target).await.unwrap();
        drop(copy_bidirectional(&mut socket, &mut server).await);
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    });
    assert_eq!(bench.key("/key").await.unwrap(), "/key");
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("connect keys.example.com:443 http/1.1\r\n"), "{asked}");
    assert!(asked.contains("proxy-authorization: basic dxnazxi6chc="), "{asked}");
    for host in ["127.0.0.1", "10.0.0.1", "localhost", "[::1]"] {
        let error = bench.keyring.key(&source(), STRANGER, &format!("https://{host}/key")).await.unwrap_err();
        assert!(error.why.contains("public internet"), "{host}: {error}");
    }
}
