//! Signing again at the last hop: what is delivered late still passes a check of its age.

use std::path::Path;

use relay_core::time::Wall;
use relay_providers::{Draft, Signer};
use serde_json::Value;

use crate::{
    clock::clock,
    libraries::Libraries,
    process::{Process, RELAY_TOKEN, Server, run, wait_for},
    sender::Sender,
    target::{Arrival, Reply, Target},
};

const SENDERS: &str = "whsec_c2VuZGVyJ3Mgb3duIHNlY3JldCwgMjRCKw==";
const OURS: &str = "whsec_dGhlIGNsaWVudCdzIHNlY3JldCwgMjQgYnl0ZXMr";
const ID: &str = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W";
/// Escapes that a JSON library would write differently, uneven spaces, a line break at the end.
const BODY: &[u8] = b"{ \"name\":\"J\\u00fcrgen \\/\",\"total\": 1.10 }\r\n";

/// S29: a webhook that waited six hours passes the libraries' check of five minutes where the client signs it again, on its
/// second try too; beside it, one that is forwarded as it came does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_delivered_six_hours_later_passes_a_check_of_five_minutes() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[("RETRY_DELAY", "10ms"), ("MAX_RETRIES", "1")]);
    let secret = format!("secret={SENDERS}");
    let create = ["source", "create", "shop", "--provider", "standard-webhooks", "--set", &secret];
    server.json(&[&create[..], &["--destination", "node"]].concat());
    for destination in ["python", "untouched", "twice"] {
        server.json(&["route", "create", "shop", destination]);
    }
    let draft = sign(SENDERS);
    let headers: Vec<(&str, &str)> = draft.headers.iter().map(|(name, value)| (text(name), text(value))).collect();
    let url = server.url("/webhook/shop");
    let told = Sender::new().send(http::Method::POST, &url, &headers, BODY).await.unwrap();
    assert_eq!(told.status, 200, "{told:?}");

    server.process.kill();
    let later = clock(&["FAKETIME=+6h", "DONT_FAKE_MONOTONIC=1"]);
    server.restart_under(&later);
    let of_library = |language, secret| Libraries::start(&later, dir.path(), language, &secrets(secret));
    let (node, python) = (of_library("node", OURS), of_library("python", OURS));
    let fails_once = |arrival: &Arrival| Reply::status(if arrival.header("relay-attempt") == "1" { 500 } else { 200 });
    let twice = Target::start(fails_once).await;
    let [node_url, python_url] = [&node, &python].map(|libraries| libraries.url("standardwebhooks", "/").unwrap());
    let destinations = [
        ("node", node_url, Some(OURS)),
        ("python", python_url.clone(), Some(OURS)),
        ("untouched", python_url, None),
        ("twice", twice.url("/"), Some(OURS)),
    ];
    let _client = client(dir.path(), &server, &later, &destinations);
    wait_for("all to end", || (server.queue_depth() == 0).then_some(()));

    let accepted = |libraries: &Libraries| libraries.verdicts().into_iter().filter(|v| v["status"] == 200).count();
    assert_eq!((accepted(&node), accepted(&python)), (1, 1), "{:?} {:?}", node.verdicts(), python.verdicts());
    let dead = &server.json(&["dead", "list"])["items"];
    assert_eq!((dead[0]["destination"].as_str(), dead.as_array().unwrap().len()), (Some("untouched"), 1));
    let refused = |verdict: &Value| verdict["error"].as_str().is_some_and(|error| error.contains("too old"));
    assert_eq!(python.verdicts().iter().filter(|verdict| refused(verdict)).count(), 2, "{:?}", python.verdicts());
    let ids: Vec<String> = twice.arrivals().iter().map(|arrival| arrival.header("webhook-id").to_owned()).collect();
    assert_eq!(ids, [ID, ID], "the same on both tries");
}

/// S29, S27: a secret that is none is a fault, and no command prints one.
#[test]
fn a_bad_secret_is_a_fault_and_none_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("RELAY_URL", "https://relay.example.com"), ("RELAY_TOKEN", RELAY_TOKEN)];
    let secret = dir.path().join("secret");
    for (value, code) in [(OURS, 0), ("whsec_dG9vIHNob3J0IQ==", 78), ("a-secret-in-plain-words", 78)] {
        std::fs::write(&secret, format!("{value}\n")).unwrap();
        let of_file = format!("{{ file = {:?} }}", secret.display().to_string());
        for given in [format!("{value:?}"), of_file] {
            let file = format!("[destination.crm]\nurl = \"3000\"\nresign_secret = {given}\n");
            std::fs::write(dir.path().join("crm-relay.toml"), file).unwrap();
            let check = run(dir.path(), &["config", "check", "client"], &env);
            let words = String::from_utf8([check.stdout, check.stderr].concat()).unwrap();
            assert_eq!(check.status.code(), Some(code), "{words}");
            assert!(code == 0 || words.contains("resign_secret") && words.contains("whsec_"), "{words}");
            let printed = run(dir.path(), &["config", "print", "client", "--json"], &env);
            let shown = words + &String::from_utf8([printed.stdout, printed.stderr].concat()).unwrap();
            assert!(!shown.contains(&value[6..]), "{shown}");
        }
    }
}

/// A webhook as its sender signs it now.
fn sign(secret: &str) -> Draft {
    let signer = Signer::new("standard-webhooks", &[("secret".to_owned(), secret.to_owned())]).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    signer.sign(Draft::post("http://relay/webhook/shop", BODY), ID, Wall::MIN + now).unwrap()
}

/// One secret for every library; only one of them is asked.
fn secrets(secret: &str) -> Vec<(&'static str, &str)> {
    ["octokit", "shopify", "slack", "standardwebhooks", "stripe", "svix", "twilio"].map(|name| (name, secret)).to_vec()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A client that takes its destinations from a file.
fn client(dir: &Path, server: &Server, wrapper: &[&str], targets: &[(&str, String, Option<&str>)]) -> Process {
    let sections = targets.iter().map(|(name, target, secret)| {
        let secret = secret.map(|secret| format!("resign_secret = {secret:?}\n")).unwrap_or_default();
        format!("[destination.{name}]\nurl = {target:?}\n{secret}")
    });
    let file = dir.join("client.toml");
    std::fs::write(&file, sections.collect::<String>()).unwrap();
    let relay_url = server.url("");
    let env = [("RELAY_URL", relay_url.as_str()), ("RELAY_TOKEN", RELAY_TOKEN)];
    Process::start_under(wrapper, &dir.join("client.log"), &["client", "--config", file.to_str().unwrap()], &env)
}
