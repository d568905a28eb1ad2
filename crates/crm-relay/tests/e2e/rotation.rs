//! Every secret is replaced while webhooks come, as docs/operating/secrets.md says.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::hmac;
use rcgen::{CertificateParams, KeyPair};
use relay_net::{dial::encrypt, tls::trusting};
use rustls::{ClientConfig, pki_types::CertificateDer};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::{
    process::{ADMIN_TOKEN, Process, Server, run, wait_for},
    target::{Reply, Target},
};

const KEYS: [&str; 2] =
    ["1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n", "2 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n"];
const NEW_ADMIN_TOKEN: &str = "cra_fedcba9876543210fedcba9876543210";
/// Between two webhooks of a sender.
const EVERY: Duration = Duration::from_millis(15);

/// What senders know at the moment, and what they were told.
#[derive(Default)]
struct Known {
    github: Mutex<String>,
    api_key: Mutex<String>,
    accepted: Mutex<BTreeSet<String>>,
    /// What was no 2xx, but while the server started again.
    refused: Mutex<Vec<String>>,
    /// By sender.
    sent: [AtomicUsize; 2],
    /// Odd while the server starts again.
    restarts: AtomicUsize,
}

impl Known {
    /// How often the server has gone and come.
    fn restarts(&self) -> usize {
        self.restarts.load(Ordering::SeqCst)
    }
}

fn of(shared: &Mutex<String>) -> String {
    shared.lock().unwrap().clone()
}

/// One request on a connection of its own; nothing where nobody answered.
async fn post(
    server: SocketAddr,
    trusted: &Arc<ClientConfig>,
    path: &str,
    head: &str,
    body: &str,
) -> Option<(u16, String)> {
    let tcp = TcpStream::connect(server).await.ok()?;
    let mut socket = encrypt(tcp, "localhost", Arc::clone(trusted)).await.ok()?;
    socket.write_all(posting(path, head, body).as_bytes()).await.ok()?;
    let mut said = Vec::new();
    // What comes behind a whole answer is of no interest.
    let _ = socket.read_to_end(&mut said).await;
    let said = String::from_utf8_lossy(&said).into_owned();
    let status = said.get(9..12)?.parse().ok()?;
    Some((status, said))
}

fn posting(path: &str, head: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{head}\r\n{body}"
    )
}

/// With what status a request is answered, whatever follows; nothing where no handshake comes to its end.
async fn status(server: SocketAddr, trusted: &Arc<ClientConfig>, request: &str) -> Option<u16> {
    let tcp = TcpStream::connect(server).await.ok()?;
    let mut socket = encrypt(tcp, "localhost", Arc::clone(trusted)).await.ok()?;
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut begin = [0; 12];
    socket.read_exact(&mut begin).await.ok()?;
    String::from_utf8_lossy(&begin[9..]).parse().ok()
}

/// The header fields of a push at GitHub that is signed with this secret.
fn signed(secret: &str, body: &str, id: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body.as_bytes());
    let tag = tag.as_ref().iter().fold(String::new(), |tag, byte| format!("{tag}{byte:02x}"));
    format!("X-Hub-Signature-256: sha256={tag}\r\nX-GitHub-Delivery: {id}\r\nX-GitHub-Event: push\r\n")
}

/// Sends until it is stopped, each webhook until it is taken; with whatever secret holds when it is sent.
async fn load(
    known: Arc<Known>,
    server: SocketAddr,
    trusted: Arc<ClientConfig>,
    is_github: bool,
    stop: CancellationToken,
) {
    let mut number = 0_u64;
    while !stop.is_cancelled() {
        number += 1;
        let body = format!("{{\"number\":{number},\"github\":{is_github}}}");
        let id = format!("{number:08x}-0000-4000-8000-{:012x}", u64::from(is_github));
        let is_taken = loop {
            let restarts = known.restarts();
            let (path, head) = if is_github {
                ("/webhook/hub", signed(&of(&known.github), &body, &id))
            } else {
                ("/webhook", format!("X-API-Key: {}\r\nIdempotency-Key: {id}\r\n", of(&known.api_key)))
            };
            match post(server, &trusted, path, &head, &body).await {
                Some((200..300, _)) => break true,
                // It starts again: a sender tries again.
                None | Some((503, _)) if restarts % 2 == 1 || known.restarts() != restarts => {}
                said => known.refused.lock().unwrap().push(format!("{said:?}")),
            }
            if stop.is_cancelled() {
                break false;
            }
            tokio::time::sleep(EVERY).await;
        };
        if is_taken {
            known.accepted.lock().unwrap().insert(body);
            known.sent[usize::from(is_github)].fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// A certificate for this machine in these files.
fn certify(cert_file: &Path, key_file: &Path) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let made = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let made = made.self_signed(&key).unwrap();
    fs::write(cert_file, made.pem()).unwrap();
    fs::write(key_file, key.serialize_pem()).unwrap();
    made.der().clone()
}

fn write_private(file: &Path, text: &str) {
    let fresh = file.with_extension("new");
    fs::write(&fresh, text).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&fresh, file).unwrap();
}

fn done(server: &Server, args: &[&str]) -> String {
    let output = server.cli(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn start_again(server: &mut Server, known: &Known) {
    known.restarts.fetch_add(1, Ordering::SeqCst);
    server.process.signal("TERM");
    server.process.wait();
    server.restart();
    known.restarts.fetch_add(1, Ordering::SeqCst);
}

/// I1, S31, S32: the secret of a provider, an API key, a client's token, the admin token, the certificate and the key of the store are replaced
/// under load: no webhook is refused, and all that were taken arrive. The old ones are worth nothing then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_secret_is_replaced_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (cert_file, key_file, keys, token_file) = (path("tls.pem"), path("tls.key"), path("keys"), path("token"));
    let first = certify(&path("next.pem"), &path("next.key"));
    let second = certify(&cert_file, &key_file);
    let both = [fs::read(path("next.pem")).unwrap(), fs::read(&cert_file).unwrap()].concat();
    fs::write(path("both.pem"), both).unwrap();
    write_private(&keys, KEYS[0]);
    let mut server = Server::start(
        dir.path(),
        &[
            ("TLS_CERT_FILE", cert_file.to_str().unwrap()),
            ("TLS_KEY_FILE", key_file.to_str().unwrap()),
            ("ENCRYPTION_KEY_FILE", keys.to_str().unwrap()),
        ],
    );
    let target = Target::start(|_| Reply::status(204)).await;
    let known = Arc::new(Known::default());
    *known.github.lock().unwrap() = "the-first-secret-of-github".to_owned();
    done(&server, &["source", "create", "hub", "--provider", "github", "--set", "secret=the-first-secret-of-github"]);
    *known.api_key.lock().unwrap() = done(&server, &["key", "create", "default", "ci"]);
    let old_token = done(&server, &["token", "create", "office"]);
    write_private(&token_file, &old_token);
    let ca_file = path("both.pem");
    let (url, to) = (format!("https://{}", server.public), target.url("/"));
    let env = [
        ("RELAY_URL", url.as_str()),
        ("RELAY_TOKEN_FILE", token_file.to_str().unwrap()),
        ("RELAY_CA_FILE", ca_file.to_str().unwrap()),
    ];
    let client = Process::start(&path("client.log"), &["client", "--to", &to], &env);
    let trusted = trusting(&[first.clone(), second.clone()]).unwrap();
    let stop = CancellationToken::new();
    let senders = [false, true].map(|is_github| {
        tokio::spawn(load(Arc::clone(&known), server.public, Arc::clone(&trusted), is_github, stop.clone()))
    });
    let goes_on = |what: &str| {
        let sent = || known.sent.each_ref().map(|sent| sent.load(Ordering::Relaxed));
        let before = sent();
        wait_for(what, || sent().iter().zip(before).all(|(now, before)| *now >= before + 10).then_some(()));
    };
    goes_on("webhooks to come");

    // The secret of a provider.
    done(&server, &["source", "rotate", "hub", "--set", "secret=the-second-secret-of-github"]);
    goes_on("those of the old secret");
    *known.github.lock().unwrap() = "the-second-secret-of-github".to_owned();
    goes_on("those of the new secret");
    done(&server, &["source", "rotate", "hub", "--finish"]);

    // An API key.
    let next = done(&server, &["key", "create", "default", "ci2"]);
    let old = std::mem::replace(&mut *known.api_key.lock().unwrap(), next);
    goes_on("those of the new key");
    done(&server, &["key", "revoke", "default", "ci"]);

    // A client's token.
    write_private(&token_file, &done(&server, &["token", "rotate", "office"]));
    client.signal("HUP");
    wait_for("the client to come with the new token", || {
        let rotation: Value = server.json(&["token", "show", "office"])["rotation"].clone();
        (rotation["old"]["sessions"] == 0 && rotation["new"]["sessions"] == 1).then_some(())
    });
    done(&server, &["token", "rotate", "office", "--finish"]);
    goes_on("those of the new session");

    // The certificate.
    fs::copy(path("next.pem"), &cert_file).unwrap();
    fs::copy(path("next.key"), &key_file).unwrap();
    server.process.signal("HUP");
    wait_for("it to be shown", || server.process.log().contains(r#"event="certificate_replaced""#).then_some(()));
    goes_on("those over the new one");
    let only_new = trusting(&[first]).unwrap();
    let old_key = format!("X-API-Key: {old}\r\n");
    wait_for("the old key to be worth nothing", || {
        let asked = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(post(server.public, &only_new, "/webhook", &old_key, "{}"))
        });
        asked.is_some_and(|(status, _)| status == 401).then_some(())
    });

    // The admin token, and the key of the store: with a restart each server comes back with them.
    write_private(&keys, &KEYS.concat());
    server.set("ADMIN_TOKEN", NEW_ADMIN_TOKEN);
    start_again(&mut server, &known);
    goes_on("those behind the restart");
    done(&server, &["store", "rekey"]);
    write_private(&keys, KEYS[1]);
    start_again(&mut server, &known);
    goes_on("those without the old key");
    let admin = format!("http://{}", server.admin);
    for (token, code) in [(ADMIN_TOKEN, Some(77)), (NEW_ADMIN_TOKEN, Some(0))] {
        let asked = run(dir.path(), &["status"], &[("ADMIN_URL", admin.as_str()), ("ADMIN_TOKEN", token)]);
        assert_eq!(asked.status.code(), code, "{}", String::from_utf8_lossy(&asked.stderr));
    }

    stop.cancel();
    for sender in senders {
        sender.await.unwrap();
    }
    let old_signature = signed("the-first-secret-of-github", "{}", "00000000-0000-4000-8000-00000000000f");
    let new_signature = signed("the-second-secret-of-github", "{}", "00000000-0000-4000-8000-00000000000f");
    let new_token = fs::read_to_string(&token_file).unwrap();
    let joins = |token: &str| {
        format!(
            "GET /connect HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nRelay-Protocol: 1\r\nAuthorization: Bearer {}\r\n\r\n",
            token.trim()
        )
    };
    for (trusted, request, wanted) in [
        (&only_new, posting("/webhook/hub", &old_signature, "{}"), Some(401)),
        (&only_new, posting("/webhook/hub", &new_signature, "{}"), Some(200)),
        (&only_new, joins(&old_token), Some(401)),
        (&only_new, joins(&new_token), Some(101)),
        (&trusting(&[second]).unwrap(), posting("/webhook/hub", &new_signature, "{}"), None),
    ] {
        assert_eq!(status(server.public, trusted, &request).await, wanted, "{request}");
    }
    assert_eq!(*known.refused.lock().unwrap(), Vec::<String>::new());
    let accepted = known.accepted.lock().unwrap().clone();
    let arrived = || -> BTreeSet<String> {
        target.arrivals().iter().map(|arrival| String::from_utf8_lossy(&arrival.body).into_owned()).collect()
    };
    wait_for("all of them to arrive", || accepted.is_subset(&arrived()).then_some(()));
    server.audit();
}
