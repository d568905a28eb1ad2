//! The files of `contrib/` that operators copy: they fit the program and the documents.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crm_relay::config::settings::SETTINGS;
use relay_core::limits;
use relay_server::ingress::Patience;

use crate::place::Place;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files below `contrib`, by their path in the repository.
pub(crate) fn files() -> Vec<String> {
    let folders = fs::read_dir(root().join("contrib")).unwrap().map(|entry| entry.unwrap());
    let mut found = Vec::new();
    for folder in folders {
        for file in fs::read_dir(folder.path()).unwrap() {
            let (folder, file) = (folder.file_name(), file.unwrap().file_name());
            found.push(format!("contrib/{}/{}", folder.to_str().unwrap(), file.to_str().unwrap()));
        }
    }
    found
}

/// What is there to be copied is named by a document, which has no second copy of it; and what they name is there.
#[test]
fn documents_and_files_to_copy_agree() {
    let pages = ["install", "https", "configure", "monitor", "backup", "troubleshoot", "redis"];
    let pages = pages.map(|page| read(&format!("docs/operating/{page}.md"))).join("\n") + &read("QUICKSTART.md");
    // The package's own are for who builds it.
    let there: BTreeSet<String> = files().into_iter().filter(|file| !file.starts_with("contrib/deb/")).collect();
    for file in &there {
        assert!(pages.contains(file.as_str()), "{file} is named by no page");
    }
    let named = pages.match_indices("contrib/").map(|(at, _)| {
        let end = |c: char| !(c.is_ascii_alphanumeric() || "/.-_".contains(c));
        pages[at..].split(end).next().unwrap().trim_end_matches('.').to_owned()
    });
    let missing: Vec<String> = named.filter(|name| !there.contains(name) && !root().join(name).is_dir()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(!pages.contains("[Service]") && !pages.contains("proxy_pass"), "a copy of a file goes its own ways");
}

/// The units start what there is, stop later than the program's own grace, and leave alone what only a person can mend.
#[test]
fn units_fit_the_program() {
    let place = Place::new();
    for (name, verb, lasting) in [("server", "server", "76 78"), ("client", "client", "76 77 78")] {
        let unit = read(&format!("contrib/systemd/crm-relay-{name}.service"));
        let value = |key: &str| {
            let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
            line.unwrap_or_else(|| panic!("{name}: no {key}")).to_owned()
        };
        let words: Vec<String> = value("ExecStart").split(' ').map(str::to_owned).collect();
        assert_eq!((words[0].as_str(), words[1].as_str()), ("/usr/local/bin/crm-relay", verb));
        let args: Vec<&str> = words[1..].iter().map(String::as_str).chain(["-h"]).collect();
        assert!(place.run(&args, &[]).status.success(), "{args:?}");
        let settings = place.run(&["config", "print", verb, "--json"], &[]);
        let settings: serde_json::Value = serde_json::from_slice(&settings.stdout).unwrap();
        let grace = settings["items"].as_array().unwrap().iter().find(|item| item["name"] == "SHUTDOWN_GRACE").unwrap();
        let grace: u64 = grace["value"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
        assert!(value("TimeoutStopSec").parse::<u64>().unwrap() > grace + 5, "{name}");
        assert_eq!(value("RestartPreventExitStatus"), lasting);
        let closed = [
            ("Type", "notify"),
            ("WatchdogSec", "60"),
            ("MemoryDenyWriteExecute", "yes"),
            ("LimitCORE", "0"),
            ("SystemCallFilter", "@system-service"),
            ("ProtectSystem", "strict"),
            ("ProtectClock", "yes"),
            ("ProtectProc", "invisible"),
            ("CapabilityBoundingSet", ""),
        ];
        for (key, wanted) in closed {
            assert_eq!(value(key), wanted, "{name}: {key}");
        }
        if verb == "server" {
            let last = unit.lines().rfind(|line| line.starts_with("SystemCallFilter="));
            assert_eq!(last, Some("SystemCallFilter=setpriority"), "{name}: what copies the store stands back");
        }
        credentials_are_settings(&unit);
        verify(&place, name, &unit);
    }
}

/// S38: no crate has code that is not checked for memory, and whatever starts the program lets it do little: it is no root, gets no more rights,
/// writes to its own directory alone, and runs nothing that it has written.
#[test]
fn what_is_built_and_started_may_do_little() {
    assert!(read("Cargo.toml").contains("\nunsafe_code = \"forbid\"\n"));
    let crates = fs::read_dir(root().join("crates")).unwrap();
    let crates: Vec<String> = crates.map(|found| found.unwrap().file_name().into_string().unwrap()).collect();
    assert!(crates.len() >= 8);
    for name in crates {
        assert!(read(&format!("crates/{name}/Cargo.toml")).contains("\n[lints]\nworkspace = true\n"), "{name}");
    }
    let deny = read("deny.toml");
    assert!(deny.contains("unknown-registry = \"deny\"") && deny.contains("unknown-git = \"deny\""), "{deny}");
    assert!(read("Dockerfile").contains("\nUSER 65532:65532\n"));
    let unit = [
        "User=crm-relay",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "MemoryDenyWriteExecute=yes",
        "CapabilityBoundingSet=",
    ];
    let compose = ["read_only: true", "cap_drop: [ALL]", "no-new-privileges:true"];
    let manifest =
        ["runAsNonRoot: true", "readOnlyRootFilesystem: true", "allowPrivilegeEscalation: false", "drop: [ALL]"];
    let files = files();
    let (units, manifests): (Vec<_>, Vec<_>) = files
        .iter()
        .filter(|file| file.ends_with(".service") || file.contains("kubernetes/"))
        .partition(|file| file.ends_with(".service"));
    assert!(units.len() >= 2 && manifests.len() >= 3);
    for file in units {
        for word in unit {
            assert!(read(file).lines().any(|line| line == word), "{file}: {word}");
        }
    }
    for file in manifests {
        for word in manifest {
            assert!(read(file).contains(word), "{file}: {word}");
        }
    }
    for file in ["compose.yaml", "compose.client.yaml", "compose.redis.yaml"] {
        for word in compose {
            assert!(read(file).contains(word), "{file}: {word}");
        }
    }
}

/// The proxies wait longer for a session than that may be silent, and for a body and an answer no shorter than the relay does: theirs are 60 s
/// where nothing is said, and a session that is silent for that long is one whose client the relay has given up by itself.
#[test]
fn proxies_wait_as_long_as_the_relay_does() {
    let seconds = |file: &str, line: &str| {
        let text = read(file);
        let found = text.lines().map(str::trim).find_map(|found| found.strip_prefix(line));
        let value = found.unwrap_or_else(|| panic!("{file} has no {line:?}"));
        let value = value.trim().trim_end_matches(';').strip_suffix('s').expect("in seconds").to_owned();
        Duration::from_secs(value.parse().unwrap_or_else(|_| panic!("{file}: {line} {value}")))
    };
    let silent = limits::HEARTBEAT * limits::HEARTBEATS_MISSED_MAX;
    let nginx = "contrib/nginx/crm-relay.conf";
    for line in ["proxy_read_timeout", "proxy_send_timeout"] {
        assert!(seconds(nginx, line) > silent, "{line}");
    }
    for file in ["contrib/haproxy/crm-relay.cfg", "contrib/haproxy/two-servers.cfg"] {
        assert!(seconds(file, "timeout tunnel") > silent, "{file}");
        // S9: how long the relay itself waits for a byte of a body, for its answer to be taken, and for a head.
        let Patience { body, write, head, .. } = Patience::default();
        assert!(seconds(file, "timeout client") >= body && seconds(file, "timeout server") >= write, "{file}");
        assert!(seconds(file, "timeout http-request") >= head, "{file}");
    }
}

/// What a unit hands over reaches the program under the name of a setting, also where it is commented out.
fn credentials_are_settings(unit: &str) {
    let lines = || unit.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
    let loaded: BTreeSet<&str> =
        lines().filter_map(|line| line.strip_prefix("LoadCredential=")?.split(':').next()).collect();
    let named: Vec<(&str, &str)> = lines()
        .filter_map(|line| line.strip_prefix("Environment="))
        .flat_map(|line| line.split(' ').map(|pair| pair.split_once("=%d/").unwrap()))
        .collect();
    assert!(!named.is_empty());
    for (variable, credential) in &named {
        let setting = variable.strip_suffix("_FILE").unwrap();
        assert!(SETTINGS.iter().any(|known| known.name == setting), "{variable}");
        assert!(loaded.contains(credential), "{credential} is handed over by no line");
    }
    assert_eq!(named.len(), loaded.len());
}

/// The socket is the one that the server would bind, under the name by which it knows it.
#[test]
fn the_socket_is_the_public_listener() {
    let unit = read("contrib/systemd/crm-relay-server.socket");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let default = |name: &str| SETTINGS.iter().find(|known| known.name == name).unwrap().default;
    assert_eq!(value("ListenStream="), format!("{}:{}", default("SERVER_HOST"), default("SERVER_PORT")));
    assert_eq!(value("FileDescriptorName="), "public");
}

/// By systemd itself, where there is one. It wants the program to be there.
fn verify(place: &Place, name: &str, unit: &str) {
    let file = format!("crm-relay-{name}.service");
    place.write(&file, &unit.replace("/usr/local/bin/crm-relay", env!("CARGO_BIN_EXE_crm-relay")));
    let mut files = vec![place.path(&file)];
    if name == "server" {
        place.write("crm-relay-server.socket", &read("contrib/systemd/crm-relay-server.socket"));
        files.push(place.path("crm-relay-server.socket"));
    }
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(files).output();
    if let Ok(verified) = verified {
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        // Open is what it needs: the network, its socket, and the user database.
        let rated = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold=16", "--no-pager"])
            .arg(place.path(&file))
            .output()
            .unwrap();
        assert!(rated.status.success(), "{}", String::from_utf8_lossy(&rated.stdout));
    }
}

#[test]
fn the_example_of_a_client_is_a_configuration() {
    let place = Place::new();
    let example = read("contrib/client/client.toml");
    place.write("token", "crt_0123456789abcdef0123456789abcdef\n");
    place.write("client.toml", &example);
    let token = [("RELAY_TOKEN_FILE", "token")];
    let checked = place.run(&["config", "check", "client", "--config", "client.toml"], &token);
    assert!(checked.status.success(), "{}", place.transcript(&checked));
    // What is commented out is right too, where its files are.
    let uncommented = |line: &str| line.strip_prefix('#').filter(|line| line.contains('=')).unwrap_or(line).to_owned();
    let whole = example.lines().map(uncommented).collect::<Vec<_>>().join("\n");
    place.write("client.toml", &whole.replace("/etc/crm-relay/", place.path("").to_str().unwrap()));
    let checked = place.run(&["config", "check", "client", "--config", "client.toml"], &[]);
    let told = place.transcript(&checked);
    assert!(checked.status.success() || told.contains("ca.pem"), "{told}");
}

/// What is the store's, every server that shares it says alike.
const OF_THE_STORE: [&str; 11] = [
    "crm_relay_events_accepted_total",
    "crm_relay_duplicates_total",
    "crm_relay_events",
    "crm_relay_deliveries_created_total",
    "crm_relay_deliveries_total",
    "crm_relay_deliveries_retired_total",
    "crm_relay_deliveries_lost_total",
    "crm_relay_deliveries",
    "crm_relay_oldest_due_age_seconds",
    "crm_relay_clients",
    "crm_relay_destination_paused",
];

/// Rules and panels take it once, by `max`, before anything else: two servers on one store would have twice as much waiting.
#[test]
fn what_is_the_stores_is_taken_once() {
    let rules = read("contrib/prometheus/alerts.yml");
    let rules = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned);
    let panels: serde_json::Value = serde_json::from_str(&read("contrib/grafana/crm-relay.json")).unwrap();
    let mut expressions: Vec<String> = rules.collect();
    expressions_below(&panels, &mut expressions);
    let mut looked_at = 0;
    for expression in &expressions {
        for (at, name) in metrics_in(expression).filter(|(_, name)| OF_THE_STORE.contains(name)) {
            let before = expression[..at].trim_end_matches(|c: char| c == '(' || c.is_ascii_lowercase());
            let before = before.trim_end();
            // `max by (destination) (`, and a rate within it.
            let is_once =
                before.ends_with(')') && before.rsplit_once(" by (").is_some_and(|(of, _)| of.ends_with("max"));
            assert!(is_once, "{name} is not taken once: {expression}");
            looked_at += 1;
        }
    }
    assert!(looked_at >= 15, "{looked_at}");
}

/// All that stands under `expr`.
fn expressions_below(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            found.extend(map.get("expr").and_then(|expr| expr.as_str()).map(str::to_owned));
            map.values().for_each(|below| expressions_below(below, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|below| expressions_below(below, found)),
        _ => {}
    }
}

/// Names of our metrics, with where each begins.
fn metrics_in(expression: &str) -> impl Iterator<Item = (usize, &str)> {
    let named = |(at, _)| {
        let name = expression[at..].split(|c: char| !(c.is_ascii_lowercase() || c == '_')).next().unwrap();
        (at, name)
    };
    expression.match_indices("crm_relay_").map(named)
}
