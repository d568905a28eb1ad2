//! S32: a server whose store is sealed with a key, from the sender to the target, and over a change of the key.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use http::Method;

use crate::{
    process::{API_KEY, Process, Server, client, run, wait_for},
    sender::Sender,
    store,
    target::{Reply, Target},
};

const FIRST: &str = "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const SECOND: &str = "2 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n";
/// What is in bodies, headers, paths, queries, answers and secrets, and in no file.
const CANARY: &str = "canary-83f0c2d1";

fn keys(dir: &Path, text: &str) -> PathBuf {
    let file = dir.join("keys");
    // One that its owner may not write is written anew.
    let _ = fs::remove_file(&file);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    file
}

/// How often the canary stands in the files of a data directory.
fn found_in(dir: &Path) -> usize {
    let mut found = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found += found_in(&path);
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            found += bytes.windows(CANARY.len()).filter(|window| *window == CANARY.as_bytes()).count();
        }
    }
    found
}

/// What a start without the right keys comes to.
fn refused(dir: &Path, data: &Path, keys: Option<&Path>) -> (Option<i32>, String) {
    let of_store = store::settings(dir);
    let mut env = vec![("DATA_DIR", data.to_str().unwrap()), ("SERVER_PORT", "0"), ("ADMIN_LISTEN", "off")];
    env.extend(of_store.iter().map(|(name, value)| (*name, value.as_str())));
    env.extend(keys.map(|keys| ("ENCRYPTION_KEY_FILE", keys.to_str().unwrap())));
    let output = run(dir, &["server"], &env);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// I3, S32: with a key webhooks arrive byte for byte, nothing of them stands on the disk, and the status says so. Another key takes over
/// while the server goes on, killed in the middle once, and the first may leave its file; without its keys the server is not started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_store_delivers_and_changes_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = keys(dir.path(), FIRST);
    let mut server =
        Server::start(dir.path(), &[("ENCRYPTION_KEY_FILE", file.to_str().unwrap()), ("MAX_RETRIES", "0")]);
    let target = Target::start(|arrival| {
        let status = if arrival.body.ends_with(b"refuse") { 400 } else { 200 };
        Reply { body: CANARY.into(), ..Reply::status(status) }
    })
    .await;
    let _client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    let secret = format!("secret={CANARY}-of-github");
    let made = server.cli(&["source", "create", "hub", "--provider", "github", "--set", &secret]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (sender, mut sent) = (Sender::new(), Vec::new());
    for number in 0..300 {
        let url = server.url(&format!("/webhook/default/{CANARY}?q={CANARY}"));
        let body = format!("{CANARY} {number}{}", if number % 50 == 7 { " refuse" } else { "" });
        let headers = [("x-api-key", API_KEY), ("x-canary", CANARY)];
        let told = sender.send(Method::POST, &url, &headers, body.clone().into_bytes()).await.unwrap();
        sent.push((told.event(), body));
    }
    wait_for("all of them to arrive", || (target.arrivals().len() >= sent.len()).then_some(()));
    for arrival in target.arrivals() {
        let body = sent.iter().find(|(id, _)| id == arrival.event()).map(|(_, body)| body.as_bytes());
        assert_eq!(body, Some(&arrival.body[..]));
        assert_eq!((arrival.header("x-canary"), arrival.path_and_query.matches(CANARY).count()), (CANARY, 2));
    }
    wait_for("the refusals to be settled", || (server.queue_depth() == 0).then_some(()));
    assert_eq!(found_in(&server.data_dir()), 0, "while it runs");
    assert_eq!(server.json(&["status"])["store"]["sealed_with"], 1);

    keys(dir.path(), &[FIRST, SECOND].concat());
    server.process.kill();
    assert_eq!(found_in(&server.data_dir()), 0, "once it was killed");
    server.restart();
    let mut rekeying = Process::start(
        &dir.path().join("rekey.log"),
        &["store", "rekey"],
        &[("DATA_DIR", server.data_dir().to_str().unwrap())],
    );
    wait_for("some to be sealed anew, or all", || {
        let begun = server.json(&["audit-log", "--action", "store.rekey"])["items"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        (begun || !rekeying.is_running()).then_some(())
    });
    server.process.kill();
    rekeying.wait();
    server.restart();
    // On a Redis the run that was killed counts as there for some seconds, with the configuration that it had.
    wait_for("a pass", || server.cli(&["store", "rekey"]).status.success().then_some(()));
    let rekeyed = server.json(&["store", "rekey"]);
    assert_eq!((&rekeyed["key"], &rekeyed["left"]), (&2.into(), &0.into()), "{rekeyed}");
    let again = server.json(&["store", "rekey"]);
    assert_eq!(again["sealed"], 0, "{again}");
    server.audit();

    keys(dir.path(), SECOND);
    server.process.kill();
    server.restart();
    for (id, body) in sent.iter().step_by(37) {
        let shown = server.cli(&["event", "show", id, "--body"]);
        assert_eq!(String::from_utf8_lossy(&shown.stdout), *body);
    }
    assert_eq!(server.json(&["status"])["store"]["sealed_with"], 2);
    let data = server.data_dir();
    server.process.kill();
    assert_eq!(found_in(&data), 0);

    let (exit, said) = refused(dir.path(), &data, None);
    assert!(exit == Some(78) && said.contains("sealed with key 2") && said.contains("ENCRYPTION_KEY_FILE"), "{said}");
    let first = keys(dir.path(), FIRST);
    let (exit, said) = refused(dir.path(), &data, Some(&first));
    assert!(exit == Some(78) && said.contains("does not have"), "{said}");
    let other = keys(dir.path(), &FIRST.replacen('1', "2", 1));
    let (exit, said) = refused(dir.path(), &data, Some(&other));
    assert!(exit == Some(78) && said.contains("another key 2"), "{said}");
    keys(dir.path(), SECOND);
    server.restart();
    server.audit();
}
