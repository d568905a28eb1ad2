//! Providers on the command line: what they need, an invitation for one, its samples whole and spoilt.

use serde_json::Value;

use crate::place::Place;

const SECRET: &str = "whsec_YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=";
const NEXT_SECRET: &str = "whsec_YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYmI=";

/// The heading and the rows of these providers: others come and go.
fn rows(transcript: &str, names: &[&str]) -> String {
    let mut lines = transcript.lines();
    let heading = lines.next().unwrap_or_default();
    let wanted = lines.filter(|line| {
        let first = line.split('\t').next().unwrap_or_default();
        first == *line || names.contains(&first)
    });
    [heading].into_iter().chain(wanted).collect::<Vec<_>>().join("\n")
}

#[test]
fn providers_are_listed_and_shown() {
    let place = Place::new();
    let list = place.transcript(&place.run(&["provider", "list"], &[]));
    let samples = place.transcript(&place.run(&["send", "--list"], &[]));
    let some = ["api-key", "meta", "standard-webhooks"];
    let text = [
        rows(&list, &some),
        place.transcript(&place.run(&["provider", "show", "meta"], &[])),
        place.transcript(&place.run(&["provider", "show", "whatsapp"], &[])),
        rows(&samples, &some),
    ];
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn a_provider_in_json_says_what_a_source_needs() {
    let place = Place::new();
    let meta = place.json(&["provider", "show", "meta"]);
    let needs: Vec<(&Value, &Value, &Value)> = meta["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|parameter| (&parameter["name"], &parameter["secret"], &parameter["required"]))
        .collect();
    assert_eq!(needs[0], (&Value::from("app_secret"), &Value::from(true), &Value::from(true)));
    assert_eq!(needs[1].2, &Value::from(false));
    assert_eq!((&meta["acknowledgement"]["status"], &meta["retries"]), (&Value::from(200), &Value::from(true)));
    let all = place.json(&["provider", "list"]);
    assert!(all["items"].as_array().unwrap().contains(&meta));
}

#[test]
fn an_invitation_says_what_the_sender_and_the_client_need() {
    let place = Place::new();
    place.write("secret.txt", SECRET);
    let server = place.server();
    let hooks = ["invite", "hooks", "--provider", "standard-webhooks", "--destination", "crm"];
    let text = [
        place.transcript(&place.cli(&["invite", "shop"])),
        place.transcript(&place.cli(&hooks)),
        place.transcript(&place.cli(&["invite", "shop", "--destination", "crm"])),
        place.transcript(&place.cli(&["token", "list"])),
    ];
    insta::assert_snapshot!(text.join("\n\n"));
    let create = |name| place.cli(&["source", "create", name, "--provider", "bearer"]);
    let known_nowhere = create("first");
    let said = String::from_utf8_lossy(&known_nowhere.stdout);
    assert!(said.contains("/webhook/first\n") && said.contains("then this path (see PUBLIC_URL)"), "{known_nowhere:?}");
    assert_eq!(place.json(&["source", "show", "first"])["url"], Value::Null);
    assert_eq!(server.terminate(), Some(0));

    let _server = place.server_with(&[("PUBLIC_URL", "https://relay.example.com/in/")]);
    place.wait_for("server.log", "listening");
    let whole_url = create("second");
    let said = String::from_utf8_lossy(&whole_url.stdout);
    assert!(said.contains("https://relay.example.com/in/webhook/second\n"), "what is pasted: {whole_url:?}");
    let url = "https://relay.example.com/in/webhook/first";
    assert_eq!(place.json(&["source", "show", "first"])["url"], url);
    let whole = place.cli(&[&hooks[..], &["--set", "secret=@secret.txt"]].concat());
    insta::assert_snapshot!("an_invitation_with_a_public_url", place.transcript(&whole));
    let made = place.json(&["invite", "more"]);
    assert_eq!(made["url"], "https://relay.example.com/in/webhook/more");
    assert!(made["token"]["token"].as_str().unwrap().starts_with("crt_"));
    assert_eq!(made["token"]["destinations"], serde_json::json!(["default"]));
    let key = made["key"]["key"].as_str().unwrap();
    let to = format!("{}/webhook/more", place.server_url());
    assert_eq!(place.cli(&["send", "--to", &to, "--set", &format!("key={key}")]).status.code(), Some(0));
}

/// The source's own secret signs, without leaving the server; what is spoilt is refused.
#[test]
fn a_sample_is_accepted_whole_and_refused_spoilt() {
    let place = Place::new();
    place.write("secret.txt", SECRET);
    let _server = place.server_with(&[("PUBLIC_URL", "https://relay.example.com/in")]);
    place.wait_for("server.log", "listening");
    let missing = place.transcript(&place.cli(&["send", "--provider", "standard-webhooks"]));
    assert!(
        place
            .cli(&["invite", "hooks", "--provider", "standard-webhooks", "--set", "secret=@secret.txt"])
            .status
            .success()
    );
    let send =
        |more: &[&str]| place.transcript(&place.cli(&[&["send", "--provider", "standard-webhooks"], more].concat()));
    let text = [
        missing,
        send(&[]),
        send(&["--tamper", "body"]),
        send(&["--tamper", "signature"]),
        send(&["--tamper", "timestamp"]),
        place.transcript(&place.cli(&["send", "--tamper", "timestamp"])),
        place.transcript(&place.cli(&["send", "--source", "hooks", "--provider", "meta"])),
        place.transcript(&place.cli(&["send", "--source", "nope"])),
    ];
    insta::assert_snapshot!(text.join("\n\n"));
}

/// While a secret is replaced both are valid; then the old one is not.
#[test]
fn a_secret_given_twice_is_replaced_without_a_gap() {
    let place = Place::new();
    let _server = place.server();
    let (old, new) = (format!("secret={SECRET}"), format!("secret={NEXT_SECRET}"));
    let create = ["source", "create", "hooks", "--provider", "standard-webhooks", "--set", &old, "--set", &new];
    assert!(place.cli(&create).status.success());
    let is_accepted = |set: &str| place.cli(&["send", "--source", "hooks", "--set", set]).status.code() == Some(0);
    assert_eq!([is_accepted(&old), is_accepted(&new)], [true, true]);
    assert!(place.cli(&["source", "update", "hooks", "--set", &new]).status.success());
    assert_eq!([is_accepted(&old), is_accepted(&new)], [false, true]);
    let other = place.cli(&["source", "update", "hooks", "--provider", "meta"]);
    assert_eq!(other.status.code(), Some(2), "another provider wants parameters of its own: {other:?}");
    let set = "app_secret=0123456789abcdef0123456789abcdef";
    assert!(place.cli(&["source", "update", "hooks", "--provider", "meta", "--set", set]).status.success());
    assert_eq!(place.json(&["source", "show", "hooks"])["provider"], "meta");
    assert_eq!(place.cli(&["send", "--source", "hooks"]).status.code(), Some(0));
}

/// S27: a client's token can be handed over without being shown: in a new file, its owner's alone.
#[test]
fn an_invitation_writes_the_token_into_a_file() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new();
    let _server = place.server();
    let made = place.cli(&["invite", "shop", "--token-file", "token"]);
    let told = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success() && !told.contains("crt_") && told.contains("--token @token"), "{told}");
    assert!(place.read("token").starts_with("crt_"));
    let mode = std::fs::metadata(place.path("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = place.read("token");
    assert_eq!(
        place.cli(&["invite", "more", "--token-file", "token"]).status.code(),
        Some(2),
        "never over another one"
    );
    assert_eq!((place.read("token"), place.cli(&["source", "show", "more"]).status.code()), (kept, Some(1)));
    assert_eq!(place.cli(&["invite", "shop", "--token-file", "second"]).status.code(), Some(1), "the name is taken");
    assert!(!place.path("second").exists(), "what was refused leaves no file");
    assert!(place.json(&["invite", "json", "--token-file", "third"])["token"]["token"].is_null());
}

/// I25: what the platform calls what happened is listed, searched for and counted.
#[test]
fn events_are_found_by_their_names() {
    let place = Place::new();
    let _server = place.server();
    let create = ["source", "create", "code", "--provider", "github", "--set", &format!("secret={SECRET}")];
    assert!(place.cli(&create).status.success());
    for _ in 0..2 {
        assert_eq!(place.cli(&["send", "--source", "code"]).status.code(), Some(0));
    }
    assert_eq!(place.cli(&["send"]).status.code(), Some(0), "to the source without names");
    let count = |name: &str| place.json(&["event", "list", "--name", name])["items"].as_array().unwrap().len();
    let all = place.json(&["event", "list", "--source", "code"]);
    let name = all["items"][0]["name"].as_str().unwrap().to_owned();
    let beginning = format!("{}*", &name[..2]);
    assert_eq!((count(&name), count(&beginning), count("*"), count(""), count("nothing.*")), (2, 2, 3, 1, 0));
    let shown = place.json(&["source", "show", "code"]);
    assert_eq!((&shown["names"][0]["name"], &shown["names"][0]["events"]), (&name.as_str().into(), &2.into()));
    let words = String::from_utf8(place.cli(&["source", "show", "code"]).stdout).unwrap();
    assert!(words.contains(&name), "{words}");
    let unnamed = place.json(&["event", "list", "--source", "default"]);
    assert_eq!(unnamed["items"][0]["name"], Value::Null);
    let refused = place.cli(&["delivery", "list", "--name", "x"]);
    assert_eq!(refused.status.code(), Some(2));
}
