//! The public listener over TLS: webhooks, sessions, and a certificate that is renewed.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use relay_net::{dial::encrypt, tls::trusting};
use rustls::{ClientConfig, pki_types::CertificateDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::{
    port::free_port,
    process::{API_KEY, Process, RELAY_TOKEN, Server, run, wait_for},
    target::{Reply, Target},
};

/// A certificate for this machine, and its key, in PEM.
fn made() -> (String, String) {
    made_for(&["localhost", "127.0.0.1"])
}

fn made_for(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    (CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn client(dir: &Path, name: &str, server: &Server, trusted: &str, target: &Target) -> Process {
    let (log, ca_file, url) = (dir.join(name), dir.join(trusted), format!("https://{}", server.public));
    let (to, ca_file) = (target.url("/"), ca_file.to_str().unwrap().to_owned());
    let env = [("RELAY_URL", url.as_str()), ("RELAY_TOKEN", RELAY_TOKEN), ("RELAY_CA_FILE", &ca_file)];
    Process::start(&log, &["client", "--to", &to], &env)
}

fn joins(client: &Process) {
    wait_for("the client to join", || client.log().contains("event=\"connected\"").then_some(()));
}

/// S30, I22: webhooks and sessions come over TLS alone; a renewed certificate is shown from then on, one that is half written never,
/// and what is open stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_and_sessions_come_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (cert_file, key_file) = (dir.path().join("tls.pem"), dir.path().join("tls.key"));
    let (certificate, key) = made();
    fs::write(&cert_file, &certificate).unwrap();
    fs::write(&key_file, &key).unwrap();
    fs::write(dir.path().join("old.pem"), &certificate).unwrap();
    let files = [("TLS_CERT_FILE", cert_file.to_str().unwrap()), ("TLS_KEY_FILE", key_file.to_str().unwrap())];
    let server = Server::start(dir.path(), &files);
    let target = Target::start(|_| Reply::status(204)).await;
    let first = client(dir.path(), "first.log", &server, "old.pem", &target);
    joins(&first);
    let send = |trusted: &str| {
        let (data_dir, ca_file) = (server.data_dir(), dir.path().join(trusted));
        let (data_dir, ca_file) = (data_dir.to_str().unwrap(), ca_file.to_str().unwrap());
        let env = [("DATA_DIR", data_dir), ("API_KEY", API_KEY), ("RELAY_CA_FILE", ca_file)];
        run(dir.path(), &["send"], &env)
    };
    let arrive = |count: usize| wait_for("the webhook to arrive", || (target.count() >= count).then_some(()));
    let sent = send("old.pem");
    assert!(sent.status.success(), "{sent:?}");
    arrive(1);

    // Whoever forgot the s hears it.
    let mut plain = TcpStream::connect(server.public).await.unwrap();
    plain.write_all(b"POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    let mut said = String::new();
    plain.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("begins with https://"), "{said}");

    // A renewal writes one file after the other.
    let (renewed, renewed_key) = made();
    fs::write(dir.path().join("new.pem"), &renewed).unwrap();
    fs::write(&cert_file, &renewed).unwrap();
    server.process.signal("HUP");
    wait_for("half of it to be refused", || {
        server.process.log().contains("event=\"certificate_refused\"").then_some(())
    });
    assert!(send("old.pem").status.success(), "the one of before is shown");
    fs::write(&key_file, &renewed_key).unwrap();
    server.process.signal("HUP");
    wait_for("all of it to be taken", || server.process.log().contains("event=\"certificate_replaced\"").then_some(()));
    assert!(send("new.pem").status.success());
    let refused = send("old.pem");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("RELAY_CA_FILE"), "{refused:?}");
    arrive(3);
    assert_eq!(first.log().matches("event=\"connected\"").count(), 1, "its session is the one that it began with");
    let second = client(dir.path(), "second.log", &server, "new.pem", &target);
    joins(&second);
}

/// Whoever sends from the server's own machine reaches it by the name that its certificate has, which is not that of loopback.
#[tokio::test]
async fn a_sample_goes_to_the_name_of_the_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (cert_file, key_file) = (dir.path().join("tls.pem"), dir.path().join("tls.key"));
    let (certificate, key) = made_for(&["localhost"]);
    fs::write(&cert_file, &certificate).unwrap();
    fs::write(&key_file, &key).unwrap();
    let port = free_port().to_string();
    let url = format!("https://localhost:{port}");
    let (cert_file, key_file) = (cert_file.to_str().unwrap(), key_file.to_str().unwrap());
    let settings =
        [("TLS_CERT_FILE", cert_file), ("TLS_KEY_FILE", key_file), ("SERVER_PORT", &port), ("PUBLIC_URL", &url)];
    let server = Server::start(dir.path(), &settings);
    let data_dir = server.data_dir();
    let env = [("DATA_DIR", data_dir.to_str().unwrap()), ("API_KEY", API_KEY), ("RELAY_CA_FILE", cert_file)];
    let sent = run(dir.path(), &["send"], &env);
    assert!(sent.status.success(), "{sent:?}");
    // One that is trusted by nobody, and one whose name it is not, each hear what is wrong, and not that nobody listens.
    for (args, env, wrong) in [
        (&["send"][..], &env[..2], "RELAY_CA_FILE"),
        (&["send", "--to", &format!("https://127.0.0.1:{port}")], &env[..], "--to URL"),
    ] {
        let refused = run(dir.path(), args, env);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
        assert!(!refused.status.success() && said.contains(wrong) && !said.contains("crm-relay dev"), "{said}");
    }
}

/// An authority of the test's own.
struct Authority(Issuer<'static, KeyPair>, CertificateDer<'static>);

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params.self_signed(&key).unwrap().der().clone();
        Self(Issuer::new(params, key), der)
    }

    /// A certificate for this machine, and its key, in PEM.
    fn issue(&self, host: &str) -> (String, String, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let issued = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (issued.pem(), key.serialize_pem(), issued.der().clone())
    }
}

/// Asks whether the server lives, over TLS for this host; the connection, if it is to stay.
async fn ask(
    server: SocketAddr,
    host: &str,
    trusted: &Arc<ClientConfig>,
    stays: bool,
) -> std::io::Result<Option<impl AsyncRead + AsyncWrite + Unpin + use<>>> {
    let tcp = TcpStream::connect(server).await?;
    let mut socket = encrypt(tcp, host, Arc::clone(trusted)).await?;
    let connection = if stays { "keep-alive" } else { "close" };
    let head = format!("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    lives(&mut socket).await?;
    Ok(stays.then_some(socket))
}

/// Whether the answer that comes says that the server lives.
async fn lives(socket: &mut (impl AsyncRead + Unpin)) -> std::io::Result<()> {
    let mut said = Vec::new();
    while !said.ends_with(b"ok\n") {
        let mut piece = [0; 512];
        match socket.read(&mut piece).await? {
            0 => return Err(std::io::Error::other(format!("{:?}", String::from_utf8_lossy(&said)))),
            read => said.extend_from_slice(&piece[..read]),
        }
    }
    if said.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err(std::io::Error::other("it does not live")) }
}

/// S31: certificates are renewed twenty times while fifty connections a second shake hands: none fails, and what is open stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_under_load_fail_no_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (cert_file, key_file) = (dir.path().join("tls.pem"), dir.path().join("tls.key"));
    let renew = || {
        let (certificate, key, der) = authority.issue("relay.test");
        fs::write(&cert_file, certificate).unwrap();
        fs::write(&key_file, key).unwrap();
        der
    };
    let mut newest = renew();
    let files = [("TLS_CERT_FILE", cert_file.to_str().unwrap()), ("TLS_KEY_FILE", key_file.to_str().unwrap())];
    let server = Server::start(dir.path(), &files);
    let trusted = trusting(std::slice::from_ref(&authority.1)).unwrap();
    let mut open = ask(server.public, "relay.test", &trusted, true).await.unwrap().unwrap();
    let (stop, ended) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let load = {
        let (stop, ended, trusted, public) = (stop.clone(), Arc::clone(&ended), Arc::clone(&trusted), server.public);
        tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            let mut clock = tokio::time::interval(Duration::from_millis(20));
            while !stop.is_cancelled() {
                clock.tick().await;
                let (trusted, ended) = (Arc::clone(&trusted), Arc::clone(&ended));
                all.spawn(async move {
                    let asked = ask(public, "relay.test", &trusted, false).await.map(drop);
                    ended.fetch_add(1, Ordering::Relaxed);
                    asked
                });
            }
            all.join_all().await
        })
    };
    for renewal in 1..=20 {
        newest = renew();
        server.process.signal("HUP");
        wait_for("it to be shown", || {
            (server.process.log().matches(r#"event="certificate_replaced""#).count() >= renewal).then_some(())
        });
        let before = ended.load(Ordering::Relaxed);
        wait_for("connections to come and go", || (ended.load(Ordering::Relaxed) >= before + 5).then_some(()));
    }
    stop.cancel();
    let asked = load.await.unwrap();
    let failed: Vec<_> = asked.iter().filter_map(|asked| asked.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), asked.len());
    assert!(asked.len() >= 100, "{}", asked.len());
    open.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    lives(&mut open).await.expect("what is open stays");
    let only_newest = trusting(&[newest]).unwrap();
    ask(server.public, "relay.test", &only_newest, false).await.expect("the last one is shown");
}

/// S30, S7: each name has its certificate, renewed by itself; who comes without TLS is sent to where it is spoken; and pairs that are
/// wrong are told all together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_name_has_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, host: &str| {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&key).unwrap();
        fs::write(dir.path().join(format!("{name}.pem")), made.pem()).unwrap();
        fs::write(dir.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        trusting(&[made.der().clone()]).unwrap()
    };
    let (first, second) = (write("first", "relay.test"), write("second", "hooks.test"));
    let config = dir.path().join("crm-relay.toml");
    let pair = |name: &str| format!("[[tls]]\ncert_file = \"{name}.pem\"\nkey_file = \"{name}.key\"\n");
    fs::write(&config, format!("public_url = \"https://relay.test/in\"\n{}{}", pair("first"), pair("second"))).unwrap();
    let settings = [("CRM_RELAY_CONFIG", config.to_str().unwrap()), ("REDIRECT_LISTEN", "127.0.0.1:0")];
    let server = Server::start(dir.path(), &settings);
    for (host, shown) in [("relay.test", &first), ("hooks.test", &second)] {
        ask(server.public, host, shown, false).await.expect(host);
    }
    assert!(ask(server.public, "hooks.test", &first, false).await.is_err(), "it is shown another");
    let renewed = write("second", "hooks.test");
    server.process.signal("HUP");
    wait_for("it to be shown", || server.process.log().contains(r#"event="certificate_replaced""#).then_some(()));
    for (host, shown) in [("relay.test", &first), ("hooks.test", &renewed)] {
        ask(server.public, host, shown, false).await.expect(host);
    }

    let announced: serde_json::Value =
        serde_json::from_slice(&fs::read(server.data_dir().join("run.json")).unwrap()).unwrap();
    let mut plain = TcpStream::connect(announced["redirect"].as_str().unwrap()).await.unwrap();
    plain.write_all(b"POST /in/webhook/a?b HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 9\r\n\r\n").await.unwrap();
    let mut said = String::new();
    plain.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 308 ") && said.contains("https://relay.test/in/webhook/a?b\r\n"), "{said}");

    fs::write(dir.path().join("second.key"), made().1).unwrap();
    fs::remove_file(dir.path().join("first.key")).unwrap();
    let refused = run_with(dir.path(), &config);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{told}");
    assert!(told.contains("first.key") && told.contains("second.key"), "{told}");
}

fn run_with(dir: &Path, config: &Path) -> std::process::Output {
    run(dir, &["server", "--config", config.to_str().unwrap(), "--data-dir", "other"], &[])
}

/// I24: a certificate that has ended is a reason, told once, until another is shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_has_ended_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (cert_file, key_file) = (dir.path().join("tls.pem"), dir.path().join("tls.key"));
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2020, 4, 1));
    fs::write(&cert_file, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let files = [("TLS_CERT_FILE", cert_file.to_str().unwrap()), ("TLS_KEY_FILE", key_file.to_str().unwrap())];
    let server = Server::start(dir.path(), &files);
    let is_reason =
        || server.json(&["health"])["reasons"].to_string().contains("certificate of the public listener has ended");
    assert!(is_reason());
    wait_for("the log to say so", || server.process.log().contains("event=\"certificate_ended\"").then_some(()));
    let (renewed, renewed_key) = made();
    fs::write(&cert_file, renewed).unwrap();
    fs::write(&key_file, renewed_key).unwrap();
    server.process.signal("HUP");
    wait_for("it to be over", || (!is_reason()).then_some(()));
}
