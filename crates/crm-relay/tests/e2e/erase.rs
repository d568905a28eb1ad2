//! What was received is erased: gone from the disk, and still counted.

use std::{fs, path::Path};

use http::Method;

use crate::{
    process::{API_KEY, Server, client, wait_for},
    sender::Sender,
    target::{Reply, Target},
};

/// What is in bodies, headers, paths, queries and answers, and in no file once it is erased.
const CANARY: &str = "canary-5d20e7";

/// How often the canary stands in the files below a directory.
fn found_in(dir: &Path) -> usize {
    let mut found = 0;
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found += found_in(&path);
        } else if let Ok(bytes) = fs::read(&path) {
            found += bytes.windows(CANARY.len()).filter(|window| *window == CANARY.as_bytes()).count();
        }
    }
    found
}

/// I5, S32: a data subject's event goes by its id, and all of a source by a filter: while the server runs nothing of them is left in its directory, nor
/// is it in the next backup. What may still go out is in the way until it is cancelled; nothing is replayed, all sums hold, and it is written down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_received_is_gone_and_still_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[("MAX_RETRIES", "0")]);
    let target = Target::start(|arrival| {
        let status = if arrival.body.ends_with(b"refuse") { 400 } else { 200 };
        Reply { body: CANARY.into(), ..Reply::status(status) }
    })
    .await;
    let receiving = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
    let (sender, mut ids) = (Sender::new(), Vec::new());
    let url = server.url(&format!("/webhook/default/{CANARY}?q={CANARY}"));
    let send = async |body: String| {
        let headers = [("x-api-key", API_KEY), ("x-canary", CANARY)];
        sender.send(Method::POST, &url, &headers, body.into_bytes()).await.unwrap().event()
    };
    for number in 0..20 {
        let ending = if number % 5 == 0 { "refuse" } else { "" };
        ids.push(send(format!("{number}{}{ending}", CANARY.repeat(1 + number * 50))).await);
    }
    wait_for("all of them to be settled", || (server.queue_depth() == 0).then_some(()));
    drop(receiving);
    let open = send(format!("{CANARY} is open")).await;
    assert!(found_in(&server.data_dir()) > 100, "it is looked for where it would be");

    let words = |args: &[&str]| {
        let output = server.cli(args);
        let all = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&all).into_owned())
    };
    let (code, said) = words(&["event", "erase", &ids[0]]);
    assert!(code == Some(2) && said.contains("--yes"), "{code:?}: {said}");
    assert_eq!(words(&["event", "erase", &ids[0], "--yes"]).0, Some(0));
    let (code, said) = words(&["event", "erase", &open, "--yes"]);
    assert!(code == Some(1) && said.contains("--cancel"), "{code:?}: {said}");
    let (_, said) = words(&["event", "erase", "--all", "--dry-run"]);
    assert!(said.contains("would erase 20 events; those of 1 delivery"), "{said}");
    let some = server.json(&["event", "erase", "--all", "--cancel", "--limit", "7", "--yes"]);
    assert_eq!(some["changed"], 7, "{some}");
    // What goes on under a job is through only when all of it is.
    let job = some["job"].as_str().unwrap();
    let erased = server.json(&["event", "erase", "--all", "--cancel", "--yes", "--job", job]);
    assert_eq!((&erased["matched"], &erased["changed"]), (&20.into(), &20.into()), "{erased}");

    wait_for("nothing to be left of them", || (found_in(&server.data_dir()) == 0).then_some(()));
    let copy = dir.path().join("copy");
    assert_eq!(words(&["store", "backup", copy.to_str().unwrap()]).0, Some(0));
    assert_eq!(found_in(&copy), 0, "in a backup");

    let shown = server.json(&["event", "show", &ids[0]]);
    assert_eq!((&shown["erased"], &shown["method"], &shown["source"]), (&true.into(), &"".into(), &"default".into()));
    assert!(words(&["event", "list"]).1.contains("erased"));
    for args in [&["event", "replay", &ids[0]][..], &["event", "show", &ids[0], "--body"]] {
        let (code, said) = words(args);
        assert!(code == Some(1) && said.contains("was erased"), "{args:?}: {code:?}: {said}");
    }
    let (code, exported) = words(&["event", "export"]);
    assert!(code == Some(0) && exported.contains("\"erased\":true") && !exported.contains("body_base64"), "{exported}");
    let log = server.json(&["audit-log", "--action", "event.erase"]);
    assert_eq!(log["items"].as_array().map(Vec::len), Some(2), "{log}");
    server.audit();
}
