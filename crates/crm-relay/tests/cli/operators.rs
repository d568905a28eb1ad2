//! What several operators of one relay see of each other.

use serde_json::json;

use crate::place::Place;

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
