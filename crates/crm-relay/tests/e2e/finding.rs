//! Finding one event among many: by what its sender calls it, and by what stands in it.

use std::path::Path;

use http::Method;
use relay_core::time::Wall;
use relay_providers::{Draft, Signer};

use crate::{
    process::{ADMIN_TOKEN, API_KEY, Server},
    sender::Sender,
};

const SECRET: &str = "whsec_0123456789abcdef0123456789abcdef";

fn now() -> Wall {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Wall::from_micros(now.as_micros() as i64)
}

/// Posts an event of Stripe to the source `pay`, with the version of its API, and gives its id here.
async fn paid(server: &Server, sender: &Sender, id: &str) -> String {
    let signer = Signer::new("stripe", &[("secret".to_owned(), SECRET.to_owned())]).unwrap();
    let body = format!(r#"{{"id":"{id}","object":"event","api_version":"2024-06-20","type":"invoice.paid"}}"#);
    let draft = signer.sign(Draft::post(server.url("/webhook/pay"), body), id, now()).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers: Vec<(String, String)> = draft.headers.iter().map(|(name, value)| (text(name), text(value))).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let told = sender.send(Method::POST, &draft.url, &headers, draft.body.clone()).await.unwrap();
    assert_eq!(told.status, 200);
    server.json(&["event", "list", "--source", "pay", "--limit", "1"])["items"][0]["id"].as_str().unwrap().to_owned()
}

/// What support has is the sender's id: it leads to the event, on the command line and in the dashboard, and where it leads nowhere that
/// is said with its reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_found_by_what_its_sender_calls_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let set = format!("secret={SECRET}");
    for source in [&["pay", "--provider", "stripe", "--set", &set][..], &["hub", "--provider", "github", "--set", &set]]
    {
        server.json(&[&["source", "create"], source].concat());
    }
    let sender = Sender::new();
    let webhook = server.url("/webhook");
    let order = |id: &'static str| sender.post_until_taken(&webhook, API_KEY, "{}", id);
    let (first, second) = (order("order-1").await, order("order-2").await);
    let paid = [paid(&server, &sender, "evt_1").await, paid(&server, &sender, "evt_2").await];

    let by_key = |source: &str, key: &str| {
        let found = server.json(&["event", "list", "--source", source, "--key", key]);
        let ids: Vec<String> =
            found["items"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        ids
    };
    assert_eq!((by_key("default", "order-1"), by_key("default", "order-2")), (vec![first.clone()], vec![second]));
    assert_eq!((by_key("pay", "evt_1"), by_key("pay", "evt_2")), (vec![paid[0].clone()], vec![paid[1].clone()]));

    let refused = |args: &[&str]| {
        let output = server.cli(&[&["event", "list"], args].concat());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = refused(&["--source", "default", "--key", "order-3"]);
    let is_told = told.contains("is kept for 3 d (DEDUPE_WINDOW)") || told.contains("is kept for 24 h (DEDUPE_WINDOW)");
    assert!(code == Some(1) && is_told, "{code:?} {told}");
    let (code, told) = refused(&["--source", "hub", "--key", "72d3162e"]);
    assert!(
        code == Some(2) && told.contains("x-github-delivery") && told.contains("with the whole body"),
        "{code:?} {told}"
    );
    assert_eq!(refused(&["--key", "order-1"]).0, Some(2), "a key is one of a source");
    let made = server.json(&["key", "create", "default", "other"]);
    let others = sender.post_until_taken(&webhook, made["key"].as_str().unwrap(), "{}", "order-9").await;
    assert_eq!(by_key("default", "order-9"), std::slice::from_ref(&others));
    let mine = sender.post_until_taken(&webhook, API_KEY, "{}", "order-9").await;
    let both = by_key("default", "order-9");
    assert!(
        both.len() == 2 && both.contains(&mine) && both.contains(&others),
        "each key may call an event so: {both:?}"
    );

    let page = |find: &str| {
        let url = format!("http://{}/events?q={find}", server.admin);
        let sender = Sender::new();
        async move {
            let bearer = format!("Bearer {ADMIN_TOKEN}");
            sender.send(Method::GET, &url, &[("authorization", &bearer)], "").await.unwrap()
        }
    };
    let led = page("order-1").await;
    assert_eq!((led.status, led.headers["location"].to_str().unwrap()), (303, format!("/events/{first}").as_str()));
    let nothing = page("order-3").await;
    let html = String::from_utf8(nothing.body.to_vec()).unwrap();
    assert!(nothing.status == 200 && html.contains("No sender calls an event so either"), "{html}");
}

/// Signs somebody in whose password is in a file, and gives the cookie.
pub(crate) async fn signed_in(server: &Server, sender: &Sender, name: &str, role: &str) -> String {
    let password = server.data_dir().parent().unwrap().join("password");
    std::fs::write(&password, "a long enough password").unwrap();
    let at_file = format!("@{}", password.display());
    let output = server.cli(&["user", "create", name, "--role", role, "--password", &at_file]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (url, origin) = (format!("http://{}/api/v1/session", server.admin), format!("http://{}", server.admin));
    let body = format!(r#"{{"name":"{name}","password":"a long enough password"}}"#);
    let headers = [("content-type", "application/json"), ("origin", origin.as_str())];
    let told = sender.send(Method::POST, &url, &headers, body).await.unwrap();
    let cookie = told.headers.get("set-cookie").unwrap_or_else(|| panic!("{:?}", told.body)).to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// A server whose store is sealed, with five webhooks of these bodies; whoever sent them, and their ids.
pub(crate) async fn five_sealed(dir: &Path, body: impl Fn(usize) -> String) -> (Server, Sender, Vec<String>) {
    let keys = dir.join("keys");
    std::fs::write(&keys, "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    let server = Server::start(dir, &[("ENCRYPTION_KEY_FILE", keys.to_str().unwrap())]);
    let (sender, mut sent) = (Sender::new(), Vec::new());
    for number in 0..5 {
        sent.push(sender.post(&server.url("/webhook"), body(number)).await.unwrap().event());
    }
    (server, sender, sent)
}

/// Of the events of a list.
pub(crate) fn ids(found: &serde_json::Value) -> Vec<String> {
    found["items"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

/// What an event holds leads to it, in a store that is sealed too: as far as one look goes, which says how far that was. Whoever came in by the
/// dashboard is written down with it, and who may see no payload has none looked through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_found_by_what_stands_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let body = |number| format!(r#"{{"customer":{{"id":"cus_{number}"}},"at":"https:\/\/shop.example\/{number}"}}"#);
    let (server, sender, sent) = five_sealed(dir.path(), body).await;
    let look = |args: &[&str]| server.json(&[&["event", "list"], args].concat());
    let found = look(&["--contains", "https://shop.example/3"]);
    assert_eq!((ids(&found), &found["read"], &found["of"]), (vec![sent[3].clone()], &5.into(), &5.into()));
    assert!(found["next"].is_null() && found["items"][0]["deliveries"][0]["state"] == "ready", "{found}");
    assert_eq!(ids(&look(&["--source", "default", "--json-path", "$.customer.id=cus_4"])), [sent[4].clone()]);
    let first = look(&["--contains", "cus_", "--limit", "2"]);
    let next = first["next"].as_str().unwrap();
    let rest = look(&["--contains", "cus_", "--cursor", next]);
    assert_eq!((&first["read"], &rest["read"]), (&2.into(), &5.into()), "counted from the beginning");
    let all: Vec<String> = [ids(&first), ids(&rest)].concat();
    assert_eq!(all, sent.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(ids(&look(&["--contains", "cus_", "--all"])), all);
    let narrow = look(&["--contains", "cus_2", "--since", "1h"]);
    assert!(ids(&narrow) == [sent[2].clone()] && narrow["of"].is_null(), "of a part nobody knows how many: {narrow}");
    let wrong = server.cli(&["event", "list", "--json-path", "customer"]);
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert!(wrong.status.code() == Some(2) && told.contains("$.data.object.customer=cus_1"), "{told}");

    let ask = async |path: &str, field: (&str, &str)| {
        let told = sender.send(Method::GET, &format!("http://{}{path}", server.admin), &[field], "").await.unwrap();
        (told.status, String::from_utf8(told.body.to_vec()).unwrap())
    };
    let scan = "/api/v1/events/scan?contains=cus_1";
    let cookie = signed_in(&server, &sender, "bob", "operator").await;
    let (status, page) = ask("/events?q=%24.customer.id%3Dcus_4", ("cookie", &cookie)).await;
    assert!(status == 200 && page.contains("Looked at all 5 events.") && page.contains(&sent[4]), "{page}");
    let (_, page) = ask("/events?q=shop.example", ("cookie", &cookie)).await;
    assert!(page.contains("/events?q=shop.example&amp;in=bodies"), "{page}");
    assert_eq!(ask(scan, ("cookie", &cookie)).await.0, 200);
    let viewer = signed_in(&server, &sender, "eve", "viewer").await;
    assert_eq!(ask(scan, ("cookie", &viewer)).await.0, 403);
    assert_eq!(ask("/events?q=cus_1&in=bodies", ("cookie", &viewer)).await.0, 403);
    let log = server.json(&["audit-log", "--action", "event.scan"]);
    let lines: Vec<_> = log["items"].as_array().unwrap().iter().map(|line| (&line["who"], &line["subject"])).collect();
    let bob = &serde_json::Value::from("user:bob");
    let looked = ["every source: a text", "every source: a place of JSON"];
    assert_eq!(lines, looked.map(Into::into).each_ref().map(|subject: &serde_json::Value| (bob, subject)));
}
