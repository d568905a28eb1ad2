//! Signing again at the last hop: what is delivered late still passes a check of its age.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use relay_core::time::Wall;
use relay_providers::{Draft, Signer, Verdict, Verifier};

use crate::{
    process::{Process, RELAY_TOKEN, Server, run, wait_for},
    sender::Sender,
    target::{Arrival, Reply, Target},
    trouble::faketime_library,
};

const SENDERS: &str = "whsec_c2VuZGVyJ3Mgb3duIHNlY3JldCwgMjRCKw==";
const OURS: &str = "whsec_dGhlIGNsaWVudCdzIHNlY3JldCwgMjQgYnl0ZXMr";
const HOURS: Duration = Duration::from_hours(6);
/// Escapes that a JSON library would write differently, uneven spaces, a line break at the end.
const BODY: &[u8] = b"{ \"name\":\"J\\u00fcrgen \\/\",\"total\": 1.10 }\r\n";

/// S29: a webhook that waited six hours passes a check of five minutes where the client signs it again, under the same id
/// on every try; beside it, one that is forwarded as it came does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_delivered_six_hours_later_passes_a_check_of_five_minutes() {
    let dir = tempfile::tempdir().unwrap();
    let fails_once = |arrival: &Arrival| Reply::status(if arrival.header("relay-attempt") == "1" { 500 } else { 200 });
    let (signed, plain) = (Target::start(fails_once).await, Target::start(|_| Reply::status(200)).await);
    let mut server = Server::start(dir.path(), &[("RETRY_DELAY", "10ms")]);
    let secret = format!("secret={SENDERS}");
    let create = ["source", "create", "shop", "--provider", "standard-webhooks", "--set", &secret];
    server.json(&[&create[..], &["--destination", "signed"]].concat());
    server.json(&["route", "create", "shop", "plain"]);

    let draft = sign(SENDERS, "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W");
    let headers: Vec<(&str, &str)> = draft.headers.iter().map(|(name, value)| (text(name), text(value))).collect();
    let url = server.url("/webhook/shop");
    let told = Sender::new().send(http::Method::POST, &url, &headers, BODY).await.unwrap();
    assert_eq!(told.status, 200, "{told:?}");

    server.process.kill();
    let preload = format!("LD_PRELOAD={}", faketime_library());
    let later = ["env", &preload, "FAKETIME=+6h", "DONT_FAKE_MONOTONIC=1"];
    server.restart_under(&later);
    let _client = client(dir.path(), &server, &later, &[("signed", &signed, Some(OURS)), ("plain", &plain, None)]);
    wait_for("both to be delivered", || (server.queue_depth() == 0).then_some(()));

    let tries = signed.arrivals();
    assert_eq!(tries.len(), 2);
    for arrival in &tries {
        assert_eq!(arrival.header("webhook-id"), "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W");
        assert!(matches!(judge(OURS, arrival), Verdict::Genuine(_)), "{:?}", judge(OURS, arrival));
        assert!(matches!(judge(SENDERS, arrival), Verdict::Refused(_)), "the sender's signature is gone");
    }
    let untouched = plain.arrivals().remove(0);
    assert_eq!(untouched.header("webhook-signature"), text(draft.header("webhook-signature").unwrap()));
    let Verdict::Refused(refusal) = judge(SENDERS, &untouched) else { panic!("six hours are too old") };
    assert_eq!(refusal.check, "stale_timestamp");
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
fn sign(secret: &str, id: &str) -> Draft {
    let signer = Signer::new("standard-webhooks", &parameters(secret)).unwrap();
    signer.sign(Draft::post("http://relay/webhook/shop", BODY), id, now()).unwrap()
}

/// What a target with this secret says six hours later.
fn judge(secret: &str, arrival: &Arrival) -> Verdict {
    let headers: Vec<(Bytes, Bytes)> = arrival
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().as_bytes().to_vec().into(), value.as_bytes().to_vec().into()))
        .collect();
    let seen = Draft { method: arrival.method.clone(), url: "http://crm/".into(), headers, body: arrival.body.clone() };
    Verifier::new("standard-webhooks", &parameters(secret)).unwrap().judge(&seen.request(now() + HOURS, &[]))
}

fn parameters(secret: &str) -> [(String, String); 1] {
    [("secret".to_owned(), secret.to_owned())]
}

fn now() -> Wall {
    Wall::MIN + std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A client that takes its destinations from a file.
fn client(dir: &Path, server: &Server, wrapper: &[&str], targets: &[(&str, &Target, Option<&str>)]) -> Process {
    let sections = targets.iter().map(|(name, target, secret)| {
        let secret = secret.map(|secret| format!("resign_secret = {secret:?}\n")).unwrap_or_default();
        format!("[destination.{name}]\nurl = {:?}\n{secret}", target.url("/hook"))
    });
    let file = dir.join("client.toml");
    std::fs::write(&file, sections.collect::<String>()).unwrap();
    let relay_url = server.url("");
    let env = [("RELAY_URL", relay_url.as_str()), ("RELAY_TOKEN", RELAY_TOKEN)];
    Process::start_under(wrapper, &dir.join("client.log"), &["client", "--config", file.to_str().unwrap()], &env)
}
