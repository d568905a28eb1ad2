//! "Why does nothing arrive?": each hop broken in turn, and the line that says so; nothing else is called wrong.

use std::{fs, net::SocketAddr};

use serde_json::Value;

use crate::{
    place::{Place, Running, wait_until},
    port::free_port,
};

/// Settings of a server that can be asked by way of its public address: on a port that is free.
fn reachable() -> (u16, String) {
    let port = free_port();
    (port, format!("http://127.0.0.1:{port}"))
}

fn server(place: &Place) -> Running {
    let (port, url) = reachable();
    place.server_with(&[("SERVER_PORT", &port.to_string()), ("PUBLIC_URL", &url)])
}

/// What no resolver asks anybody about: a part of it is too long.
fn no_name() -> String {
    format!("{}.example.com", "n".repeat(64))
}

/// What is wrong, as `hop check about`; and the document. The exit says the same.
fn wrong(place: &Place, args: &[&str], env: &[(&str, &str)]) -> (Vec<String>, Value) {
    let env: Vec<(&str, &str)> = [("DATA_DIR", "data")].into_iter().chain(env.iter().copied()).collect();
    let output = place.run(&[&["doctor", "--json"], args].concat(), &env);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let checks = found["checks"].as_array().unwrap().iter().filter(|check| check["verdict"] == "wrong");
    let named = |check: &Value| {
        let words = ["hop", "check", "about"].map(|field| check[field].as_str().unwrap_or_default().to_owned());
        words.join(" ").trim_end().to_owned()
    };
    let wrong: Vec<String> = checks.map(named).collect();
    assert_eq!(output.status.code(), Some(i32::from(!wrong.is_empty())), "{found:#}");
    assert_eq!(found["ok"], wrong.is_empty());
    (wrong, found)
}

/// What a check says, with what mends it.
fn said(found: &Value, hop: &str, check: &str) -> String {
    let checks = found["checks"].as_array().unwrap();
    let of = checks.iter().find(|of| of["hop"] == hop && of["check"] == check);
    let of = of.unwrap_or_else(|| panic!("{hop} {check}: {found:#}"));
    format!("{}; {}", of["said"].as_str().unwrap(), of["remedy"].as_str().unwrap_or_default())
}

/// Asks until exactly this is wrong: what a server says of its clients may be half a second old.
fn wait_for_wrong(place: &Place, args: &[&str], wanted: &[&str]) -> Value {
    let mut last = Value::Null;
    wait_until(&format!("{wanted:?} to be wrong"), || {
        let (found, all) = wrong(place, args, &[]);
        last = all;
        found == wanted
    });
    last
}

fn delivered(place: &Place) -> u64 {
    place.json(&["health"])["webhooks_processed"].as_u64().unwrap()
}

/// S16: from the way of a webhook that arrives, each hop is taken away and put back.
#[test]
fn each_hop_that_is_broken_is_named_and_no_other() {
    let place = Place::new();
    let _server = server(&place);
    // Nobody serves it, and nothing has come.
    let (found, all) = wrong(&place, &[], &[]);
    assert_eq!(found, ["client connected default"]);
    assert!(said(&all, "client", "connected").contains("crm-relay client --to default=URL"), "{all:#}");
    assert!(said(&all, "server", "public_url").contains("leads to this server"), "{all:#}");
    assert!(said(&all, "source", "requests").contains("no webhook has ever come"), "{all:#}");

    let (mut receiver, target) = place.receiver(&[]);
    let client = place.client_to("client", &target);
    wait_for_wrong(&place, &[], &[]);
    place.send();
    wait_until("a delivery", || delivered(&place) == 1);
    let all = wait_for_wrong(&place, &[], &[]);
    assert!(said(&all, "target", "tries").contains("was taken in"), "{all:#}");
    assert!(said(&all, "client", "connected").contains("holds 0 of 8"), "{all:#}");

    // A path that leads to no source, which may be made later.
    let lost = [("DATA_DIR", "data"), ("API_KEY", "crk_0123456789abcdef0123456789abcdef")];
    let to = format!("{}/webhook/shop", place.server_url());
    assert!(!place.run(&["send", "--to", &to], &lost).status.success());
    let all = wait_for_wrong(&place, &[], &[]);
    assert!(said(&all, "source", "missed").contains("POST /webhook/shop from 127.0.0.1 was answered 404"), "{all:#}");
    let (found, _) = wrong(&place, &["shop"], &[]);
    assert_eq!(found, ["source missed", "source known shop"]);
    assert_eq!(wrong(&place, &["default"], &[]).0, [""; 0], "it was for no name like that");
    assert!(place.cli(&["source", "create", "shop"]).status.success());
    wait_for_wrong(&place, &[], &[]);

    // A wrong secret, until a right one comes.
    assert!(!place.run(&["send"], &lost).status.success());
    let all = wait_for_wrong(&place, &[], &[]);
    assert!(said(&all, "source", "requests").contains("1 wrong_key, the latest"), "one may be a stranger's: {all:#}");
    (0..2).for_each(|_| assert!(!place.run(&["send"], &lost).status.success()));
    let all = wait_for_wrong(&place, &[], &["source requests default"]);
    assert!(said(&all, "source", "requests").contains("3 wrong_key, the latest"), "{all:#}");
    assert_eq!(wrong(&place, &["shop"], &[]).0, [""; 0], "of another source");
    place.send();
    wait_for_wrong(&place, &[], &[]);

    // A pause.
    assert!(place.cli(&["destination", "pause", "default"]).status.success());
    let all = wait_for_wrong(&place, &[], &["route paused default"]);
    assert!(said(&all, "route", "paused").contains("crm-relay destination resume default"), "{all:#}");
    assert!(place.cli(&["destination", "resume", "default"]).status.success());
    wait_until("all to be delivered", || delivered(&place) == 2);

    // The target is gone, then the client.
    receiver.0.kill().unwrap();
    receiver.0.wait().unwrap();
    (0..3).for_each(|_| drop(place.send()));
    let all = wait_for_wrong(&place, &[], &["target circuit default"]);
    assert!(said(&all, "target", "circuit").contains("connection refused"), "{all:#}");
    assert_eq!(client.terminate(), Some(0));
    let found = wait_for_wrong(&place, &["default"], &["client connected default", "target tries default"]);
    let gone = said(&found, "client", "connected");
    assert!(gone.contains("said goodbye") && gone.contains("3 waiting, first expires in"), "{gone}");
    let on_screen = String::from_utf8(place.cli(&["doctor"]).stdout).unwrap();
    assert!(on_screen.contains("wrong\tclient default\tno client serves it"), "{on_screen}");
    assert!(on_screen.contains("\n2 things are wrong\n"), "{on_screen}");
}

/// What the target says stands in its line; a destination without a route and a token that is refused have theirs.
#[test]
fn a_target_that_refuses_a_token_and_a_route_are_named() {
    let place = Place::new();
    let _server = server(&place);
    let (_receiver, target) = place.receiver(&["--status", "401"]);
    let client = place.client_to("client", &target);
    place.wait_for("server.log", "client_joined");
    place.send();
    let all = wait_for_wrong(&place, &[], &["target tries default", "target dead default"]);
    let tried = said(&all, "target", "tries");
    assert!(tried.contains("401") && tried.contains("[destination.default]"), "{tried}");
    assert!(place.cli(&["dead", "purge", "--all", "--yes"]).status.success());
    drop(client);

    // Its token is mistyped.
    let mistyped = format!("crt_{}", "0".repeat(64));
    let url = place.server_url();
    let other = place.start("other", &["client", "--to", &target], &[("RELAY_URL", &url), ("RELAY_TOKEN", &mistyped)]);
    assert_eq!(other.ended(), Some(77));
    let all = wait_for_wrong(&place, &["default"], &["client connected default", "client token"]);
    assert!(said(&all, "client", "token").contains("crm-relay token create NAME"), "{all:#}");
    assert!(said(&all, "client", "connected").contains("was lost without a goodbye"), "{all:#}");

    // Its only route leads elsewhere.
    assert!(place.cli(&["source", "create", "shop", "--destination", "crm"]).status.success());
    assert!(place.cli(&["route", "create", "shop", "erp"]).status.success());
    let (found, all) = wrong(&place, &["shop"], &[]);
    assert_eq!(found, ["client connected crm", "client connected erp", "client token"]);
    assert!(said(&all, "route", "leads").starts_with("to crm, erp;"), "{all:#}");
}

/// Where the client is, the way to the server and to the target is tried with its settings.
#[test]
fn a_clients_machine_tries_its_own_way() {
    let place = Place::new();
    let _server = server(&place);
    let (receiver, target) = place.receiver(&[]);
    let (url, token) = (place.server_url(), place.secret("RELAY_TOKEN"));
    let client = Settings { place: &place, url: &url, token: &token, target: &target };
    let elsewhere = [("DATA_DIR", "nowhere")];
    assert_eq!(client.wrong(&elsewhere), [""; 0]);
    let running = place.client_to("client", &target);
    wait_for_wrong(&place, &[], &[]);
    assert_eq!(client.wrong(&[]), [""; 0], "beside the server, which sees a client too");
    drop(running);
    // One probe after the other leaves nothing behind.
    assert!(!place.read("server.log").contains("client_misbehaved"));

    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let run: Value = serde_json::from_str(&place.read("data/run.json")).unwrap();
    let admin = format!("http://{}", run["admin"].as_str().unwrap());
    let steps = [
        ("RELAY_TOKEN", "crt_0123456789abcdef0123456789abcdef", "client token"),
        ("RELAY_URL", "http://relay.example.com", "client configuration"),
        ("RELAY_URL", &format!("https://{}", no_name()), "client name"),
        ("RELAY_URL", &format!("http://{closed}"), "client connection"),
        ("RELAY_URL", &url.replace("http:", "https:"), "client tls"),
        ("RELAY_URL", &admin, "client session"),
        ("RELAY_PROXY", &format!("http://{closed}"), "client proxy"),
        ("CLIENT_LISTEN", &closed.to_string(), "client process"),
        ("LOCAL_WEBHOOK_URL", &format!("http://{closed}"), "target connection default"),
    ];
    for (name, value, wanted) in steps {
        assert_eq!(client.wrong(&[elsewhere[0], (name, value)]), [wanted], "{name}={value}");
    }
    drop(receiver);
    assert_eq!(client.wrong(&elsewhere), ["target connection default"]);
}

/// Those of a client.
struct Settings<'a> {
    place: &'a Place,
    url: &'a str,
    token: &'a str,
    target: &'a str,
}

impl Settings<'_> {
    fn wrong(&self, env: &[(&str, &str)]) -> Vec<String> {
        let own = [("RELAY_URL", self.url), ("RELAY_TOKEN", self.token), ("LOCAL_WEBHOOK_URL", self.target)];
        let all: Vec<(&str, &str)> = own.into_iter().chain(env.iter().copied()).collect();
        wrong(self.place, &[], &all).0
    }
}

/// S16: what answers at `PUBLIC_URL` is this server, or it is not; a server that is away is named first.
#[test]
fn a_public_url_that_leads_elsewhere_is_named() {
    let place = Place::new();
    let (_receiver, elsewhere) = place.receiver(&["--status", "200"]);
    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let cases = [
        (elsewhere.as_str(), "wrong", "was answered 200 OK, and not by this server"),
        (&format!("http://{closed}"), "unknown", "cannot connect"),
        (&format!("https://{}", no_name()), "unknown", "cannot resolve the name"),
        ("", "unknown", "PUBLIC_URL is not set"),
    ];
    for (url, verdict, words) in cases {
        let _ = fs::remove_file(place.path("data/run.json"));
        let server = place.server_with(&[("PUBLIC_URL", url)]);
        let (_, all) = wrong(&place, &[], &[]);
        let checks = all["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["check"] == "public_url").unwrap();
        assert_eq!(check["verdict"], verdict, "{check:#}");
        assert!(said(&all, "server", "public_url").contains(words), "{url}: {check:#}");
        assert_eq!(server.terminate(), Some(0));
    }
    assert!(!place.read("receiver.log").contains("relay-own-request: crt_"));
    let (found, all) = wrong(&place, &[], &[]);
    assert_eq!(found, ["server runs"]);
    assert!(said(&all, "server", "runs").contains("no server runs here"), "{all:#}");
}

/// A full disk, a certificate that has ended, and a route that its file does not declare any more.
#[test]
fn what_the_server_itself_lacks_is_named() {
    let place = Place::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2020, 4, 1));
    let certificate = params.self_signed(&key).unwrap();
    place.write("tls.pem", &format!("{}{}", key.serialize_pem(), certificate.pem()));
    let source = "[source.shop]\nprovider = \"api-key\"\nkey = \"crk_0123456789abcdef0123456789abcdef\"\n";
    let route =
        "[[route]]\nsource = \"shop\"\ndestination = \"crm\"\n[[route]]\nsource = \"shop\"\ndestination = \"erp\"\n";
    place.write("crm-relay.toml", &format!("{source}{route}"));
    let (port, url) = reachable();
    let (port, url) = (port.to_string(), url.replace("http://127.0.0.1", "https://localhost"));
    let tls = [("TLS_CERT_FILE", "tls.pem"), ("TLS_KEY_FILE", "tls.pem"), ("RELAY_CA_FILE", "tls.pem")];
    let lacking = [("SERVER_PORT", port.as_str()), ("PUBLIC_URL", &url), ("DISK_RESERVE", "1024GiB")];
    let server = place.server_with(&[&tls[..], &lacking].concat());
    let (found, all) = wrong(&place, &["shop"], &[]);
    let clients = ["client connected crm", "client connected erp"];
    let own = ["server disk", "server certificate", "server public_url"];
    assert_eq!(found, [&own[..], &clients].concat(), "{all:#}");
    assert!(said(&all, "server", "disk").contains("make room, or lower it"), "{all:#}");
    assert!(said(&all, "server", "certificate").contains("renew it in tls.pem"), "{all:#}");
    assert!(said(&all, "server", "public_url").contains("Expired"), "{all:#}");
    assert_eq!(server.terminate(), Some(0));

    place.write("crm-relay.toml", &format!("{source}{}", &route[..route.len() / 2]));
    let _ = fs::remove_file(place.path("data/run.json"));
    let _server = place.server();
    let (found, all) = wrong(&place, &["shop"], &[]);
    assert_eq!(found, ["route paused shop", "client connected crm"]);
    assert!(said(&all, "route", "paused").contains("the route to erp"), "{all:#}");
}
