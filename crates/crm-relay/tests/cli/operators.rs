//! What several operators of one relay see of each other.

use std::fs::File;

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

/// S39: whoever may run ps sees a command line, so a secret on one is warned of, once, and not shown again.
#[test]
fn a_secret_on_the_command_line_is_warned_of() {
    let place = Place::new();
    let _server = place.server();
    place.write("file", "0123456789abcdef-of-ours");
    let warnings = |args: &[&str]| {
        let said = String::from_utf8(place.cli(args).stderr).unwrap();
        assert!(!said.contains("of-ours"), "{said}");
        said.matches("a secret on the command line").count()
    };
    let update = ["source", "create", "shop", "--provider", "hmac", "--set", "header=X-Signature"];
    let with = |secret: &'static str| [&update[..], &["--set", secret]].concat();
    assert_eq!(warnings(&with("secret=0123456789abcdef-of-ours")), 1);
    assert_eq!(warnings(&["source", "update", "shop", "--set", "secret=@file"]), 0);
    assert_eq!(warnings(&["status", "--admin-token", "0123456789abcdef-of-ours"]), 1);
    for (args, count) in [
        (&["config", "check"][..], 0),
        (
            &[
                "client",
                "--to",
                "9",
                "--url",
                "127.0.0.1:9",
                "--token",
                "crt_0123456789abcdef-of-ours",
                "--config",
                "none",
            ],
            1,
        ),
        (&["server", "--api-key", "@none"], 0),
    ] {
        assert_eq!(warnings(args), count, "{args:?}");
    }
}

/// A second route doubles every webhook: whoever meant to move it is told how.
#[test]
fn a_second_route_says_that_the_first_stays() {
    let place = Place::new();
    let _server = place.server();
    let made = place.cli(&["route", "create", "default", "crm"]);
    let said = String::from_utf8(made.stderr).unwrap();
    assert!(said.contains("crm-relay route delete default default"), "{said}");
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

/// A day again, not faster than its target takes it: the oldest first, each due behind the one before it.
#[test]
fn old_events_are_replayed_by_filter_at_a_rate() {
    let place = Place::new();
    let _server = place.server();
    let sent: Vec<String> = (0..3).map(|_| place.send()).collect();
    let _ = place.cli(&["delivery", "cancel", "--all", "--yes"]);
    assert_eq!(place.json(&replay(&["--source", "default", "--dry-run"]))["matched"], 3);
    let asked = place.cli(&replay(&["--since", "1h"]));
    assert_eq!(asked.status.code(), Some(2), "nobody is here to agree");
    assert!(String::from_utf8(asked.stderr).unwrap().contains("replay 3 events"));
    assert_eq!(place.cli(&replay(&[])).status.code(), Some(2), "not everything by a slip");
    assert_eq!(place.cli(&replay(&["--all", "--yes", "--destination", "crm"])).status.code(), Some(1));

    let told = place.json(&replay(&["--source", "default", "--limit", "2", "--rate", "0.1/s", "--yes"]));
    assert_eq!((&told["matched"], &told["changed"]), (&json!(2), &json!(2)), "{told}");
    let next = told["next"].as_str().unwrap();
    let more = ["--all", "--cursor", next, "--rate", "0.1", "--start-at", told["next_at"].as_str().unwrap(), "--yes"];
    let told = place.json(&replay(&more));
    assert_eq!((&told["changed"], &told["next"]), (&json!(1), &json!(null)), "the rest");

    let listed = place.json(&["delivery", "list", "--state", "ready,scheduled"]);
    let mut made: Vec<(String, String)> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|made| {
            assert_eq!(made["replay"], true);
            (made["due_at"].as_str().unwrap().to_owned(), made["event_id"].as_str().unwrap().to_owned())
        })
        .collect();
    made.sort();
    let order: Vec<String> = made.iter().map(|(_, event)| event.clone()).collect();
    assert_eq!(order, sent, "the oldest first");
    let seconds = |at: usize| made[at].0[17..19].parse::<i64>().unwrap();
    assert_eq!([(seconds(1) - seconds(0)).rem_euclid(60), (seconds(2) - seconds(1)).rem_euclid(60)], [10, 10]);
    let log = place.json(&["audit-log", "--action", "event.replay"]);
    assert_eq!(log["items"].as_array().unwrap().len(), 2, "{log}");
}

/// I12: whoever does not know what became of a command gives it again with its job, and nothing is done twice.
#[test]
fn a_command_is_given_again_under_its_job() {
    let place = Place::new();
    let _server = place.server();
    let _ = (place.send(), place.send());
    let all = |more: &[&'static str]| replay(&[&["--until", "2099-01-01T00:00:00Z", "--yes"], more].concat());
    let told = place.json(&all(&[]));
    let job = told["job"].as_str().unwrap().to_owned();
    let again = |verb: &[&str], more: &[&str]| {
        place.cli(&[verb, &["--until", "2099-01-01T00:00:00Z", "--yes", "--job", &job, "--json"], more].concat())
    };
    let same: serde_json::Value = serde_json::from_slice(&again(&["event", "replay"], &[]).stdout).unwrap();
    assert_eq!((&told["changed"], &same), (&json!(2), &told));
    for (verb, more) in [(["event", "replay"], &["--destination", "default"][..]), (["delivery", "cancel"], &["--all"])]
    {
        let refused = again(&verb, more);
        assert_eq!(refused.status.code(), Some(1), "{verb:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("is the job of another command"), "{refused:?}");
    }
    assert_eq!(place.json(&["delivery", "list"])["items"].as_array().unwrap().len(), 4);
    assert_eq!(place.cli(&["dead", "purge", "--all", "--yes", "--job", "dlv_1"]).status.code(), Some(2));
}

/// I13: dead letters come back at a rate too; a rate is not for what goes.
#[test]
fn dead_letters_are_redriven_at_a_rate() {
    let place = Place::new();
    let _server = place.server();
    let (_receiver, target) = place.receiver(&["--status", "422"]);
    let client = place.client_to("client", &target);
    place.wait_for("server.log", "client_joined");
    let _ = (place.send(), place.send());
    wait_until("dead letters", || place.json(&["dead", "list"])["items"].as_array().unwrap().len() == 2);
    drop(client);
    let told = place.json(&["dead", "redrive", "--all", "--rate", "0.1", "--yes"]);
    assert_eq!(told["changed"], 2);
    let waiting = place.json(&["delivery", "list", "--state", "scheduled"]);
    assert_eq!(waiting["items"].as_array().unwrap().len(), 1, "one now, one in ten seconds: {waiting}");
    assert_eq!(place.cli(&["dead", "purge", "--all", "--rate", "1", "--yes"]).status.code(), Some(2));
}

/// `event replay` with these.
fn replay<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["event", "replay"], more].concat()
}

/// A secret that could not be shown is valid and nobody's: how to take it back is said.
#[test]
fn a_secret_that_nobody_saw_is_taken_back() {
    let place = Place::new();
    let _server = place.server();
    let remedies = [
        (&["token", "create", "lost"][..], "crm-relay token revoke lost"),
        (&["token", "rotate", "lost"], "crm-relay token rotate lost --abort"),
        (&["key", "create", "default", "lost"], "crm-relay key revoke default lost"),
        (&["invite", "gone", "--provider", "github"], "crm-relay source delete gone; crm-relay token revoke gone"),
    ];
    for (args, remedy) in remedies {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = place.command(args, &[("DATA_DIR", "data")]).stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(74), "{args:?}: {said}");
        assert!(said.contains(remedy) && said.contains("no space left"), "{args:?}: {said}");
    }
}
