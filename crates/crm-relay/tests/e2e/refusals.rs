//! What a target says with its refusal, on its way to who asks for the delivery, and nowhere else.

use serde_json::{Value, json};

use crate::{
    process::{Server, client, wait_for},
    sender::Sender,
    target::{Reply, Target},
};

/// S27, S20: told as far as the client's configuration lets it, shown without steering a terminal, in no log and no metric.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_target_says_is_shown_with_the_delivery_and_logged_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let page = "<html><h1>CSRF verification failed.</h1>canary\u{1b}[2J</html>";
    let target = Target::start(move |_| Reply {
        headers: vec![("location", "/hooks/?token=secret".to_owned()), ("content-type", "text/html".to_owned())],
        body: format!("{page}{}", "x".repeat(100_000)).into(),
        ..Reply::status(403)
    })
    .await;
    let server = Server::start(dir.path(), &[("MAX_RETRIES", "1"), ("RETRY_DELAY", "1ms"), ("LOG_LEVEL", "debug")]);
    for name in ["quiet", "brief", "open"] {
        let made = server.cli(&[
            "source",
            "create",
            name,
            "--provider",
            "standard-webhooks",
            "--set",
            SECRET,
            "--destination",
            name,
        ]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let file = dir.path().join("crm-relay.toml");
    let url = target.url("/hooks");
    let section =
        |name: &str, how: &str| format!("[destination.{name}]\nurl = \"{url}\"\nreport_answers = \"{how}\"\n");
    std::fs::write(&file, [section("quiet", "off"), section("open", "body")].concat()).unwrap();
    let more = [("CRM_RELAY_CONFIG", file.to_str().unwrap()), ("LOG_LEVEL", "debug")];
    let client = client(dir.path(), "client", server.public, &[("brief", url.clone())], &more);

    for name in ["quiet", "brief", "open"] {
        let sent = server.cli(&["send", "--source", name, "--to", &server.url("")]);
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    }
    let dead = wait_for("three dead letters", || {
        let dead = server.json(&["dead", "list"]);
        (dead["items"].as_array().unwrap().len() == 3).then_some(dead)
    });
    let of = |name: &str| {
        let items = dead["items"].as_array().unwrap();
        items.iter().find(|item| item["destination"] == name).unwrap().clone()
    };
    assert_eq!(of("quiet")["last"]["answer"], Value::Null);
    let brief = json!({"reason": null, "location": "/hooks/?...", "body": null, "cut": false});
    assert_eq!(of("brief")["last"]["answer"], brief);
    let open = server.json(&["delivery", "show", of("open")["id"].as_str().unwrap()]);
    for attempt in open["history"].as_array().unwrap() {
        let body = attempt["answer"]["body"].as_str().unwrap();
        assert!(body.starts_with("<html><h1>CSRF verification failed.</h1>canary\u{fffd}[2J") && body.len() == 2048);
        assert_eq!(attempt["answer"]["cut"], true);
    }
    let shown = |args: &[&str]| String::from_utf8(server.cli(args).stdout).unwrap();
    let whole = shown(&["dead", "show", of("open")["id"].as_str().unwrap()]);
    assert!(whole.contains("answer to try 2") && whole.contains("canary") && !whole.contains('\u{1b}'), "{whole}");
    assert!(shown(&["dead", "list"]).contains("HTTP 403 -> /hooks/?..."), "{}", shown(&["dead", "list"]));
    assert!(shown(&["dead", "summary"]).contains("HTTP 403 -> /hooks/?..."));
    assert_eq!(server.json(&["dead", "summary"])["items"][0]["answer"]["location"], "/hooks/?...");

    let url = format!("http://{}/metrics", server.admin);
    let page = Sender::new().send(http::Method::GET, &url, &[], "").await.unwrap().body;
    let page = String::from_utf8(page.to_vec()).unwrap();
    for text in [client.log(), server.process.log(), page] {
        assert!(!text.contains("canary") && !text.contains("CSRF") && !text.contains("/hooks/?"), "{text}");
    }
}

const SECRET: &str = "secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
