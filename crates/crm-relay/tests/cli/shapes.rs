//! The JSON that scripts rely on: exactly these fields, no fewer and no more.

use serde_json::Value;

use crate::place::{Place, wait_until};

const DELIVERY: &str = "attempts body_size changed_at destination due_at event_id expires_at id last lease losses \
                        ready_at reason replay source state tries";
const ATTEMPT: &str = "answer at counted duration_ms error number outcome status";
const EVENT: &str = "body_sha256 body_size deliveries headers id key method name path query received_at source";

/// The names of an object's fields, in order of the alphabet.
fn fields(value: &Value) -> String {
    let object = value.as_object().unwrap_or_else(|| panic!("not an object: {value}"));
    let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    names.join(" ")
}

#[test]
fn json_has_the_documented_fields() {
    let place = Place::new();
    let _server = place.server();
    let (_receiver, target) = place.receiver(&["--status", "500"]);
    let _client = place.client_to("client", &target);
    let event = place.send();
    place.wait_for("server.log", "delivery_dead");

    for list in ["event", "delivery", "dead", "source", "route", "key", "token", "destination"] {
        assert_eq!(fields(&place.json(&[list, "list"])), "items next", "{list} list");
    }
    let found = place.json(&["event", "show", &event]);
    assert_eq!(fields(&found), EVENT);
    assert_eq!(found["headers"][0].as_array().unwrap().len(), 2, "a name and a value");
    let dead = place.json(&["dead", "list"]);
    assert_eq!(fields(&dead["items"][0]), DELIVERY);
    assert_eq!(fields(&dead["items"][0]["last"]), ATTEMPT);
    assert_eq!(dead["next"], Value::Null);
    let id = dead["items"][0]["id"].as_str().unwrap();
    let shown = place.json(&["delivery", "show", id]);
    assert_eq!(fields(&shown), DELIVERY.replace("id last", "history id last"));
    let audit = place.json(&["audit"]);
    assert_eq!(fields(&audit), "damaged deliveries events ok unknown");
    assert_eq!(fields(&audit["events"][0]), "accepted retired source stored");
    assert_eq!(
        fields(&audit["deliveries"][0]),
        "cancelled created dead delivered destination expired leased lost ready retired scheduled"
    );
    let job = "changed job matched";
    assert_eq!(fields(&place.json(&["dead", "redrive", "--all", "--dry-run"])), job);
    assert_eq!(fields(&place.json(&["dead", "redrive", id])), job);
    assert_eq!(fields(&place.json(&["delivery", "cancel", id])), job);
    let replayed = place.json(&["event", "replay", &event]);
    assert_eq!(fields(&replayed), "items next");
    assert_eq!(fields(&replayed["items"][0]), "deliveries event_id");
    assert_eq!(replayed["items"][0]["deliveries"][0]["replay"], true);
    assert_eq!(fields(&place.json(&["dead", "purge", "--all", "--yes"])), job);
}

/// Pages join without a gap, and `--all` fetches them all.
#[test]
fn lists_are_paged() {
    let place = Place::new();
    let _server = place.server();
    assert!(place.cli(&["send", "--count", "5"]).status.success());
    let first = place.json(&["event", "list", "--limit", "3"]);
    let second = place.json(&["event", "list", "--limit", "3", "--cursor", first["next"].as_str().unwrap()]);
    assert_eq!(second["next"], Value::Null);
    let joined = [first["items"].as_array().unwrap().clone(), second["items"].as_array().unwrap().clone()].concat();
    assert_eq!(Value::from(joined), place.json(&["event", "list", "--all"])["items"]);
}

/// With no server running, every list and show opens the data directory itself and says the same.
#[test]
fn lists_say_the_same_without_a_server() {
    let place = Place::new();
    let server = place.server();
    let event = place.send();
    let commands: [&[&str]; 8] = [
        &["event", "list"],
        &["event", "show", &event],
        &["delivery", "list"],
        &["dead", "list"],
        &["source", "list"],
        &["token", "list"],
        &["destination", "list"],
        &["audit"],
    ];
    let before: Vec<Value> = commands.iter().map(|args| place.json(args)).collect();
    assert_eq!(server.terminate(), Some(0));
    for (args, said) in commands.iter().zip(before) {
        let mut now = place.json(args);
        // How old something is goes on without a server.
        if let Some(age) = now.pointer_mut("/items/0/oldest_due_age_ms") {
            *age = said.pointer("/items/0/oldest_due_age_ms").unwrap().clone();
        }
        assert_eq!(now, said, "{args:?}");
    }
    let routes = place.run(&["route", "list"], &[("DATA_DIR", "data"), ("MAX_RETRIES", "0")]);
    assert!(
        String::from_utf8_lossy(&routes.stdout).contains("default\tdefault\t1d\t0\t"),
        "the policy of the settings"
    );
    let status = String::from_utf8(place.cli(&["status"]).stdout).unwrap();
    assert!(status.contains("does not run"), "{status}");
    assert_eq!(place.cli(&["dead", "redrive", "--all"]).status.code(), Some(69), "changes need a server");
    let sent = place.cli(&["send"]);
    let told = String::from_utf8(sent.stderr).unwrap();
    assert_eq!(sent.status.code(), Some(69), "{told}");
    assert!(told.contains("the server of data does not run: start it again (crm-relay server)"), "{told}");
}

/// I20: a repeat gets the first id; a repeat of a dead one redrives it.
#[test]
fn a_repeat_of_a_dead_webhook_delivers_it_again() {
    let place = Place::new();
    let _server = place.server();
    let (receiver, target) = place.receiver(&["--fail-first", "1"]);
    let _client = place.client_to("client", &target);
    let to = format!("{}/webhook", place.server_url());
    let key = place.secret("API_KEY");
    let post = || curl(&to, &[("x-api-key", &key), ("idempotency-key", "order-4711")], "{}");
    let first = post();
    place.wait_for("server.log", "delivery_dead");
    let second = post();
    assert_eq!(first["event_id"], second["event_id"]);
    wait_until("the redriven delivery", || {
        place.json(&["delivery", "list", "--state", "delivered"])["items"].as_array().is_some_and(|all| all.len() == 1)
    });
    drop(receiver);
}

/// Posts, and gives the answer's JSON.
fn curl(url: &str, headers: &[(&str, &str)], body: &str) -> Value {
    use std::io::{Read as _, Write as _};
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut socket = std::net::TcpStream::connect(host).unwrap();
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head =
        format!("POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    write!(socket, "{head}{}\r\n{body}", lines.concat()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}
