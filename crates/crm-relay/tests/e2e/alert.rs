//! Somebody is told: by the program as it is, in its own time.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::place::Place;

/// Longer than a hold, a look and a slow machine take together.
const PATIENCE: Duration = Duration::from_mins(3);

#[test]
fn an_alert_is_tested_and_listed() {
    let place = Place::new();
    let (_receiver, url) = place.receiver(&[]);
    let port = url.trim_end_matches('/').rsplit(':').next().unwrap();
    let ways = format!(
        "[alert.ops]\nurl = \"http://127.0.0.1:{port}/canary\"\nformat = \"slack\"\nallow_private = true\n\
         [alert.gone]\nurl = \"http://127.0.0.1:9/canary\"\nformat = \"teams\"\nallow_private = true\n\
         [alert.inside]\nurl = \"https://127.0.0.1:{port}/canary\"\nformat = \"slack\"\n"
    );
    place.write("crm-relay.toml", &ways);
    let _server = place.server();
    let told = place.cli(&["alert", "test", "ops", "--json"]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let json: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&json["items"][0]["told"], &json["items"][0]["to"]), (&1.into(), &"127.0.0.1".into()));
    place.wait_for("receiver.log", "POST /canary");

    let all = place.cli(&["alert", "test"]);
    assert_eq!(all.status.code(), Some(1));
    let said = String::from_utf8([all.stdout, all.stderr].concat()).unwrap();
    for want in [
        "alert ops: 127.0.0.1 (slack) was told",
        "alert gone: 127.0.0.1 (teams) was not told: 127.0.0.1: cannot connect",
        "alert inside: 127.0.0.1 (slack) was not told: 127.0.0.1: its address is not one of the public internet",
    ] {
        assert!(said.contains(want), "{want}: {said}");
    }
    let unknown = place.cli(&["alert", "test", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("gone, inside, ops"), "{unknown:?}");
    let listed = String::from_utf8(place.cli(&["alert", "list"]).stdout).unwrap();
    assert!(listed.contains("ops") && listed.contains("slack"), "{listed}");
    assert_eq!(place.json(&["alert", "list"])["items"], Value::Array(Vec::new()));
    // S27
    assert!(![said, listed, place.read("server.log")].concat().contains("canary"));
}

/// Dead letters and a target that is down are one message, a minute after; that they are over is another.
#[test]
fn somebody_is_told_what_began_and_what_is_over() {
    let place = Place::new();
    place.write("tell", "#!/bin/sh\ncat >> \"$1\"\necho >> \"$1\"\n");
    fs::set_permissions(place.path("tell"), fs::Permissions::from_mode(0o700)).unwrap();
    let (program, told) = (place.path("tell"), place.path("told"));
    let kinds = "kinds = [\"dead_letters\", \"destination_down\"]";
    place.write("crm-relay.toml", &format!("[alert.ops]\ncommand = [{program:?}, {told:?}]\n{kinds}\n"));
    let _server = place.server();
    let (refusing, url) = place.receiver(&["--status", "422"]);
    let client = place.client_to("client", &url);
    place.send();
    place.wait_for("server.log", "delivery_dead");
    drop(refusing);
    // Three that cannot be reached open its circuit.
    (0..3).for_each(|_| drop(place.send()));
    place.wait_for("server.log", "destination_down");

    let first = &messages(&place, 1)[0];
    assert_eq!(first["type"], "alert.firing");
    assert_eq!(kinds_of(&first["data"]["begun"]), ["dead_letters", "destination_down"], "{first:#}");
    let firing = place.json(&["alert", "list"]);
    let listed = kinds_of(&firing["items"]);
    assert!(listed.contains(&"destination_down".to_owned()), "{firing:#}");

    let (_taking, taken) = place.receiver(&[]);
    drop(client);
    let _client = place.client_to("client2", &taken);
    assert!(place.cli(&["dead", "purge", "--all", "--yes"]).status.success());
    let all = messages(&place, 2);
    let over: Vec<String> = all[1..].iter().flat_map(|message| kinds_of(&message["data"]["over"])).collect();
    assert!(over.contains(&"dead_letters".to_owned()), "{all:#?}");
}

fn kinds_of(items: &Value) -> Vec<String> {
    let mut kinds: Vec<String> =
        items.as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds
}

/// What was told, once that many messages were.
fn messages(place: &Place, count: usize) -> Vec<Value> {
    let since = Instant::now();
    loop {
        let told = place.read("told");
        let lines: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(since.elapsed() < PATIENCE, "told: {told}, server: {}", place.read("server.log"));
        std::thread::sleep(Duration::from_millis(100));
    }
}
