//! Certificates from an authority: a real ACME server (pebble), with names of its own, that checks over TLS and over plain HTTP.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use rcgen::{CertificateParams, KeyPair};
use relay_net::{
    dial::encrypt,
    tls::{certificates, trusting},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    clock::clock,
    port::free_port,
    process::{Process, Server, wait_for},
};

/// An authority, and who tells it where the names are.
struct Authority {
    dir: tempfile::TempDir,
    directory: u16,
    management: u16,
    /// Where it looks over plain HTTP, and over TLS.
    http: u16,
    tls: u16,
    /// Who tells it, as an address.
    dns: String,
    running: Process,
    _dns: Process,
}

fn start(dir: &Path, program: &str, args: &[&str]) -> Process {
    let log = dir.join(format!("{program}.log"));
    let out = File::create(&log).unwrap();
    let mut command = Command::new(program);
    command.args(args).env("PEBBLE_VA_NOSLEEP", "1").stdin(Stdio::null());
    let child = command.stdout(out.try_clone().unwrap()).stderr(out).spawn();
    Process::of(child.unwrap_or_else(|error| panic!("{program}: {error}; `make setup` installs it")), log)
}

impl Authority {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [directory, management, http, tls, dns, names] = std::array::from_fn(|_| free_port());
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("pebble.pem"), own.pem()).unwrap();
        fs::write(path("pebble.key"), key.serialize_pem()).unwrap();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{directory}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": path("pebble.pem"),
            "privateKey": path("pebble.key"),
            "httpPort": http,
            "tlsPort": tls,
            "domainBlocklist": ["blocked.test"],
            "certificateValidityPeriod": 90 * 86_400,
        }});
        fs::write(path("pebble.json"), config.to_string()).unwrap();
        let (dns, names) = (format!("127.0.0.1:{dns}"), format!("127.0.0.1:{names}"));
        let off = ["-http01", "", "-https01", "", "-tlsalpn01", ""];
        let served = ["-dns01", &dns, "-management", &names, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""];
        let told = start(dir.path(), "pebble-challtestsrv", &[&off[..], &served].concat());
        is_there(&names);
        let running = Self::start(dir.path(), &dns, [directory, management]);
        Self { dir, directory, management, http, tls, dns, running, _dns: told }
    }

    fn start(dir: &Path, dns: &str, listens_at: [u16; 2]) -> Process {
        let config = dir.join("pebble.json");
        let running = start(dir, "pebble", &["-config", config.to_str().unwrap(), "-dnsserver", dns]);
        for port in listens_at {
            is_there(&format!("127.0.0.1:{port}"));
        }
        running
    }

    /// Is there again, with another root and without the accounts of before.
    fn begin_anew(&mut self) {
        self.running.kill();
        self.running = Self::start(self.dir.path(), &self.dns, [self.directory, self.management]);
    }

    /// A server that obtains a certificate for these names here, below this directory.
    fn server(&self, dir: &Path, names: &str, more: &[(&str, &str)]) -> Server {
        let (url, ca_file) = (format!("https://127.0.0.1:{}/dir", self.directory), self.dir.path().join("pebble.pem"));
        let port = self.tls.to_string();
        let mut settings = vec![
            ("ACME_DOMAIN", names),
            ("ACME_EMAIL", "hostmaster@relay.test"),
            ("ACME_DIRECTORY", &url),
            ("RELAY_CA_FILE", ca_file.to_str().unwrap()),
            ("SERVER_PORT", &port),
        ];
        settings.extend(more);
        Server::start(dir, &settings)
    }

    /// Its root.
    async fn root(&self) -> Arc<rustls::ClientConfig> {
        let own = fs::read(self.dir.path().join("pebble.pem")).unwrap();
        let tls = trusting(&certificates(&own).unwrap()).unwrap();
        let at = SocketAddr::from(([127, 0, 0, 1], self.management));
        let page = get(at, "127.0.0.1", &tls, "/roots/0").await.unwrap();
        let pem = &page[page.find("-----BEGIN").unwrap()..];
        trusting(&certificates(pem.as_bytes()).unwrap()).unwrap()
    }
}

/// Waits until somebody listens there: the authority says that it does before.
fn is_there(addr: &str) {
    wait_for("it to listen", || std::net::TcpStream::connect(addr).ok());
}

/// What is at a path, asked for over TLS under this name.
async fn get(at: SocketAddr, host: &str, tls: &Arc<rustls::ClientConfig>, path: &str) -> std::io::Result<String> {
    let mut socket = encrypt(TcpStream::connect(at).await?, host, Arc::clone(tls)).await?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    let mut said = Vec::new();
    // Whoever closes without a goodbye has said all of it.
    let _ = socket.read_to_end(&mut said).await;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn logs(server: &Server, event: &str) -> usize {
    server.process.log().matches(&format!("event=\"{event}\"")).count()
}

fn end(server: &mut Server) {
    server.process.signal("TERM");
    server.process.wait();
}

/// S30: a certificate is obtained for each name, shown without a restart and after one, and kept for the owner alone; the authority
/// looks in a handshake, or where there is a listener of plain HTTP, there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_obtained_and_shown() {
    let authority = Authority::new();
    let root = authority.root().await;
    let redirect = format!("127.0.0.1:{}", authority.http);
    for over_http in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let more = [("REDIRECT_LISTEN", redirect.as_str()), ("PUBLIC_URL", "https://relay.test")];
        let more = if over_http { &more[..] } else { &[] };
        let mut server = authority.server(dir.path(), "relay.test,hooks.test", more);
        wait_for("a certificate to be shown", || (logs(&server, "certificate_replaced") == 1).then_some(()));
        for name in ["relay.test", "hooks.test"] {
            let said = get(server.public, name, &root, "/livez").await.expect(name);
            assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        }
        for file in ["acme-account.json", "acme-certificate.pem"] {
            let found = fs::metadata(server.data_dir().join(file)).unwrap();
            assert_eq!(found.permissions().mode() & 0o777, 0o600, "{file}");
        }
        let reasons = server.json(&["health"])["reasons"].to_string();
        assert!(!reasons.contains("certificate"), "{reasons}");
        end(&mut server);
        server.restart();
        get(server.public, "relay.test", &root, "/livez").await.expect("the one of before");
        assert_eq!(logs(&server, "acme_obtained"), 1, "no other is asked for");
    }
}

/// S30, I24: what fails is told with its reason, tried again, and ends nothing: the authority is away, it has no use for the name, or it
/// does not find the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_obtained_is_told() {
    let authority = Authority::new();
    let (port, nowhere) = (free_port().to_string(), format!("https://127.0.0.1:{}/dir", free_port()));
    for (names, more, why) in [
        ("relay.test", ("ACME_DIRECTORY", nowhere.as_str()), "cannot connect"),
        ("blocked.test", ("ACME_EMAIL", "a@relay.test"), "blocked.test"),
        ("relay.test", ("SERVER_PORT", port.as_str()), "relay.test could not be checked"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = authority.server(dir.path(), names, &[more]);
        wait_for("the failure to be told", || (logs(&server, "acme_failed") > 0).then_some(()));
        let log = server.process.log();
        assert!(log.lines().any(|line| line.contains("acme_failed") && line.contains(why)), "{why}: {log}");
        let reasons = server.json(&["health"])["reasons"].to_string();
        assert!(reasons.contains("no other was obtained for ACME_DOMAIN: "), "{reasons}");
        assert!(server.process.is_running());
    }
}

/// S31: a certificate is renewed when a third of its time is left and not before, also of an authority that has forgotten whom it gave
/// the one of before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_in_time() {
    let mut authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let mut server = authority.server(dir.path(), "relay.test", &[]);
    wait_for("a certificate to be shown", || (logs(&server, "certificate_replaced") == 1).then_some(()));
    authority.begin_anew();
    end(&mut server);
    server.restart_under(&clock(&["FAKETIME=+53d", "DONT_FAKE_MONOTONIC=1"]));
    wait_for("the authority to be asked when", || authority.running.log().contains("GET /dir").then_some(()));
    assert_eq!(server.json(&["health"])["reasons"].to_string().matches("certificate").count(), 0);
    end(&mut server);
    assert_eq!(logs(&server, "acme_obtained"), 1, "too soon");
    server.restart_under(&clock(&["FAKETIME=+61d", "DONT_FAKE_MONOTONIC=1"]));
    wait_for("another to be shown", || (logs(&server, "certificate_replaced") == 2).then_some(()));
    get(server.public, "relay.test", &authority.root().await, "/livez").await.expect("the new one");
    assert_eq!(logs(&server, "acme_failed"), 0);
}

/// S30: what failed is tried again by itself, after about a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_comes_back_is_asked_again() {
    let mut authority = Authority::new();
    authority.running.kill();
    let dir = tempfile::tempdir().unwrap();
    let mut server = authority.server(dir.path(), "relay.test", &[]);
    wait_for("the failure to be told", || (logs(&server, "acme_failed") == 1).then_some(()));
    end(&mut server);
    server.restart_under(&clock(&["FAKETIME=+0 x10"]));
    wait_for("the failure to be told again", || (logs(&server, "acme_failed") == 2).then_some(()));
    authority.begin_anew();
    wait_for("a certificate to be shown", || (logs(&server, "certificate_replaced") == 1).then_some(()));
    get(server.public, "relay.test", &authority.root().await, "/livez").await.expect("it is there");
    let reasons = server.json(&["health"])["reasons"].to_string();
    assert!(!reasons.contains("certificate"), "{reasons}");
}
