//! The files of `packaging/` that operators copy: they fit the program and the documents.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use crate::place::Place;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files below `packaging`, by their path in the repository.
fn files() -> Vec<String> {
    let folders = fs::read_dir(root().join("packaging")).unwrap().map(|entry| entry.unwrap());
    let mut found = Vec::new();
    for folder in folders {
        for file in fs::read_dir(folder.path()).unwrap() {
            let (folder, file) = (folder.file_name(), file.unwrap().file_name());
            found.push(format!("packaging/{}/{}", folder.to_str().unwrap(), file.to_str().unwrap()));
        }
    }
    found
}

/// What is there to be copied is named by a document, which has no second copy of it; and what they name is there.
#[test]
fn documents_and_files_to_copy_agree() {
    let pages = ["install", "https", "configure", "monitor", "backup", "troubleshoot"];
    let pages = pages.map(|page| read(&format!("docs/operating/{page}.md"))).join("\n") + &read("QUICKSTART.md");
    let there: BTreeSet<String> = files().into_iter().collect();
    for file in &there {
        assert!(pages.contains(file.as_str()), "{file} is named by no page");
    }
    let named = pages.match_indices("packaging/").map(|(at, _)| {
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
        let unit = read(&format!("packaging/systemd/crm-relay-{name}.service"));
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
        verify(&place, name, &unit);
    }
}

/// By systemd itself, where there is one. It wants the program to be there.
fn verify(place: &Place, name: &str, unit: &str) {
    let file = format!("crm-relay-{name}.service");
    place.write(&file, &unit.replace("/usr/local/bin/crm-relay", env!("CARGO_BIN_EXE_crm-relay")));
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(place.path(&file)).output();
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
    let example = read("packaging/client/client.toml");
    place.write("token", "crt_0123456789abcdef0123456789abcdef\n");
    place.write("client.toml", &example.replace("/etc/crm-relay/token", place.path("token").to_str().unwrap()));
    let checked = place.run(&["config", "check", "client", "--config", "client.toml"], &[]);
    assert!(checked.status.success(), "{}", place.transcript(&checked));
    // What is commented out is right too, where its files are.
    let uncommented = |line: &str| line.strip_prefix('#').filter(|line| line.contains('=')).unwrap_or(line).to_owned();
    let whole = example.lines().map(uncommented).collect::<Vec<_>>().join("\n");
    place.write("client.toml", &whole.replace("/etc/crm-relay/", place.path("").to_str().unwrap()));
    let checked = place.run(&["config", "check", "client", "--config", "client.toml"], &[]);
    let told = place.transcript(&checked);
    assert!(checked.status.success() || told.contains("ca.pem"), "{told}");
}

/// A rule about a metric that there is none of never fires; nor does anybody find one that a page has and the server not.
#[test]
fn alerts_and_pages_name_metrics_that_exist() {
    let place = Place::new();
    let _server = place.server();
    let run: serde_json::Value = serde_json::from_str(&place.read("data/run.json")).unwrap();
    let mut stream = TcpStream::connect(run["admin"].as_str().unwrap()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let known: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(known.contains("crm_relay_clients"), "{page}");

    let rules = read("packaging/prometheus/crm-relay.rules.yml");
    let monitor = read("docs/operating/monitor.md");
    for (of, text) in [("the rules", &rules), ("monitor.md", &monitor)] {
        for (at, _) in text.match_indices("crm_relay_") {
            let name = text[at..].split(|c: char| !(c.is_ascii_lowercase() || c == '_')).next().unwrap();
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(known.contains(name), "{of}: there is no metric {name}");
        }
    }
    for (at, _) in rules.match_indices("crm-relay ") {
        let command = rules[at..].split(['"', '\n']).next().unwrap().replace("{{ $labels.destination }}", "crm");
        let args: Vec<&str> = command.split(' ').skip(1).chain(["-h"]).collect();
        assert!(place.run(&args, &[]).status.success(), "{command}");
    }
    // Each of the alerts that the page speaks of is a rule.
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    for alert in alerts {
        assert!(monitor.contains(alert), "monitor.md does not say what {alert} means");
    }
}
