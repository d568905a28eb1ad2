//! The public listener over TLS: webhooks, sessions, and a certificate that is renewed.

use std::{fs, path::Path};

use rcgen::{CertificateParams, KeyPair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    process::{API_KEY, Process, RELAY_TOKEN, Server, run, wait_for},
    target::{Reply, Target},
};

/// A certificate for this machine, and its key, in PEM.
fn made() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
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
