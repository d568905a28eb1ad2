//! Alerts, dashboard and log configurations of `contrib/`: what they ask for is what a server says.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use serde_json::Value;

use crate::{
    contrib::{read, root},
    place::Place,
    schemas::yaml,
};

/// Metrics that tell of the store, which every server says alike.
const OF_THE_STORE: [&str; 11] = [
    "crm_relay_circuit_open",
    "crm_relay_clients",
    "crm_relay_deliveries",
    "crm_relay_deliveries_created_total",
    "crm_relay_deliveries_lost_total",
    "crm_relay_deliveries_retired_total",
    "crm_relay_deliveries_total",
    "crm_relay_destination_paused",
    "crm_relay_events",
    "crm_relay_events_accepted_total",
    "crm_relay_oldest_due_age_seconds",
];
/// Words of `PromQL` that stand before a parenthesis.
const FUNCTIONS: [&str; 16] = [
    "absent",
    "and",
    "increase",
    "max",
    "min",
    "min_over_time",
    "sum",
    "by",
    "rate",
    "delta",
    "count",
    "vector",
    "histogram_quantile",
    "label_values",
    "on",
    "or",
];

/// A server with an alert, in its place.
fn watched() -> (Place, super::place::Running) {
    let place = Place::new();
    place.write("crm-relay.toml", "[alert.ops]\ncommand = [\"/bin/true\"]\n");
    let server = place.server();
    (place, server)
}

/// `/metrics` of a server that has met some of everything, by metric: its labels with their values.
fn page(place: &Place) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    place.send();
    // Something of it is refused: a webhook and a token.
    let refused = [("DATA_DIR", "data"), ("API_KEY", "crk_ffffffffffffffffffffffffffffffff")];
    assert!(!place.run(&["send"], &refused).status.success());
    let bounded = place
        .run(&["source", "update", "default", "--daily-events", "1000", "--rate", "1000/s"], &[("DATA_DIR", "data")]);
    assert!(bounded.status.success(), "{bounded:?}");
    let run: Value = serde_json::from_str(&place.read("data/run.json")).unwrap();
    let admin = run["admin"].as_str().unwrap();
    ask(admin, "/api/v1/status");
    let page = ask(admin, "/metrics");
    let mut known: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("crm_relay_")) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let of = known.entry(name.to_owned()).or_default();
        for pair in labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty()) {
            let (label, value) = pair.split_once('=').unwrap();
            of.entry(label.to_owned()).or_default().insert(value.trim_matches('"').to_owned());
        }
    }
    // Said of a store in a Redis only, as the server's own tests see.
    known.entry("crm_relay_memory_free_bytes".to_owned()).or_default();
    // Said where the server copies its store.
    known.entry("crm_relay_backup_age_seconds".to_owned()).or_default();
    known
}

fn ask(admin: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

/// What an expression asks for: metrics, each with the labels it is chosen by and their values, and the labels that it is grouped by.
struct Asked {
    metrics: Vec<(String, Vec<(String, String)>)>,
    grouped_by: BTreeSet<String>,
}

impl Asked {
    fn of(expr: &str) -> Self {
        let (mut metrics, mut grouped_by) = (Vec::new(), BTreeSet::new());
        for (at, _) in expr.match_indices("crm_relay_") {
            let end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            let rest = &expr[at..];
            let name = &rest[..rest.find(end).unwrap_or(rest.len())];
            let chosen = rest[name.len()..].strip_prefix('{').map_or("", |inside| inside.split('}').next().unwrap());
            let pairs = chosen.split(", ").flat_map(|part| part.split(',')).filter(|pair| !pair.is_empty());
            let pairs = pairs.map(|pair| {
                let (label, value) = pair.split_once(['=', '!']).unwrap();
                (label.trim().to_owned(), value.trim_start_matches(['=', '~']).trim_matches('"').to_owned())
            });
            metrics.push((name.to_owned(), pairs.collect()));
        }
        for (at, start) in expr.match_indices("by (") {
            let labels = expr[at + start.len()..].split(')').next().unwrap();
            grouped_by.extend(labels.split(", ").map(str::to_owned));
        }
        Self { metrics, grouped_by }
    }
}

/// Every expression, with what names it.
fn expressions() -> Vec<(String, String)> {
    let rules = yaml("contrib/prometheus/alerts.yml");
    let rules = rules[0]["groups"][0]["rules"].as_array().unwrap().clone();
    let of_rules = rules.iter().map(|rule| (text(&rule["alert"]), text(&rule["expr"])));
    let board: Value = serde_json::from_str(&read("contrib/grafana/crm-relay.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let of_panels = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().unwrap();
        targets.iter().map(|target| (text(&panel["title"]), text(&target["expr"])))
    });
    let variables = board["templating"]["list"].as_array().unwrap();
    let of_variables = variables
        .iter()
        .filter(|variable| variable["type"] == "query")
        .map(|variable| (text(&variable["name"]), text(&variable["query"]["query"])));
    let all: Vec<_> = of_rules.chain(of_panels).chain(of_variables).collect();
    assert!(all.len() > 25, "{all:?}");
    all
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A rule about a metric that there is none of never fires, nor one about a label or a value that it never has.
#[test]
fn alerts_and_dashboard_ask_for_what_a_server_says() {
    let (place, _server) = watched();
    let known = page(&place);
    let mut wrong = Vec::new();
    for (name, expr) in expressions() {
        let asked = Asked::of(&expr);
        let mut labels = BTreeSet::new();
        for (metric, chosen) in &asked.metrics {
            let Some(has) = known.get(metric) else {
                wrong.push(format!("{name}: there is no metric {metric}"));
                continue;
            };
            labels.extend(has.keys().cloned());
            for (label, values) in chosen {
                match has.get(label) {
                    None => wrong.push(format!("{name}: {metric} has no label {label}")),
                    // Names of sources and destinations are those of each installation.
                    Some(_) if ["source", "destination"].contains(&label.as_str()) => {}
                    Some(of) => wrong.extend(
                        values
                            .split('|')
                            .filter(|value| !of.contains(*value))
                            .map(|value| format!("{name}: {metric} has no {label}={value}")),
                    ),
                }
            }
            let shared = OF_THE_STORE.contains(&metric.as_str());
            if shared && !expr.starts_with("label_values(") && !expr.contains("max by (") {
                wrong.push(format!("{name}: every server says {metric}, so it is taken once: max by (...)"));
            }
        }
        wrong.extend(
            asked.grouped_by.iter().filter(|label| !labels.contains(*label)).map(|l| format!("{name}: no label {l}")),
        );
        let depth = expr.chars().try_fold(0_i32, |depth, c| match c {
            '(' => Some(depth + 1),
            ')' => Some(depth - 1).filter(|depth| *depth >= 0),
            _ => Some(depth),
        });
        if depth != Some(0) {
            wrong.push(format!("{name}: parentheses"));
        }
        for (at, _) in expr.match_indices('(') {
            let before = expr[..at].trim_end();
            let word = before.rsplit(|c: char| !(c.is_ascii_lowercase() || c == '_')).next().unwrap();
            let is_group = before.is_empty() || before.ends_with(')');
            if !is_group && !word.is_empty() && !FUNCTIONS.contains(&word) {
                wrong.push(format!("{name}: is {word} a function?"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

/// By Prometheus' own checker, where there is one: it reads the rules, they tell what they are to tell, and it reads what the dashboard asks.
#[test]
fn prometheus_takes_the_rules() {
    let place = Place::new();
    // As Grafana puts it: an interval, and all that there are.
    let asked = expressions().into_iter().filter(|(_, expr)| !expr.starts_with("label_values("));
    let asked = asked.enumerate().map(|(at, (_, expr))| {
        let expr = expr.replace("$__rate_interval", "5m").replace("$source", ".*").replace("$destination", ".*");
        serde_json::json!({ "record": format!("asked:{at}"), "expr": expr })
    });
    let asked = serde_json::json!({ "groups": [{ "name": "asked", "rules": asked.collect::<Vec<_>>() }] });
    place.write("asked.yml", &asked.to_string());
    let asked = place.path("asked.yml");
    for args in [
        ["check", "rules", "contrib/prometheus/alerts.yml"],
        ["test", "rules", "crates/crm-relay/tests/cli/alerts.test.yml"],
        ["check", "rules", asked.to_str().unwrap()],
    ] {
        if let Ok(checked) = Command::new("promtool").args(args).current_dir(root()).output() {
            let said = [checked.stdout, checked.stderr].concat();
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
        }
    }
}

/// What is weeks old is told to nobody since a scrape failed once: where a rule takes a series for new, every scrape before was answered.
#[test]
fn a_failed_scrape_is_no_news() {
    let of_new = expressions().into_iter().filter(|(_, expr)| expr.contains(" unless "));
    let unguarded: Vec<_> = of_new.filter(|(_, expr)| {
        !expr.ends_with(" and on () count(up{job=\"crm-relay\"} offset 15m) and on () min(min_over_time(up{job=\"crm-relay\"}[20m])) == 1")
    }).collect();
    assert!(unguarded.is_empty(), "{unguarded:?}");
}

/// What a rule says to somebody is true: its labels are there, its commands exist, a page says what it means.
#[test]
fn alerts_say_what_can_be_done() {
    let (place, _server) = watched();
    let known = page(&place);
    let monitor = read("docs/operating/monitor.md");
    let rules = yaml("contrib/prometheus/alerts.yml");
    for rule in rules[0]["groups"][0]["rules"].as_array().unwrap() {
        let (alert, expr) = (text(&rule["alert"]), text(&rule["expr"]));
        assert!(monitor.contains(&format!("`{alert}`")), "monitor.md does not say what {alert} means");
        let labels: BTreeSet<&String> = Asked::of(&expr)
            .metrics
            .iter()
            .filter_map(|(metric, _)| known.get(metric))
            .flat_map(BTreeMap::keys)
            .collect();
        for said in ["summary", "description"].map(|key| text(&rule["annotations"][key])) {
            for (at, start) in said.match_indices("$labels.") {
                let label = said[at + start.len()..].split(|c: char| !c.is_ascii_lowercase()).next().unwrap();
                assert!(labels.iter().any(|known| *known == label), "{alert}: {label}");
            }
            let command = said.replace("{{ $labels.destination }}", "crm").replace("{{ $labels.source }}", "shop");
            let command = command.replace("{{ $labels.alert }}", "ops");
            if let Some(at) = command.find("crm-relay ") {
                let args: Vec<&str> = command[at..].split(' ').skip(1).chain(["-h"]).collect();
                assert!(place.run(&args, &[]).status.success(), "{command}");
            }
        }
    }
}

/// The page names metrics that exist, and every one of the server's that alerts and dashboard use.
#[test]
fn the_page_names_the_metrics() {
    let (place, _server) = watched();
    let known = page(&place);
    let monitor = read("docs/operating/monitor.md");
    for (at, _) in monitor.match_indices("crm_relay_") {
        let name = monitor[at..].split(|c: char| !(c.is_ascii_lowercase() || c == '_')).next().unwrap();
        let is_known = known.contains_key(name) || known.contains_key(&format!("{name}_bucket"));
        assert!(is_known, "monitor.md: there is no metric {name}");
    }
    for (name, expr) in expressions() {
        for (metric, _) in Asked::of(&expr).metrics {
            let family = metric.strip_suffix("_bucket").unwrap_or(&metric);
            assert!(monitor.contains(family), "{name} asks for {family}, which monitor.md does not explain");
        }
    }
}

/// What collectors take out of a line is in it.
#[test]
fn a_line_of_the_log_has_what_collectors_take_out_of_it() {
    let place = Place::new();
    let server = place.server_with(&[("LOG_FORMAT", "json")]);
    place.send();
    drop(server);
    let log = place.read("server.log");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 2, "{log}");
    let (loki, elk) = (read("contrib/logs/alloy.alloy"), read("contrib/logs/filebeat.yml"));
    for field in ["timestamp", "level", "event"] {
        assert!(lines.iter().all(|line| line[field].is_string()), "{field}: {log}");
        assert!(loki.contains(&format!("{field} = \"\"")), "{field}");
    }
    assert!(elk.contains("field: crm_relay.timestamp"), "{elk}");
    // As both configurations read it: RFC 3339 with a fraction, in UTC.
    let at = lines[0]["timestamp"].as_str().unwrap();
    assert!(at.len() == 27 && at.ends_with('Z') && at.contains('.'), "{at}");
}
