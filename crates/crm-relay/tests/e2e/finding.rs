//! Finding one event among many: by what its sender calls it.

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
    assert!(code == Some(1) && told.contains("is kept for 3 d (DEDUPE_WINDOW)"), "{code:?} {told}");
    let (code, told) = refused(&["--source", "hub", "--key", "72d3162e"]);
    assert!(
        code == Some(2) && told.contains("x-github-delivery") && told.contains("with the whole body"),
        "{code:?} {told}"
    );
    assert_eq!(refused(&["--key", "order-1"]).0, Some(2), "a key is one of a source");

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
