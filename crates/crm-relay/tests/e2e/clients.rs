//! The ways of clients: a listener of their own that asks for a certificate, and a SOCKS proxy in between.

use std::{fs, path::Path, process::Command};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use relay_net::tls::Pin;
use rustls::pki_types::CertificateDer;

use crate::{
    port::free_port,
    process::{API_KEY, Process, RELAY_TOKEN, Server, run, wait_for},
    sender::Sender,
    target::{Reply, Target},
};

/// An authority, its file, and what it issues: files of that name with a certificate and a key.
struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    fn new(file: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self(Issuer::new(params, key))
    }

    fn issue(&self, dir: &Path, name: &str) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let issued = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        fs::write(dir.join(format!("{name}.pem")), issued.pem()).unwrap();
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        issued.der().clone()
    }
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

/// S30: where clients have a listener of their own, one with a certificate of their authority joins there; one without never gets to show
/// its token, one with a token that is for another key is refused for good, and nobody joins at the public listener.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_with_a_certificate_join_at_a_listener_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let authority = Authority::new(&dir.join("clients-ca.pem"));
    let (_, office) = (authority.issue(dir, "tls"), authority.issue(dir, "office"));
    let _ = authority.issue(dir, "other");
    let settings = [
        ("TLS_CERT_FILE", path(dir, "tls.pem")),
        ("TLS_KEY_FILE", path(dir, "tls.key")),
        ("CLIENTS_LISTEN", "127.0.0.1:0".to_owned()),
        ("CLIENTS_CA_FILE", path(dir, "clients-ca.pem")),
    ];
    let server = Server::start(dir, &settings.each_ref().map(|(name, value)| (*name, value.as_str())));
    let announced: serde_json::Value =
        serde_json::from_slice(&fs::read(server.data_dir().join("run.json")).unwrap()).unwrap();
    let clients = format!("https://{}", announced["clients"].as_str().unwrap());
    let pin = Pin::of(&office).unwrap().to_string();
    let made = server.json(&["token", "create", "office", "--pin", &pin]);
    let token = made["token"].as_str().unwrap();
    assert_eq!(server.json(&["token", "show", "office"])["pins"], serde_json::json!([pin]));
    let target = Target::start(|_| Reply::status(204)).await;
    let join = |log: &str, url: &str, token: &str, shown: Option<&str>| {
        let mut env = vec![
            ("RELAY_URL", url.to_owned()),
            ("RELAY_TOKEN", token.to_owned()),
            ("RELAY_CA_FILE", path(dir, "clients-ca.pem")),
        ];
        if let Some(name) = shown {
            env.push(("RELAY_CERT_FILE", path(dir, &format!("{name}.pem"))));
            env.push(("RELAY_KEY_FILE", path(dir, &format!("{name}.key"))));
        }
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Process::start(&dir.join(log), &["client", "--to", &target.url("/")], &env)
    };
    let says = |client: &Process, words: &str| wait_for(words, || client.log().contains(words).then_some(()));

    says(&join("none.log", &clients, RELAY_TOKEN, None), "wants a certificate of the client");
    wait_for("a line about it", || server.process.log().contains("event=\"client_certificate_refused\"").then_some(()));
    let public = format!("https://{}", server.public);
    says(&join("public.log", &public, RELAY_TOKEN, Some("office")), "a listener of their own (CLIENTS_LISTEN)");
    says(&join("stranger.log", &clients, token, Some("other")), "the token is for the holder of another key");
    wait_for("a line about it", || server.process.log().contains("event=\"token_without_key\"").then_some(()));
    let any = join("any.log", &clients, RELAY_TOKEN, Some("other"));
    says(&any, "event=\"connected\"");
    let client = join("office.log", &clients, token, Some("office"));
    says(&client, "event=\"connected\"");
    let (data_dir, ca_file) = (server.data_dir(), path(dir, "clients-ca.pem"));
    let env = [("DATA_DIR", data_dir.to_str().unwrap()), ("API_KEY", API_KEY), ("RELAY_CA_FILE", &ca_file)];
    let sent = run(dir, &["send", "--count", "2"], &env);
    assert!(sent.status.success(), "{sent:?}");
    wait_for("the webhooks to arrive", || (target.count() >= 2).then_some(()));

    // Who cannot be judged for want of an authority is told before anything listens.
    let mut faulty = Process::start(
        &dir.join("faulty.log"),
        &["server"],
        &[("CLIENTS_LISTEN", "127.0.0.1:0"), ("DATA_DIR", &path(dir, "faulty")), ("API_KEY", API_KEY)],
    );
    assert_eq!(faulty.wait().code(), Some(78));
    for want in ["want TLS_CERT_FILE", "want CLIENTS_CA_FILE"] {
        assert!(faulty.log().contains(want), "{want}: {}", faulty.log());
    }
}

/// A client joins through a SOCKS proxy, by name or by address, with the user and the password that it wants, and says what is wrong where
/// these are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_join_through_a_socks_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let target = Target::start(|_| Reply::status(204)).await;
    let port = free_port();
    let mut proxy = Command::new("microsocks")
        .args(["-i", "127.0.0.1", "-p", &port.to_string(), "-u", "relay", "-P", "s:cr@t"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("microsocks is installed by `make test`");
    wait_for("the proxy to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let url = format!("http://localhost:{}", server.public.port());
    let join = |number: usize, proxy: &str| {
        let proxy = proxy.replace("PORT", &port.to_string());
        let env = [("RELAY_URL", url.as_str()), ("RELAY_TOKEN", RELAY_TOKEN), ("RELAY_PROXY", &proxy)];
        Process::start(&dir.path().join(format!("{number}.log")), &["client", "--to", &target.url("/")], &env)
    };
    for (number, (proxy, words)) in [
        ("socks5h://relay:s%3Acr%40t@127.0.0.1:PORT", "event=\"connected\""),
        ("socks5://relay:s%3Acr%40t@127.0.0.1:PORT", "event=\"connected\""),
        ("socks5h://relay:wrong@127.0.0.1:PORT", "does not take the user and password"),
        ("socks5h://127.0.0.1:PORT", "wants a user and a password"),
    ]
    .into_iter()
    .enumerate()
    {
        let client = join(number, proxy);
        wait_for(words, || client.log().contains(words).then_some(()));
        assert!(!client.log().contains("cr@t"), "S27: {}", client.log());
    }
    let client = join(9, "socks5h://relay:s%3Acr%40t@127.0.0.1:PORT");
    Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    wait_for("the webhook to arrive", || (target.count() >= 1).then_some(()));
    drop(client);
    proxy.kill().unwrap();
    proxy.wait().unwrap();
}
