//! Golden transcripts: what people see of the command line, with everything that changes from run to run taken out.

#![expect(clippy::disallowed_methods, reason = "tests wait for processes in real time")]
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its place has failed")]

mod awaited;
mod bench;
mod contrib;
mod declared;
mod doctor;
mod documents;
mod every_provider;
mod exits;
mod handed_out;
mod live;
mod losses;
mod night_shift;
mod odd;
mod operators;
mod place;
#[path = "../../../relay-store/tests/redis/port.rs"]
mod port;
mod providers;
mod redact;
mod refusals;
mod remote;
mod schemas;
mod screens;
mod session;
mod shapes;
mod terminal;
mod watched;

use std::fs;

use place::{Place, wait_until};

#[test]
fn faults_of_a_configuration_are_listed_all_at_once() {
    let place = Place::new();
    place.write("crm-relay.toml", "servre_port = 80\nmax_body_bytes = \"plenty\"\n\n[[route]]\nsource = \"default\"\n");
    let env = [("MESSAGE_TTL", "7 fortnights"), ("API_KEY", "changeme"), ("REDIS_URL", "redis+cluster://localhost/3")];
    let output = place.run(&["config", "check"], &env);
    assert_eq!(output.status.code(), Some(78));
    insta::assert_snapshot!(place.transcript(&output));
}

/// What a process would stumble over at its start, or only then when it is needed, is looked at before.
#[test]
fn every_file_that_is_named_is_looked_at() {
    let place = Place::new();
    fs::create_dir(place.path("data")).unwrap();
    place.write("data/credentials", "API_KEY=crk_0123456789 0123456789abcdef\n");
    place.write("empty", "\r\n");
    place.write("ca.pem", "no certificate");
    place.write(
        "crm-relay.toml",
        "relay_ca_file = \"ca.pem\"\n[source.shop]\nprovider = \"api-key\"\nkey = { file = \"empty\" }\n\
         [destination.crm]\nurl = \"https://crm.local\"\nca_file = \"nowhere.pem\"\nheaders = { \"X-Token\" = \"@empty\" }\n",
    );
    let env = [
        ("DATA_DIR", "data"),
        ("RELAY_URL", "relay.example.com"),
        ("RELAY_TOKEN_FILE", "empty"),
        ("ADMIN_URL", "htp://localhost"),
    ];
    let output = place.run(&["config", "check"], &env);
    assert_eq!(output.status.code(), Some(78));
    insta::assert_snapshot!(place.transcript(&output));
}

#[test]
fn a_variable_that_is_nearly_a_setting_is_noted() {
    let place = Place::new();
    let output = place.run(&["config", "check"], &[("SERVERPORT", "80"), ("CRM_RELAY_API_KEY", "x"), ("PORTER", "1")]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(place.transcript(&output));
    place.write("crm-relay.toml", "[source.shop]\nprovider = \"hmca\"\n");
    let output = place.run(&["config", "check"], &[]);
    assert_eq!(output.status.code(), Some(78));
    insta::assert_snapshot!("a_provider_that_is_nearly_one", place.transcript(&output));
}

#[test]
fn a_configuration_is_printed_with_the_origin_of_every_value() {
    let place = Place::new();
    place.write("crm-relay.toml", "message_ttl = \"7d\"\n");
    let env = [("API_KEY", "a-key-that-is-not-shown"), ("RELAY_URL", "https://relay.example.com")];
    insta::assert_snapshot!(place.transcript(&place.run(&["config", "print"], &env)));
}

#[test]
fn a_command_without_a_server_says_where_it_looked() {
    let place = Place::new();
    let output = place.run(&["status"], &[]);
    assert_eq!(output.status.code(), Some(69));
    insta::assert_snapshot!(place.transcript(&output));
}

/// S27: a log shows where the generated secrets are, and none of them.
#[test]
fn the_first_start_of_a_server_logs_paths_and_no_secrets() {
    let place = Place::new();
    let server = place.server();
    let credentials = fs::read_to_string(place.path("data/credentials")).unwrap();
    place.wait_for("server.log", "name=\"admin\"");
    let log = place.read("server.log");
    for secret in credentials.lines().filter_map(|line| line.split_once('=')).map(|(_, value)| value) {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    drop(server);
    insta::assert_snapshot!(place.redact(&log));
}

#[test]
fn a_second_client_is_announced_on_both_sides() {
    let place = Place::new();
    let _server = place.server();
    let _first = place.client("first");
    place.wait_for("server.log", "clients=1");
    let _second = place.client("second");
    place.wait_for("server.log", "clients=2");
    place.wait_for("second.log", "destination_shared");
    place.wait_for("first.log", "destination_shared");
    let lines = |name: &str, wanted: &[&str]| {
        let log = place.redact(&place.read(name));
        let found: Vec<&str> = log.lines().filter(|line| wanted.iter().any(|word| line.contains(word))).collect();
        found.join("\n")
    };
    insta::assert_snapshot!(format!(
        "--- server\n{}\n--- first client\n{}\n--- second client\n{}",
        lines("server.log", &["client_joined"]),
        lines("first.log", &["connected", "destination_"]),
        lines("second.log", &["connected", "destination_"]),
    ));
}

#[test]
fn a_dead_letter_is_listed_shown_and_counted() {
    let place = Place::new();
    let _server = place.server();
    let (_receiver, target) = place.receiver(&["--status", "500"]);
    let _client = place.client_to("client", &target);
    place.wait_for("server.log", "client_joined");
    place.write("body.json", r#"{"hello":"world"}"#);
    let sent = place.cli(&["send", "--body", "body.json"]);
    let event = String::from_utf8(sent.stdout).unwrap();
    place.wait_for("server.log", "delivery_dead");
    // The server's look at its clients may be a second old.
    wait_until("the client in the status", || {
        let status = String::from_utf8(place.cli(&["status"]).stdout).unwrap();
        status.contains("\tup\t1\t") && status.contains("dead or expired  1")
    });
    let text = [
        place.transcript(&place.cli(&["dead", "list"])),
        place.transcript(&place.cli(&["event", "show", event.trim()])),
        place.transcript(&place.cli(&["status"])),
        place.transcript(&place.cli(&["audit"])),
        place.transcript(&place.cli(&["dead", "purge", "--all"])),
        place.transcript(&place.cli(&["dead", "purge", "--all", "--yes"])),
    ];
    insta::assert_snapshot!(text.join("\n"));
}
