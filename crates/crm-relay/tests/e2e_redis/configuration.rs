//! One configuration for all servers on a store, and the secrets that the first of them makes.

use std::{fs, path::Path};

use crate::{
    clock::clock,
    process::{ADMIN_TOKEN, API_KEY, Process, RELAY_TOKEN, Server, run, wait_for},
    sender::Sender,
    store::Redis,
};

/// What all of them begin with.
const STREAM_NAME: &str = "alike";

/// A server of these tests: in a directory of its own, on the Redis that all have.
fn start(dir: &Path, name: &str, url: &str, settings: &[(&str, &str)]) -> Server {
    let home = dir.join(name);
    fs::create_dir_all(&home).unwrap();
    Server::start(&home, &[&[("REDIS_URL", url), ("STREAM_NAME", STREAM_NAME)], settings].concat())
}

/// One that is to end by itself: its code, and what it said.
fn ends(dir: &Path, name: &str, url: &str, settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let (home, data) = (dir.join(name), dir.join(name).join("data"));
    let usual = [
        ("DATA_DIR", data.to_str().unwrap()),
        ("SERVER_HOST", "127.0.0.1"),
        ("SERVER_PORT", "0"),
        ("ADMIN_LISTEN", "off"),
        ("REDIS_URL", url),
        ("STREAM_NAME", STREAM_NAME),
    ];
    let output = run(&home, &["server"], &[&usual, settings].concat());
    // It is wrapped for people.
    let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    (output.status.code(), said)
}

const SECRETS: [(&str, &str); 3] = [("API_KEY", API_KEY), ("RELAY_TOKEN", RELAY_TOKEN), ("ADMIN_TOKEN", ADMIN_TOKEN)];

/// A server whose clock is far ahead hears of the others all the same, and takes none of their words for old: with another configuration
/// it does not start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_clock_is_ahead_hears_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(&[]);
    let url = redis.url();
    let a = start(dir.path(), "a", &url, &[("MESSAGE_TTL", "1h")]);
    let home = dir.path().join("b");
    let data = home.join("data");
    fs::create_dir_all(&home).unwrap();
    let usual = [
        ("DATA_DIR", data.to_str().unwrap()),
        ("SERVER_HOST", "127.0.0.1"),
        ("SERVER_PORT", "0"),
        ("ADMIN_LISTEN", "off"),
        ("REDIS_URL", &url),
        ("STREAM_NAME", STREAM_NAME),
        ("MESSAGE_TTL", "2h"),
    ];
    let env = [&usual[..], &SECRETS[..]].concat();
    let mut b = Process::start_under(&clock(&["FAKETIME=+10m"]), &home.join("server.log"), &["server"], &env);
    assert_eq!(b.wait().code(), Some(78), "{}", b.log());
    assert!(b.log().contains("MESSAGE_TTL"), "{}", b.log());
    drop(a);
}

/// What it has otherwise is said with both values, and nobody starts beside others with another configuration, unless its operator
/// says that his is to be shared; then the others say so, and write no declarations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_on_one_store_are_configured_alike() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(&[]);
    let url = redis.url();
    let was = [("MESSAGE_TTL", "1h"), ("LEASE", "60s")];
    let mut a = start(dir.path(), "a", &url, &was);
    let mut b = start(dir.path(), "b", &url, &was);
    b.process.signal("TERM");
    assert!(b.process.wait().success());
    let anew = [("MESSAGE_TTL", "2h"), ("LEASE", "30s")];
    let (code, said) = ends(dir.path(), "b", &url, &[&SECRETS[..], &anew].concat());
    assert_eq!(code, Some(78), "{said}");
    for (name, value) in anew {
        b.set(name, value);
    }
    for want in [
        "MESSAGE_TTL is 2h here and 1h there",
        "LEASE is 30s here and 1m there",
        "--accept-config",
        &a.public.to_string(),
    ] {
        assert!(said.contains(want), "{want}: {said}");
    }
    b.restart_with(&[], &["--accept-config"]);
    let names = |server: &Server, other: &Server| {
        let reasons = server.json(&["health"])["reasons"].to_string();
        (reasons.contains("configured otherwise") && reasons.contains(&other.public.to_string())).then_some(())
    };
    wait_for("both to name each other", || names(&a, &b).and_then(|()| names(&b, &a)));

    // What it has is not what is shared any more: it is told so, and what its file declares is not written.
    let file = dir.path().join("a").join("crm-relay.toml");
    let declares = |secret: &str| {
        format!(
            "[source.hub]\nprovider = \"github\"\nsecret = \"{secret}\"\n\n[[route]]\nsource = \"hub\"\ndestination = \"crm\"\n"
        )
    };
    fs::write(&file, declares("the-secret-of-a")).unwrap();
    a.process.signal("HUP");
    wait_for("the reload to be refused", || a.process.log().contains("--accept-config").then_some(()));
    assert!(!b.cli(&["source", "show", "hub"]).status.success(), "it declared nothing");
    a.process.signal("TERM");
    assert!(a.process.wait().success());
    assert_eq!(ends(dir.path(), "a", &url, &[&SECRETS[..], &was].concat()).0, Some(78));
    fs::remove_file(&file).unwrap();
    for (name, value) in anew {
        a.set(name, value);
    }
    a.restart();

    // Who shared what all had changes it for all when he reads his file anew.
    fs::write(&file, declares("the-secret-of-a")).unwrap();
    a.process.signal("HUP");
    wait_for("the declaration to be known", || b.cli(&["source", "show", "hub"]).status.success().then_some(()));
    fs::write(dir.path().join("b").join("crm-relay.toml"), declares("the-secret-of-b")).unwrap();
    b.process.signal("TERM");
    assert!(b.process.wait().success());
    let (code, said) = ends(dir.path(), "b", &url, &[&SECRETS[..], &anew].concat());
    assert!(code == Some(78) && said.contains("source hub: secret is one with the digest"), "{said}");
    assert!(!said.contains("the-secret-of"), "S27: {said}");
    // One that is alone has what it has.
    a.process.signal("TERM");
    assert!(a.process.wait().success());
    b.restart();
}

/// The first server makes the secrets, in its own directory; the others know them by their digests, and say where they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_made_once_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(&[]);
    let url = redis.url();
    let none = [("API_KEY", ""), ("RELAY_TOKEN", ""), ("ADMIN_TOKEN", "")];
    // All at once, as a set of containers is started.
    let mut servers: Vec<Server> = std::thread::scope(|scope| {
        let starting = ["a", "b", "c"].map(|name| scope.spawn(|| start(dir.path(), name, &url, &none)));
        starting.into_iter().map(|server| server.join().unwrap()).collect()
    });
    let secret = |name: &str| {
        let made = ["a", "b", "c"].map(|server| fs::read_to_string(dir.path().join(server).join("data/credentials")));
        let lines: Vec<String> =
            made.into_iter().flatten().flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let found: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect();
        assert_eq!(found.len(), 1, "{name} is made once");
        found[0].to_owned()
    };
    let key = secret("API_KEY");
    let (_, _) = (secret("RELAY_TOKEN"), secret("ADMIN_TOKEN"));
    for (number, server) in servers.iter().enumerate() {
        let id = format!("key-{number}");
        Sender::new().post_until_taken(&server.url("/webhook"), &key, "{}", &id).await;
    }
    let told = servers.iter().filter(|server| server.process.log().contains("event=\"credentials_elsewhere\"")).count();
    assert!(told >= 2, "who has them not says where they are");

    // One that is given and differs is a fault; and it is the same after all were gone.
    servers[1].process.signal("TERM");
    assert!(servers[1].process.wait().success());
    let (code, said) = ends(dir.path(), "b", &url, &[("API_KEY", API_KEY)]);
    assert!(code == Some(78) && said.contains("API_KEY is one with the digest"), "{said}");
    assert!(said.contains("that of server"), "{said}");
    assert!(!said.contains(API_KEY) && !said.contains(&key), "S27: {said}");
    for server in &mut servers {
        server.process.kill();
        server.restart();
    }
    Sender::new().post_until_taken(&servers[2].url("/webhook"), &key, "{}", "again").await;

    // One that was killed before what it had made was shared, by when the others had shared theirs.
    let late = dir.path().join("late/data");
    relay_store::private::make_dir(&late).unwrap();
    let made = [("API_KEY", "crk"), ("RELAY_TOKEN", "crt"), ("ADMIN_TOKEN", "cra")];
    let made = made.map(|(name, prefix)| format!("{name}={prefix}_{}\n", "0a1b".repeat(10))).concat();
    relay_store::private::replace(&late.join("credentials.proposed"), made.as_bytes()).unwrap();
    let server = start(dir.path(), "late", &url, &none);
    Sender::new().post_until_taken(&server.url("/webhook"), &key, "{}", "late").await;
    assert!(!late.join("credentials.proposed").exists() && !late.join("credentials").exists());
}
