//! `send --wait`: what became of it, and an exit code that says which; and samples that say something else.

use crate::place::Place;

#[test]
fn send_waits_for_the_end_and_says_which_it_was() {
    let place = Place::new();
    let _server = place.server();
    place.wait_for("server.log", "listening");
    let send = |more: &[&str]| {
        let output = place.cli(&[&["send", "--wait"], more].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, out, err) = send(&["100ms"]);
    assert_eq!(code, Some(69), "nobody takes it: {err}");
    assert!(out.starts_with("evt_") && out.ends_with("  default  ready\n"), "{out}");
    assert!(err.contains("1 of 1 have not ended within 100 ms") && err.contains("not tried"), "{err}");

    let (_receiver, target) = place.receiver(&["--status", "422", "--fail-first", "0"]);
    let client = place.client_to("client", &target);
    place.wait_for("server.log", "client_joined");
    let (code, out, err) = send(&[]);
    assert_eq!((code, out.ends_with("  default  dead\n")), (Some(1), true), "{out}");
    assert!(err.contains("HTTP 422") && err.contains("crm-relay delivery show dlv_"), "{err}");
    drop(client);

    let (_receiver, target) = place.receiver(&[]);
    let _client = place.client_to("client", &target);
    let (code, out, err) = send(&["--count", "3"]);
    assert_eq!((code, out.lines().filter(|line| line.ends_with("  delivered")).count()), (Some(0), 3), "{out}{err}");
    let output = place.cli(&["send", "--wait", "--json"]);
    let lines: Vec<serde_json::Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[1]["event_id"]), (2, &lines[0]["event_id"]), "{lines:?}");
    assert_eq!(lines[1]["deliveries"][0]["state"], "delivered");

    let (code, out, _) = send(&["--tamper", "signature"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "what was refused is not waited for");
}

/// A platform that wants an empty answer gets one, and the event is named all the same.
#[test]
fn a_sample_says_that_something_else_happened() {
    let place = Place::new();
    let _server = place.server();
    let secret = "endpoint_secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert!(place.cli(&["invite", "pay", "--provider", "stripe", "--set", secret]).status.success());
    let sent = place.cli(&["send", "--source", "pay", "--event", "invoice.paid"]);
    let id = String::from_utf8(sent.stdout).unwrap();
    assert!(id.starts_with("evt_"), "{id}");
    assert_eq!(place.json(&["event", "show", id.trim()])["name"], "invoice.paid");
    assert_eq!(place.json(&["event", "list", "--name", "invoice.*"])["items"].as_array().unwrap().len(), 1);
    let refused = place.cli(&["send", "--event", "order.made"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("--event order.made: ") && words.contains("--body FILE"), "{words}");
}
