//! Every exit code, each by a real run. Scripts and service managers rely on the numbers.

use std::fs;

use crate::place::{Place, wait_until};

#[test]
fn zero_is_done_one_is_no_and_two_is_usage() {
    let place = Place::new();
    let server = place.server();
    let code = |args: &[&str]| place.cli(args).status.code();
    assert_eq!(code(&["status"]), Some(0));
    assert_eq!(code(&["source", "show", "nope"]), Some(1));
    assert_eq!(code(&["event", "show", "evt_00000000-0000-7000-8000-000000000000"]), Some(1));
    assert_eq!(code(&["event", "show", "nope"]), Some(2), "not even an id");
    assert_eq!(code(&["dead", "redrive"]), Some(2), "which ones?");
    assert_eq!(code(&["source", "delete", "default"]), Some(2), "nobody is here to ask");
    assert_eq!(code(&["nonsense"]), Some(2));
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn sixty_nine_is_unreachable_or_in_use() {
    let place = Place::new();
    let code = |args: &[&str]| place.cli(args).status.code();
    assert_eq!(code(&["health"]), Some(69), "no server");
    assert_eq!(code(&["send", "--to", "127.0.0.1:9", "--set", "key=a-key-that-nobody-asks-for"]), Some(69));
    let _server = place.server();
    assert_eq!(code(&["server", "--server-port", "0"]), Some(69), "the data directory is in use");
    let (_receiver, url) = place.receiver(&[]);
    let taken = url.trim_start_matches("http://").trim_end_matches('/');
    assert_eq!(code(&["receive", "--listen", taken]), Some(69), "the port is in use");
}

/// I18: a store that is behind its ledger is refused, with what is lost; nothing is accepted on top of it. Somebody is told, once, however
/// often a service manager starts it again.
#[test]
fn seventy_four_is_a_store_that_lost_what_it_acknowledged() {
    let place = Place::new();
    assert_eq!(place.server().terminate(), Some(0));
    let older = fs::read(place.path("data/store.db")).unwrap();
    let server = place.server();
    wait_until("the server", || place.cli(&["health"]).status.success());
    assert!(place.send().starts_with("evt_"));
    assert_eq!(server.terminate(), Some(0));
    fs::write(place.path("data/store.db"), older).unwrap();
    place.write(
        "crm-relay.toml",
        &format!("[alert.ops]\ncommand = [\"/usr/bin/tee\", \"-a\", {:?}]\n", place.path("told")),
    );
    let start = || place.cli(&["server", "--server-port", "0", "--admin-listen", "off"]);
    let (output, again) = (start(), start());
    assert_eq!((output.status.code(), again.status.code()), (Some(74), Some(74)), "{output:?}");
    let message: serde_json::Value = serde_json::from_str(&place.read("told")).expect("one message");
    let item = &message["data"]["begun"][0];
    assert!(item["kind"] == "store" && item["words"].as_str().unwrap().contains("has lost commits"), "{message}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("store check"), "it says what to do: {told}");
    assert_eq!(place.cli(&["store", "check"]).status.code(), Some(1));
    assert_eq!(place.cli(&["store", "check", "--accept-loss"]).status.code(), Some(0));
    assert_eq!(place.cli(&["audit"]).status.code(), Some(0), "the loss is in the sums");
}

/// I22: what hangs longer than the grace is left behind, and the process says so.
#[test]
fn seventy_five_is_over_the_grace() {
    let place = Place::new();
    let server = place.server_with(&[("SHUTDOWN_GRACE", "1s")]);
    let (_receiver, target) = place.receiver(&["--delay", "20s"]);
    let _client = place.client_to("client", &target);
    place.wait_for("server.log", "client_joined");
    place.send();
    wait_until("the lease", || place.json(&["destination", "show", "default"])["deliveries"]["leased"] == 1);
    assert_eq!(server.terminate(), Some(75));
}

#[test]
fn seventy_seven_is_a_refused_token() {
    let place = Place::new();
    let _server = place.server();
    let url = place.server_url();
    let env = [("RELAY_URL", url.as_str()), ("RELAY_TOKEN", "crt_this-one-was-never-given")];
    let output = place.run(&["client", "--to", "9"], &env);
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("crm-relay token list"));
    let admin = place.read("data/run.json");
    let admin: serde_json::Value = serde_json::from_str(&admin).unwrap();
    let url = format!("http://{}", admin["admin"].as_str().unwrap());
    let refused = place.run(&["status", "--admin-url", &url, "--admin-token", "cra_this-one-was-never-given"], &[]);
    assert_eq!(refused.status.code(), Some(77), "{refused:?}");
}

#[test]
fn seventy_eight_is_the_configuration() {
    let place = Place::new();
    let code = |env: &[(&str, &str)]| place.run(&["server"], env).status.code();
    assert_eq!(code(&[("REDIS_URL", "redis+clusters://localhost")]), Some(78), "never silently another store");
    assert_eq!(code(&[("SERVER_PORT", "eighty")]), Some(78));
    assert!(!place.path("crm-relay-data").exists(), "nothing was begun");
    assert_eq!(place.run(&["client"], &[]).status.code(), Some(78));
    assert_eq!(place.run(&["config", "print", "--config", "nowhere.toml"], &[]).status.code(), Some(78));
}

/// A server that belongs to somebody else is not taken for none.
#[test]
fn sixty_nine_says_whose_server_it_is() {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};

    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let _server = place.server();
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = place.command(&["status"], &[("DATA_DIR", "data")]);
    let stranger = command.uid(65_534).gid(65_534).output();
    // A program that strangers may not run tells nothing.
    let Ok(stranger) = stranger else { return };
    assert_eq!(stranger.status.code(), Some(69), "{stranger:?}");
    let told = String::from_utf8(stranger.stderr).unwrap();
    assert!(told.contains("data is another user's") && told.contains("sudo -u crm-relay"), "{told}");
}

/// A directory in which no socket can be made is refused before a store is made in it.
#[test]
fn seventy_eight_is_a_data_directory_with_a_name_too_long() {
    let place = Place::new();
    let long = "x".repeat(100);
    let told = place.cli(&["server", "--data-dir", &long, "--server-port", "0"]);
    assert_eq!(told.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&told.stderr).contains("DATA_DIR = "), "{told:?}");
    assert!(!place.path(&long).exists());
}
