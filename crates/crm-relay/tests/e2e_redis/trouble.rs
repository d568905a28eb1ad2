//! What a server says that cannot use its Redis, and how it ends.

use std::{fs, path::Path, process::Output};

use http::Method;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::{
    process::{Process, Server, client, run, wait_for},
    sender::Sender,
    store::{Redis, free_port},
    target::{Reply, Target},
};

/// A server that is to end by itself.
fn ended(dir: &Path, settings: &[(&str, &str)]) -> Output {
    let data = dir.join("data");
    let mut env = vec![("DATA_DIR", data.to_str().unwrap()), ("SERVER_HOST", "127.0.0.1"), ("SERVER_PORT", "0")];
    env.push(("ADMIN_LISTEN", "off"));
    env.extend(settings.iter().copied());
    run(dir, &["server"], &env)
}

/// It ends with this code and says this, and no password.
fn refuses(dir: &Path, settings: &[(&str, &str)], code: i32, wants: &[&str]) {
    let output = ended(dir, settings);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    // It is wrapped for people.
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for want in wants {
        assert!(flat.contains(want), "{want}: {flat}");
    }
    assert!(!flat.contains("canary"), "{flat}");
}

/// I1, S27: whatever is wrong with a Redis is said with what mends it, and nothing is begun there.
#[test]
fn a_redis_that_is_not_fit_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(&[("appendfsync", "everysec")]);
    let url = redis.url();
    let on = |more: &[(&'static str, &'static str)]| [&[("REDIS_URL", url.as_str())], more].concat();
    redis.node.ask(&[b"CONFIG", b"SET", b"maxmemory-policy", b"allkeys-lru"]);
    let mends = ["CONFIG SET appendfsync always", "CONFIG SET maxmemory-policy noeviction"];
    refuses(dir.path(), &on(&[]), 78, &mends);
    assert_eq!(redis.node.ask(&[b"DBSIZE"]), ":0\r\n");
    redis.node.ask(&[b"CONFIG", b"SET", b"appendfsync", b"always"]);
    redis.node.ask(&[b"CONFIG", b"SET", b"maxmemory-policy", b"noeviction"]);
    refuses(dir.path(), &on(&[("REDIS_DURABILITY", "replicated")]), 78, &["0 of 1 replicas follow it"]);

    redis.node.ask(&[b"XADD", b"webhook-stream", b"*", b"payload", b"{}"]);
    let wants = ["webhook-stream there is another program's, with 1 entries", "another STREAM_NAME"];
    refuses(dir.path(), &on(&[]), 78, &wants);
    redis.node.ask(&[b"HSET", b"hooks:{reg}:meta", b"layout", b"1", b"partitions", b"16"]);
    refuses(dir.path(), &on(&[("STREAM_NAME", "hooks")]), 78, &["set REDIS_PARTITIONS=16"]);
    redis.node.ask(&[b"HSET", b"hooks:{reg}:meta", b"layout", b"2"]);
    refuses(dir.path(), &on(&[("STREAM_NAME", "hooks")]), 76, &["layout 2", "later version"]);

    redis.node.ask(&[b"ACL", b"SETUSER", b"relay", b"on", b">canary", b"~*", b"&*", b"+@all", b"-evalsha"]);
    let with = |login: &str| url.replace("redis://", &format!("redis://{login}@"));
    let wrong = with("relay:canary2");
    refuses(
        dir.path(),
        &[("REDIS_URL", &wrong)],
        78,
        &["refuses the user or the password", "ACL SETUSER relay on >PASSWORD"],
    );
    let few = with("relay:canary");
    let wants = ["its user may not use evalsha", "ACL SETUSER relay on >PASSWORD"];
    refuses(dir.path(), &[("REDIS_URL", &few)], 78, &wants);
    let faults = [("STREAM_NAME", "hooks{eu}"), ("REDIS_DB", "three"), ("REDIS_URL", "redis+cluster://u:canary@h:0/3")];
    let wants = ["database 0 only", "1 to 65535", "STREAM_NAME", "REDIS_DB"];
    refuses(dir.path(), &faults, 78, &wants);
}

/// Nothing that waits is left behind in silence, and a directory has one server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_with_open_deliveries_or_a_server_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(&[]);
    let url = redis.url();
    let mut embedded = Server::start(dir.path(), &[("REDIS_URL", "")]);
    Sender::new().post(&embedded.url("/webhook"), "waits").await.unwrap().event();
    refuses(dir.path(), &[("REDIS_URL", &url)], 69, &["another crm-relay"]);
    embedded.process.signal("TERM");
    assert!(embedded.process.wait().success());
    refuses(dir.path(), &[("REDIS_URL", &url)], 78, &["still holds 1 deliveries", "--data-dir"]);

    embedded.restart();
    let target = Target::start(|_| Reply::status(200)).await;
    let to = client(dir.path(), "client", embedded.public, &[("default", target.url("/"))], &[]);
    wait_for("the queue to empty", || (embedded.queue_depth() == 0).then_some(()));
    drop(to);
    embedded.process.signal("TERM");
    assert!(embedded.process.wait().success());
    let _server = Server::start(dir.path(), &[("REDIS_URL", &url)]);
    refuses(dir.path(), &[("REDIS_URL", &url)], 69, &["another crm-relay"]);
}

/// I24: a server whose Redis is not there yet lives, takes nothing, and goes on once it is there; told to stop it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_later_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (redis, public) = (free_port(), free_port().to_string());
    let url = format!("redis://:canary@127.0.0.1:{redis}");
    let data = dir.path().join("data");
    let env = [
        ("DATA_DIR", data.to_str().unwrap()),
        ("SERVER_HOST", "127.0.0.1"),
        ("SERVER_PORT", &public),
        ("ADMIN_LISTEN", "off"),
        ("REDIS_URL", &url),
    ];
    let start = || Process::start(&dir.path().join("server.log"), &["server"], &env);
    let sender = Sender::new();
    let url = |path: &str| format!("http://127.0.0.1:{public}{path}");
    let becomes = async |path: &str, status: u16| {
        while sender.send(Method::GET, &url(path), &[], "").await.is_none_or(|told| told.status != status) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let mut server = start();
    becomes("/livez", 200).await;
    becomes("/readyz", 503).await;
    let told = sender.post(&url("/webhook"), "{}").await.unwrap();
    assert_eq!((told.status, told.code().as_str()), (503, "store_unavailable"));
    assert!(told.headers.contains_key("retry-after"));
    server.signal("TERM");
    assert!(server.wait().success(), "{}", server.log());
    let server = start();
    becomes("/livez", 200).await;
    wait_for("it to say that it waits", || {
        (server.log().matches("event=\"redis_waiting\"").count() == 2).then_some(())
    });
    let _redis = Redis::at(redis, &[("requirepass", "canary")]);
    becomes("/readyz", 200).await;
    let log = server.log();
    assert_eq!(log.matches("event=\"redis_waiting\"").count(), 2, "{log}");
    assert!(!log.contains("canary"), "{log}");
}

/// S30: over TLS the certificate is looked at; what is wrong with it is said in words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_over_tls_shows_a_certificate_that_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let key = || KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, key()).unwrap();
    fs::write(file("ca.pem"), authority.pem()).unwrap();
    let made = |name: &str| {
        let key = key();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        fs::write(file(&format!("{name}.pem")), params.signed_by(&key, &authority).unwrap().pem()).unwrap();
        fs::write(file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    };
    let start = |name: &str| {
        made(name);
        let port = free_port();
        let (cert, key, ca) = (file(&format!("{name}.pem")), file(&format!("{name}.key")), file("ca.pem"));
        let settings =
            [("tls-cert-file", &*cert), ("tls-key-file", &key), ("tls-ca-cert-file", &ca), ("tls-auth-clients", "no")];
        let tls_port = port.to_string();
        (Redis::start(&[&settings[..], &[("tls-port", &tls_port)]].concat()), format!("rediss://127.0.0.1:{port}"))
    };
    let (fit, url) = start("127.0.0.1");
    let ca_file = file("ca.pem");
    refuses(dir.path(), &[("REDIS_URL", &url)], 78, &["signed by nobody that is trusted", "REDIS_CA_FILE"]);
    let (_other, elsewhere) = start("redis.example");
    let with = |url| [("REDIS_URL", url), ("REDIS_CA_FILE", ca_file.as_str())];
    refuses(dir.path(), &with(&elsewhere), 78, &["for another name"]);
    let plain = fit.url().replace("redis://", "rediss://");
    refuses(dir.path(), &with(&plain), 78, &["speaks no TLS"]);
    let server = Server::start(dir.path(), &with(&url));
    Sender::new().post(&server.url("/webhook"), "{}").await.unwrap().event();
    assert_eq!(server.queue_depth(), 1);
}
