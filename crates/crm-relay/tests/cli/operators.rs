//! What several operators of one relay see of each other.

use serde_json::json;

use crate::place::{Place, wait_until};

/// Who changed what: the user that the system knows, and the one that the command claims.
#[test]
fn the_audit_log_says_who_it_was() {
    let place = Place::new();
    let _server = place.server();
    let env = [("DATA_DIR", "data"), ("USER", "root"), ("SUDO_USER", "ada")];
    assert!(place.run(&["destination", "pause", "default"], &env).status.success());
    let log = place.json(&["audit-log", "--action", "destination"]);
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(place.path("data")).unwrap());
    let origin = json!({"peer": null, "uid": uid, "credential": null, "claimed_user": "ada"});
    assert_eq!((&log["items"][0]["who"], &log["items"][0]["origin"]), (&json!("cli"), &origin));
    let shown = String::from_utf8(place.cli(&["audit-log", "--action", "destination"]).stdout).unwrap();
    assert!(shown.contains(&format!("\tada? uid {uid}\tdestination.pause\tdefault")), "{shown}");
}

/// I21: a client with the new token is let in before the one with the old is put out, and nobody types the old one's name.
#[test]
fn a_token_is_replaced_without_a_gap() {
    let place = Place::new();
    let _server = place.server();
    let token = |args: &[&str]| {
        let output = place.cli(args);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let url = place.server_url();
    let client = |name: &str, token: &str| {
        place.start(name, &["client", "--to", "9"], &[("RELAY_URL", &url), ("RELAY_TOKEN", token)])
    };
    let old = token(&["token", "create", "office"]);
    let _first = client("first", &old);
    place.wait_for("server.log", "client_joined");
    let new = token(&["token", "rotate", "office"]);
    assert!(new.starts_with("crt_") && new != old);
    let twice = place.cli(&["token", "rotate", "office"]);
    assert_eq!(twice.status.code(), Some(1));
    assert!(String::from_utf8(twice.stderr).unwrap().contains("--finish"));
    let second = client("second", &new);
    wait_until("one session of each", || {
        let rotation = &place.json(&["token", "show", "office"])["rotation"];
        (rotation["old"]["sessions"].as_u64(), rotation["new"]["sessions"].as_u64()) == (Some(1), Some(1))
    });
    let shown = String::from_utf8(place.cli(&["token", "show", "office"]).stdout).unwrap();
    assert!(shown.contains("1 sessions open") && !shown.contains(&new), "{shown}");
    assert!(place.cli(&["token", "rotate", "office", "--finish"]).status.success());
    place.wait_for("first.log", "replaced");
    assert_eq!(place.json(&["token", "show", "office"])["rotation"], json!(null));
    assert_eq!(second.terminate(), Some(0));
}

/// The whole way of an operator whose platform makes the secret.
#[test]
fn a_secret_of_a_source_is_replaced_without_a_gap() {
    let place = Place::new();
    let _server = place.server();
    place.write("old", "0123456789abcdef0123456789abcdef");
    place.write("new", "fedcba9876543210fedcba9876543210\n");
    let made = place.cli(&["source", "create", "shop", "--provider", "github", "--set", "secret=@old"]);
    assert!(made.status.success(), "{made:?}");
    let send = |secret: &str| {
        let output = place.cli(&["send", "--source", "shop", "--provider", "github", "--set", secret]);
        output.status.code()
    };
    assert_eq!((send("secret=@old"), send("secret=@new")), (Some(0), Some(1)));
    let rotate = ["source", "rotate", "shop", "--set", "secret=@new", "--keep-old", "24h"];
    assert!(place.cli(&rotate).status.success());
    assert_eq!((send("secret=@old"), send("secret=@new")), (Some(0), Some(0)));
    let shown = String::from_utf8(place.cli(&["source", "show", "shop"]).stdout).unwrap();
    assert!(shown.contains("rotation") && shown.contains("(1 times)") && !shown.contains("fedcba"), "{shown}");
    assert_eq!(place.cli(&["source", "rotate", "shop"]).status.code(), Some(2), "nothing to do is no command");
    assert!(place.cli(&["source", "rotate", "shop", "--abort"]).status.success());
    assert_eq!((send("secret=@old"), send("secret=@new")), (Some(0), Some(1)));
    assert!(place.cli(&rotate[..5]).status.success());
    assert!(place.cli(&["source", "rotate", "shop", "--finish"]).status.success());
    assert_eq!((send("secret=@old"), send("secret=@new")), (Some(1), Some(0)));
}
